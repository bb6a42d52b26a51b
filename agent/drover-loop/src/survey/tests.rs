//! Which groups ask for the same instances.

use std::collections::BTreeMap;

use drover_model::{
    Completeness, GroupName, ProviderName, ProviderPhase, ProviderRef, ProviderType, Stranger,
    Survey, Timestamp, Value,
};
use drover_plan::ProviderFacts;

use super::{Surveyors, place_of};

/// A Provider document of a plugin with more settings.
fn plugin(name: &str, more: &[(&str, Value)]) -> ProviderFacts {
    let mut settings =
        BTreeMap::from([("plugin".to_owned(), Value::String("cloud/vm".to_owned()))]);
    settings.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    ProviderFacts {
        name: ProviderName::parse(name).unwrap(),
        type_: ProviderType::parse("plugin").unwrap(),
        settings: Value::Map(settings),
        classes: BTreeMap::new(),
        batch_max: 1,
    }
}

/// Returns whether two groups with the same tags, one on each Provider document, are in each other's way.
fn is_contested(one: &ProviderFacts, other: &ProviderFacts) -> bool {
    let tags = BTreeMap::from([("owner".to_owned(), "infra".to_owned())]);
    let handle = ProviderRef::parse("i-1").unwrap();
    let survey = Survey {
        completeness: Completeness::Complete,
        as_of: Timestamp::UNIX_EPOCH,
        strangers: vec![Stranger {
            provider_ref: handle.clone(),
            phase: ProviderPhase::Running,
            address: None,
            zone: None,
            created_at: None,
            tags: tags.clone(),
            member: None,
            claimed_by: None,
            unheard: None,
        }],
    };
    let group = |name: &str| GroupName::parse(name).unwrap();
    let asked = [("web", one), ("db", other)].map(|(name, provider)| {
        let question = (provider.name.to_string(), tags.clone());
        (group(name), [question].into())
    });
    let places = [one, other].map(|facts| (facts.name.to_string(), place_of(facts)));
    let surveyors = Surveyors {
        asked: asked.into(),
        places: places.into(),
        found: BTreeMap::new(),
    };
    let contested = surveyors.contested(&group("web"), one.name.as_str(), &survey);
    contested
        .get(&handle)
        .is_some_and(|groups| groups.contains(&group("db")))
}

#[test]
fn how_a_provider_is_asked_hides_nobody_who_asks_for_the_same_instances() {
    let text = |text: &str| Value::String(text.to_owned());
    let own = |name: &str, value: Value| Value::Map([(name.to_owned(), value)].into());
    let plain = plugin("a", &[]);
    let how = [
        ("timeout", text("90s")),
        ("visibility", text("5s")),
        ("addressTag", text("ip")),
        ("settings", own("statusChecks", Value::Bool(true))),
    ];
    for setting in how {
        let other = plugin("b", std::slice::from_ref(&setting));
        assert!(is_contested(&plain, &other), "{}", setting.0);
    }
    // Elsewhere are other instances.
    let north = plugin("a", &[("settings", own("region", text("north")))]);
    let south = plugin("b", &[("settings", own("region", text("south")))]);
    assert!(!is_contested(&north, &south));
    assert!(!is_contested(
        &plain,
        &plugin("b", &[("plugin", text("cloud/disk"))])
    ));
}
