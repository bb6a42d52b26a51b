use drover_model::{Cause, IntentId, Step};
use drover_provider_sim::{Fault, FaultKind, Op, SimSettings};

use super::*;
use crate::testing::*;
use crate::{Journal as _, apply};

/// What is remembered of the calls for `web-1` after repeats that fail so, a second apart, and what the last one came to.
async fn after(faults: &[FaultKind]) -> Option<(Unanswered, String)> {
    let fixture = Fixture::new(SimSettings::default());
    let mut memory = BTreeMap::new();
    for (turn, fault) in faults.iter().enumerate() {
        let fault = Fault::next(Op::Provision, 1, fault.clone());
        fixture.provider.sim.world().inject(fault);
        let intents = fixture.journal.open_intents(&web()).unwrap();
        let step = match intents.first() {
            None => create(&[1]),
            Some(open) => repeat(open.id),
        };
        let plan = plan(vec![step]);
        let report = apply(&plan, &fixture.ctx()).await;
        remember_unanswered(&mut memory, (&plan, &intents), &report, at(turn as i64));
    }
    let memory = memory.into_values().next()?;
    let intents = fixture.journal.open_intents(&web()).unwrap();
    let said = intents.into_iter().next().unwrap().said.unwrap();
    memory.unanswered.map(|told| (*told, said))
}

/// How many calls are remembered of an end that fails so, a second apart.
async fn ended(faults: &[Option<FaultKind>]) -> Option<u32> {
    let fixture = Fixture::new(SimSettings::default());
    let (handle, token) = fixture.existing(1).await;
    let mut memory = BTreeMap::from([(instance(1), InstanceMemory::new(at(0)))]);
    for (turn, fault) in faults.iter().enumerate() {
        if let Some(fault) = fault {
            let fault = Fault::next(Op::Destroy, 1, fault.clone());
            fixture.provider.sim.world().inject(fault);
        }
        let intents = fixture.journal.open_intents(&web()).unwrap();
        let plan = plan(vec![destroy(1, &handle, &token)]);
        let report = apply(&plan, &fixture.ctx()).await;
        remember_unanswered(&mut memory, (&plan, &intents), &report, at(turn as i64));
    }
    let told = memory.remove(&instance(1))?.unheeded?;
    assert_eq!(told.last, at(faults.len() as i64 - 1));
    Some(told.calls)
}

#[tokio::test]
async fn ends_without_an_answer_are_counted_too() {
    let lost = || Some(FaultKind::LostRequest);
    assert_eq!(ended(&[None]).await, None);
    assert_eq!(ended(&[lost()]).await, Some(1));
    // The refusal of a repeat is no answer to the first call.
    let refused = Some(FaultKind::Error(ErrorClass::Auth));
    assert_eq!(ended(&[lost(), refused, lost()]).await, Some(3));
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn repeat(intent: IntentId) -> Step {
    Step {
        action: Action::Resend { intent },
        cause: Cause::FollowUp,
        preconditions: Vec::new(),
    }
}

#[tokio::test]
async fn calls_without_an_answer_are_counted_with_what_they_came_to() {
    let error = FaultKind::Error;
    let cases = [
        (vec![FaultKind::LostRequest], 1, None),
        (
            vec![FaultKind::LostRequest, FaultKind::LostRequest],
            2,
            None,
        ),
        (
            vec![FaultKind::LostRequest, error(ErrorClass::Throttled)],
            2,
            None,
        ),
        (
            vec![FaultKind::LostRequest, error(ErrorClass::InvalidSpec)],
            2,
            Some(1),
        ),
        // From the first of them on, as long as each is refused.
        (
            vec![
                FaultKind::LostRequest,
                error(ErrorClass::Quota),
                error(ErrorClass::Auth),
                error(ErrorClass::Capacity),
            ],
            4,
            Some(1),
        ),
        (
            vec![
                FaultKind::LostRequest,
                error(ErrorClass::Quota),
                FaultKind::LostRequest,
            ],
            3,
            None,
        ),
    ];
    for (faults, calls, refused) in cases {
        let (told, message) = after(&faults).await.unwrap();
        assert_eq!(told.calls, calls, "{faults:?}");
        assert_eq!(told.refused_since, refused.map(at), "{faults:?}");
        assert!(!message.is_empty());
    }
    // The first call has an answer, whatever that is.
    assert_eq!(after(&[error(ErrorClass::InvalidSpec)]).await, None);
}
