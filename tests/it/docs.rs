//! The reference pages say every field that a document may have.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::Sandbox;

/// Collects the names of every field in a schema. A field may itself be called `properties`.
fn fields(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for (keyword, value) in map {
                match value {
                    Value::Object(named) if keyword == "properties" => {
                        found.extend(named.keys().cloned());
                        named.values().for_each(|field| fields(field, found));
                    }
                    _ => fields(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn reference_pages_name_every_field() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let pages = [
        ("group", "group"),
        ("policy", "policy"),
        ("binding", "policy"),
        ("provider", "provider"),
        ("fleet", "fleet"),
        ("metricsource", "metrics"),
        ("calendar", "calendar"),
    ];
    for (kind, page) in pages {
        let schema =
            std::fs::read_to_string(root.join(format!("specs/schema/{kind}.json"))).unwrap();
        let text = std::fs::read_to_string(root.join(format!("docs/reference/{page}.md"))).unwrap();
        let mut names = BTreeSet::new();
        fields(&serde_json::from_str(&schema).unwrap(), &mut names);
        let missing: Vec<&String> = names.iter().filter(|name| !text.contains(*name)).collect();
        assert!(
            missing.is_empty(),
            "docs/reference/{page}.md does not say {missing:?} of {kind}"
        );
    }
}

#[test]
fn the_page_of_holds_names_every_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let source = std::fs::read_to_string(root.join("agent/drover-model/src/hold.rs")).unwrap();
    let text = std::fs::read_to_string(root.join("docs/reference/holds.md")).unwrap();
    let codes = source.split("pub fn code(&self)").nth(1).unwrap();
    let codes = codes.split("pub fn ").next().unwrap();
    let names: Vec<&str> = codes.split('"').skip(1).step_by(2).collect();
    assert!(
        names.len() > 25,
        "only {} holds found: was the function moved?",
        names.len()
    );
    for name in names {
        assert!(
            text.contains(&format!("`{name}`")),
            "docs/reference/holds.md does not say {name}"
        );
    }
}

/// Each page about a type of provider or a flavor has documents that are complete and right.
#[test]
fn the_pages_of_providers_and_flavors_have_a_complete_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let mut seen = 0;
    for folder in ["providers", "flavors"] {
        let pages = root.join("docs/reference").join(folder);
        for entry in std::fs::read_dir(pages).unwrap() {
            let path = entry.unwrap().path();
            let page = path.file_name().unwrap().to_string_lossy().into_owned();
            if page == "README.md" {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let blocks = text.split("```yaml\n").skip(1);
            let mut blocks = blocks.filter_map(|block| block.split("```").next());
            let block = blocks.find(|block| block.contains("kind: Group"));
            let block = block.unwrap_or_else(|| panic!("{folder}/{page} has no group"));
            let sandbox = Sandbox::new();
            sandbox.write("fleet/all.yaml", block);
            let ran = sandbox.drover(&["validate", "fleet"]);
            assert_eq!(
                ran.code,
                Some(0),
                "{folder}/{page}: {}{}",
                ran.stdout,
                ran.stderr
            );
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen} pages");
}
