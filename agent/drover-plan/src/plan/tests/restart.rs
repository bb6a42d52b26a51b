//! Restarts that people with a key ask for.

use std::time::Duration;

use drover_model::{
    Amount, Budget, Canary, ErrorClass, InPlace, IntentKind, OrderState, OrderVerb, PauseCause,
    Promote, Quarantine, RolloutMode, RolloutOrder, SettlementOutcome,
};

use super::orders::{last_good, order, serving, steps};
use super::*;
use crate::testing::fields;

/// Three instances of a provider that restarts in place, without a drain, of which one may be missing.
fn asked() -> Fixture {
    let mut fixture = Fixture::in_place(3);
    fixture.group.spec.drain.delay = Duration::ZERO;
    fixture.group.spec.rollout.order = RolloutOrder::DeleteFirst;
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    order(&mut fixture, OrderVerb::Restart, "web-2");
    fixture
}

fn acked(seconds: i64) -> IntentState {
    IntentState::Acked {
        made: BTreeMap::new(),
        at: at(seconds),
    }
}

/// Writes the restart that is planned into the journal.
fn begin(fixture: &mut Fixture, issued: i64, state: IntentState) {
    let (plan, _) = fixture.planned();
    let change = plan.steps.into_iter().find_map(|step| match step.action {
        Action::Update(change) => Some(change),
        _ => None,
    });
    let change = change.expect("a restart is planned");
    fixture.intent(issued, IntentKind::Update(change), state);
}

fn state(fixture: &Fixture) -> OrderState {
    fixture.planned().0.next.orders[0].state.clone()
}

fn settled(plan: &Plan) -> Vec<SettlementOutcome> {
    let settled = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Settle(settlement) => Some(settlement.outcome.clone()),
        _ => None,
    });
    settled.collect()
}

#[test]
fn an_instance_is_restarted_once_and_stays_what_it_is() {
    let mut fixture = asked();
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
    let (plan, _) = fixture.planned();
    assert_ne!(plan.next.phase, GroupPhase::Converged);
    let Action::Update(change) = &plan.steps[0].action else {
        panic!("{:?}", plan.steps);
    };
    assert_eq!(
        (&change.digests, change.how),
        (&fixture.digests(), InPlace::Restart)
    );
    // The token follows from the word, whenever it is planned.
    fixture.now = at(7);
    let (again, _) = fixture.planned();
    assert!(
        matches!(&again.steps[0].action, Action::Update(later) if later.update == change.update)
    );
    fixture.now = at(0);
    begin(&mut fixture, -5, IntentState::Sent);
    assert_eq!(fixture.class("web-2"), "Starting");
    assert_eq!(steps(&fixture), ["resend resend followUp"]);
    // The provider said yes, and nobody has looked since.
    fixture.intents[0].state = acked(1);
    fixture.now = at(2);
    assert_eq!(
        (steps(&fixture), state(&fixture)),
        (vec![], OrderState::Open)
    );
    fixture.later(3);
    let (plan, _) = fixture.planned();
    assert_eq!(settled(&plan), [SettlementOutcome::Observed]);
    assert_eq!(plan.steps.len(), 1, "{:?}", plan.steps);
    assert_eq!(plan.next.orders[0].state, OrderState::Done);
    assert_eq!(
        (plan.next.rollout, plan.next.phase),
        (None, GroupPhase::Progressing)
    );
    // The record is durable before the intent is closed: a crash in between restarts nothing.
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(settled(&fixture.planned().0), [SettlementOutcome::Observed]);
    fixture.intents.clear();
    fixture.later(60);
    let (plan, _) = fixture.planned();
    assert_eq!(
        (plan.steps.len(), plan.next.phase),
        (0, GroupPhase::Converged)
    );
}

#[test]
fn where_nothing_may_be_missing_another_one_stands_in_first() {
    let mut fixture = asked();
    fixture.group.spec.rollout.order = RolloutOrder::Auto;
    fixture.group.spec.rollout.surge_max = Amount::Count(1);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(0);
    assert_eq!(steps(&fixture), ["create web-4 heal"]);
    serving(&mut fixture, "web-4");
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
    begin(&mut fixture, -5, acked(-2));
    // It stays until the restarted one serves.
    let (plan, _) = fixture.planned();
    assert_eq!(settled(&plan), [SettlementOutcome::Observed]);
    assert_eq!(plan.steps.len(), 1, "{:?}", plan.steps);
    // Then it is what goes again, not the one that was to be restarted.
    fixture.recorded = plan.next;
    fixture.later(1);
    fixture.intents.clear();
    fixture.later(60);
    fixture.list("web-4", ProviderPhase::Running);
    let listed = fixture.listing.instances.last_mut().unwrap();
    listed.created_at = Some(at(-30));
    assert_eq!(steps(&fixture), ["destroy web-4 scaleIn"]);
}

#[test]
fn work_is_moved_off_before_a_restart_and_the_drain_ends_with_it() {
    let mut fixture = asked();
    fixture.group.spec.drain.delay = Duration::from_secs(5);
    assert_eq!(steps(&fixture), ["drain web-2 heal"]);
    let (plan, _) = fixture.planned();
    let had = fixture.digests();
    assert!(
        matches!(&plan.steps[0].action, Action::Drain { returns: Some(as_it_is), .. } if *as_it_is == had)
    );
    fixture.drained_to_restart("web-2", had);
    let IntentKind::Drain { reason, .. } = &mut fixture.intents[0].kind else {
        panic!("a drain");
    };
    *reason = Reason::Heal;
    // Though nobody asks any more: what was drained takes up no work again.
    fixture.recorded.orders[0].state = OrderState::Superseded;
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
    begin(&mut fixture, -5, acked(-2));
    let (plan, _) = fixture.planned();
    assert_eq!(
        settled(&plan),
        [SettlementOutcome::Observed, SettlementOutcome::Observed]
    );
    assert_eq!(plan.next.orders[0].state, OrderState::Done);
    // Of the two only the drain was left open.
    fixture.recorded.orders = plan.next.orders;
    fixture.intents.pop();
    assert_eq!(settled(&fixture.planned().0), [SettlementOutcome::Observed]);
    // A smaller group has no use for it.
    fixture.recorded.orders[0].state = OrderState::Open;
    fixture.group.spec.size = 1;
    fixture.recorded.size = 1;
    fixture.recorded.stable_size = 1;
    assert!(steps(&fixture).contains(&"destroy web-2 heal".to_owned()));
}

#[test]
fn what_cannot_be_restarted_in_place_is_refused_with_what_can_be_done() {
    let mut fixture = asked();
    fixture.provider.classes.clear();
    let digests = fixture.digests();
    fixture
        .recorded
        .templates
        .insert(digests, fixture.group.spec.template.clone());
    let why = "provider local of type simulated restarts nothing in place; `drover replace` has another one take its place";
    let refused = |why: &str| OrderState::Refused {
        why: why.to_owned(),
    };
    assert!(
        !steps(&fixture)
            .iter()
            .any(|step| step.starts_with("update"))
    );
    assert_eq!(state(&fixture), refused(why));
    // The provider says so itself.
    let mut fixture = asked();
    let failed = IntentState::Failed {
        class: ErrorClass::InvalidSpec,
        message: "not while it is being backed up".to_owned(),
        at: at(-1),
    };
    begin(&mut fixture, -5, failed);
    let why = "not while it is being backed up; `drover replace` has another one take its place";
    assert_eq!(state(&fixture), refused(why));
    fixture.recorded = fixture.planned().0.next;
    fixture.intents.clear();
    let (plan, _) = fixture.planned();
    assert_eq!(
        (plan.steps.len(), plan.next.phase),
        (0, GroupPhase::Converged)
    );
}

#[test]
fn one_that_ends_instead_of_restarting_is_replaced() {
    let mut fixture = asked();
    begin(&mut fixture, -5, IntentState::Sent);
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    assert!(steps(&fixture).contains(&"destroy web-2 heal".to_owned()));
}

#[test]
fn a_restart_that_was_begun_is_known_until_it_is_over() {
    let mut fixture = asked();
    begin(&mut fixture, -5, IntentState::Sent);
    fixture.recorded.orders[0].order.expires = at(-1);
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.orders.len(), 1);
    fixture.intents.clear();
    assert!(fixture.planned().0.next.orders.is_empty());
}

#[test]
fn what_restarts_takes_from_a_budget_of_healing() {
    let mut fixture = asked();
    order(&mut fixture, OrderVerb::Restart, "web-1");
    fixture.group.spec.rollout.unavailable_max = Amount::Count(2);
    fixture.group.spec.heal.in_flight_max = Amount::Count(3);
    fixture.group.spec.budgets = vec![Budget {
        reasons: BTreeSet::from([Reason::Heal]),
        max: Amount::Count(1),
    }];
    assert_eq!(steps(&fixture), ["update web-1 heal"]);
    // Nothing is remembered of its health from before.
    begin(&mut fixture, 0, acked(1));
    fixture.now = at(2);
    assert_eq!(fixture.class("web-1"), "Starting");
    assert_eq!(steps(&fixture), Vec::<String>::new());
    fixture.group.spec.budgets.clear();
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
}

#[test]
fn who_asks_again_before_the_provider_said_yes_gets_one_restart() {
    let mut fixture = asked();
    begin(&mut fixture, -5, acked(1));
    fixture.recorded.orders[0].state = OrderState::Superseded;
    order(&mut fixture, OrderVerb::Restart, "web-2");
    fixture.recorded.orders[1].order.at = at(0);
    fixture.later(3);
    let (plan, _) = fixture.planned();
    let states = |plan: &Plan| -> Vec<OrderState> {
        let orders = plan.next.orders.iter();
        orders.map(|known| known.state.clone()).collect()
    };
    assert_eq!(steps(&fixture), ["settle settle followUp"]);
    assert_eq!(states(&plan), [OrderState::Done, OrderState::Done]);
    // Afterwards it is another one, which waits until the first is over.
    fixture.recorded.orders[1].order.at = at(2);
    assert_eq!(steps(&fixture), ["settle settle followUp"]);
    fixture.group.spec.heal.in_flight_max = Amount::Count(2);
    let (plan, _) = fixture.planned();
    assert_eq!(states(&plan), [OrderState::Done, OrderState::Open]);
    let two = ["settle settle followUp", "update web-2 heal"];
    assert_eq!(steps(&fixture), two);
}

#[test]
fn what_has_the_new_template_is_restarted_at_a_stage_that_it_was_past() {
    let mut fixture = asked();
    let target = fixture.digests();
    last_good(&mut fixture, fields(2, 1, 1));
    fixture.group.spec.rollout.canary = Some(Canary {
        count: Amount::Count(1),
        hold: Duration::ZERO,
        promote: Promote::Manual,
    });
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
    assert_eq!(fixture.planned().0.next.target, Some(target));
    fixture.group.spec.drain.delay = Duration::from_secs(5);
    assert_eq!(steps(&fixture), ["drain web-2 heal"]);
}

#[test]
fn the_lint_finds_restarts_that_nobody_asked_for() {
    let mut fixture = asked();
    let (plan, _) = fixture.planned();
    let restart = plan.steps[0].clone();
    fixture.recorded.orders.clear();
    let error = fixture
        .linted(|plan| plan.steps = vec![restart.clone()])
        .unwrap_err();
    let told = "web-2 would be changed in place although nobody asked for it";
    assert_eq!(error.to_string(), told);
    let fixture = asked();
    let error = fixture.linted(|plan| {
        let Action::Update(change) = &mut plan.steps[0].action else {
            panic!("a restart");
        };
        change.digests = Fixture::converged(1).digests();
    });
    let told = "web-2 would be changed in place although a person only had it restarted";
    assert_eq!(error.unwrap_err().to_string(), told);
}

#[test]
fn what_has_a_successor_stays_while_that_restarts() {
    let mut fixture = Fixture::in_place(1);
    fixture.group.spec.drain.delay = Duration::ZERO;
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    order(&mut fixture, OrderVerb::Replace, "web-1");
    assert_eq!(steps(&fixture), ["create web-2 heal"]);
    serving(&mut fixture, "web-2");
    fixture.known("web-2", "Starting");
    fixture.memory.get_mut(&id("web-2")).unwrap().healthy_since = None;
    fixture.group.spec.rollout.min_ready = Duration::from_mins(1);
    order(&mut fixture, OrderVerb::Restart, "web-2");
    // Nor does a rollout that may not act have a use for it.
    fixture.recorded = fixture.planned().0.next;
    fixture.group.spec.template = fields(2, 1, 1);
    fixture.group.spec.rollout.mode = RolloutMode::Manual;
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
    begin(&mut fixture, 0, acked(1));
    fixture.now = at(2);
    assert_eq!(steps(&fixture), Vec::<String>::new());
}

#[test]
fn what_does_not_serve_restarts_without_another_one_and_costs_nobody_a_place() {
    let mut fixture = asked();
    fixture.group.spec.rollout.order = RolloutOrder::Auto;
    fixture.group.spec.rollout.surge_max = Amount::Count(1);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(0);
    // Another one was made when it served.
    serving(&mut fixture, "web-4");
    fixture.group.spec.rollout.min_ready = Duration::from_mins(1);
    fixture.memory.get_mut(&id("web-2")).unwrap().healthy_since = Some(at(-1));
    assert_eq!(fixture.class("web-2"), "Warming");
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    fixture.group.spec.heal.in_flight_max = Amount::Count(2);
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
}

#[test]
fn a_restart_is_known_until_what_it_restarted_serves() {
    let mut fixture = asked();
    begin(&mut fixture, -5, acked(1));
    fixture.later(3);
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(fixture.recorded.orders[0].state, OrderState::Done);
    fixture.intents.clear();
    // Nobody's word any more, and still what it was: no part of a rollout.
    fixture.recorded.orders[0].order.expires = at(1);
    fixture.group.spec.rollout.min_ready = Duration::from_secs(30);
    let (plan, _) = fixture.planned();
    assert_eq!((plan.next.orders.len(), plan.next.rollout), (1, None));
    fixture.later(60);
    assert!(fixture.planned().0.next.orders.is_empty());
}

#[test]
fn what_has_a_template_in_quarantine_restarts_as_it_is() {
    let mut fixture = asked();
    let bad = fixture.digests();
    let good = last_good(&mut fixture, fields(2, 1, 1));
    fixture.recorded.quarantine = Some(Quarantine {
        digests: bad,
        cause: PauseCause::Deadline,
        since: at(-60),
    });
    fixture.group.spec.rollout.mode = RolloutMode::Manual;
    assert_eq!(steps(&fixture), ["update web-2 heal"]);
    assert_eq!(fixture.planned().0.next.target, Some(good));
}
