//! What a fleet simulation shows.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{Change, ErrorClass, GroupName, GroupPhase, Hold, Timestamp};
use drover_provider_sim::Op;

/// What came of a push.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When the head was pushed.
    pub at: Timestamp,
    /// How long the simulation went on after that.
    pub took: Duration,
    /// Every group that exists, or existed.
    pub groups: BTreeMap<GroupName, GroupOutcome>,
    /// Provider calls after the push.
    pub calls: BTreeMap<Op, u64>,
    /// Those that failed, by the class of the error.
    pub failed_calls: BTreeMap<(Op, ErrorClass), u64>,
    /// Passes of the agent after the push.
    pub passes: u64,
    /// What stopped the agent as a whole at the end.
    pub holds: Vec<String>,
    /// What a reader should know about the start.
    pub notes: Vec<String>,
}

/// What came of a push for one group.
#[derive(Debug, Clone)]
pub struct GroupOutcome {
    /// The change that the push asks for. None: none.
    pub change: Option<Change>,
    /// Whether it had nothing left to do before the push, or did not exist.
    pub at_rest_before: bool,
    /// How it ended.
    pub end: End,
    /// The phase at the end.
    pub phase: GroupPhase,
    /// How long after the push it came to that.
    pub took: Duration,
    /// What is in the way at the end. None: nothing, or nothing that has a name.
    pub because: Option<HoldSpan>,
    /// The template before, shortened. None: the group is new.
    pub before: Option<String>,
    /// The template after, shortened.
    pub after: Option<String>,
    /// The counts over time, one for each moment at which something changed.
    pub samples: Vec<Sample>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What was withheld, in order.
    pub holds: Vec<HoldSpan>,
    /// The moment at which availability was closest to its floor, or furthest below it.
    pub lowest: Low,
    /// The most instances at once.
    pub most: u32,
    /// The ceiling at that moment.
    pub ceiling: u32,
    /// Instances made.
    pub created: u32,
    /// Instances that are gone.
    pub destroyed: u32,
    /// Calls that named an instance of the group.
    pub calls: BTreeMap<Op, u64>,
}

impl GroupOutcome {
    /// Returns whether the push, or what happened after it, concerns the group. A group that was stuck
    /// before and is still is not concerned; one that is denied its change is.
    pub fn is_touched(&self) -> bool {
        let stuck = self.at_rest_before && !self.end.is_good();
        let moved = self.created > 0 || self.destroyed > 0 || self.samples.len() > 1;
        self.change.is_some() || moved || stuck
    }
}

/// The availability that was closest to its floor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Low {
    /// Available instances.
    pub available: u32,
    /// How many should have been.
    pub floor: u32,
    /// When.
    pub after: Duration,
}

/// How a group ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At its target.
    Converged,
    /// Removed.
    Deleted,
    /// Watched only: nothing is ever done.
    Observed,
    /// A policy denies the change.
    Denied,
    /// The rollout stopped after failures.
    Paused,
    /// The rollout failed and the last good template is back.
    RolledBack,
    /// Something withholds it, and time alone will not change that.
    Held,
    /// Still on its way, or waiting for a time, at the end of the horizon.
    Unfinished,
}

impl End {
    /// Returns the word for people and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "Converged",
            Self::Deleted => "Deleted",
            Self::Observed => "Observed",
            Self::Denied => "Denied",
            Self::Paused => "Paused",
            Self::RolledBack => "RolledBack",
            Self::Held => "Held",
            Self::Unfinished => "Unfinished",
        }
    }

    /// Returns whether the group came to where the repository wants it.
    pub fn is_good(self) -> bool {
        match self {
            Self::Converged | Self::Deleted | Self::Observed => true,
            Self::Denied | Self::Paused | Self::RolledBack | Self::Held | Self::Unfinished => false,
        }
    }
}

/// The instances of a group at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How long after the push.
    pub after: Duration,
    /// Of the template before the push.
    pub old: Counts,
    /// Of any other.
    pub new: Counts,
    /// The size in force.
    pub size: u32,
    /// How many must stay available.
    pub floor: u32,
    /// How many there may be.
    pub ceiling: u32,
}

impl Sample {
    /// Returns how many serve.
    pub fn available(&self) -> u32 {
        self.old.ready + self.new.ready
    }

    /// Returns how many there are.
    pub fn total(&self) -> u32 {
        self.old.total() + self.new.total()
    }

    pub(super) fn same_counts(&self, other: &Self) -> bool {
        Self {
            after: Duration::ZERO,
            ..*self
        } == Self {
            after: Duration::ZERO,
            ..*other
        }
    }
}

/// Instances of one template by how they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Available.
    pub ready: u32,
    /// On their way to it.
    pub starting: u32,
    /// Unhealthy, failed, ended, or not answering.
    pub failing: u32,
    /// Draining or being destroyed.
    pub leaving: u32,
}

impl Counts {
    /// Returns the sum.
    pub fn total(&self) -> u32 {
        self.ready + self.starting + self.failing + self.leaving
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How long after the push.
    pub after: Duration,
    /// What, as one PascalCase word.
    pub kind: &'static str,
    /// What, for people.
    pub text: String,
}

/// A hold from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldSpan {
    /// Its name.
    pub code: &'static str,
    /// The kind of disruption that is withheld.
    pub reason: Option<&'static str>,
    /// What it said last.
    pub message: String,
    /// When it began.
    pub from: Duration,
    /// When it ended. None: it had not.
    pub to: Option<Duration>,
    /// When it ends by itself, as it said last.
    pub until: Option<Timestamp>,
    /// How much of a reader's attention it deserves.
    pub weight: Weight,
}

/// How much of a reader's attention a hold deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It comes and goes in any rollout.
    Routine,
    /// A wait that a person wrote into the rollout.
    Stage,
    /// Something is in the way.
    Notable,
}

impl Weight {
    pub(super) fn of(hold: &Hold) -> Self {
        let stage = matches!(
            hold,
            Hold::CanaryHold { .. } | Hold::Checkpoint { .. } | Hold::Bake
        );
        if stage {
            Self::Stage
        } else if hold.is_routine() {
            Self::Routine
        } else {
            Self::Notable
        }
    }
}
