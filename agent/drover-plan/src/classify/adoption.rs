//! What a group has to adopt, and what became of adoptions under way.

use drover_model::{
    AdoptStep, Adoption, Completeness, Hold, Intent, IntentState, Listed, ProviderPhase,
    SettlementOutcome, Stranger, Surveyed,
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
    let living = living.filter(|stranger| lives(&stranger.phase)).cloned();
    let (ours, mut strangers): (Vec<Stranger>, Vec<Stranger>) =
        living.partition(|stranger| is_ours(input, stranger));
    let claimed = ours.into_iter().filter(|one| one.claimed_by.is_some());
    strangers.sort_by(|one, other| one.provider_ref.cmp(&other.provider_ref));
    strangers.dedup_by(|one, other| one.provider_ref == other.provider_ref);
    let is_there = |handle: &_| strangers.iter().any(|one| one.provider_ref == *handle);
    let contested = contested.iter().filter(|(handle, _)| is_there(*handle));
    let contested = contested.map(|(handle, groups)| (handle.clone(), groups.clone()));
    Some(Adoption::Known {
        contested: contested.collect(),
        claimed: claimed.collect(),
        strangers,
    })
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
    let owned = |listed: &Listed| {
        listed.ownership.is_some() && listed.provider_ref == stranger.provider_ref
    };
    let mut recorded = input.recorded.instances.values();
    input.listing.instances.iter().any(owned)
        || recorded.any(|was| was.provider_ref.as_ref() == Some(&stranger.provider_ref))
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
            // The document adopts nothing any more, so that nobody asks.
            None => self.input.spec.adopt.is_some(),
            Some(Surveyed::Unknown(_)) => true,
        };
        let waited = elapsed(since, self.input.listing.as_of);
        let absent =
            !seen && self.counts_absence && waited >= ABSENCE_MIN.max(self.input.visibility);
        absent.then_some(SettlementOutcome::NoEffect)
    }
}
