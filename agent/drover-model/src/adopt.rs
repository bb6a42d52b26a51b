//! Adoption: taking over instances that run already and that somebody else made.

use std::collections::BTreeMap;

use crate::{Completeness, ProviderPhase, ProviderRef, Timestamp};

/// `adopt`: which instances that carry nobody's ownership tags a group takes over, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// `selector.matchTags`: the provider's own tags that an instance must carry, all of them. Never empty:
    /// a group that adopts whatever runs is nobody's intention.
    pub match_tags: BTreeMap<String, String>,
    /// `revision`: what an adopted instance counts as.
    pub revision: AdoptRevision,
}

/// What an adopted instance counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdoptRevision {
    /// As made from the template in Git as it stands when the instance is adopted: a later template replaces it.
    Assume,
    /// As of a revision of its own, which no rollout replaces: it goes when it is unhealthy, expires, or is surplus.
    Keep,
}

/// What a scope has that carries no ownership tags of any fleet and has the tags that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Whether absence from it means anything.
    pub completeness: Completeness,
    /// When the provider was asked: the start of the call.
    pub as_of: Timestamp,
    /// The instances, in any order.
    pub strangers: Vec<Stranger>,
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
}
