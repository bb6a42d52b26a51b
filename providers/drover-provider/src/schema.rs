//! What a provider's properties and settings may hold: one description, from which the check, the
//! published JSON Schema and the class of each field follow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use drover_model::{FieldClass, SecretRef, Value};

/// The fields of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectSchema {
    /// The fields by name.
    pub fields: BTreeMap<String, Field>,
    /// What fields of other names are.
    pub others: Others,
    /// What the fields ask of each other.
    pub rules: Rules,
}

/// What an object's fields are that its schema does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Others {
    /// Mistakes.
    #[default]
    Refused,
    /// Taken as they are: who uses the object knows more than the schema says.
    Taken,
}

/// One field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// What it may hold.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What a change of it asks for.
    pub class: FieldClass,
    /// One sentence for the reference page and editors.
    pub doc: String,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A text.
    String,
    /// One of these words.
    Word(Vec<String>),
    /// Digits, as text.
    Digits,
    /// A duration such as `90s`.
    Duration,
    /// A whole number within bounds, both inclusive.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// True or false.
    Boolean,
    /// A list of one shape, with at least so many entries.
    List {
        /// What each entry is.
        of: Box<Shape>,
        /// The fewest entries.
        min: usize,
    },
    /// A map with any keys and values of one shape.
    Map(Box<Shape>),
    /// An object with fixed fields.
    Object(ObjectSchema),
    /// Anything.
    Any,
}

/// One mistake in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as a path such as `env.PORT` or `command[0]`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// A name that was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl ObjectSchema {
    /// Returns the class of each top-level field, for the digest.
    pub fn classes(&self) -> BTreeMap<String, FieldClass> {
        self.fields
            .iter()
            .map(|(name, field)| (name.clone(), field.class))
            .collect()
    }

    /// Returns the first field, as a path, in which two values of the schema differ, unless its class is `ignore`.
    /// What the schema does not name counts, and so does one that only one of them has.
    pub fn differing(&self, before: &Value, after: &Value) -> Option<String> {
        let none = BTreeMap::new();
        let (before, after) = (before.as_map(), after.as_map());
        let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
        let differs = |name: &&String| before.get(*name) != after.get(*name);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let mut names = names.into_iter().filter(differs);
        names.find_map(|name| match self.fields.get(name) {
            Some(field) if field.class == FieldClass::Ignore => None,
            Some(_) | None => Some(name.clone()),
        })
    }

    /// Returns every mistake in `value`.
    pub fn check(&self, value: &Value) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        self.check_at("", value, &mut mistakes);
        mistakes
    }

    fn check_at(&self, path: &str, value: &Value, mistakes: &mut Vec<Mistake>) {
        let Some(map) = value.as_map() else {
            mistakes.push(mistake(
                path,
                format!("expected a map, found {}", value.kind()),
            ));
            return;
        };
        for (name, field) in &self.fields {
            match map.get(name) {
                Some(value) => field.shape.check_at(&join(path, name), value, mistakes),
                None if field.required => {
                    mistakes.push(mistake(path, format!("`{name}` is missing")));
                }
                None => {}
            }
        }
        let refused = self.others == Others::Refused;
        let unknown = map.keys().filter(|name| !self.fields.contains_key(*name));
        for name in unknown.filter(|_| refused) {
            let suggestion = closest(name, self.fields.keys());
            let message = format!("unknown field `{name}`");
            mistakes.push(Mistake {
                path: join(path, name),
                message,
                suggestion,
            });
        }
        for (field, message) in self.rules.broken(map) {
            let path = field.map_or_else(|| path.to_owned(), |field| join(path, field));
            mistakes.push(mistake(&path, message));
        }
    }

    /// Returns the JSON Schema (draft 7) of the object.
    pub fn to_json_schema(&self) -> Value {
        let properties = self.fields.iter().map(|(name, field)| {
            let mut schema = field.shape.to_json_schema();
            if let Value::Map(map) = &mut schema {
                map.insert("description".to_owned(), field.doc.as_str().into());
                map.insert("x-drover-class".to_owned(), field.class.as_str().into());
            }
            (name.clone(), schema)
        });
        let required = self.fields.iter().filter(|(_, field)| field.required);
        let mut schema = BTreeMap::from([
            ("type".to_owned(), Value::from("object")),
            ("properties".to_owned(), properties.collect()),
            (
                "additionalProperties".to_owned(),
                Value::Bool(self.others == Others::Taken),
            ),
        ]);
        let required: Vec<Value> = required.map(|(name, _)| name.as_str().into()).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), Value::List(required));
        }
        self.rules.add_to(&mut schema);
        Value::Map(schema)
    }
}

impl Shape {
    fn check_at(&self, path: &str, value: &Value, mistakes: &mut Vec<Mistake>) {
        match (SecretRef::of_value(value), self) {
            (None, _) => {}
            (Some(Ok(_)), Self::String | Self::Any) => return,
            (Some(Ok(_)), _) => {
                let message = "expected no secret: only texts may come from one".to_owned();
                return mistakes.push(mistake(path, message));
            }
            (Some(Err(why)), _) => return mistakes.push(mistake(path, why)),
        }
        let mut expected = |what: &str| {
            mistakes.push(mistake(
                path,
                format!("expected {what}, found {}", value.kind()),
            ));
        };
        match (self, value) {
            (Self::String, Value::String(_)) | (Self::Boolean, Value::Bool(_)) | (Self::Any, _) => {
            }
            (Self::String, _) => expected("a string"),
            (Self::Boolean, _) => expected("a boolean"),
            (Self::Word(words), Value::String(word)) if words.contains(word) => {}
            (Self::Word(words), Value::String(word)) => mistakes.push(Mistake {
                path: path.to_owned(),
                message: format!("expected one of {}, found {word}", words.join(", ")),
                suggestion: closest(word, words.iter()),
            }),
            (Self::Word(words), _) => expected(&format!("one of {}", words.join(", "))),
            (Self::Digits, Value::String(text)) if is_digits(text) => {}
            (Self::Digits, _) => expected("digits, as text"),
            (Self::Duration, Value::String(text)) if is_duration(text) => {}
            (Self::Duration, _) => expected("a duration such as 90s"),
            (Self::Integer { min, max }, Value::Int(number)) if (min..=max).contains(&number) => {}
            (Self::Integer { min, max }, _) => expected(&format!("an integer from {min} to {max}")),
            (Self::List { of, min }, Value::List(list)) => {
                if list.len() < *min {
                    mistakes.push(mistake(path, format!("expected at least {min} entries")));
                }
                for (position, item) in list.iter().enumerate() {
                    of.check_at(&format!("{path}[{position}]"), item, mistakes);
                }
            }
            (Self::List { .. }, _) => expected("a list"),
            (Self::Map(of), Value::Map(map)) => {
                for (key, item) in map {
                    of.check_at(&join(path, key), item, mistakes);
                }
            }
            (Self::Map(_), _) => expected("a map"),
            (Self::Object(schema), _) => schema.check_at(path, value, mistakes),
        }
    }

    fn to_json_schema(&self) -> Value {
        let typed = |name: &str| BTreeMap::from([("type".to_owned(), Value::from(name))]);
        Value::Map(match self {
            Self::String => typed("string"),
            Self::Word(words) => {
                let mut schema = typed("string");
                let words = words.iter().map(|word| Value::from(word.as_str()));
                schema.insert("enum".to_owned(), Value::List(words.collect()));
                schema
            }
            Self::Boolean => typed("boolean"),
            Self::Digits => {
                let mut schema = typed("string");
                schema.insert("pattern".to_owned(), DIGITS_PATTERN.into());
                schema
            }
            Self::Duration => {
                let mut schema = typed("string");
                schema.insert("pattern".to_owned(), DURATION_PATTERN.into());
                schema
            }
            Self::Integer { min, max } => {
                let mut schema = typed("integer");
                schema.insert("minimum".to_owned(), Value::Int(*min));
                schema.insert("maximum".to_owned(), Value::Int(*max));
                schema
            }
            Self::List { of, min } => {
                let mut schema = typed("array");
                schema.insert("items".to_owned(), of.to_json_schema());
                schema.insert("minItems".to_owned(), Value::Int(*min as i64));
                schema
            }
            Self::Map(of) => {
                let mut schema = typed("object");
                schema.insert("additionalProperties".to_owned(), of.to_json_schema());
                schema
            }
            Self::Object(schema) => return schema.to_json_schema(),
            Self::Any => BTreeMap::new(),
        })
    }
}

/// The form of digits as text, as a regular expression for JSON Schema.
const DIGITS_PATTERN: &str = "^[0-9]+$";

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The form of a duration string, as a regular expression for JSON Schema.
const DURATION_PATTERN: &str = "^([0-9]+(ms|s|m|h))+$";

fn is_duration(text: &str) -> bool {
    parse_duration(text).is_some()
}

/// Returns the length of a duration string such as `90s` or `1h30m`, the form that
/// [`Shape::Duration`] accepts. None: the text is not one.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = None;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let (unit, milliseconds) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
            .into_iter()
            .find(|(unit, _)| rest[digits..].starts_with(unit))?;
        let part = Duration::from_millis(number.checked_mul(milliseconds)?);
        total = Some(total.unwrap_or(Duration::ZERO).checked_add(part)?);
        rest = &rest[digits + unit.len()..];
    }
    total
}

fn mistake(path: &str, message: String) -> Mistake {
    Mistake {
        path: path.to_owned(),
        message,
        suggestion: None,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Returns the known name that is most like `name`, if one is like it at all.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let scored = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, best) = scored.min()?;
    (distance <= 2.max(name.len() / 3)).then(|| best.clone())
}

mod parse;
mod rules;

pub use parse::SchemaError;
pub use rules::Rules;

#[cfg(test)]
mod tests;
