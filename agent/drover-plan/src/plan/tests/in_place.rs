use drover_model::{
    Amount, ErrorClass, FieldClass, InPlace, InPlaceUpdate, IntentKind, OrderVerb, PauseCause,
    RolloutState, SettlementOutcome, Step, Unanswered,
};

use super::*;
use crate::testing::{fields, provider_ref};

/// `size` instances, and a template that differs in fields of these values.
fn outdated(size: u32, config: i64, weight: i64) -> Fixture {
    let mut fixture = Fixture::in_place(size);
    fixture.group.spec.template = fields(1, config, weight);
    fixture
}

/// Without a surge, and with so many that may be missing.
fn sparing(mut fixture: Fixture, unavailable: u32) -> Fixture {
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(unavailable);
    fixture
}

fn undrained(mut fixture: Fixture) -> Fixture {
    fixture.group.spec.drain.delay = std::time::Duration::ZERO;
    fixture
}

/// What is changed in place, and how.
fn changes(plan: &Plan) -> Vec<(String, InPlace)> {
    let changes = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Update(InPlaceUpdate { instance, how, .. }) => Some((instance.to_string(), *how)),
        _ => None,
    });
    changes.collect()
}

/// What is drained, and whether it comes back.
fn drains(plan: &Plan) -> Vec<(String, bool)> {
    let drains = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Drain {
            instance, returns, ..
        } => Some((instance.to_string(), returns.is_some())),
        _ => None,
    });
    drains.collect()
}

/// The change that a plan decides, as the intent that the executor writes.
fn decided(plan: &Plan) -> IntentKind {
    let found = plan.steps.iter().find_map(|step| match &step.action {
        Action::Update(change) => Some(IntentKind::Update(change.clone())),
        _ => None,
    });
    found.unwrap()
}

fn acked(seconds: i64) -> IntentState {
    IntentState::Acked {
        made: BTreeMap::new(),
        at: at(seconds),
    }
}

fn failed(class: ErrorClass, seconds: i64) -> IntentState {
    IntentState::Failed {
        class,
        message: "no".to_owned(),
        at: at(seconds),
    }
}

#[test]
fn what_differs_in_a_field_of_class_restart_restarts_first_batch_first() {
    let fixture = undrained(sparing(outdated(4, 2, 1), 2));
    let (plan, report) = fixture.planned();
    assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Restart)]);
    assert!(creates(&plan).is_empty());
    assert_eq!(holds(&report), ["FirstBatch"]);
    let change = plan.change.unwrap();
    assert_eq!(
        (change.replaces, change.restarts, change.changes),
        (0, 4, 0)
    );
}

#[test]
fn a_restart_that_is_drained_first_comes_back_and_nothing_is_made_for_it() {
    let had = Fixture::in_place(2).digests();
    let mut fixture = sparing(outdated(2, 2, 1), 1);
    let (plan, _) = fixture.planned();
    assert_eq!(drains(&plan), [("web-1".to_owned(), true)]);
    fixture.recorded = plan.next;
    fixture.drained_to_restart("web-1", had);
    let (plan, _) = fixture.later(10).planned();
    assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Restart)]);
    assert!(creates(&plan).is_empty(), "it comes back");
}

#[test]
fn what_was_drained_for_a_template_that_is_gone_ends() {
    let had = Fixture::in_place(2).digests();
    let mut fixture = sparing(outdated(2, 2, 1), 1);
    fixture.recorded = fixture.planned().0.next;
    fixture.drained_to_restart("web-1", had);
    fixture.group.spec.template = fields(2, 2, 1);
    let (plan, _) = fixture.later(10).planned();
    let ends = |step: &drover_model::Step| matches!(step.action, Action::Destroy { .. });
    assert!(changes(&plan).is_empty() && plan.steps.iter().any(ends));
}

#[test]
fn where_nothing_may_be_missing_one_stands_in() {
    let mut fixture = undrained(outdated(4, 2, 1));
    fixture.group.spec.rollout.surge_max = Amount::Count(1);
    let (plan, _) = fixture.planned();
    assert_eq!((creates(&plan).len(), changes(&plan).len()), (1, 0));
    // It is available: the first one restarts, and no other one is made.
    fixture.recorded = plan.next;
    fixture.known("web-5", "Available");
    fixture.list("web-5", ProviderPhase::Running);
    let (plan, _) = fixture.planned();
    assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Restart)]);
    assert!(creates(&plan).is_empty());
    // Of the last two one restarts, and the other one makes way.
    for name in ["web-1", "web-2", "web-3"] {
        fixture.list(name, ProviderPhase::Running);
        fixture.known(name, "Available");
    }
    let (plan, _) = fixture.planned();
    assert!(changes(&plan).is_empty());
    let ends = plan.steps.iter().any(
        |step| matches!(&step.action, Action::Destroy { instance, .. } if *instance == id("web-4")),
    );
    assert!(ends);
}

#[test]
fn who_takes_the_place_of_the_interrupted_stands_in_for_nobody() {
    let mut fixture = undrained(outdated(5, 2, 1));
    fixture.group.spec.rollout.surge_max = Amount::Count(4);
    fixture.group.spec.rollout.first_batch = 10;
    fixture.group.spec.health.startup_timeout = std::time::Duration::from_hours(2);
    fixture.interrupt("web-5", at(3600));
    let (plan, _) = fixture.planned();
    let made: Vec<InstanceId> = creates(&plan).into_iter().flat_map(|made| made.0).collect();
    assert_eq!(made.len(), 3, "one for it, two stand in for four");
    fixture.recorded = plan.next;
    for id in made {
        fixture.known(&id.to_string(), "Starting");
        fixture.list(&id.to_string(), ProviderPhase::Pending);
    }
    assert_eq!(creates(&fixture.planned().0), []);
}

#[test]
fn a_live_change_costs_no_availability_and_keeps_a_pace() {
    let mut fixture = outdated(4, 1, 2);
    let (plan, _) = fixture.planned();
    assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Live)]);
    let change = plan.change.clone().unwrap();
    assert_eq!(
        (change.replaces, change.restarts, change.changes),
        (0, 0, 4)
    );
    // Until it has been in effect for minReady, the others wait.
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, acked(0));
    fixture.list("web-1", ProviderPhase::Running);
    let (plan, report) = fixture.later(10).planned();
    assert!(changes(&plan).is_empty());
    assert_eq!(holds(&report), ["FirstBatch"]);
    fixture.recorded = plan.next;
    fixture.later(10).intents.clear();
    let (plan, _) = fixture.later(31).planned();
    assert_eq!(changes(&plan), [("web-2".to_owned(), InPlace::Live)]);
}

#[test]
fn what_restarts_is_unavailable_until_it_is_ready_again() {
    let mut fixture = undrained(sparing(outdated(2, 2, 1), 1));
    let (plan, _) = fixture.planned();
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, acked(0));
    assert_eq!(
        fixture.class("web-1"),
        "Starting",
        "whatever the listing says"
    );
    // Its checks passed before; that says nothing about the process that there is now.
    fixture.list("web-1", ProviderPhase::Running);
    let signal = fixture.signals.get_mut(&id("web-1")).unwrap();
    signal.asked_at = at(-1);
    assert_eq!(fixture.class("web-1"), "Starting");
    fixture.later(5);
    assert_eq!(fixture.class("web-1"), "Warming");
    let (plan, _) = fixture.planned();
    assert!(matches!(plan.steps[0].action, Action::Settle(_)));
    fixture.intents.clear();
    assert_eq!(fixture.later(36).class("web-1"), "Available");
}

#[test]
fn a_change_without_an_answer_is_repeated_and_nothing_new_is_decided() {
    let mut fixture = undrained(sparing(outdated(2, 2, 1), 1));
    let (plan, _) = fixture.planned();
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, IntentState::Sent);
    // Not even for another template.
    fixture.group.spec.template = fields(1, 3, 1);
    let (plan, _) = fixture.later(5).planned();
    assert!(matches!(plan.steps[0].action, Action::Resend { .. }));
    assert!(changes(&plan).is_empty() && drains(&plan).is_empty());
    // Less and less often: after the third call four seconds pass.
    let told = |last| Unanswered {
        calls: 3,
        last: at(last),
        refused_since: None,
    };
    let changed = id("web-1");
    let memory = fixture.memory.get_mut(&changed).unwrap();
    memory.unheeded = Some(Box::new(told(2)));
    assert!(fixture.planned().0.steps.is_empty());
    let memory = fixture.memory.get_mut(&changed).unwrap();
    memory.unheeded = Some(Box::new(told(1)));
    assert!(matches!(
        fixture.planned().0.steps[0].action,
        Action::Resend { .. }
    ));
}

#[test]
fn what_the_provider_refuses_for_good_is_replaced() {
    let mut fixture = undrained(sparing(outdated(2, 2, 1), 1));
    let (plan, _) = fixture.planned();
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, failed(ErrorClass::InvalidSpec, 0));
    let (plan, _) = fixture.later(5).planned();
    fixture.recorded = plan.next;
    fixture.intents.clear();
    let (plan, report) = fixture.later(10).planned();
    assert!(changes(&plan).is_empty());
    assert!(matches!(plan.steps[0].action, Action::Destroy { .. }));
    assert!(holds(&report).contains(&"UpdateRefused"));
    // Where it may not be replaced, it stays, and the hold says what it would need.
    fixture.group.spec.rollout.action_max = FieldClass::Restart;
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["MaxAction"]);
}

#[test]
fn where_every_property_is_live_a_refused_change_pauses_the_rollout_and_replaces_nothing() {
    for surge in [0, 1] {
        let mut fixture = Fixture::empty(1);
        let live = ["version", "config", "weight"].map(|name| (name.to_owned(), FieldClass::Live));
        fixture.provider.classes = BTreeMap::from(live);
        fixture.group.spec.template = fields(1, 1, 1);
        fixture.settle(1);
        fixture.group.spec.template = fields(2, 1, 1);
        fixture.group.spec.rollout.surge_max = Amount::Count(surge);
        fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
        let mut fixture = undrained(fixture);
        let (plan, _) = fixture.planned();
        assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Live)]);
        let kind = decided(&plan);
        fixture.recorded = plan.next;
        fixture.intent(0, kind, failed(ErrorClass::InvalidSpec, 0));
        let (plan, report) = fixture.later(5).planned();
        assert_eq!(closed(&plan), [(1, SettlementOutcome::NoEffect)]);
        assert_eq!(holds(&report), ["RolloutPaused"]);
        let says = "the rollout is paused: the provider refused the template: no";
        assert!(report.holds[0].hold.to_string().starts_with(says));
        fixture.recorded = plan.next;
        fixture.intents.clear();
        let (plan, _) = fixture.later(600).planned();
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        // The next document changes the same instance.
        fixture.group.spec.template = fields(3, 1, 1);
        let (plan, _) = fixture.later(5).planned();
        assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Live)]);
    }
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_later() {
    let mut fixture = undrained(sparing(outdated(1, 2, 1), 1));
    let (plan, _) = fixture.planned();
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, failed(ErrorClass::Capacity, 0));
    let (plan, _) = fixture.later(5).planned();
    assert!(plan.steps.is_empty());
    assert_eq!(plan.wake_at, Some(at(6)), "something is open");
    let (plan, _) = fixture.later(15).planned();
    assert!(matches!(plan.steps[0].action, Action::Settle(_)));
    fixture.intents.clear();
    assert_eq!(changes(&fixture.planned().0).len(), 1);
}

#[test]
fn what_needs_more_than_is_allowed_is_blocked_and_says_so() {
    let mut fixture = outdated(2, 2, 2);
    for (allowed, needs, version) in [
        (FieldClass::Live, FieldClass::Restart, 1),
        (FieldClass::Restart, FieldClass::Replace, 2),
    ] {
        fixture.group.spec.template = fields(version, 2, 2);
        fixture.group.spec.rollout.action_max = allowed;
        let (plan, report) = fixture.planned();
        assert!(plan.steps.is_empty());
        let held = Hold::MaxAction { needs, allowed };
        assert_eq!(report.holds.len(), 1);
        assert_eq!(report.holds[0].hold, held);
    }
}

/// Lets a change be to the template with these fields.
fn other(action: &mut Action, version: i64, config: i64) {
    if let Action::Update(InPlaceUpdate { digests, .. }) = action {
        let mut fixture = Fixture::in_place(1);
        fixture.group.spec.template = fields(version, config, 1);
        *digests = fixture.digests();
    }
}

#[test]
fn the_lint_finds_changes_in_place_that_may_not_be() {
    let fixture = undrained(sparing(outdated(3, 2, 1), 1));
    let of = |change: fn(&mut Action)| {
        let result = fixture.linted(|plan| {
            for step in &mut plan.steps {
                change(&mut step.action);
            }
        });
        result.unwrap_err().to_string()
    };
    let replaced = of(|action| other(action, 2, 2));
    assert_eq!(
        replaced,
        "web-1 would be changed in place although it would have to be replaced"
    );
    let elsewhere = of(|action| other(action, 1, 3));
    assert!(
        elsewhere.contains("a template that is not in force"),
        "{elsewhere}"
    );
    let live = of(|action| {
        if let Action::Update(InPlaceUpdate { how, .. }) = action {
            *how = InPlace::Live;
        }
    });
    assert!(live.contains("it would have to restart"), "{live}");
    // Two at once, where one may be missing.
    let twice = fixture.linted(|plan| {
        let mut step = plan.steps[0].clone();
        if let Action::Update(InPlaceUpdate {
            instance,
            provider_ref: handle,
            token,
            update,
            ..
        }) = &mut step.action
        {
            *instance = id("web-2");
            *handle = provider_ref("web-2");
            std::mem::swap(token, update);
            *token = fixture.token("web-2");
        }
        plan.steps.push(step);
    });
    assert!(twice.is_err());
    let mut fixture = fixture;
    fixture.group.spec.rollout.action_max = FieldClass::Restart;
    assert_eq!(fixture.linted(|_| {}), Ok(()));
}

#[test]
fn what_is_too_much_is_not_changed() {
    let mut fixture = outdated(5, 1, 2);
    fixture.group.spec.size = 2;
    fixture.recorded.size = 2;
    fixture.group.spec.rollout.surge_max = Amount::Count(1);
    let suspended = drover_model::Budget {
        reasons: [Reason::ScaleIn].into(),
        max: Amount::Count(1),
    };
    fixture.group.spec.budgets = vec![suspended];
    fixture.destroy("web-5", Reason::ScaleIn, acked(-10));
    fixture.list("web-5", ProviderPhase::Stopping);
    for name in ["web-1", "web-2", "web-3"] {
        fixture.known(name, "Available");
        fixture.list(name, ProviderPhase::Running);
    }
    assert_eq!(changes(&fixture.planned().0), [], "web-4 is to go");
    fixture.unlist("web-3");
    fixture.recorded.instances.remove(&id("web-3"));
    fixture.memory.remove(&id("web-3"));
    let (plan, _) = fixture.planned();
    assert_eq!(changes(&plan), [("web-4".to_owned(), InPlace::Live)]);
}

#[test]
fn nobody_goes_in_the_place_of_one_that_yields_and_is_being_changed() {
    let mut fixture = undrained(sparing(outdated(3, 2, 1), 2));
    let (plan, _) = fixture.planned();
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, IntentState::Sent);
    fixture.group.spec.size = 2;
    super::orders::order(&mut fixture, OrderVerb::Yield, "web-1");
    let ended = |fixture: &Fixture| {
        let (plan, _) = fixture.planned();
        let ends = |step: &&Step| matches!(step.action, Action::Destroy { .. });
        plan.steps.iter().filter(ends).count()
    };
    assert_eq!(ended(&fixture), 0);
    fixture.recorded.orders.clear();
    assert_eq!(ended(&fixture), 1);
}

/// Repeats of a plan, by the number of the intent.
fn repeats(plan: &Plan) -> Vec<u64> {
    let repeats = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Resend { intent } => Some(intent.0),
        _ => None,
    });
    repeats.collect()
}

/// What a plan closes, by the number of the intent.
fn closed(plan: &Plan) -> Vec<(u64, SettlementOutcome)> {
    let closed = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Settle(settlement) => Some((settlement.intent.0, settlement.outcome.clone())),
        _ => None,
    });
    closed.collect()
}

/// A group whose first instance gets another `weight`, which the provider took and nothing shows.
fn without_effect(size: u32) -> Fixture {
    let mut fixture = outdated(size, 1, 2);
    let (plan, _) = fixture.planned();
    assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Live)]);
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, acked(1));
    fixture
}

#[test]
fn a_live_change_without_effect_gives_way_to_another_template_and_to_the_one_before() {
    for weight in [3, 1] {
        let mut fixture = without_effect(1);
        assert!(fixture.later(30).planned().0.steps.is_empty());
        fixture.group.spec.template = fields(1, 1, weight);
        let (plan, _) = fixture.later(60).planned();
        assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Live)]);
        assert_eq!(closed(&plan), [], "the next one may be refused");
        let next = decided(&plan);
        fixture.recorded = plan.next;
        // As long as the provider is busy with the first, the second is tried again and again.
        let busy = failed(ErrorClass::Throttled, 61);
        fixture.intent(60, next.clone(), busy);
        assert!(fixture.later(70).planned().0.steps.is_empty());
        let (plan, _) = fixture.later(76).planned();
        assert_eq!(closed(&plan), [(2, SettlementOutcome::NoEffect)]);
        fixture.intents.pop();
        let (plan, _) = fixture.later(77).planned();
        assert_eq!(changes(&plan).len(), 1);
        // Once it is taken, the first one is over, and is not begun again at its time.
        fixture.intent(77, next, acked(78));
        let (plan, _) = fixture.later(700).planned();
        assert_eq!(changes(&plan), []);
        let over = (1, SettlementOutcome::Superseded);
        assert!(closed(&plan).contains(&over));
        assert!(!repeats(&plan).contains(&1));
    }
}

#[test]
fn a_live_change_without_effect_is_repeated_while_it_is_wanted_and_the_rollout_goes_on() {
    let mut fixture = without_effect(1);
    assert_eq!(repeats(&fixture.later(600).planned().0), []);
    assert_eq!(repeats(&fixture.later(601).planned().0), [1]);
    let rollout = fixture.recorded.rollout.as_mut().unwrap();
    rollout.state = RolloutState::Paused(PauseCause::Deadline);
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert!(holds(&report).contains(&"RolloutPaused"));
    // Back to what it was before the bad one, and on to it again: never two calls at once.
    fixture.group.spec.template = fields(1, 1, 1);
    let (plan, _) = fixture.planned();
    assert_eq!((changes(&plan).len(), repeats(&plan).len()), (1, 0));
    let next = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(601, next, acked(602));
    fixture.group.spec.template = fields(1, 1, 2);
    let (plan, _) = fixture.later(603).planned();
    assert_eq!(repeats(&plan), []);
    let over = (1, SettlementOutcome::Superseded);
    assert!(closed(&plan).contains(&over));
}

#[test]
fn a_restart_without_effect_is_not_repeated_for_a_template_that_is_gone() {
    let mut fixture = undrained(sparing(outdated(2, 2, 1), 1));
    fixture.group.spec.health.startup_timeout = std::time::Duration::from_mins(20);
    let (plan, _) = fixture.planned();
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, acked(1));
    fixture.group.spec.template = fields(1, 3, 1);
    let (plan, _) = fixture.later(500).planned();
    assert!(changes(&plan).is_empty(), "it may be restarting");
    let (plan, _) = fixture.later(601).planned();
    assert_eq!(repeats(&plan), []);
    assert_eq!(closed(&plan), [(1, SettlementOutcome::Superseded)]);
}

#[test]
fn who_is_lost_while_the_provider_changes_it_is_not_replaced() {
    let mut fixture = without_effect(2);
    let refresh_failed = drover_model::CheckOutcome::Unknown {
        why: "the refresh failed".to_owned(),
    };
    fixture.signal("web-1", refresh_failed);
    fixture.later(2);
    fixture.later(650);
    assert_eq!(fixture.class("web-1"), "Lost");
    assert_eq!(fixture.class("web-2"), "Available");
    let ends = |plan: &Plan| {
        let ends = |step: &&Step| {
            matches!(
                step.action,
                Action::Destroy { .. } | Action::Drain { returns: None, .. }
            )
        };
        plan.steps.iter().filter(ends).count()
    };
    let (plan, report) = fixture.planned();
    assert_eq!(ends(&plan), 0);
    let told = |held: &drover_model::Held| {
        held.reason == Some(Reason::Heal) && held.instance == Some(id("web-1"))
    };
    assert!(report.holds.iter().any(told));
    // Nor for the next template or the one before, which it gets as it is.
    fixture.recorded = plan.next;
    for weight in [3, 1] {
        fixture.group.spec.template = fields(1, 1, weight);
        let (plan, _) = fixture.planned();
        assert_eq!(changes(&plan), [("web-1".to_owned(), InPlace::Live)]);
        assert_eq!(ends(&plan), 0);
    }
    // Without a change under way it is.
    fixture.intents.clear();
    assert_eq!(ends(&fixture.planned().0), 1);
}

#[test]
fn a_change_that_is_refused_for_the_credentials_is_told_and_nothing_else_is_begun() {
    let mut fixture = undrained(sparing(outdated(3, 1, 2), 3));
    fixture.group.spec.rollout.first_batch = 3;
    let (plan, _) = fixture.planned();
    assert_eq!(changes(&plan).len(), 3);
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, failed(ErrorClass::Auth, 0));
    for now in [5, 299] {
        let (plan, report) = fixture.later(now).planned();
        assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        assert!(!holds(&report).contains(&"RolloutWindow"));
        assert!(plan.next.rollout.as_ref().unwrap().clock_stood_still);
        let held = report
            .holds
            .iter()
            .find(|held| held.hold.code() == "ChangeRefused")
            .unwrap();
        assert_eq!(held.instance, Some(id("web-1")));
        let words = held.hold.to_string();
        assert!(words.contains("is asked again (auth): "), "{words}");
        fixture.recorded = plan.next;
    }
    // Once it is decided anew the hold stays until there is an answer.
    let (plan, _) = fixture.later(300).planned();
    assert!(matches!(plan.steps[0].action, Action::Settle(_)));
    fixture.recorded = plan.next;
    fixture.intents.clear();
    let (plan, report) = fixture.later(301).planned();
    assert!(!changes(&plan).is_empty());
    assert!(holds(&report).contains(&"ChangeRefused"));
    let taken = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(301, taken, acked(301));
    assert!(!holds(&fixture.later(302).planned().1).contains(&"ChangeRefused"));
}

#[test]
fn a_change_without_an_answer_is_told_after_half_a_minute() {
    let mut fixture = undrained(sparing(outdated(2, 1, 2), 1));
    let (plan, _) = fixture.planned();
    let kind = decided(&plan);
    fixture.recorded = plan.next;
    fixture.intent(0, kind, IntentState::Sent);
    fixture.intents[0].said = Some("internal error".to_owned());
    assert!(!holds(&fixture.later(29).planned().1).contains(&"ChangeRefused"));
    let (_, report) = fixture.later(30).planned();
    let held = report
        .holds
        .iter()
        .find(|held| held.hold.code() == "ChangeRefused");
    assert_eq!(
        held.unwrap().hold.to_string(),
        "nobody knows whether the provider changes the instance, and it is asked again: internal error"
    );
}
