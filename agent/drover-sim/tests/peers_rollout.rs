//! Bugs of other systems' rollouts, each as the situation that it showed in, with its reference. And
//! what a rollout promises at every size: that a bad template stops, and how long a good one takes.

mod driver;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use driver::{Life, converged, live, seconds, serving};
use drover_model::{
    Amount, Canary, CheckOutcome, Checkpoint, ExitReport, GroupPhase, HealRevision, Hold,
    OnFailure, PauseCause, Promote, RolloutMode, RolloutState, Value,
};
use drover_provider_sim::{Behavior, SimSettings, Which};
use drover_sim::{Simulation, template};

fn booting() -> SimSettings {
    SimSettings {
        boot: seconds(20),
        stop: seconds(5),
        ..SimSettings::default()
    }
}

fn version(number: i64) -> Which {
    Which::Property("version".to_owned(), Value::from(number))
}

fn behave(sim: &Simulation, which: Which, behavior: Behavior) {
    let now = sim.now();
    sim.world().behave(now, which, behavior);
}

fn unhealthy() -> Behavior {
    Behavior::Health {
        after: Duration::ZERO,
        outcome: CheckOutcome::Failing {
            why: "status 500".to_owned(),
        },
    }
}

/// Counts the recorded instances of the template of this version.
fn of_version(sim: &Simulation, number: i64) -> usize {
    let digests = sim.recorded.templates.iter();
    let digests = digests
        .filter(|(_, known)| **known == template(number))
        .map(|(digests, _)| digests)
        .next();
    let instances = sim.recorded.instances.values();
    instances
        .filter(|instance| Some(&instance.digests) == digests)
        .count()
}

/// Makes passes for `time`, and asserts after each that so many serve.
async fn run_serving(life: &Life, sim: &mut Simulation, time: Duration, floor: usize) {
    let end = sim.now().checked_add(time).expect("a time");
    while sim.now() < end {
        let pass = life.pass(sim).await;
        let serving = serving(sim);
        assert!(serving >= floor, "{serving} serve at {}", pass.at);
        sim.sleep(&pass, end);
    }
}

fn held(sim: &Simulation, wanted: fn(&Hold) -> bool) -> bool {
    sim.recorded.holds.iter().any(|held| wanted(&held.hold))
}

fn quarantined(sim: &Simulation) -> bool {
    held(sim, |hold| matches!(hold, Hold::Quarantined(_)))
}

/// With all instances, old and new, unavailable, the whole fleet was rolled to the broken template.
/// kubernetes-sigs/cluster-api PR#13020, aws/karpenter-provider-aws#3979.
#[test]
fn a_broken_template_is_taken_back_at_the_price_of_one_instance() {
    for (surge, unavailable) in [(0, 1), (0, 3), (1, 0), (2, 3), (9, 9)] {
        live(async |life: &mut Life| {
            let mut sim = converged(life, 9, booting()).await;
            behave(&sim, version(2), unhealthy());
            sim.edit(|spec| {
                spec.rollout.surge_max = Amount::Count(surge);
                spec.rollout.unavailable_max = Amount::Count(unavailable);
                spec.rollout.on_failure = OnFailure::Rollback;
                spec.health.startup_timeout = seconds(60);
                spec.template = template(2);
            });
            let lost = usize::from(surge == 0);
            run_serving(life, &mut sim, Duration::from_hours(1), 9 - lost).await;
            assert!(quarantined(&sim));
            assert_eq!((serving(&sim), of_version(&sim, 2)), (9, 0));
        });
    }
}

/// A broken instance blocked its own replacement after the template was reverted.
/// kubernetes/kubernetes#67250, #60164, #137409.
#[test]
fn a_revert_recovers_although_an_instance_is_broken() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 3, booting()).await;
        behave(&sim, version(2), Behavior::NeverBoots);
        sim.edit(|spec| {
            spec.rollout.surge_max = Amount::Count(0);
            spec.rollout.unavailable_max = Amount::Count(1);
            spec.health.startup_timeout = Duration::from_hours(5);
            spec.template = template(2);
        });
        life.run(&mut sim, Duration::from_mins(5)).await;
        assert_eq!(serving(&sim), 2);
        sim.edit(|spec| spec.template = template(1));
        let taken = life.converge(&mut sim).await;
        assert!(taken < Duration::from_mins(5), "{taken:?}");
    });
}

/// Failures during the delay between two batches were missed, and nothing was rolled back.
/// moby/swarmkit#3003, moby/moby#37972.
#[test]
fn a_failure_while_the_rollout_waits_is_seen() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 4, booting()).await;
        let after = Duration::from_mins(4);
        let report = ExitReport::default();
        behave(&sim, version(2), Behavior::Exits { after, report });
        sim.edit(|spec| {
            spec.rollout.on_failure = OnFailure::Rollback;
            spec.rollout.monitor = Duration::from_mins(10);
            let (at, wait) = (Amount::Count(1), Duration::from_hours(1));
            spec.rollout.checkpoints = vec![Checkpoint { at, wait }];
            spec.template = template(2);
        });
        life.run(&mut sim, Duration::from_mins(3)).await;
        assert!(held(&sim, |hold| matches!(hold, Hold::Checkpoint { .. })));
        life.run(&mut sim, Duration::from_mins(10)).await;
        assert!(quarantined(&sim));
        assert_eq!((serving(&sim), of_version(&sim, 2)), (4, 0));
    });
}

/// A rollback replaced everything at once, whatever the parallelism.
/// moby/moby#34894.
#[test]
fn a_rollback_keeps_to_the_limits_of_the_rollout() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 20, booting()).await;
        sim.edit(|spec| {
            spec.rollout.surge_max = Amount::Count(1);
            spec.rollout.unavailable_max = Amount::Count(2);
            spec.rollout.on_failure = OnFailure::Rollback;
            spec.rollout.failure_threshold = Some(1);
            spec.template = template(2);
        });
        while of_version(&sim, 2) < 15 {
            let pass = life.pass(&mut sim).await;
            sim.sleep(&pass, drover_model::Timestamp::MAX);
        }
        let now = sim.now();
        let newest = sim.recorded.instances.iter().rev();
        let mut newest = newest.filter(|(_, instance)| instance.class == "Available");
        let (_, victim) = newest.next().expect("one serves");
        let victim = victim.provider_ref.clone().expect("it is known");
        sim.world().crash(&victim, now, ExitReport::default());
        run_serving(life, &mut sim, Duration::from_hours(1), 17).await;
        assert!(quarantined(&sim));
        assert_eq!((serving(&sim), of_version(&sim, 2)), (20, 0));
        assert!(sim.world().stats().peak <= 21);
    });
}

/// A rollback went through canaries again and left instances of the bad template behind.
/// hashicorp/nomad#10882, #5619.
#[test]
fn a_rollback_skips_canaries_and_leaves_nothing_behind() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 5, booting()).await;
        let after = Duration::from_mins(10);
        let report = ExitReport::default();
        behave(&sim, version(2), Behavior::Exits { after, report });
        sim.edit(|spec| {
            spec.rollout.on_failure = OnFailure::Rollback;
            spec.rollout.canary = Some(Canary {
                count: Amount::Count(3),
                hold: Duration::from_hours(1),
                promote: Promote::Auto,
            });
            spec.template = template(2);
        });
        life.run(&mut sim, Duration::from_mins(30)).await;
        assert!(quarantined(&sim));
        assert!(!held(&sim, |hold| matches!(hold, Hold::CanaryHold { .. })));
        assert_eq!((serving(&sim), of_version(&sim, 2)), (5, 0));
    });
}

/// A canary with a permanent error stalled the rollout for ever: the deadline came only with events.
/// hashicorp/nomad#10465.
#[test]
fn a_canary_that_nothing_happens_to_meets_the_deadline() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 3, booting()).await;
        behave(&sim, version(2), Behavior::NeverBoots);
        sim.edit(|spec| {
            spec.rollout.canary = Some(Canary {
                count: Amount::Count(1),
                hold: Duration::from_mins(10),
                promote: Promote::Manual,
            });
            spec.rollout.progress_deadline = Some(Duration::from_mins(20));
            spec.health.startup_timeout = Duration::from_hours(10);
            spec.template = template(2);
        });
        life.run(&mut sim, Duration::from_mins(21)).await;
        let state = sim.recorded.rollout.as_ref().map(|going| &going.state);
        assert_eq!(state, Some(&RolloutState::Paused(PauseCause::Deadline)));
        assert_eq!(serving(&sim), 3);
    });
}

/// Another size in the middle of a canary wedged the deployment.
/// hashicorp/nomad#20295.
#[test]
fn another_size_in_the_middle_of_a_canary_wedges_nothing() {
    let counts = [Amount::Count(1), Amount::Count(4), Amount::Percent(50)];
    for (count, size) in counts
        .into_iter()
        .flat_map(|count| [0, 1, 2, 5, 9].map(|size| (count, size)))
    {
        live(async |life: &mut Life| {
            let mut sim = converged(life, 4, booting()).await;
            sim.edit(|spec| {
                spec.rollout.canary = Some(Canary {
                    count,
                    hold: Duration::from_mins(10),
                    promote: Promote::Auto,
                });
                spec.template = template(2);
            });
            life.run(&mut sim, seconds(100)).await;
            sim.edit(|spec| spec.size = size);
            life.run(&mut sim, Duration::from_mins(3)).await;
            let there = serving(&sim);
            let size = size as usize;
            assert!((size..=size + 1).contains(&there), "{there} of {size}");
            let taken = life.converge(&mut sim).await;
            assert!(taken < Duration::from_mins(40), "{taken:?}");
            assert_eq!(serving(&sim), size);
        });
    }
}

/// A deployment that had failed blocked every later one.
/// hashicorp/nomad#28538.
#[test]
fn a_failed_rollout_stands_in_the_way_of_none() {
    for on_failure in [OnFailure::Pause, OnFailure::Rollback] {
        live(async |life: &mut Life| {
            let mut sim = converged(life, 3, booting()).await;
            let report = ExitReport::default();
            let after = seconds(1);
            behave(&sim, version(2), Behavior::Exits { after, report });
            sim.edit(|spec| {
                spec.rollout.on_failure = on_failure;
                spec.template = template(2);
            });
            life.run(&mut sim, Duration::from_hours(3)).await;
            assert_ne!(sim.recorded.phase, GroupPhase::Converged);
            sim.edit(|spec| spec.template = template(3));
            let taken = life.converge(&mut sim).await;
            assert!(taken < Duration::from_mins(5), "{taken:?}");
            assert_eq!(of_version(&sim, 3), 3);
            assert_eq!(sim.recorded.quarantine, None);
        });
    }
}

/// An opportunistic group was updated by what repairs it.
/// hashicorp/terraform-provider-google#13571.
#[test]
fn healing_updates_nothing_where_it_should_keep_the_template() {
    let modes = [
        (RolloutMode::Opportunistic, Some(HealRevision::Current)),
        (RolloutMode::Manual, None),
    ];
    for ((mode, revision), surge) in modes.into_iter().flat_map(|mode| [(mode, 0), (mode, 1)]) {
        live(async |life: &mut Life| {
            let mut sim = converged(life, 1, booting()).await;
            sim.edit(|spec| {
                spec.rollout.surge_max = Amount::Count(surge);
                spec.rollout.mode = mode;
                spec.heal.revision = revision;
                spec.template = template(2);
            });
            life.run(&mut sim, Duration::from_mins(2)).await;
            for _ in 0..3 {
                let now = sim.now();
                let all = sim.recorded.instances.values();
                let all: Vec<_> = all.filter_map(|one| one.provider_ref.clone()).collect();
                for instance in all {
                    sim.world().crash(&instance, now, ExitReport::default());
                }
                life.run(&mut sim, Duration::from_mins(5)).await;
                assert_eq!((serving(&sim), of_version(&sim, 1)), (1, 1), "{mode:?}");
            }
        });
    }
}

/// Lives through a template that never becomes healthy; nothing that may not be missing is.
async fn never_healthy(life: &Life, size: u32, on_failure: OnFailure, unavailable: Amount) {
    let settings = SimSettings {
        boot: seconds(20),
        ..SimSettings::default()
    };
    let mut sim = converged(life, size, settings).await;
    behave(&sim, version(2), unhealthy());
    sim.edit(|spec| {
        spec.rollout.on_failure = on_failure;
        spec.rollout.unavailable_max = unavailable;
        spec.health.startup_timeout = seconds(90);
        spec.template = template(2);
    });
    let floor = (size - unavailable.floor_of(size)) as usize;
    let end = sim.now().checked_add(Duration::from_mins(20));
    let end = end.expect("a time");
    let mut most = 0;
    while sim.now() < end {
        let pass = life.pass(&mut sim).await;
        most = most.max(of_version(&sim, 2));
        let there = serving(&sim);
        assert!(there >= floor, "{there} of {size} serve");
        sim.sleep(&pass, end);
    }
    assert!(most <= 1, "{most} of {size} had the bad template at once");
    match on_failure {
        OnFailure::Rollback => {
            assert!(quarantined(&sim), "{size}: {:?}", sim.recorded.phase);
            assert_eq!(serving(&sim), size as usize);
            assert_eq!(of_version(&sim, 2), 0);
        }
        OnFailure::Pause | OnFailure::Continue => {
            assert_eq!(sim.recorded.phase, GroupPhase::Paused, "{size}");
        }
    }
}

/// Every size up to 60 and a few above; every one up to 1,000 with `SIZE_MAX=1000`, which takes
/// minutes.
#[test]
fn a_template_that_never_becomes_healthy_stops_after_the_first_batch_at_every_size() {
    let asked = std::env::var("SIZE_MAX").ok();
    let most = asked.map_or(60, |text| text.parse().expect("SIZE_MAX is a number"));
    let above = [100, 333, 1000].into_iter().filter(|size| *size > most);
    let sizes: Vec<u32> = (1..=most).chain(above).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(size) = sizes.get(next.fetch_add(1, Ordering::Relaxed)) {
            live(async |life: &mut Life| {
                never_healthy(life, *size, OnFailure::Rollback, Amount::Count(0)).await;
            });
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    for size in [1, 3, 10, 100] {
        live(async |life: &mut Life| {
            never_healthy(life, size, OnFailure::Pause, Amount::Count(0)).await;
            never_healthy(life, size, OnFailure::Rollback, Amount::Percent(25)).await;
        });
    }
}

/// Begins to roll `size` instances, of 120 seconds to become available and 30 to drain.
async fn rolling(life: &Life, size: u32, surge: u32, unavailable: u32) -> Simulation {
    let settings = SimSettings {
        boot: seconds(90),
        ..SimSettings::default()
    };
    let mut sim = converged(life, size, settings).await;
    sim.edit(|spec| {
        spec.rollout.surge_max = Amount::Percent(surge);
        spec.rollout.unavailable_max = Amount::Percent(unavailable);
        spec.rollout.min_ready = seconds(30);
        spec.drain.delay = seconds(30);
        spec.template = template(2);
    });
    sim
}

/// The model: the first one alone, then waves as wide as the window, each of 150 seconds. That is 27.5,
/// 15 and 7.5 minutes for 1,000 instances; the table of other systems' times has 29, 16 and 8, as
/// its model looked every ten seconds and so saw each wave ten seconds late.
#[test]
fn a_roll_takes_as_long_as_its_window_makes_it() {
    for (size, surge, unavailable) in [(100, 10, 0), (100, 10, 10), (100, 25, 25), (1000, 25, 25)] {
        live(async |life: &mut Life| {
            let mut sim = rolling(life, size, surge, unavailable).await;
            let taken = life.converge(&mut sim).await;
            let window = size * (surge + unavailable) / 100;
            let waves = 1 + (size - 1).div_ceil(window);
            let model = seconds(150) * waves;
            let off = taken.abs_diff(model);
            assert!(off <= model / 20, "{size}: {taken:?} instead of {model:?}");
        });
    }
}

/// With a look every ten seconds and no other, as in the model that the table was made with, it takes the
/// table's 29 and 16 minutes, and 40 seconds less than its 8, as the drains of a wave overlap with the
/// boots of the one before. The windows of 100 instances are as many as those of 1,000.
#[test]
fn a_roll_with_a_look_every_ten_seconds_takes_as_long_as_the_table_says() {
    for (surge, unavailable, minutes) in [(10, 0, 29), (10, 10, 16), (25, 25, 8)] {
        live(async |life: &mut Life| {
            let mut sim = rolling(life, 100, surge, unavailable).await;
            let begun = sim.now();
            while life.pass(&mut sim).await.plan.next.phase != GroupPhase::Converged {
                sim.clock.advance(seconds(10));
            }
            let taken = Duration::try_from(sim.now().duration_since(begun)).expect("it took time");
            let table = Duration::from_mins(minutes);
            assert!(
                taken <= table + table / 20,
                "{taken:?} instead of {table:?}"
            );
            let shorter = if minutes == 8 { 10 } else { 20 };
            assert!(
                taken + table / shorter >= table,
                "{taken:?} instead of {table:?}"
            );
        });
    }
}
