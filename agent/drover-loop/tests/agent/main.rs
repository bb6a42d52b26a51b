#![expect(
    clippy::unwrap_used,
    reason = "a test may fail wherever something is not as it should be"
)]
//! The agent end to end: source, state branch, journal and provider in memory, on a clock that the
//! tests move; and over a real repository in `git`.

mod cloud_init;
mod harness;

mod adoption;
mod approvals;
mod audit;
mod authors;
mod claims;
mod clusters;
mod converge;
mod corpus;
mod deletion;
mod documents;
mod doubts;
mod drift;
mod driver;
mod faults;
mod first_start;
mod flavors;
mod git;
mod in_place;
mod isolation;
mod lease;
mod metrics;
mod moved;
mod orphans;
mod outage;
mod peers;
mod pending;
mod policies;
mod quiet;
mod reclaims;
mod refused;
mod renames;
mod rewound;
mod secrets;
mod signed;
mod surveys;
mod terms;
mod trust;
mod unproven;
mod wrapped;
