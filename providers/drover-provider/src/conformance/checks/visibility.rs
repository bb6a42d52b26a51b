//! The check of how late listings may be.

use super::super::{Completeness, Context, Miss, Verdict, Words as _, ensure};

/// Makes an instance, and looks whether it is in each complete listing once its time is past. Whoever takes longer than
/// is said has instances made a second time: an agent takes for gone what it does not see by then.
pub(super) async fn visibility(context: &Context<'_>) -> Verdict {
    let (_, instance) = context.one(0).await?;
    let visibility = context.provider.manifest().visibility;
    // Begun after the answer: the clock is the provider's own.
    let mut listing = context.listing().await?;
    let due = listing.as_of + visibility;
    for _ in context.waits(1) {
        let mut listed = listing.instances.iter();
        if listed.any(|listed| listed.provider_ref == instance) {
            return Ok(());
        }
        let is_late = listing.as_of >= due && listing.completeness == Completeness::Complete;
        ensure(!is_late, || {
            format!(
                "{instance} is not listed {} after it was made, as the manifest promises",
                visibility.words()
            )
        })?;
        context.subject.wait().await;
        listing = context.listing().await?;
    }
    context.tell_unseen(&instance);
    Err(Miss::Failed(format!("{instance} is not listed in time")))
}
