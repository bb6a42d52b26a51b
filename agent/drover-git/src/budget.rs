//! When to push: hosts ask for at most six pushes a minute, and a rollout makes hundreds of commits.
//! Pure: the time is an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

#[cfg(test)]
mod tests;

/// The limits of a [`PushBudget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushLimits {
    /// Pushes a minute in the long run, and at most this many in a row; at least one.
    pub per_minute: u32,
    /// A push waits until nothing was committed for this long...
    pub quiet: Duration,
    /// ...but no longer than this after the first commit that waits.
    pub max_delay: Duration,
}

impl PushLimits {
    /// For a repository on this machine, where a push is the move of a reference.
    pub fn local() -> Self {
        Self {
            per_minute: 60,
            quiet: Duration::from_secs(1),
            max_delay: Duration::from_secs(5),
        }
    }

    /// For a host, which asks for at most six a minute.
    pub fn remote() -> Self {
        Self {
            per_minute: 6,
            quiet: Duration::from_secs(10),
            max_delay: Duration::from_mins(1),
        }
    }
}

/// What to do about pushing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushAdvice {
    /// Nothing is pending.
    Idle,
    /// Ask again at this time, or after the next commit.
    Wait {
        /// When a push will be due, if nothing is committed until then.
        until: Timestamp,
    },
    /// Push now.
    Push,
}

/// A token bucket with a quiet period, which learns what the host permits: each refusal halves the rate, each success
/// raises it a little.
#[derive(Debug, Clone)]
pub struct PushBudget {
    limits: PushLimits,
    /// Pushes an hour that the host permits, as far as is known; at most as many as `limits` has.
    per_hour: u32,
    /// What the host asked for.
    not_before: Timestamp,
    /// When each of the last `per_minute` pushes began, oldest first.
    pushes: Vec<Timestamp>,
    first_change: Option<Timestamp>,
    last_change: Option<Timestamp>,
    latest: Timestamp,
}

/// The span over which pushes are counted.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// The lowest rate: what is recorded is never more than five minutes behind because of the rate alone.
const PER_HOUR_MIN: u32 = 12;

/// The successes in a row that make up for all refusals.
const STEPS_TO_FULL_RATE: u32 = 12;

impl PushBudget {
    /// Starts with a full budget.
    pub fn new(limits: PushLimits) -> Self {
        Self {
            limits,
            per_hour: full_rate(limits),
            not_before: Timestamp::MIN,
            pushes: Vec::new(),
            first_change: None,
            last_change: None,
            latest: Timestamp::MIN,
        }
    }

    /// Takes note of a commit that waits to be pushed.
    pub fn changed(&mut self, now: Timestamp) {
        self.tick(now);
        self.first_change.get_or_insert(now);
        self.last_change = Some(now);
    }

    /// Takes note of a push that begins, whether it will succeed or not.
    pub fn pushing(&mut self, now: Timestamp) {
        self.tick(now);
        self.first_change = None;
        self.last_change = None;
        self.pushes.push(now);
        let kept = self.limits.per_minute.max(1) as usize;
        let surplus = self.pushes.len().saturating_sub(kept);
        self.pushes.drain(..surplus);
    }

    /// Takes note that the host declined a push because there were too many, and wants none until then.
    pub fn refused(&mut self, now: Timestamp, until: Timestamp) {
        self.tick(now);
        let floor = PER_HOUR_MIN.min(full_rate(self.limits));
        self.per_hour = (self.per_hour / 2).max(floor);
        self.not_before = self.not_before.max(until);
    }

    /// Takes note of a push that the host took.
    pub fn succeeded(&mut self) {
        let full = full_rate(self.limits);
        let step = (full / STEPS_TO_FULL_RATE).max(1);
        self.per_hour = self.per_hour.saturating_add(step).min(full);
    }

    /// Returns how many pushes an hour the host permits, as far as is known.
    pub fn per_hour(&self) -> u32 {
        self.per_hour
    }

    /// Says whether to push `pending` commits now.
    pub fn advise(&mut self, now: Timestamp, pending: usize) -> PushAdvice {
        self.tick(now);
        if pending == 0 {
            self.first_change = None;
            self.last_change = None;
            return PushAdvice::Idle;
        }
        // Commits from before a restart, or of a push that failed: the clock starts here.
        let first = *self.first_change.get_or_insert(now);
        let last = *self.last_change.get_or_insert(now);
        let settled = add(last, self.limits.quiet).min(add(first, self.limits.max_delay));
        let until = settled.max(self.affordable_at());
        if until <= now {
            PushAdvice::Push
        } else {
            PushAdvice::Wait { until }
        }
    }

    /// When another push is within what the host permits.
    fn affordable_at(&self) -> Timestamp {
        self.not_before.max(self.spaced_at()).max(self.room_at())
    }

    /// When the rate permits another push. At the full rate some may follow one another.
    fn spaced_at(&self) -> Timestamp {
        match self.pushes.last() {
            Some(last) if self.per_hour < full_rate(self.limits) => {
                add(*last, Duration::from_hours(1) / self.per_hour.max(1))
            }
            Some(_) | None => Timestamp::MIN,
        }
    }

    /// When the window has room for another push.
    fn room_at(&self) -> Timestamp {
        let allowed = self.limits.per_minute.max(1) as usize;
        match self.pushes.first() {
            Some(oldest) if self.pushes.len() >= allowed => {
                oldest.saturating_add(WINDOW).unwrap_or(Timestamp::MAX)
            }
            _ => Timestamp::MIN,
        }
    }

    /// When the clock steps back, the remembered times step back with it, or nothing would be
    /// pushed until the clock has caught up.
    fn tick(&mut self, now: Timestamp) {
        if now < self.latest {
            let step = self.latest.duration_since(now);
            let back = |time: Timestamp| time.saturating_sub(step).unwrap_or(now);
            self.pushes.iter_mut().for_each(|push| *push = back(*push));
            self.first_change = self.first_change.map(back);
            self.last_change = self.last_change.map(back);
            self.not_before = back(self.not_before);
        }
        self.latest = now;
    }
}

fn full_rate(limits: PushLimits) -> u32 {
    limits.per_minute.max(1).saturating_mul(60)
}

fn add(time: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    time.saturating_add(delay).unwrap_or(Timestamp::MAX)
}
