use super::*;

fn offering(type_: &str) -> Offering {
    Offering {
        type_: type_.to_owned(),
        place: "subnet-a".to_owned(),
        spot: false,
    }
}

#[test]
fn an_offering_is_left_alone_for_a_while_and_no_other() {
    let cooling = Cooling::default();
    let now = Instant::now();
    note(&cooling.room, offering("t3.micro"), now + COOLING);
    let until = |offering: &Offering, after| cooling.until_at(offering, now + after);
    let second = Duration::from_secs(1);
    assert_eq!(until(&offering("t3.micro"), second), Some(now + COOLING));
    assert_eq!(until(&offering("t3.small"), second), None);
    let spot = Offering {
        spot: true,
        ..offering("t3.micro")
    };
    assert_eq!(until(&spot, second), None);
    assert_eq!(until(&offering("t3.micro"), COOLING), None);
}

#[test]
fn it_remembers_a_bounded_number() {
    let cooling = Cooling::default();
    let now = Instant::now();
    for number in 0..=OFFERINGS_MAX {
        let later = Duration::from_millis(number as u64);
        let warm = now + COOLING + later;
        note(&cooling.room, offering(&format!("t{number}")), warm);
    }
    assert_eq!(lock(&cooling.room, now).len(), OFFERINGS_MAX);
    assert_eq!(
        cooling.until_at(&offering("t0"), now),
        None,
        "the oldest went"
    );
}

#[test]
fn a_limit_is_reached_for_every_type_that_shares_it_and_is_as_large() {
    let cooling = Cooling::default();
    let now = Instant::now();
    cooling.cool_family_at(&offering("m5.2xlarge"), now);
    let left = |type_: &str| cooling.until_at(&offering(type_), now).is_some();
    for type_ in ["m5.2xlarge", "m5.4xlarge", "c7g.metal", "r6i.metal-24xl"] {
        assert!(left(type_), "{type_}");
    }
    for type_ in ["m5.xlarge", "t3.micro", "p4d.24xlarge", "g5.2xlarge"] {
        assert!(!left(type_), "{type_}");
    }
    let elsewhere = Offering {
        place: "subnet-b".to_owned(),
        ..offering("m5.2xlarge")
    };
    assert!(cooling.until_at(&elsewhere, now).is_some(), "in any place");
    assert!(!cooling.has_no_room(&elsewhere));
    let spot = Offering {
        spot: true,
        ..elsewhere
    };
    assert_eq!(cooling.until_at(&spot, now), None, "spot has its own");
    assert_eq!(
        cooling.until_at(&offering("m5.2xlarge"), now + COOLING),
        None
    );
}

#[test]
fn the_limit_of_one_type_is_of_that_type() {
    let cooling = Cooling::default();
    cooling.cool_type(&offering("m5.large"));
    assert!(cooling.until(&offering("m5.large")).is_some());
    assert_eq!(cooling.until(&offering("m5.xlarge")), None);
    assert_eq!(cooling.until(&offering("m5.medium")), None);
}

#[test]
fn families_share_limits_as_amazon_says() {
    let standard = [
        "a1", "c7gn", "d3en", "h1", "im4gn", "is4gen", "m8g", "r7iz", "t4g", "z1d",
    ];
    for family in standard {
        assert_eq!(
            shared_by(&format!("{family}.large")),
            "standard",
            "{family}"
        );
    }
    let own = [
        ("g6e", "g"),
        ("gr6", "g"),
        ("vt1", "g"),
        ("p5en", "p"),
        ("inf2", "inf"),
        ("trn1n", "trn"),
        ("dl2q", "dl"),
        ("f2", "f"),
        ("x2iedn", "x"),
        ("u-6tb1", "u"),
        ("u7i-12tb", "u"),
        ("hpc7a", "hpc"),
        ("mac2", "mac"),
    ];
    for (family, limit) in own {
        assert_eq!(shared_by(&format!("{family}.large")), limit);
    }
    assert_eq!(shared_by(""), "");
}

#[test]
fn sizes_are_in_order() {
    let sizes = [
        "m.medium",
        "m.large",
        "m.xlarge",
        "m.3xlarge",
        "m.metal-24xl",
        "m.metal",
    ];
    let ranks: Vec<u32> = sizes.iter().map(|size| size_of(size)).collect();
    assert!(ranks.is_sorted_by(|one, next| one < next), "{ranks:?}");
}

/// A way in which something is left alone.
type Cool = fn(&Cooling, &Offering);

#[test]
fn a_launch_template_shares_nothing_with_others() {
    let template = |id: Option<&str>, name: Option<&str>, version: &str| LaunchTemplate {
        id: id.map(str::to_owned),
        name: name.map(str::to_owned),
        version: version.to_owned(),
    };
    let of = |template| offering(&of_template(&template));
    // A name may look like a type's.
    let one = of(template(None, Some("m5.large"), "3"));
    let others = [
        of(template(None, Some("m5.large"), "4")),
        of(template(None, Some("web"), "3")),
        of(template(Some("lt-1"), None, "3")),
        offering("m5.large"),
        offering("m5.4xlarge"),
        offering("t3.micro"),
    ];
    for cool in [
        Cooling::cool as Cool,
        Cooling::cool_family,
        Cooling::cool_type,
    ] {
        let cooling = Cooling::default();
        cool(&cooling, &one);
        assert!(cooling.until(&one).is_some());
        for other in &others {
            assert_eq!(cooling.until(other), None, "{other:?}");
        }
    }
    let cooling = Cooling::default();
    cooling.cool_family(&offering("m5.large"));
    assert_eq!(cooling.until(&one), None);
}
