//! Reads what fields ask of each other.

use std::collections::BTreeMap;

use drover_model::Value;

use super::super::rules::{AT_MOST, GROUP};
use super::super::{Demand, GroupRules, Rules, When};
use super::{SchemaError, not_understood};

/// Reads what fields ask of each other: sets of names that must be there, and names that need others.
pub(super) fn rules(path: &str, map: &BTreeMap<String, Value>) -> Result<Rules, SchemaError> {
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
    let named = |keyword: &str| -> Result<BTreeMap<String, Vec<String>>, SchemaError> {
        let Some(written) = map.get(keyword) else {
            return Ok(BTreeMap::new());
        };
        let what = || not_understood(path, format!("`{keyword}` of anything but lists of names"));
        let written = written.as_map().ok_or_else(what)?.iter();
        let read = written.map(|(field, others)| {
            let others = names(others).ok_or_else(what)?;
            Ok((field.clone(), others))
        });
        read.collect()
    };
    Ok(Rules {
        any_of: sets("anyOf")?,
        one_of: sets("oneOf")?,
        requires: named("dependencies")?,
        at_most: named(AT_MOST)?,
        when: when(path, map)?,
        group: group(path, map)?,
    })
}

fn group(path: &str, map: &BTreeMap<String, Value>) -> Result<GroupRules, SchemaError> {
    let Some(written) = map.get(GROUP) else {
        return Ok(GroupRules::default());
    };
    let read = GroupRules::from_json_schema(written);
    let what = || not_understood(path, format!("this `{GROUP}`"));
    read.ok_or_else(what)
}

/// Reads what the values of some fields ask of others.
fn when(path: &str, map: &BTreeMap<String, Value>) -> Result<Vec<When>, SchemaError> {
    let Some(written) = map.get("allOf") else {
        return Ok(Vec::new());
    };
    let what = "`allOf` of anything but `if` and `then` that name fields and their values";
    let read = written.as_list().and_then(|list| {
        let read = list.iter().map(one_when);
        read.collect::<Option<Vec<_>>>()
    });
    read.ok_or_else(|| not_understood(path, what))
}

fn one_when(written: &Value) -> Option<When> {
    let written = written.as_map()?;
    let known = ["if", "then", "description"];
    if !written.keys().all(|name| known.contains(&name.as_str())) {
        return None;
    }
    let (given, given_values) = part(written.get("if")?)?;
    let (needed, mut values) = part(written.get("then")?)?;
    let mut all = BTreeMap::new();
    // What is given is there: the keyword without `required` would hold for what is not.
    if !given_values.keys().all(|name| given.contains(name)) {
        return None;
    }
    for name in given {
        let values = match given_values.get(&name) {
            None => Vec::new(),
            Some(values) if values.is_empty() => return None,
            Some(values) => values.clone(),
        };
        all.insert(name, values);
    }
    let mut then = BTreeMap::new();
    for name in needed {
        let demand = match values.remove(&name) {
            None => Demand::There,
            Some(values) if values.is_empty() => return None,
            Some(values) => Demand::ThereAsOneOf(values),
        };
        then.insert(name, demand);
    }
    for (name, values) in values {
        let demand = if values.is_empty() {
            Demand::NotThere
        } else {
            Demand::OneOf(values)
        };
        then.insert(name, demand);
    }
    let why = match written.get("description") {
        None => String::new(),
        Some(why) => why.as_str()?.to_owned(),
    };
    (!all.is_empty() && !then.is_empty()).then_some(When {
        given: all,
        then,
        why,
    })
}

/// The names that must be there, and the values of names: none of them where it may not be there.
type Part = (Vec<String>, BTreeMap<String, Vec<Value>>);

fn part(written: &Value) -> Option<Part> {
    let written = written.as_map()?;
    let known = ["required", "properties"];
    if !written.keys().all(|name| known.contains(&name.as_str())) {
        return None;
    }
    let required = match written.get("required") {
        None => Vec::new(),
        Some(list) => names(list)?,
    };
    let mut values = BTreeMap::new();
    if let Some(properties) = written.get("properties") {
        for (name, property) in properties.as_map()? {
            values.insert(name.clone(), among(property)?);
        }
    }
    Some((required, values))
}

/// Reads the values that a field may have: none of them for `false`.
fn among(property: &Value) -> Option<Vec<Value>> {
    if property == &Value::Bool(false) {
        return Some(Vec::new());
    }
    let property = property.as_map().filter(|property| property.len() == 1)?;
    let values = match (property.get("enum"), property.get("const")) {
        (Some(values), None) => values.as_list()?.to_vec(),
        (None, Some(value)) => vec![value.clone()],
        (_, _) => return None,
    };
    let plain = |value: &Value| value.as_map().is_none() && value.as_list().is_none();
    (!values.is_empty() && values.iter().all(plain)).then_some(values)
}

fn names(value: &Value) -> Option<Vec<String>> {
    let names = value.as_list()?.iter().map(Value::as_str);
    names.map(|name| name.map(str::to_owned)).collect()
}
