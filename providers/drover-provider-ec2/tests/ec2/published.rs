//! The published schemas, by which `drover validate` checks documents where no plugin runs.

use drover_provider::{Manifest, ProviderFactory as _};
use drover_provider_plugin::to_json;
use serde_json::{Value as Json, json};

use crate::support::factory;

/// Compares with the published file; `UPDATE_SCHEMA=1` writes the file instead.
fn assert_published(name: &str, manifest: &Manifest) {
    let schema = json!({
        "settings": to_json(&manifest.settings.to_json_schema()),
        "properties": to_json(&manifest.properties.to_json_schema()),
    });
    let path = format!("{}/schema/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let text = serde_json::to_string_pretty(&schema).unwrap();
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    let published: Json = serde_json::from_str(&published).unwrap_or_default();
    assert!(
        published == schema,
        "schema/{name} differs from the declarations; run the tests with UPDATE_SCHEMA=1"
    );
}

#[test]
fn the_published_schemas_are_those_of_the_declarations() {
    let factory = factory("http://127.0.0.1:1");
    assert_published("ec2.json", factory.manifest());
    assert_published("asg.json", factory.scaling_groups().manifest());
}
