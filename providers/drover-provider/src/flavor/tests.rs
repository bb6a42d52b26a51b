use drover_model::{FlavorAnswer, PluginFlavor, SecretRef, TemplateParts, Vanilla};

use super::*;
use crate::{SecretError, SecretSource, SecretText};

fn facts(address: Option<&str>) -> Facts {
    Facts {
        instance: InstanceId::parse("web-7").unwrap(),
        group: GroupName::parse("web").unwrap(),
        zone: None,
        address: address.map(str::to_owned),
        seat: None,
        members: address.map(|_| String::new()),
    }
}

fn once(text: &str) -> Result<String, String> {
    substitute(text, &facts(Some("127.64.0.9"))).map_err(|error| error.to_string())
}

/// What comes out after the agent's round and then the provider's.
fn twice(text: &str) -> Result<String, String> {
    let agents = substitute(text, &facts(None)).map_err(|error| error.to_string())?;
    once(&agents)
}

fn texts(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn one_round_with_everything_known_is_the_same_as_two() {
    let cases = [
        ("", ""),
        ("plain $ text } { $x $(y)", "plain $ text } { $x $(y)"),
        ("${instance.id}", "web-7"),
        ("${instance.name}.${group.name}", "web-7.web"),
        ("at ${instance.address}:80", "at 127.64.0.9:80"),
        ("[${instance.zone}]", "[]"),
        ("$${HOME}", "${HOME}"),
        ("$${instance.address}", "${instance.address}"),
        ("$${instance.id} ${instance.id}", "${instance.id} web-7"),
        ("${instance.id}$${x}", "web-7${x}"),
        (
            "${instance.address}$${x}${instance.address}",
            "127.64.0.9${x}127.64.0.9",
        ),
        ("é${instance.id}é", "éweb-7é"),
        ("open ${instance.id", "open ${instance.id"),
        ("open $${instance.id", "open ${instance.id"),
        ("$${a $${b", "${a ${b"),
        ("$$${a", "$${a"),
        ("$$ and $$$", "$$ and $$$"),
    ];
    for (text, expected) in cases {
        assert_eq!(once(text).as_deref(), Ok(expected), "one round of {text:?}");
        assert_eq!(
            twice(text).as_deref(),
            Ok(expected),
            "two rounds of {text:?}"
        );
    }
}

#[test]
fn a_dollar_before_an_address_stays_a_dollar() {
    // The name is escaped with two dollars; a third one before them is text.
    assert_eq!(once("$$${x}").as_deref(), Ok("$${x}"));
    assert_eq!(twice("$$${x}").as_deref(), Ok("$${x}"));
}

#[test]
fn names_what_it_does_not_know() {
    for text in [
        "${instance.adress}",
        "${}",
        "${ group.name }",
        "${HOME:-/}",
        "a ${b${c}}",
    ] {
        let error = once(text).unwrap_err();
        assert!(error.starts_with("unknown substitution ${"), "{error}");
        assert!(
            substitute(text, &facts(None)).is_err(),
            "{text:?} before the address"
        );
    }
}

#[test]
fn finds_unknown_names_without_substituting() {
    let text = "${instance.id} ${oops} $${fine} ${instance.address} ${also.wrong} ${open";
    assert_eq!(unknown_substitutions(text), ["oops", "also.wrong"]);
    assert_eq!(unknown_substitutions(""), Vec::<String>::new());
}

fn template() -> Template {
    let command = ["serve", "${instance.address}", "$${HOME}"].map(Value::from);
    Template::from(TemplateParts {
        properties: [
            ("command".to_owned(), Value::List(command.to_vec())),
            ("port".to_owned(), Value::Int(80)),
            (
                "deep".to_owned(),
                [("name".to_owned(), "${instance.id}".into())]
                    .into_iter()
                    .collect(),
            ),
        ]
        .into_iter()
        .collect(),
        flavors: vec![
            Flavor::Vanilla(Vanilla {
                attachments: Vec::new(),
                init: vec!["echo ${instance.id}".to_owned()],
                env: texts(&[("A", "first"), ("B", "${group.name}")]),
                tags: texts(&[("team", "flavor")]),
                secrets: BTreeMap::new(),
            }),
            Flavor::Vanilla(Vanilla {
                attachments: Vec::new(),
                init: vec!["echo ${instance.address} $${PATH}".to_owned()],
                env: texts(&[("A", "second ${instance.address}")]),
                tags: BTreeMap::new(),
                secrets: BTreeMap::new(),
            }),
        ],
        flavors_as_written: Value::Null,
        tags: texts(&[("team", "template"), ("name", "${instance.name}")]),
    })
}

#[test]
fn later_flavors_add_their_init_and_win_over_earlier_ones() {
    let prepared = prepare(&template(), &facts(None)).unwrap();
    let finished = finish(
        &prepared.slot,
        &prepared.properties,
        "127.64.0.9",
        &[],
        &crate::Secrets::default(),
    )
    .unwrap();
    assert_eq!(
        finished.slot.init,
        ["echo web-7", "echo 127.64.0.9 ${PATH}"]
    );
    assert_eq!(
        finished.slot.env,
        texts(&[("A", "second 127.64.0.9"), ("B", "web")])
    );
    assert_eq!(
        finished.slot.tags,
        texts(&[("team", "flavor"), ("name", "web-7")])
    );
    let command = ["serve", "127.64.0.9", "${HOME}"].map(Value::from);
    assert_eq!(
        finished.properties.get("command"),
        Some(&Value::List(command.to_vec()))
    );
    assert_eq!(finished.properties.get("port"), Some(&Value::Int(80)));
    let deep = finished
        .properties
        .get("deep")
        .and_then(|deep| deep.get("name"));
    assert_eq!(deep, Some(&Value::from("web-7")));
}

#[test]
fn the_agents_round_leaves_the_address_and_the_escapes_to_the_provider() {
    let prepared = prepare(&template(), &facts(None)).unwrap();
    assert_eq!(prepared.slot.init[1], "echo ${instance.address} $${PATH}");
    assert_eq!(prepared.slot.env["A"], "second ${instance.address}");
    assert_eq!(prepared.slot.instance, facts(None).instance);
}

#[test]
fn a_mistake_anywhere_in_the_template_is_found() {
    let wrong = "${wrong}";
    let flavored = |vanilla| {
        Template::from(TemplateParts {
            flavors: vec![Flavor::Vanilla(vanilla)],
            ..(*template()).clone()
        })
    };
    let templates = [
        Template::from(TemplateParts {
            properties: Value::List(vec![wrong.into()]),
            ..(*template()).clone()
        }),
        Template::from(TemplateParts {
            tags: texts(&[("a", wrong)]),
            ..(*template()).clone()
        }),
        flavored(Vanilla {
            init: vec![wrong.to_owned()],
            ..Vanilla::default()
        }),
        flavored(Vanilla {
            env: texts(&[("a", wrong)]),
            ..Vanilla::default()
        }),
        flavored(Vanilla {
            tags: texts(&[("a", wrong)]),
            ..Vanilla::default()
        }),
    ];
    for template in templates {
        let error = prepare(&template, &facts(None)).unwrap_err();
        assert_eq!(error.to_string(), "unknown substitution ${wrong}");
    }
}

fn seat() -> Seat {
    let member = |id: &str| MemberId::parse(id).unwrap();
    Seat {
        id: drover_model::SeatId {
            life: drover_model::GroupUid::parse("0123456789abcdef").unwrap(),
            member: member("m2"),
        },
        members: vec![member("m1"), member("m2")],
        bootstrap: true,
        attachments: Vec::new(),
    }
}

#[test]
fn a_member_knows_its_id_and_its_peers_addresses() {
    let written = "${member.id} of ${members}, first ${bootstrap}, $${members}";
    let template = Template::from(TemplateParts {
        properties: Value::from(written),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let facts = Facts {
        seat: Some(seat()),
        ..facts(None)
    };
    let prepared = prepare(&template, &facts).unwrap();
    let addresses = [("m1", "127.64.0.1"), ("m2", "127.64.0.2")];
    let addresses = addresses.map(|(id, at)| (MemberId::parse(id).unwrap(), at.to_owned()));
    let finished = finish(
        &prepared.slot,
        &prepared.properties,
        "127.64.0.2",
        &addresses,
        &crate::Secrets::default(),
    )
    .unwrap();
    assert_eq!(
        finished.properties.as_str().unwrap(),
        "m2 of m1=127.64.0.1,m2=127.64.0.2, first true, ${members}"
    );
}

#[test]
fn an_instance_without_a_place_has_no_member_to_name() {
    for name in ["member.id", "bootstrap"] {
        assert_eq!(
            once(&format!("${{{name}}}")),
            Err(format!("unknown substitution ${{{name}}}"))
        );
    }
}

fn secret(name: &str) -> SecretRef {
    SecretRef::Env(name.to_owned())
}

#[derive(Debug)]
struct Shell;

impl SecretSource for Shell {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        // A value that would mean something if it were substituted.
        Ok(SecretText::new(format!("${{{reference}}}")))
    }
}

#[test]
fn secrets_are_put_in_last_as_they_are() {
    let vanilla = Vanilla {
        env: texts(&[("NAME", "${instance.id}")]),
        secrets: [("TOKEN".to_owned(), secret("ONE"))].into(),
        ..Vanilla::default()
    };
    let properties: BTreeMap<String, Value> = [("key".to_owned(), secret("TWO").to_value())].into();
    let template = Template::from(TemplateParts {
        properties: Value::Map(properties),
        flavors: vec![Flavor::Vanilla(vanilla)],
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let prepared = prepare(&template, &facts(None)).unwrap();
    // Until a provider is called there is no value anywhere.
    assert_eq!(prepared.slot.secrets["TOKEN"], secret("ONE"));
    assert!(!prepared.slot.env.contains_key("TOKEN"));
    let needed = crate::references(std::slice::from_ref(&prepared.slot), &prepared.properties);
    assert_eq!(needed, [secret("ONE"), secret("TWO")].into());
    let secrets = Secrets::read(&Shell, &needed).unwrap();
    let done = finish(
        &prepared.slot,
        &prepared.properties,
        "10.0.0.1",
        &[],
        &secrets,
    )
    .unwrap();
    let id = prepared.slot.instance.to_string();
    let expected = [("NAME", id.as_str()), ("TOKEN", "${env:ONE}")];
    assert_eq!(done.slot.env, texts(&expected));
    assert_eq!(done.slot.secrets, BTreeMap::new());
    assert_eq!(done.properties.get("key"), Some(&Value::from("${env:TWO}")));
}

#[test]
fn of_a_name_that_two_flavors_set_the_later_one_counts_secret_or_not() {
    let plain = Vanilla {
        env: texts(&[("TOKEN", "plain")]),
        ..Vanilla::default()
    };
    let hidden = Vanilla {
        secrets: [("TOKEN".to_owned(), secret("ONE"))].into(),
        ..Vanilla::default()
    };
    let both = |flavors: [&Vanilla; 2]| {
        let template = Template::from(TemplateParts {
            properties: Value::empty_map(),
            flavors: flavors.map(|one| Flavor::Vanilla(one.clone())).into(),
            flavors_as_written: Value::List(Vec::new()),
            tags: BTreeMap::new(),
        });
        prepare(&template, &facts(None)).unwrap().slot
    };
    let slot = both([&plain, &hidden]);
    assert_eq!((slot.env.len(), slot.secrets.len()), (0, 1));
    let slot = both([&hidden, &plain]);
    assert_eq!((slot.env.len(), slot.secrets.len()), (1, 0));
}

fn plugin(answer: Option<FlavorAnswer>) -> Flavor {
    Flavor::Plugin(PluginFlavor {
        name: FlavorName::parse("swarm").unwrap(),
        properties: Value::empty_map(),
        answer: answer.map(Box::new),
    })
}

#[test]
fn what_a_plugin_answered_is_used_as_it_is_and_without_an_answer_nothing_is_made() {
    let mut template = template();
    let tags = texts(&[("team", "${instance.id}"), ("link", "$${x}")]);
    let properties = [("image".to_owned(), "$${HOME} ${instance.address}".into())];
    let answer = FlavorAnswer {
        attachments: Vec::new(),
        init: "join ${TOKEN} $${X}".to_owned(),
        tags: tags.clone(),
        properties: Some(properties.into_iter().collect()),
    };
    template.flavors.insert(1, plugin(Some(answer)));
    let prepared = prepare(&template, &facts(None)).unwrap();
    let secrets = crate::Secrets::default();
    let finished = finish(
        &prepared.slot,
        &prepared.properties,
        "127.64.0.9",
        &[],
        &secrets,
    );
    let finished = finished.unwrap();
    assert_eq!(finished.slot.init[1], "join ${TOKEN} $${X}");
    assert_eq!(finished.slot.init.len(), 3);
    assert_eq!(finished.slot.tags["team"], "${instance.id}");
    assert_eq!(finished.slot.tags["link"], "$${x}");
    let image = finished.properties.get("image");
    assert_eq!(image, Some(&"${HOME} 127.64.0.9".into()));
    assert_eq!(finished.properties.as_map().unwrap().len(), 1);

    template.flavors.push(plugin(None));
    let unasked = prepare(&template, &facts(None)).unwrap_err();
    assert_eq!(unasked.to_string(), "flavor plugin swarm was not asked");
}

fn attachment(id: &str) -> Attachment {
    Attachment {
        id: id.to_owned(),
        type_: "ebs".to_owned(),
    }
}

#[test]
fn attachments_are_appended_in_order_and_their_facts_are_filled_in() {
    let vanilla = |ids: &[&str]| {
        Flavor::Vanilla(Vanilla {
            attachments: ids.iter().copied().map(attachment).collect(),
            ..Vanilla::default()
        })
    };
    let mut template = template();
    template.flavors = vec![
        vanilla(&["${instance.id}-a", "$${x}"]),
        plugin(Some(FlavorAnswer {
            attachments: vec![attachment("${instance.id}"), attachment("b")],
            ..FlavorAnswer::default()
        })),
        vanilla(&["of-${instance.address}"]),
    ];
    let facts = facts(None);
    let prepared = prepare(&template, &facts).unwrap();
    assert!(asks_for_address(&prepared.slot, &Value::Null));
    assert!(refuse_attachments(&prepared.slot).is_err());
    let finished = finish(
        &prepared.slot,
        &prepared.properties,
        "10.0.0.9",
        &[],
        &Secrets::default(),
    );
    let attached = finished.unwrap().slot.attachments;
    let ids: Vec<&str> = attached.iter().map(|one| one.id.as_str()).collect();
    let own = format!("{}-a", facts.instance);
    assert_eq!(ids, [&own, "${x}", "${instance.id}", "b", "of-10.0.0.9"]);

    template.flavors = vec![vanilla(&["${instance.addres}"])];
    assert!(prepare(&template, &facts).is_err());
    template.flavors = Vec::new();
    let plain = prepare(&template, &facts).unwrap();
    assert_eq!(refuse_attachments(&plain.slot), Ok(()));
}
