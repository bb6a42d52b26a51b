//! Reads the fields of a recorded state, with the path of each for messages.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use drover_model::Timestamp;

use super::{FORMAT, RecordError};
use crate::document::API_VERSION;
use crate::formats::parse_time;
use crate::tree::{Content, Entry, Node, Resolved, TreeLimits, read};

/// Parses the text and checks that it is a record of that kind in a format known here.
pub(crate) fn root(text: &str, kind: &'static str) -> Result<Node, RecordError> {
    let file = read(text, 0, TreeLimits::RECORD);
    let mut documents = file.documents;
    let faults = documents.iter().flat_map(|document| &document.faults);
    if let Some(fault) = file.fault.iter().chain(faults).next() {
        return Err(RecordError::Syntax {
            line: fault.place.line,
            message: fault.message.clone(),
        });
    }
    let root = documents.pop().and_then(|document| document.root);
    let (Some(root), true) = (root, documents.is_empty()) else {
        return Err(RecordError::Syntax {
            line: 1,
            message: "expected one document".to_owned(),
        });
    };
    let text_of = |key: &str| root.get(key).and_then(Node::text).unwrap_or("nothing");
    if text_of("kind") != kind || text_of("apiVersion") != API_VERSION {
        return Err(RecordError::Kind {
            expected: kind,
            found: format!("{} {}", text_of("apiVersion"), text_of("kind")),
        });
    }
    let found: u64 = Reader::root(&root).get("format")?.number()?;
    if found > FORMAT {
        return Err(RecordError::Newer {
            found,
            known: FORMAT,
        });
    }
    Ok(root)
}

/// A value with its path.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    node: &'a Node,
    path: String,
}

impl<'a> Reader<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> RecordError {
        RecordError::Field {
            line: self.node.place.line,
            path: self.path.clone(),
            message: message.into(),
        }
    }

    fn child(&self, name: &str, node: &'a Node) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Self { node, path }
    }

    fn entries(&self) -> Result<&'a [Entry], RecordError> {
        self.node
            .entries()
            .ok_or_else(|| self.error(format!("must be a map, not {}", self.node.kind())))
    }

    /// Checks that the map has no other fields: a field that is not understood is not restored.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), RecordError> {
        match self
            .entries()?
            .iter()
            .find(|entry| !names.contains(&entry.key.as_str()))
        {
            Some(entry) => Err(self.child(&entry.key, &entry.value).error("is unknown")),
            None => Ok(()),
        }
    }

    pub(crate) fn optional(&self, name: &str) -> Result<Option<Self>, RecordError> {
        let mut entries = self.entries()?.iter();
        let entry = entries.find(|entry| entry.key == name);
        Ok(entry.map(|entry| self.child(name, &entry.value)))
    }

    pub(crate) fn get(&self, name: &str) -> Result<Self, RecordError> {
        self.optional(name)?
            .ok_or_else(|| self.error(format!("lacks `{name}`")))
    }

    /// Reads every entry of a map.
    pub(crate) fn map(&self) -> Result<Vec<(&'a str, Self)>, RecordError> {
        let entries = self.entries()?.iter();
        Ok(entries
            .map(|entry| (entry.key.as_str(), self.child(&entry.key, &entry.value)))
            .collect())
    }

    /// Reads a map whose keys and values have one form each.
    pub(crate) fn map_of<K: Ord, V>(
        &self,
        key: impl Fn(&str) -> Option<K>,
        value: impl Fn(&Self) -> Result<V, RecordError>,
    ) -> Result<BTreeMap<K, V>, RecordError> {
        self.map()?
            .into_iter()
            .map(|(name, reader)| {
                let key = key(name).ok_or_else(|| reader.error("has a key of the wrong form"))?;
                Ok((key, value(&reader)?))
            })
            .collect()
    }

    /// Reads every item of a list.
    pub(crate) fn list(&self) -> Result<Vec<Self>, RecordError> {
        let Content::List(items, _) = &self.node.content else {
            return Err(self.error(format!("must be a list, not {}", self.node.kind())));
        };
        let items = items.iter().enumerate();
        Ok(items
            .map(|(position, node)| Self {
                node,
                path: format!("{}[{position}]", self.path),
            })
            .collect())
    }

    pub(crate) fn text(&self) -> Result<&'a str, RecordError> {
        self.node
            .text()
            .ok_or_else(|| self.error(format!("must be a text, not {}", self.node.kind())))
    }

    pub(crate) fn string(&self) -> Result<String, RecordError> {
        Ok(self.text()?.to_owned())
    }

    pub(crate) fn parsed<T>(&self) -> Result<T, RecordError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let parsed = self.text()?.parse();
        parsed.map_err(|error: T::Err| self.error(error.to_string()))
    }

    pub(crate) fn number<T: TryFrom<u64>>(&self) -> Result<T, RecordError> {
        let number = match self.node.scalar().map(|scalar| scalar.resolved) {
            Some(Resolved::Int(number)) => u64::try_from(number).ok(),
            Some(Resolved::UInt(number)) => Some(number),
            _ => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.error("must be a whole number in its range"))
    }

    pub(crate) fn signed<T: TryFrom<i64>>(&self) -> Result<T, RecordError> {
        let number = match self.node.scalar().map(|scalar| scalar.resolved) {
            Some(Resolved::Int(number)) => T::try_from(number).ok(),
            _ => None,
        };
        number.ok_or_else(|| self.error("must be a whole number in its range"))
    }

    pub(crate) fn float(&self) -> Result<f64, RecordError> {
        match self.node.scalar().map(|scalar| scalar.resolved) {
            Some(Resolved::Float(number)) => Ok(number),
            _ => Err(self.error("must be a number with a point")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool, RecordError> {
        match self.node.scalar().map(|scalar| scalar.resolved) {
            Some(Resolved::Bool(flag)) => Ok(flag),
            _ => Err(self.error("must be true or false")),
        }
    }

    pub(crate) fn time(&self) -> Result<Timestamp, RecordError> {
        parse_time(self.text()?).map_err(|error| self.error(error.to_string()))
    }

    /// Reads one of the words of an enumeration.
    pub(crate) fn one_of<T: Copy>(
        &self,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<T, RecordError> {
        let text = self.text()?;
        let found = all.iter().copied().find(|item| name(*item) == text);
        found.ok_or_else(|| self.error(format!("is no known word: {text}")))
    }

    /// Reads an optional field.
    pub(crate) fn optional_with<T>(
        &self,
        name: &str,
        read: impl Fn(&Self) -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        self.optional(name)?.map(|reader| read(&reader)).transpose()
    }
}
