//! One world for a test: everything around the agent, and a clock that the test moves.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use drover_apply::{Journal, MemoryJournal};
use drover_loop::memory::{MemoryRepository, MemoryStateBranch};
use drover_loop::{
    Agent, AgentParts, AgentSettings, Allowed, GroupReport, GroupStatus, Liveness, Mode,
    PassLimits, PassReport, Recorder, Registry, Source, SourcePlace,
};
use drover_model::{AgentName, FleetName, GroupName, GroupPhase, ProviderName, Timestamp};
use drover_provider::{Clock, ProviderFactory};
use drover_provider_sim::{Op, SimFactory, SimWorld};

/// A clock that tests move.
#[derive(Debug)]
pub(crate) struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }

    pub(crate) fn set(&self, at: Timestamp) {
        *self.0.lock().unwrap() = at;
    }
}

pub(crate) const PROVIDER: &str = "\
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: simulated, bootTime: 2s}
";

/// A group whose instances count as available at once when they run.
pub(crate) fn group(name: &str, size: u32, image: &str) -> String {
    group_with(name, size, image, "")
}

/// The same with more lines of `spec`, each indented by two.
pub(crate) fn group_with(name: &str, size: u32, image: &str, more: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: {name}, labels: {{env: test}}}}
spec:
  provider: local
  size: {size}
  template: {{properties: {{image: {image}}}}}
  rollout: {{minReady: 0s}}
  drain: {{delay: 1s, timeout: 10s}}
{more}"
    )
}

pub(crate) struct World {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) repository: MemoryRepository,
    pub(crate) branch: MemoryStateBranch,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) factory: Arc<SimFactory>,
    pub(crate) more_factories: Vec<Arc<dyn ProviderFactory>>,
    pub(crate) settings: AgentSettings,
    pub(crate) place: SourcePlace,
    pub(crate) liveness: Liveness,
    pub(crate) secrets: Arc<dyn drover_provider::SecretSource>,
    pub(crate) flavors: Arc<dyn drover_provider::Flavors>,
    pub(crate) metrics: Arc<crate::metrics::TestMetrics>,
    pub(crate) operations: crate::approvals::TestOperations,
    pub(crate) agent: Option<Agent>,
    drawn: u64,
}

impl World {
    /// A world whose repository has these files, before the agent starts.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let start: Timestamp = "2026-01-05T08:00:00Z".parse().unwrap();
        let clock = Arc::new(TestClock(Mutex::new(start)));
        let repository = MemoryRepository::new();
        repository.commit(files);
        Self {
            factory: Arc::new(SimFactory::new(Arc::clone(&clock) as Arc<dyn Clock>)),
            more_factories: Vec::new(),
            clock,
            repository,
            branch: MemoryStateBranch::new(),
            journal: Arc::new(MemoryJournal::new()),
            settings: AgentSettings {
                name: AgentName::parse("edge-1").unwrap(),
                fleet: FleetName::parse("test").unwrap(),
                mode: Mode::Act,
                data_dir: None,
                interval: Duration::from_secs(30),
                outage: None,
                version: "0.0.0".to_owned(),
                machine: None,
                limits: PassLimits::default(),
                keep: drover_loop::Keep::Everything,
            },
            place: SourcePlace {
                branch: "main".to_owned(),
                path: String::new(),
            },
            liveness: Liveness::Unknown,
            secrets: Arc::new(drover_provider::NoSecrets),
            flavors: Arc::new(drover_provider::NoFlavors::new("there are none here")),
            metrics: Arc::default(),
            operations: crate::approvals::TestOperations::default(),
            agent: None,
            drawn: 0,
        }
    }

    /// A world with the provider and one group `web` of three.
    pub(crate) fn web() -> Self {
        Self::with_groups(&[("web", &group("web", 3, "a"))])
    }

    pub(crate) fn with_groups(groups: &[(&str, &str)]) -> Self {
        let world = Self::new(&[]);
        world.push(groups);
        world
    }

    /// Commits the provider and these groups, and nothing else.
    pub(crate) fn push(&self, groups: &[(&str, &str)]) {
        let paths: Vec<String> = groups
            .iter()
            .map(|(name, _)| format!("groups/{name}.yaml"))
            .collect();
        let mut files = vec![("providers/local.yaml", PROVIDER)];
        for (path, (_, text)) in paths.iter().zip(groups) {
            files.push((path, text));
        }
        self.repository.commit(&files);
    }

    fn parts(&mut self) -> AgentParts {
        self.drawn += 1;
        // Another agent draws other numbers.
        let mut seed = self.drawn << 32;
        let liveness = self.liveness;
        let mut factories: Vec<Arc<dyn ProviderFactory>> = vec![Arc::clone(&self.factory) as _];
        factories.extend(self.more_factories.iter().cloned());
        AgentParts {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            source: Box::new(self.repository.source(self.place.clone())),
            recorder: Box::new(self.branch.recorder()),
            journal: Arc::clone(&self.journal) as Arc<dyn Journal>,
            registry: Registry::new(factories, Allowed::AllButProcess),
            secrets: Arc::clone(&self.secrets),
            flavors: Arc::clone(&self.flavors),
            liveness: Arc::new(move |_| liveness),
            entropy: Box::new(move || {
                seed += 1;
                seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            }),
            operations: Some(Box::new(self.operations.clone())),
            contact: None,
            metrics: Arc::clone(&self.metrics) as _,
        }
    }

    pub(crate) fn start(&mut self) -> &mut Self {
        let parts = self.parts();
        self.agent = Some(Agent::open(self.settings.clone(), parts).unwrap());
        self
    }

    /// Starts over another source and recorder.
    pub(crate) fn start_with(&mut self, source: Box<dyn Source>, recorder: Box<dyn Recorder>) {
        let parts = AgentParts {
            source,
            recorder,
            ..self.parts()
        };
        self.agent = Some(Agent::open(self.settings.clone(), parts).unwrap());
    }

    /// A second agent over the same world, with a journal of its own.
    pub(crate) fn second(&mut self, journal: Arc<dyn Journal>) -> Agent {
        let parts = AgentParts {
            journal,
            ..self.parts()
        };
        Agent::open(self.settings.clone(), parts).unwrap()
    }

    /// Ends the agent as a crash does, and starts it again with its data directory.
    pub(crate) fn restart(&mut self) -> &mut Self {
        self.agent = None;
        self.journal = Arc::new(self.journal.crashed());
        self.start()
    }

    /// The same, with the data directory lost.
    pub(crate) fn restart_without_data(&mut self) -> &mut Self {
        self.lose_data();
        self.start()
    }

    /// Ends the agent as a crash does, and loses its data directory.
    pub(crate) fn lose_data(&mut self) {
        self.agent = None;
        self.journal = Arc::new(MemoryJournal::new());
        self.liveness = Liveness::Dead;
    }

    pub(crate) async fn pass(&mut self) -> Arc<PassReport> {
        if self.agent.is_none() {
            self.start();
        }
        self.agent.as_mut().unwrap().pass().await
    }

    /// Makes a pass per second until `done`, for at most ten minutes of the world's time.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&World) -> bool) {
        for _ in 0..600 {
            let report = self.pass().await;
            if done(self) {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
            if let Some(error) = report.groups.values().find_map(|g| g.error.as_ref()) {
                panic!("waiting for {what}: {error}");
            }
        }
        panic!(
            "{what} did not happen: {:#?}",
            self.agent.as_ref().unwrap().status().pass
        );
    }

    pub(crate) async fn converge(&mut self) {
        self.until("convergence", |world| {
            let status = world.agent.as_ref().unwrap().status();
            let mut groups = status.groups.values();
            !status.groups.is_empty()
                && groups.all(|group| group.recorded.phase == GroupPhase::Converged)
        })
        .await;
    }

    /// Makes `count` passes, one per second.
    pub(crate) async fn passes(&mut self, count: usize) {
        for _ in 0..count {
            self.clock.advance(Duration::from_secs(1));
            self.pass().await;
        }
    }

    /// Says as a person that the instances which a group without a record finds are its own.
    pub(crate) fn accept_instances(&self, group: &str) {
        let group = GroupName::parse(group).unwrap();
        self.agent.as_ref().unwrap().accept_instances(group, "Zoe");
    }

    pub(crate) fn status(&self, group: &str) -> Arc<GroupStatus> {
        let status = self.agent.as_ref().unwrap().status();
        let group = GroupName::parse(group).unwrap();
        status
            .groups
            .get(&group)
            .expect("the group is known")
            .clone()
    }

    pub(crate) fn knows(&self, group: &str) -> bool {
        let status = self.agent.as_ref().unwrap().status();
        status
            .groups
            .contains_key(&GroupName::parse(group).unwrap())
    }

    pub(crate) fn report(&self, group: &str) -> Arc<GroupReport> {
        self.status(group).report.clone()
    }

    /// The codes of the group's holds, those that are part of any rollout left out.
    pub(crate) fn holds(&self, group: &str) -> Vec<&'static str> {
        let report = self.report(group);
        let holds = report.holds.iter().filter(|held| !held.hold.is_routine());
        let mut codes: Vec<&'static str> = holds.map(|held| held.hold.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    pub(crate) fn agent_holds(&self) -> Vec<&'static str> {
        let status = self.agent.as_ref().unwrap().status();
        status.holds.iter().map(|held| held.hold.code()).collect()
    }

    pub(crate) fn provider_is_open(&self) -> bool {
        let name = ProviderName::parse("local").unwrap();
        self.factory.world(&name).is_some()
    }

    /// Runs `look` over the simulated provider `local`.
    pub(crate) fn sim<T>(&self, look: impl FnOnce(MutexGuard<'_, SimWorld>) -> T) -> T {
        let name = ProviderName::parse("local").unwrap();
        let world = self.factory.world(&name).expect("the provider was opened");
        look(world.lock().unwrap())
    }

    /// The instances of a group that exist and are not on their way out.
    pub(crate) fn living(&self, group: &str) -> Vec<String> {
        let now = self.clock.now();
        let group = GroupName::parse(group).unwrap();
        let mut living = self.sim(|world| {
            let instances = world.of_group(&group, now).into_iter();
            let instances = instances.map(|(id, _)| id.to_string());
            instances.collect::<Vec<_>>()
        });
        living.sort();
        living
    }

    pub(crate) fn calls(&self, op: Op) -> u64 {
        self.sim(|world| world.stats().calls_of(op))
    }

    pub(crate) fn mutations(&self) -> u64 {
        self.calls(Op::Provision) + self.calls(Op::Destroy) + self.calls(Op::Release)
    }

    pub(crate) fn subjects(&self) -> Vec<String> {
        let log = self.branch.log();
        log.iter()
            .map(|commit| commit.message.lines().next().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for World {
    /// Whatever a test did to an agent, the audit log proves itself.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            crate::audit::History::of(self).assert_proven();
        }
    }
}
