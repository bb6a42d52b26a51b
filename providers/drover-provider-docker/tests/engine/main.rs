//! Containers of a real engine: Podman's API service, one for all tests of this program.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod asking;
mod contract;
mod ending;
#[path = "../support/engine.rs"]
#[allow(dead_code, reason = "the tests of the whole agent use more of it")]
mod engine;
mod finishing;
mod harness;
mod making;
mod pulling;
#[path = "../support/registry.rs"]
mod registry;
mod sharing;
