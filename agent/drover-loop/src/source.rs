//! Where the desired state comes from: a trait over one branch, and what it can fail with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use drover_model::{Approvals, ChangeId, GroupName, Revision, Timestamp};

use crate::operations::RefusedOperation;

mod fetch;
mod git;
mod history;

pub(crate) use fetch::{Fetched, Fetcher, InForce};
pub use fetch::{PassedDocument, Snapshot};
pub(crate) use git::hex;
pub use git::{GitSource, PathRule, SharedRefs, SourceFiles, Verification, VerifyMode, chain};
pub use history::Writers;
pub(crate) use history::{Blind, Identity};

/// One branch of one repository, read from its commits and never from a work tree.
///
/// All calls block and are bounded in time by the implementation. None of them changes anything at
/// the remote.
pub trait Source: Send + fmt::Debug {
    /// Returns which part of which branch this is.
    fn place(&self) -> SourcePlace;

    /// Returns the branch's tip: one ref listing.
    fn poll(&mut self) -> Result<Revision, SourceError>;

    /// Makes the tree of a commit that [`poll`](Self::poll) returned readable, and lists it.
    fn tree(&mut self, revision: &Revision) -> Result<SourceTree, SourceError>;

    /// Returns the files of the commit in force, which whoever has them tells what that is. None: nobody needs them.
    fn files_in_force(&self) -> Option<SourceFiles> {
        None
    }

    /// Returns whether who signed a commit may change what differs from the commit in force; everything counts as
    /// different where none is. Asked before a document of it is read.
    fn vouch(
        &mut self,
        _revision: &Revision,
        _in_force: Option<&Revision>,
    ) -> Result<(), SourceError> {
        Ok(())
    }

    /// Returns the files that commits after `in_force` up to `revision` wrote, newest first. None: they are too many
    /// to look at.
    fn written_since(
        &mut self,
        revision: &Revision,
        in_force: &Revision,
    ) -> Result<Option<Vec<Written>>, SourceError>;

    /// Returns the commits that lead to `revision` and not to `base`, newest first, with who wrote each and what it changed.
    /// Without `base`, or where that is not here any more, all that lead to `revision`. At most so many as the implementation
    /// looks through; by itself it knows none.
    fn history(
        &mut self,
        _revision: &Revision,
        _base: Option<&Revision>,
    ) -> Result<History, SourceError> {
        Ok(History::default())
    }

    /// Returns the content of a file that one of the other calls listed.
    fn read(&mut self, oid: &str) -> Result<Vec<u8>, SourceError>;

    /// Returns every name of whoever signed a commit, as far as anybody knows whose the key is. None: that cannot be told.
    fn signers(&mut self, _revision: &Revision) -> Result<Option<Vec<String>>, SourceError> {
        Ok(Some(Vec::new()))
    }

    /// Returns whether `of` is `ancestor` or descends from it.
    fn descends(&mut self, of: &Revision, ancestor: &Revision) -> Result<bool, SourceError>;
}

/// A change that waits for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The group.
    pub group: GroupName,
    /// The change.
    pub change: ChangeId,
    /// The commit that asks for it.
    pub revision: Revision,
    /// The file with the group's document, from the configuration's root on; where it was, if the group is removed.
    pub path: Option<String>,
}

/// What people decided about changes: signed with their keys, or on the Git host.
pub trait Operations: Send + fmt::Debug {
    /// Returns every approval and rejection that holds. `awaited`: the changes that wait for some, for who must be asked
    /// about each. Blocks, for a time that the implementation bounds; asked once per pass, after the source.
    fn approvals(
        &mut self,
        awaited: &[Awaited],
        now: Timestamp,
    ) -> Result<Arc<Approvals>, SourceError>;

    /// Returns what was read and does not count, as of the latest [`approvals`](Self::approvals).
    fn refused(&self) -> Vec<RefusedOperation> {
        Vec::new()
    }
}

/// Which part of which branch is followed. A document that is missing under another place than
/// before was not removed by anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePlace {
    /// The name of a branch or tag, or the id of a commit, in full.
    pub branch: String,
    /// The folder inside the repository, empty for all of it.
    pub path: String,
}

/// The tree of one commit, below the place's path, without what is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTree {
    /// The commit.
    pub commit: SourceCommit,
    /// The documents.
    pub files: Vec<SourceFile>,
    /// What should have been read and was not.
    pub refused: Vec<RefusedFile>,
    /// A digest of the ignore rules as written, in hexadecimal; of nothing where there are none.
    pub ignore_digest: String,
    /// Lines of the ignore file that do not parse, with the reason.
    pub ignore_mistakes: Vec<(usize, String)>,
    /// Whether everything was listed. A listing cut off by a limit must not look like a removal.
    pub complete: bool,
}

/// The facts of a commit that policies may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCommit {
    /// Its id.
    pub revision: Revision,
    /// The author, as `Name <address>`.
    pub author: String,
    /// The first line of the message.
    pub subject: String,
    /// The trailers, the last of each name.
    pub trailers: BTreeMap<String, String>,
    /// When it was committed.
    pub time: Timestamp,
    /// Who signed it, or the tag that stands for it. None: nobody has to, and nobody was asked.
    pub signer: Option<String>,
}

/// One document of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFile {
    /// The path below the place's path.
    pub path: String,
    /// The id of its content.
    pub oid: String,
}

/// A file as a commit wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The commit.
    pub revision: Revision,
    /// The file.
    pub file: SourceFile,
}

/// Commits, and who wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The commits, newest first.
    pub commits: Vec<Authored>,
    /// Whether these are all.
    pub complete: bool,
}

/// One commit, and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authored {
    /// Its id.
    pub revision: Revision,
    /// Its author and whoever else it names as one, each as `Name <address>`.
    pub authors: Vec<String>,
    /// What differs from each of its parents. None: anything may.
    pub against: Option<Vec<Vec<FileChange>>>,
}

/// A file that differs between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The path below the place's path.
    pub path: String,
    /// The id of its content before. None: it was not there.
    pub before: Option<String>,
    /// The id of its content after. None: it is not there any more.
    pub after: Option<String>,
}

/// A file that was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFile {
    /// The path below the place's path.
    pub path: String,
    /// Why, for people.
    pub why: String,
}

/// Why the source cannot be used now. In every case what is in force stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It could not be asked: what else is in the same repository cannot be read either.
    #[error("{message}")]
    Unreachable {
        /// What happened, cleaned of credentials.
        message: String,
    },
    /// It was asked and has answered; what is followed there cannot be brought or read.
    #[error("{message}")]
    Unreadable {
        /// What happened, cleaned of credentials.
        message: String,
    },
    /// The branch does not exist.
    #[error("branch {branch} does not exist: {}", instead(others))]
    BranchMissing {
        /// Its name.
        branch: String,
        /// Branches that the repository has, without drover's own.
        others: Vec<String>,
    },
    /// No branch and no tag leads to the commit that is followed.
    #[error("no branch and no tag of the repository has commit {commit}")]
    CommitMissing {
        /// Its id.
        commit: String,
    },
    /// The repository has no commits at all.
    #[error("the repository is empty: push a branch")]
    Emptied,
    /// The path does not exist at the commit.
    #[error("path {path:?} does not exist at {}", revision.short())]
    PathMissing {
        /// The path.
        path: String,
        /// The commit.
        revision: Revision,
    },
    /// The tip does not descend from what is in force.
    #[error("history was rewritten: {tip} does not descend from {}, which is in force; if that is meant: `drover reconcile --accept-rewrite {tip}`", applied.short())]
    Rewritten {
        /// What is in force.
        applied: Revision,
        /// The tip.
        tip: Revision,
    },
    /// The commit has no documents, although groups are in force.
    #[error("{} has no documents at all", revision.short())]
    NoDocuments {
        /// The commit.
        revision: Revision,
    },
    /// The repository has more than the limits allow, so part of it was not read.
    #[error("{} has more files than the limits allow, so part of it was not read", revision.short())]
    Truncated {
        /// The commit.
        revision: Revision,
    },
    /// The commit is not signed by anybody who counts.
    #[error("{} is not acted on: {why}", revision.short())]
    Unverified {
        /// The commit.
        revision: Revision,
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

/// Most branches that are named where the one that is followed is missing.
const OTHERS_SHOWN: usize = 3;

/// Says what there is where a branch is not.
fn instead(others: &[String]) -> String {
    let shown = others.iter().take(OTHERS_SHOWN);
    let shown: Vec<String> = shown.map(|branch| format!("`{branch}`")).collect();
    match others.len().saturating_sub(OTHERS_SHOWN) {
        0 if shown.is_empty() => "the repository has no branch yet, push one".to_owned(),
        0 => format!("the repository has {} (`source.branch`)", shown.join(", ")),
        more => format!("the repository has {} and {more} more", shown.join(", ")),
    }
}

impl SourceError {
    /// Returns the condition reason, one PascalCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "SourceUnreachable",
            Self::Unreadable { .. } => "SourceUnreadable",
            Self::BranchMissing { .. } => "BranchMissing",
            Self::CommitMissing { .. } => "CommitMissing",
            Self::Emptied => "SourceEmptied",
            Self::PathMissing { .. } => "PathMissing",
            Self::Rewritten { .. } => "SourceRewritten",
            Self::NoDocuments { .. } => "NoDocuments",
            Self::Truncated { .. } => "SourceTooLarge",
            Self::Unverified { .. } => "SourceUnverified",
            Self::Internal { .. } => "InternalError",
        }
    }
}
