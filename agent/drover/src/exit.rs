//! What the program says by its exit status.

use std::process::ExitCode;

/// The exit statuses. The numbers are a promise: scripts and CI rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Failed, or something is invalid.
    Failed,
    /// Changes are pending (`plan --detailed-exitcode` only).
    Pending,
    /// A policy denies what the repository asks for.
    Denied,
    /// A person has to decide before it goes on.
    ApprovalNeeded,
    /// What was to be applied is out of date.
    Stale,
    /// Some of it was applied, some was not.
    Partial,
    /// The time limit passed first.
    TimedOut,
    /// The command line makes no sense.
    Usage,
    /// Ended by SIGINT (130) or SIGPIPE (141), as shells report it.
    Signal(u8),
}

impl Exit {
    /// Returns the number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Pending => 2,
            Self::Denied => 3,
            Self::ApprovalNeeded => 4,
            Self::Stale => 5,
            Self::Partial => 6,
            Self::TimedOut => 7,
            Self::Usage => 64,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
