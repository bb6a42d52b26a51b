//! What quorum groups promise whose program keeps a membership list, and what other systems got wrong
//! about it. Each test is the situation that the mistake showed in; the comment names what went wrong there.

mod driver;

use std::collections::BTreeSet;
use std::time::Duration;

use driver::{Life, crash, live, places, seconds, vanish};
use drover_model::{Action, GroupPhase, Hold, RosterChange, RosterStep};
use drover_provider_sim::{Behavior, SimSettings, Which};
use drover_sim::{Pass, RosterFault, Simulation, dynamic_group, set_members, template};

const THREE: [&str; 3] = ["m1", "m2", "m3"];

async fn settled(life: &Life, members: &[&str]) -> Simulation {
    let settings = SimSettings {
        boot: seconds(20),
        ..SimSettings::default()
    };
    let mut sim = Simulation::new(dynamic_group("db", members, 1), settings);
    life.converge(&mut sim).await;
    sim
}

/// Returns the members in the list, all of which vote.
fn voters(sim: &Simulation) -> Vec<String> {
    let members = sim.rosters().members(sim.name());
    assert!(members.values().all(|votes| *votes), "{members:?}");
    members.into_keys().collect()
}

fn roster_step(pass: &Pass) -> Option<&RosterStep> {
    pass.plan.steps.iter().find_map(|step| match &step.action {
        Action::Roster(step) => Some(step),
        _ => None,
    })
}

/// Returns `verb member` of every step that touches a member or the list, in the order in which they were
/// planned, until the group has converged.
async fn told(sim: &mut Simulation, limit: Duration) -> Vec<String> {
    let mut told = Vec::new();
    let done = sim
        .until(limit, |pass| {
            for step in &pass.plan.steps {
                let seat = |id| {
                    pass.classified.members[id]
                        .seat
                        .clone()
                        .expect("a seat")
                        .member
                };
                let line = match &step.action {
                    Action::Roster(step) => format!("{} {}", step.verb(), step.subject()),
                    Action::Destroy { instance, .. } => format!("destroy {}", seat(instance)),
                    Action::Create {
                        seat: Some(seat), ..
                    } => format!("create {}", seat.id.member),
                    _ => continue,
                };
                if told.last() != Some(&line) {
                    told.push(line);
                }
            }
            pass.plan.next.phase == GroupPhase::Converged
        })
        .await;
    assert!(done.expect("a pass").is_some(), "{told:?}");
    told
}

fn has(pass: &Pass, wanted: impl Fn(&Hold) -> bool) -> bool {
    pass.report.holds.iter().any(|held| wanted(&held.hold))
}

fn at_risk(hold: &Hold) -> bool {
    matches!(hold, Hold::QuorumAtRisk { .. })
}

fn unclear(hold: &Hold) -> bool {
    matches!(hold, Hold::MembershipUnclear { .. })
}

#[test]
fn a_member_leaves_before_it_ends_and_is_added_before_it_is_made() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        let leader = sim.rosters().leader(sim.name()).unwrap().to_string();
        sim.edit(|spec| spec.template = template(2));
        let told = told(&mut sim, Duration::from_hours(2)).await;
        let others: Vec<&str> = THREE.into_iter().rev().filter(|m| *m != leader).collect();
        let mut expected = Vec::new();
        for member in others.iter().copied().chain([leader.as_str()]) {
            if member == leader {
                expected.push(format!("moveLeader {leader}"));
            }
            for verb in [
                "removeMember",
                "destroy",
                "addMember",
                "create",
                "promoteMember",
            ] {
                expected.push(format!("{verb} {member}"));
            }
        }
        assert_eq!(told, expected);
        assert_eq!(voters(&sim), THREE);
        assert_ne!(sim.rosters().leader(sim.name()).unwrap().as_str(), leader);
    });
}

#[test]
fn a_member_that_dies_is_replaced_by_one_with_an_entry_of_its_own() {
    for vanishes in [false, true] {
        live(async |life| {
            let mut sim = settled(life, &THREE).await;
            if vanishes {
                vanish(&sim, "m2");
            } else {
                crash(&sim, "m2");
            }
            life.converge(&mut sim).await;
            assert_eq!(voters(&sim), THREE);
            assert_eq!(sim.world().stats().created, 4);
        });
    }
}

/// capi#13221: an entry that nobody ever worked under was left behind, and blocked every later change.
#[test]
fn an_entry_that_nobody_works_under_is_removed() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        sim.rosters().add_ghost(sim.name(), "198.51.100.9");
        sim.edit(|spec| spec.template = template(2));
        life.converge(&mut sim).await;
        assert_eq!(voters(&sim), THREE);
        assert_eq!(sim.world().stats().created, 6);
    });
}

/// capi#13667: a join that failed left its learner, and the next one was refused for ever.
#[test]
fn a_failed_join_takes_its_entry_with_it() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        let now = sim.now();
        let which = Which::Property("version".to_owned(), drover_model::Value::from(9));
        sim.world().behave(now, which, Behavior::NeverBoots);
        sim.edit(|spec| {
            spec.template = template(9);
            spec.health.startup_timeout = seconds(60);
        });
        life.run(&mut sim, seconds(900)).await;
        assert_eq!(sim.rosters().has_majority(sim.name()), Some(true));
        sim.edit(|spec| spec.template = template(1));
        life.converge(&mut sim).await;
        assert_eq!(voters(&sim), THREE);
    });
}

#[test]
fn a_change_without_an_answer_is_settled_by_the_list_before_it_is_repeated() {
    let faults = [
        RosterFault::LostReply,
        RosterFault::LostRequest,
        RosterFault::Refused,
        RosterFault::Late(seconds(20)),
    ];
    for fault in faults {
        live(async |life| {
            let mut sim = settled(life, &THREE).await;
            sim.edit(|spec| spec.template = template(2));
            // One for each of the first changes.
            for _ in 0..4 {
                sim.rosters().inject(fault);
            }
            let mut before = None;
            let done = sim.until(Duration::from_hours(3), |pass| {
                if let Some(step) = roster_step(pass) {
                    assert_ne!(before.as_ref(), Some(step), "repeated at once");
                }
                before = roster_step(pass).cloned();
                pass.plan.next.phase == GroupPhase::Converged
            });
            assert!(done.await.unwrap().is_some(), "{fault:?}");
            assert_eq!(voters(&sim), THREE, "{fault:?}");
            assert_eq!(sim.world().stats().created, 6, "{fault:?}");
        });
    }
}

#[test]
fn nothing_is_touched_while_the_list_is_not_clear() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        sim.rosters().set_stranger(sim.name(), true);
        sim.edit(|spec| spec.template = template(2));
        crash(&sim, "m1");
        life.run(&mut sim, seconds(1800)).await;
        let pass = life.pass(&mut sim).await;
        assert!(has(&pass, unclear), "{:?}", pass.report.holds);
        assert_eq!(pass.plan.next.phase, GroupPhase::Held);
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (3, 0));
        sim.rosters().set_stranger(sim.name(), false);
        sim.rosters().blind(10);
        life.converge(&mut sim).await;
        assert_eq!(voters(&sim), THREE);
    });
}

/// consul#5922: what was left of a lost majority was made a quorum of its own.
#[test]
fn a_lost_majority_is_held_and_the_list_stays_as_it_is() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        vanish(&sim, "m1");
        crash(&sim, "m2");
        life.run(&mut sim, seconds(3600)).await;
        let pass = life.pass(&mut sim).await;
        assert!(has(&pass, unclear), "{:?}", pass.report.holds);
        assert_eq!(voters(&sim), THREE);
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (3, 0));
    });
}

/// consul#8118: a second failure within the replacement of the first shrank the quorum further.
#[test]
fn a_second_failure_waits_until_the_first_is_replaced() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2", "m3", "m4", "m5"]).await;
        crash(&sim, "m5");
        let left = |pass: &Pass| {
            roster_step(pass).is_some_and(|step| matches!(step.change, RosterChange::Remove(_)))
        };
        sim.until(seconds(600), left).await.unwrap().unwrap();
        crash(&sim, "m4");
        let mut least = 5;
        let told_until = |pass: &Pass| pass.plan.next.phase == GroupPhase::Converged;
        let end = sim.now() + Duration::from_hours(2);
        while sim.now() < end {
            let pass = life.pass(&mut sim).await;
            least = least.min(sim.rosters().members(sim.name()).len());
            if told_until(&pass) {
                break;
            }
            sim.sleep(&pass, end);
        }
        assert_eq!(least, 4, "one is out of the list at a time");
        assert_eq!(voters(&sim).len(), 5);
    });
}

#[test]
fn of_two_that_are_missing_the_one_that_was_added_comes_first() {
    live(async |life| {
        let four = ["m1", "m2", "m3", "m4"];
        let mut sim = settled(life, &four).await;
        crash(&sim, "m3");
        let left = |pass: &Pass| {
            roster_step(pass).is_some_and(|step| matches!(step.change, RosterChange::Remove(_)))
        };
        sim.until(seconds(600), left).await.unwrap().unwrap();
        vanish(&sim, "m1");
        life.run(&mut sim, seconds(600)).await;
        let pass = life.pass(&mut sim).await;
        assert!(has(&pass, at_risk), "two of four: {:?}", pass.report.holds);
        sim.edit(|spec| spec.quorum.as_mut().unwrap().allow_downtime = true);
        life.converge(&mut sim).await;
        assert_eq!(voters(&sim), four);
    });
}

#[test]
fn a_newcomer_gives_way_to_whoever_was_there_before() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        sim.edit(|spec| set_members(spec, &["m1", "m2", "m3", "m4"]));
        let added = |pass: &Pass| {
            roster_step(pass).is_some_and(|step| matches!(step.change, RosterChange::Add))
        };
        sim.until(seconds(600), added).await.unwrap().unwrap();
        crash(&sim, "m2");
        let told = told(&mut sim, Duration::from_hours(2)).await;
        let at = |line: &str| told.iter().position(|told| told == line);
        assert!(at("create m2") < at("create m4"), "{told:?}");
        assert_eq!(voters(&sim), ["m1", "m2", "m3", "m4"]);
    });
}

/// consul#3472: six were scaled in to three at once, and those left had no votes.
#[test]
fn members_leave_one_by_one_and_join_one_by_one() {
    live(async |life| {
        let five = ["m1", "m2", "m3", "m4", "m5"];
        let mut sim = settled(life, &five).await;
        sim.edit(|spec| set_members(spec, &THREE));
        let shrunk = told(&mut sim, Duration::from_hours(2)).await;
        let leaves =
            |line: &&String| line.starts_with("removeMember") || line.starts_with("destroy");
        let left: Vec<&String> = shrunk.iter().filter(leaves).collect();
        assert_eq!(left.len(), 4, "{shrunk:?}");
        assert!(left[0].starts_with("removeMember") && left[1].starts_with("destroy"));
        assert_eq!(voters(&sim), THREE);
        sim.edit(|spec| set_members(spec, &five));
        let grown = told(&mut sim, Duration::from_hours(2)).await;
        let expected = ["m4", "m5"].map(|member| {
            ["addMember", "create", "promoteMember"].map(|verb| format!("{verb} {member}"))
        });
        assert_eq!(grown, expected.concat());
        assert_eq!(voters(&sim), five);
    });
}

#[test]
fn of_two_members_none_can_leave() {
    live(async |life| {
        let mut sim = settled(life, &["m1", "m2"]).await;
        sim.edit(|spec| {
            spec.template = template(2);
            spec.quorum.as_mut().unwrap().allow_downtime = true;
        });
        life.run(&mut sim, seconds(1800)).await;
        let pass = life.pass(&mut sim).await;
        assert!(has(&pass, at_risk), "{:?}", pass.report.holds);
        assert_eq!(sim.world().stats().destroyed, 0);
        assert_eq!(voters(&sim), ["m1", "m2"]);
    });
}

#[test]
fn losing_record_and_data_changes_nothing_in_the_list() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        sim.lose(true, true);
        life.run(&mut sim, seconds(1800)).await;
        let stats = sim.world().stats().clone();
        assert_eq!((stats.created, stats.destroyed), (3, 0));
        crash(&sim, "m2");
        life.converge(&mut sim).await;
        assert_eq!(voters(&sim), THREE);
    });
}

#[test]
fn removing_the_group_asks_no_list() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        sim.edit(|spec| spec.deletion.protect = false);
        life.converge(&mut sim).await;
        sim.remove();
        let gone = sim
            .until(Duration::from_hours(1), |pass| {
                assert!(roster_step(pass).is_none());
                pass.plan.next.phase == GroupPhase::Deleted
            })
            .await;
        assert!(gone.unwrap().is_some());
        let left: BTreeSet<String> = places(&sim).into_keys().collect();
        assert!(left.is_empty());
    });
}

#[test]
fn a_learner_that_cannot_be_promoted_for_a_while_is_not_replaced_for_that() {
    live(async |life| {
        let mut sim = settled(life, &THREE).await;
        sim.edit(|spec| {
            spec.health.startup_timeout = seconds(30);
            spec.rollout.min_ready = seconds(600);
        });
        life.converge(&mut sim).await;
        crash(&sim, "m2");
        let made = |pass: &Pass| {
            let mut steps = pass.plan.steps.iter();
            steps.any(|step| matches!(step.action, Action::Create { .. }))
        };
        sim.until(seconds(600), made).await.unwrap().unwrap();
        sim.rosters().blind(1000);
        life.run(&mut sim, seconds(200)).await;
        sim.rosters().blind(0);
        life.converge(&mut sim).await;
        assert_eq!(voters(&sim), THREE);
        assert_eq!(sim.world().stats().created, 4);
    });
}
