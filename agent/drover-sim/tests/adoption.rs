//! Taking over what runs already, while calls and replies are lost: everything is adopted once, nothing is made and
//! nothing is ended.

mod driver;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driver::live;
use drover_model::{
    Adopt, AdoptRevision, ErrorClass, Group, GroupPhase, InstanceId, Manage, ProviderRef,
};
use drover_provider_sim::{Fault, FaultKind, Op, SimSettings};
use drover_sim::{Simulation, group, template};

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("owner".to_owned(), "infra".to_owned())])
}

fn adopting(size: u32) -> Group {
    let mut group = group("web", size, 1);
    group.spec.adopt = Some(Adopt {
        match_tags: tags(),
        revision: AdoptRevision::Assume,
        current: Vec::new(),
    });
    group
}

/// A group of `size` that finds as many strangers as `there`.
fn simulation(size: u32, there: u32, settings: SimSettings) -> (Simulation, Vec<ProviderRef>) {
    let sim = Simulation::new(adopting(size), settings);
    let now = sim.now();
    let strangers = (0..there).map(|_| sim.world().add_stranger(now, tags(), None));
    let strangers = strangers.collect();
    (sim, strangers)
}

/// Our ids of the strangers, each adopted once.
fn ids(sim: &Simulation, strangers: &[ProviderRef]) -> BTreeSet<InstanceId> {
    let world = sim.world();
    let owned = strangers.iter().map(|handle| {
        let instance = world.instance(handle).expect("it is there");
        instance.ownership.as_ref().expect("owned").instance.clone()
    });
    let ids: BTreeSet<InstanceId> = owned.collect();
    assert_eq!(ids.len(), strangers.len(), "two instances under one id");
    ids
}

#[test]
fn whatever_calls_are_lost_everything_is_adopted_once_and_nothing_is_made_or_ended() {
    live(async |_life| {
        for seed in 0..60 {
            let settings = SimSettings {
                seed,
                visibility: Duration::from_secs(30),
                ..SimSettings::default()
            };
            let (mut sim, strangers) = simulation(5, 5, settings);
            for kind in [
                FaultKind::LostReply,
                FaultKind::LostRequest,
                FaultKind::LateEffect(Duration::from_secs(20)),
                FaultKind::Error(ErrorClass::Throttled),
            ] {
                sim.world()
                    .inject(Fault::always(Op::Adopt, kind).with_percent(25));
            }
            let lost = FaultKind::Error(ErrorClass::Unknown);
            sim.world()
                .inject(Fault::always(Op::Survey, lost).with_percent(20));
            let mut passes = 0;
            let converged = loop {
                let pass = sim.pass().await.unwrap();
                if pass.plan.next.phase == GroupPhase::Converged {
                    break true;
                }
                passes += 1;
                if passes > 500 {
                    break false;
                }
                // The agent is killed now and then.
                if (passes + seed) % 7 == 0 {
                    sim.restart(passes % 2 == 0);
                }
                let end = sim.now() + Duration::from_mins(1);
                sim.sleep(&pass, end);
            };
            assert!(converged, "seed {seed} did not converge");
            ids(&sim, &strangers);
            let stats = sim.world().stats().clone();
            let touched = (stats.created, stats.destroyed, stats.foreign_touches);
            assert_eq!((touched, stats.adopted), ((0, 0, 0), 5), "seed {seed}");
        }
    });
}

#[test]
fn watching_touches_nothing_and_the_promotion_adopts_and_nothing_else() {
    live(async |_life| {
        let (mut sim, strangers) = simulation(3, 3, SimSettings::default());
        sim.edit(|spec| spec.manage = Manage::Observe);
        sim.run(Duration::from_mins(10)).await.unwrap();
        assert_eq!(sim.world().stats().calls_of(Op::Adopt), 0);
        assert_eq!(sim.recorded.strangers.len(), 3);
        sim.edit(|spec| spec.manage = Manage::Full);
        sim.converge().await.unwrap().unwrap();
        assert_eq!(ids(&sim, &strangers).len(), 3);
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (0, 0));
        assert_eq!(sim.recorded.strangers, BTreeMap::new());
    });
}

#[test]
fn an_owner_who_acts_holds_everything_until_it_lets_go() {
    live(async |_life| {
        let (mut sim, strangers) = simulation(3, 2, SimSettings::default());
        sim.world().claim(&strangers[1], Some("the group workers"));
        sim.run(Duration::from_mins(10)).await.unwrap();
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.adopted), (0, 0));
        assert_eq!(sim.recorded.holds[0].hold.code(), "OwnerStillActs");
        sim.world().claim(&strangers[1], None);
        // What is missing is made, once everything that is there is the group's own.
        sim.converge().await.unwrap().unwrap();
        let stats = sim.world().stats().clone();
        assert_eq!((stats.adopted, stats.created, stats.destroyed), (2, 1, 0));
    });
}

#[test]
fn a_later_template_replaces_what_was_assumed_and_not_what_is_kept() {
    live(async |_life| {
        for (revision, created) in [(AdoptRevision::Assume, 3), (AdoptRevision::Keep, 0)] {
            let (mut sim, _) = simulation(3, 3, SimSettings::default());
            sim.edit(|spec| spec.adopt.as_mut().unwrap().revision = revision);
            sim.converge().await.unwrap().unwrap();
            sim.edit(|spec| spec.template = template(2));
            sim.run(Duration::from_mins(30)).await.unwrap();
            sim.converge().await.unwrap().unwrap();
            assert_eq!(sim.world().stats().created, created, "{revision:?}");
        }
    });
}

#[test]
fn what_dies_while_it_is_adopted_is_replaced_once_that_is_certain() {
    live(async |_life| {
        let (mut sim, strangers) = simulation(3, 3, SimSettings::default());
        let lost = Fault::next(Op::Adopt, 1, FaultKind::LostRequest);
        sim.world().inject(lost);
        sim.pass().await.unwrap();
        let now = sim.now();
        sim.world().vanish(&strangers[0], now);
        sim.world().vanish(&strangers[1], now);
        sim.converge().await.unwrap().unwrap();
        assert_eq!(sim.world().of_group(sim.name(), sim.now()).len(), 3);
        assert_eq!(sim.world().stats().created, 2);
    });
}

#[test]
fn who_is_handed_back_keeps_running_without_ownership() {
    live(async |_life| {
        let (mut sim, strangers) = simulation(2, 2, SimSettings::default());
        sim.edit(|spec| spec.deletion.policy = drover_model::DeletionPolicy::Orphan);
        sim.converge().await.unwrap().unwrap();
        sim.remove();
        sim.run(Duration::from_mins(5)).await.unwrap();
        assert_eq!(sim.recorded.phase, GroupPhase::Deleted);
        let now = sim.now();
        let survey = sim.world().survey(now, &tags()).result.unwrap();
        let left: Vec<_> = survey
            .strangers
            .into_iter()
            .map(|one| one.provider_ref)
            .collect();
        assert_eq!(left, strangers);
        assert_eq!(sim.world().stats().destroyed, 0);
    });
}

#[test]
fn originals_that_come_back_after_their_replacement_are_held_and_nothing_is_ended() {
    live(async |_life| {
        let (mut sim, strangers) = simulation(4, 4, SimSettings::default());
        sim.edit(|spec| spec.manage = Manage::Observe);
        sim.run(Duration::from_mins(1)).await.unwrap();
        // Two are shown to nobody when it is promoted, and for longer than the provider may be behind.
        let now = sim.now();
        for handle in &strangers[2..] {
            sim.world().vanish(handle, now);
        }
        sim.edit(|spec| spec.manage = Manage::Full);
        sim.run(Duration::from_mins(5)).await.unwrap();
        let stats = sim.world().stats().clone();
        assert_eq!((stats.adopted, stats.created), (2, 2));
        let now = sim.now();
        let back: Vec<ProviderRef> = (0..2)
            .map(|_| sim.world().add_stranger(now, tags(), None))
            .collect();
        sim.run(Duration::from_mins(30)).await.unwrap();
        let stats = sim.world().stats().clone();
        assert_eq!((stats.adopted, stats.created, stats.destroyed), (2, 2, 0));
        assert_eq!(sim.recorded.holds[0].hold.code(), "AdoptedSurplus");
        assert_eq!(sim.recorded.phase, GroupPhase::Converged);
        // A rollout replaces what is the group's, and with nothing that was held.
        sim.edit(|spec| spec.template = template(2));
        sim.run(Duration::from_hours(1)).await.unwrap();
        let stats = sim.world().stats().clone();
        assert_eq!((stats.adopted, stats.created, stats.destroyed), (2, 6, 4));
        // A larger size takes them over.
        sim.edit(|spec| spec.size = 6);
        sim.converge().await.unwrap().unwrap();
        ids(&sim, &back);
        let stats = sim.world().stats().clone();
        assert_eq!((stats.adopted, stats.created, stats.destroyed), (4, 6, 4));
        assert_eq!(sim.recorded.strangers, BTreeMap::new());
    });
}

#[test]
fn whatever_calls_are_lost_no_more_is_adopted_than_there_is_room_for() {
    live(async |_life| {
        for seed in 0..40 {
            let settings = SimSettings {
                seed,
                visibility: Duration::from_secs(30),
                ..SimSettings::default()
            };
            let (mut sim, _) = simulation(3, 7, settings);
            for kind in [
                FaultKind::LostReply,
                FaultKind::LostRequest,
                FaultKind::LateEffect(Duration::from_secs(20)),
            ] {
                sim.world()
                    .inject(Fault::always(Op::Adopt, kind).with_percent(25));
            }
            let lost = FaultKind::Error(ErrorClass::Unknown);
            sim.world()
                .inject(Fault::always(Op::Survey, lost).with_percent(20));
            for minutes in 0..20 {
                sim.run(Duration::from_mins(1)).await.unwrap();
                if (minutes + seed) % 7 == 0 {
                    sim.restart(minutes % 2 == 0);
                }
            }
            let stats = sim.world().stats().clone();
            let touched = (stats.created, stats.destroyed, stats.foreign_touches);
            assert_eq!((touched, stats.adopted), ((0, 0, 0), 3), "seed {seed}");
        }
    });
}
