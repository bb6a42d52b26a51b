//! A provider that lists instances of a group that does not use it: told where it is used, and nobody is held for it.

use std::sync::{Arc, Mutex};

use drover_model::{FleetName, GroupPhase, Listed, ProviderName};
use drover_provider::Clock as _;

use crate::first_start::{Mood, lie, on_far, push, two};
use crate::harness::{PROVIDER, World, group};

fn told(world: &World, group: &str) -> Vec<String> {
    let report = world.report(group);
    let strays = report.holds.iter();
    let strays = strays.filter(|held| held.hold.code() == "StrayInstances");
    strays.map(|held| held.hold.to_string()).collect()
}

/// `web` uses `local`, `api` uses `far`, which lists instances of `web`.
fn lying() -> (World, Arc<Mutex<Mood>>) {
    let web = group("web", 2, "a");
    two(Mood::Lying(3), &[("web", &web), ("api", &on_far("api", 2))])
}

#[tokio::test]
async fn what_a_provider_says_of_a_group_that_does_not_use_it_holds_nobody_and_is_told_where_it_is_used()
 {
    let (mut world, mood) = lying();
    world.converge().await;
    assert_eq!(world.living("web").len(), 2);
    assert_eq!(world.holds("web"), [""; 0]);
    let sentence = "provider far lists 3 instances of group web, which does not use it";
    assert_eq!(told(&world, "api"), [sentence]);
    // With nothing of its own, too, and after a restart.
    push(
        &world,
        &[("web", &group("web", 0, "a")), ("api", &on_far("api", 2))],
    );
    world.pass().await;
    world.converge().await;
    world.restart();
    world.passes(2).await;
    assert_eq!(world.living("web"), [""; 0]);
    let more = on_far("api", 3);
    push(&world, &[("web", &group("web", 2, "a")), ("api", &more)]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 2);
    assert_eq!(told(&world, "api"), [sentence]);
    // It is recorded once, whatever it counts to.
    let commits = world.branch.log().len();
    for lies in [5, 2, 9] {
        *mood.lock().unwrap() = Mood::Lying(lies);
        world.passes(20).await;
    }
    assert_eq!(world.branch.log().len(), commits);
    let recorded = &world.status("api").recorded;
    assert_eq!(recorded.holds[0].hold.to_string(), sentence);
    // What it does not say any more is told no more; what it cannot be asked for is.
    *mood.lock().unwrap() = Mood::Refused;
    world.passes(2).await;
    assert_eq!(told(&world, "api").len(), 1);
    *mood.lock().unwrap() = Mood::Well;
    world.passes(2).await;
    assert_eq!(told(&world, "api"), [""; 0]);
    assert_eq!(world.status("api").recorded.phase, GroupPhase::Converged);
    assert_eq!(world.living("web").len(), 2);
}

#[tokio::test]
async fn a_group_that_left_a_provider_by_its_document_waits_for_what_is_left_there() {
    let (mut world, mood) = two(
        Mood::Well,
        &[("web", &on_far("web", 0)), ("api", &on_far("api", 1))],
    );
    world.converge().await;
    *mood.lock().unwrap() = Mood::Lying(1);
    push(
        &world,
        &[("web", &group("web", 2, "a")), ("api", &on_far("api", 1))],
    );
    for _ in 0..3 {
        world.passes(5).await;
        assert_eq!(world.holds("web"), ["ObservationPartial"]);
        assert_eq!(told(&world, "api"), [""; 0]);
        world.restart();
    }
    *mood.lock().unwrap() = Mood::Well;
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 2);
}

#[tokio::test]
async fn two_documents_for_one_account_list_the_same_and_nothing_is_told() {
    let second = PROVIDER.replace("name: local", "name: second");
    let api = group("api", 1, "a").replace("provider: local", "provider: second");
    let files = [
        ("local.yaml", PROVIDER),
        ("second.yaml", &*second),
        ("web.yaml", &group("web", 1, "a")),
        ("api.yaml", &api),
    ];
    let mut world = World::new(&files);
    world.converge().await;
    // What the one has, the other one has, too.
    let fleet = FleetName::parse("test").unwrap();
    let second = world
        .factory
        .world(&ProviderName::parse("second").unwrap())
        .unwrap();
    let now = world.clock.now();
    let one = world.sim(|sim| {
        let mut all = sim.instances(now);
        all.next().unwrap().provider_ref.clone()
    });
    second.lock().unwrap().add_existing(Listed {
        provider_ref: one,
        ..lie(&fleet, 1)
    });
    world.passes(2).await;
    assert_eq!(told(&world, "api"), [""; 0]);
    second.lock().unwrap().add_existing(lie(&fleet, 2));
    world.passes(2).await;
    let sentence = "provider second lists 1 instance of group web, which does not use it";
    assert_eq!(told(&world, "api"), [sentence]);
}
