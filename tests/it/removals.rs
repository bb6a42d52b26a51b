//! What commits take away, and what asks before it goes: names that change, sizes that fall step by step, labels that go.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{IDLE, PROVIDER, Sandbox, group, holds};

const WEB: &str = "groups/web.yaml";

/// Returns the processes of a group, by process id.
fn of_group(sandbox: &Sandbox, group: &str) -> BTreeMap<i32, String> {
    let mut processes = sandbox.processes();
    processes.retain(|_, id| id.starts_with(&format!("{group}-")));
    processes
}

#[test]
fn another_name_in_place_keeps_every_process_until_it_is_said_what_is_meant() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let before = sandbox.processes();
    sandbox.push("rename", &[(WEB, &group("shop", 2, IDLE, ""))]);
    // What a pull request shows, the agent does.
    sandbox
        .with_config(&["plan", "--base", "main~1", "--head", "main"])
        .exits(0)
        .prints("held: DeletionUnconfirmed: the group's removal is not certain: group shop is new")
        .prints("held: RenameUnconfirmed: the document took the place of group web's");
    sandbox.wait_for("web", "the question", |group| {
        holds(group) == ["DeletionUnconfirmed"]
    });
    sandbox.wait_for("shop", "the hold", |group| {
        holds(group) == ["RenameUnconfirmed"]
    });
    sandbox
        .with_config(&["why", "shop"])
        .exits(0)
        .prints("give it back the name web");
    assert_eq!(sandbox.processes(), before);
    // The old name again: calm, and nothing was made or ended.
    sandbox.push("back", &[(WEB, &group("web", 2, IDLE, ""))]);
    sandbox.wait_for("web", "no question", |group| holds(group).is_empty());
    assert_eq!(sandbox.processes(), before);

    // On purpose: beside each other first, and the old one goes in a commit of its own.
    let shop = ("groups/shop.yaml", &*group("shop", 2, IDLE, ""));
    sandbox.push("both", &[shop]);
    sandbox.wait_converged("shop", 2);
    fs::remove_file(sandbox.path("work").join(WEB)).unwrap();
    sandbox.push("the new one alone", &[]);
    crate::support::wait_until("the removal", crate::support::PATIENCE, || {
        of_group(&sandbox, "web").is_empty()
    });
    assert_eq!(of_group(&sandbox, "shop").len(), 2);
    agent.stop();
}

#[test]
fn a_group_is_not_emptied_by_small_commits_in_a_row() {
    let half = "  limits: {maxDestroy: \"50%\"}\n";
    let web = |size, more| group("web", size, IDLE, more);
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web(4, half))]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 4);
    sandbox.push("half", &[(WEB, &web(2, half))]);
    sandbox.wait_converged("web", 2);
    let left = sandbox.processes();
    sandbox.push("half of the half", &[(WEB, &web(1, half))]);
    sandbox.wait_for("web", "the hold", |group| holds(group) == ["DestroyLimit"]);
    let told = "commits of an hour remove 3 instances, 2 of them before this one, and limits.maxDestroy allows 2";
    for command in [["describe", "web"], ["why", "web"]] {
        sandbox.with_config(&command).exits(0).prints(told);
    }
    // Another agent process knows it still.
    agent.stop();
    let agent = sandbox.agent();
    sandbox.push(
        "another file",
        &[("groups/other.yaml", &group("other", 1, IDLE, ""))],
    );
    sandbox.wait_converged("other", 1);
    assert_eq!(
        sandbox.group("web").map(|group| holds(&group)),
        Some(vec!["DestroyLimit".to_owned()])
    );
    assert_eq!(of_group(&sandbox, "web"), left);
    // Who means it raises the limit.
    let all = "  limits: {maxDestroy: \"100%\"}\n";
    sandbox.push("I mean it", &[(WEB, &web(1, all))]);
    sandbox.wait_converged("web", 1);
    assert_eq!(of_group(&sandbox, "web").len(), 1);
    agent.stop();
}

const FLOOR: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: floor}
spec: {on: validate, rules: [{expression: change.toSize >= 2, message: too few for prod}]}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: prod-floor}
spec: {policy: floor, selector: {matchLabels: {tier: prod}}, enforcement: deny}
";

#[test]
fn a_label_that_goes_and_a_removal_ask_in_the_pull_request_as_the_agent_asks() {
    let web = |size: u32, labels: &str| {
        let text = group("web", size, IDLE, "");
        text.replace("labels: {env: test}", labels)
    };
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        (WEB, &web(2, "labels: {tier: prod}")),
        ("groups/other.yaml", &group("other", 1, IDLE, "")),
        ("policies/floor.yaml", FLOOR),
    ]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let before = of_group(&sandbox, "web");
    sandbox.push("no label, no instance", &[(WEB, &web(0, "labels: {}"))]);
    let shown = ["plan", "web", "--base", "main~1", "--head", "main"];
    sandbox
        .with_config(&shown)
        .exits(3)
        .prints("DENIED")
        .prints("too few for prod");
    sandbox.wait_for("web", "the denial", |group| {
        holds(group) == ["PolicyDenied"]
    });

    // A removal, for which people are asked: they see the id that the agent waits for.
    let asking = FLOOR.replace("enforcement: deny", "enforcement: requireApproval");
    sandbox.push(
        "as it was",
        &[
            (WEB, &web(2, "labels: {tier: prod}")),
            ("policies/floor.yaml", &asking),
        ],
    );
    sandbox.wait_for("web", "calm", |group| holds(group).is_empty());
    // The stricter policy from before goes when a whole pass had nothing against it.
    for _ in 0..2 {
        sandbox.with_config(&["reconcile"]).exits(0);
    }
    fs::remove_file(sandbox.path("work").join(WEB)).unwrap();
    sandbox.push("no group", &[]);
    sandbox.wait_for("web", "the question", |group| {
        holds(group) == ["ApprovalNeeded"]
    });
    let plans = sandbox.with_config(&[&shown[..], &["-o", "json"]].concat());
    let plans = plans.exits(4).json();
    let id = plans["items"][0]["change"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let told = format!("held by ApprovalNeeded: change {} needs", &id[..12]);
    sandbox.with_config(&["why", "web"]).exits(0).prints(&told);
    assert_eq!(of_group(&sandbox, "web"), before);
    agent.stop();
}

#[test]
fn a_plan_says_that_the_documents_it_begins_with_cannot_be_read() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    let broken = group("web", 2, IDLE, "").replace("kind: Group", "kind: [Group");
    sandbox.push("broken", &[(WEB, &broken)]);
    fs::remove_file(sandbox.path("work").join(WEB)).unwrap();
    sandbox.push("gone", &[]);
    sandbox
        .with_config(&["plan", "--base", "main~1", "--head", "main"])
        .exits(0)
        .says("is not valid: 1 mistake: what stands there is not compared");
}
