//! What the planner is given.

use std::collections::BTreeMap;

use drover_model::{
    AcceptedDocument, Classified, Decisions, Epoch, FieldClass, FleetName, Group, GroupName,
    GroupSpec, Held, Hold, Intent, OutageMode, Peers, ProviderName, ProviderType, Recommendation,
    RecordedGroup, Revision, RosterView, Timestamp, Value,
};

/// What the planner knows of a group's provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderFacts {
    /// The Provider document's name.
    pub name: ProviderName,
    /// Its type.
    pub type_: ProviderType,
    /// Its settings, recorded so that a deletion can use them.
    pub settings: Value,
    /// The class of each property; one that is not listed is replaced for.
    pub classes: BTreeMap<String, FieldClass>,
    /// Most slots in one provision call, at least 1.
    pub batch_max: u32,
}

/// What should become of a group.
#[derive(Debug, Clone, Copy)]
pub enum Desired<'a> {
    /// It should be as the document says.
    Present {
        /// The parsed document.
        group: &'a Group,
        /// The same document as written.
        document: &'a AcceptedDocument,
    },
    /// Its document was removed.
    Deleting {
        /// The last accepted specification.
        spec: &'a GroupSpec,
        /// The commit that removed it.
        revision: &'a Revision,
    },
}

impl<'a> Desired<'a> {
    /// Returns the specification that is planned with.
    pub fn spec(&self) -> &'a GroupSpec {
        match *self {
            Self::Present { group, .. } => &group.spec,
            Self::Deleting { spec, .. } => spec,
        }
    }
}

/// Everything that a plan rests on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// The time of the pass.
    pub now: Timestamp,
    /// The fleet, for the tokens.
    pub fleet: &'a FleetName,
    /// The agent's epoch.
    pub epoch: Epoch,
    /// What should become of the group.
    pub desired: Desired<'a>,
    /// Its provider.
    pub provider: &'a ProviderFacts,
    /// Its observation.
    pub classified: &'a Classified,
    /// Its open intents, the same that were classified with.
    pub intents: &'a [Intent],
    /// The membership list of its program, where the agent changes it. None: nobody was asked.
    pub roster: Option<&'a RosterView>,
    /// Its recorded state. `next_number` must be above every number that the journal has seen.
    pub recorded: &'a RecordedGroup,
    /// What policies decided.
    pub decisions: &'a Decisions,
    /// What the size policy asked for lately, as the last plan left it. Empty where that is lost: then
    /// the size in force is what it asked for.
    pub recommendations: &'a [Recommendation],
    /// Digests of the policies and bindings that judge the group, by name: part of the change.
    pub policies: &'a BTreeMap<String, String>,
    /// What a group must know of the others.
    pub peers: &'a Peers,
    /// What the loop knows to be in the way; [`fence_scope`] says what each of them withholds.
    pub fences: &'a [Held],
}

impl PlanInput<'_> {
    /// Returns the group that is planned.
    pub fn group(&self) -> &GroupName {
        &self.recorded.name
    }
}

/// What a hold withholds when the loop passes it as a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FenceScope {
    /// Nothing: it says why a newer document is not in force, and what is in force goes on.
    Notice,
    /// Voluntary disruptions: everything but `heal`, `interruption` and `delete`.
    Voluntary,
    /// Taking what serves out of service so that a successor can be made.
    Replacement,
    /// Making instances of templates that need what it names.
    Creation,
    /// Every step that changes something outside.
    Everything,
}

/// Returns what `hold` withholds when it is a fence.
#[expect(clippy::too_many_lines, reason = "one arm per hold, nothing to split")]
pub fn fence_scope(hold: &Hold) -> FenceScope {
    match hold {
        Hold::SpecInvalid { .. }
        | Hold::PolicyDenied(_)
        | Hold::ApprovalNeeded(_)
        | Hold::ApprovalRejected(_)
        | Hold::PolicyFailed(_)
        | Hold::ProviderChanged { .. }
        | Hold::SizingChanged
        | Hold::DeletionUnconfirmed { .. }
        | Hold::RenameUnconfirmed { .. }
        | Hold::Protected
        | Hold::SourceUnavailable { .. }
        | Hold::AdoptedSurplus { .. }
        | Hold::AdoptionUnknown { .. }
        | Hold::StrayInstances { .. }
        | Hold::DuplicateInstances { .. }
        | Hold::EndRefused { .. }
        | Hold::ChangeRefused { .. }
        | Hold::DestroyLimit { .. }
        | Hold::FleetDestroyLimit { .. } => FenceScope::Notice,
        Hold::ClockStepped
        | Hold::GateClosed(_)
        | Hold::ClusterDegraded { .. }
        | Hold::ClusterUnknown { .. } => FenceScope::Voluntary,
        Hold::LaunchesRefused { .. } => FenceScope::Replacement,
        Hold::SecretUnresolved { .. } => FenceScope::Creation,
        Hold::SourceOutage { mode, .. } => outage_scope(*mode),
        Hold::ObservationPartial { .. }
        | Hold::ObservationStale
        | Hold::ObservationEmptied { .. }
        | Hold::ProviderFailed { .. }
        | Hold::ProviderMissing { .. }
        | Hold::Suspended { .. }
        | Hold::Frozen { .. }
        | Hold::ObserveOnly
        | Hold::OwnerStillActs { .. }
        | Hold::OwnerUnproven { .. }
        | Hold::AdoptionContested { .. }
        | Hold::AdoptionRefused { .. }
        | Hold::StrangersMissing { .. }
        | Hold::Adopting { .. }
        | Hold::BudgetByPolicy(_)
        | Hold::ProtectedByPolicy(_)
        | Hold::PlaceForbidden(_)
        | Hold::AnalysisPending(_)
        | Hold::WindowClosed { .. }
        | Hold::BudgetExhausted { .. }
        | Hold::FleetBudgetExhausted { .. }
        | Hold::ProtectedInstance { .. }
        | Hold::KeptInstance { .. }
        | Hold::DependencyNotReady { .. }
        | Hold::CreateLimit { .. }
        | Hold::DestroyRate { .. }
        | Hold::SurgeExhausted { .. }
        | Hold::AvailabilityFloor { .. }
        | Hold::FirstBatch { .. }
        | Hold::RolloutWindow { .. }
        | Hold::RolloutPaused(_)
        | Hold::Quarantined(_)
        | Hold::CanaryHold { .. }
        | Hold::Checkpoint { .. }
        | Hold::Bake
        | Hold::Partition { .. }
        | Hold::MaxAction { .. }
        | Hold::UpdateRefused { .. }
        | Hold::NotProactive { .. }
        | Hold::LaunchBackoff { .. }
        | Hold::HealBudget { .. }
        | Hold::Systemic { .. }
        | Hold::AllUnknown
        | Hold::ZonesCooling { .. }
        | Hold::ScalingStabilized { .. }
        | Hold::ScalingRate { .. }
        | Hold::TotalLimit { .. }
        | Hold::QuorumAtRisk { .. }
        | Hold::QuorumUnsettled { .. }
        | Hold::MembershipUnclear { .. }
        | Hold::QuorumUnproven { .. }
        | Hold::DrainTimeout
        | Hold::NumbersExhausted { .. }
        | Hold::UnknownOutcomes { .. }
        | Hold::JournalUnavailable { .. }
        | Hold::EpochConflict { .. }
        | Hold::StateUntrusted { .. } => FenceScope::Everything,
    }
}

fn outage_scope(mode: OutageMode) -> FenceScope {
    match mode {
        // Beside what these switch off as activities.
        OutageMode::HealOnly | OutageMode::HoldCapacity => FenceScope::Voluntary,
        OutageMode::Freeze => FenceScope::Everything,
    }
}

/// Why no plan could be made. Each is a mistake of the caller, not a state of the world.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The document is of another group than the recorded state.
    #[error("the document is of group {document}, the recorded state of {recorded}")]
    WrongGroup {
        /// The document's group.
        document: GroupName,
        /// The recorded state's group.
        recorded: GroupName,
    },
    /// The provider's facts say that a provision call takes no slots.
    #[error("provider {provider} takes no slots in a provision call")]
    NoBatch {
        /// The provider.
        provider: ProviderName,
    },
}
