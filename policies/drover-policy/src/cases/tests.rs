use drover_model::{DecisionPoint, Policy, PolicyTest, SourceSpan, Value};

use crate::testing::{bound, defaults, gate, policy, variable};
use crate::{TestOutcome, TestResult};

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn row(name: &str, given: Value, expect: Value) -> PolicyTest {
    PolicyTest {
        name: name.to_owned(),
        given,
        expect,
        span: SourceSpan::start_of("policy.yaml"),
    }
}

fn run(policy: Policy) -> String {
    let told = |outcome: TestOutcome| match outcome.result {
        TestResult::Passed => format!("{}: ok", outcome.name),
        TestResult::Failed {
            expected,
            got,
            message,
            values,
            clause,
        } => {
            let at = clause.map_or(String::new(), |span| span.to_string());
            format!(
                "{}: expected {expected}, got {got} at {at}: {message} {values:?}",
                outcome.name
            )
        }
        TestResult::Invalid { message } => format!("{}: invalid: {message}", outcome.name),
    };
    bound(policy)
        .run_tests()
        .into_iter()
        .map(told)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn rows_are_filled_up_with_defaults() {
    let mut policy = gate(
        "reason == 'heal' || variables.hour >= params.from && status.available == 3 && instances.all(i, i.class == 'Available') && oldSpec.size == 3",
    );
    policy.params = defaults([("from", Value::Int(9))]);
    policy.variables = vec![variable("hour", "now.getHours()")];
    let night = ("now", Value::from("2026-01-05T03:00:00Z"));
    policy.tests = vec![
        row("noon", Value::Null, true.into()),
        row("night", map([night.clone()]), false.into()),
        row(
            "night, but heal",
            map([night.clone(), ("reason", "heal".into())]),
            true.into(),
        ),
        row(
            "early",
            map([night.clone(), ("params", map([("from", 2i64.into())]))]),
            true.into(),
        ),
        row("new group", map([("oldSpec", Value::Null)]), "error".into()),
        row(
            "one warming",
            map([(
                "instances",
                Value::List(vec![map([("class", "Warming".into())])]),
            )]),
            false.into(),
        ),
        row("wrong", map([night]), true.into()),
    ];
    insta::assert_snapshot!(run(policy), @r#"
    noon: ok
    night: ok
    night, but heal: ok
    early: ok
    new group: ok
    one warming: ok
    wrong: expected true, got false at <expression>:1:1: the rule {"instances": "[]", "oldSpec.size": "3", "params.from": "9", "reason": "update", "status.available": "3", "variables.hour": "3"}
    "#);
}

#[test]
fn rows_that_make_no_sense_are_told() {
    let mut policy = gate("status.available > 1");
    policy.tests = vec![
        row("unknown", map([("statu", Value::Null)]), true.into()),
        row(
            "elsewhere",
            map([("change", Value::empty_map())]),
            true.into(),
        ),
        row(
            "field",
            map([("status", map([("availabel", 1i64.into())]))]),
            true.into(),
        ),
        row(
            "type",
            map([("status", map([("available", "1".into())]))]),
            true.into(),
        ),
        row("word", map([("reason", "upgrade".into())]), true.into()),
        row("time", map([("now", "noon".into())]), true.into()),
        row(
            "duration",
            map([(
                "instances",
                Value::List(vec![map([("age", "long".into())])]),
            )]),
            true.into(),
        ),
        row(
            "param",
            map([("params", map([("x", 1i64.into())]))]),
            true.into(),
        ),
        row("expect", Value::Null, 3i64.into()),
    ];
    insta::assert_snapshot!(run(policy), @"
    unknown: invalid: `given` sets `statu`, which a gate policy does not know; did you mean `status`?
    elsewhere: invalid: `given` sets `change`, which a gate policy does not know
    field: invalid: `status` has no field `availabel`; did you mean `available`?
    type: invalid: `status.available` is int, not a string
    word: invalid: `reason`: `upgrade` is not a reason; one of update, heal, scaleIn, expiry, rebalance, interruption, delete, cost, drift
    time: invalid: `now` is a time such as 2026-01-05T12:00:00Z, not noon
    duration: invalid: `instances[0].age` is a duration such as 90s or 1h30m, not long
    param: invalid: the policy has no parameter `x`
    expect: invalid: `expect` is true, false or the word error, not 3
    ");
}

#[test]
fn sizes_are_compared_before_the_bounds() {
    let mut policy = policy(DecisionPoint::Size, "groups['web'].desired * 2 + current");
    policy.matches = vec![drover_model::SourceText::inline("spec.size < 100")];
    let web = |desired: i64| ("groups", map([("web", map([("desired", desired.into())]))]));
    policy.tests = vec![
        row("follows", map([web(8)]), 19i64.into()),
        row("missing", Value::Null, "error".into()),
        row(
            "does not apply",
            map([("spec", map([("size", 100i64.into())]))]),
            Value::Null,
        ),
        row(
            "wrong",
            map([web(1), ("current", 1i64.into())]),
            7i64.into(),
        ),
    ];
    insta::assert_snapshot!(run(policy), @r#"
    follows: ok
    missing: ok
    does not apply: ok
    wrong: expected 7, got 3 at <expression>:1:1: size 3 {"current": "1", "groups[\"web\"].desired": "1"}
    "#);
}
