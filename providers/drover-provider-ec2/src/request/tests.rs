use drover_model::{GroupName, InstanceId};

use super::*;

fn slot(init: &[&str]) -> Slot {
    Slot {
        instance: InstanceId::new(GroupName::parse("web").unwrap(), 1),
        init: init.iter().map(|line| (*line).to_owned()).collect(),
        env: BTreeMap::new(),
        tags: BTreeMap::new(),
        attachments: Vec::new(),
        seat: None,
        secrets: std::collections::BTreeMap::new(),
    }
}

fn decoded(slot: &Slot) -> Option<String> {
    let text = user_data(slot).unwrap()?;
    let bytes = BASE64.decode(text.as_bytes()).unwrap();
    Some(String::from_utf8(bytes).unwrap())
}

#[test]
fn init_lines_become_a_script_and_a_document_stays_as_it_is() {
    assert_eq!(decoded(&slot(&[])), None);
    let script = decoded(&slot(&["one", "two"])).unwrap();
    assert_eq!(script, "#!/bin/sh\nset -eu\none\ntwo\n");
    let document = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"x\"\n";
    assert_eq!(decoded(&slot(&[document])).unwrap(), document);
}

#[test]
fn user_data_that_is_too_large_is_refused() {
    let head = "#!/bin/sh\nset -eu\n".len() + 1;
    let most = "x".repeat(USER_DATA_MAX - head);
    assert!(user_data(&slot(&[&most])).is_ok());
    let more = format!("{most}x");
    let error = user_data(&slot(&[&more])).unwrap_err();
    assert_eq!(error.class, drover_model::ErrorClass::InvalidSpec);
}

#[test]
fn tokens_are_always_said_and_no_endpoint_is_turned_on() {
    let options = metadata_options(&Metadata::default());
    assert_eq!(options.http_tokens(), Some(&HttpTokensState::Required));
    assert_eq!(options.http_endpoint(), None);
}
