//! How fast is healed when many are bad at once.

use std::time::Duration;

use drover_model::{
    Amount, Cause, CheckOutcome, ErrorClass, ExitReport, InstanceMemory, LaunchBackoff,
    ProviderPhase, Reason, SystemicMode,
};

use super::holds;
use crate::testing::{Fixture, at, id};

const EXITED: fn() -> ProviderPhase = || ProviderPhase::Exited(ExitReport::default());

/// Of ten, those up to the eighth have ended at noon, and all might be replaced at once.
fn eight_of_ten_ended() -> Fixture {
    let mut fixture = Fixture::converged(10);
    fixture.group.spec.heal.in_flight_max = Amount::Percent(100);
    for number in 1..=8 {
        fixture.list(&format!("web-{number}"), EXITED());
    }
    fixture
}

/// Lets an instance be replaced by another one that is ready so many seconds after noon.
fn replace(fixture: &mut Fixture, old: &str, new: &str, ready: i64) {
    fixture.unlist(old);
    fixture.recorded.instances.remove(&id(old));
    fixture.memory.remove(&id(old));
    fixture.known(new, "Available");
    let memory = InstanceMemory {
        healthy_since: Some(at(ready)),
        ready_at: Some(at(ready)),
        ..InstanceMemory::new(at(ready))
    };
    fixture.memory.insert(id(new), memory);
    fixture.list(new, ProviderPhase::Running);
}

fn healed(fixture: &Fixture) -> usize {
    let (plan, report) = fixture.planned();
    assert!(holds(&report).contains(&"Systemic"), "{:?}", report.holds);
    let heals = plan.steps.iter();
    let heals = heals.filter(|step| step.cause == Cause::Because(Reason::Heal));
    heals.count()
}

#[test]
fn each_replacement_that_serves_lets_one_more_of_those_that_ended_follow() {
    let mut fixture = eight_of_ten_ended();
    assert_eq!(
        healed(&fixture),
        1,
        "those that served before prove nothing"
    );
    fixture.later(60);
    replace(&mut fixture, "web-1", "web-11", 60);
    fixture.later(100);
    assert_eq!(healed(&fixture), 2);
    replace(&mut fixture, "web-2", "web-12", 100);
    replace(&mut fixture, "web-3", "web-13", 100);
    fixture.later(140);
    assert_eq!(healed(&fixture), 4);
    fixture.group.spec.heal.in_flight_max = Amount::Count(3);
    assert_eq!(healed(&fixture), 3, "no faster than otherwise");
    fixture.group.spec.heal.systemic.mode = SystemicMode::Stop;
    assert_eq!(healed(&fixture), 0);
}

#[test]
fn a_replacement_that_fails_slows_healing_down_again() {
    let mut fixture = eight_of_ten_ended();
    fixture.later(60);
    replace(&mut fixture, "web-1", "web-11", 60);
    replace(&mut fixture, "web-2", "web-12", 60);
    fixture.later(100);
    assert_eq!(healed(&fixture), 3);
    let well = fixture.recorded.clone();
    fixture.recorded.backoff = Some(LaunchBackoff {
        failures: 1,
        until: at(90),
        class: None,
        message: "exited with status 1".to_owned(),
    });
    assert_eq!(healed(&fixture), 1, "a launch failed");
    let backoff = fixture.recorded.backoff.as_mut();
    backoff.unwrap().class = Some(ErrorClass::Capacity);
    assert_eq!(healed(&fixture), 3, "no fault of what was made");
    fixture.recorded = well;
    fixture.list("web-12", EXITED());
    assert_eq!(healed(&fixture), 1);
    // Those that are ready after that count anew.
    fixture.later(110);
    replace(&mut fixture, "web-3", "web-13", 120);
    fixture.later(160);
    assert_eq!(healed(&fixture), 2);
}

#[test]
fn those_that_may_be_well_are_replaced_one_at_a_time() {
    let mut fixture = Fixture::converged(10);
    fixture.group.spec.heal.in_flight_max = Amount::Percent(100);
    fixture.group.spec.health.unhealthy_after = Duration::from_secs(10);
    for number in 1..=6 {
        fixture.signal(
            &format!("web-{number}"),
            CheckOutcome::Failing {
                why: "no answer".to_owned(),
            },
        );
    }
    fixture.later(60);
    replace(&mut fixture, "web-1", "web-11", 60);
    fixture.later(100);
    assert_eq!(fixture.class("web-2"), "Unhealthy");
    assert_eq!(healed(&fixture), 1);
    // Beside those that ended, too.
    for number in 7..=8 {
        fixture.list(&format!("web-{number}"), EXITED());
    }
    fixture.later(101);
    replace(&mut fixture, "web-2", "web-12", 110);
    replace(&mut fixture, "web-3", "web-13", 110);
    replace(&mut fixture, "web-4", "web-14", 110);
    fixture.later(150);
    assert_eq!(healed(&fixture), 2, "those that ended, and no other");
}
