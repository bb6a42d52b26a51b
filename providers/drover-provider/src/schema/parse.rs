//! Reads a schema back from the JSON Schema that it publishes: how a plugin in another language says
//! what its properties may hold.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{FieldClass, Value};

use super::{DIGITS_PATTERN, DURATION_PATTERN, Field, ObjectSchema, Others, Rules, Shape};

/// The deepest nesting of a schema that is read: ten times what any provider of this repository has.
const DEPTH_MAX: usize = 32;

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
        match shape("schema", schema, 0)? {
            Shape::Object(object) => Ok(object),
            Shape::Any
            | Shape::String
            | Shape::Word(_)
            | Shape::Digits
            | Shape::Duration
            | Shape::Integer { .. }
            | Shape::Boolean
            | Shape::List { .. }
            | Shape::Map(_) => Err(form("schema", "expected `type: object` with `properties`")),
        }
    }
}

/// Keywords that say something about every type, and nothing that is checked.
const ANNOTATIONS: [&str; 5] = ["description", "title", "$schema", "x-drover-class", "type"];

fn shape(path: &str, schema: &Value, depth: usize) -> Result<Shape, SchemaError> {
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
        "string" => {
            only(path, map, &["pattern", "enum"])?;
            if map.contains_key("enum") {
                return words(path, map);
            }
            match map.get("pattern").map(Value::as_str) {
                None => Ok(Shape::String),
                Some(Some(DURATION_PATTERN)) => Ok(Shape::Duration),
                Some(Some(DIGITS_PATTERN)) => Ok(Shape::Digits),
                Some(_) => {
                    let what = "another `pattern` than that of a duration or of digits";
                    Err(not_understood(path, what))
                }
            }
        }
        "integer" => {
            only(path, map, &["minimum", "maximum"])?;
            Ok(Shape::Integer {
                min: integer(path, map, "minimum")?.unwrap_or(i64::MIN),
                max: integer(path, map, "maximum")?.unwrap_or(i64::MAX),
            })
        }
        "array" => {
            only(path, map, &["items", "minItems"])?;
            let of = match map.get("items") {
                Some(items) => shape(&format!("{path}[]"), items, depth + 1)?,
                None => Shape::Any,
            };
            let min = integer(path, map, "minItems")?.unwrap_or(0);
            Ok(Shape::List {
                of: Box::new(of),
                min: usize::try_from(min).map_err(|_| form(path, "`minItems` is negative"))?,
            })
        }
        "object" => object(path, map, depth),
        other => Err(not_understood(path, format!("`type: {other}`"))),
    }
}

fn words(path: &str, map: &BTreeMap<String, Value>) -> Result<Shape, SchemaError> {
    if map.contains_key("pattern") {
        return Err(not_understood(path, "`pattern` beside `enum`"));
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

fn object(path: &str, map: &BTreeMap<String, Value>, depth: usize) -> Result<Shape, SchemaError> {
    only(
        path,
        map,
        &[
            "properties",
            "additionalProperties",
            "required",
            "anyOf",
            "oneOf",
            "dependencies",
        ],
    )?;
    let others = map.get("additionalProperties");
    let rules = rules(path, map)?;
    let Some(properties) = map.get("properties") else {
        if rules != Rules::default() {
            let what = "`anyOf`, `oneOf` or `dependencies` without `properties`";
            return Err(not_understood(path, what));
        }
        let of = match others {
            None | Some(Value::Bool(true)) => Shape::Any,
            Some(Value::Bool(false)) => return Ok(Shape::Object(ObjectSchema::default())),
            Some(of) => shape(&format!("{path}.*"), of, depth + 1)?,
        };
        return Ok(Shape::Map(Box::new(of)));
    };
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
            shape: shape(&at, property, depth + 1)?,
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

/// Reads what fields ask of each other: sets of names that must be there, and names that need others.
fn rules(path: &str, map: &BTreeMap<String, Value>) -> Result<Rules, SchemaError> {
    let sets = |keyword: &str| -> Result<Vec<Vec<String>>, SchemaError> {
        let Some(written) = map.get(keyword) else {
            return Ok(Vec::new());
        };
        let what = || format!("`{keyword}` of anything but lists of `required`");
        let list = written
            .as_list()
            .ok_or_else(|| not_understood(path, what()))?;
        let sets = list.iter().map(|one| {
            let one = one.as_map().filter(|one| one.len() == 1);
            let set = one.and_then(|one| names(one.get("required")?));
            set.filter(|set| !set.is_empty())
                .ok_or_else(|| not_understood(path, what()))
        });
        sets.collect()
    };
    let mut requires = BTreeMap::new();
    if let Some(written) = map.get("dependencies") {
        let what = "`dependencies` of anything but lists of names";
        let written = written.as_map().ok_or_else(|| not_understood(path, what))?;
        for (field, others) in written {
            let others = names(others).ok_or_else(|| not_understood(path, what))?;
            requires.insert(field.clone(), others);
        }
    }
    Ok(Rules {
        any_of: sets("anyOf")?,
        one_of: sets("oneOf")?,
        requires,
    })
}

fn names(value: &Value) -> Option<Vec<String>> {
    let names = value.as_list()?.iter().map(Value::as_str);
    names.map(|name| name.map(str::to_owned)).collect()
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
