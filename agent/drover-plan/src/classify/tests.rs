use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{
    BindingName, CheckOutcome, Completeness, DecisionPoint, Deleting, DeletionPolicy, Emptied,
    Enforcement, ExitReport, GroupPhase, HealthOverride, HealthVerdict, Hold, InstanceClass,
    IntentKind, IntentState, MembershipSpec, Outcome, PolicyName, ProviderPhase, QuorumSpec,
    Reason, Revision, SettlementOutcome, SourceSpan, Trust, Value, Verdict,
};

use crate::health_signals;
use crate::testing::{Fixture, at, id, provider_ref};

fn failing() -> CheckOutcome {
    CheckOutcome::Failing {
        why: "connection refused".to_owned(),
    }
}

fn unknown() -> CheckOutcome {
    CheckOutcome::Unknown {
        why: "no route to host".to_owned(),
    }
}

fn acked(names: &[&str], seconds: i64) -> IntentState {
    IntentState::Acked {
        made: names
            .iter()
            .map(|name| (id(name), provider_ref(name)))
            .collect(),
        at: at(seconds),
    }
}

fn exited() -> ProviderPhase {
    ProviderPhase::Exited(ExitReport {
        code: Some(1),
        ..ExitReport::default()
    })
}

#[test]
fn a_create_without_an_answer_is_a_ghost_however_long_it_takes() {
    let mut fixture = Fixture::converged(2);
    fixture.create(&["web-3"], -5, IntentState::Sent);
    for hour in 0..5 {
        fixture.later(hour * 3600);
        assert_eq!(fixture.class("web-3"), "Starting");
    }
    let member = &fixture.classified().members[&id("web-3")];
    assert_eq!(member.provider_ref, None, "a ghost has no handle to touch");
    assert!(fixture.classified().settled.is_empty());
}

#[test]
fn a_create_is_settled_once_each_of_its_instances_was_seen() {
    let mut fixture = Fixture::converged(1);
    fixture.create(&["web-2", "web-3"], -5, IntentState::Sent);
    fixture.list("web-2", ProviderPhase::Running);
    assert!(fixture.classified().settled.is_empty());
    fixture.list("web-3", ProviderPhase::Pending);
    assert!(
        fixture.classified().settled.is_empty(),
        "it may never have been started"
    );
    fixture.list("web-3", ProviderPhase::Running);
    let settled = fixture.classified().settled;
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].outcome, SettlementOutcome::Observed);
}

#[test]
fn a_member_without_its_attachments_is_being_made_until_the_provider_answers() {
    let mut fixture = Fixture::converged(0);
    fixture.create_seated("web-1", -500, IntentState::Sent);
    fixture.list("web-1", ProviderPhase::Running);
    fixture.listing.instances[0].created_at = Some(at(-500));
    assert_eq!(fixture.class("web-1"), "Starting");
    assert!(fixture.classified().settled.is_empty());
    // What was not finished by the startup timeout is a launch that failed.
    fixture.later(600);
    assert_eq!(fixture.class("web-1"), "Failed");
    // And one that is being ended is not made any further.
    fixture.destroy("web-1", Reason::Heal, IntentState::Sent);
    assert_eq!(fixture.classified().settled.len(), 1);
    fixture.intents.pop();
    fixture.intents[0].state = acked(&["web-1"], 599);
    assert_eq!(fixture.classified().settled.len(), 1);
    assert_eq!(fixture.class("web-1"), "Warming");
}

#[test]
fn a_place_without_attachments_needs_no_answer_once_its_instance_runs() {
    let mut fixture = Fixture::converged(0);
    fixture.create_seated("web-1", -5, IntentState::Sent);
    let Some(IntentKind::Create {
        seat: Some(seat), ..
    }) = fixture.intents.last_mut().map(|intent| &mut intent.kind)
    else {
        unreachable!("a create with a place");
    };
    seat.attachments.clear();
    fixture.list("web-1", ProviderPhase::Running);
    assert_eq!(fixture.classified().settled.len(), 1);
}

#[test]
fn an_acknowledged_instance_that_never_appears_is_gone_after_two_listings_beyond_visibility() {
    let mut fixture = Fixture::converged(1);
    fixture.create(&["web-2"], -5, acked(&["web-2"], -4));
    fixture.later(10);
    assert_eq!(fixture.class("web-2"), "Starting");
    fixture.later(80);
    assert_eq!(
        fixture.class("web-2"),
        "Starting",
        "visibility is two minutes"
    );
    fixture.later(130);
    assert_eq!(fixture.class("web-2"), "gone");
    let settled = fixture.classified().settled;
    assert_eq!(
        settled[0].outcome,
        SettlementOutcome::Observed,
        "the provider said that it was made"
    );
}

#[test]
fn what_only_a_drain_or_a_destroy_knows_is_gone_after_two_listings_a_minute_apart() {
    let mut fixture = Fixture::converged(2);
    fixture.drain("web-8", Reason::Update);
    fixture.destroy("web-9", Reason::Heal, IntentState::Intended);
    for name in ["web-8", "web-9"] {
        assert_eq!(fixture.class(name), "unknown");
    }
    fixture.later(60);
    for name in ["web-8", "web-9"] {
        assert_eq!(fixture.class(name), "gone");
    }
    assert_eq!(fixture.classified().settled.len(), 2);
}

#[test]
fn a_create_that_was_never_called_or_was_refused_makes_no_ghost() {
    let mut fixture = Fixture::converged(1);
    fixture.create(&["web-2"], -5, IntentState::Intended);
    let refused = IntentState::Failed {
        class: drover_model::ErrorClass::Capacity,
        message: "no room".to_owned(),
        at: at(-4),
    };
    fixture.create(&["web-3"], -5, refused);
    assert_eq!(fixture.classified().members.len(), 1);
}

#[test]
fn an_instance_whose_destroy_was_sent_is_terminating_though_it_is_listed_as_running() {
    for state in [IntentState::Sent, acked(&[], -5)] {
        let mut fixture = Fixture::converged(2);
        fixture.destroy("web-1", Reason::Heal, state);
        assert_eq!(fixture.class("web-1"), "Terminating");
        assert_eq!(fixture.class("web-2"), "Available");
    }
}

#[test]
fn a_destroyed_instance_is_gone_by_a_listing_taken_after_the_answer_only() {
    let mut fixture = Fixture::converged(2);
    fixture.destroy("web-1", Reason::Heal, acked(&[], 0));
    fixture.unlist("web-1");
    assert_eq!(
        fixture.class("web-1"),
        "Terminating",
        "asked at the same time"
    );
    fixture.later(1);
    assert_eq!(fixture.class("web-1"), "gone");
    let settled = fixture.classified().settled;
    assert_eq!(settled[0].outcome, SettlementOutcome::Observed);
}

#[test]
fn a_missing_instance_is_gone_after_two_complete_listings_a_minute_apart() {
    let mut fixture = Fixture::converged(3);
    fixture.unlist("web-2");
    assert_eq!(fixture.class("web-2"), "Suspect");
    fixture.later(30);
    assert_eq!(fixture.class("web-2"), "Suspect");
    fixture.later(59);
    assert_eq!(fixture.class("web-2"), "Suspect");
    fixture.later(60);
    assert_eq!(fixture.class("web-2"), "gone");
}

#[test]
fn an_instance_that_is_listed_again_was_never_gone() {
    let mut fixture = Fixture::converged(3);
    fixture.unlist("web-2");
    fixture.later(50);
    fixture.list("web-2", ProviderPhase::Running);
    fixture.later(55);
    fixture.unlist("web-2");
    fixture.later(100);
    assert_eq!(fixture.class("web-2"), "Suspect", "the count begins anew");
}

#[test]
fn what_the_provider_lists_as_terminated_is_gone_at_once() {
    let mut fixture = Fixture::converged(2);
    fixture.list("web-1", ProviderPhase::Terminated);
    assert_eq!(fixture.class("web-1"), "gone");
}

#[test]
fn a_partial_listing_freezes_and_what_is_missing_stays() {
    let mut fixture = Fixture::converged(3);
    fixture.unlist("web-2");
    fixture.listing.completeness = Completeness::Partial {
        why: "page 2 failed".to_owned(),
    };
    for seconds in [0, 100, 10_000] {
        fixture.later(seconds);
        assert_eq!(fixture.class("web-2"), "Suspect");
        let trust = fixture.classified().trust;
        let why = "page 2 failed".to_owned();
        assert_eq!(trust, Trust::Frozen(Hold::ObservationPartial { why }));
    }
}

#[test]
fn a_stale_listing_freezes() {
    let mut fixture = Fixture::converged(1);
    fixture.now = at(120);
    assert_eq!(fixture.classified().trust, Trust::Full);
    fixture.now = at(121);
    let trust = fixture.classified().trust;
    assert_eq!(trust, Trust::Frozen(Hold::ObservationStale));
}

#[test]
fn an_emptied_listing_freezes_from_five_instances_on() {
    for (size, frozen) in [(4, false), (5, true)] {
        let mut fixture = Fixture::converged(size);
        fixture.listing.instances.clear();
        let expected = Trust::Frozen(emptied(size, 0));
        assert_eq!(fixture.classified().trust == expected, frozen);
    }
}

fn emptied(expected: u32, elsewhere: u32) -> Hold {
    Hold::ObservationEmptied {
        expected,
        elsewhere,
        asked: "provider local (simulated)".to_owned(),
    }
}

#[test]
fn what_other_groups_lost_at_the_same_time_counts_too() {
    for (own, elsewhere, frozen) in [
        (4, 0, false),
        (4, 1, true),
        (1, 4, true),
        (1, 3, false),
        (0, 5, true),
        (0, 4, false),
    ] {
        let mut fixture = Fixture::converged(own);
        fixture.group.spec.size = 4;
        fixture.listing.instances.clear();
        fixture.peers.emptied = (elsewhere > 0).then_some(Emptied { elsewhere });
        let trust = fixture.classified().trust;
        let expected = Trust::Frozen(emptied(own, elsewhere));
        assert_eq!(
            trust == expected,
            frozen,
            "{own} and {elsewhere}: {trust:?}"
        );
        assert_eq!(trust == Trust::Full, !frozen);
        // Who goes misses what it has there all the same.
        fixture.recorded.phase = GroupPhase::Deleting;
        let trust = fixture.classified().trust;
        assert_eq!(trust == expected, frozen && own > 0, "{own}: {trust:?}");
        fixture.recorded.phase = GroupPhase::Converged;
        // Of who wants none, or goes and has nothing left, nothing is missed.
        fixture.group.spec.size = 0;
        assert_eq!(fixture.classified().trust, Trust::Full);
        fixture.group.spec.size = 4;
        fixture.recorded.instances.clear();
        fixture.recorded.phase = GroupPhase::Deleting;
        assert_eq!(fixture.classified().trust, Trust::Full);
        fixture.recorded.phase = GroupPhase::Held;
        fixture.recorded.deleting = Some(deleting());
        assert_eq!(fixture.classified().trust, Trust::Full);
    }
}

fn deleting() -> Deleting {
    Deleting {
        revision: Revision::parse(&"b".repeat(40)).unwrap(),
        since: at(-60),
    }
}

#[test]
fn nothing_is_missed_of_what_leaves_or_has_a_place_of_its_own() {
    let vanished = || {
        let mut fixture = Fixture::converged(5);
        fixture.listing.instances.clear();
        fixture.peers.emptied = Some(Emptied { elsewhere: 9 });
        fixture
    };
    let frozen = Trust::Frozen(emptied(5, 9));
    let mut handed_back = vanished();
    handed_back.group.spec.deletion.policy = DeletionPolicy::Orphan;
    assert_eq!(handed_back.classified().trust, frozen, "not yet");
    handed_back.recorded.phase = GroupPhase::Deleting;
    assert_eq!(handed_back.classified().trust, Trust::Full);

    let mut quorum = vanished();
    quorum.group.spec.quorum = Some(QuorumSpec {
        members: Vec::new(),
        membership: MembershipSpec::Static,
        stabilize: Duration::ZERO,
        allow_downtime: false,
    });
    assert_eq!(quorum.classified().trust, Trust::Full);

    let mut ending = vanished();
    for number in 1..=5 {
        assert_ne!(ending.classified().trust, Trust::Full, "{number}");
        ending.known(&format!("web-{number}"), "Terminating");
    }
    ending.peers.emptied = None;
    assert_eq!(ending.classified().trust, Trust::Full);

    // Nothing is wanted of it, and it would be forgotten.
    let mut removed = vanished();
    removed.group.spec.size = 0;
    removed.recorded.deleting = Some(deleting());
    assert_eq!(removed.classified().trust, frozen);
}

#[test]
fn a_plugin_that_lists_nothing_is_named_with_the_calls_that_may_have_been_made() {
    let mut fixture = Fixture::converged(5);
    fixture.listing.instances.clear();
    let plugin = ("plugin".to_owned(), Value::String("ik".to_owned()));
    fixture.provider.settings = Value::Map([plugin].into());
    let Trust::Frozen(hold) = fixture.classified().trust else {
        panic!("it is believed");
    };
    let sentence = hold.to_string();
    let named = "provider local (plugin ik, asked by Provider.List or Instance.DescribeInstances) lists none of the 5 instances that were there; ";
    assert!(sentence.starts_with(named), "{sentence}");
}

#[test]
fn what_was_taken_for_gone_and_comes_back_is_what_it_was() {
    let mut fixture = Fixture::converged(1);
    fixture.group.spec.health.checks.clear();
    fixture.signals.clear();
    fixture.unlist("web-1");
    fixture.later(0).later(60);
    assert_eq!(fixture.class("web-1"), "gone");
    fixture.memory = fixture.classified().memory;
    fixture.recorded.instances.clear();
    fixture.later(3600);
    fixture.list("web-2", ProviderPhase::Running);
    assert!(!fixture.classified().members.contains_key(&id("web-1")));
    fixture.list("web-1", ProviderPhase::Running);
    assert_eq!(fixture.class("web-1"), "Available");
    assert_eq!(fixture.class("web-2"), "Warming", "nothing is known of it");
    let lost = |fixture: &Fixture| fixture.classified().memory[&id("web-1")].lost_at;
    assert_eq!(lost(&fixture), Some(at(60)));
    // It is one like any other where nobody is too much, and nobody remembers for good.
    fixture.recorded.size = 2;
    assert_eq!(lost(&fixture), None);
    fixture.recorded.size = 1;
    fixture.unlist("web-1");
    fixture.later(60 + 86_400).later(61 + 86_400);
    assert!(!fixture.classified().memory.contains_key(&id("web-1")));
}

/// Lists every instance of the group as terminated.
fn terminate_all(fixture: &mut Fixture, size: u32) {
    for number in 1..=size {
        fixture.list(&format!("web-{number}"), ProviderPhase::Terminated);
    }
}

#[test]
fn a_listing_in_which_nothing_lives_is_an_emptied_one() {
    for (size, frozen) in [(4, false), (5, true)] {
        let mut fixture = Fixture::converged(size);
        terminate_all(&mut fixture, size);
        let expected = Trust::Frozen(emptied(size, 0));
        assert_eq!(fixture.classified().trust == expected, frozen);
        // None is forgotten, or the next listing would be believed.
        let class = if frozen { "Suspect" } else { "gone" };
        assert_eq!(fixture.class("web-1"), class);
    }
}

#[test]
fn instances_that_are_terminated_while_one_lives_or_by_drover_are_gone() {
    let mut fixture = Fixture::converged(6);
    terminate_all(&mut fixture, 5);
    assert_eq!(fixture.classified().trust, Trust::Full);
    assert_eq!(fixture.class("web-1"), "gone");

    let mut fixture = Fixture::converged(6);
    terminate_all(&mut fixture, 6);
    fixture.destroy("web-1", Reason::Heal, acked(&[], -5));
    let expected = Trust::Frozen(emptied(5, 0));
    assert_eq!(fixture.classified().trust, expected);
    assert_eq!(fixture.class("web-1"), "gone");
    assert_eq!(fixture.class("web-2"), "Suspect");
    fixture.destroy("web-2", Reason::Heal, acked(&[], -5));
    assert_eq!(fixture.classified().trust, Trust::Full);
}

#[test]
fn launches_that_are_terminated_at_once_are_no_emptied_group() {
    let mut fixture = Fixture::empty(5);
    for number in 1..=5 {
        fixture.known(&format!("web-{number}"), "Starting");
    }
    let emptied = Trust::Frozen(emptied(5, 0));
    assert_eq!(fixture.classified().trust, emptied);
    terminate_all(&mut fixture, 5);
    assert_eq!(fixture.classified().trust, Trust::Full);
    fixture.known("web-1", "Available");
    assert_eq!(fixture.classified().trust, emptied);
}

#[test]
fn size_zero_confirms_that_a_terminated_group_is_gone() {
    let mut fixture = Fixture::converged(6);
    terminate_all(&mut fixture, 6);
    fixture.group.spec.size = 0;
    assert_eq!(fixture.classified().trust, Trust::Full);
    assert_eq!(fixture.class("web-1"), "gone");
}

#[test]
fn an_emptied_listing_is_believed_where_everything_was_being_ended() {
    let mut fixture = Fixture::converged(6);
    for number in 1..=6 {
        fixture.destroy(&format!("web-{number}"), Reason::Delete, acked(&[], -5));
    }
    fixture.listing.instances.clear();
    assert_eq!(fixture.classified().trust, Trust::Full);
    assert_eq!(fixture.class("web-6"), "gone");
}

#[test]
fn size_zero_confirms_that_an_emptied_group_is_gone() {
    let mut fixture = Fixture::converged(6);
    fixture.listing.instances.clear();
    fixture.group.spec.size = 0;
    assert_eq!(fixture.classified().trust, Trust::Full);
    fixture.later(0).later(60);
    assert_eq!(fixture.class("web-1"), "gone");
}

#[test]
fn a_restart_without_memory_takes_nothing_for_a_failed_launch() {
    let mut fixture = Fixture::converged(4);
    fixture.signal("web-2", failing());
    fixture.signal("web-3", unknown());
    fixture.list("web-4", exited());
    fixture.memory.clear();
    assert_eq!(fixture.class("web-1"), "Available");
    assert_eq!(fixture.class("web-2"), "Suspect");
    assert_eq!(fixture.class("web-3"), "Suspect");
    assert_eq!(fixture.class("web-4"), "Exited");
}

#[test]
fn an_adopted_instance_gets_no_blame() {
    let mut fixture = Fixture::empty(2);
    fixture.list("web-1", ProviderPhase::Running);
    fixture.signal("web-1", failing());
    fixture.list("web-2", exited());
    assert_eq!(fixture.class("web-1"), "Suspect");
    assert_eq!(fixture.class("web-2"), "Exited");
}

#[test]
fn checks_must_fail_for_unhealthy_after_without_a_break() {
    let mut fixture = Fixture::converged(1);
    fixture.signal("web-1", failing());
    fixture.later(119);
    assert_eq!(fixture.class("web-1"), "Suspect");
    fixture.later(120);
    assert_eq!(fixture.class("web-1"), "Unhealthy");
    fixture.signal("web-1", CheckOutcome::Passing);
    assert_eq!(
        fixture.class("web-1"),
        "Warming",
        "healthy, and warming up again"
    );
    fixture.later(130);
    fixture.signal("web-1", failing());
    assert_eq!(fixture.class("web-1"), "Suspect");
}

#[test]
fn one_that_was_ready_and_is_made_again_has_unhealthy_after_for_it() {
    let mut fixture = Fixture::converged(1);
    // Not to be reached was another thing, and its time does not count for this.
    fixture.signal("web-1", unknown());
    fixture.later(500);
    fixture.list("web-1", ProviderPhase::Pending);
    assert_eq!(fixture.class("web-1"), "Suspect");
    fixture.later(619);
    assert_eq!(fixture.class("web-1"), "Suspect");
    fixture.later(620);
    assert_eq!(fixture.class("web-1"), "Unhealthy");
    fixture.list("web-1", ProviderPhase::Running);
    assert_eq!(fixture.class("web-1"), "Warming");
    fixture.later(621).list("web-1", ProviderPhase::Pending);
    assert_eq!(fixture.class("web-1"), "Suspect", "the count begins anew");
}

#[test]
fn not_knowing_never_acts_before_unknown_after() {
    let mut fixture = Fixture::converged(1);
    fixture.signals.clear();
    fixture.later(599);
    assert_eq!(fixture.class("web-1"), "Suspect");
    fixture.later(600);
    assert_eq!(fixture.class("web-1"), "Lost");
}

#[test]
fn not_knowing_for_a_while_does_not_make_an_instance_warm_up_again() {
    let mut fixture = Fixture::converged(1);
    fixture.signal("web-1", unknown());
    fixture.later(20);
    assert_eq!(fixture.class("web-1"), "Suspect");
    fixture.signal("web-1", CheckOutcome::Passing);
    fixture.later(21);
    assert_eq!(fixture.class("web-1"), "Available");
}

#[test]
fn old_signals_are_no_knowledge() {
    let mut fixture = Fixture::converged(1);
    fixture.now = at(70);
    assert_eq!(fixture.class("web-1"), "Available");
    fixture.now = at(76);
    assert_eq!(fixture.class("web-1"), "Suspect");
}

#[test]
fn a_launch_fails_when_the_startup_timeout_is_over_and_not_before() {
    let mut fixture = Fixture::empty(1);
    fixture.create(&["web-1"], -5, acked(&["web-1"], -4));
    fixture.list("web-1", ProviderPhase::Pending);
    fixture.listing.instances[0].created_at = Some(at(-4));
    assert_eq!(fixture.class("web-1"), "Starting");
    fixture.later(599);
    assert_eq!(
        fixture.class("web-1"),
        "Starting",
        "counted from when it was first seen"
    );
    fixture.later(600);
    assert_eq!(fixture.class("web-1"), "Failed");
}

#[test]
fn a_launch_that_ends_before_it_serves_has_failed_and_later_it_is_an_end_like_any() {
    let mut fixture = Fixture::empty(1);
    fixture.create(&["web-1"], -5, acked(&["web-1"], -4));
    fixture.list("web-1", ProviderPhase::Running);
    assert_eq!(fixture.class("web-1"), "Warming");
    fixture.later(20);
    fixture.list("web-1", exited());
    assert_eq!(fixture.class("web-1"), "Failed");
    fixture.later(4000);
    assert_eq!(
        fixture.class("web-1"),
        "Failed",
        "time does not make it one that served"
    );

    let mut fixture = Fixture::converged(1);
    fixture.list("web-1", exited());
    assert_eq!(fixture.class("web-1"), "Exited");
}

#[test]
fn without_checks_a_running_instance_is_healthy() {
    let mut fixture = Fixture::converged(1);
    fixture.group.spec.health.checks.clear();
    fixture.signals.clear();
    assert_eq!(fixture.class("web-1"), "Available");
}

#[test]
fn every_check_must_pass() {
    let mut fixture = Fixture::converged(1);
    let check = fixture.group.spec.health.checks[0].clone();
    fixture.group.spec.health.checks.push(check);
    assert_eq!(fixture.class("web-1"), "Suspect", "one was not tried yet");
    let signal = fixture.signals.get_mut(&id("web-1")).unwrap();
    signal.checks = vec![CheckOutcome::Passing, CheckOutcome::Passing];
    assert_eq!(fixture.class("web-1"), "Available");
}

#[test]
fn strangers_and_instances_without_tags_are_not_seen() {
    let mut fixture = Fixture::converged(1);
    fixture.list("web-2", ProviderPhase::Running);
    fixture.listing.instances[1].ownership = None;
    assert_eq!(fixture.class("web-2"), "unknown");
}

#[test]
fn of_two_instances_under_one_name_the_living_one_counts() {
    let mut fixture = Fixture::converged(1);
    let mut other = fixture.listing.instances[0].clone();
    other.provider_ref = provider_ref("another");
    other.phase = ProviderPhase::Terminated;
    fixture.listing.instances.insert(0, other);
    assert_eq!(fixture.class("web-1"), "Available");
}

#[test]
fn a_clock_that_steps_back_ends_no_patience() {
    let mut fixture = Fixture::converged(1);
    fixture.signal("web-1", failing());
    fixture.later(60);
    fixture.later(-600);
    let member = &fixture.classified().members[&id("web-1")];
    assert!(matches!(member.class, InstanceClass::Suspect { .. }));
}

#[test]
fn what_is_gone_stays_gone_while_the_call_that_made_it_is_open_for_another_one() {
    let mut fixture = Fixture::converged(1);
    let names = ["web-2", "web-3"];
    fixture.create(&names, -301, acked(&names, -300));
    fixture.list("web-2", ProviderPhase::Running);
    fixture.later(59).unlist("web-2");
    fixture.later(60);
    assert_eq!(names.map(|name| fixture.class(name)), ["Starting", "gone"]);
    fixture.later(90);
    assert_eq!(fixture.class("web-3"), "gone");
    fixture.later(120);
    assert_eq!(fixture.class("web-2"), "gone");
    let settled = fixture.classified().settled;
    assert_eq!(settled.len(), 1, "both are gone at once");
}

fn override_of(instances: &[&str], health: HealthVerdict) -> HealthOverride {
    HealthOverride {
        health,
        verdict: Verdict {
            policy: PolicyName::parse("majority").unwrap(),
            binding: BindingName::parse("prod").unwrap(),
            point: DecisionPoint::Health,
            enforcement: Enforcement::Deny,
            outcome: Outcome::Passed,
            message: String::new(),
            span: SourceSpan::start_of("policy.yaml"),
            values: BTreeMap::new(),
            digest: String::new(),
        },
        instances: instances.iter().map(|name| id(name)).collect(),
    }
}

#[test]
fn the_health_that_policy_chooses_runs_the_same_timers() {
    let mut fixture = Fixture::converged(2);
    fixture.decisions.health = vec![override_of(&["web-1"], HealthVerdict::Unhealthy)];
    let class = fixture.classified().members[&id("web-1")].class.clone();
    assert_eq!(
        class,
        InstanceClass::Suspect {
            why: "policy majority by binding prod says so".to_owned()
        }
    );
    fixture.later(120);
    assert_eq!(fixture.class("web-1"), "Unhealthy");
    assert_eq!(fixture.class("web-2"), "Available");
    fixture.decisions.health = vec![override_of(&["web-1"], HealthVerdict::Healthy)];
    fixture.signal("web-1", failing());
    fixture.later(200);
    assert_eq!(fixture.class("web-1"), "Available");
}

#[test]
fn no_policy_makes_anything_of_what_ended() {
    let mut fixture = Fixture::converged(2);
    fixture.list("web-1", exited());
    let both = override_of(&["web-1", "web-2"], HealthVerdict::Healthy);
    let worse = override_of(&["web-2"], HealthVerdict::Unknown);
    fixture.decisions.health = vec![both, worse];
    assert_eq!(fixture.class("web-1"), "Exited");
    assert_eq!(
        fixture.class("web-2"),
        "Suspect",
        "the least favourable counts"
    );
}

#[test]
fn signals_say_what_provider_and_checks_know_and_nothing_of_what_ended() {
    let mut fixture = Fixture::converged(3);
    fixture.signal("web-1", failing());
    fixture.signals.remove(&id("web-2"));
    fixture.list("web-3", exited());
    let signals = fixture.with_classify_input(health_signals);
    let told = |name: &str| {
        let signals = signals.get(&id(name))?;
        let probe = signals.probe.map(HealthVerdict::as_str);
        Some((signals.provider.as_str(), probe, signals.combined.as_str()))
    };
    let checks = &signals[&id("web-1")].checks;
    assert_eq!(*checks, [HealthVerdict::Unhealthy]);
    assert_eq!(
        told("web-1"),
        Some(("healthy", Some("unhealthy"), "unhealthy"))
    );
    assert_eq!(told("web-2"), Some(("healthy", Some("unknown"), "unknown")));
    assert_eq!(told("web-3"), None);
}

#[test]
fn of_two_living_instances_under_one_name_the_recorded_one_counts() {
    for handle in ["a-smaller-one", "z-larger-one"] {
        let mut fixture = Fixture::converged(1);
        let mut other = fixture.listing.instances[0].clone();
        other.provider_ref = provider_ref(handle);
        fixture.listing.instances.insert(0, other);
        let member = fixture.classified().members[&id("web-1")].clone();
        assert_eq!(member.provider_ref, Some(provider_ref("web-1")));
        // Once that one is gone, the id is whose it was.
        fixture.unlist("web-1");
        let member = fixture.classified().members[&id("web-1")].clone();
        assert_eq!(member.provider_ref, Some(provider_ref(handle)));
    }
}
