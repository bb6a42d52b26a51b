//! Tests of the public interface: one binary, against real repositories and a real Git server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests too, which clippy does not see"
)]

mod daemon;
mod environment;
mod history;
mod hostile;
mod local;
mod nginx;
mod packs;
mod remote;
mod signatures;
mod ssh;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod tls;
