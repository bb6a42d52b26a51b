//! Imports of InfraKit's groups into a repository that has documents already.

use serde_json::{Value, json};

use crate::support::{Ran, Sandbox};

const PROVIDER: &str = "apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: file}
spec: {type: plugin, plugin: file, visibility: 5s}
";

fn specification(id: &str) -> Value {
    json!({"ID": id, "Properties": {
        "Allocation": {"Size": 2},
        "Instance": {"Plugin": "file", "Properties": {}},
        "Flavor": {"Plugin": "vanilla", "Properties": {"Init": ["true"]}},
    }})
}

/// Imports groups into the folder `fleet`.
fn import(sandbox: &Sandbox, groups: &[Value], more: &[&str]) -> Ran {
    sandbox.write("groups.json", &json!(groups).to_string());
    let command = ["import", "infrakit", "groups.json", "--output", "fleet"];
    sandbox.drover(&[&command[..], more].concat())
}

fn is_there(sandbox: &Sandbox, path: &str) -> bool {
    sandbox.path("fleet").join(path).exists()
}

#[test]
fn a_provider_document_that_is_there_is_used() {
    for path in ["providers/p.yaml", "providers/file.yaml"] {
        let sandbox = Sandbox::new();
        sandbox.write(&format!("fleet/{path}"), PROVIDER);
        // A mistake that is there already is nobody's business.
        sandbox.write("fleet/groups/odd.yaml", "kind: Group\n");
        let ran = import(&sandbox, &[specification("boot")], &[]).exits(0);
        let note = format!(
            "note: the Provider document file is there already, in {path}, and is used as it is"
        );
        let ran = ran.says(&note);
        assert_eq!(ran.stdout, "fleet/groups/boot.yaml\n");
        let kept = std::fs::read_to_string(sandbox.path("fleet").join(path)).unwrap();
        assert_eq!(kept, PROVIDER);
        std::fs::remove_file(sandbox.path("fleet/groups/odd.yaml")).unwrap();
        sandbox.drover(&["validate", "fleet"]).exits(0);
        // The same once more says the same.
        let ran = import(&sandbox, &[specification("boot")], &[]).exits(0);
        ran.says(&note);
    }
}

#[test]
fn a_provider_document_for_something_else_is_not_taken_for_it() {
    let sandbox = Sandbox::new();
    let other = PROVIDER.replace("plugin: file", "plugin: other");
    sandbox.write("fleet/providers/p.yaml", &other);
    let groups = [specification("boot")];
    let ran = import(&sandbox, &groups, &[]).exits(1);
    ran.says("providers/p.yaml has a Provider document file for something else");
    assert!(!is_there(&sandbox, "groups/boot.yaml"));
    import(&sandbox, &groups, &["--provider", "machines"]).exits(0);
    sandbox.drover(&["validate", "fleet"]).exits(0);
    // The file itself is written over only where that is asked for.
    let sandbox = Sandbox::new();
    sandbox.write("fleet/providers/file.yaml", &other);
    let ran = import(&sandbox, &groups, &[]).exits(1);
    ran.says("files are there already and say something else");
    import(&sandbox, &groups, &["--force"]).exits(0);
    sandbox.drover(&["validate", "fleet"]).exits(0);
}

#[test]
fn a_group_that_is_there_in_another_file_is_left_out() {
    let sandbox = Sandbox::new();
    let groups = [specification("boot"), specification("web")];
    import(&sandbox, &groups, &[]).exits(0);
    let (from, to) = ("fleet/groups/boot.yaml", "fleet/groups/all.yaml");
    std::fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
    for more in [&[][..], &["--force"]] {
        let ran = import(&sandbox, &groups, more).exits(1);
        let says =
            "note: groups/boot.yaml is left out: group boot is there already, in groups/all.yaml";
        let ran = ran.says(says);
        assert_eq!(
            ran.stdout,
            "fleet/groups/web.yaml\nfleet/providers/file.yaml\n"
        );
        assert!(!is_there(&sandbox, "groups/boot.yaml"));
    }
    sandbox.drover(&["validate", "fleet"]).exits(0);
}
