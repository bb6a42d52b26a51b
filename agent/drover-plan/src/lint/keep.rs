//! What is kept or has a successor beside it, counted again: only what is bad, no more than may be, never back into service,
//! and ended only when its time is over or its room is needed.

use drover_model::{Cause, ErrorClass, InstanceClass, InstanceId, Manage, Member, Plan, Reason};

use super::{Facts, LintError, rollout, subjects};

impl Facts<'_> {
    /// Returns the members that the plan begins to keep.
    pub(super) fn newly_kept(&self, plan: &Plan) -> Vec<&Member> {
        let next = plan.next.instances.iter();
        let kept = next.filter(|(_, next)| next.kept.is_some());
        kept.filter_map(|(id, _)| self.world.members.get(id))
            .collect()
    }

    /// Counts what is kept once the plan is carried out, those on their way out included.
    pub(super) fn kept_after(&self, plan: &Plan) -> u32 {
        (self.world.kept.len() + self.newly_kept(plan).len()) as u32
    }

    pub(super) fn keep(&self, plan: &Plan) -> Result<(), LintError> {
        let wrong = |instance: &InstanceId, what| {
            Err(LintError::Keep {
                instance: instance.clone(),
                what,
            })
        };
        for member in self.newly_kept(plan) {
            if let Some(what) = self.unfit(member, plan) {
                return wrong(&member.id, what);
            }
        }
        let (kept, max) = (self.kept_after(plan), self.keep_max(plan));
        if !self.newly_kept(plan).is_empty() && kept > max {
            return Err(LintError::KeepsTooMany { kept, max });
        }
        for id in self.world.kept.keys() {
            let before = self.input.recorded.instances.get(id);
            let since = |was: &drover_model::RecordedInstance| was.kept.as_ref().map(|k| k.since);
            let after = plan.next.instances.get(id);
            if before.and_then(since) != after.and_then(since) {
                return wrong(id, "kept no more, and was kept before");
            }
        }
        let over = plan
            .steps
            .iter()
            .filter(|step| step.cause == Cause::KeptOver);
        for id in over.flat_map(subjects) {
            let Some(member) = self.world.kept.get(id) else {
                return wrong(id, "ended like what was kept, and was not");
            };
            if !self.timely(member, plan) {
                return wrong(id, "ended while it may be kept");
            }
        }
        Ok(())
    }

    /// Returns why a member may not be kept.
    fn unfit(&self, member: &Member, plan: &Plan) -> Option<&'static str> {
        let spec = self.input.desired.spec();
        let bad = matches!(
            member.class,
            InstanceClass::Exited(_)
                | InstanceClass::Failed { .. }
                | InstanceClass::Unhealthy { .. }
                | InstanceClass::Lost { .. }
        );
        let memory = self.world.memory.get(&member.id);
        let done = memory.is_some_and(|memory| memory.completed);
        let touched = plan
            .steps
            .iter()
            .flat_map(subjects)
            .any(|id| *id == member.id);
        if !bad {
            Some("kept, and nothing is wrong with it")
        } else if done {
            Some("kept, and has done its work")
        } else if !self.stays(&member.id) {
            Some("kept, and is on its way out")
        } else if touched {
            Some("kept, and touched by a step")
        } else if self.deleting && plan.next.deleting.is_some() {
            Some("kept, and the group is removed")
        } else if spec.manage == Manage::Observe || spec.quorum.is_some() {
            Some("kept in a group that keeps none")
        } else {
            None
        }
    }

    /// Counts those that the provider is about to take, or that people have replaced: they have successors beside
    /// them, unless they are members with a place of their own.
    pub(super) fn taken(&self) -> u32 {
        let members = self.world.members.values();
        let taken = members.filter(|member| member.interruption.is_some() && member.seat.is_none());
        taken.count() as u32 + self.succeeded()
    }

    /// Counts those that were drained when the group was to be removed, which have successors beside them too.
    pub(super) fn drained_to_go(&self) -> u32 {
        let members = self.world.members.values();
        let drained = members.filter(|member| {
            let reason = member.drain.as_ref().map(|drain| drain.reason);
            let alone = member.seat.is_none() && member.interruption.is_none();
            alone && reason == Some(Reason::Delete)
        });
        drained.count() as u32
    }

    /// Returns how many may be kept beside what is wanted.
    fn keep_max(&self, plan: &Plan) -> u32 {
        let spec = self.input.desired.spec();
        let size = plan.next.size;
        // Nobody replaces anybody in a group of nobody.
        let surge = if size == 0 {
            0
        } else {
            rollout::surge(spec, size)
        };
        let wanted = size + surge + self.taken();
        let limit = spec.limits.total_max.unwrap_or(u32::MAX);
        spec.heal.keep.max.min(limit.saturating_sub(wanted))
    }

    /// Returns whether the end of what is kept has come.
    fn timely(&self, member: &Member, plan: &Plan) -> bool {
        let spec = self.input.desired.spec();
        let was = self.input.recorded.instances.get(&member.id);
        let since = was.and_then(|was| Some(was.kept.as_ref()?.since));
        let until = since.and_then(|since| since.checked_add(spec.heal.keep.time).ok());
        let over = until.is_none_or(|until| until <= self.input.now);
        let backoff = plan.next.backoff.as_ref().and_then(|backoff| backoff.class);
        let full = matches!(backoff, Some(ErrorClass::Capacity | ErrorClass::Quota));
        let cooling = !plan.next.cooling.is_empty();
        // One that is being ended goes on to be.
        let begun = member.drain.is_some() || self.ending.contains(&member.id);
        let kept = self.world.kept.len() as u32;
        over || full || cooling || begun || kept > self.keep_max(plan)
    }
}
