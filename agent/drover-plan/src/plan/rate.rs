//! How many instances were made and ended within the hour, and how many more may be.
//!
//! A part of each limit is left for what is missing or broken: what replaces instances that serve, as updates and
//! expiry do, does not use it up.
//!
//! What is counted is what came of calls, not what was planned, so that a step that failed costs
//! nothing. It is recorded in slots of time, and old slots go only when a new one comes: a group
//! that rests records nothing new.

use std::time::Duration;

use drover_model::{
    Cause, Held, Hold, Intent, IntentKind, IntentState, RateSlot, Reason, SettlementOutcome,
    Timestamp,
};

use super::draft::{Draft, disrupts};
use super::{held, held_for};
use crate::time::later;

/// The time that limits are about.
const HOUR: Duration = Duration::from_hours(1);

/// The length of a slot: a limit is exact to this time.
const SLOT: Duration = Duration::from_mins(5);

/// Returns whether the end of an instance counts: no change in Git asked for it.
fn is_counted(reason: Reason) -> bool {
    match reason {
        Reason::Heal | Reason::Expiry | Reason::Rebalance => true,
        Reason::Update
        | Reason::Drift
        | Reason::ScaleIn
        | Reason::Interruption
        | Reason::Delete
        | Reason::Cost => false,
    }
}

impl Draft<'_> {
    /// Notes what settled intents made and ended.
    pub(super) fn count_settled(&mut self) {
        let (mut created, mut destroyed) = (0, 0);
        let observed = |intent: &&Intent| {
            self.settled.get(&intent.id).copied() == Some(&SettlementOutcome::Observed)
        };
        for intent in self.input.intents.iter().filter(observed) {
            match (&intent.kind, &intent.state) {
                (IntentKind::Create { .. }, IntentState::Acked { made, .. }) => {
                    created += made.len() as u32;
                }
                (IntentKind::Create { slots, .. }, _) => created += slots.len() as u32,
                (
                    IntentKind::Destroy {
                        reason, instance, ..
                    },
                    _,
                ) => {
                    let counts = is_counted(*reason) && disrupts(self.input, instance, *reason);
                    destroyed += u32::from(counts);
                }
                (
                    IntentKind::Drain { .. }
                    | IntentKind::Update(_)
                    | IntentKind::Roster(_)
                    | IntentKind::Adopt(_),
                    _,
                ) => {}
            }
        }
        if created + destroyed > 0 {
            self.add_to_slot(created, destroyed);
        }
    }

    /// Notes what was taken out of service without being ended.
    pub(super) fn count_destroyed(&mut self, count: u32) {
        self.add_to_slot(0, count);
    }

    fn add_to_slot(&mut self, created: u32, destroyed: u32) {
        let (now, size) = (self.input.now, self.resolved.size);
        let second = now.as_second();
        let length = SLOT.as_secs() as i64;
        let since = Timestamp::from_second(second - second.rem_euclid(length)).unwrap_or(now);
        self.next.rates.retain(|slot| ends(slot) > now);
        match self.next.rates.last_mut() {
            Some(slot) if slot.since >= since => {
                slot.created += created;
                slot.destroyed += destroyed;
                slot.size = slot.size.max(size);
            }
            Some(_) | None => self.next.rates.push(RateSlot {
                since,
                created,
                destroyed,
                size,
            }),
        }
    }

    /// Returns the largest size within the hour that something was counted for: a group that shrank
    /// must still be able to replace what dies.
    fn hourly_size(&self) -> u32 {
        let now = self.input.now;
        let recent = self.next.rates.iter().filter(|slot| ends(slot) > now);
        let sizes = recent.map(|slot| slot.size);
        sizes.max().unwrap_or(0).max(self.resolved.size)
    }

    /// Returns how many more instances may be made for `cause` now, and the hold for any beyond.
    pub(super) fn create_room(&self, cause: Cause) -> (u32, Held) {
        let limit = self.spec.create_hourly_max(self.hourly_size());
        let reserved = match cause {
            // A template that failed is not kept in service for an hour.
            Cause::Because(Reason::Update) if self.rolls_back() => 0,
            Cause::Because(reason) => self.reserved(limit, reason),
            Cause::ScaleOut
            | Cause::FailedLaunch
            | Cause::Completed
            | Cause::KeptOver
            | Cause::FollowUp
            | Cause::Adoption => 0,
        };
        let open = self
            .intents
            .creates
            .iter()
            .map(|intent| match &intent.kind {
                IntentKind::Create { .. } if self.is_settled(intent) => 0,
                IntentKind::Create { slots, .. } => match &intent.state {
                    IntentState::Intended | IntentState::Sent => slots.len(),
                    IntentState::Acked { made, .. } => made.len(),
                    IntentState::Failed { .. } => 0,
                },
                IntentKind::Drain { .. }
                | IntentKind::Destroy { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_) => 0,
            });
        let open = open.sum::<usize>() as u32 + self.made.values().sum::<u32>();
        let most = limit - reserved;
        let (used, until) = self.used(most, open, |slot| slot.created);
        let hold = Held {
            until,
            ..held(Hold::CreateLimit { limit, reserved })
        };
        (most.saturating_sub(used), hold)
    }

    /// Returns how much of an hourly limit `reason` leaves for what is missing or broken: the whole group once, but no
    /// more than half of the limit.
    fn reserved(&self, limit: u32, reason: Reason) -> u32 {
        if reason.is_voluntary() {
            self.hourly_size().min(limit / 2)
        } else {
            0
        }
    }

    /// Returns the hold for replacing one more that would be missed until its successor is there: the hour has to have
    /// room for that one as well, beside what is missing already.
    pub(super) fn no_room_for_successor(&self, reason: Reason) -> Option<Held> {
        if !reason.is_voluntary() {
            return None;
        }
        let missing = self.resolved.size.saturating_sub(self.live_count());
        let (room, hold) = self.create_room(Cause::Because(reason));
        (room <= missing).then_some(Held {
            reason: Some(reason),
            ..hold
        })
    }

    /// Returns how many more instances may be ended for `reason` now, `promised` ones counted as ended,
    /// and the hold for any beyond. None: it is not limited.
    pub(super) fn destroy_room(&self, reason: Reason, promised: u32) -> (u32, Option<Held>) {
        if !is_counted(reason) {
            return (u32::MAX, None);
        }
        let limit = self.spec.destroy_hourly_max(self.hourly_size());
        let reserved = self.reserved(limit, reason);
        let of = |reason| self.leaving_for.get(&Some(reason)).copied().unwrap_or(0);
        let open: u32 = Reason::ALL
            .into_iter()
            .filter(|r| is_counted(*r))
            .map(of)
            .sum();
        let most = limit - reserved;
        let (used, until) = self.used(most, open + promised, |slot| slot.destroyed);
        let hold = Held {
            until,
            ..held_for(reason, Hold::DestroyRate { limit, reserved })
        };
        (most.saturating_sub(used), Some(hold))
    }

    /// Returns how many were counted within the hour, and when they become fewer than `limit`.
    fn used(
        &self,
        limit: u32,
        open: u32,
        count: impl Fn(&RateSlot) -> u32,
    ) -> (u32, Option<Timestamp>) {
        let counted = |slot: &&RateSlot| ends(slot) > self.input.now && count(slot) > 0;
        let slots: Vec<&RateSlot> = self.next.rates.iter().filter(counted).collect();
        let used = open + slots.iter().map(|slot| count(slot)).sum::<u32>();
        let mut left = used;
        let freed = slots.into_iter().find(|slot| {
            left -= count(slot);
            left < limit
        });
        (used, freed.map(ends))
    }
}

/// Returns when the last of what a slot counts is an hour ago.
fn ends(slot: &RateSlot) -> Timestamp {
    later(slot.since, SLOT + HOUR)
}
