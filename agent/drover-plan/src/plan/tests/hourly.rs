//! What hourly limits leave for what is missing or broken.

use std::time::Duration;

use drover_model::{Amount, Expiry, RateSlot};

use super::*;

/// What was made and ended ten minutes ago.
fn rates(created: u32, destroyed: u32) -> Vec<RateSlot> {
    vec![RateSlot {
        since: at(-600),
        created,
        destroyed,
        size: 4,
    }]
}

/// Four instances of a template that is not in force any more, in a group that may make six within the hour.
fn outdated() -> Fixture {
    let mut fixture = Fixture::converged(4);
    fixture.group.spec.template = template(2);
    fixture.group.spec.limits.create_hourly_max = Some(6);
    fixture
}

/// Returns how many steps a plan has for `cause`, and what its holds say of the rest of the hour.
fn steps_for(fixture: &Fixture, cause: Cause) -> (usize, Option<(u32, u32)>) {
    let (plan, report) = fixture.planned();
    let steps = plan.steps.iter().filter(|step| step.cause == cause);
    let reserved = report.holds.iter().find_map(|held| match held.hold {
        Hold::CreateLimit { limit, reserved } | Hold::DestroyRate { limit, reserved } => {
            Some((limit, reserved))
        }
        _ => None,
    });
    (steps.count(), reserved)
}

#[test]
fn an_update_leaves_half_of_the_hour_for_what_is_missing() {
    let mut fixture = outdated();
    let update = Cause::Because(Reason::Update);
    fixture.recorded.rates = rates(2, 0);
    assert_eq!(steps_for(&fixture, update), (1, None));
    fixture.recorded.rates = rates(3, 0);
    assert_eq!(steps_for(&fixture, update), (0, Some((6, 3))));
    // A larger limit leaves as many as the group has.
    fixture.group.spec.limits.create_hourly_max = Some(20);
    fixture.recorded.rates = rates(15, 0);
    assert_eq!(steps_for(&fixture, update).0, 1);
    fixture.recorded.rates = rates(16, 0);
    assert_eq!(steps_for(&fixture, update), (0, Some((20, 4))));
}

#[test]
fn what_is_missing_has_the_whole_hour() {
    let mut fixture = outdated();
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture.recorded.rates = rates(5, 0);
    assert_eq!(steps_for(&fixture, Cause::ScaleOut).0, 1);
    fixture.recorded.rates = rates(6, 0);
    assert_eq!(steps_for(&fixture, Cause::ScaleOut), (0, Some((6, 0))));
}

#[test]
fn without_a_surge_nothing_is_retired_that_the_hour_has_no_successor_for() {
    let mut fixture = outdated();
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    let update = Cause::Because(Reason::Update);
    fixture.recorded.rates = rates(2, 0);
    assert_eq!(steps_for(&fixture, update), (1, None));
    fixture.recorded.rates = rates(3, 0);
    assert_eq!(steps_for(&fixture, update), (0, Some((6, 3))));
}

#[test]
fn expiry_leaves_half_of_both_hours() {
    let mut fixture = outdated();
    fixture.group.spec.template = template(1);
    fixture.group.spec.expiry = Some(Expiry {
        age_max: Duration::from_secs(1),
        jitter_percent: 0,
    });
    fixture.group.spec.limits.destroy_hourly_max = Some(4);
    let expiry = Cause::Because(Reason::Expiry);
    assert_eq!(steps_for(&fixture, expiry), (1, None));
    fixture.recorded.rates = rates(3, 0);
    assert_eq!(steps_for(&fixture, expiry), (0, Some((6, 3))));
    fixture.recorded.rates = rates(0, 2);
    assert_eq!(steps_for(&fixture, expiry), (0, Some((4, 2))));
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture.recorded.rates = rates(0, 3);
    assert_eq!(steps_for(&fixture, Cause::Because(Reason::Heal)).0, 1);
    // Without a surge nothing is retired that the hour has no successor for.
    fixture.list("web-1", ProviderPhase::Running);
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    fixture.recorded.rates = rates(2, 0);
    assert_eq!(steps_for(&fixture, expiry), (1, None));
    fixture.recorded.rates = rates(3, 0);
    assert_eq!(steps_for(&fixture, expiry), (0, Some((6, 3))));
}
