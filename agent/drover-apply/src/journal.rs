//! The journal: what the agent is about to do, durable before it is done, and what it must remember.
//!
//! [`Journal::submit`] is the one way to change it: a list of [`JournalChange`]s that takes effect as a
//! whole, answered once it is durable. Writers that come while a commit is under way share the next
//! one, so a thousand groups do not wait for a thousand disk flushes.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use drover_model::{
    Epoch, GroupName, Intent, IntentId, IntentKind, IntentState, Settlement, Timestamp,
};

mod disk;
mod encoding;
mod lock;
mod memory;
mod state;
#[cfg(test)]
mod tests;

pub use disk::RedbJournal;
pub use lock::DirLock;
pub use memory::{FailWrites, MemoryJournal};

/// The write-ahead journal of one agent.
///
/// # Guarantees
///
/// - A write that was answered with `Ok` survives a crash of the process and of the machine.
/// - A write that was answered with an error either took effect as a whole or not at all, and which
///   of the two it was is what later reads show.
/// - Reads of intents and numbers show durable writes only.
/// - The largest instance number of a group is kept for ever, also when its intents are settled.
pub trait Journal: Send + Sync + fmt::Debug {
    /// Returns the intents of `group` that are not settled, oldest first.
    fn open_intents(&self, group: &GroupName) -> Result<Vec<Intent>, JournalError>;

    /// Returns the groups that have open intents.
    fn groups(&self) -> Result<BTreeSet<GroupName>, JournalError>;

    /// Returns the largest instance number that was ever intended for `group`; 0 if none was.
    fn last_number(&self, group: &GroupName) -> Result<u64, JournalError>;

    /// Returns the blob at `key`.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, JournalError>;

    /// Returns the keys of blobs that start with `prefix`, in order.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, JournalError>;

    /// Makes `changes` durable as a whole and then calls `reply`, from any thread, with the ids of
    /// the intents appended. An empty list tells whether the journal can be written.
    fn submit(&self, changes: Vec<JournalChange>, reply: Reply);

    /// Does what [`submit`](Self::submit) does and waits for it. Blocks the thread for a disk flush:
    /// in async code use [`write_journal`].
    fn commit(&self, changes: Vec<JournalChange>) -> Result<Vec<IntentId>, JournalError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let reply = move |result| {
            // A caller that went away has nobody to tell.
            let _ = sender.send(result);
        };
        self.submit(changes, Box::new(reply));
        receiver.recv().unwrap_or(Err(JournalError::Closed))
    }

    /// Appends intents of one group, each in state `Intended`. Durable when it returns.
    fn append(
        &self,
        group: &GroupName,
        epoch: Epoch,
        at: Timestamp,
        kinds: Vec<IntentKind>,
    ) -> Result<Vec<IntentId>, JournalError> {
        let intended = |kind| (kind, IntentState::Intended);
        self.commit(vec![JournalChange::Append {
            group: group.clone(),
            epoch,
            at,
            intents: kinds.into_iter().map(intended).collect(),
        }])
    }

    /// Records how far an intent has come.
    fn advance(&self, id: IntentId, state: IntentState) -> Result<(), JournalError> {
        self.commit(vec![JournalChange::Advance { id, state }])
            .map(drop)
    }

    /// Records how far a drain has come.
    fn update_drain(&self, id: IntentId, begun: bool, done: bool) -> Result<(), JournalError> {
        self.commit(vec![JournalChange::UpdateDrain { id, begun, done }])
            .map(drop)
    }

    /// Closes intents. One that is closed already stays so.
    fn settle(&self, settlements: &[Settlement]) -> Result<(), JournalError> {
        self.commit(vec![JournalChange::Settle(settlements.to_vec())])
            .map(drop)
    }

    /// Stores blobs as a whole; `None` removes one.
    fn put(&self, entries: &[(String, Option<Vec<u8>>)]) -> Result<(), JournalError> {
        self.commit(vec![JournalChange::Put(entries.to_vec())])
            .map(drop)
    }

    /// Returns whether the journal can be written. After a failed write this tries again, so that the
    /// agent goes on by itself once there is room on the disk; otherwise it costs nothing.
    fn check(&self) -> Result<(), JournalError> {
        self.commit(Vec::new()).map(drop)
    }
}

/// Takes the answer to a write: the ids of the intents that it appended, in order. Called by the thread
/// that writes, so it must not wait for another write.
pub type Reply = Box<dyn FnOnce(Result<Vec<IntentId>, JournalError>) + Send>;

/// One change of the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum JournalChange {
    /// Appends intents of one group.
    Append {
        /// The group.
        group: GroupName,
        /// The epoch of the agent.
        epoch: Epoch,
        /// When they are written.
        at: Timestamp,
        /// What is to be done, and how far that has come.
        intents: Vec<(IntentKind, IntentState)>,
    },
    /// Records how far an intent has come.
    Advance {
        /// The intent.
        id: IntentId,
        /// Its new state.
        state: IntentState,
    },
    /// Records what the provider said to a call of an intent, which left open what came of it.
    Say {
        /// The intent.
        id: IntentId,
        /// Its words.
        said: String,
    },
    /// Records how far a drain has come.
    UpdateDrain {
        /// The intent.
        id: IntentId,
        /// Whether `begin` is about to be, or was, sent.
        begun: bool,
        /// Whether the work is off.
        done: bool,
    },
    /// Closes intents.
    Settle(Vec<Settlement>),
    /// Stores or removes blobs.
    Put(Vec<(String, Option<Vec<u8>>)>),
}

/// Makes `changes` durable without blocking the thread. See [`Journal::submit`].
///
/// # Cancellation
///
/// A dropped future does not take the write back: it becomes durable, or not, unobserved.
pub async fn write_journal(
    journal: &dyn Journal,
    changes: Vec<JournalChange>,
) -> Result<Vec<IntentId>, JournalError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let reply = move |result| {
        let _ = sender.send(result);
    };
    journal.submit(changes, Box::new(reply));
    receiver.await.unwrap_or(Err(JournalError::Closed))
}

/// Why the journal could not be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Another agent uses the data directory.
    #[error("data directory {} is in use by {}", dir.display(), Holder(*pid))]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, where it could be read.
        pid: Option<u32>,
    },
    /// The journal was written by a newer version of drover.
    #[error("journal {} has format {found}, this version of drover reads formats up to {supported}", path.display())]
    NewerFormat {
        /// The journal's file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The newest format that this version reads.
        supported: u64,
    },
    /// The file is damaged. It is never replaced by an empty one.
    #[error("journal {} is damaged: {what}", path.display())]
    Damaged {
        /// The journal's file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file system refused.
    #[error("cannot {attempted} {}", path.display())]
    Storage {
        /// What was attempted.
        attempted: Attempted,
        /// On what.
        path: PathBuf,
        /// What was said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// An intent that is not open was to be changed.
    #[error("intent {0} is not open")]
    UnknownIntent(IntentId),
    /// An intent that is no drain was to be changed as one.
    #[error("intent {0} is not a drain")]
    NotADrain(IntentId),
    /// An agent with a later epoch has written intents of the group.
    #[error("group {group} is held with epoch {held}, this agent has epoch {ours}")]
    EpochBehind {
        /// The group.
        group: GroupName,
        /// The largest epoch in the journal.
        held: Epoch,
        /// The epoch of the write.
        ours: Epoch,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// What was attempted on the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// Making the data directory or the journal in it.
    Create,
    /// Taking the lock.
    Lock,
    /// Opening the journal.
    Open,
    /// Reading it.
    Read,
    /// Writing it.
    Write,
}

impl fmt::Display for Attempted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Lock => "lock",
            Self::Open => "open journal",
            Self::Read => "read journal",
            Self::Write => "write journal",
        })
    }
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The next pass tries again.
    Retry,
    /// Only a person can help.
    NeedsOperator,
}

impl JournalError {
    /// Returns what to do about the error.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Storage { .. } | Self::UnknownIntent(_) | Self::NotADrain(_) => {
                Disposition::Retry
            }
            Self::Locked { .. }
            | Self::NewerFormat { .. }
            | Self::Damaged { .. }
            | Self::EpochBehind { .. }
            | Self::Closed => Disposition::NeedsOperator,
        }
    }
}
