use drover_model::{Amount, Resize};

use super::*;

/// Commits a size at so many seconds after noon, and lets the group converge at what comes of it. Returns the size with
/// the holds and their ends.
fn commits(fixture: &mut Fixture, seconds: i64, size: u32) -> (u32, Vec<(String, Option<i64>)>) {
    fixture.group.spec.size = size;
    let (plan, report) = fixture.later(seconds).planned();
    let shrunk = plan.next.shrunk;
    let size = plan.next.size;
    *fixture = Fixture {
        group: fixture.group.clone(),
        now: fixture.now,
        ..Fixture::converged(size)
    };
    fixture.recorded.shrunk = shrunk;
    let limits = report
        .holds
        .iter()
        .filter(|held| matches!(held.hold, Hold::DestroyLimit { .. }));
    let told = limits.map(|held| {
        let until = held.until;
        let until = until.map(|until| until.duration_since(at(0)).as_secs());
        (held.hold.to_string(), until)
    });
    (size, told.collect())
}

#[test]
fn a_group_is_not_emptied_in_steps_that_are_small_by_themselves() {
    let mut fixture = Fixture::converged(24);
    assert_eq!(commits(&mut fixture, 0, 12), (12, vec![]));
    let told = "commits of an hour remove 21 instances, 12 of them before this one, and limits.maxDestroy allows 12; wait, or raise the limit in a commit to allow it";
    let held = (told.to_owned(), Some(3900));
    assert_eq!(commits(&mut fixture, 60, 3), (12, vec![held.clone()]));
    // It stays so, and says until when.
    assert_eq!(commits(&mut fixture, 3899, 3), (12, vec![held]));
    assert_eq!(commits(&mut fixture, 3901, 3), (3, vec![]));
}

#[test]
fn steps_within_minutes_count_from_the_largest_size() {
    let mut fixture = Fixture::converged(24);
    assert_eq!(commits(&mut fixture, 0, 18), (18, vec![]));
    assert_eq!(commits(&mut fixture, 60, 12), (12, vec![]));
    // Of 18 it would be few enough.
    let (size, holds) = commits(&mut fixture, 120, 8);
    assert_eq!((size, holds.len()), (12, 1), "{holds:?}");
    assert!(holds[0].0.contains("remove 16 instances"), "{holds:?}");
}

#[test]
fn each_step_of_the_hour_counts_until_it_is_past() {
    let mut fixture = Fixture::converged(40);
    assert_eq!(commits(&mut fixture, 0, 30), (30, vec![]));
    assert_eq!(commits(&mut fixture, 900, 20), (20, vec![]));
    let (size, holds) = commits(&mut fixture, 1000, 14);
    assert_eq!(size, 20);
    // When the first is past, 30 is what there was, and 16 of it are still too many; when both are, 6 of 20 are few.
    assert_eq!(holds[0].1, Some(4800));
    assert_eq!(commits(&mut fixture, 4000, 15), (15, vec![]));
}

#[test]
fn the_limit_of_the_document_lifts_it_and_what_came_back_counts_once() {
    let mut fixture = Fixture::converged(24);
    commits(&mut fixture, 0, 12);
    assert_eq!(commits(&mut fixture, 10, 24), (24, vec![]));
    assert_eq!(commits(&mut fixture, 20, 12), (12, vec![]));
    fixture.group.spec.limits.destroy_max = Some(Amount::Percent(100));
    assert_eq!(commits(&mut fixture, 30, 0), (0, vec![]));
}

#[test]
fn small_groups_come_and_go_as_anybody_likes() {
    let mut fixture = Fixture::converged(10);
    for (second, size) in [(10, 5), (20, 1), (30, 9), (40, 2), (50, 10), (60, 0)] {
        assert_eq!(commits(&mut fixture, second, size), (size, vec![]));
    }
}

#[test]
fn a_removal_counts_what_commits_took_before() {
    let mut fixture = Fixture::converged(20);
    assert_eq!(commits(&mut fixture, 0, 10), (10, vec![]));
    fixture.removed = true;
    let (plan, report) = fixture.later(60).planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["DestroyLimit"]);
    assert_eq!(plan.wake_at, Some(at(3900)));
    let (plan, _) = fixture.later(3901).planned();
    assert_eq!(plan.next.size, 0);
    assert_eq!(plan.next.phase, GroupPhase::Deleting);
}

#[test]
fn many_commits_leave_a_short_record() {
    let mut fixture = Fixture::converged(500);
    for step in 0..100 {
        commits(&mut fixture, step * 60, 499 - step as u32);
        assert!(fixture.recorded.shrunk.len() <= 13);
    }
    let oldest: &Resize = &fixture.recorded.shrunk[0];
    assert!(oldest.until > fixture.now);
}
