use serde_json::json;

use super::*;

struct Exchange {
    method: String,
    params: String,
    result: Json,
}

/// Returns the text of a member, as it stands in a line that has its members in a known order.
fn between<'a>(line: &'a str, start: &str, end: &str) -> &'a str {
    let from = line.find(start).unwrap() + start.len();
    let to = line[from..].rfind(end).unwrap() + from;
    &line[from..to]
}

/// Why the host never writes such a call. None: it does.
fn never_written(request: &str) -> Option<&'static str> {
    let missing =
        |method: &str, member: &str| request.contains(method) && !request.contains(member);
    let wrong = [
        (missing("", "\"Type\":"), "without a subtype"),
        (
            missing("Instance.Validate", "\"Properties\":"),
            "without properties",
        ),
        (
            missing("Instance.Destroy", "\"Context\":"),
            "without a reason",
        ),
        (
            request.contains("\"Tags\":null"),
            "no tags are an empty map",
        ),
        (missing("Instance.Provision", "\"Init\":"), "without init"),
    ];
    wrong.into_iter().find_map(|(is, why)| is.then_some(why))
}

/// The recorded calls of `Instance` that succeeded and that the host writes, and how many others there are.
fn exchanges() -> (Vec<Exchange>, usize) {
    let (mut all, mut others) = (Vec::new(), 0);
    for record in crate::records::records() {
        let answer = record.answer.as_deref().unwrap_or_default();
        let answer: Json = serde_json::from_str(answer).unwrap_or_default();
        if !record.method.starts_with("Instance.") || answer["result"].is_null() {
            continue;
        }
        if never_written(&record.request).is_some() {
            others += 1;
            continue;
        }
        all.push(Exchange {
            method: record.method,
            params: between(&record.request, "\"params\":", ",\"id\":").to_owned(),
            result: answer["result"].clone(),
        });
    }
    (all, others)
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
        "Instance.Destroy" => {
            let replaced = params["Context"]["Reason"] == "rolling_update";
            let ending = if replaced {
                Ending::Replaced
            } else {
                Ending::Removed
            };
            serde_json::to_string(&dialect.destroy(instance, ending))
        }
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
    let (exchanges, others) = exchanges();
    assert_eq!((exchanges.len(), others), (27, 13));
    for exchange in exchanges {
        assert_eq!(written(&exchange), exchange.params, "{}", exchange.method);
    }
}

#[test]
fn answers_are_read_as_infrakits_own_plugins_write_them() {
    for Exchange { method, result, .. } in exchanges().0 {
        match method.as_str() {
            "Instance.Provision" => assert!(made(&result).is_ok_and(|id| id.is_some())),
            "Instance.DescribeInstances" => {
                let found = descriptions(result.to_string().as_bytes()).unwrap();
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
    let found = descriptions(answer.to_string().as_bytes()).unwrap();
    assert_eq!(found[0].id, "a");
    assert_eq!(found[0].logical_id.as_deref(), Some("10.0.0.5"));
    assert_eq!(found[0].tags, BTreeMap::new());
    assert_eq!(made(&json!({"iD": "x"})), Ok(Some("x".to_owned())));
    assert_eq!(made(&json!({"Type": ""})), Ok(None));
    assert!(made(&json!({"ID": 7})).is_err());
}
