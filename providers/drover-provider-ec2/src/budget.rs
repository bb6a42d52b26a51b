//! Token buckets that mirror EC2's own, so that this program waits instead of being turned away.
//!
//! Source of the numbers: "Request throttling for the Amazon EC2 API", in Amazon's EC2 developer guide; they
//! are the defaults of an account in a region, which everything else in that account shares. Who waits is
//! served by priority: what observes comes before what ends, that before what makes (what heals, then what grows a
//! group, then what rolls one), that before the rest.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_model::ErrorClass;
use drover_provider::Urgency;
use tokio::time::Instant;

use crate::error::CallError;

/// The longest that a call waits for its turn: half of what a plugin's call may take (`timeout`, 60 s). What
/// would take longer is turned away at once, as EC2 would.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The shortest sleep of who waits, so that rounding makes nobody spin.
const NAP_MIN: Duration = Duration::from_millis(2);

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Tags, attributes.
    Rest,
    /// Making instances, the more urgent first.
    Make(Urgency),
    /// Ending them.
    End,
    /// Listing.
    Observe,
}

/// The burst of a bucket and its refill a second, for the share of the account's limits that is ours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) burst: f64,
    pub(crate) refill_per_second: f64,
}

impl Rate {
    const fn new(burst: f64, refill_per_second: f64) -> Self {
        Self {
            burst,
            refill_per_second,
        }
    }

    /// Returns so many percent of it, with room for one token at least.
    fn share(self, percent: u8) -> Self {
        let part = f64::from(percent) / 100.0;
        Self {
            burst: (self.burst * part).max(1.0),
            refill_per_second: self.refill_per_second * part,
        }
    }
}

/// A limit of EC2's for an account in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `Describe...` with filters and pages, and `Get...`.
    Describe,
    /// `RunInstances` requests.
    Run,
    /// Instances that `RunInstances` makes.
    RunResources,
    /// `TerminateInstances` requests.
    Terminate,
    /// Instances that `TerminateInstances` ends.
    TerminateResources,
    /// `CreateTags`, `DeleteTags`.
    Tags,
    /// `CreateVolume`, `CreateNetworkInterface`, `ModifyInstanceMetadataOptions`: each has one of its own,
    /// of the same size; here they share one.
    Create,
    /// Every other call that changes something.
    Mutating,
    /// Every call of EC2 Auto Scaling, whose limits Amazon does not publish: a choice of ours, below what
    /// people report to be turned away at.
    Scaling,
}

impl Limit {
    const ALL: [Self; 9] = [
        Self::Describe,
        Self::Run,
        Self::RunResources,
        Self::Terminate,
        Self::TerminateResources,
        Self::Tags,
        Self::Create,
        Self::Mutating,
        Self::Scaling,
    ];

    const fn rate(self) -> Rate {
        match self {
            Self::Describe => Rate::new(100.0, 20.0),
            Self::Run => Rate::new(5.0, 2.0),
            Self::RunResources => Rate::new(1_000.0, 2.0),
            Self::Terminate | Self::Create => Rate::new(100.0, 5.0),
            Self::TerminateResources => Rate::new(1_000.0, 20.0),
            Self::Tags => Rate::new(100.0, 10.0),
            Self::Mutating | Self::Scaling => Rate::new(50.0, 5.0),
        }
    }
}

/// The buckets of an account in a region.
#[derive(Debug)]
pub(crate) struct Budget {
    buckets: Vec<Bucket>,
}

impl Budget {
    /// Makes full buckets with `percent` of the account's limits.
    pub(crate) fn new(percent: u8) -> Self {
        let buckets = Limit::ALL.map(|limit| Bucket::new(limit.rate().share(percent)));
        Self {
            buckets: buckets.into(),
        }
    }

    /// Waits until a call may be made that takes `tokens` of a limit.
    ///
    /// # Errors
    ///
    /// `Throttled`: it would take longer than half a minute.
    ///
    /// # Cancellation
    ///
    /// A dropped future takes nothing.
    pub(crate) async fn take(
        &self,
        action: &'static str,
        limit: Limit,
        tokens: usize,
        priority: Priority,
    ) -> Result<(), CallError> {
        let bucket = &self.buckets[limit as usize];
        bucket.take(tokens as f64, priority).await.map_err(|wait| {
            let seconds = wait.as_secs_f64().ceil();
            let message = format!(
                "waits for EC2's limit of the account, {seconds} s more ({tokens} of {limit:?})"
            );
            CallError::new(action, ErrorClass::Throttled, message)
        })
    }

    /// Takes what others have taken from buckets of their own, as far as it is there.
    pub(crate) fn charge(&self, others: &Self) {
        for (bucket, other) in self.buckets.iter().zip(&others.buckets) {
            bucket.charge(other.spent());
        }
    }

    /// Empties a bucket: EC2 turned a call away, so its own has less than was thought.
    pub(crate) fn empty(&self, limit: Limit) {
        self.buckets[limit as usize].empty();
    }
}

/// Who waits: the highest priority first, then who came first.
type Place = (Reverse<Priority>, u64);

#[derive(Debug)]
struct State {
    tokens: f64,
    at: Instant,
    waiting: BTreeSet<Place>,
    next: u64,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    state: Mutex<State>,
}

/// Gives a place in the queue up when its owner is gone.
struct Queued<'a> {
    bucket: &'a Bucket,
    place: Place,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.bucket.lock().waiting.remove(&self.place);
    }
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            state: Mutex::new(State {
                tokens: rate.burst,
                at: Instant::now(),
                waiting: BTreeSet::new(),
                next: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.saturating_duration_since(state.at).as_secs_f64();
        state.tokens = (state.tokens + passed * self.rate.refill_per_second).min(self.rate.burst);
        state.at = now;
        state
    }

    fn empty(&self) {
        self.lock().tokens = 0.0;
    }

    /// Returns what was taken and not refilled yet.
    fn spent(&self) -> f64 {
        self.rate.burst - self.lock().tokens
    }

    fn charge(&self, tokens: f64) {
        let mut state = self.lock();
        state.tokens = (state.tokens - tokens).max(0.0);
    }

    async fn take(&self, tokens: f64, priority: Priority) -> Result<(), Duration> {
        // More than the bucket holds is paid for with all of it.
        let tokens = tokens.min(self.rate.burst);
        let place = {
            let mut state = self.lock();
            let missing = (tokens - state.tokens) / self.rate.refill_per_second;
            if missing > WAIT_MAX.as_secs_f64() {
                return Err(Duration::from_secs_f64(missing));
            }
            let place = (Reverse(priority), state.next);
            state.next += 1;
            state.waiting.insert(place);
            place
        };
        let queued = Queued {
            bucket: self,
            place,
        };
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let nap = {
                let mut state = self.lock();
                let missing = (tokens - state.tokens) / self.rate.refill_per_second;
                let first = state.waiting.first() == Some(&place);
                if first && missing <= 0.0 {
                    state.tokens -= tokens;
                    drop(state);
                    drop(queued);
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    return Err(Duration::from_secs_f64(missing.max(0.0)));
                }
                Duration::from_secs_f64(missing.max(0.0)).max(NAP_MIN)
            };
            // Somebody with a higher priority may come meanwhile; then the next look says so.
            tokio::time::sleep(nap).await;
        }
    }
}

#[cfg(test)]
mod tests;
