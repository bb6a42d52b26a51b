//! Bad instances that are kept for people to look at, instead of being ended.
//!
//! One that is kept is no member any more: it counts for the total and for nothing else, so that it is
//! replaced like any other. The record alone says what is kept; nothing is called for it, so that no
//! answer can be lost. What is left when its time is over is drained and destroyed like any other.

use drover_model::{Activity, Cause, ErrorClass, InstanceClass, InstanceId, Kept, Member, Reason};

use super::STEPS_MAX;
use super::draft::{Draft, disrupts};
use super::observes;
use crate::numbers::doomed;
use crate::time::later;

impl<'a> Draft<'a> {
    /// Takes a bad member out of service, and keeps it if it may.
    pub(super) fn keep_or_end(&mut self, member: &'a Member) {
        if self.may_keep(member) {
            self.keep(member, Some(Reason::Heal));
        } else {
            self.disrupt(member, Reason::Heal);
        }
    }

    /// Returns whether a bad member is kept instead of being ended.
    pub(super) fn may_keep(&self, member: &Member) -> bool {
        // What the provider takes, or does not show, nobody can look at.
        let there = member.provider_ref.is_some() && member.token.is_some();
        let there = there && member.interruption.is_none() && member.seat.is_none();
        let kept = (self.input.classified.kept.len() + self.keeping.len()) as u32;
        // What has done its work is not bad.
        let bad = !self.completed(member);
        // What is kept is replaced: another one is wanted then, whatever there is now.
        there && bad && !observes(self.input) && kept < self.keep_max(true)
    }

    /// Keeps a member. From now on it is none.
    pub(super) fn keep(&mut self, member: &'a Member, reason: Option<Reason>) {
        self.leave(member, reason);
        self.keeping.insert(&member.id);
        self.wake(later(self.input.now, self.spec.heal.keep.time));
        self.resolved = self.resolved.beside(1, self.spec);
    }

    /// Returns how many may be kept: none that takes the place of what is wanted. `lacks`: whether
    /// another one is wanted now.
    fn keep_max(&self, lacks: bool) -> u32 {
        if lacks && self.no_room() {
            return 0;
        }
        let wanted = self
            .resolved
            .size
            .saturating_add(self.resolved.surge)
            .saturating_add(doomed(self.spec, self.input.classified))
            .saturating_add(self.succeeded.len() as u32);
        let limit = self.spec.limits.total_max;
        let beside = limit.map_or(u32::MAX, |limit| limit.saturating_sub(wanted));
        self.spec.heal.keep.max.min(beside)
    }

    /// Returns whether more instances are wanted than there are.
    fn lacks(&self) -> bool {
        let wanted = self.resolved.size + self.doomed().count() as u32;
        self.live_count() < wanted || self.next.rollout.is_some()
    }

    /// Returns whether the provider has no room for what is wanted.
    fn no_room(&self) -> bool {
        let class = self.next.backoff.as_ref().and_then(|backoff| backoff.class);
        matches!(class, Some(ErrorClass::Capacity | ErrorClass::Quota))
            || self.zones_closed().is_some()
    }

    /// Returns what is kept and not being ended.
    pub(super) fn kept_on(&self) -> impl Iterator<Item = &'a Member> + use<'a, '_> {
        let kept = self.input.classified.kept.values();
        kept.filter(|member| {
            let ending = matches!(member.class, InstanceClass::Terminating)
                || member.drain.is_some()
                || self.intents.destroy(&member.id).is_some();
            !ending
        })
    }

    /// Ends what was kept for long enough, and of the rest what is too much, the oldest first.
    pub(super) fn end_kept(&mut self) {
        let mut kept: Vec<(Kept, &'a Member)> = self
            .kept_on()
            .filter_map(|member| Some((self.recorded_keep(member)?, member)))
            .collect();
        kept.sort_by_key(|(kept, member)| (kept.since, member.id.clone()));
        // What is going makes room by itself, soon: nothing else has to go for it.
        let most = self.keep_max(self.lacks()) as usize;
        let over = |(kept, _): &&(Kept, &Member)| kept.until <= self.input.now;
        let timely = kept.iter().filter(over).count();
        let mut excess = (kept.len() - timely).saturating_sub(most);
        let mut ends = Vec::new();
        for (kept, member) in kept {
            if kept.until <= self.input.now {
                ends.push(member);
            } else if excess > 0 {
                excess -= 1;
                ends.push(member);
            } else {
                self.wake(kept.until);
            }
        }
        if !ends.is_empty()
            && let Some(held) = self.suspended(Activity::Gc)
        {
            self.hold(held);
            return;
        }
        for member in ends {
            self.end_one(member);
        }
    }

    fn end_one(&mut self, member: &'a Member) {
        if let Some(held) = self.protection(member, Reason::Heal) {
            self.hold(held);
            return;
        }
        let shown = member.provider_ref.is_some() && member.token.is_some();
        // What is not listed is waited for: it is gone, or comes back.
        if shown && self.steps.len() < STEPS_MAX {
            self.end(member, Cause::KeptOver);
        }
    }

    /// Returns why an instance is ended, for whatever reason that was begun.
    pub(super) fn cause_of_end(&self, member: &Member, reason: Reason) -> Cause {
        let kept = self.input.classified.kept.contains_key(&member.id);
        if kept && reason == Reason::Heal {
            Cause::KeptOver
        } else {
            Cause::Because(reason)
        }
    }

    /// Returns what is recorded of the keeping of an instance. Its end follows the document: a longer
    /// time holds for what is kept already.
    pub(super) fn recorded_keep(&self, member: &Member) -> Option<Kept> {
        let was = self.input.recorded.instances.get(&member.id);
        let time = self.spec.heal.keep.time;
        if let Some(kept) = was.and_then(|was| was.kept.clone()) {
            return Some(Kept {
                until: later(kept.since, time),
                ..kept
            });
        }
        let since = self.input.now;
        self.keeping.contains(&member.id).then(|| Kept {
            since,
            until: later(since, time),
            because: member.class.why().unwrap_or_default(),
        })
    }

    /// Counts what was taken out of service by being kept, as long as nobody has looked since: it takes up
    /// its room among the repairs like one that is on its way out.
    pub(super) fn just_kept(&self) -> u32 {
        let recorded = &self.input.recorded.instances;
        let memory = &self.input.classified.memory;
        let kept = self.input.classified.kept.keys().filter(|id| {
            let kept = recorded.get(*id).and_then(|was| was.kept.as_ref());
            let unseen = kept.is_some_and(|kept| kept.since >= self.input.classified.as_of);
            let served = memory
                .get(*id)
                .is_none_or(|memory| memory.ready_at.is_some());
            unseen && served
        });
        kept.count() as u32
    }

    /// Counts what this plan keeps as ended within the hour: it is out of service from now on.
    pub(super) fn count_kept(&mut self) {
        let counts = |id: &&&InstanceId| disrupts(self.input, id, Reason::Heal);
        let count = self.keeping.iter().filter(counts).count() as u32;
        if count > 0 {
            self.count_destroyed(count);
        }
    }
}
