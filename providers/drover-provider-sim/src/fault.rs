//! What can go wrong between the agent and the provider, and when.

use std::time::Duration;

use drover_model::{ErrorClass, GroupName, Timestamp};

/// The operations of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `list`.
    List,
    /// `provision`.
    Provision,
    /// `destroy`.
    Destroy,
    /// `update`.
    Update,
    /// `release`.
    Release,
    /// `survey`.
    Survey,
    /// `adopt`.
    Adopt,
    /// `check`.
    Check,
    /// `logs`.
    Logs,
}

impl Op {
    /// Returns the name used in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Provision => "provision",
            Self::Destroy => "destroy",
            Self::Update => "update",
            Self::Release => "release",
            Self::Survey => "survey",
            Self::Adopt => "adopt",
            Self::Check => "check",
            Self::Logs => "logs",
        }
    }
}

/// Something that goes wrong in calls of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which calls.
    pub op: Op,
    /// What goes wrong.
    pub kind: FaultKind,
    /// Calls before this time are spared. None: from the beginning.
    pub from: Option<Timestamp>,
    /// Calls from this time on are spared. None: to the end.
    pub until: Option<Timestamp>,
    /// The most calls that it hits. None: all.
    pub times: Option<u32>,
    /// The chance to hit a call, in percent.
    pub percent: u8,
}

impl Fault {
    /// Hits every call of `op`.
    pub fn always(op: Op, kind: FaultKind) -> Self {
        Self {
            op,
            kind,
            from: None,
            until: None,
            times: None,
            percent: 100,
        }
    }

    /// Hits the next `times` calls of `op`.
    pub fn next(op: Op, times: u32, kind: FaultKind) -> Self {
        Self {
            times: Some(times),
            ..Self::always(op, kind)
        }
    }

    /// Hits the calls of `op` from one time up to another.
    pub fn between(op: Op, from: Timestamp, until: Timestamp, kind: FaultKind) -> Self {
        Self {
            from: Some(from),
            until: Some(until),
            ..Self::always(op, kind)
        }
    }

    /// Hits this share of the calls that it would hit.
    #[must_use]
    pub fn with_percent(self, percent: u8) -> Self {
        Self { percent, ..self }
    }

    pub(crate) fn covers(&self, op: Op, now: Timestamp) -> bool {
        self.op == op
            && self.from.is_none_or(|from| from <= now)
            && self.until.is_none_or(|until| now < until)
            && self.times != Some(0)
    }
}

/// What goes wrong in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing happens, and the caller is told so with this class.
    Error(ErrorClass),
    /// The call takes effect, and the caller learns only that nobody knows (`Unknown`).
    LostReply,
    /// The call has no effect, and the caller learns only that nobody knows (`Unknown`).
    LostRequest,
    /// The caller learns that nobody knows, and the call takes effect so much later.
    LateEffect(Duration),
    /// The reply takes so much longer; the effect is at once.
    Slow(Duration),
    /// `list` and `survey`: no more than so many instances.
    Truncated {
        /// How many are left.
        keep: usize,
        /// Whether the listing says that it is partial. `false` breaks the contract, as some real
        /// interfaces do.
        declared: bool,
    },
    /// `list`: every instance twice, as pages that move while they are read.
    Repeated,
    /// `list`: also what belongs to others, as a tag filter that matches an absent tag.
    Foreign,
    /// `provision`: no more than so many instances of the batch.
    Fewer(u32),
    /// `destroy`: says that the instance does not exist, and leaves it running.
    NotFound,
    /// `provision`: refused with this class to one group, as for a role or an image that only that one asks for.
    RefusedTo(GroupName, ErrorClass),
}

impl FaultKind {
    /// A listing that is empty without an error: breaks the contract, as some real interfaces do.
    pub const EMPTY_LIST: Self = Self::Truncated {
        keep: 0,
        declared: false,
    };

    /// Returns whether it means anything for calls of `op`.
    pub(crate) fn concerns(&self, op: Op) -> bool {
        match self {
            Self::Error(_)
            | Self::LostReply
            | Self::LostRequest
            | Self::LateEffect(_)
            | Self::Slow(_) => true,
            Self::Truncated { .. } => matches!(op, Op::List | Op::Survey),
            Self::Repeated | Self::Foreign => op == Op::List,
            Self::Fewer(_) | Self::RefusedTo(..) => op == Op::Provision,
            Self::NotFound => op == Op::Destroy,
        }
    }

    /// Returns the name under which it is counted. An error has that of its class.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Error(class) => class.as_str(),
            Self::LostReply => "reply lost",
            Self::LostRequest => "request lost",
            Self::LateEffect(_) => "late effect",
            Self::Slow(_) => "slow",
            Self::Truncated { declared: true, .. } => "truncated",
            Self::Truncated {
                declared: false, ..
            } => "truncated, said to be complete",
            Self::Repeated => "everything twice",
            Self::Foreign => "others as well",
            Self::Fewer(_) => "made in part",
            Self::NotFound => "not found, but running",
            Self::RefusedTo(..) => "refused to one group",
        }
    }
}
