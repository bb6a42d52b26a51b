//! How much smaller commits may make a group, all those of an hour together.
//!
//! A limit for one commit alone bounds nothing: in three steps, each below it, within a minute, everything is gone. So the
//! largest size from which commits took the group down within the hour is what they are measured against: the sum of
//! what they remove is below what one commit may remove of it. What was made larger again in between is not counted
//! twice. A policy's moves have a pace of their own ([`scaling`](super::scaling)), and replacements remove nothing.

use std::time::Duration;

use drover_model::{Held, Hold, Reason, Resize, Timestamp};

use super::draft::Draft;
use super::held_for;
use crate::time::later;

/// How long a size counts that a commit took the group down from.
const HOUR: Duration = Duration::from_hours(1);

/// Sizes are kept for steps of this length, so that many commits do not make a long list.
const SLOT: Duration = Duration::from_mins(5);

impl Draft<'_> {
    /// Notes that a commit makes the group smaller than `before`.
    pub(super) fn record_shrink(&mut self, before: u32) {
        let now = self.input.now;
        let second = now.as_second();
        let since = Timestamp::from_second(second - second.rem_euclid(SLOT.as_secs() as i64));
        let until = later(since.unwrap_or(now), SLOT + HOUR);
        let shrunk = &mut self.next.shrunk;
        shrunk.retain(|shrink| shrink.until > now);
        match shrunk.last_mut() {
            Some(last) if last.until >= until => last.from = last.from.max(before),
            Some(_) | None => shrunk.push(Resize {
                until,
                from: before,
            }),
        }
    }

    /// Returns the hold for a change of a person that removes more than the limit allows.
    pub(super) fn over_limit(&self) -> Option<Held> {
        if self.input.decisions.size.is_some() {
            return None;
        }
        let planned = self.change.as_ref().map_or(0, |change| change.destroys);
        let wanted = planned.max(self.known_size().saturating_sub(self.spec.size));
        self.removes_too_much(Reason::ScaleIn, self.spec.size, wanted)
    }

    /// Returns the hold if a change that removes `wanted` instances and leaves `left` removes too much, by itself or
    /// together with those of the hour.
    pub(super) fn removes_too_much(&self, reason: Reason, left: u32, wanted: u32) -> Option<Held> {
        let size = self.known_size();
        let too_much = |from: u32| {
            let limit = self.spec.destroy_max(size.max(from));
            let together = wanted.max(from.saturating_sub(left));
            (together > limit).then_some((together, limit))
        };
        let now = self.input.now;
        let shrunk = self.input.recorded.shrunk.iter();
        let recent: Vec<&Resize> = shrunk.filter(|shrink| shrink.until > now).collect();
        let largest = |of: &[&Resize]| of.iter().map(|shrink| shrink.from).max().unwrap_or(0);
        let (together, limit) = too_much(largest(&recent))?;
        let eases = (0..recent.len()).find(|past| too_much(largest(&recent[past + 1..])).is_none());
        let hold = Hold::DestroyLimit {
            wanted: together,
            limit,
            earlier: together - wanted,
        };
        Some(Held {
            until: eases.map(|past| recent[past].until),
            ..held_for(reason, hold)
        })
    }

    /// Returns the larger of the size when the group last converged and the one in force.
    fn known_size(&self) -> u32 {
        let recorded = self.input.recorded;
        recorded.stable_size.max(recorded.size)
    }
}
