//! The driver: who asks gets an answer, passes never overlap, and the end is clean.

use std::sync::Arc;
use std::time::Duration;

use drover_loop::{AgentHandle, Driver, drive};
use drover_provider_sim::Op;
use tokio::sync::oneshot;

use crate::harness::{World, group};

struct Running {
    handle: AgentHandle,
    end: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn run(driver: Driver, handle: AgentHandle) -> Running {
    let (end, ended) = oneshot::channel();
    let task = tokio::spawn(driver.run(async {
        let _ = ended.await;
    }));
    Running { handle, end, task }
}

fn start(world: &mut World) -> Running {
    world.start();
    let (handle, driver) = drive(world.agent.take().unwrap(), 7);
    run(driver, handle)
}

impl Running {
    async fn stop(self) {
        self.end.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_wish_is_answered_by_a_pass_that_began_after_it() {
    let mut world = World::web();
    let running = start(&mut world);
    let first = running.handle.reconcile().await.unwrap();
    world.push(&[("web", &group("web", 4, "a"))]);
    let second = running.handle.reconcile().await.unwrap();
    assert!(second.pass > first.pass);
    assert_ne!(second.revision, first.revision);
    running.stop().await;
}

#[tokio::test]
async fn many_wishes_share_few_passes() {
    let mut world = World::web();
    let running = start(&mut world);
    let first = running.handle.reconcile().await.unwrap().pass;
    let wishes = (0..200).map(|_| {
        let handle = running.handle.clone();
        tokio::spawn(async move { handle.reconcile().await.unwrap().pass })
    });
    let mut last = first;
    for wish in wishes.collect::<Vec<_>>() {
        last = last.max(wish.await.unwrap());
    }
    assert!(last - first <= 4, "{} passes", last - first);
    running.stop().await;
}

#[tokio::test]
async fn timers_drive_a_group_to_convergence_without_anybody_asking() {
    let mut world = World::web();
    world.settings.interval = Duration::from_millis(10);
    let running = start(&mut world);
    let mut status = running.handle.watch();
    let converged = async {
        loop {
            status.changed().await.unwrap();
            let groups = status.borrow_and_update().groups.clone();
            let done = |phase| phase == drover_model::GroupPhase::Converged;
            if groups.values().any(|group| done(group.recorded.phase)) {
                return;
            }
            world.clock.advance(Duration::from_secs(1));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), converged)
        .await
        .unwrap();
    running.stop().await;
}

#[tokio::test]
async fn an_ended_agent_says_so() {
    let mut world = World::web();
    let running = start(&mut world);
    let handle = running.handle.clone();
    running.stop().await;
    assert!(handle.reconcile().await.is_err());
}

#[tokio::test]
async fn a_freeze_holds_at_once_survives_a_restart_and_can_be_lifted() {
    let mut world = World::web();
    world.converge().await;
    world.agent = None;
    let running = start(&mut world);
    running.handle.freeze("ada", Vec::new());
    world.push(&[("web", &group("web", 5, "a"))]);
    running.handle.reconcile().await.unwrap();
    running.stop().await;
    assert_eq!(world.calls(Op::Provision), 1);

    world.journal = Arc::new(world.journal.crashed());
    let running = start(&mut world);
    let report = running.handle.reconcile().await.unwrap();
    let holds = &report.groups.values().next().unwrap().holds;
    assert!(
        holds.iter().any(|held| held.hold.code() == "Frozen"),
        "{holds:?}"
    );
    assert_eq!(world.calls(Op::Provision), 1);
    running.handle.unfreeze(&[]);
    running.handle.reconcile().await.unwrap();
    assert_eq!(world.calls(Op::Provision), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_rewritten_history_can_be_accepted_and_removes_nothing() {
    let mut world = World::web();
    world.converge().await;
    world.agent = None;
    let running = start(&mut world);
    running.handle.reconcile().await.unwrap();
    let other = group("api", 1, "a");
    let tip = world
        .repository
        .rewrite(&[("p.yaml", crate::harness::PROVIDER), ("api.yaml", &other)]);
    let report = running.handle.reconcile().await.unwrap();
    assert_eq!(report.holds[0].hold.code(), "SourceUnavailable");
    running.handle.accept_rewrite(tip.clone(), "Ada");
    let report = running.handle.reconcile().await.unwrap();
    assert_eq!(report.revision, Some(tip));
    running.stop().await;
    assert_eq!(world.calls(Op::Destroy), 0);
    assert_eq!(world.living("web").len(), 3);
    let told = |world: &World| {
        let log = world.branch.log().into_iter();
        let told = log.filter(|commit| commit.message.contains("Drover-Accepted-Rewrite: "));
        told.map(|commit| commit.message).collect::<Vec<_>>()
    };
    let messages = told(&world);
    assert_eq!(messages.len(), 1, "{messages:?}");
    let who = "accepted by Ada, in place of ";
    assert!(messages[0].contains(who), "{}", messages[0]);
    // It is told once, also by an agent that starts again.
    world.restart();
    world.passes(3).await;
    assert_eq!(told(&world).len(), 1);
}

#[tokio::test]
async fn an_accepted_rewrite_is_told_also_when_the_branch_could_not_be_written_at_first() {
    let mut world = World::web();
    world.converge().await;
    let files = [
        ("providers/local.yaml", crate::harness::PROVIDER),
        ("groups/web.yaml", &group("web", 3, "a")),
    ];
    let tip = world.repository.rewrite(&files);
    let agent = world.agent.as_ref().unwrap();
    agent.accept_rewrite(tip.clone(), "Ada");
    world.branch.fill(true);
    world.passes(2).await;
    // Something else comes into force meanwhile, without another document of the fleet.
    let db = group("db", 1, "a");
    world
        .repository
        .commit(&[files[0], files[1], ("db.yaml", &db)]);
    world.passes(2).await;
    world.restart();
    world.branch.fill(false);
    world.passes(10).await;
    let told = |world: &World| {
        let log = world.branch.log();
        let trailer = format!("Drover-Accepted-Rewrite: {tip}\n");
        let told = log.iter().filter(|it| it.message.contains(&trailer));
        told.count()
    };
    assert_eq!(told(&world), 1);
    // And not again with the next documents.
    let provider = format!("# The simulator.\n{}", crate::harness::PROVIDER);
    world
        .repository
        .commit(&[("providers/local.yaml", &provider), files[1]]);
    world.passes(5).await;
    assert_eq!(told(&world), 1);
}
