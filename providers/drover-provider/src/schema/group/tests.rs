use drover_model::FieldClass;

use super::super::{Field, Form, ObjectSchema, Rules};
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
        instead: named.map(|_| "subnets".to_owned()),
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
    let inits = [
        InitRule::Taken,
        InitRule::Refused,
        InitRule::UpTo(100),
        InitRule::Taken,
    ];
    let zones = [
        ZoneRule::Taken,
        ZoneRule::Refused,
        ZoneRule::Of("region".to_owned()),
        ZoneRule::Taken,
    ];
    let keys = Form::but("^aws:", "a key").within(1, Some(9));
    let tags = [
        None,
        Some(Box::new(Shape::keyed(keys, Shape::String))),
        Some(Box::new(Shape::Map(Box::new(Shape::Duration)))),
        None,
    ];
    let checks = [
        CheckRule::Taken,
        CheckRule::only(&[]),
        CheckRule::only(&[Way::Http, Way::Tcp]),
        CheckRule::only(&[Way::Command, Way::Provider]),
    ];
    let adopts = [AdoptRule::Taken, AdoptRule::Refused];
    for at in 0..4 {
        let asked = GroupRules {
            init: inits[at],
            zones: zones[at].clone(),
            members: members[at].clone(),
            address: addresses[at].clone(),
            tags: tags[at].clone(),
            checks: checks[at].clone(),
            adopt: adopts[at % 2],
        };
        let field = |name: &str| (name.to_owned(), field(Shape::Any));
        let schema = ObjectSchema {
            fields: ["subnets", "disks", "ports"].map(field).into(),
            rules: Rules::default().of_group(asked),
            ..ObjectSchema::default()
        };
        let read = ObjectSchema::from_json_schema(&schema.to_json_schema());
        assert_eq!(read, Ok(schema));
    }
}

fn field(shape: Shape) -> Field {
    Field {
        shape,
        required: false,
        class: FieldClass::Replace,
        doc: String::new(),
    }
}

#[test]
fn zones_of_a_region_begin_with_its_name_local_ones_among_them() {
    let of_virginia = ["us-east-1a", "us-east-1-bos-1a", "us-east-1-wl1-bos-wlz-1"];
    for zone in of_virginia {
        assert!(ZoneRule::is_of(zone, "us-east-1"), "{zone}");
        assert!(!ZoneRule::is_of(zone, "us-west-1"), "{zone}");
    }
    for other in [
        "us-east-1",
        "us-east-10a",
        "us-east-1ab",
        "us-east-1-",
        "use1-az1",
        "a",
        "",
    ] {
        assert!(!ZoneRule::is_of(other, "us-east-1"), "{other}");
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
        map(&[("init", map(&[("maxBytes", Value::Int(-1))]))]),
        map(&[("init", map(&[("max", Value::Int(1))]))]),
        map(&[("zones", map(&[("in", "region".into())]))]),
        map(&[("tags", map(&[("type", "string".into())]))]),
        map(&[("tags", map(&[("maxProperties", Value::Int(1))]))]),
        map(&[("members", "no".into())]),
        map(&[("members", map(&[("with", Value::Null)]))]),
        map(&[("members", map(&[("without", "name".into())]))]),
        map(&[("members", map(&[("instead", Value::Null)]))]),
        map(&[("address", "always".into())]),
        map(&[("checks", "http".into())]),
        map(&[("checks", Value::List(vec!["https".into()]))]),
        map(&[("adopt", "no".into())]),
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
    assert_eq!(*Rules::default().group, GroupRules::default());
}
