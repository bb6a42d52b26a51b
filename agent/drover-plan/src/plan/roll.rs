//! Replacing outdated instances, a sliding window at a time.

use drover_model::{Cause, Held, Hold, InstanceClass, Member, Reason, RolloutState};

use super::draft::Draft;
use super::held;
use crate::numbers::serves;

impl<'a> Draft<'a> {
    /// Makes instances of the target and retires outdated ones, as far as the window allows.
    pub(super) fn roll(&mut self) {
        let outdated = self.outdated();
        if outdated.is_empty() {
            return;
        }
        let paused = self.next.rollout.as_ref().map(|rollout| &rollout.state);
        if let Some(RolloutState::Paused(cause)) = paused {
            let hold = Hold::RolloutPaused(cause.clone());
            self.hold(for_update(hold));
            return;
        }
        if let Some(held) = self.withheld(Reason::Update) {
            self.hold(held);
            return;
        }
        let waiting = self.target_waiting();
        let first = !self.target_serves();
        let window = self.resolved.surge + self.resolved.unavailable;
        let cap = if first {
            self.spec.rollout.first_batch.max(1).min(window)
        } else {
            window
        };
        // Missing capacity that could not be made takes up room too: otherwise each newcomer that
        // fails lets one more good instance be retired while the failed one is being cleared.
        let taken = waiting + self.in_flight(Reason::Update) + self.unmet;
        let mut slots = cap.saturating_sub(taken);
        if slots == 0 {
            let waiting = taken.max(1);
            self.hold(for_update(if first {
                Hold::FirstBatch { waiting }
            } else {
                Hold::RolloutWindow { waiting }
            }));
            return;
        }
        let most = slots;
        let limit = self.surge(&mut slots);
        let launches_wait = limit.as_ref().is_some_and(|held| {
            matches!(
                held.hold,
                Hold::LaunchBackoff { .. } | Hold::UnknownOutcomes { .. }
            )
        });
        // While launches wait there will be no replacement, so nothing is retired for it. Without room
        // above the size, retiring is what makes room.
        if !launches_wait {
            self.retire(outdated, &mut slots);
        }
        if let Some(held) = limit.filter(|_| slots == most || launches_wait) {
            self.hold(held);
        }
        if slots == 0 && self.live().any(|member| !self.current(member)) {
            let waiting = self.target_waiting() + self.in_flight(Reason::Update) + self.unmet;
            self.hold(for_update(if first {
                Hold::FirstBatch { waiting }
            } else {
                Hold::RolloutWindow { waiting }
            }));
        }
    }

    /// Makes instances of the target above the size. Returns what is in the way of more.
    fn surge(&mut self, slots: &mut u32) -> Option<Held> {
        let target = self.target.clone();
        let of_target = self.live().filter(|member| self.current(member)).count() as u32
            + self.made.get(&target).copied().unwrap_or(0);
        let wanted = self.resolved.size.saturating_sub(of_target).min(*slots);
        let (count, limit) = self.creatable(wanted, &target);
        let no_surge = self.resolved.surge == 0;
        let count = if no_surge { 0 } else { count };
        self.create(count, &target, Cause::Because(Reason::Update));
        *slots -= count;
        let limit = limit.filter(|held| {
            let room = matches!(
                held.hold,
                Hold::SurgeExhausted { .. } | Hold::TotalLimit { .. }
            );
            !(room && no_surge)
        });
        limit.map(|held| Held {
            reason: Some(Reason::Update),
            ..held
        })
    }

    fn retire(&mut self, outdated: Vec<&'a Member>, slots: &mut u32) {
        let most = self.resolved.size.saturating_add(self.resolved.surge);
        for member in outdated {
            if *slots == 0 {
                return;
            }
            // Beyond the surge there is surplus, and removing it is scale-in, whatever it is called.
            let surplus = self.live_count() > most;
            let refused = match self.withheld(Reason::ScaleIn).filter(|_| surplus) {
                Some(held) => Some(held),
                None => self.refusal(member, Reason::Update),
            };
            match refused {
                None => {
                    self.disrupt(member, Reason::Update);
                    *slots -= 1;
                }
                Some(held) => {
                    let floor = matches!(held.hold, Hold::AvailabilityFloor { .. });
                    self.hold(held);
                    if floor {
                        return;
                    }
                }
            }
        }
    }

    /// Returns the outdated members in the order in which they are retired: those that do not serve
    /// first, the busy ones last, the oldest first.
    fn outdated(&self) -> Vec<&'a Member> {
        let mut outdated: Vec<&'a Member> =
            self.live().filter(|member| !self.current(member)).collect();
        outdated.sort_by_cached_key(|member| {
            (
                serves(member),
                member.busy,
                member.created_at,
                member.id.clone(),
            )
        });
        outdated
    }

    fn target_serves(&self) -> bool {
        self.live()
            .any(|member| serves(member) && self.current(member))
    }

    /// Counts the instances of the target that do not serve yet, or no more.
    fn target_waiting(&self) -> u32 {
        let there = self
            .live()
            .filter(|member| self.current(member) && member.class != InstanceClass::Available)
            .count() as u32;
        there + self.made.get(&self.target).copied().unwrap_or(0)
    }
}

fn for_update(hold: Hold) -> Held {
    Held {
        reason: Some(Reason::Update),
        ..held(hold)
    }
}
