use std::collections::BTreeSet;

use drover_model::{
    ChangeId, Epoch, GroupName, GroupUid, InstanceId, OrderState, OrderVerb, PauseCause,
    Quarantine, RecordedOrder, Revision, Signer, Value,
};

use super::*;
use crate::testing::{Fixture, at};

fn change(number: i64) -> ChangeId {
    ChangeId::of(&Value::Int(number))
}

fn said(verdict: ApprovalVerdict, about: i64) -> Approval {
    Approval {
        change: change(about),
        signer: Signer::parse("tom@example.com").unwrap(),
        verdict,
        at: at(-5),
        expires: at(600),
        because: "looked at it".to_owned(),
        operation: Revision::parse(&"a".repeat(40)).unwrap(),
    }
}

/// A group in change 1, in a rollout.
fn rolling() -> RecordedGroup {
    let name = GroupName::parse("web").unwrap();
    let uid = GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap();
    let mut group = RecordedGroup::new(name, uid, Epoch(1));
    group.change = Some(change(1));
    let digests = Fixture::converged(1).digests();
    group.rollout = Some(Rollout::new(digests, at(-100), 3));
    group
}

fn effect(group: &RecordedGroup, verdict: ApprovalVerdict) -> Option<RecordedGroup> {
    let next = heed(group, (&[said(verdict, 1)], &[]), at(0)).unwrap();
    next.heeded[0].effect.then_some(next)
}

#[test]
fn a_stage_that_is_waited_at_is_passed_one_at_a_time() {
    let mut group = rolling();
    assert_eq!(effect(&group, ApprovalVerdict::Promote), None);
    let rollout = group.rollout.as_mut().unwrap();
    rollout.stages.canary = Some((1, at(-10)));
    rollout.stages.reached = Some((2, at(-5)));
    let promoted = effect(&group, ApprovalVerdict::Promote).unwrap();
    let stages = &promoted.rollout.as_ref().unwrap().stages;
    assert!(stages.promoted);
    assert_eq!((stages.passed, stages.reached.is_some()), (0, true));
    let mut group = promoted;
    group.heeded.clear();
    let passed = effect(&group, ApprovalVerdict::Promote).unwrap();
    let stages = &passed.rollout.as_ref().unwrap().stages;
    assert_eq!((stages.passed, stages.reached), (2, None));
    let mut group = passed;
    group.heeded.clear();
    group.rollout.as_mut().unwrap().stages.bake_since = Some(at(-1));
    let baked = effect(&group, ApprovalVerdict::Promote).unwrap();
    let since = baked.rollout.unwrap().stages.bake_since;
    assert_eq!(since, Some(Timestamp::UNIX_EPOCH));
}

#[test]
fn a_stopped_rollout_goes_on_and_what_failed_before_counts_no_more() {
    let mut group = rolling();
    assert_eq!(effect(&group, ApprovalVerdict::Retry), None);
    let failed = InstanceId::parse("web-4").unwrap();
    let cause = PauseCause::Failures {
        failed: 1,
        threshold: 1,
        last: None,
    };
    let rollout = group.rollout.as_mut().unwrap();
    rollout.state = RolloutState::Paused(cause.clone());
    rollout.failures.insert(failed.clone());
    assert_eq!(effect(&group, ApprovalVerdict::Promote), None);
    let rollout = effect(&group, ApprovalVerdict::Retry)
        .unwrap()
        .rollout
        .unwrap();
    assert_eq!(rollout.state, RolloutState::Progressing);
    assert!(rollout.failures.is_empty() && rollout.forgiven.contains(&failed));
    assert_eq!(rollout.progressed_at, at(0));

    group.quarantine = Some(Quarantine {
        digests: rollout.target,
        cause,
        since: at(-20),
    });
    let freed = effect(&group, ApprovalVerdict::Retry).unwrap();
    assert_eq!((freed.quarantine, freed.rollout), (None, None));
}

#[test]
fn each_is_heeded_once_for_its_change_and_in_its_time() {
    let group = rolling();
    let nothing = |said: &[Approval], now| heed(&group, (said, &[]), now).is_none();
    assert!(nothing(&[], at(0)));
    assert!(nothing(&[said(ApprovalVerdict::Retry, 2)], at(0)));
    assert!(nothing(&[said(ApprovalVerdict::Approve, 1)], at(0)));
    assert!(nothing(&[said(ApprovalVerdict::Retry, 1)], at(600)));
    // Too early: it does nothing, and nothing later.
    let mut heeded = heed(&group, (&[said(ApprovalVerdict::Retry, 1)], &[]), at(0)).unwrap();
    let rollout = heeded.rollout.as_mut().unwrap();
    rollout.state = RolloutState::Paused(PauseCause::Failures {
        failed: 1,
        threshold: 1,
        last: None,
    });
    assert_eq!(
        heed(&heeded, (&[said(ApprovalVerdict::Retry, 1)], &[]), at(1)),
        None
    );
    // Once it has expired it need not be known any more.
    let mut other = said(ApprovalVerdict::Retry, 1);
    other.expires = at(6_000);
    let later = heed(&heeded, (&[other], &[]), at(700)).unwrap();
    assert_eq!(later.heeded.len(), 1);
}

fn order(verb: OrderVerb, instance: &str, asked_at: i64) -> Order {
    Order {
        verb,
        instance: InstanceId::parse(instance).unwrap(),
        signer: Signer::parse("tom@example.com").unwrap(),
        at: at(asked_at),
        expires: at(600),
        because: "its disk is slow".to_owned(),
        operation: Revision::parse(&"b".repeat(40)).unwrap(),
    }
}

/// Heeds orders one after another, and returns what became of each.
fn states(recorded: &RecordedGroup, orders: &[Order]) -> Vec<OrderState> {
    let next = orders.iter().fold(recorded.clone(), |group, order| {
        heed(&group, (&[], std::slice::from_ref(order)), at(0)).unwrap()
    });
    next.orders.into_iter().map(|known| known.state).collect()
}

fn refused(why: &str) -> OrderState {
    OrderState::Refused {
        why: why.to_owned(),
    }
}

#[test]
fn an_order_counts_for_an_instance_that_is_there() {
    let recorded = Fixture::converged(3).recorded;
    let states = |orders: &[Order]| states(&recorded, orders);
    assert_eq!(
        states(&[order(OrderVerb::Keep, "web-2", -5)]),
        [OrderState::Open]
    );
    assert_eq!(
        states(&[order(OrderVerb::Replace, "web-4", -5)]),
        [refused("there is no such instance")]
    );
    assert_eq!(
        states(&[order(OrderVerb::Release, "web-2", -5)]),
        [refused("nothing is asked of it")]
    );
    let late = order(OrderVerb::Keep, "web-2", -5);
    assert_eq!(heed(&recorded, (&[], &[late]), at(600)), None);
}

#[test]
fn the_latest_word_about_an_instance_counts() {
    let recorded = Fixture::converged(3).recorded;
    let words = [
        order(OrderVerb::Keep, "web-1", -30),
        order(OrderVerb::Replace, "web-2", -25),
        order(OrderVerb::Replace, "web-1", -20),
        // It comes late, and was said before.
        order(OrderVerb::Keep, "web-1", -40),
        order(OrderVerb::Release, "web-2", -15),
    ];
    let expected = [
        OrderState::Superseded,
        OrderState::Superseded,
        OrderState::Open,
        OrderState::Superseded,
        OrderState::Done,
    ];
    assert_eq!(states(&recorded, &words), expected);
    // All at once it is the same, in their order in time.
    let mut all = drover_model::Approvals::default();
    for word in words {
        all.add_order(word);
    }
    let web = GroupName::parse("web").unwrap();
    let next = heed(&recorded, (&[], all.orders_of(&web)), at(0)).unwrap();
    let open = |known: &&RecordedOrder| known.state == OrderState::Open;
    let open: Vec<_> = next.orders.iter().filter(open).collect();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].order.verb, OrderVerb::Replace);
    assert_eq!(open[0].order.instance.to_string(), "web-1");
    // Each is taken up once.
    assert_eq!(heed(&next, (&[], all.orders_of(&web)), at(1)), None);
}

#[test]
fn a_member_of_a_quorum_does_not_yield() {
    let mut recorded = Fixture::converged(3).recorded;
    let yields = order(OrderVerb::Yield, "web-1", -5);
    assert_eq!(
        states(&recorded, std::slice::from_ref(&yields)),
        [OrderState::Open]
    );
    recorded.quorum = Some(drover_model::RecordedQuorum {
        life: recorded.uid.clone(),
        voters: BTreeSet::new(),
        stable: BTreeSet::new(),
        established: true,
        calm_since: None,
        seated: None,
    });
    let why = "the document says which members there are";
    assert_eq!(states(&recorded, &[yields]), [refused(why)]);
}

#[test]
fn what_is_kept_for_people_to_look_at_has_been_replaced() {
    let mut recorded = Fixture::converged(3).recorded;
    let one = InstanceId::parse("web-1").unwrap();
    recorded.instances.get_mut(&one).unwrap().kept = Some(drover_model::Kept {
        since: at(-60),
        until: at(60),
        because: "exit status 1".to_owned(),
    });
    let why = "another one has its place already: it is kept for people to look at";
    for verb in [OrderVerb::Replace, OrderVerb::Restart, OrderVerb::Yield] {
        let order = order(verb, "web-1", -5);
        assert_eq!(states(&recorded, &[order]), [refused(why)]);
    }
    let keep = order(OrderVerb::Keep, "web-1", -5);
    assert_eq!(states(&recorded, &[keep]), [OrderState::Open]);
}
