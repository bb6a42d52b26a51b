//! Results as JSON and YAML.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::error::{CommandResult, Context as _};

#[cfg(test)]
mod tests;

/// Returns indented JSON with a line break at the end.
pub(crate) fn json(value: &impl Serialize) -> CommandResult<String> {
    let mut text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    text.push('\n');
    Ok(text)
}

/// Returns YAML in block style. Every text that could be taken for something else is quoted.
pub(crate) fn yaml(value: &impl Serialize) -> CommandResult<String> {
    let value = serde_json::to_value(value).context("cannot write YAML")?;
    let mut text = String::new();
    write_yaml(&mut text, &value, 0);
    Ok(text)
}

fn write_yaml(out: &mut String, value: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(out, "{pad}{}:", scalar(&Value::String(key.clone())));
                write_nested(out, value, depth);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for item in list {
                if is_leaf(item) {
                    let _ = writeln!(out, "{pad}- {}", scalar(item));
                } else {
                    let mut nested = String::new();
                    write_yaml(&mut nested, item, depth + 1);
                    // The first line shares the line of its dash.
                    let _ = write!(out, "{pad}- {}", nested.trim_start());
                }
            }
        }
        leaf => {
            let _ = writeln!(out, "{pad}{}", scalar(leaf));
        }
    }
}

fn write_nested(out: &mut String, value: &Value, depth: usize) {
    if is_leaf(value) {
        let _ = writeln!(out, " {}", scalar(value));
    } else {
        out.push('\n');
        write_yaml(out, value, depth + 1);
    }
}

fn is_leaf(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    }
}

/// A text is plain only when no reader can take it for a number, a boolean, a time or syntax.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON's quoting is valid in YAML.
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let word = text.to_ascii_lowercase();
    let reserved = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    starts && text.chars().all(harmless) && !reserved.contains(&word.as_str())
}
