//! The one function that admits disruptions, and the steps that carry them out.

use std::time::Duration;

use drover_model::{
    Action, Activity, Cause, Digests, DrainSpec, GroupName, Held, Hold, InPlace, InstanceClass,
    Member, OrderVerb, OutageMode, Precondition, Reason, RolloutOrder, Template, activity_of,
};

use super::draft::{Draft, Updating, disrupts};
use super::in_place::recovers;
use super::{STEPS_MAX, held, held_for};
use crate::change::policy_hold;
use crate::input::{FenceScope, fence_scope};
use crate::numbers::serves;
use crate::time::later;

/// How long an instance may take to end by itself before it is killed: what container engines and
/// service managers give, and enough to write out what is in memory.
pub(super) const DESTROY_GRACE: Duration = Duration::from_secs(30);

impl<'a> Draft<'a> {
    /// Returns what withholds every disruption for `reason` now, whatever the instance.
    pub(super) fn withheld(&self, reason: Reason) -> Option<Held> {
        let for_reason = |held: Held| Held {
            reason: Some(reason),
            ..held
        };
        if let Some(held) = activity_of(reason).and_then(|activity| self.suspended(activity)) {
            return Some(for_reason(held));
        }
        if reason == Reason::Update && self.spec.rollout.paused {
            return Some(for_reason(held(Hold::Suspended {
                activity: Activity::Update,
                because: Some("rollout.paused is true".to_owned()),
            })));
        }
        let gate = match reason {
            // What brings instances back to what is in force is another matter than a change of it.
            Reason::Update if self.updating == Updating::Repair => Reason::Drift,
            reason => reason,
        };
        if let Some(verdict) = self.input.decisions.closed_gate(gate) {
            return Some(for_reason(held(policy_hold(verdict, Hold::GateClosed))));
        }
        let budget = self.input.decisions.budgets.get(&reason);
        if let Some(budget) = budget.filter(|budget| budget.max == 0) {
            let hold = policy_hold(&budget.verdict, Hold::BudgetByPolicy);
            return Some(for_reason(held(hold)));
        }
        if let Some(held) = self.fenced_off(reason) {
            return Some(for_reason(held));
        }
        if reason == Reason::Update
            && let Some(held) = self.dependency()
        {
            return Some(for_reason(held));
        }
        // Last, because what was begun is finished all the same.
        self.closed.get(&reason).cloned()
    }

    fn fenced_off(&self, reason: Reason) -> Option<Held> {
        let fence = self
            .input
            .fences
            .iter()
            .find(|held| fence_scope(&held.hold) == FenceScope::Voluntary);
        fence.filter(|_| reason.is_voluntary()).cloned()
    }

    /// Returns the hold for a group that this one depends on and that has not converged.
    pub(super) fn dependency(&self) -> Option<Held> {
        let missing = |group: &&GroupName| !self.input.peers.converged.contains(*group);
        let group = self.spec.depends_on.iter().find(missing)?.clone();
        Some(held(Hold::DependencyNotReady { group }))
    }

    /// Returns the hold for a member that a person keeps, that the document protects, or that needs more for being outdated
    /// than the document allows.
    pub(super) fn protection(&self, member: &Member, reason: Reason) -> Option<Held> {
        if reason == Reason::Update
            && let Some(held) = self.over_action(member)
        {
            return Some(held);
        }
        // The removal of a group asks by itself.
        if reason != Reason::Delete
            && let Some(held) = self.kept_by_person(member)
        {
            return Some(Held {
                reason: Some(reason),
                ..held
            });
        }
        if let Some(verdict) = self.input.decisions.protector(&member.id, reason) {
            // Of a clause there is one hold, whomever it keeps: its words name the first.
            let hold = policy_hold(verdict, Hold::ProtectedByPolicy);
            return Some(held_for(reason, hold));
        }
        let protect = self.spec.protected(&member.id, reason, self.input.now)?;
        let because = protect.because.clone();
        Some(Held {
            instance: Some(member.id.clone()),
            until: protect.until,
            ..held_for(reason, Hold::ProtectedInstance { because })
        })
    }

    /// Returns what is in the way of taking `member` out of service for `reason`. None: it may be.
    pub(super) fn refusal(&self, member: &Member, reason: Reason) -> Option<Held> {
        // Of what has ended by itself nothing is lost, and its place is missing.
        let ended = matches!(member.class, InstanceClass::Exited(_));
        let capacity = |held: &Held| {
            let mode = OutageMode::HoldCapacity;
            matches!(held.hold, Hold::SourceOutage { mode: it, .. } if it == mode)
        };
        self.withheld(reason)
            .filter(|held| !(ended && reason == Reason::Heal && capacity(held)))
            .or_else(|| self.refusal_of_begun(member, reason))
            .or_else(|| self.over_budget(member, reason))
    }

    /// Returns what is in the way of replacing `member`, where it would be missed until its successor is there.
    pub(super) fn refusal_to_replace(&self, member: &Member, reason: Reason) -> Option<Held> {
        self.refusal(member, reason).or_else(|| {
            let missed = serves(member) && self.live_count() <= self.resolved.size;
            if missed && let Some(held) = self.no_room_for_successor(reason) {
                return Some(held);
            }
            let mut fences = self.input.fences.iter();
            let refused = |held: &&Held| fence_scope(&held.hold) == FenceScope::Replacement;
            let fence = fences.find(refused).filter(|_| missed)?;
            Some(held_for(reason, fence.hold.clone()))
        })
    }

    /// Returns the same, of a replacement that was begun while it was allowed: only what protects the
    /// instance and the group is in its way.
    pub(super) fn refusal_of_begun(&self, member: &Member, reason: Reason) -> Option<Held> {
        if let Some(held) = self.protection(member, reason) {
            return Some(held);
        }
        if let Some(held) = self.out_of_reach(member, reason) {
            return Some(held);
        }
        let for_reason = |hold| held_for(reason, hold);
        let exempt = match reason {
            Reason::Delete | Reason::Interruption => true,
            Reason::Update
            | Reason::Drift
            | Reason::Heal
            | Reason::ScaleIn
            | Reason::Expiry
            | Reason::Rebalance
            | Reason::Cost => false,
        };
        let floor = if reason == Reason::Update {
            self.update_floor()
        } else {
            self.resolved.floor
        };
        // Only live capacity is charged: a broken instance never blocks its own replacement.
        if !exempt && serves(member) && self.available <= floor {
            return Some(for_reason(Hold::AvailabilityFloor {
                floor,
                available: self.available,
            }));
        }
        let (room, held) = self.destroy_room(reason, 0);
        held.filter(|_| room == 0)
    }

    /// Returns the hold for a member of which there is nothing to call the provider with, or for which
    /// this plan has no room.
    pub(super) fn out_of_reach(&self, member: &Member, reason: Reason) -> Option<Held> {
        let for_reason = |hold| held_for(reason, hold);
        match (&member.provider_ref, &member.token) {
            (Some(_), Some(_)) => {}
            (None, Some(_)) => {
                return Some(for_reason(Hold::UnknownOutcomes {
                    count: 1,
                    said: self.last_said(Some(&member.id)),
                }));
            }
            (_, None) => {
                let why = "instances are missing from it that were there before".to_owned();
                return Some(for_reason(Hold::ObservationPartial { why }));
            }
        }
        let waiting = STEPS_MAX as u32;
        let full = self.steps.len() >= STEPS_MAX;
        full.then(|| for_reason(Hold::RolloutWindow { waiting }))
    }

    /// Returns how many stay available while instances are taken for being outdated.
    pub(super) fn update_floor(&self) -> u32 {
        match self.spec.rollout.order {
            RolloutOrder::CreateFirst => self.resolved.size,
            RolloutOrder::Auto | RolloutOrder::DeleteFirst => self.resolved.floor,
        }
    }

    /// Takes an admitted member out of service: drained where there is work on it, else destroyed.
    pub(super) fn disrupt(&mut self, member: &'a Member, reason: Reason) {
        self.end(member, Cause::Because(reason));
        self.leave(member, Some(reason));
    }

    /// Ends an instance: drained where there is work on it, else destroyed.
    pub(super) fn end(&mut self, member: &Member, cause: Cause) {
        if self.needs_drain(member) {
            self.drain(member, cause, None);
        } else {
            self.destroy(member, cause);
        }
    }

    /// Takes an admitted member out of service and brings it back with the target: drained where there
    /// is work on it.
    pub(super) fn restart(&mut self, member: &'a Member) {
        if self.needs_drain(member) {
            self.drain(
                member,
                Cause::Because(Reason::Update),
                Some(member.digests.clone()),
            );
        } else {
            self.change(member, InPlace::Restart);
        }
        self.returning.insert(&member.id, None);
        self.leave(member, Some(Reason::Update));
        self.staying += 1;
    }

    /// The same because a person asks for it: the member comes back as it is.
    pub(super) fn restart_as_it_is(&mut self, member: &'a Member) {
        let Some(order) = self.ordered(&member.id, OrderVerb::Restart) else {
            return;
        };
        if self.needs_drain(member) {
            let as_it_is = Some(member.digests.clone());
            self.drain(member, Cause::Because(Reason::Heal), as_it_is);
        } else {
            self.call_for_restart(member, order);
        }
        self.returning.insert(&member.id, Some(&member.digests));
        self.leave(member, Some(Reason::Heal));
        self.staying += 1;
    }

    /// Counts a member as being on its way out.
    pub(super) fn leave(&mut self, member: &'a Member, reason: Option<Reason>) {
        if self.leaving.insert(&member.id, reason).is_none() {
            self.staying -= 1;
            self.available -= u32::from(serves(member));
            self.coming_back -= u32::from(recovers(member));
            let restarts = self.returning.contains_key(&member.id);
            if let Some(reason) =
                reason.filter(|reason| restarts || disrupts(self.input, &member.id, *reason))
            {
                *self.leaving_for.entry(Some(reason)).or_default() += 1;
                self.count_begun(member, reason);
            }
        }
    }

    /// Returns whether there may be work on an instance, and a way to move it off: its group's, or a flavor plugin of
    /// its own template.
    fn needs_drain(&self, member: &Member) -> bool {
        let template = self.next.templates.get(&member.digests);
        may_serve(&member.class) && drains(&self.spec.drain, template)
    }

    fn drain(&mut self, member: &Member, cause: Cause, returns: Option<Digests>) {
        let (Some(provider_ref), Some(observed)) = (&member.provider_ref, observed(member)) else {
            return;
        };
        let spec = self.spec.drain.clone();
        let timeout = match member.class {
            InstanceClass::Available | InstanceClass::Warming => spec.timeout,
            InstanceClass::Terminating
            | InstanceClass::Exited(_)
            | InstanceClass::Failed { .. }
            | InstanceClass::Unhealthy { .. }
            | InstanceClass::Lost { .. }
            | InstanceClass::Suspect { .. }
            | InstanceClass::Starting => spec.unhealthy_timeout.min(spec.timeout),
        };
        // The delay is part of the promise to load balancers, so no timeout cuts it short.
        let deadline = later(self.input.now, timeout.max(spec.delay));
        let action = Action::Drain {
            instance: member.id.clone(),
            provider_ref: provider_ref.clone(),
            address: member.address.clone(),
            spec,
            deadline,
            returns,
        };
        self.wake(deadline);
        self.step(action, cause, vec![observed]);
    }

    /// Adds the step that ends a member. Without a handle and a token there is nothing to end yet.
    ///
    /// A member of a quorum group that serves is not ended while it cannot be spared, whatever was
    /// decided before. Where its program keeps a list, the member leaves that first.
    pub(super) fn destroy(&mut self, member: &Member, cause: Cause) {
        let reason = match cause {
            Cause::Because(reason) => Some(reason),
            Cause::ScaleOut
            | Cause::FailedLaunch
            | Cause::Completed
            | Cause::KeptOver
            | Cause::FollowUp
            | Cause::Adoption => None,
        };
        if member.class == InstanceClass::Available
            && let Some(held) = self.endangers(member, reason)
        {
            self.hold(held);
            return;
        }
        if !self.has_left(member, cause) {
            return;
        }
        let (Some(provider_ref), Some(token)) = (&member.provider_ref, &member.token) else {
            return;
        };
        let action = Action::Destroy {
            instance: member.id.clone(),
            provider_ref: provider_ref.clone(),
            token: token.clone(),
            grace: DESTROY_GRACE,
        };
        let preconditions = observed(member).into_iter().collect();
        self.step(action, cause, preconditions);
    }
}

/// Returns the precondition that a member is still what was observed.
pub(super) fn observed(member: &Member) -> Option<Precondition> {
    Some(Precondition::ObservedAs {
        instance: member.id.clone(),
        provider_ref: member.provider_ref.clone()?,
        token: member.token.clone()?,
    })
}

/// Returns whether there may be work on an instance.
fn may_serve(class: &InstanceClass) -> bool {
    match class {
        InstanceClass::Available
        | InstanceClass::Warming
        | InstanceClass::Suspect { .. }
        | InstanceClass::Unhealthy { .. }
        | InstanceClass::Lost { .. } => true,
        InstanceClass::Starting
        | InstanceClass::Failed { .. }
        | InstanceClass::Exited(_)
        | InstanceClass::Terminating => false,
    }
}

/// Returns whether there is a way to move work off an instance that was made from `template`.
fn drains(spec: &DrainSpec, template: Option<&Template>) -> bool {
    let asks = template.is_some_and(|template| template.plugin_flavors().next().is_some());
    asks || !spec.delay.is_zero() || !spec.begin.is_empty() || spec.done.is_some()
}
