//! What a missing document means, told from documents alone.

use std::collections::BTreeMap;

use drover_model::{GroupName, Hold};
use drover_spec::{ParsedFile, Repository};

use super::{ComparedDocuments, doubts_between};

const PROVIDER: &str = "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: local}\nspec: {type: simulated}\n";

fn group(name: &str, size: u32, image: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {{name: {name}}}\nspec: {{provider: local, size: {size}, template: {{properties: {{image: {image}}}}}}}\n"
    )
}

fn repository(files: &[(&str, &[String])]) -> Repository {
    let mut parsed: Vec<ParsedFile> = files
        .iter()
        .map(|(path, documents)| drover_spec::parse_file(path, documents.join("---\n").as_bytes()))
        .collect();
    parsed.push(drover_spec::parse_file(
        "providers/local.yaml",
        PROVIDER.as_bytes(),
    ));
    drover_spec::assemble(&parsed)
}

type Files<'a> = &'a [(&'a str, &'a [String])];

/// Returns the codes of what would be held, by group.
fn held(before: Files<'_>, after: Files<'_>) -> Vec<String> {
    let holds = doubts(before, after);
    let code = |(name, hold): (&GroupName, &Hold)| format!("{name} {}", hold.code());
    holds.iter().map(code).collect()
}

fn doubts(before: Files<'_>, after: Files<'_>) -> BTreeMap<GroupName, Hold> {
    let (before, after) = (repository(before), repository(after));
    let documents = |repository| ComparedDocuments {
        repository,
        ignore_rules: "",
    };
    doubts_between(&documents(&before), &documents(&after))
}

const NEITHER: [&str; 2] = ["old DeletionUnconfirmed", "web RenameUnconfirmed"];

#[test]
fn another_name_in_the_same_file_removes_nothing_and_makes_nothing() {
    let before: Files<'_> = &[("a.yaml", &[group("old", 3, "x")])];
    assert_eq!(
        held(before, &[("a.yaml", &[group("web", 3, "x")])]),
        NEITHER
    );
    // Whatever else was changed with it.
    let after: Files<'_> = &[("a.yaml", &[group("web", 7, "y")])];
    assert_eq!(held(before, after), NEITHER);
    let told = doubts(before, after)[&"old".parse().unwrap()].to_string();
    for part in ["group web is new", "give it back the name old"] {
        assert!(told.contains(part), "{told}");
    }
    // Also where it has mistakes, or another group beside it.
    let broken = group("web", 3, "x").replace("size: 3", "size: many");
    assert_eq!(held(before, &[("a.yaml", &[broken])]), NEITHER);
    let beside: Files<'_> = &[("a.yaml", &[group("another", 1, "z"), group("web", 3, "x")])];
    assert_eq!(held(before, beside), NEITHER);
}

#[test]
fn in_a_file_of_several_groups_the_new_one_has_to_be_alike() {
    let stays = group("stays", 1, "x");
    let before: Files<'_> = &[("a.yaml", &[stays.clone(), group("old", 3, "x")])];
    let alike: Files<'_> = &[("a.yaml", &[stays.clone(), group("web", 5, "x")])];
    assert_eq!(held(before, alike), NEITHER);
    let other: Files<'_> = &[("a.yaml", &[stays, group("web", 3, "y")])];
    assert_eq!(held(before, other), [""; 0]);
}

#[test]
fn an_alike_group_in_another_file_is_made_and_the_removal_asks() {
    let before: Files<'_> = &[("a.yaml", &[group("old", 3, "x")])];
    let after = |size, image| held(before, &[("b.yaml", &[group("web", size, image)])]);
    assert_eq!(after(3, "x"), ["old DeletionUnconfirmed"]);
    assert_eq!(after(4, "x"), [""; 0]);
    assert_eq!(after(3, "y"), [""; 0]);
}

#[test]
fn another_file_for_the_same_name_is_nothing_at_all() {
    let before: Files<'_> = &[("a.yaml", &[group("old", 3, "x")])];
    assert_eq!(
        held(before, &[("b.yaml", &[group("old", 3, "x")])]),
        [""; 0]
    );
    // Nor is a new group that is alike, where the first one stays.
    let after: Files<'_> = &[
        ("a.yaml", &[group("web", 3, "x")]),
        ("b.yaml", &[group("old", 3, "x")]),
    ];
    assert_eq!(held(before, after), [""; 0]);
}

#[test]
fn a_group_without_instances_may_have_another_name() {
    let before: Files<'_> = &[("a.yaml", &[group("old", 0, "x")])];
    assert_eq!(
        held(before, &[("a.yaml", &[group("web", 0, "x")])]),
        [""; 0]
    );
}

#[test]
fn two_names_changed_at_once_are_told_as_such() {
    let before: Files<'_> = &[("a.yaml", &[group("p", 3, "x"), group("q", 3, "y")])];
    let after: Files<'_> = &[("a.yaml", &[group("p2", 3, "x"), group("q2", 3, "y")])];
    let holds = doubts(before, after);
    for (from, to) in [("p", "p2"), ("q", "q2")] {
        let told = holds[&from.parse().unwrap()].to_string();
        assert!(told.contains(&format!("group {to} is new")), "{told}");
        let from = from.parse().unwrap();
        assert_eq!(
            holds[&to.parse().unwrap()],
            Hold::RenameUnconfirmed { from }
        );
    }
}

#[test]
fn too_much_at_once_is_found_in_documents() {
    let many = [group("a", 30, "x"), group("b", 1, "y"), group("c", 1, "z")];
    let before: Files<'_> = &[("a.yaml", &many)];
    assert_eq!(held(before, &[("a.yaml", &many[1..])]), ["a DestroyLimit"]);
    assert_eq!(
        held(before, &[("a.yaml", &many[..1])]),
        ["b DeletionUnconfirmed", "c DeletionUnconfirmed"]
    );
}
