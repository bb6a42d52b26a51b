//! A source that cannot be read for long: what goes on, as the agent's file says.

use std::time::Duration;

use drover_loop::{OutageRule, SourceError};
use drover_model::{Epoch, ExitReport, OrderVerb, OutageMode, ProviderRef};
use drover_provider::Clock as _;

use crate::harness::{PROVIDER, World, group};

const AFTER: Duration = Duration::from_mins(2);

/// Three instances with a check, of which the repository asks two more than there are, in another image, and
/// then cannot be read any more.
async fn cut_off(mode: OutageMode) -> World {
    let mut world = World::web();
    let after = AFTER;
    world.settings.outage = Some(OutageRule { mode, after });
    world.converge().await;
    world.repository.fail(Some(SourceError::Unreachable {
        message: "connection refused".to_owned(),
    }));
    world
}

fn instances(world: &World) -> Vec<ProviderRef> {
    let now = world.clock.now();
    world.sim(|sim| {
        sim.instances(now)
            .map(|one| one.provider_ref.clone())
            .collect()
    })
}

fn vanish(world: &World) {
    let (now, all) = (world.clock.now(), instances(world));
    world.sim(|mut sim| sim.vanish(&all[0], now));
}

/// Has the newest instance end by itself.
fn sicken(world: &World) {
    let (now, all) = (world.clock.now(), instances(world));
    world.sim(|mut sim| sim.crash(all.last().unwrap(), now, ExitReport::default()));
}

async fn wait(world: &mut World, by: Duration) {
    world.passes(by.as_secs() as usize).await;
}

#[tokio::test]
async fn within_the_time_everything_goes_on() {
    let mut world = cut_off(OutageMode::Freeze).await;
    vanish(&world);
    sicken(&world);
    wait(&mut world, Duration::from_secs(110)).await;
    assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
    assert_eq!(world.living("web"), ["web-2", "web-4", "web-5"]);
}

#[tokio::test]
async fn heal_only_replaces_what_is_bad_or_missing() {
    let mut world = cut_off(OutageMode::HealOnly).await;
    wait(&mut world, AFTER).await;
    assert_eq!(world.agent_holds(), ["SourceOutage", "SourceUnavailable"]);
    vanish(&world);
    sicken(&world);
    wait(&mut world, AFTER).await;
    assert_eq!(world.living("web"), ["web-2", "web-4", "web-5"]);
}

#[tokio::test]
async fn hold_capacity_makes_what_is_missing_and_ends_nothing_that_runs() {
    let mut world = cut_off(OutageMode::HoldCapacity).await;
    wait(&mut world, AFTER).await;
    vanish(&world);
    sicken(&world);
    wait(&mut world, AFTER).await;
    assert_eq!(world.living("web"), ["web-2", "web-4", "web-5"]);
    assert!(world.holds("web").contains(&"SourceOutage"));
}

#[tokio::test]
async fn freeze_does_nothing_until_the_source_is_read_again_whatever_happens_between() {
    let mut world = cut_off(OutageMode::Freeze).await;
    wait(&mut world, AFTER).await;
    let mutations = world.mutations();
    vanish(&world);
    sicken(&world);
    wait(&mut world, AFTER).await;
    // An agent that starts anew knows how long it has been.
    world.restart();
    wait(&mut world, Duration::from_secs(30)).await;
    assert_eq!(world.mutations(), mutations);
    assert_eq!(world.holds("web"), ["SourceOutage"]);
    let log = world.branch.log();
    let told = &log.last().unwrap().message;
    assert!(told.contains("the source was last read at"), "{told}");
    world.repository.fail(None);
    world.converge().await;
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(world.holds("web"), Vec::<&str>::new());
}

#[tokio::test]
async fn a_rollout_that_was_begun_waits_where_it_is() {
    let mut world = cut_off(OutageMode::HealOnly).await;
    world.repository.fail(None);
    let slow = group("web", 3, "b").replace("minReady: 0s", "minReady: 100s");
    world.push(&[("web", &slow)]);
    world.passes(5).await;
    world.repository.fail(Some(SourceError::Unreachable {
        message: "connection refused".to_owned(),
    }));
    wait(&mut world, AFTER).await;
    let before = world.living("web");
    assert!(before.contains(&"web-3".to_owned()), "{before:?}");
    wait(&mut world, 3 * AFTER).await;
    assert_eq!(world.living("web"), before);
    world.repository.fail(None);
    world.converge().await;
    assert_eq!(world.living("web"), ["web-4", "web-5", "web-6"]);
}

#[tokio::test]
async fn a_source_that_is_not_trusted_is_as_good_as_out_of_reach() {
    let mut world = cut_off(OutageMode::Freeze).await;
    world.repository.fail(None);
    let revision = world.pass().await.revision.clone().unwrap();
    let why = "it is not signed".to_owned();
    let unverified = SourceError::Unverified { revision, why };
    world.repository.fail(Some(unverified));
    wait(&mut world, AFTER).await;
    let mutations = world.mutations();
    vanish(&world);
    wait(&mut world, AFTER).await;
    assert_eq!(world.agent_holds(), ["SourceOutage", "SourceUnavailable"]);
    assert_eq!(world.mutations(), mutations);
    world.repository.fail(None);
    world.converge().await;
    // A history that nobody has accepted is no better.
    let other = group("web", 5, "a");
    world
        .repository
        .rewrite(&[("p.yaml", PROVIDER), ("web.yaml", &other)]);
    wait(&mut world, AFTER).await;
    assert_eq!(world.agent_holds(), ["SourceOutage", "SourceUnavailable"]);
    assert_eq!(world.living("web").len(), 3);
}

/// A commit that cannot be read, in a repository that answers.
fn unreadable() -> SourceError {
    SourceError::Unreadable {
        message: "a commit of 13631686 bytes, more than 12582912".to_owned(),
    }
}

#[tokio::test]
async fn a_commit_that_cannot_be_read_keeps_nobody_from_being_heard() {
    let mut world = cut_off(OutageMode::HealOnly).await;
    world.repository.fail(Some(unreadable()));
    let operations = world.operations.clone();
    operations.order(&world, OrderVerb::Replace, "web-2");
    world
        .until("another one to serve", |world| {
            world.living("web") == ["web-1", "web-3", "web-4"]
        })
        .await;
    assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
    let status = world.agent.as_ref().unwrap().status();
    assert_eq!(status.write_back.failure, None);
    // It is an outage all the same.
    wait(&mut world, AFTER).await;
    assert_eq!(world.agent_holds(), ["SourceOutage", "SourceUnavailable"]);
}

#[tokio::test]
async fn a_commit_that_cannot_be_read_keeps_no_empty_agent_from_its_state() {
    let mut world = cut_off(OutageMode::HealOnly).await;
    let living = world.living("web");
    world.repository.fail(Some(unreadable()));
    world.restart_without_data();
    world.passes(5).await;
    assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
    assert!(world.knows("web"));
    let status = world.agent.as_ref().unwrap().status();
    assert_eq!(status.epoch, Epoch(2));
    assert_eq!(world.living("web"), living);
}
