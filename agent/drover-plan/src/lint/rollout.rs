//! What the stages of a rollout promise, counted again.

use drover_model::{
    Action, Cause, Digests, GroupSpec, InPlaceUpdate, Plan, Reason, Rollout, RolloutMode,
    RolloutOrder, Step,
};

use super::in_place::interrupts;
use super::{Facts, LintError};

/// Returns how many instances may exist above `size`.
pub(super) fn surge(spec: &GroupSpec, size: u32) -> u32 {
    if spec.rollout.order == RolloutOrder::DeleteFirst {
        0
    } else {
        spec.rollout.surge_max.ceil_of(size)
    }
}

impl Facts<'_> {
    /// A rollout goes no further than its document allows, and never to a template in quarantine.
    pub(super) fn stages(&self, plan: &Plan) -> Result<(), LintError> {
        if self.deleting && plan.next.deleting.is_some() {
            return Ok(());
        }
        self.quarantined(plan)?;
        self.retired(plan)?;
        self.limited(plan)
    }

    /// Nothing is made of a template in quarantine, and nothing gets it. What has it may restart as it is.
    fn quarantined(&self, plan: &Plan) -> Result<(), LintError> {
        let Some(quarantine) = &plan.next.quarantine else {
            return Ok(());
        };
        let bad = &quarantine.digests;
        let target = plan.next.target.as_ref() == Some(bad);
        let mut steps = plan.steps.iter();
        let gets = steps.any(|step| {
            matches!(&step.action, Action::Update(InPlaceUpdate { digests, .. }) if digests == bad)
                && !self.keeps_digests(step)
        });
        if target || plan.next.stable.as_ref() == Some(bad) || created(plan, bad) > 0 || gets {
            return Err(LintError::Quarantined);
        }
        Ok(())
    }

    fn retired(&self, plan: &Plan) -> Result<(), LintError> {
        let begins = plan.steps.iter().filter(|step| {
            let subjects = super::subjects(step);
            step.cause == Cause::Because(Reason::Update) && subjects.iter().any(|id| self.stays(id))
        });
        let begins: Vec<_> = begins.collect();
        if begins.is_empty() {
            return Ok(());
        }
        let spec = self.input.desired.spec();
        let forbidden = |why| Err(LintError::MayNotUpdate { why });
        if spec.rollout.paused {
            return forbidden("the rollout is paused");
        }
        if spec.rollout.mode != RolloutMode::Proactive {
            return forbidden("nobody is to replace it");
        }
        let members = self.world.members.values();
        let serving = members.filter(|member| self.serves(member)).count();
        let taken = begins.iter().filter(|step| interrupts(&step.action));
        let taken = taken.flat_map(|step| super::subjects(step));
        let taken = taken
            .filter_map(|id| self.world.members.get(id))
            .filter(|member| self.serves(member))
            .count();
        let left = (serving - taken) as u32;
        let first = spec.rollout.order == RolloutOrder::CreateFirst;
        if first && taken > 0 && left < plan.next.size {
            return Err(LintError::BelowFloor {
                available: left,
                floor: plan.next.size,
            });
        }
        Ok(())
    }

    /// The new template stays within canaries, checkpoints and partition, where another is known.
    fn limited(&self, plan: &Plan) -> Result<(), LintError> {
        let next = &plan.next;
        let (Some(target), Some(rollout)) = (&next.target, &next.rollout) else {
            return Ok(());
        };
        let other = next.stable.as_ref().filter(|stable| *stable != target);
        // What a group of nobody converged with is no template that anything could keep.
        let known =
            next.stable_size > 0 && other.is_some_and(|other| next.templates.contains_key(other));
        let made = created(plan, target) + self.changed(plan, target);
        if !known || made == 0 {
            return Ok(());
        }
        let spec = self.input.desired.spec();
        let most =
            allowed(spec, rollout, next.size, self.taken()) + self.followed(target, next.size);
        // What restarts as it is has what it had.
        let touching = plan.steps.iter().filter(|step| !self.keeps_digests(step));
        let touched = touching.flat_map(super::subjects);
        let kept = self.newly_kept(plan);
        let kept = kept.iter().map(|member| &member.id);
        let touched: std::collections::BTreeSet<_> = touched.chain(kept).collect();
        let members = self.world.members.values();
        let there = members
            .filter(|member| {
                let drain = member.drain.as_ref().filter(|drain| drain.returns);
                let drained = drain.is_some_and(|drain| drain.reason == Reason::Update);
                let has = member.digests == *target && self.stays(&member.id);
                let gets = self.returns(&member.id) && (drained || member.digests == *target);
                has || gets
            })
            .filter(|member| !touched.contains(&member.id))
            .count() as u32;
        let updated = there + made;
        if updated > most {
            return Err(LintError::AboveStage { updated, most });
        }
        Ok(())
    }

    /// Returns whether a step restarts an instance as it is, or drains it for that.
    fn keeps_digests(&self, step: &Step) -> bool {
        match &step.action {
            Action::Update(change) => {
                let member = self.world.members.get(&change.instance);
                member.is_some_and(|member| member.digests == change.digests)
            }
            Action::Drain { returns, .. } => {
                returns.is_some() && step.cause == Cause::Because(Reason::Heal)
            }
            Action::Create { .. }
            | Action::Resend { .. }
            | Action::Destroy { .. }
            | Action::Roster(_)
            | Action::Adopt(_)
            | Action::Release { .. }
            | Action::Settle(_) => false,
        }
    }

    /// Returns how many instances get `of` in place, by a step of this plan or after a drain that it begins.
    fn changed(&self, plan: &Plan, of: &Digests) -> u32 {
        let changing = plan.steps.iter().filter(|step| !self.keeps_digests(step));
        let changes = changing.filter(|step| match &step.action {
            Action::Update(InPlaceUpdate { digests, .. }) => digests == of,
            Action::Drain { returns, .. } => returns.is_some(),
            Action::Create { .. }
            | Action::Resend { .. }
            | Action::Destroy { .. }
            | Action::Roster(_)
            | Action::Adopt(_)
            | Action::Release { .. }
            | Action::Settle(_) => false,
        });
        changes.count() as u32
    }

    /// Counts the instances of the target that are too old: each may be followed by one before it goes.
    fn followed(&self, target: &Digests, size: u32) -> u32 {
        let spec = self.input.desired.spec();
        let Some(expiry) = spec.expiry else {
            return 0;
        };
        let members = self.world.members.values();
        let too_old = members.filter(|member| {
            let age = expiry.age_of(&self.input.recorded.uid, &member.id);
            let due = member.created_at.checked_add(age);
            let due = due.is_ok_and(|due| due <= self.input.now);
            due && member.digests == *target && self.stays(&member.id)
        });
        (too_old.count() as u32).min(surge(spec, size))
    }
}

/// Returns how many instances of a new template there may be, beside `taken` that the provider takes.
fn allowed(spec: &GroupSpec, rollout: &Rollout, size: u32, taken: u32) -> u32 {
    let mut most = size + surge(spec, size) + taken;
    if let Some(partition) = spec.rollout.partition
        && partition.ceil_of(size) < size
    {
        most = most.min(partition.ceil_of(size));
    }
    if let Some(canary) = spec.rollout.canary
        && !rollout.stages.promoted
    {
        most = most.min(canary.count.ceil_of(size));
    }
    let begun_with = rollout.stages.size.unwrap_or(size);
    for checkpoint in &spec.rollout.checkpoints {
        let at = checkpoint.at.ceil_of(begun_with);
        if at > rollout.stages.passed && at < size {
            most = most.min(at.max(1));
        }
    }
    most
}

fn created(plan: &Plan, of: &Digests) -> u32 {
    let creates = plan.steps.iter().map(|step| match &step.action {
        Action::Create { slots, digests, .. } if digests == of => slots.len(),
        Action::Create { .. }
        | Action::Resend { .. }
        | Action::Drain { .. }
        | Action::Destroy { .. }
        | Action::Update(_)
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Release { .. }
        | Action::Settle(_) => 0,
    });
    creates.sum::<usize>() as u32
}
