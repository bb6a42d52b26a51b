//! Adoption: taking over instances that run already and that somebody else made.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Completeness, Digests, FleetName, GroupName, Hold, InstanceId, MemberId, ProviderPhase,
    ProviderRef, RecordedGroup, SeatId, Timestamp, Token,
};

/// `adopt`: which instances that carry nobody's ownership tags a group takes over, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// `selector.matchTags`: the provider's own tags that an instance must carry, all of them. Never empty:
    /// a group that adopts whatever runs is nobody's intention.
    pub match_tags: BTreeMap<String, String>,
    /// `revision`: what an adopted instance counts as.
    pub revision: AdoptRevision,
    /// `current`: what tells instances of the template in Git from outdated ones, each entry a set of tags. What has all
    /// tags of none of them is adopted as outdated, so that the rollout replaces it. Empty: nothing tells them apart.
    pub current: Vec<BTreeMap<String, String>>,
}

impl Adopt {
    /// Returns whether a stranger is of the template in Git.
    pub fn is_current(&self, stranger: &Stranger) -> bool {
        let mut current = self.current.iter();
        self.current.is_empty() || current.any(|tags| stranger.has_tags(tags))
    }
}

/// What an adopted instance counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdoptRevision {
    /// As made from the template in Git as it stands when the instance is adopted: a later template replaces it.
    Assume,
    /// As of a revision of its own, which no rollout replaces: it goes when it is unhealthy, expires, or is surplus.
    Keep,
}

/// What a scope has that carries no ownership tags of any fleet and has the tags that were asked for. What the asking
/// fleet has itself may be among it, where somebody else acts on it, too.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Whether absence from it means anything.
    pub completeness: Completeness,
    /// When the provider was asked: the start of the call.
    pub as_of: Timestamp,
    /// The instances, in any order.
    pub strangers: Vec<Stranger>,
    /// What has the tags that were asked for and ownership tags, as far as the provider tells of it: what was there to be
    /// adopted, and is among it, has been taken, and is not gone.
    pub owned: Vec<Owned>,
}

/// An instance that has the tags that a survey asks for, and an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The instance, as if it were nobody's.
    pub stranger: Stranger,
    /// The fleet that has it.
    pub fleet: FleetName,
    /// The group of that fleet.
    pub group: GroupName,
}

impl Survey {
    /// Returns the survey as a group is told it: what the group was about to adopt, and others have taken meanwhile, is
    /// there and has an owner. What the group had no room for may be theirs. Where nothing is left to be adopted, a group
    /// that never had anything is told of everything that others have: they came first. Nothing is left of `owned`.
    #[must_use]
    pub fn told_to(&self, fleet: &FleetName, recorded: &RecordedGroup) -> Self {
        let (group, before) = (&recorded.name, &recorded.strangers);
        let came_late = self.strangers.is_empty() && recorded.had_nothing();
        let mut told = Self {
            completeness: self.completeness.clone(),
            as_of: self.as_of,
            strangers: self.strangers.clone(),
            owned: Vec::new(),
        };
        for owned in &self.owned {
            let handle = &owned.stranger.provider_ref;
            let is_theirs = (&owned.fleet, &owned.group) != (fleet, group);
            let is_told = told.strangers.iter().any(|one| one.provider_ref == *handle);
            let was_to_adopt = before.get(handle).is_some_and(|was| was.instance.is_some());
            if is_theirs && (was_to_adopt || came_late) && !is_told {
                let mut stranger = owned.stranger.clone();
                let theirs = (owned.fleet != *fleet).then_some(&owned.fleet);
                let owner = taken_by(&owned.group, theirs);
                stranger.claimed_by = stranger.claimed_by.or(Some(owner));
                told.strangers.push(stranger);
            }
        }
        told
    }
}

/// Returns who has what a group was about to adopt, in words for people. `fleet`: another one, if it is another's.
pub fn taken_by(group: &GroupName, fleet: Option<&FleetName>) -> String {
    let fleet = fleet.map(|fleet| format!(" of the fleet {fleet}"));
    let fleet = fleet.unwrap_or_default();
    format!(
        "the group {group}{fleet}, which has taken it; leave it out of this group's adopt.selector, or let it go there"
    )
}

/// An instance that nobody's agent made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// Where the instance is in its life.
    pub phase: ProviderPhase,
    /// An address at which checks and peers reach it.
    pub address: Option<String>,
    /// The zone, where the provider has zones.
    pub zone: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Its tags in the provider's words.
    pub tags: BTreeMap<String, String>,
    /// The name that its former owner gave its place, such as InfraKit's logical id: the member of a quorum group
    /// that it is.
    pub member: Option<String>,
    /// Who else still makes and ends instances like this one, for people. None: nobody does, so that it may be
    /// adopted.
    pub claimed_by: Option<String>,
    /// Who may be silent for a moment only and cannot be asked, for people: where the instance had another owner when it
    /// was last seen, that owner still counts. None: whoever is there was asked.
    pub unheard: Option<String>,
}

impl Stranger {
    /// Returns whether the stranger has all of `tags`.
    pub fn has_tags(&self, tags: &BTreeMap<String, String>) -> bool {
        let mut tags = tags.iter();
        tags.all(|(name, value)| self.tags.get(name) == Some(value))
    }
}

/// What came of asking a provider for what a group could adopt.
#[derive(Debug, Clone, PartialEq)]
pub enum Surveyed {
    /// It answered.
    Known {
        /// What it said.
        survey: Survey,
        /// The strangers that other groups of the fleet ask for too, and which groups those are.
        contested: BTreeMap<ProviderRef, BTreeSet<GroupName>>,
    },
    /// Nobody knows what there is, and this is why: never the same as nothing.
    Unknown(Hold),
}

/// What a group has to adopt, as classified.
#[derive(Debug, Clone, PartialEq)]
pub enum Adoption {
    /// These, in the order of their handles, and none of them is a member already.
    Known {
        /// The strangers that run, or may.
        strangers: Vec<Stranger>,
        /// Those that were there before, that this answer does not tell of, and that may be there all the same, with the
        /// time of the first answer without them.
        missing: BTreeMap<ProviderRef, Timestamp>,
        /// Those of them that other groups ask for too.
        contested: BTreeMap<ProviderRef, BTreeSet<GroupName>>,
        /// What is the group's already and somebody else acts on, too.
        claimed: Vec<Stranger>,
    },
    /// Nobody knows.
    Unknown(Hold),
}

/// An adoption of one instance, whole: it is decided, written down and repeated as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptStep {
    /// Our id from now on.
    pub instance: InstanceId,
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// The token that it carries from now on.
    pub token: Token,
    /// What it counts as.
    pub digests: Digests,
    /// Whose place it takes in a quorum group.
    pub seat: Option<SeatId>,
    /// The tags that it had, for the flavor plugins that judge it: they know what they have made by tags that no template
    /// says. Empty where the template asks none.
    pub tags: BTreeMap<String, String>,
}

/// A stranger that a group is about to adopt, or has no room for, as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedStranger {
    /// The id that it gets. None: the size has no room for it, and it is left alone.
    pub instance: Option<InstanceId>,
    /// Whether it counts as outdated once it is adopted.
    pub outdated: bool,
    /// The member that it is, in a quorum group.
    pub member: Option<MemberId>,
    /// Its address.
    pub address: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
    /// Who else still acts on it.
    pub claimed_by: Option<String>,
    /// When the first answer came that does not tell of it. None: the last one does.
    pub missing_since: Option<Timestamp>,
}
