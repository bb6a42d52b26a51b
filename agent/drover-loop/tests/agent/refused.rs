//! Launches that the provider refuses for its credentials, where it still lists and ends.

use std::time::Duration;

use drover_model::{ErrorClass, GroupName};
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::harness::{World, group_with};

/// A group of three that is updated by taking one out first.
fn text(name: &str, image: &str) -> String {
    group_with(name, 3, image, "").replace(
        "rollout: {minReady: 0s}",
        "rollout: {minReady: 0s, maxSurge: 0, maxUnavailable: 1}",
    )
}

fn push(world: &World, images: [&str; 3]) {
    let [db, api, web] = images;
    let groups = [
        ("api", text("api", api)),
        ("db", text("db", db)),
        ("web", text("web", web)),
    ];
    let groups: Vec<_> = groups.iter().map(|(name, text)| (*name, &**text)).collect();
    world.push(&groups);
}

/// Groups of three, whose first one meets `fault` when it is updated.
async fn met_by_the_first(fault: FaultKind) -> World {
    let mut world = World::new(&[]);
    push(&world, ["a"; 3]);
    world.converge().await;
    world.sim(|mut sim| sim.inject(Fault::always(Op::Provision, fault)));
    push(&world, ["b", "a", "a"]);
    world.passes(30).await;
    // It finds it out, and is one short for it.
    assert_eq!(world.living("db").len(), 2);
    world
}

async fn half_minutes(world: &mut World, count: u32, check: impl Fn(&World)) {
    for _ in 0..count {
        world.clock.advance(Duration::from_secs(30));
        world.pass().await;
        check(world);
    }
}

fn updated(world: &World, group: &str) -> u32 {
    world.status(group).report.numbers.updated
}

#[tokio::test]
async fn a_refused_launch_keeps_the_groups_of_its_provider_from_ending_what_serves() {
    let mut world = met_by_the_first(FaultKind::Error(ErrorClass::Auth)).await;
    push(&world, ["b"; 3]);
    // The others are told, and at first they wait.
    half_minutes(&mut world, 8, |world| {
        for group in ["api", "web"] {
            assert_eq!(world.living(group).len(), 3);
            assert_eq!(world.holds(group), ["LaunchesRefused"]);
        }
    })
    .await;
    let report = world.report("web");
    let said = report.holds.iter().map(|held| held.hold.to_string());
    let said: Vec<String> = said.collect();
    let told = "provider local refuses launches, so nothing that serves makes way for a successor until one works: group db: ";
    assert!(said.iter().any(|hold| hold.starts_with(told)), "{said:?}");
    // Then one of them finds out that it is refused as well, and no other one ends anything.
    half_minutes(&mut world, 80, |world| {
        assert!(world.living("api").len() >= 2);
        assert_eq!(world.living("web").len(), 3);
        assert_eq!(world.living("db").len(), 2, "nor does it end another one");
    })
    .await;
    assert_eq!(world.living("api").len(), 2);
    assert_eq!(world.holds("web"), ["LaunchesRefused"]);
    // One launch that works ends it.
    world.sim(|mut sim| sim.clear_faults());
    half_minutes(&mut world, 60, |_| {}).await;
    world.converge().await;
    for group in ["api", "db", "web"] {
        assert!(world.holds(group).is_empty());
        assert_eq!(updated(&world, group), 3);
    }
}

#[tokio::test]
async fn what_one_group_alone_is_refused_keeps_the_others_waiting_until_one_of_them_has_tried() {
    let db = GroupName::parse("db").unwrap();
    let mut world = met_by_the_first(FaultKind::RefusedTo(db, ErrorClass::Auth)).await;
    push(&world, ["b"; 3]);
    // One group tries first, and the other one follows when that has worked.
    let mut first = false;
    for _ in 0..900 {
        world.passes(1).await;
        first |= updated(&world, "api") > 0;
        assert!(
            first || world.living("web").len() == 3,
            "one finds it out for all"
        );
        if updated(&world, "web") == 3 && updated(&world, "api") == 3 {
            break;
        }
    }
    assert_eq!((updated(&world, "api"), updated(&world, "web")), (3, 3));
    // It is known from then on, however often the first one is refused.
    let asked = world.calls(Op::Provision);
    half_minutes(&mut world, 120, |world| {
        for group in ["api", "web"] {
            assert!(world.holds(group).is_empty(), "{:?}", world.holds(group));
        }
        let held = world.holds("db");
        assert!(held.contains(&"LaunchesRefused"), "{held:?}");
        assert_eq!(world.living("db").len(), 2);
    })
    .await;
    assert!(world.calls(Op::Provision) > asked, "it is tried again");
    push(&world, ["b", "b", "c"]);
    world
        .until("the next update", |world| {
            world.status("web").report.numbers.updated == 3
        })
        .await;
    // The first one is let in, too.
    world.sim(|mut sim| sim.clear_faults());
    half_minutes(&mut world, 60, |_| {}).await;
    world.converge().await;
    assert_eq!(updated(&world, "db"), 3);
}

#[tokio::test]
async fn a_launch_that_works_in_any_group_says_that_a_refusal_concerns_its_own_group_alone() {
    let db = GroupName::parse("db").unwrap();
    let mut world = met_by_the_first(FaultKind::RefusedTo(db, ErrorClass::Auth)).await;
    push(&world, ["b", "a", "b"]);
    world.passes(30).await;
    assert_eq!(world.holds("web"), ["LaunchesRefused"]);
    // What grows needs nobody's place.
    let api = text("api", "a").replace("size: 3", "size: 4");
    let (db, web) = (text("db", "b"), text("web", "b"));
    world.push(&[("api", &api), ("db", &db), ("web", &web)]);
    world.passes(90).await;
    assert_eq!(world.living("api").len(), 4);
    assert_eq!(updated(&world, "web"), 3);
    assert!(world.holds("web").is_empty());
    assert_eq!(world.living("db").len(), 2);
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
