use std::fmt::Write as _;

use drover_model::{DecisionPoint, PolicyTest, SourceSpan, SourceText, Value};

use crate::testing::{gate, policy, variable};
use crate::{Definitions, PolicySet};

fn row(reason: &str, expect: Value) -> PolicyTest {
    PolicyTest {
        name: reason.to_owned(),
        span: SourceSpan::start_of("policy.yaml"),
        given: Value::Map([("reason".to_owned(), Value::from(reason))].into()),
        expect,
    }
}

/// What is not covered, as people read it.
fn uncovered(policy: drover_model::Policy) -> String {
    let (set, mistakes) = PolicySet::compile_traced(&[policy], &[], Definitions::default());
    assert_eq!(mistakes, Vec::new());
    let (outcomes, coverages) = set.run_tests_covered();
    assert_eq!(outcomes, set.run_tests());
    let coverage = &coverages[0];
    let mut told = format!(
        "{} of {}, {} %\n",
        coverage.covered(),
        coverage.total(),
        coverage.percent()
    );
    for clause in &coverage.clauses {
        if let Some(missing) = clause.missing() {
            let _ = writeln!(
                told,
                "{} {} {}: {missing}",
                clause.span.column,
                clause.kind.as_str(),
                clause.text
            );
        }
    }
    told
}

#[test]
fn operands_that_never_decide_are_listed() {
    let mut policy = gate(r#"reason == "heal" || reason == "update" && size(instances) == 0"#);
    policy.tests = vec![
        row("heal", Value::Bool(true)),
        row("scaleIn", Value::Bool(false)),
    ];
    insta::assert_snapshot!(uncovered(policy.clone()), @r#"
    6 of 10, 60 %
    21 operand reason == "update" && size(instances) == 0: never true
    21 operand reason == "update": never true
    43 operand size(instances) == 0: never evaluated
    "#);
    policy.tests.push(row("update", Value::Bool(true)));
    insta::assert_snapshot!(uncovered(policy), @"
    9 of 10, 90 %
    43 operand size(instances) == 0: never false
    ");
}

#[test]
fn a_policy_without_tests_covers_nothing() {
    let mut policy = policy(
        DecisionPoint::Size,
        "variables.many ? 5 : current > 3 ? 2 : 1",
    );
    policy.variables = vec![variable("many", "instances.exists(i, i.busy)")];
    policy.matches = vec![SourceText::inline(r#"group.name != "test""#)];
    insta::assert_snapshot!(uncovered(policy), @r#"
    0 of 15, 0 %
    1 expression instances.exists(i, i.busy): never evaluated
    1 expression group.name != "test": never evaluated
    1 expression variables.many ? 5 : current > 3 ? 2 : 1: never evaluated
    1 condition variables.many: never evaluated
    18 branch 5: never evaluated
    21 predicate i.busy: never evaluated
    22 branch current > 3 ? 2 : 1: never evaluated
    22 condition current > 3: never evaluated
    36 branch 2: never evaluated
    40 branch 1: never evaluated
    "#);
}
