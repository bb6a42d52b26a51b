//! The health of an instance in the three words that policies use, and what it follows from.

use std::collections::BTreeSet;

use crate::{InstanceId, Verdict};

/// Whether an instance does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthVerdict {
    /// It does.
    Healthy,
    /// Nobody can say.
    Unknown,
    /// It does not.
    Unhealthy,
}

impl HealthVerdict {
    /// Every verdict, the least favourable last.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Unknown, Self::Unhealthy];

    /// Returns the word that policies use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What is known of a running instance's health before policies are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSignals {
    /// What its provider says: `Healthy` for one that runs, else `Unknown`.
    pub provider: HealthVerdict,
    /// What the checks say together. None: the group has none.
    pub probe: Option<HealthVerdict>,
    /// What each check said, in the order of the specification. One that was not tried is `Unknown`.
    pub checks: Vec<HealthVerdict>,
    /// What comes of it where no policy says otherwise.
    pub combined: HealthVerdict,
    /// Why it is not healthy, for people; empty for one that is.
    pub why: String,
}

/// A health that a policy chose instead of the one that follows from the signals.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthOverride {
    /// The health.
    pub health: HealthVerdict,
    /// Who said so, with the values that it read of the first of the instances.
    pub verdict: Verdict,
    /// The instances.
    pub instances: BTreeSet<InstanceId>,
}
