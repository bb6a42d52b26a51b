use super::*;

fn token(fleet: &str, uid: &str, epoch: u64, instance: &str, attempt: u32) -> Token {
    Token::derive(
        &fleet.parse().unwrap(),
        &uid.parse().unwrap(),
        Epoch(epoch),
        &instance.parse().unwrap(),
        attempt,
    )
}

#[test]
fn names_are_dns_labels() {
    for good in ["a", "web", "web-2", "0", &"x".repeat(63)] {
        assert_eq!(GroupName::parse(good).unwrap().as_str(), good);
    }
    assert_eq!(GroupName::parse(""), Err(IdError::Empty));
    assert_eq!(GroupName::parse("-web"), Err(IdError::Edge));
    assert_eq!(GroupName::parse("web-"), Err(IdError::Edge));
    assert_eq!(
        GroupName::parse("Web"),
        Err(IdError::Character { character: 'W' })
    );
    assert_eq!(
        GroupName::parse("we_b"),
        Err(IdError::Character { character: '_' })
    );
    assert_eq!(
        GroupName::parse(&"x".repeat(64)),
        Err(IdError::TooLong { max: 63 })
    );
}

#[test]
fn an_instance_id_splits_at_its_last_hyphen() {
    let id = InstanceId::parse("game-eu-12").unwrap();
    assert_eq!((id.group().as_str(), id.number()), ("game-eu", 12));
    assert_eq!(id.to_string(), "game-eu-12");
    for bad in [
        "web",
        "web-",
        "web-x",
        "web-07",
        "-7",
        "web-+7",
        "web--7",
        "web-18446744073709551616",
    ] {
        assert!(InstanceId::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn instance_ids_order_by_number_not_by_text() {
    let mut ids: Vec<InstanceId> = ["web-10", "web-9", "web-1"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    ids.sort();
    assert_eq!(
        ids.iter().map(InstanceId::number).collect::<Vec<_>>(),
        [1, 9, 10]
    );
}

#[test]
fn a_token_depends_on_every_part_and_on_nothing_else() {
    let base = token("prod", "0123456789abcdef", 1, "web-1", 0);
    assert_eq!(base, token("prod", "0123456789abcdef", 1, "web-1", 0));
    assert_eq!(Token::parse(base.as_str()), Ok(base.clone()));
    for other in [
        token("test", "0123456789abcdef", 1, "web-1", 0),
        token("prod", "0123456789abcdeg", 1, "web-1", 0),
        token("prod", "0123456789abcdef", 2, "web-1", 0),
        token("prod", "0123456789abcdef", 1, "web-2", 0),
        token("prod", "0123456789abcdef", 1, "web-1", 1),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn a_revision_is_a_whole_commit_id() {
    assert!(Revision::parse(&"a".repeat(40)).is_ok());
    assert!(Revision::parse("main").is_err());
    assert!(Revision::parse(&"A".repeat(40)).is_err());
}

#[test]
fn a_plugins_name_is_one_file_and_what_of_it_is_meant() {
    for good in ["swarm", "swarm/worker", "a.b_c", "cloudInit", "x/y/z"] {
        assert_eq!(FlavorName::parse(good).unwrap().as_str(), good);
    }
    let long = "a".repeat(201);
    for bad in [
        "",
        "/",
        "/x",
        "x/",
        ".",
        "..",
        "../x",
        "a b",
        "a\n",
        "${instance.id}",
        &long,
    ] {
        assert!(FlavorName::parse(bad).is_err(), "{bad:?}");
    }
}
