use super::*;

#[test]
fn hidden_paths_are_ignored_unless_brought_back() {
    let rules = IgnoreRules::defaults();
    assert!(rules.ignores(".github", true));
    assert!(!rules.ignores(".droverignore", false));
    assert!(!rules.ignores("groups/web.yaml", false));
    let (rules, mistakes) = IgnoreRules::parse(b"# comment\n!.fleet/\n/drafts/\n*.tmp.yaml\n");
    assert!(mistakes.is_empty());
    assert!(!rules.ignores(".fleet", true));
    assert!(rules.ignores(".github", true));
    assert!(rules.ignores("drafts", true));
    assert!(!rules.ignores("groups/drafts", true));
    assert!(rules.ignores("groups/a.tmp.yaml", false));
}

#[test]
fn a_rule_that_does_not_parse_is_named_by_its_line() {
    let (rules, mistakes) = IgnoreRules::parse(b"ok.yaml\n[a-\nalso.yaml\n");
    assert_eq!(mistakes.len(), 1);
    assert_eq!(mistakes[0].0, 2);
    assert!(rules.ignores("ok.yaml", false) && rules.ignores("also.yaml", false));
}

#[test]
fn names_that_could_mislead_are_not_usable() {
    for name in [&b"a\nb"[..], b"a\\b", b"a\xff", b"\x1b[31m"] {
        assert_eq!(usable_name(name), Err(RefusedWhy::BadName));
    }
    for name in [&b".."[..], b".", b"", b".GIT", b"a/b", b"a/../../b"] {
        assert_eq!(usable_name(name), Err(RefusedWhy::NameLeadsAway));
    }
    assert_eq!(usable_name("größe.yaml".as_bytes()), Ok("größe.yaml"));
}

#[test]
fn only_documents_and_ignore_files_are_listed() {
    for name in ["a.yaml", "b.yml", ".droverignore"] {
        assert!(is_document(name), "{name}");
    }
    for name in ["a.json", "yaml", "a.yaml.bak", "README.md"] {
        assert!(!is_document(name), "{name}");
    }
}
