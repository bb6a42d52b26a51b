//! Replacing outdated instances, a sliding window at a time.

use drover_model::{
    Cause, Held, Hold, InPlace, InstanceClass, InstanceId, Member, Reason, RolloutMode, Timestamp,
};

use super::draft::Draft;
use super::held_for;
use super::placement::{ZoneCounts, fullest_zone_first};
use super::scale::Score;
use super::window::is_window;
use crate::numbers::serves;

impl<'a> Draft<'a> {
    /// Makes instances of the target and retires outdated ones, as far as the window allows.
    pub(super) fn roll(&mut self) {
        // In a group of nobody everybody goes, and nobody for being outdated.
        if self.resolved.size == 0 {
            return;
        }
        let mut outdated = self.outdated();
        // What this plan makes of the last good template is outdated in the next pass.
        let fresh = self.live_count() > self.of_target() + outdated.len() as u32;
        if outdated.is_empty() && !fresh {
            return;
        }
        if let Some(cause) = self.pause() {
            self.hold(held_for(Reason::Update, Hold::RolloutPaused(cause)));
            return;
        }
        let withheld = self.withheld(Reason::Update);
        if let Some(held) = withheld.clone().filter(|held| !is_window(held)) {
            self.hold(held);
            return;
        }
        let mode = self.spec.rollout.mode;
        if mode != RolloutMode::Proactive {
            self.hold(held_for(Reason::Update, Hold::NotProactive { mode }));
            return;
        }
        let kept = self.pass_by(&mut outdated, Reason::Update);
        if outdated.is_empty() && !fresh {
            return;
        }
        // What is being changed is not touched until it is known what came of it, nor replaced meanwhile.
        let there = outdated.len();
        outdated.retain(|member| !self.is_changing(member));
        let pending = (there - outdated.len()) as u32 + self.returning_outdated();
        if let Some(message) = self.update_refused().cloned() {
            self.hold(held_for(Reason::Update, Hold::UpdateRefused { message }));
        }
        let all = outdated.len() as u32;
        let room = self.room(&mut outdated, kept + pending);
        if let Some(held) = withheld {
            self.finish_pairs(outdated, Reason::Update);
            self.hold(held);
            return;
        }
        let waiting = self.target_waiting();
        if room == 0 && outdated.is_empty() {
            if self.resting.is_none() {
                self.wait_for(waiting);
            }
            return;
        }
        self.roll_within((outdated, all), room, waiting);
    }

    /// Makes, changes and retires as many as the window has slots for, of those that a stage lets go and
    /// how many there are in all.
    fn roll_within(&mut self, outdated: (Vec<&'a Member>, u32), room: u32, waiting: u32) {
        // What is rolled back to has proved itself.
        let first = !self.target_serves() && !self.rolls_back();
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
            self.hold(slower(first, waiting));
            return;
        }
        let most = slots;
        let limit = self.surge(&mut slots, room);
        let launches_wait = limit.as_ref().is_some_and(launches_wait);
        self.renew(outdated, &mut slots, launches_wait);
        if let Some(held) = limit.filter(|_| slots == most || launches_wait) {
            self.hold(held);
        }
        if slots == 0 && self.live().any(|member| !self.current(member)) {
            let waiting = self.target_waiting() + self.in_flight(Reason::Update) + self.unmet;
            self.hold(slower(first, waiting));
        }
        if slots == most && self.resting.is_none() && !self.explains(Reason::Update) {
            self.wait_for(waiting);
        }
    }

    /// Says that a rollout waits for what is on its way. Where that is nothing, a change that is refused says more.
    fn wait_for(&mut self, waiting: u32) {
        if waiting > 0 || !self.lacks_leave_to_change() {
            self.hold(held_for(Reason::Update, Hold::RolloutWindow { waiting }));
        }
    }

    /// Makes instances of the target above the size. Returns what is in the way of more.
    fn surge(&mut self, slots: &mut u32, room: u32) -> Option<Held> {
        let target = self.target.clone();
        let wanted = room.min(*slots);
        let cause = Cause::Because(Reason::Update);
        let (count, limit) = self.creatable(wanted, &target, cause);
        let no_surge = self.resolved.surge == 0;
        let count = if no_surge { 0 } else { count };
        self.create(count, &target, cause);
        self.wants_updated(0);
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

    /// Retires outdated members, or changes them in place, as long as there are slots.
    ///
    /// While launches wait there will be no replacement, so nothing is retired for it. Without room above
    /// the size, retiring is what makes room.
    fn renew(
        &mut self,
        (outdated, all): (Vec<&'a Member>, u32),
        slots: &mut u32,
        launches_wait: bool,
    ) {
        let mut retired = false;
        let mut full = false;
        let backs_off = self.launch_withheld(&self.target.clone());
        let backs_off = backs_off.filter(|held| {
            self.target_backs_off() || matches!(held.hold, Hold::SecretUnresolved { .. })
        });
        let mut left = all;
        for member in outdated {
            if *slots == 0 {
                break;
            }
            // The last ones make way for what stands in for them.
            let surplus = self.surplus_beside_doomed();
            let makes_way = left <= surplus && self.may_replace();
            left -= 1;
            let how = self.in_place(member);
            let how = how.filter(|how| *how == InPlace::Live || !makes_way);
            if full && how != Some(InPlace::Live) && serves(member) {
                continue;
            }
            let refused = match how {
                None if launches_wait || !self.may_replace() => continue,
                None if !self.one_may_go() => continue,
                None => self.refusal_to_retire(member, Reason::Update),
                Some(_) if !self.has_room_in_place() => continue,
                Some(_) if self.lacks_leave_to_change() => continue,
                Some(_) if backs_off.is_some() => backs_off.clone(),
                Some(InPlace::Live) => self.out_of_reach(member, Reason::Update),
                Some(InPlace::Restart) => self.refusal(member, Reason::Update),
            };
            if let Some(held) = refused {
                // What is in the way of one that serves is in the way of those that follow.
                full |= matches!(
                    held.hold,
                    Hold::AvailabilityFloor { .. }
                        | Hold::BudgetExhausted { .. }
                        | Hold::FleetBudgetExhausted { .. }
                );
                self.hold(held);
                continue;
            }
            match how {
                None => {
                    self.disrupt(member, Reason::Update);
                    retired = true;
                }
                Some(InPlace::Live) => self.change_live(member),
                Some(InPlace::Restart) => self.restart(member),
            }
            *slots -= 1;
        }
        if retired {
            // What is missing now is missing for the rollout, but for what was missing before.
            let missing = self.resolved.size.saturating_sub(self.live_count());
            self.wants_updated(missing.saturating_sub(self.unmet));
        } else {
            self.wants_updated(0);
        }
    }

    /// Returns what is in the way of replacing a member for `reason`.
    pub(super) fn refusal_to_retire(&self, member: &Member, reason: Reason) -> Option<Held> {
        // Beyond the surge there is surplus, and removing it is scale-in, whatever it is called.
        let beside = self.resolved.surge + self.doomed().count() as u32;
        let most = self.resolved.size.saturating_add(beside);
        let surplus = self.live_count().saturating_sub(most);
        let withheld = (surplus > 0).then(|| self.withheld_scale_in(surplus));
        withheld
            .flatten()
            .or_else(|| self.refusal_to_replace(member, reason))
    }

    /// Returns whether one more that is there may have the target: a stage of the rollout lets it, and it is
    /// not among what is too much, which is on its way out and not worth a change.
    fn has_room_in_place(&self) -> bool {
        let beside = self.resolved.surge + self.doomed().count() as u32;
        let wanted = self.resolved.size.saturating_add(beside);
        self.of_target() < self.stage_most().unwrap_or(wanted)
    }

    /// Returns whether a stage of the rollout lets one more outdated instance go: what this plan changed in
    /// place took from it too.
    fn one_may_go(&self) -> bool {
        let stage = self.stage_most();
        stage.is_none_or(|most| {
            let others = self.live_count().saturating_sub(self.of_target());
            others > self.others_at(most)
        })
    }

    /// Returns how many instances of other templates stay while `most` may have the target: the rest of the
    /// group and, at a stage of the rollout, those that take the places of what is interrupted, too old, or replaced because people say so.
    fn others_at(&self, most: u32) -> u32 {
        let rest = self.resolved.size - most;
        if self.stage_most().is_none() {
            return rest;
        }
        rest + self.doomed().count() as u32 + self.surge_for_expiry()
    }

    /// Returns how many instances may have the target, where a stage of the rollout limits it.
    fn stage_most(&self) -> Option<u32> {
        let rollout = self.next.rollout.as_ref()?;
        self.quota(rollout).map(|quota| quota.most)
    }

    /// Leaves of `members` those that the document does not protect from `reason`, and says which it
    /// does. Returns how many.
    pub(super) fn pass_by(&mut self, members: &mut Vec<&'a Member>, reason: Reason) -> u32 {
        let mut kept = 0;
        members.retain(|member| match self.protection(member, reason) {
            Some(held) => {
                self.hold(held);
                kept += 1;
                false
            }
            None => true,
        });
        kept
    }

    /// Returns how many more instances may be made of the target now, `kept` outdated ones staying, and
    /// leaves of `outdated` those that may be renewed: at a stage of the rollout the others stay.
    fn room(&self, outdated: &mut Vec<&'a Member>, kept: u32) -> u32 {
        let size = self.resolved.size;
        let stage = self.stage_most();
        let most = stage.unwrap_or(size);
        let of_target = self.of_target();
        let stand_ins = self.stand_ins(outdated);
        // Those that this plan makes of another template stay as well, and the next pass sees them.
        let others = self.live_count().saturating_sub(of_target);
        let mut retirable = others.saturating_sub(self.others_at(most));
        let mut changeable = stage.map_or(u32::MAX, |most| most.saturating_sub(of_target));
        let mut surplus = self.surplus_beside_doomed();
        let mut changed = 0;
        outdated.retain(|member| {
            let in_place = self.in_place(member).is_some();
            let goes = retirable > 0 && (changeable > 0 || !in_place);
            if goes {
                retirable -= 1;
                changed += u32::from(in_place);
                // One that is replaced has a successor already, or takes the place of one more.
                if surplus > 0 && !in_place {
                    surplus -= 1;
                } else {
                    changeable = changeable.saturating_sub(1);
                }
            }
            goes
        });
        // No successor is made for what is passed by, nor for what is changed in place.
        let successors = most.min(size.saturating_sub(kept));
        let successors = successors.saturating_sub(of_target + changed);
        let room = most.saturating_sub(of_target);
        match stage {
            Some(_) => (successors + stand_ins).min(room),
            None => successors + stand_ins,
        }
    }

    /// Returns the outdated members in the order in which they are retired.
    fn outdated(&self) -> Vec<&'a Member> {
        // What the provider is about to take is replaced anyway, whatever it was made from.
        let waits = |member: &&Member| {
            let changes = self.changing.contains(&member.id);
            !self.current(member) && !changes && !self.is_doomed(member)
        };
        let mut outdated: Vec<&'a Member> = self.live().filter(waits).collect();
        outdated.sort_by_cached_key(|member| self.retirement_order(member, Reason::Update));
        if !self.minds_zones() {
            return outdated;
        }
        // The zone with most outdated ones first.
        let mut counts = ZoneCounts::default();
        for member in &outdated {
            counts.add(member.zone.as_deref(), 1);
        }
        let tier = |member: &Member| {
            let last = u8::from(member.busy) * 2 + u8::from(member.leader == Some(true));
            u8::from(serves(member)) * 4 + last
        };
        let counts = [counts, self.zone_counts()];
        fullest_zone_first(&outdated, tier, counts, &self.spec.placement.zones)
    }

    /// Returns by what members are sorted to be retired: those that do not serve first, the busy ones
    /// last and who leads after them, those that a policy would rather let go first, and of equal ones the oldest.
    pub(super) fn retirement_order(
        &self,
        member: &Member,
        reason: Reason,
    ) -> (bool, bool, bool, Score, Timestamp, InstanceId) {
        (
            serves(member),
            member.busy,
            member.leader == Some(true),
            self.score(member, reason),
            member.created_at,
            member.id.clone(),
        )
    }

    pub(super) fn target_serves(&self) -> bool {
        self.live().any(|member| self.proves_target(member))
    }

    /// Counts the instances of the target that do not serve yet, or no more.
    pub(super) fn target_waiting(&self) -> u32 {
        let there = self
            .live()
            .filter(|member| self.current(member) || self.changing.contains(&member.id))
            .filter(|member| member.class != InstanceClass::Available || self.settles(member))
            .count() as u32;
        there + self.made.get(&self.target).copied().unwrap_or(0)
    }
}

/// The hold of what waits for the first batch, or for the window after it.
fn slower(first: bool, waiting: u32) -> Held {
    let hold = if first {
        Hold::FirstBatch { waiting }
    } else {
        Hold::RolloutWindow { waiting }
    };
    held_for(Reason::Update, hold)
}

/// Returns whether a hold keeps all launches back: then there will be no replacement.
pub(super) fn launches_wait(held: &Held) -> bool {
    matches!(
        held.hold,
        Hold::LaunchBackoff { .. }
            | Hold::UnknownOutcomes { .. }
            | Hold::NumbersExhausted { .. }
            | Hold::CreateLimit { .. }
            | Hold::SecretUnresolved { .. }
    )
}
