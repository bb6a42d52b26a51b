//! Real processes under the process provider. Each test has a folder of its own and ends with every
//! process of it gone.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod changing;
mod contract;
mod ending;
mod harness;
mod making;
mod places;
mod surviving;
