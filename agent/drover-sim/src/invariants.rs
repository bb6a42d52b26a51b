//! The planner's invariants, checked from outside after every pass.
//!
//! What can be checked on the provider's own truth is: it does not care what the agent believes.

mod admission;
mod in_place;
mod keep;
mod order;
mod orders;

use std::collections::BTreeSet;

use drover_apply::{Journal as _, StepResult};
use drover_model::{
    Action, Cause, FieldClass, GroupPhase, Hold, InPlace, InPlaceUpdate, InstanceClass, InstanceId,
    IntentState, OrderVerb, Peers, Plan, ProviderPhase, Reason, RecordedGroup, RolloutMode,
    RolloutOrder, SettlementOutcome, SizeDecision, Timestamp, Trust,
};
use drover_plan::{ClassifyInput, ProviderFacts, classify};

use drover_provider_sim::SimInstance;

use crate::simulation::{Pass, Simulation, SimulationError};

/// An invariant that does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

pub(crate) fn broken<T>(invariant: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        invariant,
        what: what.into(),
    })
}

/// What the checks remember from pass to pass.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    total: usize,
    /// Until when the provider's listings may lie about what is being ended.
    pub(crate) lies_until: Option<Timestamp>,
    /// The highest ceiling since the last time that no create was open: a late effect of an old call
    /// is bounded by the ceiling it was made under.
    ceiling: u32,
    numbers: BTreeSet<InstanceId>,
    /// The sizes that a policy moved the group away from, with when.
    moves: Vec<(Timestamp, u32)>,
    /// What was believed to be gone under a listing that lied.
    buried: BTreeSet<InstanceId>,
    made: admission::Made,
    changed: in_place::Changed,
}

impl Checks {
    /// Checks everything after a pass.
    pub(crate) fn after(&mut self, sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
        availability(pass)?;
        self.ceiling(sim, pass)?;
        self.paced(sim, pass)?;
        admission::may_begin(sim, pass)?;
        admission::within_the_allowance(pass)?;
        self.made.within_the_hour(sim, pass)?;
        in_place::within_the_action(sim, pass)?;
        self.changed.only_in_place(sim)?;
        keep::within_reason(sim, pass)?;
        orders::keeps(pass)?;
        order::broken_never_blocks(sim, pass)?;
        order::heal_before_roll(pass)?;
        order::worst_first(sim, pass)?;
        no_worse(sim, pass)?;
        never_quarantined(pass)?;
        within_stages(sim, pass)?;
        crate::members::identity(sim)?;
        crate::members::majority(sim, pass)?;
        crate::members::roster(sim, pass)?;
        self.at_most_once(sim, pass)?;
        no_action_unobserved(pass)?;
        explained(sim, pass)?;
        inert(sim, pass)?;
        idempotent(sim, pass)
    }

    /// I2: no create raises the provider's true total above the ceiling.
    fn ceiling(&mut self, sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
        let at = sim.now();
        let lies = self.lies_until.is_some_and(|until| at <= until);
        if lies {
            self.buried.extend(pass.classified.gone.keys().cloned());
        }
        let ending =
            |instance: &SimInstance| matches!(instance.phase(at), Some(ProviderPhase::Stopping));
        let now = sim
            .world()
            .of_group(sim.name(), at)
            .into_iter()
            // Under a listing that lies, what is being ended cannot be told from what has ended.
            .filter(|(id, instance)| !(lies && (ending(instance) || self.buried.contains(id))))
            .count();
        let open = pass
            .intents
            .iter()
            .any(|intent| matches!(intent.kind, drover_model::IntentKind::Create { .. }));
        let ceiling = pass.report.numbers.ceiling;
        self.ceiling = if open {
            self.ceiling.max(ceiling)
        } else {
            ceiling
        };
        let limit = (self.ceiling as usize).max(self.total);
        self.total = sim.world().of_group(sim.name(), at).len();
        if now > limit {
            return broken("I2 ceiling", format!("{now} exist, {limit} may"));
        }
        Ok(())
    }

    /// A policy shrinks the group no further than the rate allows, whatever the agent remembers.
    fn paced(&mut self, sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
        let (before, after) = (pass.before.size, pass.plan.next.size);
        let applied = pass.applied.as_ref();
        if before == after || applied.is_none_or(|applied| applied.journal_error.is_some()) {
            return Ok(());
        }
        if !matches!(sim.decisions.size, Some(SizeDecision::Chosen { .. })) {
            self.moves.clear();
            return Ok(());
        }
        self.moves.push((pass.at, before));
        let rate = sim.spec().scaling.rate.down;
        let counts = |at: Timestamp| at.checked_add(rate.per).is_ok_and(|end| end > pass.at);
        let recent = self.moves.iter().find(|(at, _)| counts(*at));
        let base = recent.map_or(before, |(_, size)| *size);
        let fewest = base.saturating_sub(rate.amount.ceil_of(base).max(1));
        if pass.before.accepted.is_some() && after < before && after < fewest {
            let what = format!("from {base} to {after}, {fewest} is allowed");
            return broken("pace", what);
        }
        Ok(())
    }

    /// I10: one token makes at most one set of instances, and no name is given twice.
    fn at_most_once(&mut self, sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
        for (index, step) in pass.plan.steps.iter().enumerate() {
            if let Action::Create { slots, .. } = &step.action {
                let done = pass.applied.as_ref().is_some_and(|applied| {
                    !matches!(applied.outcomes[index].result, StepResult::Skipped(_))
                });
                for slot in slots {
                    if done && !self.numbers.insert(slot.clone()) {
                        return broken("I10 at most once", format!("{slot} was named twice"));
                    }
                }
            }
        }
        let world = sim.world();
        let stats = world.stats();
        if stats.duplicates > 0 {
            return broken("I10 at most once", "two instances have one name");
        }
        if stats.foreign_touches > 0 || stats.stale_epochs > 0 {
            return broken("I13 identity", "an instance of another owner was touched");
        }
        Ok(())
    }
}

/// I1: what serves stays at the floor, whatever the reason, but for deletion and for what the provider
/// takes anyway.
fn availability(pass: &Pass) -> Result<(), Violation> {
    let floor = pass.report.numbers.floor;
    let members = &pass.classified.members;
    let serving: BTreeSet<&InstanceId> = members
        .values()
        .filter(|member| member.class == InstanceClass::Available && member.drain.is_none())
        .map(|member| &member.id)
        .collect();
    let steps = pass.plan.steps.iter();
    let taken = steps.filter_map(|step| match &step.action {
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Update(InPlaceUpdate {
            instance,
            how: InPlace::Restart,
            ..
        }) => (step.cause != Cause::Because(Reason::Delete)).then_some((instance, step.cause)),
        _ => None,
    });
    let taken: Vec<Cause> = taken
        .filter(|(id, _)| serving.contains(*id))
        .map(|(_, cause)| cause)
        .collect();
    let left = serving.len() - taken.len();
    let by_choice = taken
        .iter()
        .any(|cause| *cause != Cause::Because(Reason::Interruption));
    if by_choice && left < floor as usize {
        return broken(
            "I1 availability",
            format!("{left} stay, the floor is {floor}"),
        );
    }
    Ok(())
}

/// I4: while the newcomers are bad, nothing that serves is retired for more of them.
fn no_worse(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let Some(target) = &pass.plan.next.target else {
        return Ok(());
    };
    let members = &pass.classified.members;
    let taken: BTreeSet<&InstanceId> = pass
        .plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Drain { instance, .. } | Action::Destroy { instance, .. } => Some(instance),
            _ => None,
        })
        .collect();
    let ending: BTreeSet<&InstanceId> = pass
        .intents
        .iter()
        .filter_map(|intent| match &intent.kind {
            drover_model::IntentKind::Destroy { instance, .. } => Some(instance),
            _ => None,
        })
        .collect();
    let staying = members.values().filter(|member| {
        let leaves = taken.contains(&member.id)
            || member.drain.is_some()
            || ending.contains(&member.id)
            || keep::keeps(pass, &member.id);
        !leaves && !matches!(member.class, InstanceClass::Terminating)
    });
    let staying: Vec<_> = staying.collect();
    let size = pass.plan.next.size;
    let serve = staying
        .iter()
        .filter(|member| member.class == InstanceClass::Available);
    // What goes when a group is made smaller is retired for nobody, as long as enough others serve.
    if size < pass.before.size && serve.count() as u32 >= size {
        return Ok(());
    }
    let newcomers = staying
        .into_iter()
        .filter(|member| member.digests == *target);
    let (good, bad): (Vec<_>, Vec<_>) =
        newcomers.partition(|member| member.class == InstanceClass::Available);
    let bad = bad.len() as u32;
    // A group that was made smaller may have all it needs beside those that are bad.
    if good.len() as u32 >= size {
        return Ok(());
    }
    let rollout = &sim.spec().rollout;
    let surge = match rollout.order {
        RolloutOrder::Auto | RolloutOrder::CreateFirst => rollout.surge_max.ceil_of(size),
        RolloutOrder::DeleteFirst => 0,
    };
    let window = surge + rollout.unavailable_max.floor_of(size);
    let retires = pass.plan.steps.iter().any(|step| {
        step.cause == Cause::Because(Reason::Update)
            && matches!(&step.action, Action::Drain { instance, .. } | Action::Update(InPlaceUpdate { instance, .. })
                if members.get(instance).is_some_and(|m| m.class == InstanceClass::Available && m.drain.is_none()))
    });
    if retires && bad >= window.max(1) {
        return broken(
            "I4 no worse",
            format!("{bad} bad newcomers and one more retired"),
        );
    }
    Ok(())
}

/// I14, I15: nothing is made of a template in quarantine, nor is anything that has one the target.
fn never_quarantined(pass: &Pass) -> Result<(), Violation> {
    let Some(quarantine) = &pass.plan.next.quarantine else {
        return Ok(());
    };
    let bad = &quarantine.digests;
    let makes = pass
        .plan
        .steps
        .iter()
        .any(|step| matches!(&step.action, Action::Create { digests, .. } if digests == bad));
    if makes || pass.plan.next.target.as_ref() == Some(bad) {
        return broken("I14 quarantine", "a template in quarantine is used");
    }
    if pass.plan.next.target != pass.plan.next.stable {
        return broken("I15 rollback", "the target is not the last good template");
    }
    Ok(())
}

/// Counts the instances of the target that are too old: each may be followed by one before it goes.
fn followed(sim: &Simulation, pass: &Pass, target: &drover_model::Digests) -> u32 {
    let Some(expiry) = sim.spec().expiry else {
        return 0;
    };
    let members = pass.classified.members.values();
    let too_old = members.filter(|member| {
        let age = expiry.age_of(&pass.before.uid, &member.id);
        member.digests == *target && member.created_at + age <= pass.at
    });
    let surge = sim.spec().rollout.surge_max.ceil_of(pass.plan.next.size);
    (too_old.count() as u32).min(surge)
}

/// Counts what has a successor beside it: what the provider is about to take, and what people have replaced or
/// restarted.
fn succeeded(pass: &Pass) -> u32 {
    let members = pass.classified.members.values();
    let taken = members.filter(|member| {
        let asked = [OrderVerb::Replace, OrderVerb::Restart];
        let asked = asked
            .into_iter()
            .any(|verb| orders::counts(pass, &member.id, verb));
        member.interruption.is_some() || asked
    });
    taken.count() as u32
}

/// Of a template that has not passed a stage there is no more than the stage allows; nothing is
/// retired for being outdated while the document says not to.
fn within_stages(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let next = &pass.plan.next;
    let rollout = &sim.spec().rollout;
    let retires = pass.plan.steps.iter().any(|step| {
        step.cause == Cause::Because(Reason::Update)
            && matches!(&step.action, Action::Drain { instance, .. } | Action::Update(InPlaceUpdate { instance, .. })
                if pass.classified.members.get(instance).is_some_and(|m| m.drain.is_none()))
    });
    if retires && (rollout.paused || rollout.mode != RolloutMode::Proactive) {
        return broken("stages", "an outdated instance is retired all the same");
    }
    let (Some(target), Some(going)) = (&next.target, &next.rollout) else {
        return Ok(());
    };
    let good = next.stable.as_ref().filter(|good| *good != target);
    if next.stable_size == 0 || good.is_none_or(|good| !next.templates.contains_key(good)) {
        return Ok(());
    }
    let size = next.size;
    let taken = succeeded(pass);
    let mut most = rollout
        .partition
        .map_or(size + taken, |amount| amount.ceil_of(size));
    if let Some(canary) = rollout.canary
        && !going.stages.promoted
    {
        most = most.min(canary.count.ceil_of(size));
    }
    most += followed(sim, pass, target);
    let made: usize = pass
        .plan
        .steps
        .iter()
        .map(|step| match &step.action {
            Action::Create { slots, digests, .. } if digests == target => slots.len(),
            _ => 0,
        })
        .sum();
    // What stands in for one that restarts may be above the size; a stage is not exceeded for it.
    let changed = pass.plan.steps.iter().filter(|step| match &step.action {
        // What people have restarted stays what it is.
        _ if step.cause == Cause::Because(Reason::Heal) => false,
        Action::Update(InPlaceUpdate { digests, .. }) => digests == target,
        Action::Drain { returns, .. } => returns.is_some(),
        _ => false,
    });
    let changed = if most < size { changed.count() } else { 0 };
    let made = made + changed;
    let ending = |id: &InstanceId| {
        pass.is_ending(id)
            || pass.plan.steps.iter().any(|step| match &step.action {
                Action::Drain { instance, .. }
                | Action::Destroy { instance, .. }
                | Action::Update(InPlaceUpdate { instance, .. }) => instance == id,
                _ => false,
            })
    };
    let there = pass.classified.members.values().filter(|member| {
        let stays = member.digests == *target && member.drain.is_none();
        let drain = member.drain.as_ref().filter(|drain| drain.returns);
        let returns = drain.is_some_and(|drain| drain.reason == Reason::Update);
        (stays || returns)
            && member.class != InstanceClass::Terminating
            && !ending(&member.id)
            && !keep::keeps(pass, &member.id)
    });
    let of_target = there.count() + made;
    if made > 0 && of_target > most as usize {
        return broken("stages", format!("{of_target} have the target, {most} may"));
    }
    Ok(())
}

/// I11: nothing changes on a listing that is not trusted.
fn no_action_unobserved(pass: &Pass) -> Result<(), Violation> {
    let acts = pass.plan.steps.iter().any(|step| step.action.mutates());
    match &pass.classified.trust {
        Trust::Frozen(hold) if acts => broken("I11 observation", hold.code()),
        Trust::Frozen(_) | Trust::Full => Ok(()),
    }
}

/// I16: a group that is not where it should be, and for which nothing is on the way, says why; and
/// there always is a next look while something is to be done.
fn explained(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let acts = keep::begins(pass).next().is_some()
        || pass.plan.steps.iter().any(|step| step.action.mutates());
    let done = matches!(
        pass.plan.next.phase,
        GroupPhase::Converged | GroupPhase::Deleted
    );
    let in_motion = !pass.intents.is_empty()
        || pass.classified.members.values().any(|member| {
            !matches!(
                member.class,
                InstanceClass::Available
                    | InstanceClass::Exited(_)
                    | InstanceClass::Failed { .. }
                    | InstanceClass::Unhealthy { .. }
                    | InstanceClass::Lost { .. }
            )
        });
    if !acts && !done && !in_motion && pass.report.holds.is_empty() {
        let phase = pass.plan.next.phase.as_str();
        return broken("I16 explained", format!("nothing is done, phase {phase}"));
    }
    if in_motion && pass.plan.wake_at.is_none() {
        return broken(
            "I16 explained",
            "something is on the way and nobody will look",
        );
    }
    if pass.plan.wake_at.is_some_and(|at| at <= sim.now()) {
        return broken("I16 explained", "the wake-up time is past");
    }
    Ok(())
}

/// I18 and I19: what has nothing to do with the group changes no plan of it.
fn inert(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    if sim.desired.is_none() {
        return Ok(());
    }
    let replanned = |provider: &ProviderFacts, peers: &Peers, before: &RecordedGroup| {
        sim.replanned((provider, peers), &pass.classified, &pass.intents, before)
            .map_err(|error| bug(&error))
    };
    let original = replanned(&sim.provider, &sim.peers, &pass.before)?;
    let same = |plan: &Plan| plan.steps == original.steps && plan.next == original.next;
    let mut templates = pass.before.templates.values();
    if templates.any(|template| *template == sim.last.spec.template) {
        let mut upgraded = sim.provider.clone();
        // What the provider says of itself is recorded, and that is all.
        let mut before = pass.before.clone();
        let recorded = before.provider.iter_mut();
        let recorded = recorded.map(|provider| &mut provider.classes);
        for classes in recorded.chain([&mut upgraded.classes]) {
            classes.insert("version".to_owned(), FieldClass::Ignore);
        }
        let mut plan = replanned(&upgraded, &sim.peers, &before)?;
        plan.next.provider.clone_from(&original.next.provider);
        if !same(&plan) {
            return broken("I18 inert upgrade", "another schema made another plan");
        }
    }
    if !same(&replanned(
        &sim.provider,
        &order::other_peers(sim),
        &pass.before,
    )?) {
        return broken("I19 isolation", "another group made another plan");
    }
    Ok(())
}

/// Whether what a plan did lets another one follow it with nothing else to see.
fn brings_news(pass: &Pass) -> bool {
    // The answer to a launch after failed ones is news: more may follow it.
    let backed_off = pass.before.backoff.is_some() || pass.plan.next.backoff.is_some();
    // So is that a decision came to nothing, or the answer to a repeated call.
    let closed = pass.plan.steps.iter().any(|step| {
        matches!(&step.action, Action::Settle(settlement)
            if settlement.outcome != SettlementOutcome::Observed)
            || matches!(step.action, Action::Resend { .. })
    });
    // And how fast is healed depends on how many are bad, and how many on their way: taking one of
    // either out for another reason is news.
    let available = |id: &InstanceId| {
        let member = pass.classified.members.get(id);
        member.is_some_and(|member| member.class == InstanceClass::Available)
    };
    let fewer = pass.plan.steps.iter().any(|step| match &step.action {
        Action::Drain { instance, .. } | Action::Destroy { instance, .. } => !available(instance),
        _ => false,
    });
    let paced = pass.report.holds.iter().any(|held| match held.hold {
        Hold::Systemic { .. } => true,
        Hold::HealBudget { .. } => fewer,
        // What was restarted and ends takes from no budget any more.
        Hold::BudgetExhausted { .. } => fewer && held.reason == Some(Reason::Heal),
        _ => false,
    });
    backed_off || closed || paced
}

/// I9: with nothing new to see, a plan that was carried out is followed by none.
fn idempotent(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let Some(applied) = &pass.applied else {
        return Ok(());
    };
    if !applied.is_complete() || brings_news(pass) {
        return Ok(());
    }
    let intents = sim
        .journal()
        .open_intents(sim.name())
        .map_err(|error| Violation {
            invariant: "I9 idempotence",
            what: error.to_string(),
        })?;
    let unanswered = |intent: &drover_model::Intent| intent.state == IntentState::Sent;
    if intents.iter().any(unanswered) {
        return Ok(());
    }
    let classified = classify(&ClassifyInput {
        now: pass.at,
        group: sim.name(),
        spec: sim.spec(),
        listing: &pass.listing,
        signals: &pass.signals,
        memory: &sim.memory,
        intents: &intents,
        recorded: &sim.recorded,
        visibility: sim.visibility(),
        health: &sim.decisions.health,
        surveyed: pass.surveyed.as_ref(),
        provider: &sim.provider,
        emptied: sim.peers.emptied.as_ref(),
    });
    let again = sim
        .replanned(
            (&sim.provider, &sim.peers),
            &classified,
            &intents,
            &sim.recorded,
        )
        .map_err(|error| bug(&error))?;
    let released = pass
        .plan
        .steps
        .iter()
        .any(|step| matches!(step.action, Action::Release { .. }));
    if again.steps.iter().any(|step| step.action.mutates()) && !released {
        return broken(
            "I9 idempotence",
            format!("the same facts again: {:?}", again.steps),
        );
    }
    Ok(())
}

fn bug(error: &SimulationError) -> Violation {
    Violation {
        invariant: "lint",
        what: format!("{error}: {:?}", std::error::Error::source(error)),
    }
}
