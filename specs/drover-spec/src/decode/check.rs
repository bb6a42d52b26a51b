//! Checks of single values.

use drover_model::{SourceSpan, SourceText};

use super::suggest::closest;
use crate::declare::Shape;
use crate::diagnostic::{Diagnostic, Report};
use crate::limits;
use crate::tree::{Node, Resolved};

/// The HTTP methods that a request may use.
pub(crate) const HTTP_METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

/// Longest path of an HTTP request.
pub(crate) const HTTP_PATH_LENGTH_MAX: usize = 1024;

/// Checks a text by its declared form.
pub(crate) fn scalar_text(shape: &Shape, text: &str) -> Result<(), String> {
    match shape {
        Shape::Text { max } => {
            if text.is_empty() {
                return Err("must not be empty".to_owned());
            }
            at_most(*max, text)
        }
        Shape::Line { max } => at_most(*max, text),
        Shape::HttpPath => http_path(text),
        Shape::HttpMethod if HTTP_METHODS.contains(&text) => Ok(()),
        Shape::HttpMethod => Err(format!("must be one of {}", HTTP_METHODS.join(", "))),
        Shape::Name
        | Shape::Expression
        | Shape::Integer { .. }
        | Shape::Boolean
        | Shape::Amount { .. }
        | Shape::Duration { .. }
        | Shape::Rate
        | Shape::Time
        | Shape::Word(..)
        | Shape::Words(_)
        | Shape::Auto(_)
        | Shape::Object(_)
        | Shape::List { .. }
        | Shape::TextMap
        | Shape::SecretTextMap
        | Shape::AnyMap
        | Shape::Params(_)
        | Shape::Any
        | Shape::Later => Ok(()),
    }
}

fn at_most(max: usize, text: &str) -> Result<(), String> {
    if text.chars().count() > max {
        return Err(format!("must have at most {max} characters"));
    }
    Ok(())
}

/// A path goes onto a request line: nothing in it may end that line or be taken for a host.
fn http_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') || text.starts_with("//") {
        return Err("must begin with one '/'".to_owned());
    }
    if text.len() > HTTP_PATH_LENGTH_MAX {
        return Err(format!("must have at most {HTTP_PATH_LENGTH_MAX} bytes"));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(character) => Err(format!(
            "contains {character:?}, which must be percent-encoded"
        )),
        None => Ok(()),
    }
}

/// Reads one of some words.
pub(crate) fn word(
    report: &Report,
    key: &str,
    node: &Node,
    words: &'static [&'static str],
    later: &'static [&'static str],
) -> Option<&'static str> {
    let written = node.scalar().map(|scalar| scalar.text.as_str());
    let found = words.iter().find(|word| node.text() == Some(**word));
    if found.is_some() {
        return found.copied();
    }
    let span = report.span(node.place);
    if let Some(word) = later.iter().find(|word| node.text() == Some(**word)) {
        let message = format!("`{key}: {word}` is not supported yet");
        report.push(Diagnostic::error("not-supported", message, span));
        return None;
    }
    let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let message = format!("`{key}` must be one of {}", list.join(", "));
    let diagnostic = Diagnostic::error("bad-value", message, span);
    let near = written.and_then(|written| closest(written, words.iter().copied()));
    report.push(match near {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    });
    None
}

/// Reports that an entry of a list is no text.
pub(crate) fn not_text(report: &Report, key: &str, item: &Node) {
    let message = format!(
        "an entry of `{key}` must be a string, found {}",
        item.kind()
    );
    let diagnostic = Diagnostic::error("wrong-type", message, report.span(item.place));
    report.push(match item.scalar() {
        Some(scalar) if scalar.resolved != Resolved::Null => {
            diagnostic.hint(format!("put it in quotes: \"{}\"", scalar.text))
        }
        Some(_) | None => diagnostic,
    });
}

/// Reads a CEL expression with the place of each of its lines.
pub(crate) fn expression(report: &Report, key: &str, node: &Node) -> Option<SourceText> {
    let Some((text, scalar)) = node.text().zip(node.scalar()) else {
        let message = format!("`{key}` must be a CEL expression, found {}", node.kind());
        let diagnostic = Diagnostic::error("wrong-type", message, report.span(node.place));
        report.push(diagnostic.hint("put it in quotes or in a block after `|`"));
        return None;
    };
    if text.trim().is_empty() {
        report.error("bad-value", node.place, format!("`{key}` is empty"));
        return None;
    }
    if text.len() > limits::EXPRESSION_BYTES_MAX {
        let max = limits::EXPRESSION_BYTES_MAX;
        let message = format!("`{key}` must have at most {max} bytes");
        report.error("bad-value", node.place, message);
        return None;
    }
    let span: SourceSpan = report.span(node.place);
    Some(SourceText {
        text: text.to_owned(),
        span,
        lines: scalar.lines.clone(),
    })
}

/// Checks a label: `[prefix/]name` and a value, each of at most 63 letters, digits, '-', '_', '.'.
pub(crate) fn label(key: &str, value: &str) -> Result<(), String> {
    label_key(key)?;
    if value.is_empty() || is_label_name(value) {
        return Ok(());
    }
    Err(format!(
        "the value of label `{key}` must have at most 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit"
    ))
}

fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_ok = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && prefix
                .split('.')
                .all(|label| drover_model::GroupName::parse(label).is_ok())
    });
    if prefix_ok && is_label_name(name) {
        return Ok(());
    }
    Err(format!(
        "the key `{key}` must be a name of at most 63 letters, digits, '-', '_' and '.', which may follow a DNS name and '/'"
    ))
}

fn is_label_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last))
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && bytes.len() <= 63
        && bytes.iter().all(inner)
}

/// Checks an annotation: the key as in labels, any text.
pub(crate) fn annotation(key: &str, value: &str) -> Result<(), String> {
    /// Most bytes of one annotation.
    const VALUE_BYTES_MAX: usize = 16 * 1024;
    label_key(key)?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!(
            "the annotation `{key}` must have at most {VALUE_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

/// Checks an environment variable.
pub(crate) fn env(key: &str, _: &str) -> Result<(), String> {
    if is_identifier(key) {
        return Ok(());
    }
    Err(format!(
        "`{key}` cannot be an environment variable: it must have letters, digits and '_', and not begin with a digit"
    ))
}

/// Checks a tag. The ownership tags are the agent's alone.
pub(crate) fn tag(key: &str, value: &str) -> Result<(), String> {
    /// Longest key and value of a tag: what clouds allow.
    const KEY_LENGTH_MAX: usize = 127;
    const VALUE_LENGTH_MAX: usize = 256;
    if key.to_ascii_lowercase().starts_with("drover.") {
        return Err(format!(
            "the tag `{key}` is reserved: tags that begin with `drover.` say who owns an instance"
        ));
    }
    if key.is_empty() || key.chars().count() > KEY_LENGTH_MAX {
        return Err(format!(
            "the tag `{key}` must have from 1 to {KEY_LENGTH_MAX} characters"
        ));
    }
    if value.chars().count() > VALUE_LENGTH_MAX {
        return Err(format!(
            "the value of tag `{key}` must have at most {VALUE_LENGTH_MAX} characters"
        ));
    }
    Ok(())
}

/// Returns whether `text` is letters, digits and '_', not beginning with a digit.
pub(crate) fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
