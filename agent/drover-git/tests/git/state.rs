//! The writer of a state branch: alone, beside others, and after losses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime};

use drover_git::{
    Disposition, Edit, GitError, Loaded, Mirror, Oid, PublishPolicy, StateBranch, StateCommit,
};

use crate::packs::pack_files;
use crate::support::http_backend::{Canned, git};
use crate::support::*;

const BRANCH: &str = "drover/state";

fn load(mirror: &Mirror, state: &mut StateBranch) -> Loaded {
    state.load(&mirror.list().unwrap()).unwrap()
}

fn open(mirror: &Arc<Mirror>, name: &str) -> StateBranch {
    StateBranch::open(Arc::clone(mirror), BRANCH, agent(name)).unwrap()
}

fn record(state: &mut StateBranch, path: &str, text: &str) -> Option<Oid> {
    let message = format!("{path}: now {text}\n\nDrover-Group: {path}\n");
    state
        .commit(&[Edit::put(path, text)], message, at(1))
        .unwrap()
}

#[test]
fn commits_are_queued_and_published_together() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let mut state = open(&mirror, "edge-1");
    assert_eq!(load(&mirror, &mut state), Loaded::Absent);
    assert_eq!(state.tip(), None);
    assert_eq!(state.read("groups/web.yaml").unwrap(), None);
    assert_eq!(state.list("").unwrap(), Vec::<String>::new());
    site.server.take_requests();
    for size in ["3", "4", "5"] {
        assert!(record(&mut state, "groups/web.yaml", size).is_some());
    }
    assert_eq!(record(&mut state, "groups/web.yaml", "5"), None);
    record(&mut state, "inputs/web.json", "{}");
    assert_eq!(state.pending(), 4);
    assert_eq!(state.read("groups/web.yaml").unwrap().unwrap(), b"5");
    assert_eq!(
        state.list("").unwrap(),
        ["groups/web.yaml", "inputs/web.json"]
    );
    assert_eq!(state.list("groups").unwrap(), ["groups/web.yaml"]);
    assert_eq!(site.server.take_requests(), []);
    let published = state.publish(&patient(1)).unwrap();
    assert_eq!((published.pushed, published.rebuilt), (4, 0));
    assert_eq!(state.pending(), 0);
    assert_eq!(site.server.take_requests().len(), 2);
    assert_eq!(site.git(&["rev-list", "--count", BRANCH]), "4");
    let again = state.publish(&patient(1)).unwrap();
    assert_eq!((again.pushed, again.tip), (0, published.tip));
    assert_eq!(site.server.take_requests(), []);
    assert_eq!(load(&mirror, &mut state), Loaded::Current);
    let info = mirror.commit(state.tip().unwrap()).unwrap();
    assert_eq!(info.author, agent("edge-1"));
    assert_eq!(info.trailer("Drover-Group"), Some("inputs/web.json"));
    assert_sound(&site.repository);
}

#[test]
fn a_batch_is_one_pack_and_a_line_of_commits() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let mut state = open(&mirror, "a");
    let commit = |path: &str, text: &str| StateCommit {
        edits: vec![Edit::put(path, text)],
        message: format!("{path}: {text}"),
        time: at(2),
    };
    let batch = [
        commit("a", "1"),
        commit("a", "1"),
        commit("b", "1"),
        commit("a", "2"),
    ];
    let ids = state.commit_all(&batch).unwrap();
    let made: Vec<bool> = ids.iter().map(Option::is_some).collect();
    assert_eq!(made, [true, false, true, true]);
    assert_eq!((state.pending(), state.tip()), (3, ids[3]));
    assert_eq!(pack_files(mirror.directory()).0, 2);
    let broken = [commit("c", "1"), commit("a/../d", "1")];
    assert!(state.commit_all(&broken).is_err());
    assert_eq!((state.pending(), state.tip()), (3, ids[3]));
    assert_eq!(state.commit_all(&[]).unwrap(), []);
    state.publish(&patient(1)).unwrap();
    let log = site.git(&["log", "--reverse", "--format=%s", BRANCH]);
    assert_eq!(log, "a: 1\nb: 1\na: 2");
}

#[test]
fn a_lock_that_a_killed_agent_left_does_not_block_the_next_one() {
    let site = Site::with_history();
    record(&mut site.state("a"), "groups/web.yaml", "3");
    let mirrors = site.folder.path().join("mirrors/a");
    let lock = mirrors.join("refs/drover/pending/drover/state.lock");
    fs::write(&lock, "").unwrap();
    let fresh = open(&site.mirror("a"), "a").commit([Edit::put("x", "1")], "x".into(), at(1));
    assert!(matches!(fresh, Err(GitError::Busy { .. })), "{fresh:?}");
    let long_ago = SystemTime::now() - Duration::from_mins(10);
    let file = fs::File::options().write(true).open(&lock).unwrap();
    file.set_modified(long_ago).unwrap();
    let mut state = open(&site.mirror("a"), "a");
    assert!(record(&mut state, "groups/web.yaml", "4").is_some());
    assert!(!lock.exists());
}

#[test]
fn nor_does_one_that_it_left_in_a_repository_on_this_machine() {
    let site = Site::with_history();
    let mut state = open(&site.in_place(), "a");
    record(&mut state, "groups/web.yaml", "3");
    state.publish(&patient(1)).unwrap();
    let lock = |reference: &str| site.repository.join(format!("{reference}.lock"));
    let ours = ["heads", "drover/pending", "drover/published"]
        .map(|kind| lock(&format!("refs/{kind}/{BRANCH}")));
    let theirs = lock("refs/heads/main");
    for path in ours.iter().chain([&theirs]) {
        fs::write(path, "").unwrap();
    }
    let fresh = state.commit([Edit::put("x", "1")], "x".into(), at(1));
    assert!(matches!(fresh, Err(GitError::Busy { .. })), "{fresh:?}");
    let long_ago = SystemTime::now() - Duration::from_mins(10);
    for path in ours.iter().chain([&theirs]) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    assert!(record(&mut state, "groups/web.yaml", "4").is_some());
    state.publish(&patient(1)).unwrap();
    assert!(ours.iter().all(|path| !path.exists()));
    assert!(theirs.exists(), "what people lock is theirs");
}

#[test]
fn what_was_not_published_survives_a_restart() {
    let site = Site::with_history();
    let tip = {
        let mut state = site.state("a");
        record(&mut state, "groups/web.yaml", "3");
        state.publish(&patient(1)).unwrap();
        record(&mut state, "groups/web.yaml", "4");
        record(&mut state, "groups/db.yaml", "5");
        state.tip()
    };
    let mirror = site.mirror("a");
    let mut state = open(&mirror, "a");
    assert_eq!((state.tip(), state.pending()), (tip, 2));
    assert_eq!(load(&mirror, &mut state), Loaded::Current);
    assert_eq!((state.tip(), state.pending()), (tip, 2));
    assert_eq!(state.publish(&patient(1)).unwrap().pushed, 2);
    assert_eq!(site.git(&["rev-list", "--count", BRANCH]), "3");
    drop(state);
    let state = open(&mirror, "a");
    assert_eq!((state.tip(), state.pending()), (tip, 0));
}

#[test]
fn an_empty_data_folder_is_restored_from_the_branch() {
    let site = Site::with_history();
    let mut state = site.state("a");
    record(&mut state, "groups/web.yaml", "3");
    state.publish(&patient(1)).unwrap();
    let mirror = site.mirror("new");
    let mut restored = open(&mirror, "a");
    assert_eq!(restored.tip(), None);
    assert_eq!(load(&mirror, &mut restored), Loaded::Advanced);
    assert_eq!(restored.tip(), state.tip());
    assert_eq!(restored.read("groups/web.yaml").unwrap().unwrap(), b"3");
}

#[test]
fn own_edits_are_repeated_on_what_others_published() {
    let site = Site::with_history();
    let mut ours = site.state("ours");
    let mut theirs = site.state("theirs");
    record(&mut theirs, "groups/db.yaml", "1");
    record(&mut theirs, "groups/web.yaml", "theirs");
    theirs.publish(&patient(1)).unwrap();
    record(&mut ours, "groups/web.yaml", "1");
    record(&mut ours, "groups/web.yaml", "2");
    record(&mut ours, "groups/cache.yaml", "3");
    let published = ours.publish(&patient(1)).unwrap();
    assert_eq!((published.pushed, published.rebuilt), (3, 1));
    let show = |path: &str| site.git(&["show", &format!("{BRANCH}:{path}")]);
    assert_eq!(show("groups/db.yaml"), "1");
    assert_eq!(show("groups/web.yaml"), "2");
    assert_eq!(show("groups/cache.yaml"), "3");
    let subjects = site.git(&["log", "--reverse", "--format=%s|%an|%at", BRANCH]);
    let second = at(1).as_second();
    assert_eq!(
        subjects.lines().collect::<Vec<_>>(),
        [
            format!("groups/db.yaml: now 1|theirs|{second}"),
            format!("groups/web.yaml: now theirs|theirs|{second}"),
            format!("groups/web.yaml: now 1|ours|{second}"),
            format!("groups/web.yaml: now 2|ours|{second}"),
            format!("groups/cache.yaml: now 3|ours|{second}"),
        ]
    );
    assert_sound(&site.repository);
}

#[test]
fn a_change_that_somebody_else_made_already_is_not_an_empty_commit() {
    let site = Site::with_history();
    let mut ours = site.state("ours");
    let mut theirs = site.state("theirs");
    record(&mut theirs, "shared", "1");
    theirs.publish(&patient(1)).unwrap();
    record(&mut ours, "shared", "1");
    let published = ours.publish(&patient(1)).unwrap();
    assert_eq!((published.pushed, ours.pending()), (0, 0));
    assert_eq!(published.tip, theirs.tip());
    assert_eq!(site.git(&["rev-list", "--count", BRANCH]), "1");
}

#[test]
fn a_lost_branch_is_reported_and_gets_its_history_back() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let mut state = open(&mirror, "a");
    record(&mut state, "groups/web.yaml", "3");
    record(&mut state, "groups/web.yaml", "4");
    state.publish(&patient(1)).unwrap();
    let was = state.tip().unwrap();
    site.git(&["update-ref", "-d", &format!("refs/heads/{BRANCH}")]);
    drop(state);
    let mut state = open(&mirror, "a");
    assert_eq!(load(&mirror, &mut state), Loaded::Lost { was });
    assert_eq!(state.read("groups/web.yaml").unwrap().unwrap(), b"4");
    assert_eq!(state.pending(), 2);
    record(&mut state, "groups/web.yaml", "5");
    assert_eq!(state.publish(&patient(1)).unwrap().pushed, 3);
    assert_eq!(site.git(&["rev-list", "--count", BRANCH]), "3");
    assert_eq!(load(&mirror, &mut state), Loaded::Current);
}

#[test]
fn a_rewritten_branch_is_reported_and_only_our_pending_edits_follow() {
    let site = Site::with_history();
    let mirror = site.mirror("a");
    let mut state = open(&mirror, "a");
    record(&mut state, "groups/web.yaml", "3");
    record(&mut state, "groups/old.yaml", "1");
    state.publish(&patient(1)).unwrap();
    let was = state.tip().unwrap();
    site.git(&["update-ref", &format!("refs/heads/{BRANCH}"), "main"]);
    record(&mut state, "groups/db.yaml", "7");
    assert_eq!(load(&mirror, &mut state), Loaded::Rewritten { was });
    let published = state.publish(&patient(1)).unwrap();
    assert_eq!((published.pushed, published.rebuilt), (1, 1));
    let files = site.git(&["ls-tree", "-r", "--name-only", BRANCH]);
    assert_eq!(files, "groups/db.yaml\ngroups/web.yaml");
    assert_eq!(
        site.git(&["show", &format!("{BRANCH}:groups/web.yaml")]),
        "size: 5"
    );
}

#[test]
fn a_publication_that_a_hook_declines_stays_pending() {
    let site = Site::with_history();
    let hook = site.repository.join("hooks/update");
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&hook, mode).unwrap();
    let mut state = site.state("a");
    record(&mut state, "groups/web.yaml", "3");
    let error = state.publish(&patient(1)).unwrap_err();
    assert!(matches!(error, GitError::Refused { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    assert_eq!(state.pending(), 1);
    fs::remove_file(&hook).unwrap();
    assert_eq!(state.publish(&patient(1)).unwrap().pushed, 1);
}

#[test]
fn attempts_are_bounded_when_somebody_is_always_faster() {
    let site = Site::with_history();
    let repository = site.repository.clone();
    let rounds = AtomicUsize::new(0);
    site.server.intercept(move |method, target| {
        if method == "POST" && target.ends_with("git-receive-pack") {
            let round = rounds.fetch_add(1, Ordering::SeqCst);
            push_file(&local(&repository), BRANCH, "other", &round.to_string());
        }
        None
    });
    let mut state = site.state("a");
    record(&mut state, "groups/web.yaml", "3");
    let policy = PublishPolicy {
        attempts: 3,
        pause: Duration::from_millis(1),
        seed: 1,
    };
    let error = state.publish(&policy).unwrap_err();
    assert!(
        matches!(error, GitError::Contended { attempts: 3, .. }),
        "{error:?}"
    );
    assert_eq!(error.disposition(), Disposition::Retry);
    assert_eq!(state.pending(), 1);
    site.server.intercept(|_, _| None);
    let published = state.publish(&policy).unwrap();
    assert_eq!(published.pushed, 1);
    assert_eq!(site.git(&["rev-list", "--count", BRANCH]), "4");
}

/// A busy host: an error first, then headers with nothing behind them, as `git http-backend` sends
/// them when the program behind it cannot start.
#[test]
fn a_host_that_breaks_off_is_asked_again() {
    let site = Site::with_history();
    let mut state = site.state("a");
    record(&mut state, "groups/web.yaml", "3");
    push_file(&local(&site.repository), BRANCH, "other", "1");
    let fetches = AtomicUsize::new(0);
    site.server.intercept(move |method, target| {
        if method != "POST" || !target.ends_with("git-upload-pack") {
            return None;
        }
        let status = match fetches.fetch_add(1, Ordering::SeqCst) {
            0 => 503,
            1 => 200,
            _ => return None,
        };
        Some(Canned {
            status,
            headers: vec![(
                "Content-Type".to_owned(),
                "application/x-git-upload-pack-result".to_owned(),
            )],
            body: Vec::new(),
        })
    });
    let published = state.publish(&patient(1)).unwrap();
    assert_eq!((published.pushed, published.rebuilt), (1, 1));
    let requests = site.server.take_requests();
    let statuses: Vec<u16> = requests
        .iter()
        .filter(|seen| seen.target.ends_with("/git-upload-pack"))
        .map(|seen| seen.status)
        .collect();
    assert!(statuses.starts_with(&[503, 200, 200]), "{statuses:?}");
}

/// Asserts what must hold after any number of writers: their commits are all there, in their order,
/// none is empty, and the history is a line.
pub(crate) fn assert_nothing_lost(repository: &Path, expected: &BTreeMap<String, Vec<String>>) {
    let parents = git(repository, &["log", "--format=%P", BRANCH]);
    assert!(parents.lines().all(|line| line.len() <= 40), "{parents}");
    let log = git(
        repository,
        &["log", "--reverse", "--format=%an|%s|%T", BRANCH],
    );
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut trees = BTreeSet::new();
    for line in log.lines() {
        let mut parts = line.split('|');
        let (who, subject, tree) = (parts.next(), parts.next(), parts.next());
        assert!(trees.insert(tree.unwrap().to_owned()), "empty: {line}");
        seen.entry(who.unwrap().to_owned())
            .or_default()
            .push(subject.unwrap().to_owned());
    }
    assert_eq!(&seen, expected);
    assert_sound(repository);
}

/// Lets writers loose on one branch, each with three rounds of two commits and a publication.
/// Returns the subjects of each one's commits, and when the first round of all of them was there.
pub(crate) fn publish_at_once(
    writers: u64,
    mirror_of: impl Fn(&str) -> Arc<Mirror> + Sync,
) -> (BTreeMap<String, Vec<String>>, Duration) {
    let first = Mutex::new(Duration::ZERO);
    let barrier = Barrier::new(writers as usize);
    let results = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..writers)
            .map(|number| {
                let (barrier, mirror_of, first) = (&barrier, &mirror_of, &first);
                scope.spawn(move || {
                    let name = format!("writer-{number}");
                    let mirror = mirror_of(&name);
                    let mut state = StateBranch::open(mirror, BRANCH, agent(&name)).unwrap();
                    let mut subjects = Vec::new();
                    barrier.wait();
                    let begun = Instant::now();
                    for round in 0..3 {
                        for step in 0..2 {
                            let text = format!("{round}.{step}");
                            let path = format!("groups/{name}.yaml");
                            record(&mut state, &path, &text).unwrap();
                            subjects.push(format!("{path}: now {text}"));
                        }
                        state.publish(&patient(number)).unwrap();
                        assert_eq!(state.pending(), 0);
                        if round == 0 {
                            let mut first = first.lock().unwrap();
                            *first = begun.elapsed().max(*first);
                        }
                    }
                    (name, subjects)
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect::<Vec<_>>()
    });
    let first = *first.lock().unwrap();
    (results.into_iter().collect(), first)
}

/// Lets ten writers loose on a repository that refuses force, asserts that nothing is lost, and says how long it took.
#[expect(clippy::print_stdout, reason = "a figure for docs/benchmarks.md")]
pub(crate) fn ten_lose_nothing(
    over: &str,
    repository: &Path,
    mirror_of: impl Fn(&str) -> Arc<Mirror> + Sync,
) {
    git(
        repository,
        &["config", "receive.denyNonFastForwards", "true"],
    );
    let begun = Instant::now();
    let (expected, first) = publish_at_once(10, mirror_of);
    let (first, took) = (first.as_secs_f64(), begun.elapsed().as_secs_f64());
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 60);
    assert_nothing_lost(repository, &expected);
    println!(
        "ten writers over {over}: each landed once after {first:.1} s, three times after {took:.1} s"
    );
}

#[test]
fn ten_writers_over_http_lose_nothing() {
    let site = Site::with_history();
    ten_lose_nothing("http", &site.repository, |name| site.mirror(name));
}

#[test]
fn writers_on_one_machine_and_over_http_lose_nothing_together() {
    let site = Site::with_history();
    // One process opens the repository in place; its queue is in that repository.
    let (expected, _) = publish_at_once(4, |name| match name {
        "writer-0" => site.in_place(),
        _ => site.mirror(name),
    });
    assert_nothing_lost(&site.repository, &expected);
}
