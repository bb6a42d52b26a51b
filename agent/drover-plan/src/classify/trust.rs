//! Whether a listing may be acted on.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Completeness, DeletionPolicy, GroupPhase, Hold, InstanceClass, InstanceId, Listed,
    ProviderPhase, RecordedInstance, Trust, Value,
};

use super::ClassifyInput;
use crate::input::ProviderFacts;
use crate::intents::IntentIndex;
use crate::time::elapsed;

/// A listing older than this is not acted on: four default passes.
pub const LISTING_AGE_MAX: Duration = Duration::from_mins(2);

/// As many instances vanishing at once is more likely a wrong credential, region or filter than an
/// accident, whether they are missing or said to be gone. Groups in one place are counted together. Fewer are protected by the two listings that prove an end, and
/// by what is remembered of them: whoever comes back stays.
const EMPTIED_MIN: usize = 5;

/// Judges the listing.
pub(super) fn judge(input: &ClassifyInput<'_>, intents: &IntentIndex<'_>) -> Trust {
    if let Completeness::Partial { why } = &input.listing.completeness {
        return Trust::Frozen(Hold::ObservationPartial { why: why.clone() });
    }
    if elapsed(input.listing.as_of, input.now) > LISTING_AGE_MAX {
        return Trust::Frozen(Hold::ObservationStale);
    }
    let expected = expected(input, intents);
    let strangers = strangers(input);
    let elsewhere = input.emptied.map_or(0, |emptied| emptied.elsewhere);
    let (alone, together) = (
        expected.len(),
        expected.len().saturating_add(elsewhere as usize),
    );
    let emptied = together >= EMPTIED_MIN && shares_loss(input, &expected);
    if emptied && !lists_living(input) && !are_failed_launches(input, &expected) {
        return Trust::Frozen(Hold::ObservationEmptied {
            expected: alone as u32,
            elsewhere,
            asked: lister(input.provider),
        });
    }
    if strangers >= EMPTIED_MIN && !lists_living(input) {
        return Trust::Frozen(Hold::ObservationEmptied {
            expected: (strangers + alone) as u32,
            elsewhere,
            asked: lister(input.provider),
        });
    }
    Trust::Full
}

/// Returns how many instances that the group was to adopt vanished at once, where that counts.
fn strangers(input: &ClassifyInput<'_>) -> usize {
    if makes_replicas(input) {
        super::adoption::vanished(input)
    } else {
        0
    }
}

/// Returns whether the group is held for what others lost with it. A group that has nothing there is, because what it
/// made would be listed where the others are not. One that is being removed goes on once it has nothing left.
fn shares_loss(input: &ClassifyInput<'_>, expected: &[&InstanceId]) -> bool {
    !expected.is_empty() || (makes_replicas(input) && input.emptied.is_some())
}

/// Returns whether the group would make instances where it has none. A quorum group has its members' places, and asks people.
fn makes_replicas(input: &ClassifyInput<'_>) -> bool {
    let removed = input.recorded.deleting.is_some() || input.recorded.phase == GroupPhase::Deleting;
    input.spec.quorum.is_none() && input.spec.size > 0 && !removed
}

/// Returns who makes listings, for people.
pub fn lister(provider: &ProviderFacts) -> String {
    let ProviderFacts {
        name,
        type_,
        settings,
        ..
    } = provider;
    match settings.get("plugin").and_then(Value::as_str) {
        Some(plugin) => format!(
            "provider {name} (plugin {plugin}, asked by Provider.List or Instance.DescribeInstances)"
        ),
        None => format!("provider {name} ({type_})"),
    }
}

/// Returns the instances of the group that are listed, those that are said to be gone too.
fn listed<'a>(input: &ClassifyInput<'a>) -> impl Iterator<Item = (&'a InstanceId, &'a Listed)> {
    let group = input.group;
    input.listing.instances.iter().filter_map(move |listed| {
        let ownership = listed.ownership.as_ref()?;
        (ownership.group == *group).then_some((&ownership.instance, listed))
    })
}

fn lists_living(input: &ClassifyInput<'_>) -> bool {
    listed(input).any(|(_, listed)| listed.phase != ProviderPhase::Terminated)
}

/// Returns whether all of them are said to be gone, and none was ever seen to be ready: a template that
/// ends its instances at once. Launches that fail are spaced out, and need nobody to confirm them.
fn are_failed_launches(input: &ClassifyInput<'_>, expected: &[&InstanceId]) -> bool {
    let said: BTreeSet<&InstanceId> = listed(input).map(|(id, _)| id).collect();
    !expected.is_empty()
        && expected.iter().all(|id| {
            let was = input.recorded.instances.get(*id);
            said.contains(id) && was.is_some_and(is_launch)
        })
}

/// Returns whether an instance was not ready yet when it was recorded.
pub(crate) fn is_launch(was: &RecordedInstance) -> bool {
    was.class == InstanceClass::Starting.as_str()
}

/// Returns the recorded instances that nobody is ending, and that the provider did not say to take.
fn expected<'a>(input: &ClassifyInput<'a>, intents: &IntentIndex<'_>) -> Vec<&'a InstanceId> {
    // Where nothing is wanted nothing can be made too much, so that `size: 0` is how a person
    // says that the instances are gone indeed. A group that is being removed would be forgotten.
    // Of a quorum group no majority is ever made anew, so nothing is made too much either.
    let quorum = input.spec.quorum.is_some();
    let wants_none = input.spec.size == 0 && input.recorded.deleting.is_none();
    if releasing(input) || wants_none || quorum {
        return Vec::new();
    }
    let terminating = InstanceClass::Terminating.as_str();
    let announced = |id| super::is_announced(input.memory.get(id), input.listing.as_of);
    let known = input.recorded.instances.iter().filter(|(id, was)| {
        was.provider_ref.is_some()
            && was.class != terminating
            && intents.destroy(id).is_none()
            && !announced(id)
    });
    known.map(|(id, _)| id).collect()
}

/// Returns whether the group gives its instances away, so that their absence is expected.
pub(super) fn releasing(input: &ClassifyInput<'_>) -> bool {
    input.recorded.phase == GroupPhase::Deleting
        && input.spec.deletion.policy == DeletionPolicy::Orphan
}
