//! What InfraKit did in these situations was measured on its last release; each test has its number
//! beside ours. The situation is the same: group size, delay of the provider, moment of the crash.

mod driver;

use std::time::Duration;

use driver::{Life, converged, live, seconds};
use drover_apply::FailWrites;
use drover_model::{Action, CheckOutcome, ErrorClass, GroupPhase, Hold, ProviderPhase, Value};
use drover_provider_sim::{Behavior, Fault, FaultKind, Op, SimSettings, Which};
use drover_sim::{Simulation, group};

/// InfraKit: 40 provisioned for a size of 20, then 20 destroyed.
#[test]
fn a_crash_in_the_middle_of_scaling_makes_no_second_set() {
    for crash_at in 1..8 {
        live(async |life: &mut Life| {
            let settings = SimSettings {
                boot: seconds(8),
                list_lag: seconds(8),
                visibility: seconds(8),
                batch_max: 5,
                ..SimSettings::default()
            };
            let mut sim = Simulation::new(group("bench", 20, 1), settings);
            sim.journal().fail_from(crash_at, FailWrites::After);
            life.pass(&mut sim).await;
            sim.journal().recover();
            sim.restart(true);
            life.converge(&mut sim).await;
            let stats = sim.world().stats().clone();
            assert_eq!(
                (stats.created, stats.destroyed),
                (20, 0),
                "crash at write {crash_at}"
            );
        });
    }
}

/// InfraKit: stays mixed (6 old, 4 new) and says that it is converged, until the specification is
/// committed a second time.
#[test]
fn a_crash_in_the_middle_of_an_update_is_gone_on_with_by_itself() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 10, SimSettings::default()).await;
        sim.edit(|spec| spec.template = drover_sim::template(2));
        life.run(&mut sim, seconds(60)).await;
        sim.restart(true);
        life.pass(&mut sim).await;
        assert_eq!(sim.recorded.phase, GroupPhase::Progressing, "and says so");
        life.converge(&mut sim).await;
        let target = sim.recorded.target.clone();
        let all = sim.recorded.instances.values();
        assert!(
            all.into_iter()
                .all(|instance| Some(&instance.digests) == target.as_ref())
        );
    });
}

/// InfraKit: 60 provisioned for a size of 10, then 50 destroyed.
#[test]
fn instances_that_are_listed_late_are_not_made_again() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            list_lag: seconds(5),
            visibility: seconds(5),
            ..SimSettings::default()
        };
        let mut sim = Simulation::new(group("bench", 10, 1), settings);
        life.converge(&mut sim).await;
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (10, 0));
    });
}

/// InfraKit: 30 more provisioned; of the 10 originals none survives.
#[test]
fn an_empty_listing_without_an_error_costs_no_instance() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 10, SimSettings::default()).await;
        let from = sim.now();
        let until = from.checked_add(seconds(3)).unwrap();
        sim.world()
            .inject(Fault::between(Op::List, from, until, FaultKind::EMPTY_LIST));
        life.run(&mut sim, Duration::from_mins(10)).await;
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed, stats.peak), (10, 0, 10));
    });
}

/// InfraKit: 58 calls in 10 seconds without a pause, and "converged" with 5 of 10.
#[test]
fn at_capacity_calls_are_spaced_out_and_the_group_says_that_it_is_not_there() {
    live(async |life: &mut Life| {
        let settings = SimSettings {
            capacity: Some(5),
            ..SimSettings::default()
        };
        let mut sim = Simulation::new(group("bench", 10, 1), settings);
        life.run(&mut sim, seconds(10)).await;
        let calls = sim.world().stats().calls_of(Op::Provision);
        assert!(calls <= 2, "{calls} calls in ten seconds");
        life.run(&mut sim, Duration::from_hours(1)).await;
        let calls = sim.world().stats().calls_of(Op::Provision);
        assert!(calls <= 9, "{calls} calls in an hour");
        assert_eq!(sim.recorded.phase, GroupPhase::Held);
        let says = sim.recorded.holds.iter().any(|held| {
            matches!(&held.hold, Hold::LaunchBackoff { message, .. } if message.contains("room"))
        });
        assert!(says, "and why");
        sim.world().settings.capacity = None;
        life.converge(&mut sim).await;
    });
}

/// InfraKit: errors each second, and changes fail until somebody repeats them.
#[test]
fn a_provider_that_is_down_keeps_its_instances_and_a_change_waits_for_it() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 5, SimSettings::default()).await;
        let down = Fault::always(Op::List, FaultKind::Error(ErrorClass::Unknown));
        sim.world().inject(down);
        sim.edit(|spec| spec.size = 7);
        let commits = sim.commits;
        life.run(&mut sim, Duration::from_hours(1)).await;
        assert_eq!(
            sim.commits - commits,
            1,
            "one commit says so, not one per pass"
        );
        assert_eq!(sim.world().stats().destroyed, 0);
        sim.world().clear_faults();
        life.converge(&mut sim).await;
        assert_eq!(sim.recorded.instances.len(), 7);
    });
}

/// InfraKit: waits for ever after the first one, without a time limit and without a word.
#[test]
fn an_update_whose_instances_are_unhealthy_stops_by_itself_and_says_so() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 10, SimSettings::default()).await;
        let bad = Which::Property("version".to_owned(), Value::from(2));
        let outcome = CheckOutcome::Failing {
            why: "status 500".to_owned(),
        };
        let behavior = Behavior::Health {
            after: Duration::ZERO,
            outcome,
        };
        let now = sim.now();
        sim.world().behave(now, bad, behavior);
        sim.edit(|spec| spec.template = drover_sim::template(2));
        life.run(&mut sim, Duration::from_mins(30)).await;
        assert_eq!(sim.recorded.phase, GroupPhase::Paused);
        let failure = sim
            .recorded
            .rollout
            .as_ref()
            .and_then(|one| one.last_failure.clone());
        assert!(failure.is_some_and(|failure| failure.contains("status 500")));
        let stats = sim.world().stats().clone();
        assert_eq!(
            (stats.created, stats.destroyed),
            (11, 1),
            "one bad instance, no good one lost"
        );
        sim.edit(|spec| spec.template = drover_sim::template(1));
        life.converge(&mut sim).await;
    });
}

/// InfraKit: nothing at all, not even a log line.
#[test]
fn a_group_that_is_unhealthy_as_a_whole_is_replaced_one_by_one_and_says_so() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 10, SimSettings::default()).await;
        let now = sim.now();
        let outcome = CheckOutcome::Failing {
            why: "status 500".to_owned(),
        };
        let refs: Vec<_> = {
            let world = sim.world();
            let all = world.of_group(sim.name(), now);
            all.iter()
                .map(|(_, instance)| instance.provider_ref.clone())
                .collect()
        };
        for provider_ref in refs {
            sim.world().set_health(&provider_ref, now, outcome.clone());
        }
        let mut ending_at_once = 0;
        let mut said = false;
        for _ in 0..400 {
            let pass = life.pass(&mut sim).await;
            let ends = pass.plan.steps.iter().filter(|step| {
                matches!(step.action, Action::Drain { .. } | Action::Destroy { .. })
            });
            ending_at_once = ending_at_once.max(ends.count());
            let systemic = |held: &drover_model::Held| matches!(held.hold, Hold::Systemic { .. });
            said |= pass.report.holds.iter().any(systemic);
            sim.sleep(&pass, drover_model::Timestamp::MAX);
            if sim.recorded.phase == GroupPhase::Converged {
                break;
            }
        }
        assert_eq!(sim.recorded.phase, GroupPhase::Converged, "never none");
        assert_eq!(ending_at_once, 1, "never all");
        assert!(said);
    });
}

/// InfraKit: the invalid specification is saved, and after a restart it fails 50,000 times in 12
/// seconds for ever. The last line of defence is here: whatever the provider refuses is tried once.
#[test]
fn a_specification_that_the_provider_refuses_is_tried_once() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 3, SimSettings::default()).await;
        let refused = ("version".to_owned(), Value::from(2));
        sim.world().settings.refused.push(refused);
        sim.edit(|spec| spec.template = drover_sim::template(2));
        let before = sim.world().stats().calls_of(Op::Provision);
        life.run(&mut sim, Duration::from_hours(1)).await;
        sim.restart(true);
        life.run(&mut sim, Duration::from_hours(1)).await;
        assert_eq!(sim.world().stats().calls_of(Op::Provision) - before, 1);
        assert_eq!(sim.recorded.phase, GroupPhase::Paused);
        let now = sim.now();
        let world = sim.world();
        let there = world.of_group(sim.name(), now);
        let running = |(_, one): &(_, &drover_provider_sim::SimInstance)| {
            one.phase(now) == Some(ProviderPhase::Running)
        };
        assert_eq!(there.iter().filter(|one| running(one)).count(), 3);
    });
}
