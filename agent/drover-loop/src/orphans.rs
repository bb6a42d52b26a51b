//! Orphans: instances that carry the fleet's tags and belong to a group that nobody knows. They are told
//! and left alone.
//!
//! Whether a group is unknown is easily mistaken: its document may be the one that cannot be read, its
//! instance may be listed before its record is there. So an orphan is one only after it was seen twice
//! with time between, and is old; and while documents are in doubt the watch stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    Completeness, GroupName, InstanceId, Listed, Listing, ProviderPhase, ProviderRef, Timestamp,
};

/// The least time between the first and the latest look that saw an orphan: whoever makes an instance
/// has written down by then that it did.
const APART_MIN: Duration = Duration::from_mins(10);

/// The least age of an orphan.
const AGE_MIN: Duration = Duration::from_mins(30);

/// How often providers are listed that no group uses: often enough for two looks.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// Most instances that are watched: an account that is full of them needs a person, not a longer list.
const WATCHED_MAX: usize = 10_000;

/// An instance that belongs to no group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The Provider document in whose scope it is.
    pub provider: String,
    /// The group that it says it belongs to.
    pub group: GroupName,
    /// The name that its tags give it.
    pub instance: InstanceId,
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// When the provider made it, where it says so.
    pub created_at: Option<Timestamp>,
    /// When this process first saw it.
    pub first_seen: Timestamp,
}

/// An instance that may be an orphan.
#[derive(Debug)]
struct Sighting {
    orphan: Orphan,
    last_seen: Timestamp,
}

/// What the watch remembers. In memory only: after a restart it looks twice again.
#[derive(Debug, Default)]
pub(crate) struct OrphanWatch {
    seen: BTreeMap<(String, ProviderRef), Sighting>,
    looked_at: Option<Timestamp>,
    /// The orphans, as of the latest look.
    told: BTreeMap<(String, ProviderRef), Orphan>,
}

/// What changed about orphans.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) found: Vec<Orphan>,
    pub(crate) gone: usize,
}

impl OrphanWatch {
    /// Returns whether providers that no group uses are to be listed: not at once after the start, when
    /// there is enough to do.
    pub(crate) fn is_due(&mut self, now: Timestamp) -> bool {
        let at = *self.looked_at.get_or_insert(now);
        now < at || elapsed(at, now) >= LOOK_EVERY
    }

    /// Notes that every provider was listed, or failed to be.
    pub(crate) fn looked(&mut self, now: Timestamp) {
        self.looked_at = Some(now);
    }

    /// Takes in a part of a provider's listing: that of a group that nobody knows.
    pub(crate) fn see(&mut self, provider: &str, listing: &Listing) {
        for listed in &listing.instances {
            let gone = matches!(
                listed.phase,
                ProviderPhase::Terminated | ProviderPhase::Stopping
            );
            if !gone {
                self.see_one(provider, listed, listing.as_of);
            }
        }
    }

    fn see_one(&mut self, provider: &str, listed: &Listed, as_of: Timestamp) {
        let Some(owner) = &listed.ownership else {
            return;
        };
        let key = (provider.to_owned(), listed.provider_ref.clone());
        if self.seen.len() >= WATCHED_MAX && !self.seen.contains_key(&key) {
            return;
        }
        let sighting = self.seen.entry(key).or_insert_with(|| Sighting {
            orphan: Orphan {
                provider: provider.to_owned(),
                group: owner.group.clone(),
                instance: owner.instance.clone(),
                provider_ref: listed.provider_ref.clone(),
                created_at: listed.created_at,
                first_seen: as_of,
            },
            last_seen: as_of,
        });
        sighting.last_seen = sighting.last_seen.max(as_of);
    }

    /// Forgets what a listing no longer has. A partial one says nothing of what it leaves out.
    pub(crate) fn forget_missing(
        &mut self,
        provider: &str,
        completeness: &Completeness,
        as_of: Timestamp,
    ) {
        if *completeness == Completeness::Complete {
            self.seen
                .retain(|(of, _), sighting| of != provider || sighting.last_seen >= as_of);
        }
    }

    /// Forgets the instances of groups that somebody knows.
    pub(crate) fn forget_known(&mut self, known: impl Fn(&GroupName) -> bool) {
        self.seen
            .retain(|_, sighting| !known(&sighting.orphan.group));
    }

    /// Forgets what is in providers that are no longer there: nobody can look any more.
    pub(crate) fn forget_providers(&mut self, there: &BTreeSet<String>) {
        self.seen.retain(|(of, _), _| there.contains(of));
    }

    /// Returns the orphans, in order. While nothing can be said about them they stay what they were.
    pub(crate) fn orphans(&self) -> Vec<Orphan> {
        self.told.values().cloned().collect()
    }

    /// Judges what was seen. Returns what nobody was told yet, and how many of those that were told are
    /// none any more.
    pub(crate) fn judge(&mut self, now: Timestamp) -> News {
        let proven = self.seen.values().filter(|sighting| {
            let born = sighting.orphan.created_at;
            let born = born.unwrap_or(sighting.orphan.first_seen);
            elapsed(sighting.orphan.first_seen, sighting.last_seen) >= APART_MIN
                && elapsed(born, now) >= AGE_MIN
        });
        let orphans: BTreeMap<_, _> = proven
            .map(|sighting| {
                let orphan = sighting.orphan.clone();
                let key = (orphan.provider.clone(), orphan.provider_ref.clone());
                (key, orphan)
            })
            .collect();
        let before = self.told.keys();
        let gone = before.filter(|key| !orphans.contains_key(*key)).count();
        let new = orphans
            .iter()
            .filter(|(key, _)| !self.told.contains_key(*key));
        let found = new.map(|(_, orphan)| orphan.clone()).collect();
        self.told = orphans;
        News { found, gone }
    }
}

/// Returns the time between two moments; none if the clock stepped back between them.
fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
