use std::collections::BTreeMap;

use drover_model::{
    Activity, Amount, BindingName, Bounds, Change, DecisionPoint, Drift, Enforcement, Hold,
    Outcome, PolicyName, SourceSpan, Suspend, Verdict,
};

use super::{ChangeInput, Review, change, change_size, review};
use crate::testing::{Fixture, template};

fn change_of(fixture: &Fixture) -> Option<Change> {
    let spec = &fixture.group.spec;
    change(&ChangeInput {
        group: &fixture.recorded.name,
        recorded: &fixture.recorded,
        to: (!fixture.removed).then(|| (spec, spec.size, fixture.digests())),
        policies: BTreeMap::new(),
        drift: &fixture.decisions.drift,
    })
}

fn verdict(enforcement: Enforcement, outcome: Outcome) -> Verdict {
    Verdict {
        policy: PolicyName::parse("sizes").unwrap(),
        binding: BindingName::parse("prod-sizes").unwrap(),
        point: DecisionPoint::Validate,
        enforcement,
        outcome,
        message: "too small".to_owned(),
        span: SourceSpan::start_of("policies/sizes.yaml"),
        values: BTreeMap::new(),
        digest: "d1".to_owned(),
    }
}

#[test]
fn a_document_that_asks_for_what_is_there_is_no_change() {
    assert_eq!(change_of(&Fixture::converged(3)), None);
}

#[test]
fn a_change_says_what_is_made_replaced_and_removed() {
    let mut fixture = Fixture::converged(10);
    let counts = |fixture: &Fixture| {
        let change = change_of(fixture).unwrap();
        (change.creates, change.replaces, change.destroys)
    };
    fixture.group.spec.size = 12;
    assert_eq!(counts(&fixture), (2, 0, 0));
    fixture.group.spec.size = 7;
    assert_eq!(counts(&fixture), (0, 0, 3));
    fixture.group.spec.template = template(2);
    assert_eq!(counts(&fixture), (0, 7, 3));
    fixture.removed = true;
    assert_eq!(counts(&fixture), (0, 0, 10));
    assert_eq!(
        {
            let f = Fixture::empty(4);
            counts(&f)
        },
        (4, 0, 0)
    );
}

#[test]
fn the_certificate_bounds_what_the_change_may_do() {
    let mut fixture = Fixture::converged(10);
    fixture.group.spec.size = 20;
    fixture.group.spec.rollout.unavailable_max = Amount::Percent(25);
    let certificate = change_of(&fixture).unwrap().certificate;
    assert_eq!(certificate.total_max, 22);
    assert_eq!(certificate.unavailable_max, 5);
    assert_eq!(certificate.destroyed_max, 0);
}

#[test]
fn the_id_stays_the_same_through_the_rollout_and_differs_between_changes() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    let begun = change_of(&fixture).unwrap().id;
    let (plan, _) = fixture.planned();
    assert_eq!(plan.change.map(|change| change.id), Some(begun.clone()));
    fixture.recorded = plan.next;
    fixture.later(50);
    let (plan, _) = fixture.planned();
    assert_eq!(plan.change.map(|change| change.id), Some(begun.clone()));

    fixture.group.spec.template = template(3);
    assert_ne!(change_of(&fixture).unwrap().id, begun);
    fixture.group.spec.template = template(2);
    fixture.recorded.uid = drover_model::GroupUid::parse("fedcba9876543210").unwrap();
    assert_ne!(
        change_of(&fixture).unwrap().id,
        begun,
        "another life, another change"
    );
}

#[test]
fn the_id_covers_how_the_group_is_kept() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    let plain = change_of(&fixture).unwrap();
    // A suspension is no part of it.
    fixture.group.spec.suspend = vec![Suspend {
        what: [Activity::Gc].into(),
        until: None,
        because: None,
    }];
    assert_eq!(change_of(&fixture).unwrap(), plain);
    let protect = &mut fixture.group.spec.deletion.protect;
    *protect = !*protect;
    let kept_otherwise = change_of(&fixture).unwrap();
    assert_ne!(plain.id, kept_otherwise.id);
    // All that it does is the same.
    let id = plain.id.clone();
    assert_eq!(
        plain,
        Change {
            id,
            ..kept_otherwise
        }
    );
}

#[test]
fn the_id_covers_the_policies_that_judge() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.size = 4;
    let spec = &fixture.group.spec;
    let with = |digest: &str| {
        let policies = BTreeMap::from([("sizes".to_owned(), digest.to_owned())]);
        change(&ChangeInput {
            group: &fixture.recorded.name,
            recorded: &fixture.recorded,
            to: Some((spec, spec.size, fixture.digests())),
            policies,
            drift: &Drift::default(),
        })
        .unwrap()
        .id
    };
    assert_eq!(with("d1"), with("d1"));
    assert_ne!(with("d1"), with("d2"));
}

#[test]
fn what_a_policy_chooses_is_no_change() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.bounds = Some(Bounds { min: 1, max: 9 });
    fixture.recorded.stable_size = 7;
    let spec = &fixture.group.spec;
    assert_eq!(change_size(spec, &fixture.recorded, true), 7);
    assert_eq!(change_size(spec, &fixture.recorded, false), 3);
    assert_eq!(change_size(spec, &Fixture::empty(3).recorded, true), 3);
}

#[test]
fn a_denial_withholds_a_change_and_nothing_else_does() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.size = 4;
    let change = change_of(&fixture);
    let passed = verdict(Enforcement::Deny, Outcome::Passed);
    let warned = verdict(Enforcement::Warn, Outcome::Failed);
    let denied = verdict(Enforcement::Deny, Outcome::Failed);
    let broken = verdict(Enforcement::Deny, Outcome::Error("no such key".to_owned()));
    assert_eq!(
        review(change.as_ref(), &[passed.clone(), warned]),
        Review::Proceed
    );
    assert_eq!(review(None, std::slice::from_ref(&denied)), Review::Proceed);
    let hold = |verdicts: &[Verdict]| match review(change.as_ref(), verdicts) {
        Review::Withheld(held) => held.hold.code(),
        Review::Proceed => "none",
    };
    assert_eq!(hold(&[passed, denied]), "PolicyDenied");
    assert_eq!(
        hold(std::slice::from_ref(&broken)),
        "PolicyFailed",
        "fails closed"
    );
    if let Review::Withheld(held) = review(change.as_ref(), &[broken])
        && let Hold::PolicyFailed(hold) = held.hold
    {
        assert_eq!(hold.message, "too small (no such key)");
    }
}
