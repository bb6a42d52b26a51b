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
        .prints("replace 2, NEEDS APPROVAL\n")
        .prints(
            "  ~ properties.command: [\"sleep\",\"infinity\"] -> [\"sleep\",\"4711\"] (replace)\n",
        )
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

#[test]
fn a_group_that_goes_is_judged_in_a_pull_request_as_by_the_agent() {
    let few = APPROVE.replace("change.replaces == 0", "change.destroys <= 1");
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("groups/web.yaml", &group("web", 2, IDLE, "")),
        ("groups/db.yaml", &group("db", 1, IDLE, "")),
        ("groups/api.yaml", &group("api", 1, IDLE, "")),
        ("policies/few.yaml", &few),
    ]);
    until_converged(&sandbox).exits(0);
    sandbox.git("work", &["rm", "--quiet", "groups/web.yaml"]);
    sandbox.push("no web", &[]);
    let between = ["plan", "--base", "main~1", "--head", "main", "-o", "json"];
    let plan = sandbox.with_config(&between).exits(4).json();
    let web = &plan["items"][2];
    assert_eq!(web["group"], "web", "{plan:#}");
    assert_eq!(web["approvalsNeeded"], 2, "{plan:#}");
    until_converged(&sandbox).exits(4);
    sandbox
        .with_config(&["plan", "web"])
        .exits(4)
        .prints("web: removed, destroy 2, NEEDS APPROVAL\n");
    // Whoever approves what the comment names approves what the agent waits for.
    let id = &web["change"]["id"].as_str().unwrap()[..12];
    let why = sandbox.with_config(&["why", "web"]).exits(0);
    why.prints(&format!("change {id} needs 2 approvals"));
}

#[test]
fn a_plan_of_what_runs_names_the_settings_that_change() {
    let web = group("web", 1, IDLE, "");
    let sandbox = Sandbox::with_files(&[PROVIDER, ("groups/web.yaml", &web)]);
    let first = sandbox.with_config(&["plan"]).exits(0);
    first.prints(
        "web: new, create 1\n  + provider: \"local\"\n  + size: 1\n  + properties.command:",
    );
    until_converged(&sandbox).exits(0);
    let quiet = sandbox.with_config(&["plan", "--detailed-exitcode"]);
    assert_eq!(quiet.exits(0).stdout, "web: no changes\nPlan: no changes\n");
    let more = format!("{web}  limits: {{maxDestroy: 7}}\n");
    sandbox.push("a limit", &[("groups/web.yaml", &more)]);
    let limited = sandbox
        .with_config(&["plan", "--detailed-exitcode"])
        .exits(2);
    insta::assert_snapshot!(limited.stdout, @"
    web: settings change, and no instance
      + limits.maxDestroy: 7 (setting)
    Plan: settings of 1 of 1 group change, and no instance
    ");
    let json = sandbox.with_config(&["plan", "-o", "json"]).exits(0).json();
    assert_eq!(json["items"][0]["fields"][0]["field"], "limits.maxDestroy");
    assert_eq!(json["documents"], serde_json::json!([]));
}
