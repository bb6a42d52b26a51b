//! A provider that takes everything back that a group has: what it announced is made anew, and what vanishes without a word
//! waits for a person, also where the agent was restarted in between.

use std::time::Duration;

use drover_model::{ErrorClass, GroupName, ProviderRef, Timestamp};
use drover_provider::Clock as _;
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::harness::{World, group, group_with};
use crate::peers::reproduced;

const SIZE: u32 = 6;

/// A group that takes longer to drain than there is time, so that nobody but the provider ends its instances.
fn busy(name: &str) -> String {
    let spec = group_with(name, SIZE, "a", "");
    spec.replace(
        "drain: {delay: 1s, timeout: 10s}",
        "drain: {delay: 10m, timeout: 20m}",
    )
}

fn handles(world: &World, group: &str) -> Vec<ProviderRef> {
    let now = world.clock.now();
    let group = GroupName::parse(group).unwrap();
    world.sim(|sim| {
        let all = sim.of_group(&group, now).into_iter();
        all.map(|(_, one)| one.provider_ref.clone()).collect()
    })
}

/// Announces that every instance of the group is taken, and returns when.
fn announce(world: &World, group: &str) -> Timestamp {
    let taken_at = world.clock.now().checked_add(Duration::from_mins(2));
    let taken_at = taken_at.unwrap();
    for handle in handles(world, group) {
        world.sim(|mut sim| sim.interrupt(&handle, taken_at));
    }
    taken_at
}

/// Takes every instance of the group without a trace, as of now.
fn take(world: &World, group: &str) {
    let now = world.clock.now();
    for handle in handles(world, group) {
        world.sim(|mut sim| sim.vanish(&handle, now));
    }
}

/// Lets nothing be made: whoever takes everything back has no room.
fn no_room(world: &World) {
    let kind = FaultKind::Error(ErrorClass::Capacity);
    world.sim(|mut sim| sim.inject(Fault::always(Op::Provision, kind)));
}

/// The world in which `web` has been told that it loses everything, and waits for room.
async fn told(restarts: bool) -> (World, Timestamp) {
    let mut world = World::with_groups(&[("web", &busy("web"))]);
    world.converge().await;
    no_room(&world);
    let taken_at = announce(&world, "web");
    world.passes(2).await;
    if restarts {
        // The simulated provider is opened anew, and has room again.
        world.restart();
    }
    (world, taken_at)
}

#[tokio::test]
async fn a_group_that_is_taken_back_as_a_whole_with_notices_is_made_anew() {
    for restarts in [false, true] {
        let (mut world, taken_at) = told(restarts).await;
        let before = handles(&world, "web");
        assert_eq!(before.len(), SIZE as usize);
        world.clock.set(taken_at);
        take(&world, "web");
        // Nor is anybody else held for what was announced.
        world.push(&[("web", &busy("web")), ("db", &group("db", 1, "a"))]);
        world.passes(1).await;
        assert!(!world.holds("db").contains(&"ObservationEmptied"));
        world.passes(99).await;
        if !restarts {
            assert_eq!(world.living("web").len(), 0, "there is no room yet");
        }
        assert!(!world.holds("web").contains(&"ObservationEmptied"));
        reproduced(&world, "web");
        world.sim(|mut sim| sim.clear_faults());
        // The longest wait after refused launches, nearly.
        world.clock.advance(Duration::from_mins(14));
        world.pass().await;
        world.converge().await;
        assert_eq!(world.living("web").len(), SIZE as usize);
        assert_eq!(world.calls(Op::Destroy), 0, "nothing is ended for it");
    }
}

#[tokio::test]
async fn a_group_that_is_told_and_lost_while_no_agent_runs_is_held() {
    let mut world = World::with_groups(&[("web", &busy("web"))]);
    world.converge().await;
    announce(&world, "web");
    take(&world, "web");
    world.restart();
    world.passes(200).await;
    assert_eq!(world.holds("web"), ["ObservationEmptied"]);
    // Nor is a notice known that a lost data directory had.
    let (mut world, taken_at) = told(false).await;
    world.lose_data();
    world.clock.set(taken_at);
    take(&world, "web");
    world.start();
    world.passes(200).await;
    assert_eq!(world.holds("web"), ["ObservationEmptied"]);
    assert_eq!(world.living("web").len(), 0);
}

#[tokio::test]
async fn a_notice_is_no_word_about_other_groups_of_the_provider() {
    let db = group("db", SIZE, "a");
    let mut world = World::with_groups(&[("web", &busy("web")), ("db", &db)]);
    world.converge().await;
    no_room(&world);
    let taken_at = announce(&world, "web");
    world.passes(2).await;
    world.clock.set(taken_at);
    for group in ["web", "db"] {
        take(&world, group);
    }
    world.passes(100).await;
    world.sim(|mut sim| sim.clear_faults());
    world.passes(100).await;
    // What `web` made would be listed where those of `db` are not.
    for group in ["web", "db"] {
        assert_eq!(world.holds(group), ["ObservationEmptied"], "{group}");
        assert_eq!(world.living(group).len(), 0);
        reproduced(&world, group);
    }
    assert_eq!(world.calls(Op::Destroy), 0);
}

/// A provider that announces everything and then lists nothing, though it has everything: others are made beside them
/// within the group's limits, and nothing is ended until the first are listed again.
#[tokio::test]
async fn a_provider_that_announces_what_it_does_not_do_has_nothing_ended() {
    let spec = busy("web").replace(
        "  rollout: {minReady: 0s}\n",
        "  rollout: {minReady: 0s}\n  limits: {maxCreatePerHour: 9}\n",
    );
    let mut world = World::with_groups(&[("web", &spec)]);
    world.converge().await;
    no_room(&world);
    let taken_at = announce(&world, "web");
    world.passes(2).await;
    world.sim(|mut sim| {
        sim.clear_faults();
        sim.inject(Fault::always(Op::List, FaultKind::EMPTY_LIST));
    });
    let before = handles(&world, "web");
    world
        .clock
        .set(taken_at.checked_sub(Duration::from_secs(90)).unwrap());
    world.passes(80).await;
    let after = handles(&world, "web");
    assert!(before.iter().all(|one| after.contains(one)), "{after:?}");
    assert_eq!(
        after.len(),
        9,
        "six at first, and as many more as the hour allows"
    );
    assert_eq!(world.calls(Op::Destroy), 0);
}
