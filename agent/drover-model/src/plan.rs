//! The decided value: steps, the change they serve, and the next recorded state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{
    AdoptStep, ChangeId, Digests, DrainSpec, GroupName, InPlaceUpdate, InstanceId, IntentId,
    MemberId, ProviderRef, Reason, Recommendation, RecordedGroup, RosterStep, Seat, Template,
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
        /// The instance comes back by a restart: the digests that it has. None: it is ended.
        returns: Option<Digests>,
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
    /// Gives an instance the fields of another template without replacing it.
    Update(InPlaceUpdate),
    /// Changes the membership list of a quorum group's program.
    Roster(RosterStep),
    /// Puts ownership tags on an instance that somebody else made.
    Adopt(AdoptStep),
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
            | Self::Update(_)
            | Self::Roster(_)
            | Self::Adopt(_)
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
            Self::Update(_) => "update",
            Self::Roster(step) => step.verb(),
            Self::Adopt(_) => "adopt",
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
    /// The time for which a bad instance was kept is over, or its room is needed.
    KeptOver,
    /// The outcome of an earlier step is followed up.
    FollowUp,
    /// The document adopts what runs already.
    Adoption,
}

impl Cause {
    /// Returns the word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScaleOut => "scaleOut",
            Self::Because(reason) => reason.as_str(),
            Self::FailedLaunch => "failedLaunch",
            Self::Completed => "completed",
            Self::KeptOver => "keptOver",
            Self::FollowUp => "followUp",
            Self::Adoption => "adoption",
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
    /// Instances restarted with changed fields, of those whose template changed.
    pub restarts: u32,
    /// Instances changed without an interruption, of those whose template changed.
    pub changes: u32,
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
