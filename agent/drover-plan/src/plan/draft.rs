//! The plan in the making: what the phases share.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AcceptedDocument, Action, Activity, Cause, Change, ChangeId, Digests, EntryId, FieldClass,
    GroupSpec, Held, Hold, InPlace, InstanceClass, InstanceId, IntentId, IntentKind, Member,
    Precondition, Quarantine, Reason, Recommendation, RecordedGroup, RecordedProvider, Settled,
    SettlementOutcome, SizeDecision, Step, Template, Timestamp, Value,
};

use super::council;
use super::held;
use super::in_place::recovers;
use super::register::Register;
use super::target::{Fresh, target_digests};
use super::window::closed;
use crate::change::{ChangeInput, change, change_size, policy_hold};
use crate::input::{Desired, PlanInput};
use crate::intents::{IntentIndex, current};
use crate::numbers::{Resolved, extra, serves};
use crate::restarts;

/// What becomes of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// It goes on to exist.
    Keeps,
    /// It is being removed.
    Removes,
}

/// Why instances are not as the target says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Updating {
    /// Something is to change.
    Change,
    /// Nothing is: they left what the group had converged on.
    Repair,
}

/// Whether the changes of a membership list have come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RosterChanges {
    /// It is known what came of each.
    Settled,
    /// It is not known yet what came of one.
    Open,
}

/// The plan in the making. Counters are those of the world as this plan leaves it so far.
pub(super) struct Draft<'a> {
    pub(super) input: &'a PlanInput<'a>,
    pub(super) spec: &'a GroupSpec,
    pub(super) intents: IntentIndex<'a>,
    /// The membership list, in a quorum group where the agent changes it.
    pub(super) register: Option<Register<'a>>,
    /// Whether changes of the list are settled.
    pub(super) changes: RosterChanges,
    /// The entry of the list that this plan makes an instance for.
    pub(super) seated: Option<EntryId>,
    pub(super) resolved: Resolved,
    /// What is behind instances that are not as the target says.
    pub(super) updating: Updating,
    /// The template that the document asks for.
    pub(super) desired: Digests,
    /// The one that instances are rolled to: the same, unless it is in quarantine.
    pub(super) target: Digests,
    pub(super) fresh: Fresh,
    pub(super) change: Option<Change>,
    /// Members on their way out, by intent or by a step of this plan, and why where that is known.
    pub(super) leaving: Leaving<'a>,
    /// Those of them that come back by a restart, and what they come back with. None: the target.
    pub(super) returning: Returning<'a>,
    /// Members that this plan keeps for people to look at, instead of ending them.
    pub(super) keeping: BTreeSet<&'a InstanceId>,
    /// Members that this plan changes without an interruption.
    pub(super) changing: BTreeSet<&'a InstanceId>,
    /// How many leave for each reason.
    pub(super) leaving_for: BTreeMap<Option<Reason>, u32>,
    /// Members that the provider is about to take: seldom any, and asked for at every other one.
    pub(super) interrupted: Vec<&'a Member>,
    /// Members that people have replaced, and that a successor comes for first.
    pub(super) succeeded: Vec<&'a Member>,
    /// The disruptions that this plan begins, by reason, as budgets count them.
    pub(super) begun: BTreeMap<Reason, u32>,
    /// What windows withhold now, by reason.
    pub(super) closed: BTreeMap<Reason, Held>,
    /// What the observation settles, by intent.
    pub(super) settled: BTreeMap<IntentId, &'a SettlementOutcome>,
    /// Instances that this plan makes, by template.
    pub(super) made: BTreeMap<Digests, u32>,
    /// The same, by template and zone.
    pub(super) made_in: BTreeMap<(Digests, Option<String>), u32>,
    /// All members and creates, the leaving ones counted, and those that only the journal knows.
    pub(super) total: u32,
    /// Members that serve.
    pub(super) available: u32,
    /// Members that stay, those that this plan makes counted.
    pub(super) staying: u32,
    /// Members that were restarted and are not available again, those apart whose restart is still on its
    /// way.
    pub(super) coming_back: u32,
    /// What the rollout rests at, by its own rules.
    pub(super) resting: Option<Held>,
    /// Missing instances that this plan could not make.
    pub(super) unmet: u32,
    pub(super) fenced: bool,
    pub(super) course: Course,
    pub(super) converged: bool,
    /// Another size is asked for, and may not be taken on yet.
    pub(super) size_withheld: bool,
    pub(super) steps: Vec<Step>,
    pub(super) holds: Vec<Held>,
    pub(super) wake_at: Option<Timestamp>,
    /// When to look whether anything has happened.
    pub(super) look_at: Option<Timestamp>,
    pub(super) next: RecordedGroup,
    pub(super) recommendations: Vec<Recommendation>,
}

/// Returns the membership list of a group whose list the agent changes.
fn register<'a>(input: &PlanInput<'a>, spec: &GroupSpec) -> Option<Register<'a>> {
    let quorum = spec.quorum.as_ref()?;
    let known = council::record(input, quorum).ok()?;
    Register::of(input, quorum, &known)
}

/// Returns the recorded quarantine, if it is of the template that is asked for and the last good one
/// can take its place. Another template in the document ends it.
fn quarantine_in_force(desired: &Digests, recorded: &RecordedGroup) -> Option<Quarantine> {
    let quarantine = recorded.quarantine.as_ref()?;
    let stable = recorded.stable.as_ref()?;
    let usable = stable != desired && recorded.templates.contains_key(stable);
    (usable && quarantine.digests == *desired).then(|| quarantine.clone())
}

/// Returns whether the end of an instance is a disruption. The remains of one that never served, or
/// that has done its work, are none, though the journal calls it healing. What restarts is one, although nothing is
/// remembered from before its restart.
pub(super) fn disrupts(input: &PlanInput<'_>, id: &InstanceId, reason: Reason) -> bool {
    let memory = input.classified.memory.get(id);
    let served = memory.is_none_or(|memory| memory.ready_at.is_some() && !memory.completed);
    // What was kept was taken out of service when that began.
    let was = input.recorded.instances.get(id);
    let kept = was.is_some_and(|was| was.kept.is_some());
    (served && !kept) || reason != Reason::Heal
}

/// Counts those on their way out by why they are.
fn leaving_for(
    input: &PlanInput<'_>,
    leaving: &Leaving<'_>,
    returning: &Returning<'_>,
) -> BTreeMap<Option<Reason>, u32> {
    let mut counts = BTreeMap::new();
    for (id, reason) in leaving {
        let restarts = returning.contains_key(id);
        if restarts || reason.is_none_or(|reason| disrupts(input, id, reason)) {
            *counts.entry(*reason).or_default() += 1;
        }
    }
    counts
}

/// Members on their way out, and why where that is known.
type Leaving<'a> = BTreeMap<&'a InstanceId, Option<Reason>>;

/// Those of them that come back, and what they come back with. None: the target.
type Returning<'a> = BTreeMap<&'a InstanceId, Option<&'a Digests>>;

/// Returns what intents have put on its way out, and what of it comes back.
fn on_the_way_out<'a>(
    input: &PlanInput<'a>,
    intents: &IntentIndex<'a>,
) -> (Leaving<'a>, Returning<'a>) {
    let members = &input.classified.members;
    let mut leaving = BTreeMap::new();
    let mut returning = BTreeMap::new();
    for (id, member) in members {
        let ends = matches!(member.class, InstanceClass::Terminating);
        let restarts = member.update == Some(InPlace::Restart);
        let update = intents.update(id);
        let ordered = update.is_some_and(|it| restarts::order_of(input.recorded, it).is_some());
        let destroyed = intents.destroy(id).and_then(|intent| match &intent.kind {
            IntentKind::Destroy { reason, .. } => Some(*reason),
            IntentKind::Create { .. }
            | IntentKind::Drain { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => None,
        });
        if ends || member.drain.is_some() || destroyed.is_some() || restarts {
            let drained = member.drain.as_ref().map(|drain| drain.reason);
            let restarted = restarts.then_some(if ordered {
                Reason::Heal
            } else {
                Reason::Update
            });
            leaving.insert(id, drained.or(destroyed).or(restarted));
        }
        let drained = member.drain.as_ref().filter(|drain| drain.returns);
        if (restarts || drained.is_some()) && !ends && destroyed.is_none() {
            // What restarts because a person says so comes back as it is.
            let as_it_is = drained.is_some_and(|drain| drain.reason == Reason::Heal);
            returning.insert(id, (restarts || as_it_is).then_some(&member.digests));
        }
    }
    (leaving, returning)
}

/// Returns what the group converges under, if it does.
pub(super) fn settled_under(input: &PlanInput<'_>) -> Option<Settled> {
    let Desired::Present { document, .. } = &input.desired else {
        return None;
    };
    let policies = input.policies.iter();
    let policies = policies.map(|(name, digest)| (name.clone(), digest.as_str().into()));
    let digest = ChangeId::of(&Value::Map(policies.collect()));
    Some(Settled {
        revision: document.revision.clone(),
        policies: digest.short().to_owned(),
    })
}

/// Returns why instances are not as they should be: those of a group that converged under just what is in force drift.
fn updating(input: &PlanInput<'_>, quarantine: Option<&Quarantine>) -> Updating {
    let settled = input.recorded.settled.as_ref();
    if quarantine.is_none() && settled.is_some() && settled == settled_under(input).as_ref() {
        Updating::Repair
    } else {
        Updating::Change
    }
}

impl<'a> Draft<'a> {
    /// Begins a plan with nothing decided.
    pub(super) fn new(input: &'a PlanInput<'a>) -> Self {
        let spec = input.desired.spec();
        let intents = IntentIndex::of(current(input.intents, input.classified));
        let (leaving, returning) = on_the_way_out(input, &intents);
        let desired = target_digests(spec, input.provider, input.recorded);
        let quarantine = quarantine_in_force(&desired, input.recorded);
        let target = match (&quarantine, &input.recorded.stable) {
            (Some(_), Some(stable)) => stable.clone(),
            (_, _) => desired.clone(),
        };
        let leaving_for = leaving_for(input, &leaving, &returning);
        let settled = input.classified.settled.iter();
        let settled = settled.map(|settlement| (settlement.intent, &settlement.outcome));
        let closed = Reason::ALL
            .into_iter()
            .filter_map(|reason| Some((reason, closed(&spec.windows, reason, input.now)?)))
            .collect();
        let interrupted = input.classified.members.values();
        let interrupted = interrupted.filter(|member| member.interruption.is_some());
        let classified = input.classified;
        let total = (classified.members.len() + classified.kept.len()) as u32
            + intents.unlisted(classified);
        let mut draft = Self {
            input,
            spec,
            intents,
            register: register(input, spec),
            changes: RosterChanges::Settled,
            seated: None,
            resolved: Resolved::of(spec, input.recorded.size)
                .beside(extra(spec, input.classified), spec),
            updating: updating(input, quarantine.as_ref()),
            desired,
            target,
            fresh: Fresh::Target,
            change: None,
            total,
            available: 0,
            staying: 0,
            coming_back: 0,
            resting: None,
            leaving,
            returning,
            keeping: BTreeSet::new(),
            changing: BTreeSet::new(),
            leaving_for,
            interrupted: interrupted.collect(),
            succeeded: Vec::new(),
            begun: BTreeMap::new(),
            closed,
            settled: settled.collect(),
            made: BTreeMap::new(),
            made_in: BTreeMap::new(),
            unmet: 0,
            fenced: false,
            course: Course::Keeps,
            converged: false,
            size_withheld: false,
            steps: Vec::new(),
            holds: input.fences.to_vec(),
            wake_at: None,
            look_at: None,
            next: input.recorded.clone(),
            recommendations: input.recommendations.to_vec(),
        };
        draft.next.quarantine = quarantine;
        draft.count();
        draft.change = draft.reviewed_change();
        draft.next.epoch = input.epoch;
        draft.next.next_number = draft.next_number();
        draft
    }

    /// Counts the members that stay.
    fn count(&mut self) {
        self.staying = (self.live().count() + self.returning.len()) as u32;
        self.available = self.live().filter(|member| serves(member)).count() as u32;
        self.coming_back = self.live().filter(|member| recovers(member)).count() as u32;
    }

    fn reviewed_change(&self) -> Option<Change> {
        let input = self.input;
        let to = match input.desired {
            Desired::Present { group, .. } => {
                let sized_by_policy = input.decisions.size.is_some();
                let size = change_size(&group.spec, input.recorded, sized_by_policy);
                Some((&group.spec, size, self.desired.clone()))
            }
            Desired::Deleting { .. } => None,
        };
        change(&ChangeInput {
            group: &input.recorded.name,
            recorded: input.recorded,
            to,
            policies: input.policies.clone(),
            drift: &input.decisions.drift,
        })
    }

    /// Returns the first number that no instance ever had, as far as record, journal and listing say.
    fn next_number(&self) -> u64 {
        let adopted = self.intents.adopts.iter();
        let adopted = adopted.map(|(_, step)| &step.instance);
        let creates = self.intents.creates.iter();
        let intended = creates.flat_map(|intent| intent.slots());
        let known = self.known().map(|member| &member.id);
        let gone = self.input.classified.gone.keys();
        let seen = known
            .chain(gone)
            .chain(intended)
            .chain(adopted)
            .map(InstanceId::number);
        let above = seen.max().map_or(1, |number| number.saturating_add(1));
        self.input.recorded.next_number.max(above)
    }

    /// Plans a group that should exist.
    pub(super) fn present(&mut self, spec: &'a GroupSpec, document: &AcceptedDocument) {
        self.next.accepted = Some(document.clone());
        self.next.deleting = None;
        self.next.provider = Some(RecordedProvider {
            name: self.input.provider.name.clone(),
            type_: self.input.provider.type_.clone(),
            settings: self.input.provider.settings.clone(),
            classes: self.changed_in_place(),
        });
        let size = match &spec.quorum {
            Some(_) => spec.size,
            None => self.size_in_force(),
        };
        self.keep_going(spec, size);
    }

    /// Returns the properties whose change replaces nothing.
    fn changed_in_place(&self) -> BTreeMap<String, FieldClass> {
        let classes = self.input.provider.classes.iter();
        let in_place = classes.filter(|(_, class)| **class != FieldClass::Replace);
        in_place.map(|(key, class)| (key.clone(), *class)).collect()
    }

    /// Runs the phases for a group of `size` that goes on to exist.
    pub(super) fn keep_going(&mut self, spec: &'a GroupSpec, size: u32) {
        self.enter(spec, size);
        if self.adopts() {
            self.adopt();
            return;
        }
        self.note_adopted();
        self.leave_alone();
        self.go_through_phases(spec);
        self.tell_unknown_adoption();
        self.tell_surplus();
    }

    fn go_through_phases(&mut self, spec: &'a GroupSpec) {
        self.succeeded = self.to_succeed();
        let succeeded = self.succeeded.len() as u32;
        self.resolved = self.resolved.beside(succeeded, spec);
        self.track_zones();
        self.track_launches();
        self.track_rollout();
        self.fresh = self.fresh();
        self.tell_orders();
        self.follow_up();
        if let Some(quorum) = &spec.quorum {
            self.keep_members(quorum);
            self.finish_launches();
            self.converge();
            self.converged &= !self.has_work_ordered();
            return;
        }
        self.end_kept();
        self.clear_failed_launches();
        self.clear_completed();
        self.interruption();
        self.heal();
        self.replace_ordered();
        self.restart_ordered();
        self.scale_out();
        // One that was missing may have been made as a successor.
        self.interruption();
        self.replace_ordered();
        self.restart_ordered();
        self.scale_in();
        self.roll();
        // A rollout that just retired the last outdated instance needs its surge no more.
        self.scale_in();
        // What it retired may have been all there was beside those that the provider takes.
        self.interruption();
        self.replace_ordered();
        self.finish_launches();
        self.converge();
        self.rebalance();
        // Last, because what waits for the rollout goes on in the pass that ends it.
        let decided = self.steps.len();
        if self.converged {
            self.replace_ordered();
            self.restart_ordered();
        }
        self.expire();
        self.converged &= self.steps.len() == decided && !self.has_work_ordered();
    }

    /// Lets a specification and a size be in force.
    fn enter(&mut self, spec: &'a GroupSpec, size: u32) {
        let extra = extra(spec, self.input.classified);
        self.resolved = Resolved::of(spec, size).beside(extra, spec);
        self.next.size = size;
        self.next.target = Some(self.target.clone());
        let template = spec.template.clone();
        self.next
            .templates
            .entry(self.desired.clone())
            .or_insert(template);
        self.remember_templates();
    }

    /// Keeps the templates of open creates: after a lost record they are the only copies. What plugins answered for
    /// one instance says nothing of the next.
    fn remember_templates(&mut self) {
        for intent in &self.intents.creates {
            if let IntentKind::Create {
                digests, template, ..
            } = &intent.kind
            {
                self.next
                    .templates
                    .entry(digests.clone())
                    .or_insert_with(|| template.unanswered());
            }
        }
    }

    /// Returns the size that is planned for. A smaller one than before takes effect only when
    /// scale-in may begin: otherwise the rollout would carry out what scale-in may not.
    fn size_in_force(&mut self) -> u32 {
        let recorded = self.input.recorded;
        let known = recorded.accepted.is_some();
        let before = recorded.size;
        let asked = match &self.input.decisions.size {
            None => {
                self.recommendations.clear();
                self.spec.size
            }
            Some(SizeDecision::Chosen { size, .. }) => self.paced(*size),
            Some(SizeDecision::Failed(verdict)) => {
                self.hold(held(policy_hold(verdict, Hold::PolicyFailed)));
                if known { before } else { self.spec.size }
            }
        };
        let asked = self
            .spec
            .bounds
            .map_or(asked, |bounds| asked.clamp(bounds.min, bounds.max));
        if asked == before {
            return asked;
        }
        if let Some(held) = self.suspended(Activity::Scale) {
            self.hold(held);
            self.size_withheld = true;
            return if known { before } else { 0 };
        }
        if asked > before
            && let Some(held) = self.dependency().or_else(|| self.growth_unknown())
        {
            self.hold(held);
            self.size_withheld = true;
            return if known { before } else { 0 };
        }
        // A smaller size takes nothing from a group that has nothing yet.
        let shrinks = known && asked < before && !self.has_strangers_alone();
        if shrinks && let Some(held) = self.withheld(Reason::ScaleIn).or_else(|| self.over_limit())
        {
            self.hold(held);
            self.size_withheld = true;
            return before;
        }
        if known && self.input.decisions.size.is_some() {
            self.record_resize(before);
        } else {
            // A person's size is where a policy's moves count from.
            self.next.resizes.up.clear();
            self.next.resizes.down.clear();
            if shrinks {
                self.record_shrink(before);
            }
        }
        asked
    }

    /// Returns the members and what is kept.
    pub(super) fn known(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        let classified = self.input.classified;
        classified.members.values().chain(classified.kept.values())
    }

    /// Returns the members that stay, as far as decided.
    pub(super) fn live(&self) -> impl Iterator<Item = &'a Member> + use<'a, '_> {
        let members = &self.input.classified.members;
        members
            .values()
            .filter(|member| !self.leaving.contains_key(&member.id))
    }

    /// Returns the members that stay, and those that come back by a restart.
    pub(super) fn remaining(&self) -> impl Iterator<Item = &'a Member> + use<'a, '_> {
        let members = &self.input.classified.members;
        members.values().filter(|member| {
            !self.leaving.contains_key(&member.id) || self.returning.contains_key(&member.id)
        })
    }

    /// Returns how many members stay, those that this plan makes counted.
    pub(super) fn live_count(&self) -> u32 {
        self.staying
    }

    /// Returns whether a member has the template that instances are rolled to.
    pub(super) fn current(&self, member: &Member) -> bool {
        self.counts_as_current(&member.digests)
    }

    /// Returns whether an instance with `digests` needs nothing to be one of the target.
    pub(super) fn counts_as_current(&self, digests: &Digests) -> bool {
        self.input.decisions.drift.is_current(digests, &self.target)
    }

    /// Returns how many members are on their way out for `reason`.
    pub(super) fn in_flight(&self, reason: Reason) -> u32 {
        let counts = |given: &&Option<Reason>| **given == Some(reason);
        self.leaving.values().filter(counts).count() as u32
    }

    /// Adds a hold, once.
    pub(super) fn hold(&mut self, held: Held) {
        if let Some(until) = held.until {
            self.wake(until);
        }
        if !self.holds.contains(&held) {
            self.holds.push(held);
        }
    }

    /// Returns whether there is a hold for `reason`.
    pub(super) fn explains(&self, reason: Reason) -> bool {
        let mut holds = self.holds.iter();
        holds.any(|held| held.reason == Some(reason))
    }

    /// Asks for a look at `at` at what providers and instances have done until then.
    pub(super) fn look(&mut self, at: Timestamp) {
        if at > self.input.now {
            self.look_at = Some(self.look_at.map_or(at, |look| look.min(at)));
        }
    }

    /// Asks for a pass at `at`, when time alone changes something, if that is still to come.
    pub(super) fn wake(&mut self, at: Timestamp) {
        if at > self.input.now {
            self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
        }
    }

    /// Adds a step.
    pub(super) fn step(&mut self, action: Action, cause: Cause, preconditions: Vec<Precondition>) {
        self.steps.push(Step {
            action,
            cause,
            preconditions,
        });
    }

    /// Returns the template recorded under `digests`.
    pub(super) fn template(&self, digests: &Digests) -> Option<Template> {
        self.next.templates.get(digests).cloned()
    }
}
