//! The run of a fleet simulation: start, push, pass after pass, end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_apply::MemoryJournal;
use drover_loop::{
    Agent, AgentParts, AgentSettings, Allowed, Contact, Keep, Liveness, Mode, PassLimits,
    PassReport, Registry, StartError,
};
use drover_model::{
    ErrorClass, ExitReport, GroupName, InstanceId, Listed, Ownership, ProviderPhase, ProviderRef,
    ProviderType, Timestamp, Token,
};
use drover_provider::{Clock as _, ProviderFactory};
use drover_provider_sim::{Op, of_text};

use super::flavors::SimFlavors;
use super::found;
use super::git::{Branch, StateBranch};
use super::outcome::Outcome;
use super::people::People;
use super::scenario::{Kill, RecordedStart, Scenario};
use super::secrets::PretendedSecrets;
use super::track::{Tracks, is_settled};
use super::worlds::{SimHealth, SimReach, StandIn, Worlds, locked, sim_rosters};
use crate::{SimRosters, VirtualClock};

/// The agent looks at least this often: the default interval of a source.
const INTERVAL: Duration = Duration::from_secs(30);

/// How much later than a change of health the agent looks: its checks run every half second.
const NOTICE: Duration = Duration::from_millis(500);

/// The shortest time between two passes. A real agent's is shorter, and its calls take that long.
const GAP: Duration = Duration::from_secs(1);

/// The same in a fleet so large, of instances that all take their own time, that some instance changes in
/// every second.
const GAP_LARGE: Duration = Duration::from_secs(5);

/// How many instances make a fleet large.
const LARGE: usize = 300;

/// How long before the push the fleet of the base is made: longer than what limits per hour remember.
const WARM_UP: Duration = Duration::from_hours(2);

/// How long that may take to converge.
const WARM_UP_MAX: Duration = Duration::from_mins(90);

/// The time between two passes while nothing happens: planning is a pure function that says when
/// time alone changes its answer, so this only bounds what a mistake in that costs.
const IDLE: Duration = Duration::from_mins(10);

/// A fleet has come to rest when it is settled and no instance changes for so long.
const QUIET: Duration = Duration::from_mins(10);

/// Passes without any change after which nothing is taken to be going on.
const IDLE_AFTER: u32 = 3;

/// The longest time between two passes that the agent's clock takes for waiting: it must cover
/// `IDLE`, and the time of a simulation is never asleep.
const AGENT_INTERVAL: Duration = Duration::from_hours(24);

/// Why a simulation could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The agent could not start.
    #[error("start the simulated agent")]
    Start(#[from] StartError),
    /// The runtime could not start.
    #[error("start a runtime")]
    Runtime(#[from] std::io::Error),
    /// A mistake in drover.
    #[error("group {group} at {at}: {message}")]
    Internal {
        /// The group.
        group: GroupName,
        /// The virtual time.
        at: Timestamp,
        /// What happened.
        message: String,
    },
}

/// Simulates a push.
///
/// # Errors
///
/// See [`FleetError`]; what the push does is never an error, however badly it ends.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, FleetError> {
    // One thread, and a Tokio clock that stands: the order of everything is given by the scenario.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    runtime.block_on(async {
        let mut fleet = Fleet::new(scenario)?;
        fleet.warm_up().await?;
        fleet.push().await
    })
}

struct Fleet<'a> {
    scenario: &'a Scenario,
    clock: VirtualClock,
    branch: Branch,
    state: StateBranch,
    journal: Arc<MemoryJournal>,
    worlds: Arc<Worlds>,
    health: Arc<SimHealth>,
    reach: Arc<SimReach>,
    rosters: Arc<SimRosters>,
    people: People,
    agent: Option<Agent>,
    drawn: u64,
    notes: Vec<String>,
}

impl<'a> Fleet<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, FleetError> {
        let recorded = scenario.recorded.as_ref();
        let lead = if recorded.is_some() {
            Duration::ZERO
        } else {
            WARM_UP
        };
        let start = before(scenario.at, lead);
        let clock = VirtualClock::new(start);
        let worlds = Arc::new(Worlds::new(scenario, clock.clone()));
        let base = recorded.is_none().then_some(&scenario.base);
        let later = scenario.then.iter().map(|(_, commit)| commit);
        let commits = base.into_iter().chain([&scenario.head]).chain(later);
        let commits = commits.cloned().collect();
        let files = recorded.map(|start| start.files.clone());
        let mut fleet = Self {
            scenario,
            branch: Branch::new(scenario.place.clone(), commits, start),
            state: StateBranch::new(files.unwrap_or_default()),
            journal: Arc::new(MemoryJournal::new()),
            health: Arc::new(SimHealth::new(Arc::clone(&worlds))),
            reach: Arc::new(SimReach::new(Arc::clone(&worlds))),
            rosters: Arc::new(sim_rosters(Arc::clone(&worlds))),
            worlds,
            clock,
            people: People::new(&scenario.what_if.approvers, &scenario.head.revision),
            agent: None,
            drawn: 0,
            notes: Vec::new(),
        };
        if let Some(recorded) = recorded {
            fleet.populate(recorded);
        }
        fleet.notes = found::populate(scenario, &fleet.worlds, start);
        fleet.start()?;
        Ok(fleet)
    }

    /// Makes the instances that were recorded, as they were.
    fn populate(&mut self, recorded: &RecordedStart) {
        let scenario = self.scenario;
        for group in recorded.groups.values() {
            let Some(provider) = &group.provider else {
                continue;
            };
            let manifest = scenario
                .types
                .iter()
                .find(|manifest| manifest.type_ == provider.type_);
            let Some(manifest) = manifest else { continue };
            let world = self
                .worlds
                .open(&provider.name, manifest, &provider.settings);
            let mut world = locked(&world);
            for (id, instance) in &group.instances {
                let known = instance.provider_ref.clone();
                let Some(provider_ref) =
                    known.or_else(|| ProviderRef::parse(&format!("recorded-{id}")).ok())
                else {
                    continue;
                };
                let ownership = Ownership {
                    fleet: scenario.fleet.clone(),
                    group: group.name.clone(),
                    instance: id.clone(),
                    digests: instance.digests.clone(),
                    token: Token::derive(&scenario.fleet, &group.uid, group.epoch, id, 0),
                    epoch: group.epoch,
                    seat: instance.seat.clone(),
                };
                world.add_existing(Listed {
                    provider_ref: provider_ref.clone(),
                    ownership: Some(ownership),
                    phase: ProviderPhase::Running,
                    address: instance.address.clone(),
                    zone: instance.zone.clone(),
                    created_at: Some(instance.created_at),
                    interruption: None,
                });
                let bad = ["Failed", "Unhealthy", "Lost", "Suspect"];
                if bad.contains(&instance.class.as_str()) {
                    let why = instance.why.clone().unwrap_or_else(|| "recorded so".into());
                    let outcome = drover_model::CheckOutcome::Failing { why };
                    world.set_health(&provider_ref, instance.created_at, outcome);
                }
            }
        }
    }

    /// Starts the agent over what is durable.
    fn start(&mut self) -> Result<(), FleetError> {
        let scenario = self.scenario;
        let factories = scenario.types.iter().map(|manifest| {
            let stand_in = StandIn {
                manifest: manifest.clone(),
                worlds: Arc::clone(&self.worlds),
            };
            Arc::new(stand_in) as Arc<dyn ProviderFactory>
        });
        let types = scenario.types.iter().map(|manifest| manifest.type_.clone());
        // Flavor plugins have a stand-in whatever the provider is.
        let types = types.chain([drover_loop::plugin_type()]);
        let allowed = Allowed::Only(types.collect::<std::collections::BTreeSet<ProviderType>>());
        self.drawn += 1;
        let mut seed = scenario
            .seed
            .wrapping_mul(31)
            .wrapping_add(self.drawn << 32);
        let parts = AgentParts {
            clock: Arc::new(self.clock.clone()),
            source: Box::new(self.branch.clone()),
            operations: Some(Box::new(self.people.clone())),
            recorder: Box::new(self.state.clone()),
            journal: self.journal.clone(),
            registry: Registry::new(factories, allowed),
            secrets: Arc::new(PretendedSecrets),
            flavors: Arc::new(SimFlavors),
            liveness: Arc::new(|_| Liveness::Dead),
            entropy: Box::new(move || {
                seed = seed.wrapping_add(1);
                of_text(seed, "entropy")
            }),
            contact: Some(Contact {
                health: self.health.clone(),
                reach: self.reach.clone(),
                rosters: self.rosters.clone(),
            }),
            metrics: Arc::new(drover_loop::NoMetrics::new("a simulation has no metrics")),
        };
        let settings = AgentSettings {
            name: scenario.agent.clone(),
            fleet: scenario.fleet.clone(),
            mode: Mode::Act,
            data_dir: None,
            interval: AGENT_INTERVAL,
            outage: None,
            version: "simulated".to_owned(),
            machine: None,
            // What is written down is read by an agent that starts again.
            keep: if scenario.what_if.crashes.is_empty() {
                Keep::Nothing
            } else {
                Keep::Everything
            },
            // One group after the other, one call after the other: the order decides who gets the
            // last token of a bucket and the last free place.
            limits: PassLimits {
                groups_concurrent: 1,
                calls_concurrent: 1,
                ..PassLimits::default()
            },
        };
        self.agent = Some(Agent::open(settings, parts)?);
        Ok(())
    }

    /// Kills the agent's process and starts it again.
    fn crash(&mut self) -> Result<(), FleetError> {
        self.agent = None;
        self.journal = Arc::new(self.journal.crashed());
        self.start()
    }

    fn agent(&mut self) -> &mut Agent {
        self.agent
            .as_mut()
            .expect("started, and started again after a crash")
    }

    async fn pass(&mut self) -> Result<Arc<PassReport>, FleetError> {
        let report = self.agent().pass().await;
        for (group, one) in &report.groups {
            if let Some(message) = &one.error {
                return Err(FleetError::Internal {
                    group: group.clone(),
                    at: report.at,
                    message: message.clone(),
                });
            }
        }
        let groups = &self.agent.as_ref().expect("it made a pass").status().groups;
        let now = self.clock.now();
        for (name, status) in groups {
            self.people.approve(name, &status.report.holds, now);
        }
        Ok(report)
    }

    /// Lets the base converge, then lets time pass until the push.
    async fn warm_up(&mut self) -> Result<(), FleetError> {
        if self.scenario.recorded.is_some() {
            return Ok(());
        }
        let end = after(before(self.scenario.at, WARM_UP), WARM_UP_MAX);
        let mut idle = 0;
        while self.clock.now() < end && idle < IDLE_AFTER {
            let report = self.pass().await?;
            let groups = &self.agent().status().groups;
            let rests = groups.values().all(|status| is_settled(status));
            let acted = groups.values().any(|one| !one.report.steps.is_empty());
            idle = if rests && report.unfinished == 0 {
                IDLE_AFTER
            } else if acted {
                0
            } else {
                // What is held at the base stays held; thirty minutes say so.
                idle + u32::from(report.timer_at.is_none_or(|at| at > end))
            };
            let next = self.next(&report, self.scenario.at, idle, None);
            self.clock.set(next.max(after(self.clock.now(), GAP)));
        }
        for (name, status) in &self.agent().status().groups.clone() {
            if !is_settled(status) {
                let holds: Vec<String> = status
                    .report
                    .holds
                    .iter()
                    .map(|held| held.hold.to_string())
                    .collect();
                self.notes.push(format!(
                    "{name} does not converge at the base ({}{}{}), so the simulation begins as far as it came",
                    status.recorded.phase.as_str(),
                    if holds.is_empty() { "" } else { ": " },
                    holds.join("; ")
                ));
            }
        }
        while self.clock.now() < self.scenario.at {
            let next = after(self.clock.now(), IDLE).min(self.scenario.at);
            self.clock.set(next);
            if next < self.scenario.at {
                self.pass().await?;
            }
        }
        Ok(())
    }

    /// Pushes the head, and goes on until everything has come to rest.
    async fn push(&mut self) -> Result<Outcome, FleetError> {
        let (at, horizon) = (self.scenario.at, self.scenario.horizon);
        self.clock.set(at);
        let mut tracks = Tracks::new(at);
        if let Some(start) = &self.scenario.recorded {
            tracks.before(start.groups.values(), &self.worlds);
        } else {
            let status = self.agent().status();
            let groups = status.groups.values().map(|one| &*one.recorded);
            tracks.before(groups, &self.worlds);
        }
        let calls_before = self.calls();
        self.worlds.begin();
        if self.scenario.recorded.is_none() {
            self.branch.push();
        }
        let end = after(at, horizon);
        let mut script = Script::of(self.scenario);
        let (mut idle, mut passes, mut settled) = (0, 0, false);
        while self.clock.now() <= end {
            let now = self.clock.now();
            self.outside(&mut script, &mut tracks, now)?;
            let report = self.pass().await?;
            passes += 1;
            let status = self.agent().status();
            let moved = tracks.pass(&status.groups, &self.worlds, now);
            idle = if moved || report.unfinished > 0 {
                0
            } else {
                idle + 1
            };
            let rests = status.groups.values().all(|one| is_settled(one));
            let over = script.next().is_none() && report.unfinished == 0;
            // What is about to fail, such as a program that ends soon after its start, is waited for.
            let change = self.worlds.next_change(now);
            let quiet = change.is_none_or(|at| at > after(now, QUIET));
            // A settled fleet is looked at once more: what was just done is seen then.
            if over && rests && quiet && idle > 0 {
                settled = true;
                break;
            }
            let next = self.next(&report, end, idle, script.next());
            if over
                && idle >= IDLE_AFTER
                && next >= after(now, IDLE)
                && self.is_still(&report, now, end)
            {
                settled = true;
                break;
            }
            self.clock.set(next);
        }
        let (calls, failed) = self.calls();
        let holds = self.agent().status().holds.clone().into_iter();
        let took = self.clock.now().min(end).duration_since(at);
        Ok(Outcome {
            at,
            took: Duration::try_from(took).unwrap_or_default(),
            groups: tracks.finish(settled),
            calls: since(&calls, &calls_before.0),
            failed_calls: since(&failed, &calls_before.1),
            passes,
            holds: holds.map(|held| held.hold.to_string()).collect(),
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// Returns whether nothing will happen by itself before `end`.
    fn is_still(&self, report: &PassReport, now: Timestamp, end: Timestamp) -> bool {
        let timers = report.timer_at.is_some_and(|at| at <= end);
        let world = self.worlds.next_change(now).is_some_and(|at| at <= end);
        !timers && !world
    }

    /// Returns when the next pass is.
    fn next(
        &self,
        report: &PassReport,
        end: Timestamp,
        idle: u32,
        script: Option<Timestamp>,
    ) -> Timestamp {
        let now = self.clock.now();
        let busy = self.worlds.is_jittered() && self.worlds.count(now) > LARGE;
        let gap = if busy { GAP_LARGE } else { GAP };
        let regular = if idle >= IDLE_AFTER { IDLE } else { INTERVAL };
        let mut next = after(now, regular);
        let acted = report.groups.values().any(|group| !group.steps.is_empty());
        // A real agent looks every few seconds for what these two know.
        let changes = [self.worlds.next_change(now), self.reach.next_change(now)];
        let noticed = changes.into_iter().flatten().min();
        let noticed = noticed.map(|at| after(at, NOTICE));
        let timers = [report.timer_at, noticed, acted.then_some(now)];
        for timer in timers.into_iter().flatten() {
            next = next.min(timer.max(after(now, gap)));
        }
        // A script is exact, however busy the fleet is.
        if let Some(at) = script {
            next = next.min(at.max(now));
        }
        // The end itself is looked at, and then nothing more.
        if now < end {
            next.min(end)
        } else {
            after(end, gap)
        }
    }

    /// Does what is due from outside.
    fn outside(
        &mut self,
        script: &mut Script,
        tracks: &mut Tracks,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        while let Some(step) = script.due(now) {
            match step {
                Outside::Crash => {
                    self.crash()?;
                    tracks.outside(
                        None,
                        now,
                        "AgentCrashed",
                        "the agent was killed and started again",
                    );
                }
                Outside::Push => {
                    self.branch.push();
                    tracks.outside(None, now, "Pushed", "another commit is pushed");
                }
                Outside::Kill(kill) => self.kill(&kill, tracks, now),
                Outside::ZoneFails(zone) => {
                    let ended = self.worlds.fail_zone(&zone, now);
                    let kind = "ZoneFailed";
                    tell(
                        tracks,
                        &ended,
                        now,
                        kind,
                        &format!("zone {zone} fails: "),
                        "ended",
                    );
                }
                Outside::ZoneBack(zone) => {
                    self.worlds.restore_zone(&zone);
                    let text = format!("zone {zone} is back");
                    tracks.outside(None, now, "ZoneBack", &text);
                }
            }
        }
        Ok(())
    }

    fn kill(&mut self, kill: &Kill, tracks: &mut Tracks, now: Timestamp) {
        let seed = self.scenario.seed;
        let mut victims = Vec::new();
        self.worlds.each(|name, world| {
            for instance in world.instances(now).filter(|one| one.exists(now)) {
                let Some(owner) = &instance.ownership else {
                    continue;
                };
                let chosen = kill
                    .group
                    .as_ref()
                    .is_none_or(|group| *group == owner.group);
                let runs = instance.running_at.is_some_and(|at| at <= now)
                    && instance.stop.is_none()
                    && instance.exit.is_none();
                if chosen && runs {
                    let id = owner.instance.clone();
                    let drawn = of_text(seed, &format!("{id} is killed at {now}"));
                    victims.push((drawn, id, name.clone(), instance.provider_ref.clone()));
                }
            }
        });
        victims.sort();
        victims.truncate(kill.count);
        self.worlds.each(|name, world| {
            for (_, _, at, provider_ref) in &victims {
                if at == name {
                    let report = ExitReport {
                        code: None,
                        signal: Some(9),
                        message: "killed by the simulation".to_owned(),
                    };
                    world.crash(provider_ref, now, report);
                }
            }
        });
        let killed: Vec<InstanceId> = victims.into_iter().map(|(_, id, _, _)| id).collect();
        tell(tracks, &killed, now, "Killed", "", "killed");
    }

    fn calls(&self) -> (BTreeMap<Op, u64>, BTreeMap<(Op, ErrorClass), u64>) {
        let (mut calls, mut failed) = (BTreeMap::new(), BTreeMap::new());
        self.worlds.each(|_, world| {
            for (op, count) in &world.stats().calls {
                *calls.entry(*op).or_default() += count;
            }
            for (kind, count) in &world.stats().failures {
                *failed.entry(*kind).or_default() += count;
            }
        });
        (calls, failed)
    }
}

/// Tells each group which of its instances something happened to.
fn tell(
    tracks: &mut Tracks,
    ids: &[InstanceId],
    now: Timestamp,
    kind: &'static str,
    first: &str,
    did: &str,
) {
    let mut by_group: BTreeMap<&GroupName, Vec<&InstanceId>> = BTreeMap::new();
    for id in ids {
        by_group.entry(id.group()).or_default().push(id);
    }
    for (group, mut ids) in by_group {
        ids.sort_by_key(|id| id.number());
        let names: Vec<String> = ids.iter().take(4).map(ToString::to_string).collect();
        let more = match ids.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!("{first}{}{more} {did}", names.join(", "));
        tracks.outside(Some(group), now, kind, &text);
    }
}

/// What is done to the fleet from outside, in order of time.
#[derive(Debug)]
struct Script(Vec<(Timestamp, Outside)>);

#[derive(Debug, Clone)]
enum Outside {
    Crash,
    Push,
    Kill(Kill),
    ZoneFails(String),
    ZoneBack(String),
}

impl Script {
    fn of(scenario: &Scenario) -> Self {
        let at = |offset: Duration| after(scenario.at, offset);
        let what_if = &scenario.what_if;
        let crashes = what_if.crashes.iter();
        let crashes = crashes.map(|offset| (at(*offset), Outside::Crash));
        let kills = what_if.kills.iter();
        let kills = kills.map(|kill| (at(kill.after), Outside::Kill(kill.clone())));
        let outages = what_if.outages.iter();
        let outages = outages.flat_map(|outage| {
            let fails = Outside::ZoneFails(outage.zone.clone());
            let back = Outside::ZoneBack(outage.zone.clone());
            let back = outage.until.map(|until| (at(until), back));
            std::iter::once((at(outage.after), fails)).chain(back)
        });
        let pushes = scenario.then.iter();
        let pushes = pushes.map(|(offset, _)| (at(*offset), Outside::Push));
        let steps = crashes.chain(kills).chain(outages).chain(pushes);
        let mut steps: Vec<_> = steps.collect();
        // The latest first, so that the next one is at the end.
        steps.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self(steps)
    }

    fn next(&self) -> Option<Timestamp> {
        self.0.last().map(|(at, _)| *at)
    }

    fn due(&mut self, now: Timestamp) -> Option<Outside> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|(_, step)| step)
    }
}

fn since<K: Copy + Ord>(now: &BTreeMap<K, u64>, then: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let counts = now
        .iter()
        .map(|(kind, count)| (*kind, count - then.get(kind).unwrap_or(&0)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
