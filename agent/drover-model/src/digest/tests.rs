use crate::TemplateParts;

use super::*;

fn template(properties: &[(&str, &str)]) -> Template {
    Template::from(TemplateParts {
        properties: properties
            .iter()
            .map(|(key, text)| ((*key).to_owned(), Value::from(*text)))
            .collect(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}

fn digests(template: &Template) -> Digests {
    let classes = BTreeMap::from([
        ("size".to_owned(), FieldClass::Restart),
        ("note".to_owned(), FieldClass::Live),
        ("seen".to_owned(), FieldClass::Ignore),
    ]);
    Digests::of(&"process".parse().unwrap(), template, &classes)
}

#[test]
fn a_field_changes_the_digest_of_its_class_only() {
    let base = digests(&template(&[
        ("image", "a"),
        ("size", "s"),
        ("note", "n"),
        ("seen", "1"),
    ]));
    let image = digests(&template(&[
        ("image", "b"),
        ("size", "s"),
        ("note", "n"),
        ("seen", "1"),
    ]));
    assert_ne!(image.replace, base.replace);
    assert_eq!((&image.restart, &image.live), (&base.restart, &base.live));
    let size = digests(&template(&[
        ("image", "a"),
        ("size", "t"),
        ("note", "n"),
        ("seen", "1"),
    ]));
    assert_ne!(size.restart, base.restart);
    assert_eq!((&size.replace, &size.live), (&base.replace, &base.live));
    let seen = digests(&template(&[
        ("image", "a"),
        ("size", "s"),
        ("note", "n"),
        ("seen", "2"),
    ]));
    assert_eq!(seen, base);
}

#[test]
fn flavors_tags_and_the_provider_type_are_part_of_the_digest() {
    let base = template(&[("image", "a")]);
    let mut tagged = base.clone();
    tagged.tags.insert("team".to_owned(), "web".to_owned());
    let mut flavored = base.clone();
    flavored.flavors_as_written = Value::List(vec!["x".into()]);
    assert_ne!(digests(&base), digests(&tagged));
    assert_ne!(digests(&base), digests(&flavored));
    let elsewhere = Digests::of(&"docker".parse().unwrap(), &base, &BTreeMap::new());
    assert_ne!(elsewhere.replace, digests(&base).replace);
}

#[test]
fn what_a_plugin_answers_for_one_instance_is_no_part_of_the_digest() {
    let mut written = template(&[("image", "a")]);
    let plugin = |answer| {
        crate::Flavor::Plugin(crate::PluginFlavor {
            name: "swarm".parse().unwrap(),
            properties: Value::empty_map(),
            answer,
        })
    };
    written.flavors = vec![plugin(None)];
    let mut answered = written.clone();
    answered.flavors = vec![plugin(Some(Box::default()))];
    assert_eq!(digests(&answered), digests(&written));
    assert_ne!(answered, written);
    assert_eq!(answered.unanswered(), written);
}

#[test]
fn the_digest_of_a_known_template_never_changes() {
    // An agent upgrade must plan nothing: this value is a promise, not a snapshot to be renewed.
    let digests = digests(&template(&[("image", "a"), ("size", "s")]));
    assert_eq!(
        digests.to_string(),
        "1:aog3hyjbc4ep2gqs6rgn3z2ganvbmeo5+32i762m4fwrf4oc5het33422i5jbxlyz+snag5axyb4paqmy5asiuaqau73uuj7fa"
    );
}

#[test]
fn the_text_form_round_trips_and_rejects_everything_else() {
    let digests = digests(&template(&[("image", "a")]));
    assert_eq!(Digests::parse(&digests.to_string()), Ok(digests));
    for bad in ["", "1:", "1:a+b+c", "x:a", "1:aaaa"] {
        assert!(Digests::parse(bad).is_err(), "{bad}");
    }
}
