//! Whether a recorded state follows from the plan that is recorded beside it. It is what the plan leads
//! to, or that with what the agent notes between plans: what is in the way, which needs no plan.

use drover_model::{Condition, ConditionType, GroupPhase, RecordedGroup, Rollout, Timestamp};
use drover_spec::record;

use crate::replay::difference;

/// How a state follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// It is what the plan leads to, byte for byte.
    FromPlan,
    /// It is that, with what was in the way later.
    WithHolds,
}

/// Compares `state`, which is `text` decoded, with the state `next` that the plan leads to. `at` is when
/// it was committed.
///
/// # Errors
///
/// The first difference that nothing explains.
pub(super) fn follows(
    next: &RecordedGroup,
    state: &RecordedGroup,
    text: &str,
    at: Timestamp,
) -> Result<Follows, String> {
    if record::encode(next) == text {
        return Ok(Follows::FromPlan);
    }
    let explained = record::encode(&explained(next, state));
    if explained != text {
        return Err(difference(text, &explained));
    }
    conditions(next, state, at)?;
    Ok(Follows::WithHolds)
}

/// Returns `next` with everything of `state` that may change between plans.
fn explained(next: &RecordedGroup, state: &RecordedGroup) -> RecordedGroup {
    let held = state.phase == GroupPhase::Held && next.phase != GroupPhase::Deleting;
    let progressed = state.rollout.as_ref().map(|rollout| rollout.progressed_at);
    RecordedGroup {
        // A newer agent of this name, and the numbers that tags and journal say were used.
        epoch: next.epoch.max(state.epoch),
        next_number: next.next_number.max(state.next_number),
        // The document came back.
        deleting: next.deleting.clone().filter(|_| state.deleting.is_some()),
        phase: if held { state.phase } else { next.phase },
        rollout: next.rollout.as_ref().map(|rollout| Rollout {
            // Time that nobody could use, as while the machine slept, does not count.
            progressed_at: progressed
                .map_or(rollout.progressed_at, |at| at.max(rollout.progressed_at)),
            ..rollout.clone()
        }),
        conditions: state.conditions.clone(),
        holds: state.holds.clone(),
        ..next.clone()
    }
}

/// Checks that the conditions are those of the plan, or say what is in the way.
fn conditions(next: &RecordedGroup, state: &RecordedGroup, at: Timestamp) -> Result<(), String> {
    for (type_, condition) in &state.conditions {
        let known = next.conditions.get(type_) == Some(condition);
        let told = condition.since <= at && in_the_way(*type_, condition, state);
        if !known && !told {
            let (name, reason) = (type_.as_str(), &condition.reason);
            return Err(format!(
                "the condition {name} ({reason}) is neither of the plan nor of what is in the way"
            ));
        }
    }
    let mut known = next.conditions.keys();
    match known.find(|type_| !state.conditions.contains_key(type_)) {
        Some(type_) => Err(format!("the condition {} is gone", type_.as_str())),
        None => Ok(()),
    }
}

/// Returns whether a condition says that something is in the way of planning.
fn in_the_way(type_: ConditionType, condition: &Condition, state: &RecordedGroup) -> bool {
    let first = state.holds.first().map(|held| &held.hold);
    let of_hold = first.is_some_and(|hold| {
        condition.reason == hold.code() && condition.message == hold.to_string()
    });
    match type_ {
        ConditionType::Stalled => {
            let failed = condition.reason == "InternalError";
            condition.status == Some(true) && (of_hold || failed)
        }
        ConditionType::Ready => condition.status.is_none() && of_hold,
        // A hold that refused the document may be over, and the document not yet in force.
        ConditionType::SpecAccepted => condition.status == Some(false),
        ConditionType::Reconciling => false,
    }
}
