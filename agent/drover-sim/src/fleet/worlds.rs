//! The simulated providers of a fleet, and what answers for their instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_apply::{Answer, HealthSource, ProbeTarget, Reach, Trouble};
use drover_model::{
    CheckOutcome, ExitReport, GroupName, HealthSignal, HealthSpec, InstanceId, ProviderName,
    Timestamp, Value,
};
use drover_provider::{Clock, Manifest, ObjectSchema, Provider, ProviderError, ProviderFactory};
use drover_provider_sim::{SimProvider, SimSettings, SimWorld, configure, of_text};

use super::scenario::{Scenario, Span, Timing, WhatIf};
use crate::{Ground, SimRosters, VirtualClock};

/// Handles and addresses of one world begin so far from those of the next.
const HANDLES: u32 = 20_000;

const BOOT: Duration = Duration::from_mins(1);
const READY: Duration = Duration::from_secs(15);
const STOP: Duration = Duration::from_secs(20);

/// The type whose documents say how long things take.
const SIMULATED: &str = "simulated";

/// One world per Provider document. Until the push they are instant and faultless.
#[derive(Debug)]
pub(super) struct Worlds {
    pub(super) clock: VirtualClock,
    timing: Timing,
    what_if: WhatIf,
    seed: u64,
    properties: BTreeMap<ProviderName, ObjectSchema>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    worlds: BTreeMap<ProviderName, World>,
    begun: bool,
    /// Zones that are out.
    out: BTreeSet<String>,
}

#[derive(Debug)]
struct World {
    world: Arc<Mutex<SimWorld>>,
    manifest: Manifest,
    settings: Value,
}

impl Worlds {
    pub(super) fn new(scenario: &Scenario, clock: VirtualClock) -> Self {
        Self {
            clock,
            timing: scenario.timing,
            what_if: scenario.what_if.clone(),
            seed: scenario.seed,
            properties: scenario.properties.clone(),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on instances take their time, and things go wrong.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.begun = true;
        self.settle_all(&inner);
    }

    /// A zone fails: whatever is there ends, with no word to anybody, and nothing can be made there.
    /// Returns what ended.
    pub(super) fn fail_zone(&self, zone: &str, now: Timestamp) -> Vec<InstanceId> {
        let mut inner = self.lock();
        inner.out.insert(zone.to_owned());
        self.settle_all(&inner);
        drop(inner);
        let mut ended = Vec::new();
        self.each(|_, world| {
            let there = world
                .instances(now)
                .filter(|one| one.zone.as_deref() == Some(zone) && one.exists(now))
                .filter(|one| one.exit.as_ref().is_none_or(|(at, _)| *at > now));
            let there: Vec<_> = there
                .filter_map(|one| {
                    let owner = one.ownership.as_ref()?;
                    Some((owner.instance.clone(), one.provider_ref.clone()))
                })
                .collect();
            for (id, provider_ref) in there {
                let report = ExitReport {
                    code: None,
                    signal: None,
                    message: format!("zone {zone} is out"),
                };
                world.crash(&provider_ref, now, report);
                ended.push(id);
            }
        });
        ended
    }

    /// A zone is back: instances can be made there again. What ended does not come back.
    pub(super) fn restore_zone(&self, zone: &str) {
        let mut inner = self.lock();
        inner.out.remove(zone);
        self.settle_all(&inner);
    }

    /// Returns whether instances differ in how long they take.
    pub(super) fn is_jittered(&self) -> bool {
        let mut jittered = !self.timing.drain.jitter().is_zero();
        self.each(|_, world| {
            let settings = &world.settings;
            jittered |= !(settings.boot_jitter + settings.ready_jitter).is_zero();
        });
        jittered
    }

    fn settle_all(&self, inner: &Inner) {
        for world in inner.worlds.values() {
            self.settle(world, inner);
        }
    }

    /// Returns the world of a Provider document.
    pub(super) fn open(
        &self,
        name: &ProviderName,
        manifest: &Manifest,
        settings: &Value,
    ) -> Arc<Mutex<SimWorld>> {
        let mut inner = self.lock();
        let position = inner.worlds.len() as u32;
        let world = inner.worlds.entry(name.clone()).or_insert_with(|| {
            let mut world = SimWorld::new(SimSettings::default());
            world.number_from(position * HANDLES + 1);
            World {
                world: Arc::new(Mutex::new(world)),
                manifest: manifest.clone(),
                settings: settings.clone(),
            }
        });
        world.settings = settings.clone();
        world.manifest = manifest.clone();
        let opened = Arc::clone(&world.world);
        self.settle(&inner.worlds[name], &inner);
        opened
    }

    /// Returns what the provider of a document is, of a type with this manifest.
    fn manifest(&self, name: &ProviderName, of_type: &Manifest) -> Manifest {
        let properties = self.properties.get(name);
        Manifest {
            properties: properties.unwrap_or(&of_type.properties).clone(),
            ..of_type.clone()
        }
    }

    fn settle(&self, world: &World, inner: &Inner) {
        let mut sim = locked(&world.world);
        let simulated = world.manifest.type_.as_str() == SIMULATED;
        sim.settings = SimSettings::default();
        sim.clear_faults();
        if simulated {
            configure(&mut sim, &world.settings);
        }
        let said = |name: &str| simulated && world.settings.get(name).is_some();
        let usual = |own: bool, given: Option<Span>, own_time: Duration, usual: Duration| {
            let of_document = if own { own_time } else { usual };
            given.unwrap_or_else(|| Span::exactly(of_document))
        };
        let (boot, ready, stop) = (sim.settings.boot, sim.settings.ready, sim.settings.stop);
        let jitter = sim.settings.boot_jitter;
        sim.settings.batch_max = world.manifest.batch_max.max(1);
        sim.settings.seed = self.seed;
        if !inner.begun {
            // The fleet that the push meets was made before anybody looked.
            sim.clear_faults();
            let settings = &mut sim.settings;
            for time in [
                &mut settings.boot,
                &mut settings.boot_jitter,
                &mut settings.ready,
                &mut settings.stop,
                &mut settings.list_lag,
            ] {
                *time = Duration::ZERO;
            }
            settings.capacity = None;
            settings.quota = None;
            return;
        }
        let boot = usual(said("bootTime"), self.timing.boot, boot, BOOT);
        let ready = usual(said("readyTime"), self.timing.ready, ready, READY);
        let settings = &mut sim.settings;
        settings.boot = boot.least;
        settings.boot_jitter = boot.jitter();
        if self.timing.boot.is_none() && said("bootTime") {
            settings.boot_jitter = jitter;
        }
        settings.ready = ready.least;
        settings.ready_jitter = ready.jitter();
        let own_stop = if said("stopTime") { stop } else { STOP };
        settings.stop = self.timing.stop.unwrap_or(own_stop);
        settings.failing.clone_from(&self.what_if.failing);
        if let Some(capacity) = self.what_if.capacity {
            settings.capacity = Some(capacity);
        }
        settings.throttles.clone_from(&self.what_if.throttles);
        let out = inner.out.iter();
        settings.zones = out.map(|zone| (zone.clone(), Some(0))).collect();
    }

    /// Calls `look` with every world, in order of their names.
    pub(super) fn each(&self, mut look: impl FnMut(&ProviderName, &mut SimWorld)) {
        for (name, world) in &self.lock().worlds {
            look(name, &mut locked(&world.world));
        }
    }

    /// Counts the instances of all worlds.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        let mut count = 0;
        self.each(|_, world| count += world.instances(now).count());
        count
    }

    /// Returns when something changes next in any world without anybody's doing.
    pub(super) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let mut next = None;
        self.each(|_, world| {
            next = [next, world.next_change(now)].into_iter().flatten().min();
        });
        next
    }

    fn health(&self, target: &ProbeTarget, now: Timestamp) -> Option<(CheckOutcome, bool)> {
        let inner = self.lock();
        for world in inner.worlds.values() {
            let world = locked(&world.world);
            let found = world.instance(&target.provider_ref);
            let ours = found.is_some_and(|found| {
                let owner = found.ownership.as_ref();
                owner.is_some_and(|owner| owner.instance == target.instance)
            });
            if ours {
                let reference = &target.provider_ref;
                return Some((world.health(reference, now), world.is_busy(reference)));
            }
        }
        None
    }
}

pub(super) fn locked(world: &Mutex<SimWorld>) -> MutexGuard<'_, SimWorld> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A simulated world in the place of a provider type.
#[derive(Debug)]
pub(super) struct StandIn {
    pub(super) manifest: Manifest,
    pub(super) worlds: Arc<Worlds>,
}

impl ProviderFactory for StandIn {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let world = self.worlds.open(name, &self.manifest, settings);
        let clock = Arc::new(self.worlds.clock.clone());
        let provider = SimProvider::new(world, clock);
        let manifest = self.worlds.manifest(name, &self.manifest);
        Ok(Arc::new(provider.with_manifest(manifest)))
    }
}

/// What health checks say: asked at the moment that the agent wants to know.
#[derive(Debug)]
pub(super) struct SimHealth {
    worlds: Arc<Worlds>,
    watched: Mutex<BTreeMap<GroupName, (usize, Vec<ProbeTarget>)>>,
}

impl SimHealth {
    pub(super) fn new(worlds: Arc<Worlds>) -> Self {
        Self {
            worlds,
            watched: Mutex::default(),
        }
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<GroupName, (usize, Vec<ProbeTarget>)>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HealthSource for SimHealth {
    fn watch(
        &self,
        group: &GroupName,
        health: &HealthSpec,
        targets: Vec<ProbeTarget>,
        _provider: Arc<dyn Provider>,
    ) {
        let watch = (health.checks.len(), targets);
        self.watched().insert(group.clone(), watch);
    }

    fn signals(&self, group: &GroupName) -> BTreeMap<InstanceId, HealthSignal> {
        let now = self.worlds.clock.now();
        let watched = self.watched();
        let Some((checks, targets)) = watched.get(group) else {
            return BTreeMap::new();
        };
        let signal = |target: &ProbeTarget| {
            let (outcome, busy) = self.worlds.health(target, now)?;
            let signal = HealthSignal {
                asked_at: now,
                checks: vec![outcome; *checks],
                busy,
                leader: None,
                work: 0,
            };
            Some((target.instance.clone(), signal))
        };
        targets.iter().filter_map(signal).collect()
    }

    fn forget(&self, group: &GroupName) {
        self.watched().remove(group);
    }

    async fn shutdown(&self) {}
}

/// What instances answer to a drain: done after their time, counted from the first word.
#[derive(Debug)]
pub(super) struct SimReach {
    worlds: Arc<Worlds>,
    /// When each instance that was told to drain is done.
    done: Mutex<BTreeMap<String, Timestamp>>,
}

impl SimReach {
    pub(super) fn new(worlds: Arc<Worlds>) -> Self {
        Self {
            worlds,
            done: Mutex::default(),
        }
    }

    fn is_done(&self, address: &str) -> bool {
        let now = self.worlds.clock.now();
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = done.get(address) {
            return now >= *at;
        }
        let span = self.worlds.timing.drain;
        let jitter_ms = span.jitter().as_millis() as u64;
        let drawn = of_text(self.worlds.seed, &format!("{address} drains")) % (jitter_ms + 1);
        let takes = span.least + Duration::from_millis(drawn);
        let at = now.checked_add(takes).unwrap_or(Timestamp::MAX);
        done.insert(address.to_owned(), at);
        now >= at
    }

    /// Returns when the next instance is done draining.
    pub(super) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.values().filter(|at| **at > now).min().copied()
    }
}

#[async_trait]
impl Reach for SimReach {
    async fn http(
        &self,
        _method: &str,
        address: &str,
        _port: u16,
        _path: &str,
        _limit: Duration,
    ) -> Result<Answer, Trouble> {
        // 202 is a success for `begin` and no answer yet for `done`.
        let status = if self.is_done(address) { 200 } else { 202 };
        Ok(Answer {
            status,
            body: Vec::new(),
        })
    }

    async fn connect(&self, address: &str, _port: u16, _limit: Duration) -> Result<(), Trouble> {
        if self.is_done(address) {
            Err(Trouble::Refused)
        } else {
            Ok(())
        }
    }
}

/// Returns the membership lists of the programs that run in any world.
pub(super) fn sim_rosters(worlds: Arc<Worlds>) -> SimRosters {
    SimRosters::new(Box::new(move |group| {
        let now = worlds.clock.now();
        let mut found: Option<Ground> = None;
        worlds.each(|_, world| {
            let ground = Ground::of(world, group, now);
            // A group lives in one world.
            if found.is_none() || !ground.is_empty() {
                found = Some(ground);
            }
        });
        found.unwrap_or_else(|| Ground::empty(now))
    }))
}
