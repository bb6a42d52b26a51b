//! The last check before a plan is carried out, on the facts alone.
//!
//! This module deliberately shares no code with the planner: it counts again, from the specification
//! and the observation, so that a mistake in the planner's own counters cannot hide itself. A plan
//! that fails here is a bug and is not carried out.

mod admission;
mod adopt;
mod in_place;
mod keep;
mod orders;
mod quorum;
mod rollout;
mod roster;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Action, Activity, AdoptStep, Amount, Cause, Classified, GroupName, Hold, InPlace,
    InPlaceUpdate, InstanceClass, InstanceId, Intent, IntentId, IntentKind, IntentState, Manage,
    Member, OutageMode, Plan, ProviderRef, Reason, Resize, SizeDecision, Step, Token, Trust,
    counted, plural,
};

use crate::input::{Desired, PlanInput};
use crate::intents::current;

/// Why a plan must not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LintError {
    /// A step touches another group.
    #[error("{subject} is not of group {group}")]
    OutsideGroup {
        /// What it touches.
        subject: String,
        /// The group that is planned.
        group: GroupName,
    },
    /// A step ends or drains what was not observed as a member under this handle and token.
    #[error("{0} was not observed under this handle and token")]
    NotObserved(InstanceId),
    /// A step makes what exists, or takes a number that was given out before.
    #[error("{0} was named before")]
    NotNew(InstanceId),
    /// Two steps touch one instance.
    #[error("{0} is touched twice")]
    Twice(InstanceId),
    /// A provision token was used before.
    #[error("token {0} was used before")]
    TokenReused(Token),
    /// A step speaks of an intent that is not open, or not open in that way, or twice.
    #[error("intent {0} is not open for that")]
    NotOpen(IntentId),
    /// Creates would raise the total above the ceiling.
    #[error("{} would exist, the ceiling is {ceiling}", counted(*total, "instance"))]
    AboveCeiling {
        /// How many there would be.
        total: u32,
        /// How many there may be.
        ceiling: u32,
    },
    /// Too few instances would stay available.
    #[error("{} would stay available, the floor is {floor}", counted(*available, "instance"))]
    BelowFloor {
        /// How many would stay.
        available: u32,
        /// How many must.
        floor: u32,
    },
    /// More instances would be removed without replacement than there are too many.
    #[error("{} would be removed, {} too many", counted(*removed, "instance"), plural(*surplus, "is", "are"))]
    RemovesTooMany {
        /// How many would be removed.
        removed: u32,
        /// How many are too many.
        surplus: u32,
    },
    /// An instance would be made elsewhere than the document says.
    #[error("{instance} would be made in zone {}", zone.as_deref().unwrap_or("of the provider's choice"))]
    WrongZone {
        /// The instance.
        instance: InstanceId,
        /// Where.
        zone: Option<String>,
    },
    /// Instances would be moved between zones while a rollout goes on, or without making them more
    /// even.
    #[error("an instance would be moved between zones for nothing")]
    IdleMove,
    /// A policy's size would take effect faster than it may.
    #[error("the size would move from {from} to {to}, {least} to {most} are allowed")]
    TooFast {
        /// The size before.
        from: u32,
        /// The size after.
        to: u32,
        /// The smallest that is allowed.
        least: u32,
        /// The largest that is allowed.
        most: u32,
    },
    /// An instance that serves would be destroyed without the drain that its specification has.
    #[error("{0} would be destroyed without being drained")]
    NotDrained(InstanceId),
    /// An instance would be taken out of a cluster that is not known to be well.
    #[error("{0} would be taken out of a cluster that is not known to be well")]
    ClusterUnwell(InstanceId),
    /// The document protects an instance.
    #[error("{0} is protected")]
    Protected(InstanceId),
    /// A disruption begins while the windows are closed to it.
    #[error("the windows are closed to {reason}")]
    WindowClosed {
        /// The disruption.
        reason: Reason,
    },
    /// More disruptions would be in flight than a budget allows.
    #[error("more disruptions would be in flight than the {max} that a budget allows")]
    OverBudget {
        /// How many may be.
        max: u32,
    },
    /// A group that this one depends on has not converged.
    #[error("a group that this one depends on has not converged")]
    DependencyNotReady,
    /// More instances would be made or ended within the hour than may be.
    #[error("more instances would be made or ended within the hour than {limit}")]
    OverTheHour {
        /// How many may be.
        limit: u32,
    },
    /// Something would be changed although nothing may be.
    #[error("a step changes something although {why}")]
    MayNotAct {
        /// What forbids it.
        why: String,
    },
    /// Steps that the change's certificate does not cover.
    #[error("the change's certificate does not cover {what}")]
    Uncertified {
        /// What is not covered.
        what: &'static str,
    },
    /// An instance would be retired for being outdated although nothing may be for that.
    #[error("an outdated instance would be retired although {why}")]
    MayNotUpdate {
        /// What forbids it.
        why: &'static str,
    },
    /// More instances would have the new template than its stage allows.
    #[error("{} would have the new template, {most} may", counted(*updated, "instance"))]
    AboveStage {
        /// How many there would be.
        updated: u32,
        /// How many there may be.
        most: u32,
    },
    /// An instance would be changed in place that may not be.
    #[error("{instance} would be changed in place although {what}")]
    InPlace {
        /// The instance.
        instance: InstanceId,
        /// What is in the way.
        what: &'static str,
    },
    /// More would be done to an instance for being outdated than the document allows.
    #[error("an outdated instance would be {what}, rollout.maxAction is {allowed}")]
    BeyondAction {
        /// What would be done.
        what: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// More instances would be changed in place at once than the window has room for.
    #[error("{} in place would begin, the window is {window}", counted(*begun, "change"))]
    BeyondWindow {
        /// How many would begin.
        begun: u32,
        /// How many may be on their way.
        window: u32,
    },
    /// An instance would be kept, or what is kept would be ended, although it may not.
    #[error("{instance} would be {what}")]
    Keep {
        /// The instance.
        instance: InstanceId,
        /// What would happen.
        what: &'static str,
    },
    /// Something would be done to an instance that people asked otherwise of, or nobody asked for.
    #[error("{instance} would be {what}")]
    Ordered {
        /// The instance.
        instance: InstanceId,
        /// What would happen.
        what: &'static str,
    },
    /// More instances would be kept than may be.
    #[error("{} would be kept, {max} may be", counted(*kept, "instance"))]
    KeepsTooMany {
        /// How many there would be.
        kept: u32,
        /// How many there may be.
        max: u32,
    },
    /// Something would be made of a template in quarantine.
    #[error("a template in quarantine would be used")]
    Quarantined,
    /// A member of a quorum group would be made or ended out of turn.
    #[error("{0}")]
    Seat(&'static str),
    /// Too few members of a quorum group would be left to decide anything.
    #[error("{} would be well, {needed} must be", counted(*left, "member"))]
    NoMajority {
        /// How many would be left.
        left: u32,
        /// How many must be.
        needed: u32,
    },
    /// An instance would be adopted that may not be, or something be done before everything is adopted.
    #[error("{subject} {what}")]
    Adoption {
        /// What is touched.
        subject: String,
        /// What is wrong with that.
        what: &'static str,
    },
    /// The next recorded state contradicts the steps.
    #[error("the next recorded state is wrong: {what}")]
    WrongRecord {
        /// What is wrong.
        what: &'static str,
    },
}

/// Checks that a plan keeps the promises.
pub fn lint(input: &PlanInput<'_>, plan: &Plan) -> Result<(), LintError> {
    let facts = Facts::of(input);
    facts.may_act(plan)?;
    facts.identities(plan)?;
    facts.intents(plan)?;
    facts.ceiling(plan)?;
    facts.floor(plan)?;
    facts.removals(plan)?;
    facts.pace(plan)?;
    facts.zones(plan)?;
    facts.drained(plan)?;
    facts.stages(plan)?;
    facts.in_place(plan)?;
    facts.adoption(plan)?;
    facts.keep(plan)?;
    facts.orders(plan)?;
    facts.quorum(plan)?;
    facts.roster(plan)?;
    facts.admission(plan)?;
    facts.recorded(plan)
}

/// The input, seen with the lint's own eyes.
struct Facts<'a> {
    input: &'a PlanInput<'a>,
    world: &'a Classified,
    open: BTreeMap<IntentId, &'a Intent>,
    /// The open intents of which it is known by now what came of them.
    settled: BTreeSet<IntentId>,
    ending: BTreeSet<&'a InstanceId>,
    intended: BTreeSet<&'a InstanceId>,
    deleting: bool,
}

impl<'a> Facts<'a> {
    fn of(input: &'a PlanInput<'a>) -> Self {
        let mut ending = BTreeSet::new();
        let mut intended = BTreeSet::new();
        for intent in current(input.intents, input.classified) {
            match &intent.kind {
                IntentKind::Create { slots, .. } => intended.extend(slots),
                IntentKind::Destroy { instance, .. } => {
                    ending.insert(instance);
                }
                IntentKind::Adopt(step) => {
                    intended.insert(&step.instance);
                }
                IntentKind::Drain { .. } | IntentKind::Update(_) | IntentKind::Roster(_) => {}
            }
        }
        Self {
            input,
            world: input.classified,
            open: input
                .intents
                .iter()
                .map(|intent| (intent.id, intent))
                .collect(),
            settled: input
                .classified
                .settled
                .iter()
                .map(|one| one.intent)
                .collect(),
            ending,
            intended,
            deleting: matches!(input.desired, Desired::Deleting { .. }),
        }
    }

    /// Nothing outside is changed while something forbids it.
    fn may_act(&self, plan: &Plan) -> Result<(), LintError> {
        if !plan.steps.iter().any(|step| step.action.mutates()) {
            return Ok(());
        }
        let forbidden = |why: &str| {
            Err(LintError::MayNotAct {
                why: why.to_owned(),
            })
        };
        if let Trust::Frozen(hold) = &self.world.trust {
            return forbidden(hold.code());
        }
        let spec = self.input.desired.spec();
        if spec.manage == Manage::Observe {
            return forbidden("the group is only observed");
        }
        if spec.suspended(Activity::All, self.input.now).is_some() {
            return forbidden("everything is suspended");
        }
        for held in self.input.fences {
            if matches!(
                held.hold,
                Hold::Frozen { .. }
                    | Hold::SourceOutage {
                        mode: OutageMode::Freeze,
                        ..
                    }
                    | Hold::JournalUnavailable { .. }
                    | Hold::EpochConflict { .. }
                    | Hold::StateUntrusted { .. }
                    | Hold::ProviderFailed { .. }
                    | Hold::ProviderMissing { .. }
                    | Hold::ObservationStale
                    | Hold::ObservationPartial { .. }
                    | Hold::ObservationEmptied { .. }
                    | Hold::ObserveOnly
            ) {
                return forbidden(held.hold.code());
            }
        }
        Ok(())
    }

    /// Every step touches an own instance under its right name, each at most once.
    fn identities(&self, plan: &Plan) -> Result<(), LintError> {
        let mut touched = BTreeSet::new();
        for step in &plan.steps {
            for id in subjects(step) {
                if id.group() != self.input.group() || plan.group != *self.input.group() {
                    return Err(LintError::OutsideGroup {
                        subject: id.to_string(),
                        group: self.input.group().clone(),
                    });
                }
                if !touched.insert(id.clone()) {
                    return Err(LintError::Twice(id.clone()));
                }
            }
            match &step.action {
                Action::Create { slots, .. } => self.unused(slots)?,
                Action::Adopt(step) => self.unused(std::slice::from_ref(&step.instance))?,
                Action::Drain {
                    instance,
                    provider_ref,
                    ..
                }
                | Action::Release {
                    instance,
                    provider_ref,
                } => self.observed(instance, provider_ref, None)?,
                Action::Destroy {
                    instance,
                    provider_ref,
                    token,
                    ..
                }
                | Action::Update(InPlaceUpdate {
                    instance,
                    provider_ref,
                    token,
                    ..
                }) => self.observed(instance, provider_ref, Some(token))?,
                Action::Resend { .. } | Action::Roster(_) | Action::Settle(_) => {}
            }
        }
        Ok(())
    }

    fn unused(&self, slots: &[InstanceId]) -> Result<(), LintError> {
        for id in slots {
            let intended = self.intended.contains(id);
            let known = self.world.members.contains_key(id)
                || self.world.kept.contains_key(id)
                || self.world.gone.contains_key(id)
                || self.input.recorded.instances.contains_key(id);
            if intended || known || id.number() < self.input.recorded.next_number {
                return Err(LintError::NotNew(id.clone()));
            }
        }
        Ok(())
    }

    fn observed(
        &self,
        id: &InstanceId,
        provider_ref: &ProviderRef,
        token: Option<&Token>,
    ) -> Result<(), LintError> {
        let member = self.world.members.get(id);
        let member = member.or_else(|| self.world.kept.get(id));
        let matches = member.is_some_and(|member| {
            member.provider_ref.as_ref() == Some(provider_ref)
                && (token.is_none() || member.token.as_ref() == token)
        });
        if matches {
            Ok(())
        } else {
            Err(LintError::NotObserved(id.clone()))
        }
    }

    /// Intents are closed and repeated once, and only while they are open; tokens are new.
    fn intents(&self, plan: &Plan) -> Result<(), LintError> {
        let mut closed = BTreeSet::new();
        let mut tokens: BTreeSet<&Token> = self
            .open
            .values()
            .filter_map(|intent| match &intent.kind {
                IntentKind::Create { token, .. }
                | IntentKind::Adopt(AdoptStep { token, .. })
                | IntentKind::Update(InPlaceUpdate { update: token, .. }) => Some(token),
                IntentKind::Drain { .. } | IntentKind::Destroy { .. } | IntentKind::Roster(_) => {
                    None
                }
            })
            .collect();
        let held = self.world.members.values().chain(self.world.kept.values());
        tokens.extend(held.filter_map(|member| member.token.as_ref()));
        for step in &plan.steps {
            match &step.action {
                Action::Settle(settlement) => {
                    let id = settlement.intent;
                    if !self.open.contains_key(&id) || !closed.insert(id) {
                        return Err(LintError::NotOpen(id));
                    }
                }
                Action::Resend { intent } => {
                    let unanswered = self.open.get(intent).is_some_and(|open| match open.kind {
                        IntentKind::Create { .. } => open.state == IntentState::Sent,
                        // Accepted, and not seen to have happened.
                        IntentKind::Update(_) => {
                            matches!(open.state, IntentState::Sent | IntentState::Acked { .. })
                        }
                        IntentKind::Adopt(_) => open.state != IntentState::Intended,
                        IntentKind::Drain { .. }
                        | IntentKind::Destroy { .. }
                        | IntentKind::Roster(_) => false,
                    });
                    if !unanswered || !closed.insert(*intent) {
                        return Err(LintError::NotOpen(*intent));
                    }
                }
                Action::Create { token, .. }
                | Action::Adopt(AdoptStep { token, .. })
                | Action::Update(InPlaceUpdate { update: token, .. }) => {
                    if !tokens.insert(token) {
                        return Err(LintError::TokenReused(token.clone()));
                    }
                }
                Action::Drain { .. }
                | Action::Destroy { .. }
                | Action::Roster(_)
                | Action::Release { .. } => {}
            }
        }
        Ok(())
    }

    /// No create raises the total above the ceiling.
    fn ceiling(&self, plan: &Plan) -> Result<(), LintError> {
        let creates = plan.steps.iter().map(|step| match &step.action {
            Action::Create { slots, .. } => slots.len() as u32,
            Action::Resend { .. }
            | Action::Drain { .. }
            | Action::Destroy { .. }
            | Action::Update(_)
            | Action::Roster(_)
            | Action::Adopt(_)
            | Action::Release { .. }
            | Action::Settle(_) => 0,
        });
        let creates: u32 = creates.sum();
        if creates == 0 {
            return Ok(());
        }
        let spec = self.input.desired.spec();
        let size = plan.next.size;
        let mut ceiling = size + rollout::surge(spec, size);
        // What is kept has a successor too, those counted that this plan begins to keep.
        let taken = self.taken() + self.kept_after(plan) + self.drained_to_go();
        ceiling += taken;
        if let Some(limit) = spec.limits.total_max {
            ceiling = ceiling.min(limit);
        }
        let total = (self.world.members.len() + self.world.kept.len()) as u32 + creates;
        if total > ceiling {
            return Err(LintError::AboveCeiling { total, ceiling });
        }
        let as_reviewed = self.input.decisions.size.is_none() && size == spec.size;
        match &plan.change {
            // A removal that is withheld leaves the group as it is, healed with its surge.
            Some(change)
                if as_reviewed
                    && change.to.is_some()
                    && total > change.certificate.total_max + taken =>
            {
                Err(LintError::Uncertified { what: "the total" })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Of those that serve, enough stay; deletion alone is exempt.
    fn floor(&self, plan: &Plan) -> Result<(), LintError> {
        let mut available = self
            .world
            .members
            .values()
            .filter(|m| self.serves(m))
            .count() as u32;
        let mut taken = 0;
        for step in &plan.steps {
            if step.cause == Cause::Because(Reason::Delete)
                || step.cause == Cause::Because(Reason::Interruption)
            {
                continue;
            }
            let ends = in_place::interrupts(&step.action);
            let serving = subjects(step)
                .iter()
                .filter_map(|id| self.world.members.get(*id))
                .any(|member| self.serves(member));
            if ends && serving {
                available -= 1;
                taken += 1;
            }
        }
        let spec = self.input.desired.spec();
        let size = plan.next.size;
        let surge = rollout::surge(spec, size);
        let missing = spec.rollout.unavailable_max.floor_of(size);
        let missing = if surge + missing == 0 { 1 } else { missing };
        let floor = size.saturating_sub(missing);
        if taken > 0 && available < floor {
            return Err(LintError::BelowFloor { available, floor });
        }
        Ok(())
    }

    /// Scale-in takes no more than the surplus.
    fn removals(&self, plan: &Plan) -> Result<(), LintError> {
        let because = |step: &&Step, reason| step.cause == Cause::Because(reason);
        let removed = plan
            .steps
            .iter()
            .filter(|step| because(step, Reason::ScaleIn))
            .filter(|step| !matches!(step.action, Action::Roster(_)))
            .filter(|step| subjects(step).iter().all(|id| self.stays(id)))
            .count() as u32;
        let staying = self
            .world
            .members
            .keys()
            .filter(|id| self.stays(id) || self.returns(id))
            .count() as u32;
        let staying = staying - self.newly_kept(plan).len() as u32;
        let surplus = match &self.input.desired.spec().quorum {
            // Of members those are too many that nobody wants, whatever their number.
            Some(quorum) => self.unwanted(quorum),
            None => staying.saturating_sub(plan.next.size),
        };
        if removed > surplus {
            return Err(LintError::RemovesTooMany { removed, surplus });
        }
        let deletes = plan.steps.iter().any(|step| because(&step, Reason::Delete));
        let begun =
            self.world.members.values().any(
                |member| matches!(&member.drain, Some(drain) if drain.reason == Reason::Delete),
            ) || self.input.intents.iter().any(|intent| {
                matches!(
                    intent.kind,
                    IntentKind::Destroy {
                        reason: Reason::Delete,
                        ..
                    }
                )
            });
        if deletes && !self.deleting && !begun {
            return Err(LintError::Uncertified { what: "a deletion" });
        }
        Ok(())
    }

    /// Instances are made in zones of the document that have not just been without room, and moved only
    /// towards more even ones.
    fn zones(&self, plan: &Plan) -> Result<(), LintError> {
        let placement = &self.input.desired.spec().placement;
        let mut there: BTreeMap<&str, i64> = BTreeMap::new();
        for zone in &placement.zones {
            there.insert(zone, 0);
        }
        for member in self.world.members.values().filter(|m| self.stays(&m.id)) {
            if let Some(zone) = member.zone.as_deref()
                && let Some(count) = there.get_mut(zone)
            {
                *count += 1;
            }
        }
        for step in &plan.steps {
            let Action::Create { slots, zone, .. } = &step.action else {
                continue;
            };
            let known = match zone {
                None => placement.zones.is_empty(),
                Some(zone) => {
                    let cooling = plan.next.cooling.get(zone);
                    let cooling = cooling.is_some_and(|until| *until > self.input.now);
                    there.contains_key(zone.as_str()) && !cooling
                }
            };
            if !known {
                return Err(LintError::WrongZone {
                    instance: slots[0].clone(),
                    zone: zone.clone(),
                });
            }
            if step.cause == Cause::Because(Reason::Rebalance) {
                let most = there.values().copied().max().unwrap_or(0);
                let here = zone.as_deref().and_then(|zone| there.get(zone));
                let foreign = self.world.members.values().any(|member| {
                    self.stays(&member.id)
                        && !member
                            .zone
                            .as_ref()
                            .is_some_and(|z| there.contains_key(z.as_str()))
                });
                let evens = here.is_some_and(|here| most - here >= 2) || foreign;
                if plan.next.rollout.is_some() || slots.len() > 1 || !evens {
                    return Err(LintError::IdleMove);
                }
            }
        }
        Ok(())
    }

    /// A policy moves the size no further than it asks for, and than the rate allows of the sizes that
    /// still count.
    fn pace(&self, plan: &Plan) -> Result<(), LintError> {
        let (before, after) = (self.input.recorded.size, plan.next.size);
        let Some(SizeDecision::Chosen { size: asked, .. }) = &self.input.decisions.size else {
            return Ok(());
        };
        if before == after || self.deleting || self.input.recorded.accepted.is_none() {
            return Ok(());
        }
        let spec = self.input.desired.spec();
        let share = |amount: Amount, of: u32| match amount {
            Amount::Count(count) => count.max(1),
            Amount::Percent(percent) => (percent * of).div_ceil(100).max(1),
        };
        let base = |counted: &[Resize]| {
            let counts = |resize: &&Resize| resize.until > self.input.now;
            counted.iter().find(counts).map_or(before, |one| one.from)
        };
        let counted = &self.input.recorded.resizes;
        let (up, down) = (base(&counted.up), base(&counted.down));
        let rate = &spec.scaling.rate;
        let mut most = (up + share(rate.up.amount, up)).max(before);
        let mut least = down
            .saturating_sub(share(rate.down.amount, down))
            .min(before);
        most = most.min(before.max(*asked));
        least = least.max(before.min(*asked));
        if let Some(bounds) = spec.bounds {
            most = most.clamp(bounds.min, bounds.max);
            least = least.clamp(bounds.min, bounds.max);
        }
        if (least..=most).contains(&after) {
            return Ok(());
        }
        Err(LintError::TooFast {
            from: before,
            to: after,
            least,
            most,
        })
    }

    /// Returns whether the specification, or a flavor plugin of its template, says how a member is drained.
    fn drains(&self, member: &Member) -> bool {
        let spec = &self.input.desired.spec().drain;
        let template = self.input.recorded.templates.get(&member.digests);
        let asks = template.is_some_and(|template| template.plugin_flavors().next().is_some());
        asks || !spec.delay.is_zero() || !spec.begin.is_empty() || spec.done.is_some()
    }

    /// What serves is drained first, where its specification says how.
    fn drained(&self, plan: &Plan) -> Result<(), LintError> {
        for step in &plan.steps {
            if let Action::Destroy { instance, .. }
            | Action::Update(InPlaceUpdate {
                instance,
                how: InPlace::Restart,
                ..
            }) = &step.action
                && self
                    .world
                    .members
                    .get(instance)
                    .is_some_and(|m| self.serves(m) && self.drains(m))
            {
                return Err(LintError::NotDrained(instance.clone()));
            }
        }
        Ok(())
    }

    /// The next record knows every number that was given out, and is of the same life.
    fn recorded(&self, plan: &Plan) -> Result<(), LintError> {
        let wrong = |what| Err(LintError::WrongRecord { what });
        if plan.next.name != *self.input.group() || plan.next.uid != self.input.recorded.uid {
            return wrong("another group");
        }
        for step in &plan.steps {
            let as_it_is = step.cause == Cause::Because(Reason::Heal);
            if let Action::Update(InPlaceUpdate { digests, .. }) = &step.action
                && plan.next.target.as_ref() != Some(digests)
                && !as_it_is
            {
                return wrong("an instance would be changed to a template that is not in force");
            }
            if let Action::Create { slots, digests, .. } = &step.action {
                if slots.iter().any(|id| id.number() >= plan.next.next_number) {
                    return wrong("a number would be given out twice");
                }
                let known = plan.next.target.as_ref() == Some(digests)
                    || plan.next.stable.as_ref() == Some(digests);
                if !known {
                    return wrong("an instance would be made of a template that is not in force");
                }
            }
        }
        Ok(())
    }

    /// Available, not being drained, not being destroyed.
    fn serves(&self, member: &Member) -> bool {
        member.class == InstanceClass::Available && self.stays(&member.id)
    }

    fn stays(&self, id: &InstanceId) -> bool {
        let Some(member) = self.world.members.get(id) else {
            return false;
        };
        member.drain.is_none()
            && member.update != Some(InPlace::Restart)
            && member.class != InstanceClass::Terminating
            && !self.ending.contains(id)
    }
}

/// Returns the instances that a step touches.
fn subjects(step: &Step) -> Vec<&InstanceId> {
    match &step.action {
        Action::Create { slots, .. } => slots.iter().collect(),
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Update(InPlaceUpdate { instance, .. })
        | Action::Adopt(AdoptStep { instance, .. })
        | Action::Release { instance, .. } => vec![instance],
        Action::Resend { .. } | Action::Roster(_) | Action::Settle(_) => Vec::new(),
    }
}
