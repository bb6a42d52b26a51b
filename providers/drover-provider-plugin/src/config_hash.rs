//! The fingerprint of a group's configuration that InfraKit puts onto instances as the tag `infrakit.config.hash`: what
//! tells it, and us, which instances are of the specification.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::go_json::{GoJson, NumberTooLarge};

/// Returns the fingerprint of what makes an instance: the plugin with its properties, and the flavor with its own.
/// Nothing else of a group counts, neither its size nor how it is updated.
///
/// # Errors
///
/// A number that no 64-bit float holds, which InfraKit refuses too.
pub fn config_hash(instance: &GoJson, flavor: &GoJson) -> Result<String, NumberTooLarge> {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in [instance, flavor] {
        hash.update(plugin_and_properties(part).marshal_indent()?.as_bytes());
    }
    let encoded = BASE32_NOPAD.encode(hash.finish().as_ref());
    Ok(encoded.to_ascii_lowercase())
}

/// Returns the two fields that count, whatever else is there.
fn plugin_and_properties(part: &GoJson) -> GoJson {
    let plugin = part
        .get("Plugin")
        .and_then(GoJson::text)
        .unwrap_or_default();
    let properties = part.get("Properties").cloned();
    GoJson::Map(BTreeMap::from([
        ("Plugin".to_owned(), GoJson::Text(plugin.to_owned())),
        ("Properties".to_owned(), properties.unwrap_or(GoJson::Null)),
    ]))
}

#[cfg(test)]
mod tests;
