//! Who wrote a change, over a real repository: they do not approve it, and whoever brought it does.

use std::path::Path;
use std::process::Command;

use drover_git::{Identities, SignersFile};
use drover_model::{ApprovalVerdict, ChangeId, Hold, Revision};

use crate::approvals::RULE;
use crate::git::{git, repository, start_elsewhere, world_knowing, write};
use crate::harness::{PROVIDER, World, group};

const WEB: &str = "groups/web.yaml";

/// Commits whatever differs, by `who`.
fn commit(dir: &Path, who: &str, message: &str) {
    let author = format!("{who} <{who}@example.com>");
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "--author", &author, "-m", message]);
}

/// Merges `side` into the branch that is checked out, by `who`.
fn merge(dir: &Path, who: &str) {
    let name = format!("user.name={who}");
    let email = format!("user.email={who}@example.com");
    let merge = ["merge", "-q", "--no-ff", "--no-edit", "side"];
    git(dir, &[&["-c", &name, "-c", &email], &merge[..]].concat());
}

/// A repository whose groups rest, and in which one person must approve that anything is replaced.
async fn resting() -> (tempfile::TempDir, World) {
    resting_knowing(Identities::default()).await
}

async fn resting_knowing(identities: Identities) -> (tempfile::TempDir, World) {
    let dir = repository();
    let rule = RULE.replace("count: 2", "count: 1").replace("<= 1", "== 0");
    write(dir.path(), "policies/few.yaml", &rule);
    write(dir.path(), "groups/db.yaml", &group("db", 1, "a"));
    commit(dir.path(), "ada", "a rule");
    let mut world = world_knowing(dir.path(), identities);
    world.converge().await;
    (dir, world)
}

/// The change of `web` that waits, and who wrote it.
fn waiting(world: &World) -> (ChangeId, Vec<String>) {
    let report = world.report("web");
    let mut found = report.holds.iter().filter_map(|held| match &held.hold {
        Hold::ApprovalNeeded(needed) => Some(needed),
        _ => None,
    });
    let needed = found.next().expect("a change waits");
    assert!(!needed.authors.unknown);
    let authors = needed.authors.known().map(|author| {
        let name = author.strip_suffix("@example.com");
        name.unwrap_or(author).to_owned()
    });
    (needed.change.clone(), authors.collect())
}

fn approve(world: &World, who: &str) {
    let (change, _) = waiting(world);
    let operations = world.operations.clone();
    let signer = format!("{who}@example.com");
    operations.say(world, &signer, ApprovalVerdict::Approve, &change);
}

/// Asserts that the words of `not` count for nothing and that of `by` is enough.
async fn approved(world: &mut World, not: &[&str], by: &str) {
    let before = world.living("web");
    for who in not {
        approve(world, who);
    }
    world.passes(3).await;
    assert_eq!(waiting(world).1, not, "who wrote it");
    assert_eq!(world.living("web"), before);
    approve(world, by);
    world.pass().await;
    world.converge().await;
    assert_ne!(world.living("web"), before);
    let approved = world.status("web").recorded.approved.clone().unwrap();
    let authors: Vec<String> = approved.authors.known().map(str::to_owned).collect();
    let not: Vec<String> = not.iter().map(|who| format!("{who}@example.com")).collect();
    assert_eq!(authors, not);
}

#[tokio::test]
async fn who_merges_what_another_wrote_approves_it_and_the_other_does_not() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    git(path, &["switch", "-q", "-c", "side"]);
    write(path, WEB, &group("web", 3, "b"));
    commit(path, "alice", "web: b");
    git(path, &["switch", "-q", "main"]);
    merge(path, "bob");
    world.passes(3).await;
    approved(&mut world, &["alice"], "bob").await;
    // The next change is another person's.
    write(path, WEB, &group("web", 3, "c"));
    commit(path, "bob", "web: c");
    world.passes(3).await;
    approved(&mut world, &["bob"], "alice").await;
    reproduced_in(path);
}

#[tokio::test]
async fn of_two_commits_in_one_fetch_each_author_wrote_what_the_commit_touches() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    write(path, WEB, &group("web", 3, "b"));
    commit(path, "alice", "web: b");
    write(path, "groups/db.yaml", &group("db", 2, "a"));
    commit(path, "bob", "db: one more");
    world.passes(3).await;
    approved(&mut world, &["alice"], "bob").await;
}

#[tokio::test]
async fn authors_are_kept_while_a_change_waits_and_more_are_added() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    write(path, WEB, &group("web", 3, "b"));
    commit(path, "alice", "web: b");
    world.passes(3).await;
    assert_eq!(waiting(&world).1, ["alice"]);
    // Moved and changed by somebody else, with another effect.
    git(path, &["mv", WEB, "web.yaml"]);
    write(path, "web.yaml", &group("web", 3, "c"));
    commit(path, "bob", "web: c");
    write(path, "README", "nothing");
    commit(path, "eve", "words");
    world.passes(3).await;
    assert_eq!(waiting(&world).1, ["alice", "bob"]);
    // Also by an agent that has nothing but the state branch.
    let elsewhere = start_elsewhere(&mut world, path);
    world.passes(5).await;
    assert_eq!(waiting(&world).1, ["alice", "bob"]);
    approved(&mut world, &["alice", "bob"], "eve").await;
    drop(elsewhere);
}

#[tokio::test]
async fn what_waited_for_something_else_is_found_again_without_any_data() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    write(path, WEB, "kind: Group\nmetadata: {name: web}\n");
    commit(path, "alice", "web: broken");
    world.passes(3).await;
    // What is published of the commit in force is no older than this.
    let provider = format!("# The simulator.\n{PROVIDER}");
    write(path, "providers/local.yaml", &provider);
    commit(path, "eve", "words");
    world.passes(3).await;
    let elsewhere = start_elsewhere(&mut world, path);
    world.passes(5).await;
    write(path, WEB, &group("web", 3, "b"));
    commit(path, "bob", "web: b");
    world.passes(3).await;
    approved(&mut world, &["alice", "bob"], "eve").await;
    drop(elsewhere);
}

#[tokio::test]
async fn a_merge_that_changes_what_no_side_has_makes_who_merges_an_author() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    git(path, &["switch", "-q", "-c", "side"]);
    write(path, WEB, &group("web", 3, "b"));
    commit(path, "alice", "web: b");
    git(path, &["switch", "-q", "main"]);
    merge(path, "mallory");
    write(path, WEB, &group("web", 3, "evil"));
    git(path, &["commit", "-q", "-a", "--amend", "--no-edit"]);
    world.passes(3).await;
    approved(&mut world, &["alice", "mallory"], "bob").await;
}

#[tokio::test]
async fn a_merge_of_two_documents_in_one_file_makes_nobody_an_author() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    let lines = "# One group, and far below it the other.\n".repeat(5);
    let both = |web: &str, db: u32| {
        let (web, db) = (group("web", 3, web), group("db", db, "a"));
        format!("{web}---\n{lines}---\n{db}")
    };
    git(path, &["rm", "-q", "groups/db.yaml"]);
    write(path, WEB, &both("a", 1));
    commit(path, "ada", "in one file");
    world.passes(3).await;
    git(path, &["switch", "-q", "-c", "side"]);
    write(path, WEB, &both("b", 1));
    commit(path, "alice", "web: b");
    git(path, &["switch", "-q", "main"]);
    write(path, WEB, &both("a", 2));
    commit(path, "carol", "db: one more");
    merge(path, "bob");
    world.passes(3).await;
    approved(&mut world, &["alice"], "bob").await;
}

#[tokio::test]
async fn a_merge_that_takes_an_older_version_makes_authors_of_everybody() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    git(path, &["branch", "side"]);
    write(path, WEB, &group("web", 2, "b"));
    commit(path, "alice", "web: b");
    world.passes(3).await;
    approve(&world, "bob");
    world.pass().await;
    world.converge().await;
    // Nobody writes anything: the merge chooses the version that was in force before.
    git(path, &["checkout", "-q", "side", "--", "groups"]);
    let tree = git(path, &["write-tree"]);
    let identity = "-c user.name=Mallory -c user.email=mallory@example.com commit-tree";
    let arguments = format!("{identity} {} -p main -p side -m back", tree.trim());
    let commit = git(path, &arguments.split(' ').collect::<Vec<_>>());
    git(path, &["reset", "-q", "--hard", commit.trim()]);
    world.passes(3).await;
    approved(&mut world, &["mallory"], "bob").await;
}

#[tokio::test]
async fn whoever_squashes_is_the_author_and_whom_the_commit_names_with_it() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    write(path, WEB, &group("web", 3, "b"));
    let message = "web: b (#7)\n\nCo-authored-by: Alice <alice@example.com>";
    commit(path, "carol", message);
    world.passes(3).await;
    approved(&mut world, &["alice", "carol"], "bob").await;
}

#[tokio::test]
async fn who_changes_the_rule_of_a_label_that_goes_is_an_author() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    let rule = |most: &str| {
        let rule = RULE.replace("count: 2", "count: 1").replace("<= 1", most);
        rule.replace("selector: {}", "selector: {matchLabels: {env: test}}")
    };
    write(path, "policies/few.yaml", &rule("== 0"));
    commit(path, "ada", "a rule for tests");
    world.passes(3).await;
    write(path, "policies/few.yaml", &rule("<= 0"));
    commit(path, "alice", "another rule");
    let web = group("web", 3, "b").replace("labels: {env: test}", "labels: {}");
    write(path, WEB, &web);
    commit(path, "bob", "web: b, and no label");
    world.passes(3).await;
    approved(&mut world, &["alice", "bob"], "carol").await;
}

#[tokio::test]
async fn who_changes_the_rule_with_the_change_or_rewrites_history_is_an_author() {
    let (dir, mut world) = resting().await;
    let path = dir.path();
    let base = git(path, &["rev-parse", "HEAD"]);
    let rule = RULE.replace("count: 2", "count: 1").replace("<= 1", "<= 0");
    write(path, "policies/few.yaml", &rule);
    commit(path, "alice", "another rule");
    write(path, WEB, &group("web", 3, "b"));
    commit(path, "bob", "web: b");
    write(path, "README", "nothing");
    commit(path, "zoe", "words");
    world.passes(3).await;
    assert_eq!(waiting(&world).1, ["alice", "bob"]);
    // Afterwards nobody knows who took back what.
    git(path, &["reset", "-q", "--hard", base.trim()]);
    write(path, "README", "something");
    commit(path, "yan", "words");
    write(path, WEB, &group("web", 3, "c"));
    commit(path, "mallory", "web: c, as though nothing had been");
    let tip = git(path, &["rev-parse", "HEAD"]);
    world.passes(2).await;
    assert_eq!(
        waiting(&world).1,
        ["alice", "bob"],
        "it is not followed yet"
    );
    let agent = world.agent.as_ref().unwrap();
    agent.accept_rewrite(Revision::parse(tip.trim()).unwrap(), "Zoe");
    world.passes(3).await;
    let all = ["alice", "bob", "mallory", "yan", "zoe"];
    approved(&mut world, &all, "eve").await;
}

/// Keys of people, and a list that says whose they are.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn of(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut list = String::new();
        for name in names {
            let file = folder.path().join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&file)
                .status()
                .expect("these tests need `ssh-keygen` (package openssh-client)");
            assert!(made.success());
            let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
            // Counts for operations alone: commits need no signature here.
            let line = format!("{name}@example.com namespaces=\"drover-operation\" {public}");
            list.push_str(&line);
        }
        write(folder.path(), "signers", &list);
        Self { folder }
    }

    fn identities(&self) -> Identities {
        Identities {
            signers: vec![SignersFile(self.folder.path().join("signers"))],
            keyrings: Vec::new(),
        }
    }

    /// Has a commit or merge made that `by` signs.
    fn sign(&self, dir: &Path, by: &str, arguments: &[&str]) {
        let key = self.folder.path().join(by);
        let key = format!("user.signingkey={}", key.display());
        let options = [
            "-c",
            "gpg.format=ssh",
            "-c",
            &key,
            "-c",
            "user.email=x@example.com",
        ];
        git(dir, &[&options, arguments].concat());
    }
}

#[tokio::test]
async fn who_signs_what_another_is_said_to_have_written_is_an_author() {
    let keys = Keys::of(&["mallory", "bob"]);
    let (dir, mut world) = resting_knowing(keys.identities()).await;
    let path = dir.path();
    let alice = "--author=alice <alice@example.com>";
    write(path, WEB, &group("web", 3, "b"));
    keys.sign(
        path,
        "mallory",
        &["commit", "-q", "-a", "-S", alice, "-m", "web: b"],
    );
    // What only touches other groups makes nobody an author.
    write(path, "groups/db.yaml", &group("db", 2, "a"));
    keys.sign(
        path,
        "bob",
        &["commit", "-q", "-a", "-S", "-m", "db: one more"],
    );
    world.passes(3).await;
    approved(&mut world, &["alice", "mallory"], "bob").await;
}

#[tokio::test]
async fn who_signs_a_merge_alone_is_no_author_and_whose_key_nobody_knows_is_nobody() {
    let keys = Keys::of(&["bob", "eve"]);
    let (dir, mut world) = resting_knowing(keys.identities()).await;
    let stranger = Keys::of(&["carol"]);
    let path = dir.path();
    git(path, &["switch", "-q", "-c", "side"]);
    write(path, WEB, &group("web", 3, "b"));
    let alice = "--author=alice <alice@example.com>";
    stranger.sign(
        path,
        "carol",
        &["commit", "-q", "-a", "-S", alice, "-m", "web: b"],
    );
    git(path, &["switch", "-q", "main"]);
    keys.sign(
        path,
        "bob",
        &["merge", "-q", "-S", "--no-ff", "--no-edit", "side"],
    );
    world.passes(3).await;
    approved(&mut world, &["alice"], "bob").await;
}

#[tokio::test]
async fn while_nobody_knows_whose_keys_are_whose_nobody_approves_what_is_signed() {
    let keys = Keys::of(&["mallory"]);
    let (dir, mut world) = resting_knowing(keys.identities()).await;
    let path = dir.path();
    write(keys.folder.path(), "signers", "mallory@example.com");
    write(path, WEB, &group("web", 3, "b"));
    let alice = "--author=alice <alice@example.com>";
    keys.sign(
        path,
        "mallory",
        &["commit", "-q", "-a", "-S", alice, "-m", "web: b"],
    );
    world.passes(3).await;
    let report = world.report("web");
    let told: Vec<String> = report.holds.iter().map(|it| it.hold.to_string()).collect();
    let nobody = "which nobody can give: not all who wrote it are known";
    assert!(told[0].contains(nobody), "{told:?}");
}

/// Asserts that every plan of `web` on the state branch follows from what it was made from.
fn reproduced_in(dir: &Path) {
    let ids = git(dir, &["rev-list", "drover/state", "--", "inputs/web.json"]);
    assert!(ids.lines().count() > 2);
    for id in ids.lines() {
        let inputs = git(dir, &["show", &format!("{id}:inputs/web.json")]);
        let state = git(dir, &["show", &format!("{id}:groups/web.yaml")]);
        let replayed = drover_loop::replay(&inputs, Some(&state)).unwrap();
        assert!(
            matches!(replayed, drover_loop::Replayed::Reproduced { .. }),
            "{replayed:?}"
        );
    }
}
