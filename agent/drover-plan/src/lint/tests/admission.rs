use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{Budget, BudgetName, Cron, Protect, RateSlot, Share, Window, WindowKind, Zone};

use super::*;

fn window(kind: WindowKind, cron: &str) -> Window {
    Window {
        kind,
        cron: Cron::parse(cron).unwrap(),
        duration: Duration::from_hours(1),
        zone: Zone::utc(),
        reasons: BTreeSet::from([Reason::Update]),
    }
}

/// Six outdated instances, half of which may be missing.
fn outdated() -> Fixture {
    let mut fixture = without_drain(6);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(3);
    fixture
}

fn updates(fixture: &Fixture, count: u32) -> Vec<Step> {
    (1..=count)
        .map(|number| destroy(fixture, &format!("web-{number}"), Reason::Update))
        .collect()
}

#[test]
fn refuses_to_begin_outside_the_windows() {
    let mut fixture = outdated();
    let steps = updates(&fixture, 1);
    let closed = Err(LintError::WindowClosed {
        reason: Reason::Update,
    });
    for (kind, cron, expected) in [
        (WindowKind::Allow, "0 12 * * *", Ok(())),
        (WindowKind::Allow, "30 11 * * *", Ok(())),
        (WindowKind::Allow, "0 11 * * *", closed.clone()),
        (WindowKind::Allow, "1 12 * * *", closed.clone()),
        (WindowKind::Deny, "0 12 * * *", closed),
        (WindowKind::Deny, "0 13 * * *", Ok(())),
    ] {
        fixture.group.spec.windows = vec![window(kind, cron)];
        assert_eq!(with(&fixture, steps.clone()), expected, "{kind:?} {cron}");
    }
}

#[test]
fn refuses_what_is_protected() {
    let mut fixture = outdated();
    fixture.group.spec.protect = vec![Protect {
        instances: BTreeSet::from([id("web-2")]),
        from: BTreeSet::from([Reason::Update]),
        until: Some(at(1)),
        because: None,
    }];
    assert_eq!(with(&fixture, updates(&fixture, 1)), Ok(()));
    let found = with(&fixture, updates(&fixture, 2));
    assert_eq!(found, Err(LintError::Protected(id("web-2"))));
    fixture.group.spec.protect[0].until = Some(at(0));
    assert_eq!(with(&fixture, updates(&fixture, 2)), Ok(()));
}

#[test]
fn refuses_more_than_a_budget() {
    let mut fixture = outdated();
    fixture.group.spec.budgets = vec![Budget {
        reasons: BTreeSet::from([Reason::Update]),
        max: Amount::Count(2),
    }];
    assert_eq!(with(&fixture, updates(&fixture, 2)), Ok(()));
    let over = Err(LintError::OverBudget { max: 2 });
    assert_eq!(with(&fixture, updates(&fixture, 3)), over);
    // What is missing for another cause counts.
    fixture.list("web-6", ProviderPhase::Pending);
    assert_eq!(with(&fixture, updates(&fixture, 1)), Ok(()));
    assert_eq!(with(&fixture, updates(&fixture, 2)), over);
}

#[test]
fn refuses_more_than_the_part_of_what_groups_share() {
    let mut fixture = outdated();
    fixture.peers.shares = vec![Share {
        budget: BudgetName::parse("disks").unwrap(),
        reasons: BTreeSet::from([Reason::Update]),
        max: 5,
        room: 2,
        taken_by: BTreeSet::new(),
    }];
    assert_eq!(with(&fixture, updates(&fixture, 2)), Ok(()));
    let over = Err(LintError::OverBudget { max: 2 });
    assert_eq!(with(&fixture, updates(&fixture, 3)), over);
}

#[test]
fn refuses_to_update_before_a_group_it_depends_on() {
    let mut fixture = outdated();
    let db = GroupName::parse("db").unwrap();
    fixture.group.spec.depends_on = vec![db.clone()];
    let steps = updates(&fixture, 1);
    let early = Err(LintError::DependencyNotReady);
    assert_eq!(with(&fixture, steps.clone()), early);
    fixture.peers.converged.insert(db);
    assert_eq!(with(&fixture, steps), Ok(()));
}

#[test]
fn refuses_more_than_the_hour_allows() {
    let mut fixture = without_drain(6);
    fixture.recorded.rates = vec![RateSlot {
        since: at(-600),
        created: 5,
        destroyed: 5,
        size: 6,
    }];
    fixture.group.spec.limits.total_max = None;
    fixture.group.spec.limits.create_hourly_max = Some(6);
    fixture.group.spec.limits.destroy_hourly_max = Some(6);
    fixture.group.spec.rollout.surge_max = Amount::Count(3);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(3);
    let over = Err(LintError::OverTheHour { limit: 6 });
    let one = vec![create(&fixture, &["web-50"])];
    let two = vec![create(&fixture, &["web-50", "web-51"])];
    assert_eq!(with(&fixture, one), Ok(()));
    assert_eq!(with(&fixture, two), over);
    for dead in ["web-1", "web-2"] {
        fixture.list(dead, ProviderPhase::Exited(ExitReport::default()));
    }
    let heals = |count: usize| {
        let names = ["web-1", "web-2"];
        let steps = names
            .iter()
            .take(count)
            .map(|name| destroy(&fixture, name, Reason::Heal));
        let steps: Vec<Step> = steps.collect();
        // The planner's own steps are not what is looked at here.
        fixture.linted(|plan| {
            plan.steps = steps;
        })
    };
    assert_eq!(heals(1), Ok(()));
    assert_eq!(heals(2), over);
}
