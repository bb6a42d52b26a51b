//! The audit log proves itself: what an agent wrote is computed again, and whatever anybody changes in
//! it is found, in the commit in which it stands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use drover_loop::{AUDIT_FILE, AuditCommit, AuditEntry, Auditor, Checked, Proof, StateCommit};
use drover_model::ErrorClass;
use drover_provider_sim::{Fault, FaultKind, Op};
use sha2::{Digest as _, Sha256};

use crate::approvals::{push, twice_approved};
use crate::harness::{PROVIDER, World, group};

/// A history as it stands after somebody worked on it.
pub(crate) struct History(Vec<StateCommit>);

impl History {
    pub(crate) fn of(world: &World) -> Self {
        Self(world.branch.log())
    }

    /// Checks every commit.
    fn check(&self) -> Vec<Checked> {
        let mut auditor = Auditor::new();
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut found = Vec::new();
        for commit in &self.0 {
            let mut changed = Vec::new();
            for (path, content) in &commit.files {
                if files.get(path) != content.as_ref() {
                    changed.push(path.clone());
                }
                match content {
                    Some(content) => files.insert(path.clone(), content.clone()),
                    None => files.remove(path),
                };
            }
            if changed.is_empty() {
                // The branch was lost in between.
                changed.extend(commit.files.iter().map(|(path, _)| path.clone()));
            }
            let trailers = trailers(&commit.message);
            let second = drover_model::Timestamp::from_second(commit.at.as_second()).unwrap();
            let checked = auditor.check(&AuditCommit {
                parents: 1,
                message: &commit.message,
                trailers: &trailers,
                time: second,
                changed: &changed,
                read: &|path| Ok(files.get(path).cloned()),
            });
            found.push(checked.unwrap());
        }
        found
    }

    /// Returns what does not hold, by the number of the commit.
    pub(crate) fn problems(&self) -> Vec<(usize, Vec<&'static str>)> {
        let found = self.check().into_iter().enumerate();
        let found = found.map(|(number, checked)| {
            let problems = checked.problems.iter();
            (
                number,
                problems.map(|problem| problem.kind.code()).collect(),
            )
        });
        found
            .filter(|(_, problems): &(usize, Vec<_>)| !problems.is_empty())
            .collect()
    }

    /// Asserts that every commit holds, and that all of them can be computed again.
    pub(crate) fn assert_proven(&self) {
        for (number, checked) in self.check().into_iter().enumerate() {
            let message = &self.0[number].message;
            assert_eq!(checked.problems, [], "commit {number}: {message}");
            let known = matches!(
                checked.proof,
                Proof::Recomputed | Proof::Followed | Proof::Recorded
            );
            assert!(known, "commit {number}: {:?}: {message}", checked.proof);
        }
    }

    fn proofs(&self) -> Vec<Proof> {
        self.check().into_iter().map(|it| it.proof).collect()
    }

    /// Returns the number of the commit whose subject begins so.
    fn at(&self, subject: &str) -> usize {
        let mut commits = self.0.iter();
        commits
            .position(|commit| commit.message.starts_with(subject))
            .unwrap_or_else(|| panic!("no commit {subject:?}"))
    }

    fn file(&mut self, at: usize, path: &str) -> &mut Vec<u8> {
        let mut files = self.0[at].files.iter_mut();
        let file = files.find(|(name, _)| name == path);
        file.unwrap().1.as_mut().unwrap()
    }

    /// Replaces a text in a file of a commit.
    fn replace(&mut self, at: usize, path: &str, from: &str, to: &str) {
        let file = self.file(at, path);
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(text.contains(from), "{path} does not say {from:?}:\n{text}");
        *file = text.replacen(from, to, 1).into_bytes();
    }

    fn replace_in_message(&mut self, at: usize, from: &str, to: &str) {
        let message = &mut self.0[at].message;
        assert!(message.contains(from), "{message}");
        *message = message.replacen(from, to, 1);
    }

    /// Writes every entry from a commit on anew, as somebody would who knows all of this and has no
    /// key: what is left to find is what does not follow.
    fn seal_from(&mut self, at: usize) {
        let mut before = self.0[..at].iter().rev();
        let mut last = before.find_map(|commit| {
            let entry = commit.files.iter().find(|(path, _)| path == AUDIT_FILE)?;
            entry.1.as_deref().map(digest)
        });
        for commit in &mut self.0[at..] {
            let message = digest(commit.message.trim_end().as_bytes());
            let files = commit.files.clone();
            let Some((_, Some(bytes))) =
                commit.files.iter_mut().find(|(path, _)| path == AUDIT_FILE)
            else {
                continue;
            };
            let mut entry: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            entry["message"] = message.into();
            entry["previous"] = last.take().into();
            for (path, content) in &files {
                if path != AUDIT_FILE {
                    entry["files"][path] = content.as_deref().map(digest).into();
                }
            }
            if entry["previous"].is_null() {
                entry.as_object_mut().unwrap().remove("previous");
            }
            *bytes = serde_json::to_vec(&entry).unwrap();
            last = Some(digest(bytes));
        }
    }

    /// Adds a commit of somebody else after another.
    fn insert(&mut self, after: usize, files: Vec<(String, Option<Vec<u8>>)>) {
        let at = self.0[after].at;
        let message = "tidy up\n".to_owned();
        self.0.insert(after + 1, StateCommit { message, files, at });
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The last paragraph.
fn trailers(message: &str) -> Vec<(String, String)> {
    let last = message.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let pairs = last.lines().filter_map(|line| line.split_once(": "));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Lets every listing fail.
fn down(world: &World) {
    let failure = FaultKind::Error(ErrorClass::Auth);
    world.sim(|mut sim| sim.inject(Fault::always(Op::List, failure)));
}

/// A group that was made, scaled, rolled and healed.
async fn busy() -> World {
    let mut world = World::web();
    world.converge().await;
    world.push(&[("web", &group("web", 5, "a"))]);
    world.pass().await;
    world.converge().await;
    world.push(&[("web", &group("web", 5, "b")), ("db", &group("db", 1, "a"))]);
    world.pass().await;
    world.converge().await;
    world
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_computed_again_commit_by_commit() {
    let history = History::of(&busy().await);
    assert_eq!(history.problems(), []);
    let proofs = history.proofs();
    let count = |wanted: &Proof| proofs.iter().filter(|proof| *proof == wanted).count();
    // Everything about a group is computed again; the rest takes the lease or records documents.
    assert!(count(&Proof::Recomputed) > 10, "{proofs:?}");
    let documents = count(&Proof::Recorded);
    assert_eq!(
        count(&Proof::Recomputed) + documents,
        proofs.len(),
        "{proofs:?}"
    );
    let entries = history.check().into_iter().filter_map(|it| it.entry);
    let numbers: Vec<u64> = entries.map(|entry| entry.sequence).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn entries_tell_which_steps_were_done() {
    let history = History::of(&busy().await);
    let at = history.at("web: create 3");
    let checked = history.check();
    let entry: &AuditEntry = checked[at].entry.as_ref().unwrap();
    assert_eq!(entry.group.as_deref(), Some("web"));
    let step = &entry.steps[0];
    assert_eq!(
        (step.step.as_str(), step.result.as_str()),
        ("create", "Done")
    );
    assert_eq!(step.instances, ["web-1", "web-2", "web-3"]);
    assert_eq!((entry.done, entry.failed), (1, 0));
}

#[tokio::test]
async fn a_plan_that_does_not_follow_from_its_inputs_is_named() {
    let mut history = History::of(&busy().await);
    let at = history.at("web: create 3");
    // Somebody wants it to have been two, and knows how entries are made.
    history.replace(at, "inputs/web.json", "\"web-2\",", "");
    history.seal_from(at);
    assert_eq!(history.problems(), [(at, vec!["PlanDiffers"])]);
}

/// A gate that is open.
const OPEN: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  on: gate
  rules: [{expression: 'now.getHours(''UTC'') >= 0', message: closed}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: open}
spec: {policy: open, selector: {}, enforcement: deny}
";

#[tokio::test]
async fn a_commit_that_hides_which_policies_judged_is_named() {
    let web = group("web", 3, "a");
    let mut world = World::new(&[]);
    let files = [
        ("p.yaml", PROVIDER),
        ("policy.yaml", OPEN),
        ("web.yaml", &web),
    ];
    world.repository.commit(&files);
    world.pass().await;
    world.converge().await;
    let mut history = History::of(&world);
    assert_eq!(history.problems(), []);
    let at = history.at("web: create 3");
    let message = history.0[at].message.clone();
    let says = message
        .lines()
        .find(|line| line.starts_with("Drover-Policy: "));
    history.replace_in_message(at, &format!("{}\n", says.unwrap()), "");
    history.seal_from(at);
    assert_eq!(history.problems(), [(at, vec!["TrailerDiffers"])]);
}

#[tokio::test]
async fn an_input_that_was_changed_afterwards_is_named() {
    let mut history = History::of(&busy().await);
    let at = history.at("web: scale 3 -> 5");
    history.replace(
        at,
        "inputs/web.json",
        "2026-01-05T08:00:",
        "2026-01-05T09:00:",
    );
    history.seal_from(at);
    assert_eq!(history.problems(), [(at, vec!["PlanDiffers"])]);
}

#[tokio::test]
async fn a_state_that_does_not_follow_from_its_plan_is_named() {
    let mut history = History::of(&busy().await);
    let at = history.at("web: scale 3 -> 5");
    history.replace(at, "groups/web.yaml", "size: 5", "size: 4");
    history.seal_from(at);
    let found = history.problems();
    assert_eq!(found[0].0, at, "{found:?}");
    assert_eq!(found[0].1, ["StateDiffers"]);
}

#[tokio::test]
async fn a_state_that_a_person_edited_is_named_as_foreign_and_nothing_else_is() {
    let world = busy().await;
    let mut history = History::of(&world);
    let at = history.at("web: scale 3 -> 5");
    let text = String::from_utf8(history.file(at, "groups/web.yaml").clone()).unwrap();
    let edited = text.replace("size: 5", "size: 50");
    history.insert(
        at,
        vec![("groups/web.yaml".to_owned(), Some(edited.into_bytes()))],
    );
    assert_eq!(history.problems(), [(at + 1, vec!["Foreign"])]);
}

#[tokio::test]
async fn a_message_that_was_changed_is_named() {
    let mut history = History::of(&busy().await);
    let at = history.at("web: scale 3 -> 5");
    history.replace_in_message(at, "web: scale 3 -> 5", "web: scale 3 -> 4");
    assert_eq!(history.problems(), [(at, vec!["MessageDiffers"])]);
}

#[tokio::test]
async fn trailers_that_say_something_else_than_the_content_are_named_even_under_a_new_entry() {
    let world = busy().await;
    for (from, to) in [
        ("Drover-Result: Succeeded", "Drover-Result: Failed"),
        ("Drover-Plan: ", "Drover-Plan: 0"),
        ("Drover-Group: web", "Drover-Group: db"),
        ("Drover-Agent: edge-1", "Drover-Agent: edge-2"),
    ] {
        let mut history = History::of(&world);
        let at = history.at("web: scale 3 -> 5");
        history.replace_in_message(at, from, to);
        history.seal_from(at);
        assert_eq!(history.problems(), [(at, vec!["TrailerDiffers"])], "{to}");
    }
}

#[tokio::test]
async fn a_commit_that_was_taken_out_is_missed_by_the_one_after_it() {
    let mut history = History::of(&busy().await);
    let at = history.at("web: scale 3 -> 5");
    let gone = history.0.remove(at);
    // What it wrote is there all the same, as after a rebase that kept the trees.
    for (path, content) in gone.files {
        let later = &mut history.0[at].files;
        if !later.iter().any(|(known, _)| *known == path) {
            later.push((path, content));
        }
    }
    let found = history.check();
    let (number, detail) = found
        .iter()
        .enumerate()
        .find_map(|(number, it)| Some((number, &it.problems.first()?.detail)))
        .unwrap();
    assert_eq!(number, at);
    assert!(detail.ends_with("is missing before it"), "{detail}");
}

#[tokio::test]
async fn an_epoch_that_goes_back_is_named() {
    let mut world = busy().await;
    // Another data directory, and so another epoch.
    world.restart_without_data();
    world.push(&[("web", &group("web", 6, "b"))]);
    world.pass().await;
    world.converge().await;
    let mut history = History::of(&world);
    assert_eq!(history.problems(), []);
    let at = history.at("web: scale 5 -> 6");
    history.replace(at, AUDIT_FILE, "\"epoch\": 2", "\"epoch\": 1");
    history.seal_from(at + 1);
    let found = history.problems();
    let (number, problems) = &found[0];
    assert_eq!(*number, at, "{found:?}");
    assert!(problems.contains(&"EpochBackwards"), "{found:?}");
}

#[tokio::test]
async fn a_lease_with_an_older_epoch_is_named() {
    let mut world = busy().await;
    world.restart_without_data();
    world.pass().await;
    let mut history = History::of(&world);
    let first = history.0[0].clone();
    let last = history.0.len();
    history.0.push(StateCommit {
        at: history.0[last - 1].at,
        ..first
    });
    assert_eq!(history.problems(), [(last, vec!["EpochBackwards"])]);
}

#[tokio::test]
async fn what_another_planner_decided_is_in_its_place_and_not_recomputable() {
    let mut history = History::of(&busy().await);
    let at = history.at("web: scale 3 -> 5");
    let planner = format!("\"planner\": {}", drover_plan::PLANNER);
    history.replace(at, "inputs/web.json", &planner, "\"planner\": 9999");
    history.seal_from(at);
    assert_eq!(history.problems(), []);
    let proof = &history.proofs()[at];
    let Proof::NotRecomputable(why) = proof else {
        panic!("{proof:?}");
    };
    assert!(why.contains("9999"), "{why}");
    // The chain is checked all the same.
    history.replace(at, "inputs/web.json", "9999", "9998");
    assert_eq!(history.problems(), [(at, vec!["FileDiffers"])]);
}

#[tokio::test]
async fn what_was_in_the_way_without_a_plan_follows_from_the_plan_before() {
    let mut world = World::web();
    world.converge().await;
    down(&world);
    for _ in 0..10 {
        world.pass().await;
        world.clock.advance(Duration::from_secs(30));
    }
    let mut history = History::of(&world);
    assert_eq!(history.problems(), []);
    let at = history.at("web: held");
    assert_eq!(history.proofs()[at], Proof::Followed);
    // Nothing but what is in the way may change so.
    history.replace(at, "groups/web.yaml", "size: 3", "size: 2");
    history.seal_from(at);
    assert_eq!(history.problems(), [(at, vec!["StateDiffers"])]);
}

#[tokio::test]
async fn a_group_without_any_good_document_follows_from_nothing() {
    let mut world = World::new(&[]);
    let text = group("web", 3, "a").replace("provider: local", "provider: nowhere");
    world.push(&[("web", &text)]);
    world.passes(3).await;
    let history = History::of(&world);
    assert_eq!(history.problems(), []);
    let at = history.at("web: held");
    assert_eq!(history.proofs()[at], Proof::Followed);
}

#[tokio::test]
async fn the_end_of_a_group_is_computed_again() {
    let mut world = busy().await;
    world.repository.commit(&[
        ("providers/local.yaml", PROVIDER),
        ("groups/web.yaml", &group("web", 5, "b")),
    ]);
    world
        .until("db to be gone", |world| {
            world.branch.file("groups/db.yaml").is_none()
        })
        .await;
    let history = History::of(&world);
    assert_eq!(history.problems(), []);
    let at = history.at("db: deleted");
    assert_eq!(history.proofs()[at], Proof::Recomputed);
}

#[tokio::test]
async fn a_crash_before_the_commit_loses_nothing_that_proves_it() {
    let mut world = World::web();
    world.converge().await;
    // What waits to be published is lost with the process.
    world
        .branch
        .hold_pushes(Some("2027-01-01T00:00:00Z".parse().unwrap()));
    world.push(&[("web", &group("web", 5, "a"))]);
    world.pass().await;
    world.branch.hold_pushes(None);
    world.restart();
    down(&world);
    for _ in 0..10 {
        world.pass().await;
        world.clock.advance(Duration::from_secs(30));
    }
    world.sim(|mut sim| sim.clear_faults());
    world.converge().await;
    let history = History::of(&world);
    assert_eq!(history.problems(), []);
}

#[tokio::test]
async fn an_approval_that_counts_again_is_named_although_everything_else_follows() {
    let mut world = twice_approved().await;
    let spent = world.status("web").recorded.spent.clone();
    push(&world, 4, "a", "");
    world.pass().await;
    world.converge().await;
    let mut history = History::of(&world);
    assert_eq!(history.problems(), []);
    let at = history.0.len() - 1;
    let (path, inputs) = ("groups/web.yaml", "inputs/web.json");
    let text = |history: &mut History| String::from_utf8(history.file(at, path).clone()).unwrap();
    let before = digest(text(&mut history).as_bytes());
    for (change, until) in spent.changes() {
        let until = until.to_string();
        for (path, line) in [
            (path, format!("{change}: \"{until}\"")),
            (inputs, format!("\"{change}\": \"{until}\"")),
        ] {
            history.replace(
                at,
                path,
                &line,
                &line.replace(&until, "2020-01-01T00:00:00Z"),
            );
        }
    }
    let after = digest(text(&mut history).as_bytes());
    history.replace(at, inputs, &before, &after);
    history.seal_from(at);
    assert_eq!(history.problems(), [(at, vec!["StateDiffers"])]);
}
