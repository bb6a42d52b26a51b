//! Recorded state as YAML, for the state branch: readable by people, restored exactly by the agent.
//!
//! The same state always gives the same bytes, and a line changes only where the state did, so that
//! a commit's diff is worth reading. What is derived (a hold's message) is written for people and
//! ignored when read.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{AcceptedDocument, Kind, RecordedGroup, Revision};

mod decode;
mod encode;
mod hold;
mod inputs;
mod json;
mod read;
mod write;

pub use inputs::{
    DesiredInputs, PlanInputs, PlanOutcome, ProviderInputs, decode_inputs, encode_inputs,
};
pub(crate) use write::{MapOf, document, flow_scalar};

/// The version of the recorded formats. A change that an older agent would misread raises it.
pub const FORMAT: u64 = 1;

/// Why a recorded state cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not YAML, or beyond the limits.
    #[error("the recorded state cannot be read, line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
    /// It is some other document.
    #[error("expected a recorded {expected}, found {found}")]
    Kind {
        /// The kind that was asked for.
        expected: &'static str,
        /// What the document says.
        found: String,
    },
    /// A newer version of drover wrote it.
    #[error(
        "the recorded state has format {found}, and this version of drover knows {known}: use the newer version that wrote it"
    )]
    Newer {
        /// Its format.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// A field is missing, unknown or wrong.
    #[error("the recorded state is damaged, line {line}: `{path}` {message}")]
    Field {
        /// The line, from 1.
        line: u32,
        /// The field, such as `rollout.target`.
        path: String,
        /// What is wrong.
        message: String,
    },
}

/// Documents by kind and name.
pub type FleetDocuments = BTreeMap<(Kind, String), AcceptedDocument>;

/// The last good version of every document that is no group's: what stays in force while the
/// repository has a mistake, also over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedFleet {
    /// The commit of the repository that was read last. None: none ever was.
    pub revision: Option<Revision>,
    /// The last good text of every Policy, Binding and Provider document, and of the Fleet's.
    pub documents: FleetDocuments,
    /// The documents of earlier sets of policies that still judge what came into being under them, oldest first.
    pub earlier: Vec<FleetDocuments>,
    /// A rewritten history that was accepted, in the record that is the first to tell of it.
    pub accepted_rewrite: Option<AcceptedRewrite>,
    /// Commits of which documents of groups were in force when a rewritten history was accepted: it need not have them.
    pub left_behind: BTreeSet<Revision>,
}

/// A history that does not descend from what was in force, and that a person accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedRewrite {
    /// Its tip.
    pub revision: Revision,
    /// The commit that was in force.
    pub replaced: Revision,
    /// Who accepted it, by their own word.
    pub by: String,
}

/// Encodes the recorded state of a group.
pub fn encode(group: &RecordedGroup) -> String {
    write::document(&encode::group(group))
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
///
/// [`RecordError::Newer`] for a format that this version does not know; the other variants for what
/// `encode` would not have written.
pub fn decode(text: &str) -> Result<RecordedGroup, RecordError> {
    let root = read::root(text, encode::GROUP_KIND)?;
    decode::group(&read::Reader::root(&root))
}

/// Writes a value as YAML in block style, quoted wherever any reader might see something else.
pub fn to_yaml(value: &drover_model::Value) -> String {
    write::document(&write::Yaml::value(value))
}

/// Encodes the recorded state of a fleet.
pub fn encode_fleet(fleet: &RecordedFleet) -> String {
    write::document(&encode::fleet(fleet))
}

/// Decodes what [`encode_fleet`] wrote.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_fleet(text: &str) -> Result<RecordedFleet, RecordError> {
    let root = read::root(text, encode::FLEET_KIND)?;
    decode::fleet(&read::Reader::root(&root))
}

#[cfg(test)]
mod tests;
