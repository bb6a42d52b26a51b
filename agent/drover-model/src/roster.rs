//! The membership list that the program of a quorum group keeps itself, as its members tell it, and
//! what the agent changes of it.

use std::collections::BTreeMap;
use std::fmt;

use crate::{MemberId, SeatId};

/// How the membership list of a quorum group changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipSpec {
    /// A member comes back under its identity with what is attached to it, and nobody is told.
    Static,
    /// The program keeps a list of its own, and the agent changes it.
    Dynamic(Keeper),
}

impl MembershipSpec {
    /// Returns whose list it is, where the agent changes it.
    pub fn keeper(self) -> Option<Keeper> {
        match self {
            Self::Static => None,
            Self::Dynamic(keeper) => Some(keeper),
        }
    }
}

/// The program that keeps the list, and how it is reached at a member's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeper {
    /// etcd, by its HTTP gateway.
    Etcd(EtcdKeeper),
}

/// Where a member of etcd listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdKeeper {
    /// For clients: the port that is asked.
    pub client_port: u16,
    /// For peers: the port that goes into the list.
    pub peer_port: u16,
}

/// The program's own name of an entry. Not the member: one that is taken out and added again has
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Whether an entry counts for a majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryRole {
    /// It does.
    Voter,
    /// It follows, and does not vote.
    Learner,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterEntry {
    /// The name that the member gave itself, or that the list began with. Empty: none yet.
    pub name: String,
    /// Whether it counts for a majority.
    pub role: EntryRole,
    /// Whether a member has ever worked under this entry.
    pub started: bool,
    /// Where its peers reach it: addresses, without scheme and port.
    pub hosts: Vec<String>,
    /// Whether its member answered just now, and agrees with the leader on who leads.
    pub answers: bool,
    /// How many log entries it is behind the leader, where it says.
    pub lag: Option<u64>,
}

impl RosterEntry {
    /// Returns whether it counts for a majority.
    pub fn votes(&self) -> bool {
        self.role == EntryRole::Voter
    }
}

/// The list, as the leader has it, whom a majority of its voters follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The leader's term.
    pub term: u64,
    /// Who leads.
    pub leader: EntryId,
    /// The entries.
    pub entries: BTreeMap<EntryId, RosterEntry>,
}

/// What came of asking for the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RosterView {
    /// It is known.
    Known(Roster),
    /// It cannot be read, or those who were asked contradict each other.
    Unclear {
        /// What happened, for people.
        why: String,
    },
}

/// One change of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RosterChange {
    /// Adds the member, at the address of its place, as one that follows.
    Add,
    /// Takes an entry out.
    Remove(EntryId),
    /// Lets an entry vote.
    Promote(EntryId),
    /// Lets another entry lead.
    HandOver {
        /// Who leads.
        from: EntryId,
        /// Who is to lead.
        to: EntryId,
    },
}

/// One change of the list, whole: it is decided, written down and settled as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterStep {
    /// The program.
    pub keeper: Keeper,
    /// The address of the member that is asked to make the change.
    pub at: String,
    /// Whose place the entry is of. None: nobody's.
    pub seat: Option<SeatId>,
    /// The change.
    pub change: RosterChange,
}

impl RosterStep {
    /// Returns the verb for people and metrics.
    pub fn verb(&self) -> &'static str {
        match self.change {
            RosterChange::Add => "addMember",
            RosterChange::Remove(_) => "removeMember",
            RosterChange::Promote(_) => "promoteMember",
            RosterChange::HandOver { .. } => "moveLeader",
        }
    }

    /// Returns whom it is about, for people.
    pub fn subject(&self) -> String {
        let entry = match self.change {
            RosterChange::Add => None,
            RosterChange::Remove(entry)
            | RosterChange::Promote(entry)
            | RosterChange::HandOver { from: entry, .. } => Some(entry),
        };
        match (self.member(), entry) {
            (Some(member), _) => member.to_string(),
            (None, Some(entry)) => format!("entry {entry}"),
            (None, None) => String::new(),
        }
    }

    /// Returns the member that it is about.
    pub fn member(&self) -> Option<&MemberId> {
        self.seat.as_ref().map(|seat| &seat.member)
    }
}
