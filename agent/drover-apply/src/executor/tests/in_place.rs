use drover_model::{InPlace, IntentKind};

use super::*;
use crate::testing::update;

#[tokio::test]
async fn a_change_in_place_is_written_down_before_it_is_called_and_answered_after() {
    let fixture = fixture();
    let (handle, token) = fixture.existing(1).await;
    let steps = plan(vec![update(1, &handle, &token, InPlace::Restart)]);
    assert!(apply(&steps, &fixture.ctx()).await.is_complete());
    let open = fixture.journal.open_intents(&web()).unwrap();
    assert!(matches!(open[0].kind, IntentKind::Update(_)));
    assert!(matches!(open[0].state, IntentState::Acked { .. }));
    assert_eq!(fixture.provider.sim.world().stats().restarted, 1);
    let breaches = fixture.provider.breaches.lock().unwrap().clone();
    assert_eq!(breaches, Vec::<String>::new());
}

#[tokio::test]
async fn a_change_without_an_answer_is_repeated_with_its_token_and_happens_once() {
    let fixture = fixture();
    let (handle, token) = fixture.existing(1).await;
    let fault = Fault::next(Op::Update, 1, FaultKind::LostReply);
    fixture.provider.sim.world().inject(fault);
    let first = plan(vec![update(1, &handle, &token, InPlace::Restart)]);
    let report = apply(&first, &fixture.ctx()).await;
    assert!(matches!(
        report.outcomes[0].result,
        StepResult::Unknown { .. }
    ));
    let open = fixture.journal.open_intents(&web()).unwrap();
    assert_eq!(open[0].state, IntentState::Sent);
    let again = plan(vec![resend(open[0].id)]);
    assert!(apply(&again, &fixture.ctx()).await.is_complete());
    let world = fixture.provider.sim.world();
    assert_eq!(
        (world.stats().restarted, world.stats().calls_of(Op::Update)),
        (1, 2)
    );
}

#[tokio::test]
async fn what_restarts_counts_against_the_allowance_and_what_changes_live_does_not() {
    let fixture = fixture();
    let mut steps = Vec::new();
    for (number, how) in [
        (1, InPlace::Live),
        (2, InPlace::Restart),
        (3, InPlace::Restart),
    ] {
        let (handle, token) = fixture.existing(number).await;
        steps.push(update(number, &handle, &token, how));
    }
    let mut mad = plan(steps);
    mad.allowance.ending_max = 1;
    let report = apply(&mad, &fixture.ctx()).await;
    let refused = StepResult::Skipped(Skip::BeyondAllowance { allowed: 1 });
    let done = StepResult::Done;
    assert_eq!(results(&report), [done.clone(), done, refused]);
    // What restarts is on its way in the next pass, too.
    let (handle, token) = fixture.existing(4).await;
    let mut next = plan(vec![update(4, &handle, &token, InPlace::Restart)]);
    next.allowance.ending_max = 1;
    let report = apply(&next, &fixture.ctx()).await;
    assert!(matches!(report.outcomes[0].result, StepResult::Skipped(_)));
}
