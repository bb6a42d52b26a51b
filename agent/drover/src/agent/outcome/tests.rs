use std::sync::Arc;
use std::time::Duration;

use drover_model::{Activity, PolicyHold, SourceSpan, Timestamp};

use super::*;

fn held(hold: Hold) -> Held {
    Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    }
}

fn policy() -> PolicyHold {
    PolicyHold {
        policy: "guard".parse().unwrap(),
        binding: "guard".to_owned(),
        span: SourceSpan::start_of("policies/guard.yaml"),
        message: "no".to_owned(),
        values: BTreeMap::new(),
    }
}

fn group(phase: GroupPhase, holds: Vec<Held>) -> GroupReport {
    GroupReport {
        phase: Some(phase),
        holds,
        planned: true,
        ..GroupReport::default()
    }
}

fn report(groups: Vec<GroupReport>) -> PassReport {
    let named = groups
        .into_iter()
        .enumerate()
        .map(|(number, group)| (format!("g{number}").parse().unwrap(), Arc::new(group)));
    PassReport {
        pass: 1,
        at: "2026-01-05T10:00:00Z".parse::<Timestamp>().unwrap(),
        took: Duration::ZERO,
        revision: Some("1111111111111111111111111111111111111111".parse().unwrap()),
        groups: named.collect(),
        holds: Vec::new(),
        diagnostics: Arc::default(),
        commits: 0,
        mutations: 0,
        planned: 0,
        wake_at: None,
        timer_at: None,
        unfinished: 0,
    }
}

fn after(groups: Vec<GroupReport>) -> Standing {
    standing(&report(groups), &|_| false)
}

#[test]
fn everything_converged_is_done_and_something_on_its_way_is_not() {
    let converged = || group(GroupPhase::Converged, Vec::new());
    let progressing = || group(GroupPhase::Progressing, Vec::new());
    assert_eq!(after(vec![converged()]), Standing::Converged);
    assert_eq!(after(Vec::new()), Standing::Converged);
    assert_eq!(after(vec![converged(), progressing()]), Standing::Going);
    let mut unread = report(Vec::new());
    unread.revision = None;
    assert_eq!(standing(&unread, &|_| false), Standing::Going);
}

#[test]
fn a_person_is_waited_for_with_the_exit_status_that_says_for_what() {
    let stuck = |hold: Hold| after(vec![group(GroupPhase::Held, vec![held(hold)])]);
    let limit = Hold::DestroyLimit {
        wanted: 9,
        limit: 3,
        earlier: 0,
    };
    assert_eq!(stuck(limit), Standing::Stuck(Exit::ApprovalNeeded));
    assert_eq!(
        stuck(Hold::PolicyDenied(policy())),
        Standing::Stuck(Exit::Denied)
    );
    let suspended = Hold::Suspended {
        activity: Activity::All,
        because: None,
    };
    assert_eq!(stuck(suspended), Standing::Stuck(Exit::Partial));
    // Time ends these.
    assert_eq!(stuck(Hold::ObservationStale), Standing::Going);
    let mut until = held(Hold::GateClosed(policy()));
    until.until = Some("2026-01-05T11:00:00Z".parse().unwrap());
    assert_eq!(
        after(vec![group(GroupPhase::Held, vec![until])]),
        Standing::Going
    );
}

#[test]
fn a_held_group_with_instances_on_their_way_is_not_stuck_yet() {
    let mut waiting = group(GroupPhase::Held, vec![held(Hold::Protected)]);
    waiting.numbers.total = 3;
    waiting.numbers.available = 2;
    assert_eq!(after(vec![waiting]), Standing::Going);
}

#[test]
fn a_group_that_cannot_even_be_planned_waits_for_a_person_if_its_hold_does() {
    let missing = Hold::ProviderMissing {
        provider: "local".parse().unwrap(),
        why: "not allowed".to_owned(),
    };
    let mut unplanned = group(GroupPhase::Held, vec![held(missing)]);
    unplanned.planned = false;
    assert_eq!(
        after(vec![unplanned.clone()]),
        Standing::Stuck(Exit::Partial)
    );
    unplanned.holds.clear();
    assert_eq!(after(vec![unplanned]), Standing::Going);
}

#[test]
fn a_gate_that_the_clock_opens_is_waited_for() {
    let gated = || {
        report(vec![group(
            GroupPhase::Held,
            vec![held(Hold::GateClosed(policy()))],
        )])
    };
    assert_eq!(standing(&gated(), &|_| true), Standing::Going);
    assert_eq!(
        standing(&gated(), &|_| false),
        Standing::Stuck(Exit::Denied)
    );
}

#[test]
fn what_can_be_approved_comes_before_what_is_denied() {
    let of = |hold: Hold| group(GroupPhase::Held, vec![held(hold)]);
    let both = vec![of(Hold::PolicyDenied(policy())), of(Hold::Protected)];
    assert_eq!(after(both), Standing::Stuck(Exit::ApprovalNeeded));
}

#[test]
fn a_single_pass_fails_with_its_source_and_is_partial_with_a_failed_step() {
    let mut unreadable = report(Vec::new());
    let why = "gone".to_owned();
    unreadable.holds = vec![held(Hold::SourceUnavailable { why })];
    assert_eq!(of_one_pass(&unreadable), Exit::Failed);

    let mut failed = group(GroupPhase::Progressing, Vec::new());
    failed.steps = vec![drover_loop::StepReport {
        verb: "create",
        cause: "scaleOut",
        instances: vec!["web-1".to_owned()],
        result: StepFate::Failed("no room".to_owned()),
    }];
    assert_eq!(of_one_pass(&report(vec![failed])), Exit::Partial);
    assert_eq!(of_one_pass(&report(Vec::new())), Exit::Done);
}
