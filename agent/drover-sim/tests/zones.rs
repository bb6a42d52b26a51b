//! Zones over whole lives: moves end, and one surge serves all zones.

mod driver;

use std::collections::BTreeMap;
use std::time::Duration;

use driver::{Life, converged, live};
use drover_model::{
    Action, Amount, Cause, GroupPhase, InstanceClass, Reason, Rebalance, Timestamp,
};
use drover_provider_sim::SimSettings;
use drover_sim::{Random, Simulation, group, template};

fn zones(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn counts(sim: &Simulation) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for zone in &sim.spec().placement.zones {
        counts.insert(zone.clone(), 0);
    }
    let now = sim.now();
    let world = sim.world();
    for (_, instance) in world.of_group(sim.name(), now) {
        *counts
            .entry(instance.zone.clone().unwrap_or_default())
            .or_default() += 1;
    }
    counts
}

fn skew(sim: &Simulation) -> u32 {
    let counts = counts(sim);
    counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0)
}

/// A surge of one, divided over three zones, was 1, 0 and 0: two zones were drained without any.
#[test]
fn a_surge_of_one_serves_all_zones() {
    live(async |life: &mut Life| {
        let mut sim = converged(life, 6, SimSettings::default()).await;
        sim.edit(|spec| {
            spec.placement.zones = zones(&["a", "b", "c"]);
            spec.rollout.surge_max = Amount::Count(1);
            spec.template = template(2);
        });
        life.converge(&mut sim).await;
        sim.edit(|spec| spec.template = template(3));
        for _ in 0..500 {
            let pass = life.pass(&mut sim).await;
            let members = pass.classified.members.values();
            let serving = members
                .filter(|m| m.class == InstanceClass::Available && m.drain.is_none())
                .count();
            let taken = pass.plan.steps.iter().filter(|step| {
                matches!(step.action, Action::Drain { .. } | Action::Destroy { .. })
                    && step.cause == Cause::Because(Reason::Update)
            });
            let drained = taken.filter(|step| matches!(step.action, Action::Drain { .. }));
            assert!(serving - drained.count() >= 6, "at {}", pass.at);
            if pass.plan.next.phase == GroupPhase::Converged {
                break;
            }
            sim.sleep(&pass, Timestamp::MAX);
        }
        assert_eq!(sim.recorded.phase, GroupPhase::Converged);
        assert_eq!(sim.world().stats().peak, 7);
        assert_eq!(skew(&sim), 0, "{:?}", counts(&sim));
    });
}

/// Whatever the zones hold at first, moves end, each makes the counts more even, and a group at rest
/// stays at rest.
#[test]
fn moves_between_zones_never_go_back_and_forth() {
    let mut random = Random::new(20_260_105);
    for case in 0..60 {
        let size = 1 + random.below(12);
        let surge = random.below(3);
        let max_skew = 1 + random.below(2);
        let names = ["a", "b", "c", "d"];
        let some = 1 + random.below(4) as usize;
        let first = random.below(4) as usize;
        live(async |life: &mut Life| {
            let mut group = group("web", size, 1);
            group.spec.placement.zones = zones(&names[first..=first]);
            group.spec.rollout.surge_max = Amount::Count(surge);
            let mut sim = Simulation::new(group, SimSettings::default());
            life.converge(&mut sim).await;
            sim.edit(|spec| {
                spec.placement.zones = zones(&names[..some]);
                spec.placement.skew_max = max_skew;
                spec.placement.rebalance = Rebalance::Proactive;
            });
            life.converge(&mut sim).await;
            let what = format!("case {case}: {:?}", counts(&sim));
            assert!(skew(&sim) <= max_skew, "{what}");
            let created = sim.world().stats().created;
            // As many moves as instances at most: each goes straight to where it stays.
            assert!(created <= u64::from(2 * size), "{created} made, {what}");
            life.run(&mut sim, Duration::from_hours(2)).await;
            assert_eq!(sim.world().stats().created, created, "{what}");
        });
    }
}

/// An outage of a zone while instances are moved towards it ends the moves, and they go on after it.
#[test]
fn an_outage_of_the_zone_that_is_moved_to_loses_nothing() {
    live(async |life: &mut Life| {
        let mut group = group("web", 6, 1);
        group.spec.placement.zones = zones(&["a"]);
        let mut sim = Simulation::new(group, SimSettings::default());
        life.converge(&mut sim).await;
        sim.world().settings.zones.insert("b".to_owned(), Some(1));
        sim.edit(|spec| {
            spec.placement.zones = zones(&["a", "b"]);
            spec.placement.rebalance = Rebalance::Proactive;
        });
        life.run(&mut sim, Duration::from_hours(1)).await;
        assert_eq!(
            counts(&sim),
            BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 1)])
        );
        sim.world().settings.zones.clear();
        life.run(&mut sim, Duration::from_mins(20)).await;
        assert_eq!(
            counts(&sim),
            BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 3)])
        );
        assert_eq!(sim.world().stats().peak, 7);
    });
}
