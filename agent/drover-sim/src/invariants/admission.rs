//! What windows, protection and hourly limits allow, checked from outside.

use std::time::Duration;

use drover_apply::{Skip, StepResult};
use drover_model::{
    Action, Cause, InPlace, InPlaceUpdate, InstanceClass, InstanceId, Reason, Timestamp, Window,
    WindowKind,
};

use super::{Violation, broken};
use crate::simulation::{Pass, Simulation};

const HOUR: Duration = Duration::from_hours(1);

/// What the provider truly made, and when.
#[derive(Debug, Default)]
pub(super) struct Made {
    before: u64,
    /// How many at which time, oldest first.
    of_late: Vec<(Timestamp, u64)>,
}

impl Made {
    /// No plan makes more instances within an hour than the document allows.
    pub(super) fn within_the_hour(
        &mut self,
        sim: &Simulation,
        pass: &Pass,
    ) -> Result<(), Violation> {
        let created = sim.world().stats().created;
        if created > self.before {
            self.of_late.push((pass.at, created - self.before));
            self.before = created;
        }
        self.of_late
            .retain(|(at, _)| at.checked_add(HOUR).is_ok_and(|end| end > pass.at));
        let made: u64 = self.of_late.iter().map(|(_, count)| count).sum();
        let creates = pass
            .plan
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Create { .. }));
        let Some(limit) = sim.spec().limits.create_hourly_max else {
            return Ok(());
        };
        if creates && made > limit.into() {
            return broken("I3 hour", format!("{made} made, {limit} may be"));
        }
        // What replaces instances that serve leaves room for as many as the group has, or half of the limit.
        let back = pass.plan.next.quarantine.is_some();
        let waits = pass.plan.steps.iter().any(|step| {
            let makes = matches!(step.action, Action::Create { .. });
            match step.cause {
                Cause::Because(Reason::Update) => makes && !back,
                Cause::Because(Reason::Expiry | Reason::Rebalance) => makes,
                _ => false,
            }
        });
        let most = limit - pass.plan.next.size.min(limit / 2);
        if waits && made > most.into() {
            return broken(
                "I3 hour",
                format!("{made} made, {most} of {limit} may be for what serves"),
            );
        }
        Ok(())
    }
}

/// I3, I20: nothing begins that is protected from it or outside its windows, but what takes the place
/// of an instance that a successor was already made for.
pub(super) fn may_begin(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let spec = sim.spec();
    let begun = begun(pass);
    for (id, reason) in &begun {
        if spec.protected(id, *reason, pass.at).is_some() {
            return broken("I3 protection", format!("{id} is protected from {reason}"));
        }
    }
    for reason in Reason::ALL {
        let count = begun.iter().filter(|(_, of)| *of == reason).count();
        let pairs = match reason {
            Reason::Update | Reason::Expiry => {
                staying(pass).saturating_sub(pass.plan.next.size as usize)
            }
            Reason::Heal
            | Reason::ScaleIn
            | Reason::Rebalance
            | Reason::Interruption
            | Reason::Delete
            | Reason::Drift
            | Reason::Cost => 0,
        };
        if count > pairs && closed(&spec.windows, reason, pass.at) {
            return broken("I20 windows", format!("{count} begin for {reason}"));
        }
    }
    Ok(())
}

fn closed(windows: &[Window], reason: Reason, now: Timestamp) -> bool {
    let mut allows = windows
        .iter()
        .filter(|window| window.reasons.contains(&reason))
        .filter(|window| window.kind == WindowKind::Allow)
        .peekable();
    let denied = windows.iter().any(|window| {
        window.kind == WindowKind::Deny
            && window.reasons.contains(&reason)
            && window.open_until(now).is_some()
    });
    let shut = allows.peek().is_some() && !allows.any(|window| window.open_until(now).is_some());
    denied || shut
}

/// Returns whether an instance was on its way out before the plan.
pub(super) fn ends(pass: &Pass, id: &InstanceId) -> bool {
    let member = pass.classified.members.get(id);
    let leaves = member.is_none_or(|member| {
        member.drain.is_some()
            || member.update == Some(InPlace::Restart)
            || matches!(member.class, InstanceClass::Terminating)
    });
    leaves || pass.is_ending(id)
}

fn staying(pass: &Pass) -> usize {
    let returns = |id: &InstanceId| {
        let member = pass.classified.members.get(id);
        member.is_some_and(|member| {
            let drained = member.drain.as_ref().is_some_and(|drain| drain.returns);
            drained || member.update == Some(InPlace::Restart)
        })
    };
    let members = pass.classified.members.keys();
    members.filter(|id| !ends(pass, id) || returns(id)).count()
}

fn begun(pass: &Pass) -> Vec<(&InstanceId, Reason)> {
    let steps = pass.plan.steps.iter();
    let begun = steps.filter_map(|step| match (&step.action, step.cause) {
        (
            Action::Drain { instance, .. }
            | Action::Destroy { instance, .. }
            | Action::Update(InPlaceUpdate {
                instance,
                how: InPlace::Restart,
                ..
            }),
            Cause::Because(reason),
        ) => Some((instance, reason)),
        (_, _) => None,
    });
    begun.filter(|(id, _)| !ends(pass, id)).collect()
}

/// No honest plan needs more than its allowance: the executor refuses none of its steps.
pub(super) fn within_the_allowance(pass: &Pass) -> Result<(), Violation> {
    let outcomes = pass.applied.iter().flat_map(|applied| &applied.outcomes);
    for outcome in outcomes {
        if let StepResult::Skipped(Skip::BeyondAllowance { allowed }) = outcome.result {
            let step = &pass.plan.steps[outcome.step];
            let what = format!("{allowed} allowed, refused: {step:?}");
            return broken("certificate", what);
        }
    }
    Ok(())
}
