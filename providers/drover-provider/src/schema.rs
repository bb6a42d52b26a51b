//! What a provider's properties and settings may hold: one description, from which the check, the
//! published JSON Schema and the class of each field follow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use drover_model::{FieldClass, Value};

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
    /// A text of a form.
    Text(Box<Form>),
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
    /// A list of one shape.
    List(ListShape),
    /// A map with any keys and values of one shape.
    Map(Box<Shape>),
    /// A map with keys of a form and values of one shape.
    Keyed {
        /// What its keys are.
        keys: Box<Form>,
        /// What each value is.
        of: Box<Shape>,
    },
    /// An object with fixed fields.
    Object(ObjectSchema),
    /// Anything.
    Any,
}

/// What a list holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ListShape {
    /// What each entry is.
    pub of: Box<Shape>,
    /// What the first entry is. None: as the others.
    pub first: Option<Box<Shape>>,
    /// The fewest entries.
    pub min: usize,
    /// The most entries. None: any number.
    pub max: Option<usize>,
    /// What no two entries share. None: they may be alike.
    pub unique: Option<Unique>,
}

/// What no two entries of a list share.
#[derive(Debug, Clone, PartialEq)]
pub enum Unique {
    /// They are not equal.
    Whole,
    /// They do not have all of these fields alike. Each has the value that stands for it where it is left out.
    By(BTreeMap<String, Value>),
}

impl ListShape {
    /// Returns lists of any number of entries of one shape.
    pub fn of(shape: Shape) -> Self {
        Self {
            of: Box::new(shape),
            first: None,
            min: 0,
            max: None,
            unique: None,
        }
    }

    /// Adds the fewest entries.
    #[must_use]
    pub fn at_least(mut self, min: usize) -> Self {
        self.min = min;
        self
    }

    /// Adds the most entries.
    #[must_use]
    pub fn at_most(mut self, max: usize) -> Self {
        self.max = Some(max);
        self
    }

    /// Adds what the first entry is.
    #[must_use]
    pub fn first(mut self, shape: Shape) -> Self {
        self.first = Some(Box::new(shape));
        self
    }

    /// Adds what no two entries share.
    #[must_use]
    pub fn unique(mut self, unique: Unique) -> Self {
        self.unique = Some(unique);
        self
    }
}

impl Shape {
    /// Returns the shape of texts of a form.
    pub fn text(form: Form) -> Self {
        Self::Text(Box::new(form))
    }

    /// Returns the shape of maps with keys of a form.
    pub fn keyed(keys: Form, of: Self) -> Self {
        Self::Keyed {
            keys: Box::new(keys),
            of: Box::new(of),
        }
    }
}

/// One mistake in a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as a path such as `env.PORT` or `command[0]`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// Which part of the field is wrong.
    pub part: FieldPart,
}

/// The part of a field that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldPart {
    /// Its name: there is no such field.
    Name,
    /// Its value, or what the value lacks.
    Value,
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
            Self::Text(form) => form.to_json_schema(),
            Self::List(list) => list.to_json_schema(),
            Self::Map(of) => {
                let mut schema = typed("object");
                schema.insert("additionalProperties".to_owned(), of.to_json_schema());
                schema
            }
            Self::Keyed { keys, of } => {
                let mut schema = typed("object");
                let keys = Value::Map(keys.to_json_schema());
                schema.insert("propertyNames".to_owned(), keys);
                schema.insert("additionalProperties".to_owned(), of.to_json_schema());
                schema
            }
            Self::Object(schema) => return schema.to_json_schema(),
            Self::Any => BTreeMap::new(),
        })
    }
}

impl ListShape {
    fn to_json_schema(&self) -> BTreeMap<String, Value> {
        let mut schema = BTreeMap::from([("type".to_owned(), Value::from("array"))]);
        let mut add = |name: &str, value: Value| {
            schema.insert(name.to_owned(), value);
        };
        match &self.first {
            None => add("items", self.of.to_json_schema()),
            Some(first) => {
                add("items", Value::List(vec![first.to_json_schema()]));
                add("additionalItems", self.of.to_json_schema());
            }
        }
        add("minItems", Value::Int(self.min as i64));
        if let Some(max) = self.max {
            add("maxItems", Value::Int(max as i64));
        }
        match &self.unique {
            None => {}
            Some(Unique::Whole) => add("uniqueItems", Value::Bool(true)),
            Some(Unique::By(by)) => add(UNIQUE_BY, Value::Map(by.clone())),
        }
        schema
    }
}

/// The keyword of the fields by which entries of a list differ.
const UNIQUE_BY: &str = "x-drover-uniqueBy";

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

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

mod check;
mod form;
mod group;
mod parse;
mod rules;
mod suggest;

pub use form::{Form, Pattern};
pub use group::{
    AddressRule, AdoptRule, CheckRule, GroupRules, InitRule, MemberRule, Way, ZoneRule,
};
pub use parse::SchemaError;
pub use rules::{Demand, Rules, When};

#[cfg(test)]
mod tests;
