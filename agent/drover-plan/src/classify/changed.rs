//! Instances that are changed in place: from the call on they have the digests that they get, and what
//! restarts is out of service until it was seen to be ready again.

use drover_model::{
    Digests, GroupSpec, InPlace, InPlaceUpdate, InstanceId, InstanceMemory, Intent, IntentKind,
    IntentState, Ownership, SettlementOutcome, Timestamp,
};

use super::Stage;
use crate::restarts;
use crate::time::later;

/// A change in place that the provider may have begun.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) how: InPlace,
    pub(super) digests: &'a Digests,
    /// When the provider said yes, or when it was decided.
    pub(super) at: Timestamp,
    intent: &'a Intent,
}

impl<'a> Stage<'a> {
    /// Returns the change of `id` that may have taken effect, if there is one.
    pub(super) fn change(&self, id: &InstanceId) -> Option<Change<'a>> {
        let intent = self.intents.update(id)?;
        let at = match &intent.state {
            IntentState::Sent => intent.issued_at,
            IntentState::Acked { at, .. } => *at,
            // Never called, or refused: nothing happened.
            IntentState::Intended | IntentState::Failed { .. } => return None,
        };
        match &intent.kind {
            IntentKind::Update(InPlaceUpdate { how, digests, .. }) => Some(Change {
                how: *how,
                digests,
                at,
                intent,
            }),
            IntentKind::Create { .. }
            | IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => None,
        }
    }

    /// Returns the change of a listed instance that its listing does not show yet.
    pub(super) fn change_to_come(
        &self,
        id: &InstanceId,
        ownership: &Ownership,
    ) -> Option<Change<'a>> {
        let change = self.change(id)?;
        let shown = match restarts::order_of(self.input.recorded, change.intent) {
            None => ownership.digests == *change.digests,
            Some(_) => self.shows_restart(change.intent),
        };
        (!shown).then_some(change)
    }

    /// Returns whether the listing shows a restart of an instance that stays as it is: from the provider's yes on it
    /// is listed as being made, until it runs again. One that was begun at that very moment may be from before.
    fn shows_restart(&self, intent: &Intent) -> bool {
        match &intent.state {
            IntentState::Acked { at, .. } => self.input.listing.as_of > *at,
            IntentState::Intended | IntentState::Sent | IntentState::Failed { .. } => false,
        }
    }

    /// Returns how a change in place ended, once the listing shows it.
    pub(super) fn update_outcome(&self, intent: &Intent) -> Option<SettlementOutcome> {
        let IntentKind::Update(InPlaceUpdate {
            instance, digests, ..
        }) = &intent.kind
        else {
            return None;
        };
        let called = match intent.state {
            IntentState::Sent | IntentState::Acked { .. } => true,
            IntentState::Intended | IntentState::Failed { .. } => false,
        };
        let happened = match restarts::order_of(self.input.recorded, intent) {
            None => self.shown.get(instance) == Some(digests),
            Some(_) => self.shown.contains_key(instance) && self.shows_restart(intent),
        };
        let over = self.gone.contains_key(instance) || happened;
        (called && over).then_some(SettlementOutcome::Observed)
    }

    /// Returns whether a drained instance that was to come back has been changed.
    pub(super) fn came_back(&self, intent: &Intent) -> bool {
        let IntentKind::Drain {
            instance,
            returns: Some(before),
            ..
        } = &intent.kind
        else {
            return false;
        };
        let shown = self.shown.get(instance);
        let restarts = self.intents.updates.get(instance);
        let restarted = restarts.into_iter().flatten().any(|intent| {
            let ordered = restarts::order_of(self.input.recorded, intent).is_some();
            ordered && self.update_outcome(intent).is_some()
        });
        shown.is_some_and(|shown| shown != before || restarted)
    }
}

/// Returns when the change of an instance has been in effect for as long as a newcomer has to be healthy.
pub(super) fn proved_at(memory: &InstanceMemory, spec: &GroupSpec) -> Option<Timestamp> {
    let at = memory.changed_at?;
    Some(later(at, spec.rollout.min_ready))
}

/// Notes a change in place: what restarts has to become ready again, and what was found out about it
/// before says nothing any more.
pub(super) fn remember(memory: &mut InstanceMemory, change: Change<'_>) {
    memory.changed_at = memory.changed_at.max(Some(change.at));
    if change.how == InPlace::Restart && memory.restarted_at < Some(change.at) {
        memory.restarted_at = Some(change.at);
        memory.healthy_since = None;
        memory.ready_at = None;
        memory.failing_since = None;
        memory.unknown_since = None;
        memory.completed = false;
    }
}
