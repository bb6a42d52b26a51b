use std::collections::BTreeMap;

use crate::{BudgetName, PauseCause, PolicyHold, PolicyName, SourceSpan};

use super::*;

/// Every hold that has a number of things in its sentence, with one of each.
fn with_one() -> Vec<Hold> {
    let message = || "no room".to_owned();
    vec![
        Hold::ObservationEmptied {
            expected: 1,
            elsewhere: 0,
            asked: "provider local".to_owned(),
        },
        Hold::ObservationEmptied {
            expected: 0,
            elsewhere: 1,
            asked: "provider local".to_owned(),
        },
        Hold::OwnerStillActs {
            owner: "the scaling group web".to_owned(),
            instances: 1,
        },
        Hold::BudgetExhausted { used: 1, max: 1 },
        Hold::FleetBudgetExhausted {
            budget: BudgetName::parse("all").unwrap(),
            max: 1,
            taken_by: Vec::new(),
        },
        Hold::SurgeExhausted { ceiling: 1 },
        Hold::AvailabilityFloor {
            floor: 1,
            available: 1,
        },
        Hold::FirstBatch { waiting: 1 },
        Hold::RolloutPaused(PauseCause::Failures {
            failed: 1,
            threshold: 1,
            last: Some("web-6: exited with status 1".to_owned()),
        }),
        Hold::LaunchBackoff {
            failures: 1,
            message: message(),
        },
        Hold::HealBudget { allowed: 1 },
        Hold::Systemic { bad: 1, total: 1 },
        Hold::DestroyLimit {
            wanted: 1,
            limit: 0,
            earlier: 0,
        },
        Hold::DestroyLimit {
            wanted: 1,
            limit: 0,
            earlier: 1,
        },
        Hold::FleetDestroyLimit {
            wanted: 1,
            limit: 0,
        },
        Hold::QuorumAtRisk {
            healthy: 1,
            voters: 1,
            needed: 1,
        },
        Hold::UnknownOutcomes {
            count: 1,
            said: None,
        },
    ]
}

fn hours_with_one() -> [Hold; 4] {
    [
        Hold::CreateLimit {
            limit: 1,
            reserved: 0,
        },
        Hold::CreateLimit {
            limit: 2,
            reserved: 1,
        },
        Hold::DestroyRate {
            limit: 1,
            reserved: 0,
        },
        Hold::DestroyRate {
            limit: 2,
            reserved: 1,
        },
    ]
}

#[test]
fn one_of_anything_is_not_many() {
    for hold in with_one().into_iter().chain(hours_with_one()) {
        let said = hold.to_string();
        for plural in [
            "1 are",
            "1 of them have",
            "1 still have ",
            "instances",
            "launches",
            "replacements",
            "members",
            "calls",
        ] {
            // All groups have instances, and what does not depend on the number may be many.
            let about_all = said
                .replace("instances of all groups", "")
                .replace("of all groups", "");
            let about_all = about_all.replace("other groups had there", "");
            assert!(!about_all.contains(plural), "{plural}: {said}");
        }
    }
}

#[test]
fn what_stopped_a_rollout_says_what_the_latest_instance_died_of() {
    let paused = |last: Option<&str>| {
        let cause = PauseCause::Failures {
            failed: 2,
            threshold: 1,
            last: last.map(str::to_owned),
        };
        Hold::RolloutPaused(cause).to_string()
    };
    assert_eq!(
        paused(Some("web-6: exited with status 1")),
        "the rollout is paused: 2 instances of the new template failed, 1 is enough to stop; the latest: web-6: exited with status 1"
    );
    assert_eq!(
        paused(None),
        "the rollout is paused: 2 instances of the new template failed, 1 is enough to stop"
    );
}

#[test]
fn why_a_metric_is_not_ok_is_said_once() {
    let why = "cannot be asked: connection refused";
    let hold = Hold::PolicyFailed(PolicyHold {
        policy: PolicyName::parse("queue-depth").unwrap(),
        binding: "workers".to_owned(),
        span: SourceSpan::start_of("policies/queue.yaml"),
        message: format!("could not be evaluated: metric queue.depth is not ok: {why}"),
        values: BTreeMap::from([
            ("metric(params.metric)".to_owned(), format!("not ok: {why}")),
            (
                "metric(\"other\")".to_owned(),
                "not ok: no value".to_owned(),
            ),
            ("variables.depth".to_owned(), format!("not ok: {why}")),
        ]),
    });
    let said = hold.to_string();
    assert_eq!(said.matches(why).count(), 1, "{said}");
    assert!(said.contains("variables.depth = not ok"), "{said}");
    assert!(
        said.contains("metric(\"other\") = not ok: no value"),
        "{said}"
    );
}
