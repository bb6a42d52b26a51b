//! Between InfraKit's specification of a group and a document: a group that is new, and texts on their way there and back.

use drover_model::GroupName;
use drover_provider_plugin::GroupSpec;
use drover_spec::format_duration;
use serde_json::{Map, Value as Json, json};

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

/// Returns the flavors in their order.
fn flavors(plugin: &str, properties: &Json) -> Result<Vec<Json>, String> {
    let empty = Map::new();
    match plugin {
        "combo" => {
            let list = properties.as_array();
            let list = list.ok_or("Flavor.Properties of a combo: expected a list")?;
            let mut all = Vec::new();
            for one in list {
                let plugin = one["Plugin"].as_str().unwrap_or_default();
                if plugin == "combo" {
                    return Err("a combo within a combo: write one list".to_owned());
                }
                all.extend(flavors(plugin, &one["Properties"])?);
            }
            Ok(all)
        }
        "cloudInit" => {
            let properties = literal(properties);
            Ok(vec![json!({"cloudInit": properties})])
        }
        "vanilla" => {
            let properties = match properties {
                Json::Null => &empty,
                Json::Object(properties) => properties,
                _ => return Err("Flavor.Properties: not a map".to_owned()),
            };
            let mut vanilla = Map::new();
            for (name, value) in properties {
                let field = match name.to_ascii_lowercase().as_str() {
                    "init" => "init",
                    "tags" => "tags",
                    "env" => "env",
                    _ => return Err(format!("Flavor.Properties.{name} has no counterpart")),
                };
                vanilla.insert(field.to_owned(), literal(value));
            }
            let some = !vanilla.is_empty();
            Ok(some
                .then(|| json!({"vanilla": vanilla}))
                .into_iter()
                .collect())
        }
        other => Err(format!("Flavor.Plugin: there is no flavor {other:?}")),
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
    in_texts(value, &|text| {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let name = rest[at + 2..].split('}').next().unwrap_or_default();
            out.push_str(&rest[..at]);
            if !FACTS.contains(&name) {
                out.push('$');
            }
            out.push_str("${");
            rest = &rest[at + 2..];
        }
        out.push_str(rest);
        out
    })
}

/// Returns a value of a document as InfraKit has it: nothing is escaped.
pub(super) fn presented(value: &Json) -> Json {
    in_texts(value, &|text| text.replace("$${", "${"))
}

fn in_texts(value: &Json, change: &dyn Fn(&str) -> String) -> Json {
    match value {
        Json::String(text) => Json::String(change(text)),
        Json::Array(list) => list.iter().map(|one| in_texts(one, change)).collect(),
        Json::Object(map) => {
            let entries = map.iter();
            let entries = entries.map(|(key, value)| (key.clone(), in_texts(value, change)));
            Json::Object(entries.collect())
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
