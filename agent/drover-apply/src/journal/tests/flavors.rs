use drover_model::{FlavorAnswer, FlavorName, PluginFlavor};

use super::*;

fn plugin(answer: Option<FlavorAnswer>) -> Flavor {
    Flavor::Plugin(PluginFlavor {
        name: FlavorName::parse("swarm/worker").unwrap(),
        properties: Value::List(vec![Value::Int(1), Value::Float(1.0)]),
        answer: answer.map(Box::new),
    })
}

#[test]
fn what_a_flavor_plugin_answered_is_written_down_whole() {
    let answers = [
        None,
        Some(FlavorAnswer::default()),
        Some(FlavorAnswer {
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
