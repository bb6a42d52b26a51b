//! Instances that carry the fleet's tags and that nobody knows: told, and never touched.

use std::time::Duration;

use drover_loop::memory::MemoryStateBranch;
use drover_model::GroupPhase;
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::harness::{PROVIDER, World, group};

/// The agent of `web` and `db` lost everything that it knew, and `db` is in no document any more.
async fn db_forgotten() -> World {
    let mut world =
        World::with_groups(&[("web", &group("web", 2, "a")), ("db", &group("db", 2, "a"))]);
    world.converge().await;
    world.branch = MemoryStateBranch::new();
    world.push(&[("web", &group("web", 2, "a"))]);
    world.restart_without_data();
    world.accept_instances("web");
    world.passes(3).await;
    world
}

/// The orphans that people are told of.
fn orphans(world: &World) -> Vec<String> {
    let status = world.agent.as_ref().unwrap().status();
    let orphans = status.orphans.iter();
    orphans.map(|orphan| orphan.instance.to_string()).collect()
}

/// Makes a pass every minute.
async fn minutes(world: &mut World, count: u32) {
    for _ in 0..count {
        world.clock.advance(Duration::from_mins(1));
        world.pass().await;
    }
}

#[tokio::test]
async fn an_instance_of_a_group_that_nobody_knows_is_told_after_two_looks_and_half_an_hour() {
    let mut world = db_forgotten().await;
    let (web, db, mutations) = (world.living("web"), world.living("db"), world.mutations());
    assert_eq!(db.len(), 2);
    // It is old enough only then.
    minutes(&mut world, 25).await;
    assert_eq!(orphans(&world), [""; 0]);
    minutes(&mut world, 10).await;
    assert_eq!(orphans(&world), db);
    let status = world.agent.as_ref().unwrap().status();
    assert_eq!(status.orphans[0].provider, "local");
    assert_eq!(status.orphans[0].group.as_str(), "db");
    // After a restart it takes two looks again, however old it is.
    world.restart();
    minutes(&mut world, 9).await;
    assert_eq!(orphans(&world), [""; 0]);
    minutes(&mut world, 3).await;
    assert_eq!(orphans(&world), db);
    assert_eq!((world.living("web"), world.living("db")), (web, db));
    assert_eq!(world.mutations(), mutations, "nothing is touched");
}

#[tokio::test]
async fn a_document_claims_its_orphans_and_they_are_adopted() {
    let mut world = db_forgotten().await;
    minutes(&mut world, 40).await;
    let db = world.living("db");
    assert_eq!(orphans(&world), db);
    let mutations = world.mutations();
    world.push(&[("web", &group("web", 2, "a")), ("db", &group("db", 2, "a"))]);
    world.pass().await;
    assert_eq!(orphans(&world), [""; 0]);
    assert_eq!(world.holds("db"), ["OwnerUnproven"]);
    world.accept_instances("db");
    world.converge().await;
    assert_eq!(world.status("db").recorded.phase, GroupPhase::Converged);
    assert_eq!(world.living("db"), db);
    assert_eq!(world.mutations(), mutations, "nothing was made anew");
}

#[tokio::test]
async fn a_group_whose_document_is_broken_is_no_unknown_group() {
    const BROKEN: &str =
        "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: db}\nspec: {size: many}\n";
    let mut world = db_forgotten().await;
    world.push(&[("web", &group("web", 2, "a")), ("db", BROKEN)]);
    minutes(&mut world, 40).await;
    assert_eq!(world.holds("db"), ["SpecInvalid"]);
    assert_eq!(orphans(&world), [""; 0]);
    assert_eq!(world.living("db").len(), 2);
}

#[tokio::test]
async fn while_a_document_cannot_be_read_at_all_nothing_new_is_called_an_orphan() {
    let mut world = db_forgotten().await;
    let web = group("web", 2, "a");
    world.repository.commit(&[
        ("providers/local.yaml", PROVIDER),
        ("groups/web.yaml", web.as_str()),
        ("groups/what.yaml", "kind: [Group\n"),
    ]);
    minutes(&mut world, 40).await;
    assert_eq!(orphans(&world), [""; 0]);
    world.push(&[("web", &web)]);
    minutes(&mut world, 12).await;
    assert_eq!(orphans(&world).len(), 2);
    // And what was one stays one meanwhile.
    world.repository.commit(&[
        ("providers/local.yaml", PROVIDER),
        ("groups/web.yaml", web.as_str()),
        ("groups/what.yaml", "kind: [Group\n"),
    ]);
    minutes(&mut world, 2).await;
    assert_eq!(orphans(&world).len(), 2);
}

#[tokio::test]
async fn a_provider_that_no_group_uses_is_looked_at_now_and_then() {
    let mut world = db_forgotten().await;
    world.push(&[("web", &group("web", 2, "a"))]);
    // The last group goes, in a commit of its own.
    world.push(&[]);
    world
        .until("the removal", |world| !world.knows("web"))
        .await;
    let before = world.calls(Op::List);
    minutes(&mut world, 60).await;
    assert_eq!(orphans(&world).len(), 2);
    let looks = world.calls(Op::List) - before;
    assert!((3..=10).contains(&looks), "{looks} looks in an hour");
}

#[tokio::test]
async fn a_listing_that_leaves_it_out_ends_an_orphan_only_if_it_is_complete() {
    let mut world = db_forgotten().await;
    minutes(&mut world, 40).await;
    assert_eq!(orphans(&world).len(), 2);
    let now = drover_provider::Clock::now(&*world.clock);
    let partly = FaultKind::Truncated {
        keep: 0,
        declared: true,
    };
    let until = now + Duration::from_mins(5);
    world.sim(|mut sim| sim.inject(Fault::between(Op::List, now, until, partly)));
    minutes(&mut world, 3).await;
    assert_eq!(orphans(&world).len(), 2);
    world.sim(|mut sim| {
        sim.clear_faults();
        let db = drover_model::GroupName::parse("db").unwrap();
        let refs: Vec<_> = sim
            .of_group(&db, now)
            .iter()
            .map(|(_, instance)| instance.provider_ref.clone())
            .collect();
        sim.vanish(&refs[0], now);
    });
    minutes(&mut world, 3).await;
    assert_eq!(orphans(&world).len(), 1);
    assert_eq!(world.calls(Op::Destroy), 0);
}
