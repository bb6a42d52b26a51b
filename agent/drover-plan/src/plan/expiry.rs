//! Replacing instances that are too old: create first within the surge, and never beside a rollout.

use drover_model::{
    Cause, Digests, Expiry, Held, Hold, InstanceClass, Member, Reason, RolloutMode,
};

use super::draft::Draft;
use super::held_for;
use super::roll::launches_wait;
use super::stages::Replaced;
use super::window::is_window;
use crate::numbers::serves;
use crate::time::later;

impl<'a> Draft<'a> {
    /// Replaces what is too old by instances of the template that is wanted.
    pub(super) fn expire(&mut self) {
        let Some(expiry) = self.spec.expiry.filter(|_| self.resolved.size > 0) else {
            return;
        };
        let due: Vec<_> = self
            .live()
            .map(|member| self.expires_at(expiry, member))
            .collect();
        for at in due {
            self.wake(at);
        }
        let mut expired = self.expired();
        if expired.is_empty() {
            return;
        }
        if self.rollout_bars_expiry() {
            let hold = match self.pause() {
                Some(cause) => Hold::RolloutPaused(cause),
                None => Hold::RolloutWindow {
                    waiting: expired.len() as u32,
                },
            };
            self.hold(held_for(Reason::Expiry, hold));
            return;
        }
        self.pass_by(&mut expired, Reason::Expiry);
        if expired.is_empty() {
            return;
        }
        if let Some(held) = self.withheld(Reason::Expiry) {
            if is_window(&held) {
                self.finish_pairs(expired, Reason::Expiry);
            }
            self.hold(held);
            return;
        }
        self.replace_expired(expired);
    }

    /// Returns whether a rollout is going on that what is too old waits for: what is outdated goes
    /// anyway, and what is made meanwhile is young. One that replaces nothing, or rests at its
    /// partition, may do so for good.
    pub(super) fn rollout_bars_expiry(&self) -> bool {
        let rests = self
            .resting
            .as_ref()
            .is_some_and(|held| matches!(held.hold, Hold::Partition { .. }));
        let goes_on = self.spec.rollout.mode == RolloutMode::Proactive && !rests;
        // A way back is over with the last outdated instance, which this plan may have taken.
        let over = self.next.stable.as_ref() == Some(&self.target)
            && self.live_count() == self.of_target();
        self.next.rollout.is_some() && !over && (goes_on || self.pause().is_some())
    }

    fn replace_expired(&mut self, expired: Vec<&'a Member>) {
        let not_serving = self.live().filter(|member| !serves(member)).count() as u32;
        let coming = not_serving + self.made.values().sum::<u32>();
        let taken = coming + self.in_flight(Reason::Expiry) + self.unmet;
        let window = self.resolved.surge + self.resolved.unavailable;
        let mut slots = window.saturating_sub(taken);
        let pairs = self.surplus_beside_doomed();
        let wanted = (expired.len() as u32).saturating_sub(pairs).min(slots);
        let (room, rate) = self.destroy_room(Reason::Expiry, pairs);
        if self.resolved.surge > 0 {
            match self.make_successors(&expired, wanted.min(room)) {
                Some(made) => slots -= made,
                None => return,
            }
        }
        if let Some(held) = rate.filter(|_| room < wanted) {
            self.hold(held);
        }
        for member in expired {
            let successor = self.surplus_beside_doomed() > 0 && self.available > self.resolved.size;
            if slots == 0 && !successor {
                let waiting = taken.max(1);
                self.hold(held_for(Reason::Expiry, Hold::RolloutWindow { waiting }));
                return;
            }
            match self.refusal_to_retire(member, Reason::Expiry) {
                None => {
                    self.disrupt(member, Reason::Expiry);
                    slots = slots.saturating_sub(1);
                }
                Some(held) => {
                    let each = held.instance.is_some();
                    self.hold(held);
                    if !each {
                        return;
                    }
                }
            }
        }
    }

    /// Makes `wanted` instances above the size, for as many of `expired`. Returns how many; none, if launches
    /// wait: then there will be no successor, and nothing is retired for one.
    fn make_successors(&mut self, expired: &[&Member], wanted: u32) -> Option<u32> {
        // At a stage of the rollout who has the target leaves its room to the one that follows.
        let replaced = expired.iter().take(wanted as usize);
        let of_target = replaced.filter(|member| self.current(member)).count() as u32;
        let replaced = Replaced {
            making_room: of_target,
            ..Replaced::default()
        };
        let parts = match self.templates_in_place_of(replaced, wanted) {
            Ok(parts) => parts,
            Err(held) => {
                self.hold(held_for(Reason::Expiry, held.hold));
                return None;
            }
        };
        let mut made = 0;
        for (digests, wanted) in parts {
            let (count, waits) = self.make_above(wanted, &digests, Reason::Expiry);
            made += count;
            if waits {
                return None;
            }
        }
        Some(made)
    }

    /// Makes up to `wanted` instances above the size. Returns how many, and whether all launches wait.
    pub(super) fn make_above(
        &mut self,
        wanted: u32,
        digests: &Digests,
        reason: Reason,
    ) -> (u32, bool) {
        let cause = Cause::Because(reason);
        let (count, limit) = self.creatable(wanted, digests, cause);
        self.create(count, digests, cause);
        // Full is what it is while pairs are on the way, and those have a hold of their own.
        let full = |held: &Held| matches!(held.hold, Hold::SurgeExhausted { .. });
        let Some(held) = limit.filter(|held| !full(held)) else {
            return (count, false);
        };
        let waits = launches_wait(&held);
        self.hold(Held {
            reason: Some(reason),
            ..held
        });
        (count, waits)
    }

    /// Returns the members that are too old, in the order in which they are retired.
    fn expired(&self) -> Vec<&'a Member> {
        let mut expired: Vec<&'a Member> = self
            .live()
            .filter(|member| self.is_expired(member))
            .collect();
        expired.sort_by_cached_key(|member| self.retirement_order(member, Reason::Expiry));
        expired
    }

    /// Returns whether a member is too old. One that is on its way, or broken, is replaced anyway or
    /// not yet worth replacing.
    pub(super) fn is_expired(&self, member: &Member) -> bool {
        let Some(expiry) = self.spec.expiry else {
            return false;
        };
        let settled = matches!(member.class, InstanceClass::Available);
        settled && !self.is_doomed(member) && self.expires_at(expiry, member) <= self.input.now
    }

    fn expires_at(&self, expiry: Expiry, member: &Member) -> drover_model::Timestamp {
        let age = expiry.age_of(&self.next.uid, &member.id);
        later(member.created_at, age)
    }
}
