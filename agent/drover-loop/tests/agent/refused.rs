//! Launches that the provider refuses for its credentials, where it still lists and ends.

use std::time::Duration;

use drover_model::ErrorClass;
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::harness::{World, group_with};

/// A group of three that is updated by taking one out first.
fn text(name: &str, image: &str) -> String {
    group_with(name, 3, image, "").replace(
        "rollout: {minReady: 0s}",
        "rollout: {minReady: 0s, maxSurge: 0, maxUnavailable: 1}",
    )
}

fn push(world: &World, images: [&str; 2]) {
    let [db, web] = images;
    world.push(&[("db", &text("db", db)), ("web", &text("web", web))]);
}

#[tokio::test]
async fn a_refused_launch_keeps_every_group_of_its_provider_from_ending_what_serves() {
    let mut world = World::new(&[]);
    push(&world, ["a", "a"]);
    world.converge().await;
    world.sim(|mut sim| {
        let refused = FaultKind::Error(ErrorClass::Auth);
        sim.inject(Fault::next(Op::Provision, 1000, refused));
    });
    // The first group finds it out, and is one short for it.
    push(&world, ["b", "a"]);
    world.passes(30).await;
    assert_eq!(world.living("db").len(), 2);
    // The second one is told.
    push(&world, ["b", "b"]);
    for _ in 0..40 {
        world.clock.advance(Duration::from_secs(30));
        world.pass().await;
        assert_eq!(world.living("web").len(), 3);
        assert_eq!(world.living("db").len(), 2, "nor does it end another one");
    }
    assert_eq!(world.holds("web"), ["LaunchesRefused"]);
    let report = world.report("web");
    let said = report.holds.iter().map(|held| held.hold.to_string());
    let said: Vec<String> = said.collect();
    assert!(
        said.iter()
            .any(|hold| hold.contains("provider local refuses launches")),
        "{said:?}"
    );
    // One launch that works ends it.
    world.sim(|mut sim| sim.clear_faults());
    for _ in 0..60 {
        world.clock.advance(Duration::from_secs(30));
        world.pass().await;
    }
    world.converge().await;
    assert!(world.holds("web").is_empty());
    assert_eq!(world.status("web").report.numbers.updated, 3);
}

#[tokio::test]
async fn a_refused_end_is_told_until_it_is_accepted_and_is_one_transition() {
    let mut world = World::web();
    world.converge().await;
    let commits = world.branch.log().len();
    world.sim(|mut sim| {
        let refused = FaultKind::Error(ErrorClass::Auth);
        sim.inject(Fault::next(Op::Destroy, 1000, refused));
    });
    world.push(&[("web", &crate::harness::group("web", 2, "a"))]);
    world.passes(40).await;
    assert_eq!(world.holds("web"), ["EndRefused"]);
    let status = world.status("web");
    let told = |world: &World| {
        let report = world.report("web");
        let mut holds = report.holds.iter();
        let held = holds.find(|held| held.hold.code() == "EndRefused").unwrap();
        held.instance.clone().unwrap().to_string()
    };
    let first = told(&world);
    assert!(world.living("web").contains(&first), "{first}");
    let stalled = &status.recorded.conditions[&drover_model::ConditionType::Stalled];
    assert_eq!(
        (stalled.status, stalled.reason.as_str()),
        (Some(true), "EndRefused")
    );
    // Asked again every five minutes, and it is one hold all the time.
    let asked = world.calls(Op::Destroy);
    let published = world.branch.log().len();
    for _ in 0..120 {
        world.clock.advance(Duration::from_secs(10));
        world.pass().await;
        assert_eq!(world.holds("web"), ["EndRefused"]);
        assert_eq!(told(&world), first);
    }
    let more = world.calls(Op::Destroy) - asked;
    assert!((3..=5).contains(&more), "{more}");
    assert_eq!(world.branch.log().len(), published);
    assert!(published > commits);
    world.sim(|mut sim| sim.clear_faults());
    world.clock.advance(Duration::from_mins(5));
    world.converge().await;
    assert_eq!(world.living("web").len(), 2);
    assert!(world.holds("web").is_empty());
}
