//! What the agent's socket carries: HTTP with JSON, between two programs of one version or nearly so.
//!
//! Groups travel as the text that is recorded in Git, so that there is one encoding of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The name of the socket in the data folder.
pub(crate) const SOCKET: &str = "agent.sock";

/// The longest that a request for news waits, in seconds; then the same state is sent again.
pub(crate) const WAIT_MAX_S: u64 = 30;

/// Everything that the read commands show.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateReply {
    /// Grows with every change of the state.
    pub(crate) serial: u64,
    /// The agent.
    pub(crate) status: Status,
    /// The recorded state of every group, as it stands in Git.
    pub(crate) groups: BTreeMap<String, String>,
    /// The recorded policies, bindings and providers, as they stand in Git.
    pub(crate) fleet: Option<String>,
}

/// Which state a client has already.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StateQuery {
    /// Wait until the serial is larger than this.
    pub(crate) after: Option<u64>,
}

/// The agent itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) fleet: String,
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) mode: String,
    pub(crate) epoch: u64,
    pub(crate) started_at: String,
    pub(crate) source: SourceStatus,
    pub(crate) state: StateStatus,
    pub(crate) holds: Vec<String>,
    /// Instances that belong to no group.
    #[serde(default)]
    pub(crate) orphans: Vec<OrphanStatus>,
    /// The metrics that policies read.
    #[serde(default)]
    pub(crate) metrics: Vec<MetricStatus>,
    /// Signed operations that do not count.
    #[serde(default)]
    pub(crate) refused_operations: Vec<RefusedOperation>,
    /// Why operations cannot be read.
    #[serde(default)]
    pub(crate) operations_error: Option<String>,
    /// Why the latest listing of a provider failed, by its document's name.
    #[serde(default)]
    pub(crate) provider_errors: BTreeMap<String, String>,
    /// What is known of providers, by their documents' names.
    #[serde(default)]
    pub(crate) providers: BTreeMap<String, ProviderReply>,
    pub(crate) pass: Option<PassStatus>,
}

/// What an agent knows of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProviderReply {
    /// When it was listed last.
    pub(crate) listed_at: Option<String>,
    /// Since when it cannot be.
    pub(crate) failing_since: Option<String>,
    /// Why.
    pub(crate) error: Option<String>,
}

/// A signed operation that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedOperation {
    /// Its file on the operations branch.
    pub(crate) path: String,
    /// A word for programs.
    pub(crate) reason: String,
    /// Why, for people.
    pub(crate) why: String,
}

/// A metric that policies read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricStatus {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) ok: bool,
    pub(crate) value: Option<f64>,
    /// Age of the value in seconds; also of one that is too old.
    pub(crate) age_s: Option<f64>,
    /// Why it is not ok.
    pub(crate) why: Option<String>,
}

/// An instance that carries the fleet's tags and belongs to no group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrphanStatus {
    pub(crate) instance: String,
    pub(crate) group: String,
    pub(crate) provider: String,
    pub(crate) provider_ref: String,
    /// When it was made, where the provider says so.
    pub(crate) created_at: Option<String>,
    /// When the running agent first saw it.
    pub(crate) first_seen: String,
}

/// The source repository.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceStatus {
    pub(crate) url: String,
    pub(crate) branch: String,
    /// The commit in force.
    pub(crate) revision: Option<String>,
    /// Seconds since 1970 of the last successful look.
    pub(crate) last_success_s: Option<i64>,
    /// What the last look failed with.
    pub(crate) error: Option<String>,
}

/// The state branch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateStatus {
    pub(crate) branch: String,
    /// Commits that are not pushed yet.
    pub(crate) pending: u64,
    /// Seconds since 1970 of the oldest of them.
    pub(crate) pending_since_s: Option<i64>,
    /// What the last push failed with.
    pub(crate) error: Option<String>,
}

/// The latest pass.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PassStatus {
    pub(crate) number: u64,
    pub(crate) finished_at: String,
    pub(crate) duration_ms: u64,
    pub(crate) steps: u64,
    pub(crate) error: Option<String>,
}

/// Freezes, or lifts the freeze.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct FreezeRequest {
    /// Only this group. None: every group.
    pub(crate) group: Option<String>,
    /// Why, for everyone who wonders.
    pub(crate) because: Option<String>,
}

/// Lets the source's history be another one, or what the state branch has be taken up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accept {
    /// The commit that is then followed or taken up, by its full id.
    pub(crate) commit: String,
    /// Who says so, for the record. None: whoever may use the socket.
    pub(crate) by: Option<String>,
}

/// Takes the instances of a group of which nothing is recorded for its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AcceptInstances {
    /// The group.
    pub(crate) group: String,
    /// Who says so, for the record. None: whoever may use the socket.
    pub(crate) by: Option<String>,
}

/// Whose output is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogsQuery {
    pub(crate) instance: String,
    pub(crate) lines: usize,
}

/// Why a request failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// For people.
    pub(crate) error: String,
}
