//! What the planning of one group must know of the others.

use std::collections::BTreeSet;

use crate::{BudgetName, GroupName, Reason};

/// What a group must know of the others, as data, so that a plan can be made again from its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// The groups that are where the documents in force want them to be.
    pub converged: BTreeSet<GroupName>,
    /// The group's part of the budgets that it shares with others.
    pub shares: Vec<Share>,
    /// What other groups lost with it. None: something of the fleet is listed as living where the group's instances are.
    pub emptied: Option<Emptied>,
}

/// What groups with instances in one place lost at once: a complete listing has nothing of the fleet that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// How many instances of other groups were there, and nobody was ending them.
    pub elsewhere: u32,
}

/// A group's part of a budget that several groups share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The budget.
    pub budget: BudgetName,
    /// The disruptions that share it.
    pub reasons: BTreeSet<Reason>,
    /// How many may be in flight in all groups together.
    pub max: u32,
    /// How many the group may begin in this plan.
    pub room: u32,
    /// The groups that use the budget, as far as this one asked for room.
    pub taken_by: BTreeSet<GroupName>,
}
