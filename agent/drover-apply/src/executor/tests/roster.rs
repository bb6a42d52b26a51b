//! Changes of membership lists.

use drover_model::{
    EntryId, EtcdKeeper, GroupUid, IntentKind, Keeper, MemberId, RosterChange, RosterStep, SeatId,
};

use super::*;
use crate::RosterOrder;

fn seat() -> SeatId {
    SeatId {
        life: GroupUid::parse("0123456789abcdef").unwrap(),
        member: MemberId::parse("m2").unwrap(),
    }
}

fn change(change: RosterChange, seat: Option<SeatId>) -> Step {
    Step {
        action: Action::Roster(RosterStep {
            keeper: Keeper::Etcd(EtcdKeeper {
                client_port: 2379,
                peer_port: 2380,
            }),
            at: "10.0.0.1".to_owned(),
            seat,
            change,
        }),
        cause: Cause::Because(Reason::Heal),
        preconditions: Vec::new(),
    }
}

#[tokio::test]
async fn a_change_of_a_list_is_written_down_before_it_is_asked_for_and_answered_after() {
    let fixture = fixture();
    let steps = plan(vec![change(RosterChange::Remove(EntryId(7)), Some(seat()))]);
    assert!(apply(&steps, &fixture.ctx()).await.is_complete());
    let asked = fixture.rosters.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [(RosterOrder::Remove(EntryId(7)), Some(IntentState::Sent))]
    );
    let open = fixture.journal.open_intents(&web()).unwrap();
    assert!(matches!(open[0].kind, IntentKind::Roster(_)));
    assert!(matches!(open[0].state, IntentState::Acked { .. }));
}

#[tokio::test]
async fn a_member_is_added_at_the_address_of_its_place() {
    let fixture = fixture();
    let steps = plan(vec![change(RosterChange::Add, Some(seat()))]);
    assert!(apply(&steps, &fixture.ctx()).await.is_complete());
    let address = fixture.provider.sim.world().reserve(&web(), &seat());
    let asked = fixture.rosters.asked.lock().unwrap()[0].0.clone();
    assert_eq!(asked, RosterOrder::Add { address });
}

#[tokio::test]
async fn a_change_without_an_answer_stays_open_and_one_that_is_refused_is_closed_later() {
    let fixture = fixture();
    for (class, state) in [
        (ErrorClass::Unknown, "sent"),
        (ErrorClass::Throttled, "failed"),
    ] {
        *fixture.rosters.fails.lock().unwrap() = Some(class);
        let steps = plan(vec![change(RosterChange::Promote(EntryId(7)), None)]);
        let report = apply(&steps, &fixture.ctx()).await;
        assert!(!report.is_complete());
        let last = fixture.states().pop().unwrap();
        let found = match last {
            IntentState::Sent => "sent",
            IntentState::Failed { .. } => "failed",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, state);
    }
}

#[tokio::test]
async fn a_refused_change_keeps_nothing_else_from_being_done() {
    let fixture = fixture();
    *fixture.rosters.fails.lock().unwrap() = Some(ErrorClass::Throttled);
    let steps = plan(vec![
        change(RosterChange::Remove(EntryId(7)), None),
        create(&[1]),
    ]);
    let report = apply(&steps, &fixture.ctx()).await;
    assert!(failed(ErrorClass::Throttled)(&results(&report)[0]));
    assert_eq!(fixture.alive(), ["web-1"]);
}
