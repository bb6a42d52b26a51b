//! How a rollout takes what becomes of the instances that it has brought already.

use drover_model::{Amount, CheckOutcome, OnFailure, Rollout, RolloutMode, RolloutState};

use super::*;

/// A rollout of six to version 2 that has come to half of them, which were ready an hour ago.
fn half_way() -> Fixture {
    let mut fixture = Fixture::converged(6);
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.failure_threshold = Some(1);
    for number in 4..=6 {
        fixture.known(&format!("web-{number}"), "Available");
        fixture.list(&format!("web-{number}"), ProviderPhase::Running);
    }
    let target = fixture.digests();
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(-60), 6));
    fixture
}

/// Lets instances end, each made of what it was made of.
fn break_some(fixture: &mut Fixture, numbers: &[u32]) {
    for number in numbers {
        let provider_ref = crate::testing::provider_ref(&format!("web-{number}"));
        let mut listed = fixture.listing.instances.iter_mut();
        let listed = listed.find(|listed| listed.provider_ref == provider_ref);
        listed.unwrap().phase = ProviderPhase::Exited(ExitReport::default());
    }
}

fn failed(fixture: &Fixture) -> Option<usize> {
    let rollout = fixture.planned().0.next.rollout?;
    let paused = matches!(rollout.state, RolloutState::Paused(_));
    paused.then_some(rollout.failures.len())
}

#[test]
fn what_a_rollout_brought_and_breaks_late_stops_it() {
    let mut fixture = half_way();
    assert_eq!(failed(&fixture), None);
    break_some(&mut fixture, &[4]);
    assert_eq!(failed(&fixture), Some(1));
    // It was as old when it broke, and nobody is to be replaced any more.
    for number in 1..=3 {
        fixture.known(&format!("web-{number}"), "Available");
        fixture.list(&format!("web-{number}"), ProviderPhase::Running);
    }
    assert_eq!(failed(&fixture), None);
    // One that fails its checks for long is as one that ended.
    let mut fixture = half_way();
    let why = "503".to_owned();
    fixture.signal("web-4", CheckOutcome::Failing { why });
    fixture.later(1);
    assert_eq!(failed(&fixture), None, "not yet");
    let why = "503".to_owned();
    fixture.signal("web-4", CheckOutcome::Failing { why });
    fixture.later(600);
    assert_eq!(failed(&fixture), Some(1));
}

#[test]
fn what_breaks_beside_others_says_nothing_about_the_template() {
    // A third of each.
    let mut fixture = half_way();
    break_some(&mut fixture, &[1, 4]);
    assert_eq!(failed(&fixture), None);
    // Two thirds of the new ones and one of the old ones: not more than twice as many.
    break_some(&mut fixture, &[5]);
    assert_eq!(failed(&fixture), None);
    break_some(&mut fixture, &[6]);
    assert_eq!(failed(&fixture), Some(3));
    // The old ones are repaired first, and the others do not count once they are.
    let mut fixture = half_way();
    break_some(&mut fixture, &[1, 4]);
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(fixture.recorded.instances[&id("web-4")].class, "Exited");
    fixture.unlist("web-1");
    fixture.later(30);
    let mut without = fixture.recorded.clone();
    without.instances.remove(&id("web-1"));
    fixture.recorded = without;
    assert_eq!(failed(&fixture), None);
    // An old one that is being repaired is a broken one.
    let mut fixture = half_way();
    fixture.destroy("web-1", Reason::Heal, IntentState::Sent);
    break_some(&mut fixture, &[4]);
    assert_eq!(failed(&fixture), None);
    // One that the rollout retired is not.
    let mut fixture = half_way();
    fixture.destroy("web-1", Reason::Update, IntentState::Sent);
    break_some(&mut fixture, &[4]);
    assert_eq!(failed(&fixture), Some(1));
}

#[test]
fn who_waits_for_a_person_anyway_is_not_stopped() {
    let broken = |change: &dyn Fn(&mut Fixture)| {
        let mut fixture = half_way();
        change(&mut fixture);
        break_some(&mut fixture, &[4]);
        failed(&fixture)
    };
    assert_eq!(broken(&|_| {}), Some(1));
    let opportunistic = broken(&|fixture| {
        fixture.group.spec.rollout.mode = RolloutMode::Opportunistic;
    });
    assert_eq!(opportunistic, None);
    let partition = broken(&|fixture| {
        fixture.group.spec.rollout.partition = Some(Amount::Count(3));
    });
    assert_eq!(partition, None);
    let paused = broken(&|fixture| fixture.group.spec.rollout.paused = true);
    assert_eq!(paused, None);
    let gated = broken(&|fixture| {
        fixture.decisions.gates = std::iter::once(gate(Reason::Update, "3")).collect();
    });
    assert_eq!(gated, None);
    let continues = broken(&|fixture| {
        fixture.group.spec.rollout.on_failure = OnFailure::Continue;
    });
    assert_eq!(continues, None);
    let taken = broken(&|fixture| fixture.interrupt("web-4", at(600)));
    assert_eq!(taken, None);
}

#[test]
fn an_instance_that_breaks_and_recovers_is_no_progress() {
    let overdue = |ready: i64| {
        let mut fixture = half_way();
        let rollout = fixture.recorded.rollout.as_mut().unwrap();
        rollout.progressed_at = at(-3600);
        fixture.known("web-6", "Suspect");
        let memory = fixture.memory.get_mut(&id("web-6")).unwrap();
        memory.ready_at = Some(at(ready));
        memory.healthy_since = Some(at(-40));
        assert_eq!(fixture.class("web-6"), "Available");
        failed(&fixture).is_some()
    };
    assert!(overdue(-7200), "it was available before the last progress");
    assert!(!overdue(-40), "it is available for the first time");
}
