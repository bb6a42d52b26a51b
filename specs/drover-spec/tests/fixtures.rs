//! The shipped examples and the samples of good and bad documents, each read as a user's would be.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions; a panic is the failure"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use drover_model::Kind;
use drover_spec::{Document, Repository, assemble, parse_file, render};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns every YAML file below a folder by its path inside it, in order.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "no files in {}", root.display());
    found
}

/// Reads files as one repository, with everything that is said about them.
fn repository(files: &BTreeMap<String, Vec<u8>>) -> (Repository, String) {
    let parsed: Vec<_> = files
        .iter()
        .map(|(path, bytes)| parse_file(path, bytes))
        .collect();
    let repository = assemble(&parsed);
    let source = |path: &str| {
        let bytes = files.get(path)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    let text = render(&repository.diagnostics, &source, false);
    (repository, text)
}

#[test]
fn every_example_is_a_good_repository() {
    let root = folder("../examples");
    for entry in std::fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let files = files(&path);
        let (repository, text) = repository(&files);
        assert_eq!(text, "", "{}", path.display());
        assert!(repository.identities_readable);
        assert!(repository.fleet.is_some(), "{}", path.display());
        assert!(!repository.groups.is_empty(), "{}", path.display());
    }
}

#[test]
fn the_sample_fleet_has_what_its_readme_says() {
    let (repository, _) = repository(&files(&folder("../examples/shop")));
    let names = |names: Vec<String>| names.join(" ");
    let groups = repository.groups.keys().map(ToString::to_string).collect();
    assert_eq!(names(groups), "db web workers");
    let policies = repository.policies.keys().map(ToString::to_string);
    assert_eq!(names(policies.collect()), "business-hours size-by-day");
    assert_eq!(repository.bindings.len(), 2);
    assert_eq!(repository.providers.len(), 1);
}

#[test]
fn every_valid_sample_is_good() {
    for (path, bytes) in files(&folder("tests/valid")) {
        let file = parse_file(&path, &bytes);
        let source = |_: &str| Some(String::from_utf8_lossy(&bytes).into_owned());
        assert!(file.diagnostics.is_empty(), "{path}");
        assert!(!file.documents.is_empty(), "{path}");
        for document in &file.documents {
            let text = render(&document.diagnostics, &source, false);
            assert_eq!(text, "", "{path}");
            assert!(document.outcome.is_some(), "{path}");
        }
        assert!(file.identities_readable(), "{path}");
    }
}

#[test]
fn every_invalid_sample_says_exactly_what_is_wrong() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder("tests/invalid"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (path, bytes) in files(&folder("tests/invalid")) {
        let (repository, mut text) = repository(&BTreeMap::from([(path.clone(), bytes)]));
        assert!(!repository.diagnostics.is_empty(), "{path} has no mistake");
        writeln!(
            text,
            "groups: {}, broken: {}, identities readable: {}",
            repository.groups.len(),
            repository.broken.len(),
            repository.identities_readable
        )
        .unwrap();
        settings.bind(|| insta::assert_snapshot!(path.trim_end_matches(".yaml"), text));
    }
}

/// Every kind is in the samples, so that no decoder goes unread.
#[test]
fn the_valid_samples_cover_every_kind() {
    let mut missing = Kind::ALL.to_vec();
    for (path, bytes) in files(&folder("tests/valid")) {
        for document in parse_file(&path, &bytes).documents {
            let kind = match document.outcome {
                Some(Document::Fleet(_)) => Kind::Fleet,
                Some(Document::Group(_)) => Kind::Group,
                Some(Document::Policy(_)) => Kind::Policy,
                Some(Document::Binding(_)) => Kind::Binding,
                Some(Document::Provider(_)) => Kind::Provider,
                Some(Document::MetricSource(_)) => Kind::MetricSource,
                Some(Document::Calendar(_)) => Kind::Calendar,
                None => continue,
            };
            missing.retain(|other| *other != kind);
        }
    }
    assert!(missing.is_empty(), "no valid sample of {missing:?}");
}

/// Ids of changes are made of these texts, and approvals are of ids. Where a text changes with no field, as with another
/// compiler, everybody would be asked again for what is approved: then write the texts of old, or raise the planner's
/// version and say so in the change log.
#[test]
fn what_ids_of_changes_are_made_of_stays_as_it_was() {
    let root = folder("tests/valid");
    let mut text = String::new();
    for (path, bytes) in files(&root) {
        for parsed in parse_file(&path, &bytes).documents {
            if let Some(Document::Group(group)) = parsed.outcome {
                writeln!(text, "{path}, {}:", group.name).unwrap();
                // A field a line, so that a difference is worth reading.
                let settings = group.spec.settings().replace(", ", ",\n  ");
                writeln!(text, "  {settings}").unwrap();
            }
        }
    }
    insta::assert_snapshot!(text);
}
