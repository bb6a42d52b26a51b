//! Whether a listing may be acted on.

use std::time::Duration;

use drover_model::{Completeness, DeletionPolicy, GroupPhase, Hold, InstanceClass, Trust};

use super::ClassifyInput;
use crate::intents::IntentIndex;
use crate::time::elapsed;

/// A listing older than this is not acted on: four default passes.
pub const LISTING_AGE_MAX: Duration = Duration::from_mins(2);

/// As many instances vanishing at once is more likely a wrong credential, region or filter than an
/// accident. Smaller groups are protected by the two listings that prove an end.
const EMPTIED_MIN: u32 = 5;

/// Judges the listing.
pub(super) fn judge(input: &ClassifyInput<'_>, intents: &IntentIndex<'_>) -> Trust {
    if let Completeness::Partial { why } = &input.listing.completeness {
        return Trust::Frozen(Hold::ObservationPartial { why: why.clone() });
    }
    if elapsed(input.listing.as_of, input.now) > LISTING_AGE_MAX {
        return Trust::Frozen(Hold::ObservationStale);
    }
    let expected = expected(input, intents);
    if expected >= EMPTIED_MIN && !lists_any(input) {
        return Trust::Frozen(Hold::ObservationEmptied { expected });
    }
    Trust::Full
}

fn lists_any(input: &ClassifyInput<'_>) -> bool {
    let listed = &input.listing.instances;
    listed.iter().any(|listed| {
        let owned = listed.ownership.as_ref();
        owned.is_some_and(|ownership| ownership.group == *input.group)
    })
}

/// Counts the recorded instances that nobody is ending.
fn expected(input: &ClassifyInput<'_>, intents: &IntentIndex<'_>) -> u32 {
    // Where nothing is wanted nothing can be made too much, so that `size: 0` is how a person
    // says that the instances are gone indeed. A group that is being removed would be forgotten.
    // Of a quorum group no majority is ever made anew, so nothing is made too much either.
    let quorum = input.spec.quorum.is_some();
    let wants_none = input.spec.size == 0 && input.recorded.deleting.is_none();
    if releasing(input) || wants_none || quorum {
        return 0;
    }
    let terminating = InstanceClass::Terminating.as_str();
    let known = input.recorded.instances.iter().filter(|(id, was)| {
        was.provider_ref.is_some() && was.class != terminating && intents.destroy(id).is_none()
    });
    known.count() as u32
}

/// Returns whether the group gives its instances away, so that their absence is expected.
pub(super) fn releasing(input: &ClassifyInput<'_>) -> bool {
    input.recorded.phase == GroupPhase::Deleting
        && input.spec.deletion.policy == DeletionPolicy::Orphan
}
