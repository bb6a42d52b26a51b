//! Finds every mistake in a value.

use std::collections::BTreeSet;

use drover_model::{SecretRef, Value};

use super::{FieldPart, Form, ListShape, Mistake, ObjectSchema, Others, Shape, Unique, suggest};
use super::{is_digits, is_duration, join};

/// What is known of a value when it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is as a person wrote it: what texts will be that have substitutions is not known.
    Written,
    /// Everything is filled in. Values of secrets stand in it, so that none is shown.
    Finished,
}

struct Check {
    stage: Stage,
    mistakes: Vec<Mistake>,
}

/// Returns every mistake in a value of a shape, which stands at `path`.
pub(super) fn of_shape(stage: Stage, path: &str, shape: &Shape, value: &Value) -> Vec<Mistake> {
    let mut check = Check {
        stage,
        mistakes: Vec::new(),
    };
    check.shape(path, shape, value);
    check.mistakes
}

/// Most characters of a value that a message shows.
const SHOWN_MAX: usize = 60;

impl Shape {
    /// Returns every mistake in a value of this shape, as it was written, which stands at `path`.
    pub fn check(&self, path: &str, value: &Value) -> Vec<Mistake> {
        of_shape(Stage::Written, path, self, value)
    }
}

impl ObjectSchema {
    /// Returns every mistake in `value`, as it was written. A text with `${...}` in it is of no form yet.
    pub fn check(&self, value: &Value) -> Vec<Mistake> {
        self.check_in(Stage::Written, value)
    }

    /// Returns every mistake in `value`, in which substitutions and secrets are filled in. No message shows
    /// what a text is.
    pub fn check_finished(&self, value: &Value) -> Vec<Mistake> {
        self.check_in(Stage::Finished, value)
    }

    fn check_in(&self, stage: Stage, value: &Value) -> Vec<Mistake> {
        let mut check = Check {
            stage,
            mistakes: Vec::new(),
        };
        check.object("", self, value);
        check.mistakes
    }
}

impl Check {
    fn object(&mut self, path: &str, schema: &ObjectSchema, value: &Value) {
        let Some(map) = value.as_map() else {
            return self.expected(path, "a map", value, None);
        };
        for (name, field) in &schema.fields {
            match map.get(name) {
                Some(value) => self.shape(&join(path, name), &field.shape, value),
                None if field.required => self.mistake(path, format!("`{name}` is missing"), None),
                None => {}
            }
        }
        let refused = schema.others == Others::Refused;
        let unknown = map.keys().filter(|name| !schema.fields.contains_key(*name));
        for name in unknown.filter(|_| refused) {
            let meant = suggest::name(name, schema.fields.keys());
            let meant = meant.or_else(|| suggest::elsewhere(name, schema));
            self.mistakes.push(Mistake {
                path: join(path, name),
                message: format!("unknown field `{name}`"),
                suggestion: meant,
                part: FieldPart::Name,
            });
        }
        for (field, message) in schema.rules.broken(map, self.stage) {
            let path = field.map_or_else(|| path.to_owned(), |field| join(path, &field));
            self.mistake(&path, message, None);
        }
    }

    fn shape(&mut self, path: &str, shape: &Shape, value: &Value) {
        match (SecretRef::of_value(value), shape) {
            (None, _) => {}
            (Some(Ok(_)), Shape::String | Shape::Text(_) | Shape::Any) => return,
            (Some(Ok(_)), _) => {
                let message = "expected no secret: only texts may come from one".to_owned();
                return self.mistake(path, message, None);
            }
            (Some(Err(why)), _) => return self.mistake(path, why, None),
        }
        match (shape, value) {
            (Shape::String, Value::String(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Any, _) => {}
            (Shape::String, _) => self.expected(path, "a string", value, suggest::text(value)),
            (Shape::Text(form), _) => self.text(path, form, value),
            (Shape::Boolean, _) => self.expected(path, "a boolean", value, suggest::boolean(value)),
            (Shape::Word(words), _) => self.word(path, words, value),
            (Shape::Digits, Value::String(text)) if is_digits(text) => {}
            (Shape::Digits, _) => {
                self.expected(path, "digits, as text", value, suggest::text(value));
            }
            (Shape::Duration, Value::String(text)) if is_duration(text) => {}
            (Shape::Duration, _) => {
                let meant = suggest::duration(value);
                self.expected(path, "a duration such as 90s", value, meant);
            }
            (Shape::Integer { min, max }, Value::Int(number)) if (min..=max).contains(&number) => {}
            (Shape::Integer { min, max }, _) => {
                let meant = suggest::integer(path, value, *min, *max);
                self.expected(path, &integers(*min, *max), value, meant);
            }
            (Shape::List(list), Value::List(entries)) => self.list(path, list, entries),
            (Shape::List(_), _) => self.expected(path, "a list", value, suggest::list(value)),
            (Shape::Map(of) | Shape::Keyed { of, .. }, Value::Map(map)) => {
                for (key, item) in map {
                    self.key(&join(path, key), shape, key);
                    self.shape(&join(path, key), of, item);
                }
            }
            (Shape::Map(_) | Shape::Keyed { .. }, _) => self.expected(path, "a map", value, None),
            (Shape::Object(schema), _) => self.object(path, schema, value),
        }
    }

    fn word(&mut self, path: &str, words: &[String], value: &Value) {
        let word = value.as_str();
        if word.is_some_and(|word| words.iter().any(|known| known == word)) {
            return;
        }
        let meant = word.and_then(|word| suggest::name(word, words.iter()));
        let expected = match words {
            [only] => only.clone(),
            words => format!("one of {}", words.join(", ")),
        };
        self.expected(path, &expected, value, meant);
    }

    fn text(&mut self, path: &str, form: &Form, value: &Value) {
        let Some(text) = value.as_str() else {
            // Where quotes alone do not help, a number lacks its unit.
            if let Value::Int(number) = value
                && !form.fits(&number.to_string())
                && let Some(meant) = suggest::duration(value).filter(|meant| form.fits(meant))
            {
                return self.expected(path, &form.expected(), value, Some(meant));
            }
            let meant = suggest::text(value);
            return self.expected(path, "a string", value, meant);
        };
        if (self.stage == Stage::Written && text.contains("${")) || form.fits(text) {
            return;
        }
        self.expected(path, &form.expected(), value, suggest::form(text, form));
    }

    /// Keys are as they are written at every stage, and no secrets.
    fn key(&mut self, path: &str, shape: &Shape, key: &str) {
        let Shape::Keyed { keys, .. } = shape else {
            return;
        };
        if !keys.fits(key) {
            self.mistakes.push(Mistake {
                path: path.to_owned(),
                message: format!("expected {}, found {key:?}", keys.expected()),
                suggestion: suggest::key(key, keys),
                part: FieldPart::Name,
            });
        }
    }

    fn list(&mut self, path: &str, list: &ListShape, entries: &[Value]) {
        let ListShape {
            of,
            first,
            min,
            max,
            unique,
        } = list;
        let count = |number: usize| match number {
            1 => "one entry".to_owned(),
            number => format!("{number} entries"),
        };
        if entries.len() < *min {
            let message = format!("expected at least {}", count(*min));
            self.mistake(path, message, None);
        }
        if let Some(max) = max.filter(|max| entries.len() > *max) {
            let found = entries.len();
            let message = format!("expected at most {}, found {found}", count(max));
            self.mistake(path, message, None);
        }
        for (position, item) in entries.iter().enumerate() {
            let first = first.as_ref().filter(|_| position == 0);
            self.shape(&format!("{path}[{position}]"), first.unwrap_or(of), item);
        }
        let Some(unique) = unique else { return };
        let mut seen = BTreeSet::new();
        for (position, item) in entries.iter().enumerate() {
            let Some(key) = unique.key(item) else {
                continue;
            };
            if !seen.insert(key) {
                let at = format!("{path}[{position}]");
                self.mistake(&at, unique.message(), None);
            }
        }
    }

    fn expected(&mut self, path: &str, what: &str, value: &Value, meant: Option<String>) {
        let (found, meant) = match self.stage {
            Stage::Written => (shown(value), meant),
            Stage::Finished => (value.kind().to_owned(), None),
        };
        self.mistake(path, format!("expected {what}, found {found}"), meant);
    }

    fn mistake(&mut self, path: &str, message: String, suggestion: Option<String>) {
        self.mistakes.push(Mistake {
            path: path.to_owned(),
            message,
            suggestion,
            part: FieldPart::Value,
        });
    }
}

impl Unique {
    /// Returns what no other entry may have. None: it has a mistake of its own.
    fn key(&self, item: &Value) -> Option<String> {
        let by = match self {
            Self::Whole => return Some(format!("{item:?}")),
            Self::By(by) => by,
        };
        let map = item.as_map()?;
        let parts = by
            .iter()
            .map(|(name, default)| map.get(name).unwrap_or(default));
        Some(format!("{:?}", parts.collect::<Vec<_>>()))
    }

    fn message(&self) -> String {
        match self {
            Self::Whole => "it is there twice".to_owned(),
            Self::By(by) => {
                let names: Vec<String> = by.keys().map(|name| format!("`{name}`")).collect();
                format!("another entry has the same {}", names.join(" and "))
            }
        }
    }
}

fn integers(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, i64::MAX) => "an integer".to_owned(),
        (min, i64::MAX) => format!("an integer of at least {min}"),
        (i64::MIN, max) => format!("an integer of at most {max}"),
        (min, max) => format!("an integer from {min} to {max}"),
    }
}

/// Returns a value as people wrote it, where it is short.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) if text.chars().count() > SHOWN_MAX => {
            let start: String = text.chars().take(SHOWN_MAX).collect();
            format!("{:?}", format!("{start}..."))
        }
        Value::String(text) => format!("{text:?}"),
        Value::Null | Value::List(_) | Value::Map(_) => value.kind().to_owned(),
    }
}

#[cfg(test)]
mod tests;
