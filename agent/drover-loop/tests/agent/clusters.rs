//! Flavors that keep a cluster, in the whole pass: what they say of it is heeded, and newcomers are told whom to join.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{CheckOutcome, GroupName, GroupPhase, IntentId, ProviderRef};
use drover_provider::{
    ClusterHealth, ClusterReport, ClusterView, FlavorCall, FlavorInstance, FlavorPrepared,
    FlavorRequest, Flavors, ProviderError,
};

use crate::harness::{World, group};

/// A flavor whose cluster is as the test says, and whose leader is one that the test names.
#[derive(Debug, Default)]
struct Keeper {
    health: Mutex<Option<ClusterHealth>>,
    leader: Mutex<Option<String>>,
    hangs: Mutex<bool>,
    asked: Mutex<Vec<(GroupName, ClusterView)>>,
    joined: Mutex<Vec<(u64, ClusterView)>>,
    drained: Mutex<Vec<String>>,
}

#[async_trait]
impl Flavors for Keeper {
    async fn prepare(
        &self,
        request: &FlavorRequest,
        _limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        let joins = (request.index.number, (*request.cluster).clone());
        self.joined.lock().unwrap().push(joins);
        Ok(FlavorPrepared {
            attachments: Vec::new(),
            init: "join".to_owned(),
            tags: request.spec.tags.clone(),
            properties: None,
        })
    }

    async fn healthy(
        &self,
        _flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _limit: Duration,
    ) -> CheckOutcome {
        CheckOutcome::Passing
    }

    async fn drain(
        &self,
        _flavor: &FlavorCall,
        instance: &FlavorInstance,
        _drain: IntentId,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        let name = instance.tags["drover.instance"].clone();
        let mut drained = self.drained.lock().unwrap();
        if !drained.contains(&name) {
            drained.push(name);
        }
        Ok(())
    }

    async fn cluster_health(
        &self,
        _flavor: &FlavorCall,
        group: &GroupName,
        view: &ClusterView,
        _limit: Duration,
    ) -> Option<ClusterReport> {
        let asked = (group.clone(), view.clone());
        self.asked.lock().unwrap().push(asked);
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        let health = self.health.lock().unwrap().clone()?;
        let leader = self.leader.lock().unwrap().clone();
        let leader = view
            .members
            .iter()
            .find(|member| Some(member.instance.to_string()) == leader);
        let leader: Option<ProviderRef> = leader.map(|member| member.provider_ref.clone());
        Some(ClusterReport { health, leader })
    }
}

impl Keeper {
    fn is(&self, health: ClusterHealth) {
        *self.health.lock().unwrap() = Some(health);
    }
}

fn degraded() -> ClusterHealth {
    ClusterHealth::Degraded {
        why: "one manager is not reachable".to_owned(),
    }
}

fn managers(size: u32, image: &str) -> String {
    let plain = format!("template: {{properties: {{image: {image}}}");
    let text = group("web", size, image);
    assert!(text.contains(&plain), "{text}");
    let flavors = format!("{plain}, flavors: [{{plugin: {{name: swarm}}}}]");
    text.replace(&plain, &flavors)
}

/// A group of three that has converged, and the flavor that keeps its cluster.
async fn world() -> (World, Arc<Keeper>) {
    let keeper = Arc::new(Keeper::default());
    let mut world = World::with_groups(&[("web", &managers(3, "a"))]);
    world.flavors = Arc::clone(&keeper) as Arc<dyn Flavors>;
    keeper.is(ClusterHealth::Healthy);
    until(&mut world, |world| {
        world.status("web").recorded.phase == GroupPhase::Converged
    })
    .await;
    (world, keeper)
}

/// Lets real time pass, in which health is asked for.
async fn until(world: &mut World, done: impl Fn(&World) -> bool) {
    for _ in 0..300 {
        world.pass().await;
        if done(world) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.clock.advance(Duration::from_secs(1));
    }
    panic!("{:?}", world.report("web"));
}

async fn beats(world: &mut World, count: usize) {
    for _ in 0..count {
        tokio::time::sleep(Duration::from_millis(10)).await;
        world.passes(1).await;
    }
}

fn codes(world: &World) -> Vec<&'static str> {
    let report = world.report("web");
    let mut codes: Vec<_> = report.holds.iter().map(|held| held.hold.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[tokio::test]
async fn a_rollout_waits_for_its_cluster_and_the_leader_goes_last() {
    let (mut world, keeper) = world().await;
    *keeper.leader.lock().unwrap() = Some("web-1".to_owned());
    keeper.is(degraded());
    world.pass().await;
    // At rest it is only told.
    assert_eq!(codes(&world), ["ClusterDegraded"]);
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    world.push(&[("web", &managers(3, "b"))]);
    beats(&mut world, 20).await;
    assert_eq!(keeper.drained.lock().unwrap().len(), 0);
    assert!(codes(&world).contains(&"ClusterDegraded"));
    keeper.is(ClusterHealth::Unknown {
        why: "it does not say".to_owned(),
    });
    beats(&mut world, 20).await;
    assert_eq!(keeper.drained.lock().unwrap().len(), 0);
    assert_eq!(world.holds("web"), ["ClusterUnknown"]);

    keeper.is(ClusterHealth::Healthy);
    until(&mut world, |world| {
        let web = world.status("web");
        let mut updated = web.recorded.instances.keys();
        web.recorded.phase == GroupPhase::Converged && updated.all(|id| id.number() > 3)
    })
    .await;
    let drained = keeper.drained.lock().unwrap().clone();
    assert_eq!(drained.len(), 3);
    assert_eq!(drained.last().map(String::as_str), Some("web-1"));
}

#[tokio::test]
async fn a_scale_in_waits_for_its_cluster() {
    let (mut world, keeper) = world().await;
    keeper.is(degraded());
    world.push(&[("web", &managers(2, "a"))]);
    beats(&mut world, 20).await;
    assert_eq!(world.living("web").len(), 3);
    keeper.is(ClusterHealth::Healthy);
    until(&mut world, |world| world.living("web").len() == 2).await;
    // Where none is to stay, there is no cluster to keep.
    keeper.is(degraded());
    world.push(&[("web", &managers(0, "a"))]);
    until(&mut world, |world| world.living("web").is_empty()).await;
}

#[tokio::test]
async fn a_newcomer_is_told_whom_to_join() {
    let (mut world, keeper) = world().await;
    let first = keeper.joined.lock().unwrap()[0].clone();
    assert_eq!(first.1.join.addresses, Vec::<String>::new());
    *keeper.leader.lock().unwrap() = Some("web-2".to_owned());
    world.push(&[("web", &managers(4, "a"))]);
    until(&mut world, |world| world.living("web").len() == 4).await;
    let (number, view) = keeper.joined.lock().unwrap().last().cloned().unwrap();
    assert_eq!(number, 4);
    let names: Vec<String> = view
        .members
        .iter()
        .map(|one| one.instance.to_string())
        .collect();
    assert_eq!(names, ["web-1", "web-2", "web-3"]);
    assert_eq!(
        view.leader.map(|it| it.to_string()).as_deref(),
        Some("web-2")
    );
    let leads = view.members[1].address.clone().unwrap();
    assert_eq!(view.join.addresses.len(), 3);
    assert_eq!(view.join.addresses[0], leads);
    world.passes(1).await;
    let (group, view) = keeper.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!((group.as_str(), view.members.len()), ("web", 4));
}

#[tokio::test]
async fn a_flavor_that_never_says_how_its_cluster_is_holds_its_own_group_only() {
    let keeper = Arc::new(Keeper::default());
    *keeper.hangs.lock().unwrap() = true;
    let other = group("api", 2, "a");
    let mut world = World::with_groups(&[("web", &managers(1, "a")), ("api", &other)]);
    world.flavors = Arc::clone(&keeper) as Arc<dyn Flavors>;
    world.settings.limits.group_wait = Duration::from_millis(50);
    until(&mut world, |world| {
        world.status("api").recorded.phase == GroupPhase::Converged
    })
    .await;
    // Its own limit ends it, not the group's.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.passes(1).await;
        if world.holds("web").contains(&"ClusterUnknown") {
            return;
        }
    }
    panic!("{:?}", world.report("web"));
}

#[tokio::test]
async fn a_flavor_without_a_cluster_withholds_nothing() {
    let (mut world, keeper) = world().await;
    *keeper.health.lock().unwrap() = None;
    world.push(&[("web", &managers(2, "a"))]);
    until(&mut world, |world| world.living("web").len() == 2).await;
    assert_eq!(codes(&world), Vec::<&str>::new());
}
