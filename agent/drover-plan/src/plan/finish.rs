//! The end of a plan: convergence, what watching leaves of it, the wake-up time.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Action, AdoptStep, Cause, Disturbance, GroupPhase, Held, Hold, InPlaceUpdate, InstanceClass,
    IntentId, IntentState, Lifecycle, Plan, PlanReport, Reason, Step, Timestamp,
};

use super::draft::{Course, Draft, settled_under};
use super::target::Fresh;
use super::{held, held_for, observes};
use crate::allowance::allowance;
use crate::input::Desired;
use crate::numbers::count;
use crate::time::{elapsed, later};

/// While something is on its way, the next look is after this share of the time it has taken so far:
/// what is quick is seen quickly, and what takes minutes is not asked about every second.
const POLL_SHARE: u32 = 8;

/// The shortest time between two looks.
const POLL_MIN: Duration = Duration::from_secs(1);

/// The longest time between two looks while something is on its way.
const POLL_MAX: Duration = Duration::from_secs(15);

impl Draft<'_> {
    /// Ends a plan in which nothing may be done.
    pub(super) fn fenced(&mut self, held: Held) {
        let journal = matches!(held.hold, Hold::JournalUnavailable { .. });
        self.fenced = true;
        let begun = self.input.recorded.phase == GroupPhase::Deleting;
        if begun && matches!(self.input.desired, Desired::Deleting { .. }) {
            self.course = Course::Removes;
        }
        self.hold(held);
        self.look(later(self.input.now, POLL_MAX));
        // Closing an intent needs the journal as much as writing one.
        if !journal {
            self.settle();
        }
    }

    /// Notes that everything is as it should be, if it is.
    pub(super) fn converge(&mut self) {
        let size = self.resolved.size;
        let kept = self.input.classified.kept.len() as u32;
        let total = self.total - kept;
        let settled = self.leaving.is_empty() && self.made.is_empty() && total == size;
        let all_good = self.live().all(|member| self.proves_target(member));
        // What was kept is beside the group: its end changes nothing about it.
        let moves = |step: &Step| step.action.mutates() && step.cause != Cause::KeptOver;
        let quiet = !self.steps.iter().any(moves);
        // In an ephemeral group there is no moment of rest: it is enough that nothing is outdated or
        // missing, and that what there is works.
        let turning = self.spec.lifecycle == Lifecycle::Ephemeral && self.next.backoff.is_none();
        let leaving = self.input.classified.members.values();
        let mut leaving = leaving.filter(|member| self.leaving.contains_key(&member.id));
        let renewed = turning
            && leaving.all(|member| self.current(member))
            && self
                .live()
                .all(|member| self.current(member) && !broken(&member.class))
            && self.live_count() == size
            && (self.available > 0 || size == 0);
        let settling = self.live().filter(|member| self.settles(member));
        let waiting = settling.count() as u32;
        if waiting > 0 && !self.explains(Reason::Update) {
            self.hold(held_for(Reason::Update, Hold::RolloutWindow { waiting }));
        }
        let rests = settled && all_good && quiet;
        // With a size withheld the change is not over, and what it comes from stays what it was.
        self.converged = (renewed || rests) && !self.size_withheld;
        if self.converged
            && let Some(held) = self.resting.clone().or_else(|| self.bake())
        {
            self.hold(held);
            self.converged = false;
        }
        if self.converged {
            self.settle_on_target(size);
        }
    }

    fn settle_on_target(&mut self, size: u32) {
        // Whatever paused the way to it, what everybody has is what others are made from.
        self.fresh = Fresh::Target;
        let paused = |held: &Held| matches!(held.hold, Hold::RolloutPaused(_));
        self.holds.retain(|held| !paused(held));
        if let Some(rollout) = self.next.rollout.take() {
            self.begin_proving(rollout);
        }
        self.next.stable = Some(self.target.clone());
        self.next.stable_size = size;
        self.next.settled = settled_under(self.input);
        // Who has a successor to come waits for it as long as launches wait.
        if !self.has_work_ordered() {
            self.next.backoff = None;
        }
        self.next.destroyed = None;
        if let Some(quorum) = &mut self.next.quorum {
            quorum.stable = quorum.voters.clone();
        }
    }

    /// Returns the plan.
    pub(super) fn finish(mut self) -> (Plan, PlanReport) {
        if observes(self.input) {
            self.only_watch();
        } else {
            self.tell_refused_end();
            self.tell_refused_change();
        }
        self.count_removed();
        self.count_kept();
        self.set_timers();
        self.record();
        let drift = &self.input.decisions.drift;
        let target = Some(&self.target);
        let mut numbers = count(&self.resolved, self.input.classified, target, drift);
        numbers.strangers = numbers.strangers.saturating_sub(self.surplus_shown());
        let report = PlanReport {
            holds: self.holds,
            numbers,
            timer_at: self.wake_at,
            disturbance: Disturbance {
                begun: self.begun,
                leaving: self.leaving_for,
                short: self.resolved.size.saturating_sub(self.available),
            },
        };
        let plan = Plan {
            group: self.next.name.clone(),
            observed_at: self.input.classified.as_of,
            allowance: allowance(self.input, &self.intents, self.change.as_ref()),
            change: self.change,
            steps: self.steps,
            next: self.next,
            recommendations: self.recommendations,
            wake_at: [self.wake_at, self.look_at].into_iter().flatten().min(),
        };
        (plan, report)
    }

    /// Turns each step that would change something into a hold that says so.
    fn only_watch(&mut self) {
        let (steps, withheld): (Vec<_>, Vec<_>) = std::mem::take(&mut self.steps)
            .into_iter()
            .partition(|step| !step.action.mutates());
        self.steps = steps;
        // Nothing is on its way, so nothing waits for it.
        self.holds.retain(|held| !held.hold.is_routine());
        for step in withheld {
            let reason = match step.cause {
                Cause::Because(reason) => Some(reason),
                Cause::FailedLaunch | Cause::Completed | Cause::KeptOver => Some(Reason::Heal),
                Cause::ScaleOut | Cause::FollowUp | Cause::Adoption => None,
            };
            let instance = match step.action {
                Action::Drain { instance, .. }
                | Action::Destroy { instance, .. }
                | Action::Update(InPlaceUpdate { instance, .. })
                | Action::Adopt(AdoptStep { instance, .. })
                | Action::Release { instance, .. } => Some(instance),
                Action::Create { .. }
                | Action::Resend { .. }
                | Action::Roster(_)
                | Action::Settle(_) => None,
            };
            self.hold(Held {
                reason,
                instance,
                ..held(Hold::ObserveOnly)
            });
        }
        self.next.next_number = self.input.recorded.next_number;
        self.next.quorum = self.input.recorded.quorum.clone();
    }

    /// Counts what the change in progress has removed without replacement. Counted when it is gone,
    /// so that a step that was not carried out does not count.
    fn count_removed(&mut self) {
        if self.fenced || self.converged {
            return;
        }
        let Some(id) = self.change.as_ref().map(|change| change.id.clone()) else {
            return;
        };
        let gone = &self.input.classified.gone;
        let removed = gone.keys().filter(|instance| {
            let destroy = self.intents.destroy(instance);
            destroy.is_some_and(|intent| {
                matches!(
                    intent.kind,
                    drover_model::IntentKind::Destroy {
                        reason: Reason::ScaleIn | Reason::Delete,
                        ..
                    }
                )
            })
        });
        let removed = removed.count() as u32;
        let before = match self.next.destroyed.take() {
            Some((change, count)) if change == id => count,
            Some(_) | None => 0,
        };
        let total = before + removed;
        self.next.destroyed = (total > 0).then_some((id, total));
    }

    fn set_timers(&mut self) {
        let changes: Vec<Timestamp> = self
            .known()
            .filter_map(|member| member.changes_at)
            .collect();
        for at in changes {
            self.wake(at);
        }
        if let Some(at) = self.input.decisions.review_at {
            self.wake(at);
        }
        self.wake_at_closing();
        let protected = self.spec.protect.iter().filter_map(|protect| protect.until);
        for at in protected {
            self.wake(at);
        }
        let suspended: Vec<Timestamp> = self
            .spec
            .suspend
            .iter()
            .filter_map(|suspend| suspend.until)
            .collect();
        for at in suspended {
            self.wake(at);
        }
        if let Some(rollout) = &self.next.rollout {
            self.wake(later(
                rollout.progressed_at,
                self.spec.progress_deadline() + Duration::from_secs(1),
            ));
        }
        // What is kept is out of the group in the next pass: it may be at rest then.
        // What is only asked for again is looked at as often as what is on its way.
        let unanswered: BTreeSet<IntentId> =
            self.unanswered().iter().map(|intent| intent.id).collect();
        let asks_again = |action: &Action| matches!(action, Action::Resend { intent } if unanswered.contains(intent));
        let acts = |step: &Step| step.action.mutates() && !asks_again(&step.action);
        let acts = !self.keeping.is_empty() || self.steps.iter().any(acts);
        let poll = if acts {
            Some(POLL_MIN)
        } else {
            self.in_motion_since().map(|since| {
                let taken = elapsed(since, self.input.now);
                let share = (taken / POLL_SHARE).clamp(POLL_MIN, POLL_MAX);
                Duration::from_secs(share.as_secs())
            })
        };
        if let Some(poll) = poll {
            self.look(later(self.input.now, poll));
        }
    }

    /// Returns when the latest thing that is on its way began. None: nothing is.
    fn in_motion_since(&self) -> Option<Timestamp> {
        let moving = self.known().filter_map(|member| match member.class {
            InstanceClass::Starting | InstanceClass::Terminating => Some(
                member
                    .drain
                    .as_ref()
                    .map_or(member.created_at, |drain| drain.started_at),
            ),
            InstanceClass::Suspect { .. }
            | InstanceClass::Exited(_)
            | InstanceClass::Failed { .. }
            | InstanceClass::Unhealthy { .. }
            | InstanceClass::Lost { .. }
            | InstanceClass::Warming
            | InstanceClass::Available => member.drain.as_ref().map(|drain| drain.started_at),
        });
        let intents = self.input.intents.iter().map(|intent| match &intent.state {
            IntentState::Acked { at, .. } | IntentState::Failed { at, .. } => *at,
            IntentState::Intended | IntentState::Sent => intent.issued_at,
        });
        let missing = self
            .input
            .classified
            .memory
            .values()
            .filter_map(|memory| memory.absent.map(|absence| absence.since));
        moving.chain(intents).chain(missing).max()
    }
}

/// Returns whether something is wrong with an instance.
fn broken(class: &InstanceClass) -> bool {
    match class {
        InstanceClass::Exited(_)
        | InstanceClass::Failed { .. }
        | InstanceClass::Unhealthy { .. }
        | InstanceClass::Lost { .. }
        | InstanceClass::Suspect { .. } => true,
        InstanceClass::Terminating
        | InstanceClass::Starting
        | InstanceClass::Warming
        | InstanceClass::Available => false,
    }
}
