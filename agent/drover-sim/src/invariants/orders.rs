//! What people asked of single instances, checked from outside.

use drover_model::{
    Action, Cause, InPlaceUpdate, InstanceId, OrderState, OrderVerb, Reason, RecordedOrder,
};

use super::admission::ends;
use super::{Violation, broken};
use crate::simulation::Pass;

/// Returns whether an order counted for an instance when the pass was planned.
pub(super) fn counts(pass: &Pass, id: &InstanceId, verb: OrderVerb) -> bool {
    let counting =
        |known: &RecordedOrder| known.state == OrderState::Open && pass.at < known.order.expires;
    let mut orders = pass.before.orders.iter().filter(|known| counting(known));
    orders.any(|known| known.order.verb == verb && known.order.instance == *id)
}

/// I23: what a person keeps goes on as it is, unless it was on its way out before.
pub(super) fn keeps(pass: &Pass) -> Result<(), Violation> {
    for step in &pass.plan.steps {
        let (Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Update(InPlaceUpdate { instance, .. })
        | Action::Release { instance, .. }) = &step.action
        else {
            continue;
        };
        let removed = step.cause == Cause::Because(Reason::Delete);
        let going = match pass.classified.kept.get(instance) {
            Some(kept) => kept.drain.is_some() || pass.is_ending(instance),
            None => ends(pass, instance),
        };
        if counts(pass, instance, OrderVerb::Keep) && !going && !removed {
            return broken("I23 kept by people", format!("{instance} is touched"));
        }
    }
    Ok(())
}
