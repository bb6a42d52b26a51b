//! Places in source files, so that a mistake can point at its cause.

use std::fmt;
use std::sync::Arc;

/// A place in a file of the repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceSpan {
    /// The file's path inside the repository.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters the place covers on its first line, at least 1.
    pub length: u32,
}

impl SourceSpan {
    /// Returns the first character of a file.
    pub fn start_of(file: &str) -> Self {
        Self {
            file: file.into(),
            line: 1,
            column: 1,
            length: 1,
        }
    }
}

impl fmt::Display for SourceSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A text taken from a scalar of a YAML file, with the place of every line of it.
///
/// A policy's expression is such a text: [`SourceText::locate`] maps an offset in it to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// The text after YAML's own decoding.
    pub text: String,
    /// Where the whole scalar stands.
    pub span: SourceSpan,
    /// For each line of `text`, the file's line and column (from 1) at which it starts.
    /// Empty where the scalar's style does not map simply (a folded or escaped scalar): then
    /// every offset maps to `span`.
    pub lines: Vec<(u32, u32)>,
}

impl SourceText {
    /// Returns a text that stands in no file, for tests and tools.
    pub fn inline(text: &str) -> Self {
        let lines = (1..)
            .zip(text.split('\n'))
            .map(|(line, _)| (line, 1))
            .collect();
        Self {
            text: text.to_owned(),
            span: SourceSpan::start_of("<expression>"),
            lines,
        }
    }

    /// Returns the place in the file of the `length` bytes at byte `offset` of the text.
    pub fn locate(&self, offset: usize, length: usize) -> SourceSpan {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let row = before.matches('\n').count();
        let Some(&(line, first)) = self.lines.get(row) else {
            return self.span.clone();
        };
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() as u32;
        let rest = self.text[offset..].split('\n').next().unwrap_or("");
        let covered = rest
            .char_indices()
            .take_while(|(at, _)| *at < length)
            .count();
        SourceSpan {
            file: self.span.file.clone(),
            line,
            column: first + column,
            length: (covered as u32).max(1),
        }
    }
}

/// Returns the path under which a map from paths to places has the place of a key, beside that of its value.
pub fn key_path(path: &str) -> String {
    // No path of a value ends so.
    format!("{path}\0")
}

/// Returns the path of the value whose key's path this is. None: it is no such path.
pub fn value_path(path: &str) -> Option<&str> {
    path.strip_suffix('\0')
}

#[cfg(test)]
mod tests;
