//! The third stage: from what is wanted and what is there to named steps.
//!
//! [`plan`] runs the phases in one fixed order over one [`Draft`], whose counters every phase shares:
//! fences, follow-ups, what is kept, failed launches, interruptions, healing, what people have replaced, scale-out, scale-in, rollout, convergence, expiry.
//! No phase takes an instance out of service but through [`Draft::refusal`].

mod admit;
mod adopt;
mod budget;
mod council;
mod create;
mod deletion;
mod draft;
mod expiry;
mod failure;
mod finish;
mod follow_up;
mod heal;
mod in_place;
mod interruption;
mod keep;
mod late;
mod orders;
mod placement;
mod proving;
mod quorum;
mod rate;
mod record;
mod register;
mod restart;
mod roll;
mod room;
mod roster;
mod scale;
mod scaling;
mod shrink;
mod stages;
mod target;
mod waits;
mod window;

#[cfg(test)]
mod tests;

use drover_model::{Activity, DIGEST_VERSION, Held, Hold, Manage, Plan, PlanReport, Reason, Trust};

use crate::input::{Desired, FenceScope, PlanError, PlanInput, fence_scope};
use draft::Draft;

pub use adopt::has_adopted;
pub use failure::last_failure;
pub(crate) use room::owns_nothing;
pub use target::{differences, target_digests};

/// Most steps of one plan: what a provider takes in a pass without its limits being the story.
/// What is left comes in the next pass.
pub const STEPS_MAX: usize = 1000;

/// Decides the steps of one pass.
///
/// # Errors
///
/// Only for input that contradicts itself; see [`PlanError`].
pub fn plan(input: &PlanInput<'_>) -> Result<(Plan, PlanReport), PlanError> {
    check(input)?;
    let mut draft = Draft::new(input);
    if let Some(held) = fence(input) {
        draft.fenced(held);
    } else {
        match input.desired {
            Desired::Present { group, document } => draft.present(&group.spec, document),
            Desired::Deleting { revision, .. } => draft.deleting(revision),
        }
    }
    Ok(draft.finish())
}

fn check(input: &PlanInput<'_>) -> Result<(), PlanError> {
    // Only a digest of this version can be compared with what this version computes.
    const {
        assert!(
            DIGEST_VERSION == 1,
            "say how digests of version 1 are taken over"
        );
    };
    if let Desired::Present { group, .. } = input.desired
        && group.name != input.recorded.name
    {
        return Err(PlanError::WrongGroup {
            document: group.name.clone(),
            recorded: input.recorded.name.clone(),
        });
    }
    if input.provider.batch_max == 0 {
        return Err(PlanError::NoBatch {
            provider: input.provider.name.clone(),
        });
    }
    Ok(())
}

/// Returns the hold that withholds every step, if there is one.
fn fence(input: &PlanInput<'_>) -> Option<Held> {
    let total = |held: &&Held| fence_scope(&held.hold) == FenceScope::Everything;
    if let Some(held) = input.fences.iter().find(total) {
        return Some(held.clone());
    }
    if let Trust::Frozen(hold) = &input.classified.trust {
        return Some(held(hold.clone()));
    }
    let spec = input.desired.spec();
    if let Some(suspend) = spec.suspended(Activity::All, input.now) {
        return Some(Held {
            until: suspend.until,
            ..held(Hold::Suspended {
                activity: Activity::All,
                because: suspend.because.clone(),
            })
        });
    }
    provider_changed(input).or_else(|| sizing_changed(input))
}

/// A group that has live instances never switches between interchangeable instances and members.
fn sizing_changed(input: &PlanInput<'_>) -> Option<Held> {
    let Desired::Present { group, .. } = input.desired else {
        return None;
    };
    let wants = group.spec.quorum.is_some();
    let classified = input.classified;
    let members = classified.members.values().chain(classified.kept.values());
    let differs = |seated: bool| seated != wants;
    let live = members.map(|member| member.seat.is_some()).any(differs);
    let known = input.recorded.quorum.is_some() && !wants;
    (live || known).then(|| held(Hold::SizingChanged))
}

/// A group never moves to another provider: its instances would be left behind in the old one.
fn provider_changed(input: &PlanInput<'_>) -> Option<Held> {
    let before = input.recorded.provider.as_ref()?;
    let same = before.name == input.provider.name && before.type_ == input.provider.type_;
    let there = !input.classified.members.is_empty() || !input.classified.kept.is_empty();
    let empty = !there && input.intents.is_empty();
    (!same && !empty).then(|| {
        held(Hold::ProviderChanged {
            from: before.name.clone(),
            to: input.provider.name.clone(),
            setting: None,
        })
    })
}

/// A hold of the group as a whole.
fn held(hold: Hold) -> Held {
    Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    }
}

/// A hold of what would be done for one reason.
fn held_for(reason: Reason, hold: Hold) -> Held {
    Held {
        reason: Some(reason),
        ..held(hold)
    }
}

/// Returns whether the group is only watched.
fn observes(input: &PlanInput<'_>) -> bool {
    input.desired.spec().manage == Manage::Observe
}
