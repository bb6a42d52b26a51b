//! A simulated provider: instances in memory, with seeded faults. The reference implementation of
//! the contract in [`drover_provider`].
//!
//! It knows nothing of groups, rollouts or Git, and no clock: [`SimWorld`] is a synchronous value
//! that gets the time with each call, so that a simulation decides when things happen.
//!
//! Entry points: [`SimWorld`] (the state, its faults and its counts), [`SimProvider`] (the same
//! behind the provider trait) and [`SimFactory`] (the type `simulated` for users).
//!
//! **Invariant:** the same settings, faults and calls at the same times give the same answers.
//! **Invariant:** without a fault that says so, the world keeps the provider contract.

mod bucket;
mod effects;
mod factory;
mod fault;
mod instance;
mod provider;
mod rng;
mod settings;
mod stats;
mod strangers;
mod world;

pub use factory::{SimFactory, configure, properties_schema};
pub use fault::{Fault, FaultKind, Op};
pub use instance::{Behavior, Blueprint, Origin, SimInstance, Stop, Which};
pub use provider::SimProvider;
pub use rng::of_text;
pub use settings::{Bucket, Share, SimSettings, Throttle};
pub use stats::{CALLS_REMEMBERED_MAX, Call, RATE_EXCEEDED, Stats};
pub use world::{Foreign, Reply, SimWorld};
