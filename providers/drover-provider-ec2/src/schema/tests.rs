use drover_provider::ObjectSchema as Schema;

use super::*;

/// The host reads the published schema back: what it cannot read would close the plugin.
#[test]
fn the_published_schemas_can_be_read_back() {
    for schema in [settings(), properties()] {
        let published = schema.to_json_schema();
        let read = Schema::from_json_schema(&published).unwrap();
        assert_eq!(read.classes(), schema.classes());
        assert_eq!(read.to_json_schema(), published);
    }
}

#[test]
fn more_places_to_launch_at_replace_nothing() {
    let classes = properties().classes();
    for ignored in ["fallbackTypes", "subnets", "attachments", "spotMaxPrice"] {
        assert_eq!(classes[ignored], FieldClass::Ignore, "{ignored}");
    }
    for live in ["securityGroups", "metadata"] {
        assert_eq!(classes[live], FieldClass::Live, "{live}");
    }
    let replacing = classes
        .values()
        .filter(|class| **class == FieldClass::Replace);
    assert_eq!(replacing.count(), classes.len() - 6);
}
