//! Groups of fixed members: logical IDs as InfraKit wrote them mean the members that their import has made of them.

use serde_json::{Value, json};

use super::{IDLING, commit, head, serve, spec};
use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, group, wait_until};

/// A group of these members, as InfraKit commits it.
fn members(ids: &[&str], command: &[&str]) -> Value {
    let mut spec = spec("db", 0, command);
    spec["Properties"]["Allocation"] = json!({"LogicalIDs": ids});
    spec
}

#[test]
fn what_was_imported_can_be_committed_as_it_was() {
    let db = group("db", 2, IDLE, "");
    // As `drover import infrakit` names the members 10.0.0.5 and Mgr_3.
    let db = db.replace(
        "size: 2   # how many",
        "members: [{id: 10-0-0-5}, {id: mgr-3}]",
    );
    let db = db.replace("maxSurge: 2, ", "");
    let sandbox = Sandbox::with_files(&[PROVIDER, ("groups/db.yaml", &db)]);
    let _agent = sandbox.agent();
    sandbox.wait_converged("db", 2);
    let serving = serve(&sandbox);
    let inspected = serving.call("Group.InspectGroups", &json!({}));
    let shown = &inspected["Groups"][0]["Properties"]["Allocation"];
    assert_eq!(
        *shown,
        json!({"Size": 0, "LogicalIDs": ["10.0.0.5", "mgr-3"]})
    );
    let known = || -> Vec<String> {
        let described = serving.call("Group.DescribeGroup", &json!({"ID": "db"}));
        let list = described["Description"]["Instances"].as_array().unwrap();
        let id = |one: &Value| one["LogicalID"].as_str().map(str::to_owned);
        let mut known: Vec<String> = list.iter().filter_map(id).collect();
        known.sort();
        known
    };
    wait_until("the members", PATIENCE, || known() == ["10.0.0.5", "mgr-3"]);
    let first = head(&sandbox);
    for ids in [["10.0.0.5", "Mgr_3"], ["mgr-3", "10-0-0-5"]] {
        assert_eq!(commit(&serving, &members(&ids, &IDLING), false), "Noop");
    }
    assert_eq!(head(&sandbox), first);
    let refused = |ids: &[&str]| {
        let params = json!({"Spec": members(ids, &IDLING), "Pretend": true});
        serving.refused("Group.CommitGroup", &params)
    };
    let says = "Logical ID changes to a quorum is not currently supported";
    assert_eq!(refused(&["10.0.0.5", "mgr-4"]), says);
    assert_eq!(refused(&["10.0.0.5"]), says);
    let other = members(&["10.0.0.5", "Mgr_3"], &["sleep", "9999"]);
    assert_eq!(
        commit(&serving, &other, true),
        "Performing a rolling update on 2 instances"
    );
}
