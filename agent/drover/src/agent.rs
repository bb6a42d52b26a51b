//! The agent: `drover run`, and everything that talks to it.

mod assemble;
pub(crate) mod client;
mod locks;
mod metrics;
mod notices;
mod outcome;
mod progress;
pub(crate) mod protocol;
mod run;
mod serve;
mod services;
mod socket;
mod status;
mod watch;
mod webhook;

pub(crate) use assemble::{Assembled, UNDRAWN, assemble, random};
pub(crate) use progress::AroundBars;
pub(crate) use run::run;
