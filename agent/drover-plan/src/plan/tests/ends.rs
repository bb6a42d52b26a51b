//! Ends that the provider refuses.

use std::collections::BTreeMap;

use drover_model::{
    Action, ErrorClass, ExitReport, GroupPhase, Hold, IntentState, Plan, ProviderPhase, Reason,
    Step, Unanswered,
};

use super::holds;
use crate::testing::{Fixture, at, id};

fn refused(class: ErrorClass, seconds: i64) -> IntentState {
    IntentState::Failed {
        class,
        message: "the call said no".to_owned(),
        at: at(seconds),
    }
}

/// Two should serve, and the provider has refused to end the third.
fn shrinking(class: ErrorClass) -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.size = 2;
    fixture.destroy("web-3", Reason::ScaleIn, refused(class, -1));
    fixture
}

fn verbs(fixture: &Fixture) -> Vec<&'static str> {
    let (plan, _) = fixture.planned();
    plan.steps.iter().map(|step| step.action.verb()).collect()
}

#[test]
fn a_refused_end_is_told_with_its_instance_and_the_providers_words() {
    let (plan, report) = shrinking(ErrorClass::Auth).planned();
    assert_eq!(holds(&report), ["EndRefused"]);
    let held = &report.holds[0];
    assert_eq!(held.instance, Some(id("web-3")));
    assert_eq!(held.reason, Some(Reason::ScaleIn));
    let words = held.hold.to_string();
    assert!(words.ends_with("(auth): the call said no"), "{words}");
    assert_eq!(plan.next.phase, GroupPhase::Held);
    assert_eq!(plan.next.holds, report.holds);
    // Too many calls are fewer by themselves.
    let (_, report) = shrinking(ErrorClass::Throttled).planned();
    assert!(holds(&report).is_empty(), "{:?}", report.holds);
}

#[test]
fn a_refusal_for_good_or_for_the_credentials_is_asked_again_after_minutes() {
    for (class, again) in [
        (ErrorClass::Capacity, 15),
        (ErrorClass::Auth, 300),
        (ErrorClass::InvalidSpec, 300),
    ] {
        let mut fixture = shrinking(class);
        fixture.later(again - 2);
        assert!(verbs(&fixture).is_empty(), "{class:?}");
        assert_eq!(fixture.planned().1.timer_at, Some(at(again - 1)));
        fixture.later(again - 1);
        assert_eq!(verbs(&fixture), ["settle"], "{class:?}");
    }
}

#[test]
fn an_end_that_may_have_taken_effect_is_asked_for_again_though_nobody_wants_it_any_more() {
    let accepted = IntentState::Acked {
        made: BTreeMap::default(),
        at: at(-600),
    };
    for state in [IntentState::Sent, accepted] {
        let mut fixture = Fixture::converged(3);
        fixture.destroy("web-3", Reason::ScaleIn, state);
        assert!(
            verbs(&fixture).contains(&"destroy"),
            "{:?}",
            verbs(&fixture)
        );
    }
}

#[test]
fn an_end_without_an_answer_is_asked_for_less_and_less_often_and_told_of() {
    let unheeded = |calls: u32, last: i64| {
        let mut fixture = Fixture::converged(3);
        fixture.group.spec.size = 2;
        fixture.destroy("web-3", Reason::ScaleIn, IntentState::Sent);
        fixture.intents[0].said = Some("disk busy".to_owned());
        fixture.intents[0].issued_at = at(-30);
        let memory = fixture.memory.get_mut(&id("web-3")).unwrap();
        memory.unheeded = Some(Box::new(Unanswered {
            calls,
            last: at(last),
            refused_since: None,
        }));
        fixture
    };
    for (calls, wait) in [(1, 1), (2, 2), (5, 16), (6, 30), (40, 30)] {
        let (plan, report) = unheeded(calls, 1 - wait).planned();
        assert!(plan.steps.is_empty(), "after {calls}: {:?}", plan.steps);
        assert_eq!(report.timer_at, Some(at(1)), "after {calls}");
        assert_eq!(holds(&report), ["EndRefused"]);
        assert_eq!(
            report.holds[0].hold.to_string(),
            "nobody knows whether the provider ends the instance, and it is asked again: disk busy"
        );
        assert_eq!(verbs(&unheeded(calls, -wait)), ["destroy"], "after {calls}");
    }
    // For half a minute it is nothing to tell.
    let mut fixture = unheeded(3, -1);
    fixture.intents[0].issued_at = at(-29);
    assert!(holds(&fixture.planned().1).is_empty());
    // It is forgotten with the answer, and what nobody remembers is asked at once.
    let classified = |state| {
        let mut fixture = unheeded(3, -1);
        fixture.intents[0].state = state;
        fixture.classified().memory[&id("web-3")].unheeded.clone()
    };
    assert!(classified(IntentState::Sent).is_some());
    assert_eq!(classified(refused(ErrorClass::Auth, -1)), None);
    let mut fixture = unheeded(3, 0);
    fixture.memory.get_mut(&id("web-3")).unwrap().unheeded = None;
    assert_eq!(verbs(&fixture), ["destroy"]);
}

#[test]
fn it_is_one_hold_until_the_end_is_accepted_or_wanted_no_more() {
    let mut fixture = shrinking(ErrorClass::InvalidSpec);
    fixture.group.spec.size = 1;
    fixture.destroy("web-2", Reason::ScaleIn, refused(ErrorClass::Auth, -1));
    let (plan, report) = fixture.planned();
    assert_eq!(holds(&report), ["EndRefused"]);
    assert_eq!(report.holds[0].instance, Some(id("web-2")));
    // Another refused one does not take its place, and other words are the same hold.
    fixture.recorded = plan.next;
    fixture.recorded.holds[0].instance = Some(id("web-3"));
    fixture.recorded.holds[0].hold = Hold::EndRefused {
        class: ErrorClass::InvalidSpec,
        message: "request 1 said no".to_owned(),
    };
    let (plan, report) = fixture.planned();
    assert_eq!(report.holds[0].instance, Some(id("web-3")));
    assert_eq!(plan.next.holds, fixture.recorded.holds);
    // Decided anew, it is not over.
    fixture.intents.clear();
    fixture.group.spec.size = 2;
    let (plan, _) = fixture.planned();
    let Action::Drain { instance, .. } = &plan.steps[0].action else {
        panic!("{:?}", plan.steps);
    };
    let chosen = instance.to_string();
    fixture.recorded.holds[0].instance = Some(instance.clone());
    assert_eq!(fixture.planned().0.next.holds, fixture.recorded.holds);
    fixture.drain(&chosen, Reason::ScaleIn);
    assert_eq!(fixture.planned().0.next.holds, fixture.recorded.holds);
    let accepted = IntentState::Acked {
        made: BTreeMap::default(),
        at: at(-1),
    };
    fixture.destroy(&chosen, Reason::ScaleIn, accepted);
    fixture.list(&chosen, ProviderPhase::Stopping);
    assert!(fixture.planned().0.next.holds.is_empty());
    fixture.intents.clear();
    fixture.list(&chosen, ProviderPhase::Running);
    fixture.group.spec.size = 3;
    assert!(fixture.planned().0.next.holds.is_empty());
}

#[test]
fn who_was_drained_for_a_removal_that_was_taken_back_goes_as_successors_come() {
    let mut fixture = Fixture::converged(4);
    for number in 1..=4 {
        fixture.drain(&format!("web-{number}"), Reason::Delete);
    }
    let count = |plan: &Plan, what: fn(&Action) -> bool| {
        plan.steps.iter().filter(|step| what(&step.action)).count()
    };
    let destroyed = |plan: &Plan| count(plan, |action| matches!(action, Action::Destroy { .. }));
    let made = |plan: &Plan| count(plan, |action| matches!(action, Action::Create { .. }));
    let (plan, report) = fixture.later(600).planned();
    assert_eq!(destroyed(&plan), 0, "{:?}", plan.steps);
    assert!(holds(&report).contains(&"AvailabilityFloor"));
    assert_eq!(made(&plan), 1, "a batch of four beside them");
    fixture.known("web-5", "Available");
    fixture.list("web-5", ProviderPhase::Running);
    let (plan, _) = fixture.planned();
    assert_eq!(destroyed(&plan), 1, "{:?}", plan.steps);
    // What does not serve goes at once, in the place of one that does; while the group is removed, everything does.
    fixture.list("web-3", ProviderPhase::Exited(ExitReport::default()));
    let (plan, _) = fixture.planned();
    let gone = |step: &Step| matches!(&step.action, Action::Destroy { instance, .. } if *instance == id("web-3"));
    assert!(plan.steps.iter().any(gone), "{:?}", plan.steps);
    assert_eq!(destroyed(&plan), 1);
    fixture.removed = true;
    assert_eq!(destroyed(&fixture.planned().0), 4);
}
