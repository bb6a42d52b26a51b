use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn remote() -> PushBudget {
    PushBudget::new(PushLimits::remote())
}

#[test]
fn waits_for_a_quiet_period_after_the_last_commit() {
    let mut budget = remote();
    assert_eq!(budget.advise(at(0), 0), PushAdvice::Idle);
    budget.changed(at(0));
    assert_eq!(budget.advise(at(0), 1), PushAdvice::Wait { until: at(10) });
    budget.changed(at(9));
    assert_eq!(budget.advise(at(10), 2), PushAdvice::Wait { until: at(19) });
    assert_eq!(budget.advise(at(19), 2), PushAdvice::Push);
}

#[test]
fn a_stream_of_commits_is_pushed_after_the_longest_delay() {
    let mut budget = remote();
    for second in (0..60).step_by(5) {
        budget.changed(at(second));
        assert_ne!(budget.advise(at(second), 1), PushAdvice::Push, "{second}");
    }
    budget.changed(at(60));
    assert_eq!(budget.advise(at(60), 1), PushAdvice::Push);
}

#[test]
fn never_pushes_more_than_six_times_in_a_minute() {
    let limits = PushLimits {
        quiet: Duration::ZERO,
        ..PushLimits::remote()
    };
    let mut budget = PushBudget::new(limits);
    let mut pushes = Vec::new();
    for second in 0..300 {
        budget.changed(at(second));
        if budget.advise(at(second), 1) == PushAdvice::Push {
            budget.pushing(at(second));
            pushes.push(second);
        }
    }
    assert_eq!(pushes.len(), 30);
    for start in 0..240 {
        let within = pushes.iter().filter(|p| (start..start + 60).contains(*p));
        assert!(within.count() <= 6, "from {start}: {pushes:?}");
    }
}

#[test]
fn a_failed_push_waits_again_instead_of_hammering() {
    let mut budget = remote();
    budget.changed(at(0));
    assert_eq!(budget.advise(at(10), 1), PushAdvice::Push);
    budget.pushing(at(10));
    assert_eq!(budget.advise(at(11), 1), PushAdvice::Wait { until: at(21) });
}

#[test]
fn a_clock_that_steps_back_does_not_block_pushes() {
    let mut budget = remote();
    budget.changed(at(3600));
    assert_eq!(budget.advise(at(0), 1), PushAdvice::Wait { until: at(10) });
    assert_eq!(budget.advise(at(10), 1), PushAdvice::Push);
}

/// When the first pushes happen while something always waits, of a host that declines some of them for `wait` seconds.
fn pushes(
    budget: &mut PushBudget,
    seconds: std::ops::Range<i64>,
    declines: bool,
    wait: i64,
) -> Vec<i64> {
    let mut pushes = Vec::new();
    for second in seconds {
        budget.changed(at(second));
        if budget.advise(at(second), 1) == PushAdvice::Push {
            budget.pushing(at(second));
            pushes.push(second);
            if declines {
                budget.refused(at(second), at(second + wait));
            } else {
                budget.succeeded();
            }
        }
    }
    pushes
}

fn eager() -> PushBudget {
    PushBudget::new(PushLimits {
        quiet: Duration::ZERO,
        ..PushLimits::remote()
    })
}

#[test]
fn a_refusal_is_waited_out_and_halves_the_rate() {
    let mut budget = eager();
    assert_eq!(budget.per_hour(), 360);
    // One that asks for 90 seconds gets them.
    assert_eq!(pushes(&mut budget, 0..170, true, 90), [0, 90]);
    assert_eq!(budget.per_hour(), 90);
    // One that asks for nothing in particular is asked at half the rate each time, but not less often than every 5 minutes.
    let mut budget = eager();
    assert_eq!(
        pushes(&mut budget, 0..1_300, true, 1),
        [0, 20, 60, 140, 304, 604, 904, 1_204]
    );
    assert_eq!(budget.per_hour(), 12);
}

#[test]
fn successes_raise_the_rate_step_by_step_until_it_is_the_old_one() {
    let mut budget = eager();
    pushes(&mut budget, 0..1_000, true, 1);
    assert_eq!(budget.per_hour(), 12);
    let mut rates = Vec::new();
    let mut second = 1_000;
    while budget.per_hour() < 360 {
        let done = pushes(&mut budget, second..second + 1, false, 0).len();
        second += 1;
        if done > 0 {
            rates.push(budget.per_hour());
        }
    }
    assert_eq!(rates[..3], [42, 72, 102]);
    assert_eq!((rates.len(), rates.last()), (12, Some(&360)));
    let many = pushes(&mut budget, second + 60..second + 120, false, 0).len();
    assert_eq!(many, 6);
}

#[test]
fn a_clock_that_steps_back_does_not_lengthen_the_wait() {
    let mut budget = eager();
    budget.pushing(at(3_600));
    budget.refused(at(3_600), at(3_660));
    budget.changed(at(0));
    assert_eq!(budget.advise(at(0), 1), PushAdvice::Wait { until: at(60) });
}

#[test]
fn a_slow_budget_gets_no_faster_by_a_refusal() {
    let mut budget = PushBudget::new(PushLimits {
        per_minute: 1,
        ..PushLimits::remote()
    });
    for _ in 0..10 {
        budget.refused(at(0), at(0));
    }
    assert_eq!(budget.per_hour(), 12);
}
