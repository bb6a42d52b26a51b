//! Over a real repository on this machine: what people see with Git's own tools.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use drover_git::{
    Identities, Mirror, RemoteOptions, RepositoryKind, Signature, SourceUrl, StateTrust,
    init_repository,
};
use drover_loop::{
    GitRecorder, GitRecorderOptions, GitSource, Recorder, RecorderError, Source, SourceError,
    SourcePlace, StateCommit, Swap,
};
use drover_provider::Clock as _;
use drover_provider_sim::Op;

use crate::harness::{PROVIDER, World, group};

/// Runs Git in `dir`, without anybody's configuration, and returns what it prints.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
        .args(args)
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(crate) fn commit(dir: &Path, message: &str) {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", message]);
}

pub(crate) fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    init_repository(dir.path(), RepositoryKind::WithWorkTree, "main").unwrap();
    write(dir.path(), "providers/local.yaml", PROVIDER);
    write(dir.path(), "groups/web.yaml", &group("web", 3, "a"));
    commit(dir.path(), "first");
    dir
}

pub(crate) fn place(path: &str) -> SourcePlace {
    SourcePlace {
        branch: "main".to_owned(),
        path: path.to_owned(),
    }
}

pub(crate) fn mirror(dir: &Path) -> Arc<Mirror> {
    let url = SourceUrl::from_path(dir).unwrap();
    Arc::new(Mirror::open(dir, url, RemoteOptions::default()).unwrap())
}

pub(crate) fn recorder(mirror: &Arc<Mirror>, source: &GitSource) -> GitRecorder {
    recorder_with(mirror, source, StateTrust::default())
}

/// A recorder that signs with a key, and asks for its signature and those of others.
pub(crate) fn recorder_with(
    mirror: &Arc<Mirror>,
    source: &GitSource,
    trust: StateTrust,
) -> GitRecorder {
    let options = GitRecorderOptions {
        branch: "drover/state".to_owned(),
        identity: Signature {
            name: "drover edge-1".to_owned(),
            email: "edge-1@drover.invalid".to_owned(),
        },
        seed: 1,
        signer: trust.own.clone(),
        trust: (trust.own.is_some() || trust.others.signers.is_some()).then_some(trust),
        anchor: None,
    };
    GitRecorder::open(Arc::clone(mirror), source.refs(), options).unwrap()
}

/// A world whose source and state branch are in the repository.
pub(crate) fn world(dir: &Path) -> World {
    world_knowing(dir, Identities::default())
}

/// The same, in which it is known whose keys are whose.
pub(crate) fn world_knowing(dir: &Path, identities: Identities) -> World {
    let mut world = World::new(&[]);
    start_knowing(&mut world, &mirror(dir), identities);
    world
}

fn start(world: &mut World, mirror: &Arc<Mirror>) {
    start_knowing(world, mirror, Identities::default());
}

fn start_knowing(world: &mut World, mirror: &Arc<Mirror>, identities: Identities) {
    let source = GitSource::new(Arc::clone(mirror), place("")).knowing(identities);
    let recorder = recorder(mirror, &source);
    world.start_with(Box::new(source), Box::new(recorder));
}

/// Ends the agent, loses all that its machine had, and starts it on another one. Returns the folder of its mirror.
pub(crate) fn start_elsewhere(world: &mut World, dir: &Path) -> tempfile::TempDir {
    world.lose_data();
    let elsewhere = tempfile::tempdir().unwrap();
    let url = SourceUrl::from_path(dir).unwrap();
    let mirror = Mirror::open(elsewhere.path(), url, RemoteOptions::default()).unwrap();
    start(world, &Arc::new(mirror));
    elsewhere
}

/// Returns why the source is not followed.
fn source_failure(world: &World) -> Option<&'static str> {
    let status = world.agent.as_ref().unwrap().status();
    let failure = status.source.failure.as_ref();
    failure.map(|(reason, _)| *reason)
}

#[tokio::test]
async fn the_state_branch_tells_what_happened_in_gits_own_words() {
    let dir = repository();
    let mut world = world(dir.path());
    world.converge().await;
    write(dir.path(), "groups/web.yaml", &group("web", 5, "a"));
    commit(dir.path(), "web: two more");
    world.pass().await;
    world.converge().await;
    let log = git(dir.path(), &["log", "--format=%s", "drover/state"]);
    let log: Vec<&str> = log
        .lines()
        .filter(|line| !line.starts_with("fleet:"))
        .collect();
    insta::assert_snapshot!(log.join("\n"), @r"
    web: converged, 5 available
    web: progressing, 3 of 5 available
    web: scale 3 -> 5
    web: converged, 3 available
    web: progressing, 0 of 3 available
    web: create 3
    agent edge-1: take the lease, epoch 1
    ");
    let revision = git(dir.path(), &["rev-parse", "main"]);
    let commits = git(dir.path(), &["rev-list", "drover/state"]);
    for id in commits.lines() {
        // None is empty.
        let changed = git(dir.path(), &["show", "--format=", "--name-only", id]);
        assert!(!changed.trim().is_empty(), "{id} is empty");
        let message = git(dir.path(), &["show", "-s", "--format=%B", id]);
        assert!(message.contains("\n[skip ci]\n"), "{message}");
        assert!(
            message.lines().next().unwrap().chars().count() <= 72,
            "{message}"
        );
        let trailers = git(
            dir.path(),
            &["show", "-s", "--format=%(trailers:only,unfold)", id],
        );
        assert!(
            trailers.contains("Drover-Agent: edge-1 0.0.0"),
            "{trailers}"
        );
    }
    let latest = git(
        dir.path(),
        &[
            "show",
            "-s",
            "--format=%(trailers:only,unfold)",
            "drover/state",
        ],
    );
    assert!(latest.contains("Drover-Group: web\n"), "{latest}");
    assert!(latest.contains("Drover-Plan: "), "{latest}");
    assert!(latest.contains("Drover-Result: Succeeded\n"), "{latest}");
    let source = format!("Drover-Source: main@sha1:{revision}");
    assert!(latest.contains(&source), "{latest}");
    // The watched branch and its work tree are left alone.
    assert_eq!(git(dir.path(), &["status", "--porcelain"]), "");
    assert_eq!(git(dir.path(), &["rev-list", "--count", "main"]), "2\n");
}

#[tokio::test]
async fn interpret_trailers_reads_the_trailers() {
    let dir = repository();
    let mut world = world(dir.path());
    world.converge().await;
    let message = git(dir.path(), &["show", "-s", "--format=%B", "drover/state"]);
    write(dir.path(), ".git/message", &message);
    let parsed = git(
        dir.path(),
        &["interpret-trailers", "--parse", ".git/message"],
    );
    let names: Vec<&str> = parsed
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        names,
        [
            "Drover-Group",
            "Drover-Plan",
            "Drover-Source",
            "Drover-Result",
            "Drover-Agent"
        ]
    );
}

#[tokio::test]
async fn an_unchanged_repository_gets_no_commit() {
    let dir = repository();
    let mut world = world(dir.path());
    world.converge().await;
    world.passes(2).await;
    let before = git(dir.path(), &["rev-parse", "drover/state"]);
    world.passes(5).await;
    assert_eq!(git(dir.path(), &["rev-parse", "drover/state"]), before);
}

#[tokio::test]
async fn a_rewritten_branch_is_not_followed() {
    let dir = repository();
    let mut world = world(dir.path());
    world.converge().await;
    git(dir.path(), &["checkout", "-q", "--orphan", "new"]);
    git(dir.path(), &["rm", "-q", "-f", "groups/web.yaml"]);
    git(dir.path(), &["commit", "-q", "-m", "start over"]);
    git(dir.path(), &["branch", "-q", "-M", "new", "main"]);
    world.passes(3).await;
    assert_eq!(source_failure(&world), Some("SourceRewritten"));
    assert_eq!(world.living("web").len(), 3);
    // Nor by an agent that knows no more than the state branch says.
    let _elsewhere = start_elsewhere(&mut world, dir.path());
    world.passes(5).await;
    assert_eq!(source_failure(&world), Some("SourceRewritten"));
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(world.calls(Op::Destroy), 0);
    // It waits for a person, and asks no more often than anybody.
    let report = world.pass().await;
    let soon = report.wake_at.is_some_and(|at| at <= report.at);
    assert!(!soon, "{:?}", report.wake_at);
}

#[tokio::test]
async fn an_emptied_branch_removes_nothing_whatever_the_agent_still_has() {
    let dir = repository();
    let mut world = world(dir.path());
    world.converge().await;
    git(dir.path(), &["rm", "-q", "-r", "."]);
    git(dir.path(), &["commit", "-q", "-m", "start over"]);
    world.passes(3).await;
    assert_eq!(source_failure(&world), Some("NoDocuments"));
    let _elsewhere = start_elsewhere(&mut world, dir.path());
    world.passes(5).await;
    assert_eq!(source_failure(&world), Some("NoDocuments"));
    assert_eq!(world.living("web").len(), 3);
    // What comes back is followed.
    git(dir.path(), &["revert", "--no-edit", "HEAD"]);
    write(dir.path(), "groups/web.yaml", &group("web", 4, "a"));
    commit(dir.path(), "one more");
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 4);
}

/// Makes a file on the state branch so much larger, with a comment.
fn grow(dir: &Path, path: &str, bytes: usize) {
    git(dir, &["checkout", "-q", "drover/state"]);
    let mut text = std::fs::read_to_string(dir.join(path)).unwrap();
    let line = format!("# {}\n", "z".repeat(998));
    for _ in 0..=bytes / line.len() {
        text.push_str(&line);
    }
    write(dir, path, &text);
    commit(dir, "larger");
    git(dir, &["checkout", "-q", "main"]);
}

/// Has an agent with two groups start elsewhere, with so many bytes more in the recorded state of `web`. Returns the
/// repository, the world, and the folder of its mirror.
async fn restored_from(bytes: usize) -> (tempfile::TempDir, World, tempfile::TempDir) {
    let dir = repository();
    write(dir.path(), "groups/api.yaml", &group("api", 2, "a"));
    commit(dir.path(), "another group");
    let mut world = world(dir.path());
    world.converge().await;
    world.passes(2).await;
    grow(dir.path(), "groups/web.yaml", bytes);
    let elsewhere = start_elsewhere(&mut world, dir.path());
    (dir, world, elsewhere)
}

#[tokio::test]
async fn a_recorded_state_that_is_larger_than_documents_may_be_is_taken_up() {
    let (_dir, mut world, _elsewhere) = restored_from(3 << 20).await;
    let made = world.calls(Op::Provision);
    world.converge().await;
    world.passes(3).await;
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(world.calls(Op::Provision), made, "nothing is made anew");
    assert_eq!(source_failure(&world), None);
}

#[tokio::test]
async fn a_recorded_state_that_is_larger_than_any_costs_its_own_group() {
    let (dir, mut world, _elsewhere) = restored_from(64 << 20).await;
    world.passes(5).await;
    write(dir.path(), "groups/api.yaml", &group("api", 4, "a"));
    commit(dir.path(), "more of the other");
    world
        .until("four", |world| world.living("api").len() == 4)
        .await;
    assert_eq!(world.living("web").len(), 3);
    assert!(
        world.holds("web").contains(&"ObservationPartial"),
        "{:?}",
        world.holds("web")
    );
}

#[test]
fn the_source_reads_below_its_path_and_honours_ignore_rules() {
    let dir = repository();
    write(dir.path(), "fleet/groups/api.yaml", &group("api", 1, "a"));
    write(dir.path(), "fleet/drafts/x.yaml", "x");
    write(dir.path(), "fleet/.droverignore", "drafts/\n");
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("fleet/link.yaml")).unwrap();
    commit(dir.path(), "more");
    let mut source = GitSource::new(mirror(dir.path()), place("fleet"));
    let tip = source.poll().unwrap();
    let tree = source.tree(&tip).unwrap();
    let paths: Vec<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["groups/api.yaml"]);
    assert_eq!(tree.refused[0].path, "link.yaml");
    assert_eq!(tree.commit.author, "Ada <ada@example.com>");
    let bytes = source.read(&tree.files[0].oid).unwrap();
    assert_eq!(bytes, group("api", 1, "a").into_bytes());
}

#[test]
fn a_branch_is_followed_and_no_tag_of_the_same_name_unless_the_tag_is_written_in_full() {
    let dir = repository();
    git(dir.path(), &["tag", "-a", "-m", "one", "live"]);
    let of_tag = git(dir.path(), &["rev-parse", "HEAD"]).trim().to_owned();
    let at = |name: &str| {
        let place = SourcePlace {
            branch: name.to_owned(),
            path: String::new(),
        };
        let mut source = GitSource::new(mirror(dir.path()), place);
        source.poll().unwrap().to_string()
    };
    assert_eq!(at("live"), of_tag);
    write(dir.path(), "groups/web.yaml", &group("web", 5, "b"));
    commit(dir.path(), "second");
    git(dir.path(), &["branch", "live"]);
    let of_branch = git(dir.path(), &["rev-parse", "refs/heads/live"]);
    assert_ne!(of_branch.trim(), of_tag);
    assert_eq!(at("live"), of_branch.trim());
    assert_eq!(at("refs/tags/live"), of_tag);
    assert_eq!(at("refs/heads/live"), of_branch.trim());
}

#[test]
fn a_commit_is_followed_by_its_id_whatever_the_branches_do() {
    let dir = repository();
    let pinned = git(dir.path(), &["rev-parse", "HEAD"]).trim().to_owned();
    write(dir.path(), "groups/web.yaml", &group("web", 5, "b"));
    commit(dir.path(), "second");
    let at = |commit: &str| {
        let place = SourcePlace {
            branch: commit.to_owned(),
            path: String::new(),
        };
        GitSource::new(mirror(dir.path()), place)
    };
    let mut source = at(&pinned);
    let tip = source.poll().unwrap();
    assert_eq!(tip.as_str(), pinned);
    let tree = source.tree(&tip).unwrap();
    let web = tree
        .files
        .iter()
        .find(|file| file.path == "groups/web.yaml");
    let bytes = source.read(&web.unwrap().oid).unwrap();
    assert_eq!(bytes, group("web", 3, "a").into_bytes());

    let nobodys = "12".repeat(20);
    let mut source = at(&nobodys);
    let tip = source.poll().unwrap();
    let missing = source.tree(&tip).unwrap_err();
    assert_eq!(missing, SourceError::CommitMissing { commit: nobodys });
}

#[test]
fn the_source_tells_its_failures_apart() {
    let empty = tempfile::tempdir().unwrap();
    init_repository(empty.path(), RepositoryKind::Bare, "main").unwrap();
    let mut source = GitSource::new(mirror(empty.path()), place(""));
    assert_eq!(source.poll(), Err(SourceError::Emptied));

    let dir = repository();
    let elsewhere = SourcePlace {
        branch: "trunk".to_owned(),
        path: String::new(),
    };
    let mut source = GitSource::new(mirror(dir.path()), elsewhere);
    let missing = source.poll().unwrap_err();
    assert_eq!(missing.reason(), "BranchMissing");
    let said = "branch trunk does not exist: the repository has `main` (`source.branch`)";
    assert_eq!(missing.to_string(), said);
    for name in ["a", "b", "c", "drover/state"] {
        git(dir.path(), &["branch", name]);
    }
    let missing = source.poll().unwrap_err().to_string();
    assert!(
        missing.ends_with("has `a`, `b`, `c` and 1 more"),
        "{missing}"
    );
    for name in ["a", "b", "c"] {
        git(dir.path(), &["branch", "--quiet", "-D", name]);
    }
    git(dir.path(), &["checkout", "--quiet", "--detach"]);
    git(dir.path(), &["branch", "--quiet", "-D", "main"]);
    let missing = source.poll().unwrap_err().to_string();
    assert!(
        missing.ends_with("has no branch yet, push one"),
        "{missing}"
    );
    git(dir.path(), &["checkout", "--quiet", "-b", "main"]);

    let mut source = GitSource::new(mirror(dir.path()), place("nowhere"));
    let tip = source.poll().unwrap();
    let missing = source.tree(&tip).unwrap_err();
    assert_eq!(missing.reason(), "PathMissing");

    // The remote answers: only this commit is bad.
    write(dir.path(), ".droverignore", &"# nothing\n".repeat(110_000));
    commit(dir.path(), "huge");
    let mut source = GitSource::new(mirror(dir.path()), place(""));
    let tip = source.poll().unwrap();
    let unread = source.tree(&tip).unwrap_err();
    assert_eq!(unread.reason(), "SourceUnreadable");
    let said = ".droverignore has 1100000 bytes, more than 1048576";
    assert_eq!(unread.to_string(), said);
    // Nobody answers.
    let away = tempfile::tempdir().unwrap();
    let url = away.path().join("copy");
    init_repository(&url, RepositoryKind::Bare, "main").unwrap();
    let mut source = GitSource::new(mirror(&url), place(""));
    std::fs::remove_dir_all(&url).unwrap();
    assert_eq!(source.poll().unwrap_err().reason(), "SourceUnreachable");
}

#[test]
fn a_swap_that_meets_other_content_changes_nothing() -> Result<(), RecorderError> {
    let dir = repository();
    let mirror = mirror(dir.path());
    let source = GitSource::new(Arc::clone(&mirror), place(""));
    let (mut one, mut two) = (recorder(&mirror, &source), recorder(&mirror, &source));
    let at = World::new(&[]).clock.now();
    let commit = |content: &str| StateCommit {
        message: format!("agent edge-1: take the lease\n\n{content}\n"),
        files: vec![("agents/edge-1.json".to_owned(), Some(content.into()))],
        at,
    };
    let path = "agents/edge-1.json";
    assert_eq!(one.swap(path, None, &commit("one"))?, Swap::Done);
    let found = Some(b"one".to_vec());
    assert_eq!(
        two.swap(path, None, &commit("two"))?,
        Swap::Differs { found }
    );
    assert_eq!(two.swap(path, Some(b"one"), &commit("two"))?, Swap::Done);
    one.look()?;
    assert_eq!(one.published(path)?, Some(b"two".to_vec()));
    Ok(())
}

#[test]
fn what_waits_is_not_published_over_another_agents_lease() -> Result<(), RecorderError> {
    use drover_loop::{Guard, PublishResult, PublishWhen};
    let dir = repository();
    let mirror = mirror(dir.path());
    let source = GitSource::new(Arc::clone(&mirror), place(""));
    let mut one = recorder(&mirror, &source);
    let at = World::new(&[]).clock.now();
    let commit = |path: &str, content: &str| StateCommit {
        message: format!("{path}\n"),
        files: vec![(path.to_owned(), Some(content.into()))],
        at,
    };
    let lease = "agents/edge-1.json";
    assert_eq!(one.swap(lease, None, &commit(lease, "one"))?, Swap::Done);
    assert_eq!(one.commit(&[commit("groups/web.yaml", "late")])?, [true]);
    // The same repository seen from another process.
    let mut two = recorder(&self::mirror(dir.path()), &source);
    assert_eq!(
        two.swap(lease, Some(b"one"), &commit(lease, "two"))?,
        Swap::Done
    );
    let guard = Guard {
        path: lease,
        content: b"one",
    };
    one.look()?;
    assert_eq!(
        one.publish(at, &guard, PublishWhen::Now)?,
        PublishResult::Fenced
    );
    two.look()?;
    assert_eq!(two.published("groups/web.yaml")?, None);
    Ok(())
}
