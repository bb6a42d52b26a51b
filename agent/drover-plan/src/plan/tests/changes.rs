//! Changes in place and interruptions where something comes in between.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{Activity, Amount, Budget, InPlace, InPlaceUpdate, IntentKind, Suspend};

use super::*;
use crate::testing::fields;

/// `size` instances, and a template that differs in fields of these values; nothing is drained, and
/// everything may begin at once as far as these numbers allow.
fn outdated(size: u32, (config, weight): (i64, i64), surge: u32, unavailable: u32) -> Fixture {
    let mut fixture = Fixture::in_place(size);
    let spec = &mut fixture.group.spec;
    spec.template = fields(1, config, weight);
    spec.drain.delay = Duration::ZERO;
    spec.rollout.surge_max = Amount::Count(surge);
    spec.rollout.unavailable_max = Amount::Count(unavailable);
    spec.rollout.first_batch = 5;
    fixture
}

fn changes(plan: &Plan) -> Vec<(String, InPlace)> {
    let changes = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Update(InPlaceUpdate { instance, how, .. }) => Some((instance.to_string(), *how)),
        _ => None,
    });
    changes.collect()
}

fn ended(plan: &Plan) -> Vec<String> {
    let ends = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Destroy { instance, .. } => Some(instance.to_string()),
        _ => None,
    });
    ends.collect()
}

fn made(plan: &Plan, cause: Cause) -> usize {
    let creates = plan.steps.iter().filter(|step| step.cause == cause);
    let slots = creates.map(|step| match &step.action {
        Action::Create { slots, .. } => slots.len(),
        _ => 0,
    });
    slots.sum()
}

fn repeats(plan: &Plan) -> bool {
    let mut steps = plan.steps.iter();
    steps.any(|step| matches!(step.action, Action::Resend { .. }))
}

/// A restart of `web-1` that the provider accepted at noon, and that is not listed yet.
fn restarting() -> Fixture {
    let mut fixture = outdated(2, (2, 1), 0, 1);
    let (plan, _) = fixture.planned();
    let kind = plan.steps.iter().find_map(|step| match &step.action {
        Action::Update(change) => Some(IntentKind::Update(change.clone())),
        _ => None,
    });
    fixture.recorded = plan.next;
    let acked = IntentState::Acked {
        made: BTreeMap::new(),
        at: at(0),
    };
    fixture.intent(0, kind.unwrap(), acked);
    fixture
}

/// Two instances, of which `web-1` was drained to be restarted.
fn drained_to_restart() -> Fixture {
    let mut fixture = outdated(2, (2, 1), 0, 1);
    fixture.recorded = fixture.planned().0.next;
    let had = Fixture::in_place(2).digests();
    fixture.drained_to_restart("web-1", had);
    fixture
}

#[test]
fn what_has_ended_or_is_about_to_be_taken_is_not_changed_in_place() {
    let mut fixture = outdated(3, (1, 2), 1, 1);
    fixture.group.spec.suspend = vec![Suspend {
        what: BTreeSet::from([Activity::Heal]),
        until: None,
        because: None,
    }];
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    for listed in &mut fixture.listing.instances {
        let owner = listed.ownership.as_mut().unwrap();
        owner.digests = Fixture::in_place(3).digests();
    }
    let changed = |fixture: &Fixture| {
        let all = changes(&fixture.planned().0).into_iter();
        all.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert!(!changed(&fixture).contains(&"web-1".to_owned()));
    let mut fixture = outdated(3, (1, 2), 1, 1);
    fixture.interrupt("web-1", at(3600));
    assert!(!changed(&fixture).contains(&"web-1".to_owned()));
}

#[test]
fn at_most_one_stands_in_for_two_that_restart() {
    let (plan, _) = outdated(4, (2, 1), 4, 0).planned();
    assert_eq!(made(&plan, Cause::Because(Reason::Update)), 2);
}

#[test]
fn what_was_drained_to_restart_ends_where_nobody_wants_it_any_more() {
    assert_eq!(changes(&drained_to_restart().planned().0).len(), 1);
    let mut smaller = drained_to_restart();
    smaller.group.spec.size = 1;
    let mut fewer = drained_to_restart();
    fewer.group.spec.rollout.partition = Some(Amount::Count(0));
    let mut dead = drained_to_restart();
    dead.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    let had = Fixture::in_place(2).digests();
    let listed = dead.listing.instances.last_mut().unwrap();
    listed.ownership.as_mut().unwrap().digests = had;
    for (what, fixture) in [("size", smaller), ("stage", fewer), ("end", dead)] {
        let (plan, _) = fixture.planned();
        assert_eq!(changes(&plan), [], "{what}");
        assert_eq!(ended(&plan), ["web-1"], "{what}");
    }
}

#[test]
fn an_accepted_change_is_given_time_to_show_and_then_repeated() {
    let mut fixture = restarting();
    fixture.group.spec.health.startup_timeout = Duration::from_hours(1);
    assert!(!repeats(&fixture.later(5).planned().0));
    assert!(!repeats(&fixture.later(599).planned().0));
    assert!(repeats(&fixture.later(600).planned().0));
}

#[test]
fn what_ends_while_it_restarts_is_ended_for_good() {
    let mut fixture = restarting();
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    let had = Fixture::in_place(2).digests();
    let listed = fixture.listing.instances.last_mut().unwrap();
    listed.ownership.as_mut().unwrap().digests = had;
    let (plan, _) = fixture.later(5).planned();
    assert_eq!(ended(&plan), ["web-1"]);
    assert!(!repeats(&plan));
}

#[test]
fn what_restarts_comes_back_so_that_no_successor_is_made_for_another_one_in_its_place() {
    let mut fixture = outdated(3, (2, 1), 1, 1);
    fixture.interrupt("web-3", at(3600));
    let (plan, _) = fixture.planned();
    assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Restart)]);
    assert_eq!(made(&plan, Cause::Because(Reason::Interruption)), 1);
}

#[test]
fn what_was_restarted_uses_up_a_budget_until_it_is_available_though_another_one_stands_in() {
    let mut fixture = outdated(4, (2, 1), 1, 1);
    fixture.recorded = fixture.planned().0.next;
    fixture.known("web-5", "Available");
    fixture.list("web-5", ProviderPhase::Running);
    fixture.recorded.next_number = 6;
    // The first one was restarted just now.
    fixture.list("web-1", ProviderPhase::Running);
    let memory = fixture.memory.get_mut(&id("web-1")).unwrap();
    memory.restarted_at = Some(at(-5));
    memory.changed_at = Some(at(-5));
    memory.ready_at = None;
    memory.healthy_since = None;
    assert_eq!(fixture.class("web-1"), "Warming");
    let budget = |count| Budget {
        reasons: BTreeSet::from([Reason::Update]),
        max: Amount::Count(count),
    };
    fixture.group.spec.budgets = vec![budget(2)];
    assert_eq!(changes(&fixture.planned().0).len(), 1);
    fixture.group.spec.budgets = vec![budget(1)];
    let (plan, report) = fixture.planned();
    assert_eq!(changes(&plan), []);
    assert!(holds(&report).contains(&"BudgetExhausted"));
}

#[test]
fn what_is_changed_while_it_runs_is_what_the_others_wait_for() {
    let mut fixture = outdated(4, (1, 2), 1, 0);
    fixture.group.spec.rollout.first_batch = 1;
    let (plan, report) = fixture.planned();
    assert_eq!(changes(&plan).len(), 1);
    let waits = Hold::FirstBatch { waiting: 1 };
    assert!(report.holds.iter().any(|held| held.hold == waits));
}

#[test]
fn a_drain_before_an_interruption_leaves_time_for_a_pass_and_a_call() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.drain.timeout = Duration::from_mins(5);
    let drains = |fixture: &Fixture| {
        let (plan, _) = fixture.planned();
        let mut steps = plan.steps.iter();
        steps.any(|step| matches!(step.action, Action::Drain { .. }))
    };
    fixture.interrupt("web-1", at(331));
    assert!(!drains(&fixture));
    fixture.interrupt("web-1", at(330));
    assert!(drains(&fixture));
}

#[test]
fn who_serves_past_the_time_of_its_notice_stays_until_a_successor_serves() {
    // Three hours old, or twenty minutes with successors on their way: nobody that serves is ended.
    for taken_at in [-10_800, -1200, -60] {
        let mut fixture = Fixture::converged(6);
        for number in 1..=6 {
            fixture.interrupt(&format!("web-{number}"), at(taken_at));
        }
        assert_eq!(leaves(&fixture), [""; 0], "{taken_at}");
        for number in 7..=9 {
            fixture.list(&format!("web-{number}"), ProviderPhase::Pending);
        }
        fixture.later(1);
        let serving: Vec<_> = (1..=6).map(|number| format!("web-{number}")).collect();
        let gone = leaves(&fixture);
        assert!(!gone.iter().any(|name| serving.contains(name)), "{gone:?}");
    }
    // Known in time, and not taken: it is let go once there is one more.
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.limits.total_max = Some(3);
    fixture.interrupt("web-1", at(60));
    assert_eq!(leaves(fixture.later(40)), ["web-1"], "just time enough");
    assert_eq!(leaves(fixture.later(61)), [""; 0], "its time is past");
    fixture.group.spec.limits.total_max = None;
    fixture.list("web-4", ProviderPhase::Running);
    fixture.known("web-4", "Available");
    assert_eq!(leaves(&fixture), ["web-1"], "there is one more");
}

#[test]
fn what_is_taken_much_later_is_replaced_when_its_time_comes_near() {
    let made = |fixture: &Fixture| {
        let (plan, _) = fixture.planned();
        (
            made(&plan, Cause::Because(Reason::Interruption)),
            plan.wake_at,
        )
    };
    let day = 86_400;
    let mut fixture = Fixture::converged(3);
    fixture.interrupt("web-1", at(day));
    assert_eq!(made(&fixture), (0, Some(at(day - 3600))));
    assert_eq!(made(fixture.later(day - 3601)).0, 0);
    assert_eq!(made(fixture.later(day - 3600)).0, 1);
    // What takes longer to come up, and to be drained, begins sooner.
    let health = &mut fixture.group.spec.health;
    health.startup_timeout = Duration::from_hours(2);
    fixture.group.spec.rollout.min_ready = Duration::from_mins(10);
    fixture.group.spec.drain.timeout = Duration::from_mins(20);
    let lead = 7200 + 600 + 1200 + 30;
    assert_eq!(made(fixture.later(day - lead - 1)).0, 0);
    assert_eq!(made(fixture.later(day - lead)).0, 1);
}

#[test]
fn where_successors_have_a_notice_too_half_of_each_lease_is_served() {
    let mut fixture = Fixture::empty(3);
    for number in 1..=3 {
        let name = format!("web-{number}");
        fixture.list(&name, ProviderPhase::Running);
        fixture.interrupt(&name, at(1200));
    }
    for listed in &mut fixture.listing.instances {
        listed.created_at = Some(at(0));
    }
    fixture.later(0);
    fixture.settle_as_listed(3);
    let taken = |fixture: &Fixture| {
        let members = fixture.classified().members;
        let taken = members.values().filter(|one| one.interruption.is_some());
        taken.count()
    };
    assert_eq!(taken(fixture.later(1)), 0);
    assert_eq!(taken(fixture.later(599)), 0);
    assert_eq!(taken(fixture.later(600)), 3);
    // One that has none shows that there is no lease.
    let mut fixture = fixture;
    fixture.later(10);
    fixture.list("web-4", ProviderPhase::Running);
    fixture.listing.instances[3].created_at = Some(at(5));
    assert_eq!(taken(&fixture), 3);
    // So does one whose notice came later: the provider takes them all back.
    fixture.later(20);
    fixture.known("web-4", "Available");
    fixture.interrupt("web-4", at(140));
    assert_eq!(taken(fixture.later(21)), 4);
}

/// Who is drained or ended.
fn leaves(fixture: &Fixture) -> Vec<String> {
    let (plan, _) = fixture.planned();
    let leaves = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Drain { instance, .. } | Action::Destroy { instance, .. } => {
            Some(instance.to_string())
        }
        _ => None,
    });
    leaves.collect()
}

#[test]
fn no_successor_is_made_where_there_is_one_too_many_already() {
    let mut fixture = Fixture::converged(4);
    fixture.group.spec.size = 3;
    fixture.recorded.size = 3;
    fixture.recorded.stable_size = 3;
    fixture.group.spec.rollout.surge_max = Amount::Count(2);
    fixture.interrupt("web-1", at(3600));
    let (plan, _) = fixture.planned();
    assert_eq!(made(&plan, Cause::Because(Reason::Interruption)), 0);
}

#[test]
fn what_the_provider_takes_is_not_retired_by_the_rollout_as_well() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.order = drover_model::RolloutOrder::DeleteFirst;
    fixture.group.spec.rollout.unavailable_max = Amount::Count(2);
    fixture.group.spec.rollout.first_batch = 5;
    fixture.interrupt("web-1", at(3600));
    let (plan, _) = fixture.planned();
    let updates = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Drain { instance, .. } | Action::Destroy { instance, .. } => {
            Some((instance.to_string(), step.cause))
        }
        _ => None,
    });
    let updates: Vec<_> = updates.collect();
    let update = Cause::Because(Reason::Update);
    assert_eq!(updates, [("web-2".to_owned(), update)], "the next in turn");
}

#[test]
fn people_are_told_when_the_provider_takes_an_instance_and_no_longer_when_it_does_not() {
    let mut fixture = Fixture::converged(2);
    let why = |fixture: &Fixture| {
        let (plan, _) = fixture.planned();
        plan.next.instances[&id("web-1")].why.clone()
    };
    fixture.interrupt("web-1", at(1200));
    let told = why(&fixture);
    assert_eq!(
        told.as_deref(),
        Some("the provider takes it at 2026-01-05T12:20:00Z")
    );
    fixture
        .recorded
        .instances
        .get_mut(&id("web-1"))
        .unwrap()
        .why = told;
    assert!(why(&fixture).is_some());
    fixture.unlist("web-1");
    fixture.list("web-1", ProviderPhase::Running);
    assert_eq!(why(&fixture), None);
}
