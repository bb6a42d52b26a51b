//! Why something is not done: holds, with their names and their sentences.

mod display;

use std::collections::BTreeSet;

use crate::{
    Activity, ApprovalNeeded, ApprovalRejected, BudgetName, ErrorClass, FieldClass, GroupName,
    InstanceId, OutageMode, PolicyHold, ProviderName, ProviderRef, Reason, Signer, Timestamp,
};

/// A hold with what it withholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub hold: Hold,
    /// The kind of disruption that is withheld. None: everything, or a creation.
    pub reason: Option<Reason>,
    /// The instance concerned, where it is one.
    pub instance: Option<InstanceId>,
    /// When the hold ends by itself, where that is known.
    pub until: Option<Timestamp>,
}

/// A reason not to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The listing does not cover everything.
    ObservationPartial {
        /// Why.
        why: String,
    },
    /// The listing is too old.
    ObservationStale,
    /// Every instance vanished at once, which is more likely a mistake of the observer.
    ObservationEmptied {
        /// How many were there.
        expected: u32,
        /// How many instances of other groups vanished with them.
        elsewhere: u32,
        /// Who was asked: the provider, and for a plugin by which call.
        asked: String,
    },
    /// The provider could not be asked.
    ProviderFailed {
        /// The class of the error.
        class: ErrorClass,
        /// What it said.
        message: String,
    },
    /// The provider of the document does not exist, is not allowed, or is not known.
    ProviderMissing {
        /// Its name.
        provider: ProviderName,
        /// What is wrong.
        why: String,
    },
    /// The document names another provider than the live instances have, or that provider's document another place.
    ProviderChanged {
        /// The one in force.
        from: ProviderName,
        /// The one in the document.
        to: ProviderName,
        /// The setting that differs, as a path, where it is the same provider.
        setting: Option<String>,
    },
    /// The document in the repository is not valid; the last good one is in force.
    SpecInvalid {
        /// The first mistake.
        message: String,
    },
    /// A person suspended it.
    Suspended {
        /// What is off.
        activity: Activity,
        /// Why.
        because: Option<String>,
    },
    /// The agent is frozen.
    Frozen {
        /// By what.
        by: String,
    },
    /// The group is watched only.
    ObserveOnly,
    /// What the document adopts still belongs to somebody else, who makes and ends instances.
    OwnerStillActs {
        /// Who, and what to do about it.
        owner: String,
        /// How many instances that is about.
        instances: u32,
    },
    /// Several groups of the fleet want to adopt the same instance.
    AdoptionContested {
        /// The provider's handle of the first one.
        stranger: ProviderRef,
        /// The other groups.
        groups: BTreeSet<GroupName>,
    },
    /// What the document adopts cannot be adopted.
    AdoptionRefused {
        /// Why.
        why: String,
    },
    /// Instances that the group was to adopt are missing from the provider's answer, and not for long enough to be gone.
    StrangersMissing {
        /// How many.
        missing: u32,
    },
    /// More instances match `adopt` than the size has room for. Those are left alone.
    AdoptedSurplus {
        /// How many.
        count: u32,
        /// The provider's handles of them: of the first ones where they are many.
        handles: Vec<ProviderRef>,
    },
    /// Nobody knows whether there is more to adopt: nothing is adopted, and the group goes on with what it has.
    AdoptionUnknown {
        /// Why nobody knows.
        why: String,
    },
    /// The group's provider lists instances of a group that does not use it. Nothing is withheld for it.
    StrayInstances {
        /// Whose.
        why: String,
    },
    /// The provider lists more than one instance under one id. Nothing is withheld for it, and nothing done about it.
    DuplicateInstances {
        /// Which, with their handles.
        why: String,
    },
    /// Nothing is recorded of the group, and there are instances with its tags: another agent of this fleet may have made
    /// them. Nothing is done before a person says whose they are.
    OwnerUnproven {
        /// The group.
        group: GroupName,
        /// How many instances there are.
        instances: u32,
    },
    /// Instances are being adopted, and nothing else is done before that.
    Adopting {
        /// How many are left.
        left: u32,
    },
    /// A `validate` rule is not satisfied: the last accepted document stays in force.
    PolicyDenied(PolicyHold),
    /// People must approve the change: the last accepted document stays in force.
    ApprovalNeeded(Box<ApprovalNeeded>),
    /// Somebody whose approval would count has rejected the change.
    ApprovalRejected(Box<ApprovalRejected>),
    /// A `gate` is closed.
    GateClosed(PolicyHold),
    /// A policy failed to evaluate, or was never valid.
    PolicyFailed(PolicyHold),
    /// A `budget` policy allows no more disruptions at once.
    BudgetByPolicy(PolicyHold),
    /// A `protect` or `heal` policy keeps instances in service.
    ProtectedByPolicy(PolicyHold),
    /// A `place` policy lets nothing be made in the zones that there are.
    PlaceForbidden(PolicyHold),
    /// An `analysis` policy does not let the rollout go on yet.
    AnalysisPending(PolicyHold),
    /// The document's windows are closed to this kind of disruption.
    WindowClosed {
        /// The window that decides: a `deny` that is open, or the `allow` that opens next.
        window: String,
    },
    /// As many disruptions as a budget allows are in flight.
    BudgetExhausted {
        /// How many there are, what is not available for another cause counted.
        used: u32,
        /// How many are allowed.
        max: u32,
    },
    /// As many disruptions as a budget of the whole fleet allows are in flight, or it is another
    /// group's turn.
    FleetBudgetExhausted {
        /// The budget.
        budget: BudgetName,
        /// How many are allowed, in all groups together.
        max: u32,
        /// The groups that use it.
        taken_by: Vec<GroupName>,
    },
    /// The document protects the instance.
    ProtectedInstance {
        /// Why.
        because: Option<String>,
    },
    /// A person with a key keeps the instance.
    KeptInstance {
        /// Who.
        by: Signer,
        /// Why.
        because: String,
    },
    /// A group that this one depends on has not converged.
    DependencyNotReady {
        /// That group.
        group: GroupName,
    },
    /// As many instances as `limits.maxCreatePerHour` allows were made within the hour.
    CreateLimit {
        /// How many are allowed.
        limit: u32,
        /// How many of them are left for what is missing: what is held would take the place of what serves.
        reserved: u32,
    },
    /// As many instances as `limits.maxDestroyPerHour` allows were ended within the hour.
    DestroyRate {
        /// How many are allowed.
        limit: u32,
        /// How many of them are left for what breaks: what is held serves.
        reserved: u32,
    },
    /// More instances may not exist now.
    SurgeExhausted {
        /// The ceiling.
        ceiling: u32,
    },
    /// Taking one more would leave too few.
    AvailabilityFloor {
        /// How many must stay.
        floor: u32,
        /// How many there are.
        available: u32,
    },
    /// The first instances of a new template are not available yet.
    FirstBatch {
        /// How many are on the way.
        waiting: u32,
    },
    /// Instances on the way fill the window.
    RolloutWindow {
        /// How many are on the way.
        waiting: u32,
    },
    /// The rollout failed.
    RolloutPaused(crate::PauseCause),
    /// The rollout failed, and the last good template is in force.
    Quarantined(crate::PauseCause),
    /// Canaries are being watched.
    CanaryHold {
        /// How many.
        count: u32,
        /// Who ends it.
        promote: crate::Promote,
    },
    /// The rollout waits at a checkpoint.
    Checkpoint {
        /// How many instances have the new template.
        at: u32,
    },
    /// Every instance has the new template, for too short a time to call it good.
    Bake,
    /// `rollout.partition` is reached.
    Partition {
        /// How many instances have the new template.
        at: u32,
    },
    /// `rollout.maxAction` does not allow what outdated instances need.
    MaxAction {
        /// What they need.
        needs: FieldClass,
        /// What is allowed.
        allowed: FieldClass,
    },
    /// The provider refuses to change instances in place, so they are replaced.
    UpdateRefused {
        /// What it said.
        message: String,
    },
    /// `rollout.mode` leaves outdated instances alone.
    NotProactive {
        /// The mode.
        mode: crate::RolloutMode,
    },
    /// Failed launches are spaced out.
    LaunchBackoff {
        /// Failures in a row.
        failures: u32,
        /// What the latest said.
        message: String,
    },
    /// As many replacements as allowed are on the way.
    HealBudget {
        /// How many are allowed.
        allowed: u32,
    },
    /// So many instances are bad that the cause must lie elsewhere.
    Systemic {
        /// How many are bad.
        bad: u32,
        /// Of how many.
        total: u32,
    },
    /// No instance's health is known: the observer is presumed broken.
    AllUnknown,
    /// Changes remove more within an hour than the fleet's `limits.maxDestroy` allows.
    FleetDestroyLimit {
        /// How many all groups together would lose.
        wanted: u32,
        /// How many they may.
        limit: u32,
    },
    /// The change removes more than `limits.maxDestroy` allows, by itself or together with those of the hour.
    DestroyLimit {
        /// How many it removes.
        wanted: u32,
        /// How many are allowed.
        limit: u32,
        /// How many of those that are wanted commits removed within the hour before.
        earlier: u32,
    },
    /// No zone has had room lately.
    ZonesCooling {
        /// How many zones there are.
        zones: u32,
    },
    /// A policy has not asked for another size for long enough.
    ScalingStabilized {
        /// What it asks for.
        asked: u32,
        /// The size until then.
        size: u32,
    },
    /// A policy asks for more than `scaling.rate` allows at once.
    ScalingRate {
        /// What it asks for.
        asked: u32,
        /// The size until more is allowed.
        size: u32,
    },
    /// `limits.maxTotal` is reached.
    TotalLimit {
        /// The limit.
        limit: u32,
    },
    /// Too few members would be left to decide anything, or are left already.
    QuorumAtRisk {
        /// How many members are well.
        healthy: u32,
        /// How many there are.
        voters: u32,
        /// How many must stay.
        needed: u32,
    },
    /// Another member is not well yet, or was not for long enough.
    QuorumUnsettled {
        /// What is awaited.
        why: String,
    },
    /// The cluster that the instances are cannot spare one, as a flavor says.
    ClusterDegraded {
        /// What is wrong with it.
        why: String,
    },
    /// A flavor that keeps a cluster cannot say how it is.
    ClusterUnknown {
        /// Why not.
        why: String,
    },
    /// The membership list cannot be read, or contradicts what is known.
    MembershipUnclear {
        /// What is wrong.
        why: String,
    },
    /// Nothing proves that the members never existed, so they are not started for the first time.
    QuorumUnproven {
        /// What speaks against it.
        why: String,
    },
    /// The document switches between `size` and `members` under live instances.
    SizingChanged,
    /// The removed document was protected.
    Protected,
    /// A removal that is not beyond doubt.
    DeletionUnconfirmed {
        /// What is doubtful.
        why: String,
    },
    /// The document took the place of another group's, which would be removed for it.
    RenameUnconfirmed {
        /// The other group.
        from: GroupName,
    },
    /// An instance is not idle in time, and the document says to wait.
    DrainTimeout,
    /// No number is left for another instance: a listing that was believed once named one that was never made.
    NumbersExhausted {
        /// The number that the next one would have.
        next: u64,
    },
    /// Too many calls have unknown outcomes.
    UnknownOutcomes {
        /// How many.
        count: u32,
        /// What the provider said last to one of them. None: it said nothing.
        said: Option<String>,
    },
    /// The journal cannot be written.
    JournalUnavailable {
        /// What happened.
        why: String,
    },
    /// The clock stepped back.
    ClockStepped,
    /// A secret that the template needs cannot be read: nothing is made of it.
    SecretUnresolved {
        /// The reference.
        reference: String,
        /// What is in the way.
        why: String,
    },
    /// The provider refuses launches for its credentials: nothing that serves makes way for a successor.
    LaunchesRefused {
        /// The provider.
        provider: ProviderName,
        /// The call and what it said, for people.
        message: String,
    },
    /// The provider refuses to end an instance that should go. It is asked again.
    EndRefused {
        /// The class of its answer.
        class: ErrorClass,
        /// The call and what it said, for people.
        message: String,
    },
    /// The provider refuses to change an instance in place, and not for good. It is asked again.
    ChangeRefused {
        /// The class of its answer.
        class: ErrorClass,
        /// The call and what it said, for people.
        message: String,
    },
    /// The source could not be read or verified for longer than the agent's file allows.
    SourceOutage {
        /// What goes on meanwhile.
        mode: OutageMode,
        /// When it was last read.
        since: Timestamp,
    },
    /// Another agent holds the group, or held it later.
    EpochConflict {
        /// What was found.
        why: String,
    },
    /// With an empty data directory, what the state branch has is not signed by anybody who counts.
    StateUntrusted {
        /// Which commit, and what to do.
        why: String,
    },
    /// The source cannot be read or was rewritten: what is in force stays so.
    SourceUnavailable {
        /// What happened.
        why: String,
    },
}

impl Hold {
    /// Returns the hold's name, one PascalCase word.
    #[expect(clippy::too_many_lines, reason = "one arm per hold, nothing to split")]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ObservationPartial { .. } => "ObservationPartial",
            Self::ObservationStale => "ObservationStale",
            Self::ObservationEmptied { .. } => "ObservationEmptied",
            Self::ProviderFailed { .. } => "ProviderFailed",
            Self::ProviderMissing { .. } => "ProviderMissing",
            Self::ProviderChanged { .. } => "ProviderChanged",
            Self::SpecInvalid { .. } => "SpecInvalid",
            Self::Suspended { .. } => "Suspended",
            Self::Frozen { .. } => "Frozen",
            Self::ObserveOnly => "ObserveOnly",
            Self::OwnerStillActs { .. } => "OwnerStillActs",
            Self::AdoptionContested { .. } => "AdoptionContested",
            Self::AdoptionRefused { .. } => "AdoptionRefused",
            Self::StrangersMissing { .. } => "StrangersMissing",
            Self::AdoptedSurplus { .. } => "AdoptedSurplus",
            Self::AdoptionUnknown { .. } => "AdoptionUnknown",
            Self::StrayInstances { .. } => "StrayInstances",
            Self::DuplicateInstances { .. } => "DuplicateInstances",
            Self::OwnerUnproven { .. } => "OwnerUnproven",
            Self::Adopting { .. } => "Adopting",
            Self::PolicyDenied(_) => "PolicyDenied",
            Self::ApprovalNeeded(_) => "ApprovalNeeded",
            Self::ApprovalRejected(_) => "ApprovalRejected",
            Self::GateClosed(_) => "GateClosed",
            Self::PolicyFailed(_) => "PolicyFailed",
            Self::BudgetByPolicy(_) => "BudgetByPolicy",
            Self::ProtectedByPolicy(_) => "ProtectedByPolicy",
            Self::PlaceForbidden(_) => "PlaceForbidden",
            Self::AnalysisPending(_) => "AnalysisPending",
            Self::WindowClosed { .. } => "WindowClosed",
            Self::BudgetExhausted { .. } => "BudgetExhausted",
            Self::FleetBudgetExhausted { .. } => "FleetBudgetExhausted",
            Self::ProtectedInstance { .. } => "ProtectedInstance",
            Self::KeptInstance { .. } => "KeptInstance",
            Self::DependencyNotReady { .. } => "DependencyNotReady",
            Self::CreateLimit { .. } => "CreateLimit",
            Self::DestroyRate { .. } => "DestroyRate",
            Self::SurgeExhausted { .. } => "SurgeExhausted",
            Self::AvailabilityFloor { .. } => "AvailabilityFloor",
            Self::FirstBatch { .. } => "FirstBatch",
            Self::RolloutWindow { .. } => "RolloutWindow",
            Self::RolloutPaused(_) => "RolloutPaused",
            Self::Quarantined(_) => "Quarantined",
            Self::CanaryHold { .. } => "CanaryHold",
            Self::Checkpoint { .. } => "Checkpoint",
            Self::Bake => "Bake",
            Self::Partition { .. } => "Partition",
            Self::MaxAction { .. } => "MaxAction",
            Self::UpdateRefused { .. } => "UpdateRefused",
            Self::NotProactive { .. } => "NotProactive",
            Self::LaunchBackoff { .. } => "LaunchBackoff",
            Self::HealBudget { .. } => "HealBudget",
            Self::Systemic { .. } => "Systemic",
            Self::AllUnknown => "AllUnknown",
            Self::DestroyLimit { .. } => "DestroyLimit",
            Self::FleetDestroyLimit { .. } => "FleetDestroyLimit",
            Self::ZonesCooling { .. } => "ZonesCooling",
            Self::ScalingStabilized { .. } => "ScalingStabilized",
            Self::ScalingRate { .. } => "ScalingRate",
            Self::TotalLimit { .. } => "TotalLimit",
            Self::QuorumAtRisk { .. } => "QuorumAtRisk",
            Self::QuorumUnsettled { .. } => "QuorumUnsettled",
            Self::ClusterDegraded { .. } => "ClusterDegraded",
            Self::ClusterUnknown { .. } => "ClusterUnknown",
            Self::MembershipUnclear { .. } => "MembershipUnclear",
            Self::QuorumUnproven { .. } => "QuorumUnproven",
            Self::SizingChanged => "SizingChanged",
            Self::Protected => "Protected",
            Self::DeletionUnconfirmed { .. } => "DeletionUnconfirmed",
            Self::RenameUnconfirmed { .. } => "RenameUnconfirmed",
            Self::DrainTimeout => "DrainTimeout",
            Self::NumbersExhausted { .. } => "NumbersExhausted",
            Self::UnknownOutcomes { .. } => "UnknownOutcomes",
            Self::JournalUnavailable { .. } => "JournalUnavailable",
            Self::ClockStepped => "ClockStepped",
            Self::SecretUnresolved { .. } => "SecretUnresolved",
            Self::LaunchesRefused { .. } => "LaunchesRefused",
            Self::EndRefused { .. } => "EndRefused",
            Self::ChangeRefused { .. } => "ChangeRefused",
            Self::SourceOutage { .. } => "SourceOutage",
            Self::EpochConflict { .. } => "EpochConflict",
            Self::StateUntrusted { .. } => "StateUntrusted",
            Self::SourceUnavailable { .. } => "SourceUnavailable",
        }
    }

    /// Returns whether the hold is part of a rollout going well: it ends without anybody.
    pub fn is_routine(&self) -> bool {
        matches!(
            self,
            Self::WindowClosed { .. }
                | Self::BudgetByPolicy(_)
                | Self::ProtectedByPolicy(_)
                | Self::AnalysisPending(_)
                | Self::BudgetExhausted { .. }
                | Self::FleetBudgetExhausted { .. }
                | Self::ProtectedInstance { .. }
                | Self::KeptInstance { .. }
                | Self::DependencyNotReady { .. }
                | Self::SurgeExhausted { .. }
                | Self::AvailabilityFloor { .. }
                | Self::FirstBatch { .. }
                | Self::RolloutWindow { .. }
                | Self::CanaryHold {
                    promote: crate::Promote::Auto,
                    ..
                }
                | Self::Checkpoint { .. }
                | Self::Bake
                | Self::UpdateRefused { .. }
                | Self::HealBudget { .. }
                | Self::ScalingStabilized { .. }
                | Self::ScalingRate { .. }
                | Self::Adopting { .. }
                | Self::QuorumUnsettled { .. }
                | Self::ClusterDegraded { .. }
        )
    }
}
