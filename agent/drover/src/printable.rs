//! What repositories and hosts wrote, as a terminal may show it.
//!
//! Everything that is printed passes [`shown`], in the one place that writes, so no command can forget it. A command
//! that puts somebody's words into a line of its own makes them [`printable`] first: there a line break is no better
//! than the other characters.

use std::borrow::Cow;
use std::fmt::Write as _;

use drover_loop::is_hidden;

#[cfg(test)]
mod tests;

/// Returns words as a part of one line: what a terminal would obey or hide is escaped, as JSON and YAML escape it, and
/// line breaks and tabs are spaces.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => out.push(' '),
            other => push(&mut out, other),
        }
    }
    Cow::Owned(out)
}

/// Returns a whole output, in which line breaks and tabs stay, and colours where there are any. In a document of JSON
/// or YAML hidden characters stand within quotes only, where the escape means the same.
pub(crate) fn shown(text: &str, color: bool) -> Cow<'_, str> {
    let hidden = |c: char| !matches!(c, '\n' | '\t') && is_hidden(c);
    if !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(hidden) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let taken = if color { style(from) } else { None };
        let taken = taken.unwrap_or_else(|| {
            let character = from.chars().next().unwrap_or_default();
            push(&mut out, character);
            (character.len_utf8(), "")
        });
        out.push_str(taken.1);
        rest = &from[taken.0..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Returns an event of the log on one line, whatever stands in its values: a line break in them is escaped, so that nobody
/// writes a line of their own. The one at the end stays.
pub(crate) fn event(text: &str, color: bool) -> String {
    let shown = shown(text, color);
    let (line, end) = match shown.strip_suffix('\n') {
        Some(line) => (line, "\n"),
        None => (&*shown, ""),
    };
    format!("{}{end}", line.replace('\n', "\\n"))
}

fn push(out: &mut String, character: char) {
    if is_hidden(character) {
        // Writing to a string cannot fail. All of them have four digits.
        let _ = write!(out, "\\u{:04x}", u32::from(character));
    } else {
        out.push(character);
    }
}

/// Returns the sequence of a style that a text begins with, and its length. Only those that we use ourselves: none
/// moves the cursor, none makes text invisible.
fn style(text: &str) -> Option<(usize, &str)> {
    let codes = text.strip_prefix("\u{1b}[")?;
    let (codes, _) = codes.split_once('m')?;
    let own = |code: &str| {
        let code = code.parse();
        code.is_ok_and(|code: u8| matches!(code, 0..=4 | 31..=37 | 90..=97))
    };
    if !codes.split(';').all(own) {
        return None;
    }
    let length = "\u{1b}[".len() + codes.len() + "m".len();
    Some((length, &text[..length]))
}
