use drover_model::{Completeness, ExitReport, Hold, ProviderPhase, Trust};

use crate::testing::{Fixture, at, id};

/// A group of so many instances, of which these are to be taken at `taken_at`, a minute after that was first said.
fn announced(size: u32, taken: impl IntoIterator<Item = u32>, taken_at: i64) -> Fixture {
    let mut fixture = Fixture::converged(size);
    for number in taken {
        fixture.interrupt(&format!("web-{number}"), at(taken_at));
    }
    fixture.later(60);
    fixture
}

/// How many vanished without a word, where that holds the group.
fn unexplained(fixture: &Fixture) -> Option<u32> {
    match fixture.classified().trust {
        Trust::Full => None,
        Trust::Frozen(Hold::ObservationEmptied { expected, .. }) => Some(expected),
        Trust::Frozen(hold) => panic!("{hold}"),
    }
}

#[test]
fn what_was_announced_and_then_is_gone_is_believed_to_be() {
    let mut fixture = announced(6, 1..=6, 180);
    fixture.listing.instances.clear();
    assert_eq!(unexplained(&fixture), None);
    fixture.later(70).later(130);
    assert_eq!(fixture.class("web-1"), "gone");
    // The agent was away for a day: it was announced all the same.
    let mut fixture = announced(6, 1..=6, 180);
    fixture.later(86_400);
    fixture.listing.instances.clear();
    fixture.memory = announced(6, 1..=6, 180).memory;
    assert_eq!(unexplained(&fixture), None);
    // What is said to be terminated is gone at once.
    let mut fixture = announced(6, 1..=6, 180);
    for number in 1..=6 {
        fixture.list(&format!("web-{number}"), ProviderPhase::Terminated);
    }
    assert_eq!(unexplained(&fixture), None);
    assert_eq!(fixture.class("web-1"), "gone");
}

#[test]
fn a_notice_explains_its_own_instance_alone() {
    for (taken, expected) in [(0, Some(10)), (5, Some(5)), (6, None), (10, None)] {
        let mut fixture = announced(10, 1..=taken, 180);
        fixture.listing.instances.clear();
        assert_eq!(unexplained(&fixture), expected, "{taken} of 10");
    }
    let mut fixture = announced(10, 1..=10, 180);
    fixture.memory.clear();
    fixture.listing.instances.clear();
    assert_eq!(unexplained(&fixture), Some(10), "nobody remembers it");
}

#[test]
fn what_is_gone_long_before_its_time_is_not_explained_even_when_that_comes() {
    let mut fixture = announced(5, 1..=5, 3600);
    fixture.listing.instances.clear();
    let partial = |fixture: &mut Fixture| {
        let why = "the second page failed".to_owned();
        fixture.listing.completeness = Completeness::Partial { why };
    };
    // Such a listing says nothing of anybody.
    partial(&mut fixture);
    fixture.later(90);
    assert_eq!(fixture.memory[&id("web-1")].notice, Some(at(3600)));
    fixture.listing.completeness = Completeness::Complete;
    for seconds in [90, 3479, 3480, 3600, 7200] {
        fixture.later(seconds);
        assert_eq!(unexplained(&fixture), Some(5), "at {seconds}");
    }
    // Nor what is said to be gone so early.
    let mut fixture = announced(5, 1..=5, 3600);
    for number in 1..=5 {
        fixture.list(&format!("web-{number}"), ProviderPhase::Terminated);
    }
    assert_eq!(unexplained(&fixture), Some(5));
    let mut fixture = announced(5, 1..=5, 3600);
    fixture.later(3480);
    fixture.listing.instances.clear();
    assert_eq!(unexplained(&fixture), None, "two minutes before");
}

#[test]
fn who_still_runs_long_after_its_time_was_not_taken() {
    for (seen_last, expected) in [(180 + 900, None), (180 + 901, Some(5))] {
        let mut fixture = announced(5, 1..=5, 180);
        fixture.later(seen_last).later(seen_last + 1);
        fixture.listing.instances.clear();
        fixture.now = at(seen_last + 2);
        fixture.listing.as_of = fixture.now;
        // Each listing until then still said so.
        assert_eq!(unexplained(&fixture).is_some(), expected.is_some());
    }
}

#[test]
fn a_notice_is_taken_back_while_the_instance_runs_and_stays_once_it_ends() {
    let mut fixture = announced(5, 1..=5, 180);
    for listed in &mut fixture.listing.instances {
        listed.interruption = None;
    }
    fixture.later(90);
    fixture.listing.instances.clear();
    assert_eq!(unexplained(&fixture), Some(5));

    for phase in [
        ProviderPhase::Stopping,
        ProviderPhase::Exited(ExitReport::default()),
    ] {
        let mut fixture = announced(5, 1..=5, 180);
        for number in 1..=5 {
            fixture.list(&format!("web-{number}"), phase.clone());
        }
        fixture.later(180).later(7200);
        fixture.listing.instances.clear();
        assert_eq!(unexplained(&fixture), None, "{phase:?}");
    }
}

#[test]
fn a_notice_that_was_past_when_it_was_first_seen_is_none() {
    for (taken_at, taken) in [
        (1, true),
        (0, true),
        (-1, false),
        (-1200, false),
        (-10_800, false),
    ] {
        let mut fixture = announced(5, 1..=5, taken_at);
        let believed = fixture.memory[&id("web-1")].notice;
        assert_eq!(believed.is_some(), taken, "{taken_at}");
        let interrupted = |fixture: &Fixture| {
            let members = fixture.classified().members;
            members[&id("web-1")].interruption.is_some()
        };
        assert_eq!(interrupted(&fixture), taken, "{taken_at}");
        // Another listing with it changes nothing.
        fixture.later(120);
        assert_eq!(interrupted(&fixture), taken, "{taken_at}");
        fixture.listing.instances.clear();
        assert_eq!(unexplained(&fixture).is_none(), taken, "{taken_at}");
    }
}

#[test]
fn who_runs_long_after_its_time_is_not_replaced_any_more() {
    let mut fixture = announced(5, 1..=5, 180);
    for (seconds, taken) in [(180 + 900, true), (180 + 901, false)] {
        fixture.later(seconds);
        let members = fixture.classified().members;
        let interruption = members[&id("web-1")].interruption;
        assert_eq!(interruption.is_some(), taken, "at {seconds}");
    }
}
