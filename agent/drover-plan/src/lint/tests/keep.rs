use drover_model::{Cause, Kept};

use super::*;

fn kept(seconds: i64) -> Kept {
    Kept {
        since: at(-seconds),
        until: at(86_400 - seconds),
        because: "ended".to_owned(),
    }
}

/// Three instances, of which the first ended, and so many may be kept.
fn broken(max: u32) -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.heal.keep.max = max;
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture
}

/// Lints a plan in which `names` are kept instead of being touched.
fn keeping(fixture: &Fixture, names: &[&str]) -> Result<(), LintError> {
    fixture.linted(|plan| {
        plan.steps.clear();
        for name in names {
            plan.next.instances.get_mut(&id(name)).unwrap().kept = Some(kept(0));
        }
    })
}

#[test]
fn refuses_to_keep_what_is_not_bad_and_more_than_may_be() {
    assert_eq!(keeping(&broken(1), &["web-1"]), Ok(()));
    let found = keeping(&broken(2), &["web-2"]);
    assert!(matches!(found, Err(LintError::Keep { .. })), "{found:?}");
    let found = keeping(&broken(0), &["web-1"]);
    assert_eq!(found, Err(LintError::KeepsTooMany { kept: 1, max: 0 }));
    let mut fixture = broken(1);
    fixture.group.spec.limits.total_max = Some(4);
    let found = keeping(&fixture, &["web-1"]);
    assert_eq!(found, Err(LintError::KeepsTooMany { kept: 1, max: 0 }));
    let mut fixture = broken(1);
    fixture.group.spec.limits.destroy_hourly_max = Some(1);
    fixture.recorded.rates = vec![drover_model::RateSlot {
        since: at(-600),
        created: 0,
        destroyed: 1,
        size: 3,
    }];
    let found = keeping(&fixture, &["web-1"]);
    assert_eq!(found, Err(LintError::OverTheHour { limit: 1 }));
}

#[test]
fn refuses_to_keep_what_it_touches() {
    let fixture = broken(1);
    let step = destroy(&fixture, "web-1", Reason::Heal);
    let found = fixture.linted(|plan| plan.steps.push(step));
    assert!(matches!(found, Err(LintError::Keep { .. })), "{found:?}");
}

#[test]
fn refuses_to_take_what_is_kept_back_or_to_end_it_early() {
    let mut fixture = broken(1);
    fixture
        .recorded
        .instances
        .get_mut(&id("web-1"))
        .unwrap()
        .kept = Some(kept(60));
    assert_eq!(with(&fixture, vec![]), Ok(()));
    let found = fixture.linted(|plan| {
        plan.next.instances.get_mut(&id("web-1")).unwrap().kept = None;
    });
    assert!(matches!(found, Err(LintError::Keep { .. })), "{found:?}");
    let mut step = destroy(&fixture, "web-1", Reason::Heal);
    step.cause = Cause::KeptOver;
    let found = with(&fixture, vec![step.clone()]);
    assert!(matches!(found, Err(LintError::Keep { .. })), "{found:?}");
    fixture.group.spec.heal.keep.max = 0;
    fixture.now = at(0);
    let found = fixture.linted(|plan| {
        plan.steps.clear();
        plan.steps.push(step.clone());
    });
    assert_eq!(found, Ok(()));
    // Of one that was never kept it is no cause.
    let mut step = destroy(&fixture, "web-2", Reason::Heal);
    step.cause = Cause::KeptOver;
    let found = fixture.linted(|plan| {
        plan.steps.clear();
        plan.steps.push(step);
    });
    assert!(found.is_err());
}

#[test]
fn counts_what_is_kept_beside_the_ceiling() {
    let mut fixture = broken(1);
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    let honest = fixture.linted(|_| {});
    assert_eq!(honest, Ok(()), "its successor is made");
    let more = create(&fixture, &["web-50"]);
    let found = with(&fixture, vec![more]);
    let over = LintError::AboveCeiling {
        total: 5,
        ceiling: 4,
    };
    assert_eq!(found, Err(over));
}
