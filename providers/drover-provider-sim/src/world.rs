//! The simulated provider's state: synchronous, with the time passed in, and seeded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    CheckOutcome, Completeness, Digests, Epoch, ErrorClass, ExitReport, FleetName, GroupName,
    InstanceId, Listed, Listing, MemberId, Ownership, ProviderPhase, ProviderRef, SeatId, Survey,
    Timestamp, Token, counted,
};
use drover_provider::{
    AdoptRequest, DestroyRequest, ProviderError, ProvisionRequest, Provisioned, UpdateRequest,
};

use crate::bucket::Level;
use crate::effects::address_of;
use crate::instance::{Stop, later};
use crate::rng::Rng;
use crate::stats::{Call, RATE_EXCEEDED};
use crate::{Behavior, Fault, FaultKind, Op, SimInstance, SimSettings, Stats, Which};

/// What a caller gets, and how long it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply<T> {
    /// The answer.
    pub result: Result<T, ProviderError>,
    /// How long the answer takes. The effect is at once, so that a caller who gives up has still
    /// caused it.
    pub latency: Duration,
}

/// An instance that does not belong to the fleet under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// Made by other tools: no tags.
    Untagged,
    /// With the fleet's tag and nothing else: somebody copied or removed tags.
    Incomplete(FleetName),
    /// Of another fleet.
    Owned(Box<Ownership>),
}

/// A simulated provider scope: instances, faults, and counts of what happened.
#[derive(Debug)]
pub struct SimWorld {
    /// How it behaves; may be changed at any time.
    pub settings: SimSettings,
    pub(crate) rng: Rng,
    /// The latest time seen. The world's time never steps back, even if a caller's clock does.
    pub(crate) now: Timestamp,
    faults: Vec<Fault>,
    behaviors: Vec<(Which, Behavior)>,
    leader: Option<MemberId>,
    /// Places that have something attached, held or not.
    pub(crate) attached: BTreeSet<(GroupName, SeatId)>,
    /// The addresses of places, held or not.
    pub(crate) places: BTreeMap<(GroupName, SeatId), String>,
    pub(crate) instances: BTreeMap<ProviderRef, Box<SimInstance>>,
    /// What each token made, and the fingerprint of the request that made it: a repeat must be alike.
    pub(crate) tokens: BTreeMap<Token, (u64, Provisioned)>,
    levels: BTreeMap<Op, (Option<Level>, Option<Level>)>,
    late: Vec<(Timestamp, Late)>,
    epochs: BTreeMap<GroupName, Epoch>,
    pub(crate) stats: Stats,
    pub(crate) next: u32,
}

/// A call that takes effect later than its caller believes.
#[derive(Debug, Clone)]
enum Late {
    Provision(ProvisionRequest),
    Destroy(DestroyRequest),
    Update(Box<UpdateRequest>),
    Release(FleetName, ProviderRef),
    Adopt(AdoptRequest),
}

impl SimWorld {
    /// Makes an empty world.
    pub fn new(settings: SimSettings) -> Self {
        Self {
            rng: Rng::new(settings.seed),
            settings,
            now: Timestamp::MIN,
            faults: Vec::new(),
            behaviors: Vec::new(),
            instances: BTreeMap::new(),
            leader: None,
            attached: BTreeSet::new(),
            places: BTreeMap::new(),
            tokens: BTreeMap::new(),
            levels: BTreeMap::new(),
            late: Vec::new(),
            epochs: BTreeMap::new(),
            stats: Stats::default(),
            next: 1,
        }
    }

    /// Adds a fault. Several faults may hit one call.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Takes every fault away.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Makes instances behave so: those that exist as of `now`, and those made later.
    pub fn behave(&mut self, now: Timestamp, which: Which, behavior: Behavior) {
        for instance in self.instances.values_mut() {
            if instance.matches(&which) {
                instance.behave(&behavior, now);
            }
        }
        self.behaviors.push((which, behavior));
    }

    /// Lets instances that are made from now on behave as usual.
    pub fn clear_behaviors(&mut self) {
        self.behaviors.clear();
    }

    /// Ends an instance at `at`, as a crash. Nothing happens for an unknown handle.
    pub fn crash(&mut self, instance: &ProviderRef, at: Timestamp, report: ExitReport) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.exit = Some((at, report));
        }
    }

    /// Lets an instance that ran be made again: it is pending, and runs from `running_at`. None: never.
    pub fn make_again(&mut self, instance: &ProviderRef, running_at: Option<Timestamp>) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.running_at = running_at;
        }
    }

    /// Makes an instance vanish at `now` without a trace, as when somebody deletes it by hand.
    pub fn vanish(&mut self, instance: &ProviderRef, now: Timestamp) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.stop = Some(Stop {
                accepted_at: now,
                gone_at: now,
                forgotten_at: now,
            });
        }
    }

    /// Announces that the provider takes an instance at `at`, and takes it then.
    pub fn interrupt(&mut self, instance: &ProviderRef, at: Timestamp) {
        let remember = self.settings.remember;
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.interrupt(at, remember);
        }
    }

    /// Announces that instances are taken at `at`, and takes none.
    pub fn announce(&mut self, which: &Which, at: Timestamp) {
        for instance in self.instances.values_mut() {
            if instance.matches(which) {
                instance.announced = Some(at);
            }
        }
    }

    /// Sets the outcome of an instance's checks from `from` on.
    pub fn set_health(&mut self, instance: &ProviderRef, from: Timestamp, outcome: CheckOutcome) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.set_health(from, outcome);
        }
    }

    /// Lets the next instance have this number, so that worlds beside each other share no handle.
    pub fn number_from(&mut self, number: u32) {
        self.next = self.next.max(number);
    }

    /// Lets an instance's tag say that it was made from another template, as though somebody had changed it.
    pub fn retag(&mut self, instance: &ProviderRef, digests: &Digests) {
        let found = self.instances.get_mut(instance);
        if let Some(ownership) = found.and_then(|found| found.ownership.as_mut()) {
            ownership.digests = digests.clone();
        }
    }

    /// Adds an instance that was made before the world began: it has run, healthy, since then.
    pub fn add_existing(&mut self, listed: Listed) {
        let created_at = listed.created_at.unwrap_or(Timestamp::MIN);
        let mut instance = self.blank(created_at);
        instance.provider_ref = listed.provider_ref;
        instance.fleet = listed.ownership.as_ref().map(|owner| owner.fleet.clone());
        instance.ownership = listed.ownership;
        instance.zone = listed.zone;
        if let Some(address) = listed.address {
            instance.address = address;
        }
        let provider_ref = instance.provider_ref.clone();
        self.instances.insert(provider_ref, Box::new(instance));
    }

    /// Adds an instance of somebody else, and returns its handle.
    pub fn add_foreign(&mut self, now: Timestamp, foreign: Foreign) -> ProviderRef {
        let now = self.advance(now);
        let mut instance = self.blank(now);
        match foreign {
            Foreign::Untagged => {}
            Foreign::Incomplete(fleet) => instance.fleet = Some(fleet),
            Foreign::Owned(ownership) => {
                instance.fleet = Some(ownership.fleet.clone());
                instance.ownership = Some(*ownership);
            }
        }
        let provider_ref = instance.provider_ref.clone();
        self.instances
            .insert(provider_ref.clone(), Box::new(instance));
        self.note_peaks(now);
        provider_ref
    }

    /// Returns how a health check of an instance turns out. Costs no call and meets no fault: it is
    /// what a prober sees that talks to the instance itself.
    pub fn health(&self, instance: &ProviderRef, now: Timestamp) -> CheckOutcome {
        let Some(instance) = self.instances.get(instance) else {
            return crate::instance::failing("no route to host");
        };
        let window = self.behaviors.iter().rev().find_map(|(which, behavior)| {
            let Behavior::HealthBetween {
                from,
                until,
                outcome,
            } = behavior
            else {
                return None;
            };
            (instance.matches(which) && *from <= now && now < *until).then_some(outcome)
        });
        match (window, instance.phase(now)) {
            (Some(outcome), Some(ProviderPhase::Running)) => outcome.clone(),
            _ => instance.health(now),
        }
    }

    /// Returns whether an instance says that it leads, where it says anything of that.
    pub fn leads(&self, instance: &ProviderRef) -> Option<bool> {
        let owner = self.instances.get(instance)?.ownership.as_ref()?;
        let (leader, member) = (self.leader.as_ref()?, &owner.seat.as_ref()?.member);
        Some(leader == member)
    }

    /// Makes a member of quorum groups say that it leads, and the others that they do not. None: none
    /// of them says anything.
    pub fn set_leader(&mut self, member: Option<MemberId>) {
        self.leader = member;
    }

    /// Returns whether an instance says that it is busy.
    pub fn is_busy(&self, instance: &ProviderRef) -> bool {
        self.instances
            .get(instance)
            .is_some_and(|instance| instance.busy)
    }

    /// Returns every instance that is not gone and forgotten, whoever owns it and whether or not a
    /// listing would show it yet.
    pub fn instances(&self, now: Timestamp) -> impl Iterator<Item = &SimInstance> {
        self.instances
            .values()
            .map(Box::as_ref)
            .filter(move |instance| instance.phase(now).is_some())
    }

    /// Returns an instance by its handle.
    pub fn instance(&self, provider_ref: &ProviderRef) -> Option<&SimInstance> {
        self.instances.get(provider_ref).map(Box::as_ref)
    }

    /// Returns the instances of a group that exist, by our id; two under one id both appear.
    pub fn of_group(&self, group: &GroupName, now: Timestamp) -> Vec<(InstanceId, &SimInstance)> {
        let owned = |instance: &SimInstance| {
            let ownership = instance.ownership.as_ref()?;
            (ownership.group == *group).then(|| ownership.instance.clone())
        };
        let existing = self.instances.values().map(Box::as_ref);
        existing
            .filter(|one| one.exists(now))
            .filter_map(|instance| Some((owned(instance)?, instance)))
            .collect()
    }

    /// Returns what happened so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Makes a place, if it is missing, and returns its address. Costs no call and meets no fault.
    pub fn reserve(&mut self, group: &GroupName, seat: &SeatId) -> String {
        let place = (group.clone(), seat.clone());
        let address = self.places.entry(place);
        address.or_insert_with(|| address_of(group, seat)).clone()
    }

    /// Returns the places of a group with their addresses.
    pub fn places_of(&self, group: &GroupName) -> BTreeMap<MemberId, String> {
        let own = self.places.iter().filter(|((of, _), _)| of == group);
        own.map(|((_, seat), address)| (seat.member.clone(), address.clone()))
            .collect()
    }

    /// Returns the latest calls, oldest first, and forgets them.
    pub fn take_log(&mut self) -> Vec<crate::Call> {
        self.stats.log.drain(..).collect()
    }

    /// Returns the next time after `now` at which something changes by itself, for a virtual clock.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let windows = self
            .behaviors
            .iter()
            .filter_map(|(_, behavior)| match behavior {
                Behavior::HealthBetween { from, until, .. } => Some([*from, *until]),
                Behavior::NeverBoots
                | Behavior::Exits { .. }
                | Behavior::Health { .. }
                | Behavior::Busy(_) => None,
            });
        let lag = self.settings.phase_lag;
        let lives = self.instances.values().flat_map(|one| one.changes());
        let seen = lives.flat_map(|at| [at, later(at, lag)]);
        seen.chain(self.late.iter().map(|(at, _)| *at))
            .chain(windows.flatten())
            .filter(|at| *at > now)
            .min()
    }

    /// Lists what carries the fleet's tag.
    pub fn list(&mut self, now: Timestamp, fleet: &FleetName) -> Reply<Listing> {
        let asked_at = now;
        self.serve(
            now,
            Op::List,
            1,
            fleet.to_string(),
            None,
            |world, now, faults| Ok(world.listing(now, asked_at, fleet, faults)),
        )
    }

    /// Makes the instances of one batch.
    pub fn provision(&mut self, now: Timestamp, request: &ProvisionRequest) -> Reply<Provisioned> {
        let subject = request.slots.iter().map(|slot| slot.instance.to_string());
        let subject = subject.collect::<Vec<_>>().join(" ");
        let late = Late::Provision(request.clone());
        self.note_epoch(&request.group, request.epoch);
        let count = u32::try_from(request.slots.len()).unwrap_or(u32::MAX);
        self.serve(
            now,
            Op::Provision,
            count,
            subject,
            Some(late),
            |world, now, faults| {
                refused_to(faults, &request.group)?;
                let fewest = faults.iter().filter_map(|fault| match fault {
                    FaultKind::Fewer(count) => Some(*count as usize),
                    _ => None,
                });
                world.make(now, request, fewest.min())
            },
        )
    }

    /// Ends an instance.
    pub fn destroy(&mut self, now: Timestamp, request: &DestroyRequest) -> Reply<()> {
        let subject = format!("{} {}", request.instance, request.provider_ref);
        let late = Late::Destroy(request.clone());
        self.note_epoch(&request.group, request.epoch);
        self.serve(
            now,
            Op::Destroy,
            1,
            subject,
            Some(late),
            |world, now, faults| {
                denied(faults, &request.provider_ref)?;
                world.end(now, request)
            },
        )
    }

    /// Changes an instance in place.
    pub fn update(&mut self, now: Timestamp, request: &UpdateRequest) -> Reply<()> {
        let subject = format!("{} {}", request.slot.instance, request.provider_ref);
        let late = Late::Update(Box::new(request.clone()));
        self.note_epoch(&request.group, request.epoch);
        self.serve(
            now,
            Op::Update,
            1,
            subject,
            Some(late),
            |world, now, faults| {
                denied(faults, &request.provider_ref)?;
                world.change(now, request)
            },
        )
    }

    /// Takes the ownership tags off an instance.
    pub fn release(
        &mut self,
        now: Timestamp,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Reply<()> {
        let late = Late::Release(fleet.clone(), instance.clone());
        let subject = instance.to_string();
        self.serve(now, Op::Release, 1, subject, Some(late), |world, _, _| {
            world.untag(fleet, instance)
        })
    }

    /// Lists what somebody else made and what has all of the tags.
    pub fn survey(&mut self, now: Timestamp, tags: &BTreeMap<String, String>) -> Reply<Survey> {
        let asked_at = now;
        let pairs = tags.iter().map(|(name, value)| format!("{name}={value}"));
        let subject = pairs.collect::<Vec<_>>().join(" ");
        self.serve(now, Op::Survey, 1, subject, None, |world, now, faults| {
            Ok(world.strangers(now, asked_at, tags, faults))
        })
    }

    /// Puts ownership tags on an instance of somebody else.
    pub fn adopt(&mut self, now: Timestamp, request: &AdoptRequest) -> Reply<()> {
        let late = Late::Adopt(request.clone());
        let subject = format!("{} {}", request.instance, request.provider_ref);
        self.note_epoch(&request.group, request.epoch);
        self.serve(now, Op::Adopt, 1, subject, Some(late), |world, _, _| {
            world.take_over(request)
        })
    }

    /// Runs a check inside an instance: the same outcome as [`health`](Self::health), but a call.
    pub fn check(&mut self, now: Timestamp, instance: &ProviderRef) -> Reply<CheckOutcome> {
        let subject = instance.to_string();
        self.serve(now, Op::Check, 1, subject, None, |world, now, _| {
            world.existing(instance)?;
            Ok(world.health(instance, now))
        })
    }

    /// Returns what an instance printed.
    pub fn logs(&mut self, now: Timestamp, instance: &ProviderRef, lines: usize) -> Reply<String> {
        let subject = instance.to_string();
        self.serve(now, Op::Logs, 1, subject, None, |world, now, _| {
            let instance = world.existing(instance)?;
            let mut told = vec![format!("{} created", instance.created_at)];
            if let Some(at) = instance.running_at.filter(|at| *at <= now) {
                told.push(format!("{at} running at {}", instance.address));
            }
            if let Some((at, report)) = instance.exit.as_ref().filter(|(at, _)| *at <= now) {
                told.push(format!("{at} {report}"));
            }
            let first = told.len().saturating_sub(lines);
            Ok(told.split_off(first).join("\n") + "\n")
        })
    }

    /// Serves one call: throttling, faults, effect, record.
    fn serve<T>(
        &mut self,
        now: Timestamp,
        op: Op,
        instances: u32,
        subject: String,
        late: Option<Late>,
        effect: impl FnOnce(&mut Self, Timestamp, &[FaultKind]) -> Result<T, ProviderError>,
    ) -> Reply<T> {
        let now = self.advance(now);
        let usual = self.settings.latency.get(&op).copied().unwrap_or_default();
        let (result, latency) = if self.throttled(op, instances, now) {
            self.stats.hit(op, RATE_EXCEEDED);
            let message = format!("rate of {} calls exceeded", op.as_str());
            let refusal = ProviderError::new(ErrorClass::Throttled, message);
            (Err(refusal), usual)
        } else {
            let faults = self.triggered(op, now);
            let slower = faults.iter().map(|fault| match fault {
                FaultKind::Slow(by) => *by,
                _ => Duration::ZERO,
            });
            let latency = usual + slower.sum::<Duration>();
            (self.faulty(now, op, late, &faults, effect), latency)
        };
        let outcome = result.as_ref().map(|_| ()).map_err(|error| error.class);
        self.stats.record(Call {
            at: now,
            op,
            subject,
            outcome,
        });
        Reply { result, latency }
    }

    fn faulty<T>(
        &mut self,
        now: Timestamp,
        op: Op,
        late: Option<Late>,
        faults: &[FaultKind],
        effect: impl FnOnce(&mut Self, Timestamp, &[FaultKind]) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let unknown = |what: &str| ProviderError::new(ErrorClass::Unknown, what);
        for fault in faults {
            match fault {
                FaultKind::Error(class) if self.was_made(*class, late.as_ref()) => {}
                FaultKind::Error(class) => {
                    let message = format!("{} refused: {}", op.as_str(), class.as_str());
                    return Err(ProviderError::new(*class, message));
                }
                FaultKind::LostRequest => return Err(unknown("no answer: connection reset")),
                FaultKind::LateEffect(by) => {
                    self.late.extend(late.map(|late| (later(now, *by), late)));
                    return Err(unknown("no answer: timed out"));
                }
                FaultKind::LostReply
                | FaultKind::Slow(_)
                | FaultKind::Truncated { .. }
                | FaultKind::Repeated
                | FaultKind::Foreign
                | FaultKind::Fewer(_)
                | FaultKind::NotFound
                | FaultKind::RefusedTo(..) => {}
            }
        }
        let result = effect(self, now, faults);
        if faults.contains(&FaultKind::LostReply) {
            return Err(unknown("the answer was lost: connection reset"));
        }
        result
    }

    /// Returns whether a call that lacks room repeats one that had it: the token comes before the room.
    fn was_made(&self, class: ErrorClass, call: Option<&Late>) -> bool {
        match (class, call) {
            (ErrorClass::Capacity | ErrorClass::Quota, Some(Late::Provision(request))) => {
                self.tokens.contains_key(&request.token)
            }
            (_, _) => false,
        }
    }

    /// Moves the world's time on, and lets late calls take effect in their order.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Timestamp {
        let earlier = self.now;
        self.now = self.now.max(now);
        let now = self.now;
        if now == earlier && self.late.is_empty() {
            return now;
        }
        while let Some(position) = (0..self.late.len()).min_by_key(|at| self.late[*at].0) {
            if self.late[position].0 > now {
                break;
            }
            let (at, late) = self.late.remove(position);
            // Nobody waits for the answer.
            let _ = match late {
                Late::Provision(request) => self.make(at, &request, None).map(|_| ()),
                Late::Destroy(request) => self.end(at, &request),
                Late::Update(request) => self.change(at, &request),
                Late::Release(fleet, instance) => self.untag(&fleet, &instance),
                Late::Adopt(request) => self.take_over(&request),
            };
        }
        // What no listing can show any more is forgotten, so that a long life stays small.
        let lag = self.settings.phase_lag;
        self.instances.retain(|_, instance| {
            let forgotten_at = instance.end().map(|stop| later(stop.forgotten_at, lag));
            forgotten_at.is_none_or(|at| now < at)
        });
        now
    }

    fn triggered(&mut self, op: Op, now: Timestamp) -> Vec<FaultKind> {
        let mut kinds = Vec::new();
        for fault in &mut self.faults {
            if fault.covers(op, now) && self.rng.percent(fault.percent) {
                fault.times = fault.times.map(|times| times - 1);
                if fault.kind.concerns(op) {
                    self.stats.hit(op, fault.kind.as_str());
                }
                kinds.push(fault.kind.clone());
            }
        }
        kinds
    }

    fn throttled(&mut self, op: Op, instances: u32, now: Timestamp) -> bool {
        let Some(throttle) = self.settings.throttles.get(&op) else {
            return false;
        };
        let (calls, resources) = self.levels.entry(op).or_default();
        let mut pairs = Vec::new();
        for (bucket, level, tokens) in [
            (throttle.calls, calls, 1),
            (throttle.instances, resources, instances),
        ] {
            if let Some(bucket) = bucket {
                let level = level.get_or_insert_with(|| Level::full(bucket, now));
                level.refill(bucket, now);
                pairs.push((level, tokens));
            }
        }
        if pairs.iter().any(|(level, tokens)| !level.has(*tokens)) {
            return true;
        }
        for (level, tokens) in pairs {
            level.take(tokens);
        }
        false
    }

    fn listing(
        &self,
        now: Timestamp,
        asked_at: Timestamp,
        fleet: &FleetName,
        faults: &[FaultKind],
    ) -> Listing {
        let everything = faults.contains(&FaultKind::Foreign);
        let ours = |instance: &&SimInstance| everything || instance.fleet.as_ref() == Some(fleet);
        let lag = self.settings.phase_lag;
        let mut instances: Vec<Listed> = self
            .instances
            .values()
            .map(Box::as_ref)
            .filter(ours)
            .filter_map(|instance| instance.listed(now, lag))
            .collect();
        if faults.contains(&FaultKind::Repeated) {
            instances.extend(instances.clone());
        }
        let mut completeness = Completeness::Complete;
        for fault in faults {
            if let FaultKind::Truncated { keep, declared } = fault {
                instances.truncate(*keep);
                if *declared {
                    let kept = counted(*keep, "instance");
                    let why = format!("the listing ended after {kept}");
                    completeness = Completeness::Partial { why };
                }
            }
        }
        Listing {
            completeness,
            as_of: asked_at,
            instances,
            attached: self.attached.clone(),
            places: self.places.clone(),
        }
    }

    fn note_epoch(&mut self, group: &GroupName, epoch: Epoch) {
        let highest = self.epochs.entry(group.clone()).or_insert(epoch);
        if epoch < *highest {
            self.stats.stale_epochs += 1;
        }
        *highest = epoch.max(*highest);
    }

    pub(crate) fn note_peaks(&mut self, now: Timestamp) {
        let mut total = 0;
        let mut by_group: BTreeMap<&GroupName, usize> = BTreeMap::new();
        for instance in self.instances.values().filter(|one| one.exists(now)) {
            total += 1;
            if let Some(ownership) = &instance.ownership {
                *by_group.entry(&ownership.group).or_default() += 1;
            }
        }
        self.stats.peak = self.stats.peak.max(total);
        for (group, count) in by_group {
            match self.stats.peak_by_group.get_mut(group) {
                Some(peak) => *peak = count.max(*peak),
                None => {
                    self.stats.peak_by_group.insert(group.clone(), count);
                }
            }
        }
    }

    pub(crate) fn behaviors(&self) -> Vec<(Which, Behavior)> {
        self.behaviors.clone()
    }
}

#[cfg(test)]
mod tests;

/// Denies that an instance exists, where that is the fault.
fn denied(faults: &[FaultKind], provider_ref: &ProviderRef) -> Result<(), ProviderError> {
    if faults.contains(&FaultKind::NotFound) {
        let message = format!("instance {provider_ref} does not exist");
        return Err(ProviderError::new(ErrorClass::NotFound, message));
    }
    Ok(())
}

fn refused_to(faults: &[FaultKind], group: &GroupName) -> Result<(), ProviderError> {
    let mut classes = faults.iter().filter_map(|fault| match fault {
        FaultKind::RefusedTo(to, class) if to == group => Some(*class),
        _ => None,
    });
    classes.next().map_or(Ok(()), |class| {
        let message = format!("group {group} may not make this: {}", class.as_str());
        Err(ProviderError::new(class, message))
    })
}
