//! How long a pass takes over a large fleet: with nothing to do, and from a cold start.
//!
//! Everything around the agent is in memory, so this measures the agent: parsing, joining,
//! classifying, deciding, planning, and telling what is unchanged.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use drover_apply::{Journal, MemoryJournal};
use drover_loop::memory::{MemoryRepository, MemoryStateBranch};
use drover_loop::{
    Agent, AgentParts, AgentSettings, Allowed, Liveness, Mode, PassLimits, Registry, SourcePlace,
};
use drover_model::{AgentName, FleetName, GroupPhase, Timestamp};
use drover_provider::{Clock, ProviderFactory};
use drover_provider_sim::SimFactory;
use tokio::runtime::Runtime;

const GROUPS: usize = 1_000;
const INSTANCES: usize = 10;

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
struct BenchClock(Mutex<Timestamp>);

impl Clock for BenchClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl BenchClock {
    fn advance(&self) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(Duration::from_secs(30)).unwrap();
    }
}

struct Fleet {
    clock: Arc<BenchClock>,
    repository: MemoryRepository,
    branch: MemoryStateBranch,
    journal: Arc<MemoryJournal>,
    factory: Arc<SimFactory>,
}

impl Fleet {
    fn new(policy: bool) -> Self {
        Self::of(GROUPS, policy)
    }

    fn of(groups: usize, policy: bool) -> Self {
        let start: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
        let clock = Arc::new(BenchClock(Mutex::new(start)));
        let repository = MemoryRepository::new();
        let documents: Vec<(String, String)> = (0..groups).map(group).collect();
        push(&repository, &documents, policy);
        Self {
            factory: Arc::new(SimFactory::new(Arc::clone(&clock) as Arc<dyn Clock>)),
            clock,
            repository,
            branch: MemoryStateBranch::new(),
            journal: Arc::new(MemoryJournal::new()),
        }
    }

    fn agent(&self) -> Agent {
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
    async fn converge(&self, agent: &mut Agent) {
        for _ in 0..100 {
            let report = agent.pass().await;
            let mut groups = report.groups.values();
            if groups.all(|group| group.phase == Some(GroupPhase::Converged)) {
                agent.pass().await;
                return;
            }
            self.clock.advance();
        }
        panic!("the fleet does not converge");
    }
}

fn push(repository: &MemoryRepository, documents: &[(String, String)], policy: bool) {
    let mut files = vec![("providers/local.yaml", PROVIDER)];
    if policy {
        files.push(("policies/office-hours.yaml", POLICY));
    }
    files.extend(documents.iter().map(|(path, text)| (&**path, &**text)));
    repository.commit(&files);
}

fn group(number: usize) -> (String, String) {
    let mut text = format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: group-{number}, labels: {{env: prod, tier: web}}}}
spec:
  provider: local
  size: {INSTANCES}
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

/// The memory that the process holds, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

fn unchanged(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    for (name, policy) in [("unchanged", false), ("unchanged with a policy", true)] {
        let fleet = Fleet::new(policy);
        let mut agent = fleet.agent();
        runtime.block_on(fleet.converge(&mut agent));
        let (writes, commits) = (fleet.journal.writes(), fleet.branch.log().len());
        criterion.bench_function(&format!("pass/{name}"), |bencher| {
            bencher.iter(|| {
                fleet.clock.advance();
                runtime.block_on(agent.pass())
            });
        });
        assert_eq!(fleet.journal.writes(), writes, "an unchanged pass wrote");
        assert_eq!(
            fleet.branch.log().len(),
            commits,
            "an unchanged pass committed"
        );
        println!(
            "resident: {} MiB, the simulated world and the journal included",
            resident_mib()
        );
    }
}

fn cold(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let fleet = Fleet::new(false);
    let mut agent = fleet.agent();
    runtime.block_on(fleet.converge(&mut agent));
    drop(agent);
    criterion.bench_function("pass/cold start with data", |bencher| {
        bencher.iter(|| {
            let mut agent = fleet.agent();
            runtime.block_on(agent.pass())
        });
    });
    criterion.bench_function("pass/first sight", |bencher| {
        bencher.iter_batched(
            || Fleet::new(false),
            |fleet| {
                let mut agent = fleet.agent();
                runtime.block_on(agent.pass());
                fleet
            },
            criterion::BatchSize::LargeInput,
        );
    });
}

/// A commit that touches one of many groups plans that one and no other.
fn touched(_: &mut Criterion) {
    const MANY: usize = 10_000;
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let fleet = Fleet::of(MANY, true);
    let mut agent = fleet.agent();
    runtime.block_on(fleet.converge(&mut agent));
    fleet.clock.advance();
    // The next pass is within the time for which plans without steps are believed.
    runtime.block_on(agent.pass());
    let mut documents: Vec<(String, String)> = (0..MANY).map(group).collect();
    let (size, other) = (format!("size: {INSTANCES}"), "size: 9");
    documents[7].1 = documents[7].1.replace(&size, other);
    push(&fleet.repository, &documents, true);
    let begun = std::time::Instant::now();
    let report = runtime.block_on(agent.pass());
    println!(
        "a commit that touches one of {MANY} groups: {} planned, a pass of {} ms",
        report.planned,
        begun.elapsed().as_millis()
    );
    assert_eq!(report.planned, 1);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = unchanged, cold, touched
}
criterion_main!(benches);
