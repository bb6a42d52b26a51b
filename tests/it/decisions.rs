//! What policies decide about changes, health and templates, as people see it.

use crate::support::{IDLE, PROVIDER, Sandbox, group};

const APPROVE: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: few}
spec:
  on: approve
  rules:
    - {expression: 'change.replaces == 0', message: somebody is replaced}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: prod-few}
spec: {policy: few, selector: {}, enforcement: requireApproval, approvals: {count: 2, from: [ann@example.com, bob@example.com]}}
";

const OTHER: &str = "[sleep, '4711']";

fn until_converged(sandbox: &Sandbox) -> crate::support::Ran {
    sandbox.with_config(&["run", "--until-converged", "--timeout", "60s"])
}

#[test]
fn a_change_that_nobody_has_approved_waits_and_everything_says_for_whom() {
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("groups/web.yaml", &group("web", 2, IDLE, "")),
        ("policies/few.yaml", APPROVE),
    ]);
    until_converged(&sandbox).exits(0);
    sandbox.push(
        "another command",
        &[("groups/web.yaml", &group("web", 2, OTHER, ""))],
    );
    // What a pull request shows.
    sandbox
        .with_config(&["plan", "--base", "main~1", "--head", "main"])
        .exits(4)
        .prints("replace 2, NEEDS APPROVAL")
        .prints("held: ApprovalNeeded: must be approved: policy few (policies/few.yaml:7:21): somebody is replaced")
        .prints("1 must be approved");
    until_converged(&sandbox).exits(4);
    sandbox
        .with_config(&["plan"])
        .exits(4)
        .prints("ApprovalNeeded");
    let why = sandbox.with_config(&["why", "web"]).exits(0);
    let text = why.stdout.as_str();
    let change = text.split_once("change ").unwrap().1[..12].to_owned();
    let held = format!(
        "├─ held by ApprovalNeeded: change {change} needs 2 approvals by others than ada@example.com, has none: policy few \
         (policies/few.yaml:7:21): somebody is replaced"
    );
    for line in [
        held.as_str(),
        "│  ├─ clause policies/few.yaml:7:21: - {expression: 'change.replaces == 0', message: somebody is replaced}",
        "│  ├─ bound by prod-few",
        "│  ├─ with change.replaces = 2",
        "by Ada <ada@example.com>: first",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let json = sandbox
        .with_config(&["get", "groups", "-o", "json"])
        .exits(0)
        .json();
    let spec = &json["items"][0]["conditions"];
    assert!(spec.to_string().contains("ApprovalNeeded"), "{json:#}");
}

const HEALTH_AND_DRIFT: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: first-is-odd}
spec:
  on: health
  value: 'instance.id == \"web-1\" ? \"unknown\" : signals.combined'
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: odd}
spec: {policy: first-is-odd, selector: {}, enforcement: deny}
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: commands-stay}
spec:
  on: drift
  value: 'field == \"properties.command\" ? \"ignore\" : class'
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: stay}
spec: {policy: commands-stay, selector: {}, enforcement: deny}
";

#[test]
fn the_chain_behind_an_instance_names_who_decided_its_health_and_its_template() {
    let sandbox = Sandbox::with_files(&[PROVIDER, ("groups/web.yaml", &group("web", 2, IDLE, ""))]);
    until_converged(&sandbox).exits(0);
    let before = sandbox.processes();
    sandbox.push(
        "another command, and policies",
        &[
            ("groups/web.yaml", &group("web", 2, OTHER, "")),
            ("policies/odd.yaml", HEALTH_AND_DRIFT),
        ],
    );
    sandbox.with_config(&["run", "--once"]).exits(0);
    assert_eq!(sandbox.processes(), before, "nobody was replaced");
    let why = sandbox.with_config(&["why", "web/web-1"]).exits(0);
    let text = why.stdout.as_str();
    for line in [
        "web-1 Suspect: policy first-is-odd by binding odd says so; template",
        "(current)",
        "├─ unknown by policy: web-1 is unknown; its signals say healthy",
        "│  ├─ clause policies/odd.yaml:6:11: value: 'instance.id == \"web-1\" ? \"unknown\" : signals.combined'",
        "│  ├─ bound by odd",
        "│  ├─ with instance.id = web-1",
        "needs nothing by policy: ignored: properties.command",
        "│  ├─ bound by stay",
        "by Ada <ada@example.com>: another command, and policies",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    sandbox
        .with_config(&["policy", "explain", "first-is-odd", "--instance", "web-2"])
        .exits(0)
        .prints("policy first-is-odd (health), bound by odd: healthy");
    sandbox
        .with_config(&[
            "policy",
            "eval",
            "--point",
            "drift",
            "-e",
            "field + ' ' + class",
        ])
        .exits(0)
        .prints("properties.command replace");
}
