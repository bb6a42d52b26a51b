//! What may be disrupted, and when: the members of quorum groups included. Where another system got it
//! wrong, the comment names what went wrong there.

mod driver;

use std::collections::BTreeSet;
use std::time::Duration;

use driver::{converged, live, seconds, serving};
use drover_model::{
    Amount, ErrorClass, ExitReport, GroupName, GroupPhase, GroupSpec, Hold, InstanceId, Protect,
    ProviderRef, Reason, Timestamp,
};
use drover_provider_sim::{Fault, FaultKind, Op, SimSettings};
use drover_sim::{Pass, Simulation, group, quorum_group, set_members, template};

const MEMBERS: [&str; 3] = ["m1", "m2", "m3"];

fn holds(pass: &Pass) -> Vec<&'static str> {
    pass.report
        .holds
        .iter()
        .map(|held| held.hold.code())
        .collect()
}

fn other() -> GroupName {
    GroupName::parse("store").expect("a valid label")
}

/// Returns the instance of a member, and its handle.
fn holder(sim: &Simulation, member: &str) -> (InstanceId, ProviderRef) {
    let world = sim.world();
    let all = world.of_group(sim.name(), sim.now()).into_iter();
    let mut holders = all.filter_map(|(id, instance)| {
        let seat = instance.ownership.as_ref()?.seat.as_ref()?;
        (seat.member.as_str() == member).then(|| (id.clone(), instance.provider_ref.clone()))
    });
    holders.next().expect("the member has an instance")
}

fn protect(spec: &mut GroupSpec, instance: InstanceId, from: &[Reason]) {
    spec.protect = vec![Protect {
        instances: BTreeSet::from([instance]),
        from: from.iter().copied().collect(),
        until: None,
        because: None,
    }];
}

#[test]
fn members_are_started_updated_and_added_only_after_what_they_depend_on() {
    live(async |life| {
        let mut sim = Simulation::new(quorum_group("db", &MEMBERS, 1), SimSettings::default());
        sim.edit(|spec| spec.depends_on = vec![other()]);
        life.run(&mut sim, Duration::from_mins(10)).await;
        assert_eq!(sim.world().stats().created, 0, "not started");
        sim.peers.converged.insert(other());
        life.converge(&mut sim).await;

        sim.peers.converged.clear();
        sim.edit(|spec| {
            spec.template = template(2);
            set_members(spec, &["m1", "m2", "m3", "m4"]);
        });
        let now = sim.now();
        let (_, lost) = holder(&sim, "m2");
        sim.world().crash(&lost, now, ExitReport::default());
        life.run(&mut sim, Duration::from_mins(10)).await;
        assert_eq!(
            sim.world().stats().created,
            4,
            "the lost one came back, no more"
        );
        let waits = Hold::DependencyNotReady { group: other() };
        assert!(sim.recorded.holds.iter().any(|held| held.hold == waits));
        sim.peers.converged.insert(other());
        life.converge(&mut sim).await;
        assert_eq!(serving(&sim), 4);
    });
}

#[test]
fn updates_pass_a_protected_member_by() {
    live(async |life| {
        let mut sim = Simulation::new(quorum_group("db", &MEMBERS, 1), SimSettings::default());
        life.converge(&mut sim).await;
        let (kept, _) = holder(&sim, "m3");
        sim.edit(|spec| {
            spec.template = template(2);
            protect(spec, kept.clone(), &[Reason::Update]);
        });
        life.run(&mut sim, Duration::from_hours(2)).await;
        assert_eq!(holder(&sim, "m3").0, kept);
        assert_eq!(sim.world().stats().created, 5, "the other two were updated");
        assert_eq!(
            sim.recorded.phase,
            GroupPhase::Progressing,
            "no deadline passed"
        );
        sim.edit(|spec| spec.protect.clear());
        life.converge(&mut sim).await;
        assert_ne!(holder(&sim, "m3").0, kept);
    });
}

#[test]
fn a_member_that_ends_again_and_again_is_made_again_only_as_the_hour_allows() {
    live(async |life| {
        let mut sim = Simulation::new(quorum_group("db", &MEMBERS, 1), SimSettings::default());
        sim.edit(|spec| spec.limits.create_hourly_max = Some(6));
        life.converge(&mut sim).await;
        let begun = sim.now();
        while sim.now() < begun.checked_add(Duration::from_mins(30)).unwrap() {
            let pass = life.pass(&mut sim).await;
            let now = sim.now();
            let there = sim.world().of_group(sim.name(), now).len();
            if there == 3 && sim.recorded.phase == GroupPhase::Converged {
                let (_, lost) = holder(&sim, "m2");
                sim.world().crash(&lost, now, ExitReport::default());
            }
            sim.sleep(&pass, Timestamp::MAX);
        }
        assert_eq!(sim.world().stats().created, 6);
        let pass = life.pass(&mut sim).await;
        assert!(holds(&pass).contains(&"CreateLimit"), "{:?}", holds(&pass));
        life.converge(&mut sim).await;
    });
}

/// An instance that was listed without its address yet was taken for an orphan and ended.
#[test]
fn an_instance_whose_address_comes_late_is_waited_for() {
    live(async |life| {
        let settings = SimSettings {
            address_lag: Duration::from_mins(4),
            phase_lag: seconds(30),
            list_lag: seconds(20),
            visibility: seconds(20),
            ..SimSettings::default()
        };
        let mut sim = converged(life, 5, settings).await;
        sim.edit(|spec| spec.template = template(2));
        life.converge(&mut sim).await;
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (10, 5));
    });
}

/// The time for which an instance must be healthy counted in one way of rolling and not in the other.
#[test]
fn nothing_counts_as_available_before_its_time_whatever_asks() {
    let ways: [fn(&mut GroupSpec); 4] = [
        |spec| spec.template = template(2),
        |spec| {
            spec.template = template(2);
            spec.rollout.surge_max = Amount::Percent(100);
            spec.rollout.first_batch = 6;
        },
        |spec| {
            spec.template = template(2);
            spec.rollout.surge_max = Amount::Count(0);
            spec.rollout.unavailable_max = Amount::Count(2);
        },
        |spec| {
            spec.expiry = Some(drover_model::Expiry {
                age_max: Duration::from_hours(1),
                jitter_percent: 0,
            });
        },
    ];
    for (way, edit) in ways.into_iter().enumerate() {
        live(async |life| {
            let mut sim = Simulation::new(group("web", 6, 1), SimSettings::default());
            let wait = Duration::from_mins(5);
            sim.edit(|spec| spec.rollout.min_ready = wait);
            life.converge(&mut sim).await;
            life.run(&mut sim, Duration::from_mins(50)).await;
            sim.edit(edit);
            let floor = if way == 2 { 4 } else { 6 };
            let end = sim.now().checked_add(Duration::from_hours(2)).unwrap();
            while sim.now() < end && sim.world().stats().created < 12 {
                let pass = life.pass(&mut sim).await;
                let now = sim.now();
                let world = sim.world();
                let long = world
                    .of_group(sim.name(), now)
                    .into_iter()
                    .filter(|(_, one)| {
                        one.created_at.checked_add(wait).is_ok_and(|at| at <= now)
                            && one.phase(now) == Some(drover_model::ProviderPhase::Running)
                    });
                let long = long.count();
                drop(world);
                assert!(
                    long >= floor,
                    "way {way}: {long} were ready for long enough"
                );
                sim.sleep(&pass, end);
            }
            assert!(sim.world().stats().created >= 12, "way {way}");
        });
    }
}

/// One throttled call failed all the callers whose instances were to be made with it.
#[test]
fn a_throttled_call_fails_none_beside_it() {
    live(async |life| {
        let settings = SimSettings {
            batch_max: 1,
            ..SimSettings::default()
        };
        let mut sim = Simulation::new(group("web", 43, 1), settings);
        let refused = FaultKind::Error(ErrorClass::Throttled);
        sim.world().inject(Fault::next(Op::Provision, 1, refused));
        let taken = life.converge(&mut sim).await;
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.duplicates), (43, 0));
        assert_eq!(stats.calls_of(Op::Provision), 44, "one call was made twice");
        assert!(taken < Duration::from_mins(2), "{taken:?}");
    });
}
