//! Who changed which documents, as `git` itself wrote it.

use std::fs;
use std::path::Path;

use crate::support::http_backend::git;
use crate::support::*;
use drover_git::{
    ChangedPath, ENTRIES_MAX, Edit, GitError, Mirror, Oid, RepositoryKind, init_repository,
};

fn commit(folder: &Path, who: &str, files: &[(&str, &str)], message: &str) -> Oid {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    git(folder, &["add", "--all"]);
    let author = format!("{who} <{who}@example.com>");
    git(
        folder,
        &["commit", "--quiet", "--author", &author, "-m", message],
    );
    head(folder)
}

fn head(folder: &Path) -> Oid {
    git(folder, &["rev-parse", "HEAD"]).parse().unwrap()
}

fn told(mirror: &Mirror, from: Option<Oid>, to: Oid, root: &str) -> Vec<String> {
    let changes = mirror.changes_since(from, to, root, 10).unwrap();
    assert!(changes.complete);
    let told = changes.commits.into_iter().map(|commit| {
        let paths = |changed: &Vec<ChangedPath>| {
            let paths = changed.iter().map(|changed| changed.path.as_str());
            paths.collect::<Vec<_>>().join(" ")
        };
        let against = commit.against.unwrap();
        let against: Vec<String> = against.iter().map(paths).collect();
        format!("{}: {}", commit.authors.join(", "), against.join(" | "))
    });
    told.collect()
}

#[test]
fn commits_say_who_changed_which_documents_and_a_merge_only_what_no_parent_has() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    init_repository(folder, RepositoryKind::WithWorkTree, "main").unwrap();
    let mirror = local(folder);
    let first = [("a/x.yaml", "1"), ("b.yaml", "1"), ("README", "1")];
    let base = commit(folder, "ada", &first, "first");
    git(folder, &["switch", "--quiet", "--create", "side"]);
    let second = [("a/x.yaml", "2"), ("README", "2")];
    commit(folder, "bob", &second, "second");
    git(folder, &["switch", "--quiet", "main"]);
    let message = "third\n\nCo-authored-by: Eve <eve@example.com>";
    let third = commit(folder, "cem", &[("b.yaml", "2")], message);
    git(folder, &["merge", "--quiet", "--no-edit", "side"]);
    let bob = "bob <bob@example.com>: a/x.yaml";
    let cem = "cem <cem@example.com>, Eve <eve@example.com>: b.yaml";
    let ada = "ada <ada@example.com>: a/x.yaml b.yaml";
    let mut all = told(&mirror, None, head(folder), "");
    assert_eq!(all[0], "Test <test@example.com>: ");
    all[1..].sort();
    assert_eq!(all[1..], [ada, bob, cem]);
    let mut since = told(&mirror, Some(base), head(folder), "");
    since[1..].sort();
    assert_eq!(since[1..], [bob, cem]);
    // What the other side brought is not what the first parent's descendants wrote.
    assert_eq!(told(&mirror, Some(third), head(folder), "")[1..], [bob]);
    let below = told(&mirror, Some(third), head(folder), "a");
    assert_eq!(below[1..], [bob]);
    // The merge itself changes something that no side has.
    fs::write(folder.join("b.yaml"), "3").unwrap();
    let amend = ["commit", "--quiet", "--all", "--amend", "--no-edit"];
    git(folder, &amend);
    let evil = told(&mirror, Some(base), head(folder), "");
    assert_eq!(evil[0], "Test <test@example.com>: a/x.yaml b.yaml | b.yaml");
}

#[test]
fn a_history_longer_than_the_limit_says_so_and_one_that_is_not_here_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    init_repository(folder, RepositoryKind::WithWorkTree, "main").unwrap();
    let mirror = local(folder);
    let base = commit(folder, "ada", &[("a.yaml", "1")], "first");
    let tip = commit(folder, "ada", &[("a.yaml", "2")], "second");
    let changes = mirror.changes_since(None, tip, "", 1).unwrap();
    assert!(!changes.complete);
    assert_eq!(changes.commits[0].id, tip);
    assert!(
        mirror
            .changes_since(Some(base), tip, "", 1)
            .unwrap()
            .complete
    );
    // More files than one listing may have are not listed, whatever they are.
    let files: Vec<Edit> = (0..=ENTRIES_MAX)
        .map(|number| Edit::put(format!("{}/{number}", number % 500), ""))
        .collect();
    let meta = meta("many files");
    let many = mirror.build_commit(Some(tip), &files, &meta);
    let many = many.unwrap().unwrap();
    let changes = mirror.changes_since(Some(base), many, "", 5).unwrap();
    assert!(changes.complete);
    let listed = changes.commits.iter().map(|it| it.against.is_some());
    assert_eq!(listed.collect::<Vec<_>>(), [false, false]);
    let missing = Oid::of_blob(b"nowhere").unwrap();
    let error = mirror.changes_since(Some(missing), tip, "", 1).unwrap_err();
    assert!(matches!(error, GitError::MissingObject { .. }), "{error:?}");
}
