use super::*;

fn lease(instance: &str, epoch: u64) -> Lease {
    Lease {
        name: "edge-1".to_owned(),
        instance: instance.to_owned(),
        epoch,
        machine: None,
        data_dir: Some("/var/lib/drover".to_owned()),
        interval_secs: None,
        contender: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn stand(own: Option<&Lease>, found: Option<&Lease>, liveness: Liveness) -> Standing {
    let claimant = Claimant {
        own,
        now: at(1_000),
        question: None,
    };
    standing(claimant, found, |_| liveness)
}

fn refused(standing: Standing) -> String {
    match standing {
        Standing::Refused { why, .. } => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_first_agent_takes_epoch_one() {
    assert_eq!(
        stand(None, None, Liveness::Unknown),
        Standing::Take(Epoch(1))
    );
}

#[test]
fn a_restart_with_its_data_directory_holds_the_lease() {
    let own = lease("a", 3);
    let standing = stand(Some(&own), Some(&own), Liveness::Unknown);
    assert_eq!(standing, Standing::Held);
}

#[test]
fn a_second_data_directory_refuses_while_the_first_lives() {
    let why = refused(stand(None, Some(&lease("a", 3)), Liveness::Alive));
    assert!(why.contains("is running in /var/lib/drover"), "{why}");
}

#[test]
fn an_empty_data_directory_takes_over_a_dead_agent_with_the_next_epoch() {
    let standing = stand(None, Some(&lease("a", 3)), Liveness::Dead);
    assert_eq!(standing, Standing::Take(Epoch(4)));
}

#[test]
fn an_empty_data_directory_asks_an_agent_elsewhere_and_takes_over_when_nobody_answers() {
    let found = lease("a", 3);
    assert_eq!(stand(None, Some(&found), Liveness::Unknown), Standing::Ask);
    let question = Question {
        by: "b".to_owned(),
        since: at(1_000),
    };
    let asked = |found: &Lease, now: i64| {
        let claimant = Claimant {
            own: None,
            now: at(now),
            question: Some(&question),
        };
        standing(claimant, Some(found), |_| Liveness::Unknown)
    };
    let until = |standing: Standing| match standing {
        Standing::Refused { until, .. } => until,
        other => panic!("expected a refusal, got {other:?}"),
    };
    let contended = Lease {
        contender: Some("b".to_owned()),
        ..found.clone()
    };
    assert_eq!(until(asked(&contended, 1_119)), Some(at(1_120)));
    assert_eq!(asked(&contended, 1_120), Standing::Take(Epoch(4)));
    // One that looks every ten minutes has longer to answer.
    let rare = Lease {
        interval_secs: Some(600),
        ..contended
    };
    assert_eq!(until(asked(&rare, 3_399)), Some(at(3_400)));
    assert_eq!(asked(&rare, 3_400), Standing::Take(Epoch(4)));
    // The answer is the lease as it was, however long ago.
    assert_eq!(until(asked(&found, 4_599)), Some(at(4_600)));
    assert_eq!(asked(&found, 4_600), Standing::Ask);
    // Somebody else asks as well.
    let other = Lease {
        contender: Some("c".to_owned()),
        ..found
    };
    assert_eq!(until(asked(&other, 1_200)), Some(at(4_600)));
}

#[test]
fn a_living_agent_answers_with_its_lease() {
    let own = lease("a", 3);
    let asked = Lease {
        contender: Some("b".to_owned()),
        ..own.clone()
    };
    let standing = stand(Some(&own), Some(&asked), Liveness::Unknown);
    assert_eq!(standing, Standing::Take(Epoch(3)));
    assert_eq!(Lease::decode(&asked.encode()), Ok(asked));
}

#[test]
fn a_higher_epoch_of_the_same_instance_means_an_old_copy() {
    let why = refused(stand(
        Some(&lease("a", 2)),
        Some(&lease("a", 3)),
        Liveness::Dead,
    ));
    assert!(why.contains("old copy"), "{why}");
}

#[test]
fn an_agent_that_was_taken_over_refuses() {
    for epoch in [3, 4] {
        let standing = stand(
            Some(&lease("a", 3)),
            Some(&lease("b", epoch)),
            Liveness::Alive,
        );
        assert!(refused(standing).contains("another data directory"));
    }
}

#[test]
fn an_unpublished_claim_is_published_again() {
    let standing = stand(
        Some(&lease("b", 4)),
        Some(&lease("a", 3)),
        Liveness::Unknown,
    );
    assert_eq!(standing, Standing::Take(Epoch(4)));
    let standing = stand(Some(&lease("b", 4)), None, Liveness::Unknown);
    assert_eq!(standing, Standing::Take(Epoch(4)));
}

#[test]
fn a_lease_survives_its_encoding() {
    let lease = lease("a", 3);
    assert_eq!(Lease::decode(&lease.encode()), Ok(lease));
    assert!(Lease::decode(b"{\"name\":1}").is_err());
}
