//! What is kept for people to look at: only what is bad, no more than the document says, out of service
//! for as long as it exists, and never in the way of what is wanted.

use drover_model::{InstanceClass, InstanceId, RecordedInstance};

use super::{Violation, broken};
use crate::simulation::{Pass, Simulation};

fn is_kept(instance: Option<&RecordedInstance>) -> bool {
    instance.is_some_and(|instance| instance.kept.is_some())
}

/// Returns whether the plan keeps an instance.
pub(super) fn keeps(pass: &Pass, id: &InstanceId) -> bool {
    is_kept(pass.plan.next.instances.get(id))
}

/// Returns those that the plan keeps and that were not kept before.
pub(super) fn begins(pass: &Pass) -> impl Iterator<Item = (&InstanceId, &RecordedInstance)> {
    let next = pass.plan.next.instances.iter();
    next.filter(|(id, after)| after.kept.is_some() && !is_kept(pass.before.instances.get(*id)))
}

/// I21: what is kept is bad when that begins, and never a member again.
pub(super) fn within_reason(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let keep = sim.spec().heal.keep;
    let next = &pass.plan.next.instances;
    let kept = next.values().filter(|after| after.kept.is_some()).count() as u32;
    let before = pass.before.instances.values();
    let before = before.filter(|before| before.kept.is_some()).count() as u32;
    if kept > keep.max.max(before) {
        return broken("I21 kept", format!("{kept} are kept, {} may be", keep.max));
    }
    for (id, after) in begins(pass) {
        let member = pass.classified.members.get(id);
        let bad = member.is_some_and(|member| match member.class {
            InstanceClass::Exited(_)
            | InstanceClass::Failed { .. }
            | InstanceClass::Unhealthy { .. }
            | InstanceClass::Lost { .. } => member.drain.is_none(),
            InstanceClass::Terminating
            | InstanceClass::Suspect { .. }
            | InstanceClass::Starting
            | InstanceClass::Warming
            | InstanceClass::Available => false,
        });
        if !bad {
            return broken("I21 kept", format!("{id} is kept and was {}", after.class));
        }
    }
    for id in pass.before.instances.keys() {
        let was = is_kept(pass.before.instances.get(id));
        if was && pass.classified.members.contains_key(id) {
            return broken("I21 kept", format!("{id} was kept, and is a member again"));
        }
    }
    let numbers = &pass.report.numbers;
    let limit = sim.spec().limits.total_max;
    if kept > before && limit.is_some_and(|limit| numbers.size + kept > limit) {
        return broken("I21 kept", "what is kept takes the place of what is wanted");
    }
    Ok(())
}
