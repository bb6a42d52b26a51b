use drover_model::{DecisionPoint, Policy, PolicyRule, SourceSpan, SourceText, Value};

use crate::testing::{defaults, gate, mistakes, policy, variable};

fn told(rule: &str) -> String {
    mistakes(&gate(rule))
}

#[test]
fn every_mistake_of_an_expression_is_told_at_its_place() {
    let rule = "instances.filter(i, i.helth == 'x').size() >= spec.sise - 1 &&\n  \
                params.zone == variables.y || statu.phase == now.getHour() && foo(1)";
    insta::assert_snapshot!(told(rule), @"
    1:23+5 instance has no field `helth` (did you mean `health`?)
    1:52+4 spec has no field `sise` (did you mean `size`?)
    2:10+4 the policy declares no parameter `zone`
    2:28+1 no variable `y` is declared (declare it in `spec.variables`)
    2:33+5 unknown variable `statu` (did you mean `status`?)
    2:52+7 unknown function `getHour` (did you mean `getHours`?)
    2:65+3 unknown function `foo`
    ");
}

#[test]
fn words_out_of_a_fixed_set_are_checked() {
    insta::assert_snapshot!(told("reason == 'upgrade' || reason in ['heal', 'unhealthy'] || status.phase != 'converged' || instances.exists(i, 'available' == i.class)"), @"
    1:11+9 `upgrade` is not a reason (did you mean `update`?)
    1:43+11 `unhealthy` is not a reason (one of update, heal, scaleIn, expiry, rebalance, interruption, delete, cost, drift)
    1:75+11 `converged` is not a phase of a group (did you mean `Converged`?)
    1:110+11 `available` is not a class of an instance (did you mean `Available`?)
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn wrong_types_are_told_before_anything_is_evaluated() {
    let cases = [
        "status.available + 'x' == 'y'",
        "status.available * 1.5 > 2.0",
        "status.available == '3'",
        "status.available == null",
        "reason < 3",
        "reason && true",
        "!status.available",
        "-reason == 'x'",
        "status.available ? true : false",
        "status.phase.foo == 1",
        "now.size() > 1",
        "status.available.contains('x')",
        "group.name.contains(3)",
        "now.getHours(1, 2) > 3",
        "'x' in status.available",
        "3 in group.labels",
        "status.available in ['a']",
        "instances['a'].busy",
        "group.labels[3] == 'x'",
        "status.available.all(i, i)",
        "instances.all(i, i.zone)",
        "instances.filter(i, i.zone).size() == 1",
        "instances.all(i.busy)",
        "size(instances, 1) == 2",
        "status.available / 0 > 1",
        "contains(group.name, 'x')",
        "math.abs('x') == 1",
        "Spec{size: 1} == spec",
    ];
    let told: Vec<String> = cases
        .iter()
        .map(|rule| format!("{rule}\n  {}", told(rule).replace('\n', "\n  ")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    status.available + 'x' == 'y'
      1:18+1 `+` does not take an int and a string (convert the other side with string())
    status.available * 1.5 > 2.0
      1:18+1 `*` does not take an int and a double (convert one side with int(), uint() or double())
    status.available == '3'
      1:18+2 an int and a string are never equal (convert one side with int(), double() or string())
    status.available == null
      1:18+2 an int is never null
    reason < 3
      1:8+1 a string and an int have no order (convert one side with int(), double() or string())
    reason && true
      1:1+6 a condition must be a bool, this is a string
      1:11+4 this condition is always true (remove it, or use a parameter)
    !status.available
      1:2+16 a condition must be a bool, this is an int
    -reason == 'x'
      1:1+1 a string cannot be negated
      1:12+3 `x` is not a reason (one of update, heal, scaleIn, expiry, rebalance, interruption, delete, cost, drift)
    status.available ? true : false
      1:1+16 a condition must be a bool, this is an int
    status.phase.foo == 1
      1:14+3 a string has no fields, so no `foo`
    now.size() > 1
      1:5+4 size() is called on string or bytes or list or map, not on a timestamp
    status.available.contains('x')
      1:18+8 contains() is called on string, not on an int
    group.name.contains(3)
      1:21+1 contains() takes string here, not an int
    now.getHours(1, 2) > 3
      1:5+8 getHours() takes 0 or 1 arguments, not 2
    'x' in status.available
      1:5+2 `in` looks into lists and maps, not into an int
    3 in group.labels
      1:3+2 an int is never in a map(string, string)
    status.available in ['a']
      1:18+2 an int is never in a list(string)
    instances['a'].busy
      1:11+3 a list is indexed by an int, not by a string
    group.labels[3] == 'x'
      1:14+1 this map has strings as keys, not an int
    status.available.all(i, i)
      1:1+16 only lists and maps can be looped over, not an int
    instances.all(i, i.zone)
      1:18+6 a condition must be a bool, this is a string
    instances.filter(i, i.zone).size() == 1
      1:21+6 a condition must be a bool, this is a string
    instances.all(i.busy)
      1:11+3 all() is not used like this (write list.all(element, condition) or map.all(key, value, condition))
    size(instances, 1) == 2
      1:1+4 size() takes 1 argument, not 2
    status.available / 0 > 1
      1:18+1 division by zero
    contains(group.name, 'x')
      1:1+8 unknown function `contains` (write value.contains())
    math.abs('x') == 1
      1:10+3 abs() takes int or uint or double here, not a string
    Spec{size: 1} == spec
      1:5+1 there are no messages such as Spec{}
    ");
}

#[test]
fn conditions_that_are_always_the_same_are_mistakes() {
    let cases = [
        "true",
        "1 < 2",
        "status.available > 1 || true",
        "false && reason == 'heal'",
        "true ? reason == 'heal' : false",
        "size('abc') == 3",
        "['a', 'b'].exists(x, x == 'a')",
    ];
    let told: Vec<String> = cases
        .iter()
        .map(|rule| format!("{rule}\n  {}", told(rule).replace('\n', "\n  ")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    true
      1:1+4 a rule must depend on something; this is always true, so it never withholds anything (read a variable or a parameter in it)
    1 < 2
      1:1+5 a rule must depend on something; this is always true, so it never withholds anything (read a variable or a parameter in it)
    status.available > 1 || true
      1:25+4 this condition is always true (remove it, or use a parameter)
    false && reason == 'heal'
      1:1+5 this condition is always false (remove it, or use a parameter)
    true ? reason == 'heal' : false
      1:1+4 this condition is always true (remove it, or use a parameter)
    size('abc') == 3
      1:1+16 a rule must depend on something; this is always true, so it never withholds anything (read a variable or a parameter in it)
    ['a', 'b'].exists(x, x == 'a')
      1:1+30 a rule must depend on something; this is always true, so it never withholds anything (read a variable or a parameter in it)
    ");
}

#[test]
fn calls_that_always_fail_are_mistakes() {
    let cases = [
        "now > timestamp('2026-13-01')",
        "rollout.startedAt + duration('5 minutes') < now",
        "int('x') < status.available",
        "now.getHours('Europe/Berlim') > 3",
        "group.name.matches('a(b')",
        "matches(group.name, '(a{1000}){1000}')",
    ];
    let told: Vec<String> = cases
        .iter()
        .map(|rule| format!("{rule}\n  {}", told(rule).replace('\n', "\n  ")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    now > timestamp('2026-13-01')
      1:7+22 this always fails: this is not a time such as 2026-01-05T12:00:00Z
    rollout.startedAt + duration('5 minutes') < now
      1:21+20 this always fails: this is not a duration such as 90s or 1h30m
    int('x') < status.available
      1:1+7 this always fails: int: string parse error: invalid digit found in string
    now.getHours('Europe/Berlim') > 3
      1:14+15 unknown time zone `Europe/Berlim` (zones have names such as Europe/Berlin, UTC or -08:00)
    group.name.matches('a(b')
      1:20+5 not a regular expression: unclosed group
    matches(group.name, '(a{1000}){1000}')
      1:21+17 the regular expression is too large once compiled
    ");
}

#[test]
fn syntax_is_told_in_words() {
    let cases = [
        "",
        "reason ==",
        "reason = 'heal'",
        "reason == 'heal",
        "reason heal",
        "(reason == 'heal'",
        "reason == 'heal' &&\n  && status.available > 1",
        "has(oldSpec)",
        "'é' + reason é",
        "instances.map(1, 2) == []",
        "reason == \"\\q\"",
        "status.`x` == 1",
        "99999999999999999999 > status.available",
    ];
    let told: Vec<String> = cases
        .iter()
        .map(|rule| format!("{rule}\n  {}", told(rule).replace('\n', "\n  ")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
      1:1+1 the expression is empty
    reason ==
      1:10+1 the expression ends too early
    reason = 'heal'
      1:8+1 `=` is not understood (`==` compares)
    reason == 'heal
      1:11+5 `'heal` is not understood (the text has no closing quote, or an escape that does not exist)
    reason heal
      1:8+4 `heal` is not expected here
    (reason == 'heal'
      1:18+1 the expression ends too early (a `(` is not closed)
    reason == 'heal' &&
      && status.available > 1
      2:3+2 `&&` is not expected here
    has(oldSpec)
      1:5+1 has() takes a field, such as has(oldSpec.size) (compare a variable itself with null: `oldSpec != null`)
    'é' + reason é
      1:14+1 `é` is not understood
    instances.map(1, 2) == []
      1:15+1 argument must be a simple name
    reason == "\q"
      1:11+3 `"\q` is not understood (the text has no closing quote, or an escape that does not exist)
    status.`x` == 1
      1:9+1 status has no field `x` (it has desired, total, available, updated, unavailable, outdated, phase)
    99999999999999999999 > status.available
      1:1+1 invalid int literal
    "#);
}

#[test]
fn variables_are_known_where_they_belong() {
    insta::assert_snapshot!(told("change.destroys < 1 && current == 3 && hour == 3 && zone == 'x'"), @"
    1:1+6 `change` is only known to validate and approve policies, this is a gate policy
    1:24+7 `current` is only known to size policies, this is a gate policy
    1:40+4 unknown variable `hour`
    1:53+4 `zone` is only known to place policies, this is a gate policy
    ");
    insta::assert_snapshot!(mistakes(&policy(DecisionPoint::Size, "reason == 'heal' ? 1 : change.toSize")), @"
    1:1+6 `reason` is only known to gate, budget, protect and victim policies, this is a size policy
    1:24+6 `change` is only known to validate and approve policies, this is a size policy
    ");
    insta::assert_snapshot!(told("instances.all(status, status.busy)"), @"1:14+1 `status` is a variable already; name the element otherwise");
    insta::assert_snapshot!(told("variables == 3 || variables['x'] == 1 || int == 3"), @"
    1:1+9 `variables` is used as `variables.<name>`
    1:29+3 write variables.x
    1:46+2 a type and an int are never equal
    ");
}

fn with_variables() -> Policy {
    let mut policy = gate("variables.hour > params.from && variables.hours < 3 && hour > zone");
    policy.params = defaults([("from", Value::Int(9)), ("zone", Value::from("UTC"))]);
    policy.variables = vec![
        variable("late", "variables.hour > params.fro"),
        variable("hour", "now.getHours(params.zone)"),
        variable("name", "variables.hour + 'x'"),
    ];
    policy
}

#[test]
fn variables_are_declared_before_they_are_used() {
    insta::assert_snapshot!(mistakes(&with_variables()), @"
    1:11+4 `variables.hour` is used before it is declared (a variable sees only those above it)
    1:16+1 `+` does not take an int and a string (convert the other side with string())
    1:25+3 the policy declares no parameter `fro` (did you mean `from`?)
    1:43+5 no variable `hours` is declared (did you mean `hour`?)
    1:56+4 unknown variable `hour` (did you mean `variables.hour`?)
    1:63+4 `zone` is only known to place policies, this is a gate policy (did you mean `params.zone`?)
    ");
}

#[test]
fn results_have_the_type_of_their_decision() {
    insta::assert_snapshot!(told("status.available"), @"1:1+16 a rule must be a bool, this is int");
    insta::assert_snapshot!(mistakes(&policy(DecisionPoint::Size, "double(status.available) * 1.5")), @"1:1+30 size must be an int, this is double (round it with int(math.ceil(..)))");
    insta::assert_snapshot!(mistakes(&policy(DecisionPoint::Size, "'three'")), @"1:1+7 size must be an int, this is string (convert it with int(..))");
    let mut policy = policy(DecisionPoint::Size, "3");
    policy.matches = vec![SourceText::inline("spec.size"), SourceText::inline("true")];
    insta::assert_snapshot!(mistakes(&policy), @"
    1:1+4 a condition of `match` must depend on something; this is always true, so it does nothing (read a variable or a parameter in it)
    1:1+9 a condition of `match` must be a bool, this is int
    ");
}

#[test]
fn rules_and_values_belong_to_their_points() {
    let mut swapped = gate("status.available > 1");
    swapped.point = DecisionPoint::Size;
    assert_eq!(
        mistakes(&swapped),
        "1:1+1 a size policy has one `value`, not `rules`"
    );
    let mut swapped = policy(DecisionPoint::Size, "3");
    swapped.point = DecisionPoint::Gate;
    assert_eq!(
        mistakes(&swapped),
        "1:1+1 a gate policy has `rules`, not a `value`"
    );
    let mut empty = gate("");
    empty.body = drover_model::PolicyBody::Rules(Vec::new());
    assert_eq!(mistakes(&empty), "1:1+1 the policy has no rules");
}

#[test]
fn a_place_is_that_of_the_file() {
    let mut policy = gate("");
    policy.body = drover_model::PolicyBody::Rules(vec![PolicyRule {
        expression: SourceText {
            text: "reason == 'heal' ||\nstatus.avail > 1".to_owned(),
            span: SourceSpan {
                file: "policies/a.yaml".into(),
                line: 12,
                column: 7,
                length: 1,
            },
            lines: vec![(13, 9), (14, 9)],
        },
        message: String::new(),
    }]);
    let (_, found) = crate::PolicySet::compile(&[policy], &[], &[]);
    assert_eq!(found[0].span.to_string(), "policies/a.yaml:14:16");
}

#[test]
fn what_is_not_known_is_left_to_the_evaluation() {
    for rule in [
        "spec.template.properties.a.b[3].c == 4",
        "dyn(3) + dyn('x') == 'y' || reason == 'heal'",
        "group.labels.anything == 'x'",
        "spec.template.flavors[0].name.startsWith('x')",
        "instances.map(i, i.zone).exists(z, z == 'a')",
        "oldSpec == null || oldSpec.size > 1",
        "double(status.available) * 1.5 > 2.0 && status.available > 2.0",
    ] {
        assert_eq!(told(rule), "", "{rule}");
    }
}
