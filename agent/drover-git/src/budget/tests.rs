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
