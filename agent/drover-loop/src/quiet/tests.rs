use drover_model::{
    GroupName, GroupUid, Hold, Listed, MemberId, MetricQuery, Peers, ProviderPhase, ProviderRef,
    SeatId, SourceName,
};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn listing(phase: ProviderPhase, completeness: Completeness) -> Listing {
    Listing {
        completeness,
        as_of: at(0),
        instances: vec![Listed {
            provider_ref: ProviderRef::parse("i-1").unwrap(),
            ownership: None,
            phase,
            address: None,
            zone: None,
            created_at: None,
            interruption: None,
        }],
        attached: std::collections::BTreeSet::new(),
        places: std::collections::BTreeMap::new(),
    }
}

fn running() -> Listing {
    listing(ProviderPhase::Running, Completeness::Complete)
}

fn told(bits: u64) -> Vec<Told> {
    let query = MetricQuery {
        source: SourceName::parse("prom").unwrap(),
        query: "up".to_owned(),
    };
    vec![(query, Ok(bits))]
}

fn quiet() -> Quiet {
    Quiet {
        shared: versions(1),
        scope: 1,
        instances: Fingerprint::of(&running()),
        fences: Vec::new(),
        peers: Peers::default(),
        metrics: told(7),
        planned_at: at(100),
        wake_at: Some(at(200)),
    }
}

fn versions(all: u64) -> Versions {
    Versions {
        all,
        ..Versions::default()
    }
}

fn holds(quiet: &Quiet, now: i64, shared: u64, listing: &Listing) -> bool {
    quiet.holds(&Quiet {
        shared: versions(shared),
        instances: Fingerprint::of(listing),
        planned_at: at(now),
        ..self::quiet()
    })
}

#[test]
fn equal_inputs_before_the_timer_give_the_same_answer() {
    let later = Listing {
        as_of: at(150),
        ..running()
    };
    assert!(holds(&quiet(), 150, 1, &later));
}

#[test]
fn anything_else_asks_for_a_new_plan() {
    let partial = Completeness::Partial {
        why: "a page is missing".to_owned(),
    };
    let exited = listing(ProviderPhase::Terminated, Completeness::Complete);
    let cut = listing(ProviderPhase::Running, partial);
    let mut attached = running();
    let seat = SeatId {
        life: GroupUid::parse("t4zu7gw6nltm5aqo").unwrap(),
        member: MemberId::parse("m1").unwrap(),
    };
    let group = GroupName::parse("db").unwrap();
    attached.attached.insert((group, seat));
    let differ = [
        (200, 1, running(), "the timer"),
        (99, 1, running(), "a step back"),
        (150, 2, running(), "policies"),
        (150, 1, exited, "an instance"),
        (150, 1, cut, "completeness"),
        (150, 1, attached, "an attachment"),
    ];
    for (now, shared, listing, what) in differ {
        assert!(!holds(&quiet(), now, shared, &listing), "{what}");
    }
    let untimed = Quiet {
        wake_at: None,
        ..quiet()
    };
    assert!(holds(&untimed, 399, 1, &running()));
    assert!(!holds(&untimed, 400, 1, &running()), "age");
}

#[test]
fn a_fence_another_group_that_converges_and_a_metric_ask_for_a_new_plan() {
    let seen = || Quiet {
        planned_at: at(150),
        ..quiet()
    };
    assert!(quiet().holds(&seen()));
    let peers = Peers {
        converged: [GroupName::parse("db").unwrap()].into(),
        ..Peers::default()
    };
    for (other, what) in [
        (
            Quiet {
                fences: vec![crate::agent::plain(Hold::ObserveOnly)],
                ..seen()
            },
            "a fence",
        ),
        (Quiet { peers, ..seen() }, "a peer"),
        (
            Quiet {
                metrics: told(8),
                ..seen()
            },
            "a metric",
        ),
        (Quiet { scope: 2, ..seen() }, "a provider"),
    ] {
        assert!(!quiet().holds(&other), "{what}");
    }
}
