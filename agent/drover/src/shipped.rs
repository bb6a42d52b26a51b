//! What the programs that come with drover take, for who checks documents where none of them runs.

use drover_loop::{Asked, Registry};
use drover_model::{ProviderDoc, Value};
use drover_provider::{Described, ObjectSchema};
use drover_provider_plugin::from_json;
use drover_spec::Repository;

/// What programs publish, by the name in `plugin` that their pages give them.
const PUBLISHED: [(&str, &str); 2] = [
    (
        "ec2",
        include_str!("../../../providers/drover-provider-ec2/schema/ec2.json"),
    ),
    (
        "ec2/asg",
        include_str!("../../../providers/drover-provider-ec2/schema/asg.json"),
    ),
];

/// Returns what is known of a repository's documents without asking anybody.
pub(crate) fn asked(repository: &Repository, registry: &Registry) -> Asked {
    Asked::of(repository, registry, &|document| Ok(described(document)))
}

fn described(document: &ProviderDoc) -> Option<Described> {
    let plugin = (document.type_.as_str() == "plugin").then(|| document.settings.get("plugin"))?;
    let plugin = plugin?.as_str()?;
    let (_, published) = PUBLISHED.iter().find(|(name, _)| *name == plugin)?;
    let published: serde_json::Value = serde_json::from_str(published).ok()?;
    let schema = |part: &str| ObjectSchema::from_json_schema(&from_json(&published[part])).ok();
    let none = Value::empty_map();
    let settings = document.settings.get("settings").unwrap_or(&none);
    let mistakes = schema("settings")?.check(settings);
    Some(Described::of_program(schema("properties")?, mistakes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_can_be_read() {
        for (name, published) in PUBLISHED {
            let published: serde_json::Value = serde_json::from_str(published).unwrap();
            for part in ["settings", "properties"] {
                let schema = ObjectSchema::from_json_schema(&from_json(&published[part]));
                assert!(!schema.unwrap().fields.is_empty(), "{name} {part}");
            }
        }
    }
}
