use super::*;

fn chosen(answer: &Json, subtype: &str) -> Result<Spoken, String> {
    objects(answer).unwrap().choose(subtype)
}

fn newest() -> Spoken {
    Spoken::Instance(InstanceVersion::V0_6_1)
}

#[test]
fn a_typed_plugin_is_used_with_one_of_its_subtypes() {
    let answer = json!({"Objects": {
        "Instance/0.6.1": [{"Name": "disk", "ProxyFor": ""}, {"Name": "compute", "ProxyFor": ""}],
        "L4/0.6.1": [{"Name": "lb1"}],
    }});
    assert_eq!(chosen(&answer, "compute"), Ok(newest()));
    assert_eq!(
        chosen(&answer, ""),
        Err("it needs a subtype, one of compute, disk".to_owned())
    );
    let other = "it has no subtype net; it has compute, disk".to_owned();
    assert_eq!(chosen(&answer, "net"), Err(other));
}

#[test]
fn an_untyped_plugin_is_used_without_one() {
    let answer = json!({"objects": {"Instance/0.6.1": [{"name": "."}]}});
    assert_eq!(chosen(&answer, ""), Ok(newest()));
    let typed = "it has no subtypes, so not x either".to_owned();
    assert_eq!(chosen(&answer, "x"), Err(typed));
}

#[test]
fn a_version_that_is_not_spoken_is_refused_in_infrakits_words() {
    let answer = json!({"Objects": {"Instance/0.7.0": [{"Name": "."}]}});
    let said = "Plugin supports Instance interface version 0.7.0, client requires 0.6.1";
    assert_eq!(chosen(&answer, ""), Err(said.to_owned()));
    let answer = json!({"Objects": {"Flavor/0.1.1": [{"Name": "."}]}});
    let said = "Plugin does not support interface Instance/0.6.1";
    assert_eq!(chosen(&answer, ""), Err(said.to_owned()));
}

#[test]
fn our_own_interface_is_preferred_and_its_version_is_exact() {
    let answer =
        json!({"Objects": {"Instance/0.6.1": [{"Name": "."}], "Provider/1": [{"Name": "."}]}});
    assert_eq!(chosen(&answer, ""), Ok(Spoken::Provider));
    let answer =
        json!({"Objects": {"Instance/0.6.1": [{"Name": "."}], "Provider/2": [{"Name": "."}]}});
    assert_eq!(chosen(&answer, ""), Ok(newest()));
}

#[test]
fn older_plugins_say_versions_first_and_subtypes_apart() {
    let apis = json!({"APIs": [{"Name": "Instance", "Version": "0.5.0", "Sub": ""}]});
    let types = json!({"Types": {"Instance/0.5.0": ["compute"]}});
    let found = implements(&apis, &types).unwrap();
    assert_eq!(
        found.choose("compute"),
        Ok(Spoken::Instance(InstanceVersion::V0_5_0))
    );
    assert!(found.choose("disk").is_err());
    // A release without subtypes does not say which it takes.
    let oldest = json!({"Interfaces": [{"Name": "Instance", "Version": "0.1.0"}]});
    let found = implements(&oldest, &json!({})).unwrap();
    assert_eq!(
        found.choose(""),
        Ok(Spoken::Instance(InstanceVersion::V0_1_0))
    );
}

#[test]
fn an_answer_of_another_form_is_told_from_one_without_interfaces() {
    for answer in [
        json!({}),
        json!([]),
        json!({"Objects": []}),
        json!({"Objects": {"Instance/0.6.1": [{}]}}),
    ] {
        assert!(objects(&answer).is_err(), "{answer}");
    }
    for answer in [
        json!({}),
        json!({"APIs": null}),
        json!({"APIs": [{"Name": "Instance"}]}),
    ] {
        assert!(implements(&answer, &json!({})).is_err(), "{answer}");
    }
    assert!(objects(&json!({"Objects": {"Instance/0.6.1": null}})).is_ok());
}
