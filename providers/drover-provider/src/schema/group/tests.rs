use super::super::{ObjectSchema, Rules};
use super::*;

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

#[test]
fn what_is_asked_of_groups_is_read_back_as_it_was() {
    let with = |without: &[&str], named: Option<&str>| MemberRule::With {
        without: without.iter().map(|name| (*name).to_owned()).collect(),
        attachments: named.map(str::to_owned),
        setting: named.map(str::to_owned),
    };
    let members = [
        MemberRule::Taken,
        MemberRule::Refused,
        with(&[], None),
        with(&["subnets"], Some("disks")),
    ];
    let addresses = [
        AddressRule::Known,
        AddressRule::Unknown,
        AddressRule::Members,
        AddressRule::With("ports".to_owned()),
    ];
    for init in [GroupRule::Taken, GroupRule::Refused] {
        for (members, address) in members.iter().zip(&addresses) {
            let rules = GroupRules {
                init,
                zones: init,
                members: members.clone(),
                address: address.clone(),
            };
            let published = rules.to_json_schema();
            assert_eq!(GroupRules::from_json_schema(&published), Some(rules));
        }
    }
}

#[test]
fn what_is_not_understood_of_groups_closes_the_schema() {
    let schema = |rules: Value| {
        let name = map(&[("type", "string".into())]);
        map(&[
            ("type", "object".into()),
            ("properties", map(&[("name", name)])),
            ("x-drover-group", rules),
        ])
    };
    let read = |rules: Value| {
        let read = ObjectSchema::from_json_schema(&schema(rules));
        read.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(read(map(&[("init", Value::Bool(false))])), Ok(()));
    let needs = map(&[("with", "name".into())]);
    assert_eq!(read(map(&[("address", needs)])), Ok(()));
    let other = map(&[("with", "other".into())]);
    let error = read(map(&[("address", other)])).unwrap_err();
    assert!(error.contains("a rule names `other`"), "{error}");
    for wrong in [
        Value::Null,
        map(&[("inits", Value::Bool(false))]),
        map(&[("init", "no".into())]),
        map(&[("members", "no".into())]),
        map(&[("members", map(&[("with", Value::Null)]))]),
        map(&[("members", map(&[("without", "name".into())]))]),
        map(&[("address", "always".into())]),
    ] {
        let error = read(wrong.clone()).unwrap_err();
        assert!(error.contains("`x-drover-group`"), "{wrong:?}: {error}");
    }
    let inner = schema(map(&[]));
    let outer = map(&[
        ("type", "object".into()),
        ("properties", map(&[("inner", inner)])),
    ]);
    let error = ObjectSchema::from_json_schema(&outer).unwrap_err();
    assert!(error.to_string().contains("schema.inner: `x-drover-group`"));
    assert_eq!(Rules::default().group, GroupRules::default());
}
