//! Executor of drover: carries out plan steps through providers and keeps the journal.
//!
//! It decides nothing. Which instances are made or ended, in which order and why, is the plan's; this
//! crate knows neither Git, nor policies, nor the formats of documents. It does know how to survive:
//! what is about to be done is durable before it is done, so that a crash at any point leaves an
//! intent which the next pass follows up.
//!
//! Entry points: [`apply`] (one plan), [`advance_drains`] (drains in progress), [`Prober`] (health
//! checks) and [`Journal`] with [`RedbJournal`] and [`MemoryJournal`].
//!
//! **Invariant:** no provider makes or ends an instance without a durable intent in state `Sent`.
//!
//! **Invariant:** a request that is repeated is identical to the first one, down to the epoch.
//!
//! **Invariant:** `begin` requests of a drain are sent at most once, whatever happens in between.

mod drains;
mod executor;
mod flavors;
mod journal;
mod prober;
mod reach;
mod requests;
mod rosters;
#[cfg(test)]
mod testing;
mod unanswered;

pub use drains::{DrainsAdvanced, advance_drains};
pub use executor::{ApplyContext, ApplyReport, Brake, Skip, StepOutcome, StepResult, Stop, apply};
pub use flavors::flavor_subject;
pub use journal::{
    Attempted, DirLock, Disposition, FailWrites, Journal, JournalChange, JournalError,
    MemoryJournal, RedbJournal, Reply, write_journal,
};
pub use prober::{ProbeTarget, Prober};
pub use reach::{HealthSource, Network, Reach};
pub use requests::{Answer, Trouble};
pub use rosters::{ROSTER_CHANGE_LIMIT, ROSTER_READ_LIMIT, RosterOrder, Rosters};
pub use unanswered::remember_unanswered;
