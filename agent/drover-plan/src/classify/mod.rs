//! The first stage: from a listing, the health signals and the open intents to the effective world.
//!
//! Four things that an observation gets wrong are put right here, and nowhere else: an instance
//! whose creation was sent and that is not listed yet is a member (a ghost); an instance whose
//! destruction was sent is terminating, whatever the listing says; one whose change in place was sent
//! has the digests that it gets; and an instance that is missing from a listing is gone only with
//! proof.

mod absent;
mod adoption;
mod changed;
mod created;
mod health;
mod notice;
mod past;
mod trust;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    Classified, Digests, DrainProgress, Emptied, ExitReport, GroupName, GroupSpec, HealthOverride,
    HealthSignal, HealthSignals, Hold, InPlace, InstanceClass, InstanceId, InstanceMemory, Intent,
    IntentId, IntentKind, IntentState, Listed, Listing, Member, Ownership, ProviderPhase,
    RecordedGroup, SeatId, Settlement, SettlementOutcome, Surveyed, Timestamp, Trust,
};

use crate::input::ProviderFacts;
use crate::intents::IntentIndex;
use crate::time::elapsed;

use health::Health;
pub(crate) use health::served_since;
pub use notice::is_announced;
pub(crate) use trust::is_launch;
pub use trust::{LISTING_AGE_MAX, lister};

/// What the first stage is given.
#[derive(Debug, Clone, Copy)]
pub struct ClassifyInput<'a> {
    /// The time of the pass.
    pub now: Timestamp,
    /// The group.
    pub group: &'a GroupName,
    /// The specification in force: its health times and checks.
    pub spec: &'a GroupSpec,
    /// This group's part of the provider's listing.
    pub listing: &'a Listing,
    /// The latest results of the health checks.
    pub signals: &'a BTreeMap<InstanceId, HealthSignal>,
    /// What the last pass remembered; empty after a restart without local data.
    pub memory: &'a BTreeMap<InstanceId, InstanceMemory>,
    /// The open intents of the group.
    pub intents: &'a [Intent],
    /// What was last recorded.
    pub recorded: &'a RecordedGroup,
    /// How long the provider may leave an acknowledged instance out of its listing.
    pub visibility: Duration,
    /// What policies say about the health of single instances.
    pub health: &'a [HealthOverride],
    /// What the provider has that the specification adopts. None: nobody was asked.
    pub surveyed: Option<&'a Surveyed>,
    /// The provider that made the listing.
    pub provider: &'a ProviderFacts,
    /// What other groups lost with this one.
    pub emptied: Option<&'a Emptied>,
}

/// Returns what is known of the health of the group's running instances, for policies.
pub fn health_signals(input: &ClassifyInput<'_>) -> BTreeMap<InstanceId, HealthSignals> {
    let listed = listed_by_id(input).into_iter();
    let signals = listed.filter_map(|(id, (listed, _))| {
        let restarted_at = input.memory.get(id).and_then(|memory| memory.restarted_at);
        let signal = signal_since(input, id, restarted_at);
        let known = health::signals(&listed.phase, &input.spec.health, signal, input.now)?;
        Some((id.clone(), known))
    });
    signals.collect()
}

/// Returns the results of an instance's checks. What was asked before a restart was asked of another
/// process.
fn signal_since<'a>(
    input: &ClassifyInput<'a>,
    id: &InstanceId,
    restarted_at: Option<Timestamp>,
) -> Option<&'a HealthSignal> {
    let signal = input.signals.get(id)?;
    (signal.asked_at >= restarted_at.unwrap_or(Timestamp::MIN)).then_some(signal)
}

/// Builds the effective world.
pub fn classify(input: &ClassifyInput<'_>) -> Classified {
    let listed = listed_by_id(input);
    let past = past::ends(input, &listed);
    let intents = input.intents.iter();
    let intents = IntentIndex::of(intents.filter(|intent| !past.contains(&intent.id)));
    let trust = trust::judge(input, &intents);
    let mut stage = Stage {
        input,
        intents,
        counts_absence: matches!(trust, Trust::Full),
        emptied: matches!(trust, Trust::Frozen(Hold::ObservationEmptied { .. })),
        listed: BTreeSet::new(),
        pending: BTreeSet::new(),
        shown: BTreeMap::new(),
        members: BTreeMap::new(),
        kept: BTreeMap::new(),
        gone: BTreeMap::new(),
        memory: BTreeMap::new(),
    };
    for (id, (listed, ownership)) in &listed {
        stage.listed(id, listed, ownership);
    }
    notice::put_off(&mut stage.members, &stage.memory, input);
    stage.ghosts();
    stage.missing();
    let settled = stage.settled(&past);
    stage.remember_ended();
    stage.remember_lost();
    stage.forget_answered();
    Classified {
        as_of: input.listing.as_of,
        trust,
        members: stage.members,
        kept: stage.kept,
        gone: stage.gone,
        settled,
        attached: attached(input),
        places: places(input),
        adoption: adoption::adoption(input),
        memory: stage.memory,
    }
}

/// Returns the listed instances of the group by our id. Of two with the same id, the one that is not
/// terminated wins, then the one that is recorded, then the smaller handle: who is taken for the other one ends it.
fn listed_by_id<'a>(
    input: &ClassifyInput<'a>,
) -> BTreeMap<&'a InstanceId, (&'a Listed, &'a Ownership)> {
    let mut by_id: BTreeMap<&InstanceId, (&Listed, &Ownership)> = BTreeMap::new();
    for listed in &input.listing.instances {
        let Some(ownership) = &listed.ownership else {
            continue;
        };
        if ownership.group != *input.group {
            continue;
        }
        let recorded = input.recorded.instances.get(&ownership.instance);
        let recorded = recorded.and_then(|was| was.provider_ref.as_ref());
        let rank = |listed: &Listed| {
            (
                listed.phase == ProviderPhase::Terminated,
                recorded != Some(&listed.provider_ref),
                listed.provider_ref.clone(),
            )
        };
        let better = by_id
            .get(&ownership.instance)
            .is_none_or(|(other, _)| rank(listed) < rank(other));
        if better {
            by_id.insert(&ownership.instance, (listed, ownership));
        }
    }
    by_id
}

/// Returns the places of the group that have something attached.
fn attached(input: &ClassifyInput<'_>) -> BTreeSet<SeatId> {
    let all = input.listing.attached.iter();
    let own = all.filter(|(group, _)| group == input.group);
    own.map(|(_, seat)| seat.clone()).collect()
}

/// Returns the addresses of the group's places: as listed, else as an instance there has it.
fn places(input: &ClassifyInput<'_>) -> BTreeMap<SeatId, String> {
    let mut places = BTreeMap::new();
    for listed in &input.listing.instances {
        if let (Some(owner), Some(address)) = (&listed.ownership, &listed.address)
            && owner.group == *input.group
            && let Some(seat) = &owner.seat
        {
            places.insert(seat.clone(), address.clone());
        }
    }
    let listed = input.listing.places.iter();
    let own = listed.filter(|((group, _), _)| group == input.group);
    places.extend(own.map(|((_, seat), address)| (seat.clone(), address.clone())));
    places
}

/// The stage in progress.
struct Stage<'a> {
    input: &'a ClassifyInput<'a>,
    intents: IntentIndex<'a>,
    counts_absence: bool,
    /// Everything is said to be gone at once.
    emptied: bool,
    /// The ids that the listing has, with tags, and not as terminated.
    listed: BTreeSet<InstanceId>,
    /// Those of them that the provider is still making.
    pending: BTreeSet<InstanceId>,
    /// What the listing says that they are made from.
    shown: BTreeMap<InstanceId, Digests>,
    members: BTreeMap<InstanceId, Member>,
    kept: BTreeMap<InstanceId, Member>,
    gone: BTreeMap<InstanceId, Option<ExitReport>>,
    memory: BTreeMap<InstanceId, InstanceMemory>,
}

impl Stage<'_> {
    /// Takes in an instance that is listed.
    fn listed(&mut self, id: &InstanceId, listed: &Listed, ownership: &Ownership) {
        let input = self.input;
        if listed.phase == ProviderPhase::Terminated {
            // What is not believed of all of them is believed of none, else the next pass would expect none.
            if !self.emptied || self.intents.destroy(id).is_some() {
                self.gone.insert(id.clone(), None);
            }
            return;
        }
        self.listed.insert(id.clone());
        if listed.phase == ProviderPhase::Pending {
            self.pending.insert(id.clone());
        }
        self.shown.insert(id.clone(), ownership.digests.clone());
        let mut memory = self.remembered(id, listed.created_at);
        memory.absent = None;
        if memory.lost_at.is_some_and(|at| !self.is_remembered(at)) {
            memory.lost_at = None;
        }
        notice::remember(
            &mut memory,
            listed,
            self.was_listed(id),
            input.listing.as_of,
        );
        if let Some(change) = self.change(id) {
            changed::remember(&mut memory, change);
        }
        let to_come = self.change_to_come(id, ownership);
        let created_at = self.created_at(id, listed).unwrap_or(memory.first_seen);
        let restarted_at = memory.restarted_at.unwrap_or(Timestamp::MIN);
        let health = self.health(id, &listed.phase, memory.restarted_at);
        let restarting = to_come.is_some_and(|change| change.how == InPlace::Restart);
        if !restarting {
            health::remember(&mut memory, &health, input.now);
            memory.completed |= health::completed(&health, &memory, input.spec);
        }
        let seen = health::Seen {
            created_at: created_at.max(restarted_at),
            before: input
                .recorded
                .instances
                .get(id)
                .map(|was| was.class.as_str()),
        };
        let (class, changes_at) = self.class(id, &health, restarting, &memory, seen);
        let proved_at = changed::proved_at(&memory, input.spec).filter(|at| *at > input.now);
        let changes_at = changes_at.into_iter().chain(proved_at).min();
        let digests = to_come.map_or(&ownership.digests, |change| change.digests);
        let member = Member {
            id: id.clone(),
            provider_ref: Some(listed.provider_ref.clone()),
            digests: digests.clone(),
            token: Some(ownership.token.clone()),
            seat: ownership.seat.clone(),
            class,
            drain: self.drain(id),
            update: to_come.map(|change| change.how),
            restarted_at: memory.restarted_at,
            changed_at: memory.changed_at,
            busy: input.signals.get(id).is_some_and(|signal| signal.busy),
            work: input.signals.get(id).map_or(0, |signal| signal.work),
            leader: input.signals.get(id).and_then(|signal| signal.leader),
            address: listed.address.clone(),
            zone: listed.zone.clone().or_else(|| self.zone_of(id)),
            created_at,
            interruption: notice::believed(&memory, listed),
            changes_at,
        };
        self.memory.insert(id.clone(), memory);
        self.take_in(member);
    }

    /// Returns since when a listed instance exists, as far as that is known.
    fn created_at(&self, id: &InstanceId, listed: &Listed) -> Option<Timestamp> {
        let recorded = self.input.recorded.instances.get(id);
        (listed.created_at)
            .or_else(|| recorded.map(|was| was.created_at))
            .or_else(|| self.intended_at(id))
    }

    /// Returns what is known of the health of a listed instance that was last restarted at `restarted_at`.
    fn health(
        &self,
        id: &InstanceId,
        phase: &ProviderPhase,
        restarted_at: Option<Timestamp>,
    ) -> health::Health {
        let input = self.input;
        let signal = signal_since(input, id, restarted_at);
        let health = health::verdict(phase, &input.spec.health, signal, input.now);
        let health = health::overridden(health, id, input.health);
        self.unless_unfinished(id, health)
    }

    /// Returns whether an instance was listed before, as far as is recorded.
    fn was_listed(&self, id: &InstanceId) -> bool {
        let was = self.input.recorded.instances.get(id);
        was.is_some_and(|was| was.provider_ref.is_some())
    }

    /// Takes in an instance: as a member, or as one that is kept. The record alone says which: what is
    /// kept comes back into service neither by becoming healthy nor while it is being ended.
    fn take_in(&mut self, member: Member) {
        let was = self.input.recorded.instances.get(&member.id);
        let kept = was.is_some_and(|was| was.kept.is_some());
        let them = if kept {
            &mut self.kept
        } else {
            &mut self.members
        };
        them.insert(member.id.clone(), member);
    }

    /// Returns whether an instance was taken in, or is gone.
    fn is_known(&self, id: &InstanceId) -> bool {
        self.members.contains_key(id) || self.kept.contains_key(id) || self.gone.contains_key(id)
    }

    /// Returns the class of a listed instance, and when it may change by time alone.
    fn class(
        &self,
        id: &InstanceId,
        health: &Health,
        restarting: bool,
        memory: &InstanceMemory,
        seen: health::Seen<'_>,
    ) -> (InstanceClass, Option<Timestamp>) {
        if self.destroy_sent(id) {
            return (InstanceClass::Terminating, None);
        }
        let class = |health| health::class(health, memory, seen, self.input.spec, self.input.now);
        match health {
            // It ended before it could be restarted.
            Health::Ended(report) if restarting => (InstanceClass::Exited(report.clone()), None),
            Health::Stopping | Health::Ended(_) => class(health),
            // Whatever it is now, it is about to be another process.
            Health::Pending | Health::Healthy | Health::Failing(_) | Health::Unknown(_)
                if restarting =>
            {
                class(&Health::Pending)
            }
            Health::Pending | Health::Healthy | Health::Failing(_) | Health::Unknown(_) => {
                class(health)
            }
        }
    }

    /// Keeps what is remembered of what was ended, for the pass that counts it.
    fn remember_ended(&mut self) {
        for id in self.gone.keys() {
            if self.intents.destroy(id).is_some()
                && let Some(memory) = self.input.memory.get(id)
            {
                let memory = InstanceMemory {
                    absent: None,
                    ..memory.clone()
                };
                self.memory.insert(id.clone(), memory);
            }
        }
    }

    /// Returns what is remembered of `id`. Where the memory is lost, the record stands in for it: an
    /// instance that was once ready did not fail to launch just because the agent restarted.
    fn remembered(&self, id: &InstanceId, created_at: Option<Timestamp>) -> InstanceMemory {
        if let Some(memory) = self.input.memory.get(id) {
            return memory.clone();
        }
        let mut memory = InstanceMemory::new(self.input.now);
        if let Some(was) = self.input.recorded.instances.get(id) {
            health::restore(&mut memory, was);
        } else if let Some(adopt) = self.intents.adopt(id) {
            // It ran before it was ours, so that it is no launch that could fail.
            memory.ready_at = Some(adopt.issued_at);
        } else if self.intended_at(id).is_none() {
            // Neither the journal nor the record knows it: adopted by its tags. Unless it is young,
            // it is taken to have been ready once, so that its template gets no blame.
            let startup = self.input.spec.health.startup_timeout;
            memory.ready_at = created_at.filter(|at| elapsed(*at, self.input.now) >= startup);
        }
        memory
    }

    /// Returns the zone that an instance was made in, as far as record and journal say.
    fn zone_of(&self, id: &InstanceId) -> Option<String> {
        if self.input.spec.placement.zones.is_empty() {
            return None;
        }
        let recorded = self.input.recorded.instances.get(id);
        let recorded = recorded.and_then(|was| was.zone.clone());
        recorded.or_else(|| {
            self.intents
                .creates
                .iter()
                .find_map(|intent| match &intent.kind {
                    IntentKind::Create { slots, zone, .. } if slots.contains(id) => zone.clone(),
                    IntentKind::Create { .. }
                    | IntentKind::Drain { .. }
                    | IntentKind::Destroy { .. }
                    | IntentKind::Update(_)
                    | IntentKind::Roster(_)
                    | IntentKind::Adopt(_) => None,
                })
        })
    }

    fn intended_at(&self, id: &InstanceId) -> Option<Timestamp> {
        let mut creates = self.intents.creates.iter();
        let create = creates.find(|intent| intent.slots().contains(id));
        create.map(|intent| intent.issued_at)
    }

    /// Returns whether a destroy of `id` was sent: it may have taken effect, so the instance counts
    /// as terminating even while it is listed as running.
    fn destroy_sent(&self, id: &InstanceId) -> bool {
        self.intents
            .destroys
            .get(id)
            .into_iter()
            .flatten()
            .any(|intent| matches!(intent.state, IntentState::Sent | IntentState::Acked { .. }))
    }

    /// Returns the latest time at which a destroy of `id` was acknowledged.
    fn destroy_acked(&self, id: &InstanceId) -> Option<Timestamp> {
        let destroys = self.intents.destroys.get(id)?;
        destroys
            .iter()
            .filter_map(|intent| match &intent.state {
                IntentState::Acked { at, .. } => Some(*at),
                IntentState::Intended | IntentState::Sent | IntentState::Failed { .. } => None,
            })
            .min()
    }

    fn drain(&self, id: &InstanceId) -> Option<DrainProgress> {
        let intent = self.intents.drain(id)?;
        match &intent.kind {
            // It is over; its intent is only not closed yet.
            IntentKind::Drain { .. } if self.came_back(intent) => None,
            IntentKind::Drain {
                reason,
                deadline,
                done,
                returns,
                ..
            } => Some(DrainProgress {
                reason: *reason,
                started_at: intent.issued_at,
                done: *done,
                deadline: *deadline,
                returns: returns.is_some(),
                intent: intent.id,
            }),
            IntentKind::Create { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => None,
        }
    }

    /// Returns the open intents that the observation settles.
    fn settled(&self, past: &BTreeSet<IntentId>) -> Vec<Settlement> {
        let over = past.iter().map(|intent| Settlement {
            intent: *intent,
            outcome: SettlementOutcome::Observed,
        });
        let mut settled: Vec<Settlement> = over.collect();
        let mut settle = |intent: &Intent, outcome| {
            settled.push(Settlement {
                intent: intent.id,
                outcome,
            });
        };
        for intent in &self.intents.creates {
            if let Some(outcome) = self.create_outcome(intent) {
                settle(intent, outcome);
            }
        }
        for (id, intents) in self.intents.ending() {
            if self.gone.contains_key(id) {
                for intent in intents {
                    settle(intent, SettlementOutcome::Observed);
                }
            } else {
                for intent in intents.iter().filter(|intent| self.came_back(intent)) {
                    settle(intent, SettlementOutcome::Observed);
                }
            }
        }
        for intent in self.intents.updates.values().flatten() {
            if let Some(outcome) = self.update_outcome(intent) {
                settle(intent, outcome);
            }
        }
        for (intent, step) in &self.intents.adopts {
            if let Some(outcome) = self.adopt_outcome(intent, step) {
                settle(intent, outcome);
            }
        }
        settled.sort_by_key(|settlement| settlement.intent);
        settled
    }
}
