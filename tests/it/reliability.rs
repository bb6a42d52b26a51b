//! The page that says what other systems got wrong names tests that exist.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_.ancestors().nth(2).unwrap().to_path_buf()
}

/// Reads every Rust file and the name of every scenario below `folder`.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            sources(&path, text);
        } else if let Some(scenario) = name.strip_suffix(".txt") {
            let _ = writeln!(text, "fn {scenario}(");
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn rows(page: &str) -> Vec<&str> {
    let numbered = |line: &&str| {
        let cell = line
            .strip_prefix("| ")
            .and_then(|rest| rest.split(' ').next());
        cell.is_some_and(|cell| cell.parse::<u32>().is_ok())
    };
    // The table of others' mistakes comes before every section; those of sections are figures.
    let table = page.split("\n## ").next().unwrap_or_default();
    table.lines().filter(numbered).collect()
}

#[test]
fn every_test_that_the_reliability_page_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let mut text = String::new();
    for folder in ["agent", "providers", "specs", "policies", "tests"] {
        sources(&root().join(folder), &mut text);
    }
    let rows = rows(&page);
    assert_eq!(rows.len(), 34, "one row for each mistake of others");
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        assert!(
            cell.contains('`') || cell.starts_with("none"),
            "the row neither names a test nor says that there is none: {row}"
        );
    }
    let names = names(&page);
    assert!(names.len() > 60, "{} names", names.len());
    let absent = |name: &&str| !text.contains(&format!("fn {name}("));
    let missing: Vec<&str> = names.into_iter().filter(absent).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

/// Returns what the page says in code that reads like the name of a test: words joined by underscores.
fn names(page: &str) -> Vec<&str> {
    let code = page.split('`').skip(1).step_by(2);
    let word = |name: &str| {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.contains('_') && name.chars().all(letters)
    };
    code.filter(|name| word(name)).collect()
}
