//! What quorum groups promise, and what other systems got wrong about them. Each test is the situation
//! that the mistake showed in; the comment names what went wrong there.

mod driver;

use std::time::Duration;

use driver::{Life, crash, live, places, seconds, vanish};
use drover_model::{Action, CheckOutcome, GroupPhase, Hold, OrderState, OrderVerb, RecordedOrder};
use drover_provider_sim::{Behavior, SimSettings, Which};
use drover_sim::{Pass, Simulation, quorum_group, set_members, template};

fn booting() -> SimSettings {
    SimSettings {
        boot: seconds(20),
        ..SimSettings::default()
    }
}

/// A group of these members that has converged.
async fn settled(life: &Life, members: &[&str], settings: SimSettings) -> Simulation {
    let mut sim = Simulation::new(quorum_group("db", members, 1), settings);
    life.converge(&mut sim).await;
    sim
}

/// Returns how many members serve in the provider's own truth.
fn well(sim: &Simulation) -> usize {
    let now = sim.now();
    let world = sim.world();
    let all = world.of_group(sim.name(), now);
    let well = all.iter().filter(|(_, instance)| {
        world.health(&instance.provider_ref, now) == CheckOutcome::Passing
            && instance.phase(now) == Some(drover_model::ProviderPhase::Running)
    });
    well.count()
}

fn created(pass: &Pass) -> usize {
    let steps = pass.plan.steps.iter();
    steps
        .filter(|step| matches!(step.action, Action::Create { .. }))
        .count()
}

fn has(pass: &Pass, wanted: impl Fn(&Hold) -> bool) -> bool {
    pass.report.holds.iter().any(|held| wanted(&held.hold))
}

fn at_risk(hold: &Hold) -> bool {
    matches!(hold, Hold::QuorumAtRisk { .. })
}

fn unproven(hold: &Hold) -> bool {
    matches!(hold, Hold::QuorumUnproven { .. })
}

#[test]
fn a_group_that_never_existed_starts_all_members_at_once() {
    live(async |life| {
        let mut sim = Simulation::new(quorum_group("db", &["m1", "m2", "m3"], 1), booting());
        let first = life.pass(&mut sim).await;
        assert_eq!(created(&first), 3);
        assert_eq!(first.plan.next.phase, GroupPhase::Bootstrapping);
        life.converge(&mut sim).await;
        assert!(sim.recorded.quorum.as_ref().unwrap().established);
        assert_eq!(sim.world().stats().created, 3);
    });
}

#[test]
fn losing_record_and_data_under_a_live_group_creates_nothing() {
    for (record, local) in [(true, false), (false, true), (true, true)] {
        live(async |life| {
            let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
            sim.lose(record, local);
            life.run(&mut sim, seconds(1800)).await;
            let stats = sim.world().stats().clone();
            assert_eq!((stats.created, stats.destroyed), (3, 0), "{record} {local}");
            // It is taken over as what it is, with what is attached to it.
            life.converge(&mut sim).await;
            crash(&sim, "m2");
            life.converge(&mut sim).await;
            assert_eq!(places(&sim).len(), 3);
            assert_eq!(sim.world().stats().double_attach, 0);
        });
    }
}

#[test]
fn what_is_attached_keeps_a_lost_group_from_starting_for_the_first_time() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        for member in ["m1", "m2", "m3"] {
            vanish(&sim, member);
        }
        sim.lose(true, true);
        let pass = life.pass(&mut sim).await;
        assert!(has(&pass, unproven), "{:?}", pass.report.holds);
        life.run(&mut sim, seconds(3600)).await;
        assert_eq!(sim.world().stats().created, 3, "nothing is created");
    });
}

#[test]
fn a_lost_majority_is_never_made_anew() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        vanish(&sim, "m1");
        vanish(&sim, "m2");
        life.run(&mut sim, seconds(3600)).await;
        assert_eq!(sim.world().stats().created, 3);
        let pass = life.pass(&mut sim).await;
        assert!(has(&pass, at_risk), "{:?}", pass.report.holds);
        // Nor by a document that no longer asks for them.
        sim.edit(|spec| set_members(spec, &["m3"]));
        life.run(&mut sim, seconds(3600)).await;
        assert_eq!(sim.world().stats().created, 3);
        let voters = sim.recorded.quorum.as_ref().unwrap().voters.len();
        assert_eq!(
            voters, 3,
            "consul#5922: the quorum is not shrunk to what is left"
        );
        // A person may say that it is all right.
        sim.edit(|spec| {
            set_members(spec, &["m1", "m2", "m3"]);
            spec.quorum.as_mut().unwrap().allow_downtime = true;
        });
        life.converge(&mut sim).await;
        assert_eq!(places(&sim).len(), 3);
    });
}

#[test]
fn one_member_cannot_be_spared_unless_downtime_is_allowed() {
    live(async |life| {
        let mut sim = settled(life, &["m1"], booting()).await;
        sim.edit(|spec| spec.template = template(2));
        life.run(&mut sim, seconds(1800)).await;
        assert_eq!(sim.world().stats().destroyed, 0);
        assert!(has(&life.pass(&mut sim).await, at_risk));
        sim.edit(|spec| spec.quorum.as_mut().unwrap().allow_downtime = true);
        life.converge(&mut sim).await;
        assert_eq!(sim.world().stats().destroyed, 1);
    });
}

/// infrakit#783: a member that was destroyed was still seen healthy, and the next one was taken.
#[test]
fn a_member_whose_end_is_slow_keeps_the_next_one_in_place() {
    live(async |life| {
        let slow = SimSettings {
            stop: seconds(200),
            phase_lag: seconds(10),
            ..booting()
        };
        let mut sim = settled(life, &["m1", "m2", "m3"], slow).await;
        sim.edit(|spec| spec.template = template(2));
        let mut lowest = 3;
        let rolled = sim
            .until(Duration::from_hours(2), |pass| {
                assert!(created(pass) <= 1);
                let moving = pass.classified.members.values().filter(|member| {
                    member.drain.is_some() || member.class != drover_model::InstanceClass::Available
                });
                assert!(moving.count() <= 1, "one member in transition");
                pass.plan.next.phase == GroupPhase::Converged && {
                    let target = pass.plan.next.target.as_ref();
                    let mut all = pass.classified.members.values();
                    all.all(|member| Some(&member.digests) == target)
                }
            })
            .await
            .expect("every pass can be made");
        lowest = lowest.min(well(&sim));
        assert!(rolled.is_some() && lowest >= 2);
        assert_eq!(sim.world().stats().double_attach, 0);
    });
}

#[test]
fn the_leader_is_updated_last() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        let leader = drover_model::MemberId::parse("m3").unwrap();
        sim.world().set_leader(Some(leader));
        sim.edit(|spec| spec.template = template(2));
        let mut order = Vec::new();
        sim.until(Duration::from_hours(1), |pass| {
            for step in &pass.plan.steps {
                if let Action::Drain { instance, .. } = &step.action {
                    let seat = pass.classified.members[instance].seat.clone();
                    order.push(seat.unwrap().member.to_string());
                }
            }
            order.len() == 3
        })
        .await
        .expect("every pass can be made");
        assert_eq!(order, ["m2", "m1", "m3"]);
    });
}

/// capi#13221: a member that never started was left behind, and blocked every later change.
#[test]
fn a_member_that_never_starts_is_taken_out_again_and_blocks_nobody() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        let which = Which::Property("version".to_owned(), drover_model::Value::from(9));
        let now = sim.now();
        sim.world().behave(now, which, Behavior::NeverBoots);
        sim.edit(|spec| {
            set_members(spec, &["m1", "m2", "m3", "m4"]);
            spec.template = template(9);
            spec.health.startup_timeout = seconds(60);
        });
        life.run(&mut sim, seconds(1800)).await;
        assert!(well(&sim) >= 3);
        sim.edit(|spec| {
            set_members(spec, &["m1", "m2", "m3"]);
            spec.template = template(1);
        });
        life.converge(&mut sim).await;
        let left: Vec<String> = places(&sim).into_keys().collect();
        assert_eq!(left, ["m1", "m2", "m3"]);
    });
}

/// consul#3472: six members were scaled in to three at once, and those left had no votes.
#[test]
fn members_are_taken_out_one_by_one_with_time_between() {
    live(async |life| {
        let five = ["m1", "m2", "m3", "m4", "m5"];
        let mut sim = settled(life, &five, booting()).await;
        sim.edit(|spec| set_members(spec, &["m1", "m2", "m3"]));
        let mut ended = Vec::new();
        sim.until(Duration::from_hours(2), |pass| {
            for step in &pass.plan.steps {
                if let Action::Drain { instance, .. } = &step.action {
                    let seat = pass.classified.members[instance].seat.clone();
                    ended.push((pass.at, seat.unwrap().member.to_string()));
                }
            }
            pass.plan.next.phase == GroupPhase::Converged && pass.plan.next.size == 3
        })
        .await
        .expect("every pass can be made");
        let names: Vec<&str> = ended.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["m5", "m4"]);
        let between = ended[1].0.duration_since(ended[0].0);
        assert!(between.as_secs() >= 60, "{between}");
    });
}

#[test]
fn bad_members_that_nobody_wants_do_not_wait_for_each_other() {
    live(async |life| {
        let five = ["m1", "m2", "m3", "m4", "m5"];
        let mut sim = settled(life, &five, booting()).await;
        crash(&sim, "m4");
        crash(&sim, "m5");
        sim.edit(|spec| set_members(spec, &["m1", "m2", "m3"]));
        life.converge(&mut sim).await;
        assert_eq!(places(&sim).len(), 3);
        assert_eq!(sim.world().stats().created, 5, "none is made again");
    });
}

#[test]
fn a_member_that_swaps_its_name_is_taken_out_before_the_new_one_comes() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        sim.edit(|spec| set_members(spec, &["m1", "m2", "m4"]));
        let change = life.pass(&mut sim).await.plan.change.expect("a change");
        assert_eq!((change.creates, change.destroys), (1, 1));
        life.converge(&mut sim).await;
        let left: Vec<String> = places(&sim).into_keys().collect();
        assert_eq!(left, ["m1", "m2", "m4"]);
    });
}

#[test]
fn a_drained_member_stays_while_another_one_is_lost() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        sim.edit(|spec| {
            spec.template = template(2);
            spec.drain.delay = seconds(30);
        });
        let drained = sim.until(Duration::from_hours(1), |pass| {
            let mut steps = pass.plan.steps.iter();
            steps.any(|step| matches!(step.action, Action::Drain { .. }))
        });
        assert!(drained.await.expect("every pass can be made").is_some());
        // m3 is being drained; m1 dies meanwhile, so m3 must stay until m1 is back.
        crash(&sim, "m1");
        let m3 = places(&sim)["m3"].clone();
        let mut taken_too_early = false;
        sim.until(Duration::from_hours(1), |pass| {
            let back = pass.classified.members.values().any(|member| {
                let seat = member.seat.as_ref();
                seat.is_some_and(|seat| seat.member.as_str() == "m1")
                    && member.class == drover_model::InstanceClass::Available
            });
            for step in &pass.plan.steps {
                if let Action::Destroy { provider_ref, .. } = &step.action {
                    taken_too_early |= *provider_ref == m3 && !back;
                }
            }
            pass.plan.next.phase == GroupPhase::Converged
        })
        .await
        .expect("every pass can be made");
        assert!(!taken_too_early);
        life.converge(&mut sim).await;
    });
}

#[test]
fn a_live_group_never_switches_between_size_and_members() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        sim.edit(|spec| {
            spec.quorum = None;
            spec.size = 5;
        });
        life.run(&mut sim, seconds(600)).await;
        let pass = life.pass(&mut sim).await;
        assert!(has(&pass, |hold| *hold == Hold::SizingChanged));
        assert_eq!(sim.world().stats().created, 3);
    });
}

#[test]
fn a_member_is_replaced_because_a_person_says_so_under_the_rules_of_its_quorum() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        // Who leads is last, though it was asked first.
        let ids: Vec<_> = sim.recorded.instances.keys().cloned().collect();
        for id in &ids[..2] {
            sim.order(OrderVerb::Replace, id, seconds(7200));
        }
        let mut least = usize::MAX;
        while sim.recorded.phase != GroupPhase::Converged || sim.recorded.orders.iter().any(open) {
            let pass = life.pass(&mut sim).await;
            least = least.min(well(&sim));
            let end = sim.now() + seconds(30);
            sim.sleep(&pass, end);
        }
        assert_eq!(least, 2, "one at a time");
        let there: Vec<_> = sim.recorded.instances.keys().cloned().collect();
        assert_eq!(there.len(), 3);
        assert!(there.contains(&ids[2]) && !there.contains(&ids[0]) && !there.contains(&ids[1]));
        assert_eq!(places(&sim).len(), 3);
        let stats = sim.world().stats().clone();
        assert_eq!(
            (stats.created, stats.destroyed, stats.double_attach),
            (5, 2, 0)
        );
    });
}

#[test]
fn a_member_that_cannot_be_spared_is_not_replaced_because_a_person_says_so() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3"], booting()).await;
        vanish(&sim, "m3");
        let first = sim.recorded.instances.keys().next().cloned().unwrap();
        sim.world().settings.capacity = Some(2);
        sim.order(OrderVerb::Replace, &first, seconds(3600));
        life.run(&mut sim, seconds(1800)).await;
        assert_eq!(sim.world().stats().destroyed, 0);
        assert!(sim.recorded.instances.contains_key(&first));
    });
}

fn open(order: &RecordedOrder) -> bool {
    order.state == OrderState::Open
}
