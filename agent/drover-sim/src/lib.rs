//! Simulator of drover: virtual clock, simulated fleet, seeded faults.
//!
//! It runs the agent's own stages (classify, plan, lint, apply) against a simulated provider on a
//! clock that only moves when it is told to, and checks the planner's invariants after every pass. It
//! knows neither Git nor documents: a simulation is given parsed groups.
//!
//! Entry points: [`Simulation`] (one group, step by step), [`walk`] (a random life of a group, from a
//! seed) and [`walk_all`] (many of them, on all cores).
//!
//! **Invariant:** the same seed gives the same simulation, call by call.

mod clock;
pub mod fleet;
mod invariants;
mod members;
mod random;
mod rosters;
mod script;
mod simulation;
mod specs;
mod walk;

pub use clock::VirtualClock;
pub use invariants::Violation;
pub use random::Random;
pub use rosters::{Ground, RosterFault, Running, SimRosters};
pub use script::{ScriptError, replay};
pub use simulation::{Pass, Simulation, SimulationError};
pub use specs::{
    classes, dynamic_group, group, quorum_group, set_members, template, template_with,
};
pub use walk::{Tally, WalkOptions, WalkUntil, Walked, Walks, walk, walk_all};
