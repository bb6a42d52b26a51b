//! After the start with an empty data directory a group waits for the providers that may have instances of its own, and
//! for no others; a restart forgets nothing of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drover_loop::{RecorderError, SourceError};
use drover_model::{
    Digests, Epoch, ErrorClass, FleetName, GroupName, GroupPhase, GroupUid, Hold, InstanceId,
    Listed, Listing, Ownership, ProviderName, ProviderPhase, ProviderRef, ProviderType, Token,
    Value,
};
use drover_provider::{
    Clock as _, Forward, Forwarding, Manifest, Provider, ProviderError, ProviderFactory,
};
use drover_provider_sim::{Op, SimFactory};

use crate::harness::{PROVIDER, World, group};

/// A provider type `moody`: simulated, and in the mood that the test says.
#[derive(Debug, Clone)]
pub(crate) struct Moody {
    manifest: Manifest,
    inner: Arc<SimFactory>,
    mood: Arc<Mutex<Mood>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Well,
    /// Its credentials are refused.
    Refused,
    /// It cannot be opened.
    Shut,
    /// It lists so many running instances of group `web` that are not there.
    Lying(u64),
    /// It lists one running instance of group `web` that is not there, with this number.
    Straying(u64),
    /// It lists every instance under a number that is so much higher.
    Renumbering(u64),
    /// It lists every instance a second time, under another handle.
    Doubling,
    /// It says of every instance that it is gone.
    Mourning,
}

#[derive(Debug)]
struct MoodyProvider {
    moody: Moody,
    inner: Arc<dyn Provider>,
}

impl ProviderFactory for Moody {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        if *self.mood.lock().unwrap() == Mood::Shut {
            let message = "program far: there is no such file";
            return Err(ProviderError::new(ErrorClass::InvalidSpec, message));
        }
        Ok(Arc::new(Forward(MoodyProvider {
            moody: self.clone(),
            inner: self.inner.open(name, settings)?,
        })))
    }
}

#[async_trait]
impl Forwarding for MoodyProvider {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }
    fn manifest(&self) -> &Manifest {
        &self.moody.manifest
    }
    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let lies: Vec<u64> = match *self.moody.mood.lock().unwrap() {
            Mood::Refused => {
                let message = "plugin far: Provider.List: the credentials were refused";
                return Err(ProviderError::new(ErrorClass::Auth, message));
            }
            Mood::Lying(lies) => (1..=lies).collect(),
            Mood::Straying(number) => vec![number],
            Mood::Well | Mood::Shut | Mood::Renumbering(_) | Mood::Doubling | Mood::Mourning => {
                Vec::new()
            }
        };
        let mut listing = self.inner.list(fleet).await?;
        if let Mood::Renumbering(more) = *self.moody.mood.lock().unwrap() {
            let owners = listing.instances.iter_mut();
            for owner in owners.filter_map(|listed| listed.ownership.as_mut()) {
                let number = more + owner.instance.number();
                owner.instance = InstanceId::new(owner.group.clone(), number);
            }
        }
        if *self.moody.mood.lock().unwrap() == Mood::Mourning {
            for listed in &mut listing.instances {
                listed.phase = ProviderPhase::Terminated;
            }
        }
        let lies = lies.into_iter().map(|number| lie(fleet, number));
        if *self.moody.mood.lock().unwrap() == Mood::Doubling {
            let again = listing.instances.clone().into_iter().map(|listed| {
                let handle = format!("again-{}", listed.provider_ref);
                let provider_ref = ProviderRef::parse(&handle).unwrap();
                Listed {
                    provider_ref,
                    ..listed
                }
            });
            listing.instances.extend(again);
        }
        listing.instances.extend(lies);
        Ok(listing)
    }
}

/// An instance of `web`.
pub(crate) fn lie(fleet: &FleetName, number: u64) -> Listed {
    let group = GroupName::parse("web").unwrap();
    let uid = GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap();
    let instance = InstanceId::new(group.clone(), number);
    Listed {
        provider_ref: ProviderRef::parse(&format!("lie-{number}")).unwrap(),
        phase: ProviderPhase::Running,
        address: None,
        zone: None,
        created_at: None,
        interruption: None,
        ownership: Some(Ownership {
            fleet: fleet.clone(),
            token: Token::derive(fleet, &uid, Epoch(1), &instance, 0),
            group,
            instance,
            digests: Digests::of_unknown_template(),
            epoch: Epoch(1),
            seat: None,
        }),
    }
}

const FAR: &str = "\
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: far}
spec: {type: moody, bootTime: 2s}
";

const ETCD: &str = "\
apiVersion: drover/v1alpha1
kind: Group
metadata: {name: etcd}
spec:
  provider: local
  members: [{id: m1}, {id: m2}, {id: m3}]
  template: {properties: {image: a}}
  rollout: {minReady: 0s}
";

pub(crate) fn on_far(name: &str, size: u32) -> String {
    group(name, size, "a").replace("provider: local", "provider: far")
}

/// A world with the providers `local` and `far`, and these groups.
pub(crate) fn two(mood: Mood, groups: &[(&str, &str)]) -> (World, Arc<Mutex<Mood>>) {
    let mut world = World::new(&[]);
    let mood = Arc::new(Mutex::new(mood));
    world.more_factories = vec![Arc::new(Moody {
        manifest: Manifest {
            type_: ProviderType::parse("moody").unwrap(),
            ..world.factory.manifest().clone()
        },
        inner: Arc::clone(&world.factory),
        mood: Arc::clone(&mood),
    })];
    push(&world, groups);
    (world, mood)
}

pub(crate) fn push(world: &World, groups: &[(&str, &str)]) {
    let paths = groups.iter().map(|(name, _)| format!("groups/{name}.yaml"));
    let paths: Vec<String> = paths.collect();
    let mut files = vec![("local.yaml", PROVIDER), ("far.yaml", FAR)];
    files.extend(
        paths
            .iter()
            .map(String::as_str)
            .zip(groups.iter().map(|it| it.1)),
    );
    world.repository.commit(&files);
}

/// The handles of a group's instances in `far`.
pub(crate) fn far(world: &World, group: &str) -> Vec<ProviderRef> {
    let far = world.factory.world(&ProviderName::parse("far").unwrap());
    let far = far.expect("it was opened");
    let (far, now) = (far.lock().unwrap(), world.clock.now());
    let there = far.of_group(&GroupName::parse(group).unwrap(), now);
    let there = there.into_iter();
    there.map(|(_, one)| one.provider_ref.clone()).collect()
}

/// Why a group waits for what was not observed.
fn unobserved(world: &World, group: &str) -> Vec<String> {
    let report = world.report(group);
    let holds = report.holds.iter().filter_map(|held| match &held.hold {
        Hold::ObservationPartial { why } => Some(why.clone()),
        _ => None,
    });
    holds.collect()
}

/// `web` has three instances in `far`, of which the state branch knows nothing but the provider. The data directory is lost,
/// and the document names `local` now.
async fn moved(mood: Mood) -> (World, Arc<Mutex<Mood>>) {
    let (mut world, switch) = two(Mood::Well, &[("web", &on_far("web", 0))]);
    world.converge().await;
    world.passes(30).await;
    let message = "the host is away".to_owned();
    let away = RecorderError::Unreachable { message };
    world.branch.fail(Some(away));
    push(&world, &[("web", &on_far("web", 3))]);
    world.pass().await;
    world.converge().await;
    assert_eq!(far(&world, "web").len(), 3);
    world.lose_data();
    world.branch.fail(None);
    *switch.lock().unwrap() = mood;
    let db = group("db", 2, "a");
    push(&world, &[("web", &group("web", 3, "a")), ("db", &db)]);
    world.start();
    (world, switch)
}

/// The instances that were ever asked of `local` for `web`.
fn made(world: &World) -> usize {
    world.living("web").len()
}

#[tokio::test]
async fn a_provider_that_cannot_be_listed_holds_at_the_first_start_the_groups_that_name_it() {
    for (mood, code) in [
        (Mood::Refused, "ProviderFailed"),
        (Mood::Shut, "ProviderMissing"),
    ] {
        let web = group("web", 2, "a");
        let (mut world, switch) = two(mood, &[("web", &web), ("api", &on_far("api", 2))]);
        world.passes(6).await;
        assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
        assert_eq!(world.holds("web"), [""; 0]);
        assert_eq!(world.holds("api"), [code]);
        *switch.lock().unwrap() = Mood::Well;
        world.converge().await;
        assert_eq!(far(&world, "api").len(), 2);
    }
}

#[tokio::test]
async fn a_provider_that_is_there_again_and_cannot_be_listed_is_said_to_be_no_longer_missing() {
    let recorded = |world: &World| {
        let recorded = &world.status("api").recorded;
        let holds = recorded.holds.iter().map(|held| held.hold.code());
        holds.collect::<Vec<_>>()
    };
    let (mut world, switch) = two(Mood::Shut, &[("api", &on_far("api", 2))]);
    world.passes(6).await;
    assert_eq!(recorded(&world), ["ProviderMissing"]);
    *switch.lock().unwrap() = Mood::Refused;
    world.pass().await;
    world.pass().await;
    assert_eq!(recorded(&world), ["ProviderFailed"]);
}

#[tokio::test]
async fn a_group_whose_record_names_a_provider_waits_for_it_across_restarts_until_it_was_listed() {
    for (mood, call) in [
        (Mood::Refused, "Provider.List: the credentials were refused"),
        (Mood::Shut, "it cannot be opened"),
    ] {
        let (mut world, switch) = moved(mood).await;
        for _ in 0..3 {
            world.passes(5).await;
            assert_eq!(made(&world), 0, "{mood:?}: the instances may be in far");
            let why = unobserved(&world, "web");
            assert!(why[0].contains("provider far"), "{why:?}");
            assert!(why[0].contains(call), "{why:?}");
            assert_eq!(world.status("db").recorded.phase, GroupPhase::Converged);
            world.restart();
        }
        // They are there, so nothing is made, however often the agent starts.
        *switch.lock().unwrap() = Mood::Well;
        for _ in 0..3 {
            world.passes(5).await;
            assert_eq!(made(&world), 0);
            let why = unobserved(&world, "web");
            assert!(why[0].contains("are in provider far"), "{why:?}");
            world.restart();
        }
        // Another failure changes nothing about it.
        *switch.lock().unwrap() = mood;
        world.restart();
        world.passes(5).await;
        assert_eq!(made(&world), 0);
        *switch.lock().unwrap() = Mood::Well;
        vanish(&world);
        world.pass().await;
        world.converge().await;
        assert_eq!(made(&world), 3);
    }
}

/// Lets all of `web` that is in `far` be gone.
fn vanish(world: &World) {
    let now = world.clock.now();
    let far_world = world.factory.world(&ProviderName::parse("far").unwrap());
    let far_world = far_world.unwrap();
    for handle in far(world, "web") {
        far_world.lock().unwrap().vanish(&handle, now);
    }
}

#[tokio::test]
async fn a_group_goes_on_when_the_provider_that_it_left_turns_out_to_be_empty() {
    let (mut world, switch) = moved(Mood::Refused).await;
    world.passes(3).await;
    assert_eq!(made(&world), 0);
    vanish(&world);
    *switch.lock().unwrap() = Mood::Well;
    world.pass().await;
    world.converge().await;
    assert_eq!(made(&world), 3);
    // It is over: what fails later holds nobody, and the provider that nobody uses is left alone.
    *switch.lock().unwrap() = Mood::Refused;
    world.restart();
    world.passes(5).await;
    assert_eq!(world.holds("web"), [""; 0]);
}

#[tokio::test]
async fn a_document_that_went_bad_is_no_empty_provider() {
    let (mut world, _switch) = moved(Mood::Well).await;
    // Nor does the state branch have a good version of it.
    world.branch.set_file("fleet.yaml", None);
    let push = |world: &World, far: &str| {
        world.repository.commit(&[
            ("local.yaml", PROVIDER),
            ("far.yaml", far),
            ("groups/web.yaml", &group("web", 3, "a")),
            ("groups/db.yaml", &group("db", 2, "a")),
        ])
    };
    let broken = FAR.replace("type: moody", "typo: moody");
    // Also one of which nobody can say whose it is.
    for (far, reason) in [
        ("kind: [Provider\n", "its document may be unreadable"),
        (&*broken, "its document is not valid"),
    ] {
        push(&world, far);
        world.passes(4).await;
        assert_eq!(made(&world), 0);
        let why = unobserved(&world, "web");
        assert!(why[0].contains(reason), "{why:?}");
        assert_eq!(world.status("db").recorded.phase, GroupPhase::Converged);
    }
    // And where the source cannot be read after a restart.
    let revision = push(&world, &broken);
    let why = "it is not signed".to_owned();
    let unverified = SourceError::Unverified { revision, why };
    world.repository.fail(Some(unverified));
    world.restart();
    world.passes(4).await;
    assert_eq!(made(&world), 0);
}

#[tokio::test]
async fn what_the_agent_may_not_use_any_more_is_no_empty_provider() {
    let (mut world, _switch) = moved(Mood::Well).await;
    world.more_factories.clear();
    world.start();
    world.passes(4).await;
    assert_eq!(made(&world), 0);
    let why = unobserved(&world, "web");
    assert!(why[0].contains("no provider type moody"), "{why:?}");
}

#[tokio::test]
async fn removing_the_document_of_the_provider_is_a_way_out() {
    let (mut world, _switch) = moved(Mood::Shut).await;
    world.passes(3).await;
    assert_eq!(made(&world), 0);
    world.push(&[("web", &group("web", 3, "a"))]);
    world.pass().await;
    world.until("the instances", |world| made(world) == 3).await;
}

#[tokio::test]
async fn a_source_that_was_read_once_need_not_be_readable_after_a_restart() {
    let web = group("web", 2, "a");
    let (mut world, _switch) = two(Mood::Refused, &[("web", &web), ("api", &on_far("api", 2))]);
    let revision = world.pass().await.revision.clone().unwrap();
    let why = "it is not signed".to_owned();
    let unverified = SourceError::Unverified { revision, why };
    world.repository.fail(Some(unverified));
    world.restart();
    world.passes(6).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    // Before it was ever read, nobody knows where to look.
    world.restart_without_data();
    world.passes(3).await;
    assert!(unobserved(&world, "web")[0].contains("the source was not read yet"));
    world.restart();
    world.passes(3).await;
    assert!(unobserved(&world, "web")[0].contains("the source was not read yet"));
    world.repository.fail(None);
    world.passes(3).await;
    assert_eq!(unobserved(&world, "web"), [""; 0]);
}

#[tokio::test]
async fn a_quorum_group_without_a_record_starts_only_when_every_provider_was_listed() {
    let web = group("web", 2, "a");
    let (mut world, switch) = two(Mood::Refused, &[("web", &web), ("etcd", ETCD)]);
    world.passes(5).await;
    world.restart();
    world.passes(5).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    assert_eq!(world.living("etcd"), [""; 0]);
    let why = unobserved(&world, "etcd");
    assert!(why[0].contains("provider far"), "{why:?}");
    *switch.lock().unwrap() = Mood::Well;
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("etcd").len(), 3);
    // Once is enough, also after a restart.
    *switch.lock().unwrap() = Mood::Refused;
    world.restart();
    let second = ETCD.replace("name: etcd", "name: second");
    push(
        &world,
        &[("web", &web), ("etcd", ETCD), ("second", &second)],
    );
    world.passes(5).await;
    assert_eq!(world.living("second").len(), 3);
    // One that has a record, or members where its document says, does not wait.
    push(&world, &[("web", &web), ("etcd", ETCD)]);
    world.restart_without_data();
    world.passes(3).await;
    assert_eq!(world.holds("etcd"), [""; 0]);
    world.branch = drover_loop::memory::MemoryStateBranch::new();
    world.restart_without_data();
    world.passes(3).await;
    assert_eq!(unobserved(&world, "etcd"), [""; 0]);
    assert_eq!(world.living("etcd").len(), 3);
}

#[tokio::test]
async fn a_provider_of_a_type_that_is_not_for_this_agent_keeps_no_quorum_group_waiting() {
    let process = FAR.replace("type: moody, bootTime: 2s", "type: process");
    let mut world = World::new(&[
        ("local.yaml", PROVIDER),
        ("far.yaml", &process),
        ("etcd.yaml", ETCD),
    ]);
    world.converge().await;
    assert_eq!(world.living("etcd").len(), 3);
}

#[tokio::test]
async fn a_quorum_group_without_a_record_waits_for_members_wherever_they_are() {
    let far_etcd = ETCD.replace("provider: local", "provider: far");
    let (mut world, _switch) = two(Mood::Well, &[("etcd", &far_etcd)]);
    world.converge().await;
    world.branch = drover_loop::memory::MemoryStateBranch::new();
    push(&world, &[("etcd", ETCD)]);
    world.restart_without_data();
    for _ in 0..3 {
        world.passes(5).await;
        assert_eq!(world.living("etcd"), [""; 0]);
        let why = unobserved(&world, "etcd");
        assert!(why[0].contains("are in provider far"), "{why:?}");
        world.restart();
    }
}

#[tokio::test]
async fn orphans_are_told_while_a_provider_cannot_be_listed() {
    let both = [
        ("web", &*group("web", 2, "a")),
        ("db", &*group("db", 2, "a")),
    ]
    .map(|(name, text)| (name, text.to_owned()));
    let both = [(both[0].0, &*both[0].1), (both[1].0, &*both[1].1)];
    let (mut world, switch) = two(Mood::Well, &both);
    world.converge().await;
    world.branch = drover_loop::memory::MemoryStateBranch::new();
    push(&world, &both[..1]);
    *switch.lock().unwrap() = Mood::Refused;
    world.restart_without_data();
    for _ in 0..40 {
        world.clock.advance(Duration::from_mins(1));
        world.pass().await;
    }
    let status = world.agent.as_ref().unwrap().status();
    assert_eq!(status.orphans.len(), 2);
    assert_eq!(world.calls(Op::Destroy), 0);
}
