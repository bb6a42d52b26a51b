//! Surveys that fail or hang: they withhold the adoption that they are for, and nothing of anybody else's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drover_model::{ErrorClass, ExitReport, FleetName, GroupName, GroupPhase, Listing, Survey};
use drover_provider::{Clock as _, Forwarding, Manifest, Provider, ProviderError};
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::adoption::{ADOPT, created, strangers, watching};
use crate::harness::{PROVIDER, World, group, group_with};
use crate::wrapped::Wrapped;

/// A simulated provider whose surveys or listings never answer while `stalls` is set.
#[derive(Debug)]
struct Stalling {
    manifest: Manifest,
    inner: Arc<dyn Provider>,
    stalls: Arc<AtomicBool>,
    op: Op,
}

impl Stalling {
    /// Adds it as the type `stalling`.
    fn add_to(world: &mut World, op: Op) -> Arc<AtomicBool> {
        let stalls = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&stalls);
        let wrap = move |inner, manifest| Self {
            manifest,
            inner,
            stalls: Arc::clone(&shared),
            op,
        };
        let factory = Wrapped::new("stalling", &world.factory, wrap);
        world.more_factories.push(factory);
        world.settings.limits.list_wait = Duration::from_millis(20);
        stalls
    }

    async fn stall(&self, op: Op) {
        if self.op == op && self.stalls.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Forwarding for Stalling {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        self.stall(Op::List).await;
        self.inner.list(fleet).await
    }
    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        self.stall(Op::Survey).await;
        self.inner.survey(tags).await
    }
}

fn web(more: &str) -> String {
    group_with("web", 3, "a", more)
}

/// Lets one instance of `web` end.
fn lose_one(world: &World) {
    let now = world.clock.now();
    let name = GroupName::parse("web").unwrap();
    world.sim(|mut sim| {
        let handle = sim.of_group(&name, now)[0].1.provider_ref.clone();
        let report = ExitReport {
            code: Some(1),
            signal: None,
            message: String::new(),
        };
        sim.crash(&handle, now, report);
    });
}

fn fail_surveys(world: &World) {
    let failing = FaultKind::Error(ErrorClass::Auth);
    world.sim(|mut sim| sim.inject(Fault::always(Op::Survey, failing)));
}

/// A group of three that has taken over all three that there were.
async fn taken_over() -> World {
    let mut world = watching(3, 3).await;
    world.push(&[("web", &web(ADOPT))]);
    world.converge().await;
    assert_eq!(created(&world), (3, 0, 0));
    world
}

#[tokio::test]
async fn who_has_adopted_everything_is_healed_while_surveys_fail_and_adopts_nothing() {
    let mut world = taken_over().await;
    fail_surveys(&world);
    lose_one(&world);
    strangers(&world, 1);
    world.passes(60).await;
    // Healed, and nothing is adopted; a moment's trouble is nothing to record.
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(created(&world), (3, 1, 1));
    assert!(world.holds("web").is_empty());
    world.passes(70).await;
    assert_eq!(world.holds("web"), ["AdoptionUnknown"]);
    let recorded = Arc::clone(&world.status("web").recorded);
    assert_eq!(recorded.phase, GroupPhase::Converged);
    // It is told once.
    let subjects = world.subjects();
    world.passes(30).await;
    assert_eq!(world.subjects(), subjects);
    // Once there is an answer, what has come meanwhile is held, as it is one too many, and a larger size takes it over.
    world.sim(|mut sim| sim.clear_faults());
    world
        .until("the hold", |world| world.holds("web") == ["AdoptedSurplus"])
        .await;
    world.passes(30).await;
    assert_eq!(created(&world), (3, 1, 1));
    world.push(&[("web", &group_with("web", 4, "a", ADOPT))]);
    world
        .until("the adoption", |world| created(world) == (4, 1, 1))
        .await;
    world.converge().await;
    assert!(world.holds("web").is_empty());
}

#[tokio::test]
async fn beside_what_is_left_alone_a_group_is_healed_while_surveys_fail_and_does_not_grow() {
    let mut world = taken_over().await;
    strangers(&world, 1);
    world
        .until("the hold", |world| world.holds("web") == ["AdoptedSurplus"])
        .await;
    world.converge().await;
    fail_surveys(&world);
    lose_one(&world);
    world.passes(60).await;
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(created(&world), (3, 1, 1));
    world.push(&[("web", &group_with("web", 4, "a", ADOPT))]);
    world.passes(130).await;
    assert_eq!(world.holds("web"), ["AdoptedSurplus", "AdoptionUnknown"]);
    assert_eq!(created(&world), (3, 1, 1));
    // It is the fourth.
    world.sim(|mut sim| sim.clear_faults());
    world
        .until("the adoption", |world| created(world) == (4, 1, 1))
        .await;
    world.converge().await;
    assert!(world.holds("web").is_empty());
}

#[tokio::test]
async fn what_a_group_is_to_become_waits_for_its_survey_and_what_it_is_goes_on() {
    let mut world = World::with_groups(&[("web", &web(""))]);
    world.converge().await;
    strangers(&world, 1);
    fail_surveys(&world);
    let larger = group_with("web", 4, "a", ADOPT);
    world.push(&[("web", &larger)]);
    world.passes(5).await;
    lose_one(&world);
    world.passes(130).await;
    // Healed, and no fourth one is made beside the one that is there.
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(created(&world), (0, 4, 1));
    assert_eq!(world.holds("web"), ["AdoptionUnknown"]);
    let recorded = Arc::clone(&world.status("web").recorded);
    assert!(!recorded.accepted.as_ref().unwrap().text.contains("adopt"));
    let accepted = &recorded.conditions[&drover_model::ConditionType::SpecAccepted];
    assert_eq!(accepted.status, Some(false));
    world.sim(|mut sim| sim.clear_faults());
    world.converge().await;
    assert_eq!(world.living("web").len(), 4);
    assert_eq!(created(&world), (1, 4, 1));
}

/// Documents of `count` groups, each of which asks the Provider document `of` says for tags of its own.
fn asking(count: usize, of: impl Fn(usize) -> String) -> String {
    let mut documents = String::new();
    for number in 0..count {
        let adopt = format!("  adopt: {{selector: {{matchTags: {{number: \"{number}\"}}}}}}\n");
        let group = group_with(&format!("a{number}"), 1, "a", &adopt);
        let group = group.replace("provider: local", &format!("provider: {}", of(number)));
        let _ = writeln!(documents, "{group}---");
    }
    documents
}

fn stalling(name: &str) -> String {
    PROVIDER
        .replace("name: local", &format!("name: {name}"))
        .replace("type: simulated, bootTime: 2s", "type: stalling")
}

#[tokio::test]
async fn a_provider_whose_surveys_hang_delays_no_adoption_on_another_one() {
    let mut world = World::new(&[]);
    let stalls = Stalling::add_to(&mut world, Op::Survey);
    stalls.store(true, Ordering::SeqCst);
    // More groups than a provider is asked for at once, and all of them come first.
    let many = asking(20, |_| "a".to_owned());
    let web = web(ADOPT);
    let provider = stalling("a");
    let files = [
        ("a.yaml", provider.as_str()),
        ("many.yaml", &many),
        ("p.yaml", PROVIDER),
        ("w.yaml", &web),
    ];
    world.repository.commit(&files);
    world.settings.limits.list_wait = Duration::from_millis(200);
    let begun = Instant::now();
    world.pass().await;
    // Answered in the same pass: there is nothing yet.
    assert_eq!(world.holds("web"), ["AdoptionRefused"]);
    strangers(&world, 3);
    world.passes(6).await;
    assert_eq!(created(&world), (3, 0, 0));
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(world.holds("a7"), ["ObservationStale"]);
}

/// A group `web` of three on a provider of the type `stalling`, which has taken over all that there were, and that
/// lost one of them while surveys hang from the start of the agent on.
async fn restarted_into_a_hanging_survey(late: &str) -> (World, Arc<AtomicBool>) {
    let mut world = World::new(&[]);
    let stalls = Stalling::add_to(&mut world, Op::Survey);
    let (provider, web) = (stalling("local"), web(ADOPT));
    let files = [("p.yaml", provider.as_str()), ("w.yaml", &web)];
    world.repository.commit(&files);
    world.pass().await;
    strangers(&world, 3);
    world.converge().await;
    lose_one(&world);
    stalls.store(true, Ordering::SeqCst);
    world.settings.limits.list_timeout = Duration::from_millis(100);
    let files = [
        ("p.yaml", provider.as_str()),
        ("w.yaml", &web),
        ("l.yaml", late),
    ];
    world.repository.commit(&files);
    (world, stalls)
}

#[tokio::test]
async fn surveys_that_hang_from_the_start_of_the_agent_let_healing_go_on() {
    let late = "  adopt: {selector: {matchTags: {owner: ops}}}\n";
    let late = group_with("late", 2, "a", late);
    let (mut world, _stalls) = restarted_into_a_hanging_survey(&late).await;
    world.restart();
    world.passes(20).await;
    assert_eq!(created(&world), (3, 1, 1));
    assert_eq!(world.living("web").len(), 3);
    // Told once it lasts, and as long as it does, although it is asked again and again.
    world.clock.advance(Duration::from_mins(3));
    world.passes(20).await;
    assert_eq!(world.holds("web"), ["AdoptionUnknown"]);
    let subjects = world.subjects();
    world.passes(20).await;
    assert_eq!(world.holds("web"), ["AdoptionUnknown"]);
    assert_eq!(world.subjects(), subjects);
    // Who has adopted nothing yet may have something to adopt, for all that anybody knows.
    assert_eq!(world.holds("late"), ["ProviderFailed"]);
    assert_eq!(world.living("late").len(), 0);
}

#[tokio::test]
async fn who_has_lost_its_record_waits_for_a_survey_like_a_new_group() {
    let (mut world, stalls) = restarted_into_a_hanging_survey("").await;
    world.branch = drover_loop::memory::MemoryStateBranch::new();
    world.restart_without_data();
    world.passes(30).await;
    assert_eq!(created(&world).1, 0);
    stalls.store(false, Ordering::SeqCst);
    world.accept_instances("web");
    world.until("healing", |world| created(world).1 == 1).await;
}

#[tokio::test]
async fn many_providers_whose_listings_hang_are_in_no_other_ones_way() {
    let mut world = World::new(&[]);
    let stalls = Stalling::add_to(&mut world, Op::List);
    let providers: Vec<String> = (0..20)
        .map(|number| stalling(&format!("a{number}")))
        .collect();
    let many = asking(20, |number| format!("a{number}"));
    let (providers, web) = (providers.join("---\n"), group("web", 2, "a"));
    let files = [
        ("a.yaml", providers.as_str()),
        ("many.yaml", &many),
        ("p.yaml", PROVIDER),
        ("w.yaml", &web),
    ];
    world.repository.commit(&files);
    // Every provider is listed once, as the start without data wants it.
    world.pass().await;
    stalls.store(true, Ordering::SeqCst);
    world.restart();
    world.passes(10).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    assert_eq!(world.holds("a7"), ["ObservationStale"]);
    // Once the time is up it is said who did not answer.
    world.settings.limits.list_timeout = Duration::from_millis(100);
    world.restart();
    let failed = |world: &World| world.holds("a7") == ["ProviderFailed"];
    world.until("the limit", failed).await;
    let said = world.report("a7").holds[0].hold.to_string();
    assert!(
        said.contains("provider a7 (stalling): no answer within"),
        "{said}"
    );
}
