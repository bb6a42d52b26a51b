//! What the fields of an object ask of each other: the part of a schema that is about more than one field.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::Value;

use super::check::{Stage, shown};
use super::{FieldPart, GroupRules, Mistake, Shape, check, parse_duration};

/// The keyword of the fields that are no more than others.
pub(super) const AT_MOST: &str = "x-drover-atMost";

/// The keyword of the number that is no limit at all.
pub(super) const NO_LIMIT: &str = "x-drover-noLimit";

/// The keyword of what instances ask of their group.
pub(super) const GROUP: &str = "x-drover-group";

/// Which fields go together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// At least one of these sets is there, whole. Empty: no rule.
    pub any_of: Vec<Vec<String>>,
    /// Exactly one of these sets is there. Empty: no rule.
    pub one_of: Vec<Vec<String>>,
    /// Where a field is there, so are these.
    pub requires: BTreeMap<String, Vec<String>>,
    /// A number or a duration is no more than each of these, where they are there.
    pub at_most: BTreeMap<String, Vec<String>>,
    /// The number that stands for no limit, and so is more than every other one.
    pub no_limit: Option<i64>,
    /// What the values of some ask of others.
    pub when: Vec<When>,
    /// What instances ask of their group; of the outermost object only.
    pub group: Box<GroupRules>,
}

/// What the values of some fields ask of others.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// These are there, and each is one of its values; of none: whatever it is.
    pub given: BTreeMap<String, Vec<Value>>,
    /// Of those, what may also be left out: its default is among its values.
    pub or_absent: BTreeSet<String>,
    /// What is asked then.
    pub then: BTreeMap<String, Demand>,
    /// Why, for messages. Empty: they say what is asked.
    pub why: String,
}

/// What is asked of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Demand {
    /// That it is there.
    There,
    /// That it is not there.
    NotThere,
    /// That it is one of these, where it is there.
    OneOf(Vec<Value>),
    /// That it is there, and one of these.
    ThereAsOneOf(Vec<Value>),
    /// That it is such a value, where it is there.
    Like(Box<Shape>),
}

/// Something wrong with the fields of an object: where below it, and what.
type Broken = (Option<String>, String);

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

    /// Adds that `field` is no more than `others`.
    #[must_use]
    pub fn at_most(mut self, field: &str, others: &[&str]) -> Self {
        let others = others.iter().map(|name| (*name).to_owned());
        self.at_most.insert(field.to_owned(), others.collect());
        self
    }

    /// Adds the number that stands for no limit.
    #[must_use]
    pub fn no_limit(mut self, number: i64) -> Self {
        self.no_limit = Some(number);
        self
    }

    /// Adds what is asked of `field` where `given` is one of `values`; of none: where it is there.
    #[must_use]
    pub fn when(mut self, given: (&str, &[&str]), field: &str, asked: Demand, why: &str) -> Self {
        let (name, values) = given;
        let values = values.iter().map(|value| Value::from(*value));
        self.when.push(When {
            given: BTreeMap::from([(name.to_owned(), values.collect())]),
            or_absent: BTreeSet::new(),
            then: BTreeMap::from([(field.to_owned(), asked)]),
            why: why.to_owned(),
        });
        self
    }

    /// Adds what is asked of `field` where `given` is `value`, or is left out, which means the same.
    #[must_use]
    pub fn by_default(self, given: (&str, &str), field: &str, asked: Demand, why: &str) -> Self {
        let (name, value) = given;
        let mut rules = self.when((name, &[value]), field, asked, why);
        if let Some(when) = rules.when.last_mut() {
            when.or_absent.insert(name.to_owned());
        }
        rules
    }

    /// Adds what instances ask of their group.
    #[must_use]
    pub fn of_group(mut self, group: GroupRules) -> Self {
        self.group = Box::new(group);
        self
    }

    /// Returns every name that the rules have.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        let sets = self.any_of.iter().chain(&self.one_of).flatten();
        let others = [&self.requires, &self.at_most].into_iter();
        let others = others.flat_map(|map| map.keys().chain(map.values().flatten()));
        let when = self.when.iter();
        let when = when.flat_map(|when| when.given.keys().chain(when.then.keys()));
        sets.chain(others).chain(when).chain(self.group.names())
    }

    /// Returns what is wrong with the fields of a map, and where below it.
    pub(super) fn broken(&self, map: &BTreeMap<String, Value>, stage: Stage) -> Vec<Broken> {
        let whole = |set: &&Vec<String>| set.iter().all(|name| map.contains_key(name));
        let mut broken = Vec::new();
        if !self.any_of.is_empty() && !self.any_of.iter().any(|set| whole(&set)) {
            let missing = self.any_of.iter().map(|set| {
                let missing = set.iter().filter(|name| !map.contains_key(*name));
                missing.cloned().collect()
            });
            let missing: Vec<Vec<String>> = missing.collect();
            let expected = named(&self.any_of);
            // Where nothing is there, what is missing is all of it.
            let missing = if missing == self.any_of {
                "none of them is there".to_owned()
            } else {
                format!("missing: {}", named(&missing))
            };
            broken.push((None, format!("expected {expected}; {missing}")));
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
                broken.push((Some(field.clone()), why));
            }
        }
        broken.extend(self.too_much(map));
        broken.extend(self.when.iter().filter_map(|when| when.broken(map, stage)));
        broken
    }

    /// Returns which numbers and durations are more than others.
    fn too_much(&self, map: &BTreeMap<String, Value>) -> Vec<Broken> {
        let endless = |value: &Value| self.no_limit.map(Value::Int).as_ref() == Some(value);
        let amount = |value: &Value| {
            if endless(value) {
                Some((false, i128::MAX))
            } else {
                amount(value)
            }
        };
        let mut broken = Vec::new();
        for (field, others) in &self.at_most {
            for other in others {
                let (Some(value), Some(most)) = (map.get(field), map.get(other)) else {
                    continue;
                };
                // What is no number, or of another kind than the other, has a mistake of its own.
                let Some((mine, most_of_all)) = amount(value).zip(amount(most)) else {
                    continue;
                };
                if mine.0 == most_of_all.0 && mine.1 > most_of_all.1 {
                    let means = if endless(value) { ", no limit" } else { "" };
                    let message = format!(
                        "expected no more than `{other}`, which is {}, found {}{means}",
                        bare(most),
                        bare(value)
                    );
                    broken.push((Some(field.clone()), message));
                }
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
        if !self.at_most.is_empty() {
            let at_most = self.at_most.iter();
            let at_most = at_most.map(|(field, others)| (field.clone(), list(others)));
            schema.insert(AT_MOST.to_owned(), at_most.collect());
        }
        if let Some(number) = self.no_limit {
            schema.insert(NO_LIMIT.to_owned(), Value::Int(number));
        }
        if !self.when.is_empty() {
            let when = self.when.iter().map(When::to_json_schema);
            schema.insert("allOf".to_owned(), Value::List(when.collect()));
        }
        if *self.group != GroupRules::default() {
            schema.insert(GROUP.to_owned(), self.group.to_json_schema());
        }
    }
}

impl When {
    fn broken(&self, map: &BTreeMap<String, Value>, stage: Stage) -> Option<Broken> {
        let is_given = |(name, values): (&String, &Vec<Value>)| match map.get(name) {
            Some(value) => values.is_empty() || values.contains(value),
            None => self.or_absent.contains(name),
        };
        if !self.given.iter().all(is_given) {
            return None;
        }
        let mut asked = self.then.iter();
        let (at, asked) = asked.find_map(|(name, demand)| {
            let mistake = demand.mistake(name, map.get(name), stage)?;
            Some((
                map.contains_key(name).then_some(mistake.path),
                mistake.message,
            ))
        })?;
        let at = at.or_else(|| self.given.keys().next().cloned());
        if !self.why.is_empty() {
            return Some((at, self.why.clone()));
        }
        let given = self.given.iter().map(|(name, values)| match values.len() {
            0 => format!("`{name}` is there"),
            _ => format!("`{name}` is {}", either(values)),
        });
        let given: Vec<String> = given.collect();
        Some((at, format!("{asked}, where {}", given.join(" and "))))
    }

    fn to_json_schema(&self) -> Value {
        let object = |entries: Vec<(&str, Value)>| -> Value {
            let entries = entries.into_iter();
            entries
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        };
        let part = |required: Vec<Value>, properties: BTreeMap<String, Value>| {
            let mut part = Vec::new();
            if !required.is_empty() {
                part.push(("required", Value::List(required)));
            }
            if !properties.is_empty() {
                part.push(("properties", Value::Map(properties)));
            }
            object(part)
        };
        let among = |values: &[Value]| object(vec![("enum", Value::List(values.to_vec()))]);
        let given = self.given.iter();
        let bound = given.clone().filter(|(_, values)| !values.is_empty());
        let there = given.filter(|(name, _)| !self.or_absent.contains(*name));
        let given = part(
            there.map(|(name, _)| name.as_str().into()).collect(),
            bound
                .map(|(name, values)| (name.clone(), among(values)))
                .collect(),
        );
        let mut required = Vec::new();
        let mut properties = BTreeMap::new();
        for (name, demand) in &self.then {
            match demand {
                Demand::There | Demand::ThereAsOneOf(_) => required.push(name.as_str().into()),
                Demand::NotThere | Demand::OneOf(_) | Demand::Like(_) => {}
            }
            match demand {
                Demand::There => {}
                Demand::NotThere => {
                    properties.insert(name.clone(), Value::Bool(false));
                }
                Demand::OneOf(values) | Demand::ThereAsOneOf(values) => {
                    properties.insert(name.clone(), among(values));
                }
                Demand::Like(shape) => {
                    properties.insert(name.clone(), shape.to_json_schema());
                }
            }
        }
        let mut whole = vec![("if", given), ("then", part(required, properties))];
        if !self.why.is_empty() {
            whole.push(("description", self.why.as_str().into()));
        }
        object(whole)
    }
}

impl Demand {
    /// Returns what is wrong with the field `name`. None: nothing is.
    fn mistake(&self, name: &str, found: Option<&Value>, stage: Stage) -> Option<Mistake> {
        let message = match (self, found) {
            (Self::There, Some(_)) | (Self::NotThere | Self::OneOf(_) | Self::Like(_), None) => {
                return None;
            }
            (Self::There, None) => format!("`{name}` is missing"),
            (Self::NotThere, Some(_)) => format!("`{name}` has no place here"),
            (Self::ThereAsOneOf(values), None) => {
                format!("expected {}, found nothing", either(values))
            }
            (Self::OneOf(values) | Self::ThereAsOneOf(values), Some(value)) => {
                if values.contains(value) {
                    return None;
                }
                let found = match stage {
                    Stage::Written => shown(value),
                    Stage::Finished => value.kind().to_owned(),
                };
                format!("expected {}, found {found}", either(values))
            }
            (Self::Like(shape), Some(value)) => {
                return check::of_shape(stage, name, shape, value)
                    .into_iter()
                    .next();
            }
        };
        Some(Mistake {
            path: name.to_owned(),
            message,
            suggestion: None,
            part: FieldPart::Value,
        })
    }
}

/// Returns a number, or a duration in milliseconds, and which of the two it is.
fn amount(value: &Value) -> Option<(bool, i128)> {
    match value {
        Value::Int(number) => Some((false, i128::from(*number))),
        Value::UInt(number) => Some((false, i128::from(*number))),
        Value::String(text) => {
            let length = parse_duration(text)?.as_millis();
            Some((true, i128::try_from(length).ok()?))
        }
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// Returns a value without quotes.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| shown(value), str::to_owned)
}

fn either(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(bare).collect();
    values.join(" or ")
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
