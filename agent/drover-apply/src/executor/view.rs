//! What the journal knows about a group while a plan is applied to it.

use std::collections::BTreeMap;

use drover_model::{
    Action, Cause, Epoch, InPlaceUpdate, InstanceId, Intent, IntentId, IntentKind, IntentState,
    Precondition, ProviderRef, Reason, Step, Token,
};

/// The open intents of a group, and those that the plan itself has added.
#[derive(Debug, Default)]
pub(super) struct View {
    intents: BTreeMap<IntentId, Intent>,
    /// What this run added; its ids are not needed to check preconditions.
    added: Vec<IntentKind>,
}

impl View {
    pub(super) fn of(intents: Vec<Intent>) -> Self {
        let by_id = intents.into_iter().map(|intent| (intent.id, intent));
        Self {
            intents: by_id.collect(),
            added: Vec::new(),
        }
    }

    /// Returns the largest epoch that wrote an open intent.
    pub(super) fn epoch(&self) -> Epoch {
        let epochs = self.intents.values().map(|intent| intent.epoch);
        epochs.max().unwrap_or(Epoch(0))
    }

    pub(super) fn intent(&self, id: IntentId) -> Option<&Intent> {
        self.intents.get(&id)
    }

    pub(super) fn add(&mut self, kind: IntentKind) {
        self.added.push(kind);
    }

    /// Returns whether what `step` rests on still holds, as far as the journal knows.
    pub(super) fn holds(&self, precondition: &Precondition, step: &Step) -> bool {
        match precondition {
            Precondition::Absent(instance) => self.is_absent(instance),
            Precondition::ObservedAs {
                instance,
                provider_ref,
                token,
            } => self.may_be(instance, provider_ref, token) && !self.is_ending(instance, step),
            Precondition::Open(intent) => self.intents.contains_key(intent),
        }
    }

    /// Intents in force: a create that the provider refused has left nothing behind.
    fn kinds(&self) -> impl Iterator<Item = &IntentKind> {
        let refused = |intent: &&Intent| {
            matches!(
                (&intent.kind, &intent.state),
                (IntentKind::Create { .. }, IntentState::Failed { .. })
            )
        };
        let open = self.intents.values().filter(move |intent| !refused(intent));
        open.map(|intent| &intent.kind).chain(&self.added)
    }

    fn is_absent(&self, instance: &InstanceId) -> bool {
        !self.kinds().any(|kind| match kind {
            IntentKind::Create { slots, .. } => slots.contains(instance),
            IntentKind::Drain {
                instance: named, ..
            }
            | IntentKind::Destroy {
                instance: named, ..
            }
            | IntentKind::Update(InPlaceUpdate {
                instance: named, ..
            }) => named == instance,
            IntentKind::Adopt(step) => step.instance == *instance,
            IntentKind::Roster(_) => false,
        })
    }

    /// Returns whether nothing in the journal contradicts the observation.
    fn may_be(&self, instance: &InstanceId, seen: &ProviderRef, seen_token: &Token) -> bool {
        self.kinds().all(|kind| match kind {
            IntentKind::Create { slots, token, .. } => {
                !slots.contains(instance) || token == seen_token
            }
            IntentKind::Drain {
                instance: named,
                provider_ref,
                ..
            } => named != instance || provider_ref == seen,
            IntentKind::Destroy {
                instance: named,
                provider_ref,
                token,
                ..
            }
            | IntentKind::Update(InPlaceUpdate {
                instance: named,
                provider_ref,
                token,
                ..
            }) => named != instance || (provider_ref == seen && token == seen_token),
            IntentKind::Adopt(step) => {
                step.instance != *instance
                    || (step.provider_ref == *seen && step.token == *seen_token)
            }
            IntentKind::Roster(_) => true,
        })
    }

    /// Returns whether a destroy is in force that `step` would interfere with. Another destroy does
    /// not interfere: it repeats the first one.
    fn is_ending(&self, instance: &InstanceId, step: &Step) -> bool {
        match step.action {
            Action::Destroy { .. } | Action::Roster(_) | Action::Settle(_) => false,
            Action::Create { .. }
            | Action::Resend { .. }
            | Action::Drain { .. }
            | Action::Update(_)
            | Action::Adopt(_)
            | Action::Release { .. } => self.kinds().any(|kind| {
                matches!(kind, IntentKind::Destroy { instance: named, .. } if named == instance)
            }),
        }
    }

    /// Returns the open destroy of exactly this instance, which a new destroy step repeats.
    pub(super) fn destroy_of(&self, seen: &ProviderRef, seen_token: &Token) -> Option<&Intent> {
        self.intents.values().find(|intent| {
            matches!(&intent.kind, IntentKind::Destroy { provider_ref, token, .. }
                if provider_ref == seen && token == seen_token)
        })
    }

    /// Returns why an instance is taken away: as the step says, or as what it follows up says.
    pub(super) fn reason(&self, step: &Step, instance: &InstanceId) -> Reason {
        match step.cause {
            Cause::Because(reason) => reason,
            Cause::FailedLaunch | Cause::Completed | Cause::KeptOver => Reason::Heal,
            Cause::ScaleOut | Cause::FollowUp | Cause::Adoption => {
                let begun = self.kinds().find_map(|kind| match kind {
                    IntentKind::Drain {
                        instance: named,
                        reason,
                        ..
                    }
                    | IntentKind::Destroy {
                        instance: named,
                        reason,
                        ..
                    } if named == instance => Some(*reason),
                    IntentKind::Create { .. }
                    | IntentKind::Drain { .. }
                    | IntentKind::Destroy { .. }
                    | IntentKind::Update(_)
                    | IntentKind::Roster(_)
                    | IntentKind::Adopt(_) => None,
                });
                begun.unwrap_or(Reason::Heal)
            }
        }
    }
}
