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
    let said = "Plugin supports Instance interface version 0.7.0, client requires 0.6.1: it offers Instance/0.7.0, and drover speaks Provider/1, Instance/0.6.1, Instance/0.6.0, Instance/0.5.0, Instance/0.3.0, Instance/0.1.0";
    assert_eq!(chosen(&answer, ""), Err(said.to_owned()));
}

#[test]
fn who_offers_nothing_that_is_spoken_is_told_what_it_offers_and_what_is_likely_wrong() {
    for (offered, all, hint) in [
        (json!({}), "nothing", ""),
        (json!({"Provider/2": [{"Name": "."}]}), "Provider/2", ""),
        (
            json!({"Metadata/0.1.0": [{"Name": "."}], "Event/0.1.0": null}),
            "Event/0.1.0, Metadata/0.1.0",
            "",
        ),
        (
            json!({"provider/1": [{"Name": "."}]}),
            "provider/1",
            "; provider is not Provider: names count as they are written",
        ),
        (
            json!({"INSTANCE/0.6.1": [{"Name": "."}]}),
            "INSTANCE/0.6.1",
            "; INSTANCE is not Instance: names count as they are written",
        ),
        (
            json!({"Flavor/0.1.1": [{"Name": "."}]}),
            "Flavor/0.1.1",
            "; it is a flavor, which a group names in `template.flavors`, and no provider",
        ),
    ] {
        let said = format!(
            "Plugin does not support interface Instance/0.6.1: it offers {all}, and drover speaks Provider/1, Instance/0.6.1, Instance/0.6.0, Instance/0.5.0, Instance/0.3.0, Instance/0.1.0{hint}"
        );
        assert_eq!(chosen(&json!({ "Objects": offered }), ""), Err(said));
    }
    let answer = json!({"Objects": {"Provider/1": [{"Name": "."}]}});
    let said = "Plugin does not support interface Flavor/0.1.1: it offers Provider/1, and drover speaks Flavor/0.1.1; it is a provider, which a Provider document names, and no flavor";
    let asked = objects(&answer)
        .unwrap()
        .version("Flavor", &[((), "0.1.1")], "");
    assert_eq!(asked, Err(said.to_owned()));
    // Whoever offers without end is told the beginning of it.
    let many: serde_json::Map<String, Json> = (0..1000)
        .map(|number| (format!("Instance{number}/1"), Json::Null))
        .collect();
    let refused = chosen(&json!({ "Objects": many }), "").unwrap_err();
    assert!(refused.len() < 800, "{refused}");
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
