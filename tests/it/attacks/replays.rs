//! What was valid once, or looks as if it were: histories that are rewritten, tags that are moved, operations that are
//! told again, webhooks by somebody who does not know the secret.

use std::time::Instant;

use super::{Entry, Fleet, GOOD, data, peak_kib, quoted};
use crate::serve::free_address;
use crate::support::{IDLE, PATIENCE, group, wait_until};
use crate::webhook::{looks, post, signature};

/// How many times an operation is told again.
const REPLAYS: usize = 2_000;

/// How many calls without the secret are made.
const FORGED: usize = 2_000;

/// A commit without parents of a tree. Returns its id.
fn orphan(fleet: &Fleet, tree: &str) -> String {
    let commit = ["commit-tree", "-m", "another history", tree];
    fleet.sandbox.git("fleet.git", &commit).trim().to_owned()
}

#[test]
fn histories_that_are_rewritten_or_emptied() {
    let fleet = Fleet::new();
    let good = group("good", 1, IDLE, "  suspend: [{what: [update]}]\n");
    fleet.commit(b"suspend\n", &[(GOOD, Entry::File(good.as_bytes()))]);
    fleet.survives("a change, for comparison", "agent.yaml", "");
    let providers = fleet.id_of("base:providers");
    let empty = fleet.raw_tree(&[("40000", b"providers", &providers)]);
    let nothing = fleet.raw_tree(&[]);
    fleet.commit_tree(&nothing);
    fleet.survives("every file is removed", "agent.yaml", "no documents");
    for (name, tree) in [
        ("a history without the group", empty.as_str()),
        ("another history with the same files", "base^{tree}"),
    ] {
        let commit = orphan(&fleet, tree);
        fleet
            .sandbox
            .git("fleet.git", &["update-ref", "refs/heads/main", &commit]);
        fleet.survives(name, "agent.yaml", "was rewritten");
    }
    let base = fleet.id_of("base");
    fleet
        .sandbox
        .git("fleet.git", &["update-ref", "refs/heads/main", &base]);
    fleet.survives("the branch is set back", "agent.yaml", "was rewritten");
}

#[test]
fn tags_that_are_moved() {
    let fleet = Fleet::new();
    let agent = std::fs::read_to_string(fleet.sandbox.path("agent.yaml")).unwrap();
    let tagged = agent.replace("branch: main", "branch: v1");
    fleet.sandbox.write("tag.yaml", &tagged);
    let tag = |commit: &str| {
        fleet
            .sandbox
            .git("fleet.git", &["update-ref", "refs/tags/v1", commit]);
    };
    tag("base");
    fleet.survives("a tag", "tag.yaml", "");
    let good = group("good", 1, IDLE, "  suspend: [{what: [update]}]\n");
    fleet.commit(b"suspend\n", &[(GOOD, Entry::File(good.as_bytes()))]);
    tag("main");
    fleet.survives("a tag that moves on", "tag.yaml", "");
    tag("base");
    fleet.survives("a tag that is moved back", "tag.yaml", "was rewritten");
    let providers = fleet.id_of("base:providers");
    let empty = fleet.raw_tree(&[("40000", b"providers", &providers)]);
    tag(&orphan(&fleet, &empty));
    fleet.survives(
        "a tag that is moved to another history",
        "tag.yaml",
        "was rewritten",
    );
}

/// Adds files to the branch of operations.
fn tell(fleet: &Fleet, files: impl Iterator<Item = (String, String)>) {
    let mut stream =
        b"commit refs/heads/drover/ops\ncommitter Eve <eve@example.com> 1767600000 +0000\n"
            .to_vec();
    data(&mut stream, b"again\n");
    stream.extend(b"from refs/heads/drover/ops^0\n");
    for (path, content) in files {
        stream.extend(format!("M 100644 inline {}\n", quoted(&path)).as_bytes());
        data(&mut stream, content.as_bytes());
    }
    stream.push(b'\n');
    fleet.feed(&["fast-import", "--quiet", "--force"], &stream);
}

#[test]
fn operations_that_are_told_again() {
    let mut fleet = Fleet::new();
    let sandbox = &fleet.sandbox;
    sandbox.make_key("jane");
    sandbox.listen_to(&["jane"]);
    let instances = sandbox
        .with_config(&["get", "instances", "-o", "name"])
        .exits(0);
    let before = instances.stdout.trim().to_owned();
    let key = sandbox.path("jane").display().to_string();
    let replace = ["replace", &before, "--because", "it is slow", "--key", &key];
    sandbox.with_config(&replace).exits(0);
    sandbox.with_config(&["run", "--until-converged"]).exits(0);
    fleet.runs = sandbox.processes();
    let list = ["ls-tree", "-r", "--name-only", "drover/ops", "operations/"];
    let path = sandbox.git("fleet.git", &list).trim().to_owned();
    let operation = sandbox.git(
        "fleet.git",
        &["cat-file", "blob", &format!("drover/ops:{path}")],
    );

    let again = (0..REPLAYS).map(|number| (format!("operations/{number}.yaml"), operation.clone()));
    tell(&fleet, again);
    fleet.survives(
        "2,000 times an operation that was carried out",
        "agent.yaml",
        "",
    );
    // Its words are changed for the instance that runs now: nobody has signed them.
    let instances = fleet
        .sandbox
        .with_config(&["get", "instances", "-o", "name"])
        .exits(0);
    let now = instances
        .stdout
        .trim()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let was = before.rsplit('/').next().unwrap();
    let forged = operation.replace(was, &now);
    assert_ne!(forged, operation);
    let forged = (0..REPLAYS).map(|number| (format!("operations/{number}.yaml"), forged.clone()));
    tell(&fleet, forged);
    fleet.survives(
        "2,000 operations with a signature of another",
        "agent.yaml",
        "does not fit its content",
    );
}

#[test]
fn webhooks_without_the_secret() {
    let fleet = Fleet::new();
    let sandbox = &fleet.sandbox;
    let address = free_address(14);
    sandbox.write("secret/hook", "correct horse battery staple\n");
    let agent = std::fs::read_to_string(sandbox.path("remote.yaml")).unwrap();
    let webhooks = format!(
        "webhooks: [{{id: gh-1, type: github, secretFile: '{}'}}]\n",
        sandbox.path("secret/hook").display()
    );
    let agent = agent.replace("listen: 'off'", &format!("listen: '{address}'"));
    let agent = agent.replace("interval: 1s", "interval: 24h");
    sandbox.write("hooked.yaml", &format!("{agent}{webhooks}"));
    let running = sandbox.agent_of("hooked.yaml");
    let config = sandbox.path("hooked.yaml").display().to_string();
    let reconcile = ["reconcile", "--config", &config];
    wait_until("a pass", PATIENCE, || {
        sandbox.drover(&reconcile).code == Some(0)
    });
    looks(&fleet.server);
    let begun = Instant::now();
    for number in 0..FORGED {
        let signature = signature(&format!("guess {number}"), "{}");
        let status = post(&address, "/hook/gh-1", &signature);
        assert!([401, 429].contains(&status), "{status}");
    }
    let took = begun.elapsed();
    let peak_kib = peak_kib(running.id());
    eprintln!(
        "| 2,000 webhooks without the secret | {} MiB | {:.1} s |",
        peak_kib >> 10,
        took.as_secs_f64()
    );
    assert!(peak_kib < super::PEAK_MAX_KIB, "{peak_kib} KiB");
    sandbox.drover(&reconcile).exits(0);
    assert_eq!(
        looks(&fleet.server),
        1,
        "nobody but `drover reconcile` asked"
    );
    assert_eq!(sandbox.processes(), fleet.runs);
}
