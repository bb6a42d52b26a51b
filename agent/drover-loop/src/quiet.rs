//! Knowing that a group's plan would say the same again, without making it.
//!
//! Planning is a pure function, and says when time alone changes its answer. So a group whose inputs
//! are equal to those of a pass in which nothing was to be done needs no new plan before that time.
//! This compares the inputs themselves; it takes no hint about what may have changed.

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use drover_model::{Completeness, Held, Listing, Peers, Timestamp};

use crate::metrics::Told;
use crate::task::Versions;
use sha2::{Digest as _, Sha256};

/// How long an answer is believed at most: a plan that misjudges its own timers costs this much.
const BELIEVED_FOR: Duration = Duration::from_mins(5);

/// What a plan without steps was made from, beside the group's own entry, which did not change.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// Stands for what groups share, as far as it concerns this one.
    pub(crate) shared: Versions,
    /// Its provider, which is opened anew for other settings.
    pub(crate) scope: u64,
    /// None: the listing was not complete.
    pub(crate) instances: Option<Fingerprint>,
    pub(crate) fences: Vec<Held>,
    pub(crate) peers: Peers,
    /// What its policies were told of metrics.
    pub(crate) metrics: Vec<Told>,
    pub(crate) planned_at: Timestamp,
    pub(crate) wake_at: Option<Timestamp>,
}

impl Quiet {
    /// Returns whether a plan from what is `seen` now would say the same.
    pub(crate) fn holds(&self, seen: &Self) -> bool {
        let now = seen.planned_at;
        let age = now.duration_since(self.planned_at);
        let fresh = !age.is_negative() && age.unsigned_abs() < BELIEVED_FOR;
        fresh
            && self.wake_at.is_none_or(|at| now < at)
            && self.shared == seen.shared
            && self.scope == seen.scope
            && self.fences == seen.fences
            && self.peers == seen.peers
            && self.metrics == seen.metrics
            && seen.instances.is_some()
            && self.instances == seen.instances
    }
}

/// Stands for what a complete listing says, its time aside: equal ones, and no others, have the same. The
/// listing of a large fleet itself would be a good part of the agent's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint. None: the listing is not complete.
    pub(crate) fn of(listing: &Listing) -> Option<Self> {
        let Listing {
            completeness,
            as_of: _,
            instances,
            attached,
            places,
        } = listing;
        if *completeness != Completeness::Complete {
            return None;
        }
        let mut hasher = Sha256Hasher::default();
        instances.hash(&mut hasher);
        attached.hash(&mut hasher);
        places.hash(&mut hasher);
        Some(Self(hasher.0.finalize().into()))
    }
}

/// Feeds what values say of themselves into a hash that is long enough to stand for them.
#[derive(Default)]
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The first bytes of the hash.
    fn finish(&self) -> u64 {
        let hash = self.0.clone().finalize();
        hash.iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests;
