use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + 60 * minute).unwrap()
}

fn revision(digit: u8) -> Revision {
    Revision::parse(&char::from(digit).to_string().repeat(40)).unwrap()
}

fn asked(group: &str, to: u32, instances: u32) -> Removal {
    Removal {
        group: GroupName::parse(group).unwrap(),
        to,
        instances,
    }
}

const HOLD: fn(u32, u32) -> Option<Hold> =
    |wanted, limit| Some(Hold::FleetDestroyLimit { wanted, limit });

#[test]
fn what_several_commits_take_away_within_an_hour_counts_together() {
    let mut removals = Removals::default();
    let came = |_: &str, _: u32| true;
    let mut judge = |minute: i64, all: &[Removal]| {
        removals.settle(at(minute), all, came);
        removals.judge(all, Some(10), at(minute))
    };
    assert_eq!(judge(0, &[asked("a", 1, 4), asked("b", 1, 2)]), None);
    let late = [asked("c", 0, 5)];
    assert_eq!(judge(1, &late), HOLD(11, 10));
    // All of it, or nothing of it.
    assert_eq!(
        judge(2, &[asked("c", 0, 3), asked("d", 0, 3)]),
        HOLD(12, 10)
    );
    assert_eq!(judge(3, &[asked("c", 2, 3)]), None);
    assert_eq!(judge(4, &[asked("d", 2, 2)]), HOLD(11, 10));
    assert_eq!(judge(5, &[]), None);
    assert_eq!(judge(61, &late), None, "the first six are an hour ago");
}

#[test]
fn what_waits_to_come_into_force_counts_once() {
    let mut removals = Removals::default();
    let never = |_: &str, _: u32| false;
    for minute in 0..3 {
        let all = [asked("a", 1, 6)];
        removals.settle(at(minute), &all, never);
        assert_eq!(removals.judge(&all, Some(10), at(minute)), None);
    }
    assert_eq!(
        removals.eases_at(),
        Some(at(62).checked_add(Duration::from_secs(1)).unwrap())
    );
}

#[test]
fn no_later_commit_lifts_the_limit_for_what_was_held() {
    let mut removals = Removals::default();
    let (one, all) = (Some(Amount::Count(1)), Some(Amount::Percent(100)));
    let came = |_: &str, _: u32| true;
    let mut judge = |digit: u8, before: Option<Amount>, asked: &[Removal]| {
        removals.settle(at(0), asked, came);
        let limit = removals.limit(&revision(digit), before, all, 6);
        removals.judge(asked, limit, at(0))
    };
    let shrinks = [asked("a", 1, 5)];
    assert_eq!(judge(b'1', one, &shrinks), HOLD(5, 1));
    // Somebody else's commit, and another, which asks for more.
    assert_eq!(judge(b'2', all, &shrinks), HOLD(5, 1));
    let more = [asked("a", 1, 5), asked("b", 1, 1)];
    assert_eq!(judge(b'3', all, &more), HOLD(6, 1));
    assert_eq!(judge(b'4', all, &[asked("b", 1, 1)]), None);
    // It was taken back and is asked for again, under the limit that is in force since.
    assert_eq!(judge(b'5', all, &[]), None);
    assert_eq!(judge(b'6', all, &shrinks), None);
}

#[test]
fn a_commit_does_not_lift_the_limit_for_itself() {
    let mut removals = Removals::default();
    let (ten, all) = (Some(Amount::Percent(10)), Some(Amount::Percent(100)));
    assert_eq!(removals.limit(&revision(b'1'), ten, all, 45), Some(5));
    // However often it is looked at.
    assert_eq!(removals.limit(&revision(b'1'), all, all, 45), Some(5));
    assert_eq!(removals.limit(&revision(b'2'), all, all, 45), Some(45));
    assert_eq!(
        removals.limit(&revision(b'3'), None, Some(Amount::Count(2)), 45),
        Some(2)
    );
    assert_eq!(removals.limit(&revision(b'4'), None, None, 45), None);
    // A share is of what there was an hour ago.
    assert_eq!(removals.judge(&[asked("a", 0, 15)], None, at(0)), None);
    assert_eq!(removals.limit(&revision(b'5'), ten, ten, 30), Some(5));
}
