//! How two values that people wrote differ, field by field, as reviewers read it. What looks like a secret that was
//! written into a document all the same is not repeated.

use drover_model::Value;
use drover_provider_plugin::to_json;

#[cfg(test)]
mod tests;

/// A field that two values differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldDifference {
    /// The path, such as `rules[0].expression`. The place in a list is that of the later one, of what is gone that of
    /// the earlier one.
    pub(crate) field: String,
    /// As compact JSON. None: it is not written.
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// Returns where two values differ, by path: maps key by key, lists of maps entry by entry, everything else as a whole.
pub(crate) fn differences(
    field: &str,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Vec<FieldDifference> {
    let mut found = Vec::new();
    compare(field, old, new, &mut found);
    found
}

fn compare(
    field: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut Vec<FieldDifference>,
) {
    if old == new {
        return;
    }
    if let Some(keys) = keys(old, new) {
        for key in keys {
            let path = if field.is_empty() {
                key.to_owned()
            } else {
                format!("{field}.{key}")
            };
            let [old, new] = [old, new].map(|value| value.and_then(|value| value.get(key)));
            compare(&path, old, new, found);
        }
    } else if let Some((old, new)) = entries(old, new) {
        compare_lists(field, old, new, found);
    } else {
        found.push(whole(field, old, new));
    }
}

/// Returns the keys of two maps, or of one where nothing else is written. None: it is compared as a whole.
fn keys<'a>(old: Option<&'a Value>, new: Option<&'a Value>) -> Option<Vec<&'a str>> {
    let maps = [old, new].into_iter().flatten();
    let maps: Option<Vec<_>> = maps.map(Value::as_map).collect();
    let mut keys: Vec<&str> = maps?
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    // That one of both is an empty map is not to be seen key by key.
    let is_empty = |value: &Value| {
        value
            .as_map()
            .is_some_and(std::collections::BTreeMap::is_empty)
    };
    let both = old.is_some() && new.is_some();
    let told = both || ![old, new].into_iter().flatten().any(is_empty);
    told.then_some(keys)
}

/// Returns the entries of two lists, or of one where nothing else is written, if they have maps or lists in them.
fn entries<'a>(
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> Option<(&'a [Value], &'a [Value])> {
    let entries = |value: Option<&'a Value>| match value {
        None => Some([].as_slice()),
        Some(value) => value.as_list(),
    };
    let (old, new) = (entries(old)?, entries(new)?);
    let deep = |value: &Value| match value {
        Value::List(_) | Value::Map(_) => true,
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::String(_) => false,
    };
    old.iter().chain(new).any(deep).then_some((old, new))
}

/// Compares what is left of two lists without what they begin and end with alike: as many entries one by one, others
/// as gone and added.
fn compare_lists(field: &str, old: &[Value], new: &[Value], found: &mut Vec<FieldDifference>) {
    let front = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[front..], &new[front..]);
    let ends = old.iter().rev().zip(new.iter().rev());
    let back = ends.take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - back], &new[..new.len() - back]);
    let path = |at: usize| format!("{field}[{}]", front + at);
    if old.len() == new.len() {
        for (at, (old, new)) in old.iter().zip(new).enumerate() {
            compare(&path(at), Some(old), Some(new), found);
        }
        return;
    }
    for (at, old) in old.iter().enumerate() {
        compare(&path(at), Some(old), None, found);
    }
    for (at, new) in new.iter().enumerate() {
        compare(&path(at), None, Some(new), found);
    }
}

fn whole(field: &str, old: Option<&Value>, new: Option<&Value>) -> FieldDifference {
    let before = old.map(|old| json(old, "[redacted]"));
    let mut after = new.map(|new| json(new, "[redacted]"));
    if before == after {
        // They differ in nothing but what is not shown.
        after = new.map(|new| json(new, "[redacted, another one]"));
    }
    FieldDifference {
        field: field.to_owned(),
        old: before,
        new: after,
    }
}

fn json(value: &Value, redacted: &str) -> String {
    let safe = value.map_texts(&|text| without_secrets(text, redacted));
    to_json(&safe).to_string()
}

/// How private keys begin that people paste by mistake. Documents name secrets, and have none.
const KEYS: [&str; 2] = ["PRIVATE KEY-----", "AGE-SECRET-KEY-1"];

/// Returns a text without private keys, and without passwords in addresses.
fn without_secrets(text: &str, redacted: &str) -> String {
    if KEYS.iter().any(|key| text.contains(key)) {
        return redacted.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<');
        let end = after.find(ends).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        rest = behind;
        let Some((user, host)) = authority.rsplit_once('@') else {
            out.push_str(authority);
            continue;
        };
        let is_web = ["http", "https"].iter().any(|it| before.ends_with(it));
        match user.split_once(':') {
            // A token may stand alone.
            None if is_web => out.push_str(redacted),
            None => out.push_str(user),
            Some((name, _)) => {
                out.push_str(name);
                out.push(':');
                out.push_str(redacted);
            }
        }
        out.push('@');
        out.push_str(host);
    }
    out.push_str(rest);
    out
}
