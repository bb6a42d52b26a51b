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
        // Who is drained works until it is ended.
        .filter(|member| !pass.is_ending(&member.id))
        .filter_map(|member| Some(&member.seat.as_ref()?.member))
        .filter(|id| known.voters.contains(*id))
        .collect();
    let mut taken: BTreeSet<&MemberId> = BTreeSet::new();
    for step in &pass.plan.steps {
        let (Action::Drain { instance, .. } | Action::Destroy { instance, .. }) = &step.action
        else {
            continue;
        };
        let listed = quorum.membership.keeper().is_some();
        let handle = members
            .get(instance)
            .and_then(|one| one.provider_ref.as_ref());
        if listed && handle.is_some_and(|handle| !sim.rosters().votes(sim.name(), handle)) {
            // It has left, or does not vote yet: no majority hangs on it.
            continue;
        }
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

/// I12, of a membership list: nobody is ended whom it counts on, and no change of it leaves less than a
/// majority that works.
pub(crate) fn roster(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    if let Some(breach) = sim.rosters().take_breaches().into_iter().next() {
        return broken("I12 quorum", breach);
    }
    let Some(quorum) = &sim.spec().quorum else {
        return Ok(());
    };
    let known = pass.plan.next.quorum.as_ref();
    let established = known.is_some_and(|known| known.established);
    let single = quorum.members.len() == 1
        && known.is_some_and(|known| {
            let mut voters = known.voters.iter();
            voters.all(|id| quorum.member(id).is_some())
        });
    let Some(applied) = &pass.applied else {
        return Ok(());
    };
    if quorum.membership.keeper().is_none() || !established || single {
        return Ok(());
    }
    for outcome in &applied.outcomes {
        let step = &pass.plan.steps[outcome.step];
        let Action::Destroy {
            provider_ref,
            instance,
            ..
        } = &step.action
        else {
            continue;
        };
        let member = pass.classified.members.get(instance);
        if member.is_some_and(|member| member.class == InstanceClass::Terminating) {
            // Decided before, perhaps under another document, and only told again.
            continue;
        }
        let skipped = matches!(outcome.result, drover_apply::StepResult::Skipped(_));
        let deleted = step.cause == Cause::Because(Reason::Delete);
        if !skipped && !deleted && sim.rosters().counts_on(sim.name(), provider_ref) {
            return broken(
                "I12 quorum",
                format!("{provider_ref} ends and has not left"),
            );
        }
    }
    Ok(())
}
