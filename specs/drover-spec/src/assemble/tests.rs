use super::*;
use crate::document::parse_file;

const PROVIDER: &str =
    "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: local}\nspec: {type: process}\n";

fn group(name: &str, more: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {{name: {name}, labels: {{env: prod}}}}\nspec:\n  provider: local\n  size: 3\n  template: {{}}\n{more}"
    )
}

fn binding(name: &str, policy: &str, selector: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {{name: {name}}}\nspec: {{policy: {policy}, selector: {selector}, enforcement: deny}}\n"
    )
}

fn assembled(files: &[(&str, String)]) -> Repository {
    let parsed: Vec<ParsedFile> = files
        .iter()
        .map(|(path, text)| parse_file(path, text.as_bytes()))
        .collect();
    assemble(&parsed)
}

/// Returns what is said, each as `place code`.
fn said(repository: &Repository) -> Vec<String> {
    let diagnostics = repository.diagnostics.iter();
    diagnostics
        .map(|found| format!("{} {}", found.span, found.code))
        .collect()
}

#[test]
fn a_good_repository_says_nothing() {
    let repository = assembled(&[
        ("groups/web.yaml", group("web", "")),
        ("providers/local.yaml", PROVIDER.to_owned()),
    ]);
    assert_eq!(said(&repository), [""; 0]);
    assert!(!repository.has_errors());
    let web = &repository.groups[&GroupName::parse("web").unwrap()];
    assert_eq!((web.path.as_str(), web.line), ("groups/web.yaml", 1));
    assert_eq!(*web.text, *group("web", ""));
}

#[test]
fn a_name_in_two_files_names_both_and_neither_is_in_force() {
    let repository = assembled(&[
        ("groups/a.yaml", group("web", "")),
        ("groups/b.yaml", format!("# moved\n{}", group("web", ""))),
        ("providers/local.yaml", PROVIDER.to_owned()),
    ]);
    assert_eq!(
        said(&repository),
        ["groups/b.yaml:4:18 duplicate-document"],
        "each pair once"
    );
    let told = &repository.diagnostics[0];
    assert!(told.message.ends_with("also at groups/a.yaml:3"));
    assert_eq!(told.related[0].0.to_string(), "groups/a.yaml:3:18");
    assert!(repository.groups.is_empty());
    let why = repository.broken.iter().map(|one| &one.diagnostics[..]);
    let why: Vec<_> = why.map(|why| why[0].message.as_str()).collect();
    assert_eq!(why.len(), 2, "neither is in force");
    assert!(why[0].ends_with("also at groups/b.yaml:4"), "{why:?}");
    assert!(repository.mentions(Kind::Group, "web"), "it is not removed");
    assert!(repository.identities_readable);
}

#[test]
fn the_same_name_in_two_kinds_is_fine() {
    let repository = assembled(&[
        ("a.yaml", group("local", "")),
        ("b.yaml", PROVIDER.to_owned()),
    ]);
    assert_eq!(said(&repository), [""; 0]);
}

#[test]
fn one_bad_document_fails_alone() {
    let repository = assembled(&[
        (
            "groups/all.yaml",
            format!("{}---\n{}", group("bad", "  size: 4\n"), group("good", "")),
        ),
        ("providers/local.yaml", PROVIDER.to_owned()),
    ]);
    assert_eq!(said(&repository), ["groups/all.yaml:8:3 duplicate-key"]);
    assert_eq!(repository.groups.len(), 1);
    assert_eq!(
        repository.broken[0].identity,
        Some((Kind::Group, "bad".to_owned()))
    );
    assert!(!repository.identities_readable);
}

#[test]
fn a_file_that_cannot_be_read_hides_names() {
    let repository = assembled(&[("groups/web.yaml", "a".repeat(2 << 20))]);
    assert_eq!(said(&repository), ["groups/web.yaml:1:1 too-large"]);
    assert!(!repository.identities_readable);
    assert_eq!(repository.broken[0].identity, None);
}

#[test]
fn a_reference_to_a_broken_document_is_no_mistake_of_its_own() {
    let repository = assembled(&[
        ("groups/web.yaml", group("web", "")),
        (
            "providers/local.yaml",
            PROVIDER.replace("type: process", "type: Process"),
        ),
        ("bindings/b.yaml", binding("b", "p", "{}")),
        (
            "policies/p.yaml",
            "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec: {on: gate}\n"
                .to_owned(),
        ),
    ]);
    assert_eq!(
        said(&repository),
        [
            "policies/p.yaml:4:1 missing-field",
            "providers/local.yaml:4:14 bad-value"
        ]
    );
    assert_eq!(repository.bindings.len(), 1);
}

#[test]
fn a_missing_provider_leaves_the_group_to_say_what_it_waits_for() {
    let repository = assembled(&[("groups/web.yaml", group("web", ""))]);
    assert_eq!(
        said(&repository),
        ["groups/web.yaml:5:13 unknown-reference"]
    );
    assert_eq!(
        repository.diagnostics[0].hint.as_deref(),
        Some("the repository has no Provider document")
    );
    assert_eq!(repository.groups.len(), 1);
}

#[test]
fn warns_of_a_binding_that_selects_nothing_unless_a_group_is_broken() {
    let policy = "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec: {on: size, value: \"1\"}\n";
    let files = |group: String| {
        assembled(&[
            ("b.yaml", binding("b", "p", "{matchLabels: {env: test}}")),
            ("g.yaml", group),
            ("p.yaml", format!("{policy}---\n{PROVIDER}")),
        ])
    };
    assert_eq!(
        said(&files(group("web", ""))),
        ["b.yaml:3:18 selects-nothing"]
    );
    let broken = files(group("web", "  manage: no\n"));
    assert_eq!(said(&broken), ["g.yaml:8:11 bad-value"]);
}
