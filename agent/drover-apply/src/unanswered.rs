//! Calls of which nobody knows what came of them.

use std::collections::BTreeMap;

use drover_model::{
    Action, ErrorClass, InPlaceUpdate, InstanceId, InstanceMemory, Intent, IntentKind, Plan,
    Timestamp, Unanswered,
};

use crate::{ApplyReport, StepResult};

/// Remembers the calls of a plan that have no answer, or a repeat of which was refused: when they are repeated depends on it. `intents` are the open ones that the plan was made from. Returns whether there
/// was any.
pub fn remember_unanswered(
    memory: &mut BTreeMap<InstanceId, InstanceMemory>,
    (plan, intents): (&Plan, &[Intent]),
    report: &ApplyReport,
    now: Timestamp,
) -> bool {
    let mut any = false;
    for outcome in &report.outcomes {
        let Some(step) = plan.steps.get(outcome.step) else {
            continue;
        };
        let (first, adopts, repeats) = match &step.action {
            Action::Create { slots, .. } => (slots.first(), false, false),
            Action::Adopt(step) => (Some(&step.instance), true, false),
            Action::Resend { intent } => {
                let mut intents = intents.iter();
                let found = intents.find(|open| open.id == *intent);
                if let Some(IntentKind::Update(update)) = found.map(|open| &open.kind) {
                    any |= remember_unheeded(memory, &update.instance, &outcome.result, now);
                    continue;
                }
                let adopts = found.is_some_and(|open| matches!(open.kind, IntentKind::Adopt(_)));
                (found.and_then(Intent::asks_for), adopts, true)
            }
            Action::Destroy { instance, .. } | Action::Update(InPlaceUpdate { instance, .. }) => {
                any |= remember_unheeded(memory, instance, &outcome.result, now);
                continue;
            }
            Action::Drain { .. }
            | Action::Roster(_)
            | Action::Release { .. }
            | Action::Settle(_) => continue,
        };
        let (Some(first), Some(refusal)) = (first, unclear(&outcome.result, repeats)) else {
            continue;
        };
        any = true;
        let remembered = memory.entry(first.clone());
        let remembered = remembered.or_insert_with(|| InstanceMemory {
            // What is adopted ran before, so that it is no launch that could fail.
            ready_at: adopts.then_some(now),
            ..InstanceMemory::new(now)
        });
        let before = remembered.unanswered.take();
        let refused_since = before.as_ref().and_then(|before| before.refused_since);
        remembered.unanswered = Some(Box::new(Unanswered {
            calls: before.map_or(1, |before| before.calls.saturating_add(1)),
            last: now,
            refused_since: match refusal {
                Refusal::Definite => refused_since.or(Some(now)),
                Refusal::Unseen => refused_since,
                Refusal::None => None,
            },
        }));
    }
    any
}

/// Remembers a call that ends or changes an instance. Where the first one has no answer, a refusal of a repeat is none
/// either. Returns whether there is something to remember.
fn remember_unheeded(
    memory: &mut BTreeMap<InstanceId, InstanceMemory>,
    instance: &InstanceId,
    result: &StepResult,
    now: Timestamp,
) -> bool {
    match result {
        StepResult::Unknown { .. } | StepResult::Failed { .. } => {}
        StepResult::Done | StepResult::Skipped(_) => return false,
    }
    let Some(remembered) = memory.get_mut(instance) else {
        return false;
    };
    let before = remembered.unheeded.take();
    remembered.unheeded = Some(Box::new(Unanswered {
        calls: before.map_or(1, |before| before.calls.saturating_add(1)),
        last: now,
        refused_since: None,
    }));
    true
}

/// Whether a call was refused.
#[derive(Clone, Copy)]
enum Refusal {
    /// It made nothing.
    Definite,
    /// It was turned away before anybody looked at what it asks for.
    Unseen,
    /// It may have made something.
    None,
}

/// Returns whether a call was refused that does not say what is there. None: it says that.
fn unclear(result: &StepResult, repeats: bool) -> Option<Refusal> {
    match result {
        StepResult::Unknown { .. } => Some(Refusal::None),
        StepResult::Failed { class, .. } if repeats => match class {
            ErrorClass::InvalidSpec
            | ErrorClass::Capacity
            | ErrorClass::Quota
            | ErrorClass::NotFound => Some(Refusal::Definite),
            ErrorClass::Throttled | ErrorClass::Auth => Some(Refusal::Unseen),
            // The answer that there is: the journal has it.
            ErrorClass::Partial => None,
            ErrorClass::Unknown => Some(Refusal::None),
        },
        StepResult::Failed { .. } | StepResult::Done | StepResult::Skipped(_) => None,
    }
}

#[cfg(test)]
mod tests;
