use std::fmt::Write as _;

use drover_model::{DecisionPoint, PolicyName, Reason, SourceText, Value};

use super::ExplainedPart;
use crate::testing::{World, binding, gate, policy, variable};
use crate::{Definitions, Given, PolicySet, Question};

/// An explanation as people read it, without places.
fn explained(policy: drover_model::Policy, given: Given<'_>) -> String {
    let name = policy.name.clone();
    let (set, mistakes) =
        PolicySet::compile_traced(&[policy], &[binding("tested")], Definitions::default());
    assert_eq!(mistakes, Vec::new());
    let labels = std::collections::BTreeMap::new();
    let bindings = set.bindings_of(&name, &labels);
    let found = match set.explain(&name, bindings.first(), given) {
        Ok(found) => found,
        Err(why) => return why,
    };
    let mut told = format!("{}: {} {}\n", found.policy, found.result, found.message);
    for expression in &found.expressions {
        let error = expression.error.clone().unwrap_or_default();
        let _ = writeln!(told, "{} {error}", expression.title);
        tell(&expression.text, &expression.whole, 1, &mut told);
    }
    told
}

fn tell(text: &str, part: &ExplainedPart, depth: usize, told: &mut String) {
    let source = &text[part.range.0..part.range.1];
    let values = &part.values;
    let _ = writeln!(
        told,
        "{}{source} => {} of {}, {values:?}",
        "  ".repeat(depth),
        part.evaluated - part.failed,
        part.evaluated
    );
    for part in &part.parts {
        tell(text, part, depth + 1, told);
    }
}

#[test]
fn every_part_of_a_decision_is_told() {
    let mut policy = gate(r#"reason == "heal" || variables.busy == 0 && size(instances) > 9"#);
    policy.variables = vec![variable("busy", "size(instances.filter(i, i.busy))")];
    policy.matches = vec![SourceText::inline("group.name == 'web'")];
    let world = World::new();
    let question = Question {
        reason: Some(Reason::Update),
        ..Question::default()
    };
    insta::assert_snapshot!(explained(policy, Given::Facts(world.facts(), question)), @r#"
    tested: false the rule
    variable busy 
      size(instances.filter(i, i.busy)) => 1 of 1, [("1", 1)]
        instances.filter(i, i.busy) => 1 of 1, [("[1 element]", 1)]
          instances => 1 of 1, [("[3 elements]", 1)]
          i.busy => 3 of 3, [("false", 2), ("true", 1)]
    match 1 
      group.name == 'web' => 1 of 1, [("true", 1)]
        group.name => 1 of 1, [("web", 1)]
    rule 1 
      reason == "heal" || variables.busy == 0 && size(instances) > 9 => 1 of 1, [("false", 1)]
        reason == "heal" => 1 of 1, [("false", 1)]
          reason => 1 of 1, [("update", 1)]
        variables.busy == 0 && size(instances) > 9 => 1 of 1, [("false", 1)]
          variables.busy == 0 => 1 of 1, [("false", 1)]
            variables.busy => 1 of 1, [("1", 1)]
          size(instances) > 9 => 0 of 0, []
            size(instances) => 0 of 0, []
              instances => 0 of 0, []
    "#);
}

#[test]
fn errors_stand_at_the_expression_that_failed() {
    let mut policy = policy(DecisionPoint::Size, "variables.half + 1");
    policy.variables = vec![variable("half", "current / (spec.size - 3)")];
    insta::assert_snapshot!(explained(policy, Given::Values(&Value::Null)), @r#"
    tested: error could not be evaluated: variables.half: division by zero
    variable half division by zero
      current / (spec.size - 3) => 0 of 1, []
        current => 1 of 1, [("3", 1)]
        spec.size - 3 => 1 of 1, [("0", 1)]
          spec.size => 1 of 1, [("3", 1)]
    value variables.half: division by zero
      variables.half + 1 => 0 of 1, []
        variables.half => 0 of 1, []
    "#);
}

#[test]
fn unknown_policies_and_values_are_refused() {
    let (set, _) =
        PolicySet::compile_traced(&[gate("reason == 'heal'")], &[], Definitions::default());
    let name = PolicyName::parse("testet").unwrap();
    let error = set.explain(&name, None, Given::Values(&Value::Null));
    insta::assert_snapshot!(error.unwrap_err(), @"there is no valid policy testet; did you mean tested?");
    let given = Value::Map([("zone".to_owned(), Value::from("a"))].into());
    insta::assert_snapshot!(explained(gate("reason == 'heal'"), Given::Values(&given)), @"`given` sets `zone`, which a gate policy does not know");
}
