//! How fast a size that a policy chooses takes effect.

use std::fmt;
use std::time::Duration;

use crate::{Amount, Timestamp};

/// A value for each direction in which a size moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpDown<T> {
    /// While the group grows.
    pub up: T,
    /// While it shrinks.
    pub down: T,
}

/// How fast a size that a `size` policy chooses takes effect. A size that a person pushes takes effect
/// at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingSpec {
    /// For how long a policy must ask for a move: growing takes the smallest size that was asked for
    /// within `up`, shrinking the largest within `down`.
    pub stabilization: UpDown<Duration>,
    /// How far the size may move.
    pub rate: UpDown<Rate>,
    /// Which instances scale-in takes first, of those that are equally good otherwise.
    pub prefer: Prefer,
}

/// So many instances within so much time: `10%/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; a share is of the size at the beginning of the time, rounded up, at least one.
    pub amount: Amount,
    /// Within what time.
    pub per: Duration,
}

impl Rate {
    /// Returns how many instances the rate allows of a group that had `size`.
    pub fn of(self, size: u32) -> u32 {
        self.amount.ceil_of(size).max(1)
    }
}

/// Which instances scale-in takes first, of those that are equally good otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// The oldest.
    Oldest,
    /// The newest.
    Newest,
}

impl Prefer {
    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oldest => "oldest",
            Self::Newest => "newest",
        }
    }
}

impl fmt::Display for Prefer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a policy asked for from a time on, until the next one. Kept locally, never in Git: a policy may
/// ask for something else in every pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recommendation {
    /// From when on.
    pub since: Timestamp,
    /// The smallest size.
    pub least: u32,
    /// The largest size: another one than the smallest where several were taken together.
    pub most: u32,
}

/// A size that the group had before a policy moved it, or a commit made it smaller. Recorded with the move, so that a restart does
/// not begin a new allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// When the move counts no more.
    pub until: Timestamp,
    /// The size before it.
    pub from: u32,
}
