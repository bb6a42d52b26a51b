//! The decided value: steps, holds, the change they serve, and the next recorded state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::{
    Activity, ChangeId, Digests, DrainSpec, ErrorClass, GroupName, InstanceId, IntentId, MemberId,
    PolicyHold, ProviderName, ProviderRef, Reason, Recommendation, RecordedGroup, Seat, Template,
    Timestamp, Token,
};

/// One pass's steps of one group. Immutable and fully decided: it names each instance it touches.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The group.
    pub group: GroupName,
    /// The observation that the plan was made from.
    pub observed_at: Timestamp,
    /// What the steps work towards. None: nothing to change.
    pub change: Option<Change>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What is left of the certificate: the executor refuses what goes beyond it.
    pub allowance: Allowance,
    /// The recorded state once the steps were carried out as planned.
    pub next: RecordedGroup,
    /// What the size policy asked for lately: to be remembered locally, never in Git.
    pub recommendations: Vec<Recommendation>,
    /// When to plan again even if nothing happens. None: no timer runs.
    pub wake_at: Option<Timestamp>,
}

/// One action with what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// What was observed when the step was planned. A step whose preconditions no longer hold is
    /// skipped; the next pass plans anew.
    pub preconditions: Vec<Precondition>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes instances by one provision call with one token.
    Create {
        /// The instances, in launch order.
        slots: Vec<InstanceId>,
        /// The attempt that the token was derived with.
        attempt: u32,
        /// The idempotency token.
        token: Token,
        /// The digests that go onto the instances.
        digests: Digests,
        /// The zone to make them in. None: the provider chooses.
        zone: Option<String>,
        /// What they are made from.
        template: Template,
        /// Whose place the one instance takes, in a quorum group.
        seat: Option<Box<Seat>>,
    },
    /// Repeats a create whose outcome is unknown: same token, same parameters.
    Resend {
        /// The create.
        intent: IntentId,
    },
    /// Begins to move work off an instance.
    Drain {
        /// The instance.
        instance: InstanceId,
        /// The provider's handle.
        provider_ref: ProviderRef,
        /// Its address, where known.
        address: Option<String>,
        /// How.
        spec: DrainSpec,
        /// When the wait ends.
        deadline: Timestamp,
    },
    /// Ends an instance.
    Destroy {
        /// The instance.
        instance: InstanceId,
        /// The provider's handle.
        provider_ref: ProviderRef,
        /// The token on it.
        token: Token,
        /// How long it may take to end by itself before it is killed.
        grace: Duration,
    },
    /// Takes the ownership tags off an instance and leaves it running.
    Release {
        /// The instance.
        instance: InstanceId,
        /// The provider's handle.
        provider_ref: ProviderRef,
    },
    /// Closes an intent that the observation settled.
    Settle(crate::Settlement),
}

impl Action {
    /// Returns whether the action calls a provider in a way that changes something.
    pub fn mutates(&self) -> bool {
        match self {
            Self::Create { .. }
            | Self::Resend { .. }
            | Self::Drain { .. }
            | Self::Destroy { .. }
            | Self::Release { .. } => true,
            Self::Settle(_) => false,
        }
    }

    /// Returns the verb for people and metrics.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Resend { .. } => "resend",
            Self::Drain { .. } => "drain",
            Self::Destroy { .. } => "destroy",
            Self::Release { .. } => "release",
            Self::Settle(_) => "settle",
        }
    }
}

/// Why a step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// More instances are wanted than exist.
    ScaleOut,
    /// A new template replaces an old one, or another [`Reason`] applies.
    Because(Reason),
    /// A launch failed; its remains are cleared.
    FailedLaunch,
    /// An instance of an ephemeral group has done its work; its remains are cleared.
    Completed,
    /// The outcome of an earlier step is followed up.
    FollowUp,
}

impl Cause {
    /// Returns the word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScaleOut => "scaleOut",
            Self::Because(reason) => reason.as_str(),
            Self::FailedLaunch => "failedLaunch",
            Self::Completed => "completed",
            Self::FollowUp => "followUp",
        }
    }
}

/// What must still be true when a step is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No instance of that id is known to the journal.
    Absent(InstanceId),
    /// The instance was observed under this handle with this token.
    ObservedAs {
        /// The instance.
        instance: InstanceId,
        /// The handle.
        provider_ref: ProviderRef,
        /// The token.
        token: Token,
    },
    /// The intent is still open.
    Open(IntentId),
}

/// What a person reviews: the whole effect of a new specification, without clock or observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The id, a hash of everything else here.
    pub id: ChangeId,
    /// The group.
    pub group: GroupName,
    /// What is in force. None: the group is new.
    pub from: Option<ChangeEnd>,
    /// What is asked for. None: the group is removed.
    pub to: Option<ChangeEnd>,
    /// Instances made because the group grows.
    pub creates: u32,
    /// Instances replaced because the template changed.
    pub replaces: u32,
    /// Instances removed without replacement.
    pub destroys: u32,
    /// Digests of the policies and bindings that judge it, by name.
    pub policies: BTreeMap<String, String>,
    /// What no step of it can exceed.
    pub certificate: Certificate,
}

/// One end of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeEnd {
    /// The members of a quorum group.
    pub members: BTreeSet<MemberId>,
    /// The template.
    pub digests: Digests,
    /// The size.
    pub size: u32,
}

/// The blast-radius certificate: ceilings that the steps of a change are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// Most instances out of service at once, of those that were available.
    pub unavailable_max: u32,
    /// Most instances removed without replacement.
    pub destroyed_max: u32,
    /// Most instances at once.
    pub total_max: u32,
}

/// What one pass may take of a group, counted apart from the steps, so that a mistake in them stays
/// small. What is on its way out already counts against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Most instances on their way out at once, for whatever reason.
    pub ending_max: u32,
    /// Most of those that nothing replaces: scale-in and deletion.
    pub removed_max: u32,
}

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
    /// A `validate` rule is not satisfied: the last accepted document stays in force.
    PolicyDenied(PolicyHold),
    /// A `gate` is closed.
    GateClosed(PolicyHold),
    /// A policy failed to evaluate, or was never valid.
    PolicyFailed(PolicyHold),
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
    /// The document protects the instance.
    ProtectedInstance {
        /// Why.
        because: Option<String>,
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
    /// Another agent holds the group, or held it later.
    EpochConflict {
        /// What was found.
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
            Self::PolicyDenied(_) => "PolicyDenied",
            Self::GateClosed(_) => "GateClosed",
            Self::PolicyFailed(_) => "PolicyFailed",
            Self::WindowClosed { .. } => "WindowClosed",
            Self::BudgetExhausted { .. } => "BudgetExhausted",
            Self::ProtectedInstance { .. } => "ProtectedInstance",
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
            Self::NotProactive { .. } => "NotProactive",
            Self::LaunchBackoff { .. } => "LaunchBackoff",
            Self::HealBudget { .. } => "HealBudget",
            Self::Systemic { .. } => "Systemic",
            Self::AllUnknown => "AllUnknown",
            Self::DestroyLimit { .. } => "DestroyLimit",
            Self::ZonesCooling { .. } => "ZonesCooling",
            Self::ScalingStabilized { .. } => "ScalingStabilized",
            Self::ScalingRate { .. } => "ScalingRate",
            Self::TotalLimit { .. } => "TotalLimit",
            Self::QuorumAtRisk { .. } => "QuorumAtRisk",
            Self::QuorumUnsettled { .. } => "QuorumUnsettled",
            Self::QuorumUnproven { .. } => "QuorumUnproven",
            Self::SizingChanged => "SizingChanged",
            Self::Protected => "Protected",
            Self::DeletionUnconfirmed { .. } => "DeletionUnconfirmed",
            Self::DrainTimeout => "DrainTimeout",
            Self::UnknownOutcomes { .. } => "UnknownOutcomes",
            Self::JournalUnavailable { .. } => "JournalUnavailable",
            Self::ClockStepped => "ClockStepped",
            Self::EpochConflict { .. } => "EpochConflict",
            Self::SourceUnavailable { .. } => "SourceUnavailable",
        }
    }

    /// Returns whether the hold is part of a rollout going well: it ends without anybody.
    pub fn is_routine(&self) -> bool {
        matches!(
            self,
            Self::WindowClosed { .. }
                | Self::BudgetExhausted { .. }
                | Self::ProtectedInstance { .. }
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
                | Self::HealBudget { .. }
                | Self::ScalingStabilized { .. }
                | Self::ScalingRate { .. }
                | Self::QuorumUnsettled { .. }
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
            Self::PolicyDenied(hold) => write!(f, "denied by {hold}"),
            Self::GateClosed(hold) => write!(f, "not now, says {hold}"),
            Self::PolicyFailed(hold) => write!(f, "held, because it failed: {hold}"),
            Self::WindowClosed { window } => write!(f, "not now, says the window {window}"),
            Self::BudgetExhausted { used, max } => write!(
                f,
                "{used} instances are out of service or on their way, the budget allows {max}"
            ),
            Self::ProtectedInstance { because } => {
                write!(f, "the document protects it")?;
                because
                    .as_ref()
                    .map_or(Ok(()), |because| write!(f, ": {because}"))
            }
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
            Self::EpochConflict { why } => write!(f, "another agent holds the group: {why}"),
            Self::SourceUnavailable { why } => {
                write!(
                    f,
                    "the source cannot be used, what is in force stays so: {why}"
                )
            }
        }
    }
}
