//! What flavors attach, from InfraKit's own kind of flavor to its own kind of instance plugin.

use std::fs;

use serde_json::{Value, json};

use crate::infrakit::Serving;
use crate::plugin::{Plugin, WEB, machines, order, sandbox};
use crate::support::{PATIENCE, Sandbox, wait_until};

/// The flavor `vanilla` as InfraKit has it, at the place where the agent looks for plugins.
fn flavor(sandbox: &Sandbox) -> Serving {
    fs::create_dir_all(sandbox.path("plugins")).unwrap();
    let data = sandbox.path("served").display().to_string();
    Serving::start_at(
        sandbox,
        sandbox.path("plugins/vanilla"),
        "vanilla",
        &data,
        &[],
    )
}

fn attaching(members: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  {members}
  template:
    properties: {{note: one}}
    flavors:
      - vanilla: {{attachments: [{{id: \"log-${{instance.id}}\", type: nfs}}]}}
      - plugin: {{name: vanilla, properties: {{Init: [a], Attachments: [{{ID: vol-2, Type: ebs}}, {{ID: vol-1, Type: ebs}}]}}}}
      - vanilla: {{init: [b], attachments: [{{id: tmp}}]}}
      - plugin: {{name: vanilla, properties: {{Attachments: [{{ID: vol-2, Type: ebs}}]}}}}
  drain: {{delay: 0s}}
"
    )
}

/// What the plugin was asked to make so far.
fn asked(sandbox: &Sandbox) -> Vec<Value> {
    let log = fs::read_to_string(sandbox.path("machines/asked")).unwrap_or_default();
    let lines = log.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn made(sandbox: &Sandbox) -> Vec<Value> {
    let paths = machines(sandbox).into_iter();
    let read = paths.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
    read.collect()
}

#[test]
fn what_flavors_attach_is_asked_for_once_more_by_an_agent_that_was_killed() {
    let sandbox = sandbox(0);
    sandbox.push("attach", &[(WEB, &attaching("size: 1"))]);
    order(&sandbox, "die-before");
    let mut plugin = Plugin::start(&sandbox);
    let serving = flavor(&sandbox);
    let agent = sandbox.agent();
    plugin.wait_ended();
    agent.kill();
    // What the flavor said stands in the intent: nobody is there to say it again.
    drop(serving);
    fs::remove_file(sandbox.path("plugins/vanilla")).unwrap();
    let _plugin = Plugin::start(&sandbox);
    let _agent = sandbox.agent();
    wait_until("the machine", PATIENCE, || machines(&sandbox).len() == 1);
    let [first, second] = &asked(&sandbox)[..] else {
        panic!("{:?}", asked(&sandbox));
    };
    let attached = json!([
        {"ID": "log-web-1", "Type": "nfs"},
        {"ID": "vol-2", "Type": "ebs"},
        {"ID": "vol-1", "Type": "ebs"},
        {"ID": "tmp", "Type": ""},
        {"ID": "vol-2", "Type": "ebs"},
    ]);
    for field in ["Properties", "Init", "LogicalID", "Attachments"] {
        assert_eq!(first[field], second[field]);
    }
    assert_eq!(first["Attachments"], attached);
    assert_eq!(first["Init"], "a\nb");
    assert_eq!(made(&sandbox)[0]["Attachments"], attached);
}

#[test]
fn members_of_a_quorum_are_made_with_their_logical_ids_and_what_they_are_to_have() {
    let sandbox = sandbox(0);
    let _plugin = Plugin::start(&sandbox);
    let _flavor = flavor(&sandbox);
    let members = "members: [{id: 10-0-0-1}, {id: 10-0-0-2}, {id: 10-0-0-3}]";
    let text = attaching(members).replace("instance.id", "member.id");
    // A group has members from its first day, or never.
    fs::remove_file(sandbox.path("work").join(WEB)).unwrap();
    sandbox.push("members", &[("groups/db.yaml", &text.replace("web", "db"))]);
    let _agent = sandbox.agent();
    sandbox.wait_for("db", "its members", |db| db["phase"] == "Converged");
    let mut made: Vec<(Value, Value)> = made(&sandbox)
        .into_iter()
        .map(|spec| (spec["LogicalID"].clone(), spec["Attachments"][0].clone()))
        .collect();
    made.sort_by_key(|(id, _)| id.to_string());
    let wanted = [1, 2, 3].map(|number| {
        let log = json!({"ID": format!("log-10-0-0-{number}"), "Type": "nfs"});
        (json!(format!("10.0.0.{number}")), log)
    });
    assert_eq!(made, wanted);
}
