//! A rollback goes to no template that failed.

use std::fs;

use crate::support::{IDLE, PROVIDER, Ran, Sandbox, group, holds};

const WEB: &str = "groups/web.yaml";
const CRASHES: &str = "[/bin/false]";
const LAST_GOOD: &str = "the template in force is the last good one";

fn push(sandbox: &Sandbox, command: &str) {
    sandbox.pull();
    sandbox.push("next", &[(WEB, &group("web", 1, command, ""))]);
}

fn crash(sandbox: &Sandbox) {
    push(sandbox, CRASHES);
    sandbox.wait_for("web", "the pause", |group| {
        holds(group).contains(&"RolloutPaused".to_owned())
    });
}

fn roll_back(sandbox: &Sandbox) -> Ran {
    sandbox.with_config(&["rollback", "web", "--because", "INC-9"])
}

fn command(sandbox: &Sandbox) -> String {
    let text = sandbox.git("fleet.git", &["show", &format!("main:{WEB}")]);
    let line = text.lines().find(|line| line.contains("command:")).unwrap();
    line.trim().to_owned()
}

#[test]
fn what_paused_a_rollout_is_passed_over() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 1, IDLE, ""))]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    crash(&sandbox);
    roll_back(&sandbox).exits(0);
    assert!(command(&sandbox).contains(IDLE));
    sandbox.wait_converged("web", 1);
    let refused = |ran: Ran| {
        let ran = ran.exits(1).says(LAST_GOOD).says("--to");
        ran.says("of the new template failed");
    };
    refused(roll_back(&sandbox));
    assert!(command(&sandbox).contains(IDLE));

    push(&sandbox, "[sleep, '200']");
    sandbox.with_config(&["reconcile"]).exits(0);
    sandbox.wait_converged("web", 1);
    crash(&sandbox);
    roll_back(&sandbox).exits(0);
    assert!(command(&sandbox).contains("'200'"));
    sandbox.wait_converged("web", 1);
    // By the record on the branch as by the agent's own.
    assert_eq!(agent.stop(), Some(0));
    roll_back(&sandbox).exits(0);
    assert!(command(&sandbox).contains(IDLE));
}

#[test]
fn what_went_into_quarantine_is_passed_over() {
    let first = group("web", 1, IDLE, "").replace("rollout: {", "rollout: {onFailure: rollback, ");
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &first)]);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let bad = fs::read_to_string(sandbox.path("work").join(WEB)).unwrap();
    let bad = bad.replace(IDLE, CRASHES);
    sandbox.push("bad", &[(WEB, &bad)]);
    sandbox.wait_for("web", "the quarantine", |group| {
        holds(group).contains(&"Quarantined".to_owned())
    });
    roll_back(&sandbox).exits(0);
    assert!(command(&sandbox).contains(IDLE));
    sandbox.wait_for("web", "the end of the quarantine", |group| {
        group["phase"] == "Converged" && holds(group).is_empty()
    });
    roll_back(&sandbox).exits(1).says(LAST_GOOD);
}
