//! The vocabulary of drover: ids, quantities, desired groups, observations, recorded state, plans.
//!
//! This crate knows no I/O, no async runtime, no serialisation format and no clock: a time is always
//! a value that somebody passes in. Formats belong to `drover-spec`, choices to `drover-plan`.
//!
//! Entry points: [`GroupSpec`] (what a person asked for), [`Listing`] (what a provider reports),
//! [`RecordedGroup`] (what the agent last committed), [`Decisions`] (what policies said) and
//! [`Plan`] (what will be done about it).
//!
//! **Invariant:** every id is parsed once, at the border, and cannot hold an invalid value after that.

mod adopt;
mod approval;
mod calendar;
mod cloud_init;
mod counted;
mod cron;
mod decision;
mod digest;
mod document;
mod drift;
mod flavor;
mod group;
mod health;
mod hold;
mod id;
mod keep;
mod metric;
mod observed;
mod order;
mod outage;
mod peers;
mod placement;
mod plan;
mod quantity;
mod quorum;
mod recorded;
mod report;
mod roster;
mod scaling;
mod secret;
mod span;
mod suspend;
mod value;
mod window;

pub use adopt::*;
pub use approval::*;
pub use calendar::*;
pub use cloud_init::*;
pub use counted::*;
pub use cron::*;
pub use decision::*;
pub use digest::*;
pub use document::*;
pub use drift::*;
pub use flavor::*;
pub use group::*;
pub use health::*;
pub use hold::*;
pub use id::*;
pub use jiff::Timestamp;
pub use keep::*;
pub use metric::*;
pub use observed::*;
pub use order::*;
pub use outage::*;
pub use peers::*;
pub use placement::*;
pub use plan::*;
pub use quantity::*;
pub use quorum::*;
pub use recorded::*;
pub use report::*;
pub use roster::*;
pub use scaling::*;
pub use secret::*;
pub use span::*;
pub use suspend::*;
pub use value::*;
pub use window::*;
