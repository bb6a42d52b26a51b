//! Whose limits calls count against. EC2 limits an account in a region, and which account credentials lead to is only known
//! from its answers: so each profile begins with buckets of its own, and shares those of its account from the first answer on
//! that names it. What it has spent until then counts there too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::budget::Budget;

/// An account in a region, as EC2 calls them.
type Key = (String, String);

/// The buckets of every account and region that anybody here uses.
#[derive(Debug, Default)]
pub(crate) struct Purses(Mutex<BTreeMap<Key, Arc<Budget>>>);

impl Purses {
    /// Returns the buckets of an account: those that another profile brought, else these.
    fn of(&self, key: Key, mine: &Arc<Budget>) -> Arc<Budget> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody uses any more was of credentials that were replaced.
        known.retain(|_, budget| Arc::strong_count(budget) > 1);
        Arc::clone(known.entry(key).or_insert_with(|| Arc::clone(mine)))
    }
}

/// The buckets that one profile's calls in a region are counted against.
#[derive(Debug)]
pub(crate) struct Purse {
    region: String,
    percent: u8,
    all: Arc<Purses>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// None: no answer has named it yet.
    account: Option<String>,
    budget: Arc<Budget>,
}

impl Purse {
    /// Makes one with full buckets of its own, of `percent` of an account's limits.
    pub(crate) fn new(region: &str, percent: u8, all: Arc<Purses>) -> Self {
        Self {
            region: region.to_owned(),
            percent,
            all,
            held: Mutex::new(Held {
                account: None,
                budget: Arc::new(Budget::new(percent)),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the buckets. Who waits for their turn in them stays there, whatever is learned meanwhile.
    pub(crate) fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.lock().budget)
    }

    /// Takes note of the account that an answer names. Credentials that are replaced may lead to another one.
    pub(crate) fn belongs_to(&self, account: Option<&str>) {
        let Some(account) = account.filter(|account| !account.is_empty()) else {
            return;
        };
        let mut held = self.lock();
        if held.account.as_deref() == Some(account) {
            return;
        }
        let first = held.account.replace(account.to_owned()).is_none();
        let mine = if first {
            Arc::clone(&held.budget)
        } else {
            // What was spent was another account's.
            Arc::new(Budget::new(self.percent))
        };
        let shared = self
            .all
            .of((self.region.clone(), account.to_owned()), &mine);
        if !Arc::ptr_eq(&shared, &mine) {
            shared.charge(&mine);
            tracing::debug!(
                region = self.region,
                "another profile leads to the same account, they share its limits"
            );
        }
        held.budget = shared;
    }
}

#[cfg(test)]
mod tests;
