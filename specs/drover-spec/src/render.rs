//! Mistakes as text: the place, the line, a caret, and what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use drover_model::SourceSpan;

use crate::diagnostic::{Diagnostic, Severity};

/// Columns that a source line may take; longer ones are cut around the caret.
const WIDTH: usize = 120;

/// Most characters of a source line that are looked at, so that a file of one long line costs little.
const LINE_LENGTH_MAX: usize = 4096;

/// Renders mistakes as a compiler does. `source` returns the text of a file of the repository; where
/// it returns none, the place is given without its line.
///
/// Control characters are shown as symbols, tabs as spaces, so nothing in a file reaches the terminal
/// as a command. `color` asks for ANSI colours; the caller knows whether it is a terminal and what
/// `NO_COLOR` says.
pub fn render(
    diagnostics: &[Diagnostic],
    source: &dyn Fn(&str) -> Option<String>,
    color: bool,
) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.term_width(WIDTH).decor_style(DecorStyle::Ascii);
    let mut files = Files { source, last: None };
    let mut out = String::new();
    for diagnostic in diagnostics {
        let report = [group(diagnostic, &mut files)];
        out.push_str(&renderer.render(&report));
        out.push_str("\n\n");
    }
    out
}

/// The file that was asked for last: mistakes come in the order of their files.
struct Files<'a> {
    source: &'a dyn Fn(&str) -> Option<String>,
    last: Option<(String, Option<String>)>,
}

impl Files<'_> {
    /// Returns the line of a span, cut to a bounded length, and the range that it covers in it.
    fn line(&mut self, span: &SourceSpan) -> Option<Line> {
        let path = &*span.file;
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            self.last = Some((path.to_owned(), (self.source)(path)));
        }
        let (_, text) = self.last.as_ref()?;
        let line = text
            .as_ref()?
            .split('\n')
            .nth(span.line.checked_sub(1)? as usize)?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        Some(Line::cut(line, span))
    }
}

/// A source line and the place in it.
struct Line {
    text: String,
    start: usize,
    end: usize,
}

impl Line {
    fn cut(line: &str, span: &SourceSpan) -> Self {
        // The columns before the caret are kept as they are, so that the column stays right.
        let before = span.column.saturating_sub(1) as usize;
        let shown = before.saturating_add(LINE_LENGTH_MAX);
        let text: String = line.chars().take(shown).map(visible).collect();
        let offset = |column: usize| {
            text.char_indices()
                .nth(column)
                .map_or(text.len(), |(at, _)| at)
        };
        let start = offset(before);
        let end = offset(before + span.length as usize).max(start);
        Self { text, start, end }
    }
}

/// Returns a character that is safe to print; a tab is left to the renderer.
fn visible(character: char) -> char {
    match character {
        '\t' => '\t',
        '\u{7f}' => '\u{2421}',
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        other => other,
    }
}

fn safe(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character == '\t' {
                ' '
            } else {
                visible(character)
            }
        })
        .collect()
}

fn group(diagnostic: &Diagnostic, files: &mut Files<'_>) -> Group<'static> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(safe(&diagnostic.message))
        .id(diagnostic.code);
    let label = diagnostic.label.as_deref().unwrap_or("");
    let mut group = snippet(
        Group::with_title(title),
        files,
        &diagnostic.span,
        AnnotationKind::Primary,
        label,
    );
    for (span, label) in &diagnostic.related {
        group = snippet(group, files, span, AnnotationKind::Context, label);
    }
    match &diagnostic.hint {
        Some(hint) => group.element(Level::HELP.message(safe(hint))),
        None => group,
    }
}

fn snippet(
    group: Group<'static>,
    files: &mut Files<'_>,
    span: &SourceSpan,
    kind: AnnotationKind,
    label: &str,
) -> Group<'static> {
    let path = safe(&span.file);
    let Some(line) = files.line(span) else {
        let origin = annotate_snippets::Origin::path(path)
            .line(span.line as usize)
            .char_column(span.column as usize);
        return group.element(origin);
    };
    let annotation = kind.span(line.start..line.end);
    let annotation = if label.is_empty() {
        annotation
    } else {
        annotation.label(safe(label))
    };
    group.element(
        Snippet::source(line.text)
            .path(path)
            .line_start(span.line as usize)
            .annotation(annotation),
    )
}

#[cfg(test)]
mod tests;
