//! A running agent's groups, offered to InfraKit as `Group`: reads are live, changes are commits.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::infrakit::Serving;
use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, group, instances, wait_until};

mod destroy;
mod members;
mod signed;
mod withheld;

const WEB: &str = "groups/web.yaml";
const DB: &str = "groups/db.yaml";

fn sandbox() -> Sandbox {
    let db = group("db", 1, IDLE, "  deletion: {protect: true}\n");
    let keep = group("keep", 1, IDLE, "");
    let both = format!("{}---\n{keep}", group("web", 2, IDLE, ""));
    Sandbox::with_files(&[PROVIDER, (WEB, &both), (DB, &db)])
}

fn serve(sandbox: &Sandbox) -> Serving {
    serve_at(sandbox, sandbox.path("group.sock"))
}

/// Serves the agent's groups on this socket.
pub(crate) fn serve_at(sandbox: &Sandbox, socket: PathBuf) -> Serving {
    let config = sandbox.path("agent.yaml").display().to_string();
    let data = sandbox.path("data").display().to_string();
    Serving::start_at(sandbox, socket, "group", &data, &["--config", &config])
}

/// A group as InfraKit commits it.
fn spec(id: &str, size: u32, command: &[&str]) -> Value {
    json!({"ID": id, "Properties": {
        "Allocation": {"Size": size},
        "Instance": {"Plugin": "local", "Properties": {"command": command}},
        "Flavor": {"Plugin": "vanilla", "Properties": {}},
    }})
}

fn commit(serving: &Serving, spec: &Value, pretend: bool) -> String {
    let params = json!({"Spec": spec, "Pretend": pretend});
    let answer = serving.call("Group.CommitGroup", &params);
    answer["Details"].as_str().unwrap().to_owned()
}

/// The groups that are listed.
fn watched(serving: &Serving) -> Vec<String> {
    let inspected = serving.call("Group.InspectGroups", &json!({}));
    let groups = inspected["Groups"].as_array().unwrap().iter();
    let name = |group: &Value| group["ID"].as_str().unwrap().to_owned();
    groups.map(name).collect()
}

fn head(sandbox: &Sandbox) -> String {
    sandbox.git("fleet.git", &["log", "-1", "--format=%an: %s", "main"])
}

fn file(sandbox: &Sandbox, path: &str) -> String {
    sandbox.git("fleet.git", &["show", &format!("main:{path}")])
}

const IDLING: [&str; 2] = ["sleep", "infinity"];

#[test]
fn groups_are_read_live_and_changed_by_commits() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    for (name, size) in [("web", 2), ("keep", 1), ("db", 1)] {
        sandbox.wait_converged(name, size);
    }
    let serving = serve(&sandbox);
    let hello = serving.call("Handshake.Hello", &json!({}));
    let object = json!([{"Name": ".", "ProxyFor": ""}]);
    assert_eq!(
        hello["Objects"],
        json!({"Drover/1": object, "Group/0.1.1": object})
    );
    assert_eq!(watched(&serving), ["db", "keep", "web"]);
    let managed = json!({"Fleet": "test", "Groups": ["db", "keep", "web"]});
    assert_eq!(serving.call("Drover.Managed", &json!({})), managed);
    let inspected = serving.call("Group.InspectGroups", &json!({}));
    let web = &inspected["Groups"][2]["Properties"];
    let instance = json!({"Plugin": "local", "Properties": {"command": IDLING}});
    assert_eq!(web["Instance"], instance);
    assert_eq!(web["Allocation"], json!({"Size": 2, "LogicalIDs": null}));
    assert_eq!(web["Updating"]["Duration"], "100ms");
    let described = serving.call("Group.DescribeGroup", &json!({"ID": "web"}));
    assert_eq!(described["Description"]["Converged"], true);
    let shown = described["Description"]["Instances"].as_array().unwrap();
    assert_eq!(shown[0]["Tags"]["drover.instance"], "web-1");
    assert_eq!(shown[0]["Tags"]["infrakit.group"], "web");

    let first = head(&sandbox);
    let details = commit(&serving, &spec("web", 3, &IDLING), true);
    assert_eq!(
        details,
        "Adding 1 instances to increase the group size to 3"
    );
    assert_eq!(commit(&serving, &spec("web", 2, &IDLING), false), "Noop");
    assert_eq!(head(&sandbox), first, "nothing was committed");

    serving.call("Group.SetSize", &json!({"ID": "web", "Size": 3}));
    assert_eq!(head(&sandbox), "Ada: web: scale to 3\n");
    assert!(file(&sandbox, WEB).contains("size: 3   # how many"));
    let size = serving.call("Group.Size", &json!({"ID": "web"}));
    assert_eq!(size["Size"], 3, "the agent was told at once");
    sandbox.wait_converged("web", 3);

    let details = commit(&serving, &spec("web", 2, &["sleep", "9999"]), false);
    assert_eq!(
        details,
        "Terminating 1 instances to reduce the group size to 2, then performing a rolling update on 2 instances"
    );
    assert!(file(&sandbox, WEB).contains("properties: {\"command\":[\"sleep\",\"9999\"]}"));
    sandbox.wait_for("web", "the update", |web| {
        crate::support::converged(web, 2) && !instances(web).contains(&"web-1".to_owned())
    });
}

#[test]
fn a_group_that_is_committed_anew_becomes_a_document() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let serving = serve(&sandbox);
    let mut new = spec("new", 2, &["sh", "-c", "exec sleep ${SECONDS_MAX:-600}"]);
    let flavor = json!({"Init": ["#!/bin/sh", "", "echo ${HOME}"], "Tags": {"tier": "web"}, "Attachments": null, "InitScriptTemplateURL": ""});
    new["Properties"]["Flavor"]["Properties"] = flavor;
    new["Properties"]["Updating"] = json!({"Duration": "0m0.1s"});
    let first = head(&sandbox);
    assert_eq!(commit(&serving, &new, true), "Managing 2 instances");
    assert_eq!(head(&sandbox), first, "nothing was committed");
    assert_eq!(commit(&serving, &new, false), "Managing 2 instances");
    assert_eq!(head(&sandbox), "Ada: new: new\n");
    let text = file(&sandbox, "groups/new.yaml");
    assert!(text.contains("exec sleep $${SECONDS_MAX:-600}"), "{text}");
    assert_eq!(commit(&serving, &new, false), "Noop", "as it came back");
    sandbox.wait_for("new", "its instances", |new| instances(new).len() == 2);
    let folders = fs::read_dir(sandbox.path("data/process/local/instances")).unwrap();
    let scripts = folders.map(|folder| folder.unwrap().path().join("init.sh"));
    let scripts = scripts.filter_map(|script| fs::read_to_string(script).ok());
    let ours = "#!/bin/sh\n\necho ${HOME}\n";
    assert_eq!(scripts.filter(|script| script == ours).count(), 2);
}

#[test]
fn groups_are_let_go_and_ended_by_commits_within_their_limits() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    for (name, size) in [("web", 2), ("keep", 1), ("db", 1)] {
        sandbox.wait_converged(name, size);
    }
    let serving = serve(&sandbox);
    let about = |id: &str| json!({"ID": id});
    serving.call("Group.FreeGroup", &about("keep"));
    assert_eq!(head(&sandbox), "Ada: keep: leave alone\n");
    assert!(file(&sandbox, WEB).ends_with("  manage: observe\n"));
    let protected = serving.refused("Group.DestroyGroup", &about("db"));
    assert!(protected.contains("group db is protected"), "{protected}");
    serving.call("Group.DestroyGroup", &about("web"));
    assert_eq!(head(&sandbox), "Ada: web: remove\n");
    let left = file(&sandbox, WEB);
    assert!(
        left.starts_with("apiVersion") && !left.contains("name: web"),
        "{left}"
    );
    wait_until("its instances to be gone", PATIENCE, || {
        sandbox.processes().len() == 2
    });
    let gone = serving.refused("Group.DescribeGroup", &about("web"));
    assert_eq!(gone, "Group 'web' is not being watched");
    assert_eq!(watched(&serving), ["db"], "nor is what was freed");
}

#[test]
fn a_group_that_was_freed_is_not_watched_until_it_is_committed_again() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("keep", 1);
    let serving = serve(&sandbox);
    let about = json!({"ID": "keep"});
    serving.call("Group.FreeGroup", &about);
    assert_eq!(watched(&serving), ["db", "web"]);
    for method in ["DescribeGroup", "FreeGroup", "DestroyGroup"] {
        let unknown = serving.refused(&format!("Group.{method}"), &about);
        assert_eq!(unknown, "Group 'keep' is not being watched", "{method}");
    }
    let size = serving.refused("Group.Size", &about);
    assert_eq!(size, "group keep not found");
    let size = serving.refused("Group.SetSize", &json!({"ID": "keep", "Size": 2}));
    assert_eq!(size, "group not found keep");

    let freed = head(&sandbox);
    assert_eq!(freed, "Ada: keep: leave alone\n");
    let two = spec("keep", 2, &IDLING);
    assert_eq!(commit(&serving, &two, true), "Managing 2 instances");
    assert_eq!(head(&sandbox), freed, "nothing was committed");
    assert_eq!(commit(&serving, &two, false), "Managing 2 instances");
    let again = head(&sandbox);
    assert_eq!(again, "Ada: keep: manage again and scale to 2\n");
    assert!(file(&sandbox, WEB).ends_with("  manage: full\n"));
    assert_eq!(watched(&serving), ["db", "keep", "web"]);
    sandbox.wait_converged("keep", 2);
    let described = serving.call("Group.DescribeGroup", &about);
    let shown = &described["Description"]["Instances"];
    assert_eq!(shown.as_array().unwrap().len(), 2);
    assert_eq!(commit(&serving, &two, false), "Noop");
    assert_eq!(head(&sandbox), again, "nothing was committed");

    serving.call("Group.FreeGroup", &about);
    assert_eq!(commit(&serving, &two, false), "Managing 2 instances");
    assert_eq!(head(&sandbox), "Ada: keep: manage again\n");
    assert_eq!(watched(&serving), ["db", "keep", "web"]);
}

#[test]
fn what_cannot_be_asked_of_groups_is_refused_in_words() {
    let sandbox = sandbox();
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let serving = serve(&sandbox);
    let refused = |spec: Value| {
        let params = json!({"Spec": spec, "Pretend": false});
        serving.refused("Group.CommitGroup", &params)
    };
    let mut members = spec("new", 1, &IDLING);
    members["Properties"]["Allocation"] = json!({"LogicalIDs": ["a"]});
    let members = refused(members);
    assert!(
        members.contains("group new cannot be a document"),
        "{members}"
    );
    let named = refused(spec("No_Name", 1, &IDLING));
    assert!(
        named.contains("\"No_Name\" is no name of a group"),
        "{named}"
    );
    // A file is there that holds another group.
    let other = group("other", 1, IDLE, "");
    sandbox.push("file", &[("groups/new.yaml", &other)]);
    let there = refused(spec("new", 1, &IDLING));
    assert!(
        there.contains("has a file groups/new.yaml already"),
        "{there}"
    );
    let mut elsewhere = spec("web", 1, &IDLING);
    elsewhere["Properties"]["Instance"]["Plugin"] = json!("aws/ec2");
    let elsewhere = refused(elsewhere);
    assert_eq!(
        elsewhere,
        "Failed to find Instance plugin 'aws/ec2':plugin not found:aws/ec2"
    );
    // What would make the document invalid never gets there.
    let first = head(&sandbox);
    let bounded = group("web", 2, IDLE, "  bounds: {min: 1, max: 3}\n");
    sandbox.push("bounds", &[(WEB, &bounded)]);
    let revision = head(&sandbox);
    assert_ne!(first, revision);
    let many = serving.refused("Group.SetSize", &json!({"ID": "web", "Size": 9}));
    let says = "cannot change group web: the document of group web would have mistakes: `size` ";
    assert!(many.contains(says), "{many}");
    assert_eq!(head(&sandbox), revision);
    assert_eq!(agent.stop(), Some(0));
    let alone = serving.refused("Group.InspectGroups", &json!({}));
    assert!(
        alone.contains("no agent runs on the data folder"),
        "{alone}"
    );
    let settings = ["plugin", "serve", "group", "--setting", "a=b"];
    sandbox
        .drover(&settings)
        .exits(64)
        .says("groups have no settings");
    let nowhere = ["plugin", "serve", "group", "--socket", "x.sock"];
    sandbox
        .drover(&nowhere)
        .exits(64)
        .says("no source repository is named");
}

#[test]
fn many_who_change_a_group_at_once_do_not_stand_in_each_others_way() {
    let sandbox = sandbox();
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let serving = serve(&sandbox);
    // Where the branch is checked out, the files there follow each commit.
    let tree = sandbox.path("tree").display().to_string();
    sandbox.git("fleet.git", &["worktree", "add", "--quiet", &tree, "main"]);
    std::thread::scope(|scope| {
        for caller in 0..12 {
            let serving = &serving;
            let size = json!({"ID": "web", "Size": 1 + caller % 3});
            scope.spawn(move || serving.call("Group.SetSize", &size));
        }
    });
    assert_eq!(sandbox.git("tree", &["status", "--short"]), "");
    let size = serving.call("Group.Size", &json!({"ID": "web"}))["Size"].clone();
    let written = file(&sandbox, WEB);
    assert!(written.contains(&format!("size: {size} ")), "{written}");
}
