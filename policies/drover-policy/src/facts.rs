//! What decisions are made from: everything that policies may know about one group in one pass.

use std::collections::BTreeMap;

use drover_model::{
    Classified, Difference, Drift, Group, GroupName, GroupPhase, GroupSpec, HealthSignals,
    InstanceId, Numbers, Readings, RecordedGroup, Revision, Timestamp,
};

/// Everything that policies may know about one group in one pass.
#[derive(Debug, Clone, Copy)]
pub struct GroupFacts<'a> {
    /// The time of the pass.
    pub now: Timestamp,
    /// The document that is asked for.
    pub group: &'a Group,
    /// The specification in force. None: the group is new.
    pub old: Option<&'a GroupSpec>,
    /// The labels in force: a change is judged by the bindings that select the group by them, too, or a label would be all
    /// that it takes to be rid of a policy. None: the group is new.
    pub labels_before: Option<&'a BTreeMap<String, String>>,
    /// The numbers of the pass.
    pub numbers: &'a Numbers,
    /// The recorded state.
    pub recorded: &'a RecordedGroup,
    /// The instances. None: nothing was observed yet, so a policy that reads them errs and holds.
    pub classified: Option<&'a Classified>,
    /// The commit that the document comes from.
    pub source: &'a SourceFacts,
    /// Every group of the fleet by name, as last recorded.
    pub groups: &'a BTreeMap<GroupName, GroupSummary>,
    /// What came of asking for metrics. One that is not among them is not ok.
    pub readings: &'a Readings,
    /// What `health` and `drift` are asked about. None: nothing was observed yet.
    pub early: Option<&'a EarlyFacts>,
    /// What `drift` said.
    pub drift: &'a Drift,
}

/// What `health` and `drift` are asked about, before everything else.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EarlyFacts {
    /// What is known of each running instance's health.
    pub signals: BTreeMap<InstanceId, HealthSignals>,
    /// The differences between the templates that instances have and those that they may get.
    pub differences: Vec<Difference>,
}

/// A commit as policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// The commit.
    pub revision: Revision,
    /// Its author, as `name <address>`. Not verified: whoever may push may write anything here.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// The trailers of its message; of several with one name, the last.
    pub trailers: BTreeMap<String, String>,
    /// Who signed it, by the agent's own list; empty where nobody has to, or nobody was asked.
    pub signer: String,
}

/// Another group as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSummary {
    /// The size in force.
    pub size: u32,
    /// Available instances.
    pub available: u32,
    /// Instances of any kind.
    pub total: u32,
    /// Available instances of the group's target template.
    pub updated: u32,
    /// Where the group stands.
    pub phase: GroupPhase,
}
