//! What happened in a simulated world, for assertions.

use std::collections::{BTreeMap, VecDeque};

use drover_model::{ErrorClass, GroupName, Timestamp, Token};

use crate::Op;

/// The most calls that a world remembers: enough for any test, and a bound for a world that lives
/// as long as an agent.
pub const CALLS_REMEMBERED_MAX: usize = 10_000;

/// The name under which [`Stats::faults`] counts calls that met an empty token bucket.
pub const RATE_EXCEEDED: &str = "rate exceeded";

/// Counts since the world began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls by operation, refused ones included.
    pub calls: BTreeMap<Op, u64>,
    /// Calls that failed, by operation and class.
    pub failures: BTreeMap<(Op, ErrorClass), u64>,
    /// Faults that hit a call, by operation and [kind](crate::FaultKind::as_str). A call that met an empty
    /// token bucket counts as [`RATE_EXCEEDED`].
    pub faults: BTreeMap<(Op, &'static str), u64>,
    /// Instances made.
    pub created: u64,
    /// Instances made by one token. The contract: never more than the slots of its first call.
    pub created_by_token: BTreeMap<Token, u64>,
    /// Instances made while another one with the same id existed.
    pub duplicates: u64,
    /// Provisions for a place of a quorum group that an instance held. All were refused.
    pub double_attach: u64,
    /// Destroys accepted, repeated ones not counted.
    pub destroyed: u64,
    /// Instances adopted, repeated calls not counted.
    pub adopted: u64,
    /// Instances changed without an interruption, repeated calls not counted.
    pub changed: u64,
    /// Instances restarted, repeated calls not counted.
    pub restarted: u64,
    /// Destroys, updates, adoptions and releases that named an instance of another owner or token. All were refused.
    pub foreign_touches: u64,
    /// Provisions, updates and destroys with an epoch below one seen before for the group.
    pub stale_epochs: u64,
    /// The most instances that existed at once, of every owner.
    pub peak: usize,
    /// The most instances of a group that existed at once, ending ones included.
    pub peak_by_group: BTreeMap<GroupName, usize>,
    /// The latest calls, oldest first, at most [`CALLS_REMEMBERED_MAX`].
    pub log: VecDeque<Call>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When.
    pub at: Timestamp,
    /// Which operation.
    pub op: Op,
    /// What it named: the fleet for a listing, else instances.
    pub subject: String,
    /// How it ended for the caller.
    pub outcome: Result<(), ErrorClass>,
}

impl Stats {
    /// Returns how many calls of `op` there were.
    pub fn calls_of(&self, op: Op) -> u64 {
        self.calls.get(&op).copied().unwrap_or(0)
    }

    pub(crate) fn hit(&mut self, op: Op, fault: &'static str) {
        *self.faults.entry((op, fault)).or_default() += 1;
    }

    pub(crate) fn record(&mut self, call: Call) {
        *self.calls.entry(call.op).or_default() += 1;
        if let Err(class) = call.outcome {
            *self.failures.entry((call.op, class)).or_default() += 1;
        }
        if self.log.len() == CALLS_REMEMBERED_MAX {
            self.log.pop_front();
        }
        self.log.push_back(call);
    }
}
