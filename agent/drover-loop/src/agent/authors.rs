//! Who wrote what is not in force yet: kept with each group from the first look that shows it until it is.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Authors, Group, GroupName, Hold, Kind, RecordedGroup};

use super::Agent;
use crate::entry::GroupEntry;
use crate::source::{Blind, Identity, Snapshot};
use crate::store::{Batch, WaitingAuthors};

/// Looks that are told apart while a group waits. The oldest two become one: all that is lost by it is who of them may
/// approve what comes after the first.
const LOOKS_MAX: usize = 16;

impl Agent {
    /// Notes who wrote what a snapshot has and what is not in force.
    pub(super) fn follow_authors(&mut self, snapshot: &Snapshot, batch: &mut Batch) {
        let revision = snapshot.commit.revision.as_str();
        for (name, entry) in &mut self.groups {
            entry.blind = false;
            let mut waiting = entry.meta.waiting.clone();
            if rests(name, entry, snapshot) {
                waiting.clear();
            } else {
                forget_accepted(&mut waiting, &entry.recorded);
                let located = snapshot.repository.groups.get(name);
                let group = located.map(|located| &*located.value);
                // What the labels in force select judges the change, too.
                let both = group.into_iter().chain(entry.accepted.as_deref());
                let judges = both.flat_map(|group| judges(&self.fleet.sets, group));
                let (mut authors, found) = snapshot.writers.of(name, &judges.collect());
                if waiting.is_empty() && !found {
                    // A merge took an older version, or an ignore rule brought it: nobody wrote it, and anybody may have meant it.
                    authors.extend(&snapshot.writers.everybody());
                }
                add(&mut waiting, revision, &authors);
            }
            if entry.meta.waiting != waiting {
                entry.meta.waiting = waiting;
                batch.meta(name, &entry.meta);
            }
        }
    }

    /// Returns the groups of which nobody knows whether a document was waiting, with the one in force.
    pub(super) fn blind(&self) -> BTreeMap<GroupName, Blind> {
        let blind = self.groups.iter().filter(|(_, entry)| entry.blind);
        let blind = blind.map(|(name, entry)| {
            let accepted = entry.recorded.accepted.as_ref();
            let accepted = accepted.map(|it| (it.text.clone(), it.revision.clone()));
            (name.clone(), Blind { accepted })
        });
        blind.collect()
    }
}

impl GroupEntry {
    /// Returns who wrote what is not in force yet.
    pub(super) fn authors(&self) -> Authors {
        let mut authors = Authors::default();
        for looked in &self.meta.waiting {
            authors.extend(&looked.known());
        }
        authors
    }
}

/// Returns what a group's recorded state tells of who wrote what it waits for.
pub(super) fn restored(recorded: &RecordedGroup) -> Vec<WaitingAuthors> {
    let mut authors = Authors::default();
    for held in &recorded.holds {
        match &held.hold {
            Hold::ApprovalNeeded(needed) => authors.extend(&needed.authors),
            Hold::ApprovalRejected(rejected) => authors.extend(&rejected.authors),
            _ => {}
        }
    }
    let mut waiting = Vec::new();
    if !authors.is_empty() {
        // No commit is accepted that has this name, so it is there until the group rests.
        add(&mut waiting, "", &authors);
    }
    waiting
}

/// Returns whether what is in force is what a snapshot has.
fn rests(name: &GroupName, entry: &GroupEntry, snapshot: &Snapshot) -> bool {
    let accepted = entry.recorded.accepted.as_ref().map(|it| &it.text);
    match snapshot.repository.groups.get(name) {
        Some(located) => entry.accepted.is_some() && accepted == Some(&located.text),
        None => entry.recorded.deleting.is_some(),
    }
}

/// Forgets who wrote what came into force since.
fn forget_accepted(waiting: &mut Vec<WaitingAuthors>, recorded: &RecordedGroup) {
    let Some(accepted) = &recorded.accepted else {
        return;
    };
    let accepted = accepted.revision.as_str();
    let is_it = |looked: &WaitingAuthors| looked.revision == accepted || looked.until == accepted;
    if let Some(at) = waiting.iter().position(is_it) {
        waiting.drain(..=at);
    }
}

/// Adds who wrote what a look found.
fn add(waiting: &mut Vec<WaitingAuthors>, revision: &str, authors: &Authors) {
    if let Some(last) = waiting.last_mut()
        && (authors.is_empty() || last.until == revision)
    {
        revision.clone_into(&mut last.until);
        last.add(authors);
        return;
    }
    let mut looked = WaitingAuthors {
        revision: revision.to_owned(),
        until: revision.to_owned(),
        authors: Vec::new(),
        unknown: false,
    };
    looked.add(authors);
    waiting.push(looked);
    if waiting.len() > LOOKS_MAX {
        let first = waiting.remove(0);
        waiting[0].add(&first.known());
    }
}

impl WaitingAuthors {
    fn known(&self) -> Authors {
        Authors::recorded(self.authors.clone(), self.unknown)
    }

    fn add(&mut self, authors: &Authors) {
        let mut all = self.known();
        all.extend(authors);
        self.authors = all.known().map(str::to_owned).collect();
        self.unknown = all.unknown;
    }
}

/// Returns the documents by which a group is judged.
fn judges(sets: &[std::sync::Arc<drover_policy::PolicySet>], group: &Group) -> BTreeSet<Identity> {
    let mut judges = BTreeSet::new();
    for key in sets
        .iter()
        .flat_map(|set| set.digests_for(&group.labels).into_keys())
    {
        // `policy/<name>`, `binding/<name>`, and what a document tells one: `binding/<name>/isHoliday/<calendar>`.
        let parts: Vec<&str> = key.split('/').collect();
        match parts[..] {
            ["policy", policy] => judges.insert((Kind::Policy, policy.to_owned())),
            ["binding", binding] => judges.insert((Kind::Binding, binding.to_owned())),
            ["binding", _, "isHoliday", calendar] => {
                judges.insert((Kind::Calendar, calendar.to_owned()))
            }
            _ => false,
        };
    }
    judges
}
