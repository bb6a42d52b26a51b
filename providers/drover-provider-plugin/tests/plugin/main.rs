//! The plugin host against a plugin of InfraKit's kind that misbehaves on order.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose surroundings fail has nothing better to do than to say so"
)]

mod adopting;
mod fake;
mod faults;
mod flavors;
mod garbage;
mod groups;
mod half_tagged;
mod handshake;
mod liars;
mod memory;
mod python;
mod records;
mod replay;
mod reused;
mod served_lag;
mod served_tags;
mod serving;
mod suite;
mod support;
mod surveys;
mod taking_over;
mod unclaimed;
mod words;
