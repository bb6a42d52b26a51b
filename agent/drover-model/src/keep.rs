//! Bad instances that are kept for people to look at.

use std::time::Duration;

use crate::defaults;

/// How many bad instances are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Most of them at once, those on their way out counted.
    pub max: u32,
    /// For how long each.
    pub time: Duration,
}

impl Keep {
    /// What holds where nothing is written.
    pub const PRESET: Self = Self {
        max: defaults::KEEP_MAX,
        time: defaults::KEEP_FOR,
    };
}
