//! Quorum groups: a fixed set of members, each with an identity and attachments that outlive the
//! instances that hold them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{AttachmentName, EntryId, GroupUid, MemberId, MembershipSpec, Timestamp};

/// The members of a quorum group, and how they may change. There is at least one, and their ids differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumSpec {
    /// The members, in the order of the document.
    pub members: Vec<MemberSpec>,
    /// Who is told when they change.
    pub membership: MembershipSpec,
    /// How long every member must have been well before the next is touched on purpose.
    pub stabilize: Duration,
    /// Whether the group may be without a majority while a member is replaced.
    pub allow_downtime: bool,
}

impl QuorumSpec {
    /// Returns the member `id`.
    pub fn member(&self, id: &MemberId) -> Option<&MemberSpec> {
        self.members.iter().find(|member| member.id == *id)
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSpec {
    /// Its identity.
    pub id: MemberId,
    /// What follows the identity from instance to instance, for one holder at a time.
    pub attachments: Vec<AttachmentName>,
}

/// Whose place an instance takes: what goes onto it as the tags `drover.member` and `drover.life`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatId {
    /// The life of the group that the member belongs to. Not the uid of a group that adopted it.
    pub life: GroupUid,
    /// The member.
    pub member: MemberId,
}

/// What an instance of a quorum group is made with, beside its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Whose place it takes.
    pub id: SeatId,
    /// Every member that the instance finds in the membership list, in the order of the document:
    /// `${members}`.
    pub members: Vec<MemberId>,
    /// Whether the group has never worked yet: `${bootstrap}`.
    pub bootstrap: bool,
    /// What it gets for itself alone.
    pub attachments: Vec<AttachmentName>,
}

/// What is recorded of a quorum group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedQuorum {
    /// The life of the group that its attachments belong to: another than the group's own uid where
    /// a group whose record was lost was adopted.
    pub life: GroupUid,
    /// The members that were started and not taken out: what a majority is of.
    pub voters: BTreeSet<MemberId>,
    /// The members when the group last converged: the "from" of the change in progress.
    pub stable: BTreeSet<MemberId>,
    /// Whether a majority was ever ready. Never taken back.
    pub established: bool,
    /// Since when every member has been well. None: one is not.
    pub calm_since: Option<Timestamp>,
    /// The entry of the membership list that the latest instance was made for, where the agent changes
    /// the list. No other instance is made for it: what it would have forgotten, the list has promised.
    pub seated: Option<EntryId>,
}

/// Returns how many of `voters` are a majority.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}
