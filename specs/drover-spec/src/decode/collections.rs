//! Fields that hold lists and maps.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use drover_model::{SecretRef, SourceText, Value, plural};

use super::{Fields, Others, check};
use crate::declare::Shape;
use crate::limits;
use crate::tree::{Content, Entry, Node};

impl<'a> Fields<'a> {
    /// Returns the items of a list, within its bounds.
    pub(super) fn items(
        &self,
        name: &'static str,
    ) -> Option<(&'static Shape, &'a Entry, &'a [Node])> {
        let (field, entry) = self.get(name);
        let Shape::List { of, min } = &field.shape else {
            unreachable!("`{name}` is declared as a list");
        };
        let entry = entry?;
        let Content::List(items, _) = &entry.value.content else {
            self.wrong(entry, "a list");
            return None;
        };
        if items.len() < *min {
            self.bad(
                entry,
                format!("must have at least {}", plural(*min, "entry", "entries")),
            );
        }
        if items.len() > limits::LIST_LENGTH_MAX {
            let max = limits::LIST_LENGTH_MAX;
            self.bad(entry, format!("must have at most {max} entries"));
            return None;
        }
        Some((*of, entry, items))
    }

    /// Opens every object of a list.
    pub(crate) fn objects(&self, name: &'static str) -> Vec<Fields<'a>> {
        let Some((of, _, items)) = self.items(name) else {
            return Vec::new();
        };
        let Shape::Object(object) = of else {
            unreachable!("`{name}` is declared as a list of objects");
        };
        items
            .iter()
            .map(|item| Fields::open(self.report, item, item.place, object, Others::Refuse))
            .collect()
    }

    /// Reads a list of texts.
    pub(crate) fn texts(&self, name: &'static str) -> Vec<String> {
        let Some((of, entry, items)) = self.items(name) else {
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| {
                let place = item.place;
                let Some(text) = item.text() else {
                    check::not_text(self.report, &entry.key, item);
                    return None;
                };
                if let Err(why) = check::scalar_text(of, text) {
                    let message = format!("an entry of `{}` {why}", entry.key);
                    self.report.error("bad-value", place, message);
                    return None;
                }
                Some(text.to_owned())
            })
            .collect()
    }

    /// Reads a list of names.
    pub(crate) fn ids<T>(&self, name: &'static str) -> Option<Vec<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let (_, entry, items) = self.items(name)?;
        let ids = items.iter().filter_map(|item| {
            let Some(text) = item.text() else {
                check::not_text(self.report, &entry.key, item);
                return None;
            };
            let parsed = text.parse();
            if let Err(error) = &parsed {
                let message = format!("an entry of `{}` {error}", entry.key);
                self.report.error("bad-value", item.place, message);
            }
            parsed.ok()
        });
        Some(ids.collect())
    }

    /// Reads a list of expressions.
    pub(crate) fn expressions(&self, name: &'static str) -> Vec<SourceText> {
        let Some((_, entry, items)) = self.items(name) else {
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| check::expression(self.report, &entry.key, item))
            .collect()
    }

    /// Reads an expression.
    pub(crate) fn expression(&self, name: &'static str) -> Option<SourceText> {
        let entry = self.get(name).1?;
        check::expression(self.report, &entry.key, &entry.value)
    }

    /// Reads a map from keys to texts. `check` says what is wrong with a key and its text.
    pub(crate) fn text_map(
        &self,
        name: &'static str,
        check: fn(&str, &str) -> Result<(), String>,
    ) -> BTreeMap<String, String> {
        let Some(entry) = self.get(name).1 else {
            return BTreeMap::new();
        };
        let Some(entries) = entry.value.entries() else {
            self.wrong(entry, "a map");
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for pair in entries {
            let Some(text) = pair.value.text() else {
                self.wrong(pair, "a string");
                continue;
            };
            match check(&pair.key, text) {
                Ok(()) => {
                    texts.insert(pair.key.clone(), text.to_owned());
                }
                Err(why) => self.report.error("bad-value", pair.key_place, why),
            }
        }
        texts
    }

    /// Reads a map from any key to a text or a reference to a secret; `check` says what keys may be.
    pub(crate) fn secret_text_map(
        &self,
        name: &'static str,
        check: fn(&str, &str) -> Result<(), String>,
    ) -> (BTreeMap<String, String>, BTreeMap<String, SecretRef>) {
        let (mut texts, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        let Some(entry) = self.get(name).1 else {
            return (texts, secrets);
        };
        let Some(entries) = entry.value.entries() else {
            self.wrong(entry, "a map");
            return (texts, secrets);
        };
        for pair in entries {
            let text = pair.value.text();
            if let Err(why) = check(&pair.key, text.unwrap_or_default()) {
                self.report.error("bad-value", pair.key_place, why);
                continue;
            }
            match (text, SecretRef::of_value(&pair.value.to_value())) {
                (Some(text), _) => {
                    texts.insert(pair.key.clone(), text.to_owned());
                }
                (None, Some(Ok(reference))) => {
                    secrets.insert(pair.key.clone(), reference);
                }
                (None, Some(Err(why))) => {
                    let message = format!("`{}` {why}", pair.key);
                    self.report.error("bad-value", pair.value.place, message);
                }
                (None, None) => self.wrong(pair, "a string, or `valueFrom`"),
            }
        }
        (texts, secrets)
    }

    /// Reads a map of anything, with the place of everything in it.
    pub(crate) fn any_map(&self, name: &'static str) -> (Value, Option<&'a Node>) {
        let Some(entry) = self.get(name).1 else {
            return (Value::empty_map(), None);
        };
        if entry.value.entries().is_none() {
            self.wrong(entry, "a map");
            return (Value::empty_map(), None);
        }
        (entry.value.to_value(), Some(&entry.value))
    }
}
