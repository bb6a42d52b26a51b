//! YAML as a tree in which every key and value knows its place.
//!
//! The tree is stricter than YAML: a repeated key, a tag, a directive, a merge key, a key that is no
//! text, and a number that no integer or finite float can hold are mistakes. Reading is bounded by
//! [`TreeLimits`] and uses no recursion.

use drover_model::Value;

mod build;
mod hints;
mod place;
mod scalar;

pub(crate) use build::{Fault, RawDocument, RawFile, TreeLimits, read};
pub(crate) use scalar::{Resolved, Style, resolve, taken_for};

/// Where something stands: lines and columns from 1, columns and length in characters, and the byte
/// range in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// Characters on the first line.
    pub(crate) length: u32,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Node>, Flow),
    Map(Vec<Entry>, Flow),
}

/// How a list or a map is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// By indentation.
    Block,
    /// In brackets.
    Flow,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Node,
}

/// A single value.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: Style,
    pub(crate) resolved: Resolved,
    /// The file's line and column of each line of `text`; empty where the style does not map.
    pub(crate) lines: Vec<(u32, u32)>,
}

impl Node {
    /// Returns the entries, if this is a map.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries, _) => Some(entries),
            Content::Scalar(_) | Content::List(..) => None,
        }
    }

    /// Returns the value of `key`, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let entry = self.entries()?.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// Returns the text, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(scalar) if scalar.resolved == Resolved::Text => Some(&scalar.text),
            Content::Scalar(_) | Content::List(..) | Content::Map(..) => None,
        }
    }

    /// Returns the scalar, if this is one.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::List(..) | Content::Map(..) => None,
        }
    }

    /// Returns the name of this value's type for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) => match scalar.resolved {
                Resolved::Null => "nothing",
                Resolved::Bool(_) => "a boolean",
                Resolved::Int(_) | Resolved::UInt(_) => "an integer",
                Resolved::Float(_) => "a number",
                Resolved::Text => "a string",
            },
            Content::List(..) => "a list",
            Content::Map(..) => "a map",
        }
    }

    /// Returns the plain value. The tree's depth is bounded, so recursion is.
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(scalar) => match scalar.resolved {
                Resolved::Null => Value::Null,
                Resolved::Bool(value) => Value::Bool(value),
                Resolved::Int(value) => Value::Int(value),
                Resolved::UInt(value) => Value::UInt(value),
                Resolved::Float(value) => Value::Float(value),
                Resolved::Text => Value::String(scalar.text.clone()),
            },
            Content::List(items, _) => Value::List(items.iter().map(Self::to_value).collect()),
            Content::Map(entries, _) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_value()))
                .collect(),
        }
    }
}
