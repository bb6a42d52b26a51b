//! What the fields of an object ask of each other: the part of a schema that is about more than one field.

use std::collections::BTreeMap;

use drover_model::Value;

/// Which fields go together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// At least one of these sets is there, whole. Empty: no rule.
    pub any_of: Vec<Vec<String>>,
    /// Exactly one of these sets is there. Empty: no rule.
    pub one_of: Vec<Vec<String>>,
    /// Where a field is there, so are these.
    pub requires: BTreeMap<String, Vec<String>>,
}

impl Rules {
    /// Returns rules of which at least one of the sets is there.
    pub fn any_of(sets: &[&[&str]]) -> Self {
        Self {
            any_of: owned(sets),
            ..Self::default()
        }
    }

    /// Returns rules of which exactly one of the sets is there.
    pub fn one_of(sets: &[&[&str]]) -> Self {
        Self {
            one_of: owned(sets),
            ..Self::default()
        }
    }

    /// Adds that `field` is of no use without `others`.
    #[must_use]
    pub fn requiring(mut self, field: &str, others: &[&str]) -> Self {
        let others = others.iter().map(|name| (*name).to_owned());
        self.requires.insert(field.to_owned(), others.collect());
        self
    }

    /// Returns every name that the rules have.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        let sets = self.any_of.iter().chain(&self.one_of).flatten();
        sets.chain(self.requires.keys())
            .chain(self.requires.values().flatten())
    }

    /// Returns what is wrong with the fields of a map, and where below it.
    pub(super) fn broken(&self, map: &BTreeMap<String, Value>) -> Vec<(Option<&str>, String)> {
        let whole = |set: &&Vec<String>| set.iter().all(|name| map.contains_key(name));
        let mut broken = Vec::new();
        if !self.any_of.is_empty() && !self.any_of.iter().any(|set| whole(&set)) {
            broken.push((
                None,
                format!("expected {}, found neither", named(&self.any_of)),
            ));
        }
        let there: Vec<Vec<String>> = self.one_of.iter().filter(whole).cloned().collect();
        if !self.one_of.is_empty() && there.len() != 1 {
            let found = match there.len() {
                0 => "none of them".to_owned(),
                _ => all(&there.concat()),
            };
            let expected = named(&self.one_of);
            broken.push((
                None,
                format!("expected exactly one of {expected}, found {found}"),
            ));
        }
        for (field, others) in &self.requires {
            let missing = others.iter().find(|name| !map.contains_key(*name));
            if let (true, Some(missing)) = (map.contains_key(field), missing) {
                let why = format!("it is of no use without `{missing}`");
                broken.push((Some(field.as_str()), why));
            }
        }
        broken
    }

    /// Adds the keywords of JSON Schema (draft 7).
    pub(super) fn add_to(&self, schema: &mut BTreeMap<String, Value>) {
        let list = |names: &[String]| {
            let names = names.iter().map(|name| Value::from(name.as_str()));
            Value::List(names.collect())
        };
        let sets = |sets: &[Vec<String>]| {
            let one = |set: &Vec<String>| Value::Map([("required".to_owned(), list(set))].into());
            Value::List(sets.iter().map(one).collect())
        };
        for (keyword, written) in [("anyOf", &self.any_of), ("oneOf", &self.one_of)] {
            if !written.is_empty() {
                schema.insert(keyword.to_owned(), sets(written));
            }
        }
        if !self.requires.is_empty() {
            let requires = self.requires.iter();
            let requires = requires.map(|(field, others)| (field.clone(), list(others)));
            schema.insert("dependencies".to_owned(), requires.collect());
        }
    }
}

fn owned(sets: &[&[&str]]) -> Vec<Vec<String>> {
    let set = |set: &&[&str]| set.iter().map(|name| (*name).to_owned()).collect();
    sets.iter().map(set).collect()
}

/// Returns sets for people: `a` and `b`, or `c`.
fn named(sets: &[Vec<String>]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| all(set)).collect();
    sets.join(", or ")
}

fn all(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" and ")
}
