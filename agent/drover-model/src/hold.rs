//! Why something is not done: holds, with their names and their sentences.

use std::collections::BTreeSet;
use std::fmt;

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
    /// The document names another provider than the live instances have.
    ProviderChanged {
        /// The one in force.
        from: ProviderName,
        /// The one in the document.
        to: ProviderName,
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
    /// Nobody knows whether there is more to adopt: nothing is adopted, and the group goes on with what it has.
    AdoptionUnknown {
        /// Why nobody knows.
        why: String,
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
    },
    /// As many instances as `limits.maxDestroyPerHour` allows were ended within the hour.
    DestroyRate {
        /// How many are allowed.
        limit: u32,
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
    /// The change removes more than `limits.maxDestroy` allows.
    DestroyLimit {
        /// How many it removes.
        wanted: u32,
        /// How many are allowed.
        limit: u32,
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
    /// An instance is not idle in time, and the document says to wait.
    DrainTimeout,
    /// Too many calls have unknown outcomes.
    UnknownOutcomes {
        /// How many.
        count: u32,
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
            Self::AdoptionUnknown { .. } => "AdoptionUnknown",
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
            Self::DrainTimeout => "DrainTimeout",
            Self::UnknownOutcomes { .. } => "UnknownOutcomes",
            Self::JournalUnavailable { .. } => "JournalUnavailable",
            Self::ClockStepped => "ClockStepped",
            Self::SecretUnresolved { .. } => "SecretUnresolved",
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

impl fmt::Display for Hold {
    #[expect(
        clippy::too_many_lines,
        reason = "one sentence per hold, nothing to split"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObservationPartial { why } => {
                write!(
                    f,
                    "the provider's listing is incomplete ({why}); what is missing from it is unknown, not gone"
                )
            }
            Self::ObservationStale => write!(f, "the provider's listing is too old to act on"),
            Self::ObservationEmptied { expected } => write!(
                f,
                "the provider lists none of the {expected} instances that were there; this looks like a wrong credential, region or filter, so nothing is created; `size: 0` in a commit confirms that they are gone"
            ),
            Self::ProviderFailed { class, message } => {
                write!(
                    f,
                    "the provider could not be asked ({}): {message}",
                    class.as_str()
                )
            }
            Self::ProviderMissing { provider, why } => write!(f, "provider {provider}: {why}"),
            Self::ProviderChanged { from, to } => write!(
                f,
                "the document names provider {to}, the live instances belong to {from}; make a new group instead"
            ),
            Self::SpecInvalid { message } => {
                write!(
                    f,
                    "the document is not valid, the last good one stays in force: {message}"
                )
            }
            Self::Suspended { activity, because } => {
                write!(f, "{} is suspended", activity.as_str())?;
                because
                    .as_ref()
                    .map_or(Ok(()), |because| write!(f, ": {because}"))
            }
            Self::Frozen { by } => {
                write!(f, "the agent is frozen ({by}); `drover unfreeze` lifts it")
            }
            Self::ObserveOnly => write!(f, "the group says manage: observe"),
            Self::OwnerStillActs { owner, instances } => write!(
                f,
                "of what the group adopts, {instances} still have an owner who makes and ends them, so nothing is touched: {owner}"
            ),
            Self::AdoptionContested { stranger, groups } => {
                let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
                let groups = groups.join(", ");
                write!(
                    f,
                    "{stranger} is what {groups} would adopt too, so no group does; narrow adopt.selector until each instance matches one"
                )
            }
            Self::AdoptionRefused { why } => {
                write!(f, "what the document adopts cannot be adopted: {why}")
            }
            Self::AdoptionUnknown { why } => write!(
                f,
                "nobody knows what there is to adopt, so nothing is, and the group goes on with what it has: {why}"
            ),
            Self::Adopting { left } => write!(
                f,
                "instances are being adopted, {left} to go, and nothing else is done before that"
            ),
            Self::PolicyDenied(hold) => write!(f, "denied by {hold}"),
            Self::ApprovalNeeded(needed) => needed.fmt(f),
            Self::ApprovalRejected(rejected) => rejected.fmt(f),
            Self::GateClosed(hold) => write!(f, "not now, says {hold}"),
            Self::PolicyFailed(hold) => write!(f, "held, because it failed: {hold}"),
            Self::BudgetByPolicy(hold) => write!(f, "no more at once, says {hold}"),
            Self::ProtectedByPolicy(hold) => write!(f, "kept in service by {hold}"),
            Self::PlaceForbidden(hold) => write!(f, "nothing is made anywhere, says {hold}"),
            Self::AnalysisPending(hold) => write!(f, "the rollout does not go on yet, says {hold}"),
            Self::WindowClosed { window } => write!(f, "not now, says the window {window}"),
            Self::BudgetExhausted { used, max } => write!(
                f,
                "{used} instances are out of service or on their way, the budget allows {max}"
            ),
            Self::FleetBudgetExhausted {
                budget,
                max,
                taken_by,
            } => {
                write!(
                    f,
                    "not its turn: the fleet's budget {budget} lets {max} instances of all groups go at once"
                )?;
                for (position, group) in taken_by.iter().enumerate() {
                    let lead = if position == 0 { ", in use by " } else { ", " };
                    write!(f, "{lead}{group}")?;
                }
                Ok(())
            }
            Self::ProtectedInstance { because } => {
                write!(f, "the document protects it")?;
                because
                    .as_ref()
                    .map_or(Ok(()), |because| write!(f, ": {because}"))
            }
            Self::KeptInstance { by, because } => write!(f, "{by} keeps it: {because}"),
            Self::DependencyNotReady { group } => {
                write!(
                    f,
                    "the group {group}, which it depends on, has not converged"
                )
            }
            Self::CreateLimit { limit } => write!(
                f,
                "{limit} instances were made within the hour, the most that limits.maxCreatePerHour allows"
            ),
            Self::DestroyRate { limit } => write!(
                f,
                "{limit} instances were ended within the hour without a change that asks for it, the most that limits.maxDestroyPerHour allows"
            ),
            Self::SurgeExhausted { ceiling } => {
                write!(f, "{ceiling} instances exist, the most allowed at once")
            }
            Self::AvailabilityFloor { floor, available } => {
                write!(
                    f,
                    "{available} instances are available and {floor} must stay so"
                )
            }
            Self::FirstBatch { waiting } => {
                write!(
                    f,
                    "waiting for the first {waiting} of the new template to become available"
                )
            }
            Self::RolloutWindow { waiting } => {
                write!(f, "waiting for {waiting} on the way to become available")
            }
            Self::RolloutPaused(cause) => write!(f, "the rollout is paused: {cause}"),
            Self::Quarantined(cause) => write!(
                f,
                "the document's template is in quarantine, the last good one is in force until a commit changes the template: {cause}"
            ),
            Self::CanaryHold {
                count,
                promote: crate::Promote::Auto,
            } => write!(
                f,
                "watching {count} of the new template before others follow"
            ),
            Self::CanaryHold {
                count,
                promote: crate::Promote::Manual,
            } => write!(
                f,
                "watching {count} of the new template until a commit says rollout.canary.promote: auto, or removes the canary"
            ),
            Self::Checkpoint { at } => {
                write!(f, "waiting at the checkpoint of {at} of the new template")
            }
            Self::Bake => write!(
                f,
                "every instance has the new template, which is called good after rollout.bake"
            ),
            Self::Partition { at } => write!(
                f,
                "rollout.partition allows {at} of the new template; raise it in a commit to go on"
            ),
            Self::MaxAction { needs, allowed } => write!(
                f,
                "outdated instances need {}, and rollout.maxAction allows {} at most; raise it in a commit to go on",
                needs.as_action(),
                allowed.as_action()
            ),
            Self::UpdateRefused { message } => write!(
                f,
                "the provider does not change these instances in place, so they are replaced: {message}"
            ),
            Self::NotProactive { mode } => write!(
                f,
                "rollout.mode is {}: outdated instances are not replaced for being outdated",
                mode.as_str()
            ),
            Self::LaunchBackoff { failures, message } => {
                write!(
                    f,
                    "{failures} launches in a row failed, the next one waits; the latest: {message}"
                )
            }
            Self::HealBudget { allowed } => {
                write!(
                    f,
                    "{allowed} replacements are on the way, the most that heal.maxInFlight allows"
                )
            }
            Self::Systemic { bad, total } => write!(
                f,
                "{bad} of {total} instances are bad at once: the cause is presumed to lie outside them, so healing slows down"
            ),
            Self::AllUnknown => {
                write!(
                    f,
                    "no instance's health is known: the observer is presumed broken, so nothing is healed"
                )
            }
            Self::DestroyLimit { wanted, limit } => write!(
                f,
                "the change removes {wanted} instances and limits.maxDestroy allows {limit}; raise the limit in a commit to allow it"
            ),
            Self::FleetDestroyLimit { wanted, limit } => write!(
                f,
                "the commits of an hour remove {wanted} instances of all groups together and limits.maxDestroy of the Fleet document allows {limit}; remove fewer, wait, or raise the limit in an earlier commit"
            ),
            Self::ZonesCooling { zones } => write!(
                f,
                "no zone had room for another instance lately, of {zones} in `placement.zones`"
            ),
            Self::ScalingStabilized { asked, size } => write!(
                f,
                "the policy asks for size {asked}, and has not for `scaling.stabilization`: {size} until then"
            ),
            Self::ScalingRate { asked, size } => write!(
                f,
                "the policy asks for size {asked}, `scaling.rate` allows {size} now"
            ),
            Self::TotalLimit { limit } => write!(f, "limits.maxTotal of {limit} is reached"),
            Self::QuorumAtRisk {
                healthy,
                voters,
                needed,
            } => write!(
                f,
                "{healthy} of {voters} members are well and {needed} are needed to decide anything; no member is taken out or made anew that would leave fewer or stand in for a lost majority; `quorum.allowDowntime: true` in a commit allows it"
            ),
            Self::QuorumUnsettled { why } => write!(f, "one member at a time: {why}"),
            Self::ClusterDegraded { why } => write!(
                f,
                "the cluster is not well, so nothing is taken out of it that need not be: {why}"
            ),
            Self::ClusterUnknown { why } => write!(
                f,
                "nobody knows how the cluster is, so nothing is taken out of it that need not be: {why}"
            ),
            Self::MembershipUnclear { why } => write!(
                f,
                "no member is touched, because the membership list is not clear: {why}"
            ),
            Self::QuorumUnproven { why } => write!(
                f,
                "the members are not started for the first time, because {why}"
            ),
            Self::SizingChanged => write!(
                f,
                "the document switches between `size` and `members`, and the live instances stay what they are; make a new group instead"
            ),
            Self::Protected => write!(
                f,
                "the removed group has deletion.protect; restore the document with `protect: false`, then remove it"
            ),
            Self::DeletionUnconfirmed { why } => {
                write!(f, "the group's removal is not certain: {why}")
            }
            Self::DrainTimeout => write!(f, "the drain timed out and drain.onTimeout says abort"),
            Self::UnknownOutcomes { count } => {
                write!(
                    f,
                    "the outcome of {count} provider calls is unknown; no new ones until it is"
                )
            }
            Self::JournalUnavailable { why } => write!(f, "the journal cannot be written: {why}"),
            Self::ClockStepped => write!(f, "the clock stepped back; voluntary work waits"),
            Self::SecretUnresolved { reference, why } => {
                write!(f, "secret {reference} cannot be read: {why}")
            }
            Self::SourceOutage { mode, since } => {
                let goes_on = match mode {
                    OutageMode::HealOnly => "instances are healed and nothing else is done",
                    OutageMode::HoldCapacity => "missing instances are made and none is ended",
                    OutageMode::Freeze => "nothing is done",
                };
                let since = since.as_second();
                let since = Timestamp::from_second(since).unwrap_or_default();
                write!(
                    f,
                    "the source was last read at {since}: {goes_on} until it is again"
                )
            }
            Self::EpochConflict { why } => write!(f, "another agent holds the group: {why}"),
            Self::StateUntrusted { why } => {
                write!(f, "nothing is restored from the state branch: {why}")
            }
            Self::SourceUnavailable { why } => {
                write!(
                    f,
                    "the source cannot be used, what is in force stays so: {why}"
                )
            }
        }
    }
}
