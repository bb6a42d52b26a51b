//! Offerings without room, left alone for a while: an instance type in a place.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an offering without room is not asked for where there is another: what Karpenter found to work
/// for EC2. Room seldom comes back sooner, and each try costs one of five `RunInstances` requests.
pub(crate) const COOLING: Duration = Duration::from_mins(3);

/// Most offerings that are remembered; the one that is warm first goes.
const OFFERINGS_MAX: usize = 4_096;

/// What can be asked for: an instance type in a place, at a price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offering {
    /// The instance type, empty where a launch template names it.
    pub(crate) type_: String,
    /// The subnet, else the zone, else empty.
    pub(crate) place: String,
    /// Whether it is spot capacity.
    pub(crate) spot: bool,
}

/// The offerings of a region without room.
#[derive(Debug, Default)]
pub(crate) struct Cooling(Mutex<BTreeMap<Offering, Instant>>);

impl Cooling {
    fn lock(&self, now: Instant) -> MutexGuard<'_, BTreeMap<Offering, Instant>> {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, until| *until > now);
        until
    }

    /// Notes that an offering has no room now.
    pub(crate) fn cool(&self, offering: &Offering) {
        self.cool_at(offering, Instant::now());
    }

    fn cool_at(&self, offering: &Offering, now: Instant) {
        let mut until = self.lock(now);
        if until.len() >= OFFERINGS_MAX
            && let Some(first) = until.iter().min_by_key(|(_, until)| **until)
        {
            let first = first.0.clone();
            until.remove(&first);
        }
        until.insert(offering.clone(), now + COOLING);
    }

    /// Returns when an offering may be asked for again. None: now.
    pub(crate) fn until(&self, offering: &Offering) -> Option<Instant> {
        self.until_at(offering, Instant::now())
    }

    fn until_at(&self, offering: &Offering, now: Instant) -> Option<Instant> {
        self.lock(now).get(offering).copied()
    }
}

#[cfg(test)]
mod tests;
