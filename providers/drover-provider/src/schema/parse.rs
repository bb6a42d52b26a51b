//! Reads a schema back from the JSON Schema that it publishes: how a plugin in another language says
//! what its properties may hold.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{FieldClass, Value};

use super::rules::{AT_MOST, GROUP, NO_LIMIT};
use super::{
    DIGITS_PATTERN, DURATION_PATTERN, Field, Form, ListShape, ObjectSchema, Others, Pattern, Rules,
    Shape, UNIQUE_BY, Unique,
};

mod rules;

/// The deepest nesting of a schema that is read: ten times what any provider of this repository has.
const DEPTH_MAX: usize = 32;

/// The most patterns of a schema: twenty times what any provider of this repository has. Each takes memory as long as
/// the schema is kept.
const PATTERNS_MAX: usize = 200;

/// Why a JSON Schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A keyword, or a value of one, that no [`Shape`] expresses. Ignoring it would accept what the
    /// author refuses.
    #[error("{path}: {what} is not part of the schemas that are understood")]
    NotUnderstood {
        /// Where, as a path of properties; `schema` for the whole.
        path: String,
        /// The keyword, with its value where that matters.
        what: String,
    },
    /// Something has the wrong type.
    #[error("{path}: {what}")]
    Form {
        /// Where.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl ObjectSchema {
    /// Reads what [`to_json_schema`](Self::to_json_schema) writes.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be expressed.
    pub fn from_json_schema(schema: &Value) -> Result<Self, SchemaError> {
        let mut reading = Reading { patterns: 0 };
        match reading.shape("schema", schema, 0)? {
            Shape::Object(object) => Ok(object),
            Shape::Any
            | Shape::String
            | Shape::Text(_)
            | Shape::Word(_)
            | Shape::Digits
            | Shape::Duration
            | Shape::Integer { .. }
            | Shape::Boolean
            | Shape::List(_)
            | Shape::Map(_)
            | Shape::Keyed { .. } => Err(form("schema", "expected `type: object`")),
        }
    }
}

/// What was read so far.
struct Reading {
    patterns: usize,
}

/// Keywords that say something about every type, and nothing that is checked.
const ANNOTATIONS: [&str; 6] = [
    "description",
    "title",
    "examples",
    "$schema",
    "x-drover-class",
    "type",
];

/// Keywords of texts.
const OF_TEXTS: [&str; 5] = ["pattern", "enum", "not", "minLength", "maxLength"];

/// Keywords of lists.
const OF_LISTS: [&str; 6] = [
    "items",
    "additionalItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    UNIQUE_BY,
];

/// Keywords of objects.
const OF_OBJECTS: [&str; 11] = [
    "properties",
    "additionalProperties",
    "propertyNames",
    "required",
    "anyOf",
    "oneOf",
    "allOf",
    "dependencies",
    AT_MOST,
    NO_LIMIT,
    GROUP,
];

impl Reading {
    fn shape(&mut self, path: &str, schema: &Value, depth: usize) -> Result<Shape, SchemaError> {
        let map = schema
            .as_map()
            .ok_or_else(|| form(path, format!("expected a map, found {}", schema.kind())))?;
        if depth > DEPTH_MAX {
            return Err(form(path, "it is nested too deeply"));
        }
        let type_ = match map.get("type") {
            None => {
                only(path, map, &[])?;
                return Ok(Shape::Any);
            }
            Some(Value::String(type_)) => type_.as_str(),
            Some(other) => return Err(form(path, format!("`type` is {}", other.kind()))),
        };
        match type_ {
            "boolean" => only(path, map, &[]).map(|()| Shape::Boolean),
            "string" => self.string(path, map),
            "integer" => {
                only(path, map, &["minimum", "maximum"])?;
                Ok(Shape::Integer {
                    min: integer(path, map, "minimum")?.unwrap_or(i64::MIN),
                    max: integer(path, map, "maximum")?.unwrap_or(i64::MAX),
                })
            }
            "array" => self.list(path, map, depth).map(Shape::List),
            "object" => self.object(path, map, depth),
            other => Err(not_understood(path, format!("`type: {other}`"))),
        }
    }

    fn string(&mut self, path: &str, map: &BTreeMap<String, Value>) -> Result<Shape, SchemaError> {
        only(path, map, &OF_TEXTS)?;
        if map.contains_key("enum") {
            return words(path, map);
        }
        let alone = !OF_TEXTS[1..].iter().any(|name| map.contains_key(*name));
        match map.get("pattern").map(Value::as_str) {
            None if alone => Ok(Shape::String),
            Some(Some(DURATION_PATTERN)) if alone => Ok(Shape::Duration),
            Some(Some(DIGITS_PATTERN)) if alone => Ok(Shape::Digits),
            Some(_) | None => self.form(path, map).map(Shape::text),
        }
    }

    /// Reads what texts look like. `title` and the first of `examples` are for messages.
    fn form(&mut self, path: &str, map: &BTreeMap<String, Value>) -> Result<Form, SchemaError> {
        let what = map.get("title").and_then(Value::as_str);
        let examples = map.get("examples").and_then(Value::as_list);
        let example = examples.and_then(|examples| examples.first()?.as_str());
        let not = match map.get("not") {
            None => None,
            Some(not) => {
                let bare = |map: &BTreeMap<String, Value>| {
                    map.keys().all(|name| name == "pattern" || name == "type")
                };
                let what = "`not` of anything but a `pattern`";
                let not = not.as_map().filter(|not| bare(not));
                let not = not.ok_or_else(|| not_understood(path, what))?;
                let pattern = self.pattern(path, not)?;
                Some(pattern.ok_or_else(|| not_understood(path, what))?)
            }
        };
        Ok(Form {
            pattern: self.pattern(path, map)?,
            not,
            min: count(path, map, "minLength")?.unwrap_or(0),
            max: count(path, map, "maxLength")?,
            what: what.unwrap_or_default().to_owned(),
            example: example.unwrap_or_default().to_owned(),
        })
    }

    fn pattern(
        &mut self,
        path: &str,
        map: &BTreeMap<String, Value>,
    ) -> Result<Option<Pattern>, SchemaError> {
        let Some(written) = map.get("pattern") else {
            return Ok(None);
        };
        let written = written
            .as_str()
            .ok_or_else(|| form(path, "`pattern` is no text"))?;
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            let what = format!("there are more than {PATTERNS_MAX} patterns");
            return Err(form(path, what));
        }
        let pattern = Pattern::parse(written);
        let pattern = pattern.map_err(|why| not_understood(path, format!("`pattern`: {why}")));
        Ok(Some(pattern?))
    }

    fn list(
        &mut self,
        path: &str,
        map: &BTreeMap<String, Value>,
        depth: usize,
    ) -> Result<ListShape, SchemaError> {
        only(path, map, &OF_LISTS)?;
        let mut entry = |schema: Option<&Value>| match schema {
            None => Ok(Shape::Any),
            Some(schema) => self.shape(&format!("{path}[]"), schema, depth + 1),
        };
        let (first, of) = match map.get("items") {
            Some(Value::List(firsts)) => {
                let what = "`items` of more than one schema";
                let [first] = firsts.as_slice() else {
                    return Err(not_understood(path, what));
                };
                let first = entry(Some(first))?;
                (Some(first), entry(map.get("additionalItems"))?)
            }
            items => {
                if map.contains_key("additionalItems") {
                    let what = "`additionalItems` without a list in `items`";
                    return Err(not_understood(path, what));
                }
                (None, entry(items)?)
            }
        };
        Ok(ListShape {
            of: Box::new(of),
            first: first.map(Box::new),
            min: count(path, map, "minItems")?.unwrap_or(0),
            max: count(path, map, "maxItems")?,
            unique: unique(path, map)?,
        })
    }

    fn object(
        &mut self,
        path: &str,
        map: &BTreeMap<String, Value>,
        depth: usize,
    ) -> Result<Shape, SchemaError> {
        only(path, map, &OF_OBJECTS)?;
        if depth > 0 && map.contains_key(GROUP) {
            let what = format!("`{GROUP}` in anything but the whole");
            return Err(not_understood(path, what));
        }
        let others = map.get("additionalProperties");
        let rules = self.rules(path, map, depth)?;
        // The whole is an object whatever it names: without `properties` its fields are taken as they are.
        let bare = depth == 0
            && !map.contains_key("propertyNames")
            && matches!(others, None | Some(Value::Bool(_)));
        let none = Value::empty_map();
        let properties = map.get("properties").or(bare.then_some(&none));
        let Some(properties) = properties else {
            if rules != Rules::default() {
                let what = "what fields ask of each other, without `properties`";
                return Err(not_understood(path, what));
            }
            return self.map(path, map, depth);
        };
        if map.contains_key("propertyNames") {
            let what = "`propertyNames` beside `properties`";
            return Err(not_understood(path, what));
        }
        let others = match others {
            Some(Value::Bool(false)) => Others::Refused,
            None | Some(Value::Bool(true)) => Others::Taken,
            Some(_) => {
                let what = "a schema in `additionalProperties` beside `properties`";
                return Err(not_understood(path, what));
            }
        };
        let required = required(path, map)?;
        let properties = properties
            .as_map()
            .ok_or_else(|| form(path, "`properties` is not a map"))?;
        let mut fields = BTreeMap::new();
        for (name, property) in properties {
            let at = format!("{path}.{name}");
            let doc = property.get("description").and_then(Value::as_str);
            let field = Field {
                shape: self.shape(&at, property, depth + 1)?,
                required: required.contains(name.as_str()),
                class: class(&at, property)?,
                doc: doc.unwrap_or_default().to_owned(),
            };
            fields.insert(name.clone(), field);
        }
        let mut named = required.iter().copied();
        if let Some(name) = named.find(|name| !fields.contains_key(*name)) {
            let what = format!("`required` names `{name}`, which is no property");
            return Err(form(path, what));
        }
        if let Some(name) = rules.names().find(|name| !fields.contains_key(*name)) {
            let what = format!("a rule names `{name}`, which is no property");
            return Err(form(path, what));
        }
        Ok(Shape::Object(ObjectSchema {
            fields,
            others,
            rules,
        }))
    }

    /// Reads a map without fixed fields.
    fn map(
        &mut self,
        path: &str,
        map: &BTreeMap<String, Value>,
        depth: usize,
    ) -> Result<Shape, SchemaError> {
        let of = match map.get("additionalProperties") {
            None | Some(Value::Bool(true)) => Shape::Any,
            Some(Value::Bool(false)) => return Ok(Shape::Object(ObjectSchema::default())),
            Some(of) => self.shape(&format!("{path}.*"), of, depth + 1)?,
        };
        let Some(keys) = map.get("propertyNames") else {
            return Ok(Shape::Map(Box::new(of)));
        };
        let what = "`propertyNames` of anything but texts";
        let keys = keys.as_map().ok_or_else(|| not_understood(path, what))?;
        only(path, keys, &["pattern", "not", "minLength", "maxLength"])?;
        Ok(Shape::keyed(self.form(path, keys)?, of))
    }
}

fn words(path: &str, map: &BTreeMap<String, Value>) -> Result<Shape, SchemaError> {
    if OF_TEXTS
        .iter()
        .any(|name| *name != "enum" && map.contains_key(*name))
    {
        return Err(not_understood(path, "what a text is like beside `enum`"));
    }
    let list = map.get("enum").and_then(Value::as_list);
    let words = list.map(|list| {
        let words = list.iter().map(|word| word.as_str().map(str::to_owned));
        words.collect::<Option<Vec<_>>>()
    });
    match words.flatten() {
        Some(words) if !words.is_empty() => Ok(Shape::Word(words)),
        Some(_) | None => Err(form(path, "`enum` is not a list of words")),
    }
}

fn unique(path: &str, map: &BTreeMap<String, Value>) -> Result<Option<Unique>, SchemaError> {
    match (map.get("uniqueItems"), map.get(UNIQUE_BY)) {
        (None | Some(Value::Bool(false)), None) => Ok(None),
        (Some(Value::Bool(true)), None) => Ok(Some(Unique::Whole)),
        (None, Some(Value::Map(by))) if !by.is_empty() => Ok(Some(Unique::By(by.clone()))),
        (_, None) => Err(form(path, "`uniqueItems` is neither true nor false")),
        (_, Some(_)) => {
            let what = format!("`{UNIQUE_BY}` is no map of fields, or is beside `uniqueItems`");
            Err(form(path, what))
        }
    }
}

fn required<'a>(
    path: &str,
    map: &'a BTreeMap<String, Value>,
) -> Result<BTreeSet<&'a str>, SchemaError> {
    let list = match map.get("required") {
        None => return Ok(BTreeSet::new()),
        Some(list) => list.as_list(),
    };
    let names = list.map(|list| list.iter().map(Value::as_str).collect::<Option<_>>());
    names
        .flatten()
        .ok_or_else(|| form(path, "`required` is not a list of names"))
}

/// A field without a class is one whose change replaces the instance: the safe reading.
fn class(path: &str, property: &Value) -> Result<FieldClass, SchemaError> {
    let Some(written) = property.get("x-drover-class") else {
        return Ok(FieldClass::Replace);
    };
    let mut known = FieldClass::ALL.into_iter();
    let found = known.find(|class| written.as_str() == Some(class.as_str()));
    found.ok_or_else(|| {
        let what = "`x-drover-class` is none of ignore, live, restart, replace";
        form(path, what)
    })
}

fn integer(
    path: &str,
    map: &BTreeMap<String, Value>,
    name: &str,
) -> Result<Option<i64>, SchemaError> {
    match map.get(name) {
        None => Ok(None),
        Some(Value::Int(number)) => Ok(Some(*number)),
        Some(_) => Err(form(path, format!("`{name}` is not an integer of 64 bits"))),
    }
}

/// Reads a number of things.
fn count(
    path: &str,
    map: &BTreeMap<String, Value>,
    name: &str,
) -> Result<Option<usize>, SchemaError> {
    let number = integer(path, map, name)?.map(usize::try_from);
    let number = number.transpose();
    number.map_err(|_| form(path, format!("`{name}` is negative")))
}

/// Refuses every keyword but these and the annotations.
fn only(path: &str, map: &BTreeMap<String, Value>, keywords: &[&str]) -> Result<(), SchemaError> {
    let known = |name: &str| keywords.contains(&name) || ANNOTATIONS.contains(&name);
    match map.keys().find(|name| !known(name)) {
        Some(name) => Err(not_understood(path, format!("`{name}`"))),
        None => Ok(()),
    }
}

fn not_understood(path: &str, what: impl Into<String>) -> SchemaError {
    SchemaError::NotUnderstood {
        path: path.to_owned(),
        what: what.into(),
    }
}

fn form(path: &str, what: impl Into<String>) -> SchemaError {
    SchemaError::Form {
        path: path.to_owned(),
        what: what.into(),
    }
}
