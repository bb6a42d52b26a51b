//! Launches that are listed and have no answer.

use drover_model::{
    Action, DeletionPolicy, ErrorClass, GroupPhase, IntentId, IntentState, Plan, ProviderPhase,
    Reason, SettlementOutcome,
};

use super::{creates, holds};
use crate::testing::{Fixture, at, id};

fn verbs(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.action.verb()).collect()
}

/// Three serve, and the call that makes a fourth has no answer although it is listed.
fn unfinished(phase: ProviderPhase) -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.size = 4;
    fixture.create(&["web-4"], -5, IntentState::Sent);
    fixture.list("web-4", phase);
    fixture.listing.instances[3].created_at = Some(at(-5));
    fixture
}

#[test]
fn a_launch_that_is_listed_and_may_not_be_finished_is_asked_for_again_after_everything_else() {
    let mut fixture = unfinished(ProviderPhase::Pending);
    fixture.group.spec.size = 5;
    let (plan, report) = fixture.planned();
    // What is listed is there: it keeps nothing from being made.
    assert_eq!(verbs(&plan), ["create", "resend"]);
    assert!(holds(&report).is_empty(), "{:?}", report.holds);
    assert_eq!(creates(&plan)[0].0, [id("web-5")]);
    // What runs is finished.
    let (plan, _) = unfinished(ProviderPhase::Running).planned();
    assert_eq!(verbs(&plan), ["settle"]);
}

#[test]
fn a_group_with_an_unfinished_launch_is_not_there_and_says_so_after_a_while() {
    let mut fixture = unfinished(ProviderPhase::Pending);
    let (plan, report) = fixture.planned();
    assert!(holds(&report).is_empty());
    assert_ne!(plan.next.phase, GroupPhase::Converged);
    let words = "AttachVolume: UnauthorizedOperation: no (class auth)";
    fixture.intents[0].said = Some(words.to_owned());
    let (plan, report) = fixture.later(100).planned();
    assert_eq!(verbs(&plan), ["resend"]);
    assert_eq!(holds(&report), ["UnknownOutcomes"]);
    let told = report.holds[0].hold.to_string();
    assert!(told.ends_with(words), "{told}");
    assert_eq!(report.holds[0].instance, Some(id("web-4")));
    assert_eq!(plan.next.phase, GroupPhase::Held);
    // Asked for again as often as one looks at what takes long.
    assert_eq!(plan.wake_at, Some(at(113)));
}

#[test]
fn what_is_ended_is_not_asked_for_again() {
    let mut fixture = unfinished(ProviderPhase::Pending);
    let (plan, _) = fixture.later(600).planned();
    assert!(verbs(&plan).contains(&"destroy"), "{:?}", plan.steps);
    assert!(!verbs(&plan).contains(&"resend"), "{:?}", plan.steps);
    fixture.destroy("web-4", Reason::Heal, IntentState::Sent);
    let (plan, _) = fixture.planned();
    let settles = |outcome: &SettlementOutcome| {
        plan.steps.iter().any(|step| {
            matches!(&step.action, Action::Settle(settled)
                if settled.intent == IntentId(1) && settled.outcome == *outcome)
        })
    };
    assert!(settles(&SettlementOutcome::Observed), "{:?}", plan.steps);
}

#[test]
fn what_is_let_go_is_not_asked_for_again() {
    let mut fixture = unfinished(ProviderPhase::Pending);
    fixture.removed = true;
    fixture.group.spec.deletion.policy = DeletionPolicy::Orphan;
    let (plan, _) = fixture.planned();
    let mut verbs = verbs(&plan);
    verbs.sort_unstable();
    assert_eq!(
        verbs,
        ["release", "release", "release", "release", "settle"]
    );
}

#[test]
fn a_refused_repeat_is_no_failed_launch() {
    let mut fixture = unfinished(ProviderPhase::Pending);
    fixture.intents[0].state = IntentState::Failed {
        class: ErrorClass::Capacity,
        message: "no room".to_owned(),
        at: at(-1),
    };
    let (plan, _) = fixture.planned();
    assert_eq!(verbs(&plan), ["settle"]);
    assert_eq!(plan.next.backoff, None);
    fixture.unlist("web-4");
    let (plan, _) = fixture.planned();
    assert!(plan.next.backoff.is_some());
}
