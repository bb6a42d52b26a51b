//! Process provider of drover: instances are processes of this machine.
//!
//! Each instance is a folder, and a shim: a small process of our own binary, detached from the
//! agent, that runs the instance's init script and command, keeps its log within a limit, writes
//! down how it ended, and ends it when asked. So instances outlive the agent, and an agent that
//! starts again finds them by reading the folders.
//!
//! It knows nothing of groups' sizes, health or rollouts. Linux only, 5.3 or newer: it relies on
//! `/proc`, pidfds, subreapers and the whole of 127.0.0.0/8 being local.
//!
//! Entry points: [`ProcessFactory`] for the agent, [`shim_main`] for the hidden subcommand of the
//! binary that [`ShimProgram`] names.
//!
//! **Invariant:** no signal goes to a process unless it is a child that the sender has not reaped,
//! or was identified through a pidfd opened before it was looked at. A pid alone is never enough.
//! **Invariant:** a folder under its final name is whole, and says who owns the instance.
//! **Invariant:** one folder starts at most once, whoever asks, and however often.
//! **Invariant:** what is attached to a member's place is used by the processes of one instance only: they
//! hold the place's lock, every one of them, from before the first is started until the last has ended.

#[cfg(not(target_os = "linux"))]
compile_error!("drover's process provider needs Linux: it relies on /proc, pidfds and subreapers");

mod address;
mod describe;
mod factory;
mod folder;
mod life;
mod log;
mod place;
mod process;
mod provider;
mod record;
mod shim;
mod spawn;
mod supervise;

pub use factory::{ProcessFactory, ShimProgram};
pub use provider::ProcessProvider;
pub use shim::shim_main;
