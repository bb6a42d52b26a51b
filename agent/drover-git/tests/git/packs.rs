//! How many packs an agent leaves, how large they are, and that Git reads them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drover_git::{Edit, Mirror, RepositoryKind, StateBranch, StateCommit, init_repository};

use crate::support::http_backend::git;
use crate::support::*;

const BRANCH: &str = "drover/state";

/// An empty repository and the writer of its state branch.
struct Place {
    folder: tempfile::TempDir,
    mirror: Arc<Mirror>,
    state: StateBranch,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        init_repository(folder.path(), RepositoryKind::Bare, "main").unwrap();
        let mirror = local(folder.path());
        let state = writer(&mirror);
        Self {
            folder,
            mirror,
            state,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn packs(&self) -> Vec<PathBuf> {
        packs(self.path())
    }

    /// Ends the agent, and with it what it does beside, and starts another one.
    fn settle(&mut self) {
        self.state = writer(&self.mirror);
    }
}

pub(crate) fn pack_files(repository: &Path) -> (usize, u64) {
    let folder = repository.join("objects/pack");
    let sizes = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len());
    let sizes: Vec<u64> = sizes.collect();
    (sizes.len(), sizes.iter().sum())
}

fn packs(repository: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(repository.join("objects/pack")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "pack"))
        .collect()
}

fn writer(mirror: &Arc<Mirror>) -> StateBranch {
    StateBranch::open(Arc::clone(mirror), BRANCH, agent("edge-1")).unwrap()
}

/// The longest chain of differences in a pack, as Git counts them.
fn longest_chain(repository: &Path, pack: &Path) -> usize {
    let listed = git(repository, &["verify-pack", "-v", pack.to_str().unwrap()]);
    let lines = listed.lines().map(|line| line.split_whitespace().collect());
    let depths = lines.filter_map(|fields: Vec<&str>| match fields[..] {
        [id, _, _, _, _, depth, _] if id.len() == 40 => depth.parse().ok(),
        _ => None,
    });
    depths.max().unwrap_or(0)
}

#[test]
fn a_thousand_commits_stay_small_and_sound() {
    let mut place = Place::new();
    for number in 0..1000_usize {
        // A hundred groups of a kilobyte, each changing one line of its own.
        let path = format!("groups/g{:03}.yaml", number % 100);
        let text = format!(
            "observed: {number}\n{}",
            "instance: {phase: Running}\n".repeat(40)
        );
        place
            .state
            .commit([Edit::put(&path, text)], format!("{path}\n"), at(1))
            .unwrap();
        if number % 50 == 49 {
            place.state.publish(&patient(1)).unwrap();
        }
    }
    place.settle();
    assert_eq!(git(place.path(), &["rev-list", "--count", BRANCH]), "1000");
    let (files, bytes) = pack_files(place.path());
    assert!(files <= 2 * 200 + 2, "{files} files");
    assert!(bytes / 1000 <= 4 << 10, "{} bytes a commit", bytes / 1000);
    let loose = git(place.path(), &["count-objects"]);
    assert!(loose.starts_with("0 objects"), "{loose}");
    assert_eq!(
        place
            .mirror
            .log(place.state.tip().unwrap(), None, 2000)
            .unwrap()
            .len(),
        1000
    );
    assert_sound(place.path());
}

#[test]
fn joining_packs_keeps_objects_that_no_reference_names() {
    let place = Place::new();
    let mirror = &place.mirror;
    let mut commits = Vec::new();
    for number in 0..250 {
        let edits = [Edit::put("a.yaml", format!("{number}\n"))];
        commits.push(
            mirror
                .build_commit(None, &edits, &meta("x"))
                .unwrap()
                .unwrap(),
        );
    }
    assert_eq!(pack_files(place.path()).0, 500);
    assert!(mirror.maintain().unwrap());
    assert_eq!(pack_files(place.path()).0, 2);
    for commit in &commits {
        assert!(mirror.file(*commit, "a.yaml").unwrap().is_some());
    }
    // A pack that somebody guards stays as it is.
    let guarded = fs::read_dir(place.path().join("objects/pack"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "pack"))
        .unwrap();
    fs::write(guarded.with_extension("keep"), "").unwrap();
    for number in 0..200 {
        let edits = [Edit::put("b.yaml", format!("{number}\n"))];
        mirror.build_commit(None, &edits, &meta("x")).unwrap();
    }
    assert!(mirror.maintain().unwrap());
    assert!(guarded.exists());
    assert_eq!(pack_files(place.path()).0, 5);
    assert_sound(place.path());
}

/// Digits that nothing can make shorter than half, the same for the same number.
fn digits(number: usize, length: usize) -> String {
    let mut state = number as u64 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from_digit((state >> 60) as u32, 16).unwrap()
    };
    (0..length).map(|_| next()).collect()
}

/// What an agent commits of a group in a rolling update: ten instances, two of which are new, told of twice,
/// and an entry with digests of everything.
fn roll(number: usize) -> StateCommit {
    const GROUPS: usize = 40;
    let group = number % GROUPS;
    let first = number / GROUPS * 2;
    let mut document = format!("kind: GroupState\nname: g{group}\ninstances:\n");
    let mut inputs = format!("{{\"now\": \"{}\",\n", digits(number, 9));
    for instance in first..first + 10 {
        let id = format!("g{group}-{instance}");
        let token = digits(group * 100_000 + instance, 32);
        let digest = digits(instance / 10, 64);
        let _ = write!(
            document,
            "  {id}:\n    digest: {digest}\n    ref: {token}\n"
        );
        let _ = writeln!(
            inputs,
            " \"{id}\": {{\"phase\": \"Running\", \"digest\": \"{digest}\", \"token\": \"{token}\"}},"
        );
    }
    let [one, other, third] = [1, 2, 3].map(|salt| digits(number * 10 + salt, 64));
    let audit =
        format!("{{\n \"previous\": \"{one}\",\n \"files\": [\"{other}\", \"{third}\"]\n}}\n");
    StateCommit {
        edits: vec![
            Edit::put(format!("groups/g{group}.yaml"), document),
            Edit::put(format!("inputs/g{group}.json"), inputs),
            Edit::put("audit.json", audit),
        ],
        message: format!("g{group}: roll to {first}\n\nDrover-Group: g{group}\n"),
        time: at(number as i64),
    }
}

#[test]
fn a_rolling_update_takes_what_is_new_in_it() {
    let mut place = Place::new();
    let commits: Vec<StateCommit> = (0..1_200).map(roll).collect();
    for batch in commits.chunks(10) {
        place.state.commit_all(batch).unwrap();
    }
    place.settle();
    // As an agent leaves it: some are joined, and the latest are not.
    let packs = place.packs();
    assert!(packs.len() < 100, "{} packs", packs.len());
    let (_, bytes) = pack_files(place.path());
    // Digests and tokens alone are some 130 bytes, ids of objects in trees, commits and the index 350.
    let each = bytes / 1_200;
    assert!(each <= 1_600, "{each} bytes a commit");
    let chains = packs.iter().map(|pack| longest_chain(place.path(), pack));
    assert!(
        chains
            .max()
            .is_some_and(|longest| (40..=50).contains(&longest))
    );
    assert_sound(place.path());
    let tip = place.state.tip().unwrap().to_string();
    let again = roll(789);
    for edit in &again.edits[..2] {
        let path = &edit.path;
        let found = git(
            place.path(),
            &["show", &format!("{tip}~{}:{path}", 1_199 - 789)],
        );
        let expected = String::from_utf8(edit.content.clone().unwrap()).unwrap();
        assert_eq!(found.trim_end(), expected.trim_end());
    }
    // Whoever collects garbage keeps what was found.
    git(place.path(), &["gc", "--quiet"]);
    let (_, collected) = pack_files(place.path());
    assert!(
        collected <= bytes * 11 / 10,
        "{collected} bytes, {bytes} before"
    );
}

#[test]
fn new_packs_of_many_bytes_are_joined_before_there_are_many() {
    let mut place = Place::new();
    let large = |number: usize| {
        let text = format!("{number}\n{}", digits(7, 350_000));
        [Edit::put("groups/large.yaml", text)]
    };
    for number in 0..6 {
        place
            .state
            .commit(large(number), "large\n".to_owned(), at(number as i64))
            .unwrap();
    }
    // Five of 180 KB beside the largest are no megabyte yet.
    let before = place.packs().len();
    assert_eq!(before, 6);
    place
        .state
        .commit(large(6), "large\n".to_owned(), at(6))
        .unwrap();
    place.settle();
    let joined = place.packs();
    assert_eq!(joined.len(), 1);
    let size = fs::metadata(&joined[0]).unwrap().len();
    assert!(
        size < 300_000,
        "{size} bytes for one text in seven versions"
    );
    assert_sound(place.path());
}

#[test]
fn what_is_in_no_commit_and_histories_that_meet_stay_whole() {
    let place = Place::new();
    let base = place
        .mirror
        .build_commit(None, &[Edit::put("a/b/c.yaml", "1\n")], &meta("base"))
        .unwrap()
        .unwrap();
    let side = |text: &str| {
        let edits = [
            Edit::put("a/b/c.yaml", text),
            Edit::put(format!("{text}.yaml"), text),
        ];
        place
            .mirror
            .build_commit(Some(base), &edits, &meta(text))
            .unwrap()
            .unwrap()
    };
    let (one, other) = (side("one"), side("other"));
    let work = place.path();
    let named = |arguments: &[&str]| {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
        git(work, &[&identity, arguments].concat())
    };
    let (tree, one, other) = (
        format!("{one}^{{tree}}"),
        one.to_string(),
        other.to_string(),
    );
    let merge = named(&[
        "commit-tree",
        &tree,
        "-p",
        &one,
        "-p",
        &other,
        "-m",
        "merge",
    ]);
    git(work, &["update-ref", "refs/heads/main", &merge]);
    named(&["tag", "-a", "v1", "-m", "v1", "main"]);
    // As Git leaves them: the merge and the tag in a pack of their own, with a text that nothing names.
    git(work, &["repack", "-d", "--quiet"]);
    let before = git(work, &["cat-file", "--batch-all-objects", "--batch-check"]);
    for number in 0..200 {
        let edits = [Edit::put("d.yaml", format!("{number}\n"))];
        place.mirror.build_commit(None, &edits, &meta("x")).unwrap();
    }
    assert!(place.mirror.maintain().unwrap());
    assert_eq!(place.packs().len(), 1);
    let after = git(work, &["cat-file", "--batch-all-objects", "--batch-check"]);
    let missing: Vec<&str> = before
        .lines()
        .filter(|line| !after.contains(line))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(git(work, &["show", "main:a/b/c.yaml"]), "one");
    assert_eq!(git(work, &["cat-file", "-t", "v1"]), "tag");
    assert_sound(work);
}
