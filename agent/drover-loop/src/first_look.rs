//! The first look: after a start with an empty data directory, which providers were listed since, and so where a group may
//! have instances that nobody knows of. Pure; what is known is kept in the local store, so that a restart forgets nothing
//! of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What is known since the start with an empty data directory. It ends with the pass in which nothing is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FirstLook {
    /// Whether the source was read: nobody knows before which providers there are.
    source_read: bool,
    /// The ids of the scopes that were listed whole.
    listed: BTreeSet<String>,
}

/// What a pass has seen of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of it.
    Whole,
    /// All of it, and instances of a group that waits for them to go.
    Claimed,
    /// Not all of it, for this reason.
    Missing(String),
}

/// What is missing still.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The source was never read.
    pub(crate) source: bool,
    /// The scopes that were never listed whole, by id, with the reason.
    pub(crate) scopes: BTreeMap<String, String>,
}

impl FirstLook {
    /// Returns whether the source was read since the start.
    pub(crate) fn has_read_source(&self) -> bool {
        self.source_read
    }

    /// Returns whether a scope has still to be listed.
    pub(crate) fn wants(&self, scope: &str) -> bool {
        !self.listed.contains(scope)
    }

    /// Takes in what a pass has seen of every scope that there is. `reads` says whether that is known from the source
    /// itself. Returns what is missing, or none if that was the end.
    pub(crate) fn take(
        &mut self,
        reads: bool,
        scopes: &BTreeMap<String, Sight>,
    ) -> Option<Missing> {
        self.source_read |= reads;
        // One that comes back later may have other instances.
        self.listed.retain(|id| scopes.contains_key(id));
        let mut missing = Missing {
            source: !self.source_read,
            scopes: BTreeMap::new(),
        };
        let mut over = reads;
        for (id, sight) in scopes {
            match sight {
                Sight::Whole => {
                    self.listed.insert(id.clone());
                }
                Sight::Claimed => {
                    // It is looked at again in the next pass, also of another process.
                    self.listed.remove(id);
                    over = false;
                }
                Sight::Missing(why) if self.wants(id) => {
                    missing.scopes.insert(id.clone(), why.clone());
                }
                Sight::Missing(_) => {}
            }
        }
        (!over || !missing.scopes.is_empty()).then_some(missing)
    }
}

#[cfg(test)]
mod tests;
