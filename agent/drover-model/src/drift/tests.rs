use crate::{BindingName, DecisionPoint, Enforcement, Outcome, PolicyName, SourceSpan};
use crate::{ProviderType, TemplateParts};

use super::*;

fn template(image: &str, note: Option<&str>, tags: &[(&str, &str)]) -> Template {
    let text = |text: &str| Value::from(text);
    let mut properties = BTreeMap::from([("image".to_owned(), text(image))]);
    properties.extend(note.map(|note| ("note".to_owned(), text(note))));
    let tags = tags.iter();
    Template::from(TemplateParts {
        properties: Value::Map(properties),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: tags
            .map(|(key, tag)| ((*key).to_owned(), (*tag).to_owned()))
            .collect(),
    })
}

fn digests(template: &Template) -> Digests {
    let type_: ProviderType = "process".parse().unwrap();
    Digests::of(&type_, template, &classes())
}

fn classes() -> BTreeMap<String, FieldClass> {
    [("note".to_owned(), FieldClass::Live)].into()
}

#[test]
fn a_change_of_a_field_says_what_it_was_and_what_it_needs() {
    let old = template("v1", Some("a"), &[("team", "x")]);
    let new = template("v2", None, &[("team", "y"), ("tier", "1")]);
    let told: Vec<String> = field_changes(&old, &new, &classes())
        .into_iter()
        .map(|it| {
            let text = |value: Option<Value>| {
                let text = value.and_then(|value| Some(value.as_str()?.to_owned()));
                text.unwrap_or_else(|| "-".to_owned())
            };
            let (field, class) = (it.field, it.class.as_str());
            format!("{field} {class} {} {}", text(it.old), text(it.new))
        })
        .collect();
    assert_eq!(
        told,
        [
            "properties.image replace v1 v2",
            "properties.note live a -",
            "tags.team replace x y",
            "tags.tier replace - 1",
        ]
    );
}

#[test]
fn what_no_policy_speaks_of_needs_what_the_digests_say() {
    let [one, other, live] = [("v1", "a"), ("v2", "a"), ("v1", "b")]
        .map(|(image, note)| digests(&template(image, Some(note), &[])));
    let verdict = Verdict {
        policy: PolicyName::parse("images").unwrap(),
        binding: BindingName::parse("prod").unwrap(),
        point: DecisionPoint::Drift,
        enforcement: Enforcement::Deny,
        outcome: Outcome::Passed,
        message: String::new(),
        span: SourceSpan::start_of("policy.yaml"),
        values: BTreeMap::new(),
        digest: String::new(),
    };
    let drift = Drift(vec![DriftDecision {
        from: one.clone(),
        to: other.clone(),
        class: FieldClass::Ignore,
        verdict,
    }]);
    assert!(drift.is_current(&one, &other));
    // The way back is another question.
    assert_eq!(drift.needs(&other, &one), FieldClass::Replace);
    assert_eq!(drift.needs(&one, &live), FieldClass::Live);
    assert!(drift.is_current(&live, &live));
    assert_eq!(Drift::default().needs(&one, &other), FieldClass::Replace);
}
