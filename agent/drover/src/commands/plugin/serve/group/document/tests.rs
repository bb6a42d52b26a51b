use super::*;

fn as_document(properties: &Json) -> Result<String, String> {
    let spec = GroupSpec::read(Some(properties)).unwrap();
    written(&GroupName::parse("web").unwrap(), &spec)
}

fn with(flavor: &Json) -> Json {
    json!({
        "Allocation": {"Size": 3},
        "Instance": {"Plugin": "local", "Properties": {"command": ["echo", "${HOME}"]}},
        "Flavor": flavor,
    })
}

#[test]
fn everything_that_a_document_has_a_place_for_is_written() {
    let one = json!({"Plugin": "vanilla", "Properties": {"Init": ["a ${B}"], "Tags": {"t": "1"}}});
    let two = json!({"Plugin": "cloudInit", "Properties": {"parts": []}});
    let swarm = json!({"Plugin": "swarm/worker", "Properties": {"Token": "${X} ${instance.id}"}});
    let none = json!({"Plugin": "vanilla", "Properties": null});
    let mut combo = with(&json!({"Plugin": "combo", "Properties": [one, none, two, swarm]}));
    combo["Updating"] = json!({"Duration": "2s", "SkipBeforeInstanceDestroy": "drain"});
    let text = as_document(&combo).unwrap();
    assert_eq!(
        text,
        r#"apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec:
  provider: "local"
  size: 3
  template:
    properties: {"command":["echo","$${HOME}"]}
    flavors:
      - {"vanilla":{"init":["a $${B}"],"tags":{"t":"1"}}}
      - {"cloudInit":{"parts":[]}}
      - {"plugin":{"name":"swarm/worker","properties":{"Token":"$${X} ${instance.id}"}}}
  rollout: {minReady: 2s}
  drain: {delay: 0s}
"#
    );
    let plain = as_document(&with(&json!({"Plugin": "vanilla"}))).unwrap();
    assert!(plain.ends_with("[\"echo\",\"$${HOME}\"]}\n"), "{plain}");
    let parsed = drover_spec::parse_file("web.yaml", plain.as_bytes());
    assert!(parsed.documents[0].diagnostics.is_empty(), "{parsed:?}");
}

#[test]
fn what_a_document_has_no_place_for_is_told() {
    let vanilla = |properties: Json| with(&json!({"Plugin": "vanilla", "Properties": properties}));
    let combo = |properties: Json| with(&json!({"Plugin": "combo", "Properties": properties}));
    let mut members = vanilla(json!({}));
    members["Allocation"] = json!({"LogicalIDs": ["a"]});
    let mut counts = vanilla(json!({}));
    counts["Updating"] = json!({"Count": 2});
    let cases = [
        (members, "Allocation.LogicalIDs"),
        (counts, "Updating.Count has no counterpart"),
        (
            vanilla(json!({"InitScriptTemplateURL": "x"})),
            "the field InitScriptTemplateURL of the flavor vanilla is not translated",
        ),
        (vanilla(json!([])), "flavor vanilla are not a map"),
        (combo(json!({})), "flavor combo are no list"),
        (
            combo(json!([{"Plugin": "combo", "Properties": []}])),
            "a combo within a combo",
        ),
        (
            combo(json!([{"Plugin": "a b"}])),
            "the flavor a b is not translated",
        ),
    ];
    for (properties, says) in cases {
        let why = as_document(&properties).unwrap_err();
        assert!(why.contains(says), "{says}: {why}");
    }
}

#[test]
fn texts_come_back_as_infrakit_wrote_them() {
    let nested = "echo ${A:-${B:-c}} ${D}";
    let texts = json!({"a": ["${HOME}", "${members} $${x}", "no ${", "${instance.id}", nested], "n": 1, "none": null});
    let written = literal(&texts);
    assert_eq!(written["a"][0], "$${HOME}");
    assert_eq!(written["a"][2], "no $${");
    assert_eq!(written["a"][3], "${instance.id}");
    assert_eq!(written["a"][4], "echo $${A:-${B:-c}} $${D}");
    assert_eq!(presented(&written), texts);
}

#[test]
fn numbers_mean_the_same_however_they_are_written() {
    let group = GroupName::parse("web").unwrap();
    let has = |written: &str, asked: &str| {
        let text = format!(
            "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {{name: web}}\nspec: {{provider: file, size: 1, template: {{properties: {{disk: {written}}}}}}}\n"
        );
        let asked = format!("{{\"disk\": {asked}}}");
        has_properties(&text, &group, &serde_json::from_str(&asked).unwrap())
    };
    for (written, asked) in [("1", "1.0"), ("1.0", "1"), ("1000", "1e3"), ("2.50", "2.5")] {
        assert!(has(written, asked), "{written} {asked}");
    }
    for (written, asked) in [("1", "1.5"), ("1", "\"1\""), ("'1'", "1"), ("1", "-1")] {
        assert!(!has(written, asked), "{written} {asked}");
    }
    let spec = |count: Json| {
        let flavor = json!({"Plugin": "swarm/worker", "Properties": {"count": count}});
        GroupSpec::read(Some(&with(&flavor))).unwrap()
    };
    let combined = json!({"Plugin": "combo", "Properties": [{"Plugin": "swarm/worker", "Properties": {"count": 2.0}}]});
    let combined = GroupSpec::read(Some(&with(&combined))).unwrap();
    assert_eq!(is_same_flavor(&spec(json!(2)), &combined), Ok(true));
    assert_eq!(is_same_flavor(&spec(json!(3)), &combined), Ok(false));
}

#[test]
fn flavors_that_mean_the_same_are_the_same_however_they_are_written() {
    let spec = |flavor: Json| GroupSpec::read(Some(&with(&flavor))).unwrap();
    let vanilla = |properties: Json| spec(json!({"Plugin": "vanilla", "Properties": properties}));
    let plain = vanilla(json!({"Init": ["a", ""]}));
    for same in [
        vanilla(json!({"Init": ["a", ""], "Tags": {}, "Attachments": null})),
        vanilla(json!({"Tags": null, "InitScriptTemplateURL": "", "init": ["a", ""]})),
        spec(
            json!({"Plugin": "combo", "Properties": [{"Plugin": "vanilla", "Properties": {"Init": ["a", ""]}}]}),
        ),
    ] {
        assert_eq!(is_same_flavor(&plain, &same), Ok(true), "{same:?}");
        assert_eq!(is_same_flavor(&same, &plain), Ok(true), "{same:?}");
    }
    for other in [
        vanilla(json!({"Init": ["a"]})),
        vanilla(json!({"Init": ["a", ""], "Tags": {"t": "1"}})),
        spec(json!({"Plugin": "swarm/worker", "Properties": {}})),
    ] {
        assert_eq!(is_same_flavor(&plain, &other), Ok(false), "{other:?}");
    }
    let none = spec(json!({"Plugin": "vanilla"}));
    assert_eq!(
        is_same_flavor(&none, &vanilla(json!({"Init": []}))),
        Ok(true)
    );
    let lost = vanilla(json!({"InitScriptTemplateURL": "x"}));
    let why = is_same_flavor(&plain, &lost).unwrap_err();
    assert!(why.contains("InitScriptTemplateURL"), "{why}");
    let wrong = vanilla(json!({"Tags": {"drover.group": "mine"}}));
    let why = is_same_flavor(&plain, &wrong).unwrap_err();
    assert!(why.contains("is reserved"), "{why}");
}
