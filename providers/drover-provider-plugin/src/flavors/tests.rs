use std::collections::BTreeMap;

use drover_model::Attachment;
use serde_json::json;

use super::*;

fn record(method: &str) -> (Json, Json) {
    let mut records = crate::records::records().into_iter();
    let record = records.find(|record| record.method == method).unwrap();
    let request: Json = serde_json::from_str(&record.request).unwrap();
    let answer: Json = serde_json::from_str(&record.answer.unwrap()).unwrap();
    (request["params"].clone(), answer["result"].clone())
}

#[test]
fn requests_are_written_as_infrakits_own_client_writes_them() {
    let (asked, _) = record("Flavor.Validate");
    let allocation = allocation(&Allocation::Size(3));
    let params = ValidateParams {
        r#type: "",
        properties: &asked["Properties"],
        allocation: &allocation,
    };
    assert_eq!(json!(params), asked);

    let (asked, _) = record("Flavor.Prepare");
    let spec = Spec {
        properties: json!({"Note": "x"}),
        tags: [("infrakit.group".to_owned(), "g1".to_owned())].into(),
        init: String::new(),
        logical_id: None,
        attachments: None,
    };
    let params = PrepareParams {
        cluster: None,
        r#type: "",
        properties: &asked["Properties"],
        spec: &spec,
        allocation: &allocation,
        index: IndexParams {
            group: "g1",
            sequence: 3,
        },
    };
    assert_eq!(json!(params), asked);
}

#[test]
fn members_are_called_by_the_addresses_that_they_have_with_hyphens() {
    let members = ["10-0-0-1", "m2"].map(|name| MemberId::parse(name).unwrap());
    let written = json!(allocation(&Allocation::Members(members.to_vec())));
    assert_eq!(
        written,
        json!({"Size": 0, "LogicalIDs": ["10.0.0.1", "m2"]})
    );
}

fn asked(logical_id: Option<&str>) -> Spec {
    Spec {
        properties: json!({}),
        tags: BTreeMap::new(),
        init: String::new(),
        logical_id: logical_id.map(str::to_owned),
        attachments: None,
    }
}

#[test]
fn what_infrakits_own_flavor_answered_is_read() {
    let (_, mut answer) = record("Flavor.Prepare");
    let read = prepared(&answer).unwrap();
    assert_eq!(read.prepared.init, "docker pull nginx\ndocker run -d nginx");
    let tags = ["infrakit.group", "tier"].map(|tag| read.prepared.tags[tag].as_str());
    assert_eq!(tags, ["g1", "web"]);
    let properties = read.prepared.properties.as_ref().unwrap();
    assert_eq!(properties.get("Note"), Some(&Value::from("x")));
    let attached = Attachment {
        id: "v1".to_owned(),
        type_: "ebs".to_owned(),
    };
    let read = read.honoured(&asked(None)).unwrap();
    assert_eq!(read.attachments, [attached]);
    // As programs in Go write a list that is empty, and a type that is none.
    answer["Spec"]["Attachments"] = json!([]);
    assert_eq!(prepared(&answer).unwrap().prepared.attachments, []);
    answer["Spec"]["Attachments"] = json!([{"id": "v2", "Type": ""}, {"ID": "v3", "Size": 1}]);
    let read = prepared(&answer).unwrap().prepared.attachments;
    let ids: Vec<(&str, &str)> = read
        .iter()
        .map(|one| (one.id.as_str(), one.type_.as_str()))
        .collect();
    assert_eq!(ids, [("v2", ""), ("v3", "")]);
}

#[test]
fn what_is_left_out_is_as_it_was_and_what_is_no_spec_cannot_be_read() {
    for spec in [
        json!({}),
        json!({"Init": null, "Tags": null, "Properties": null, "LogicalID": "", "Attachments": null}),
        json!({"init": "", "tags": {}, "logicalID": "m1"}),
    ] {
        let read = prepared(&json!({ "Spec": spec })).unwrap();
        let read = read.honoured(&asked(Some("m1"))).unwrap();
        let nothing = FlavorPrepared {
            attachments: Vec::new(),
            init: String::new(),
            tags: BTreeMap::new(),
            properties: None,
        };
        assert_eq!(read, nothing);
    }
    for answer in [
        json!([]),
        json!({}),
        json!({"Spec": null}),
        json!({"Spec": {"Init": 1}}),
        json!({"Spec": {"Tags": ["a"]}}),
        json!({"Spec": {"Tags": {"a": 1}}}),
        json!({"Spec": {"Properties": "a"}}),
        json!({"Spec": {"Attachments": {}}}),
        json!({"Spec": {"Attachments": ["v1"]}}),
        json!({"Spec": {"Attachments": [{"ID": 1, "Type": "ebs"}]}}),
        json!({"Spec": {"Attachments": [{"ID": "v1", "Type": {}}]}}),
        json!({"Spec": {"Attachments": [{"ID": "", "Type": "ebs"}]}}),
        json!({"Spec": {"Attachments": [{"Type": "ebs"}]}}),
        json!({"Spec": {"LogicalID": 1}}),
    ] {
        assert!(prepared(&answer).is_err(), "{answer}");
    }
    let moved = prepared(&json!({"Spec": {"LogicalID": "m2"}})).unwrap();
    assert!(moved.honoured(&asked(Some("m1"))).is_err());
}
