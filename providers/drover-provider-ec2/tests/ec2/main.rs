//! Tests of the EC2 provider over the real SDK: against a double of EC2 in this folder, and against moto.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose surroundings fail has nothing better to do than to say so"
)]

mod adoption;
mod agent;
mod conformance;
mod credentials;
mod describing;
mod fake;
mod infrakit;
mod launches;
mod moto;
mod observing;
mod places;
mod program;
mod proxy;
mod published;
mod reclaims;
mod scaling;
mod scaling_agent;
mod steady;
mod support;
mod taking_over;
mod zones;
