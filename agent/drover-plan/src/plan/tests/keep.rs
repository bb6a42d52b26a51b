use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Activity, Amount, DeletionPolicy, ErrorClass, Kept, LaunchBackoff, Lifecycle, Manage, Protect,
    Rollout, Suspend,
};

use super::*;
use crate::testing::provider_ref;

const DAY: i64 = 86_400;

/// Three instances, of which the first ended, and one may be kept.
fn broken() -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.heal.keep.max = 1;
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture
}

/// The same, of which the first has been kept since so many seconds before noon, and was replaced.
fn kept_since(seconds: i64) -> Fixture {
    let mut fixture = broken();
    keep(&mut fixture, "web-1", seconds);
    fixture.known("web-4", "Available");
    fixture.list("web-4", ProviderPhase::Running);
    fixture.recorded.next_number = 5;
    fixture
}

fn keep(fixture: &mut Fixture, name: &str, seconds: i64) {
    let was = fixture.recorded.instances.get_mut(&id(name)).unwrap();
    was.class = "Exited".to_owned();
    was.kept = Some(Kept {
        since: at(-seconds),
        until: at(DAY - seconds),
        because: "ended".to_owned(),
    });
}

fn kept(plan: &Plan) -> Vec<String> {
    let instances = plan.next.instances.iter();
    let kept = instances.filter(|(_, was)| was.kept.is_some());
    kept.map(|(id, _)| id.to_string()).collect()
}

fn ended(plan: &Plan) -> Vec<(String, Cause)> {
    let ends = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Destroy { instance, .. } | Action::Drain { instance, .. } => {
            Some((instance.to_string(), step.cause))
        }
        _ => None,
    });
    ends.collect()
}

fn acked() -> IntentState {
    IntentState::Acked {
        made: BTreeMap::new(),
        at: at(-5),
    }
}

fn made(plan: &Plan) -> usize {
    creates(plan).iter().map(|(slots, _)| slots.len()).sum()
}

#[test]
fn a_bad_instance_is_kept_and_replaced_like_any_other() {
    let mut fixture = broken();
    let (plan, report) = fixture.planned();
    assert_eq!(kept(&plan), ["web-1"]);
    assert_eq!(ended(&plan), []);
    assert_eq!(made(&plan), 1, "whatever is kept");
    assert_eq!(report.holds, []);
    let was = plan.next.instances[&id("web-1")].clone();
    assert_eq!(was.kept.unwrap().until, at(DAY));
    assert_eq!(plan.wake_at, Some(at(1)));
    assert_eq!(report.timer_at, Some(at(DAY)));
    assert_eq!(
        plan.next.rates.last().unwrap().destroyed,
        1,
        "out of service"
    );

    fixture.recorded = plan.next;
    let (plan, report) = fixture.later(30).planned();
    assert_eq!(fixture.class("web-1"), "kept");
    assert_eq!((made(&plan), kept(&plan).len()), (1, 1), "nothing was made");
    assert_eq!((report.numbers.total, report.numbers.kept), (3, 1));
    assert_eq!(
        report.numbers.ceiling, 5,
        "the size, the surge and what is kept"
    );
}

#[test]
fn without_being_asked_for_nothing_is_kept() {
    let mut fixture = broken();
    fixture.group.spec.heal.keep.max = 0;
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), [""; 0]);
    assert_eq!(
        ended(&plan),
        [("web-1".to_owned(), Cause::Because(Reason::Heal))]
    );
    assert_eq!(plan.next.rates, []);
}

#[test]
fn a_failed_launch_is_kept_and_counts_against_its_template() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.heal.keep.max = 1;
    fixture.group.spec.template = template(2);
    let target = fixture.digests();
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(-700), 3));
    for name in ["web-4", "web-5"] {
        fixture.known(name, "Starting");
        fixture.list(name, ProviderPhase::Exited(ExitReport::default()));
    }
    fixture.recorded.next_number = 6;
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), ["web-4"]);
    assert_eq!(ended(&plan), [("web-5".to_owned(), Cause::FailedLaunch)]);
    let failures = &plan.next.rollout.as_ref().unwrap().failures;
    assert_eq!(failures.len(), 2);
    assert_eq!(plan.next.rates, [], "it never served");

    fixture.recorded = plan.next.clone();
    let (plan, _) = fixture.later(30).planned();
    let again = &plan.next.rollout.as_ref().unwrap().failures;
    assert_eq!(again, &fixture.recorded.rollout.as_ref().unwrap().failures);
}

#[test]
fn no_more_are_kept_than_may_be_and_the_others_are_ended() {
    let mut fixture = kept_since(60);
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), ["web-1"], "who comes first");
    assert_eq!(
        ended(&plan),
        [("web-2".to_owned(), Cause::Because(Reason::Heal))]
    );
    // One that is being ended still has its room.
    fixture.destroy("web-1", Reason::Heal, acked());
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), ["web-1"]);
    assert_eq!(
        ended(&plan),
        [("web-2".to_owned(), Cause::Because(Reason::Heal))]
    );
}

#[test]
fn what_is_kept_is_out_of_service_however_well_it_becomes() {
    let mut fixture = kept_since(60);
    fixture.list("web-1", ProviderPhase::Running);
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    let (plan, report) = fixture.planned();
    assert_eq!(report.numbers.available, 2);
    assert_eq!((made(&plan), kept(&plan).len()), (1, 1));
    // Nor does it hinder a rollout, or take part in it.
    let mut fixture = kept_since(60);
    fixture.list("web-1", ProviderPhase::Running);
    fixture.group.spec.template = template(2);
    let (plan, report) = fixture.planned();
    assert_eq!(made(&plan), 1);
    assert_eq!(report.numbers.outdated, 3);
    assert_eq!(plan.next.templates.len(), 2);
}

#[test]
fn a_group_converges_beside_what_is_kept() {
    let fixture = kept_since(60);
    let (plan, report) = fixture.planned();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.next.phase, GroupPhase::Converged);
    assert_eq!(report.numbers.total, 4);
    assert_eq!(report.timer_at, Some(at(DAY - 60)));
}

#[test]
fn what_was_kept_for_long_enough_is_drained_and_destroyed_and_disturbs_nothing() {
    let mut fixture = kept_since(DAY - 1);
    assert_eq!(ended(&fixture.planned().0), []);
    let over = || ("web-1".to_owned(), Cause::KeptOver);
    let (plan, report) = fixture.later(1).planned();
    assert_eq!(ended(&plan), [over()]);
    assert!(report.disturbance.leaving.is_empty() && report.disturbance.begun.is_empty());
    // It may have found work in the meantime.
    fixture.list("web-1", ProviderPhase::Running);
    let (plan, _) = fixture.planned();
    assert!(matches!(plan.steps[0].action, Action::Drain { .. }));
    fixture.drain("web-1", Reason::Heal);
    assert_eq!(ended(&fixture.planned().0), [], "it is drained");
    let (plan, _) = fixture.later(301).planned();
    assert_eq!(ended(&plan), [over()]);
    // A longer time holds for what is kept already.
    fixture.intents.clear();
    fixture.group.spec.heal.keep.time = Duration::from_hours(48);
    let (plan, _) = fixture.planned();
    assert_eq!(ended(&plan), []);
    let until = plan.next.instances[&id("web-1")]
        .kept
        .clone()
        .unwrap()
        .until;
    assert_eq!(until, at(DAY + 1));
}

#[test]
fn the_end_of_what_was_kept_counts_for_no_hourly_limit() {
    let mut fixture = kept_since(DAY);
    fixture.destroy("web-1", Reason::Heal, acked());
    fixture.unlist("web-1");
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.rates, []);
    assert_eq!(kept(&plan), [""; 0]);
}

#[test]
fn of_what_is_too_much_the_oldest_go_first() {
    let mut fixture = kept_since(60);
    fixture.group.spec.heal.keep.max = 3;
    for (name, seconds) in [("web-5", 90), ("web-6", 30)] {
        fixture.known(name, "Exited");
        fixture.list(name, ProviderPhase::Exited(ExitReport::default()));
        keep(&mut fixture, name, seconds);
    }
    fixture.recorded.next_number = 7;
    let names =
        |plan: &Plan| -> Vec<String> { ended(plan).into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(&fixture.planned().0), [""; 0]);
    fixture.group.spec.heal.keep.max = 2;
    assert_eq!(names(&fixture.planned().0), ["web-5"]);
    fixture.group.spec.heal.keep.max = 0;
    assert_eq!(names(&fixture.planned().0).len(), 3);
    // As if it took the places of what is wanted: three, and one above.
    fixture.group.spec.heal.keep.max = 3;
    fixture.group.spec.limits.total_max = Some(6);
    assert_eq!(names(&fixture.planned().0), ["web-5"]);
    // Or when the provider has no room.
    fixture.group.spec.limits.total_max = None;
    for (class, ends) in [(ErrorClass::Quota, 3), (ErrorClass::Unknown, 0)] {
        fixture.recorded.backoff = Some(LaunchBackoff {
            failures: 2,
            until: at(60),
            class: Some(class),
            message: "no more".to_owned(),
        });
        fixture.group.spec.size = 4;
        assert_eq!(names(&fixture.planned().0).len(), ends, "{class:?}");
    }
}

#[test]
fn what_is_on_its_way_out_leaves_its_room_to_what_is_still_kept() {
    let mut fixture = kept_since(60);
    fixture.known("web-5", "Exited");
    fixture.list("web-5", ProviderPhase::Exited(ExitReport::default()));
    keep(&mut fixture, "web-5", 30);
    fixture.recorded.next_number = 6;
    assert_eq!(ended(&fixture.planned().0).len(), 1, "one may be kept");
    fixture.destroy("web-1", Reason::Heal, acked());
    let (plan, _) = fixture.planned();
    assert_eq!(ended(&plan), []);
}

#[test]
fn nothing_is_kept_in_the_place_of_its_replacement() {
    let mut fixture = broken();
    fixture.group.spec.limits.total_max = Some(4);
    fixture.group.spec.rollout.surge_max = Amount::Count(1);
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), [""; 0]);
    fixture.group.spec.limits.total_max = Some(5);
    let (plan, _) = fixture.planned();
    assert_eq!((kept(&plan).len(), made(&plan)), (1, 1));
    // In a group of nobody nothing takes anybody's place.
    fixture.group.spec.size = 0;
    fixture.group.spec.limits.total_max = Some(1);
    let (plan, _) = fixture.planned();
    assert_eq!((kept(&plan).len(), made(&plan)), (1, 0));
}

fn suspended(what: Activity) -> Suspend {
    Suspend {
        what: BTreeSet::from([what]),
        until: None,
        because: None,
    }
}

#[test]
fn what_may_not_be_healed_is_not_kept_either() {
    let protect = Protect {
        instances: BTreeSet::from([id("web-1")]),
        from: BTreeSet::from([Reason::Heal]),
        until: None,
        because: None,
    };
    let mut fixture = broken();
    fixture.group.spec.suspend = vec![suspended(Activity::Heal)];
    assert_eq!(kept(&fixture.planned().0), [""; 0]);
    fixture.group.spec.suspend.clear();
    fixture.decisions.gates = std::iter::once(gate(Reason::Heal, "3")).collect();
    assert_eq!(kept(&fixture.planned().0), [""; 0]);
    fixture.decisions.gates.clear();
    fixture.group.spec.protect = vec![protect.clone()];
    assert_eq!(kept(&fixture.planned().0), [""; 0]);
    fixture.group.spec.protect.clear();
    fixture.group.spec.limits.destroy_hourly_max = Some(1);
    assert_eq!(kept(&fixture.planned().0), ["web-1"]);
    fixture.recorded.rates = vec![drover_model::RateSlot {
        since: at(-600),
        created: 0,
        destroyed: 1,
        size: 3,
    }];
    assert_eq!(kept(&fixture.planned().0), [""; 0], "the hour is used up");
    fixture.recorded.rates.clear();
    fixture.group.spec.manage = Manage::Observe;
    let (plan, report) = fixture.planned();
    assert_eq!(kept(&plan), [""; 0]);
    assert!(holds(&report).contains(&"ObserveOnly"));
    // Nor is what was kept ended while leftovers are not to be cleared, or it is protected.
    let mut fixture = kept_since(DAY);
    fixture.group.spec.suspend = vec![suspended(Activity::Gc)];
    let (plan, report) = fixture.planned();
    assert_eq!((ended(&plan).len(), holds(&report)), (0, vec!["Suspended"]));
    fixture.group.spec.suspend.clear();
    fixture.group.spec.protect = vec![protect];
    let (plan, report) = fixture.planned();
    let held = vec!["ProtectedInstance"];
    assert_eq!((ended(&plan).len(), holds(&report)), (0, held));
}

#[test]
fn what_the_provider_takes_or_has_done_its_work_is_not_kept() {
    let mut fixture = broken();
    fixture.interrupt("web-1", at(600));
    assert_eq!(kept(&fixture.planned().0), [""; 0]);
    // Not even what failed to launch.
    fixture.known("web-1", "Starting");
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), [""; 0]);
    assert_eq!(ended(&plan)[0].1, Cause::FailedLaunch);
    let mut fixture = broken();
    fixture.group.spec.lifecycle = Lifecycle::Ephemeral;
    let report = ExitReport {
        code: Some(0),
        ..ExitReport::default()
    };
    fixture.list("web-1", ProviderPhase::Exited(report));
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), [""; 0]);
    assert_eq!(ended(&plan), [("web-1".to_owned(), Cause::Completed)]);
    // Nor while its remains are not to be cleared.
    fixture.group.spec.suspend = vec![suspended(Activity::Gc)];
    assert_eq!(kept(&fixture.planned().0), [""; 0]);
    fixture.group.spec.suspend.clear();
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    fixture.memory.get_mut(&id("web-1")).unwrap().completed = false;
    assert_eq!(kept(&fixture.planned().0), ["web-1"], "this one broke");
}

#[test]
fn what_is_kept_goes_with_its_group() {
    let mut fixture = kept_since(60);
    fixture.removed = true;
    let (plan, _) = fixture.planned();
    let deletes = |(_, cause): &(String, Cause)| *cause == Cause::Because(Reason::Delete);
    assert_eq!(ended(&plan).len(), 4);
    assert!(ended(&plan).iter().all(deletes));
    fixture.recorded = plan.next;
    fixture
        .recorded
        .instances
        .retain(|_, was| was.kept.is_some());
    fixture
        .listing
        .instances
        .retain(|listed| listed.provider_ref == provider_ref("web-1"));
    let (plan, _) = fixture.later(30).planned();
    assert_eq!(plan.next.phase, GroupPhase::Deleting, "it is still there");
    fixture.unlist("web-1");
    let (plan, _) = fixture.later(60).planned();
    assert_eq!(
        plan.next.phase,
        GroupPhase::Deleting,
        "one listing proves nothing"
    );
    fixture.recorded = plan.next;
    let (plan, _) = fixture.later(150).planned();
    assert_eq!(plan.next.phase, GroupPhase::Deleted);

    let mut fixture = kept_since(60);
    fixture.removed = true;
    fixture.group.spec.deletion.policy = DeletionPolicy::Orphan;
    let (plan, _) = fixture.planned();
    let released = |step: &&drover_model::Step| matches!(step.action, Action::Release { .. });
    assert_eq!(plan.steps.iter().filter(released).count(), 4);
}

#[test]
fn what_is_kept_and_missing_is_waited_for_and_then_forgotten() {
    let mut fixture = kept_since(60);
    fixture.unlist("web-1");
    let (plan, report) = fixture.planned();
    assert_eq!(kept(&plan), ["web-1"]);
    assert_eq!(report.numbers.total, 4);
    fixture.recorded = plan.next;
    let (plan, report) = fixture.later(90).planned();
    assert_eq!(kept(&plan), [""; 0]);
    assert_eq!(report.numbers.total, 3);
    assert_eq!(plan.steps, []);
}

#[test]
fn an_instance_that_vanishes_while_it_is_kept_is_no_failure_of_its_template() {
    let mut fixture = kept_since(60);
    let was = fixture.recorded.instances.get_mut(&id("web-1")).unwrap();
    was.class = "Starting".to_owned();
    fixture.recorded.stable = None;
    let target = fixture.digests();
    fixture.recorded.rollout = Some(Rollout::new(target, at(-60), 3));
    fixture.list("web-1", ProviderPhase::Terminated);
    // The rollout goes on: one is not ready yet.
    fixture.known("web-4", "Starting");
    fixture.list("web-4", ProviderPhase::Pending);
    let (plan, _) = fixture.planned();
    assert!(!plan.next.rollout.unwrap().failures.contains(&id("web-1")));
}

#[test]
fn without_any_record_what_was_kept_is_bad_like_any_other() {
    let mut fixture = kept_since(60);
    fixture.recorded.instances.clear();
    fixture.memory.clear();
    // First the others prove themselves anew.
    assert_eq!(kept(&fixture.planned().0), [""; 0]);
    let (plan, _) = fixture.later(30).planned();
    assert_eq!(kept(&plan), ["web-1"], "it is kept anew");
    let until = plan.next.instances[&id("web-1")]
        .kept
        .clone()
        .unwrap()
        .until;
    assert_eq!(until, at(DAY + 30));
}

#[test]
fn what_is_kept_takes_up_its_room_among_the_repairs_until_somebody_has_looked() {
    let mut fixture = broken();
    fixture.group.spec.heal.keep.max = 3;
    fixture.group.spec.heal.in_flight_max = Amount::Percent(100);
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    fixture.group.spec.budgets = vec![drover_model::Budget {
        reasons: BTreeSet::from([Reason::Heal]),
        max: Amount::Count(1),
    }];
    let (plan, report) = fixture.planned();
    assert_eq!(kept(&plan), ["web-1"]);
    assert_eq!(holds(&report), ["BudgetExhausted"]);
    fixture.recorded = plan.next;
    let (plan, report) = fixture.planned();
    assert_eq!(kept(&plan), ["web-1"], "the same facts");
    assert_eq!(holds(&report), ["BudgetExhausted"]);
    let (plan, _) = fixture.later(1).planned();
    assert_eq!(kept(&plan), ["web-1", "web-2"]);
}

#[test]
fn a_refusal_of_what_nobody_needs_any_more_ends_nothing_that_is_kept() {
    let mut fixture = kept_since(60);
    fixture.recorded.next_number = 10;
    let refused = IntentState::Failed {
        class: ErrorClass::Capacity,
        message: "no room".to_owned(),
        at: at(-5),
    };
    fixture.create(&["web-9"], -10, refused.clone());
    assert_eq!(ended(&fixture.planned().0), []);
    // Nor is another one kept, which would have to be replaced.
    fixture.group.spec.heal.keep.max = 2;
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    let (plan, _) = fixture.planned();
    assert_eq!(kept(&plan), ["web-1"]);
    fixture.list("web-2", ProviderPhase::Running);
    // Where one is missing it is in the way.
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    fixture.memory.remove(&id("web-4"));
    let over = [("web-1".to_owned(), Cause::KeptOver)];
    assert_eq!(ended(&fixture.planned().0), over);
}

#[test]
fn a_group_that_is_at_rest_without_what_is_kept_says_so_at_once() {
    let mut fixture = broken();
    fixture.group.spec.size = 2;
    fixture.recorded.size = 2;
    let (plan, _) = fixture.planned();
    assert_eq!((kept(&plan).len(), made(&plan)), (1, 0));
    assert_eq!(plan.wake_at, Some(at(1)));
}
