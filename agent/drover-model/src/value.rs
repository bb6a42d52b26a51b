//! An ordered tree of plain values, as written in a document.

use std::collections::BTreeMap;

/// A plain value. Maps are ordered by key, and the three kinds of number stay distinct.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    UInt(u64),
    /// A number with a fraction or an exponent. Never NaN or infinite.
    Float(f64),
    /// A text.
    String(String),
    /// A sequence.
    List(Vec<Value>),
    /// A mapping.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Returns the value with every text in it, but no name of a field, changed by `change`.
    #[must_use]
    pub fn map_texts(&self, change: &dyn Fn(&str) -> String) -> Self {
        match self {
            Self::String(text) => Self::String(change(text)),
            Self::List(list) => Self::List(list.iter().map(|one| one.map_texts(change)).collect()),
            Self::Map(map) => {
                let entries = map.iter();
                let entries = entries.map(|(key, one)| (key.clone(), one.map_texts(change)));
                Self::Map(entries.collect())
            }
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::UInt(_) | Self::Float(_) => {
                self.clone()
            }
        }
    }

    /// Returns an empty map.
    pub fn empty_map() -> Self {
        Self::Map(BTreeMap::new())
    }

    /// Returns the text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the map, if this is one.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the list, if this is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// Returns the entry `key` of a map.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// Returns the name of this value's type for messages, such as `a string`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::UInt(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Appends an encoding in which different values never look alike, for hashing.
    pub fn canonical_bytes(&self, out: &mut Vec<u8>) {
        fn sized(out: &mut Vec<u8>, tag: u8, length: usize) {
            out.push(tag);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
        match self {
            Self::Null => out.push(b'n'),
            Self::Bool(value) => out.extend_from_slice(if *value { b"b1" } else { b"b0" }),
            Self::Int(value) => {
                out.push(b'i');
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::UInt(value) => {
                out.push(b'u');
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Float(value) => {
                out.push(b'f');
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::String(text) => {
                sized(out, b's', text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Self::List(list) => {
                sized(out, b'l', list.len());
                for value in list {
                    value.canonical_bytes(out);
                }
            }
            Self::Map(map) => {
                sized(out, b'm', map.len());
                for (key, value) in map {
                    sized(out, b's', key.len());
                    out.extend_from_slice(key.as_bytes());
                    value.canonical_bytes(out);
                }
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl FromIterator<(String, Value)> for Value {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self::Map(entries.into_iter().collect())
    }
}
