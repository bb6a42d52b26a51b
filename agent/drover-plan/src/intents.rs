//! The open intents of a group, by what they concern.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AdoptStep, Classified, InPlaceUpdate, InstanceId, Intent, IntentId, IntentKind, IntentState,
    ProviderRef,
};

/// Open intents, sorted by kind. Several for one instance are in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct IntentIndex<'a> {
    /// The creates.
    pub(crate) creates: Vec<&'a Intent>,
    /// The drains, by instance.
    pub(crate) drains: BTreeMap<&'a InstanceId, Vec<&'a Intent>>,
    /// The destroys, by instance.
    pub(crate) destroys: BTreeMap<&'a InstanceId, Vec<&'a Intent>>,
    /// The changes in place, by instance.
    pub(crate) updates: BTreeMap<&'a InstanceId, Vec<&'a Intent>>,
    /// The changes of the membership list.
    pub(crate) roster: Vec<&'a Intent>,
    /// The adoptions.
    pub(crate) adopts: Vec<(&'a Intent, &'a AdoptStep)>,
}

impl<'a> IntentIndex<'a> {
    /// Sorts `intents`.
    pub(crate) fn of(intents: impl IntoIterator<Item = &'a Intent>) -> Self {
        let mut sorted: Vec<&Intent> = intents.into_iter().collect();
        sorted.sort_by_key(|intent| intent.id);
        let mut index = Self::default();
        for intent in sorted {
            match &intent.kind {
                IntentKind::Create { .. } => index.creates.push(intent),
                IntentKind::Drain { instance, .. } => {
                    index.drains.entry(instance).or_default().push(intent);
                }
                IntentKind::Destroy { instance, .. } => {
                    index.destroys.entry(instance).or_default().push(intent);
                }
                IntentKind::Roster(_) => index.roster.push(intent),
                IntentKind::Adopt(step) => index.adopts.push((intent, step)),
                IntentKind::Update(InPlaceUpdate { instance, .. }) => {
                    index.updates.entry(instance).or_default().push(intent);
                }
            }
        }
        index
    }

    /// Returns the instances on their way out that only the journal knows: neither listed nor recorded,
    /// and not yet known to be gone. They may exist.
    pub(crate) fn unlisted(&self, classified: &Classified) -> u32 {
        let ids: BTreeSet<&InstanceId> = self.ending().map(|(id, _)| id).collect();
        let known = |id: &InstanceId| {
            classified.members.contains_key(id)
                || classified.kept.contains_key(id)
                || classified.gone.contains_key(id)
        };
        ids.into_iter().filter(|id| !known(id)).count() as u32
    }

    /// Returns the drains, then the destroys, each with the instance that it is about.
    pub(crate) fn ending(&self) -> impl Iterator<Item = (&'a InstanceId, &Vec<&'a Intent>)> {
        let ends = self.drains.iter().chain(&self.destroys);
        ends.map(|(id, intents)| (*id, intents))
    }

    /// Returns the first destroy of `instance`: repeats of it are carried by the same intent.
    pub(crate) fn destroy(&self, instance: &InstanceId) -> Option<&'a Intent> {
        self.destroys.get(instance)?.first().copied()
    }

    /// Returns the adoption of `instance`.
    pub(crate) fn adopt(&self, instance: &InstanceId) -> Option<&'a Intent> {
        let mut adopts = self.adopts.iter();
        let found = adopts.find(|(_, step)| step.instance == *instance);
        found.map(|(intent, _)| *intent)
    }

    /// Returns the latest change of `instance` in place that may have taken effect: it is the one that counts. One that
    /// the provider did not take leaves the one before it in force.
    pub(crate) fn update(&self, instance: &InstanceId) -> Option<&'a Intent> {
        let called = |intent: &&&Intent| match intent.state {
            IntentState::Sent | IntentState::Acked { .. } => true,
            IntentState::Intended | IntentState::Failed { .. } => false,
        };
        let mut latest_first = self.updates.get(instance)?.iter().rev();
        latest_first.find(called).copied()
    }

    /// Returns the first drain of `instance`: it is the one that carries the progress.
    pub(crate) fn drain(&self, instance: &InstanceId) -> Option<&'a Intent> {
        self.drains.get(instance)?.first().copied()
    }
}

/// Returns the instance that an intent takes out of service, and the handle that it had then.
pub(crate) fn end_of(intent: &Intent) -> Option<(&InstanceId, &ProviderRef)> {
    match &intent.kind {
        IntentKind::Drain {
            instance,
            provider_ref,
            ..
        }
        | IntentKind::Destroy {
            instance,
            provider_ref,
            ..
        } => Some((instance, provider_ref)),
        IntentKind::Create { .. }
        | IntentKind::Update(_)
        | IntentKind::Roster(_)
        | IntentKind::Adopt(_) => None,
    }
}

/// Returns the intents without the ends that are over, of instances under whose ids others stand.
pub(crate) fn current<'a>(
    intents: &'a [Intent],
    classified: &Classified,
) -> impl Iterator<Item = &'a Intent> {
    let settled: BTreeSet<IntentId> = classified.settled.iter().map(|it| it.intent).collect();
    intents.iter().filter(move |intent| {
        let Some((id, handle)) = end_of(intent).filter(|_| settled.contains(&intent.id)) else {
            return true;
        };
        let there = classified
            .members
            .get(id)
            .or_else(|| classified.kept.get(id));
        let there = there.and_then(|member| member.provider_ref.as_ref());
        there.is_none_or(|there| there == handle)
    })
}
