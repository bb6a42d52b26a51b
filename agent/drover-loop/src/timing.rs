//! Limits of a pass in time and number. Each says how it was found.

use std::time::Duration;

/// How long a pass and its parts may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassLimits {
    /// How long a pass waits for the source and the state branch; they go on beside it.
    pub fetch_wait: Duration,
    /// The shortest time between two looks at the source that nobody asked for. Passes in between
    /// are made for timers only.
    pub fetch_gap: Duration,
    /// How long a pass waits for listings; slower ones are used by the pass that follows them.
    pub list_wait: Duration,
    /// The time limit of one listing.
    pub list_timeout: Duration,
    /// How long a pass waits for metrics, whatever their own limits are; what did not come is not ok.
    pub metric_wait: Duration,
    /// How long a pass waits for its groups; slower ones go on beside the next passes.
    pub group_wait: Duration,
    /// The time limit of one group: beyond it the work is dropped, and the journal knows how far it
    /// came.
    pub group_timeout: Duration,
    /// The time limit of one provider call.
    pub call_timeout: Duration,
    /// Provider calls of one group at once.
    pub calls_concurrent: usize,
    /// Groups at once. One that waits for its provider for longer than [`group_wait`](Self::group_wait) goes on and gives its
    /// place up: a call that hangs takes no place of another provider's groups.
    pub groups_concurrent: usize,
}

/// The longest that a fetch takes, with what is done about its end: the Git client's own limit of a whole operation is
/// five minutes, and of silence 30 seconds.
const FETCH_MAX: Duration = Duration::from_mins(6);

impl PassLimits {
    /// The limits of a pass that no other one follows, in which what comes late is used or lost: the source, the state
    /// branch and listings have their own time limits, and this pass waits for those.
    pub fn of_single_pass() -> Self {
        let limits = Self::default();
        Self {
            fetch_wait: FETCH_MAX,
            list_wait: limits.list_timeout,
            ..limits
        }
    }
}

impl Default for PassLimits {
    /// Waits are short enough that a slow provider is no trouble for the others at the default
    /// interval of 30 s; limits are those of the clouds' own tools.
    fn default() -> Self {
        Self {
            fetch_wait: Duration::from_secs(5),
            fetch_gap: Duration::ZERO,
            list_wait: Duration::from_secs(5),
            list_timeout: Duration::from_mins(1),
            metric_wait: Duration::from_secs(11),
            group_wait: Duration::from_secs(5),
            group_timeout: Duration::from_mins(10),
            call_timeout: Duration::from_mins(1),
            calls_concurrent: 8,
            groups_concurrent: 64,
        }
    }
}
