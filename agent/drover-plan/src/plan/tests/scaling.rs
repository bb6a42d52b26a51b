use drover_model::{
    Amount, BindingName, DecisionPoint, Enforcement, Outcome, PolicyName, Rate, SizeDecision,
    SourceSpan, Verdict,
};

use super::*;

/// A group of `size` whose size a policy chooses.
fn sized(size: u32) -> Fixture {
    let mut fixture = Fixture::converged(size);
    fixture.recorded.size = size;
    fixture
}

/// Plans at so many seconds after noon with a policy that asks for `asked`, takes the record over, and
/// returns the size in force with the holds and their ends.
fn asks(
    fixture: &mut Fixture,
    seconds: i64,
    asked: u32,
) -> (u32, Vec<(&'static str, Option<i64>)>) {
    let verdict = Verdict {
        policy: PolicyName::parse("load").unwrap(),
        binding: BindingName::parse("load").unwrap(),
        point: DecisionPoint::Size,
        enforcement: Enforcement::Deny,
        outcome: Outcome::Passed,
        message: String::new(),
        span: SourceSpan::start_of("policies/load.yaml"),
        values: std::collections::BTreeMap::new(),
        digest: String::new(),
    };
    fixture.decisions.size = Some(SizeDecision::Chosen {
        size: asked,
        asked: asked.into(),
        verdict,
    });
    let (plan, report) = fixture.later(seconds).planned();
    fixture.recorded.size = plan.next.size;
    fixture.recorded.resizes = plan.next.resizes;
    fixture.recommendations = plan.recommendations;
    let scaling = report.holds.iter().filter(|held| {
        matches!(
            held.hold,
            Hold::ScalingStabilized { .. } | Hold::ScalingRate { .. }
        )
    });
    let told = scaling.map(|held| {
        let until = held
            .until
            .map(|until| until.duration_since(at(0)).as_secs());
        (held.hold.code(), until)
    });
    (plan.next.size, told.collect())
}

#[test]
fn growing_is_at_once_and_no_faster_than_the_rate() {
    let mut fixture = sized(3);
    assert_eq!(asks(&mut fixture, 0, 5), (5, vec![]));
    let held = ("ScalingRate", Some(60));
    assert_eq!(
        asks(&mut fixture, 10, 20),
        (6, vec![held]),
        "twice of three"
    );
    assert_eq!(asks(&mut fixture, 59, 20), (6, vec![held]));
    // At the end of the minute the first move counts no more; the second one does.
    assert_eq!(asks(&mut fixture, 60, 20).0, 10);
    assert_eq!(asks(&mut fixture, 70, 20).0, 12, "twice of the six at 0:10");
}

#[test]
fn shrinking_waits_for_the_largest_size_that_was_asked_for() {
    let mut fixture = sized(10);
    fixture.group.spec.scaling.rate.down = Rate {
        amount: Amount::Percent(100),
        per: std::time::Duration::from_mins(1),
    };
    let held = |until| vec![("ScalingStabilized", Some(until))];
    assert_eq!(asks(&mut fixture, 0, 4), (10, held(300)));
    assert_eq!(asks(&mut fixture, 100, 7), (10, held(300)));
    assert_eq!(asks(&mut fixture, 200, 4), (10, held(300)));
    assert_eq!(
        asks(&mut fixture, 300, 4),
        (7, held(500)),
        "seven was wanted until 0:200"
    );
    assert_eq!(asks(&mut fixture, 499, 4), (7, held(500)));
    assert_eq!(asks(&mut fixture, 500, 4), (4, vec![]));
}

#[test]
fn growing_takes_the_smallest_size_that_was_asked_for() {
    let mut fixture = sized(4);
    fixture.group.spec.scaling.stabilization.up = std::time::Duration::from_mins(1);
    assert_eq!(
        asks(&mut fixture, 0, 6),
        (4, vec![("ScalingStabilized", Some(60))])
    );
    assert_eq!(asks(&mut fixture, 30, 8).0, 4);
    assert_eq!(asks(&mut fixture, 60, 8).0, 6);
    assert_eq!(asks(&mut fixture, 90, 8).0, 8);
}

#[test]
fn shrinking_takes_a_share_rounded_up_and_at_least_one() {
    let mut fixture = sized(15);
    asks(&mut fixture, 0, 3);
    let held = ("ScalingRate", Some(360));
    assert_eq!(
        asks(&mut fixture, 300, 3),
        (13, vec![held]),
        "10 % of 15, rounded up"
    );
    assert_eq!(asks(&mut fixture, 330, 3), (13, vec![held]));
    assert_eq!(asks(&mut fixture, 360, 3).0, 11);
    let mut fixture = sized(3);
    asks(&mut fixture, 0, 1);
    assert_eq!(asks(&mut fixture, 300, 1).0, 2);
}

#[test]
fn a_lost_memory_waits_and_a_lost_minute_is_not_given_twice() {
    let mut fixture = sized(20);
    asks(&mut fixture, 0, 3);
    assert_eq!(asks(&mut fixture, 300, 3).0, 18);
    fixture.recommendations.clear();
    assert_eq!(
        asks(&mut fixture, 301, 3),
        (18, vec![("ScalingStabilized", Some(601))])
    );
    fixture.group.spec.scaling.stabilization.down = std::time::Duration::ZERO;
    assert_eq!(
        asks(&mut fixture, 302, 3),
        (18, vec![("ScalingRate", Some(360))])
    );
}

#[test]
fn a_pushed_size_and_pushed_bounds_take_effect_at_once() {
    let mut fixture = sized(20);
    asks(&mut fixture, 0, 20);
    fixture.group.spec.bounds = Some(drover_model::Bounds { min: 2, max: 8 });
    assert_eq!(asks(&mut fixture, 10, 8).0, 8);
    let mut fixture = sized(20);
    asks(&mut fixture, 0, 20);
    fixture.decisions.size = None;
    fixture.group.spec.size = 15;
    let (plan, _) = fixture.later(10).planned();
    assert_eq!(plan.next.size, 15);
    assert!(plan.recommendations.is_empty());
}

#[test]
fn a_policy_of_changing_mind_is_remembered_in_a_bounded_way() {
    let mut fixture = sized(30);
    for second in 0..2000 {
        let asked = 20 + u32::try_from(second % 7).unwrap();
        let (size, _) = asks(&mut fixture, second, asked);
        assert!(fixture.recommendations.len() <= 70);
        assert!(size >= 26, "26 was asked for within the last minutes");
        assert!(fixture.recorded.resizes.down.len() <= 16);
    }
    let mut last = 0;
    for second in 2000..2320 {
        last = asks(&mut fixture, second, 20).0;
    }
    assert!(last < 26, "a lull that lasts ends it");
}

#[test]
fn a_hold_of_scaling_makes_no_commit_when_its_numbers_change() {
    let mut fixture = sized(10);
    asks(&mut fixture, 0, 4);
    let (plan, _) = fixture.planned();
    fixture.recorded = plan.next;
    for (second, asked) in [(10, 5), (20, 3), (30, 4)] {
        asks(&mut fixture, second, asked);
        let (plan, _) = fixture.planned();
        assert_eq!(plan.next, fixture.recorded);
    }
}

#[test]
fn what_came_back_stays_and_what_was_made_in_its_place_goes() {
    for (came_back, gone) in [(false, "web-1"), (true, "web-3")] {
        let mut fixture = Fixture::converged(3);
        fixture.group.spec.size = 2;
        fixture.recorded.size = 2;
        fixture.recorded.stable_size = 2;
        for (listed, made) in fixture
            .listing
            .instances
            .iter_mut()
            .zip([-3600, -3500, -30])
        {
            listed.created_at = Some(at(made));
        }
        let memory = fixture.memory.get_mut(&id("web-1")).unwrap();
        memory.lost_at = came_back.then(|| at(-60));
        let (plan, report) = fixture.planned();
        let ended = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Drain { instance, .. } | Action::Destroy { instance, .. } => Some(instance),
            _ => None,
        });
        let ended: Vec<_> = ended.cloned().collect();
        assert_eq!(ended, [id(gone)], "{:?}", report.holds);
    }
}
