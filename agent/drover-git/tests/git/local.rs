//! A repository on this machine, opened in place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::http_backend::git;
use crate::support::*;
use drover_git::{
    DEPTH_MAX, Disposition, Edit, FILE_BYTES_MAX, GitError, IgnoreRules, Mirror, Oid, PushOutcome,
    RefusedWhy, RepositoryKind, SourceUrl, TreeListing, init_repository,
};
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    mirror: Arc<Mirror>,
}

impl Fixture {
    fn new(kind: RepositoryKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        init_repository(folder.path(), kind, "main").unwrap();
        let mirror = local(folder.path());
        Self { folder, mirror }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn commit(&self, base: Option<Oid>, edits: &[Edit]) -> Oid {
        self.mirror
            .build_commit(base, edits, &meta("a change"))
            .unwrap()
            .expect("a change")
    }

    fn listing(&self, commit: Oid, root: &str) -> TreeListing {
        let rules = match self.mirror.file(commit, ".droverignore").unwrap() {
            Some((_, bytes)) => IgnoreRules::parse(&bytes).0,
            None => IgnoreRules::defaults(),
        };
        self.mirror.tree(commit, root, &rules).unwrap()
    }
}

fn paths(listing: &TreeListing) -> Vec<&str> {
    listing.files.iter().map(|f| f.path.as_str()).collect()
}

/// Commits whatever lies in a folder with a work tree, as a hostile person could.
fn commit_all(folder: &Path) -> Oid {
    git(folder, &["add", "--all", "--force"]);
    git(folder, &["commit", "--quiet", "-m", "all"]);
    git(folder, &["rev-parse", "HEAD"]).parse().unwrap()
}

#[test]
fn a_path_and_a_file_url_open_the_same_repository_in_place() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let tip = push_file(&fixture.mirror, "main", "a.yaml", "1\n");
    let url = SourceUrl::parse(&format!("file://{}", fixture.path().display())).unwrap();
    let unused = fixture.path().join("unused");
    let mirror = Mirror::open(&unused, url, options()).unwrap();
    assert_eq!(mirror.list().unwrap().require("main").unwrap(), tip);
    mirror.fetch(&[("main", tip)]).unwrap();
    assert!(!unused.exists());
    let missing = Oid::of_blob(b"nowhere").unwrap();
    assert!(mirror.fetch(&[("main", missing)]).is_err());
}

#[test]
fn a_folder_without_a_repository_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    init_repository(folder.path(), RepositoryKind::WithWorkTree, "main").unwrap();
    fs::create_dir(&inside).unwrap();
    for path in [inside, folder.path().join("absent")] {
        let url = SourceUrl::from_path(&path).unwrap();
        let error = Mirror::open(Path::new("unused"), url, options()).unwrap_err();
        assert!(matches!(error, GitError::NotFound { .. }), "{error:?}");
        assert_eq!(error.disposition(), Disposition::NeedsOperator);
    }
}

#[test]
fn an_empty_repository_and_a_missing_branch_are_told_apart() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let error = fixture.mirror.list().unwrap().require("main").unwrap_err();
    assert!(matches!(error, GitError::EmptyRepository { .. }));
    push_file(&fixture.mirror, "main", "a.yaml", "1\n");
    let refs = fixture.mirror.list().unwrap();
    assert_eq!(refs.default_branch(), Some("refs/heads/main"));
    let error = refs.require("trunk").unwrap_err();
    assert!(matches!(error, GitError::RefMissing { .. }));
}

#[test]
fn a_commit_that_changes_nothing_is_not_made() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let build = |base, edits: &[Edit]| {
        fixture
            .mirror
            .build_commit(base, edits, &meta("x"))
            .unwrap()
    };
    assert_eq!(build(None, &[]), None);
    assert_eq!(build(None, &[Edit::remove("a/b.yaml")]), None);
    let first = fixture.commit(None, &[Edit::put("a/b.yaml", "1\n")]);
    assert_eq!(build(Some(first), &[Edit::put("a/b.yaml", "1\n")]), None);
    assert_eq!(build(Some(first), &[Edit::remove("c/d.yaml")]), None);
    let emptied = build(Some(first), &[Edit::remove("a/b.yaml")]).unwrap();
    assert_eq!(fixture.listing(emptied, "").files, []);
    assert!(fixture.listing(emptied, "").root_found);
    assert!(!fixture.listing(emptied, "a").root_found);
}

#[test]
fn edits_touch_only_their_paths() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let first = fixture.commit(
        None,
        &[
            Edit::put("groups/web.yaml", "1\n"),
            Edit::put("groups/deep/db.yaml", "2\n"),
            Edit::put("README.md", "hello\n"),
        ],
    );
    let second = fixture.commit(
        Some(first),
        &[
            Edit::put("groups/web.yaml", "3\n"),
            Edit::remove("groups/deep/db.yaml"),
            Edit::put("policies/p.yml", "4\n"),
        ],
    );
    assert_eq!(
        paths(&fixture.listing(second, "")),
        ["groups/web.yaml", "policies/p.yml"]
    );
    let changed = fixture.mirror.tree_diff(Some(first), second, "").unwrap();
    let changed: Vec<_> = changed
        .iter()
        .map(|c| (c.path.as_str(), c.old.is_some(), c.new.is_some()))
        .collect();
    assert_eq!(
        changed,
        [
            ("groups/deep/db.yaml", true, false),
            ("groups/web.yaml", true, true),
            ("policies/p.yml", false, true)
        ]
    );
    let below = fixture.mirror.tree_diff(Some(first), second, "policies");
    assert_eq!(below.unwrap().len(), 1);
    let readme = fixture.mirror.file(second, "README.md").unwrap().unwrap();
    assert_eq!(readme.1, b"hello\n");
    assert!(fixture.mirror.file(second, "groups").unwrap().is_none());
    assert!(
        fixture
            .mirror
            .file(second, "groups/deep/db.yaml")
            .unwrap()
            .is_none()
    );
    let error = fixture
        .mirror
        .build_commit(Some(second), &[Edit::put("README.md/x", "1")], &meta("x"))
        .unwrap_err();
    assert!(matches!(error, GitError::PathConflict { .. }));
    assert_sound(fixture.path());
}

#[test]
fn links_submodules_and_large_or_deep_files_are_refused() {
    let fixture = Fixture::new(RepositoryKind::WithWorkTree);
    let root = fixture.path();
    fs::create_dir(root.join("groups")).unwrap();
    fs::write(root.join("groups/web.yaml"), "size: 3\n").unwrap();
    symlink("/etc/passwd", root.join("groups/evil.yaml")).unwrap();
    symlink("/etc", root.join("linked")).unwrap();
    let large = vec![b'#'; FILE_BYTES_MAX as usize + 1];
    fs::write(root.join("large.yaml"), &large).unwrap();
    fs::write(root.join("large.bin"), &large).unwrap();
    fs::write(root.join("full.yaml"), &large[1..]).unwrap();
    let deep = "d/".repeat(DEPTH_MAX);
    fs::create_dir_all(root.join(&deep).join("e")).unwrap();
    fs::write(root.join(&deep).join("last.yaml"), "1\n").unwrap();
    fs::write(root.join(&deep).join("e/beyond.yaml"), "1\n").unwrap();
    fs::write(root.join("line\nbreak.yaml"), "1\n").unwrap();
    let first = commit_all(root);
    git(
        root,
        &[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{first},sub"),
        ],
    );
    let commit = commit_all_but_links(root);
    let listing = fixture.listing(commit, "");
    let deepest = format!("{deep}last.yaml");
    assert_eq!(
        paths(&listing),
        [deepest.as_str(), "full.yaml", "groups/web.yaml"]
    );
    let mut refused: Vec<_> = listing
        .refused
        .iter()
        .map(|r| (r.path.as_str(), r.why))
        .collect();
    refused.sort_by_key(|(path, _)| *path);
    let beyond = format!("{deep}e");
    assert_eq!(
        refused,
        [
            (beyond.as_str(), RefusedWhy::PathTooDeep),
            ("groups/evil.yaml", RefusedWhy::Symlink),
            ("large.yaml", RefusedWhy::TooLarge),
            ("line\\nbreak.yaml", RefusedWhy::BadName),
            ("linked", RefusedWhy::Symlink),
            ("sub", RefusedWhy::Submodule),
        ]
    );
    assert!(
        fixture
            .mirror
            .file(commit, "groups/evil.yaml")
            .unwrap()
            .is_none()
    );
    for root in ["linked", "sub", "absent", "full.yaml"] {
        assert!(!fixture.listing(commit, root).root_found, "{root}");
    }
    for path in ["groups/evil.yaml", "linked/x.yaml", "sub/x.yaml"] {
        let outcome =
            fixture
                .mirror
                .build_commit(Some(commit), &[Edit::put(path, "1")], &meta("x"));
        assert!(matches!(outcome, Err(GitError::PathConflict { .. })));
    }
}

/// Commits the index as it is.
fn commit_all_but_links(folder: &Path) -> Oid {
    git(folder, &["commit", "--quiet", "-m", "index"]);
    git(folder, &["rev-parse", "HEAD"]).parse().unwrap()
}

#[test]
fn ignored_and_hidden_paths_are_not_listed() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let commit = fixture.commit(
        None,
        &[
            Edit::put(".droverignore", "/drafts/\n"),
            Edit::put(".github/workflows/ci.yaml", "on: push\n"),
            Edit::put("drafts/web.yaml", "x\n"),
            Edit::put("groups/drafts/web.yaml", "x\n"),
            Edit::put("groups/notes.txt", "x\n"),
        ],
    );
    assert_eq!(
        paths(&fixture.listing(commit, "")),
        [".droverignore", "groups/drafts/web.yaml"]
    );
    // Rules count from the root that is listed.
    let rules = IgnoreRules::parse(b"/drafts/\n").0;
    let below = fixture.mirror.tree(commit, "groups", &rules).unwrap();
    assert_eq!(paths(&below), Vec::<&str>::new());
    let below = fixture
        .mirror
        .tree(commit, "groups", &IgnoreRules::defaults());
    assert_eq!(paths(&below.unwrap()), ["drafts/web.yaml"]);
}

#[test]
fn a_listing_beyond_its_limit_says_that_it_is_incomplete() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let edits: Vec<Edit> = (0..=drover_git::FILES_MAX)
        .map(|i| Edit::put(format!("g/{}/{i}.yaml", i / 1000), "same\n"))
        .collect();
    let commit = fixture.commit(None, &edits);
    let listing = fixture.listing(commit, "");
    assert_eq!(listing.files.len(), drover_git::FILES_MAX);
    assert!(!listing.is_complete());
    let fewer = fixture.commit(None, &edits[1..]);
    assert!(fixture.listing(fewer, "").is_complete());
}

#[test]
fn a_file_larger_than_permitted_is_not_read() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let commit = fixture.commit(None, &[Edit::put("a.yaml", "12345")]);
    let (id, _) = fixture.mirror.file(commit, "a.yaml").unwrap().unwrap();
    assert_eq!(fixture.mirror.read(id, 5).unwrap(), b"12345");
    assert!(matches!(
        fixture.mirror.read(id, 4),
        Err(GitError::TooLarge { size: 5, .. })
    ));
    assert!(matches!(
        fixture.mirror.read(Oid::of_blob(b"no").unwrap(), 4),
        Err(GitError::MissingObject { .. })
    ));
}

#[test]
fn the_log_of_a_path_has_only_the_commits_that_change_it() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let mut tip = None;
    for (path, text) in [("a/x", "1"), ("b", "1"), ("a/x", "2"), ("b", "2")] {
        tip = Some(fixture.commit(tip, &[Edit::put(path, text)]));
    }
    let tip = tip.unwrap();
    let log = |path, limit| fixture.mirror.log(tip, path, limit).unwrap().len();
    assert_eq!(log(None, 10), 4);
    assert_eq!(log(None, 3), 3);
    assert_eq!(log(Some("a"), 10), 2);
    assert_eq!(log(Some("a/x"), 10), 2);
    assert_eq!(log(Some("a/y"), 10), 0);
    let newest = &fixture.mirror.log(tip, Some("b"), 1).unwrap()[0];
    assert_eq!(newest.id, tip);
}

#[test]
fn commits_after_one_say_which_documents_they_wrote_newest_first() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let first = [Edit::put("a/x.yaml", "1"), Edit::put("b.yaml", "1")];
    let base = fixture.commit(None, &first);
    let second = [Edit::put("a/x.yaml", "2"), Edit::put("a/README", "2")];
    let changed = fixture.commit(Some(base), &second);
    let third = [
        Edit::remove("a/x.yaml"),
        Edit::put("b.yaml", "2"),
        Edit::put("a/c/y.yml", "1"),
    ];
    let tip = fixture.commit(Some(changed), &third);
    let since = |from, root, limit| fixture.mirror.written_since(from, tip, root, limit);
    let told = |from, root| {
        let commits = since(from, root, 10).unwrap().unwrap().into_iter();
        let told = commits.map(|(commit, files)| {
            let paths = files.into_iter().map(|(path, _)| path);
            (commit, paths.collect::<Vec<_>>())
        });
        told.collect::<Vec<_>>()
    };
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    let of_tip: (Oid, Vec<String>) = (tip, paths(&["a/c/y.yml", "b.yaml"]));
    let of_changed = (changed, paths(&["a/x.yaml"]));
    assert_eq!(told(base, ""), [of_tip.clone(), of_changed]);
    assert_eq!(told(changed, ""), [of_tip]);
    assert_eq!(told(tip, ""), []);
    let below = [(tip, paths(&["c/y.yml"])), (changed, paths(&["x.yaml"]))];
    assert_eq!(told(base, "a"), below);
    assert_eq!(told(base, "nowhere")[0], (tip, Vec::new()));
    assert_eq!(since(base, "", 1).unwrap(), None);
}

#[test]
fn trailers_are_those_that_git_reads() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let message = "web: scale 3 -> 5\n\nOne step.\n\nDrover-Group: web\n\
                   Drover-Plan: 1:abc\nDrover-Approved-By: Jane <jane@example.com>\n";
    let commit = fixture
        .mirror
        .build_commit(None, &[Edit::put("a", "1")], &meta(message))
        .unwrap()
        .unwrap();
    let info = fixture.mirror.commit(commit).unwrap();
    assert_eq!(info.subject, "web: scale 3 -> 5");
    assert_eq!(info.author, agent("jane"));
    assert_eq!(info.time, at(0));
    assert_eq!(info.message, message);
    assert_eq!(info.trailer("drover-plan"), Some("1:abc"));
    let ours: Vec<String> = info
        .trailers
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    let file = fixture.path().join("message");
    fs::write(&file, &info.message).unwrap();
    let theirs = git(
        fixture.path(),
        &["interpret-trailers", "--parse", file.to_str().unwrap()],
    );
    assert_eq!(ours.join("\n"), theirs);
    assert_eq!(ours.len(), 3);
}

#[test]
fn revisions_are_resolved_as_git_does() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let first = push_file(&fixture.mirror, "main", "a.yaml", "1\n");
    let second = push_file(&fixture.mirror, "main", "a.yaml", "2\n");
    git(fixture.path(), &["tag", "v1", "main~1"]);
    for (name, expected) in [
        ("main", second),
        ("HEAD~1", first),
        ("v1", first),
        (&second.to_string()[..12], second),
    ] {
        assert_eq!(fixture.mirror.resolve(name).unwrap(), expected, "{name}");
    }
    for name in ["", "--all", "trunk", "main:a.yaml", "a\nb"] {
        assert!(
            matches!(
                fixture.mirror.resolve(name),
                Err(GitError::UnknownRevision { .. })
            ),
            "{name}"
        );
    }
}

#[test]
fn an_update_compares_before_it_swaps() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let first = push_file(&fixture.mirror, "main", "a.yaml", "1\n");
    let second = push_file(&fixture.mirror, "main", "a.yaml", "2\n");
    let ours = fixture.commit(Some(first), &[Edit::put("b.yaml", "1\n")]);
    let moved = PushOutcome::Moved {
        current: Some(second),
    };
    let update = |expected, new| fixture.mirror.update("main", expected, new).unwrap();
    assert_eq!(update(Some(first), ours), moved);
    assert_eq!(update(None, ours), moved);
    assert!(matches!(
        update(Some(second), ours),
        PushOutcome::Refused { .. }
    ));
    assert_eq!(fixture.mirror.read_ref("main").unwrap(), Some(second));
    let gone = fixture.mirror.update("other", Some(first), ours).unwrap();
    assert_eq!(gone, PushOutcome::Moved { current: None });
    for name in ["-x", "a..b", "refs/heads/", "a b"] {
        assert!(matches!(
            fixture.mirror.update(name, None, ours),
            Err(GitError::BadReference { .. })
        ));
    }
}

/// Lets two threads race for the same references; of each, one must win and the other notice.
fn race(fixture: &Fixture, base: Oid, expected: Option<Oid>) {
    const ROUNDS: usize = 200;
    let branches: Vec<String> = (0..ROUNDS)
        .map(|round| format!("race-{}-{round}", expected.is_some()))
        .collect();
    if let Some(expected) = expected {
        for branch in &branches {
            fixture.mirror.ensure_branch(branch, expected).unwrap();
        }
    }
    let arrived = AtomicUsize::new(0);
    let run = |who: &str| {
        // Handles of their own, as two processes have.
        let mirror = local(fixture.path());
        let edits = [Edit::put(who, "1")];
        let ours = mirror.build_commit(Some(base), &edits, &meta(who));
        let ours = ours.unwrap().unwrap();
        let mut outcomes = Vec::new();
        for (round, branch) in branches.iter().enumerate() {
            arrived.fetch_add(1, Ordering::SeqCst);
            // Busy on purpose, at first: waking a thread up takes longer than the race.
            let mut spins = 0;
            while arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
                spins += 1;
                if spins < 100_000 {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
            outcomes.push((ours, mirror.update(branch, expected, ours).unwrap()));
        }
        outcomes
    };
    let (left, right) = std::thread::scope(|scope| {
        let left = scope.spawn(|| run("left"));
        let right = scope.spawn(|| run("right"));
        (left.join().unwrap(), right.join().unwrap())
    });
    let reader = local(fixture.path());
    for (branch, pair) in branches.iter().zip(left.iter().zip(&right)) {
        let winners: Vec<Oid> = [pair.0, pair.1]
            .iter()
            .filter(|(_, outcome)| *outcome == PushOutcome::Done)
            .map(|(id, _)| *id)
            .collect();
        let tip = reader.read_ref(branch).unwrap();
        assert_eq!(winners.len(), 1, "{branch}: {pair:?}");
        assert_eq!(tip, Some(winners[0]), "{branch}: {pair:?}");
    }
}

#[test]
fn of_two_threads_that_create_or_move_a_reference_one_wins() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let base = fixture.commit(None, &[Edit::put("a", "0")]);
    for expected in [None, Some(base)] {
        race(&fixture, base, expected);
    }
}

#[test]
fn the_files_of_a_checked_out_branch_follow() {
    let fixture = Fixture::new(RepositoryKind::WithWorkTree);
    let root = fixture.path();
    fs::create_dir(root.join("groups")).unwrap();
    fs::write(root.join("groups/web.yaml"), "size: 3\n").unwrap();
    fs::write(root.join("groups/old.yaml"), "size: 1\n").unwrap();
    fs::write(root.join("notes.txt"), "mine\n").unwrap();
    // As `drover init` does it: the files are there, the first commit is made from them.
    let first = fixture.commit(
        None,
        &[
            Edit::put("groups/web.yaml", "size: 3\n"),
            Edit::put("groups/old.yaml", "size: 1\n"),
        ],
    );
    assert_eq!(
        fixture.mirror.update("main", None, first).unwrap(),
        PushOutcome::Done
    );
    assert_eq!(git(root, &["status", "--porcelain"]), "?? notes.txt");
    let second = fixture.commit(
        Some(first),
        &[
            Edit::put("groups/web.yaml", "size: 5\n"),
            Edit::put("groups/new/a.yaml", "size: 1\n"),
            Edit::remove("groups/old.yaml"),
        ],
    );
    assert_eq!(
        fixture.mirror.update("main", Some(first), second).unwrap(),
        PushOutcome::Done
    );
    assert_eq!(git(root, &["status", "--porcelain"]), "?? notes.txt");
    assert_eq!(
        fs::read_to_string(root.join("groups/web.yaml")).unwrap(),
        "size: 5\n"
    );
    assert!(!root.join("groups/old.yaml").exists());
    // Another branch is nobody's files.
    let third = fixture.commit(Some(second), &[Edit::put("groups/web.yaml", "size: 9\n")]);
    assert_eq!(fixture.mirror.ensure_branch("topic", third).unwrap(), third);
    assert_eq!(git(root, &["status", "--porcelain"]), "?? notes.txt");
}

#[test]
fn uncommitted_changes_of_a_person_stop_the_update() {
    let fixture = Fixture::new(RepositoryKind::WithWorkTree);
    let root = fixture.path();
    let first = push_file(&fixture.mirror, "main", "web.yaml", "size: 3\n");
    fs::write(root.join("web.yaml"), "size: 4 # mine\n").unwrap();
    symlink("/tmp", root.join("groups")).unwrap();
    for path in ["web.yaml", "groups/x.yaml"] {
        let next = fixture.commit(Some(first), &[Edit::put(path, "size: 5\n")]);
        let outcome = fixture.mirror.update("main", Some(first), next).unwrap();
        let PushOutcome::Refused { message } = outcome else {
            panic!("{outcome:?}");
        };
        assert!(message.contains(path), "{message}");
    }
    assert_eq!(fixture.mirror.read_ref("main").unwrap(), Some(first));
    assert_eq!(
        fs::read_to_string(root.join("web.yaml")).unwrap(),
        "size: 4 # mine\n"
    );
    assert!(!Path::new("/tmp/x.yaml").exists());
}

#[test]
fn a_history_that_was_cut_off_gives_no_wrong_answer() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let first = push_file(&fixture.mirror, "main", "a.yaml", "1\n");
    push_file(&fixture.mirror, "main", "a.yaml", "2\n");
    let tip = push_file(&fixture.mirror, "main", "a.yaml", "3\n");
    assert!(fixture.mirror.is_ancestor(first, tip).unwrap());
    assert!(!fixture.mirror.is_ancestor(tip, first).unwrap());
    let clone = tempfile::tempdir().unwrap();
    let source = format!("file://{}", fixture.path().display());
    git(
        clone.path(),
        &[
            "clone", "--quiet", "--depth", "1", "--bare", &source, "c.git",
        ],
    );
    let shallow = local(&clone.path().join("c.git"));
    assert!(matches!(
        shallow.is_ancestor(first, tip),
        Err(GitError::Shallow { .. })
    ));
}

#[test]
fn objects_stay_readable_when_git_repacks_underneath() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let mut ids = Vec::new();
    for i in 0..5 {
        let commit = push_file(&fixture.mirror, "main", &format!("{i}.yaml"), "x\n");
        ids.push(commit);
    }
    assert_eq!(fixture.mirror.log(ids[0], None, 9).unwrap().len(), 1);
    git(fixture.path(), &["gc", "--quiet", "--prune=now"]);
    for (count, id) in ids.iter().enumerate() {
        let log = fixture.mirror.log(*id, None, 9).unwrap();
        assert_eq!(log.len(), count + 1);
        assert_eq!(fixture.listing(*id, "").files.len(), count + 1);
    }
}

#[test]
fn a_damaged_object_is_damage_and_not_an_empty_folder() {
    let fixture = Fixture::new(RepositoryKind::WithWorkTree);
    fs::write(fixture.path().join("a.yaml"), "1\n").unwrap();
    let commit = commit_all(fixture.path());
    let tree = fixture.mirror.commit(commit).unwrap().tree.to_string();
    let loose = fixture
        .path()
        .join(format!(".git/objects/{}/{}", &tree[..2], &tree[2..]));
    fs::remove_file(&loose).unwrap();
    let fresh = local(fixture.path());
    let error = fresh
        .tree(commit, "", &IgnoreRules::defaults())
        .unwrap_err();
    assert!(matches!(error, GitError::MissingObject { .. }), "{error:?}");
    fs::write(&loose, b"not zlib").unwrap();
    let fresh = local(fixture.path());
    let error = fresh
        .tree(commit, "", &IgnoreRules::defaults())
        .unwrap_err();
    assert!(matches!(error, GitError::Corrupt { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
}

#[test]
fn the_files_of_a_linked_work_tree_follow_too() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let first = push_file(&fixture.mirror, "main", "web.yaml", "size: 3\n");
    let linked = tempfile::tempdir().unwrap();
    let place = linked.path().join("tree");
    let gone = linked.path().join("gone");
    for (place, branch) in [(&place, "main"), (&gone, "other")] {
        let place = place.to_str().unwrap();
        git(
            fixture.path(),
            &["worktree", "add", "--quiet", "-B", branch, place, "main"],
        );
    }
    fs::remove_dir_all(&gone).unwrap();
    let second = push_file(&fixture.mirror, "main", "web.yaml", "size: 4\n");
    assert_eq!(git(&place, &["status", "--porcelain"]), "");
    assert_eq!(
        fs::read_to_string(place.join("web.yaml")).unwrap(),
        "size: 4\n"
    );
    fs::write(place.join("web.yaml"), "mine\n").unwrap();
    let third = fixture.commit(Some(second), &[Edit::put("web.yaml", "size: 5\n")]);
    let outcome = fixture.mirror.update("main", Some(second), third).unwrap();
    assert!(
        matches!(outcome, PushOutcome::Refused { .. }),
        "{outcome:?}"
    );
    let outcome = fixture.mirror.update("other", Some(first), third).unwrap();
    assert_eq!(outcome, PushOutcome::Done);
}

#[test]
fn a_commit_that_cannot_be_stored_is_an_error_and_leaves_no_trace() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let first = push_file(&fixture.mirror, "main", "a.yaml", "1\n");
    let packs = fixture.path().join("objects/pack");
    let aside = fixture.path().join("aside");
    fs::rename(&packs, &aside).unwrap();
    fs::write(&packs, "in the way").unwrap();
    let edits = [Edit::put("a.yaml", "2\n")];
    let outcome = fixture.mirror.build_commit(Some(first), &edits, &meta("x"));
    assert!(outcome.is_err());
    fs::remove_file(&packs).unwrap();
    fs::rename(&aside, &packs).unwrap();
    let again = fixture.commit(Some(first), &edits);
    let outcome = fixture.mirror.update("main", Some(first), again).unwrap();
    assert_eq!(outcome, PushOutcome::Done);
    assert_sound(fixture.path());
}

#[test]
fn the_repository_of_another_user_is_refused() {
    let fixture = Fixture::new(RepositoryKind::Bare);
    let nobody = 65534;
    if std::os::unix::fs::chown(fixture.path(), Some(nobody), None).is_err() {
        // Only root can give a folder away; for anybody else root's own folder is another user's.
        let url = SourceUrl::from_path(Path::new("/root")).unwrap();
        assert!(Mirror::open(Path::new("unused"), url, options()).is_err());
        return;
    }
    let url = SourceUrl::from_path(fixture.path()).unwrap();
    let error = Mirror::open(Path::new("unused"), url, options()).unwrap_err();
    assert!(matches!(error, GitError::NotOwned { .. }), "{error:?}");
    assert!(error.to_string().contains("run the agent as its owner"));
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
}

#[test]
fn a_repository_with_another_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    git(
        folder.path(),
        &["init", "--quiet", "--bare", "--object-format=sha256"],
    );
    let url = SourceUrl::from_path(folder.path()).unwrap();
    let error = Mirror::open(Path::new("unused"), url, options()).unwrap_err();
    assert_eq!(error.disposition(), Disposition::NeedsOperator, "{error:?}");
}
