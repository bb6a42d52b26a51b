//! Activities that people switch off.

use std::collections::BTreeSet;

use crate::{Reason, Timestamp};

/// An activity switched off by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspend {
    /// What is off.
    pub what: BTreeSet<Activity>,
    /// Until when. None: until the entry is removed.
    pub until: Option<Timestamp>,
    /// Why, for everyone who wonders.
    pub because: Option<String>,
}

/// An activity that can be suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// Replacing outdated instances.
    Update,
    /// Replacing bad instances.
    Heal,
    /// Changing the number of instances.
    Scale,
    /// Removing failed launches and leftovers.
    Gc,
    /// Everything.
    All,
}

impl Activity {
    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Heal => "heal",
            Self::Scale => "scale",
            Self::Gc => "gc",
            Self::All => "all",
        }
    }
}

/// Returns the activity whose suspension withholds a disruption for `reason`, if one does.
pub fn activity_of(reason: Reason) -> Option<Activity> {
    match reason {
        Reason::Update | Reason::Drift | Reason::Expiry | Reason::Rebalance | Reason::Cost => {
            Some(Activity::Update)
        }
        Reason::Heal => Some(Activity::Heal),
        Reason::ScaleIn => Some(Activity::Scale),
        Reason::Interruption | Reason::Delete => None,
    }
}
