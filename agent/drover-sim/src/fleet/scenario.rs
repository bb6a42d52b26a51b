//! What a fleet simulation is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_loop::SourcePlace;
use drover_model::{
    AgentName, FleetName, GroupName, ProviderName, RecordedGroup, Revision, Signer, Timestamp,
};
use drover_provider::{Manifest, ObjectSchema};
use drover_provider_sim::{Op, Share, Throttle};

/// Everything that a fleet simulation rests on: equal values give equal outcomes.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The fleet's name.
    pub fleet: FleetName,
    /// The agent's name.
    pub agent: AgentName,
    /// The branch that is followed.
    pub place: SourcePlace,
    /// What the fleet has converged at. Not used with a recorded start.
    pub base: Commit,
    /// What is pushed.
    pub head: Commit,
    /// What is pushed later: how long after the head, each on top of the one before.
    pub then: Vec<(Duration, Commit)>,
    /// Begins with what an agent recorded instead of a fleet converged at the base.
    pub recorded: Option<RecordedStart>,
    /// The provider types that documents name; a simulated world stands in for each.
    pub types: Vec<Manifest>,
    /// What `template.properties` may hold where a Provider document's program says more than its type.
    pub properties: BTreeMap<ProviderName, ObjectSchema>,
    /// When the head is pushed.
    pub at: Timestamp,
    /// The longest time after that.
    pub horizon: Duration,
    /// Where chances come from.
    pub seed: u64,
    /// How long instances take.
    pub timing: Timing,
    /// What goes wrong.
    pub what_if: WhatIf,
}

/// One commit of a configuration repository, below the path that is followed.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id.
    pub revision: Revision,
    /// The author, as `Name <address>`.
    pub author: String,
    /// The first line of the message.
    pub subject: String,
    /// The trailers.
    pub trailers: BTreeMap<String, String>,
    /// The documents, by path.
    pub files: BTreeMap<String, String>,
}

/// What an agent recorded.
#[derive(Debug, Clone, Default)]
pub struct RecordedStart {
    /// The files of the state branch.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The groups in them.
    pub groups: BTreeMap<GroupName, RecordedGroup>,
}

/// A time that differs from instance to instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Span {
    /// Returns a span of one length.
    pub fn exactly(duration: Duration) -> Self {
        Self {
            least: duration,
            most: duration,
        }
    }

    pub(crate) fn jitter(self) -> Duration {
        self.most.saturating_sub(self.least)
    }
}

/// How long instances take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From creation until an instance runs. None: as a Provider document of the type `simulated`
    /// says, else a minute: what virtual machines take.
    pub boot: Option<Span>,
    /// From running until checks pass. None: as such a document says, else 15 s.
    pub ready: Option<Span>,
    /// From the first word of a drain until the instance says that it is done.
    pub drain: Span,
    /// From destroy until the instance is gone. None: as such a document says, else 20 s.
    pub stop: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            boot: None,
            ready: None,
            drain: Span::exactly(Duration::from_secs(15)),
            stop: None,
        }
    }
}

/// What goes wrong after the push.
#[derive(Debug, Clone, Default)]
pub struct WhatIf {
    /// Shares of the new instances that never come up.
    pub failing: Vec<Share>,
    /// The most instances that each provider has room for.
    pub capacity: Option<usize>,
    /// The rates that each provider allows.
    pub throttles: BTreeMap<Op, Throttle>,
    /// Instances that end by themselves.
    pub kills: Vec<Kill>,
    /// Zones that fail.
    pub outages: Vec<Outage>,
    /// When the agent's process is killed and started again.
    pub crashes: Vec<Duration>,
    /// Who approves whatever must be approved, as soon as it waits. Empty: nobody does.
    pub approvers: BTreeSet<Signer>,
}

/// Instances that end by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Of this group. None: of any.
    pub group: Option<GroupName>,
    /// How many.
    pub count: usize,
    /// How long after the push.
    pub after: Duration,
}

/// A zone that fails: its instances end, and until it is back none can be made there, at any provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// As `placement.zones` names it.
    pub zone: String,
    /// How long after the push.
    pub after: Duration,
    /// When it is back, after the push. None: never.
    pub until: Option<Duration>,
}
