//! Taking over what somebody else made, from a commit to the provider.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    Digests, Epoch, ErrorClass, FleetName, GroupName, InstanceId, ProviderRef, Survey, Token,
};
use drover_provider::{
    AdoptRequest, Clock as _, Forwarding, Manifest, OptionalMethod, Provider, ProviderError,
    Refusing,
};
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::harness::{World, group, group_with};
use crate::wrapped::Wrapped;

pub(crate) const ADOPT: &str = "  adopt: {selector: {matchTags: {owner: infra}}}\n";
const WATCH: &str = "  adopt: {selector: {matchTags: {owner: infra}}}\n  manage: observe\n";

fn web(size: u32, more: &str) -> String {
    group_with("web", size, "a", more)
}

/// Puts instances there that somebody else made.
pub(crate) fn strangers(world: &World, count: usize) -> Vec<ProviderRef> {
    let now = world.clock.now();
    let tags = BTreeMap::from([("owner".to_owned(), "infra".to_owned())]);
    world.sim(|mut sim| {
        (0..count)
            .map(|_| sim.add_stranger(now, tags.clone(), None))
            .collect()
    })
}

/// A group of `size` that watches as many strangers as `there`.
pub(crate) async fn watching(size: u32, there: usize) -> World {
    let mut world = World::with_groups(&[("web", &web(size, WATCH))]);
    // The provider's world begins with its first opening.
    world.pass().await;
    strangers(&world, there);
    world.passes(3).await;
    world
}

pub(crate) fn created(world: &World) -> (u64, u64, u64) {
    world.sim(|sim| {
        let stats = sim.stats();
        (stats.adopted, stats.created, stats.destroyed)
    })
}

#[tokio::test]
async fn watching_tells_everything_and_a_promotion_adopts_and_makes_nothing() {
    let mut world = watching(3, 3).await;
    assert_eq!(world.status("web").recorded.strangers.len(), 3);
    assert_eq!(world.holds("web"), ["ObserveOnly"]);
    assert_eq!((world.mutations(), world.calls(Op::Adopt)), (0, 0));
    // One survey and one listing a pass.
    let (before, lists) = (world.calls(Op::Survey), world.calls(Op::List));
    world.passes(5).await;
    assert_eq!(
        (world.calls(Op::Survey), world.calls(Op::List)),
        (before + 5, lists + 5)
    );

    world.push(&[("web", &web(3, ADOPT))]);
    world.converge().await;
    assert_eq!(world.living("web"), ["web-1", "web-2", "web-3"]);
    assert_eq!(created(&world), (3, 0, 0));
    assert!(
        world
            .subjects()
            .iter()
            .any(|subject| subject.starts_with("web: "))
    );
    // At rest although the document still adopts: no commit, no call but the two.
    let subjects = world.subjects();
    world.passes(20).await;
    assert_eq!(world.subjects(), subjects);
    // And one like any other from now on.
    world.push(&[("web", &group_with("web", 3, "b", ADOPT))]);
    world.converge().await;
    assert_eq!(created(&world), (3, 3, 3));
}

#[tokio::test]
async fn what_is_missing_is_made_after_everything_was_adopted_and_not_before() {
    let mut world = watching(4, 3).await;
    let lost = Fault::next(Op::Adopt, 2, FaultKind::LostRequest);
    world.sim(|mut sim| sim.inject(lost));
    world.push(&[("web", &web(4, ADOPT))]);
    world
        .until("the first adoption", |world| created(world).0 > 0)
        .await;
    assert_eq!(created(&world).1, 0);
    world.converge().await;
    assert_eq!(created(&world), (3, 1, 0));
}

#[tokio::test]
async fn two_groups_that_ask_for_one_instance_take_none() {
    let both = |web: &str, db: &str| [web.to_owned(), db.to_owned()];
    let [first, second] = both(&web(1, ADOPT), &group_with("db", 1, "a", ADOPT));
    let mut world = World::with_groups(&[
        ("web", &web(1, WATCH)),
        ("db", &group_with("db", 1, "a", WATCH)),
    ]);
    world.pass().await;
    strangers(&world, 1);
    world.passes(2).await;
    world.push(&[("web", &first), ("db", &second)]);
    world.passes(5).await;
    assert_eq!(
        (world.holds("web"), world.holds("db")),
        (vec!["AdoptionContested"], vec!["AdoptionContested"])
    );
    assert_eq!(created(&world), (0, 0, 0));
    // One that gives way lets the other one have it.
    world.push(&[("web", &first), ("db", &group("db", 1, "a"))]);
    world.converge().await;
    assert_eq!(world.living("web").len(), 1);
    assert_eq!(created(&world), (1, 1, 0));
}

/// Another fleet adopts what nobody has.
fn taken_by_theirs(world: &World, handle: &ProviderRef) {
    let theirs = AdoptRequest {
        fleet: FleetName::parse("theirs").unwrap(),
        group: GroupName::parse("db").unwrap(),
        epoch: Epoch(1),
        provider_ref: handle.clone(),
        instance: InstanceId::parse("db-1").unwrap(),
        token: Token::parse(&"a".repeat(32)).unwrap(),
        digests: Digests::of_unknown_template(),
        seat: None,
    };
    let now = world.clock.now();
    world.sim(|mut sim| sim.adopt(now, &theirs).result.unwrap());
}

#[tokio::test]
async fn who_comes_late_is_told_who_has_everything_and_makes_nothing_beside_it() {
    let mut world = watching(2, 0).await;
    let there = strangers(&world, 2);
    for handle in &there {
        taken_by_theirs(&world, handle);
    }
    world.push(&[("web", &web(2, ADOPT))]);
    for _ in 0..3 {
        world.clock.advance(Duration::from_mins(2));
        world.passes(3).await;
        assert_eq!(world.holds("web"), ["OwnerStillActs"]);
    }
    let said = world.report("web").holds[0].hold.to_string();
    assert!(said.contains("the group db of the fleet theirs"), "{said}");
    assert_eq!(created(&world), (2, 0, 0));
}

#[tokio::test]
async fn who_comes_late_is_told_which_group_of_its_own_fleet_has_everything() {
    let mut world = watching(2, 2).await;
    world.push(&[("web", &web(2, ADOPT))]);
    world.converge().await;
    let late = group_with("late", 2, "a", ADOPT);
    // At first the one that has them adopts still.
    for web in [web(2, ADOPT), group("web", 2, "a")] {
        world.push(&[("web", &web), ("late", &late)]);
        world.passes(3).await;
        assert_eq!(world.holds("late"), ["OwnerStillActs"]);
    }
    let said = world.report("late").holds[0].hold.to_string();
    assert!(said.contains("the group web, which has taken it"), "{said}");
    assert_eq!(created(&world), (2, 0, 0));
    // Handed back, they are there to be adopted.
    world.push(&[
        (
            "web",
            &group_with("web", 2, "a", "  deletion: {policy: Orphan}\n"),
        ),
        ("late", &late),
    ]);
    world.passes(3).await;
    world.push(&[("late", &late)]);
    world.converge().await;
    assert_eq!(world.living("late").len(), 2);
    assert_eq!(created(&world), (4, 0, 0));
}

#[tokio::test]
async fn what_another_fleet_takes_meanwhile_is_not_made_anew() {
    let mut world = watching(3, 3).await;
    let handle = world
        .status("web")
        .recorded
        .strangers
        .keys()
        .next()
        .cloned();
    taken_by_theirs(&world, &handle.unwrap());
    world.push(&[("web", &web(3, ADOPT))]);
    // Longer than what is missing is waited for.
    for _ in 0..3 {
        world.clock.advance(Duration::from_mins(2));
        world.passes(3).await;
        assert_eq!(world.holds("web"), ["OwnerStillActs"]);
    }
    assert_eq!(created(&world), (1, 0, 0));
    let said = world.report("web").holds[0].hold.to_string();
    assert!(
        said.contains("the group db of the fleet theirs, which has taken it"),
        "{said}"
    );
}

#[tokio::test]
async fn an_adoption_without_an_answer_is_repeated_less_and_less_often() {
    let mut world = watching(1, 1).await;
    world.sim(|mut sim| sim.inject(Fault::always(Op::Adopt, FaultKind::LostRequest)));
    world.push(&[("web", &web(1, ADOPT))]);
    world.passes(100).await;
    let calls = world.calls(Op::Adopt);
    assert_eq!(calls, 8, "after 1 s, 2 s, and so on up to 30 s");
    assert_eq!(world.holds("web"), ["AdoptionRefused"]);
    world.sim(|mut sim| sim.clear_faults());
    world.converge().await;
    assert_eq!(created(&world), (1, 0, 0));
    // It ran before, and so is none that could fail to launch.
    let instance = world
        .status("web")
        .recorded
        .instances
        .values()
        .next()
        .cloned();
    assert_eq!(instance.unwrap().class, "Available");
}

#[tokio::test]
async fn a_survey_that_fails_or_is_partial_or_never_answers_is_not_nothing() {
    let mut world = watching(3, 2).await;
    world.push(&[("web", &web(3, ADOPT))]);
    let failing = FaultKind::Error(ErrorClass::Auth);
    world.sim(|mut sim| sim.inject(Fault::always(Op::Survey, failing)));
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["ProviderFailed"]);
    let partial = FaultKind::Truncated {
        keep: 0,
        declared: true,
    };
    world.sim(|mut sim| {
        sim.clear_faults();
        sim.inject(Fault::always(Op::Survey, partial));
    });
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["ObservationPartial"]);
    assert_eq!(created(&world), (0, 0, 0));
    world.sim(|mut sim| sim.clear_faults());
    world.converge().await;
    assert_eq!(created(&world), (2, 1, 0));
}

#[tokio::test]
async fn an_owner_who_acts_holds_the_group_and_its_letting_go_is_seen() {
    let mut world = World::with_groups(&[("web", &web(2, ADOPT))]);
    let fault = Fault::always(Op::Survey, FaultKind::Error(ErrorClass::Unknown));
    world.start();
    // Nothing is made before the first survey was answered.
    world.push(&[("web", &web(2, WATCH))]);
    world.pass().await;
    let there = strangers(&world, 2);
    world.sim(|mut sim| sim.claim(&there[0], Some("the group workers")));
    world.push(&[("web", &web(2, ADOPT))]);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["OwnerStillActs"]);
    assert_eq!(created(&world), (0, 0, 0));
    world.sim(|mut sim| {
        sim.inject(fault);
        sim.clear_faults();
        sim.claim(&there[0], None);
    });
    world.converge().await;
    assert_eq!(created(&world), (2, 0, 0));
}

#[tokio::test]
async fn a_kill_in_the_middle_and_a_lost_data_folder_adopt_nothing_twice() {
    let mut world = watching(3, 3).await;
    world.push(&[("web", &web(3, ADOPT))]);
    let lost = Fault::next(Op::Adopt, 3, FaultKind::LostReply);
    world.sim(|mut sim| sim.inject(lost));
    world.pass().await;
    world.restart();
    world.converge().await;
    assert_eq!(world.living("web"), ["web-1", "web-2", "web-3"]);
    world.restart_without_data();
    world.converge().await;
    assert_eq!(world.living("web"), ["web-1", "web-2", "web-3"]);
    assert_eq!(created(&world), (3, 0, 0));
}

/// A simulated provider that finds nothing of others.
#[derive(Debug)]
struct Unable {
    manifest: Manifest,
    inner: Arc<dyn Provider>,
}

#[async_trait]
impl Forwarding for Unable {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn offers(&self) -> BTreeSet<OptionalMethod> {
        BTreeSet::new()
    }
    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        Refusing(self.manifest.clone()).survey(tags).await
    }
}

#[tokio::test]
async fn a_provider_that_knows_no_strangers_holds_the_group() {
    let mut world = World::with_groups(&[("web", &web(1, ADOPT))]);
    let unable = |inner, manifest| Unable { manifest, inner };
    world.more_factories = vec![Wrapped::new("unable", &world.factory, unable)];
    let group = web(1, ADOPT).replace("provider: local", "provider: unable");
    let provider = "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: unable}\nspec: {type: unable}\n";
    world.repository.commit(&[
        ("providers/unable.yaml", provider),
        ("groups/web.yaml", &group),
    ]);
    world.pass().await;
    assert_eq!(world.holds("web"), ["ProviderFailed"]);
    assert!(
        world.report("web").holds[0]
            .hold
            .to_string()
            .contains("nothing to adopt")
    );
}
