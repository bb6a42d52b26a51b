//! Reads what fields ask of each other.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::Value;

use super::super::rules::{AT_MOST, GROUP, NO_LIMIT};
use super::super::{Demand, GroupRules, Rules, When};
use super::{Reading, SchemaError, integer, not_understood};

impl Reading {
    /// Reads what fields ask of each other: sets of names that must be there, and names that need others.
    pub(super) fn rules(
        &mut self,
        path: &str,
        map: &BTreeMap<String, Value>,
        depth: usize,
    ) -> Result<Rules, SchemaError> {
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
            let what =
                || not_understood(path, format!("`{keyword}` of anything but lists of names"));
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
            no_limit: integer(path, map, NO_LIMIT)?,
            when: self.when(path, map, depth)?,
            group: Box::new(self.group(path, map, depth)?),
        })
    }

    fn group(
        &mut self,
        path: &str,
        map: &BTreeMap<String, Value>,
        depth: usize,
    ) -> Result<GroupRules, SchemaError> {
        let Some(written) = map.get(GROUP) else {
            return Ok(GroupRules::default());
        };
        let read = GroupRules::from_json_schema(written, &mut |shape| {
            self.shape(path, shape, depth + 1).ok()
        });
        let what = || not_understood(path, format!("this `{GROUP}`"));
        read.ok_or_else(what)
    }

    /// Reads what the values of some fields ask of others.
    fn when(
        &mut self,
        path: &str,
        map: &BTreeMap<String, Value>,
        depth: usize,
    ) -> Result<Vec<When>, SchemaError> {
        let Some(written) = map.get("allOf") else {
            return Ok(Vec::new());
        };
        let what = "`allOf` of anything but `if` and `then` that name fields and their values";
        let read = written.as_list().and_then(|list| {
            let read = list.iter().map(|one| self.one_when(one, depth));
            read.collect::<Option<Vec<_>>>()
        });
        read.ok_or_else(|| not_understood(path, what))
    }

    fn one_when(&mut self, written: &Value, depth: usize) -> Option<When> {
        let written = written.as_map()?;
        let known = ["if", "then", "description"];
        if !written.keys().all(|name| known.contains(&name.as_str())) {
            return None;
        }
        let (given, given_values) = part(written.get("if")?)?;
        let given_values = given_values.into_iter().map(|(name, value)| {
            let values = among(value)?;
            Some((name.clone(), values))
        });
        let given_values: BTreeMap<String, Vec<Value>> = given_values.collect::<Option<_>>()?;
        let (needed, mut asked) = part(written.get("then")?)?;
        let mut all = BTreeMap::new();
        // The keyword without `required` holds for what is not there, too.
        let or_absent = given_values.keys().filter(|name| !given.contains(*name));
        let or_absent: BTreeSet<String> = or_absent.cloned().collect();
        for name in given.into_iter().chain(or_absent.iter().cloned()) {
            let values = match given_values.get(&name) {
                None => Vec::new(),
                Some(values) if values.is_empty() => return None,
                Some(values) => values.clone(),
            };
            all.insert(name, values);
        }
        let mut then = BTreeMap::new();
        for name in needed {
            let demand = match asked.remove(&name) {
                None => Demand::There,
                Some(written) => {
                    let values = among(written).filter(|values| !values.is_empty());
                    Demand::ThereAsOneOf(values?)
                }
            };
            then.insert(name, demand);
        }
        for (name, written) in asked {
            let demand = match among(written) {
                Some(values) if values.is_empty() => Demand::NotThere,
                Some(values) => Demand::OneOf(values),
                None => Demand::Like(Box::new(self.shape(&name, written, depth + 1).ok()?)),
            };
            then.insert(name.clone(), demand);
        }
        let why = match written.get("description") {
            None => String::new(),
            Some(why) => why.as_str()?.to_owned(),
        };
        (!all.is_empty() && !then.is_empty()).then_some(When {
            given: all,
            or_absent,
            then,
            why,
        })
    }
}

/// The names that must be there, and what is written of names.
type Part<'a> = (Vec<String>, BTreeMap<String, &'a Value>);

fn part(written: &Value) -> Option<Part<'_>> {
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
            values.insert(name.clone(), property);
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
