//! What is missing while the provider has no room, or had none for something else.

use std::collections::BTreeMap;

use drover_model::{
    Action, Cause, ErrorClass, Hold, IntentState, LaunchBackoff, Plan, ProviderPhase, Reason,
    Rollout, Timestamp,
};

use super::{creates, holds};
use crate::testing::{Fixture, at, id, provider_ref, template};

/// The fourth launch in a row failed a moment ago, of which the next one waits for 15 minutes.
fn backs_off(class: ErrorClass) -> LaunchBackoff {
    LaunchBackoff {
        failures: 4,
        until: at(900),
        class: Some(class),
        message: "room for 3 instances, 3 exist".to_owned(),
    }
}

/// Three should serve, of which one is missing, and nothing is known of it any more.
fn short_of_one(class: ErrorClass) -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.unlist("web-3");
    fixture.recorded.instances.remove(&id("web-3"));
    fixture.memory.remove(&id("web-3"));
    fixture.recorded.backoff = Some(backs_off(class));
    fixture
}

fn until(fixture: &Fixture) -> Option<Timestamp> {
    let (_, report) = fixture.planned();
    let backoff = |hold: &Hold| matches!(hold, Hold::LaunchBackoff { .. });
    let held = report.holds.iter().find(|held| backoff(&held.hold))?;
    held.until
}

fn made_for(plan: &Plan) -> Vec<Cause> {
    let made = plan.steps.iter();
    let made = made.filter(|step| matches!(step.action, Action::Create { .. }));
    made.map(|step| step.cause).collect()
}

#[test]
fn what_is_missing_waits_for_room_while_nothing_has_gone() {
    for class in [ErrorClass::Capacity, ErrorClass::Quota] {
        let mut fixture = short_of_one(class);
        fixture.later(60);
        assert!(creates(&fixture.planned().0).is_empty());
        assert_eq!(until(&fixture), Some(at(900)));
        fixture.later(900);
        assert_eq!(creates(&fixture.planned().0).len(), 1, "{class:?}");
    }
}

#[test]
fn what_is_above_the_size_waits_for_room_as_long_as_ever() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    let target = fixture.digests();
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(-60), 3));
    fixture.recorded.backoff = Some(backs_off(ErrorClass::Capacity));
    fixture.later(60);
    assert!(creates(&fixture.planned().0).is_empty());
    assert_eq!(until(&fixture), Some(at(900)));
    fixture.later(900);
    assert_eq!(
        made_for(&fixture.planned().0),
        [Cause::Because(Reason::Update)]
    );
}

#[test]
fn one_that_starts_is_no_reason_to_wait_for_room() {
    let mut fixture = short_of_one(ErrorClass::Capacity);
    fixture.group.spec.size = 4;
    fixture.recorded.size = 4;
    let made = BTreeMap::from([(id("web-4"), provider_ref("web-4"))]);
    fixture.create(&["web-4"], -5, IntentState::Acked { made, at: at(-4) });
    fixture.recorded.next_number = 5;
    fixture.recorded.backoff.as_mut().unwrap().until = at(60);
    fixture.later(60);
    assert_eq!(fixture.class("web-4"), "Starting");
    assert_eq!(creates(&fixture.planned().0).len(), 1);
    fixture.recorded.backoff = Some(LaunchBackoff {
        failures: 1,
        until: at(0),
        ..backs_off(ErrorClass::Unknown)
    });
    let (plan, report) = fixture.planned();
    assert!(creates(&plan).is_empty());
    assert!(holds(&report).contains(&"LaunchBackoff"));
}

#[test]
fn what_has_gone_made_room() {
    let gone = |class| {
        let mut fixture = Fixture::converged(3);
        fixture.list("web-3", ProviderPhase::Terminated);
        fixture.recorded.backoff = Some(backs_off(class));
        fixture.later(1);
        fixture
    };
    for class in [ErrorClass::Capacity, ErrorClass::Quota] {
        let (plan, report) = gone(class).planned();
        assert_eq!(creates(&plan).len(), 1, "{:?}", report.holds);
        assert_eq!(plan.next.backoff, None);
    }
    let (plan, _) = gone(ErrorClass::Auth).planned();
    assert!(creates(&plan).is_empty());
    assert_eq!(plan.next.backoff, Some(backs_off(ErrorClass::Auth)));
    // It was known to be gone before: nothing is new.
    let mut fixture = gone(ErrorClass::Capacity);
    fixture.recorded.instances.remove(&id("web-3"));
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.backoff, Some(backs_off(ErrorClass::Capacity)));
}
