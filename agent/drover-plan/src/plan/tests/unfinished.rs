//! Launches that are listed and have no answer.

use drover_model::{
    Action, Completeness, DeletionPolicy, ErrorClass, GroupPhase, InstanceMemory, IntentId,
    IntentState, Plan, ProviderPhase, Reason, SettlementOutcome, Unanswered,
};

use super::{creates, holds};
use crate::testing::{Fixture, at, id, provider_ref};

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
fn a_call_of_which_one_instance_has_ended_is_not_repeated() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.size = 5;
    fixture.create(&["web-4", "web-5"], -5, IntentState::Sent);
    fixture.list("web-4", ProviderPhase::Pending);
    fixture.list("web-5", ProviderPhase::Pending);
    assert_eq!(verbs(&fixture.planned().0), ["resend"]);
    fixture.list("web-5", ProviderPhase::Terminated);
    let (plan, _) = fixture.planned();
    assert!(!verbs(&plan).contains(&"resend"), "{:?}", plan.steps);
    assert!(verbs(&plan).contains(&"settle"), "{:?}", plan.steps);
}

/// A group of four of which the call for the last one has no answer and made nothing that is listed; so many calls were made,
/// the last one at `last`.
fn unlisted(calls: u32, last: i64, refused_since: Option<i64>) -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.size = 4;
    fixture.create(&["web-4"], -100, IntentState::Sent);
    fixture.intents[0].said = Some("no such volume".to_owned());
    fixture.memory.insert(
        id("web-4"),
        InstanceMemory {
            unanswered: Some(Box::new(Unanswered {
                calls,
                last: at(last),
                refused_since: refused_since.map(at),
            })),
            ..InstanceMemory::new(at(-100))
        },
    );
    fixture
}

#[test]
fn a_call_without_an_answer_is_repeated_less_and_less_often_and_told_of() {
    for (calls, wait) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (40, 30)] {
        let (plan, report) = unlisted(calls, 1 - wait, None).planned();
        assert_eq!(verbs(&plan), [""; 0], "after {calls}");
        assert_eq!(plan.wake_at, Some(at(1)), "after {calls}");
        let says = "the outcome of 1 provider call is unknown; no new ones until it is; the latest: no such volume";
        assert_eq!(report.holds[0].hold.to_string(), says);
        let (plan, _) = unlisted(calls, -wait, None).planned();
        assert_eq!(verbs(&plan), ["resend"], "after {calls}");
    }
    // For half a minute it is nothing to tell, and where nobody remembers a call it is made at once.
    let mut fixture = unlisted(2, -1, None);
    fixture.intents[0].issued_at = at(-29);
    assert!(holds(&fixture.planned().1).is_empty());
    fixture.memory.clear();
    assert_eq!(verbs(&fixture.planned().0), ["resend"]);
}

#[test]
fn a_call_whose_repeats_are_refused_is_closed_once_a_listing_shows_that_it_made_nothing() {
    let closes = |fixture: &Fixture| {
        let (plan, _) = fixture.planned();
        let settles = plan.steps.iter().find_map(|step| match &step.action {
            Action::Settle(settled) => Some(settled.outcome.clone()),
            _ => None,
        });
        (settles, creates(&plan).len())
    };
    // The provider may leave what it made out of its listings for so long.
    let visibility = Fixture::converged(1).visibility.as_secs() as i64;
    let mut fixture = unlisted(3, 0, Some(1 - visibility));
    assert_eq!(closes(&fixture), (None, 0), "it may be there");
    assert_eq!(fixture.class("web-4"), "Starting");
    fixture.later(1);
    assert_eq!(closes(&fixture), (Some(SettlementOutcome::NoEffect), 1));
    // An incomplete listing says nothing, nor do calls that may have made something meanwhile.
    let mut partial = unlisted(3, 0, Some(-600));
    let why = "the second page failed".to_owned();
    partial.listing.completeness = Completeness::Partial { why };
    assert_eq!(closes(&partial).0, None);
    assert_eq!(closes(&unlisted(3, 0, None)).0, None);
    // With the answer it was made, however late it is listed, and nothing is known against it any more.
    let mut answered = unlisted(3, 0, Some(-600));
    let made = [(id("web-4"), provider_ref("web-4"))].into();
    answered.intents[0].state = IntentState::Acked { made, at: at(-1) };
    assert_eq!(closes(&answered), (None, 0));
    let memory = &answered.classified().memory[&id("web-4")];
    assert_eq!(memory.unanswered, None);
    // Refused, or not: what is listed and may lack something is not finished.
    let mut pending = unlisted(3, 0, Some(-600));
    pending.list("web-4", ProviderPhase::Pending);
    assert_eq!(closes(&pending).0, None);
    // One of two is there: the call has made it, and no more.
    let mut half = unlisted(3, 0, Some(-600));
    half.intents.clear();
    half.group.spec.size = 5;
    half.create(&["web-4", "web-5"], -100, IntentState::Sent);
    half.list("web-5", ProviderPhase::Running);
    assert_eq!(closes(&half), (Some(SettlementOutcome::Observed), 1));
    // What is there was made.
    let mut there = unlisted(3, 0, Some(-600));
    there.list("web-4", ProviderPhase::Running);
    assert_eq!(closes(&there).0, Some(SettlementOutcome::Observed));
    // Without visibility, a minute.
    for (since, outcome) in [(-59, None), (-60, Some(SettlementOutcome::NoEffect))] {
        let mut fixture = unlisted(3, 0, Some(since));
        fixture.visibility = std::time::Duration::ZERO;
        assert_eq!(closes(&fixture).0, outcome);
    }
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
    let Action::Settle(settled) = &plan.steps[0].action else {
        panic!("{:?}", plan.steps);
    };
    assert_eq!(settled.outcome, SettlementOutcome::Observed);
    assert_eq!(plan.next.backoff, None);
    fixture.unlist("web-4");
    let (plan, _) = fixture.planned();
    assert!(plan.next.backoff.is_some());
}
