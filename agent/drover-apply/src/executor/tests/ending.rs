//! What a provider is told of why an instance ends.

use drover_provider::Ending;

use super::*;

/// Ends instance 1 in a step of this cause, after these intents, and returns what the provider was told.
async fn told(cause: Cause, begun: Option<Reason>) -> Ending {
    let fixture = fixture();
    let (provider_ref, token) = fixture.existing(1).await;
    let ctx = fixture.ctx();
    if let Some(reason) = begun {
        let mut drain = crate::testing::drain(1, &provider_ref, &token, fixture.clock.now());
        drain.cause = Cause::Because(reason);
        assert!(apply(&plan(vec![drain]), &ctx).await.is_complete());
    }
    let mut end = destroy(1, &provider_ref, &token);
    end.cause = cause;
    assert!(apply(&plan(vec![end]), &ctx).await.is_complete());
    let destroys = fixture.provider.destroys.lock().unwrap();
    let [asked] = &destroys[..] else {
        panic!("{destroys:?}");
    };
    asked.ending
}

#[tokio::test]
async fn what_another_one_takes_the_place_of_is_told_from_what_is_not_wanted() {
    for reason in Reason::ALL {
        let wanted = match reason {
            Reason::Update | Reason::Drift | Reason::Expiry | Reason::Rebalance | Reason::Cost => {
                Ending::Replaced
            }
            Reason::Heal | Reason::ScaleIn | Reason::Interruption | Reason::Delete => {
                Ending::Removed
            }
        };
        let ending = told(Cause::Because(reason), None).await;
        assert_eq!(ending, wanted, "{reason}");
        // A step that follows up says no more why: what was begun does.
        let ending = told(Cause::FollowUp, Some(reason)).await;
        assert_eq!(ending, wanted, "{reason}");
    }
    for cause in [Cause::FailedLaunch, Cause::Completed, Cause::KeptOver] {
        assert_eq!(told(cause, None).await, Ending::Removed);
    }
}
