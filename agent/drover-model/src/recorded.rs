//! What the agent last committed about a group: the recorded state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{
    Approval, Authors, BindingName, ChangeId, Digests, Epoch, ErrorClass, FieldClass, GroupName,
    GroupUid, Held, InstanceId, MemberId, PolicyName, ProviderName, ProviderRef, ProviderType,
    RecordedOrder, RecordedQuorum, RecordedStranger, Resize, Revision, SeatId, SpentApprovals,
    Template, Timestamp, UpDown, Value,
};

/// The recorded state of one group. The local copy is authoritative, the state branch publishes it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedGroup {
    /// The group.
    pub name: GroupName,
    /// This life of the group.
    pub uid: GroupUid,
    /// The epoch of the agent that recorded it.
    pub epoch: Epoch,
    /// The document in force: the last one that was accepted. None: none ever was.
    pub accepted: Option<AcceptedDocument>,
    /// What people approved when the document in force was accepted, or its removal. None: nothing asked
    /// for it.
    pub approved: Option<ApprovedChange>,
    /// Approvals that were used, and count no more.
    pub spent: SpentApprovals,
    /// What people asked of rollouts, each until it expires: it is heeded once.
    pub heeded: Vec<Heeded>,
    /// What people asked of instances, each until it expires.
    pub orders: Vec<RecordedOrder>,
    /// The provider settings in force, kept so that a deletion can use them.
    pub provider: Option<RecordedProvider>,
    /// The number that the next instance gets.
    pub next_number: u64,
    /// The size in force, after decisions.
    pub size: u32,
    /// The template that instances are rolled to: the document's, or the last good one while the
    /// document's is in quarantine.
    pub target: Option<Digests>,
    /// The last template that a rollout completed with.
    pub stable: Option<Digests>,
    /// What the group last converged under. None: it never did, or an earlier version recorded it.
    pub settled: Option<Settled>,
    /// The size when the group last converged: the "from" of the change in progress.
    pub stable_size: u32,
    /// The templates of every digest in use.
    pub templates: BTreeMap<Digests, Template>,
    /// The templates of instances whose difference to the target policies ignore.
    pub ignored: BTreeMap<Digests, IgnoredDifference>,
    /// The rollout in progress or paused.
    pub rollout: Option<Rollout>,
    /// The rollout that completed last, while what it rolled out may still break within `rollout.monitor`, and after
    /// that until something else changes.
    pub proving: Option<Proving>,
    /// The document's template, while its failure keeps it from being used.
    pub quarantine: Option<Quarantine>,
    /// Failed launches in a row and when the next may happen.
    pub backoff: Option<LaunchBackoff>,
    /// The zones without room, and until when nothing is made there.
    pub cooling: BTreeMap<String, Timestamp>,
    /// The sizes before the moves of a policy that still count against `scaling.rate`.
    pub resizes: UpDown<Vec<Resize>>,
    /// The sizes that commits made smaller and that still count against `limits.maxDestroy`, oldest first.
    pub shrunk: Vec<Resize>,
    /// The change in progress, or the last one.
    pub change: Option<ChangeId>,
    /// How many instances the change in progress has removed without replacement, and its id.
    pub destroyed: Option<(ChangeId, u32)>,
    /// What was made and ended of late, oldest first.
    pub rates: Vec<RateSlot>,
    /// Set from the commit that removes the group on.
    pub deleting: Option<Deleting>,
    /// Where the group stands, in a word.
    pub phase: GroupPhase,
    /// What is known of its members, in a quorum group.
    pub quorum: Option<RecordedQuorum>,
    /// The instances as last seen.
    pub instances: BTreeMap<InstanceId, RecordedInstance>,
    /// What there is to adopt, as last seen.
    pub strangers: BTreeMap<ProviderRef, RecordedStranger>,
    /// The tags of `adopt.selector` of which nothing was left to adopt when the provider was last asked, and the group
    /// had instances. None: something is to be adopted still, or nobody ever could tell.
    pub adopted: Option<BTreeMap<String, String>>,
    /// Conditions, by type.
    pub conditions: BTreeMap<ConditionType, Condition>,
    /// Why something that should be done is not done.
    pub holds: Vec<Held>,
}

impl RecordedGroup {
    /// Returns the strangers that the group is about to adopt: without those that it has no room for.
    pub fn to_adopt(&self) -> impl Iterator<Item = (&ProviderRef, &RecordedStranger)> {
        let strangers = self.strangers.iter();
        strangers.filter(|(_, stranger)| stranger.instance.is_some())
    }

    /// Returns the strangers that the group has no room for, by their handles.
    pub fn left_alone(&self) -> impl Iterator<Item = (&ProviderRef, &RecordedStranger)> {
        let strangers = self.strangers.iter();
        strangers.filter(|(_, stranger)| stranger.instance.is_none())
    }

    /// Whether the group has no instances, and was never seen with everything adopted, nor converged.
    pub fn had_nothing(&self) -> bool {
        self.instances.is_empty() && self.adopted.is_none() && self.settled.is_none()
    }

    /// Returns the state of a group that was never seen before.
    pub fn new(name: GroupName, uid: GroupUid, epoch: Epoch) -> Self {
        Self {
            name,
            uid,
            epoch,
            accepted: None,
            approved: None,
            spent: SpentApprovals::default(),
            heeded: Vec::new(),
            orders: Vec::new(),
            provider: None,
            next_number: 1,
            size: 0,
            target: None,
            stable: None,
            settled: None,
            stable_size: 0,
            templates: BTreeMap::new(),
            ignored: BTreeMap::new(),
            rollout: None,
            proving: None,
            quarantine: None,
            backoff: None,
            cooling: BTreeMap::new(),
            resizes: UpDown {
                up: Vec::new(),
                down: Vec::new(),
            },
            shrunk: Vec::new(),
            change: None,
            destroyed: None,
            rates: Vec::new(),
            deleting: None,
            phase: GroupPhase::Pending,
            quorum: None,
            instances: BTreeMap::new(),
            strangers: BTreeMap::new(),
            adopted: None,
            conditions: BTreeMap::new(),
            holds: Vec::new(),
        }
    }
}

/// A document that is in force, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedDocument {
    /// The YAML text of this one document.
    pub text: Arc<str>,
    /// The file that it stood in.
    pub path: String,
    /// The line in the file at which the text starts, from 1.
    pub line: u32,
    /// The commit it was read from.
    pub revision: Revision,
}

/// What was in force when a group converged. What leaves the target while it still is drifts; what is to change with
/// anything else is a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The commit that the document was read from.
    pub revision: Revision,
    /// A digest of the policies that judged the group.
    pub policies: String,
}

/// The provider that a group's instances live in.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedProvider {
    /// The Provider document's name.
    pub name: ProviderName,
    /// Its type.
    pub type_: ProviderType,
    /// Its settings.
    pub settings: Value,
    /// What a change of a property asks for, of those that an instance is not replaced for: a plugin is not there
    /// when somebody compares two documents.
    pub classes: BTreeMap<String, FieldClass>,
}

/// A rollout: the replacement of an old template by a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The template that instances are rolled to.
    pub target: Digests,
    /// When it began.
    pub started_at: Timestamp,
    /// When the latest instance of the target became available, or the deadline's clock went on after it
    /// had stood still; at first, when it began.
    pub progressed_at: Timestamp,
    /// Whether the deadline's clock stood still in the latest pass: then it begins anew when it goes on.
    pub clock_stood_still: bool,
    /// Whether it goes on.
    pub state: RolloutState,
    /// The distinct instances of the target that failed.
    pub failures: BTreeSet<InstanceId>,
    /// Those that failed before somebody had it go on: they count no more.
    pub forgiven: BTreeSet<InstanceId>,
    /// What the latest failure said.
    pub last_failure: Option<String>,
    /// Which of its stages it has passed.
    pub stages: RolloutStages,
    /// What the provider said when it refused for good to change an instance in place. From then on
    /// this rollout replaces instances.
    pub refused: Option<String>,
}

impl Rollout {
    /// Returns a rollout to `target` that begins at `now`, in a group of `size`.
    pub fn new(target: Digests, now: Timestamp, size: u32) -> Self {
        Self {
            target,
            started_at: now,
            progressed_at: now,
            clock_stood_still: false,
            state: RolloutState::Progressing,
            failures: BTreeSet::new(),
            forgiven: BTreeSet::new(),
            last_failure: None,
            stages: RolloutStages {
                size: Some(size),
                ..RolloutStages::default()
            },
            refused: None,
        }
    }
}

/// How far a rollout has come through canaries, checkpoints and bake time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolloutStages {
    /// The size when it began: what shares in checkpoints are of. None: it began before sizes were
    /// recorded.
    pub size: Option<u32>,
    /// How many canaries were available, and since when.
    pub canary: Option<(u32, Timestamp)>,
    /// Whether the others may follow the canaries.
    pub promoted: bool,
    /// The checkpoint that was reached last, in instances, and when.
    pub reached: Option<(u32, Timestamp)>,
    /// The furthest checkpoint that was passed, in instances.
    pub passed: u32,
    /// Since when every instance has been available at the target.
    pub bake_since: Option<Timestamp>,
    /// How many instances the rollout itself brought to the target, where healing does not.
    pub updated: Option<u32>,
}

/// A rollout that completed before `rollout.monitor` was over for the last of its instances: it fails after all
/// when enough of them break until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proving {
    /// The last good template before it.
    pub before: Digests,
    /// The size that the group had converged at with that one.
    pub size_before: u32,
    /// The members that a quorum group had converged at with that one.
    pub members_before: BTreeSet<MemberId>,
    /// Until when.
    pub until: Timestamp,
    /// The rollout, with what failed so far.
    pub rollout: Rollout,
}

/// Something that was asked of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heeded {
    /// What, and by whom.
    pub asked: Approval,
    /// Whether there was something to do.
    pub effect: bool,
}

/// A template that is not used, because its rollout failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// The template.
    pub digests: Digests,
    /// Why its rollout failed.
    pub cause: PauseCause,
    /// Since when.
    pub since: Timestamp,
}

/// Whether a rollout goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutState {
    /// It goes on.
    Progressing,
    /// It stopped after failures; it goes on with a new template, or when a person says so.
    Paused(PauseCause),
}

/// Why a rollout stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseCause {
    /// Too many distinct instances of the target failed.
    Failures {
        /// How many failed.
        failed: u32,
        /// How many were enough.
        threshold: u32,
        /// What the latest of them died of, which is gone by the time that anybody reads this. None: it is not known.
        last: Option<String>,
    },
    /// Nothing became available for too long.
    Deadline,
    /// The provider refused the template.
    Rejected {
        /// What it said.
        message: String,
    },
    /// An `analysis` policy said that the template is bad.
    Analysis {
        /// Which one, and what it read.
        message: String,
    },
}

/// Failed launches and when the next may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchBackoff {
    /// Failures in a row.
    pub failures: u32,
    /// The earliest next launch.
    pub until: Timestamp,
    /// The class of the latest error. None: the instance was made and failed to start, or nothing came of it (`partial`).
    pub class: Option<ErrorClass>,
    /// What the latest failure said.
    pub message: String,
}

/// What was made and ended in a slot of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSlot {
    /// When the slot begins.
    pub since: Timestamp,
    /// Instances made.
    pub created: u32,
    /// Instances ended that no change in Git asked for.
    pub destroyed: u32,
    /// The largest size of the group at the time.
    pub size: u32,
}

/// A deletion in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleting {
    /// The commit that removed the document.
    pub revision: Revision,
    /// When the agent accepted that.
    pub since: Timestamp,
}

/// Where a group stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupPhase {
    /// Nothing was done yet.
    Pending,
    /// The members of a quorum group are started for the first time.
    Bootstrapping,
    /// On the way to its target.
    Progressing,
    /// At its target: every instance available and current, nothing left to do.
    Converged,
    /// A rollout stopped after failures.
    Paused,
    /// Something should be done and may not be: see the holds.
    Held,
    /// Watched only.
    Observed,
    /// Being removed.
    Deleting,
    /// Removed; nothing is left.
    Deleted,
}

impl GroupPhase {
    /// Every phase.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Bootstrapping,
        Self::Progressing,
        Self::Converged,
        Self::Paused,
        Self::Held,
        Self::Observed,
        Self::Deleting,
        Self::Deleted,
    ];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Bootstrapping => "Bootstrapping",
            Self::Progressing => "Progressing",
            Self::Converged => "Converged",
            Self::Paused => "Paused",
            Self::Held => "Held",
            Self::Observed => "Observed",
            Self::Deleting => "Deleting",
            Self::Deleted => "Deleted",
        }
    }
}

/// An instance as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedInstance {
    /// Whose place it takes in a quorum group.
    pub seat: Option<SeatId>,
    /// The provider's handle, once known.
    pub provider_ref: Option<ProviderRef>,
    /// The template it was made from.
    pub digests: Digests,
    /// Its class, by name: see [`InstanceClass::as_str`](crate::InstanceClass::as_str).
    pub class: String,
    /// Whether work is being moved off it.
    pub draining: bool,
    /// What is wrong with it, where something is, or when the provider takes it.
    pub why: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The tags that flavor plugins gave it, which they are told when they are asked about it.
    pub tags: BTreeMap<String, String>,
    /// Set while it is kept for people to look at: it is no member then.
    pub kept: Option<Kept>,
}

impl RecordedInstance {
    /// Returns the record of an instance that serves, and of which nothing else is known.
    pub fn available(digests: Digests, created_at: Timestamp) -> Self {
        Self {
            seat: None,
            provider_ref: None,
            digests,
            class: crate::InstanceClass::Available.as_str().to_owned(),
            draining: false,
            why: None,
            address: None,
            zone: None,
            created_at,
            tags: BTreeMap::new(),
            kept: None,
        }
    }
}

/// A bad instance that is kept instead of being ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// What was wrong with it then, for people.
    pub because: String,
}

/// A statement about a group that is true, false or unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds. None: unknown.
    pub status: Option<bool>,
    /// Why, as one PascalCase word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// When `status` last changed.
    pub since: Timestamp,
}

/// The conditions that a group can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// At its target, everything available.
    Ready,
    /// On the way to its target.
    Reconciling,
    /// Something that should be done is withheld or failed.
    Stalled,
    /// The document in the repository is the one in force.
    SpecAccepted,
}

impl ConditionType {
    /// Every type.
    pub const ALL: [Self; 4] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::SpecAccepted,
    ];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::SpecAccepted => "SpecAccepted",
        }
    }
}

/// Why a difference between two templates is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredDifference {
    /// The policy that says so.
    pub policy: PolicyName,
    /// The binding that put it on the group.
    pub binding: BindingName,
    /// Which fields differ, for people.
    pub message: String,
}

/// A change that people approved, who wrote it, and who approved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedChange {
    /// The change.
    pub change: ChangeId,
    /// Who wrote it. Nobody, where an earlier version of drover wrote this down.
    pub authors: Authors,
    /// Their words, in order of their names.
    pub approvals: Vec<Approval>,
}
