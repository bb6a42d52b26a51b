//! Changes of groups that are written and not in force: the calls say so, and compare with what is written.

use serde_json::{Value, json};

use super::{IDLING, commit, file, head, serve, spec};
use crate::support::{IDLE, PROVIDER, Sandbox, converged, group, holds};

const WEB: &str = "groups/web.yaml";

/// More than three instances, and groups that are only watched, are not let in.
const RULES: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: few}
spec: {on: approve, rules: [{expression: 'change.toSize <= 3', message: more than three}]}
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: full}
spec: {on: validate, rules: [{expression: \"spec.manage == 'full'\", message: not to be freed}]}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: few}
spec: {policy: few, selector: {}, enforcement: requireApproval, approvals: {count: 1}}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: full}
spec: {policy: full, selector: {}, enforcement: deny}
";

fn sandbox() -> Sandbox {
    let web = group("web", 3, IDLE, "");
    Sandbox::with_files(&[PROVIDER, (WEB, &web), ("policies/rules.yaml", RULES)])
}

#[test]
fn a_size_that_waits_for_people_is_an_error_and_can_be_taken_back() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 3);
    let serving = serve(&sandbox);
    let size = |size: u32| json!({"ID": "web", "Size": size});
    let withheld = |why: &str, how: &str| {
        assert!(
            why.starts_with(&format!("group web: {how}"))
                && why.contains(", and not in force: ApprovalNeeded: ")
                && why.contains("more than three"),
            "{why}"
        );
    };
    let why = serving.refused("Group.SetSize", &size(5));
    withheld(&why, "written as ");
    assert!(file(&sandbox, WEB).contains("size: 5   # how many"));
    assert_eq!(serving.call("Group.Size", &size(5))["Size"], 3, "in force");
    // It is asked once more, and nothing is written.
    let written = head(&sandbox);
    let why = serving.refused("Group.SetSize", &size(5));
    withheld(&why, "the branch says so already");
    assert_eq!(head(&sandbox), written);
    // What is in force already is written all the same.
    serving.call("Group.SetSize", &size(3));
    assert!(file(&sandbox, WEB).contains("size: 3   # how many"));

    let five = spec("web", 5, &IDLING);
    let asked = json!({"Spec": five, "Pretend": false});
    withheld(&serving.refused("Group.CommitGroup", &asked), "written as ");
    let back = "Terminating 2 instances to reduce the group size to 3";
    let three = spec("web", 3, &IDLING);
    assert_eq!(commit(&serving, &three, true), back);
    assert!(file(&sandbox, WEB).contains("size: 5   # how many"));
    assert_eq!(commit(&serving, &three, false), back);
    assert!(file(&sandbox, WEB).contains("size: 3   # how many"));
    assert_eq!(commit(&serving, &three, false), "Noop");
    // With other properties beside it, too.
    let other = spec("web", 4, &["sleep", "9999"]);
    let asked = json!({"Spec": other, "Pretend": false});
    withheld(&serving.refused("Group.CommitGroup", &asked), "written as ");
    let details = commit(&serving, &three, false);
    assert!(details.ends_with("then performing a rolling update on 3 instances"));
    let text = file(&sandbox, WEB);
    assert!(text.contains("size: 3   # how many"), "{text}");
    assert!(text.contains("[\"sleep\",\"infinity\"]"), "{text}");
    sandbox.wait_for("web", "what was there", |web| converged(web, 3));
    let new = json!({"Spec": spec("new", 4, &IDLING), "Pretend": false});
    let why = serving.refused("Group.CommitGroup", &new);
    assert!(why.contains("not in force: ApprovalNeeded: "), "{why}");
    assert!(file(&sandbox, "groups/new.yaml").contains("size: 4"));
    serving.call("Group.DestroyGroup", &json!({"ID": "new"}));
}

#[test]
fn a_group_that_may_not_be_freed_is_not_and_a_commit_takes_that_back() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 3);
    let serving = serve(&sandbox);
    let before = file(&sandbox, WEB);
    let web = json!({"ID": "web"});
    let why = serving.refused("Group.FreeGroup", &web);
    assert!(why.contains("not in force: PolicyDenied: "), "{why}");
    assert!(why.contains("not to be freed"), "{why}");
    let freed = format!("{before}  manage: observe\n");
    assert_eq!(file(&sandbox, WEB), freed);
    let managed = |serving: &crate::infrakit::Serving| -> Value {
        serving.call("Drover.Managed", &json!({}))["Groups"].clone()
    };
    assert_eq!(managed(&serving), json!(["web"]), "the agent goes on");
    // The branch decides, and not what the agent acts on.
    let three = spec("web", 3, &IDLING);
    assert_eq!(commit(&serving, &three, true), "Managing 3 instances");
    assert_eq!(file(&sandbox, WEB), freed);
    assert_eq!(commit(&serving, &three, false), "Managing 3 instances");
    assert_eq!(file(&sandbox, WEB), freed.replace("observe", "full"));
    sandbox.wait_for("web", "nothing to be withheld", |web| {
        converged(web, 3) && holds(web).is_empty()
    });
}

#[test]
fn a_removal_that_is_withheld_is_an_error() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 3);
    let serving = serve(&sandbox);
    let none = "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: few}\n\
                spec: {on: approve, rules: [{expression: 'change.toSize > 0', message: nobody left}]}";
    let (_, others) = RULES.split_once("\n---\n").unwrap();
    sandbox.push(
        "rule",
        &[("policies/rules.yaml", &format!("{none}\n---\n{others}"))],
    );
    sandbox.with_config(&["reconcile"]).exits(0);
    let why = serving.refused("Group.DestroyGroup", &json!({"ID": "web"}));
    assert!(why.contains("not in force: ApprovalNeeded: "), "{why}");
    assert!(why.contains("nobody left"), "{why}");
    assert_eq!(head(&sandbox), "Ada: web: remove\n");
    assert_eq!(sandbox.processes().len(), 3);
    let web = serving.call("Group.Size", &json!({"ID": "web"}));
    assert_eq!(web["Size"], 3);
    // It is there again by another commit.
    let three = spec("web", 3, &IDLING);
    assert_eq!(commit(&serving, &three, false), "Managing 3 instances");
    assert!(file(&sandbox, WEB).contains("size: 3"));
    assert_eq!(sandbox.processes().len(), 3);
}
