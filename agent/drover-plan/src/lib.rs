//! The pure planning stages of drover: [`classify`], [`change`] and [`review`], [`plan`], and the
//! plan's [`lint`].
//!
//! This crate does deliberately not know clocks, providers, Git, policies' language or the journal:
//! everything that a decision rests on is in [`ClassifyInput`] and [`PlanInput`], and the same input
//! gives the same output, byte for byte.
//!
//! Entry points, in the order of a pass: [`classify`] turns a listing, the health signals and the
//! open intents into the effective world; [`change`] says what a person reviews; [`review`] says
//! whether the verdicts let it proceed; [`plan`] decides the steps; [`lint`] checks them without
//! sharing code with the planner; [`render`] prints them for people.
//!
//! **Invariant:** planning again on the state that a plan leads to, with no new facts, gives no step.
//!
//! **Invariant:** whatever is withheld has a [`Held`](drover_model::Held) that says why.

mod allowance;
mod approval;
mod change;
mod classify;
mod heed;
mod input;
mod intents;
mod lint;
mod numbers;
mod plan;
mod report;
mod restarts;
#[cfg(test)]
mod testing;
mod time;

pub use approval::{ApprovalInput, ApprovalReview, review_approvals};
pub use change::{ChangeInput, Review, change, change_of_document, change_size, review};
pub use classify::{
    ClassifyInput, LISTING_AGE_MAX, classify, health_signals, is_announced, lister,
};
pub use heed::heed;
pub use input::{Desired, FenceScope, PlanError, PlanInput, ProviderFacts, fence_scope};
pub use lint::{LintError, lint};
pub use numbers::numbers;
pub use plan::{STEPS_MAX, differences, has_adopted, last_failure, plan, target_digests};
pub use report::render;

/// The version of the planner: it grows with every change after which a recorded input gives another
/// plan. `drover replay` says so instead of taking the change for a defect.
pub const PLANNER: u64 = 17;
