//! The audit log's own file on the state branch, `audit.json`: each commit about a group or the
//! fleet's documents replaces it by an entry that names the entry before it, the commit's message, and
//! every file that the commit writes. So the entries are a hash chain of their own: it survives that
//! commits which are not published yet are repeated on a newer tip, and it names the place where
//! somebody took one out.
//!
//! Commits that only take the lease have no entry: they go to the published tip, past what waits here.

use std::collections::BTreeMap;

use drover_model::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::recorder::{Recorder, RecorderError, StateCommit};
use crate::source::hex;

mod follow;
mod verify;

pub use verify::{
    AuditCommit, Auditor, Checked, CommitKind, Problem, ProblemKind, Proof, ReadError, ReadFile,
};

/// Where the latest entry is on the state branch.
pub const AUDIT_FILE: &str = "audit.json";

/// What the file says it is.
const KIND: &str = "AuditEntry";

/// The version of the entry's format.
const FORMAT: u64 = 1;

const API_VERSION: &str = "drover/v1alpha1";

/// What a commit on the state branch says about itself, for who checks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditEntry {
    api_version: String,
    kind: String,
    format: u64,
    /// The agent's name.
    pub agent: String,
    /// The agent's version.
    pub version: String,
    /// Counts the entries of the branch, from 1.
    pub sequence: u64,
    /// The digest of the entry before, as a file. None: this is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The agent's epoch.
    pub epoch: u64,
    /// When the commit was made, in whole seconds.
    pub time: String,
    /// The group. None: it is about the fleet's documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The digest of the commit's message, without white space at its end.
    pub message: String,
    /// The digests of the files that the commit writes, by path. None: it removes the file.
    pub files: BTreeMap<String, Option<String>>,
    /// What was done since the group's commit before, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<AuditStep>,
    /// Steps that are counted only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_steps: u64,
    /// How many steps were done.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub done: u64,
    /// How many steps failed, or may have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// What the last plan of a group was made from, where the commit removes the group's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_inputs: Option<String>,
}

/// One step that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditStep {
    /// The verb, such as `create`.
    pub step: String,
    /// The instances.
    pub instances: Vec<String>,
    /// Why, such as `scaleOut`.
    pub cause: String,
    /// `Done`, `Failed` or `Unknown`.
    pub result: String,
    /// What was said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why an entry cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A newer version of drover wrote it.
    #[error("the entry has format {found}, and this version of drover knows {FORMAT}")]
    Newer {
        /// Its format.
        found: u64,
    },
    /// It is not an entry.
    #[error("the entry cannot be read: {message}")]
    Unreadable {
        /// What is wrong.
        message: String,
    },
}

/// What tells versions and other files apart.
#[derive(Deserialize)]
struct Envelope {
    kind: String,
    format: u64,
}

impl AuditEntry {
    /// Reads the file's content.
    ///
    /// # Errors
    ///
    /// See [`AuditError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, AuditError> {
        let unreadable = |error: serde_json::Error| AuditError::Unreadable {
            message: error.to_string(),
        };
        let Envelope { kind, format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if kind != KIND {
            let message = format!("it is of kind {kind:?}");
            return Err(AuditError::Unreadable { message });
        }
        if format > FORMAT {
            return Err(AuditError::Newer { found: format });
        }
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("texts and numbers encode");
        bytes.push(b'\n');
        bytes
    }
}

/// Returns the digest by which entries name messages and files.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn message_digest(message: &str) -> String {
    digest(message.trim_end().as_bytes())
}

/// Who writes entries.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) agent: String,
    pub(crate) version: String,
    pub(crate) epoch: u64,
}

/// What an entry says about the work behind a commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    pub(crate) group: Option<String>,
    pub(crate) steps: Vec<AuditStep>,
    pub(crate) more_steps: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) last_inputs: Option<String>,
}

/// The end of the chain, to which entries are added.
#[derive(Debug)]
pub(crate) struct Chain {
    sequence: u64,
    previous: Option<String>,
}

impl Chain {
    /// Finds the latest entry, ours included that are not published yet.
    pub(crate) fn read(recorder: &mut dyn Recorder) -> Result<Self, RecorderError> {
        let bytes = recorder.read(AUDIT_FILE)?;
        // One that cannot be read is named all the same: who checks the log finds it.
        let entry = bytes.as_deref().map(AuditEntry::decode);
        Ok(Self {
            sequence: entry.map_or(0, |entry| entry.map_or(0, |entry| entry.sequence)),
            previous: bytes.as_deref().map(digest),
        })
    }

    /// Adds the entry of a commit to it.
    pub(crate) fn seal(&mut self, commit: &mut StateCommit, author: &Author, work: Work) {
        let Work {
            group,
            steps,
            more_steps,
            done,
            failed,
            last_inputs,
        } = work;
        let files = commit.files.iter();
        let files = files.map(|(path, content)| (path.clone(), content.as_deref().map(digest)));
        self.sequence += 1;
        let seconds = Timestamp::from_second(commit.at.as_second());
        let entry = AuditEntry {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            format: FORMAT,
            agent: author.agent.clone(),
            version: author.version.clone(),
            sequence: self.sequence,
            previous: self.previous.take(),
            epoch: author.epoch,
            time: drover_spec::format_time(seconds.expect("a time's own seconds are in range")),
            group,
            message: message_digest(&commit.message),
            files: files.collect(),
            steps,
            more_steps,
            done,
            failed,
            last_inputs,
        };
        let bytes = entry.encode();
        self.previous = Some(digest(&bytes));
        commit.files.push((AUDIT_FILE.to_owned(), Some(bytes)));
    }
}

/// Returns whether a commit would change nothing, its entry aside.
pub(crate) fn changes_nothing(
    recorder: &mut dyn Recorder,
    commit: &StateCommit,
) -> Result<bool, RecorderError> {
    for (path, content) in &commit.files {
        if !recorder.has(path, content.as_deref())? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
