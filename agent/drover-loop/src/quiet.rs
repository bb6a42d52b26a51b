//! Knowing that a group's plan would say the same again, without making it.
//!
//! Planning is a pure function, and says when time alone changes its answer. So a group whose inputs
//! are equal to those of a pass in which nothing was to be done needs no new plan before that time.
//! This compares the inputs themselves; it takes no hint about what may have changed.

use std::sync::Arc;
use std::time::Duration;

use drover_model::{Completeness, Held, Listing, Timestamp};

/// How long an answer is believed at most: a plan that misjudges its own timers costs this much.
const BELIEVED_FOR: Duration = Duration::from_mins(5);

/// What a plan without steps was made from, beside the group's own entry, which did not change.
#[derive(Debug)]
pub(crate) struct Quiet {
    /// Stands for everything that groups share: policies, commit, other groups, epoch.
    pub(crate) shared: u64,
    pub(crate) listing: Arc<Listing>,
    pub(crate) fences: Vec<Held>,
    pub(crate) planned_at: Timestamp,
    pub(crate) wake_at: Option<Timestamp>,
}

impl Quiet {
    /// Returns whether a plan at `now` from these inputs would say the same.
    pub(crate) fn holds(
        &self,
        now: Timestamp,
        shared: u64,
        listing: &Listing,
        fences: &[Held],
    ) -> bool {
        let age = now.duration_since(self.planned_at);
        let fresh = !age.is_negative() && age.unsigned_abs() < BELIEVED_FOR;
        fresh
            && self.wake_at.is_none_or(|at| now < at)
            && self.shared == shared
            && self.fences == fences
            && listing.completeness == Completeness::Complete
            && self.listing.completeness == Completeness::Complete
            && self.listing.instances == listing.instances
    }
}

#[cfg(test)]
mod tests;
