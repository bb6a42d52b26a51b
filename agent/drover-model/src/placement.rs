//! Where instances of a group are made.

use std::time::Duration;

/// Where instances are made. Not part of the digest: moving a group makes nothing outdated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementSpec {
    /// The zones, each once, in the order of preference. None: the provider chooses.
    pub zones: Vec<String>,
    /// How instances are spread over them.
    pub spread: Spread,
    /// How many more instances a zone may have than another before it has too many, at least 1.
    pub skew_max: u32,
    /// What is done about a zone that has too many.
    pub rebalance: Rebalance,
    /// How long a zone is left alone after it had no room.
    pub cooldown: Duration,
}

/// How instances are spread over zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Each goes where the fewest are.
    Even,
    /// Each goes to the first zone that has room.
    Any,
}

/// What is done about a zone that has too many instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rebalance {
    /// Nothing but what new instances even out.
    Off,
    /// What is removed or replaced for another reason is taken from there.
    Opportunistic,
    /// Its instances are moved.
    Proactive,
}
