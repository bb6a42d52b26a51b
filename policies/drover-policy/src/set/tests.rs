use std::collections::BTreeMap;

use drover_model::{
    Binding, Bounds, Certificate, Change, ChangeEnd, ChangeId, DecisionPoint, Decisions,
    Enforcement, Outcome, PolicyName, PolicyRule, Reason, SizeDecision, SourceText, Value, Verdict,
};

use crate::PolicySet;
use crate::testing::{World, at, binding, bound, defaults, gate, listed, policy, variable};

fn closed(decisions: &Decisions) -> Vec<&'static str> {
    let withheld = |reason: &Reason| decisions.closed_gate(*reason).is_some();
    Reason::ALL
        .into_iter()
        .filter(withheld)
        .map(Reason::as_str)
        .collect()
}

fn told(verdict: &Verdict) -> String {
    let values: Vec<String> = verdict
        .values
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{} [{}]", verdict.message, values.join(" "))
}

fn change(from: u32, to: u32) -> Change {
    let end = |size| ChangeEnd {
        digests: crate::testing::digests("v1"),
        size,
        members: std::collections::BTreeSet::new(),
    };
    Change {
        id: ChangeId::parse(&"0".repeat(64)).unwrap(),
        group: World::new().group.name,
        from: (from > 0).then(|| end(from)),
        to: (to > 0).then(|| end(to)),
        creates: to.saturating_sub(from),
        replaces: 0,
        restarts: 0,
        changes: 0,
        destroys: from.saturating_sub(to),
        policies: BTreeMap::new(),
        certificate: Certificate {
            unavailable_max: 0,
            destroyed_max: 0,
            total_max: 0,
        },
    }
}

fn office_hours() -> drover_model::Policy {
    let mut policy =
        gate("reason in ['heal', 'interruption'] || (variables.hour >= 9 && variables.hour < 17)");
    policy.params = defaults([("timezone", Value::from("UTC"))]);
    policy.variables = vec![variable("hour", "now.getHours(params.timezone)")];
    policy
}

#[test]
fn a_gate_is_asked_for_every_reason() {
    let mut world = World::new();
    let set = bound(office_hours());
    assert_eq!(closed(&set.decide(&world.facts())), Vec::<&str>::new());

    world.now = at("2026-01-05T17:00:00Z");
    let decisions = set.decide(&world.facts());
    let withheld = [
        "update",
        "scaleIn",
        "expiry",
        "rebalance",
        "delete",
        "cost",
        "drift",
    ];
    assert_eq!(closed(&decisions), withheld);
    let verdict = decisions.closed_gate(Reason::Update).unwrap();
    assert_eq!(told(verdict), "the rule [reason=update variables.hour=17]");
    assert_eq!(verdict.span.to_string(), "<expression>:1:1");
    assert_eq!(verdict.digest, "digest-of-policy");
    assert_eq!(verdict.binding.as_str(), "bound-tested");
}

#[test]
fn hours_follow_the_zone_through_daylight_saving() {
    let mut world = World::new();
    let mut binding = binding("tested");
    binding.params = [("timezone".to_owned(), Value::from("Europe/Berlin"))].into();
    let (set, mistakes) = PolicySet::compile(&[office_hours()], &[binding], &[]);
    assert_eq!(mistakes, Vec::new());
    // 9:00 in Berlin is 8:00 UTC in winter and 7:00 UTC in summer.
    for (time, open) in [
        ("2026-01-05T07:59:59Z", false),
        ("2026-01-05T08:00:00Z", true),
        ("2026-07-06T06:59:59Z", false),
        ("2026-07-06T07:00:00Z", true),
        ("2026-07-06T15:00:00Z", false),
    ] {
        world.now = at(time);
        let decisions = set.decide(&world.facts());
        assert_eq!(
            decisions.closed_gate(Reason::Update).is_none(),
            open,
            "{time}"
        );
    }
}

#[test]
fn a_gate_that_does_not_read_the_reason_closes_all_and_is_recorded_once() {
    let mut world = World::new();
    world.numbers.available = 2;
    let set = bound(gate("status.available == status.desired"));
    let decisions = set.decide(&world.facts());
    assert_eq!(closed(&decisions).len(), Reason::ALL.len());
    assert_eq!(decisions.trace.len(), 1);
    assert_eq!(
        told(&decisions.trace[0]),
        "the rule [status.available=2 status.desired=3]"
    );
}

#[test]
fn every_gate_must_be_open() {
    let world = World::new();
    let mut open = gate("status.available == 3");
    open.name = PolicyName::parse("open").unwrap();
    let shut = gate("status.available == 4");
    let bindings = [binding("open"), binding("tested")];
    let (set, mistakes) = PolicySet::compile(&[open, shut], &bindings, &[]);
    assert_eq!(mistakes, Vec::new());
    let decisions = set.decide(&world.facts());
    assert_eq!(
        decisions.closed_gate(Reason::Heal).unwrap().policy.as_str(),
        "tested"
    );
    assert_eq!(decisions.gates[&Reason::Heal].len(), 1);
    assert_eq!(decisions.trace.len(), 2);
}

#[test]
fn only_deny_withholds() {
    let world = World::new();
    for (enforcement, withheld) in [
        (Enforcement::Audit, false),
        (Enforcement::Warn, false),
        (Enforcement::Deny, true),
    ] {
        let mut binding = binding("tested");
        binding.enforcement = enforcement;
        let (set, _) = PolicySet::compile(&[gate("status.available > 5")], &[binding], &[]);
        let decisions = set.decide(&world.facts());
        assert_eq!(decisions.closed_gate(Reason::Update).is_some(), withheld);
        // People see it all the same.
        assert_eq!(decisions.gates[&Reason::Update][0].outcome, Outcome::Failed);
    }
}

#[test]
fn a_policy_applies_only_where_its_match_holds_and_its_binding_selects() {
    let mut world = World::new();
    let mut policy = gate("status.available > 5");
    policy.matches = vec![SourceText::inline("group.labels.env == 'prod'")];
    let set = bound(policy.clone());
    assert_eq!(closed(&set.decide(&world.facts())).len(), Reason::ALL.len());
    world
        .group
        .labels
        .insert("env".to_owned(), "dev".to_owned());
    assert_eq!(set.decide(&world.facts()).trace, Vec::new());
    // Without the label nobody knows whether it applies.
    world.group.labels.clear();
    assert_eq!(closed(&set.decide(&world.facts())).len(), Reason::ALL.len());

    let mut selective = binding("tested");
    selective.selector.match_labels = [("env".to_owned(), "prod".to_owned())].into();
    let (set, _) = PolicySet::compile(&[policy], &[selective], &[]);
    assert_eq!(set.decide(&world.facts()), Decisions::default());
    assert_eq!(set.digests_for(&world.group.labels), BTreeMap::new());
}

#[test]
fn whatever_cannot_be_evaluated_withholds() {
    let mut world = World::new();
    world.old = None;
    world.classified = None;
    let errors = [
        (
            "oldSpec.size > 2",
            "there is no `size (oldSpec is null: the group is new)`; `has(..)` or `in` tell before it is read",
        ),
        (
            "groups['nope'].available > 1",
            "there is no `nope`; `has(..)` or `in` tell before it is read",
        ),
        (
            "group.annotations.owner == 'me'",
            "there is no `owner`; `has(..)` or `in` tell before it is read",
        ),
        ("status.total / (status.total - 3) > 1", "division by zero"),
        (
            "spec.template.properties.image > 3",
            "`>` does not take string and int",
        ),
        (
            "spec.template.properties.image",
            "the result is v1, not a bool",
        ),
        (
            "now.getHours(group.name) > 3",
            "timezone: unknown time zone web",
        ),
        ("instances.all(i, i.busy)", "`instances` has no value here"),
        (
            "rollout.startedAt < now",
            "`<` does not take null and timestamp",
        ),
    ];
    for (rule, why) in errors {
        assert_eq!(crate::testing::outcome(rule, &world), why, "{rule}");
        let decisions = bound(gate(rule)).decide(&world.facts());
        assert_eq!(closed(&decisions).len(), Reason::ALL.len(), "{rule}");
    }
}

#[test]
fn a_failing_variable_matters_only_to_those_that_need_it() {
    let mut world = World::new();
    let mut policy = gate("reason == 'heal' || variables.twice > 0");
    policy.variables = vec![
        variable("db", "groups['cache'].available"),
        variable("twice", "variables.db * 2"),
    ];
    let set = bound(policy);
    let decisions = set.decide(&world.facts());
    assert!(decisions.closed_gate(Reason::Heal).is_none());
    let verdict = decisions.closed_gate(Reason::Update).unwrap();
    assert_eq!(
        told(verdict),
        "could not be evaluated: variables.db: there is no `cache`; `has(..)` or `in` tell before \
         it is read [reason=update variables.twice=(no value)]"
    );
    let summary = *world.groups.values().next().unwrap();
    let cache = drover_model::GroupName::parse("cache").unwrap();
    world.groups.insert(cache, summary);
    assert_eq!(closed(&set.decide(&world.facts())), Vec::<&str>::new());
}

#[test]
fn a_size_is_kept_within_the_bounds() {
    let mut world = World::new();
    let set = bound(policy(DecisionPoint::Size, "status.available * 10"));
    assert!(set.has_size_policy(&world.group.labels));
    let Some(SizeDecision::Chosen {
        size,
        asked,
        verdict,
    }) = set.decide(&world.facts()).size
    else {
        panic!("no size");
    };
    assert_eq!((size, asked), (20, 30));
    assert_eq!(
        told(&verdict),
        "asked for 30, which spec.bounds of 2 to 20 make 20 [status.available=3]"
    );
    world.numbers.available = 0;
    let decisions = set.decide(&world.facts());
    assert!(matches!(
        decisions.size,
        Some(SizeDecision::Chosen {
            size: 2,
            asked: 0,
            ..
        })
    ));

    world.group.spec.bounds = None;
    let decisions = set.decide(&world.facts());
    let Some(SizeDecision::Failed(verdict)) = decisions.size else {
        panic!("bounds are needed");
    };
    assert!(verdict.withholds(), "{verdict:?}");
}

#[test]
fn a_size_that_cannot_be_evaluated_fails() {
    let world = World::new();
    for value in [
        "groups['nope'].desired * 2",
        "spec.template.properties.image",
        "dyn(null)",
        "dyn([])",
    ] {
        let decisions = bound(policy(DecisionPoint::Size, value)).decide(&world.facts());
        let Some(SizeDecision::Failed(verdict)) = decisions.size else {
            panic!("{value}: {:?}", decisions.size);
        };
        assert!(matches!(verdict.outcome, Outcome::Error(_)), "{value}");
    }
}

#[test]
fn two_sizes_contradict_each_other_and_an_audited_one_does_not_count() {
    let world = World::new();
    let first = policy(DecisionPoint::Size, "current + 4");
    let mut second = policy(DecisionPoint::Size, "5");
    second.name = PolicyName::parse("second").unwrap();
    let mut bindings = [binding("tested"), binding("second")];
    let both = [first, second];
    let (set, _) = PolicySet::compile(&both, &bindings, &[]);
    let decisions = set.decide(&world.facts());
    let Some(SizeDecision::Failed(verdict)) = decisions.size else {
        panic!("two sizes");
    };
    assert_eq!(
        verdict.message,
        "two policies decide the size: second by binding bound-second and tested by binding bound-tested"
    );
    bindings[1].enforcement = Enforcement::Audit;
    let (set, _) = PolicySet::compile(&both, &bindings, &[]);
    let decisions = set.decide(&world.facts());
    assert!(matches!(
        decisions.size,
        Some(SizeDecision::Chosen { size: 7, .. })
    ));
    assert_eq!(decisions.trace.len(), 2);
}

#[test]
fn a_change_is_told_everything_that_is_wrong_with_it() {
    let world = World::new();
    let mut strict = policy(DecisionPoint::Validate, "change.destroys <= 1");
    if let drover_model::PolicyBody::Rules(rules) = &mut strict.body {
        for (expression, message) in [
            ("change.toSize > 0", "not zero"),
            ("'owner' in group.labels", "label owner is required"),
            ("oldSpec == null || oldSpec.size <= 10", "passes"),
            ("git.trailers['Approved-By'] == 'Ann'", "approval"),
        ] {
            rules.push(PolicyRule {
                expression: SourceText::inline(expression),
                message: message.to_owned(),
            });
        }
    }
    let set = bound(strict);
    let violations = set.validate(&world.facts(), &change(3, 0));
    let told: Vec<String> = violations.iter().map(told).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    the rule [change.destroys=3]
    not zero [change.toSize=0]
    label owner is required [group.labels={1 entry}]
    could not be evaluated: there is no `Approved-By`; `has(..)` or `in` tell before it is read [git.trailers[\"Approved-By\"]=(no value)]
    ");
    assert!(violations.iter().all(Verdict::withholds));
    // A change is not judged by gates, and a pass not by rules about changes.
    assert_eq!(set.decide(&world.facts()), Decisions::default());
    assert_eq!(
        bound(office_hours()).validate(&world.facts(), &change(3, 0)),
        Vec::new()
    );
}

#[test]
fn a_policy_that_was_never_good_holds_everything() {
    let world = World::new();
    let never = [(
        PolicyName::parse("lost").unwrap(),
        "line 3 is not YAML".to_owned(),
    )];
    let (set, mistakes) = PolicySet::compile(&[], &[binding("lost")], &never);
    assert_eq!(mistakes, Vec::new());
    let decisions = set.decide(&world.facts());
    assert_eq!(closed(&decisions).len(), Reason::ALL.len());
    assert_eq!(
        told(decisions.closed_gate(Reason::Heal).unwrap()),
        "could not be evaluated: line 3 is not YAML []"
    );
    let violations = set.validate(&world.facts(), &change(3, 4));
    assert!(violations[0].withholds());
}

#[test]
fn a_binding_that_names_nothing_holds_everything_and_is_a_mistake() {
    let world = World::new();
    let (set, mistakes) = PolicySet::compile(&[office_hours()], &[binding("testet")], &[]);
    assert_eq!(
        listed(&mistakes),
        "1:1+1 there is no policy testet (did you mean `tested`?)"
    );
    assert_eq!(closed(&set.decide(&world.facts())).len(), Reason::ALL.len());
    assert!(set.validate(&world.facts(), &change(3, 4))[0].withholds());
}

#[test]
fn a_policy_with_mistakes_holds_what_it_would_decide() {
    let world = World::new();
    let (set, _) = PolicySet::compile(&[gate("status.avail > 1")], &[binding("tested")], &[]);
    assert_eq!(closed(&set.decide(&world.facts())).len(), Reason::ALL.len());
    assert_eq!(set.validate(&world.facts(), &change(3, 4)), Vec::new());

    let size = policy(DecisionPoint::Size, "'three'");
    let (set, _) = PolicySet::compile(&[size], &[binding("tested")], &[]);
    assert!(matches!(
        set.decide(&world.facts()).size,
        Some(SizeDecision::Failed(_))
    ));
    assert_eq!(closed(&set.decide(&world.facts())), Vec::<&str>::new());
}

#[test]
fn parameters_of_a_binding_are_checked() {
    let mut policy = office_hours();
    policy.params.extend(defaults([
        ("hours", Value::List(vec![Value::Int(9)])),
        ("share", Value::Float(0.5)),
    ]));
    let mut wrong = binding("tested");
    wrong.params = [
        ("hours".to_owned(), Value::List(vec![Value::from("nine")])),
        ("share".to_owned(), Value::Int(1)),
        ("timezon".to_owned(), Value::from("UTC")),
        ("timezone".to_owned(), Value::from("Europe/Berlim")),
    ]
    .into();
    let (set, mistakes) = PolicySet::compile(&[policy], &[wrong], &[]);
    insta::assert_snapshot!(listed(&mistakes), @"
    1:1+1 the elements of parameter `hours` are not like those of its default, in policy tested
    1:1+1 policy tested has no parameter `timezon` (did you mean `timezone`?)
    1:1+1 unknown time zone `Europe/Berlim`, in policy tested (zones have names such as Europe/Berlin, UTC or -08:00)
    ");
    assert_eq!(
        closed(&set.decide(&World::new().facts())).len(),
        Reason::ALL.len()
    );
}

#[test]
fn digests_name_policies_and_bindings() {
    let set = bound(office_hours());
    let digests = set.digests_for(&BTreeMap::new());
    let expected = [
        (
            "binding/bound-tested".to_owned(),
            "digest-of-binding".to_owned(),
        ),
        ("policy/tested".to_owned(), "digest-of-policy".to_owned()),
    ];
    assert_eq!(digests, expected.into());
}

#[test]
fn a_decision_that_reads_the_clock_is_asked_again() {
    let mut world = World::new();
    world.now = at("2026-01-05T12:01:30Z");
    for (rule, again) in [
        ("status.available > 1", None),
        ("now.getHours() > 5", Some("2026-01-05T12:15:00Z")),
        ("now.getMinutes() > 5", Some("2026-01-05T12:02:00Z")),
        (
            "now - timestamp('2026-01-01T00:00:00Z') > duration('1h')",
            Some("2026-01-05T12:02:00Z"),
        ),
        (
            "instances.all(i, i.age > duration('1m'))",
            Some("2026-01-05T12:02:00Z"),
        ),
    ] {
        let decisions = bound(gate(rule)).decide(&world.facts());
        assert_eq!(decisions.review_at, again.map(at), "{rule}");
    }
}

#[test]
fn instances_and_other_groups_are_read_as_they_are() {
    let mut world = World::new();
    world.recorded.target = Some(crate::testing::digests("v2"));
    for rule in [
        "instances.size() == 3 && instances[0].id == 'web-1'",
        "instances.all(i, i.outdated && i.class == 'Available' && i.age == duration('2h'))",
        "instances.filter(i, i.busy).map(i, i.id) == ['web-2']",
        "instances.map(i, i.zone) == ['b', 'c', 'a']",
        "instances.exists_one(i, i.zone == 'a')",
        "groups['db'].updated == 1 && groups.db.phase == 'Progressing'",
        "groups.map(name, name) == ['db'] && size(groups) == 1 && !('x' in groups)",
        "oldSpec != null && has(oldSpec.size) && oldSpec.size == spec.size",
        "has(spec.bounds) && spec.bounds.max == 20",
        "!has(rollout.startedAt) && rollout.startedAt == null && null == rollout.startedAt",
        "git.author.contains('ann@') && git.trailers['Reviewed-by'].matches('^B.b$')",
        "group.labels == {'env': 'prod'} && {'env': 'prod'} == group.labels",
        "spec.template.properties.image == 'v1'",
        "spec.rollout.maxSurge == 1 && spec.rollout.minReady == duration('30s')",
        "math.greatest(status.available, 2) == 3 && math.least([4, 2, 8]) == 2",
        "{'b': 1, 'a': 2, 'c': status.total}.map(k, k) == ['a', 'b', 'c']",
        "group.?labels.?owner.orValue('nobody') == 'nobody'",
        "git.subject.split(' ').size() == 2 && git.subject.upperAscii() == 'SCALE WEB'",
    ] {
        assert_eq!(crate::testing::outcome(rule, &world), "passed", "{rule}");
    }
    world.old = None;
    world.group.spec.bounds = None;
    for rule in [
        "oldSpec == null && null == oldSpec && !has(oldSpec.size)",
        "!has(spec.bounds) && spec.bounds == null && !has(spec.bounds.min)",
    ] {
        assert_eq!(crate::testing::outcome(rule, &world), "passed", "{rule}");
    }
    assert_eq!(world.group.spec.bounds, None::<Bounds>);
}

#[test]
fn deciding_twice_gives_the_same() {
    let world = World::new();
    let set = bound(gate(
        "reason == 'heal' || {'x': 1, 'y': 2, 'z': 3}.map(k, k + group.name) == [git.subject]",
    ));
    let first = set.decide(&world.facts());
    for _ in 0..20 {
        assert_eq!(set.decide(&world.facts()), first);
    }
}

#[test]
fn people_approve_changes_and_nothing_else() {
    let world = World::new();
    let judged = |point, enforcement| {
        let binding = Binding {
            enforcement,
            ..binding("tested")
        };
        let rule = match point {
            DecisionPoint::Gate => "reason == 'heal'",
            _ => "change.toSize > 5",
        };
        let (set, mistakes) = PolicySet::compile(&[policy(point, rule)], &[binding], &[]);
        let mistakes: Vec<String> = mistakes.into_iter().map(|it| it.message).collect();
        let facts = world.facts();
        let change = change(3, 5);
        let asks = set
            .validate(&facts, &change)
            .iter()
            .any(Verdict::needs_approval);
        let closed = set.decide(&facts).closed_gate(Reason::Update).is_some();
        (mistakes, asks, closed)
    };
    let none = Vec::<String>::new;
    let require = Enforcement::RequireApproval;
    assert_eq!(
        judged(DecisionPoint::Approve, require),
        (none(), true, false)
    );
    assert_eq!(
        judged(DecisionPoint::Validate, require),
        (none(), true, false)
    );
    assert_eq!(
        judged(DecisionPoint::Approve, Enforcement::Warn),
        (none(), false, false)
    );
    let message = "a gate policy cannot require approval: people approve changes";
    // What it is bound to is held all the same.
    let wrong = (vec![message.to_owned()], false, true);
    assert_eq!(judged(DecisionPoint::Gate, require), wrong);
    let (mistakes, ..) = judged(DecisionPoint::Approve, Enforcement::Deny);
    assert_eq!(mistakes, ["an approve policy denies nothing"]);
}

#[test]
fn a_change_of_labels_is_judged_by_what_selected_the_group_before() {
    let world = World::new();
    let strict = policy(
        DecisionPoint::Validate,
        "change.toSize > 0 && !('tier' in group.labels)",
    );
    let mut prod = binding("tested");
    prod.selector.match_labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned())]);
    let (set, _) = PolicySet::compile(&[strict], &[prod], &[]);
    let said = |before: Option<&BTreeMap<String, String>>, to| {
        let facts = crate::GroupFacts {
            labels_before: before,
            ..world.facts()
        };
        set.validate(&facts, &change(3, to)).len()
    };
    let tier = |tier: &str| BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
    assert_eq!(said(None, 0), 0);
    assert_eq!(said(Some(&tier("test")), 0), 0);
    assert_eq!(said(Some(&tier("prod")), 0), 1);
    // What it is told are the new labels: else nobody could give a group the label that a policy asks for.
    assert_eq!(said(Some(&tier("prod")), 2), 0);
}
