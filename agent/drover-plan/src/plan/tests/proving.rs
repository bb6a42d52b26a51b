//! What is watched after a rollout has completed.

use drover_model::{
    BindingName, DecisionPoint, Enforcement, MemberId, OnFailure, Outcome, PauseCause, PolicyName,
    Proving, RecordedQuorum, Rollout, RolloutState, SizeDecision, SourceSpan,
};

use super::*;

/// A rollout of `size` from version 1 to 2 that everybody has been ready with for a minute, and the version before.
fn last_step(size: u32) -> (Fixture, Digests) {
    let mut fixture = Fixture::converged(size);
    let before = fixture.digests();
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.failure_threshold = Some(1);
    let target = fixture.digests();
    for number in 1..=size {
        let name = format!("web-{number}");
        fixture.known(&name, "Available");
        fixture.list(&name, ProviderPhase::Running);
        fixture.memory.get_mut(&id(&name)).unwrap().ready_at = Some(at(-60));
    }
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(-600), size));
    (fixture, before)
}

/// The same half a minute after it has completed.
fn completed(size: u32) -> (Fixture, Digests) {
    let (mut fixture, before) = last_step(size);
    goes_on(&mut fixture, 30);
    assert_eq!(fixture.recorded.phase, GroupPhase::Converged);
    assert_eq!(fixture.recorded.stable, Some(fixture.digests()));
    assert_eq!(fixture.recorded.rollout, None);
    (fixture, before)
}

/// Takes over what is recorded, and goes on at so many seconds after noon.
fn goes_on(fixture: &mut Fixture, seconds: i64) -> Plan {
    let (plan, _) = fixture.planned();
    fixture.recorded = plan.next.clone();
    fixture.later(seconds);
    plan
}

fn breaks(fixture: &mut Fixture, name: &str) {
    let report = ExitReport {
        code: Some(1),
        ..ExitReport::default()
    };
    fixture.list(name, ProviderPhase::Exited(report));
}

fn made(plan: &Plan) -> Vec<&Digests> {
    let made = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { digests, .. } => Some(digests),
        _ => None,
    });
    made.collect()
}

#[test]
fn a_rollout_that_was_shorter_than_monitor_fails_after_it_has_completed() {
    let (mut fixture, before) = completed(3);
    let proving = fixture.recorded.proving.clone().unwrap();
    assert_eq!((&proving.before, proving.until), (&before, at(240)));
    assert!(fixture.recorded.templates.contains_key(&before));
    breaks(&mut fixture, "web-2");
    let plan = goes_on(&mut fixture, 40);
    let next = &plan.next;
    assert_eq!(next.phase, GroupPhase::Paused);
    assert_eq!(
        (&next.stable, &next.proving),
        (&Some(before.clone()), &None)
    );
    let rollout = next.rollout.as_ref().unwrap();
    assert_eq!(rollout.target, fixture.digests());
    let RolloutState::Paused(PauseCause::Failures { failed, last, .. }) = &rollout.state else {
        panic!("{rollout:?}");
    };
    assert_eq!(*failed, 1);
    assert!(last.as_ref().unwrap().starts_with("web-2: "), "{last:?}");
    // What is missing comes back with the template from before.
    assert_eq!(made(&plan), [&before]);
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.phase, GroupPhase::Paused, "and stays so");
    assert_eq!(plan.next.stable, Some(before));
}

#[test]
fn with_rollback_the_template_from_before_is_the_target_again() {
    let (mut fixture, before) = last_step(3);
    fixture.group.spec.rollout.on_failure = OnFailure::Rollback;
    goes_on(&mut fixture, 30);
    breaks(&mut fixture, "web-2");
    let plan = goes_on(&mut fixture, 40);
    let next = &plan.next;
    let quarantined = next
        .quarantine
        .as_ref()
        .map(|quarantine| &quarantine.digests);
    assert_eq!(quarantined, Some(&fixture.digests()));
    assert_eq!(
        (&next.target, &next.stable),
        (&Some(before.clone()), &Some(before.clone()))
    );
    assert_eq!(made(&plan), [&before]);
    // What still has the other one is replaced.
    let plan = goes_on(&mut fixture, 50);
    assert_eq!(plan.next.rollout.as_ref().unwrap().target, before);
    assert_eq!(plan.next.phase, GroupPhase::Held);
    assert!(plan.next.quarantine.is_some());
}

#[test]
fn the_change_that_fails_after_all_is_the_one_that_was_reviewed() {
    let (mut fixture, _) = last_step(3);
    // It is of another size as well.
    fixture.recorded.stable_size = 2;
    let id = |plan: &Plan| plan.change.as_ref().map(|change| change.id.clone());
    let reviewed = id(&fixture.planned().0).unwrap();
    goes_on(&mut fixture, 30);
    assert_eq!(id(&fixture.planned().0), None);
    breaks(&mut fixture, "web-2");
    goes_on(&mut fixture, 40);
    assert_eq!(id(&fixture.planned().0), Some(reviewed));
}

#[test]
fn the_members_of_a_quorum_are_those_from_before_as_well() {
    let member = |name: &str| MemberId::parse(name).unwrap();
    let known = |members: &[&str]| RecordedQuorum {
        life: Fixture::empty(1).recorded.uid,
        voters: members.iter().map(|name| member(name)).collect(),
        stable: BTreeSet::from([member("m1")]),
        established: true,
        calm_since: None,
        seated: None,
    };
    let (mut fixture, _) = last_step(3);
    let seen = fixture.with_input(|input| {
        let mut recorded = input.recorded.clone();
        recorded.quorum = Some(known(&["m1", "m2", "m3"]));
        let input = crate::PlanInput {
            recorded: &recorded,
            ..*input
        };
        let mut draft = crate::plan::draft::Draft::new(&input);
        draft.begin_proving(recorded.rollout.clone().unwrap());
        draft.next.proving.map(|proving| proving.members_before)
    });
    assert_eq!(seen, Some(BTreeSet::from([member("m1")])));
    // It goes back to these.
    goes_on(&mut fixture, 30);
    breaks(&mut fixture, "web-2");
    let proving = fixture.recorded.proving.as_mut().unwrap();
    proving.members_before = seen.unwrap();
    let back = fixture.with_input(|input| {
        let mut recorded = input.recorded.clone();
        recorded.quorum = Some(RecordedQuorum {
            stable: BTreeSet::from([member("m1"), member("m2")]),
            ..known(&["m1", "m2"])
        });
        let input = crate::PlanInput {
            recorded: &recorded,
            ..*input
        };
        let mut draft = crate::plan::draft::Draft::new(&input);
        draft.next.accepted.clone_from(&recorded.accepted);
        assert!(draft.track_proving().is_some());
        draft.next.quorum.map(|quorum| quorum.stable)
    });
    assert_eq!(back, Some(BTreeSet::from([member("m1")])));
}

#[test]
fn one_of_several_says_nothing_about_the_template() {
    for (size, made_from_target) in [(1, false), (2, true), (3, true)] {
        let (mut fixture, before) = completed(size);
        fixture.group.spec.rollout.failure_threshold = None;
        breaks(&mut fixture, "web-1");
        let (plan, _) = fixture.planned();
        let target = fixture.digests();
        let expected = if made_from_target { &target } else { &before };
        assert_eq!(made(&plan), [expected], "{size}");
        assert_eq!(plan.next.proving.is_some(), made_from_target, "{size}");
    }
    let (mut fixture, before) = completed(3);
    fixture.group.spec.rollout.failure_threshold = None;
    breaks(&mut fixture, "web-1");
    goes_on(&mut fixture, 40);
    breaks(&mut fixture, "web-2");
    assert_eq!(fixture.planned().0.next.stable, Some(before));
}

#[test]
fn as_many_have_to_fail_as_before_it_had_completed() {
    let (mut fixture, before) = completed(20);
    fixture.group.spec.rollout.failure_threshold = None;
    breaks(&mut fixture, "web-2");
    let plan = goes_on(&mut fixture, 40);
    assert_eq!(plan.next.stable, Some(fixture.digests()), "of two");
    assert_eq!(made(&plan), [&fixture.digests()], "it is healed as ever");
    let failed = |proving: &Proving| proving.rollout.failures.len();
    assert_eq!(plan.next.proving.as_ref().map(failed), Some(1));
    // The same one does not count twice, though it is there for some time.
    let plan = goes_on(&mut fixture, 50);
    assert_eq!(plan.next.proving.as_ref().map(failed), Some(1));
    breaks(&mut fixture, "web-3");
    let plan = goes_on(&mut fixture, 60);
    assert_eq!((plan.next.stable, plan.next.proving), (Some(before), None));
}

/// Whether an instance that breaks lets the rollout fail after all.
fn still_fails(fixture: &mut Fixture) -> bool {
    let stable = fixture.recorded.stable.clone();
    breaks(fixture, "web-2");
    let (plan, _) = fixture.planned();
    assert_eq!(fixture.recorded.phase, GroupPhase::Converged);
    if plan.next.stable == stable {
        assert_eq!((plan.next.rollout, plan.next.proving), (None, None));
        return false;
    }
    true
}

#[test]
fn time_ends_the_watch() {
    // They were ready a minute before noon, and monitor is five.
    let (mut fixture, _) = completed(3);
    fixture.later(239);
    assert!(still_fails(&mut fixture));
    let (mut fixture, before) = completed(3);
    fixture.later(240);
    // Its end alone makes no commit.
    assert_eq!(fixture.planned().0.next, fixture.recorded);
    assert!(!still_fails(&mut fixture));
    // With it goes what was kept for it.
    let (plan, _) = fixture.planned();
    assert!(!plan.next.templates.contains_key(&before));
    // Nothing is left to be watched of what has been ready for long.
    let (mut fixture, _) = last_step(3);
    for memory in fixture.memory.values_mut() {
        memory.ready_at = Some(at(-300));
    }
    assert_eq!(fixture.planned().0.next.proving, None);
}

#[test]
fn another_document_ends_the_watch_and_the_sizes_of_a_policy_do_not() {
    let (mut fixture, _) = completed(3);
    assert!(still_fails(&mut fixture));
    let accepted = fixture.recorded.accepted.as_mut().unwrap();
    accepted.text = "kind: Group # before".into();
    assert!(!still_fails(&mut fixture));

    let (mut fixture, before) = completed(3);
    fixture.decisions.size = Some(SizeDecision::Chosen {
        size: 4,
        asked: 4_u32.into(),
        verdict: Verdict {
            policy: PolicyName::parse("load").unwrap(),
            binding: BindingName::parse("load").unwrap(),
            point: DecisionPoint::Size,
            enforcement: Enforcement::Deny,
            outcome: Outcome::Passed,
            message: String::new(),
            span: SourceSpan::start_of("policies/load.yaml"),
            values: BTreeMap::new(),
            digest: String::new(),
        },
    });
    goes_on(&mut fixture, 40);
    assert_eq!(fixture.recorded.size, 4);
    breaks(&mut fixture, "web-2");
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.stable, Some(before));
}

#[test]
fn without_a_template_from_before_nothing_is_watched() {
    let (mut fixture, before) = last_step(3);
    fixture.recorded.stable = None;
    assert_eq!(fixture.planned().0.next.proving, None);
    // Nor is a template from before that nobody had.
    fixture.recorded.stable = Some(before);
    fixture.recorded.stable_size = 0;
    assert_eq!(fixture.planned().0.next.proving, None);
    fixture.recorded.stable_size = 3;
    assert!(fixture.planned().0.next.proving.is_some());
    // Where failures change nothing there is nothing to watch for.
    fixture.group.spec.rollout.on_failure = OnFailure::Continue;
    assert_eq!(fixture.planned().0.next.proving, None);
    let (mut fixture, _) = completed(3);
    fixture.group.spec.rollout.on_failure = OnFailure::Continue;
    assert!(!still_fails(&mut fixture));
}

#[test]
fn who_is_asked_to_go_says_nothing_about_the_template() {
    let (mut fixture, _) = completed(3);
    breaks(&mut fixture, "web-2");
    fixture.interrupt("web-2", at(600));
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.stable, Some(fixture.digests()));
}

#[test]
fn the_removal_of_a_group_ends_the_watch() {
    let (mut fixture, _) = completed(3);
    fixture.removed = true;
    fixture.group.spec.deletion.protect = false;
    let (plan, _) = fixture.planned();
    assert_eq!(
        (plan.next.phase, plan.next.proving),
        (GroupPhase::Deleting, None)
    );
}
