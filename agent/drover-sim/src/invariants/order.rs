//! What goes before what: bad instances before good ones, healing before rolling, the group's own affairs
//! before those of others.

use std::collections::BTreeSet;

use drover_model::{
    Action, Cause, GroupName, Hold, InstanceClass, InstanceId, Member, OrderVerb, Peers, Reason,
    RolloutState,
};

use super::{Violation, broken, keep, orders};
use crate::simulation::{Pass, Simulation};

/// The instances that a plan touches.
fn touched(pass: &Pass) -> BTreeSet<&InstanceId> {
    let steps = pass.plan.steps.iter();
    let touched = steps.filter_map(|step| match &step.action {
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Release { instance, .. } => Some(instance),
        Action::Update(change) => Some(&change.instance),
        Action::Create { .. }
        | Action::Resend { .. }
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Settle(_) => None,
    });
    touched.collect()
}

fn is_bad(member: &Member) -> bool {
    match member.class {
        InstanceClass::Exited(_) | InstanceClass::Unhealthy { .. } => true,
        InstanceClass::Failed { .. }
        | InstanceClass::Lost { .. }
        | InstanceClass::Suspect { .. }
        | InstanceClass::Terminating
        | InstanceClass::Starting
        | InstanceClass::Warming
        | InstanceClass::Available => false,
    }
}

/// Returns whether nothing has been decided about the end of a member before.
fn is_free(pass: &Pass, member: &Member) -> bool {
    member.drain.is_none() && !pass.is_ending(&member.id)
}

/// I5: a bad instance is replaced, or something says why it is not. Neither the floor nor the order of what
/// serves is in its way.
pub(super) fn broken_never_blocks(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    if sim.spec().quorum.is_some() {
        return Ok(());
    }
    let holds = &pass.report.holds;
    let floor = holds.iter().find(|held| {
        let floor = matches!(held.hold, Hold::AvailabilityFloor { .. });
        // What people have replaced may serve, and then it is in the way.
        let asked = [OrderVerb::Replace, OrderVerb::Restart];
        let ordered = |id| asked.into_iter().any(|verb| orders::counts(pass, id, verb));
        let ordered = held.instance.as_ref().is_some_and(ordered);
        held.reason == Some(Reason::Heal) && floor && !ordered
    });
    if let Some(held) = floor {
        return broken("I5 broken never blocks", format!("held by {}", held.hold));
    }
    let touched = touched(pass);
    let left = pass.classified.members.values().find(|member| {
        is_bad(member)
            && is_free(pass, member)
            && !touched.contains(&member.id)
            && !keep::keeps(pass, &member.id)
    });
    let explained = holds
        .iter()
        .any(|held| matches!(held.reason, None | Some(Reason::Heal)));
    match left {
        Some(member) if !explained => broken(
            "I5 broken never blocks",
            format!("{} is {} and left alone", member.id, member.class.as_str()),
        ),
        Some(_) | None => Ok(()),
    }
}

/// I7: while the rollout is paused and a good template exists, nothing is made of the new one.
pub(super) fn heal_before_roll(pass: &Pass) -> Result<(), Violation> {
    let next = &pass.plan.next;
    let paused = next
        .rollout
        .as_ref()
        .filter(|rollout| matches!(rollout.state, RolloutState::Paused(_)));
    let Some(rollout) = paused else {
        return Ok(());
    };
    let good = next.stable.as_ref().is_some_and(|stable| {
        let other = *stable != rollout.target && next.stable_size > 0;
        other && next.templates.contains_key(stable)
    });
    let made = pass.plan.steps.iter().any(
        |step| matches!(&step.action, Action::Create { digests, .. } if *digests == rollout.target),
    );
    if good && made {
        return broken("I7 heal before roll", "a paused template is made use of");
    }
    Ok(())
}

/// How gladly scale-in takes an instance, the worst first.
fn tier(sim: &Simulation, pass: &Pass, member: &Member) -> u8 {
    match member.class {
        InstanceClass::Terminating | InstanceClass::Failed { .. } => 0,
        _ if orders::counts(pass, &member.id, OrderVerb::Yield) => 0,
        _ if is_bad(member) || member.interruption.is_some() => 1,
        InstanceClass::Lost { .. } => 2,
        InstanceClass::Available => {
            // As the policies of drift see it: an outdated one that they accept is as good as any.
            let drift = &sim.decisions.drift;
            let target = pass.plan.next.target.as_ref();
            let current = target.is_some_and(|target| drift.is_current(&member.digests, target));
            let paused = pass.plan.next.rollout.as_ref();
            let paused =
                paused.is_some_and(|rollout| matches!(rollout.state, RolloutState::Paused(_)));
            // While a rollout is paused it is not said which of the two templates is the better one.
            if current || paused { 5 } else { 4 }
        }
        _ => 3,
    }
}

/// I8: scale-in takes nobody while somebody worse stays, whom nothing protects.
pub(super) fn worst_first(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    if sim.spec().quorum.is_some() {
        return Ok(());
    }
    let members = &pass.classified.members;
    let taken = pass.plan.steps.iter().filter_map(|step| {
        let (Action::Drain { instance, .. } | Action::Destroy { instance, .. }) = &step.action
        else {
            return None;
        };
        let member = members.get(instance)?;
        let begun = step.cause == Cause::Because(Reason::ScaleIn) && is_free(pass, member);
        begun.then_some(member)
    });
    let Some(best) = taken.map(|member| tier(sim, pass, member)).max() else {
        return Ok(());
    };
    let touched = touched(pass);
    let protected = |member: &Member| {
        let spec = sim.spec();
        let decided = &sim.decisions.protections;
        let by_policy = decided.iter().any(|protection| {
            let of = protection.instances.get(&Reason::ScaleIn);
            of.is_some_and(|instances| instances.contains(&member.id))
        });
        by_policy
            || orders::counts(pass, &member.id, OrderVerb::Keep)
            || spec
                .protected(&member.id, Reason::ScaleIn, pass.at)
                .is_some()
    };
    // Who serves and cannot be spared waits for its turn, and keeps it.
    let mut holds = pass.report.holds.iter();
    let waits = holds.any(|held| held.reason == Some(Reason::ScaleIn));
    let worse = members.values().find(|member| {
        tier(sim, pass, member) < best
            && !(waits && member.class == InstanceClass::Available)
            && is_free(pass, member)
            && member.class != InstanceClass::Terminating
            && member.update.is_none()
            && !touched.contains(&member.id)
            && !keep::keeps(pass, &member.id)
            && !protected(member)
            && member.provider_ref.is_some()
            && member.token.is_some()
    });
    match worse {
        Some(member) => broken(
            "I8 worst first",
            format!("{} is {} and stays", member.id, member.class.as_str()),
        ),
        None => Ok(()),
    }
}

/// Returns the same other groups, all of those that the group does not depend on where they were not.
pub(super) fn other_peers(sim: &Simulation) -> Peers {
    let depends = &sim.spec().depends_on;
    let mut converged = sim.peers.converged.clone();
    converged.retain(|name| depends.contains(name));
    if let Ok(stranger) = GroupName::parse("stranger") {
        converged.insert(stranger);
    }
    Peers {
        converged,
        shares: sim.peers.shares.clone(),
        emptied: sim.peers.emptied,
    }
}
