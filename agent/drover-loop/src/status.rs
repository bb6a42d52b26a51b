//! What the agent tells about itself: the report of a pass, and a snapshot for the command line, the
//! API and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    AgentName, Change, Decisions, Epoch, FieldChange, FleetName, Group, GroupName, GroupPhase,
    Held, MetricName, Numbers, RecordedGroup, Revision, Timestamp,
};
use drover_spec::Diagnostic;

use crate::members::Membership;
use crate::metrics::MetricStatus;
use crate::operations::RefusedOperation;
use crate::orphans::Orphan;
use crate::source::{SourceCommit, SourcePlace};

/// What one pass did.
#[derive(Debug, Clone)]
pub struct PassReport {
    /// The pass's number since the agent started, from 1.
    pub pass: u64,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The commit in force. None: none ever was.
    pub revision: Option<Revision>,
    /// The groups.
    pub groups: BTreeMap<GroupName, Arc<GroupReport>>,
    /// What holds for the whole agent.
    pub holds: Vec<Held>,
    /// Everything that is wrong with the documents of the commit that was last read.
    pub diagnostics: Arc<Vec<Diagnostic>>,
    /// Commits made on the state branch.
    pub commits: usize,
    /// Calls that changed something at a provider.
    pub mutations: usize,
    /// Groups that were planned in this pass. The others' plans would say the same again.
    pub planned: usize,
    /// When to make another pass even if nothing happens. None: at the next interval.
    pub wake_at: Option<Timestamp>,
    /// The same without the looks at what may have happened, for those who know that it has not.
    pub timer_at: Option<Timestamp>,
    /// Groups whose work, or whose listing, goes on beside this pass.
    pub unfinished: usize,
}

/// What one pass did about one group.
#[derive(Debug, Clone, Default)]
pub struct GroupReport {
    /// Where the group stands. None: nothing is in force and nothing exists.
    pub phase: Option<GroupPhase>,
    /// The numbers of the plan.
    pub numbers: Numbers,
    /// The steps, with what became of them.
    pub steps: Vec<StepReport>,
    /// Why something that should be done is not done.
    pub holds: Vec<Held>,
    /// What is wrong with the group's document.
    pub diagnostics: Vec<Diagnostic>,
    /// A mistake in drover, or a time limit, that ended the group's pass.
    pub error: Option<String>,
    /// Whether the group was planned in this pass, or in an earlier one from the same inputs with
    /// nothing to do. False: something is in the way of planning, or its work is still under way.
    pub planned: bool,
    /// When to plan again even if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// The same without the looks at what may have happened: when time alone changes something.
    pub timer_at: Option<Timestamp>,
}

/// One step as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// The verb, such as `create`.
    pub verb: &'static str,
    /// Why, such as `scaleOut`.
    pub cause: &'static str,
    /// The instances.
    pub instances: Vec<String>,
    /// What became of it.
    pub result: StepFate,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepFate {
    /// Planned only: this is a dry run.
    Planned,
    /// Done.
    Done,
    /// Not begun.
    Skipped(String),
    /// Refused or failed.
    Failed(String),
    /// Nobody knows whether it took effect.
    Unknown(String),
}

/// The agent at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentStatus {
    /// The agent's name.
    pub agent: AgentName,
    /// The fleet.
    pub fleet: FleetName,
    /// The epoch. Zero: the lease is not taken yet.
    pub epoch: Epoch,
    /// The source.
    pub source: SourceStatus,
    /// What people with a key asked.
    pub operations: OperationsStatus,
    /// The state branch.
    pub write_back: WriteBackStatus,
    /// The providers in use, by the document's name.
    pub providers: BTreeMap<String, ProviderStatus>,
    /// Instances that carry the fleet's tags and belong to no group that anybody knows.
    pub orphans: Vec<Orphan>,
    /// The metrics that policies in force read.
    pub metrics: BTreeMap<MetricName, MetricStatus>,
    /// The groups.
    pub groups: BTreeMap<GroupName, Arc<GroupStatus>>,
    /// What holds for the whole agent.
    pub holds: Vec<Held>,
    /// Everything that is wrong with the documents of the commit that was last read.
    pub diagnostics: Arc<Vec<Diagnostic>>,
    /// The latest pass. None: none has ended yet.
    pub pass: Option<Arc<PassReport>>,
}

impl AgentStatus {
    /// Returns the status of an agent that knows nothing yet.
    pub(crate) fn new(agent: &AgentName, fleet: &FleetName) -> Self {
        Self {
            agent: agent.clone(),
            fleet: fleet.clone(),
            epoch: Epoch(0),
            source: SourceStatus::default(),
            operations: OperationsStatus::default(),
            write_back: WriteBackStatus::default(),
            providers: BTreeMap::new(),
            orphans: Vec::new(),
            metrics: BTreeMap::new(),
            groups: BTreeMap::new(),
            holds: Vec::new(),
            diagnostics: Arc::default(),
            pass: None,
        }
    }
}

impl SourceStatus {
    /// Returns the status of a source that was not asked yet.
    pub(crate) fn new(place: SourcePlace) -> Self {
        Self {
            branch: place.branch,
            path: place.path,
            ..Self::default()
        }
    }
}

/// The source at one moment.
#[derive(Debug, Clone, Default)]
pub struct SourceStatus {
    /// The branch.
    pub branch: String,
    /// The folder.
    pub path: String,
    /// The commit in force.
    pub commit: Option<SourceCommit>,
    /// When the source was last asked with success.
    pub asked_at: Option<Timestamp>,
    /// Why it cannot be used, as a condition's reason and a message.
    pub failure: Option<(&'static str, String)>,
}

/// What people with a key asked and does not count, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationsStatus {
    /// What does not count, the oldest first.
    pub refused: Vec<RefusedOperation>,
    /// Why nothing new can be read. What was said before stays said.
    pub failure: Option<String>,
}

/// The state branch at one moment.
#[derive(Debug, Clone, Default)]
pub struct WriteBackStatus {
    /// Commits that wait to be pushed, and groups that wait for a commit.
    pub pending: usize,
    /// How long the oldest of them has waited.
    pub lag: Duration,
    /// When something was last published.
    pub published_at: Option<Timestamp>,
    /// Commits made since the agent started.
    pub commits: u64,
    /// Why the latest attempt failed.
    pub failure: Option<String>,
}

/// A provider at one moment.
#[derive(Debug, Clone)]
pub struct ProviderStatus {
    /// The type.
    pub type_: String,
    /// When it was last listed with success.
    pub listed_at: Option<Timestamp>,
    /// Why it cannot be opened or listed.
    pub failure: Option<String>,
    /// Since when.
    pub failing_since: Option<Timestamp>,
    /// Whether there is a scope to list. Without, each of its groups has a hold that says why.
    pub is_open: bool,
    /// Instances that carry the fleet's tag in part, or another's: never touched.
    pub foreign: usize,
}

/// A group at one moment.
#[derive(Debug, Clone)]
pub struct GroupStatus {
    /// What is recorded about it.
    pub recorded: Arc<RecordedGroup>,
    /// The document in force. None: none ever was.
    pub group: Option<Arc<Group>>,
    /// What the latest pass did about it.
    pub report: Arc<GroupReport>,
    /// The newer document that the source has and that is not in force, as written.
    pub wanted: Option<Arc<str>>,
    /// The change in progress.
    pub change: Option<Arc<Change>>,
    /// The change that policies or people withhold.
    pub withheld: Option<Arc<Change>>,
    /// The fields of the template that the one that is withheld is about, or else the one in progress.
    pub differing: Arc<[FieldChange]>,
    /// The latest decisions.
    pub decisions: Arc<Decisions>,
    /// The published membership. None: not published by this process yet.
    pub members: Option<Arc<Membership>>,
}
