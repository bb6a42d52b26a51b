use std::collections::BTreeMap;

use drover_model::{AdoptStep, ErrorClass, IntentKind, ProviderRef};

use super::*;
use crate::testing::{digests, instance, template, token};

fn adopt(number: u64, handle: &ProviderRef) -> Step {
    Step {
        action: Action::Adopt(AdoptStep {
            instance: instance(number),
            provider_ref: handle.clone(),
            token: token(number, 0),
            digests: digests(&template("v1")),
            seat: None,
            tags: BTreeMap::new(),
        }),
        cause: Cause::Adoption,
        preconditions: vec![Precondition::Absent(instance(number))],
    }
}

fn stranger(fixture: &Fixture) -> ProviderRef {
    let now = fixture.ctx().clock.now();
    fixture
        .provider
        .sim
        .world()
        .add_stranger(now, BTreeMap::new(), None)
}

#[tokio::test]
async fn an_adoption_is_written_down_before_it_is_called_and_answered_after() {
    let fixture = fixture();
    let handle = stranger(&fixture);
    let report = apply(&plan(vec![adopt(1, &handle)]), &fixture.ctx()).await;
    assert!(report.is_complete());
    let open = fixture.journal.open_intents(&web()).unwrap();
    assert!(matches!(open[0].kind, IntentKind::Adopt(_)));
    assert!(matches!(open[0].state, IntentState::Acked { .. }));
    assert_eq!(fixture.provider.sim.world().stats().adopted, 1);
    assert_eq!(fixture.provider.breaches.lock().unwrap().len(), 0);
    assert_eq!(fixture.journal.last_number(&web()).unwrap(), 1);
    // What the journal knows under that id is not adopted once more.
    let again = apply(&plan(vec![adopt(1, &handle)]), &fixture.ctx()).await;
    assert!(matches!(again.outcomes[0].result, StepResult::Skipped(_)));
}

#[tokio::test]
async fn an_adoption_without_an_answer_is_repeated_as_it_was() {
    let fixture = fixture();
    let handle = stranger(&fixture);
    let fault = Fault::next(Op::Adopt, 1, FaultKind::LostReply);
    fixture.provider.sim.world().inject(fault);
    let report = apply(&plan(vec![adopt(1, &handle)]), &fixture.ctx()).await;
    assert!(matches!(
        report.outcomes[0].result,
        StepResult::Unknown { .. }
    ));
    let open = fixture.journal.open_intents(&web()).unwrap();
    assert_eq!(open[0].state, IntentState::Sent);
    let again = plan(vec![resend(open[0].id)]);
    assert!(apply(&again, &fixture.ctx()).await.is_complete());
    assert_eq!(fixture.provider.sim.world().stats().adopted, 1);
}

#[tokio::test]
async fn a_refusal_is_written_down_and_keeps_nobody_else_from_being_adopted() {
    let fixture = fixture();
    let (claimed, free) = (stranger(&fixture), stranger(&fixture));
    fixture
        .provider
        .sim
        .world()
        .claim(&claimed, Some("the group workers"));
    let steps = plan(vec![adopt(1, &claimed), adopt(2, &free)]);
    let report = apply(&steps, &fixture.ctx()).await;
    assert!(matches!(
        report.outcomes[0].result,
        StepResult::Failed {
            class: ErrorClass::InvalidSpec,
            ..
        }
    ));
    assert_eq!(report.outcomes[1].result, StepResult::Done);
    let open = fixture.journal.open_intents(&web()).unwrap();
    assert!(matches!(open[0].state, IntentState::Failed { .. }));
    // A refused one is asked again as it was, and marked as sent again.
    fixture.provider.sim.world().claim(&claimed, None);
    assert!(
        apply(&plan(vec![resend(open[0].id)]), &fixture.ctx())
            .await
            .is_complete()
    );
    assert_eq!(fixture.provider.sim.world().stats().adopted, 2);
}
