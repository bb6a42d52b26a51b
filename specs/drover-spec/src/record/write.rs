//! Writes YAML: block style, stable, quoted wherever any reader might see something else.

use drover_model::Value;

use crate::tree::{Resolved, resolve};

/// A tree to write, its maps in the order in which they are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Yaml {
    /// Written as it is: a number or a boolean.
    Literal(String),
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    pub(crate) fn text(text: &(impl ToString + ?Sized)) -> Self {
        Self::Text(text.to_string())
    }

    pub(crate) fn number(number: impl Into<u64>) -> Self {
        Self::Literal(number.into().to_string())
    }

    pub(crate) fn flag(flag: bool) -> Self {
        Self::Literal(flag.to_string())
    }

    pub(crate) fn value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Literal("null".to_owned()),
            Value::Bool(value) => Self::flag(*value),
            Value::Int(value) => Self::Literal(value.to_string()),
            Value::UInt(value) => Self::Literal(value.to_string()),
            // `{:?}` writes the shortest text that reads back as the same number, with a point or
            // an exponent, so that it stays a float.
            Value::Float(value) => Self::Literal(format!("{value:?}")),
            Value::String(text) => Self::Text(text.clone()),
            Value::List(list) => Self::List(list.iter().map(Self::value).collect()),
            Value::Map(map) => Self::Map(
                map.iter()
                    .map(|(key, value)| (key.clone(), Self::value(value)))
                    .collect(),
            ),
        }
    }
}

/// A map that is being put together; optional fields are left out.
#[derive(Debug, Default)]
pub(crate) struct MapOf(Vec<(String, Yaml)>);

impl MapOf {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, key: &str, value: Yaml) -> Self {
        self.0.push((key.to_owned(), value));
        self
    }

    pub(crate) fn text(self, key: &str, text: &(impl ToString + ?Sized)) -> Self {
        self.with(key, Yaml::text(text))
    }

    pub(crate) fn number(self, key: &str, number: impl Into<u64>) -> Self {
        self.with(key, Yaml::number(number))
    }

    pub(crate) fn optional(self, key: &str, value: Option<Yaml>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(crate) fn optional_text(self, key: &str, text: Option<impl ToString>) -> Self {
        self.optional(key, text.map(|text| Yaml::text(&text)))
    }

    pub(crate) fn build(self) -> Yaml {
        Yaml::Map(self.0)
    }
}

/// Writes a whole document.
pub(crate) fn document(root: &Yaml) -> String {
    let mut out = String::new();
    match root {
        Yaml::Map(entries) if !entries.is_empty() => map(&mut out, entries, 0),
        other => {
            inline(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// Writes the entries of a map; the first line's indentation is already there when `depth` says so.
fn map(out: &mut String, entries: &[(String, Yaml)], depth: usize) {
    for (position, (key, value)) in entries.iter().enumerate() {
        if position > 0 {
            indent(out, depth);
        }
        scalar(out, key);
        out.push(':');
        after_key(out, value, depth);
    }
}

fn after_key(out: &mut String, value: &Yaml, depth: usize) {
    match value {
        Yaml::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            indent(out, depth + 1);
            map(out, entries, depth + 1);
        }
        Yaml::List(items) if !items.is_empty() => {
            out.push('\n');
            list(out, items, depth + 1);
        }
        other => {
            out.push(' ');
            inline(out, other, depth);
            if !out.ends_with('\n') {
                out.push('\n');
            }
        }
    }
}

fn list(out: &mut String, items: &[Yaml], depth: usize) {
    for item in items {
        indent(out, depth);
        out.push('-');
        match item {
            Yaml::Map(entries) if !entries.is_empty() => {
                out.push(' ');
                map(out, entries, depth + 1);
            }
            other => after_key(out, other, depth),
        }
    }
}

/// Writes a value that begins on the current line.
fn inline(out: &mut String, value: &Yaml, depth: usize) {
    match value {
        Yaml::Literal(text) => out.push_str(text),
        Yaml::Text(text) if is_block(text) => block(out, text, depth),
        Yaml::Text(text) => scalar(out, text),
        // Only the empty ones come here.
        Yaml::List(_) => out.push_str("[]"),
        Yaml::Map(_) => out.push_str("{}"),
    }
}

fn scalar(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        quoted(out, text, escape_yaml);
    }
}

/// Writes a text so that it may stand in a flow collection.
pub(crate) fn flow_scalar(text: &str) -> String {
    let mut out = String::new();
    scalar(&mut out, text);
    out
}

/// Words that YAML 1.1 readers take for booleans or null.
const WORDS_1_1: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];

/// Returns whether a text may stand without quotes: no reader takes it for anything else.
fn is_plain(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || " _./@+:-".contains(c);
    let first_ok = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "/._".contains(c));
    let last_ok = text.ends_with(|c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c));
    // Numbers in any notation, dates, times, base 60.
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "_.:-+ eETtZz".contains(c))
        || ["0x", "0o", "0b"]
            .iter()
            .any(|radix| text.starts_with(radix));
    let word = text.to_ascii_lowercase();
    first_ok
        && last_ok
        && !numeric
        && text.chars().all(inner)
        && !text.contains(": ")
        && !text.starts_with("...")
        && !WORDS_1_1.contains(&word.as_str())
        && resolve(text) == Ok(Resolved::Text)
}

/// Writes a text in double quotes. What may not stand in a file as it is is left to `escape`.
pub(super) fn quoted(out: &mut String, text: &str, escape: fn(&mut String, char)) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if is_printable(character) => out.push(character),
            _ => escape(out, character),
        }
    }
    out.push('"');
}

fn escape_yaml(out: &mut String, character: char) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = write!(out, "\\U{:08X}", u32::from(character));
}

/// Returns whether a character may stand in a file as it is: what the reader refuses, and what
/// some readers take for a line break or a mark, is escaped.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}'
            | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Returns whether a text is written as a block of its own lines.
fn is_block(text: &str) -> bool {
    let body = text.trim_end_matches('\n');
    body.contains('\n')
        && body.chars().all(|c| c == '\n' || is_printable(c))
        && !body
            .lines()
            .any(|line| line.trim().is_empty() && !line.is_empty())
}

fn block(out: &mut String, text: &str, depth: usize) {
    let body = text.trim_end_matches('\n');
    out.push('|');
    let first = body.lines().find(|line| !line.is_empty()).unwrap_or("");
    if first.starts_with(' ') {
        // The reader cannot guess the indentation from such a line.
        out.push('2');
    }
    match text.len() - body.len() {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    out.push('\n');
    for line in text.split_inclusive('\n') {
        if line != "\n" {
            indent(out, depth + 1);
        }
        out.push_str(line);
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
}
