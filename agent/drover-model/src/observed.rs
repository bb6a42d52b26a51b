//! What providers and checks report, and what the agent remembers of it between passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::{
    AdoptStep, Adoption, Digests, DrainSpec, Epoch, FleetName, GroupName, InPlace, InstanceId,
    ProviderRef, Reason, RosterStep, Seat, SeatId, Template, Timestamp, Token,
};

/// One listing of a provider scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Whether absence from the listing means anything.
    pub completeness: Completeness,
    /// When the provider was asked: the start of the call, so that nothing later is claimed.
    pub as_of: Timestamp,
    /// The instances, in any order.
    pub instances: Vec<Listed>,
    /// The places that have something attached, whether or not an instance holds it, by group.
    pub attached: BTreeSet<(GroupName, SeatId)>,
    /// The addresses of the places that have one, whether or not an instance holds them, by group.
    pub places: BTreeMap<(GroupName, SeatId), String>,
}

/// Whether a listing covers its whole scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// Every instance of the scope is in it.
    Complete,
    /// Some may be missing: what is absent is unknown, not gone.
    Partial {
        /// Why, for people.
        why: String,
    },
}

/// One instance as a provider lists it.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Listed {
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// The ownership tags. None: incomplete or unreadable tags, so never ours to touch.
    pub ownership: Option<Ownership>,
    /// Where the instance is in its life.
    pub phase: ProviderPhase,
    /// An address at which checks and peers reach it, once it has one.
    pub address: Option<String>,
    /// The zone, where the provider has zones.
    pub zone: Option<String>,
    /// When the provider made it.
    pub created_at: Option<Timestamp>,
    /// When the provider will take it, where it has said so: capacity that is reclaimed, hardware that
    /// is retired.
    pub interruption: Option<Timestamp>,
}

/// The ownership tags of an instance. Ownership is fleet + group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// `drover.fleet`.
    pub fleet: FleetName,
    /// `drover.group`.
    pub group: GroupName,
    /// `drover.instance`.
    pub instance: InstanceId,
    /// `drover.digest`: the template that it was made from.
    pub digests: Digests,
    /// `drover.token`: the provision call that made it.
    pub token: Token,
    /// `drover.epoch`: of the agent that made it.
    pub epoch: Epoch,
    /// `drover.member` and `drover.life`: whose place it takes in a quorum group.
    pub seat: Option<SeatId>,
}

/// Where an instance is in its life, in the provider's view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProviderPhase {
    /// Being made.
    Pending,
    /// Running.
    Running,
    /// Being ended.
    Stopping,
    /// Ended by itself; it still holds resources until it is destroyed.
    Exited(ExitReport),
    /// Gone; the provider merely remembers it.
    Terminated,
    /// The provider cannot say.
    Unknown,
}

/// How an instance ended by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ExitReport {
    /// The exit status, where there is one.
    pub code: Option<i32>,
    /// The signal, where one ended it.
    pub signal: Option<i32>,
    /// What a person needs to know, such as the last lines of the log.
    pub message: String,
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit status {code}")?,
            (None, Some(signal)) => write!(f, "ended by signal {signal}")?,
            (None, None) => write!(f, "ended")?,
        }
        if self.message.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.message)
        }
    }
}

/// The latest results of an instance's health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSignal {
    /// When the checks were last tried.
    pub asked_at: Timestamp,
    /// One result per check of the group, in order.
    pub checks: Vec<CheckOutcome>,
    /// The instance says that it is busy: it comes last in scale-in and update.
    pub busy: bool,
    /// The instance says whether it leads. None: it says nothing of that.
    pub leader: Option<bool>,
    /// How much work would be lost with it, in whatever the instance counts; 0 where it says nothing.
    pub work: u32,
}

/// How one check turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The instance answered as it should.
    Passing,
    /// The instance answered wrongly or refused.
    Failing {
        /// What happened, for people.
        why: String,
    },
    /// The check could not be tried, which says nothing about the instance.
    Unknown {
        /// What happened, for people.
        why: String,
    },
}

/// What the agent remembers of an instance from pass to pass. Kept locally, never in Git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceMemory {
    /// When this agent first saw the instance.
    pub first_seen: Timestamp,
    /// Since when it has been healthy without a break.
    pub healthy_since: Option<Timestamp>,
    /// When it was first healthy.
    pub ready_at: Option<Timestamp>,
    /// Since when checks have failed without a break.
    pub failing_since: Option<Timestamp>,
    /// Since when its health has been unknown without a break.
    pub unknown_since: Option<Timestamp>,
    /// When it was last restarted with changed fields.
    pub restarted_at: Option<Timestamp>,
    /// When its fields were last changed in place, with a restart or without.
    pub changed_at: Option<Timestamp>,
    /// It ended by itself as it should: see [`Lifecycle::Ephemeral`](crate::Lifecycle::Ephemeral).
    pub completed: bool,
    /// Since when complete listings have not had it, and how many.
    pub absent: Option<Absence>,
    /// When it was taken for gone, though nobody had ended it. Should it come back, it is the one that stays.
    pub lost_at: Option<Timestamp>,
    /// When the provider said that it takes the instance, as of the last listing in which it was not on its way out yet. What
    /// goes then was announced, and is no sign of a listing that errs.
    pub notice: Option<Timestamp>,
    /// When the provider said that it takes the instance, in the first listing that had it: then it lets nobody have one for
    /// longer.
    pub lease: Option<Timestamp>,
    /// The calls that make or adopt it, where none has an answer that says what came of it; what they came to is in their intent.
    /// Of the instances of one call the first has it.
    pub unanswered: Option<Box<Unanswered>>,
    /// The calls that end or change it, where none has an answer that says what came of it.
    pub unheeded: Option<Box<Unanswered>>,
}

/// Calls for the same instances, one after the other, of which nobody knows what came of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// How many there were.
    pub calls: u32,
    /// When the last one was over.
    pub last: Timestamp,
    /// Since when each was refused: an answer to that call, and not to the first one.
    pub refused_since: Option<Timestamp>,
}

impl InstanceMemory {
    /// What is remembered of an instance that is seen for the first time.
    pub fn new(first_seen: Timestamp) -> Self {
        Self {
            first_seen,
            healthy_since: None,
            ready_at: None,
            failing_since: None,
            unknown_since: None,
            restarted_at: None,
            changed_at: None,
            completed: false,
            absent: None,
            lost_at: None,
            notice: None,
            lease: None,
            unanswered: None,
            unheeded: None,
        }
    }
}

/// An instance that complete listings no longer have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// The first complete listing without it.
    pub since: Timestamp,
    /// The latest complete listing without it.
    pub last: Timestamp,
    /// How many complete listings in a row.
    pub listings: u32,
}

/// Where an instance stands, as classified from everything known. First match wins, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceClass {
    /// Being destroyed: by an intent of ours, or in the provider's view.
    Terminating,
    /// Ended by itself.
    Exited(ExitReport),
    /// Was never ready within the startup timeout, or ended before it was.
    Failed {
        /// What happened, for people.
        why: String,
    },
    /// Checks have failed for longer than `unhealthyAfter`.
    Unhealthy {
        /// What the check said.
        why: String,
    },
    /// Health unknown for longer than `unknownAfter`.
    Lost {
        /// What the check said.
        why: String,
    },
    /// Failing or unknown, but not for long enough to act. Not available.
    Suspect {
        /// What the check said.
        why: String,
    },
    /// Made, not yet healthy; also a create that was sent and is not listed yet.
    Starting,
    /// Healthy for less than `minReady`.
    Warming,
    /// Healthy for at least `minReady`.
    Available,
}

impl InstanceClass {
    /// Returns the class's name for people and documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Terminating => "Terminating",
            Self::Exited(_) => "Exited",
            Self::Failed { .. } => "Failed",
            Self::Unhealthy { .. } => "Unhealthy",
            Self::Lost { .. } => "Lost",
            Self::Suspect { .. } => "Suspect",
            Self::Starting => "Starting",
            Self::Warming => "Warming",
            Self::Available => "Available",
        }
    }

    /// Returns what is wrong, for people.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Exited(report) => Some(report.to_string()),
            Self::Failed { why }
            | Self::Unhealthy { why }
            | Self::Lost { why }
            | Self::Suspect { why } => Some(why.clone()),
            Self::Terminating | Self::Starting | Self::Warming | Self::Available => None,
        }
    }
}

/// One instance of a group in the effective world: listed, or known from an intent only.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Our id.
    pub id: InstanceId,
    /// The provider's handle. None: a ghost, made by a call whose outcome is not known yet, or an
    /// instance that is missing from the listing.
    pub provider_ref: Option<ProviderRef>,
    /// The template that it was made from.
    pub digests: Digests,
    /// The provision call that made it. None: known from the record only, so not to be touched.
    pub token: Option<Token>,
    /// Whose place it takes in a quorum group.
    pub seat: Option<SeatId>,
    /// Where it stands.
    pub class: InstanceClass,
    /// Set while it is drained.
    pub drain: Option<DrainProgress>,
    /// Set while it is changed in place: the provider was called, and the listing does not show it yet.
    /// The digests are those that it gets.
    pub update: Option<InPlace>,
    /// When it was last restarted with changed fields, while the memory has it.
    pub restarted_at: Option<Timestamp>,
    /// When its fields were last changed in place, while the memory has it.
    pub changed_at: Option<Timestamp>,
    /// It says that it is busy.
    pub busy: bool,
    /// It says that so much work would be lost with it.
    pub work: u32,
    /// It says whether it leads, where it says anything of that.
    pub leader: Option<bool>,
    /// Its address, once known.
    pub address: Option<String>,
    /// Its zone, where there are zones.
    pub zone: Option<String>,
    /// When it was made, as far as known.
    pub created_at: Timestamp,
    /// When the provider will take it, where it has said so.
    pub interruption: Option<Timestamp>,
    /// When the class may change by time alone (minReady, a timeout).
    pub changes_at: Option<Timestamp>,
}

/// How far the drain of an instance has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainProgress {
    /// Why it is drained.
    pub reason: Reason,
    /// When it was marked in the published membership.
    pub started_at: Timestamp,
    /// Whether the work is off it (or nothing says when it is, and delay and `begin` are past).
    pub done: bool,
    /// When the wait ends.
    pub deadline: Timestamp,
    /// Whether it comes back by a restart, instead of being ended.
    pub returns: bool,
    /// The intent that carries it.
    pub intent: IntentId,
}

/// What the planner may rely on in this pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A complete, fresh, plausible listing.
    Full,
    /// Nothing may be created or destroyed on the strength of this listing.
    Frozen(crate::Hold),
}

/// A group's observation, classified: the result of the first planning stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// When the listing was asked for.
    pub as_of: Timestamp,
    /// Whether to act on it.
    pub trust: Trust,
    /// The members, by id. Instances that are gone are not among them.
    pub members: BTreeMap<InstanceId, Member>,
    /// The instances that are kept for people to look at, by id, those counted that are being ended
    /// after it. They are no members, whatever their health.
    pub kept: BTreeMap<InstanceId, Member>,
    /// Ids that were known and are now provably gone, with what ended them where known.
    pub gone: BTreeMap<InstanceId, Option<ExitReport>>,
    /// Open intents that the observation settles.
    pub settled: Vec<Settlement>,
    /// The places of the group that have something attached.
    pub attached: BTreeSet<SeatId>,
    /// The addresses of the group's places, as far as known.
    pub places: BTreeMap<SeatId, String>,
    /// What there is to adopt. None: the document adopts nothing.
    pub adoption: Option<Adoption>,
    /// What to remember for the next pass.
    pub memory: BTreeMap<InstanceId, InstanceMemory>,
}

/// The number of an intent in the journal, growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub u64);

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Something the agent decided to do to the outside world, durable before it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Its number.
    pub id: IntentId,
    /// The group.
    pub group: GroupName,
    /// The epoch of the agent that wrote it.
    pub epoch: Epoch,
    /// When it was written.
    pub issued_at: Timestamp,
    /// What is to be done.
    pub kind: IntentKind,
    /// How far it has come.
    pub state: IntentState,
    /// What the provider said to the last call that left open what came of it, with the class of a refusal. None: no call
    /// did, or the state says more.
    pub said: Option<String>,
}

impl Intent {
    /// Returns the instance under which calls without an answer are remembered: the first that it makes, or the one that it
    /// adopts. None: it does something else.
    pub fn asks_for(&self) -> Option<&InstanceId> {
        match &self.kind {
            IntentKind::Adopt(step) => Some(&step.instance),
            IntentKind::Create { slots, .. } => slots.first(),
            IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_) => None,
        }
    }

    /// Returns the instances that it makes, in launch order: none, if it is to do something else.
    pub fn slots(&self) -> &[InstanceId] {
        match &self.kind {
            IntentKind::Create { slots, .. } => slots,
            IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => &[],
        }
    }
}

/// What an intent is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum IntentKind {
    /// Make instances by one provision call.
    Create {
        /// The instances, in launch order.
        slots: Vec<InstanceId>,
        /// The attempt number that the token was derived with.
        attempt: u32,
        /// The idempotency token of the call.
        token: Token,
        /// The digests that go onto the instances.
        digests: Digests,
        /// The zone, which is a parameter of the call as much as the template.
        zone: Option<String>,
        /// The template as it was when the call was decided: a repeated call must be identical.
        template: Template,
        /// Whose place the one instance takes, in a quorum group.
        seat: Option<Box<Seat>>,
    },
    /// Move work off an instance.
    Drain {
        /// The instance.
        instance: InstanceId,
        /// The provider's handle.
        provider_ref: ProviderRef,
        /// Its address, for the requests.
        address: Option<String>,
        /// Why.
        reason: Reason,
        /// How, as it was when the drain began.
        spec: DrainSpec,
        /// When the wait ends.
        deadline: Timestamp,
        /// Whether `begin` was sent; set before it is sent, so it is sent at most once.
        begun: bool,
        /// Whether the work is off.
        done: bool,
        /// The instance comes back by a restart: the digests that it had. None: it is ended.
        returns: Option<Digests>,
    },
    /// End an instance.
    Destroy {
        /// The instance.
        instance: InstanceId,
        /// The provider's handle.
        provider_ref: ProviderRef,
        /// The token on the instance: the identity that is destroyed.
        token: Token,
        /// Why.
        reason: Reason,
    },
    /// Change an instance in place.
    Update(InPlaceUpdate),
    /// Change the membership list of a quorum group's program.
    Roster(RosterStep),
    /// Take over an instance that somebody else made.
    Adopt(AdoptStep),
}

/// A change of an instance in place, whole: it is decided, written down and repeated as one.
#[derive(Debug, Clone, PartialEq)]
pub struct InPlaceUpdate {
    /// The instance.
    pub instance: InstanceId,
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// The token on the instance.
    pub token: Token,
    /// The idempotency token of the call.
    pub update: Token,
    /// How.
    pub how: InPlace,
    /// The digests that go onto the instance.
    pub digests: Digests,
    /// The zone that it was made in, which its fields may mention.
    pub zone: Option<String>,
    /// What it becomes, as it was when the call was decided: a repeated call must be identical.
    pub template: Template,
    /// How long the instance may take to end by itself before a restart kills it.
    pub grace: Duration,
}

/// How far an intent has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentState {
    /// Durable; the provider has not been called.
    Intended,
    /// The provider is being or was called; the outcome is not known.
    Sent,
    /// The provider said yes. For a create: the handles, by slot.
    Acked {
        /// The instances made, by our id. Fewer than the slots: the rest was not made.
        made: BTreeMap<InstanceId, ProviderRef>,
        /// When the answer came.
        at: Timestamp,
    },
    /// The provider said no, and did nothing.
    Failed {
        /// The class of the error.
        class: ErrorClass,
        /// What it said, for people.
        message: String,
        /// When the answer came.
        at: Timestamp,
    },
}

/// The class of a provider's error. The planner reacts to the class, never to the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Too many calls: wait; deadlines stop.
    Throttled,
    /// No room for this offering now.
    Capacity,
    /// An account limit.
    Quota,
    /// The request can never succeed: the template is wrong.
    InvalidSpec,
    /// Credentials.
    Auth,
    /// Less was made than asked for, or nothing came of it.
    Partial,
    /// Nobody knows whether the call took effect: repeat it with the same token.
    Unknown,
    /// The instance does not exist.
    NotFound,
}

impl ErrorClass {
    /// Returns the name used in messages, metrics and the plugin protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Capacity => "capacity",
            Self::Quota => "quota",
            Self::InvalidSpec => "invalidSpec",
            Self::Auth => "auth",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
            Self::NotFound => "notFound",
        }
    }
}

/// An intent that needs no more attention, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The intent.
    pub intent: IntentId,
    /// How it ended.
    pub outcome: SettlementOutcome,
}

/// How an intent ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettlementOutcome {
    /// The outside world shows its effect, or the provider said that it had one.
    Observed,
    /// It had no effect and never will.
    NoEffect,
    /// Something newer replaced it.
    Superseded,
}
