//! What people with a key ask of a rollout: that it goes on after a failure, or past the stage that it waits at; and
//! of single instances: see [`orders`].
//!
//! It changes recorded state before a pass plans from it, so that planning stays a function of that state, and a plan
//! is computed again without whoever asked.

use drover_model::{
    Approval, ApprovalVerdict, Heeded, Order, RecordedGroup, Rollout, RolloutState, Timestamp,
};

mod orders;
#[cfg(test)]
mod tests;

/// Returns the state after what was asked of the change in progress and of instances, as far as it was not heeded
/// before. None: nothing new was asked.
///
/// Each is heeded once, also where there is nothing to do: what was asked too early does nothing later.
pub fn heed(
    recorded: &RecordedGroup,
    (said, orders): (&[Approval], &[Order]),
    now: Timestamp,
) -> Option<RecordedGroup> {
    let of_change = heed_change(recorded, said, now);
    let Some(orders) = orders::take_up(recorded, orders, now) else {
        return of_change;
    };
    let next = of_change.unwrap_or_else(|| recorded.clone());
    Some(RecordedGroup { orders, ..next })
}

fn heed_change(
    recorded: &RecordedGroup,
    said: &[Approval],
    now: Timestamp,
) -> Option<RecordedGroup> {
    let is_new = |asked: &&Approval| {
        let known = |heeded: &Heeded| heeded.asked == **asked;
        asked.counts(now)
            && recorded.change.as_ref() == Some(&asked.change)
            && !recorded.heeded.iter().any(known)
    };
    let directives = said.iter().filter(|asked| match asked.verdict {
        ApprovalVerdict::Promote | ApprovalVerdict::Retry => true,
        ApprovalVerdict::Approve | ApprovalVerdict::Reject => false,
    });
    let new: Vec<&Approval> = directives.filter(is_new).collect();
    if new.is_empty() {
        return None;
    }
    let mut next = recorded.clone();
    // What has expired is heeded by nobody, so it need not be known.
    next.heeded.retain(|heeded| heeded.asked.counts(now));
    for asked in new {
        let effect = match asked.verdict {
            ApprovalVerdict::Promote => promote(&mut next),
            ApprovalVerdict::Retry => retry(&mut next, now),
            ApprovalVerdict::Approve | ApprovalVerdict::Reject => false,
        };
        let asked = asked.clone();
        next.heeded.push(Heeded { asked, effect });
    }
    Some(next)
}

/// Lets the rollout go past the stage that it waits at: the canaries, a checkpoint or the bake time. Returns whether
/// it waits at one.
fn promote(group: &mut RecordedGroup) -> bool {
    let Some(rollout) = &mut group.rollout else {
        return false;
    };
    if rollout.state != RolloutState::Progressing {
        return false;
    }
    let stages = &mut rollout.stages;
    if stages.canary.is_some() && !stages.promoted {
        stages.promoted = true;
    } else if let Some((at, _)) = stages.reached.take() {
        stages.passed = at;
    } else if let Some(since) = &mut stages.bake_since {
        *since = Timestamp::UNIX_EPOCH;
    } else {
        return false;
    }
    true
}

/// Begins anew with a template that failed. Returns whether one did.
fn retry(group: &mut RecordedGroup, now: Timestamp) -> bool {
    if group.quarantine.take().is_some() {
        // The way back ends where it is; the way there begins with a clean sheet.
        group.rollout = None;
        group.backoff = None;
        return true;
    }
    let Some(rollout) = &mut group.rollout else {
        return false;
    };
    if !matches!(rollout.state, RolloutState::Paused(_)) {
        return false;
    }
    let Rollout {
        failures, forgiven, ..
    } = rollout;
    // Those that are still there failed before: only what fails from now on counts.
    forgiven.append(failures);
    rollout.last_failure = None;
    rollout.state = RolloutState::Progressing;
    rollout.progressed_at = now;
    group.backoff = None;
    true
}
