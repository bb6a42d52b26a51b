//! Documents of groups of InfraKit.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::super::{Drafts, Present, mistakes};
use super::{Import, specification};
use drover_model::Flavor;
use drover_provider_plugin::config_hash;
use drover_spec::Document;

/// Returns the documents that a file comes to, and what is said about them.
fn imported(text: &str) -> (Drafts, usize) {
    let mut import = Import {
        provider: None,
        neighbours: None,
        source: "groups.json".to_owned(),
        drafts: Drafts::default(),
        plugins: BTreeMap::new(),
        failed: 0,
    };
    let read = specification::read("groups.json", text.as_bytes()).unwrap();
    import.drafts.remarks.extend(read.remarks);
    for found in &read.groups {
        import.group(found);
    }
    import.providers().unwrap();
    if !import.drafts.files.is_empty() {
        assert_eq!(
            mistakes(&import.drafts, &Present::default()).unwrap(),
            BTreeMap::new()
        );
    }
    (import.drafts, import.failed)
}

fn shown(text: &str) -> String {
    let (drafts, _) = imported(text);
    let files = drafts.files.iter();
    let files: Vec<String> = files
        .map(|file| format!("--- {}\n{}", file.path, file.text))
        .collect();
    files.concat()
}

fn remarks(text: &str) -> Vec<String> {
    imported(text).0.remarks
}

const WORKERS: &str = r#"{"ID": "workers", "Properties": {
  "Allocation": {"Size": 3, "LogicalIDs": null},
  "Instance": {"Plugin": "simulator/compute", "Properties": {"image": "a", "script": "echo ${HOME}"}},
  "Flavor": {"Plugin": "vanilla", "Properties": {"Init": ["echo hi", "echo ${X}"], "Tags": {"tier": "web"}}},
  "Updating": {"Duration": "0s", "Count": 0, "SkipBeforeInstanceDestroy": null}}}"#;

#[test]
fn a_group_becomes_a_document_that_only_watches_and_its_plugin_a_provider() {
    assert_snapshot!(shown(WORKERS), @r#"
    --- groups/workers.yaml
    # The InfraKit group workers, from groups.json.
    # It is only watched: once an agent has looked, `drover describe workers` lists what was found under
    # `To adopt`. Free the group in InfraKit, then commit `manage: full`, and its instances are taken over
    # as they run.
    apiVersion: drover/v1alpha1
    kind: Group
    metadata:
      name: workers
    spec:
      provider: simulator-compute
      size: 3
      manage: observe
      adopt:
        selector:
          matchTags:
            infrakit.group: workers
        # What was made from an older specification counts as outdated.
        # `bootstrap` is what InfraKit takes up as it is.
        current:
          matchTags:
            infrakit.config.hash: i5vjisywkknt4wcmbigw6udnaex4i3zr
          or:
            - matchTags:
                infrakit.config.hash: bootstrap
        revision: assume
      template:
        properties:
          image: a
          script: "echo $${HOME}"
        flavors:
          - vanilla:
              init:
                - echo hi
                - "echo $${X}"
              tags:
                tier: web
        # So that InfraKit knows them again, should they be handed back.
        tags:
          infrakit.config.hash: i5vjisywkknt4wcmbigw6udnaex4i3zr
          infrakit.group: workers
    --- providers/simulator-compute.yaml
    # The instance plugin of groups of InfraKit. `drover plugin conform` checks whether it keeps drover's contract.
    apiVersion: drover/v1alpha1
    kind: Provider
    metadata:
      name: simulator-compute
    spec:
      plugin: simulator/compute
      type: plugin
    "#);
    assert_eq!(remarks(WORKERS), Vec::<String>::new());
}

#[test]
fn the_fingerprint_is_infrakits_own_in_json_and_in_yaml() {
    let json = r#"{"ID": "a", "Properties": {"Allocation": {"Size": 1},
        "Instance": {"Plugin": "file", "Properties": {"Note": "v1"}},
        "Flavor": {"Plugin": "vanilla", "Properties": {"Init": ["a"]}}}}"#;
    let yaml = "kind: group
metadata: {name: group/a}
properties:
  Allocation: {Size: 1}
  Instance: {Plugin: file, Properties: {Note: v1}}
  Flavor:
    Plugin: vanilla
    Properties:
      Init: [a]
";
    for text in [json, yaml] {
        assert!(shown(text).contains("infrakit.config.hash: ryx5jnkugtqiqo6aporzme5ponk3vv3y"));
    }
}

#[test]
fn what_infrakit_reads_otherwise_than_it_is_written_is_refused() {
    let yaml = |value: &str| format!("ID: a\nProperties: {{Note: {value}}}\n");
    for value in ["yes", "Off", "y", "1_000", "0644"] {
        let read = specification::read("f", yaml(value).as_bytes());
        assert!(read.is_err(), "{value}");
        let quoted = yaml(&format!("'{value}'"));
        assert!(specification::read("f", quoted.as_bytes()).is_ok());
    }
    let keys = "ID: a\nProperties: {on: 1}\n";
    let error = specification::read("f", keys.as_bytes()).unwrap_err();
    let told = "f:2:14: readers of YAML 1.1 take `on` for a boolean: give the file as JSON";
    assert!(error.render().contains(told), "{}", error.render());
    let json = r#"{"ID": "a", "Properties": {"on": "yes"}}"#;
    assert!(specification::read("f", json.as_bytes()).is_ok());
}

#[test]
fn lists_of_groups_and_a_managers_file_are_read_too() {
    let list = format!("[{WORKERS}, {}]", WORKERS.replace("workers", "others"));
    let paths = |text: &str| -> Vec<String> {
        imported(text)
            .0
            .files
            .into_iter()
            .map(|file| file.path)
            .collect()
    };
    let known = [
        "groups/workers.yaml",
        "groups/others.yaml",
        "providers/simulator-compute.yaml",
    ];
    assert_eq!(paths(&list), known);
    let manager = format!(r#"[{{"Plugin": "group", "Properties": {WORKERS}}}]"#);
    assert_eq!(paths(&manager), [known[0], known[2]]);
}

#[test]
fn members_keep_their_names_as_far_as_names_can_be() {
    let members = WORKERS.replace(
        r#""Size": 3, "LogicalIDs": null"#,
        r#""LogicalIDs": ["10.0.0.5", "m2"]"#,
    );
    assert_snapshot!(remarks(&members).join("\n"), @"group workers: the member 10.0.0.5 is called 10-0-0-5, as names of members are DNS labels");
    let shown = shown(&members).replace('"', "");
    assert!(
        shown.contains("  members:\n    - id: 10-0-0-5\n    - id: m2\n"),
        "{shown}"
    );
    // What comes after it cannot be called the same.
    let other = WORKERS.replace(
        r#""Size": 3, "LogicalIDs": null"#,
        r#""LogicalIDs": ["Manager_1"]"#,
    );
    let told = remarks(&other).join("\n");
    assert!(
        told.contains(
            "the instance that will replace the member Manager_1 gets the LogicalID manager-1"
        ),
        "{told}"
    );
    let twice = WORKERS.replace(
        r#""Size": 3, "LogicalIDs": null"#,
        r#""LogicalIDs": ["a.b", "a-b"]"#,
    );
    assert_eq!(imported(&twice).1, 1);
}

#[test]
fn what_has_no_place_in_a_document_is_told_and_stands_in_it() {
    let text = r#"{"ID": "My Workers", "Properties": {
      "Allocation": {"Size": 2}, "Alocation": 3,
      "Instance": {"Plugin": "selector/spread", "Properties": {"a": {}}},
      "Flavor": {"Plugin": "combo", "Properties": [
        {"Plugin": "vanilla", "Properties": {"Init": ["a"], "Attachments": [{"ID": "v"}], "InitScriptTemplateURL": "str://x"}},
        {"Plugin": "swarm/worker", "Properties": {"Token": "${X}"}}, {"Plugin": "a b", "Properties": {}}]},
      "Updating": {"Duration": "30s", "Count": 3, "SkipBeforeInstanceDestroy": "drain"}}}"#;
    let told = remarks(text);
    assert_snapshot!(told.join("\n"), @"
    group My Workers: it is called my-workers, as names of documents are DNS labels
    group My Workers: the plugin selector/spread chooses among other plugins by itself: it is used as it is, and drover knows of no zones
    group My Workers: Updating.Duration (30s) is not translated: `rollout.minReady` says how long an instance must be well before the next
    group My Workers: Updating.Count (3) is not translated: there is no count of checks; `rollout.minReady` says how long an instance must be well
    group My Workers: Updating.SkipBeforeInstanceDestroy (drain) is not translated: `drain` says what happens before an instance is ended; `drain: {delay: 0s}` skips it
    group My Workers: the field Alocation is not known, and is left out
    group My Workers: the field InitScriptTemplateURL of the flavor vanilla is not translated
    group My Workers: the flavor swarm/worker is asked of its plugin, which has to run beside the agent: without it nothing is made, and nothing counts as available
    group My Workers: the flavor a b is not translated: what it puts onto new instances is missing, and so are its health and its drain
    ");
    let document = shown(text);
    let (_, flavor) = document.split_once("- plugin:\n").unwrap();
    let (flavor, _) = flavor.split_once("    # So that").unwrap();
    assert_snapshot!(flavor, @r#"
    name: swarm/worker
    properties:
      Token: "$${X}"
    "#);
    for remark in told.iter().skip(1) {
        let remark = remark.split_once(": ").unwrap().1;
        assert!(document.contains(&format!("# - {remark}\n")), "{remark}");
    }
    assert!(document.contains("groups/my-workers.yaml"));
}

#[test]
fn what_flavors_attach_stays_with_them() {
    let text = r#"{"ID": "managers", "Properties": {
      "Allocation": {"LogicalIDs": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]},
      "Instance": {"Plugin": "file", "Properties": {}},
      "Flavor": {"Plugin": "combo", "Properties": [
        {"Plugin": "vanilla", "Properties": {"Attachments": [{"ID": "log-${X}", "Type": "nfs"}, {"id": "tmp", "Type": ""}]}},
        {"Plugin": "swarm/manager", "Properties": {"Attachments": {"10.0.0.1": [{"ID": "vol-1", "Type": "ebs"}], "*": [{"ID": "all"}]}}}]}}}"#;
    let document = shown(text);
    let (_, flavors) = document.split_once("    flavors:\n").unwrap();
    let (flavors, _) = flavors.split_once("    # So that").unwrap();
    assert_snapshot!(flavors, @r#"
      - vanilla:
          attachments:
            - id: "log-$${X}"
              type: nfs
            - id: tmp
      - plugin:
          name: swarm/manager
          properties:
            Attachments:
              "*":
                - ID: all
              "10.0.0.1":
                - ID: vol-1
                  Type: ebs
    "#);
    let lost = remarks(text);
    let lost: Vec<&String> = lost.iter().filter(|one| one.contains("Attach")).collect();
    assert_eq!(lost, Vec::<&String>::new());
}

#[test]
fn what_cannot_be_translated_is_left_out_and_said_why() {
    let broken = [
        WORKERS.replace(r#""Size": 3"#, r#""Size": null"#),
        WORKERS.replace("simulator/compute", ""),
        WORKERS.replace(r#"{"image": "a", "script": "echo ${HOME}"}"#, "[1]"),
        WORKERS.replace(r#"["echo hi", "echo ${X}"]"#, "7"),
        WORKERS.replace("\"Tags\"", r#""Attachments": {"ID": "v1"}, "Tags""#),
        WORKERS.replace("\"Tags\"", r#""Attachments": [{"Type": "ebs"}], "Tags""#),
        WORKERS.replace("\"Tags\"", r#""Attachments": ["v1"], "Tags""#),
        WORKERS.replace("\"Tags\"", r#""Attachments": [{"ID": 1}], "Tags""#),
        WORKERS.replace(r#""image": "a""#, r#""image": 1e999"#),
        WORKERS.replace("\"workers\"", "\"...\""),
    ];
    let told = broken.map(|text| {
        let (drafts, failed) = imported(&text);
        assert_eq!(failed, 1, "{text}");
        drafts.remarks.join("\n")
    });
    assert_snapshot!(told.join("\n"), @"
    group workers: not imported: its `Allocation` has neither `Size` nor `LogicalIDs`
    group workers: not imported: its `Instance` names no `Plugin`
    group workers: not imported: the `Properties` of its `Instance` are not a map
    group workers: not imported: the `Init` of its flavor is no list
    group workers: not imported: the `Attachments` of its flavor are no list
    group workers: not imported: an attachment of its flavor has no `ID`
    group workers: not imported: an attachment of its flavor has no `ID`
    group workers: not imported: an attachment of its flavor is no `ID` and `Type`, both texts
    group workers: not imported: the number 1e999 is too large
    group ...: not imported: nothing of its name can be a document's name
    ");
}

#[test]
fn a_file_that_is_no_group_is_refused_with_the_entry() {
    let refused = |text: &str| {
        let error = specification::read("f", text.as_bytes()).unwrap_err();
        error.render()
    };
    let told = [
        refused("{"),
        refused("[]"),
        refused("[1]"),
        refused("{\"Properties\": {}}"),
        refused("kind: simulator"),
        refused("kind: group"),
    ];
    assert_snapshot!(told.concat(), @r#"
    error: f is neither JSON nor YAML
      as JSON: no key begins at byte 1
      as YAML: f:1:1: unclosed bracket '{'
    error: f has no group
    error: f: entry 1 is no group
      it is not a map
    error: f: entry 1 is no group
      it has no `ID`
    error: f: entry 1 is no group
      it is of the kind "simulator", and only groups can be taken over
    error: f: entry 1 is no group
      it has no `metadata.name`
    "#);
}

/// The init lines of the documents, joined as InfraKit joins them.
fn inits(text: &str) -> Vec<String> {
    let (drafts, _) = imported(text);
    let mut inits = Vec::new();
    for file in &drafts.files {
        let parsed = drover_spec::parse_file(&file.path, file.text.as_bytes());
        for document in parsed.documents {
            if let Some(Document::Group(group)) = document.outcome {
                let flavors = group.spec.template.flavors.iter();
                inits.extend(flavors.filter_map(|flavor| match flavor {
                    Flavor::Vanilla(vanilla) => Some(vanilla.init.join("\n")),
                    Flavor::CloudInit(_) | Flavor::Plugin(_) => None,
                }));
            }
        }
    }
    inits
}

#[test]
fn empty_lines_of_a_script_stay_and_so_does_the_hash() {
    let lines = r##"["#!/bin/sh", "", "echo hi", "", ""]"##;
    let text = WORKERS.replace(r#"["echo hi", "echo ${X}"]"#, lines);
    assert_eq!(inits(&text), ["#!/bin/sh\n\necho hi\n\n"]);
    let read = specification::read("groups.json", text.as_bytes()).unwrap();
    let properties = &read.groups[0].group.properties;
    let part = |name: &str| properties.get(name).unwrap();
    let hash = config_hash(part("Instance"), part("Flavor")).unwrap();
    assert!(shown(&text).contains(&format!("infrakit.config.hash: {hash}")));
    assert!(
        !shown(WORKERS).contains(&hash),
        "the lines are part of the hash"
    );
}

#[test]
fn fields_that_are_left_out_are_told_wherever_they_are() {
    let text = r#"{"kind": "group", "version": "Group/0.1.1", "depends": ["x"], "template": "str://x", "options": {"PollInterval": "1s"}, "state": {"a": 1},
      "metadata": {"name": "group/web", "id": "1", "tags": {"team": "shop"}, "labels": {}},
      "properties": {
        "Allocation": {"Size": 2, "Sise": 3}, "Instance": {"Plugin": "file", "Properties": {}, "Labels": {"a": "b"}},
        "Flavor": {"Plugin": "combo", "Version": 1, "Properties": [{"Plugin": "vanilla", "Propertys": {"Init": []}}]},
        "Updating": {"Duraton": "30s", "Count": 0}}}"#;
    let told = remarks(text);
    assert_snapshot!(told.join("\n"), @"
    group web: the field depends is not known, and is left out
    group web: the field options is not known, and is left out
    group web: the field template is not known, and is left out
    group web: the field metadata.tags is not known, and is left out
    group web: the field Allocation.Sise is not known, and is left out
    group web: the field Instance.Labels is not known, and is left out
    group web: the field Flavor.Version is not known, and is left out
    group web: the field Updating.Duraton is not known, and is left out
    group web: the field Propertys of a flavor within combo is not translated
    ");
    let document = shown(text);
    for remark in told {
        let remark = remark.split_once(": ").unwrap().1;
        assert!(document.contains(&format!("# - {remark}\n")), "{remark}");
    }
    let plain = r#"{"ID": "a", "Label": "x", "Properties": {"Allocation": {"Size": 1},
        "Instance": {"Plugin": "file"}, "Flavor": {"Plugin": "vanilla"}}}"#;
    assert_eq!(
        remarks(plain),
        ["group a: the field Label is not known, and is left out"]
    );
}

#[test]
fn what_a_manager_stores_is_read_and_a_template_is_not() {
    let init = r#"["docker ps --format {{.ID}}"]"#;
    let workers = WORKERS.replace(r#"["echo hi", "echo ${X}"]"#, init);
    let (_, properties) = workers.split_once(r#""Properties": "#).unwrap();
    let properties = properties.strip_suffix('}').unwrap();
    let store = format!(
        r#"[{{"Key": {{"Kind": "group", "Name": "workers"}}, "Record": {{"Handler": "group-stateless",
          "Spec": {{"kind": "group", "version": "", "metadata": {{"name": "workers"}}, "properties": {properties}}}}}}},
         {{"Key": {{"Kind": "ingress", "Name": "lb"}}, "Record": {{"Handler": "ingress",
          "Spec": {{"kind": "ingress", "metadata": {{"name": "lb"}}, "properties": {{}}}}}}}}]"#
    );
    // The manager has it rendered: what looks like a template is none.
    assert_eq!(inits(&store), ["docker ps --format {{.ID}}"]);
    assert_eq!(
        remarks(&store),
        ["lb is of the kind \"ingress\" and left out: only groups can be taken over"]
    );
    let hash = |text: &str| -> String {
        let document = shown(text);
        let (_, hash) = document.split_once("infrakit.config.hash: ").unwrap();
        hash.lines().next().unwrap().to_owned()
    };
    let plain = store.replace(init, r#"["echo hi", "echo ${X}"]"#);
    assert_eq!(hash(&plain), hash(WORKERS));
    assert_ne!(hash(&store), hash(WORKERS));
    for template in [
        workers.as_str(),
        "{{ include \"x\" }}\n[]",
        "kind: group\nmetadata: {name: {{ var `name` }}}\n",
    ] {
        let error = specification::read("f", template.as_bytes()).unwrap_err();
        let told = error.render();
        assert!(told.contains("f is a template: line "), "{told}");
        assert!(told.contains("infrakit template"), "{told}");
    }
}
