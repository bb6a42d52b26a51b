use serde_json::json;

use super::*;

/// Exchanges as InfraKit's own programs had them: a call's parameters and the answer's result, byte for
/// byte.
const EXCHANGES: &str = include_str!("../../tests/fixtures/exchanges.jsonl");

struct Exchange {
    method: String,
    params: String,
    result: Json,
}

/// Returns the text of a member, as it stands in a line that has its members in a known order.
fn between<'a>(line: &'a str, start: &str, end: &str) -> &'a str {
    let from = line.find(start).unwrap() + start.len();
    let to = line[from..].find(end).unwrap() + from;
    &line[from..to]
}

fn exchanges() -> Vec<Exchange> {
    let read = |line: &str| Exchange {
        method: between(line, "\"method\":\"", "\"").to_owned(),
        params: between(line, "\"params\":", ",\"result\":").to_owned(),
        result: serde_json::from_str::<Json>(line).unwrap()["result"].clone(),
    };
    EXCHANGES.lines().map(read).collect()
}

fn texts_of(json: &Json) -> BTreeMap<String, String> {
    texts(Some(json)).unwrap()
}

fn spec_of(json: &Json) -> Spec {
    let attachments = json["Attachments"].as_array().map(|list| {
        let one = |entry: &Json| Attachment {
            id: entry["ID"].as_str().unwrap().to_owned(),
            type_: entry["Type"].as_str().unwrap().to_owned(),
        };
        list.iter().map(one).collect()
    });
    Spec {
        properties: json["Properties"].clone(),
        tags: texts_of(&json["Tags"]),
        init: json["Init"].as_str().unwrap().to_owned(),
        logical_id: json["LogicalID"].as_str().map(str::to_owned),
        attachments,
    }
}

/// What the host writes for the same call.
fn written(exchange: &Exchange) -> String {
    let params: Json = serde_json::from_str(&exchange.params).unwrap();
    let dialect = Dialect {
        version: InstanceVersion::V0_6_1,
        subtype: params["Type"].as_str().unwrap(),
    };
    let instance = params["Instance"].as_str().unwrap_or_default();
    let bytes = match exchange.method.as_str() {
        "Instance.Validate" => serde_json::to_string(&dialect.validate(&params["Properties"])),
        "Instance.Provision" => {
            serde_json::to_string(&dialect.provision(&spec_of(&params["Spec"])))
        }
        "Instance.Label" => {
            serde_json::to_string(&dialect.label(instance, &texts_of(&params["Labels"])))
        }
        "Instance.Destroy" => serde_json::to_string(&dialect.destroy(instance)),
        "Instance.DescribeInstances" => {
            let flag = params["Properties"].as_bool().unwrap();
            serde_json::to_string(&dialect.describe(&texts_of(&params["Tags"]), flag))
        }
        other => panic!("{other}"),
    };
    bytes.unwrap()
}

#[test]
fn calls_are_written_byte_for_byte_as_infrakits_own_client_writes_them() {
    let exchanges = exchanges();
    assert!(exchanges.len() >= 10);
    for exchange in exchanges {
        assert_eq!(written(&exchange), exchange.params, "{}", exchange.method);
    }
}

#[test]
fn answers_are_read_as_infrakits_own_plugins_write_them() {
    for Exchange { method, result, .. } in exchanges() {
        match method.as_str() {
            "Instance.Provision" => assert!(made(&result).is_ok_and(|id| id.is_some())),
            "Instance.DescribeInstances" => {
                let found = descriptions(&result).unwrap();
                let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
                let listed = result["Descriptions"].as_array().unwrap().iter();
                let expected: Vec<&str> = listed.map(|one| one["ID"].as_str().unwrap()).collect();
                assert_eq!(ids, expected);
            }
            _ => assert_eq!(is_ok(&result), Ok(true), "{method}"),
        }
    }
}

#[test]
fn names_of_fields_are_read_in_any_case_and_unknown_ones_ignored() {
    let answer =
        json!({"descriptions": [{"id": "a", "logicalId": "10.0.0.5", "tags": null, "more": 1}]});
    let found = descriptions(&answer).unwrap();
    assert_eq!(found[0].id, "a");
    assert_eq!(found[0].logical_id.as_deref(), Some("10.0.0.5"));
    assert_eq!(found[0].tags, BTreeMap::new());
    assert_eq!(made(&json!({"iD": "x"})), Ok(Some("x".to_owned())));
    assert_eq!(made(&json!({"Type": ""})), Ok(None));
    assert!(made(&json!({"ID": 7})).is_err());
}
