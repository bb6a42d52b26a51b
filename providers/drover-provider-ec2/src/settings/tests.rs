use super::*;

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

#[test]
fn a_region_is_all_that_is_needed() {
    let settings = decode(&map(&[("region", "eu-central-1".into())])).unwrap();
    assert_eq!(settings.account.region, "eu-central-1");
    assert_eq!(settings.address, AddressKind::Private);
    assert_eq!((settings.places, settings.status_checks), (None, false));
}

#[test]
fn mistakes_are_refused() {
    let eu = ("region", Value::from("eu-central-1"));
    let cases = [
        (map(&[]), "`region` is missing"),
        (
            map(&[("region", "evil.example.com/".into())]),
            "expected a region's name such as eu-central-1, found \"evil.example.com/\"",
        ),
        (map(&[eu.clone(), ("address", "privat".into())]), "address"),
        (
            map(&[eu.clone(), ("endpoint", "http://x".into())]),
            "unknown field `endpoint`",
        ),
        (
            map(&[eu, ("places", map(&[]))]),
            "places: `subnets` is missing",
        ),
    ];
    for (value, words) in cases {
        let error = decode(&value).unwrap_err();
        assert!(error.message.contains(words), "{error}, not {words}");
    }
}
