//! Arithmetic on times that cannot fail: out of range saturates, and a span never is negative.

use std::time::Duration;

use drover_model::{GroupSpec, Timestamp};

/// What a drain is begun before it must be over: a pass, and a call to the provider.
const MARGIN: Duration = Duration::from_secs(30);

/// Returns the time `by` after `at`.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Returns the time `by` before `at`.
pub(crate) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// Returns how long before its end an instance is drained.
pub(crate) fn drain_time(spec: &GroupSpec) -> Duration {
    let drain = &spec.drain;
    drain.timeout.max(drain.delay).saturating_add(MARGIN)
}

/// Returns how long ago `since` was at `now`; zero where the clock has stepped back behind it.
pub(crate) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO)
}
