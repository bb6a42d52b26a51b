//! Who may act: restarts, lost data directories, second agents.

use std::sync::Arc;
use std::time::Duration;

use drover_apply::MemoryJournal;
use drover_loop::{LEASE_GRACE, Lease, Liveness, SourceError};
use drover_model::{AgentName, Epoch, GroupPhase};
use drover_provider_sim::Op;

use crate::audit::History;
use crate::harness::{World, group};

fn lease(world: &World) -> Lease {
    let path = Lease::path(&AgentName::parse("edge-1").unwrap());
    Lease::decode(&world.branch.file(&path).unwrap()).unwrap()
}

#[tokio::test]
async fn a_restart_with_its_data_makes_nothing_and_commits_nothing() {
    let mut world = World::web();
    world.converge().await;
    world.passes(2).await;
    let (commits, mutations) = (world.branch.log().len(), world.mutations());
    world.restart();
    world.passes(3).await;
    assert_eq!(world.branch.log().len(), commits);
    assert_eq!(world.mutations(), mutations);
    assert_eq!(lease(&world).epoch, 1);
}

#[tokio::test]
async fn a_lost_data_directory_is_restored_and_what_exists_is_adopted() {
    let mut world = World::web();
    world.converge().await;
    let (living, mutations) = (world.living("web"), world.mutations());
    let uid = world.status("web").recorded.uid.clone();
    world.restart_without_data();
    world.passes(5).await;
    assert_eq!(world.living("web"), living);
    assert_eq!(world.mutations(), mutations);
    let status = world.status("web");
    assert_eq!(status.recorded.phase, GroupPhase::Converged);
    assert_eq!(status.recorded.uid, uid);
    assert_eq!(status.recorded.epoch, Epoch(2));
    assert_eq!(lease(&world).epoch, 2);
    // Numbers go on where they were.
    world.push(&[("web", &group("web", 4, "a"))]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web")[3], "web-4");
}

#[tokio::test]
async fn with_data_and_state_branch_lost_tags_alone_prevent_duplicates() {
    let mut world = World::web();
    world.converge().await;
    let living = world.living("web");
    world.branch = drover_loop::memory::MemoryStateBranch::new();
    world.restart_without_data();
    world.passes(40).await;
    assert_eq!(world.living("web"), living);
    assert_eq!(world.calls(Op::Destroy), 0);
    assert_eq!(world.calls(Op::Provision), 1);
    // Another agent of the same fleet would see the same: a person says whose they are.
    assert_eq!(world.holds("web"), ["OwnerUnproven"]);
    world.accept_instances("web");
    world.passes(40).await;
    assert!(world.holds("web").is_empty());
    assert_eq!(world.living("web"), living);
    assert_eq!(world.calls(Op::Destroy), 0);
    assert_eq!(world.calls(Op::Provision), 1);
    world.push(&[("web", &group("web", 4, "a"))]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web")[3], "web-4");
}

#[tokio::test]
async fn without_data_and_without_the_state_branch_nothing_is_done() {
    let mut world = World::web();
    let down = drover_loop::RecorderError::Unreachable {
        message: "connection refused".to_owned(),
    };
    world.branch.fail(Some(down));
    world.passes(3).await;
    // Nobody else holds anything: it cannot be read.
    assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
    assert!(!world.knows("web"));
    // The same repository is told of once.
    world.repository.fail(Some(SourceError::Unreachable {
        message: "connection refused".to_owned(),
    }));
    world.passes(2).await;
    assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
    world.repository.fail(None);
    world.branch.fail(None);
    world.pass().await;
    world.converge().await;
}

#[tokio::test]
async fn a_second_agent_of_the_same_name_refuses_while_the_first_lives() {
    let mut world = World::web();
    world.converge().await;
    world.liveness = Liveness::Alive;
    let mut second = world.second(Arc::new(MemoryJournal::new()));
    let mutations = world.mutations();
    world.push(&[("web", &group("web", 5, "a"))]);
    for _ in 0..3 {
        second.pass().await;
        world.clock.advance(LEASE_GRACE);
    }
    let status = second.status();
    assert_eq!(status.holds[0].hold.code(), "EpochConflict");
    assert_eq!(status.epoch, Epoch(0));
    assert_eq!(world.mutations(), mutations);
    assert_eq!(lease(&world).epoch, 1);
    // The first is not disturbed.
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 5);
}

#[tokio::test]
async fn an_agent_that_was_taken_over_stops() {
    let mut world = World::web();
    world.converge().await;
    // Elsewhere, as far as anybody can tell: it asks, waits, then takes over, because the first one does not look.
    let mut second = world.second(Arc::new(MemoryJournal::new()));
    second.pass().await;
    assert_eq!(second.status().epoch, Epoch(0));
    assert!(lease(&world).contender.is_some());
    world.clock.advance(LEASE_GRACE / 2);
    second.pass().await;
    assert_eq!(second.status().epoch, Epoch(0));
    world
        .clock
        .advance(LEASE_GRACE / 2 + Duration::from_secs(1));
    second.pass().await;
    assert_eq!(second.status().epoch, Epoch(2));
    assert_eq!(lease(&world).contender, None);
    let mutations = world.mutations();
    world.push(&[("web", &group("web", 5, "a"))]);
    world.passes(3).await;
    assert_eq!(world.agent_holds(), ["EpochConflict"]);
    assert_eq!(world.mutations(), mutations);
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(1));
        second.pass().await;
    }
    assert_eq!(world.living("web").len(), 5);
    assert_eq!(world.sim(|sim| sim.stats().duplicates), 0);
}

#[tokio::test]
async fn a_quiet_agent_that_is_asked_answers_and_keeps_its_lease() {
    let mut world = World::web();
    world.converge().await;
    // It has nothing to commit for hours.
    world.clock.advance(Duration::from_hours(5));
    world.passes(2).await;
    let mut second = world.second(Arc::new(MemoryJournal::new()));
    second.pass().await;
    assert!(lease(&world).contender.is_some());
    world.passes(2).await;
    assert_eq!(lease(&world).contender, None);
    assert!(world.agent_holds().is_empty());
    for _ in 0..20 {
        world.clock.advance(LEASE_GRACE);
        second.pass().await;
        world.pass().await;
    }
    assert_eq!(second.status().epoch, Epoch(0));
    assert!(second.status().holds[0].hold.to_string().contains("lives"));
    assert!(world.agent_holds().is_empty());
    assert_eq!(lease(&world).epoch, 1);
    // It works on while it is asked.
    world.push(&[("web", &group("web", 4, "a"))]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 4);
    // When it is gone, the other one asks again, and is not answered.
    for _ in 0..40 {
        world.clock.advance(LEASE_GRACE);
        second.pass().await;
    }
    assert_eq!(second.status().epoch, Epoch(2));
    // Questions and answers stand in the log, which still holds.
    assert_eq!(History::of(&world).problems(), []);
}

#[tokio::test]
async fn a_higher_epoch_in_git_than_in_the_data_directory_is_refused() {
    let mut world = World::web();
    world.converge().await;
    let newer = Lease {
        epoch: 7,
        ..lease(&world)
    };
    world
        .branch
        .set_file("agents/edge-1.json", Some(newer.encode()));
    world.push(&[("web", &group("web", 5, "a"))]);
    world.restart();
    world.passes(3).await;
    assert_eq!(world.agent_holds(), ["EpochConflict"]);
    assert_eq!(world.living("web").len(), 3);
}

#[tokio::test]
async fn a_state_branch_of_an_agent_of_another_name_is_refused() {
    let mut world = World::web();
    world.converge().await;
    let commits = world.branch.log().len();
    world.settings.name = AgentName::parse("edge-2").unwrap();
    let mut second = world.second(Arc::new(MemoryJournal::new()));
    for _ in 0..3 {
        let report = second.pass().await;
        // It comes back in its turn, not at once: nothing would be different then.
        let soon = report.wake_at.is_some_and(|at| at <= report.at);
        assert!(!soon, "{:?}", report.wake_at);
        world.clock.advance(LEASE_GRACE);
    }
    let status = second.status();
    assert_eq!(status.holds[0].hold.code(), "EpochConflict");
    assert!(status.holds[0].hold.to_string().contains("edge-1"));
    assert_eq!(world.branch.log().len(), commits);
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_refused() {
    let mut world = World::web();
    world
        .branch
        .set_file("agents/edge-1.json", Some(b"{\"format\": 2}".to_vec()));
    world.passes(3).await;
    assert_eq!(world.agent_holds(), ["EpochConflict"]);
}

#[tokio::test]
async fn a_state_branch_that_was_lost_is_published_again() {
    let mut world = World::web();
    world.converge().await;
    world.branch.set_file("agents/edge-1.json", None);
    world.passes(2).await;
    assert_eq!(lease(&world).epoch, 1);
    assert!(world.agent_holds().is_empty());
}

#[tokio::test]
async fn a_data_directory_of_another_agent_is_refused() {
    let mut world = World::web();
    world.converge().await;
    world.settings.name = AgentName::parse("edge-2").unwrap();
    let journal: Arc<MemoryJournal> = Arc::new(world.journal.crashed());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.second(journal)));
    assert!(caught.is_err());
}

#[tokio::test]
async fn a_lease_that_cannot_be_written_down_is_no_lease_yet() {
    let mut world = World::web();
    world.start();
    world.journal.fail_from(0, drover_apply::FailWrites::Before);
    world.liveness = Liveness::Alive;
    world.passes(3).await;
    assert!(world.agent_holds().contains(&"EpochConflict"));
    assert!(!world.knows("web"));
    world.journal.recover();
    world.pass().await;
    world.converge().await;
    assert_eq!(lease(&world).epoch, 1);
    // It is written down: a restart finds it.
    world.restart();
    world.passes(2).await;
    assert!(world.agent_holds().is_empty());
}

#[tokio::test]
async fn the_deadline_of_a_rollout_stands_still_while_no_agent_runs() {
    let mut world = World::web();
    world.converge().await;
    // No room for a new instance: nothing but the deadline could end the rollout.
    world.sim(|mut sim| sim.settings.capacity = Some(3));
    world.push(&[("web", &group("web", 3, "b"))]);
    world.passes(2).await;
    assert!(world.status("web").recorded.rollout.is_some());
    world.clock.advance(Duration::from_hours(3));
    world.sim(|mut sim| sim.settings.capacity = None);
    world.restart();
    world.pass().await;
    assert_ne!(world.status("web").recorded.phase, GroupPhase::Paused);
    world.converge().await;
}
