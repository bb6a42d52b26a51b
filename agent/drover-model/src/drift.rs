//! How templates differ, field by field, and what policies make of that.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Digests, FieldClass, Template, Value, Verdict};

/// A field in which two templates differ.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// Its name: `properties.<key>`, `tags.<key>` or `flavors`.
    pub field: String,
    /// What its provider says a change of it needs.
    pub class: FieldClass,
    /// Its value before. None: it is not written.
    pub old: Option<Value>,
    /// Its value after. None: it is not written.
    pub new: Option<Value>,
}

/// Returns the fields in which two templates differ in a way that needs something, in order of their
/// kinds and names. `classes` are those of the
/// provider, as for [`Digests::of`].
pub fn field_changes(
    old: &Template,
    new: &Template,
    classes: &BTreeMap<String, FieldClass>,
) -> Vec<FieldChange> {
    let class = |key: &str| classes.get(key).copied().unwrap_or(FieldClass::Replace);
    let mut changes = Vec::new();
    let mut compare = |field: String, class, old: Option<Value>, new: Option<Value>| {
        if old != new && class != FieldClass::Ignore {
            changes.push(FieldChange {
                field,
                class,
                old,
                new,
            });
        }
    };
    let (before, after) = (&old.flavors_as_written, &new.flavors_as_written);
    compare(
        "flavors".to_owned(),
        FieldClass::Replace,
        Some(before.clone()),
        Some(after.clone()),
    );
    let property = |template: &Template, key: &str| template.properties.get(key).cloned();
    let properties = [old, new].map(|template| template.properties.as_map());
    for key in keys(properties.into_iter().flatten()) {
        let (before, after) = (property(old, key), property(new, key));
        compare(format!("properties.{key}"), class(key), before, after);
    }
    let tag = |template: &Template, key: &str| {
        let tag = template.tags.get(key);
        tag.map(|tag| Value::from(tag.as_str()))
    };
    for key in keys([&old.tags, &new.tags]) {
        let (before, after) = (tag(old, key), tag(new, key));
        compare(format!("tags.{key}"), FieldClass::Replace, before, after);
    }
    changes
}

fn keys<'a, V: 'a>(maps: impl IntoIterator<Item = &'a BTreeMap<String, V>>) -> BTreeSet<&'a str> {
    let keys = maps.into_iter().flat_map(BTreeMap::keys);
    keys.map(String::as_str).collect()
}

/// How two templates differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The one that instances have.
    pub from: Digests,
    /// The one that they may get.
    pub to: Digests,
    /// The fields that differ, those left out whose change needs nothing.
    pub changes: Vec<FieldChange>,
}

/// What policies make of the difference between two templates.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftDecision {
    /// The template that instances have.
    pub from: Digests,
    /// The template that they are to have.
    pub to: Digests,
    /// What is done to them for it.
    pub class: FieldClass,
    /// Who said so.
    pub verdict: Verdict,
}

/// What policies make of the differences between templates: where they say something else than the
/// provider.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drift(pub Vec<DriftDecision>);

impl Drift {
    /// Returns what is done to an instance with the digests `from` so that it counts as one of `to`;
    /// [`FieldClass::Ignore`]: it counts as one already.
    pub fn needs(&self, from: &Digests, to: &Digests) -> FieldClass {
        match self.decision(from, to) {
            Some(decision) => decision.class,
            None => from.change_to(to),
        }
    }

    /// Returns whether an instance with the digests `from` counts as one of `to`.
    pub fn is_current(&self, from: &Digests, to: &Digests) -> bool {
        from == to || self.needs(from, to) == FieldClass::Ignore
    }

    /// Returns what policies say about an instance with the digests `from` that is to get `to`.
    pub fn decision(&self, from: &Digests, to: &Digests) -> Option<&DriftDecision> {
        let mut decisions = self.0.iter();
        decisions.find(|decision| decision.from == *from && decision.to == *to)
    }
}

#[cfg(test)]
mod tests;
