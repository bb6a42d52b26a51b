//! Crashes and faults at every point: whatever happens, nothing is made twice and nothing foreign is
//! touched, and in the end every group is what its document says.

use std::sync::Arc;
use std::time::Duration;

use drover_apply::FailWrites;
use drover_loop::memory::MemorySource;
use drover_loop::{Source, SourceError, SourcePlace, SourceTree, Written};
use drover_model::{ErrorClass, GroupPhase, Revision};
use drover_provider_sim::{Fault, FaultKind, Foreign, Op};

use crate::harness::{World, group};

fn assert_safe(world: &World) {
    if !world.provider_is_open() {
        return;
    }
    world.sim(|sim| {
        let stats = sim.stats();
        assert_eq!(stats.duplicates, 0);
        assert_eq!(stats.foreign_touches, 0);
        assert_eq!(stats.stale_epochs, 0);
        let peak = stats.peak_by_group.values().max();
        assert!(peak.is_none_or(|peak| *peak <= 6), "{peak:?} at once");
    });
}

/// Scales, rolls and shrinks `web`; before each pass `meanwhile` may do its worst.
async fn live(world: &mut World, mut meanwhile: impl FnMut(&mut World, usize)) {
    let mut passes = 0;
    for (size, image) in [(3, "a"), (5, "a"), (5, "b"), (2, "b")] {
        world.push(&[("web", &group("web", size, image))]);
        for _ in 0..400 {
            meanwhile(world, passes);
            passes += 1;
            world.pass().await;
            assert_safe(world);
            world.clock.advance(Duration::from_secs(1));
            let at_rest = world.knows("web") && {
                let recorded = &world.status("web").recorded;
                let text = recorded.accepted.as_ref().map(|a| a.text.clone());
                recorded.phase == GroupPhase::Converged
                    && text == Some(group("web", size, image).into())
            };
            if at_rest {
                break;
            }
        }
        let status = world.agent.as_ref().unwrap().status();
        assert_eq!(
            world.living("web").len(),
            size as usize,
            "after {passes} passes: {:#?}",
            status.pass
        );
    }
}

#[tokio::test]
async fn a_life_without_faults_is_safe() {
    let mut world = World::new(&[]);
    live(&mut world, |_, _| {}).await;
}

#[tokio::test]
async fn a_crash_after_every_pass_makes_nothing_twice() {
    let mut world = World::new(&[]);
    live(&mut world, |world, _| {
        world.restart();
    })
    .await;
}

#[tokio::test]
async fn a_lost_data_directory_after_every_fourth_pass_makes_nothing_twice() {
    let mut world = World::new(&[]);
    live(&mut world, |world, pass| {
        if pass % 4 == 3 {
            world.restart_without_data();
        }
    })
    .await;
}

/// Lets the journal fail at its `nth` write, and the agent crash in the pass in which it does.
async fn journal_fault(nth: u64, how: FailWrites) {
    let mut world = World::new(&[]);
    world.start();
    world.journal.fail_from(nth, how);
    let mut failed = false;
    live(&mut world, |world, _| {
        if !failed && world.journal.writes() >= nth {
            failed = true;
            world.restart();
        }
    })
    .await;
}

#[tokio::test]
async fn a_journal_that_fails_at_any_write_makes_nothing_twice() {
    for nth in 1..40 {
        journal_fault(nth, FailWrites::Before).await;
        journal_fault(nth, FailWrites::After).await;
    }
}

#[tokio::test]
async fn lost_requests_and_replies_make_nothing_twice() {
    for kind in [
        FaultKind::LostReply,
        FaultKind::LostRequest,
        FaultKind::LateEffect(Duration::from_secs(3)),
        FaultKind::Error(ErrorClass::Capacity),
        FaultKind::Error(ErrorClass::Throttled),
    ] {
        for op in [Op::Provision, Op::Destroy] {
            let mut world = World::web();
            world.pass().await;
            world.sim(|mut sim| sim.inject(Fault::always(op, kind.clone()).with_percent(40)));
            live(&mut world, |_, _| {}).await;
        }
    }
}

#[tokio::test]
async fn partial_and_failing_listings_lose_nothing() {
    let mut world = World::web();
    world.converge().await;
    world.sim(|mut sim| {
        let truncated = FaultKind::Truncated {
            keep: 1,
            declared: true,
        };
        sim.inject(Fault::always(Op::List, truncated).with_percent(30));
        let down = FaultKind::Error(ErrorClass::Throttled);
        sim.inject(Fault::always(Op::List, down).with_percent(20));
    });
    live(&mut world, |_, _| {}).await;
}

#[tokio::test]
async fn instances_of_others_are_never_touched() {
    let mut world = World::web();
    world.pass().await;
    let now = drover_provider::Clock::now(&*world.clock);
    world.sim(|mut sim| {
        let fleet = drover_model::FleetName::parse("test").unwrap();
        for foreign in [Foreign::Untagged, Foreign::Incomplete(fleet)] {
            sim.add_foreign(now, foreign);
        }
        sim.inject(Fault::always(Op::List, FaultKind::Foreign).with_percent(50));
    });
    live(&mut world, |_, _| {}).await;
}

/// A source whose every answer takes its time.
#[derive(Debug)]
struct SlowSource(MemorySource);

impl Source for SlowSource {
    fn place(&self) -> SourcePlace {
        self.0.place()
    }
    fn poll(&mut self) -> Result<Revision, SourceError> {
        std::thread::sleep(Duration::from_millis(60));
        self.0.poll()
    }
    fn tree(&mut self, revision: &Revision) -> Result<SourceTree, SourceError> {
        self.0.tree(revision)
    }
    fn written_since(
        &mut self,
        revision: &Revision,
        in_force: &Revision,
    ) -> Result<Option<Vec<Written>>, SourceError> {
        self.0.written_since(revision, in_force)
    }
    fn read(&mut self, oid: &str) -> Result<Vec<u8>, SourceError> {
        self.0.read(oid)
    }
    fn descends(&mut self, of: &Revision, ancestor: &Revision) -> Result<bool, SourceError> {
        self.0.descends(of, ancestor)
    }
}

#[tokio::test]
async fn a_slow_source_does_not_hold_up_healing() {
    let mut world = World::web();
    world.converge().await;
    world.journal = Arc::new(world.journal.crashed());
    world.settings.limits.fetch_wait = Duration::from_millis(1);
    let source = SlowSource(world.repository.source(world.place.clone()));
    let recorder = world.branch.recorder();
    world.start_with(Box::new(source), Box::new(recorder));
    let now = drover_provider::Clock::now(&*world.clock);
    world.sim(|mut sim| {
        let victim = sim.instances(now).next().unwrap().provider_ref.clone();
        sim.crash(&victim, now, drover_model::ExitReport::default());
    });
    world.pass().await;
    assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
    world
        .until("healing", |world| {
            world.living("web").contains(&"web-4".to_owned())
        })
        .await;
}
