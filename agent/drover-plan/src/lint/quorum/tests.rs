use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Action, AttachmentName, Cause, ExitReport, GroupUid, InstanceId, InstanceMemory, IntentState,
    MemberId, MemberSpec, Plan, Precondition, ProviderPhase, QuorumSpec, Reason, RecordedQuorum,
    Seat, SeatId, Step, Unanswered,
};

use super::super::LintError;
use crate::testing::{Fixture, at, id, provider_ref};

const LIFE: &str = "0123456789abcdef";

fn member(name: &str) -> MemberId {
    MemberId::parse(name).unwrap()
}

fn seat_id(name: &str) -> SeatId {
    SeatId {
        life: GroupUid::parse(LIFE).unwrap(),
        member: member(name),
    }
}

/// Three members that have been well for an hour, without a drain.
fn council() -> Fixture {
    let mut fixture = Fixture::converged(3);
    let names = ["m1", "m2", "m3"];
    let spec = &mut fixture.group.spec;
    spec.drain.delay = Duration::ZERO;
    spec.rollout.surge_max = drover_model::Amount::Count(0);
    spec.rollout.unavailable_max = drover_model::Amount::Count(1);
    spec.quorum = Some(QuorumSpec {
        members: names
            .map(|name| MemberSpec {
                id: member(name),
                attachments: vec![AttachmentName::parse("data").unwrap()],
            })
            .to_vec(),
        membership: drover_model::MembershipSpec::Static,
        stabilize: Duration::from_mins(1),
        allow_downtime: false,
    });
    for (number, name) in (1..).zip(names) {
        let instance = format!("web-{number}");
        fixture.seats.insert(instance.clone(), seat_id(name));
        fixture.known(&instance, "Available");
        fixture.list(&instance, ProviderPhase::Running);
    }
    let voters: BTreeSet<MemberId> = names.map(member).into_iter().collect();
    fixture.recorded.quorum = Some(RecordedQuorum {
        life: GroupUid::parse(LIFE).unwrap(),
        stable: voters.clone(),
        voters,
        established: true,
        calm_since: Some(at(-3600)),
        seated: None,
    });
    fixture
}

fn make(fixture: &Fixture, instance: &str, name: Option<&str>) -> Step {
    let seat = name.map(|name| {
        Box::new(Seat {
            id: seat_id(name),
            members: ["m1", "m2", "m3"].map(member).to_vec(),
            bootstrap: false,
            attachments: Vec::new(),
        })
    });
    Step {
        action: Action::Create {
            slots: vec![id(instance)],
            attempt: 0,
            token: fixture.token(instance),
            digests: fixture.digests(),
            zone: None,
            template: fixture.group.spec.template.clone(),
            seat,
        },
        cause: Cause::ScaleOut,
        preconditions: Vec::<Precondition>::new(),
    }
}

fn end(fixture: &Fixture, instance: &str) -> Step {
    Step {
        action: Action::Destroy {
            instance: InstanceId::parse(instance).unwrap(),
            provider_ref: provider_ref(instance),
            token: fixture.token(instance),
            grace: Duration::from_secs(1),
        },
        cause: Cause::Because(Reason::Update),
        preconditions: Vec::new(),
    }
}

/// Lints only what is said of quorums: other rules have tests of their own.
fn linted(fixture: &Fixture, tamper: impl FnOnce(&mut Plan)) -> Result<(), LintError> {
    fixture.with_input(|input| {
        let (mut planned, _) = crate::plan(input).unwrap();
        tamper(&mut planned);
        super::super::Facts::of(input).quorum(&planned)
    })
}

fn with(fixture: &Fixture, steps: Vec<Step>) -> Result<(), LintError> {
    linted(fixture, |plan| {
        plan.next.next_number = 100;
        plan.steps.extend(steps);
    })
}

fn seat<T>(result: &Result<T, LintError>) -> &'static str {
    match result {
        Err(LintError::Seat(what)) => what,
        _ => "",
    }
}

#[test]
fn one_member_of_three_may_be_taken_and_not_two() {
    let fixture = council();
    assert_eq!(with(&fixture, vec![]), Ok(()));
    assert_eq!(with(&fixture, vec![end(&fixture, "web-3")]), Ok(()));
    let two = with(
        &fixture,
        vec![end(&fixture, "web-3"), end(&fixture, "web-2")],
    );
    assert_eq!(seat(&two), "two members would be in transition at once");
}

#[test]
fn no_member_is_taken_from_a_bare_majority() {
    let mut fixture = council();
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    let taken = with(&fixture, vec![end(&fixture, "web-3")]);
    assert!(taken.is_err(), "{taken:?}");
    let two = council();
    let left = linted(&two, |plan| {
        // What is drained already may be ended only while it can be spared, too.
        plan.next
            .quorum
            .as_mut()
            .unwrap()
            .voters
            .insert(member("m4"));
        plan.next
            .quorum
            .as_mut()
            .unwrap()
            .voters
            .insert(member("m5"));
        plan.steps.push(end(&two, "web-3"));
    });
    assert_eq!(left, Err(LintError::NoMajority { left: 2, needed: 3 }));
}

#[test]
fn a_place_that_is_held_is_never_taken() {
    let fixture = council();
    let held = with(&fixture, vec![make(&fixture, "web-50", Some("m1"))]);
    assert_eq!(seat(&held), "a place would be taken that is not free");
    let twice = with(
        &fixture,
        vec![
            make(&fixture, "web-50", Some("m7")),
            make(&fixture, "web-51", Some("m7")),
        ],
    );
    assert_eq!(seat(&twice), "two instances would take one place");
    let without = with(&fixture, vec![make(&fixture, "web-50", None)]);
    assert_eq!(seat(&without), "a member is made without a place");
    let plain = Fixture::converged(3);
    let placed = with(&plain, vec![make(&plain, "web-50", Some("m1"))]);
    assert_eq!(
        seat(&placed),
        "an instance of no quorum group takes a place"
    );
}

/// A council of which the first member is missing; the call that makes it anew has no answer, and its repeats have been
/// refused since `refused_since`.
fn asked_anew(refused_since: Option<i64>) -> Fixture {
    let mut fixture = council();
    fixture.unlist("web-1");
    fixture.seats.remove("web-1");
    fixture.recorded.instances.remove(&id("web-1"));
    fixture.memory.remove(&id("web-1"));
    fixture.recorded.uid = GroupUid::parse(LIFE).unwrap();
    fixture.create_seated("web-4", -700, IntentState::Sent);
    let unanswered = Unanswered {
        calls: 3,
        last: at(0),
        refused_since: refused_since.map(at),
    };
    let memory = InstanceMemory {
        unanswered: Some(Box::new(unanswered)),
        ..InstanceMemory::new(at(-700))
    };
    fixture.memory.insert(id("web-4"), memory);
    fixture
}

#[test]
fn a_place_is_free_again_once_the_call_for_it_is_refused_for_good() {
    let open = asked_anew(None);
    let taken = with(&open, vec![make(&open, "web-50", Some("m1"))]);
    assert_eq!(seat(&taken), "a place would be taken that is not free");
    let (plan, _) = asked_anew(Some(-600)).planned();
    let made = plan.steps.iter().find_map(|step| match &step.action {
        Action::Create { seat, .. } => seat.as_ref().map(|seat| seat.id.member.as_str()),
        _ => None,
    });
    assert_eq!(made, Some("m1"), "{:?}", plan.steps);
}

#[test]
fn a_group_begins_once() {
    let fixture = council();
    let again = linted(&fixture, |plan| {
        let mut step = make(&fixture, "web-50", Some("m7"));
        if let Action::Create {
            seat: Some(seat), ..
        } = &mut step.action
        {
            seat.bootstrap = true;
        }
        plan.steps.push(step);
    });
    assert_eq!(
        seat(&again),
        "the members would be started for the first time again"
    );
    let forgotten = linted(&fixture, |plan| {
        plan.next.quorum.as_mut().unwrap().established = false;
    });
    assert_eq!(
        seat(&forgotten),
        "it would be forgotten that the group worked"
    );
    let elsewhere = linted(&fixture, |plan| {
        plan.next.quorum.as_mut().unwrap().life = GroupUid::parse(&"b".repeat(16)).unwrap();
        plan.steps.push(make(&fixture, "web-50", Some("m7")));
    });
    assert_eq!(seat(&elsewhere), "an instance would belong to another life");
}

#[test]
fn members_are_not_talked_away() {
    let fixture = council();
    let wanted = linted(&fixture, |plan| {
        plan.next
            .quorum
            .as_mut()
            .unwrap()
            .voters
            .remove(&member("m2"));
    });
    assert_eq!(seat(&wanted), "a member would be forgotten");
    let mut fixture = council();
    fixture
        .group
        .spec
        .quorum
        .as_mut()
        .unwrap()
        .members
        .truncate(1);
    for gone in ["web-2", "web-3"] {
        fixture.unlist(gone);
        fixture.recorded.instances.remove(&id(gone));
    }
    let lost = linted(&fixture, |plan| {
        plan.next
            .quorum
            .as_mut()
            .unwrap()
            .voters
            .retain(|id| *id == member("m1"));
    });
    assert_eq!(seat(&lost), "a lost majority would be forgotten");
}

mod roster;
