//! How many requests of a webhook are looked at.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Requests in a row that are looked at: a push of many branches and tags is a request for each.
pub(super) const BURST: u32 = 20;

/// Requests per second after that. With [`BURST`] and the time that a body may take, at most 70 bodies
/// of a webhook are in memory at once: 18 MiB.
pub(super) const PER_SECOND: u32 = 5;

/// A bucket of tokens, one per request.
#[derive(Debug, Default)]
pub(super) struct Limit {
    /// Tokens, and when they were counted. None: full.
    level: Mutex<Option<(f64, Instant)>>,
}

impl Limit {
    /// Takes a token. Returns false if there is none.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let full = f64::from(BURST);
        let (left, counted) = level.unwrap_or((full, now));
        let passed = now.saturating_duration_since(counted).as_secs_f64();
        let left = (left + passed * f64::from(PER_SECOND)).min(full);
        let is_taken = left >= 1.0;
        let left = if is_taken { left - 1.0 } else { left };
        *level = Some((left, now.max(counted)));
        is_taken
    }
}
