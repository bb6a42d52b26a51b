//! What plugins take, for who reads documents where none of them runs: what drover's own publish, and what agents
//! recorded of others.

use std::collections::BTreeMap;

use drover_loop::{Asked, Registry, plugin_type};
use drover_model::{
    FieldClass, GroupName, ProviderDoc, ProviderName, RecordedGroup, RecordedProvider, Value,
};
use drover_provider::{Described, Field, ObjectSchema, Others, Shape};
use drover_provider_plugin::from_json;
use drover_spec::{Diagnostic, Repository, closest};

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

/// Returns what is known of the properties of the plugins that a repository's documents name: what an agent
/// recorded of one, which is what its groups are judged by, else what is published of it.
pub(crate) fn properties(
    repository: &Repository,
    states: &BTreeMap<GroupName, RecordedGroup>,
) -> BTreeMap<ProviderName, ObjectSchema> {
    let documents = repository.providers.values().map(|located| &located.value);
    let plugins = documents.filter(|document| document.type_ == plugin_type());
    let known = plugins.filter_map(|document| {
        let recorded = states.values().filter_map(|state| state.provider.as_ref());
        let recorded = recorded.filter(|recorded| is_of(recorded, document));
        let recorded: Vec<_> = recorded.map(|recorded| &recorded.classes).collect();
        // What an older agent recorded says nothing of its plugin.
        let said = recorded.iter().find(|classes| !classes.is_empty());
        let said = said.map(|classes| of_classes(classes));
        let published = || described(document).map(|described| described.properties);
        let nothing = || recorded.first().map(|classes| of_classes(classes));
        let properties = said.or_else(published).or_else(nothing);
        Some((document.name.clone(), properties?))
    });
    known.collect()
}

/// Whether an agent recorded the plugin that a document names.
fn is_of(recorded: &RecordedProvider, document: &ProviderDoc) -> bool {
    let plugin = |settings: &Value| settings.get("plugin").cloned();
    recorded.name == document.name
        && recorded.type_ == document.type_
        && plugin(&recorded.settings) == plugin(&document.settings)
}

/// Returns a schema of which nothing is known but what a change of some properties asks for.
fn of_classes(classes: &BTreeMap<String, FieldClass>) -> ObjectSchema {
    let field = |class| Field {
        shape: Shape::Any,
        required: false,
        class,
        doc: String::new(),
    };
    let fields = classes.iter();
    ObjectSchema {
        fields: fields
            .map(|(name, class)| (name.clone(), field(*class)))
            .collect(),
        others: Others::Taken,
        ..ObjectSchema::default()
    }
}

/// Returns a warning for each document whose plugin is named nearly as one that is published: it is checked by nobody.
pub(crate) fn misnamed(repository: &Repository) -> Vec<Diagnostic> {
    let documents = repository.providers.values().map(|located| &located.value);
    let plugins = documents.filter(|document| document.type_ == plugin_type());
    let found = plugins.filter_map(|document| {
        let plugin = document.settings.get("plugin")?.as_str()?;
        let meant = meant(plugin)?;
        let span = document.setting_spans.get("plugin");
        let span = span.unwrap_or(&document.span).clone();
        let message = format!(
            "`plugin: {plugin}`: drover comes with no such plugin, so what it takes is not checked"
        );
        let diagnostic = Diagnostic::warning("unknown-plugin", message, span);
        Some(diagnostic.hint(format!("did you mean `{meant}`?")))
    });
    found.collect()
}

/// Returns the published plugin that a name of no such plugin probably means. Names are free, so short ones are let be that
/// differ in more than case and separators.
fn meant(plugin: &str) -> Option<&'static str> {
    let names = PUBLISHED.map(|(name, _)| name);
    if names.contains(&plugin) {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace(['/', '-', '_', '.', ' '], "");
    let mut alike = names.into_iter();
    let alike = alike.find(|name| plain(name) == plain(plugin));
    let program = plugin.split('/').next().unwrap_or_default();
    let is_subtype = plugin != program && names.contains(&program);
    let near = || closest(plugin, names.into_iter().filter(|name| name.contains('/')));
    alike.or_else(|| is_subtype.then(near).flatten())
}

fn described(document: &ProviderDoc) -> Option<Described> {
    let plugin = (document.type_ == plugin_type()).then(|| document.settings.get("plugin"))?;
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
    fn a_name_beside_a_published_one_is_known_again() {
        for (written, expected) in [
            ("ec2/asgs", Some("ec2/asg")),
            ("ec2/asq", Some("ec2/asg")),
            ("ec2-asg", Some("ec2/asg")),
            ("EC2", Some("ec2")),
            ("ec2", None),
            ("ec2/asg", None),
            ("ecs", None),
            ("ec2/fleets-of-spot", None),
            ("infrakit/asg", None),
            ("ec1/asg", None),
        ] {
            assert_eq!(meant(written), expected, "{written}");
        }
    }

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
