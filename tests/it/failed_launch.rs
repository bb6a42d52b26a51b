//! Why a launch failed is found wherever people look: its remains are cleared by then.

use crate::support::{IDLE, PROVIDER, Sandbox, group, holds};

const WEB: &str = "groups/web.yaml";
const MISSING: &str = "[/no/such/program]";
const WHY: &str = "program not found";

fn sandbox(rollout: &str) -> (Sandbox, String) {
    let web = group("web", 2, IDLE, "").replace("rollout: {", &format!("rollout: {{{rollout}"));
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web)]);
    (sandbox, web.replace(IDLE, MISSING))
}

/// Returns the line of the audit log that tells of remains that were cleared.
fn cleared(log: &str) -> Option<&str> {
    let mut lines = log.lines();
    lines.find(|line| line.contains("- destroy web-3 (failedLaunch): "))
}

#[test]
fn of_a_rollout_that_paused() {
    let (sandbox, bad) = sandbox("");
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    sandbox.push("bad", &[(WEB, &bad)]);
    sandbox.wait_for("web", "the pause", |group| {
        holds(group).contains(&"RolloutPaused".to_owned())
    });
    sandbox.wait_for("web", "the remains to be cleared", |_| {
        cleared(&sandbox.with_config(&["log", "web"]).stdout).is_some()
    });
    let log = sandbox.with_config(&["log", "web"]).exits(0).stdout;
    assert!(
        cleared(&log).is_some_and(|line| line.contains(WHY)),
        "{log}"
    );
    assert!(log.contains("pause the rollout, "), "{log}");
    for told in [["why", "web"], ["describe", "web"]] {
        sandbox.with_config(&told).exits(0).prints(WHY);
    }
    let told = sandbox.agent_log();
    let mut lines = told.lines();
    let line = lines.find(|line| line.contains("failed launch cleared"));
    let line = line.unwrap_or_else(|| panic!("{told}"));
    assert!(line.contains("web-3") && line.contains(WHY), "{line}");

    // Nothing is missing and nothing is tried, so nothing is due.
    let described = sandbox.with_config(&["describe", "web"]).exits(0).stdout;
    let backoff = described.lines().find(|line| line.starts_with("Backoff:"));
    let due = backoff.is_some_and(|line| line.contains("the next at"));
    assert!(!due, "{described}");
}

#[test]
fn of_a_rollout_that_was_rolled_back() {
    let (sandbox, bad) = sandbox("onFailure: rollback, ");
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    sandbox.push("bad", &[(WEB, &bad)]);
    sandbox.wait_for("web", "the quarantine", |group| {
        holds(group).contains(&"Quarantined".to_owned())
    });
    sandbox.wait_for("web", "the remains to be cleared", |_| {
        cleared(&sandbox.with_config(&["log", "web"]).stdout).is_some()
    });
    for told in [["why", "web"], ["describe", "web"], ["log", "web"]] {
        sandbox.with_config(&told).exits(0).prints(WHY);
    }
    let status = sandbox.with_config(&["rollout", "status", "web"]);
    assert!(status.stdout.contains(WHY), "{}", status.stdout);
}
