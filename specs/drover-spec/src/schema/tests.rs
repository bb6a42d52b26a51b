use std::path::PathBuf;

use super::*;

/// Compares a schema with its published file; `UPDATE_SCHEMA=1` writes the file instead.
fn assert_published(name: &str, schema: &Json) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../schema")
        .join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(schema).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    // Compared as values: the order of keys depends on a feature that other crates may switch on.
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    let published: Json = serde_json::from_str(&published).unwrap_or_default();
    assert!(
        published == *schema,
        "specs/schema/{name} differs from the declarations; run the tests with UPDATE_SCHEMA=1"
    );
}

#[test]
fn the_published_schemas_are_those_of_the_declarations() {
    for kind in Kind::ALL {
        let name = format!("{}.json", kind.as_str().to_lowercase());
        assert_published(&name, &schema(kind));
    }
    assert_published("agent.json", &agent_schema());
}

#[test]
fn every_field_says_what_it_is() {
    fn check(object: &Object, seen: &mut Vec<&'static str>) {
        assert!(object.doc.ends_with('.'), "{}", object.name);
        for field in object.fields {
            if matches!(field.shape, Shape::Later) {
                assert!(!field.doc.is_empty(), "{}.{}", object.name, field.name);
                continue;
            }
            assert!(field.doc.ends_with('.'), "{}.{}", object.name, field.name);
            let inner = match &field.shape {
                Shape::List { of, .. } => of,
                other => other,
            };
            if let Shape::Object(inner) | Shape::Params(inner) = inner
                && !seen.contains(&inner.name)
            {
                seen.push(inner.name);
                check(inner, seen);
            }
        }
    }
    let mut seen = Vec::new();
    for kind in Kind::ALL {
        check(spec_of(kind), &mut seen);
    }
    check(&METADATA, &mut seen);
    check(&AGENT, &mut seen);
    assert!(seen.len() > 20, "the walk reaches nested objects: {seen:?}");
}
