//! Flavors that are programs of their own: what they are asked, and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    Attachment, CheckOutcome, ErrorClass, FlavorName, GroupName, InstanceId, IntentId, MemberId,
    ProviderRef, Value,
};

use crate::ProviderError;

/// One flavor plugin of a template, for one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct FlavorCall {
    /// Which plugin.
    pub name: FlavorName,
    /// The plugin's own properties, a map, with the facts of the instance filled in.
    pub properties: Value,
}

/// What an instance is to become, as flavors before this one have left it.
#[derive(Debug, Clone, PartialEq)]
pub struct FlavorSpec {
    /// The provider's properties, a map. `${instance.address}` and `${members}` stand in them as they are written.
    pub properties: Value,
    /// The tags. Those that say who owns an instance are not among them.
    pub tags: BTreeMap<String, String>,
}

/// Which instances a group has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocation {
    /// So many, which are interchangeable.
    Size(u32),
    /// The members of a quorum.
    Members(Vec<MemberId>),
}

/// Which instance is prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlavorIndex {
    /// Its group.
    pub group: GroupName,
    /// The number in its id, which no other instance of the group ever has.
    pub number: u64,
    /// Whose place it takes in a quorum group.
    pub member: Option<MemberId>,
}

/// One question to a flavor plugin: what to make of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct FlavorRequest {
    /// The flavor.
    pub flavor: FlavorCall,
    /// What there is so far.
    pub spec: FlavorSpec,
    /// The group.
    pub allocation: Allocation,
    /// The instance.
    pub index: FlavorIndex,
    /// The instances that there are, which it may have to join.
    pub cluster: Arc<ClusterView>,
}

/// One instance of a group, as a flavor that keeps a cluster is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMember {
    /// Its name.
    pub instance: InstanceId,
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// Whose place it takes in a quorum group.
    pub member: Option<MemberId>,
    /// Its address, where it has one.
    pub address: Option<String>,
    /// Whether it runs, as its provider says. Whether it works is another question.
    pub running: bool,
}

/// How a newcomer gets into a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterJoin {
    /// Where it can ask: the addresses of those that run, who leads first. Empty: it is the first one.
    pub addresses: Vec<String>,
    /// The names of the variables in its environment that hold secrets, such as a token to join with. Never their
    /// values: those are read when the provider is called, and nobody else sees them.
    pub secrets: BTreeSet<String>,
}

/// The instances of a group as one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Those that the provider listed, in the order of their names.
    pub members: Vec<ClusterMember>,
    /// Who leads, as the flavor said last, or else an instance's own check. None: nobody knows.
    pub leader: Option<InstanceId>,
    /// How a newcomer gets in.
    pub join: ClusterJoin,
}

impl ClusterView {
    /// Returns the view of these instances, in which the one that leads is asked first.
    pub fn new(mut members: Vec<ClusterMember>, leader: Option<InstanceId>) -> Self {
        members.sort_by(|one, other| one.instance.cmp(&other.instance));
        let leads = |member: &ClusterMember| Some(&member.instance) == leader.as_ref();
        let mut able: Vec<&ClusterMember> = members.iter().filter(|one| one.running).collect();
        // Stable: the others stay in the order of their names.
        able.sort_by_key(|member| !leads(member));
        let addresses = able.into_iter().filter_map(|member| member.address.clone());
        Self {
            join: ClusterJoin {
                addresses: addresses.collect(),
                secrets: BTreeSet::new(),
            },
            members,
            leader,
        }
    }

    /// Returns the same view for an instance whose environment holds these secrets.
    #[must_use]
    pub fn with_secrets(&self, names: BTreeSet<String>) -> Self {
        let mut view = self.clone();
        view.join.secrets = names;
        view
    }
}

/// How a cluster is, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterHealth {
    /// It can spare one member.
    Healthy,
    /// It works, or not, and cannot spare one.
    Degraded {
        /// What is wrong, for people.
        why: String,
    },
    /// Nobody knows, which is never the same as being well.
    Unknown {
        /// Why not, for people.
        why: String,
    },
}

/// What a flavor says of the cluster that it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterReport {
    /// How it is.
    pub health: ClusterHealth,
    /// Who leads, where the flavor says.
    pub leader: Option<ProviderRef>,
}

/// What a flavor plugin makes of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct FlavorPrepared {
    /// The init that is this flavor's own; empty: none.
    pub init: String,
    /// The tags from then on, those of the request among them or not.
    pub tags: BTreeMap<String, String>,
    /// The provider's properties from then on. None: the plugin leaves them as they are.
    pub properties: Option<Value>,
    /// What this flavor attaches: it is told of nothing that others do.
    pub attachments: Vec<Attachment>,
}

/// An instance, as a flavor plugin is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FlavorInstance {
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// Whose place it takes in a quorum group.
    pub member: Option<MemberId>,
    /// Its tags: those of its template, those that plugins gave it, and who owns it.
    pub tags: BTreeMap<String, String>,
    /// The provider's properties, as its template has them.
    pub properties: Value,
}

/// What the flavor plugins of an instance's template are asked about it.
#[derive(Debug, Clone, PartialEq)]
pub struct FlavorSubject {
    /// The plugins, in order.
    pub flavors: Vec<FlavorCall>,
    /// The instance.
    pub instance: FlavorInstance,
}

/// Asks flavor plugins.
///
/// # Guarantees
///
/// Asking makes, changes and ends nothing that drover knows of. A plugin may answer differently each time: who needs
/// the same answer twice writes it down.
///
/// # Assumptions
///
/// - The facts of an instance are filled in before its flavors are asked, and no value of a secret is in what they are asked.
/// - Flavors are asked in the order of the template, each with what those before it made of the instance.
/// - A drain that has no answer is told again for the same intent, and by the group's agent only.
/// - The caller may drop each call before its limit.
///
/// # Errors
///
/// `InvalidSpec`: the plugin refused, or answered what cannot be honoured. `Unknown`: it did not answer, or not in a
/// way that can be read. Other classes are those that the plugin said. Each error names the plugin and the call.
#[async_trait]
pub trait Flavors: Send + Sync + fmt::Debug {
    /// Asks what to make of an instance, for at most `limit`.
    ///
    /// # Errors
    ///
    /// See the trait.
    ///
    /// # Cancellation
    ///
    /// A dropped future leaves nothing behind; the plugin may go on with what it was asked.
    async fn prepare(
        &self,
        request: &FlavorRequest,
        limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError>;

    /// Asks whether an instance does its work, for at most `limit`. A plugin that cannot be asked, or does not know,
    /// leaves it unknown, which says nothing of the instance.
    ///
    /// # Cancellation
    ///
    /// As [`prepare`](Self::prepare).
    async fn healthy(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        limit: Duration,
    ) -> CheckOutcome;

    /// Tells a plugin to move work off an instance that is about to end, and waits for its answer for at most `limit`.
    /// `drain` is the intent that it is told for: a call that takes longer goes on, and the next one for the same
    /// intent joins it.
    ///
    /// # Errors
    ///
    /// See the trait. None of them says that the instance is not drained.
    ///
    /// # Cancellation
    ///
    /// The plugin goes on, and so does the call.
    async fn drain(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        drain: IntentId,
        limit: Duration,
    ) -> Result<(), ProviderError>;

    /// Asks how the cluster is that the instances of `group` are, for at most `limit`. None: the flavor keeps none,
    /// which is what the default says of every flavor. While it is anything but healthy, drover takes nothing out of
    /// service that it need not.
    ///
    /// # Cancellation
    ///
    /// As [`prepare`](Self::prepare).
    async fn cluster_health(
        &self,
        _flavor: &FlavorCall,
        _group: &GroupName,
        _view: &ClusterView,
        _limit: Duration,
    ) -> Option<ClusterReport> {
        None
    }
}

/// Has no plugins, and says why.
#[derive(Debug, Clone)]
pub struct NoFlavors {
    why: String,
}

impl NoFlavors {
    /// Refuses everything with `why`.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }

    fn refusal(&self, flavor: &FlavorCall) -> ProviderError {
        let message = format!("flavor plugin {}: {}", flavor.name, self.why);
        ProviderError::new(ErrorClass::InvalidSpec, message)
    }
}

#[async_trait]
impl Flavors for NoFlavors {
    async fn prepare(
        &self,
        request: &FlavorRequest,
        _limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        Err(self.refusal(&request.flavor))
    }

    async fn healthy(
        &self,
        flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _limit: Duration,
    ) -> CheckOutcome {
        let why = self.refusal(flavor).message;
        CheckOutcome::Unknown { why }
    }

    async fn drain(
        &self,
        flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _drain: IntentId,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        Err(self.refusal(flavor))
    }
}
