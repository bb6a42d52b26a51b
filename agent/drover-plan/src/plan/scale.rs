//! Making what is missing, and removing what is too much.

use std::cmp::{Ordering, Reverse};

use drover_model::{
    Cause, Digests, FieldClass, Held, Hold, InstanceClass, Member, OrderVerb, Prefer, Reason,
    RolloutMode,
};

use super::draft::Draft;
use super::held_for;
use super::placement::{ZoneCounts, fullest_zone_first};
use super::stages::Replaced;
use super::target::Fresh;
use super::window::is_window;

impl<'a> Draft<'a> {
    /// Makes missing instances, as many as the ceiling and the spacing of launches allow.
    pub(super) fn scale_out(&mut self) {
        let missing = self.resolved.size.saturating_sub(self.live_count());
        if missing == 0 {
            return;
        }
        self.unmet = missing;
        let parts = match self.templates_for(missing) {
            Ok(parts) => parts,
            Err(held) => {
                self.hold(*held);
                return;
            }
        };
        for (digests, wanted) in parts {
            let (count, limit) = self.creatable(wanted, &digests, Cause::ScaleOut);
            self.create(count, &digests, Cause::ScaleOut);
            self.unmet -= count;
            if let Some(held) = limit {
                self.hold(held);
            }
        }
    }

    /// Returns what `count` missing instances are made from: the target as far as a stage of the
    /// rollout allows, the rest from the last good template. An error says why from nothing.
    pub(super) fn templates_for(&self, count: u32) -> Result<[(Digests, u32); 2], Box<Held>> {
        self.templates_in_place_of(Replaced::default(), count)
    }

    /// Returns the same for `count` that take the places of others.
    pub(super) fn templates_in_place_of(
        &self,
        replaced: Replaced,
        count: u32,
    ) -> Result<[(Digests, u32); 2], Box<Held>> {
        let room = self.room_for_target(replaced);
        let (digests, first, rest) = match (self.fresh.clone(), room) {
            (Fresh::Target, Some((room, good))) => (self.target.clone(), room.min(count), good),
            (Fresh::Target, None) => (self.target.clone(), count, self.target.clone()),
            (Fresh::Stable(stable), _) => (stable.clone(), count, stable),
            (Fresh::Nothing(held), _) => return Err(Box::new(held)),
        };
        Ok([(digests, first), (rest, count - first)])
    }

    /// Removes what exceeds the size, and the surge while a rollout needs it. The last outdated
    /// instance may be among what is removed, and the surge is no longer needed then.
    pub(super) fn scale_in(&mut self) {
        while self.remove_excess() {}
    }

    /// Removes what exceeds the size now. Returns whether anything was removed.
    fn remove_excess(&mut self) -> bool {
        let allowance = self.surge_in_use();
        // A move between zones is made only without a rollout, so that there is one of the two.
        let allowance = allowance.max(self.rebalance_allowance());
        let most = self.resolved.size.saturating_add(allowance);
        let excess = self.live_count().saturating_sub(most);
        if excess == 0 {
            return false;
        }
        if let Some(held) = self.withheld_scale_in(excess) {
            self.hold(held);
            return false;
        }
        let before = self.leaving.len();
        // One that is being changed cannot be ended in the same plan, and goes in the next.
        let busy = |member: &&Member| {
            let changes =
                self.changing.contains(&member.id) || self.leaving.contains_key(&member.id);
            changes && self.yields(member)
        };
        let busy = self.remaining().filter(busy).count() as u32;
        let mut left = excess.saturating_sub(busy);
        let mut kept = Vec::new();
        for member in self.victims() {
            if left == 0 {
                break;
            }
            // Nobody goes in the place of one that people name: it waits until it may be ended.
            if !self.yields(member)
                && let Some(held) = self.protection(member, Reason::ScaleIn)
            {
                kept.push(held);
                continue;
            }
            // One that cannot be ended yet is still the one to go: it waits, and no better one goes
            // in its place.
            left -= 1;
            match self.refusal(member, Reason::ScaleIn) {
                None => self.disrupt(member, Reason::ScaleIn),
                Some(held) => self.hold(held),
            }
        }
        // As long as others go in their place, nothing is withheld.
        for held in kept.into_iter().take(left as usize) {
            self.hold(held);
        }
        self.leaving.len() > before
    }

    /// Returns how many instances above the size there is a use for: of the surge for rollout and
    /// expiry, and beside it those that take the places of what the provider takes.
    pub(super) fn surge_in_use(&self) -> u32 {
        let used = self
            .surge_for_rollout()
            .saturating_add(self.surge_for_expiry())
            .saturating_add(self.surge_for_restarts());
        let doomed = self.doomed().count() as u32;
        used.min(self.resolved.surge).saturating_add(doomed)
    }

    /// Returns how many stand in for what people have restarted, where nothing may be missing.
    fn surge_for_restarts(&self) -> u32 {
        if self.resolved.floor < self.resolved.size {
            return 0;
        }
        let returning = self.returning.keys().copied();
        let coming = self.live().filter(|member| self.is_back_soon(member));
        let all = returning.chain(coming.map(|member| &member.id));
        all.filter(|id| self.restarts_for_people(id)).count() as u32
    }

    /// Returns how many the rollout has a use for.
    ///
    /// One that may not act replaces nothing, and only keeps what it has on the way: without that,
    /// a smaller size would not take effect. What this plan makes of another template is outdated in
    /// the next pass: it counts. When a window closed, it keeps what it made meanwhile too, as that
    /// still takes the places that it was made for.
    fn surge_for_rollout(&self) -> u32 {
        let kept = self.live().filter(|member| {
            !self.current(member) && self.protection(member, Reason::Update).is_some()
        });
        let kept = kept.count() as u32;
        let stands_in = self.stand_in_needed();
        if self.next.rollout.is_none() {
            // A way back is over when the last ones begin to restart: until they serve, others stand in.
            return if stands_in { self.resolved.surge } else { 0 };
        }
        if self.live_count() == self.of_target() + kept && !stands_in {
            return 0;
        }
        let proactive = self.spec.rollout.mode == RolloutMode::Proactive;
        if !proactive || self.pause().is_some() {
            return self.target_waiting();
        }
        match self.withheld(Reason::Update) {
            None => self.resolved.surge,
            Some(held) if is_window(&held) => self.of_target(),
            Some(_) => self.target_waiting(),
        }
    }

    /// Returns how many are there, or may be made, for those that are too old.
    pub(super) fn surge_for_expiry(&self) -> u32 {
        let replaced = |member: &&Member| {
            self.is_expired(member) && self.protection(member, Reason::Expiry).is_none()
        };
        let replaced = self.live().filter(replaced).count() as u32;
        if replaced == 0 || self.rollout_bars_expiry() {
            return 0;
        }
        let begun = self.live_count().saturating_sub(self.input.recorded.size);
        match self.withheld(Reason::Expiry) {
            None => replaced,
            Some(held) if is_window(&held) => replaced.min(begun),
            Some(_) => 0,
        }
    }

    /// Returns what withholds the removal of `excess` instances, whichever they are.
    pub(super) fn withheld_scale_in(&self, excess: u32) -> Option<Held> {
        self.withheld(Reason::ScaleIn)
            .or_else(|| self.surplus(excess))
    }

    /// Returns the hold for more surplus than a change may remove: no change asked for it, or more
    /// is there than the agent ever made.
    fn surplus(&self, excess: u32) -> Option<Held> {
        if self.input.decisions.size.is_some() {
            return None;
        }
        // A share is of what there was, or of what there is where nobody knows what there was.
        let before = self.next.stable_size.max(self.input.recorded.size);
        let removed = self.removed_so_far();
        let there = self.live_count().saturating_add(removed);
        let limit = self
            .spec
            .destroy_max(before.max(self.resolved.size).max(there));
        let planned = self.change.as_ref().map_or(0, |change| change.destroys);
        let unplanned = excess.saturating_sub(planned.saturating_sub(removed));
        let wanted = removed + excess.saturating_sub(self.resolved.surge);
        (unplanned > self.resolved.surge && wanted > limit).then(|| {
            let earlier = 0;
            held_for(
                Reason::ScaleIn,
                Hold::DestroyLimit {
                    wanted,
                    limit,
                    earlier,
                },
            )
        })
    }

    /// Returns how many instances the change in progress has removed, those on their way counted.
    fn removed_so_far(&self) -> u32 {
        let id = self.change.as_ref().map(|change| &change.id);
        let done = match &self.next.destroyed {
            Some((change, count)) if Some(change) == id => *count,
            Some(_) | None => 0,
        };
        done + self.in_flight(Reason::ScaleIn)
    }

    /// Returns by what members are sorted where a policy says who goes first.
    pub(super) fn score(&self, member: &Member, reason: Reason) -> Score {
        Score(-self.input.decisions.victim_score(&member.id, reason))
    }

    /// Returns whether a member was taken for gone and is listed again, while there are more than are wanted.
    fn came_back(&self, member: &Member) -> bool {
        let memory = self.input.classified.memory.get(&member.id);
        memory.is_some_and(|memory| memory.lost_at.is_some())
    }

    /// Returns the members in the order in which scale-in takes them.
    pub(super) fn victims(&self) -> Vec<&'a Member> {
        // What a rollout that may not replace made above the size is what goes again.
        let keeps =
            self.next.rollout.is_some() && self.spec.rollout.action_max != FieldClass::Replace;
        // So is what stood in for one that people had restarted: that one was to stay.
        let keeps = keeps || self.live().any(|member| self.was_restarted(member));
        // And what was made in the place of one that was taken for gone and came back.
        let keeps = keeps || self.live().any(|member| self.came_back(member));
        let oldest = self.spec.scaling.prefer == Prefer::Oldest && !keeps;
        let wanted = match self.pause() {
            Some(_) => self.wanted(),
            None => &self.target,
        };
        let drift = &self.input.decisions.drift;
        let untouched = |member: &&Member| !self.changing.contains(&member.id);
        let mut victims: Vec<&'a Member> = self.live().filter(untouched).collect();
        let tier = |member: &Member| match member.class {
            InstanceClass::Terminating => 0,
            _ if self.yields(member) => 1,
            InstanceClass::Failed { .. } => 2,
            _ if member.interruption.is_some() => 3,
            InstanceClass::Unhealthy { .. } | InstanceClass::Exited(_) => 3,
            InstanceClass::Lost { .. } => 4,
            InstanceClass::Suspect { .. } | InstanceClass::Starting | InstanceClass::Warming => 5,
            InstanceClass::Available if !drift.is_current(&member.digests, wanted) => 6,
            InstanceClass::Available => 7,
        };
        victims.sort_by_cached_key(|member| {
            let (old, new) = if oldest {
                (Some(member.created_at), None)
            } else {
                (None, Some(Reverse(member.created_at)))
            };
            let score = self.score(member, Reason::ScaleIn);
            let condemned = self.ordered(&member.id, OrderVerb::Replace).is_some();
            (
                tier(member),
                !condemned,
                member.busy,
                member.leader == Some(true),
                score,
                old,
                new,
                member.id.clone(),
            )
        });
        if !self.minds_zones() {
            return victims;
        }
        let zones = &self.spec.placement.zones;
        let counts = [self.zone_counts(), ZoneCounts::default()];
        fullest_zone_first(&victims, tier, counts, zones)
    }
}

/// The score of a policy, turned round: what has more goes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score(f64);

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
