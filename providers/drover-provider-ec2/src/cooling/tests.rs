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
    cooling.cool_at(&offering("t3.micro"), now);
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
        cooling.cool_at(&offering(&format!("t{number}")), now + later);
    }
    assert_eq!(cooling.lock(now).len(), OFFERINGS_MAX);
    assert_eq!(
        cooling.until_at(&offering("t0"), now),
        None,
        "the oldest went"
    );
}
