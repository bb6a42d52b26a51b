use drover_model::{
    Epoch, FlavorAnswer, FlavorName, GroupUid, Intent, IntentId, IntentState, PluginFlavor,
    ProviderPhase, RecordedInstance, Timestamp, Vanilla,
};

use super::*;
use crate::testing::{digests, fleet, handle, instance, recorded_as, template, token, web};

fn texts<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    let entries = entries.into_iter();
    entries
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

fn plugin_template() -> Template {
    let mut template = template("v1");
    let properties = [("as".to_owned(), Value::from("${instance.id}"))];
    template.tags = texts([("team", "shop"), ("name", "${instance.name}")]);
    template.flavors = vec![
        Flavor::Plugin(PluginFlavor {
            name: FlavorName::parse("swarm/worker").unwrap(),
            properties: properties.into_iter().collect(),
            answer: None,
        }),
        Flavor::Vanilla(Vanilla {
            tags: texts([("team", "flavor")]),
            ..Vanilla::default()
        }),
    ];
    template
}

fn listed(template: &Template) -> Listed {
    Listed {
        provider_ref: handle("i-1"),
        ownership: Some(Ownership {
            fleet: fleet(),
            group: web(),
            instance: instance(1),
            digests: digests(template),
            token: token(1, 0),
            epoch: Epoch(1),
            seat: None,
        }),
        phase: ProviderPhase::Running,
        address: None,
        zone: None,
        created_at: None,
        interruption: None,
    }
}

fn recorded() -> RecordedGroup {
    let uid = GroupUid::parse("abcdefgh12345678").unwrap();
    RecordedGroup::new(web(), uid, Epoch(1))
}

fn create(template: &Template, answer: FlavorAnswer) -> Intent {
    let mut answered = template.clone();
    if let Flavor::Plugin(plugin) = &mut answered.flavors[0] {
        plugin.answer = Some(Box::new(answer));
    }
    Intent {
        id: IntentId(1),
        group: web(),
        epoch: Epoch(1),
        issued_at: Timestamp::UNIX_EPOCH,
        kind: IntentKind::Create {
            slots: vec![instance(1)],
            attempt: 0,
            token: token(1, 0),
            digests: digests(template),
            zone: None,
            template: answered,
            seat: None,
        },
        state: IntentState::Sent,
        said: None,
    }
}

#[test]
fn a_plugin_is_told_of_an_instance_what_its_own_template_and_the_plugin_itself_have_said() {
    let (template, other) = (plugin_template(), template("v2"));
    let mut known = recorded();
    let digests = digests(&template);
    known.templates.insert(digests.clone(), template.clone());
    let subject = flavor_subject(&listed(&template), &known, &[]).unwrap();
    let call = &subject.flavors[0];
    assert_eq!(call.name.as_str(), "swarm/worker");
    assert_eq!(call.properties.get("as"), Some(&"web-1".into()));
    let mut tags = texts([
        ("team", "flavor"),
        ("name", "web-1"),
        ("drover.fleet", "prod"),
        ("drover.group", "web"),
        ("drover.instance", "web-1"),
    ]);
    assert_eq!(subject.instance.tags, tags);
    assert_eq!(subject.instance.properties.get("image"), Some(&"v1".into()));

    // Before it is recorded, the intent knows, also the template.
    let answer = FlavorAnswer {
        tags: texts([("link", "a=b"), ("team", "mine")]),
        ..FlavorAnswer::default()
    };
    let intents = [create(&template, answer)];
    tags.extend(texts([("link", "a=b")]));
    for known in [&known, &recorded()] {
        let subject = flavor_subject(&listed(&template), known, &intents).unwrap();
        assert_eq!(subject.instance.tags, tags, "a later flavor wins");
    }

    // And after that, the record.
    let instance_known = RecordedInstance {
        tags: texts([("link", "a=b")]),
        ..recorded_as(digests)
    };
    known.instances.insert(instance(1), instance_known);
    let subject = flavor_subject(&listed(&template), &known, &[]).unwrap();
    assert_eq!(subject.instance.tags, tags);

    assert_eq!(flavor_subject(&listed(&other), &known, &[]), None);
    known.templates.clear();
    assert_eq!(flavor_subject(&listed(&template), &known, &[]), None);
}

#[test]
fn an_adopted_instance_is_asked_about_with_the_tags_that_it_had() {
    let template = plugin_template();
    let had = texts([("infrakit_link", "x1"), ("team", "before")]);
    let step = drover_model::AdoptStep {
        instance: instance(1),
        provider_ref: handle("i-1"),
        token: token(1, 0),
        digests: digests(&template),
        seat: None,
        tags: had.clone(),
    };
    let mut adopting = create(&template, FlavorAnswer::default());
    adopting.kind = IntentKind::Adopt(step);
    let mut group = recorded();
    group.templates.insert(digests(&template), template.clone());
    let shown = |group: &RecordedGroup, intents: &[Intent]| {
        let subject = flavor_subject(&listed(&template), group, intents).unwrap();
        let tags = subject.instance.tags;
        (
            tags["infrakit_link"].clone(),
            tags["team"].clone(),
            tags["drover.instance"].clone(),
        )
    };
    let all = ("x1".to_owned(), "before".to_owned(), "web-1".to_owned());
    // Before the record has it, the intent does.
    assert_eq!(shown(&group, &[adopting]), all);
    let mut known = recorded_as(digests(&template));
    known.tags = had;
    group.instances.insert(instance(1), known);
    assert_eq!(shown(&group, &[]), all);
}
