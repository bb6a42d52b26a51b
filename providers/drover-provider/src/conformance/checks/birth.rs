//! The check of when instances were made.

use std::time::Duration;

use super::super::{Context, Verdict, Words as _, ensure};

/// How far the clock that tells when an instance was made may be from the one that tells when a listing was.
const SKEW: Duration = Duration::from_mins(5);

/// Makes an instance, and looks whether it was made between the listing before and the one that has it, and is so later.
pub(super) async fn created_at(context: &Context<'_>) -> Verdict {
    let before = context.listing().await?.as_of;
    let (_, instance) = context.one(0).await?;
    let first = context.until_running(&instance).await?.created_at;
    let after = context.listing().await?.as_of;
    let (earliest, latest) = (before - SKEW, after + SKEW);
    ensure(
        first.is_some_and(|at| earliest <= at && at <= latest),
        || {
            format!(
                "made between {before} and {after}, and listed as made at {}",
                first.words()
            )
        },
    )?;
    for _ in 0..3 {
        context.subject.wait().await;
        let later = context.until_running(&instance).await?.created_at;
        ensure(later == first, || {
            let (first, later) = (first.words(), later.words());
            format!("listed as made at {first}, and at {later} afterwards")
        })?;
    }
    Ok(())
}
