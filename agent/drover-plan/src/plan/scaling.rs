//! How fast a policy's size takes effect: what it asked for must last, and moves are paced.

use std::time::Duration;

use drover_model::{Held, Hold, Reason, Recommendation, Resize, Timestamp};

use super::draft::Draft;
use super::held;
use crate::time::{earlier, elapsed, later};

/// What was asked for is remembered in at most so many pieces of a stabilization time, two to a piece:
/// finer ones are taken together, with the smallest and largest size among them.
const PIECES: u32 = 32;

/// Most moves that are told apart within the time of a rate. Further ones count as long as the last.
const RESIZES_MAX: usize = 16;

impl Draft<'_> {
    /// Returns the size that a policy which asks for `asked` gets now.
    pub(super) fn paced(&mut self, asked: u32) -> u32 {
        let known = self.input.recorded.accepted.is_some();
        let before = self.input.recorded.size;
        self.remember_asked(asked, known.then_some(before));
        if !known {
            // There is nothing to move from.
            return asked;
        }
        let steady = self.stabilized(asked, before);
        self.rated(steady, before)
    }

    /// Takes `asked` down. Where nothing is remembered, `before` is what was asked for until now: a
    /// restart without its memory waits rather than removes.
    fn remember_asked(&mut self, asked: u32, before: Option<u32>) {
        let now = self.input.now;
        let windows = &self.spec.scaling.stabilization;
        let longest = windows.up.max(windows.down);
        let said = |size| Recommendation {
            since: now,
            least: size,
            most: size,
        };
        let history = &mut self.recommendations;
        for entry in history.iter_mut() {
            entry.since = entry.since.min(now);
        }
        if let (true, Some(before)) = (history.is_empty(), before) {
            history.push(said(before));
        }
        if history
            .last()
            .is_none_or(|last| (last.least, last.most) != (asked, asked))
        {
            if let [.., one, other] = history.as_mut_slice()
                && elapsed(one.since, now) < longest / PIECES
            {
                one.least = one.least.min(other.least);
                one.most = one.most.max(other.most);
                history.pop();
            }
            history.push(said(asked));
        }
        let oldest = earlier(now, longest);
        let over = history
            .windows(2)
            .take_while(|pair| pair[1].since <= oldest);
        let over = over.count();
        history.drain(..over);
    }

    /// Returns the size after stabilization: a move is as small as the policy lately wanted it.
    fn stabilized(&mut self, asked: u32, before: u32) -> u32 {
        let now = self.input.now;
        let windows = self.spec.scaling.stabilization;
        let (least, up_at) = self.least_within(windows.up);
        let (most, down_at) = self.most_within(windows.down);
        let size = before.max(least).min(most);
        let until = if asked > before { up_at } else { down_at };
        if size != asked {
            self.hold(Held {
                reason: (asked < before).then_some(Reason::ScaleIn),
                until: until.filter(|at| *at > now),
                ..held(Hold::ScalingStabilized { asked, size })
            });
        }
        size
    }

    /// Returns the smallest size asked for within `window`, and when it counts no more.
    fn least_within(&self, window: Duration) -> (u32, Option<Timestamp>) {
        let ended = self.asked_within(window);
        let least = ended.iter().map(|(entry, _)| entry.least).min();
        let least = least.unwrap_or(0);
        let last = ended.iter().rfind(|(entry, _)| entry.least == least);
        (
            least,
            last.and_then(|(_, end)| Some(later((*end)?, window))),
        )
    }

    /// Returns the largest size asked for within `window`, and when it counts no more.
    fn most_within(&self, window: Duration) -> (u32, Option<Timestamp>) {
        let ended = self.asked_within(window);
        let most = ended.iter().map(|(entry, _)| entry.most).max();
        let most = most.unwrap_or(0);
        let last = ended.iter().rfind(|(entry, _)| entry.most == most);
        (most, last.and_then(|(_, end)| Some(later((*end)?, window))))
    }

    /// Returns what was asked for within `window`, with its end. The last one has none yet.
    fn asked_within(&self, window: Duration) -> Vec<(Recommendation, Option<Timestamp>)> {
        let begin = earlier(self.input.now, window);
        let entries = &self.recommendations;
        let ends = entries.iter().skip(1).map(|next| Some(next.since));
        entries
            .iter()
            .copied()
            .zip(ends.chain([None]))
            .filter(|(_, end)| end.is_none_or(|end| end > begin))
            .collect()
    }

    /// Returns the size after the rate: so many more or fewer than when the time of the rate began.
    fn rated(&mut self, asked: u32, before: u32) -> u32 {
        let now = self.input.now;
        let rates = self.spec.scaling.rate;
        let resizes = &self.next.resizes;
        let (rate, counted) = if asked > before {
            (rates.up, &resizes.up)
        } else {
            (rates.down, &resizes.down)
        };
        let first = counted.iter().find(|resize| resize.until > now);
        let base = first.map_or(before, |resize| resize.from);
        let until = first.map_or_else(|| later(now, rate.per), |resize| resize.until);
        let size = if asked > before {
            let most = base.saturating_add(rate.of(base));
            asked.min(most.max(before))
        } else {
            let least = base.saturating_sub(rate.of(base));
            asked.max(least.min(before))
        };
        if size != asked {
            self.hold(Held {
                reason: (asked < before).then_some(Reason::ScaleIn),
                until: Some(until),
                ..held(Hold::ScalingRate { asked, size })
            });
        }
        size
    }

    /// Counts a move away from `before` against both rates.
    pub(super) fn record_resize(&mut self, before: u32) {
        let now = self.input.now;
        let rates = self.spec.scaling.rate;
        let resizes = &mut self.next.resizes;
        for (rate, counted) in [(rates.up, &mut resizes.up), (rates.down, &mut resizes.down)] {
            counted.retain(|resize| resize.until > now);
            let until = later(now, rate.per);
            if counted.len() < RESIZES_MAX {
                counted.push(Resize {
                    until,
                    from: before,
                });
            } else if let Some(last) = counted.last_mut() {
                last.until = until;
            }
        }
    }
}
