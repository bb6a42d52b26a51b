//! A fleet of simulated instances with everything around the agent in memory.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_apply::{Journal, MemoryJournal};
use drover_loop::memory::{MemoryRepository, MemoryStateBranch};
use drover_loop::{
    Agent, AgentParts, AgentSettings, Allowed, Liveness, Mode, PassLimits, Registry, SourcePlace,
};
use drover_model::{AgentName, FleetName, GroupPhase, Timestamp};
use drover_provider::{Clock, ProviderFactory};
use drover_provider_sim::SimFactory;

pub(crate) const GROUPS: usize = 1_000;
pub(crate) const INSTANCES: usize = 10;

const PROVIDER: &str = "\
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: simulated}
";

const POLICY: &str = "\
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: office-hours}
spec:
  on: gate
  rules:
    - {expression: 'reason in [\"heal\", \"interruption\"] || now.getHours(\"UTC\") >= 9', message: outside office hours}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: office-hours}
spec: {policy: office-hours, selector: {matchLabels: {env: prod}}, enforcement: deny}
";

#[derive(Debug)]
pub(crate) struct BenchClock(Mutex<Timestamp>);

impl Clock for BenchClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl BenchClock {
    pub(crate) fn advance(&self) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(Duration::from_secs(30)).unwrap();
    }
}

pub(crate) struct Fleet {
    pub(crate) clock: Arc<BenchClock>,
    pub(crate) repository: MemoryRepository,
    pub(crate) branch: MemoryStateBranch,
    pub(crate) journal: Arc<MemoryJournal>,
    factory: Arc<SimFactory>,
    groups: usize,
}

impl Fleet {
    pub(crate) fn new(policy: bool) -> Self {
        Self::of(GROUPS, INSTANCES, policy)
    }

    pub(crate) fn of(groups: usize, instances: usize, policy: bool) -> Self {
        let start: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
        let clock = Arc::new(BenchClock(Mutex::new(start)));
        let repository = MemoryRepository::new();
        let documents = (0..groups).map(|number| group(number, instances));
        let documents: Vec<(String, String)> = documents.collect();
        push(&repository, &documents, policy);
        Self {
            groups,
            factory: Arc::new(SimFactory::new(Arc::clone(&clock) as Arc<dyn Clock>)),
            clock,
            repository,
            branch: MemoryStateBranch::new(),
            journal: Arc::new(MemoryJournal::new()),
        }
    }

    pub(crate) fn agent(&self) -> Agent {
        let settings = AgentSettings {
            name: AgentName::parse("bench").unwrap(),
            fleet: FleetName::parse("bench").unwrap(),
            mode: Mode::Act,
            data_dir: None,
            interval: Duration::from_secs(30),
            outage: None,
            version: "0.0.0".to_owned(),
            machine: None,
            limits: PassLimits::default(),
            keep: drover_loop::Keep::Everything,
        };
        let place = SourcePlace {
            branch: "main".to_owned(),
            path: String::new(),
        };
        let mut drawn = 0;
        let factory = Arc::clone(&self.factory) as Arc<dyn ProviderFactory>;
        let parts = AgentParts {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            source: Box::new(self.repository.source(place)),
            operations: None,
            recorder: Box::new(self.branch.recorder()),
            journal: Arc::clone(&self.journal) as Arc<dyn Journal>,
            registry: Registry::new([factory], Allowed::AllButProcess),
            secrets: Arc::new(drover_provider::NoSecrets),
            flavors: Arc::new(drover_provider::NoFlavors::new("there are none here")),
            liveness: Arc::new(|_| Liveness::Dead),
            entropy: Box::new(move || {
                drawn += 1;
                drawn
            }),
            contact: None,
            metrics: Arc::new(drover_loop::NoMetrics::new("there are none here")),
        };
        Agent::open(settings, parts).unwrap()
    }

    /// Makes passes until every group is converged.
    pub(crate) async fn converge(&self, agent: &mut Agent) {
        for _ in 0..1_000 {
            let report = agent.pass().await;
            let groups = report.groups.values();
            let converged = groups.filter(|group| group.phase == Some(GroupPhase::Converged));
            if converged.count() == self.groups && report.unfinished == 0 {
                agent.pass().await;
                return;
            }
            // So many documents are not read within one pass, nor so many groups planned: then the agent needs time,
            // and not the fleet.
            if report.planned + report.unfinished == 0 || report.unfinished > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            } else {
                self.clock.advance();
            }
        }
        panic!("the fleet does not converge");
    }
}

pub(crate) fn push(repository: &MemoryRepository, documents: &[(String, String)], policy: bool) {
    let mut files = vec![("providers/local.yaml", PROVIDER)];
    if policy {
        files.push(("policies/office-hours.yaml", POLICY));
    }
    files.extend(documents.iter().map(|(path, text)| (&**path, &**text)));
    repository.commit(&files);
}

pub(crate) fn group(number: usize, instances: usize) -> (String, String) {
    let mut text = format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: group-{number}, labels: {{env: prod, tier: web}}}}
spec:
  provider: local
  size: {instances}
  template:
    properties: {{image: \"app:{number}\"}}
    flavors:
      - vanilla: {{env: {{PORT: \"8080\"}}}}
  rollout: {{maxSurge: \"10%\", firstBatch: 10, minReady: 0s}}
"
    );
    let _ = writeln!(text, "  drain: {{delay: 2s, timeout: 1m}}");
    (format!("groups/group-{number}.yaml"), text)
}
