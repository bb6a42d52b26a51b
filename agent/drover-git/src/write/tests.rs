use super::*;

#[test]
fn paths_that_leave_the_tree_are_refused() {
    let deep = "a/".repeat(DEPTH_MAX + 1) + "b";
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        ".git/config",
        "a/.GIT/b",
        "a\\b",
        "a\nb",
        &deep,
        &long,
    ] {
        assert!(check_path(path).is_err(), "{path:?}");
    }
    for path in ["a", "groups/web.yaml", ".github/x", "größe.yaml"] {
        assert!(check_path(path).is_ok(), "{path:?}");
    }
}

#[test]
fn signatures_cannot_inject_fields() {
    let who = Signature {
        name: "Eve <root@example.com>\nparent 0".to_owned(),
        email: String::new(),
    };
    let signature = signature(&who, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(signature.name(), Ok("Eve root@example.comparent 0"));
    assert_eq!(signature.email(), Ok("unknown"));
}

#[test]
fn an_edit_cannot_make_a_path_both_file_and_folder() {
    let edits = [Edit::put("a", "1"), Edit::put("a/b", "2")];
    let changes: Vec<Change<'_>> = edits.iter().map(Change::from).collect();
    assert!(matches!(
        by_component(&changes),
        Err(GitError::PathConflict { .. })
    ));
}
