//! Listings that have nothing of the fleet that lives: what the groups there lost is counted together, because one wrong
//! credential, region or filter empties all of them.

use std::collections::BTreeMap;

use drover_model::{
    Completeness, DeletionPolicy, Emptied, GroupName, GroupPhase, InstanceClass, Intent,
    IntentKind, Listing, ProviderPhase, RecordedInstance,
};

use super::Agent;
use super::observation::Observation;
use crate::entry::GroupEntry;
use crate::observe::{Observed, ScopeListing};
use crate::task::Shared;

impl Agent {
    /// Returns what the others lost, for each group whose scope is listed whole and with nothing that lives.
    pub(super) fn emptied(
        &self,
        shared: &Shared,
        observation: &Observation,
    ) -> BTreeMap<GroupName, Emptied> {
        let mut found = BTreeMap::new();
        for (id, observed) in &observation.observed {
            let Observed::Fresh(listing) = observed else {
                continue;
            };
            if listing.empty.completeness != Completeness::Complete || lists_living(listing) {
                continue;
            }
            let groups = observation.scopes.iter().filter_map(|(name, scope)| {
                let here = scope.as_ref().is_ok_and(|(scope, _)| scope == id);
                let entry = self.groups.get(name).filter(|_| here)?;
                Some((name, self.lost(name, entry, listing.of(name), shared)))
            });
            let lost: Vec<(&GroupName, u32)> = groups.collect();
            let all: u32 = lost.iter().map(|(_, lost)| lost).sum();
            for (name, own) in lost {
                let elsewhere = all - own;
                if elsewhere > 0 {
                    found.insert(name.clone(), Emptied { elsewhere });
                }
            }
        }
        found
    }

    /// Counts the recorded instances of a group that nobody is ending and that the provider did not say to take. Where
    /// nothing is wanted, or everything is given away, nothing is missed; and a launch that is said to be gone has failed.
    fn lost(
        &self,
        name: &GroupName,
        entry: &GroupEntry,
        listing: &Listing,
        shared: &Shared,
    ) -> u32 {
        let (recorded, group) = (&entry.recorded, entry.accepted.as_ref());
        let spec = group.map(|group| &group.spec);
        let wants_none = spec.is_some_and(|spec| spec.quorum.is_none() && spec.size == 0);
        let releases = spec.is_some_and(|spec| spec.deletion.policy == DeletionPolicy::Orphan)
            && recorded.phase == GroupPhase::Deleting;
        if releases || (wants_none && recorded.deleting.is_none()) {
            return 0;
        }
        // What cannot be read is no reason to believe that nothing is missing.
        let open = shared.open.contains(name);
        let intents = open.then(|| self.journal.open_intents(name).ok()).flatten();
        let intents = intents.unwrap_or_default();
        let instances = recorded.instances.iter().filter(|(id, was)| {
            let ending = |intent: &Intent| {
                matches!(&intent.kind, IntentKind::Destroy { instance, .. } if instance == *id)
            };
            let failed = is_launch(was)
                && listing.instances.iter().any(|listed| {
                    listed.ownership.as_ref().is_some_and(|owner| owner.instance == **id)
                });
            was.provider_ref.is_some()
                && was.class != InstanceClass::Terminating.as_str()
                && !failed
                && !drover_plan::is_announced(entry.memory.get(id), listing.as_of)
                && !intents.iter().any(ending)
        });
        instances.count() as u32
    }
}

fn is_launch(was: &RecordedInstance) -> bool {
    was.class == InstanceClass::Starting.as_str()
}

fn lists_living(listing: &ScopeListing) -> bool {
    let all = listing.groups.values().flat_map(|group| &group.instances);
    let mut phases = all.map(|listed| &listed.phase);
    phases.any(|phase| *phase != ProviderPhase::Terminated)
}
