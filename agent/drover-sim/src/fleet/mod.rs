//! A whole fleet on a virtual clock: the real agent, from its source to its state branch, over
//! simulated providers.
//!
//! [`simulate`] starts an agent at one commit, pushes another, and watches until every group has come
//! to rest. Nothing of the agent is copied or left out: the same passes classify, decide, review,
//! plan, lint, apply and record. What is replaced is what surrounds it, and only that: Git, the
//! providers, the network to instances, the journal's disk, and the clock.

mod flavors;
mod found;
mod git;
mod outcome;
mod people;
mod run;
mod scenario;
mod secrets;
mod track;
mod worlds;

pub use outcome::{Counts, End, Event, GroupOutcome, HoldSpan, Low, Outcome, Sample, Weight};
pub use run::{FleetError, simulate};
pub use scenario::{Commit, Kill, Outage, RecordedStart, Scenario, Span, Timing, WhatIf};
pub use track::short;

#[cfg(test)]
mod tests;
