//! When a document that is no longer there means that its group is to be removed.
//!
//! **Invariant:** only a commit that descends from what is in force, read under the same branch, path
//! and ignore rules, with every identity readable, removes a group. Everything else is doubt, and
//! doubt asks.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Deletion, DeletionPolicy, GroupName, GroupSpec, Hold, Revision};
use serde::{Deserialize, Serialize};

use crate::source::{Snapshot, SourcePlace};

mod compare;
mod rename;
#[cfg(test)]
mod tests;

pub(crate) use compare::described;
pub use compare::{ComparedDocuments, doubts_between};
pub(crate) use rename::{Described, Renamed, Sign, renamed, why as why_renamed};

/// The place and rules under which a group's document was last seen. Kept with the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenUnder {
    /// The branch.
    pub branch: String,
    /// The folder inside the repository.
    pub path: String,
    /// A digest of the ignore rules.
    pub ignore: String,
}

impl SeenUnder {
    /// Returns the place and rules of a snapshot.
    pub fn of(place: &SourcePlace, ignore_digest: &str) -> Self {
        Self {
            branch: place.branch.clone(),
            path: place.path.trim_matches('/').to_owned(),
            ignore: ignore_digest.to_owned(),
        }
    }

    /// Returns what differs, for people.
    fn difference(&self, now: &Self) -> Option<String> {
        if self.branch != now.branch {
            return Some(format!(
                "the agent follows branch {:?} now, the group was in {:?}",
                now.branch, self.branch
            ));
        }
        if self.path != now.path {
            return Some(format!(
                "the agent reads path {:?} now, the group was in {:?}",
                now.path, self.path
            ));
        }
        (self.ignore != now.ignore).then(|| {
            ".droverignore changed: restore it, or bring the document back and remove it afterwards"
                .to_owned()
        })
    }
}

/// One group in force.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InForceGroup<'a> {
    /// The accepted specification. None: nothing was ever accepted, so nothing exists.
    pub(crate) spec: Option<&'a GroupSpec>,
    /// The size in force.
    pub(crate) size: u32,
    /// How many instances there are.
    pub(crate) instances: u32,
    /// Where its document was last seen. None: not by this data directory.
    pub(crate) seen: Option<&'a SeenUnder>,
    /// Why an earlier commit's removal was no removal. It is none until the document was back.
    pub(crate) unconfirmed: Option<&'a str>,
    /// Whether its removal was accepted already.
    pub(crate) deleting: bool,
}

/// What a missing document means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The group is to be removed.
    Removed,
    /// It is not: this has to be settled first.
    Asks(Hold),
}

/// What is known of the commit that has the documents.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    /// The place and rules under which it was read.
    pub(crate) under: SeenUnder,
    /// The file of a document whose kind or name cannot be read, for people.
    pub(crate) unreadable: Option<String>,
}

impl Looked {
    /// Returns what is known of a snapshot's commit.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let unreadable = (!snapshot.identities_readable).then(|| {
            let place = snapshot.unreadable.as_deref();
            place.unwrap_or("a file").to_owned()
        });
        Self {
            under: SeenUnder::of(&snapshot.place, &snapshot.ignore_digest),
            unreadable,
        }
    }
}

/// Judges the documents that are missing from a commit that descends from what is in force.
pub(crate) fn judge(
    in_force: &BTreeMap<GroupName, InForceGroup<'_>>,
    present: &BTreeSet<GroupName>,
    looked: &Looked,
) -> BTreeMap<GroupName, Missing> {
    let living = in_force.values().filter(|group| !group.deleting).count();
    let missing: Vec<_> = in_force
        .iter()
        .filter(|(name, group)| !group.deleting && !present.contains(*name))
        .collect();
    let doubt = doubt(looked, missing.len(), living);
    let judged = missing.into_iter().map(|(name, group)| {
        // What is known of the group itself says more than what is doubtful of all.
        let earlier = group.unconfirmed.map(unconfirmed);
        let verdict = earlier
            .or_else(|| doubt.clone())
            .or_else(|| doubt_of(group, &looked.under))
            .or_else(|| limit_of(group))
            .map_or(Missing::Removed, Missing::Asks);
        (name.clone(), verdict)
    });
    judged.collect()
}

fn unconfirmed(why: impl Into<String>) -> Hold {
    Hold::DeletionUnconfirmed { why: why.into() }
}

/// What speaks against every removal of this commit.
fn doubt(looked: &Looked, missing: usize, living: usize) -> Option<Hold> {
    if let Some(place) = &looked.unreadable {
        return Some(unconfirmed(format!(
            "{place} has a document whose kind and name cannot be read, which may be this one"
        )));
    }
    // Twice as many missing as not: an accident more often than an intention.
    (missing >= 2 && 2 * missing > living).then(|| {
        unconfirmed(format!(
            "{missing} of {living} groups are gone at once; remove them in smaller commits, at most half at a time"
        ))
    })
}

fn doubt_of(group: &InForceGroup<'_>, now: &SeenUnder) -> Option<Hold> {
    let Some(seen) = group.seen else {
        return Some(unconfirmed(
            "this data directory has never seen the document; bring it back and remove it afterwards",
        ));
    };
    seen.difference(now).map(unconfirmed)
}

/// Returns what speaks against the removal of a group whose document has gone, if a version of it that was never in
/// force says something else about that than the one in force: of `deletion: {policy: Orphan}` and a removal, seen in
/// one look, only the removal would be carried out. `waiting`: a version that is held. `path`: its file, which may have
/// become one that cannot be read.
pub(crate) fn passed_by(
    (name, path): (&GroupName, &str),
    in_force: Deletion,
    waiting: Option<Deletion>,
    snapshot: &Snapshot,
) -> Option<String> {
    if waiting.is_some_and(|waiting| waiting != in_force) {
        return Some(
            "its `deletion` was changed before it was removed, and that was still held; bring the document back, wait until it is in force, and remove it then".to_owned(),
        );
    }
    let Some(passed) = &snapshot.passed else {
        return Some(
            "more was committed since the agent's last look than it looks through; bring the document back and remove it afterwards".to_owned(),
        );
    };
    let versions = passed.get(name.as_str()).into_iter().flatten();
    let mut others = versions.filter(|version| version.deletion != Some(in_force));
    if let Some(other) = others.next() {
        return Some(format!(
            "commit {} changed its `deletion` and was never in force; bring the document back as it was there, wait until it is in force, and remove it then",
            other.revision.short()
        ));
    }
    let garbled = snapshot.garbled.get(path)?;
    Some(format!(
        "{path} cannot be read at commit {}, where its `deletion` may have been changed; bring the document back, wait until it is in force, and remove it then",
        garbled.short()
    ))
}

/// Says why nobody removes a group whose document was refused before it went.
pub(crate) fn why_refused(file: &str, revision: &Revision) -> String {
    format!(
        "{file} has mistakes at commit {}, and its `deletion` was not in force; bring the document back without them, wait until it is, and remove it then",
        revision.short()
    )
}

fn limit_of(group: &InForceGroup<'_>) -> Option<Hold> {
    let spec = group.spec?;
    if spec.deletion.protect {
        return Some(Hold::Protected);
    }
    let limit = spec.destroy_max(group.size);
    match spec.deletion.policy {
        DeletionPolicy::Destroy if group.instances > limit => Some(Hold::DestroyLimit {
            wanted: group.instances,
            limit,
            earlier: 0,
        }),
        DeletionPolicy::Destroy | DeletionPolicy::Orphan => None,
    }
}
