//! What random lives went through, counted.

use std::collections::BTreeMap;
use std::fmt;

use drover_provider_sim::Stats;

/// What walks went through, in sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lives that were lived to their end.
    pub seeds: u64,
    /// Passes made, those in peace counted.
    pub passes: u64,
    /// Steps of plans that were carried out.
    pub steps: u64,
    /// Instances made.
    pub created: u64,
    /// Instances ended by the agent.
    pub destroyed: u64,
    /// Instances restarted with changed fields.
    pub restarted: u64,
    /// Instances whose fields were changed without an interruption.
    pub changed: u64,
    /// What happened to agent, provider and instances, and how often: whom, and what. Of calls those are
    /// counted that were hit, not those that could have been.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.passes += other.passes;
        self.steps += other.steps;
        self.created += other.created;
        self.destroyed += other.destroyed;
        self.restarted += other.restarted;
        self.changed += other.changed;
        for (kind, count) in &other.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
    }

    pub(super) fn count(&mut self, who: &'static str, what: &'static str) {
        *self.faults.entry((who, what)).or_default() += 1;
    }

    /// Takes over what the provider counted in one life.
    pub(super) fn close(&mut self, stats: &Stats) {
        self.seeds = 1;
        self.created = stats.created;
        self.destroyed = stats.destroyed;
        self.restarted = stats.restarted;
        self.changed = stats.changed;
        for ((op, fault), count) in &stats.faults {
            *self.faults.entry((op.as_str(), *fault)).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} passes, {} steps carried out, {} instances made, {} ended, {} restarted, {} changed live",
            self.seeds,
            self.passes,
            self.steps,
            self.created,
            self.destroyed,
            self.restarted,
            self.changed
        )?;
        let all: u64 = self.faults.values().sum();
        writeln!(f, "{all} faults and changes:")?;
        for ((who, what), count) in &self.faults {
            writeln!(f, "{count:>10}  {who}: {what}")?;
        }
        Ok(())
    }
}
