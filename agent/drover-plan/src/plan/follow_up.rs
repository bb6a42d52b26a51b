//! Finishing what was started: open intents, drains that are done, failed launches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    Action, Activity, Cause, Classified, DrainProgress, ErrorClass, Held, Hold, InstanceClass,
    InstanceId, Intent, IntentId, IntentKind, IntentState, Member, OnDrainTimeout, Precondition,
    Reason, Settlement, SettlementOutcome, Step, Timestamp, Unanswered,
};

use super::draft::{Course, Draft};
use super::{STEPS_MAX, held, held_for};
use crate::time::{elapsed, later};

/// A destroy that the provider refused is tried again after this time.
const DESTROY_RETRY: Duration = Duration::from_secs(15);

/// One that it refused for good, or for its credentials, is tried again after this time: somebody has to mend that first.
const DESTROY_REFUSED_RETRY: Duration = Duration::from_mins(5);

/// A launch that is listed and has no answer is told of after this time: by then it was asked for more than once.
pub(super) const UNFINISHED_TOLD: Duration = Duration::from_secs(30);

/// A call without an answer is repeated after this time, and after twice as long each time.
const REPEAT_FIRST: Duration = Duration::from_secs(1);

/// How often that is doubled, and the most that it comes to, in times the first.
const REPEAT_DOUBLINGS: u32 = 5;
const REPEAT_MOST: u32 = 30;

/// When a decision that came to nothing is taken again: soon, but not on the same facts.
pub(super) const DECIDE_ANEW: Duration = Duration::from_secs(1);

/// A destroy that the provider accepted and that shows no effect is repeated after this time; the
/// call is idempotent.
const DESTROY_REPEAT: Duration = Duration::from_mins(10);

impl<'a> Draft<'a> {
    /// Closes what is settled, repeats what has no answer, and ends what is drained.
    pub(super) fn follow_up(&mut self) {
        self.settle();
        self.resend();
        self.follow_updates();
        self.repeat_destroys();
        self.end_drained();
    }

    /// Closes intents. Changes nothing outside, so that it goes on while everything else is held.
    pub(super) fn settle(&mut self) {
        self.count_settled();
        for settlement in &self.input.classified.settled {
            self.close(settlement.intent, settlement.outcome.clone());
        }
        for intent in self.intents.creates.clone() {
            match intent.state {
                // The journal says that the provider was never called, or that it did nothing.
                IntentState::Intended => {
                    self.close(intent.id, SettlementOutcome::Superseded);
                }
                // It was a repeat that was refused: what the call made is there.
                IntentState::Failed { .. } if self.is_there(intent) => {
                    self.close(intent.id, SettlementOutcome::Observed);
                }
                IntentState::Failed { .. } => self.close(intent.id, SettlementOutcome::NoEffect),
                IntentState::Sent | IntentState::Acked { .. } => {}
            }
        }
        self.close_updates();
        self.close_adoptions();
        self.settle_roster();
    }

    pub(super) fn close(&mut self, intent: IntentId, outcome: SettlementOutcome) {
        let action = Action::Settle(Settlement { intent, outcome });
        self.step(action, Cause::FollowUp, vec![Precondition::Open(intent)]);
    }

    pub(super) fn is_settled(&self, intent: &Intent) -> bool {
        self.settled.contains_key(&intent.id)
    }

    fn resend(&mut self) {
        let unanswered = self.unanswered();
        let missing = unanswered.iter().filter(|intent| !self.is_there(intent));
        let missing: Vec<&'a Intent> = missing.copied().collect();
        for intent in &missing {
            self.repeat_when_due(intent);
        }
        let old = |intent: &&Intent| elapsed(intent.issued_at, self.input.now) >= UNFINISHED_TOLD;
        if missing.iter().copied().any(|intent| old(&intent)) {
            let hold = self.unknown_outcomes();
            self.hold(held(hold));
        }
    }

    /// Repeats a call that has no answer: soon, and then less and less often.
    pub(super) fn repeat_when_due(&mut self, intent: &'a Intent) {
        let due = self.told(intent).map(asked_again);
        match due.filter(|due| *due > self.input.now) {
            Some(due) => self.wake(due),
            None => self.repeat(intent),
        }
    }

    /// Returns when a call that ends or changes an instance is repeated, which has no answer.
    pub(super) fn repeated_at(&self, id: &InstanceId) -> Timestamp {
        let memory = self.input.classified.memory.get(id);
        let told = memory.and_then(|memory| memory.unheeded.as_deref());
        told.map_or(self.input.now, asked_again)
    }

    /// Returns what the calls of a create or an adoption came to. None: nobody remembers one.
    fn told(&self, intent: &Intent) -> Option<&'a Unanswered> {
        let memory = self.input.classified.memory.get(intent.asks_for()?)?;
        memory.unanswered.as_deref()
    }

    /// Returns the hold for creates that have no answer, with what the latest call came to.
    pub(super) fn unknown_outcomes(&self) -> Hold {
        Hold::UnknownOutcomes {
            count: self.unknown_creates(),
            said: self.last_said(None),
        }
    }

    /// Repeats calls whose instances are listed and may not be finished. Last, because a refusal keeps what follows it
    /// from being called; and never for what this plan ends, which it might make once more.
    pub(super) fn finish_launches(&mut self) {
        let ended: BTreeSet<InstanceId> = self
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Destroy { instance, .. } | Action::Release { instance, .. } => {
                    Some(instance.clone())
                }
                Action::Create { .. }
                | Action::Resend { .. }
                | Action::Drain { .. }
                | Action::Update(_)
                | Action::Roster(_)
                | Action::Adopt(_)
                | Action::Settle(_) => None,
            })
            .collect();
        for intent in self.unfinished() {
            let slots = intent.slots();
            if slots.iter().any(|id| ended.contains(id)) {
                continue;
            }
            self.repeat_when_due(intent);
            if elapsed(intent.issued_at, self.input.now) >= UNFINISHED_TOLD {
                self.hold(Held {
                    instance: slots.first().cloned(),
                    ..held(Hold::UnknownOutcomes {
                        count: slots.len() as u32,
                        said: intent.said.clone(),
                    })
                });
            }
        }
    }

    /// Returns the creates that are repeated until they are answered.
    pub(super) fn unanswered(&self) -> Vec<&'a Intent> {
        let creates = self.intents.creates.iter().copied();
        let unanswered =
            |intent: &&Intent| intent.state == IntentState::Sent && !self.is_settled(intent);
        creates.filter(unanswered).collect()
    }

    /// Returns those of them whose instances are all listed.
    pub(super) fn unfinished(&self) -> Vec<&'a Intent> {
        let mut unanswered = self.unanswered();
        unanswered.retain(|intent| self.is_there(intent));
        unanswered
    }

    /// Returns what the provider said last to a create without an answer: to any one, or to that of an instance.
    pub(super) fn last_said(&self, id: Option<&InstanceId>) -> Option<String> {
        let asked = self.unanswered().into_iter().rev();
        let mut asked = asked.filter(|intent| id.is_none_or(|id| intent.slots().contains(id)));
        asked.find_map(|intent| intent.said.clone())
    }

    /// Returns whether every instance of a create is listed.
    pub(super) fn is_there(&self, create: &Intent) -> bool {
        create.slots().iter().all(|id| self.is_listed_instance(id))
    }

    /// Returns whether an instance is listed: one that only the journal knows has no handle.
    pub(super) fn is_listed_instance(&self, id: &InstanceId) -> bool {
        let Classified { members, kept, .. } = self.input.classified;
        let member = members.get(id).or_else(|| kept.get(id));
        member.is_some_and(|member| member.provider_ref.is_some())
    }

    /// Repeats a call with the same token.
    pub(super) fn repeat(&mut self, intent: &Intent) {
        let action = Action::Resend { intent: intent.id };
        self.step(action, Cause::FollowUp, vec![Precondition::Open(intent.id)]);
    }

    /// Repeats destroys that were not accepted. The executor repeats the open intent.
    fn repeat_destroys(&mut self) {
        let members = &self.input.classified.members;
        let kept = &self.input.classified.kept;
        let destroys: Vec<(&'a Member, Vec<&'a Intent>)> = self
            .intents
            .destroys
            .iter()
            .filter_map(|(id, intents)| {
                let member = members.get(*id).or_else(|| kept.get(*id))?;
                Some((member, intents.clone()))
            })
            .collect();
        for (member, intents) in destroys {
            let Some((first, rest)) = intents.split_first() else {
                continue;
            };
            // One is enough to say that the instance is on its way out.
            for intent in rest {
                self.close(intent.id, SettlementOutcome::Superseded);
            }
            let due = match &first.state {
                IntentState::Intended => self.input.now,
                IntentState::Sent => self.repeated_at(&member.id),
                IntentState::Failed { class, at, .. } => later(*at, destroy_retry(*class)),
                IntentState::Acked { at, .. } => later(*at, DESTROY_REPEAT),
            };
            if due > self.input.now {
                self.wake(due);
            } else if has_effect(first) || member.drain.is_some() || failed(member) {
                let cause = self.cause_of_end(member, destroy_reason(first));
                self.destroy(member, cause);
            } else {
                // Nothing came of it, and what it rested on is long past: decided anew, next time.
                self.close(first.id, SettlementOutcome::NoEffect);
                self.wake(later(self.input.now, DECIDE_ANEW));
            }
        }
    }

    /// Says that the provider refuses an end: of one instance, however many there are, and of the same one as long as that
    /// lasts. One that is decided anew has no intent until the plan is carried out.
    pub(super) fn tell_refused_end(&mut self) {
        let Classified { members, kept, .. } = self.input.classified;
        let destroys = self.intents.destroys.iter();
        let refused = destroys.filter_map(|(id, intents)| {
            let there = members.contains_key(*id) || kept.contains_key(*id);
            let hold = intents
                .first()
                .and_then(|intent| refused_end(intent).or_else(|| self.unheeded_end(intent)));
            hold.filter(|_| there).map(|hold| ((*id).clone(), hold))
        });
        let refused = refused.collect();
        let told = self.told_refused_end();
        self.tell_one(refused, told, told.is_some_and(|told| self.ends(told)));
    }

    /// Holds for one of the instances of which the provider refuses a call: for the one that the group has a hold for
    /// already, as long as the call is refused or `asked_anew`, else for the first.
    pub(super) fn tell_one(
        &mut self,
        mut refused: BTreeMap<InstanceId, Held>,
        told: Option<&Held>,
        asked_anew: bool,
    ) {
        let same = told.and_then(|told| refused.remove(told.instance.as_ref()?));
        let asked_anew = told.filter(|_| asked_anew).cloned();
        let first = same.or(asked_anew);
        if let Some(held) = first.or_else(|| refused.into_values().next()) {
            self.hold(held);
        }
    }

    /// Returns the hold of an end that has no answer for so long that it was asked for more than once.
    fn unheeded_end(&self, intent: &Intent) -> Option<Held> {
        let IntentKind::Destroy {
            instance, reason, ..
        } = &intent.kind
        else {
            return None;
        };
        let told = elapsed(intent.issued_at, self.input.now) >= UNFINISHED_TOLD;
        if intent.state != IntentState::Sent || !told {
            return None;
        }
        let message = intent.said.clone()?;
        Some(end_refused(instance, *reason, ErrorClass::Unknown, message))
    }

    /// Returns the hold that the group has for an end that is refused.
    pub(super) fn told_refused_end(&self) -> Option<&'a Held> {
        let mut holds = self.input.recorded.holds.iter();
        holds.find(|held| matches!(held.hold, Hold::EndRefused { .. }))
    }

    /// Returns whether the instance that a hold is about is on its way to be ended once more.
    fn ends(&self, held: &Held) -> bool {
        let Some(id) = &held.instance else {
            return false;
        };
        let leads_there = |step: &Step| match &step.action {
            Action::Destroy { instance, .. } | Action::Drain { instance, .. } => instance == id,
            Action::Create { .. }
            | Action::Resend { .. }
            | Action::Release { .. }
            | Action::Update(_)
            | Action::Roster(_)
            | Action::Adopt(_)
            | Action::Settle(_) => false,
        };
        let Classified { members, kept, .. } = self.input.classified;
        let member = members.get(id).or_else(|| kept.get(id));
        let drains = member.is_some_and(|member| member.drain.is_some());
        let asked = self.intents.destroy(id).is_some();
        self.steps.iter().any(leads_there) || (drains && !asked)
    }

    fn end_drained(&mut self) {
        let mut spared = self.spared();
        for member in self.known() {
            let Some(drain) = &member.drain else {
                continue;
            };
            let over = matches!(member.class, InstanceClass::Terminating);
            if over || self.intents.destroy(&member.id).is_some() {
                continue;
            }
            if self.was_to_go(member) {
                if spared == 0 {
                    let floor = self.resolved.floor;
                    let available = self.available;
                    let hold = Hold::AvailabilityFloor { floor, available };
                    self.hold(held_for(Reason::Delete, hold));
                    continue;
                }
                spared -= 1;
            }
            if drain.returns {
                self.restart_drained(member, drain);
                continue;
            }
            let ended = matches!(member.class, InstanceClass::Exited(_));
            if drain.done || ended || failed(member) {
                self.destroy(member, self.cause_of_end(member, drain.reason));
            } else if self.input.now < drain.deadline {
                self.wake(drain.deadline);
            } else {
                self.drain_timed_out(member, drain.reason);
            }
        }
    }

    /// Returns whether a member is well and drained because its group was to be removed, which was taken back.
    fn was_to_go(&self, member: &Member) -> bool {
        let drained_to_go = |drain: &DrainProgress| drain.reason == Reason::Delete;
        self.course == Course::Keeps
            && member.drain.as_ref().is_some_and(drained_to_go)
            && matches!(member.class, InstanceClass::Available)
            && self.intents.destroy(&member.id).is_none()
    }

    /// Returns how many of those may be ended now: they go as their successors come to serve.
    fn spared(&self) -> u32 {
        let going = self.known().filter(|one| self.was_to_go(one));
        (self.available + going.count() as u32).saturating_sub(self.resolved.floor)
    }

    /// Ends a member that was to come back.
    pub(super) fn give_up(&mut self, member: &'a Member, reason: Reason) {
        self.destroy(member, Cause::Because(reason));
        if self.returning.remove(&member.id).is_some() {
            self.staying -= 1;
        }
    }

    pub(super) fn drain_timed_out(&mut self, member: &Member, reason: Reason) {
        match self.on_timeout(member) {
            OnDrainTimeout::Proceed => {
                self.destroy(member, self.cause_of_end(member, reason));
            }
            OnDrainTimeout::Abort => self.hold(Held {
                reason: Some(reason),
                instance: Some(member.id.clone()),
                ..held(Hold::DrainTimeout)
            }),
        }
    }

    /// Returns what the drain's own specification says: the one that it began with.
    pub(super) fn on_timeout(&self, member: &Member) -> OnDrainTimeout {
        match self.intents.drain(&member.id).map(|intent| &intent.kind) {
            Some(IntentKind::Drain { spec, .. }) => spec.on_timeout,
            Some(
                IntentKind::Create { .. }
                | IntentKind::Destroy { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_),
            )
            | None => self.spec.drain.on_timeout,
        }
    }

    /// Removes the remains of failed launches: they hold room and never served.
    pub(super) fn clear_failed_launches(&mut self) {
        let remains: Vec<&Member> = self
            .live()
            .filter(|member| failed(member) && self.kept_by_person(member).is_none())
            .collect();
        if remains.is_empty() {
            return;
        }
        if let Some(held) = self.suspended(Activity::Gc) {
            self.hold(held);
            return;
        }
        for member in remains {
            if self.may_keep(member) {
                self.keep(member, None);
                continue;
            }
            self.destroy(member, Cause::FailedLaunch);
            self.leave(member, None);
        }
    }

    /// Removes the remains of what has done its work. That is no repair: nothing is paced or counted.
    pub(super) fn clear_completed(&mut self) {
        let done: Vec<&Member> = self
            .live()
            .filter(|member| self.completed(member) && self.kept_by_person(member).is_none())
            .collect();
        if !done.is_empty()
            && let Some(held) = self.suspended(Activity::Gc)
        {
            self.hold(held);
            return;
        }
        for member in done {
            if self.steps.len() >= STEPS_MAX {
                return;
            }
            self.destroy(member, Cause::Completed);
            self.leave(member, None);
        }
    }

    /// Returns whether a member of an ephemeral group has done its work.
    pub(super) fn completed(&self, member: &Member) -> bool {
        let memory = self.input.classified.memory.get(&member.id);
        memory.is_some_and(|memory| memory.completed)
    }
}

/// Returns whether a member's launch failed.
pub(super) fn failed(member: &Member) -> bool {
    matches!(member.class, InstanceClass::Failed { .. })
}

/// Returns the hold of an end that the provider has refused.
fn refused_end(intent: &Intent) -> Option<Held> {
    let IntentState::Failed { class, message, .. } = &intent.state else {
        return None;
    };
    // Too many calls are fewer after a while, without anybody.
    if *class == ErrorClass::Throttled {
        return None;
    }
    let IntentKind::Destroy {
        instance, reason, ..
    } = &intent.kind
    else {
        return None;
    };
    Some(end_refused(instance, *reason, *class, message.clone()))
}

fn end_refused(instance: &InstanceId, reason: Reason, class: ErrorClass, message: String) -> Held {
    Held {
        instance: Some(instance.clone()),
        ..held_for(reason, Hold::EndRefused { class, message })
    }
}

/// Returns when a call without an answer is repeated: soon, and then less and less often.
fn asked_again(told: &Unanswered) -> Timestamp {
    let doublings = told.calls.saturating_sub(1).min(REPEAT_DOUBLINGS);
    later(
        told.last,
        REPEAT_FIRST * (1_u32 << doublings).min(REPEAT_MOST),
    )
}

/// Returns how long a destroy that was refused waits.
fn destroy_retry(class: ErrorClass) -> Duration {
    match class {
        ErrorClass::InvalidSpec | ErrorClass::Auth => DESTROY_REFUSED_RETRY,
        ErrorClass::Throttled
        | ErrorClass::Capacity
        | ErrorClass::Quota
        | ErrorClass::Partial
        | ErrorClass::Unknown
        | ErrorClass::NotFound => DESTROY_RETRY,
    }
}

/// Returns whether a destroy may have taken effect.
fn has_effect(intent: &Intent) -> bool {
    match intent.state {
        IntentState::Sent | IntentState::Acked { .. } => true,
        IntentState::Intended | IntentState::Failed { .. } => false,
    }
}

fn destroy_reason(intent: &Intent) -> Reason {
    match &intent.kind {
        IntentKind::Destroy { reason, .. } | IntentKind::Drain { reason, .. } => *reason,
        IntentKind::Update(_) | IntentKind::Roster(_) => Reason::Update,
        IntentKind::Create { .. } | IntentKind::Adopt(_) => Reason::Heal,
    }
}
