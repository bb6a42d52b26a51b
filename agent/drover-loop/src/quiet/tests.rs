use drover_model::{
    GroupName, GroupUid, Hold, Listed, MemberId, ProviderPhase, ProviderRef, SeatId,
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
        }],
        attached: std::collections::BTreeSet::new(),
    }
}

fn running() -> Listing {
    listing(ProviderPhase::Running, Completeness::Complete)
}

fn quiet() -> Quiet {
    Quiet {
        shared: 1,
        instances: Fingerprint::of(&running()),
        fences: Vec::new(),
        planned_at: at(100),
        wake_at: Some(at(200)),
    }
}

#[test]
fn equal_inputs_before_the_timer_give_the_same_answer() {
    let later = Listing {
        as_of: at(150),
        ..running()
    };
    assert!(quiet().holds(at(150), 1, Fingerprint::of(&later), &[]));
}

#[test]
fn anything_else_asks_for_a_new_plan() {
    let partial = Completeness::Partial {
        why: "a page is missing".to_owned(),
    };
    let fence = crate::agent::plain(Hold::ObserveOnly);
    let exited = listing(ProviderPhase::Terminated, Completeness::Complete);
    let mut attached = running();
    let seat = SeatId {
        life: GroupUid::parse("t4zu7gw6nltm5aqo").unwrap(),
        member: MemberId::parse("m1").unwrap(),
    };
    let group = GroupName::parse("db").unwrap();
    attached.attached.insert((group, seat));
    assert!(
        !quiet().holds(at(200), 1, Fingerprint::of(&running()), &[]),
        "the timer"
    );
    assert!(
        !quiet().holds(at(99), 1, Fingerprint::of(&running()), &[]),
        "a step back"
    );
    assert!(
        !quiet().holds(at(150), 2, Fingerprint::of(&running()), &[]),
        "policies"
    );
    assert!(
        !quiet().holds(at(150), 1, Fingerprint::of(&exited), &[]),
        "an instance"
    );
    let cut = listing(ProviderPhase::Running, partial);
    assert!(
        !quiet().holds(at(150), 1, Fingerprint::of(&cut), &[]),
        "completeness"
    );
    assert!(
        !quiet().holds(at(150), 1, Fingerprint::of(&running()), &[fence]),
        "a fence"
    );
    let untimed = Quiet {
        wake_at: None,
        ..quiet()
    };
    assert!(untimed.holds(at(399), 1, Fingerprint::of(&running()), &[]));
    assert!(
        !untimed.holds(at(400), 1, Fingerprint::of(&running()), &[]),
        "age"
    );
    assert!(
        !quiet().holds(at(150), 1, Fingerprint::of(&attached), &[]),
        "an attachment"
    );
}
