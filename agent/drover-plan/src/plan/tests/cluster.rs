//! Clusters that are not known to be well: nothing is taken out of them that need not be.

use std::collections::BTreeSet;

use drover_model::{
    Action, Cause, ExitReport, Held, Hold, InstanceId, Plan, ProviderPhase, Reason,
};

use crate::lint::LintError;
use crate::testing::{Fixture, id, template};

fn fence(hold: Hold) -> Vec<Held> {
    vec![Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    }]
}

fn degraded() -> Vec<Held> {
    let why = "plugin swarm: 2 of 3 managers are reachable".to_owned();
    fence(Hold::ClusterDegraded { why })
}

fn unknown() -> Vec<Held> {
    let why = "plugin swarm: no answer in time".to_owned();
    fence(Hold::ClusterUnknown { why })
}

fn causes(plan: &Plan) -> BTreeSet<Cause> {
    let interrupts = |action: &Action| !matches!(action, Action::Create { .. });
    let steps = plan.steps.iter().filter(|step| interrupts(&step.action));
    steps.map(|step| step.cause).collect()
}

/// Whom a plan takes out of service.
fn taken(plan: &Plan) -> Vec<InstanceId> {
    let steps = plan.steps.iter();
    let ends = steps.filter_map(|step| match &step.action {
        Action::Drain { instance, .. } | Action::Destroy { instance, .. } => Some(instance.clone()),
        _ => None,
    });
    ends.collect()
}

/// A group of three in a rollout, of whose new template `there` are available.
fn rolling(there: u64) -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    fixture.recorded = fixture.planned().0.next;
    for number in 4..4 + there {
        fixture.list(&format!("web-{number}"), ProviderPhase::Running);
        fixture.known(&format!("web-{number}"), "Available");
    }
    fixture
}

#[test]
fn who_has_a_successor_and_who_is_surplus_stay_while_a_cluster_is_not_known_to_be_well() {
    let smaller = || {
        let mut fixture = Fixture::converged(3);
        fixture.group.spec.size = 2;
        fixture
    };
    for (mut fixture, reason) in [(rolling(1), Reason::Update), (smaller(), Reason::ScaleIn)] {
        let allowed = fixture.planned().0;
        assert!(causes(&allowed).contains(&Cause::Because(reason)));
        for fences in [degraded(), unknown()] {
            fixture.fences.clone_from(&fences);
            let (plan, report) = fixture.planned();
            assert_eq!(causes(&plan), BTreeSet::new());
            let held = Held {
                reason: Some(reason),
                ..fences[0].clone()
            };
            assert!(report.holds.contains(&held), "{:?}", report.holds);
            let error = fixture.linted(|plan| plan.clone_from(&allowed));
            assert!(
                matches!(error, Err(LintError::ClusterUnwell(_))),
                "{error:?}"
            );
        }
    }
}

#[test]
fn what_is_broken_is_healed_whatever_the_cluster_is() {
    for fences in [degraded(), unknown()] {
        let mut fixture = rolling(0);
        fixture.fences = fences;
        fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
        let (plan, _) = fixture.planned();
        assert_eq!(causes(&plan), [Cause::Because(Reason::Heal)].into());
    }
}

#[test]
fn who_leads_goes_last() {
    let mut fixture = rolling(1);
    let leads = |fixture: &mut Fixture, leader: &str| {
        for (instance, signal) in &mut fixture.signals {
            signal.leader = Some(*instance == id(leader));
        }
    };
    assert_eq!(taken(&fixture.planned().0), [id("web-1")]);
    leads(&mut fixture, "web-1");
    assert_eq!(taken(&fixture.planned().0), [id("web-2")]);
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.size = 2;
    let first = taken(&fixture.planned().0);
    leads(&mut fixture, first[0].to_string().as_str());
    let second = taken(&fixture.planned().0);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}
