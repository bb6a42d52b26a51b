//! What a group has to adopt, and what became of adoptions under way.
//!
//! What was there to be adopted is treated like an instance of the group: missing from an answer is not gone.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AdoptStep, Adoption, Completeness, Hold, Intent, IntentKind, IntentState, Listed,
    ProviderPhase, ProviderRef, RecordedStranger, SettlementOutcome, Stranger, Survey, Surveyed,
    Timestamp, taken_by,
};

use super::absent::ABSENCE_MIN;
use super::{ClassifyInput, LISTING_AGE_MAX, Stage};
use crate::time::elapsed;

/// Returns what there is to adopt. None: the specification adopts nothing.
pub(super) fn adoption(input: &ClassifyInput<'_>) -> Option<Adoption> {
    input.spec.adopt.as_ref()?;
    let (survey, contested) = match input.surveyed {
        Some(Surveyed::Known { survey, contested }) => (survey, contested),
        Some(Surveyed::Unknown(hold)) => return Some(Adoption::Unknown(hold.clone())),
        None => return Some(Adoption::Unknown(Hold::ObservationStale)),
    };
    if let Completeness::Partial { why } = &survey.completeness {
        let hold = Hold::ObservationPartial { why: why.clone() };
        return Some(Adoption::Unknown(hold));
    }
    if elapsed(survey.as_of, input.now) > LISTING_AGE_MAX {
        return Some(Adoption::Unknown(Hold::ObservationStale));
    }
    let living = survey.strangers.iter();
    let living = living.filter(|stranger| lives(&stranger.phase));
    let living =
        living.filter_map(|stranger| with_owner(input, with_former_owner(input, stranger)));
    let (ours, mut strangers): (Vec<Stranger>, Vec<Stranger>) =
        living.partition(|stranger| is_ours(input, stranger));
    let claimed = ours.into_iter().filter(|one| one.claimed_by.is_some());
    strangers.sort_by(|one, other| one.provider_ref.cmp(&other.provider_ref));
    strangers.dedup_by(|one, other| one.provider_ref == other.provider_ref);
    let is_there = |handle: &_| strangers.iter().any(|one| one.provider_ref == *handle);
    let contested = contested.iter().filter(|(handle, _)| is_there(*handle));
    let contested = contested.map(|(handle, groups)| (handle.clone(), groups.clone()));
    let claimed: Vec<Stranger> = claimed.collect();
    let heard = !strangers.is_empty() || !claimed.is_empty() || has_members(input);
    Some(Adoption::Known {
        contested: contested.collect(),
        missing: missing(input, survey, heard),
        claimed,
        strangers,
    })
}

/// Returns the strangers that were there before, that a survey does not tell of, and that may be there all the same: until
/// they were absent for as long as an instance has to be. Of what had another owner when it was last seen, and was all that
/// there was, absence proves nothing: nobody tells whether that owner has let go.
fn missing(
    input: &ClassifyInput<'_>,
    survey: &Survey,
    heard: bool,
) -> BTreeMap<ProviderRef, Timestamp> {
    let told = survey.strangers.iter().map(|one| &one.provider_ref);
    let told: BTreeSet<&ProviderRef> = told.collect();
    let absent = awaited(input).filter(|(handle, _)| !told.contains(handle));
    let absent = absent.filter_map(|(handle, was)| {
        let since = was.missing_since.unwrap_or(survey.as_of);
        let long = elapsed(since, survey.as_of) >= ABSENCE_MIN.max(input.visibility);
        let owned = was.claimed_by.is_some() && !heard && input.spec.size > 0;
        (!long || owned).then(|| (handle.clone(), since))
    });
    absent.collect()
}

/// Returns the recorded strangers that the provider has to tell of. Those of another provider are none of its own.
fn awaited<'a>(
    input: &ClassifyInput<'a>,
) -> impl Iterator<Item = (&'a ProviderRef, &'a RecordedStranger)> {
    let (before, now) = (input.recorded.provider.as_ref(), input.provider);
    let elsewhere =
        before.is_some_and(|before| before.name != now.name || before.type_ != now.type_);
    let all = input.recorded.strangers.iter().filter(move |_| !elsewhere);
    let input = *input;
    all.filter(move |(handle, _)| !owns(&input, handle))
}

/// Returns how many strangers vanished at once, where nothing of them is left: neither one of them nor a member that
/// lives. What is being adopted is followed by its own calls.
pub(super) fn vanished(input: &ClassifyInput<'_>) -> usize {
    let (Some(_), Some(Surveyed::Known { survey, .. })) = (&input.spec.adopt, input.surveyed)
    else {
        return 0;
    };
    let answered = survey.completeness == Completeness::Complete
        && elapsed(survey.as_of, input.now) <= LISTING_AGE_MAX;
    if !answered || survey.strangers.iter().any(|one| lives(&one.phase)) {
        return 0;
    }
    let adopting = |handle: &ProviderRef| {
        let mut intents = input.intents.iter();
        intents.any(|intent| {
            matches!(&intent.kind, IntentKind::Adopt(step) if step.provider_ref == *handle)
        })
    };
    awaited(input)
        .filter(|(handle, _)| !adopting(handle))
        .count()
}

/// Returns whether the listing has an instance of the group.
fn has_members(input: &ClassifyInput<'_>) -> bool {
    let mut listed = input.listing.instances.iter();
    listed.any(|listed| {
        let owner = listed.ownership.as_ref();
        owner.is_some_and(|owner| owner.group == *input.group)
    })
}

/// Returns a stranger with the owner that it had when it was last seen, where that one may be silent for a moment only.
fn with_former_owner(input: &ClassifyInput<'_>, stranger: &Stranger) -> Stranger {
    let mut stranger = stranger.clone();
    let before = input.recorded.strangers.get(&stranger.provider_ref);
    if before.is_some_and(|before| before.claimed_by.is_some()) {
        let unheard = stranger.unheard.take();
        stranger.claimed_by = stranger.claimed_by.or(unheard);
    }
    stranger
}

/// Returns a stranger with the owner that a listing shows: surveys may be behind with tags. None: it is another group's, and
/// was none of what this group was about to adopt, nor all that there is for it.
fn with_owner(input: &ClassifyInput<'_>, mut stranger: Stranger) -> Option<Stranger> {
    let mut listed = input.listing.instances.iter();
    let group = listed.find_map(|listed| {
        let owner = listed.ownership.as_ref()?;
        let is_it = listed.provider_ref == stranger.provider_ref;
        (is_it && owner.group != *input.group).then_some(&owner.group)
    });
    let Some(group) = group else {
        return Some(stranger);
    };
    let mut to_adopt = input.recorded.to_adopt();
    let was_to_adopt = to_adopt.any(|(handle, _)| *handle == stranger.provider_ref);
    let taken = Some(taken_by(group, None));
    let is_told = was_to_adopt || stranger.claimed_by == taken;
    stranger.claimed_by = stranger.claimed_by.or(taken);
    is_told.then_some(stranger)
}

/// Returns whether there is something to take over. What has ended, or is about to, is its former owner's to clear
/// away.
fn lives(phase: &ProviderPhase) -> bool {
    match phase {
        ProviderPhase::Pending | ProviderPhase::Running | ProviderPhase::Unknown => true,
        ProviderPhase::Stopping | ProviderPhase::Exited(_) | ProviderPhase::Terminated => false,
    }
}

/// Returns whether the instance is the group's already: a survey may be behind with its tags.
fn is_ours(input: &ClassifyInput<'_>, stranger: &Stranger) -> bool {
    owns(input, &stranger.provider_ref)
}

/// Returns whether the instance is listed as the group's, recorded as the group's, or what one of its calls has made.
fn owns(input: &ClassifyInput<'_>, handle: &ProviderRef) -> bool {
    let owned = |listed: &Listed| {
        let owner = listed.ownership.as_ref();
        let is_ours = owner.is_some_and(|owner| owner.group == *input.group);
        is_ours && listed.provider_ref == *handle
    };
    let mut recorded = input.recorded.instances.values();
    let made = |intent: &Intent| match (&intent.kind, &intent.state) {
        (IntentKind::Create { .. }, IntentState::Acked { made, .. }) => {
            made.values().any(|made| made == handle)
        }
        _ => false,
    };
    input.listing.instances.iter().any(owned)
        || recorded.any(|was| was.provider_ref.as_ref() == Some(handle))
        || input.intents.iter().any(made)
}

impl Stage<'_> {
    /// Returns how an adoption ended: once the instance is listed as the group's, or is nowhere any more for longer
    /// than its provider may be behind.
    pub(super) fn adopt_outcome(
        &self,
        intent: &Intent,
        step: &AdoptStep,
    ) -> Option<SettlementOutcome> {
        if self.is_known(&step.instance) {
            return Some(SettlementOutcome::Observed);
        }
        let since = match &intent.state {
            IntentState::Sent => intent.issued_at,
            IntentState::Acked { at, .. } | IntentState::Failed { at, .. } => *at,
            // Never called: the planner closes it.
            IntentState::Intended => return None,
        };
        let seen = match self.input.surveyed {
            Some(Surveyed::Known { survey, .. }) => survey
                .strangers
                .iter()
                .any(|stranger| stranger.provider_ref == step.provider_ref),
            // Of a group that goes nothing is adopted any more; what was is in the listing.
            Some(Surveyed::Unknown(_)) => self.input.recorded.deleting.is_none(),
            // The document adopts nothing any more, or was removed, so that nobody asks.
            None => self.input.spec.adopt.is_some() && self.input.recorded.deleting.is_none(),
        };
        let waited = elapsed(since, self.input.listing.as_of);
        let absent =
            !seen && self.counts_absence && waited >= ABSENCE_MIN.max(self.input.visibility);
        absent.then_some(SettlementOutcome::NoEffect)
    }
}
