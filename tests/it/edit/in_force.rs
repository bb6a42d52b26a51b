//! What people are told of edits that a policy or a mistake keeps from being in force.

use crate::support::{IDLE, PROVIDER, Sandbox, group, holds};

const WEB: &str = "groups/web.yaml";

/// A policy for every group, and its binding.
fn policy(name: &str, enforcement: &str, expression: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Policy
metadata: {{name: {name}}}
spec:
  on: validate
  rules: [{{expression: '{expression}', message: not by {name}}}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {{name: {name}}}
spec: {{policy: {name}, selector: {{}}, enforcement: {enforcement}}}
"
    )
}

fn sandbox(policies: &[&str]) -> Sandbox {
    let web = group("web", 1, IDLE, "");
    let policies = policies.join("---\n");
    let files = [PROVIDER, (WEB, &web), ("policies/all.yaml", &policies)];
    Sandbox::with_files(&files)
}

fn commits(sandbox: &Sandbox) -> String {
    sandbox.git("fleet.git", &["rev-list", "--count", "main"])
}

#[test]
fn a_size_that_policies_deny_is_refused_before_the_push() {
    let small = policy("small", "deny", "spec.size <= 3");
    let asked = policy("asked", "requireApproval", "spec.size <= 2");
    let sandbox = sandbox(&[&small, &asked]);
    let before = commits(&sandbox);
    let denied = sandbox.with_config(&["scale", "web", "4"]).exits(3);
    denied
        .says("nothing was written")
        .says("PolicyDenied")
        .says("not by small");
    let dry = sandbox.with_config(&["scale", "web", "4", "--dry-run"]);
    dry.exits(3).prints("+  size: 4").says("not by small");
    assert_eq!(commits(&sandbox), before);
    sandbox
        .with_config(&["scale", "web", "4", "--pr"])
        .exits(0)
        .says("warning: PolicyDenied");
    assert_eq!(commits(&sandbox), before);
    // What only asks is written, and said.
    sandbox
        .with_config(&["scale", "web", "3"])
        .exits(0)
        .says("warning: ApprovalNeeded: must be approved: ")
        .says("not by asked");
    let quiet = sandbox.with_config(&["scale", "web", "2"]).exits(0);
    assert!(!quiet.stderr.contains("warning"), "{}", quiet.stderr);
}

#[test]
fn an_edit_of_a_document_that_is_not_in_force_says_so() {
    let sandbox = sandbox(&[&policy("small", "deny", "spec.size <= 3")]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    sandbox.push("large", &[(WEB, &group("web", 9, IDLE, ""))]);
    sandbox.wait_for("web", "the denial", |group| {
        holds(group).contains(&"PolicyDenied".to_owned())
    });
    let changes_nothing =
        "group web's document is not in force (PolicyDenied), so this changes nothing yet";
    let suspend = ["suspend", "web", "--what", "heal"];
    let instead = format!("{changes_nothing}; `drover freeze web` works at once");
    sandbox.with_config(&suspend).exits(0).says(&instead);
    // By what is recorded as by what the agent says.
    assert_eq!(agent.stop(), Some(0));
    sandbox.with_config(&suspend).exits(0).says(&instead);
    sandbox
        .with_config(&["resume", "web", "--what", "heal"])
        .exits(0)
        .says(changes_nothing);
    // The size is compared with the one in force, whatever the branch says.
    sandbox
        .with_config(&["scale", "web", "8"])
        .exits(3)
        .says("not by small");
    let _agent = sandbox.agent();
    let mended = sandbox.with_config(&["scale", "web", "2"]).exits(0);
    assert!(!mended.stderr.contains("warning"), "{}", mended.stderr);
    sandbox.wait_converged("web", 2);
    let quiet = sandbox.with_config(&suspend).exits(0);
    assert!(!quiet.stderr.contains("warning"), "{}", quiet.stderr);
}
