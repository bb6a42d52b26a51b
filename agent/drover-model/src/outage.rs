//! What an agent goes on doing while it cannot read its source.

use std::fmt;

use crate::Activity;

/// What an agent goes on doing while its source cannot be read or verified for long. Whatever it is, nothing new
/// comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutageMode {
    /// Bad instances are replaced and missing ones made again; nothing is updated, resized, expired or moved.
    HealOnly,
    /// Missing instances are made again; none that is there is ended, whatever its health.
    HoldCapacity,
    /// Nothing is done.
    Freeze,
}

impl OutageMode {
    /// Every mode, the most active first.
    pub const ALL: [Self; 3] = [Self::HealOnly, Self::HoldCapacity, Self::Freeze];

    /// Returns the name used in the agent's file and in recorded state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HealOnly => "healOnly",
            Self::HoldCapacity => "holdCapacity",
            Self::Freeze => "freeze",
        }
    }

    /// Returns the mode of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }

    /// Whether `activity` waits for the end of the outage.
    pub fn withholds(self, activity: Activity) -> bool {
        match (self, activity) {
            (Self::Freeze, _)
            | (_, Activity::Update | Activity::Scale)
            | (Self::HoldCapacity, Activity::Heal | Activity::Gc) => true,
            (Self::HealOnly, Activity::Heal | Activity::Gc)
            | (Self::HealOnly | Self::HoldCapacity, Activity::All) => false,
        }
    }
}

impl fmt::Display for OutageMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
