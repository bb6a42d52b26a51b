//! What is known of instances between listings: whose they are, and which of them are ending.
//!
//! A cache and nothing else: everything in it can be asked for again, and an empty one is correct. It saves a
//! `DescribeInstances` before each end, and bridges the time in which EC2's listings are behind its answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_model::{FleetName, GroupName, InstanceId, Ownership, ProviderName, SeatId, Token};
use tokio::time::Instant;

use crate::places::Place;

/// How long listings may be behind. Amazon gives no bound and says to expect "a few minutes" at worst; some
/// seconds are usual.
pub(crate) const VISIBILITY: Duration = Duration::from_mins(1);

/// Whose an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) provider: ProviderName,
    pub(crate) ownership: Ownership,
    /// Whether it is gone without having been asked to.
    pub(crate) ended_itself: bool,
}

impl Owner {
    /// Returns what a request must name to mean this instance.
    pub(crate) fn named(&self) -> (&FleetName, &GroupName, &InstanceId, &Token) {
        let owned = &self.ownership;
        (&owned.fleet, &owned.group, &owned.instance, &owned.token)
    }
}

#[derive(Debug, Default)]
struct Pages {
    owners: BTreeMap<String, (Owner, Instant)>,
    /// The instances whose end was accepted, and when.
    ending: BTreeMap<String, Instant>,
    /// The places that were made here, which listings may not have yet.
    places: BTreeMap<(GroupName, SeatId), (Place, Instant)>,
}

/// What is known of instances.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Pages>);

impl Book {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whose an instance is.
    pub(crate) fn note(&self, id: &str, owner: Owner) {
        let entry = (owner, Instant::now());
        self.lock().owners.insert(id.to_owned(), entry);
    }

    /// Takes in a whole listing of a fleet that began at `began`: what is not in it and was known before is
    /// forgotten.
    pub(crate) fn replace(
        &self,
        fleet: &FleetName,
        began: Instant,
        listed: impl Iterator<Item = (String, Owner)>,
    ) {
        let mut pages = self.lock();
        pages.owners.retain(|_, (owner, noted)| {
            owner.ownership.fleet != *fleet || *noted + VISIBILITY > began
        });
        for (id, owner) in listed {
            pages.owners.insert(id, (owner, began));
        }
        // As long as EC2 itself remembers instances that are gone.
        let day = Duration::from_hours(24);
        pages.ending.retain(|_, accepted| *accepted + day > began);
    }

    /// Returns whose an instance is, as far as is known.
    pub(crate) fn owner(&self, id: &str) -> Option<Owner> {
        self.lock().owners.get(id).map(|(owner, _)| owner.clone())
    }

    /// Forgets an instance.
    pub(crate) fn forget(&self, id: &str) {
        let mut pages = self.lock();
        pages.owners.remove(id);
        pages.ending.remove(id);
    }

    /// Notes that an instance's end was accepted.
    pub(crate) fn ends(&self, id: &str) {
        self.lock().ending.insert(id.to_owned(), Instant::now());
    }

    /// Returns whether an instance's end was accepted.
    pub(crate) fn is_ending(&self, id: &str) -> bool {
        self.lock().ending.contains_key(id)
    }

    /// Returns whether an instance was seen or made so lately that EC2 may not know it everywhere.
    pub(crate) fn is_fresh(&self, id: &str) -> bool {
        let pages = self.lock();
        let noted = pages.owners.get(id).map(|(_, noted)| *noted);
        noted.is_some_and(|noted| noted.elapsed() < VISIBILITY)
    }

    /// Notes a place that was made.
    pub(crate) fn note_place(&self, key: (GroupName, SeatId), place: Place) {
        self.lock().places.insert(key, (place, Instant::now()));
    }

    /// Returns the places that were made so lately that listings may not have them.
    pub(crate) fn places(&self) -> Vec<((GroupName, SeatId), Place)> {
        let mut pages = self.lock();
        pages
            .places
            .retain(|_, (_, made)| made.elapsed() < VISIBILITY);
        let places = pages.places.iter();
        places
            .map(|(key, (place, _))| (key.clone(), place.clone()))
            .collect()
    }
}
