//! The page about the language says what the language does.

use std::collections::BTreeSet;

use drover_policy::language::{Checking, Datum, Surroundings, evaluate};
use drover_policy::reference;

const PAGE: &str = include_str!("../../../docs/reference/cel.md");

/// The cells of every row of a table that begins with code.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    PAGE.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn every_example_is_true() {
    let now = Datum::Time("2026-01-05T12:00:00Z".parse().expect("a time"));
    let values = [("now".to_owned(), now)];
    let mut examples = 0;
    let mut wrong = Vec::new();
    for row in rows() {
        let example = code(row.last().expect("a cell"));
        let surroundings = Surroundings {
            container: "",
            values: &values,
            checking: Checking::Strict,
        };
        let result = evaluate(example, surroundings);
        if result != Ok(Datum::Bool(true)) {
            wrong.push(format!("{example}: {result:?}"));
        }
        examples += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(examples > 150, "{examples} examples");
}

/// The name of what the first cell of a row shows, without what it is called on.
fn names_on_the_page() -> BTreeSet<String> {
    rows()
        .filter_map(|row| {
            let (called, _) = code(row[0]).split_once('(')?;
            Some(called.rsplit('.').next()?.to_owned())
        })
        .collect()
}

#[test]
fn the_page_lists_every_function_and_no_other() {
    let reference = reference();
    let called = |usage: &str| {
        let name = usage.split('(').next().unwrap_or_default();
        name.rsplit('.').next().unwrap_or_default().to_owned()
    };
    let known: BTreeSet<String> = reference
        .functions
        .iter()
        .map(|name| called(name))
        .chain(reference.macros.iter().map(|usage| called(usage)))
        .collect();
    let shown = names_on_the_page();
    let missing: Vec<&String> = known.difference(&shown).collect();
    let unknown: Vec<&String> = shown.difference(&known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing: {missing:?}, unknown: {unknown:?}"
    );
}
