//! Between [`Value`] and JSON, and reading JSON as InfraKit's programs do: names of fields in any case.

use std::collections::BTreeMap;

use drover_model::Value;
use serde_json::{Map, Value as Json};

use crate::call::shortened;

/// Returns a value as JSON.
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => Json::String(text.clone()),
        Value::List(list) => list.iter().map(to_json).collect(),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), to_json(value)));
            Json::Object(entries.collect())
        }
    }
}

/// Returns JSON as a value.
pub fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(from_json).collect()),
        Json::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), from_json(value)))
            .collect(),
    }
}

/// Returns the field `name` of an object: spelled exactly so, else in another case, as Go reads it.
pub(crate) fn field<'a>(object: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    let exact = object.get(name);
    exact.or_else(|| {
        let mut entries = object.iter();
        let found = entries.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
}

/// Takes the field `name` out of an object, as [`field`] finds it.
pub(crate) fn take(object: &mut Map<String, Json>, name: &str) -> Option<Json> {
    object.remove(name).or_else(|| {
        let mut keys = object.keys();
        let key = keys.find(|key| key.eq_ignore_ascii_case(name))?.clone();
        object.remove(&key)
    })
}

/// Returns a map of texts; `null` and nothing are an empty one, and an entry that is `null` is an empty text, as Go reads them.
pub(crate) fn texts(json: Option<&Json>) -> Result<BTreeMap<String, String>, String> {
    match json {
        None | Some(Json::Null) => Ok(BTreeMap::new()),
        Some(Json::Object(map)) => map
            .iter()
            .map(|(key, value)| match value {
                Json::String(text) => Ok((key.clone(), text.clone())),
                Json::Null => Ok((key.clone(), String::new())),
                _ => Err(format!("the entry {:?} is not a text", shortened(key))),
            })
            .collect(),
        Some(_) => Err("not a map".to_owned()),
    }
}

/// Returns a text; `null` and nothing are none.
pub(crate) fn text(json: Option<&Json>) -> Result<Option<String>, String> {
    match json {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err("not a text".to_owned()),
    }
}

/// Returns whether something is asked for; `null` and nothing are no, as Go reads them.
pub(crate) fn flag(json: Option<&Json>) -> Result<bool, String> {
    match json {
        None | Some(Json::Null) => Ok(false),
        Some(Json::Bool(flag)) => Ok(*flag),
        Some(_) => Err("neither true nor false".to_owned()),
    }
}

/// Returns a list; `null` and nothing are an empty one, as Go reads them.
pub(crate) fn list(json: Option<&Json>) -> Result<&[Json], String> {
    match json {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(list)) => Ok(list),
        Some(_) => Err("not a list".to_owned()),
    }
}
