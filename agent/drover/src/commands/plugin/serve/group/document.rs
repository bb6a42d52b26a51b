//! Between InfraKit's specification of a group and a document: a group that is new, and texts on their way there and back.

use std::sync::Arc;

use drover_model::{Flavor, Group, GroupName};
use drover_provider_plugin::{GoJson, GroupSpec, as_read_by_go, from_json, to_json};
use drover_spec::{Diagnostic, Document, format_duration, parse_file};
use serde_json::{Value as Json, json};

use crate::infrakit_flavors::{Note, Reading, translated};

/// Writes the document. Texts stand as InfraKit means them: a shell's `${NAME}` stays one.
///
/// # Errors
///
/// What a document has no place for, in words.
pub(super) fn written(group: &GroupName, spec: &GroupSpec) -> Result<String, String> {
    if spec.logical_ids().is_some() {
        return Err(
            "Allocation.LogicalIDs: a group of fixed members is a quorum group, whose document says more: write it"
                .to_owned(),
        );
    }
    let (wait, count, skips_drain) = spec.waits();
    if count > 0 {
        return Err("Updating.Count has no counterpart: write Updating.Duration".to_owned());
    }
    let (flavor, properties) = spec.flavor();
    let flavors = flavors(flavor, properties)?;
    let mut text = format!(
        "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {{name: {group}}}\nspec:\n  provider: {}\n  size: {}\n",
        Json::from(spec.plugin()),
        spec.count()
    );
    text.push_str(&format!(
        "  template:\n    properties: {}\n",
        literal(spec.properties())
    ));
    if !flavors.is_empty() {
        text.push_str("    flavors:\n");
    }
    for flavor in flavors {
        text.push_str(&format!("      - {flavor}\n"));
    }
    if !wait.is_zero() {
        let wait = format_duration(wait);
        text.push_str(&format!("  rollout: {{minReady: {wait}}}\n"));
    }
    if skips_drain {
        text.push_str("  drain: {delay: 0s}\n");
    }
    Ok(text)
}

/// What a document is called whose file nobody is told.
const FILE: &str = "group.yaml";

/// Returns a group's document as a file has it.
pub(super) fn parsed(text: &str, group: &GroupName) -> Option<Arc<Group>> {
    let parsed = parse_file(FILE, text.as_bytes());
    let mut documents = parsed.documents.into_iter();
    documents.find_map(|document| match document.outcome {
        Some(Document::Group(found)) if found.name == *group => Some(found),
        _ => None,
    })
}

/// Returns whether the properties of a group's instances mean these, however they are written: to InfraKit `1.0` is `1`.
pub(super) fn has_properties(text: &str, group: &GroupName, properties: &Json) -> bool {
    let asked = as_read_by_go(properties);
    parsed(text, group).is_some_and(|group| {
        let written = presented(&to_json(&group.spec.template.properties));
        as_read_by_go(&written) == asked
    })
}

/// Returns whether the flavors of two specs mean the same.
///
/// # Errors
///
/// What is asked has no meaning in a document, in words.
pub(super) fn is_same_flavor(written: &GroupSpec, asked: &GroupSpec) -> Result<bool, String> {
    if written.has_flavor_of(asked) {
        return Ok(true);
    }
    Ok(meaning(written)? == meaning(asked)?)
}

/// Returns the flavors of a spec as a document has them.
fn meaning(spec: &GroupSpec) -> Result<Vec<Flavor>, String> {
    let (plugin, properties) = spec.flavor();
    let flavors = as_read_by_go(&Json::Array(flavors(plugin, properties)?));
    let name = GroupName::parse("spec").map_err(|error| error.to_string())?;
    let text = format!(
        "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {{name: {name}}}\nspec: {{provider: any, size: 0, template: {{properties: {{}}, flavors: {flavors}}}}}\n"
    );
    if let Some(group) = parsed(&text, &name) {
        return Ok(group.spec.template.flavors.clone());
    }
    let documents = parse_file(FILE, text.as_bytes()).documents.into_iter();
    let mut mistakes = documents.flat_map(|document| document.diagnostics);
    let first = mistakes.find(Diagnostic::is_error);
    let first = first.map_or_else(String::new, |first| format!(": {}", first.message));
    Err(format!("Flavor cannot be in a document{first}"))
}

/// Returns the flavors in their order.
fn flavors(plugin: &str, properties: &Json) -> Result<Vec<Json>, String> {
    let flavor = from_json(&json!({"Plugin": plugin, "Properties": properties}));
    let reading = Reading {
        escape: literal_text,
        prefix: "",
    };
    let translated = translated(&GoJson::from_value(&flavor), reading)?;
    if translated.nested {
        return Err("a combo within a combo: write one list".to_owned());
    }
    let lost = translated.notes.iter().find_map(|note| match note {
        Note::Lost(text) => Some(text.clone()),
        Note::Told(_) => None,
    });
    match lost {
        Some(lost) => Err(lost),
        None => Ok(translated.flavors.iter().map(to_json).collect()),
    }
}

/// The facts that InfraKit's texts can only mean as drover's: no shell has a dot in a name.
const FACTS: [&str; 6] = [
    "instance.id",
    "instance.name",
    "instance.zone",
    "instance.address",
    "group.name",
    "member.id",
];

/// Returns a value as documents have it: what `${...}` is to a shell is escaped in every text.
pub(super) fn literal(value: &Json) -> Json {
    in_texts(value, &literal_text)
}

fn literal_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let closed = rest[at..].find('}').map(|end| at + end);
        out.push_str(&rest[..at]);
        if !closed.is_some_and(|end| FACTS.contains(&&rest[at + 2..end])) {
            out.push('$');
        }
        // One within another is text of the outer one, as for who puts it back.
        let end = closed.map_or(at + 2, |end| end + 1);
        out.push_str(&rest[at..end]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Returns a value of a document as InfraKit has it: nothing is escaped.
pub(super) fn presented(value: &Json) -> Json {
    in_texts(value, &|text| text.replace("$${", "${"))
}

fn in_texts(value: &Json, change: &dyn Fn(&str) -> String) -> Json {
    to_json(&from_json(value).map_texts(change))
}

#[cfg(test)]
mod tests;
