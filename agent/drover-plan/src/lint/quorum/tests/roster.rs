//! Membership lists, with plans that a broken planner would make.

use std::collections::BTreeMap;

use drover_model::{
    EntryId, EntryRole, EtcdKeeper, IntentKind, IntentState, Keeper, MembershipSpec, Roster,
    RosterChange, RosterEntry, RosterStep, RosterView,
};

use super::*;

const KEEPER: Keeper = Keeper::Etcd(EtcdKeeper {
    client_port: 2379,
    peer_port: 2380,
});

fn voter(number: u64) -> RosterEntry {
    RosterEntry {
        name: format!("m{number}"),
        role: EntryRole::Voter,
        started: true,
        hosts: vec![format!("10.0.0.{number}")],
        answers: true,
        lag: None,
    }
}

/// The three members, in a list in which m1 leads.
fn listed() -> Fixture {
    let mut fixture = council();
    let quorum = fixture.group.spec.quorum.as_mut().unwrap();
    quorum.membership = MembershipSpec::Dynamic(KEEPER);
    let group = fixture.recorded.name.clone();
    for number in 1..=4 {
        let place = (group.clone(), seat_id(&format!("m{number}")));
        let address = format!("10.0.0.{number}");
        fixture.listing.places.insert(place, address);
    }
    let entries: BTreeMap<_, _> = (1..=3).map(|n| (EntryId(n), voter(n))).collect();
    fixture.roster = Some(RosterView::Known(Roster {
        term: 3,
        leader: EntryId(1),
        entries,
    }));
    fixture
}

/// Lints only what is said of lists.
fn linted(fixture: &Fixture, tamper: impl FnOnce(&mut Plan)) -> Result<(), LintError> {
    fixture.with_input(|input| {
        let (mut planned, _) = crate::plan(input).unwrap();
        tamper(&mut planned);
        super::super::super::Facts::of(input).roster(&planned)
    })
}

fn entries(fixture: &mut Fixture) -> &mut BTreeMap<EntryId, RosterEntry> {
    match &mut fixture.roster {
        Some(RosterView::Known(roster)) => &mut roster.entries,
        other => panic!("{other:?}"),
    }
}

fn change(change: RosterChange, name: Option<&str>) -> Step {
    Step {
        action: Action::Roster(RosterStep {
            keeper: KEEPER,
            at: "10.0.0.1".to_owned(),
            seat: name.map(seat_id),
            change,
        }),
        cause: Cause::Because(Reason::Heal),
        preconditions: Vec::new(),
    }
}

fn remove(number: u64) -> Step {
    let name = format!("m{number}");
    change(RosterChange::Remove(EntryId(number)), Some(&name))
}

/// Lets a member end by itself.
fn exit(fixture: &mut Fixture, name: &str) {
    fixture.list(name, ProviderPhase::Exited(ExitReport::default()));
}

#[test]
fn an_entry_goes_only_where_a_majority_of_the_others_answers() {
    let mut fixture = listed();
    exit(&mut fixture, "web-3");
    entries(&mut fixture).get_mut(&EntryId(3)).unwrap().answers = false;
    let one = linted(&fixture, |plan| plan.steps = vec![remove(3)]);
    assert_eq!(one, Ok(()));
    entries(&mut fixture).get_mut(&EntryId(2)).unwrap().answers = false;
    let two = linted(&fixture, |plan| plan.steps = vec![remove(3)]);
    assert_eq!(two, Err(LintError::NoMajority { left: 1, needed: 2 }));
    let mut pair = listed();
    exit(&mut pair, "web-2");
    entries(&mut pair).remove(&EntryId(3));
    let of_two = linted(&pair, |plan| plan.steps = vec![remove(2)]);
    assert_eq!(of_two, Err(LintError::NoMajority { left: 1, needed: 1 }));
}

#[test]
fn the_list_is_changed_once_at_a_time() {
    let mut fixture = listed();
    exit(&mut fixture, "web-3");
    let twice = linted(&fixture, |plan| plan.steps = vec![remove(3), remove(2)]);
    assert_eq!(
        seat(&twice),
        "the membership list would be changed twice at once"
    );
    let Action::Roster(step) = remove(3).action else {
        unreachable!()
    };
    fixture.intent(-1, IntentKind::Roster(step), IntentState::Sent);
    let again = linted(&fixture, |plan| plan.steps = vec![remove(3)]);
    assert_eq!(
        seat(&again),
        "the membership list would be changed twice at once"
    );
}

#[test]
fn nothing_is_done_without_a_clear_list() {
    let mut fixture = listed();
    exit(&mut fixture, "web-3");
    for roster in [
        None,
        Some(RosterView::Unclear {
            why: "x".to_owned(),
        }),
    ] {
        fixture.roster = roster;
        for step in [remove(3), end(&fixture, "web-3")] {
            let blind = linted(&fixture, |plan| plan.steps = vec![step]);
            assert_eq!(
                seat(&blind),
                "a member would be touched while the membership list is not clear"
            );
        }
    }
    let mut fixed = council();
    exit(&mut fixed, "web-3");
    let foreign = linted(&fixed, |plan| plan.steps = vec![remove(3)]);
    assert_eq!(
        seat(&foreign),
        "a membership list would be changed that is not the agent's"
    );
}

#[test]
fn a_member_is_ended_only_after_it_has_left() {
    let mut fixture = listed();
    exit(&mut fixture, "web-3");
    let early = linted(&fixture, |plan| plan.steps = vec![end(&fixture, "web-3")]);
    assert_eq!(
        seat(&early),
        "a member would be ended before it has left the membership list"
    );
    entries(&mut fixture).remove(&EntryId(3));
    let ended = linted(&fixture, |plan| plan.steps = vec![end(&fixture, "web-3")]);
    assert_eq!(ended, Ok(()));
}

#[test]
fn a_member_that_serves_stays_in_the_list_until_it_is_drained() {
    let mut fixture = listed();
    fixture.group.spec.drain.delay = Duration::from_secs(2);
    let serving = linted(&fixture, |plan| plan.steps = vec![remove(3)]);
    assert_eq!(
        seat(&serving),
        "a member that serves would be removed from the membership list"
    );
}

#[test]
fn members_are_added_once_and_one_after_the_other() {
    let mut fixture = listed();
    let known = linted(&fixture, |plan| {
        plan.steps = vec![change(RosterChange::Add, Some("m3"))];
    });
    assert_eq!(
        seat(&known),
        "a member would be added that is in the membership list"
    );
    entries(&mut fixture).get_mut(&EntryId(3)).unwrap().role = EntryRole::Learner;
    let second = linted(&fixture, |plan| {
        plan.steps = vec![change(RosterChange::Add, Some("m4"))];
    });
    assert_eq!(
        seat(&second),
        "a member would be added while another one does not vote yet"
    );
}

#[test]
fn only_what_follows_is_promoted_and_only_a_leader_hands_over() {
    let mut fixture = listed();
    let promoted = linted(&fixture, |plan| {
        plan.steps = vec![change(RosterChange::Promote(EntryId(3)), Some("m3"))];
    });
    assert_eq!(
        seat(&promoted),
        "an entry would be promoted that does not follow"
    );
    let entry = entries(&mut fixture).get_mut(&EntryId(3)).unwrap();
    entry.role = EntryRole::Learner;
    entries(&mut fixture).get_mut(&EntryId(2)).unwrap().answers = false;
    let risky = linted(&fixture, |plan| {
        plan.steps = vec![change(RosterChange::Promote(EntryId(3)), Some("m3"))];
    });
    assert_eq!(risky, Err(LintError::NoMajority { left: 1, needed: 2 }));
    let from = EntryId(2);
    let moved = linted(&fixture, |plan| {
        let hand_over = RosterChange::HandOver {
            from,
            to: EntryId(1),
        };
        plan.steps = vec![change(hand_over, Some("m2"))];
    });
    assert_eq!(
        seat(&moved),
        "leadership would be moved from or to the wrong member"
    );
}

/// Two members and the fresh entry of the third, whose instance is gone.
fn awaited() -> Fixture {
    let mut fixture = listed();
    fixture.unlist("web-3");
    fixture.recorded.instances.remove(&id("web-3"));
    fixture.memory.remove(&id("web-3"));
    let entry = entries(&mut fixture).get_mut(&EntryId(3)).unwrap();
    entry.role = EntryRole::Learner;
    entry.started = false;
    entry.answers = false;
    entry.name.clear();
    fixture
}

fn joined(fixture: &Fixture, tamper: impl FnOnce(&mut Seat)) -> Result<(), LintError> {
    linted(fixture, |plan| {
        let mut step = make(fixture, "web-50", Some("m3"));
        if let Action::Create {
            seat: Some(seat), ..
        } = &mut step.action
        {
            tamper(seat);
        }
        plan.next.next_number = 51;
        plan.steps = vec![step];
    })
}

#[test]
fn an_instance_is_made_once_for_an_entry_and_told_the_whole_list() {
    let mut fixture = awaited();
    assert_eq!(joined(&fixture, |_| {}), Ok(()));
    let short = joined(&fixture, |seat| {
        seat.members.pop();
    });
    assert_eq!(
        seat(&short),
        "a member would be told of others than are in the membership list"
    );
    fixture.recorded.quorum.as_mut().unwrap().seated = Some(EntryId(3));
    let again = joined(&fixture, |_| {});
    assert_eq!(
        seat(&again),
        "a member would be made for an entry that was used"
    );
    entries(&mut fixture).remove(&EntryId(3));
    let unlisted = joined(&fixture, |_| {});
    assert_eq!(
        seat(&unlisted),
        "a member would be made that is not in the membership list"
    );
}
