//! Events that wait beside the queue: one line for each object, so that an end is never told before its beginning, and
//! an event that the receiver chokes on holds up nothing but what is about the same object.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::notices::Event;
use crate::agent::notices::events::Involved;

#[cfg(test)]
mod tests;

/// How long an event is tried: longer than a receiver's restart, shorter than what it says is of use.
pub(super) const TRY_FOR: Duration = Duration::from_mins(10);

/// The pause after the first failure; it doubles, up to a minute.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Most events in all lines: twenty groups with ten each. Beyond that the longest line loses its first.
pub(super) const WAITING_MAX: usize = 200;

/// The lines.
#[derive(Debug)]
pub(super) struct Lines {
    lines: BTreeMap<Involved, Line>,
    /// The object whose first event is being posted.
    turn: Option<Involved>,
    /// The receiver is not asked before.
    resumed: Instant,
    pause: Duration,
}

/// Events of one object; the first is the one that is tried.
#[derive(Debug)]
struct Line {
    events: VecDeque<Event>,
    /// Not before.
    at: Instant,
    /// When the first event was last tried. None: never.
    tried: Option<Instant>,
    /// When it is given up.
    end: Instant,
    pause: Duration,
}

impl Line {
    fn new(now: Instant) -> Self {
        Self {
            events: VecDeque::new(),
            at: now,
            tried: None,
            end: now + TRY_FOR,
            pause: PAUSE,
        }
    }

    /// Takes the first event off, and begins anew with the next.
    fn next(&mut self, now: Instant) -> Option<Event> {
        let first = self.events.pop_front();
        let events = std::mem::take(&mut self.events);
        *self = Self {
            events,
            ..Self::new(now)
        };
        first
    }
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            lines: BTreeMap::new(),
            turn: None,
            resumed: now,
            pause: PAUSE,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns from when on the receiver may be asked.
    pub(super) fn resumed(&self) -> Instant {
        self.resumed
    }

    /// Whether an event is first in its line and was never tried.
    pub(super) fn has_untried(&self) -> bool {
        self.lines.values().any(|line| line.tried.is_none())
    }

    /// Returns when the next event is to be tried.
    pub(super) fn due(&self) -> Option<Instant> {
        let at = self.lines.values().map(|line| line.at).min()?;
        Some(at.max(self.resumed))
    }

    /// Adds an event behind those of its object. Returns one that is given up for it, if too many wait.
    pub(super) fn add(&mut self, event: Event, now: Instant) -> Option<Event> {
        let object = event.involved_object.clone();
        let line = self.lines.entry(object).or_insert_with(|| Line::new(now));
        line.events.push_back(event);
        let waiting: usize = self.lines.values().map(|line| line.events.len()).sum();
        if waiting <= WAITING_MAX {
            return None;
        }
        let lines = self.lines.iter();
        let longest = lines.max_by_key(|(_, line)| line.events.len());
        self.turn = longest.map(|(object, _)| object.clone());
        self.give_up(now)
    }

    /// Returns the event whose turn it is: of those that are due the one that waits longest since it was tried.
    pub(super) fn begin(&mut self, now: Instant) -> Option<&Event> {
        let due = self.lines.iter_mut().filter(|(_, line)| line.at <= now);
        let (object, line) = due.min_by_key(|(_, line)| line.tried)?;
        if line.tried.is_none() {
            line.end = now + TRY_FOR;
        }
        line.tried = Some(now);
        self.turn = Some(object.clone());
        line.events.front()
    }

    /// The event was taken.
    pub(super) fn passed(&mut self, now: Instant) {
        self.pause = PAUSE;
        self.give_up(now);
    }

    /// The event was not taken; it may be, after `least`. With `all` nothing else would be before that. Returns whether
    /// it is tried again.
    pub(super) fn failed(&mut self, least: Duration, all: bool, now: Instant) -> bool {
        let turn = self.turn.as_ref();
        let Some(line) = turn.and_then(|object| self.lines.get_mut(object)) else {
            return false;
        };
        let pause = if all {
            &mut self.pause
        } else {
            &mut line.pause
        };
        let at = now + least.max(*pause);
        if at >= line.end {
            return false;
        }
        *pause = (*pause * 2).min(PAUSE_MAX);
        line.at = at;
        if all {
            self.resumed = at;
        }
        true
    }

    /// Takes the event out.
    pub(super) fn give_up(&mut self, now: Instant) -> Option<Event> {
        let object = self.turn.take()?;
        let line = self.lines.get_mut(&object)?;
        let event = line.next(now);
        if line.events.is_empty() {
            self.lines.remove(&object);
        }
        event
    }
}
