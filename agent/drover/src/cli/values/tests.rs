use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_selector_joins_its_terms_with_and() {
    let prod_web = labels(&[("env", "prod"), ("tier", "web")]);
    let matches = |text: &str| selector(text).unwrap().matches(&prod_web);
    assert!(matches(""));
    assert!(matches("env=prod"));
    assert!(matches("env==prod,tier!=db"));
    assert!(matches("tier,!owner"));
    assert!(!matches("env=prod,tier=db"));
    assert!(!matches("owner"));
    assert!(selector("=prod").is_err());
    assert!(selector("env prod").is_err());
}

#[test]
fn an_instance_is_named_with_or_without_its_group() {
    let web7 = Subject::Instance(InstanceId::parse("web-7").unwrap());
    assert_eq!("web/web-7".parse::<Subject>().unwrap(), web7);
    assert_eq!("web-7".parse::<Subject>().unwrap(), web7);
    assert_eq!(
        "web".parse::<Subject>().unwrap(),
        Subject::Group(GroupName::parse("web").unwrap())
    );
    assert!("db/web-7".parse::<Subject>().is_err());
    assert!("Web".parse::<Subject>().is_err());
}

#[test]
fn a_suspension_ends_at_a_time_or_after_a_while() {
    let now: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
    let at = |text: &str| text.parse::<Until>().unwrap().at(now).to_string();
    assert_eq!(at("2h"), "2026-01-05T12:00:00Z");
    assert_eq!(at("2026-12-01T08:00:00Z"), "2026-12-01T08:00:00Z");
    assert!("tomorrow".parse::<Until>().is_err());
}

#[test]
fn listening_is_an_address_or_off() {
    assert_eq!(listen("off").unwrap(), Listen::Off);
    assert!(matches!(listen("127.0.0.1:0").unwrap(), Listen::On(_)));
    assert!(listen("localhost").is_err());
}
