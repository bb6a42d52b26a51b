use std::sync::Arc;

use drover_loop::{GroupReport, PassReport};
use drover_model::{
    Activity, ApprovalNeeded, ChangeId, GroupName, InstanceId, PauseCause, PolicyHold, PolicyName,
    Signer, SourceSpan,
};

use super::*;
use crate::agent::metrics::tests::status;

/// The time from which the tests count seconds.
const BEGIN: i64 = 1_767_600_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + seconds).unwrap()
}

/// An agent with one group, in a phase and with holds.
fn web(phase: GroupPhase, holds: Vec<Hold>) -> AgentStatus {
    let mut status = AgentStatus::clone(&status(&["web"]));
    status.pass = Some(Arc::new(PassReport {
        pass: 1,
        at: at(0),
        took: Duration::ZERO,
        revision: None,
        groups: BTreeMap::new(),
        holds: Vec::new(),
        diagnostics: Arc::default(),
        commits: 0,
        mutations: 0,
        planned: 0,
        wake_at: None,
        timer_at: None,
        unfinished: 0,
    }));
    let name = GroupName::parse("web").unwrap();
    let group = status.groups.get_mut(&name).unwrap();
    let group = Arc::make_mut(group);
    Arc::make_mut(&mut group.recorded).phase = phase;
    let holds = holds.into_iter().map(|hold| Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    });
    group.report = Arc::new(GroupReport {
        holds: holds.collect(),
        ..GroupReport::default()
    });
    status
}

fn paused() -> Hold {
    Hold::RolloutPaused(PauseCause::Failures {
        failed: 2,
        threshold: 2,
        last: None,
    })
}

fn told(told: &mut Told, status: &AgentStatus, seconds: i64) -> Vec<String> {
    let events = told.follow(status, at(seconds)).into_iter();
    let text = |event: Event| {
        let severity = event.severity;
        format!(
            "{} {severity:?} {}",
            event.involved_object.name, event.reason
        )
    };
    events.map(text).collect()
}

#[test]
fn a_hold_is_told_once_and_its_end_to_whoever_was_told() {
    let mut all = Told::new(false);
    let fine = web(GroupPhase::Converged, Vec::new());
    // As it should be when the agent starts: no news.
    assert_eq!(told(&mut all, &fine, 0), Vec::<String>::new());
    let rolling = web(GroupPhase::Progressing, Vec::new());
    assert_eq!(told(&mut all, &rolling, 1), ["web Info Progressing"]);
    let stopped = web(GroupPhase::Paused, vec![paused()]);
    assert_eq!(told(&mut all, &stopped, 2), ["web Error RolloutPaused"]);
    assert_eq!(told(&mut all, &stopped, 900), Vec::<String>::new());
    let ended = ["web Info RolloutPausedEnded", "web Info Converged"];
    assert_eq!(told(&mut all, &fine, 901), ended);

    // Whoever wants errors only hears of their ends, and of nothing else.
    let mut errors = Told::new(true);
    assert_eq!(told(&mut errors, &rolling, 0), Vec::<String>::new());
    assert_eq!(told(&mut errors, &stopped, 1), ["web Error RolloutPaused"]);
    assert_eq!(told(&mut errors, &fine, 2), ["web Info RolloutPausedEnded"]);
    let asked = Hold::Suspended {
        activity: Activity::Update,
        because: None,
    };
    let asked = web(GroupPhase::Held, vec![asked]);
    assert_eq!(told(&mut errors, &asked, 3), Vec::<String>::new());
}

#[test]
fn what_comes_and_goes_is_told_as_it_is_after_a_while() {
    let mut all = Told::new(false);
    let fine = web(GroupPhase::Held, Vec::new());
    let stopped = web(GroupPhase::Held, vec![paused()]);
    let mut heard = Vec::new();
    for second in 0..240 {
        let status = if second % 2 == 0 { &stopped } else { &fine };
        heard.extend(told(&mut all, status, second));
    }
    let once = ["web Error RolloutPaused", "web Info RolloutPausedEnded"];
    assert_eq!(heard, once);
    // It stays: that is told, as soon as enough time has passed.
    assert_eq!(told(&mut all, &stopped, 250), Vec::<String>::new());
    assert_eq!(told(&mut all, &stopped, 301), ["web Error RolloutPaused"]);
}

#[test]
fn a_hold_of_the_whole_agent_is_told_of_the_agent_and_a_group_that_goes_is_missed() {
    let mut all = Told::new(false);
    let failure = Hold::JournalUnavailable {
        why: "disk full".to_owned(),
    };
    let mut status = web(GroupPhase::Progressing, vec![failure]);
    let name = GroupName::parse("web").unwrap();
    status.holds = status.groups[&name].report.holds.clone();
    let first = ["edge-1 Error JournalUnavailable", "web Info Progressing"];
    assert_eq!(told(&mut all, &status, 0), first);
    status.holds.clear();
    status.groups.clear();
    let ended = ["edge-1 Info JournalUnavailableEnded", "web Info Deleted"];
    assert_eq!(told(&mut all, &status, 1), ended);
}

#[test]
fn the_end_of_a_group_that_is_called_as_the_agent_is_told() {
    let mut all = Told::new(false);
    let mut status = web(GroupPhase::Progressing, Vec::new());
    let name = GroupName::parse("web").unwrap();
    let group = status.groups.remove(&name).unwrap();
    let name = GroupName::parse("edge-1").unwrap();
    assert_eq!(name.as_str(), status.agent.as_str());
    status.groups.insert(name, group);
    assert_eq!(told(&mut all, &status, 0), ["edge-1 Info Progressing"]);
    status.groups.clear();
    assert_eq!(told(&mut all, &status, 1), ["edge-1 Info Deleted"]);
}

fn waits(change: u8, have: &[&str]) -> Hold {
    let have = have.iter().map(|name| Signer::parse(name).unwrap());
    let policy = PolicyHold {
        policy: PolicyName::parse("few").unwrap(),
        binding: "few".to_owned(),
        span: SourceSpan::start_of("few.yaml"),
        message: "somebody is replaced".to_owned(),
        values: BTreeMap::new(),
    };
    Hold::ApprovalNeeded(Box::new(ApprovalNeeded {
        policy,
        change: ChangeId::parse(&format!("{change:02x}").repeat(32)).unwrap(),
        authors: drover_model::Authors::of(&["ann@example.com"]),
        have: have.collect(),
        need: 2,
        spent: None,
    }))
}

#[test]
fn another_change_that_waits_is_told_and_another_number_is_not() {
    let mut all = Told::new(false);
    let held = |hold| web(GroupPhase::Held, vec![hold]);
    let first = all.follow(&held(waits(1, &[])), at(0));
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].metadata["change"], "01".repeat(32));
    let approved = held(waits(1, &["bob@example.com"]));
    assert_eq!(told(&mut all, &approved, 1), Vec::<String>::new());
    let second = all.follow(&held(waits(2, &[])), at(2));
    let messages: Vec<&str> = second.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "ApprovalNeeded has ended: change 010101010101",
            "change 020202020202 needs 2 approvals by others than ann@example.com, has none: policy few (few.yaml:1:1): somebody is replaced"
        ]
    );
    assert_eq!(second[1].metadata["change"], "02".repeat(32));
}

#[test]
fn holds_of_one_name_about_several_instances_are_told_each_up_to_a_number() {
    let mut all = Told::new(false);
    let kept = |numbers: std::ops::Range<u32>| {
        let hold = Hold::DrainTimeout;
        let count = numbers.len();
        let mut status = web(GroupPhase::Held, vec![hold; count]);
        let group = status.groups.values_mut().next().unwrap();
        let report = Arc::make_mut(&mut Arc::make_mut(group).report);
        for (held, number) in report.holds.iter_mut().zip(numbers) {
            held.instance = Some(InstanceId::parse(&format!("web-{number}")).unwrap());
        }
        status
    };
    let first = all.follow(&kept(1..2), at(0));
    assert!(
        first[0].message.starts_with("web-1: "),
        "{}",
        first[0].message
    );
    assert_eq!(first[0].metadata["instance"], "web-1");
    assert_eq!(told(&mut all, &kept(1..3), 1), ["web Error DrainTimeout"]);
    assert_eq!(told(&mut all, &kept(1..90), 2).len(), SAME_MAX - 2);
    let ended = all.follow(&kept(2..90), at(3));
    let messages: Vec<&str> = ended.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages[0], "DrainTimeout has ended: web-1");
    // Whichever instance is next for what concerns all of them is no news.
    let risk = |number: u32| {
        let hold = Hold::QuorumAtRisk {
            healthy: number,
            voters: 3,
            needed: 2,
        };
        let mut status = web(GroupPhase::Held, vec![hold]);
        let group = status.groups.values_mut().next().unwrap();
        let report = Arc::make_mut(&mut Arc::make_mut(group).report);
        report.holds[0].instance = Some(InstanceId::parse(&format!("web-{number}")).unwrap());
        status
    };
    let mut all = Told::new(false);
    assert_eq!(told(&mut all, &risk(1), 0).len(), 1);
    assert_eq!(told(&mut all, &risk(2), 1), Vec::<String>::new());
}

#[test]
fn an_event_has_the_shape_of_flux() {
    let mut all = Told::new(false);
    let stopped = web(GroupPhase::Paused, vec![paused()]);
    let events = all.follow(&stopped, at(0));
    insta::assert_snapshot!(serde_json::to_string_pretty(&events[0]).unwrap());
}
