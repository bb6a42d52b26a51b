//! The invariants of quorum groups, checked from outside after every pass: on the provider's own truth
//! where there is one, and counted without the planner's help.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Action, Cause, InstanceClass, MemberId, Reason};

use crate::Violation;
use crate::invariants::broken;
use crate::simulation::{Pass, Simulation};

/// I13: no place is held by two instances, and nobody tries to take one that is held.
pub(crate) fn identity(sim: &Simulation) -> Result<(), Violation> {
    let world = sim.world();
    let mut held: BTreeMap<MemberId, u32> = BTreeMap::new();
    for (_, instance) in world.of_group(sim.name(), sim.now()) {
        let owner = instance.ownership.as_ref();
        if let Some(seat) = owner.and_then(|owner| owner.seat.as_ref()) {
            *held.entry(seat.member.clone()).or_default() += 1;
        }
    }
    if let Some((member, count)) = held.iter().find(|(_, count)| **count > 1) {
        return broken("I13 identity", format!("{count} instances are {member}"));
    }
    if world.stats().double_attach > 0 {
        return broken("I13 identity", "a place that is held was to be taken");
    }
    Ok(())
}

/// I12: what the agent itself takes out or ends leaves a majority of the members that were started.
pub(crate) fn majority(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let (Some(quorum), Some(known)) = (&sim.spec().quorum, &pass.plan.next.quorum) else {
        return Ok(());
    };
    let members = &pass.classified.members;
    let seat = |id| members.get(id).and_then(|member| member.seat.as_ref());
    let serving: BTreeSet<&MemberId> = members
        .values()
        .filter(|member| member.class == InstanceClass::Available)
        .filter(|member| member.drain.is_none())
        .filter_map(|member| Some(&member.seat.as_ref()?.member))
        .filter(|id| known.voters.contains(*id))
        .collect();
    let mut taken: BTreeSet<&MemberId> = BTreeSet::new();
    for step in &pass.plan.steps {
        let (Action::Drain { instance, .. } | Action::Destroy { instance, .. }) = &step.action
        else {
            continue;
        };
        let serves = members
            .get(instance)
            .is_some_and(|member| member.class == InstanceClass::Available);
        if serves && step.cause != Cause::Because(Reason::Delete) {
            taken.extend(seat(instance).map(|seat| &seat.member));
        }
    }
    let left = serving.difference(&taken).count();
    let needed = known.voters.len() / 2 + 1;
    let held: BTreeSet<&MemberId> = members
        .values()
        .filter_map(|member| Some(&member.seat.as_ref()?.member))
        .collect();
    let before = pass.before.quorum.as_ref().map(|before| &before.voters);
    let remade = pass.plan.steps.iter().any(|step| match &step.action {
        Action::Create {
            seat: Some(seat), ..
        } => before.is_some_and(|before| before.contains(&seat.id.member)),
        _ => false,
    });
    let there = known
        .voters
        .intersection(&held.into_iter().cloned().collect())
        .count();
    if known.established && !quorum.allow_downtime && remade && there < needed {
        return broken(
            "I12 quorum",
            format!("{there} of {needed} needed exist, and more are made"),
        );
    }
    if known.established && !quorum.allow_downtime && !taken.is_empty() && left < needed {
        return broken("I12 quorum", format!("{left} are left, {needed} must be"));
    }
    Ok(())
}
