//! A flavor plugin, in the two forms that a template has it in.

use std::collections::BTreeMap;

use drover_model::{Flavor, FlavorName, PluginFlavor, Value};

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter();
    entries
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

pub(super) fn as_written() -> Value {
    let properties = map([("a", Value::Int(1))]);
    let plugin = map([("name", "swarm/worker".into()), ("properties", properties)]);
    map([("plugin", plugin)])
}

pub(super) fn plugin() -> Flavor {
    Flavor::Plugin(PluginFlavor {
        name: FlavorName::parse("swarm/worker").unwrap(),
        properties: map([("a", Value::Int(1))]),
        answer: None,
    })
}

/// Some tags that an instance got, of a text that is drawn.
pub(super) fn tags(drawn: Option<&str>) -> BTreeMap<String, String> {
    let drawn = drawn.iter();
    drawn
        .map(|text| ((*text).to_owned(), (*text).to_owned()))
        .collect()
}

/// The tag of an instance that joined as this.
pub(super) fn joined(name: Option<&str>) -> BTreeMap<String, String> {
    let name = name.iter();
    name.map(|name| ("joined".to_owned(), (*name).to_owned()))
        .collect()
}
