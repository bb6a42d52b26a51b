use std::time::Duration;

use drover_model::{
    AnalysisDecision, AnalysisResult, BudgetDecision, Canary, Drift, DriftDecision, FieldClass,
    OnFailure, PauseCause, PlaceDecision, Promote, Protection, Revision, Rollout, RolloutState,
    Settled,
};

use super::*;
use crate::testing::fields;

fn said(point: DecisionPoint, outcome: Outcome) -> Verdict {
    let (_, mut verdicts) = gate(Reason::Update, "3");
    Verdict {
        point,
        outcome,
        ..verdicts.remove(0)
    }
}

fn protecting(instances: &[&str], reason: Reason) -> Protection {
    let ids = instances.iter().map(|name| id(name)).collect();
    Protection {
        verdict: said(DecisionPoint::Protect, Outcome::Failed),
        instances: BTreeMap::from([(reason, ids)]),
    }
}

fn ended(plan: &Plan) -> Vec<String> {
    let ended = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Drain { instance, .. } | Action::Destroy { instance, .. } => {
            Some(instance.to_string())
        }
        _ => None,
    });
    ended.collect()
}

#[test]
fn scale_in_passes_by_what_a_policy_protects_and_says_so_only_where_it_must() {
    let mut fixture = Fixture::converged(4);
    fixture.group.spec.size = 2;
    fixture.decisions.protections = vec![protecting(&["web-1", "web-2"], Reason::ScaleIn)];
    let (plan, report) = fixture.planned();
    assert_eq!(ended(&plan), ["web-3", "web-4"]);
    assert_eq!(holds(&report), Vec::<&str>::new());
    let all = ["web-1", "web-2", "web-3", "web-4"];
    fixture.decisions.protections = vec![protecting(&all, Reason::ScaleIn)];
    let (plan, report) = fixture.planned();
    assert_eq!(ended(&plan), Vec::<String>::new());
    assert_eq!(holds(&report), ["ProtectedByPolicy"], "one for all of them");
    assert_eq!(report.holds[0].instance, None);
}

#[test]
fn a_bad_instance_waits_where_a_heal_policy_says_so() {
    let mut fixture = Fixture::converged(3);
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    fixture.list("web-3", ProviderPhase::Exited(ExitReport::default()));
    fixture.group.spec.heal.in_flight_max = drover_model::Amount::Count(3);
    fixture.decisions.protections = vec![protecting(&["web-2"], Reason::Heal)];
    let (plan, report) = fixture.planned();
    assert_eq!(ended(&plan), ["web-3"]);
    assert_eq!(holds(&report), ["ProtectedByPolicy"]);
}

#[test]
fn a_budget_of_a_policy_limits_its_reason_and_zero_is_none() {
    let mut fixture = Fixture::converged(10);
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.surge_max = drover_model::Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = drover_model::Amount::Count(5);
    fixture.group.spec.rollout.first_batch = 5;
    let with = |fixture: &mut Fixture, max| {
        let verdict = said(DecisionPoint::Budget, Outcome::Passed);
        let budget = BudgetDecision { max, verdict };
        fixture.decisions.budgets = BTreeMap::from([(Reason::Update, budget)]);
        fixture.planned()
    };
    assert_eq!(ended(&fixture.planned().0).len(), 5);
    let (plan, report) = with(&mut fixture, 2);
    assert_eq!(ended(&plan).len(), 2);
    assert!(holds(&report).contains(&"BudgetByPolicy"));
    let (plan, report) = with(&mut fixture, 0);
    assert_eq!(ended(&plan), Vec::<String>::new());
    assert!(holds(&report).contains(&"BudgetByPolicy"));
}

#[test]
fn among_equals_the_one_with_the_highest_score_goes_first() {
    let mut fixture = Fixture::converged(4);
    fixture.group.spec.size = 3;
    let scores = BTreeMap::from([(id("web-3"), 0.5), (id("web-1"), -2.0)]);
    fixture.decisions.victims = BTreeMap::from([(Reason::ScaleIn, scores)]);
    assert_eq!(ended(&fixture.planned().0), ["web-3"]);
    // What is worse goes first whatever it scores.
    fixture.known("web-1", "Starting");
    fixture.memory.clear();
    fixture.list("web-1", ProviderPhase::Pending);
    assert_eq!(ended(&fixture.planned().0), ["web-1"]);
}

#[test]
fn instances_are_made_in_the_zone_that_scores_best_and_never_in_a_forbidden_one() {
    let mut fixture = Fixture::empty(4);
    fixture.group.spec.placement.zones = ["a", "b", "c"].map(str::to_owned).to_vec();
    let zones = |fixture: &Fixture| {
        let (plan, report) = fixture.planned();
        let zones = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Create { zone, slots, .. } => Some((zone.clone().unwrap(), slots.len())),
            _ => None,
        });
        (zones.collect::<Vec<_>>(), holds(&report))
    };
    let score = |score: f64| PlaceDecision::Score(score);
    let never = || PlaceDecision::Forbidden(said(DecisionPoint::Place, Outcome::Failed));
    let place = |zone: &str, decision| (zone.to_owned(), decision);
    fixture.decisions.places = [place("a", score(1.0)), place("c", score(1.0))].into();
    let even = vec![("a".to_owned(), 2), ("c".to_owned(), 2)];
    assert_eq!(zones(&fixture), (even, vec![]));
    fixture.decisions.places = [place("a", never()), place("b", never())].into();
    assert_eq!(zones(&fixture), (vec![("c".to_owned(), 4)], vec![]));
    fixture.decisions.places.insert("c".to_owned(), never());
    assert_eq!(zones(&fixture), (vec![], vec!["PlaceForbidden"]));
}

/// Three instances, one of which is a canary that has been watched for long enough.
fn watched_canary() -> Fixture {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.canary = Some(Canary {
        count: drover_model::Amount::Count(1),
        hold: Duration::from_mins(10),
        promote: Promote::Auto,
    });
    fixture.known("web-3", "Available");
    fixture.list("web-3", ProviderPhase::Running);
    let mut rollout = Rollout::new(fixture.digests(), at(-1200), 3);
    rollout.stages.canary = Some((1, at(-900)));
    fixture.recorded.rollout = Some(rollout);
    fixture.recorded.target = Some(fixture.digests());
    fixture
}

fn analysed(fixture: &mut Fixture, result: AnalysisResult) -> (Plan, PlanReport) {
    let verdict = said(DecisionPoint::Analysis, Outcome::Failed);
    fixture.decisions.analysis = Some(AnalysisDecision { result, verdict });
    fixture.planned()
}

#[test]
fn a_canary_is_promoted_only_when_the_analysis_passes() {
    let mut fixture = watched_canary();
    let promoted = |plan: &Plan| plan.next.rollout.as_ref().unwrap().stages.promoted;
    let (plan, report) = analysed(&mut fixture, AnalysisResult::Inconclusive);
    assert!(!promoted(&plan));
    assert!(holds(&report).contains(&"AnalysisPending"));
    assert_eq!(creates(&plan).len(), 0);
    let (plan, _) = analysed(&mut fixture, AnalysisResult::Pass);
    assert!(promoted(&plan));
    assert_eq!(creates(&plan).len(), 1);
    // A long wait is no fault of the template.
    let inconclusive = AnalysisResult::Inconclusive;
    fixture.recorded = analysed(&mut fixture, inconclusive).0.next;
    fixture.later(7200);
    let (plan, _) = analysed(&mut fixture, inconclusive);
    let state = plan.next.rollout.unwrap().state;
    assert_eq!(state, RolloutState::Progressing);
}

#[test]
fn an_analysis_that_fails_stops_the_rollout_or_rolls_back() {
    let mut fixture = watched_canary();
    let (plan, _) = analysed(&mut fixture, AnalysisResult::Fail);
    let state = plan.next.rollout.unwrap().state;
    let message = "policy hours (binding prod-hours)".to_owned();
    assert_eq!(
        state,
        RolloutState::Paused(PauseCause::Analysis { message })
    );
    fixture.group.spec.rollout.on_failure = OnFailure::Rollback;
    let (plan, report) = analysed(&mut fixture, AnalysisResult::Fail);
    assert!(plan.next.quarantine.is_some());
    assert!(holds(&report).contains(&"Quarantined"));
    // What is rolled back to is not judged again.
    fixture.recorded = plan.next;
    let (plan, _) = analysed(fixture.later(10), AnalysisResult::Fail);
    let state = plan.next.rollout.map(|rollout| rollout.state);
    assert_ne!(state.as_ref().map(is_paused), Some(true));
}

fn is_paused(state: &RolloutState) -> bool {
    matches!(state, RolloutState::Paused(_))
}

fn drifting(fixture: &mut Fixture, class: FieldClass) {
    let (from, to) = (fixture.recorded.stable.clone().unwrap(), fixture.digests());
    assert_ne!(from, to);
    let verdict = said(DecisionPoint::Drift, Outcome::Passed);
    fixture.decisions.drift = Drift(vec![DriftDecision {
        from,
        to,
        class,
        verdict,
    }]);
}

#[test]
fn a_difference_that_policy_ignores_replaces_nobody_and_the_next_one_gets_the_new_template() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    let (plan, _) = fixture.planned();
    assert!(!plan.steps.is_empty(), "without the policy somebody goes");
    drifting(&mut fixture, FieldClass::Ignore);
    let (plan, report) = fixture.planned();
    assert_eq!(plan.steps, Vec::new());
    assert_eq!(holds(&report), Vec::<&str>::new());
    assert_eq!(report.numbers.outdated, 0);
    assert_eq!(plan.change.as_ref().map(|change| change.replaces), Some(0));
    let ignored: Vec<&str> = plan
        .next
        .ignored
        .values()
        .map(|it| it.policy.as_str())
        .collect();
    assert_eq!(ignored, ["hours"]);
    assert_eq!(plan.next.stable, Some(fixture.digests()), "it is done");
    fixture.group.spec.size = 4;
    let (plan, _) = fixture.planned();
    let made = plan.steps.iter().find_map(|step| match &step.action {
        Action::Create { digests, slots, .. } => Some((digests.clone(), slots.len())),
        _ => None,
    });
    assert_eq!(made, Some((fixture.digests(), 1)));
}

#[test]
fn what_policy_asks_to_be_replaced_is_not_changed_in_place() {
    let mut fixture = Fixture::in_place(3);
    fixture.group.spec.template = fields(1, 1, 2);
    let in_place = |plan: &Plan| {
        let mut steps = plan.steps.iter();
        steps.any(|step| matches!(step.action, Action::Update(_)))
    };
    assert!(in_place(&fixture.planned().0), "its field is live");
    drifting(&mut fixture, FieldClass::Replace);
    let (plan, _) = fixture.planned();
    assert!(!in_place(&plan));
    let created = plan
        .steps
        .iter()
        .any(|step| matches!(step.action, Action::Create { .. }));
    assert!(created, "the surge of a rolling update");
}

#[test]
fn what_is_outdated_drifts_only_under_what_the_group_settled_on() {
    let mut fixture = Fixture::converged(3);
    fixture.recorded = fixture.planned().0.next;
    assert!(fixture.recorded.settled.is_some());
    let other = Digests::of(
        &fixture.provider.type_,
        &template(2),
        &fixture.provider.classes,
    );
    let listed = fixture.listing.instances.iter_mut();
    let listed = listed.filter_map(|listed| listed.ownership.as_mut());
    listed.last().unwrap().digests = other;
    let held = |fixture: &mut Fixture, closed: Reason| {
        fixture.decisions.gates = BTreeMap::from([gate(closed, "3")]);
        let (plan, report) = fixture.planned();
        let held = report
            .holds
            .iter()
            .filter(|held| held.hold.code() == "GateClosed");
        (plan.steps.is_empty(), held.count())
    };
    assert_eq!(held(&mut fixture, Reason::Drift), (true, 1));
    assert_eq!(held(&mut fixture, Reason::Update), (false, 0));
    // Another document, though of the same words, or another policy: then it is a change.
    let settled = fixture.recorded.settled.clone();
    let other = |change: fn(&mut Settled)| {
        let mut settled = settled.clone();
        change(settled.as_mut().unwrap());
        settled
    };
    let changes = [
        other(|it| it.revision = Revision::parse(&"b".repeat(40)).unwrap()),
        other(|it| it.policies = "another".to_owned()),
        // Who upgrades knows nothing of what was before.
        None,
    ];
    for change in changes {
        fixture.recorded.settled = change;
        assert_eq!(held(&mut fixture, Reason::Drift), (false, 0));
        assert_eq!(held(&mut fixture, Reason::Update), (true, 1));
    }
}
