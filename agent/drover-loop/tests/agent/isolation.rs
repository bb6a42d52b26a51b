//! One group's trouble stays its own; a person's freeze and a broken journal stop everything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drover_apply::{FailWrites, Journal, JournalChange, JournalError, MemoryJournal, Reply};
use drover_model::{ConditionType, FleetName, GroupName, GroupPhase, Intent, Listing};
use drover_provider::{
    Forwarding, Manifest, Provider, ProviderError, ProvisionRequest, Provisioned,
};
use drover_provider_sim::{Fault, FaultKind, Op};
use tokio::sync::Semaphore;

use crate::harness::{PROVIDER, World, group};
use crate::wrapped::Wrapped;

/// A journal that panics for one group.
#[derive(Debug)]
struct PanickingJournal(Arc<MemoryJournal>);

impl Journal for PanickingJournal {
    fn open_intents(&self, group: &GroupName) -> Result<Vec<Intent>, JournalError> {
        self.0.open_intents(group)
    }
    fn groups(&self) -> Result<BTreeSet<GroupName>, JournalError> {
        self.0.groups()
    }
    fn last_number(&self, group: &GroupName) -> Result<u64, JournalError> {
        assert_ne!(group.as_str(), "bad", "a mistake in drover");
        self.0.last_number(group)
    }
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.0.get(key)
    }
    fn keys(&self, prefix: &str) -> Result<Vec<String>, JournalError> {
        self.0.keys(prefix)
    }
    fn submit(&self, changes: Vec<JournalChange>, reply: Reply) {
        self.0.submit(changes, reply);
    }
}

#[tokio::test]
async fn a_panic_in_one_group_shows_there_and_nowhere_else() {
    let mut world = World::with_groups(&[
        ("bad", &group("bad", 2, "a")),
        ("web", &group("web", 2, "a")),
    ]);
    let journal = Arc::new(PanickingJournal(Arc::clone(&world.journal)));
    world.agent = Some(world.second(journal));
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(1));
        world.pass().await;
    }
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    let bad = world.status("bad");
    let stalled = &bad.recorded.conditions[&ConditionType::Stalled];
    assert_eq!(stalled.status, Some(true));
    assert_eq!(stalled.reason, "InternalError");
    assert!(bad.report.error.is_some());
    // It is told once, not with every pass.
    let subjects = world.subjects();
    let about_bad = subjects
        .iter()
        .filter(|subject| subject.starts_with("bad:"));
    assert_eq!(about_bad.count(), 1, "{subjects:?}");
}

/// A simulated provider whose chosen calls never answer.
#[derive(Debug)]
struct Stuck {
    manifest: Manifest,
    inner: Arc<dyn Provider>,
    op: Op,
}

impl Stuck {
    async fn hang(&self, op: Op) {
        if self.op == op {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Forwarding for Stuck {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        self.hang(Op::List).await;
        self.inner.list(fleet).await
    }
    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        self.hang(Op::Provision).await;
        self.inner.provision(request).await
    }
}

/// A simulated provider that makes what it is told, and whose first answers to that never come.
#[derive(Debug)]
struct Silent {
    manifest: Manifest,
    inner: Arc<dyn Provider>,
    answers_lost: Arc<AtomicUsize>,
}

#[async_trait]
impl Forwarding for Silent {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        let answer = self.inner.provision(request).await;
        let lose = |left: usize| left.checked_sub(1);
        let is_lost = self
            .answers_lost
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose);
        if is_lost.is_ok() {
            std::future::pending::<()>().await;
        }
        answer
    }
}

/// A simulated provider whose answers are given when there is a permit; its listings are made before.
#[derive(Debug)]
struct Gated {
    manifest: Manifest,
    inner: Arc<dyn Provider>,
    gates: Arc<Gates>,
}

#[derive(Debug)]
struct Gates {
    list: Semaphore,
    provision: Semaphore,
}

#[async_trait]
impl Forwarding for Gated {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let answer = self.inner.list(fleet).await;
        self.gates.list.acquire().await.unwrap().forget();
        answer
    }
    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        self.gates.provision.acquire().await.unwrap().forget();
        self.inner.provision(request).await
    }
}

#[tokio::test]
async fn a_listing_from_before_the_last_step_is_never_acted_on() {
    let mut world = World::new(&[]);
    let gates = Arc::new(Gates {
        list: Semaphore::new(0),
        provision: Semaphore::new(0),
    });
    let shared = Arc::clone(&gates);
    let gated = Wrapped::new("gated", &world.factory, move |inner, manifest| Gated {
        manifest,
        inner,
        gates: Arc::clone(&shared),
    });
    world.more_factories = vec![gated];
    let provider = PROVIDER.replace("type: simulated", "type: gated");
    let web = group("web", 2, "a");
    let files = [("p.yaml", &*provider), ("w.yaml", &*web)];
    world.repository.commit(&files);
    world.settings.limits.list_wait = Duration::from_millis(20);
    world.settings.limits.group_wait = Duration::from_millis(20);
    // A listing is answered, and the create that follows from it is not.
    gates.list.add_permits(1);
    let report = world.pass().await;
    assert_eq!(report.unfinished, 1);
    // Another listing is made while the create waits, and answered after it.
    world.passes(1).await;
    gates.provision.add_permits(1);
    world
        .until("the create", |world| !world.living("web").is_empty())
        .await;
    gates.list.add_permits(1);
    world.passes(1).await;
    assert_eq!(world.holds("web"), ["ObservationStale"]);
    gates.list.add_permits(1_000);
    world.converge().await;
    assert_eq!(world.living("web"), ["web-1", "web-2"]);
}

/// A world with group `web` on a good provider and these groups on one that is stuck.
fn world_with_stuck(stuck: Op, names: &[&str]) -> World {
    let mut world = World::new(&[]);
    let provider = "apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: tar}
spec: {type: stuck}
";
    let slow = names.iter().map(|name| {
        let slow = group(name, 2, "a").replace("provider: local", "provider: tar");
        (format!("{name}.yaml"), slow)
    });
    let slow: Vec<(String, String)> = slow.collect();
    let web = group("web", 2, "a");
    let mut files = vec![
        ("p.yaml", PROVIDER),
        ("t.yaml", provider),
        ("w.yaml", &*web),
    ];
    files.extend(
        slow.iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    world.repository.commit(&files);
    let stuck = Wrapped::new("stuck", &world.factory, move |inner, manifest| Stuck {
        manifest,
        inner,
        op: stuck,
    });
    world.more_factories = vec![stuck];
    world.settings.limits.list_wait = Duration::from_millis(20);
    world.settings.limits.group_wait = Duration::from_millis(50);
    world
}

#[tokio::test]
async fn a_provider_that_never_lists_delays_nobody_else() {
    let mut world = world_with_stuck(Op::List, &["slow"]);
    let begun = Instant::now();
    world.passes(5).await;
    assert_eq!(world.holds("slow"), ["ObservationStale"]);
    assert!(begun.elapsed() < Duration::from_secs(2));
    // Also not at the start without data: none of its instances can be there.
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    world.restart();
    world.passes(5).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    assert_eq!(world.holds("slow"), ["ObservationStale"]);
}

#[tokio::test]
async fn a_provision_that_never_answers_delays_nobody_else() {
    let mut world = world_with_stuck(Op::Provision, &["slow"]);
    let begun = Instant::now();
    world.passes(6).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    assert!(begun.elapsed() < Duration::from_secs(2));
    let report = world.pass().await;
    assert_eq!(report.unfinished, 1);
}

#[tokio::test]
async fn calls_that_hang_take_no_places_of_another_providers_groups() {
    // Before the good one by their names, and more than may be worked on at once.
    let mut world = world_with_stuck(Op::Provision, &["a", "b", "c", "d"]);
    world.settings.limits.groups_concurrent = 2;
    let begun = Instant::now();
    world.passes(10).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    assert!(begun.elapsed() < Duration::from_secs(3));
    let report = world.pass().await;
    assert_eq!(report.unfinished, 4);
}

/// A world whose provider loses so many answers to what it makes, and how many it has still to lose.
fn world_with_silent(losses: usize) -> (World, Arc<AtomicUsize>) {
    let mut world = World::new(&[]);
    let lost = Arc::new(AtomicUsize::new(losses));
    let shared = Arc::clone(&lost);
    let silent = Wrapped::new("silent", &world.factory, move |inner, manifest| Silent {
        manifest,
        inner,
        answers_lost: Arc::clone(&shared),
    });
    world.more_factories = vec![silent];
    world.settings.limits.call_timeout = Duration::from_millis(100);
    world.settings.limits.group_wait = Duration::from_millis(20);
    (world, lost)
}

/// Commits groups of one with the provider that loses answers.
fn push_silent(world: &World, names: &[&str]) {
    let provider = PROVIDER.replace("type: simulated", "type: silent");
    let mut files = vec![("p.yaml".to_owned(), provider)];
    files.extend(
        names
            .iter()
            .map(|name| (format!("{name}.yaml"), group(name, 1, "a"))),
    );
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    world.repository.commit(&files);
}

/// How a new group's first launch is removed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    /// Its call comes to nothing in its own time.
    Waits,
    /// The group's time is up before.
    TimeIsUp,
    /// The agent dies.
    Dies,
}

#[tokio::test]
async fn a_new_group_that_is_removed_during_its_first_launch_leaves_nothing_behind() {
    for meanwhile in [Meanwhile::Waits, Meanwhile::TimeIsUp, Meanwhile::Dies] {
        let (mut world, lost) = world_with_silent(0);
        if meanwhile == Meanwhile::TimeIsUp {
            world.settings.limits.call_timeout = Duration::from_mins(1);
            world.settings.limits.group_timeout = Duration::from_millis(100);
        }
        push_silent(&world, &["web"]);
        world.converge().await;
        lost.store(1, Ordering::SeqCst);
        push_silent(&world, &["new", "web"]);
        world
            .until("the create", |world| !world.living("new").is_empty())
            .await;
        push_silent(&world, &["web"]);
        world.passes(2).await;
        assert!(world.knows("new"), "{meanwhile:?}: its launch is under way");
        if meanwhile == Meanwhile::Dies {
            world.restart();
        }
        // By the wall clock, like the limits.
        tokio::time::sleep(Duration::from_millis(250)).await;
        for _ in 0..120 {
            world.passes(1).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(world.living("new"), [""; 0], "{meanwhile:?}");
        assert!(
            !world.knows("new"),
            "{meanwhile:?}: {:?}",
            world.report("new")
        );
        assert_eq!(world.living("web"), ["web-1"]);
        // Nothing of it comes back.
        world.restart().pass().await;
        assert!(!world.knows("new"));
    }
}

#[tokio::test]
async fn a_new_group_that_is_removed_before_anything_is_made_is_forgotten() {
    let (mut world, _) = world_with_silent(0);
    push_silent(&world, &["web"]);
    world.converge().await;
    world.sim(|mut sim| {
        let down = FaultKind::Error(drover_model::ErrorClass::Auth);
        sim.inject(Fault::next(Op::List, 4, down));
    });
    push_silent(&world, &["new", "web"]);
    world.passes(2).await;
    assert!(world.knows("new"));
    push_silent(&world, &["web"]);
    world.passes(1).await;
    assert!(!world.knows("new"));
}

#[tokio::test]
async fn a_call_that_never_answers_ends_and_the_listing_decides() {
    let (mut world, lost) = world_with_silent(1);
    push_silent(&world, &["web"]);
    world
        .until("the create", |world| !world.living("web").is_empty())
        .await;
    assert_eq!(lost.load(Ordering::SeqCst), 0);
    let phase = world.status("web").recorded.phase;
    assert_ne!(phase, GroupPhase::Converged, "nobody has answered yet");
    // By the wall clock, like the limit.
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.converge().await;
    // It was found, and not made again.
    assert_eq!(world.living("web"), ["web-1"]);
    assert!(world.calls(Op::Provision) <= 2, "the call, and its repeat");
    assert!(world.holds("web").is_empty());
}

#[tokio::test]
async fn a_provider_that_fails_for_a_moment_is_held_and_not_recorded() {
    let mut world = World::web();
    world.converge().await;
    let commits = world.branch.log().len();
    world.sim(|mut sim| {
        let down = FaultKind::Error(drover_model::ErrorClass::Auth);
        sim.inject(Fault::next(Op::List, 5, down));
    });
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["ProviderFailed"]);
    world.passes(5).await;
    assert!(world.holds("web").is_empty());
    assert_eq!(world.branch.log().len(), commits);
}

#[tokio::test]
async fn a_provider_that_fails_for_long_is_recorded() {
    let mut world = World::web();
    world.converge().await;
    world.sim(|mut sim| {
        let down = FaultKind::Error(drover_model::ErrorClass::Auth);
        sim.inject(Fault::always(Op::List, down));
    });
    // Credentials that are refused are told sooner than other trouble.
    world.passes(15).await;
    let subjects = world.subjects();
    assert!(
        subjects.last().unwrap().starts_with("web: held"),
        "{subjects:?}"
    );
    assert_eq!(world.status("web").recorded.instances.len(), 3);
    world.sim(|mut sim| sim.clear_faults());
    world.converge().await;
    assert_eq!(world.calls(Op::Provision), 1);
}

#[tokio::test]
async fn a_provider_that_is_away_for_long_is_recorded() {
    let mut world = World::web();
    world.converge().await;
    let commits = world.branch.log().len();
    world.sim(|mut sim| {
        let down = FaultKind::Error(drover_model::ErrorClass::Unknown);
        sim.inject(Fault::always(Op::List, down));
    });
    world.passes(100).await;
    assert_eq!(world.branch.log().len(), commits);
    world.passes(30).await;
    assert!(world.branch.log().len() > commits);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_stops_everything_until_it_can() {
    let mut world = World::web();
    world.converge().await;
    let mutations = world.mutations();
    world.journal.fail_from(0, FailWrites::Before);
    world.push(&[("web", &group("web", 5, "a"))]);
    world.passes(3).await;
    assert_eq!(world.mutations(), mutations);
    assert_eq!(world.agent_holds(), ["JournalUnavailable"]);
    world.journal.recover();
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 5);
    assert!(world.agent_holds().is_empty());
}

#[tokio::test]
async fn a_freeze_file_stops_new_steps_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::web();
    world.settings.data_dir = Some(dir.path().to_owned());
    world.converge().await;
    let mutations = world.mutations();
    std::fs::write(dir.path().join("FREEZE"), "web\n").unwrap();
    world.push(&[("web", &group("web", 5, "a"))]);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["Frozen"]);
    assert_eq!(world.mutations(), mutations);
    std::fs::remove_file(dir.path().join("FREEZE")).unwrap();
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 5);
}

#[tokio::test]
async fn a_leaving_instance_is_published_as_draining_before_its_drain_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::web();
    world.settings.data_dir = Some(dir.path().to_owned());
    world.converge().await;
    let file = dir.path().join("members/web.json");
    let published = || std::fs::read_to_string(&file).unwrap();
    assert_eq!(published().matches("\"ready\"").count(), 3);
    world.push(&[("web", &group("web", 2, "a"))]);
    world.pass().await;
    assert_eq!(published().matches("\"draining\"").count(), 1);
    assert_eq!(world.calls(Op::Destroy), 0);
    world.converge().await;
    assert_eq!(published().matches("\"id\"").count(), 2);
}

#[tokio::test]
async fn a_clock_that_steps_back_holds_voluntary_work() {
    let mut world = World::web();
    world.converge().await;
    let earlier = drover_provider::Clock::now(&*world.clock);
    world.passes(60).await;
    world.push(&[("web", &group("web", 3, "b"))]);
    world.clock.set(earlier);
    world.passes(3).await;
    assert_eq!(world.agent_holds(), ["ClockStepped"]);
    assert_eq!(world.calls(Op::Destroy), 0);
    world.passes(60).await;
    assert!(world.agent_holds().is_empty());
}
