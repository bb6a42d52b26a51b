use drover_model::{
    AnalysisResult, Binding, DecisionPoint, Decisions, Difference, Drift, Enforcement, ExitReport,
    FieldChange, FieldClass, HealthSignals, HealthVerdict, InstanceClass, InstanceId, Outcome,
    PlaceDecision, Policy, PolicyName, Reason, Rollout, Value,
};

use crate::PolicySet;
use crate::testing::{World, at, binding, bound, digests, mistakes, outcome, policy};

fn decided(point: DecisionPoint, body: &str, world: &World) -> Decisions {
    bound(policy(point, body)).decide(&world.facts())
}

/// Two policies, each with a binding of its own.
fn both(point: DecisionPoint, one: &str, other: &str) -> PolicySet {
    let named = |name: &str, body: &str| Policy {
        name: PolicyName::parse(name).unwrap(),
        ..policy(point, body)
    };
    let policies = [named("one", one), named("other", other)];
    let bindings = [binding("one"), binding("other")];
    let (set, mistakes) = PolicySet::compile(&policies, &bindings, &[]);
    assert_eq!(mistakes, Vec::new());
    set
}

fn kept(decisions: &Decisions, reason: Reason) -> Vec<String> {
    let ids = World::new().classified.unwrap().members;
    let ids = ids.keys();
    ids.filter(|id| decisions.protector(id, reason).is_some())
        .map(ToString::to_string)
        .collect()
}

fn closed(decisions: &Decisions) -> Vec<&'static str> {
    let reasons = Reason::ALL.into_iter();
    reasons
        .filter(|reason| decisions.closed_gate(*reason).is_some())
        .map(Reason::as_str)
        .collect()
}

#[test]
fn the_tightest_budget_wins_and_healing_is_meant_only_where_the_reason_is_read() {
    let world = World::new();
    let decisions = decided(DecisionPoint::Budget, "status.desired - 1", &world);
    let max = |decisions: &Decisions, reason| {
        let budget = decisions.budgets.get(&reason);
        budget.map(|budget| budget.max)
    };
    assert_eq!(max(&decisions, Reason::Update), Some(2));
    assert_eq!(max(&decisions, Reason::Heal), None);
    let by_reason = "reason == 'heal' ? 5 : 1";
    let set = both(DecisionPoint::Budget, "status.desired - 1", by_reason);
    let decisions = set.decide(&world.facts());
    assert_eq!(max(&decisions, Reason::Update), Some(1));
    assert_eq!(max(&decisions, Reason::Heal), Some(5));
    assert_eq!(max(&decisions, Reason::Delete), None);
    assert_eq!(
        decisions.budgets[&Reason::Update].verdict.message,
        "1 at once"
    );
    let negative = decided(DecisionPoint::Budget, "status.desired - 5", &world);
    assert_eq!(max(&negative, Reason::Update), Some(0));
}

#[test]
fn a_budget_that_cannot_be_evaluated_lets_nothing_go_for_its_reasons() {
    let world = World::new();
    let decisions = decided(DecisionPoint::Budget, "groups['nobody'].desired", &world);
    assert!(decisions.budgets.is_empty());
    assert_eq!(
        closed(&decisions),
        ["update", "scaleIn", "expiry", "rebalance", "cost", "drift"]
    );
}

#[test]
fn protection_is_asked_per_instance_and_told_once() {
    let world = World::new();
    let rule = "!instance.busy || reason == 'heal'";
    let decisions = decided(DecisionPoint::Protect, rule, &world);
    assert_eq!(kept(&decisions, Reason::Update), ["web-2"]);
    assert_eq!(kept(&decisions, Reason::Heal), Vec::<String>::new());
    let all = decided(DecisionPoint::Protect, "instance.zone == 'nowhere'", &world);
    assert_eq!(kept(&all, Reason::ScaleIn), ["web-1", "web-2", "web-3"]);
    assert_eq!(kept(&all, Reason::Heal), Vec::<String>::new(), "not meant");
    assert_eq!(all.protections.len(), 1);
    assert_eq!(all.trace.len(), 1);
    assert_eq!(all.trace[0].values["instance.zone"], "b");
}

#[test]
fn an_instance_of_which_nobody_can_tell_is_protected() {
    let mut world = World::new();
    let zone = "groups[instance.zone].desired > 0";
    let decisions = decided(DecisionPoint::Protect, zone, &world);
    assert_eq!(kept(&decisions, Reason::Update).len(), 3);
    let verdict = &decisions.protections[0].verdict;
    assert!(matches!(verdict.outcome, Outcome::Error(_)));
    world.classified = None;
    let unseen = decided(DecisionPoint::Protect, zone, &world);
    assert!(unseen.protections.is_empty());
}

#[test]
fn what_only_warns_keeps_nobody() {
    let world = World::new();
    let warning = drover_model::Binding {
        enforcement: Enforcement::Warn,
        ..binding("tested")
    };
    let busy = policy(DecisionPoint::Protect, "!instance.busy");
    let (set, _) = PolicySet::compile(&[busy], &[warning], &[]);
    let decisions = set.decide(&world.facts());
    assert_eq!(kept(&decisions, Reason::Update), Vec::<String>::new());
    assert_eq!(decisions.trace.len(), 1);
}

#[test]
fn healing_is_asked_for_those_that_are_bad() {
    let mut world = World::new();
    let word = "instance.zone == 'c' ? 'wait' : 'replace'";
    let wait = |world: &World| kept(&decided(DecisionPoint::Heal, word, world), Reason::Heal);
    assert_eq!(wait(&world), Vec::<String>::new());
    let members = &mut world.classified.as_mut().unwrap().members;
    for member in members.values_mut() {
        member.class = InstanceClass::Exited(ExitReport::default());
    }
    assert_eq!(wait(&world), ["web-2"]);
}

#[test]
fn scores_of_several_policies_add_up_and_an_unknown_one_lets_nobody_go() {
    let world = World::new();
    let busy = "instance.busy ? -10 : 1";
    let zone = "instance.zone == 'a' ? 0.5 : 0.0";
    let decisions = both(DecisionPoint::Victim, busy, zone).decide(&world.facts());
    let scores = &decisions.victims[&Reason::ScaleIn];
    let shown: Vec<f64> = scores.values().copied().collect();
    assert_eq!(shown, [1.0, -10.0, 1.5]);
    assert_eq!(decisions.victims.len(), 4);
    let unknown = decided(
        DecisionPoint::Victim,
        "1.0 / double(size(git.trailers) - 1)",
        &world,
    );
    assert_eq!(
        closed(&unknown),
        ["update", "scaleIn", "expiry", "rebalance", "drift"]
    );
}

#[test]
fn a_negative_or_unknown_score_forbids_a_zone() {
    let mut world = World::new();
    world.group.spec.placement.zones = ["a", "b", "c"].map(str::to_owned).to_vec();
    let here = "size(instances.filter(i, i.zone == zone))";
    let avoid = "zone == 'b' ? -1 : (zone == 'c' ? groups['nobody'].desired : 2)";
    let decisions = both(DecisionPoint::Place, here, avoid).decide(&world.facts());
    assert_eq!(decisions.places["a"], PlaceDecision::Score(3.0));
    for zone in ["b", "c"] {
        assert!(
            matches!(decisions.places[zone], PlaceDecision::Forbidden(_)),
            "{zone}"
        );
    }
}

#[test]
fn an_analysis_is_asked_while_there_is_a_rollout_and_the_worst_counts() {
    let mut world = World::new();
    let early = "now - rollout.startedAt < duration('10m') ? 'inconclusive' : 'pass'";
    let broken = "instances.exists(i, i.class == 'Unhealthy') ? 'fail' : 'pass'";
    let set = both(DecisionPoint::Analysis, early, broken);
    assert_eq!(set.decide(&world.facts()).analysis, None);
    let began = at("2026-01-05T11:55:00Z");
    world.recorded.rollout = Some(Rollout::new(digests("v2"), began, 3));
    let result = |world: &World| set.decide(&world.facts()).analysis.unwrap().result;
    assert_eq!(result(&world), AnalysisResult::Inconclusive);
    world.now = at("2026-01-05T12:05:00Z");
    assert_eq!(result(&world), AnalysisResult::Pass);
    let members = &mut world.classified.as_mut().unwrap().members;
    members.values_mut().next().unwrap().class = InstanceClass::Unhealthy {
        why: "status 500".to_owned(),
    };
    assert_eq!(result(&world), AnalysisResult::Fail);
    let unknown = decided(DecisionPoint::Analysis, "git.trailers['Verdict']", &world);
    assert_eq!(
        unknown.analysis.unwrap().result,
        AnalysisResult::Inconclusive
    );
}

#[test]
fn a_policy_that_was_never_valid_withholds_what_it_takes_part_in() {
    let mut world = World::new();
    world.group.spec.placement.zones = vec!["a".to_owned()];
    world.recorded.rollout = Some(Rollout::new(digests("v2"), world.now, 3));
    let decisions = |point| {
        let policies = [policy(point, "nonsense")];
        let (set, mistakes) = PolicySet::compile(&policies, &[binding("tested")], &[]);
        assert_eq!(mistakes.len(), 1);
        set.decide(&world.facts())
    };
    let voluntary = ["update", "scaleIn", "expiry", "rebalance", "cost", "drift"];
    assert_eq!(closed(&decisions(DecisionPoint::Budget)), voluntary);
    assert_eq!(closed(&decisions(DecisionPoint::Protect)), voluntary);
    assert_eq!(closed(&decisions(DecisionPoint::Heal)), ["heal"]);
    assert_eq!(closed(&decisions(DecisionPoint::Victim)).len(), 5);
    let places = decisions(DecisionPoint::Place).places;
    assert!(matches!(places["a"], PlaceDecision::Forbidden(_)));
    let analysis = decisions(DecisionPoint::Analysis).analysis;
    assert_eq!(analysis.unwrap().result, AnalysisResult::Inconclusive);
}

#[test]
fn values_of_the_wrong_type_or_word_are_found_when_loaded() {
    let of = |point, body: &str| mistakes(&policy(point, body));
    let wrong = [
        of(DecisionPoint::Budget, "double(status.desired) * 0.1"),
        of(DecisionPoint::Victim, "instance.zone"),
        of(DecisionPoint::Heal, "instance.busy ? 'wiat' : 'replace'"),
        of(DecisionPoint::Analysis, "status.available > 1"),
        of(DecisionPoint::Place, "instance.busy ? 1 : 0"),
    ];
    insta::assert_snapshot!(wrong.join("\n"));
}

#[test]
fn health_is_what_the_class_means() {
    let mut world = World::new();
    let members = &mut world.classified.as_mut().unwrap().members;
    let classes = [
        InstanceClass::Starting,
        InstanceClass::Exited(ExitReport::default()),
        InstanceClass::Available,
    ];
    for (member, class) in members.values_mut().zip(classes) {
        member.class = class;
    }
    let rule = "instances.map(i, i.health) == ['unknown', 'unhealthy', 'healthy']";
    assert_eq!(outcome(rule, &world), "passed");
    let typo = policy(
        DecisionPoint::Gate,
        "instances.all(i, i.helth == 'healthy')",
    );
    let hint = mistakes(&typo);
    assert!(hint.contains("did you mean `health`?"), "{hint}");
}

fn signals(combined: HealthVerdict) -> HealthSignals {
    HealthSignals {
        provider: HealthVerdict::Healthy,
        probe: Some(combined),
        checks: vec![combined, HealthVerdict::Healthy],
        combined,
        why: "status 500".to_owned(),
    }
}

/// Three instances, the first of which fails a check.
fn one_failing() -> World {
    let mut world = World::new();
    let ids = world.classified.as_ref().unwrap().members.keys();
    let ids: Vec<InstanceId> = ids.cloned().collect();
    for (at, id) in ids.into_iter().enumerate() {
        let combined = if at == 0 {
            HealthVerdict::Unhealthy
        } else {
            HealthVerdict::Healthy
        };
        world.early.signals.insert(id, signals(combined));
    }
    world
}

fn overrides(decisions: &Decisions) -> Vec<String> {
    let said = decisions.health.iter();
    said.map(|said| {
        let ids: Vec<String> = said.instances.iter().map(ToString::to_string).collect();
        let message = &said.verdict.message;
        format!("{} {}: {message}", said.health.as_str(), ids.join(" "))
    })
    .collect()
}

#[test]
fn health_says_only_what_is_otherwise_than_the_signals() {
    let world = one_failing();
    let early = |set: PolicySet| set.decide_early(&world.facts());
    let most = "signals.checks.exists(c, c == 'healthy') ? 'healthy' : signals.combined";
    let decisions = early(bound(policy(DecisionPoint::Health, most)));
    assert_eq!(
        overrides(&decisions),
        ["healthy web-1: web-1 is healthy; its signals say unhealthy"]
    );
    assert_eq!(closed(&decisions), Vec::<&str>::new());
    // Whoever says what the signals say objects to whoever says better.
    let decisions = early(both(DecisionPoint::Health, most, "signals.combined"));
    assert_eq!(overrides(&decisions), Vec::<String>::new());
    let busy = "instance.id == 'web-2' ? 'unknown' : signals.combined";
    let decisions = early(both(DecisionPoint::Health, most, busy));
    assert_eq!(
        overrides(&decisions),
        ["unknown web-2: web-2 is unknown; its signals say healthy"]
    );
}

#[test]
fn where_health_cannot_be_decided_nobody_is_healed_and_nothing_goes_that_may_wait() {
    let world = one_failing();
    let of_one = "instance.id == 'web-1' ? git.trailers['Health'] : signals.combined";
    let decisions = bound(policy(DecisionPoint::Health, of_one)).decide_early(&world.facts());
    assert_eq!(overrides(&decisions), Vec::<String>::new());
    assert_eq!(kept(&decisions, Reason::Heal), ["web-1"]);
    assert_eq!(
        closed(&decisions),
        [
            "update",
            "heal",
            "scaleIn",
            "expiry",
            "rebalance",
            "cost",
            "drift"
        ]
    );
}

#[test]
fn what_only_audits_changes_no_health_and_no_class() {
    let mut world = one_failing();
    world.early.differences = vec![difference(&[("properties.image", FieldClass::Replace)])];
    for (point, body) in [
        (DecisionPoint::Health, "'healthy'"),
        (DecisionPoint::Drift, "'ignore'"),
    ] {
        let policies = [policy(point, body)];
        let audit = Binding {
            enforcement: Enforcement::Audit,
            ..binding("tested")
        };
        let (set, _) = PolicySet::compile(&policies, &[audit], &[]);
        let decisions = set.decide_early(&world.facts());
        assert_eq!(overrides(&decisions), Vec::<String>::new());
        assert_eq!(decisions.drift, Drift::default());
        assert!(!decisions.trace.is_empty(), "it is told");
    }
}

fn difference(fields: &[(&str, FieldClass)]) -> Difference {
    let change = |(field, class): &(&str, FieldClass)| FieldChange {
        field: (*field).to_owned(),
        class: *class,
        old: Some(Value::from("v1")),
        new: Some(Value::from("v2")),
    };
    Difference {
        from: digests("v1"),
        to: digests("v2"),
        changes: fields.iter().map(change).collect(),
    }
}

#[test]
fn drift_is_decided_field_by_field_and_the_most_counts() {
    let mut world = World::new();
    let note = "field.startsWith('tags.') ? 'ignore' : class";
    let class = |world: &World, body: &str| {
        let set = bound(policy(DecisionPoint::Drift, body));
        let decisions = set.decide_early(&world.facts());
        let decided = decisions.drift.0.first();
        decided.map(|it| (it.class.as_str(), it.verdict.message.clone()))
    };
    let told = |class: &'static str, message: &str| Some((class, message.to_owned()));
    world.early.differences = vec![difference(&[("tags.note", FieldClass::Replace)])];
    assert_eq!(class(&world, note), told("ignore", "ignored: tags.note"));
    assert_eq!(class(&world, "class"), None);
    // Nobody can do less than the provider needs.
    assert_eq!(class(&world, "'live'"), None);
    assert_eq!(
        class(&world, "old == 'v1' ? 'ignore' : 'replace'"),
        told("ignore", "ignored: tags.note")
    );
    // What is ignored comes along with what is not.
    world.early.differences = vec![difference(&[
        ("properties.image", FieldClass::Replace),
        ("tags.note", FieldClass::Replace),
    ])];
    assert_eq!(class(&world, note), None);
    assert_eq!(
        class(&world, "'ignore'"),
        told("ignore", "ignored: properties.image, tags.note")
    );
}

#[test]
fn of_two_policies_on_drift_the_one_that_asks_for_more_counts() {
    let mut world = World::new();
    world.early.differences = vec![difference(&[("tags.note", FieldClass::Replace)])];
    let set = both(DecisionPoint::Drift, "'ignore'", "'replace'");
    assert_eq!(set.decide_early(&world.facts()).drift, Drift::default());
    let set = both(DecisionPoint::Drift, "'ignore'", "'ignore'");
    assert_eq!(set.decide_early(&world.facts()).drift.0.len(), 1);
}

#[test]
fn a_difference_that_cannot_be_judged_replaces_nobody() {
    let mut world = World::new();
    world.early.differences = vec![difference(&[("tags.note", FieldClass::Replace)])];
    let set = bound(policy(DecisionPoint::Drift, "git.trailers['Drift']"));
    let decisions = set.decide_early(&world.facts());
    assert_eq!(decisions.drift, Drift::default());
    assert_eq!(closed(&decisions), ["update", "drift"]);
    // Neither is asked among the others, and the others not before.
    assert_eq!(set.decide(&world.facts()), Decisions::default());
    let gate = bound(policy(DecisionPoint::Gate, "reason != 'update'"));
    assert_eq!(gate.decide_early(&world.facts()), Decisions::default());
    assert!(!gate.asks_early(&world.group.labels));
    assert!(set.asks_early(&world.group.labels));
}

#[test]
fn policies_on_health_and_drift_that_were_never_valid_withhold_what_they_would_have_decided() {
    let world = one_failing();
    let broken = |point| {
        let (set, _) =
            PolicySet::compile(&[policy(point, "nothing.known")], &[binding("tested")], &[]);
        let decisions = set.decide_early(&world.facts());
        assert_eq!(set.decide(&world.facts()), Decisions::default());
        closed(&decisions)
    };
    assert_eq!(broken(DecisionPoint::Drift), ["update", "drift"]);
    assert_eq!(
        broken(DecisionPoint::Health),
        [
            "update",
            "heal",
            "scaleIn",
            "expiry",
            "rebalance",
            "cost",
            "drift"
        ]
    );
}
