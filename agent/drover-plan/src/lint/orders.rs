//! What people asked of single instances, counted again: what they keep stays, and what serves is replaced only
//! because they say so, after its successor where there is room for one.

use std::collections::BTreeSet;

use drover_model::{
    Action, Cause, InstanceId, Member, OrderState, OrderVerb, Plan, Reason, RecordedOrder, Step,
};

use super::in_place::interrupts;
use super::{Facts, LintError, rollout, subjects};

/// Returns the instance that a step takes out of service to bring it back.
fn comes_back(step: &Step) -> Option<&InstanceId> {
    match &step.action {
        Action::Update(change) => Some(&change.instance),
        Action::Drain {
            instance,
            returns: Some(_),
            ..
        } => Some(instance),
        Action::Drain { .. }
        | Action::Create { .. }
        | Action::Resend { .. }
        | Action::Destroy { .. }
        | Action::Roster(_)
        | Action::Release { .. }
        | Action::Adopt(_)
        | Action::Settle(_) => None,
    }
}

impl Facts<'_> {
    pub(super) fn orders(&self, plan: &Plan) -> Result<(), LintError> {
        self.kept_by_people(plan)?;
        self.replaced_for_people(plan)?;
        self.orders_are_remembered(plan)
    }

    fn counting(&self) -> impl Iterator<Item = &RecordedOrder> {
        let orders = self.input.recorded.orders.iter();
        orders
            .filter(|known| known.state == OrderState::Open && self.input.now < known.order.expires)
    }

    pub(super) fn is_ordered(&self, id: &InstanceId, verb: OrderVerb) -> bool {
        let mut counting = self.counting();
        counting.any(|known| known.order.instance == *id && known.order.verb == verb)
    }

    /// Counts those that may have a successor beside them because people have them replaced: no more than healing may
    /// have on the way, and none where there may be none above the size.
    pub(super) fn succeeded(&self) -> u32 {
        let spec = self.input.desired.spec();
        let size = self.input.recorded.size.max(spec.size);
        if spec.quorum.is_some() || rollout::surge(spec, size) == 0 {
            return 0;
        }
        let members = self.world.members.values();
        let ordered = members.filter(|member| {
            let taken = member.interruption.is_some();
            let mut verbs = [OrderVerb::Replace, OrderVerb::Restart].into_iter();
            !taken && verbs.any(|verb| self.is_ordered(&member.id, verb))
        });
        let most = spec.heal.in_flight_max.ceil_of(size).max(1);
        (ordered.count() as u32).min(most)
    }

    /// Nothing begins to end or to change what a person keeps, but the removal of its group.
    fn kept_by_people(&self, plan: &Plan) -> Result<(), LintError> {
        let removes = |step: &&Step| step.cause == Cause::Because(Reason::Delete);
        for step in plan.steps.iter().filter(|step| !removes(step)) {
            if matches!(step.action, Action::Create { .. } | Action::Adopt(_)) {
                continue;
            }
            for id in subjects(step) {
                if self.is_ordered(id, OrderVerb::Keep) && !self.is_going(id) {
                    return Err(LintError::Ordered {
                        instance: id.clone(),
                        what: "touched, and a person keeps it",
                    });
                }
            }
        }
        let kept = self.newly_kept(plan).into_iter();
        match kept
            .map(|member| &member.id)
            .find(|id| self.is_ordered(id, OrderVerb::Keep))
        {
            Some(id) => Err(LintError::Ordered {
                instance: id.clone(),
                what: "taken out of service, and a person keeps it",
            }),
            None => Ok(()),
        }
    }

    /// Returns whether it was on its way out before.
    fn is_going(&self, id: &InstanceId) -> bool {
        match self.world.kept.get(id) {
            Some(kept) => kept.drain.is_some() || self.ending.contains(id),
            None => !self.stays(id),
        }
    }

    /// What serves is ended like what is bad only where a person says so, and where there may be an instance above
    /// the size, one serves in its place.
    fn replaced_for_people(&self, plan: &Plan) -> Result<(), LintError> {
        let heals =
            |step: &&Step| step.cause == Cause::Because(Reason::Heal) && interrupts(&step.action);
        let healed = plan.steps.iter().filter(heals).flat_map(subjects);
        let healed = healed.filter_map(|id| self.world.members.get(id));
        let restarts: BTreeSet<&InstanceId> = plan.steps.iter().filter_map(comes_back).collect();
        let healed = healed.filter(|member| !restarts.contains(&member.id));
        // The members of a quorum have their own rules, and its list may say more than their health.
        let serves = |member: &&Member| self.serves(member) && member.seat.is_none();
        let replaced: Vec<&Member> = healed.filter(serves).collect();
        for member in &replaced {
            if !self.is_ordered(&member.id, OrderVerb::Replace) {
                return Err(LintError::Ordered {
                    instance: member.id.clone(),
                    what: "replaced like what is bad, and it serves",
                });
            }
        }
        let spec = self.input.desired.spec();
        let size = plan.next.size;
        let surge = rollout::surge(spec, size);
        let room = spec
            .limits
            .total_max
            .map_or(surge, |limit| limit.saturating_sub(size).min(surge));
        let members = self.world.members.values();
        let serving = members.filter(|member| self.serves(member)).count() as u32;
        let beside = serving.saturating_sub(size);
        match replaced.first() {
            Some(member) if room > 0 && replaced.len() as u32 > beside => Err(LintError::Ordered {
                instance: member.id.clone(),
                what: "replaced, and nothing serves in its place",
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// What counts goes on to, but for the replacement of what is gone.
    fn orders_are_remembered(&self, plan: &Plan) -> Result<(), LintError> {
        for known in self.counting() {
            let id = &known.order.instance;
            let there = self.world.members.contains_key(id) || self.world.kept.contains_key(id);
            let same = plan.next.orders.contains(known);
            let restart = known.order.verb == OrderVerb::Restart;
            let over = || {
                let mut next = plan.next.orders.iter();
                (restart || !there) && next.any(|next| next.order == known.order)
            };
            if !same && !over() {
                return Err(LintError::Ordered {
                    instance: id.clone(),
                    what: "forgotten, and a person asked something of it",
                });
            }
        }
        Ok(())
    }
}
