use drover_model::{ErrorClass, IntentKind, OrderVerb, Rebalance, Spread};

use super::*;

/// A group whose instances are in these zones, in the order of their numbers.
fn placed(zones: &[&str], instances: &[&str]) -> Fixture {
    let mut fixture = Fixture::converged(instances.len() as u32);
    fixture.group.spec.placement.zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
    for (number, zone) in (1..).zip(instances) {
        let name = format!("web-{number}");
        let listed = fixture
            .listing
            .instances
            .iter_mut()
            .find(|listed| listed.provider_ref == crate::testing::provider_ref(&name));
        listed.unwrap().zone = Some((*zone).to_owned());
        let was = fixture.recorded.instances.get_mut(&id(&name)).unwrap();
        was.zone = Some((*zone).to_owned());
    }
    fixture
}

/// Returns how many instances are made in each zone.
fn made(plan: &Plan) -> Vec<(String, usize)> {
    let creates = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { slots, zone, .. } => Some((zone.clone().unwrap_or_default(), slots.len())),
        _ => None,
    });
    creates.collect()
}

fn ended(plan: &Plan) -> Vec<String> {
    let ends = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Drain { instance, .. } | Action::Destroy { instance, .. } => {
            Some(instance.to_string())
        }
        _ => None,
    });
    ends.collect()
}

fn pairs(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
    let pairs = expected.iter();
    pairs
        .map(|(zone, count)| ((*zone).to_owned(), *count))
        .collect()
}

#[test]
fn creates_go_where_the_fewest_are() {
    let mut fixture = placed(&["a", "b", "c"], &["a", "a", "b"]);
    fixture.group.spec.size = 7;
    let (plan, _) = fixture.planned();
    assert_eq!(made(&plan), pairs(&[("a", 1), ("b", 1), ("c", 2)]));
    fixture.group.spec.placement.spread = Spread::Any;
    let (plan, _) = fixture.planned();
    assert_eq!(made(&plan), pairs(&[("a", 4)]));
}

#[test]
fn a_create_without_an_answer_counts_in_its_zone() {
    let mut fixture = placed(&["a", "b"], &["a", "b"]);
    fixture.group.spec.size = 4;
    fixture.recorded.size = 4;
    fixture.create(&["web-3"], -5, IntentState::Sent);
    if let IntentKind::Create { zone, .. } = &mut fixture.intents[0].kind {
        *zone = Some("a".to_owned());
    }
    let (plan, _) = fixture.planned();
    assert_eq!(made(&plan), pairs(&[("b", 1)]));
}

#[test]
fn a_zone_without_room_waits_and_the_others_take_over() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "b"]);
    fixture.group.spec.size = 5;
    fixture.recorded.size = 5;
    let failed = IntentState::Failed {
        class: ErrorClass::Capacity,
        message: "no room".to_owned(),
        at: at(-1),
    };
    fixture.create(&["web-4"], -5, failed);
    if let IntentKind::Create { zone, .. } = &mut fixture.intents[0].kind {
        *zone = Some("b".to_owned());
    }
    let (plan, report) = fixture.planned();
    assert_eq!(made(&plan), pairs(&[("a", 2)]));
    assert_eq!(plan.next.cooling.get("b"), Some(&at(179)));
    assert_eq!(
        plan.next.backoff, None,
        "one zone is no reason for all to wait"
    );
    assert!(holds(&report).is_empty());
    fixture.intents.clear();
    fixture.recorded.cooling = plan.next.cooling;
    fixture.recorded.cooling.insert("a".to_owned(), at(100));
    let (plan, report) = fixture.planned();
    assert!(made(&plan).is_empty());
    let held = report
        .holds
        .iter()
        .find(|held| held.hold.code() == "ZonesCooling");
    assert_eq!(held.unwrap().until, Some(at(100)));
    assert!(plan.wake_at <= Some(at(100)));
    let (plan, _) = fixture.later(100).planned();
    assert_eq!(made(&plan), pairs(&[("a", 2)]));
}

#[test]
fn a_rollout_that_no_zone_has_room_for_misses_no_deadline() {
    let mut fixture = placed(&["a", "b"], &["a", "b"]);
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.unavailable_max = drover_model::Amount::Count(0);
    let (plan, _) = fixture.planned();
    fixture.recorded = plan.next;
    fixture.recorded.cooling = ["a", "b"].map(|zone| (zone.to_owned(), at(7200))).into();
    let (plan, report) = fixture.later(7000).planned();
    assert_eq!(holds(&report), ["AvailabilityFloor", "ZonesCooling"]);
    fixture.recorded = plan.next;
    let (plan, report) = fixture.later(7250).planned();
    assert_eq!(
        made(&plan).len(),
        1,
        "it is tried again: {:?}",
        holds(&report)
    );
    fixture.recorded = plan.next;
    let late = i64::try_from(fixture.group.spec.progress_deadline().as_secs()).unwrap() + 7252;
    let (_, report) = fixture.later(late).planned();
    assert_eq!(
        holds(&report),
        ["RolloutPaused"],
        "from then on the clock runs"
    );
}

#[test]
fn whom_people_name_goes_whatever_zone_has_most() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "b"]);
    fixture.group.spec.drain.delay = std::time::Duration::ZERO;
    fixture.group.spec.size = 2;
    assert_ne!(ended(&fixture.planned().0), ["web-3"]);
    super::orders::order(&mut fixture, OrderVerb::Yield, "web-3");
    assert_eq!(ended(&fixture.planned().0), ["web-3"]);
}

#[test]
fn scale_in_takes_from_the_zone_that_has_most() {
    let mut fixture = placed(&["a", "b", "c"], &["b", "a", "a", "a", "c"]);
    fixture.group.spec.size = 2;
    assert_eq!(ended(&fixture.planned().0), ["web-2", "web-3", "web-1"]);
    fixture.group.spec.scaling.prefer = drover_model::Prefer::Newest;
    assert_eq!(
        ended(&fixture.planned().0),
        ["web-2", "web-3", "web-1"],
        "of one age"
    );
    fixture.group.spec.placement.rebalance = Rebalance::Off;
    assert_eq!(ended(&fixture.planned().0), ["web-1", "web-2", "web-3"]);
}

#[test]
fn what_is_worse_goes_first_whatever_its_zone() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "a", "b"]);
    fixture.group.spec.size = 3;
    fixture.signal(
        "web-4",
        CheckOutcome::Failing {
            why: "status 500".to_owned(),
        },
    );
    fixture.memory.get_mut(&id("web-4")).unwrap().failing_since = Some(at(-10));
    let (plan, _) = fixture.planned();
    assert_eq!(ended(&plan), ["web-4"]);
}

#[test]
fn an_instance_outside_of_the_zones_goes_first() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "b", "z"]);
    fixture.group.spec.size = 3;
    assert_eq!(ended(&fixture.planned().0), ["web-4"]);
}

#[test]
fn zones_do_not_change_the_digest() {
    let mut fixture = placed(&["a", "b"], &["a", "b"]);
    fixture.group.spec.placement.zones = vec!["b".to_owned(), "c".to_owned()];
    let (plan, _) = fixture.planned();
    assert!(
        plan.steps.is_empty(),
        "nothing is outdated, and nothing moves unasked"
    );
    assert_eq!(plan.next.target, fixture.recorded.target);
}

#[test]
fn a_move_makes_the_successor_first_and_waits_while_anything_else_goes_on() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "a", "b"]);
    assert!(
        fixture.planned().0.steps.is_empty(),
        "opportunistic moves nothing"
    );
    fixture.group.spec.placement.rebalance = Rebalance::Proactive;
    let (plan, _) = fixture.planned();
    assert_eq!(made(&plan), pairs(&[("b", 1)]));
    assert!(ended(&plan).is_empty());
    fixture.group.spec.placement.skew_max = 2;
    assert!(fixture.planned().0.steps.is_empty());
    fixture.group.spec.placement.skew_max = 1;
    fixture.group.spec.template = template(2);
    let causes = |plan: &Plan| -> Vec<Cause> { plan.steps.iter().map(|step| step.cause).collect() };
    let (plan, _) = fixture.planned();
    assert_eq!(
        causes(&plan),
        [Cause::Because(Reason::Update)],
        "not with a rollout"
    );
}

#[test]
fn without_a_surge_a_move_takes_first_what_the_floor_allows() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "a", "b"]);
    fixture.group.spec.placement.rebalance = Rebalance::Proactive;
    fixture.group.spec.rollout.surge_max = drover_model::Amount::Count(0);
    let (plan, _) = fixture.planned();
    assert_eq!(ended(&plan), ["web-1"]);
    assert!(made(&plan).is_empty());
}

#[test]
fn a_closed_gate_withholds_a_move() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "a", "b"]);
    fixture.group.spec.placement.rebalance = Rebalance::Proactive;
    let (reason, verdicts) = gate(Reason::Rebalance, "3");
    fixture.decisions.gates.insert(reason, verdicts);
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["GateClosed"]);
}

#[test]
fn the_lint_sees_an_instance_in_the_wrong_zone_and_an_idle_move() {
    let mut fixture = placed(&["a", "b"], &["a", "b"]);
    fixture.group.spec.size = 3;
    let moved = |to: Option<&str>, cause: Option<Cause>| {
        let to = to.map(str::to_owned);
        fixture.linted(|plan| {
            for step in &mut plan.steps {
                if let Action::Create { zone, .. } = &mut step.action {
                    zone.clone_from(&to);
                    step.cause = cause.unwrap_or(step.cause);
                }
            }
        })
    };
    assert_eq!(moved(Some("b"), None), Ok(()));
    for zone in [None, Some("z")] {
        assert!(matches!(
            moved(zone, None),
            Err(crate::LintError::WrongZone { .. })
        ));
    }
    let cause = Cause::Because(Reason::Rebalance);
    assert_eq!(
        moved(Some("b"), Some(cause)),
        Err(crate::LintError::IdleMove)
    );
}

#[test]
fn nothing_moves_to_a_zone_that_nothing_would_be_made_in() {
    let mut fixture = placed(&["a", "b"], &["a", "a", "a", "b"]);
    fixture.group.spec.placement.rebalance = Rebalance::Proactive;
    assert_eq!(made(&fixture.planned().0), pairs(&[("b", 1)]));
    let preferred = drover_model::PlaceDecision::Score(1.0);
    fixture.decisions.places = [("a".to_owned(), preferred)].into();
    assert!(fixture.planned().0.steps.is_empty());
}
