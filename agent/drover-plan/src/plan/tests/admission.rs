use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Amount, Budget, BudgetName, Cron, Expiry, GroupName, Lifecycle, OnFailure, PauseCause, Protect,
    RateSlot, Rollout, RolloutMode, RolloutState, SettlementOutcome, Share, Step, Window,
    WindowKind, Zone,
};

use super::*;
use crate::testing::provider_ref;

fn slot(created: u32, destroyed: u32, size: u32) -> RateSlot {
    RateSlot {
        since: at(-600),
        created,
        destroyed,
        size,
    }
}

fn drained(plan: &Plan) -> Vec<String> {
    let drains = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Drain { instance, .. } => Some(instance.to_string()),
        _ => None,
    });
    drains.collect()
}

fn budget(reasons: &[Reason], count: u32) -> Budget {
    Budget {
        reasons: reasons.iter().copied().collect(),
        max: Amount::Count(count),
    }
}

/// Ten instances, one of which was just made and is not ready, and half of which may be missing.
fn short_of_one() -> Fixture {
    let mut fixture = Fixture::converged(10);
    fixture.known("web-10", "Starting");
    fixture.list("web-10", ProviderPhase::Pending);
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(5);
    fixture.group.spec.rollout.first_batch = 5;
    fixture
}

#[test]
fn missing_capacity_uses_up_a_budget_of_what_may_wait() {
    let mut fixture = short_of_one();
    let (plan, _) = fixture.planned();
    assert_eq!(drained(&plan).len(), 4, "beside the one that is not ready");
    fixture.group.spec.budgets = vec![budget(&[Reason::Update], 3)];
    let (plan, report) = fixture.planned();
    assert_eq!(drained(&plan), ["web-1", "web-2"]);
    let used = Hold::BudgetExhausted { used: 3, max: 3 };
    assert!(report.holds.iter().any(|held| held.hold == used));
}

#[test]
fn what_the_provider_takes_is_replaced_beside_the_surge_and_let_go_when_its_successor_serves() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    fixture.interrupt("web-1", at(3600));
    let (plan, _) = fixture.planned();
    assert_eq!(creates(&plan)[0].0.len(), 1);
    assert_eq!(plan.steps[0].cause, Cause::Because(Reason::Interruption));
    assert_eq!(drained(&plan).len(), 0, "there is time");
    fixture.list("web-4", ProviderPhase::Running);
    fixture.known("web-4", "Available");
    let (plan, _) = fixture.planned();
    assert_eq!(drained(&plan), ["web-1"]);
    assert_eq!(creates(&plan).len(), 0);
    // What exists may never be more than that.
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    fixture.memory.remove(&id("web-4"));
    fixture.group.spec.limits.total_max = Some(3);
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["TotalLimit"]);
}

#[test]
fn what_the_provider_takes_soon_is_drained_while_there_is_time() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.drain.timeout = Duration::from_mins(5);
    fixture.interrupt("web-1", at(600));
    let (plan, _) = fixture.planned();
    assert_eq!(drained(&plan).len(), 0);
    assert_eq!(plan.wake_at, Some(at(1)), "a look at what was made");
    fixture.interrupt("web-1", at(300));
    let (plan, _) = fixture.planned();
    assert_eq!(drained(&plan), ["web-1"], "below the floor, if it must be");
}

#[test]
fn a_plan_takes_no_more_than_its_part_of_what_groups_share() {
    let mut fixture = short_of_one();
    let share = |room| Share {
        budget: BudgetName::parse("disks").unwrap(),
        reasons: BTreeSet::from([Reason::Update]),
        max: 3,
        room,
        taken_by: BTreeSet::from([GroupName::parse("db").unwrap()]),
    };
    fixture.peers.shares = vec![share(2)];
    let (plan, report) = fixture.planned();
    assert_eq!(drained(&plan), ["web-1", "web-2"]);
    assert_eq!(report.disturbance.begun[&Reason::Update], 2);
    assert_eq!(report.disturbance.leaving[&Some(Reason::Update)], 2);
    assert_eq!(
        report.disturbance.short, 3,
        "beside the one that is not ready"
    );
    let wanted = Hold::FleetBudgetExhausted {
        budget: BudgetName::parse("disks").unwrap(),
        max: 3,
        taken_by: vec![GroupName::parse("db").unwrap()],
    };
    let held = report.holds.iter().find(|held| held.hold == wanted);
    assert_eq!(held.unwrap().reason, Some(Reason::Update));
    fixture.peers.shares = vec![share(0)];
    assert_eq!(drained(&fixture.planned().0).len(), 0);
}

#[test]
fn a_budget_that_names_healing_counts_what_is_being_healed_and_nothing_else() {
    let mut fixture = Fixture::converged(10);
    for dead in ["web-1", "web-2", "web-3"] {
        fixture.list(dead, ProviderPhase::Exited(ExitReport::default()));
    }
    fixture.group.spec.heal.in_flight_max = Amount::Percent(100);
    fixture.group.spec.heal.systemic.threshold = Amount::Percent(100);
    let destroys = |fixture: &Fixture| fixture.planned().0.steps.len();
    let unlimited = destroys(&fixture);
    fixture.group.spec.budgets = vec![budget(&[Reason::Update], 1)];
    assert_eq!(destroys(&fixture), unlimited);
    fixture.group.spec.budgets = vec![budget(&[Reason::Heal], 1)];
    let (plan, report) = fixture.planned();
    let healed = plan
        .steps
        .iter()
        .filter(|step| step.cause == Cause::Because(Reason::Heal));
    assert_eq!(healed.count(), 1);
    assert!(holds(&report).contains(&"BudgetExhausted"));
}

#[test]
fn a_group_that_shrank_can_still_replace_what_dies() {
    let mut fixture = Fixture::converged(3);
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture.recorded.rates = vec![slot(100, 0, 3)];
    let (plan, report) = fixture.planned();
    assert!(creates(&plan).is_empty());
    assert!(holds(&report).contains(&"CreateLimit"));
    fixture.recorded.rates = vec![slot(100, 0, 100)];
    let (plan, _) = fixture.planned();
    assert_eq!(creates(&plan).len(), 1);
    // A slot that began before the hour and ended within it: the lint takes its size for it, too.
    let larger = RateSlot {
        since: at(-62 * 60),
        ..slot(0, 1, 100)
    };
    fixture.recorded.rates = vec![larger, slot(100, 0, 3)];
    let (plan, _) = fixture.planned();
    assert_eq!(creates(&plan).len(), 1);
}

#[test]
fn only_a_written_limit_of_creations_holds_an_ephemeral_group() {
    let mut fixture = Fixture::converged(3);
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture.recorded.rates = vec![slot(100, 0, 3)];
    fixture.group.spec.lifecycle = Lifecycle::Ephemeral;
    assert_eq!(creates(&fixture.planned().0).len(), 1);
    fixture.group.spec.limits.create_hourly_max = Some(100);
    assert!(creates(&fixture.planned().0).is_empty());
}

#[test]
fn what_was_made_counts_for_the_hour_though_nobody_saw_it() {
    let mut fixture = Fixture::converged(3);
    fixture.visibility = Duration::ZERO;
    fixture.group.spec.limits.create_hourly_max = Some(5);
    let made = [(id("web-4"), provider_ref("web-4"))];
    let acked = IntentState::Acked {
        made: BTreeMap::from(made),
        at: at(-300),
    };
    fixture.create(&["web-4"], -301, acked);
    fixture.later(0).later(70);
    assert_eq!(fixture.class("web-4"), "gone");
    let (plan, _) = fixture.planned();
    let slot = plan.next.rates.last().expect("a slot");
    assert_eq!(slot.created, 1);
}

#[test]
fn what_only_the_journal_knows_counts_for_the_ceiling_and_for_the_certificate() {
    let mut fixture = Fixture::converged(3);
    fixture.destroy("web-9", Reason::Heal, IntentState::Intended);
    fixture.list("web-3", ProviderPhase::Exited(ExitReport::default()));
    let (plan, report) = fixture.planned();
    // Three are listed, one may exist, and there may be four.
    assert!(creates(&plan).is_empty());
    assert!(holds(&report).contains(&"SurgeExhausted"));
    let heals = |step: &&Step| matches!(&step.action, Action::Destroy { instance, .. } if *instance == id("web-3"));
    assert_eq!(plan.steps.iter().filter(heals).count(), 1);
    assert_eq!(plan.allowance.ending_max, 2, "the one beside the other");
}

#[test]
fn the_remains_of_a_failed_launch_count_for_no_hour() {
    let rates_after = |class: &str| {
        let mut fixture = Fixture::converged(3);
        fixture.known("web-1", class);
        fixture.unlist("web-1");
        let acked = IntentState::Acked {
            made: BTreeMap::new(),
            at: at(-5),
        };
        fixture.destroy("web-1", Reason::Heal, acked);
        let settled = fixture.classified().settled;
        assert_eq!(settled[0].outcome, SettlementOutcome::Observed);
        fixture.planned().0.next.rates
    };
    assert_eq!(rates_after("Starting"), []);
    assert_eq!(rates_after("Unhealthy")[0].destroyed, 1);
}

#[test]
fn what_is_too_old_goes_where_a_rollout_rests_for_good() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    fixture.group.spec.expiry = Some(Expiry {
        age_max: Duration::from_mins(30),
        jitter_percent: 0,
    });
    let made_for_expiry = |fixture: &Fixture| {
        let (plan, _) = fixture.planned();
        plan.steps
            .iter()
            .any(|step| step.cause == Cause::Because(Reason::Expiry))
    };
    assert!(!made_for_expiry(&fixture), "the rollout replaces them");
    fixture.group.spec.rollout.mode = RolloutMode::Opportunistic;
    assert!(made_for_expiry(&fixture));
}

fn expiring(mut fixture: Fixture) -> Fixture {
    fixture.group.spec.expiry = Some(Expiry {
        age_max: Duration::from_secs(1),
        jitter_percent: 0,
    });
    fixture
}

/// Counts what is made for `reason`.
fn made_for(plan: &Plan, reason: Reason) -> usize {
    let made = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { slots, .. } if step.cause == Cause::Because(reason) => Some(slots.len()),
        _ => None,
    });
    made.sum()
}

#[test]
fn who_takes_the_place_of_the_interrupted_is_nobody_elses_successor() {
    let mut fixture = expiring(Fixture::converged(3));
    fixture.group.spec.rollout.surge_max = Amount::Count(3);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(3);
    fixture.interrupt("web-1", at(3600));
    let (plan, _) = fixture.planned();
    assert_eq!(made_for(&plan, Reason::Interruption), 1);
    assert_eq!(made_for(&plan, Reason::Expiry), 2);
}

#[test]
fn the_plan_that_ends_a_paused_rollout_replaces_what_is_too_old() {
    let mut fixture = expiring(Fixture::converged(1));
    let target = fixture.recorded.stable.take().unwrap();
    fixture.recorded.stable_size = 0;
    let paused = PauseCause::Failures {
        failed: 1,
        threshold: 1,
        last: None,
    };
    fixture.recorded.rollout = Some(Rollout {
        state: RolloutState::Paused(paused),
        ..Rollout::new(target.clone(), at(-3600), 1)
    });
    let (plan, report) = fixture.planned();
    assert_eq!(plan.next.stable, Some(target));
    assert_eq!(made_for(&plan, Reason::Expiry), 1, "{:?}", report.holds);
}

#[test]
fn a_limit_of_the_hour_is_no_new_beginning_for_the_deadline() {
    let mut fixture = Fixture::converged(3);
    let old = fixture.digests();
    fixture.group.spec.template = template(2);
    let target = fixture.digests();
    fixture.list("web-4", ProviderPhase::Pending);
    fixture.known("web-4", "Starting");
    let template = fixture.group.spec.template.clone();
    fixture.recorded.templates.insert(target.clone(), template);
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.next_number = 5;
    fixture.recorded.rollout = Some(Rollout::new(target, at(-120), 3));
    fixture.recorded.rates = vec![slot(4, 0, 3)];
    fixture.group.spec.limits.create_hourly_max = Some(4);
    let progressed = |fixture: &Fixture| {
        let rollout = fixture.planned().0.next.rollout;
        rollout.map(|rollout| rollout.progressed_at)
    };
    // While one of its instances is on the way, that one makes no progress.
    assert_eq!(progressed(&fixture), Some(at(-120)));
    // With none on the way the clock stood still, and goes on when one may be made.
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    fixture.memory.remove(&id("web-4"));
    assert_ne!(old, fixture.digests());
    let waits = fixture.planned().0.next;
    assert!(waits.rollout.as_ref().unwrap().clock_stood_still);
    fixture.recorded = waits;
    fixture.recorded.holds.clear();
    assert_eq!(progressed(&fixture), Some(at(-120)));
    fixture.group.spec.limits.create_hourly_max = Some(8);
    assert_eq!(progressed(&fixture), Some(at(0)));
}

#[test]
fn a_dependency_withholds_growth_and_updates_and_nothing_else() {
    let mut fixture = Fixture::converged(3);
    let db = GroupName::parse("db").unwrap();
    fixture.group.spec.depends_on = vec![db.clone()];
    fixture.group.spec.size = 5;
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["DependencyNotReady"]);
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    assert_eq!(creates(&fixture.planned().0).len(), 1, "healed");
    fixture.peers.converged.insert(db);
    assert_eq!(creates(&fixture.planned().0)[0].0.len(), 3, "and grown");
}

#[test]
fn what_is_protected_from_healing_is_not_healed() {
    let mut fixture = Fixture::converged(3);
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    let protect = |from: &[Reason], until: i64| Protect {
        instances: std::iter::once(id("web-1")).collect(),
        from: from.iter().copied().collect(),
        until: Some(at(until)),
        because: None,
    };
    fixture.group.spec.protect = vec![protect(&[Reason::Heal], 60)];
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["ProtectedInstance"]);
    assert_eq!(plan.wake_at, Some(at(60)));
    fixture.group.spec.protect = vec![protect(&[Reason::Heal], 0)];
    assert!(!fixture.planned().0.steps.is_empty(), "no longer");
    fixture.group.spec.protect = vec![protect(&[Reason::Update], 60)];
    assert!(!fixture.planned().0.steps.is_empty(), "not from that");
}

#[test]
fn a_budget_that_others_use_up_is_no_fault_of_the_template() {
    let mut fixture = Fixture::converged(4);
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture.group.spec.template = template(2);
    let target = fixture.digests();
    let template = fixture.group.spec.template.clone();
    fixture.recorded.templates.insert(target.clone(), template);
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(-7200), 4));
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(2);
    // One is broken, a person keeps it to look at it, and so the budget has no room.
    fixture.group.spec.protect = vec![Protect {
        instances: std::iter::once(id("web-1")).collect(),
        from: [Reason::Heal, Reason::Update].into(),
        until: None,
        because: None,
    }];
    let state = |fixture: &Fixture| fixture.planned().0.next.rollout.unwrap().state;
    let paused = RolloutState::Paused(PauseCause::Deadline);
    fixture.group.spec.budgets = vec![budget(&[Reason::Update], 1)];
    assert_eq!(state(&fixture), RolloutState::Progressing);
    assert!(holds(&fixture.planned().1).contains(&"BudgetExhausted"));
    // Where it has room, time without progress is the rollout's own.
    fixture.group.spec.budgets = vec![budget(&[Reason::Update], 2)];
    assert_eq!(state(&fixture), paused);
}

#[test]
fn what_is_gone_already_takes_nothing_from_the_allowance() {
    let mut fixture = Fixture::converged(4);
    fixture.group.spec.size = 3;
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    let (before, _) = fixture.planned();
    assert_eq!(drained(&before).len(), 2);
    assert_eq!(
        (before.allowance.ending_max, before.allowance.removed_max),
        (2, 1)
    );
    // The journal has the end of one that neither the listing nor the record has, and no two listings
    // prove yet that it is gone. The executor counts it among what is on its way out.
    let state = IntentState::Acked {
        made: BTreeMap::new(),
        at: at(0),
    };
    fixture.destroy("web-9", Reason::ScaleIn, state);
    assert_eq!(fixture.class("web-9"), "unknown");
    let (plan, _) = fixture.planned();
    assert_eq!(drained(&plan), drained(&before));
    assert_eq!(
        (plan.allowance.ending_max, plan.allowance.removed_max),
        (3, 2)
    );
    // What is proven to be gone is closed by the plan, and no longer counted by anybody.
    fixture.list("web-9", ProviderPhase::Terminated);
    let (plan, _) = fixture.planned();
    assert_eq!(
        (plan.allowance.ending_max, plan.allowance.removed_max),
        (2, 1)
    );
}

/// A rollout of `template(2)` that began two hours ago, in which nothing came of it.
fn late(fixture: &mut Fixture) {
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.on_failure = OnFailure::Rollback;
    let target = fixture.digests();
    let template = fixture.group.spec.template.clone();
    fixture.recorded.templates.insert(target.clone(), template);
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(-7200), fixture.recorded.size));
}

#[test]
fn a_template_is_not_to_blame_for_a_surplus_that_goes_slowly() {
    let mut fixture = Fixture::converged(6);
    late(&mut fixture);
    for size in [0, 2] {
        fixture.group.spec.size = size;
        fixture.recorded.size = size;
        let (plan, _) = fixture.planned();
        assert_eq!(plan.next.quarantine, None, "size {size}");
        let clock = plan
            .next
            .rollout
            .as_ref()
            .map(|rollout| rollout.progressed_at);
        assert_eq!(clock, Some(at(-7200)), "what waits makes no commit");
        // When the surplus is gone the deadline begins.
        fixture.recorded.next_number = 7;
        let (mut gone, left) = (Fixture::converged(6), plan.next);
        late(&mut gone);
        gone.group.spec.size = size;
        gone.recorded = left;
        for number in size + 1..=6 {
            let name = format!("web-{number}");
            gone.list(&name, ProviderPhase::Terminated);
        }
        let rollout = gone.planned().0.next.rollout;
        let progressed = rollout.map(|rollout| rollout.progressed_at);
        assert!(progressed.is_none_or(|at_| at_ == at(0)), "{progressed:?}");
    }
    // Without one, time without progress is the rollout's own.
    fixture.group.spec.size = 6;
    fixture.recorded.size = 6;
    assert!(fixture.planned().0.next.quarantine.is_some());
}

#[test]
fn the_first_instance_after_a_full_budget_has_the_whole_deadline() {
    let mut fixture = Fixture::converged(5);
    late(&mut fixture);
    fixture.group.spec.budgets = vec![budget(&[Reason::Update], 1)];
    // One has ended and may be replaced by one of the new template, and so the budget has no room.
    fixture.list("web-4", ProviderPhase::Terminated);
    let (plan, _) = fixture.planned();
    assert_eq!(creates(&plan).len(), 1);
    assert_eq!(plan.next.quarantine, None);
    fixture.recorded = plan.next;
    fixture.create(&["web-6"], 0, IntentState::Sent);
    assert_eq!(fixture.planned().0.next.quarantine, None);
}

/// More instances than anybody asked for, all of them too old, and a size that asks for few.
fn crowded() -> Fixture {
    let mut fixture = Fixture::converged(14);
    fixture.recorded.size = 8;
    fixture.recorded.stable_size = 8;
    fixture.group.spec.size = 1;
    fixture.group.spec.rollout.surge_max = Amount::Count(1);
    fixture
}

#[test]
fn a_surplus_that_may_not_go_is_not_removed_under_another_name() {
    let mut fixture = crowded();
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["DestroyLimit"]);
    fixture.group.spec.expiry = Some(Expiry {
        age_max: Duration::from_secs(1),
        jitter_percent: 0,
    });
    let (plan, _) = fixture.planned();
    assert!(plan.steps.is_empty(), "under expiry");
    fixture.group.spec.expiry = None;
    fixture.group.spec.template = template(2);
    let (plan, _) = fixture.planned();
    assert_eq!(drained(&plan).len(), 0, "under update");
    fixture.group.spec.limits.destroy_max = Some(Amount::Percent(100));
    assert!(drained(&fixture.planned().0).len() > 10);
}

#[test]
fn in_a_group_of_nobody_nothing_is_rolled() {
    let mut fixture = Fixture::converged(4);
    fixture.group.spec.size = 0;
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.surge_max = Amount::Count(2);
    fixture.group.spec.protect = vec![Protect {
        instances: (1..=4).map(|number| id(&format!("web-{number}"))).collect(),
        from: BTreeSet::from([Reason::ScaleIn]),
        until: None,
        because: None,
    }];
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert!(
        report
            .holds
            .iter()
            .all(|held| held.reason == Some(Reason::ScaleIn))
    );
    assert_eq!(report.holds.len(), 4);
}

/// A window of an hour from `hour` on, for updates and healing.
fn window(kind: WindowKind, hour: u32) -> Window {
    Window {
        kind,
        cron: Cron::parse(&format!("0 {hour} * * *")).unwrap(),
        duration: Duration::from_hours(1),
        zone: Zone::utc(),
        reasons: BTreeSet::from([Reason::Update, Reason::Heal]),
    }
}

#[test]
fn nothing_begins_while_the_windows_are_closed_to_it() {
    let ended = |fixture: &Fixture| {
        let (plan, report) = fixture.planned();
        let ends = |step: &&Step| {
            matches!(
                step.action,
                Action::Drain { .. } | Action::Destroy { .. } | Action::Create { .. }
            )
        };
        let count = plan.steps.iter().filter(ends).count();
        (count, holds(&report).contains(&"WindowClosed"))
    };
    let mut outdated = Fixture::converged(3);
    outdated.group.spec.template = template(2);
    let mut broken = Fixture::converged(3);
    broken.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    for fixture in [&mut outdated, &mut broken] {
        for (kind, hour, closed) in [
            (WindowKind::Allow, 2, true),
            (WindowKind::Allow, 12, false),
            (WindowKind::Deny, 12, true),
            (WindowKind::Deny, 2, false),
        ] {
            fixture.group.spec.windows = vec![window(kind, hour)];
            let (count, held) = ended(fixture);
            assert_eq!((count == 0, held), (closed, closed), "{kind:?} {hour}");
        }
    }
}

#[test]
fn nothing_is_healed_once_the_hour_is_used_up() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.limits.destroy_hourly_max = Some(2);
    fixture.group.spec.heal.in_flight_max = Amount::Percent(100);
    for name in ["web-1", "web-2"] {
        fixture.list(name, ProviderPhase::Exited(ExitReport::default()));
    }
    let ended = |fixture: &Fixture| {
        let (plan, report) = fixture.planned();
        let heals = |step: &&Step| step.cause == Cause::Because(Reason::Heal);
        let count = plan.steps.iter().filter(heals).count();
        (count, holds(&report).contains(&"DestroyRate"))
    };
    assert_eq!(ended(&fixture), (2, false));
    fixture.recorded.rates = vec![slot(0, 1, 3)];
    assert_eq!(ended(&fixture), (1, true));
    fixture.recorded.rates = vec![slot(0, 2, 3)];
    assert_eq!(ended(&fixture), (0, true));
    // An hour later there is room again.
    fixture.recorded.rates[0].since = at(-4000);
    assert_eq!(ended(&fixture), (2, false));
}
