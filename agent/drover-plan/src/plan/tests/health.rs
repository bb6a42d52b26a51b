//! How a rollout takes what becomes of the instances that it has brought already.

use drover_model::{Rollout, RolloutState};

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

fn failed(fixture: &Fixture) -> Option<usize> {
    let rollout = fixture.planned().0.next.rollout?;
    let paused = matches!(rollout.state, RolloutState::Paused(_));
    paused.then_some(rollout.failures.len())
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
