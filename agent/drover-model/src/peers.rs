//! What the planning of one group must know of the others.

use std::collections::BTreeSet;

use crate::GroupName;

/// What a group must know of the others, as data, so that a plan can be made again from its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// The groups that are where the documents in force want them to be.
    pub converged: BTreeSet<GroupName>,
}
