//! Where things stand in a file's text.

use granit_parser::Span;

use super::build::Fault;
use super::{Place, Style};

impl Place {
    /// Returns the place of one character, without a byte range.
    pub(crate) fn at(line: u32, column: u32) -> Self {
        Self {
            line,
            column,
            length: 1,
            start: 0,
            end: 0,
        }
    }
}

/// Finds the first character that must not stand in a file: what terminals obey, and what makes a
/// reviewer see another text than the parser does.
pub(super) fn forbidden_character(source: &str, line_offset: u32) -> Option<Fault> {
    let mut characters = source.char_indices().peekable();
    let (at, character) = loop {
        let (at, character) = characters.next()?;
        let forbidden = match character {
            '\n' | '\t' => false,
            '\r' => !matches!(characters.peek(), Some((_, '\n'))),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
            other => other.is_control(),
        };
        if forbidden {
            break (at, character);
        }
    };
    let before = &source[..at];
    let line = before.matches('\n').count() as u32 + 1 + line_offset;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() as u32 + 1;
    let message = format!(
        "the character U+{:04X} is not allowed",
        u32::from(character)
    );
    Some(
        Fault::new("forbidden-character", Place::at(line, column), message)
            .hint("write it as an escape in double quotes"),
    )
}

pub(super) fn byte_range(span: &Span) -> (usize, usize) {
    let range = span
        .byte_range()
        .expect("a parser over a str knows byte offsets");
    (range.start, range.end)
}

pub(super) fn place_of(span: &Span, source: &str, line_offset: u32) -> Place {
    let (start, end) = byte_range(span);
    let first = source[start..end].split('\n').next().unwrap_or("");
    Place {
        line: span.start.line() as u32 + line_offset,
        column: span.start.col() as u32 + 1,
        length: first.trim_end().chars().count() as u32,
        start,
        end,
    }
}

/// Returns where each line of a scalar's text stands, or nothing where the style does not map.
pub(super) fn lines_of(source: &str, text: &str, style: Style, place: Place) -> Vec<(u32, u32)> {
    let slice = &source[place.start..place.end];
    match style {
        Style::Plain if slice == text => vec![(place.line, place.column)],
        Style::Quoted if slice.len() >= 2 && &slice[1..slice.len() - 1] == text => {
            vec![(place.line, place.column + 1)]
        }
        Style::Plain | Style::Quoted => Vec::new(),
        Style::Block => block_lines(source, text, place),
    }
}

/// Finds the lines of a block scalar by comparing them: a folded text fails the comparison, and so
/// gets no lines.
fn block_lines(source: &str, text: &str, place: Place) -> Vec<(u32, u32)> {
    let start = source[..place.start].rfind('\n').map_or(0, |at| at + 1);
    if let Some(lines) = match_lines(&source[start..], text, place.line) {
        return lines;
    }
    // The place may be that of the first line that is not blank: the text begins so many before.
    let blank = text.bytes().take_while(|byte| *byte == b'\n').count();
    let before = source[..start].rmatch_indices('\n').nth(blank);
    let start = before.map_or(0, |(at, _)| at + 1);
    let line = place.line.saturating_sub(blank as u32);
    match_lines(&source[start..], text, line).unwrap_or_default()
}

fn match_lines(source: &str, text: &str, first: u32) -> Option<Vec<(u32, u32)>> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let mut written = source.split('\n');
    let mut lines = Vec::new();
    for (number, line) in (first..).zip(body.split('\n')) {
        let written = written.next()?;
        let indent = written
            .strip_suffix('\r')
            .unwrap_or(written)
            .strip_suffix(line)?;
        if !indent.bytes().all(|b| b == b' ') {
            return None;
        }
        lines.push((number, indent.len() as u32 + 1));
    }
    Some(lines)
}
