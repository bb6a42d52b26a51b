use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drover_model::{BindingName, Certificate, Change, ChangeId, DecisionPoint, Policy, Value};

use super::Measured;
use crate::PolicySet;
use crate::testing::{World, binding, gate, policy};

/// What a policy takes over the three instances of the fixtures, by a clock that takes a second
/// between two looks.
fn measured(policy: Policy) -> Measured {
    let (set, mistakes) = PolicySet::compile(&[policy], &[binding("tested")], &[]);
    assert_eq!(mistakes, Vec::new());
    let world = World::new();
    let change = Change {
        id: ChangeId::of(&Value::Null),
        group: world.group.name.clone(),
        from: None,
        to: None,
        creates: 0,
        replaces: 0,
        restarts: 0,
        changes: 0,
        destroys: 0,
        policies: BTreeMap::new(),
        certificate: Certificate {
            unavailable_max: 0,
            destroyed_max: 0,
            total_max: 0,
        },
    };
    let looks = AtomicU64::new(0);
    let clock = || Duration::from_secs(looks.fetch_add(1, Ordering::Relaxed));
    let name = BindingName::parse("bound-tested").unwrap();
    let measured = set.measure(&name, &world.facts(), &change, &clock).unwrap();
    let other = BindingName::parse("other").unwrap();
    assert!(
        set.measure(&other, &world.facts(), &change, &clock)
            .is_err()
    );
    measured
}

#[test]
fn steps_and_evaluations_are_those_of_every_question() {
    let once = measured(policy(
        DecisionPoint::Size,
        "size(instances.filter(i, i.busy))",
    ));
    assert_eq!((once.evaluations, once.error), (1, None));
    assert_eq!(once.elapsed, Duration::from_secs(1));
    assert_eq!(once.steps, once.largest);
    let rule = "reason == 'heal' || instances.exists(i, i.busy)";
    let per_reason = measured(gate(rule));
    assert_eq!(per_reason.evaluations, 9);
    assert!(per_reason.largest * 8 == per_reason.steps, "{per_reason:?}");
    let per_instance = measured(policy(DecisionPoint::Victim, "instance.busy ? 1 : 0"));
    assert_eq!(per_instance.evaluations, 3);
    let change = measured(policy(DecisionPoint::Validate, "change.creates == 0"));
    assert_eq!(change.evaluations, 1);
}

#[test]
fn what_cannot_be_evaluated_is_told() {
    let failed = measured(policy(DecisionPoint::Budget, "1 / (spec.size - 3)"));
    assert_eq!(failed.error.as_deref(), Some("division by zero"));
}
