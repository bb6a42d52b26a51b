use super::*;

fn lease(instance: &str, epoch: u64) -> Lease {
    Lease {
        name: "edge-1".to_owned(),
        instance: instance.to_owned(),
        epoch,
        machine: None,
        data_dir: Some("/var/lib/drover".to_owned()),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn stand(own: Option<&Lease>, found: Option<&Lease>, liveness: Liveness) -> Standing {
    let claimant = Claimant {
        own,
        now: at(1_000),
        committed_at: Some(at(990)),
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
fn an_empty_data_directory_waits_while_the_other_wrote_a_moment_ago() {
    let found = lease("a", 3);
    let standing = stand(None, Some(&found), Liveness::Unknown);
    let Standing::Refused { until, .. } = standing else {
        panic!("expected a refusal, got {standing:?}");
    };
    assert_eq!(until, Some(at(990 + 120)));
    let later = Claimant {
        own: None,
        now: at(990 + 120),
        committed_at: Some(at(990)),
    };
    let standing = super::standing(later, Some(&found), |_| Liveness::Unknown);
    assert_eq!(standing, Standing::Take(Epoch(4)));
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
