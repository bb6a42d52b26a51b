//! Watching the clock: a step back holds voluntary work, a leap ahead restarts timers.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{InstanceId, InstanceMemory, Timestamp};
use jiff::SignedDuration;

/// Steps back up to this are the ordinary work of a time daemon.
pub const STEP_TOLERANCE: Duration = Duration::from_secs(1);

/// How long the clock must run on after a step back before it is trusted again, when it stays
/// behind the largest time seen: as long as the longest default timer.
pub const STEP_SETTLE: Duration = Duration::from_mins(10);

/// A gap between two passes that no waiting explains: the machine slept, or the clock leapt.
pub const LEAP_MIN: Duration = Duration::from_mins(15);

/// What the clock did since the last pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    /// It went on.
    Steady,
    /// It is behind a time that was recorded.
    SteppedBack,
    /// It leapt ahead by this much.
    Leapt(Duration),
    /// No agent ran for this long: what it remembers still holds, and its deadlines stood still.
    Resumed(Duration),
}

/// Compares each pass's time with what was seen before.
#[derive(Debug)]
pub(crate) struct Timekeeper {
    /// The largest time seen, over restarts.
    largest: Option<Timestamp>,
    /// The time of the last pass of this process.
    last: Option<Timestamp>,
    /// The first time of the new reckoning after a step back.
    stepped_to: Option<Timestamp>,
    leap: Duration,
}

impl Timekeeper {
    /// Starts with the largest time that was recorded. `interval` is the longest regular wait.
    pub(crate) fn new(largest: Option<Timestamp>, interval: Duration) -> Self {
        Self {
            largest,
            last: None,
            stepped_to: None,
            leap: LEAP_MIN.max(interval.saturating_mul(10)),
        }
    }

    /// Takes note of a pass at `now`.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Tick {
        let last = self.last.replace(now);
        if self.is_behind(now, last) {
            return Tick::SteppedBack;
        }
        self.stepped_to = None;
        let before = self.largest.replace(now);
        let gap = |since: Timestamp| now.duration_since(since).unsigned_abs();
        match (last.map(gap), before.map(gap)) {
            (Some(gap), _) if gap > self.leap => Tick::Leapt(gap),
            (None, Some(gap)) if gap > self.leap => Tick::Resumed(gap),
            _ => Tick::Steady,
        }
    }

    fn is_behind(&mut self, now: Timestamp, last: Option<Timestamp>) -> bool {
        let Some(largest) = self.largest else {
            return false;
        };
        if !before(now, largest) {
            return false;
        }
        // A second step back begins the reckoning anew.
        let again = last.is_some_and(|last| before(now, last));
        let since = match self.stepped_to {
            Some(since) if !again => since,
            _ => *self.stepped_to.insert(now),
        };
        now.duration_since(since) < signed(STEP_SETTLE)
    }
}

fn before(now: Timestamp, then: Timestamp) -> bool {
    then.duration_since(now) > signed(STEP_TOLERANCE)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Restarts the timers that would make an instance bad merely because time has passed unseen.
///
/// What says that an instance is good (`healthy_since`) stays: calling good instances unavailable
/// after a sleep would do more harm than believing them until the next check.
pub(crate) fn restart_timers(memory: &mut BTreeMap<InstanceId, InstanceMemory>, now: Timestamp) {
    for remembered in memory.values_mut() {
        for since in [&mut remembered.failing_since, &mut remembered.unknown_since] {
            if since.is_some() {
                *since = Some(now);
            }
        }
        if remembered.ready_at.is_none() {
            remembered.first_seen = now;
        }
        remembered.absent = None;
    }
}

/// Pulls remembered times that lie in the future back to `now`, after a step back.
pub(crate) fn clamp_to(memory: &mut BTreeMap<InstanceId, InstanceMemory>, now: Timestamp) {
    for remembered in memory.values_mut() {
        remembered.first_seen = remembered.first_seen.min(now);
        let times = [
            &mut remembered.healthy_since,
            &mut remembered.ready_at,
            &mut remembered.failing_since,
            &mut remembered.unknown_since,
            &mut remembered.restarted_at,
            &mut remembered.changed_at,
            &mut remembered.lost_at,
        ];
        for time in times.into_iter().flatten() {
            *time = (*time).min(now);
        }
        if remembered.absent.is_some_and(|absent| absent.last > now) {
            remembered.absent = None;
        }
    }
}

#[cfg(test)]
mod tests;
