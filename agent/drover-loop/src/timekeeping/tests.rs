use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn keeper(largest: i64) -> Timekeeper {
    Timekeeper::new(Some(at(largest)), Duration::from_secs(30))
}

#[test]
fn a_clock_that_goes_on_is_steady() {
    let mut keeper = keeper(1_000);
    assert_eq!(keeper.tick(at(1_000)), Tick::Steady);
    assert_eq!(keeper.tick(at(1_030)), Tick::Steady);
}

#[test]
fn a_step_back_within_the_tolerance_is_steady() {
    assert_eq!(keeper(1_000).tick(at(999)), Tick::Steady);
}

#[test]
fn a_step_back_holds_until_the_clock_has_caught_up() {
    let mut keeper = keeper(1_000);
    assert_eq!(keeper.tick(at(900)), Tick::SteppedBack);
    assert_eq!(keeper.tick(at(998)), Tick::SteppedBack);
    assert_eq!(keeper.tick(at(1_000)), Tick::Steady);
}

#[test]
fn a_clock_that_was_far_ahead_is_trusted_again_after_ten_minutes() {
    let mut keeper = keeper(100_000);
    assert_eq!(keeper.tick(at(1_000)), Tick::SteppedBack);
    assert_eq!(keeper.tick(at(1_599)), Tick::SteppedBack);
    assert_eq!(keeper.tick(at(1_600)), Tick::Steady);
    assert_eq!(keeper.tick(at(1_630)), Tick::Steady);
}

#[test]
fn a_second_step_back_starts_the_wait_anew() {
    let mut keeper = keeper(100_000);
    assert_eq!(keeper.tick(at(1_000)), Tick::SteppedBack);
    assert_eq!(keeper.tick(at(500)), Tick::SteppedBack);
    assert_eq!(keeper.tick(at(1_099)), Tick::SteppedBack);
    assert_eq!(keeper.tick(at(1_100)), Tick::Steady);
}

#[test]
fn a_gap_that_no_interval_explains_is_a_leap() {
    let mut keeper = keeper(1_000);
    assert_eq!(keeper.tick(at(1_000)), Tick::Steady);
    let leapt = Duration::from_hours(1);
    assert_eq!(keeper.tick(at(4_600)), Tick::Leapt(leapt));
    assert_eq!(keeper.tick(at(4_630)), Tick::Steady);
}

#[test]
fn a_restart_after_a_long_time_is_no_leap() {
    let down = Duration::from_secs(89_000);
    assert_eq!(keeper(1_000).tick(at(90_000)), Tick::Resumed(down));
}

fn remembered(second: i64) -> InstanceMemory {
    InstanceMemory {
        healthy_since: Some(at(second)),
        ready_at: Some(at(second)),
        failing_since: Some(at(second)),
        ..InstanceMemory::new(at(second))
    }
}

#[test]
fn a_leap_restarts_what_counts_against_an_instance_and_nothing_else() {
    let id = InstanceId::parse("web-1").unwrap();
    let mut memory = BTreeMap::from([(id.clone(), remembered(10))]);
    restart_timers(&mut memory, at(5_000));
    let after = &memory[&id];
    assert_eq!(after.failing_since, Some(at(5_000)));
    assert_eq!(after.healthy_since, Some(at(10)));
    assert_eq!(after.first_seen, at(10));
}

#[test]
fn after_a_step_back_nothing_remembered_lies_in_the_future() {
    let id = InstanceId::parse("web-1").unwrap();
    let mut memory = BTreeMap::from([(id.clone(), remembered(5_000))]);
    clamp_to(&mut memory, at(100));
    assert_eq!(memory[&id], remembered(100));
}
