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

/// A token bucket with a quiet period.
#[derive(Debug, Clone)]
pub struct PushBudget {
    limits: PushLimits,
    /// When each of the last `per_minute` pushes began, oldest first.
    pushes: Vec<Timestamp>,
    first_change: Option<Timestamp>,
    last_change: Option<Timestamp>,
    latest: Timestamp,
}

/// The span over which pushes are counted.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

impl PushBudget {
    /// Starts with a full budget.
    pub fn new(limits: PushLimits) -> Self {
        Self {
            limits,
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

    /// When the window has room for another push.
    fn affordable_at(&self) -> Timestamp {
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
        }
        self.latest = now;
    }
}

fn add(time: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    time.saturating_add(delay).unwrap_or(Timestamp::MAX)
}
