use drover_model::{Attachment, FlavorAnswer, FlavorName, PluginFlavor};

use super::*;

fn plugin(answer: Option<FlavorAnswer>) -> Flavor {
    Flavor::Plugin(PluginFlavor {
        name: FlavorName::parse("swarm/worker").unwrap(),
        properties: Value::List(vec![Value::Int(1), Value::Float(1.0)]),
        answer: answer.map(Box::new),
    })
}

fn attachment(id: &str, type_: &str) -> Attachment {
    Attachment {
        id: id.to_owned(),
        type_: type_.to_owned(),
    }
}

#[test]
fn what_a_flavor_plugin_answered_is_written_down_whole() {
    let answers = [
        None,
        Some(FlavorAnswer::default()),
        Some(FlavorAnswer {
            attachments: vec![attachment("vol-${x}", "ebs"), attachment("b", "")],
            init: "join ${TOKEN}".to_owned(),
            tags: [("link".to_owned(), "a=b".to_owned())].into(),
            properties: Some(Value::Float(0.5)),
        }),
    ];
    let mut kind = create(&[1]);
    let IntentKind::Create { template, .. } = &mut kind else {
        unreachable!("a create");
    };
    template.flavors.extend(answers.map(plugin));
    let dir = tempfile::tempdir().unwrap();
    let journal = RedbJournal::open(dir.path()).unwrap();
    append(&journal, vec![kind.clone()]);
    drop(journal);
    let again = RedbJournal::open(dir.path()).unwrap();
    let open = again.open_intents(&web()).unwrap();
    let found: Vec<_> = open.into_iter().map(|intent| intent.kind).collect();
    assert_eq!(found, [kind]);
}

#[test]
fn rows_of_versions_that_knew_no_attachments_are_read_and_written_as_they_were() {
    let mut kind = create(&[1]);
    let IntentKind::Create { template, .. } = &mut kind else {
        unreachable!("a create");
    };
    template.flavors = vec![
        Flavor::Vanilla(Vanilla::default()),
        plugin(Some(FlavorAnswer::default())),
    ];
    let intent = Intent {
        id: IntentId(1),
        group: web(),
        epoch: Epoch(1),
        issued_at: at(1),
        kind,
        state: IntentState::Intended,
        said: None,
    };
    let written = crate::journal::encoding::encode(&intent).unwrap();
    let text = String::from_utf8(written.clone()).unwrap();
    let flavors = r#""flavors":[{"vanilla":{"init":[],"env":{},"tags":{}}},{"plugin":{"name":"swarm/worker","properties":{"l":[{"i":1},{"f":4607182418800017408}]},"answer":{"init":"","tags":{}}}}]"#;
    assert!(text.contains(flavors), "{text}");
    let read = crate::journal::encoding::decode(IntentId(1), &written);
    assert_eq!(read, Ok(intent));
}
