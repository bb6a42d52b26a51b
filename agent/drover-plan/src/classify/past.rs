//! Ends that are over although something stands under their id: several instances were made under it, one of them was ended,
//! and what is there now is another one. It is not on its way out for that, and it is an instance of the group like any other:
//! what is too much then goes by scale-in.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Completeness, InstanceId, Intent, IntentId, IntentKind, IntentState, Listed, Ownership,
    ProviderPhase, ProviderRef, Timestamp,
};

use super::absent::ABSENCE_MIN;
use super::{ClassifyInput, LISTING_AGE_MAX};
use crate::intents::end_of;
use crate::time::{elapsed, later};

/// Returns the open ends of instances that are gone, where another one is listed under their id.
pub(super) fn ends(
    input: &ClassifyInput<'_>,
    listed: &BTreeMap<&InstanceId, (&Listed, &Ownership)>,
) -> BTreeSet<IntentId> {
    let fresh = elapsed(input.listing.as_of, input.now) <= LISTING_AGE_MAX;
    if input.listing.completeness != Completeness::Complete || !fresh {
        return BTreeSet::new();
    }
    let over = input.intents.iter().filter(|intent| {
        end_of(intent).is_some_and(|(id, handle)| {
            let other = listed.get(id).is_some_and(|(listed, _)| {
                listed.phase != ProviderPhase::Terminated && listed.provider_ref != *handle
            });
            other && is_gone(input, id, handle)
        })
    });
    over.map(|intent| intent.id).collect()
}

/// Returns whether what was to be ended is gone: it is said to be, or a whole listing is without it after its end was accepted,
/// or long enough after the last call for it was decided.
fn is_gone(input: &ClassifyInput<'_>, id: &InstanceId, handle: &ProviderRef) -> bool {
    let all = input.listing.instances.iter();
    let mut shown = all
        .filter(|listed| listed.provider_ref == *handle)
        .peekable();
    if shown.peek().is_some() {
        return shown.all(|listed| listed.phase == ProviderPhase::Terminated);
    }
    let as_of = input.listing.as_of;
    let patience = input.visibility.max(ABSENCE_MIN);
    let ends = input.intents.iter();
    let ends = ends.filter(|intent| end_of(intent) == Some((id, handle)));
    let ends: Vec<&Intent> = ends.collect();
    ends.iter().any(|intent| was_accepted_before(intent, as_of))
        || ends
            .iter()
            .all(|intent| as_of > later(intent.issued_at, patience))
}

fn was_accepted_before(intent: &Intent, as_of: Timestamp) -> bool {
    let destroys = matches!(intent.kind, IntentKind::Destroy { .. });
    match &intent.state {
        IntentState::Acked { at, .. } => destroys && as_of > *at,
        IntentState::Intended | IntentState::Sent | IntentState::Failed { .. } => false,
    }
}

#[cfg(test)]
mod tests;
