//! What a pass may take: the certificate of the change, less what was spent of it.
//!
//! Computed from the input alone, and from none of the planner's counters, so that a mistake in the
//! steps does not raise what the executor lets through.

use drover_model::{Allowance, Change, GroupPhase, GroupSpec, QuorumSpec};

use crate::input::{Desired, PlanInput};
use crate::intents::IntentIndex;
use crate::numbers::{Resolved, serves};

/// Returns what a plan for `change` may take.
pub(crate) fn allowance(
    input: &PlanInput<'_>,
    intents: &IntentIndex<'_>,
    change: Option<&Change>,
) -> Allowance {
    // The executor counts what the journal says is on its way out, listed or not.
    let members = input.classified.members.len() as u32 + intents.unlisted(input.classified);
    // What is kept serves nobody: all of it may go.
    let kept = input.classified.kept.len() as u32;
    let (spec, size) = match input.desired {
        Desired::Present { group, .. } => (&group.spec, smallest_size(input, &group.spec)),
        Desired::Deleting { spec, .. } => {
            let begun = input.recorded.phase == GroupPhase::Deleting;
            if begun || !spec.deletion.protect {
                return Allowance {
                    ending_max: members + kept,
                    removed_max: members + kept,
                };
            }
            (spec, input.recorded.size)
        }
    };
    let floor = Resolved::of(spec, size).floor;
    let surplus = match &spec.quorum {
        // One may be taken out for another one: the number of members says nothing.
        Some(quorum) => unwanted(input, quorum),
        None => members.saturating_sub(size),
    };
    Allowance {
        ending_max: members + kept - serving(input, intents).min(floor),
        removed_max: surplus.min(unspent(input, spec, change)),
    }
}

/// Returns how many instances hold a place that the document does not have.
fn unwanted(input: &PlanInput<'_>, quorum: &QuorumSpec) -> u32 {
    let seats = input.classified.members.values();
    let seats = seats.filter_map(|member| member.seat.as_ref());
    seats
        .filter(|seat| quorum.member(&seat.member).is_none())
        .count() as u32
}

/// Returns the smallest size that a plan can come to.
fn smallest_size(input: &PlanInput<'_>, spec: &GroupSpec) -> u32 {
    let before = input.recorded.size;
    match (&input.decisions.size, spec.bounds) {
        (None, None) => before.min(spec.size),
        (None, Some(bounds)) => before.min(spec.size.clamp(bounds.min, bounds.max)),
        (Some(_), Some(bounds)) => before.min(bounds.min),
        (Some(_), None) => 0,
    }
}

fn serving(input: &PlanInput<'_>, intents: &IntentIndex<'_>) -> u32 {
    let members = input.classified.members.values();
    // What the provider takes is taken, whatever is allowed.
    let serving = members.filter(|member| {
        let taken = member.interruption.is_some();
        serves(member) && !taken && intents.destroy(&member.id).is_none()
    });
    serving.count() as u32
}

/// Returns how many more instances the change may remove. What a policy's size removes is no part of
/// it, and is paced elsewhere.
fn unspent(input: &PlanInput<'_>, spec: &GroupSpec, change: Option<&Change>) -> u32 {
    if input.decisions.size.is_some() {
        return u32::MAX;
    }
    let recorded = input.recorded;
    let spent = match &recorded.destroyed {
        Some((id, count)) if Some(id) == change.map(|change| &change.id) => *count,
        Some(_) | None => 0,
    };
    let known = recorded.stable_size.max(recorded.size).max(spec.size);
    let there = input.classified.members.len() as u32 + spent;
    let limit = spec.destroy_max(known.max(there));
    let certified = change.map_or(0, |change| change.certificate.destroyed_max);
    // What a rollout made above the size goes when it needs it no more.
    let surge = Resolved::of(spec, known).surge;
    certified
        .max(limit)
        .saturating_add(surge)
        .saturating_sub(spent)
}
