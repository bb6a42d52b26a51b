//! Windows: whether disruptions may begin now, and when they may again.

use drover_model::{FieldClass, Held, Hold, Member, Reason, Timestamp, Window, WindowKind};

use super::draft::Draft;
use super::held_for;
use crate::numbers::serves;

/// Edges of windows that are followed to find when disruptions may begin again.
const EDGES_MAX: u32 = 200;

/// Returns what keeps disruptions for `reason` from beginning at `at`, with the first time at which
/// that can change.
fn shut(windows: &[Window], reason: Reason, at: Timestamp) -> Option<(&Window, Option<Timestamp>)> {
    let about = || {
        windows
            .iter()
            .filter(|window| window.reasons.contains(&reason))
    };
    let of = |kind| about().filter(move |window| window.kind == kind);
    let denied = of(WindowKind::Deny).find_map(|window| Some((window, window.open_until(at)?)));
    if let Some((window, closes)) = denied {
        return Some((window, Some(closes)));
    }
    if of(WindowKind::Allow).any(|window| window.open_until(at).is_some()) {
        return None;
    }
    let next = |window: &&Window| window.next_opening(at).unwrap_or(Timestamp::MAX);
    let first = of(WindowKind::Allow).min_by_key(next)?;
    Some((first, first.next_opening(at)))
}

/// Returns the hold while windows are closed to disruptions for `reason`.
pub(super) fn closed(windows: &[Window], reason: Reason, now: Timestamp) -> Option<Held> {
    let (window, mut change) = shut(windows, reason, now)?;
    let mut until = None;
    for _ in 0..EDGES_MAX {
        let Some(at) = change.filter(|at| *at < Timestamp::MAX) else {
            break;
        };
        match shut(windows, reason, at) {
            None => {
                until = Some(at);
                break;
            }
            Some((_, next)) => change = next,
        }
    }
    Some(Held {
        until,
        ..held_for(
            reason,
            Hold::WindowClosed {
                window: window.to_string(),
            },
        )
    })
}

impl<'a> Draft<'a> {
    /// Finishes replacements that were begun while a window was open: what was made for one of
    /// `victims` takes its place. Availability never falls below the size for it.
    pub(super) fn finish_pairs(&mut self, victims: Vec<&'a Member>, reason: Reason) {
        for member in victims {
            // What may not be replaced is no half of a pair.
            if reason == Reason::Update && self.spec.rollout.action_max != FieldClass::Replace {
                return;
            }
            let replaced = self.resolved.size + self.doomed().count() as u32;
            if self.live_count() <= replaced {
                return;
            }
            let spare = !serves(member) || self.available > self.resolved.size;
            if !spare {
                continue;
            }
            let refusal = self.refusal_of_begun(member, reason);
            match refusal.or_else(|| self.over_budget(member, reason)) {
                None => self.disrupt(member, reason),
                // Told, because the hold is how a group asks for its turn.
                Some(held) if matches!(held.hold, Hold::FleetBudgetExhausted { .. }) => {
                    self.hold(held);
                }
                Some(_) => {}
            }
        }
    }

    /// Asks for a pass when a window that is open closes.
    pub(super) fn wake_at_closing(&mut self) {
        let now = self.input.now;
        for window in &self.spec.windows {
            if let Some(closes) = window.open_until(now)
                && closes < Timestamp::MAX
            {
                self.wake(closes);
            }
        }
    }
}

/// Returns whether a hold is that of a window.
pub(super) fn is_window(held: &Held) -> bool {
    matches!(held.hold, Hold::WindowClosed { .. })
}
