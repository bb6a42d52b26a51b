//! What a plan has spent of its allowance: the last guard before instances end.

use std::collections::BTreeSet;

use drover_model::{
    Action, InPlace, InPlaceUpdate, InstanceId, Intent, IntentId, IntentKind, IntentState, Plan,
    Reason, Step,
};
use tracing::error;

use super::Skip;
use super::view::View;

/// The instances that are on their way out, or that restart, by intents or by steps of this plan.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    ending: BTreeSet<InstanceId>,
    /// Those that nothing replaces.
    removed: BTreeSet<InstanceId>,
}

impl Ledger {
    /// Begins with what the journal says is under way, and what the plan does not close.
    pub(super) fn of(plan: &Plan, intents: &[Intent]) -> Self {
        let closed: BTreeSet<IntentId> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Settle(settlement) => Some(settlement.intent),
                Action::Create { .. }
                | Action::Resend { .. }
                | Action::Drain { .. }
                | Action::Destroy { .. }
                | Action::Update(_)
                | Action::Roster(_)
                | Action::Adopt(_)
                | Action::Release { .. } => None,
            })
            .collect();
        let mut ledger = Self::default();
        for intent in intents.iter().filter(|intent| !closed.contains(&intent.id)) {
            match &intent.kind {
                IntentKind::Drain {
                    instance, reason, ..
                }
                | IntentKind::Destroy {
                    instance, reason, ..
                } => ledger.note(instance, *reason),
                // What restarts is as much out of service as what ends.
                IntentKind::Update(InPlaceUpdate {
                    instance,
                    how: InPlace::Restart,
                    ..
                }) if may_have_effect(&intent.state) => ledger.note(instance, Reason::Update),
                IntentKind::Create { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_) => {}
            }
        }
        ledger
    }

    fn note(&mut self, instance: &InstanceId, reason: Reason) {
        self.ending.insert(instance.clone());
        if removes(reason) {
            self.removed.insert(instance.clone());
        }
    }

    /// Counts `step`. Returns why it may not be begun: what is on its way already costs nothing more.
    pub(super) fn spend(&mut self, plan: &Plan, step: &Step, view: &View) -> Option<Skip> {
        let instance = match &step.action {
            Action::Drain { instance, .. }
            | Action::Destroy { instance, .. }
            | Action::Release { instance, .. }
            | Action::Update(InPlaceUpdate {
                instance,
                how: InPlace::Restart,
                ..
            }) => instance,
            Action::Create { .. }
            | Action::Resend { .. }
            | Action::Update(_)
            | Action::Roster(_)
            | Action::Adopt(_)
            | Action::Settle(_) => return None,
        };
        if self.ending.contains(instance) {
            return None;
        }
        let reason = view.reason(step, instance);
        let ending = (self.ending.len(), plan.allowance.ending_max);
        let removed = (self.removed.len(), plan.allowance.removed_max);
        let limits = [Some(ending), removes(reason).then_some(removed)];
        let full = limits
            .into_iter()
            .flatten()
            .find(|(count, most)| *count >= *most as usize);
        let Some((_, allowed)) = full else {
            self.note(instance, reason);
            return None;
        };
        error!(
            group = %plan.group,
            %instance,
            reason = reason.as_str(),
            allowed,
            "step beyond the allowance refused"
        );
        Some(Skip::BeyondAllowance { allowed })
    }
}

/// Returns whether a call may have been made, and was not refused.
fn may_have_effect(state: &IntentState) -> bool {
    match state {
        IntentState::Sent | IntentState::Acked { .. } => true,
        IntentState::Intended | IntentState::Failed { .. } => false,
    }
}

/// Returns whether nothing replaces what ends for `reason`.
fn removes(reason: Reason) -> bool {
    match reason {
        Reason::ScaleIn | Reason::Delete => true,
        Reason::Update
        | Reason::Drift
        | Reason::Heal
        | Reason::Expiry
        | Reason::Rebalance
        | Reason::Interruption
        | Reason::Cost => false,
    }
}
