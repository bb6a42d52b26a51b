//! Where recorded state is published: a trait over one branch of files, written by compare-and-swap.

use std::fmt;

use drover_model::{Revision, Timestamp};

use crate::lease::Lease;

mod anchor;
mod git;
mod vouch;

pub use anchor::{ANCHOR_FILE, Anchor, Rewrite};
pub use git::{GitRecorder, GitRecorderOptions};

/// The file of the fleet's documents on the state branch: policies, bindings and providers.
pub const FLEET_FILE: &str = "fleet.yaml";

/// The state branch of one agent. All calls block and are bounded in time by the implementation.
///
/// **Invariant:** a commit is never empty, and nothing is ever forced.
pub trait Recorder: Send + fmt::Debug {
    /// Looks at the published branch, at the cost of one ref listing at most.
    fn look(&mut self) -> Result<(), RecorderError>;

    /// Returns whether what the branch has, as the latest [`look`](Self::look) saw it, may be taken up by an agent that knows
    /// nothing else. `accepted`: a commit that a person answers for, with all that it rests on. Returns the published tip
    /// where the branch is believed for that alone. The next [`swap`](Self::swap) goes onto what was looked at here or onto
    /// nothing. Where nobody's signature is asked for, all is believed.
    fn vouch(&mut self, _accepted: Option<&Revision>) -> Result<Option<Revision>, RecorderError> {
        Ok(None)
    }

    /// Returns a file of the published branch, as the latest [`look`](Self::look) saw it.
    fn published(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError>;

    /// Returns the newest content of a file: our own commits included that are not published yet.
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError>;

    /// Returns the paths of the files below `folder`, our own commits included.
    fn list(&mut self, folder: &str) -> Result<Vec<String>, RecorderError>;

    /// Returns whether the newest content of a file is `content`: our own commits included.
    fn has(&mut self, path: &str, content: Option<&[u8]>) -> Result<bool, RecorderError> {
        Ok(self.read(path)?.as_deref() == content)
    }

    /// Publishes `commit` at once if the published content of `path` is `expected`. Ours that wait
    /// stay waiting.
    fn swap(
        &mut self,
        path: &str,
        expected: Option<&[u8]>,
        commit: &StateCommit,
    ) -> Result<Swap, RecorderError>;

    /// Adds commits to those that wait, one on top of the other and durably: all of them or, on an
    /// error, none. Many at once are much cheaper than one by one. Returns for each whether it
    /// changes anything; one that does not is left out.
    fn commit(&mut self, commits: &[StateCommit]) -> Result<Vec<bool>, RecorderError>;

    /// Returns how many commits wait.
    fn pending(&self) -> usize;

    /// Returns what keeps the branch's newest commit here, also when the branch is deleted, and how a person takes it
    /// away. None: nothing does.
    fn kept(&self) -> Result<Option<String>, RecorderError> {
        Ok(None)
    }

    /// Publishes what waits, if that is due and the published content of `guard.path` is still ours.
    fn publish(
        &mut self,
        now: Timestamp,
        guard: &Guard<'_>,
        when: PublishWhen,
    ) -> Result<PublishResult, RecorderError>;
}

/// A file that proves that nobody else took over.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// The file.
    pub path: &'a str,
    /// What it must hold, where it exists.
    pub content: &'a [u8],
}

impl Guard<'_> {
    /// Returns whether the file as it is found proves it: it is as it was, or somebody asks whether its holder lives.
    pub fn holds(&self, found: &[u8]) -> bool {
        found == self.content
            || match (Lease::decode(found), Lease::decode(self.content)) {
                (Ok(found), Ok(own)) => found.instance == own.instance && found.epoch == own.epoch,
                (Err(_), _) | (_, Err(_)) => false,
            }
    }
}

/// Whether to wait for a quiet moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishWhen {
    /// As the push budget says.
    Due,
    /// Now: the agent ends, or a person waits.
    Now,
}

/// How a publication went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishResult {
    /// Nothing waits.
    Nothing,
    /// It is not due yet.
    Waits {
        /// When it will be.
        until: Timestamp,
    },
    /// So many commits are published now.
    Pushed {
        /// How many.
        commits: usize,
    },
    /// Somebody else holds the guard.
    Fenced,
}

/// How a compare-and-swap went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The commit is published.
    Done,
    /// The file holds something else.
    Differs {
        /// What it holds.
        found: Option<Vec<u8>>,
    },
}

/// One commit on the state branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCommit {
    /// Subject, body and trailers.
    pub message: String,
    /// The files by path. None: removed.
    pub files: Vec<(String, Option<Vec<u8>>)>,
    /// When.
    pub at: Timestamp,
}

/// Why the state branch cannot be used now. The local store goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecorderError {
    /// The remote could not be asked, or others were faster every time.
    #[error("{message}")]
    Unreachable {
        /// What happened, cleaned of credentials.
        message: String,
    },
    /// The remote declined.
    #[error("{message}")]
    Refused {
        /// What it said.
        message: String,
    },
    /// A file of the branch is larger than any that an agent writes.
    #[error("{message}")]
    TooLarge {
        /// Which.
        message: String,
    },
    /// What the branch has is not signed by anybody who counts.
    #[error(
        "commit {commit} is not believed: {why}; if this agent's own work leads to it: `drover reconcile --accept-state {tip}`"
    )]
    Untrusted {
        /// The newest commit that is not.
        commit: Revision,
        /// The branch's tip.
        tip: Revision,
        /// Why not.
        why: String,
    },
    /// A mistake in drover.
    #[error("internal error: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}
