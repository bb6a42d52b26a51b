//! Whose the instances are that a group finds of which nothing was ever recorded. They carry the fleet's tags and its name,
//! and so does what an agent of another repository with the same fleet has made: to that one, this one's record is empty.

use std::collections::BTreeMap;

use drover_model::{Epoch, GroupName, Held, Hold, Listing, ProviderPhase};
use tracing::{info, warn};

use super::plain;
use crate::audit::AuditStep;
use crate::entry::GroupEntry;
use crate::store::Store;
use crate::task::Note;

/// The epoch of an agent's first data directory: its state branch was not there before.
const FIRST: Epoch = Epoch(1);

/// What people say about instances of groups that have no record, until it has one.
#[derive(Debug, Default)]
pub(super) struct Accepted(BTreeMap<GroupName, String>);

impl Accepted {
    /// Takes up that a group's instances are its own, and by whose word.
    pub(super) fn insert(&mut self, group: GroupName, by: String) {
        self.0.insert(group, by);
    }

    /// Returns the hold of a group that has no record and finds instances, unless a person has said that they are its own.
    /// What the journal has open, or the store has in force, was begun here. So may be what there is after the loss of a data
    /// directory (`epoch` is higher then): a group that had no commit yet had nothing but instances. What was held before that
    /// stays held.
    pub(super) fn hold(
        &mut self,
        entry: &mut GroupEntry,
        listing: &Listing,
        is_open: bool,
        (epoch, store): (Epoch, &Store),
    ) -> Option<Held> {
        let name = entry.recorded.name.clone();
        if entry.recorded.accepted.is_some() {
            self.0.remove(&name);
            return None;
        }
        let found = listing.instances.iter();
        let found = found.filter(|listed| listed.ownership.is_some() && is_there(&listed.phase));
        let ids: Vec<String> = found
            .map(|listed| listed.provider_ref.to_string())
            .collect();
        let mut before = entry.recorded.holds.iter();
        let known = before.any(|held| matches!(held.hold, Hold::OwnerUnproven { .. }));
        let restored = epoch > FIRST && !known;
        if ids.is_empty() || is_open || restored || is_stored(store, &name) {
            return None;
        }
        if let Some(by) = self.0.get(&name) {
            // Until it has a record this comes back, and is told once.
            if !entry.owner_accepted {
                info!(group = %name, by, instances = ids.len(), "instances accepted");
                entry.audit.note(note(ids, by));
                entry.owner_accepted = true;
            }
            return None;
        }
        let instances = ids.len() as u32;
        if !known {
            warn!(group = %name, instances, "instances without a record");
        }
        Some(plain(Hold::OwnerUnproven {
            group: name,
            instances,
        }))
    }
}

/// Returns whether an instance is there to be ended.
fn is_there(phase: &ProviderPhase) -> bool {
    match phase {
        ProviderPhase::Pending
        | ProviderPhase::Running
        | ProviderPhase::Exited(_)
        | ProviderPhase::Unknown => true,
        ProviderPhase::Stopping | ProviderPhase::Terminated => false,
    }
}

/// Returns whether the local store has the group in force: a task that was cut short has stored it.
fn is_stored(store: &Store, name: &GroupName) -> bool {
    let stored = store.group(name);
    matches!(stored, Ok(Some(stored)) if stored.recorded.accepted.is_some())
}

fn note(instances: Vec<String>, by: &str) -> Note {
    let count = drover_model::counted(instances.len(), "instance");
    Note {
        line: format!("accept {count} without a record, by the word of {by}"),
        step: AuditStep {
            step: "accept".to_owned(),
            instances,
            cause: "operator".to_owned(),
            result: "Done".to_owned(),
            detail: Some(format!("by the word of {by}")),
        },
    }
}
