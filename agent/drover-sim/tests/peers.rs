//! Bugs that users of other systems hit, each as the situation that it showed in. The comment names
//! what went wrong there.

mod driver;

use std::time::Duration;

use driver::{Life, converged, live, seconds, serving};
use drover_apply::FailWrites;
use drover_model::{
    Amount, CheckOutcome, GroupPhase, Hold, Lifecycle, OnFailure, PauseCause, ProviderPhase,
    RolloutState, Timestamp, Value,
};
use drover_provider_sim::{Behavior, Fault, FaultKind, Op, SimSettings, Which};
use drover_sim::{Random, Simulation, group, template};

fn booting() -> SimSettings {
    SimSettings {
        boot: seconds(20),
        ..SimSettings::default()
    }
}

fn failing() -> CheckOutcome {
    CheckOutcome::Failing {
        why: "status 500".to_owned(),
    }
}

fn bad_version(sim: &Simulation, version: i64, behavior: Behavior) {
    let which = Which::Property("version".to_owned(), Value::from(version));
    let now = sim.now();
    sim.world().behave(now, which, behavior);
}

/// Passes until the group has converged; after each, at least `floor` truly serve.
async fn converge_serving(life: &Life, sim: &mut Simulation, floor: usize) {
    for _ in 0..5000 {
        let pass = life.pass(sim).await;
        let serve = serving(sim);
        assert!(serve >= floor, "{serve} serve at {}, {floor} must", pass.at);
        if pass.plan.next.phase == GroupPhase::Converged {
            return;
        }
        sim.sleep(&pass, Timestamp::MAX);
    }
    panic!("never converged: {:?}", sim.recorded.holds);
}

/// Terminating machines were not counted, so the total went above the surge.
#[test]
fn a_provider_that_ends_instances_slowly_never_gets_more_than_the_surge() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            stop: seconds(300),
            ..SimSettings::default()
        };
        let mut sim = converged(life, 6, settings).await;
        sim.edit(|spec| spec.template = template(2));
        converge_serving(life, &mut sim, 6).await;
        assert_eq!(sim.world().stats().peak, 7);
    });
}

/// A machine was made, the answer was lost before it was saved, and a second one was made.
#[test]
fn a_crash_between_the_call_and_the_note_of_its_answer_makes_no_second_instance() {
    for nth in 1..12 {
        for how in [FailWrites::Before, FailWrites::After] {
            live(async |life: &mut Life| {
                let mut sim = Simulation::new(group("web", 3, 1), SimSettings::default());
                sim.journal().fail_from(nth, how);
                life.run(&mut sim, seconds(5)).await;
                sim.restart(true);
                life.converge(&mut sim).await;
                let stats = sim.world().stats().clone();
                assert_eq!((stats.created, stats.duplicates), (3, 0), "{how:?} {nth}");
            });
        }
    }
}

/// With old and new instances unavailable, the whole fleet was rolled to the broken template.
#[test]
fn a_broken_template_never_takes_more_than_one_good_instance() {
    for (surge, unavailable) in [(0, 1), (0, 3), (1, 0), (2, 3), (9, 9)] {
        live(async |life: &mut Life| {
            let mut sim = Simulation::new(group("web", 9, 1), SimSettings::default());
            sim.edit(|spec| {
                spec.rollout.surge_max = Amount::Count(surge);
                spec.rollout.unavailable_max = Amount::Count(unavailable);
                spec.rollout.failure_threshold = Some(100);
                spec.rollout.on_failure = OnFailure::Continue;
                spec.health.startup_timeout = seconds(60);
            });
            life.converge(&mut sim).await;
            let behavior = Behavior::Health {
                after: Duration::ZERO,
                outcome: failing(),
            };
            bad_version(&sim, 2, behavior);
            sim.edit(|spec| spec.template = template(2));
            life.run(&mut sim, Duration::from_hours(2)).await;
            let good = serving(&sim);
            let lost = usize::from(surge == 0);
            assert!(
                good >= 9 - lost,
                "{good} of 9 serve with {surge}/{unavailable}"
            );
        });
    }
}

/// A broken instance blocked its own replacement after the mistake was taken back.
#[test]
fn taking_a_broken_template_back_is_enough() {
    live(async |life: &mut Life| {
        let mut sim = Simulation::new(group("web", 3, 2), booting());
        bad_version(&sim, 2, Behavior::NeverBoots);
        life.run(&mut sim, Duration::from_mins(5)).await;
        assert_eq!(serving(&sim), 0);
        sim.edit(|spec| spec.template = template(1));
        let taken = life.converge(&mut sim).await;
        assert!(taken < Duration::from_mins(15), "{taken:?}");
    });
}

/// A deadline that only events could check never came.
#[test]
fn a_rollout_in_which_nothing_happens_meets_its_deadline() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 3, booting()).await;
        bad_version(&sim, 2, Behavior::NeverBoots);
        sim.edit(|spec| {
            spec.template = template(2);
            spec.rollout.progress_deadline = Some(Duration::from_mins(20));
            spec.health.startup_timeout = Duration::from_hours(10);
        });
        life.run(&mut sim, Duration::from_mins(21)).await;
        let state = sim
            .recorded
            .rollout
            .as_ref()
            .map(|rollout| rollout.state.clone());
        assert_eq!(state, Some(RolloutState::Paused(PauseCause::Deadline)));
        assert_eq!(serving(&sim), 3);
    });
}

/// An image that could not start was launched again and again, without end.
#[test]
fn a_first_template_that_never_works_is_launched_rarely() {
    live(async |life: &mut Life| {
        let mut sim = Simulation::new(group("web", 3, 1), SimSettings::default());
        let report = drover_model::ExitReport::default();
        let after = seconds(1);
        bad_version(&sim, 1, Behavior::Exits { after, report });
        life.run(&mut sim, Duration::from_hours(6)).await;
        let created = sim.world().stats().created;
        assert!(created < 35, "{created} instances in six hours");
        let waits = |held: &drover_model::Held| matches!(held.hold, Hold::LaunchBackoff { .. });
        assert!(sim.recorded.holds.iter().any(waits));
    });
}

/// A wave of false alarms froze the repair, and then everything was repaired at once.
#[test]
fn a_wave_of_false_alarms_costs_few_instances() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 20, SimSettings::default()).await;
        let from = sim.now();
        let until = from.checked_add(Duration::from_mins(10)).unwrap();
        let wave = Behavior::HealthBetween {
            from,
            until,
            outcome: failing(),
        };
        sim.world().behave(from, Which::All, wave);
        life.run(&mut sim, Duration::from_mins(12)).await;
        life.converge(&mut sim).await;
        let destroyed = sim.world().stats().destroyed;
        assert!(destroyed <= 2, "{destroyed} of 20 were replaced");
    });
}

/// The old instance still answered after it was told to end, so the next one was taken too.
#[test]
fn an_instance_that_answers_while_it_ends_does_not_count() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            stop: seconds(120),
            phase_lag: seconds(100),
            ..SimSettings::default()
        };
        let mut sim = Simulation::new(group("web", 3, 1), settings);
        sim.edit(|spec| {
            spec.rollout.surge_max = Amount::Count(0);
            spec.rollout.unavailable_max = Amount::Count(1);
        });
        life.converge(&mut sim).await;
        sim.edit(|spec| spec.template = template(2));
        converge_serving(life, &mut sim, 2).await;
    });
}

/// An update stopped for good when the agent was restarted in the middle of it.
#[test]
fn an_agent_that_is_killed_at_any_step_goes_on_and_never_goes_below_the_floor() {
    for nth in 1..30 {
        live(async |life: &mut Life| {
            let mut sim = converged(life, 3, SimSettings::default()).await;
            sim.edit(|spec| spec.template = template(2));
            let from = sim.journal().writes() + nth;
            sim.journal().fail_from(from, FailWrites::After);
            for _ in 0..20 {
                let pass = life.pass(&mut sim).await;
                assert!(serving(&sim) >= 3);
                sim.sleep(&pass, Timestamp::MAX);
            }
            sim.restart(true);
            converge_serving(life, &mut sim, 3).await;
            assert_eq!(sim.world().stats().created, 6);
        });
    }
}

/// The minimum was a permission to begin, so the only instance was taken before its replacement.
#[test]
fn the_only_instance_is_replaced_before_it_goes() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 1, SimSettings::default()).await;
        sim.edit(|spec| spec.template = template(2));
        converge_serving(life, &mut sim, 1).await;
    });
}

/// Instances that booted slowly were repaired while they booted, for ever.
#[test]
fn slow_boots_are_waited_for() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            boot: Duration::from_mins(9),
            ..SimSettings::default()
        };
        let mut sim = Simulation::new(group("web", 3, 1), settings);
        life.converge(&mut sim).await;
        assert_eq!(sim.world().stats().created, 3);
    });
}

/// A controller that restarted while it removed a group scaled it up again.
#[test]
fn a_restart_in_the_middle_of_a_removal_makes_nothing() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            stop: seconds(30),
            ..SimSettings::default()
        };
        let mut sim = converged(life, 4, settings).await;
        sim.remove();
        for _ in 0..3 {
            life.run(&mut sim, seconds(3)).await;
            sim.restart(true);
        }
        let gone = sim
            .until(Duration::from_hours(1), |pass| {
                pass.plan.next.phase == GroupPhase::Deleted
            })
            .await
            .unwrap();
        assert!(gone.is_some());
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (4, 4));
    });
}

/// Batches that were made in part were counted as a whole, or not at all: 651 for 500.
#[test]
fn a_batch_that_is_made_in_part_is_filled_up_exactly() {
    live(async |life: &mut Life| {
        let mut sim = Simulation::new(group("web", 50, 1), SimSettings::default());
        for _ in 0..3 {
            let fewer = Fault::next(Op::Provision, 1, FaultKind::Fewer(7));
            sim.world().inject(fewer);
        }
        life.converge(&mut sim).await;
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (50, 0));
    });
}

/// The provider said that the machine did not exist while it ran, and it was forgotten.
#[test]
fn not_found_is_no_proof_of_an_end() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 3, SimSettings::default()).await;
        let lie = Fault::next(Op::Destroy, 1, FaultKind::NotFound);
        sim.world().inject(lie);
        sim.edit(|spec| spec.size = 2);
        life.converge(&mut sim).await;
        let now = sim.now();
        assert_eq!(sim.world().of_group(sim.name(), now).len(), 2);
    });
}

/// Nothing sleeps between batches but minReady: the time that a roll takes follows from the window.
#[test]
fn a_hundred_instances_roll_as_fast_as_their_window_allows() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            boot: seconds(20),
            stop: seconds(5),
            ..SimSettings::default()
        };
        let mut sim = converged(life, 100, settings).await;
        sim.edit(|spec| spec.template = template(2));
        let taken = life.converge(&mut sim).await;
        // The first one alone, then ten at a time: boot, minReady, drain, stop, and a second or so
        // to see each of them.
        let batch = seconds(20) + seconds(30) + seconds(2) + seconds(5);
        let batches = 1 + 99_u32.div_ceil(10);
        println!(
            "rolled 100 instances in {taken:?}, {:?} of it needed",
            batch * batches
        );
        assert!(taken <= batch * batches + seconds(4) * batches, "{taken:?}");
        assert_eq!(sim.world().stats().peak, 110);
    });
}

/// Runners whose jobs take seconds were taken for a crash loop: repaired slowly, backed off, given up.
#[test]
fn a_runner_fleet_whose_jobs_take_seconds_keeps_its_size() {
    for after in [0, 1, 3, 20] {
        live(async |life: &mut Life| {
            let mut group = group("web", 10, 1);
            group.spec.lifecycle = Lifecycle::Ephemeral;
            group.spec.rollout.min_ready = Duration::ZERO;
            group.spec.rollout.surge_max = Amount::Percent(100);
            group.spec.health.checks.clear();
            let mut sim = Simulation::new(group, SimSettings::default());
            let report = drover_model::ExitReport {
                code: Some(0),
                ..drover_model::ExitReport::default()
            };
            let after = seconds(after);
            bad_version(&sim, 1, Behavior::Exits { after, report });
            let end = sim.now().checked_add(Duration::from_mins(10)).unwrap();
            while sim.now() < end {
                let pass = life.pass(&mut sim).await;
                let now = sim.now();
                let world = sim.world();
                let there = world.of_group(sim.name(), now);
                let working = there
                    .iter()
                    .filter(|(_, one)| !matches!(one.phase(now), Some(ProviderPhase::Exited(_))));
                let working = working.count();
                assert!(after.is_zero() || working == 10, "{working} work at {now}");
                assert!(pass.plan.next.backoff.is_none());
                assert_ne!(pass.plan.next.phase, GroupPhase::Paused);
                drop(there);
                drop(world);
                sim.sleep(&pass, end);
            }
            let created = sim.world().stats().created;
            assert!(created > 10 * 600 / 40, "{created} runners in ten minutes");
        });
    }
}

/// What ends uncleanly, or before it was ready, failed in an ephemeral group too.
#[test]
fn a_runner_that_fails_is_a_failed_launch() {
    live(async |life: &mut Life| {
        let mut group = group("web", 3, 1);
        group.spec.lifecycle = Lifecycle::Ephemeral;
        group.spec.rollout.min_ready = Duration::ZERO;
        let mut sim = Simulation::new(group, SimSettings::default());
        let report = drover_model::ExitReport {
            code: Some(1),
            ..drover_model::ExitReport::default()
        };
        let after = seconds(1);
        bad_version(&sim, 1, Behavior::Exits { after, report });
        life.run(&mut sim, Duration::from_hours(6)).await;
        let created = sim.world().stats().created;
        assert!(created < 35, "{created} instances in six hours");
    });
}

/// A percentage of a size that had shrunk underflowed, and the group was stuck for ever.
#[test]
fn any_percentages_shrink_and_roll_without_getting_stuck() {
    live(async |life: &mut Life| {
        let mut random = Random::new(8987);
        for _ in 0..250 {
            let (from, to) = (1 + random.below(20), random.below(21));
            let (surge, unavailable) = (random.below(101), random.below(101));
            let case = format!("{from} to {to}, surge {surge} %, unavailable {unavailable} %");
            let mut sim = converged(life, from, SimSettings::default()).await;
            sim.edit(|spec| {
                spec.size = to;
                spec.limits.destroy_max = Some(Amount::Percent(100));
                spec.rollout.surge_max = Amount::Percent(surge);
                spec.rollout.unavailable_max = Amount::Percent(unavailable);
                spec.template = template(2);
            });
            // Counted anew, in hundredths: the surge is rounded up, what may be missing down.
            let (mut most, mut missing) = ((to * surge).div_ceil(100), to * unavailable / 100);
            if most == 0 && missing == 0 {
                missing = to.min(1);
            }
            most = (to + most).max(from);
            let end = sim.now().checked_add(Duration::from_hours(4)).unwrap();
            loop {
                let pass = life.pass(&mut sim).await;
                let now = sim.now();
                let there = sim.world().of_group(sim.name(), now).len();
                assert!(there <= most as usize, "{there} exist: {case}");
                // Those that a larger size is still waiting for were never there to be taken.
                let floor = (to - missing).min(from) as usize;
                let serve = serving(&sim);
                assert!(serve >= floor, "{serve} serve: {case}");
                if pass.plan.next.phase == GroupPhase::Converged {
                    break;
                }
                assert!(now < end, "stuck: {case}: {:?}", sim.recorded.holds);
                sim.sleep(&pass, end);
            }
        }
    });
}

/// A machine whose repair had begun counted as healthy when it answered again, so another one was taken.
#[test]
fn an_instance_under_repair_counts_as_missing_though_it_answers_again() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            stop: seconds(600),
            phase_lag: seconds(500),
            ..SimSettings::default()
        };
        let mut sim = Simulation::new(group("web", 5, 1), settings);
        sim.edit(|spec| {
            spec.rollout.surge_max = Amount::Count(0);
            spec.rollout.unavailable_max = Amount::Count(1);
        });
        life.converge(&mut sim).await;
        let from = sim.now();
        let one = sim.world().of_group(sim.name(), from)[0]
            .1
            .provider_ref
            .clone();
        let ill = Behavior::HealthBetween {
            from,
            until: from.checked_add(Duration::from_mins(3)).unwrap(),
            outcome: failing(),
        };
        sim.world().behave(from, Which::Ref(one), ill);
        let begun = sim
            .until(Duration::from_mins(10), |pass| {
                pass.plan.steps.iter().any(|step| step.action.mutates())
            })
            .await
            .unwrap();
        assert!(begun.is_some_and(|begun| begun < Duration::from_mins(3)));
        sim.edit(|spec| spec.template = template(2));
        converge_serving(life, &mut sim, 4).await;
    });
}

/// A cache that never expired went on showing machines that were gone, for an hour.
#[test]
fn an_instance_that_vanished_is_forgotten_and_made_anew_within_minutes() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 3, booting()).await;
        for nth in 1..=8 {
            let now = sim.now();
            let (id, one) = {
                let world = sim.world();
                let (id, instance) = &world.of_group(sim.name(), now)[0];
                ((*id).clone(), instance.provider_ref.clone())
            };
            sim.world().vanish(&one, now);
            life.run(&mut sim, Duration::from_mins(3)).await;
            assert!(!sim.recorded.instances.contains_key(&id), "{id} is a ghost");
            assert_eq!(serving(&sim), 3);
            assert_eq!(sim.world().stats().created, 3 + nth);
        }
        life.converge(&mut sim).await;
        assert_eq!(sim.recorded.instances.len(), 3);
        // Who comes back within a day is known again; that is all that is kept, and no longer.
        assert_eq!(sim.memory.len(), 3 + 8);
        life.run(&mut sim, Duration::from_hours(25)).await;
        assert_eq!(sim.memory.len(), 3);
    });
}
