use std::fmt::Write as _;

use drover_model::{
    DecisionPoint, ParamFormat, ParamSchema, ParamType, Policy, PolicyParam, SourceSpan, Value,
};

use crate::PolicySet;
use crate::testing::{World, binding, gate, listed, mistakes, policy};

fn schema(type_: ParamType) -> ParamSchema {
    ParamSchema {
        type_,
        items: ParamType::Any,
        description: None,
        minimum: None,
        maximum: None,
        values: Vec::new(),
        pattern: None,
        format: None,
        items_min: None,
        items_max: None,
    }
}

fn with_param(
    mut policy: Policy,
    name: &str,
    default: Option<Value>,
    schema: ParamSchema,
) -> Policy {
    let param = PolicyParam {
        span: SourceSpan::start_of("policy.yaml"),
        default,
        schema: Some(schema),
    };
    policy.params.insert(name.to_owned(), param);
    policy
}

/// What is wrong with a binding that sets parameter `x`, by value.
fn bound_to(policy: &Policy, values: impl IntoIterator<Item = Value>) -> String {
    let mut told = String::new();
    for value in values {
        let mut bound = binding("tested");
        bound.params.insert("x".to_owned(), value.clone());
        let (_, mistakes) = PolicySet::compile(std::slice::from_ref(policy), &[bound], &[]);
        let _ = writeln!(told, "{value:?}: {}", listed(&mistakes));
    }
    told
}

fn list(values: &[i64]) -> Value {
    Value::List(values.iter().map(|value| Value::Int(*value)).collect())
}

#[test]
fn values_of_bindings_keep_to_the_declaration() {
    let number = ParamSchema {
        minimum: Some(1.0),
        maximum: Some(9.0),
        description: Some("How many at once".to_owned()),
        ..schema(ParamType::Int)
    };
    let policy = with_param(
        gate("size(instances) > params.x"),
        "x",
        Some(Value::Int(5)),
        number,
    );
    let values = [
        Value::Int(1),
        Value::Int(0),
        Value::Int(10),
        Value::Float(1.5),
    ];
    insta::assert_snapshot!(bound_to(&policy, values), @"
    Int(1): 
    Int(0): 1:1+1 parameter `x` must be at least 1, not 0, in policy tested (How many at once)
    Int(10): 1:1+1 parameter `x` must be at most 9, not 10, in policy tested (How many at once)
    Float(1.5): 1:1+1 parameter `x` must be int, not a number, in policy tested (How many at once)
    ");

    let word = ParamSchema {
        values: vec![Value::from("small"), Value::from("large")],
        ..schema(ParamType::String)
    };
    let policy = with_param(
        gate("group.name != params.x"),
        "x",
        Some(Value::from("small")),
        word,
    );
    insta::assert_snapshot!(bound_to(&policy, [Value::from("large"), Value::from("smal")]), @r#"
    String("large"): 
    String("smal"): 1:1+1 parameter `x` must be small or large, not smal, in policy tested (did you mean `small`?)
    "#);

    let days = ParamSchema {
        items: ParamType::Int,
        maximum: Some(6.0),
        items_min: Some(1),
        items_max: Some(2),
        ..schema(ParamType::List)
    };
    let policy = with_param(
        gate("now.getDayOfWeek('UTC') in params.x"),
        "x",
        Some(list(&[1])),
        days,
    );
    let values = [
        list(&[0, 6]),
        list(&[]),
        list(&[1, 2, 3]),
        list(&[7]),
        Value::Int(1),
    ];
    insta::assert_snapshot!(bound_to(&policy, values), @"
    List([Int(0), Int(6)]): 
    List([]): 1:1+1 parameter `x` has 0 elements, at least 1 is needed, in policy tested
    List([Int(1), Int(2), Int(3)]): 1:1+1 parameter `x` has 3 elements, at most 2 are allowed, in policy tested
    List([Int(7)]): 1:1+1 an element of parameter `x` must be at most 6, not 7, in policy tested
    Int(1): 1:1+1 parameter `x` must be list, not an integer, in policy tested
    ");
}

#[test]
fn texts_have_a_pattern_and_a_format() {
    let texts = |schema: ParamSchema, values: &[&str]| {
        let policy = with_param(gate("group.name != params.x"), "x", None, schema);
        bound_to(&policy, values.iter().map(|text| Value::from(*text)))
    };
    let pattern = ParamSchema {
        pattern: Some("^[a-z]+$".to_owned()),
        ..schema(ParamType::String)
    };
    insta::assert_snapshot!(texts(pattern, &["web", "Web"]), @r#"
    String("web"): 
    String("Web"): 1:1+1 parameter `x` must match ^[a-z]+$, which Web does not, in policy tested
    "#);
    let of = |format| ParamSchema {
        format: Some(format),
        ..schema(ParamType::String)
    };
    insta::assert_snapshot!(texts(of(ParamFormat::Timezone), &["Europe/Berlin", "Berlin"]), @r#"
    String("Europe/Berlin"): 
    String("Berlin"): 1:1+1 parameter `x` must be a timezone: unknown time zone `Berlin`, in policy tested (zones have names such as Europe/Berlin, UTC or -08:00)
    "#);
    insta::assert_snapshot!(texts(of(ParamFormat::Cron), &["0 2 * * TUE", "daily"]), @r#"
    String("0 2 * * TUE"): 
    String("daily"): 1:1+1 parameter `x` must be a cron: `daily` must have five fields (minute hour day month weekday), found 1, in policy tested (five fields such as `0 2 * * TUE`: minute, hour, day, month, weekday)
    "#);
    insta::assert_snapshot!(texts(of(ParamFormat::Regex), &["^web", "("]), @r#"
    String("^web"): 
    String("("): 1:1+1 parameter `x` must be a regex: not a regular expression: unclosed group, in policy tested
    "#);
    insta::assert_snapshot!(texts(of(ParamFormat::Duration), &["1h30m", "1.5h", "0", "PT1H", "1d"]), @r#"
    String("1h30m"): 
    String("1.5h"): 
    String("0"): 
    String("PT1H"): 1:1+1 parameter `x` must be a duration: `PT1H` is not such as 90s or 1h30m, in policy tested
    String("1d"): 1:1+1 parameter `x` must be a duration: `1d` is not such as 90s or 1h30m, in policy tested
    "#);
    insta::assert_snapshot!(texts(of(ParamFormat::Timestamp), &["2026-01-05T12:00:00Z", "today"]), @r#"
    String("2026-01-05T12:00:00Z"): 
    String("today"): 1:1+1 parameter `x` must be a timestamp: `today` is not such as 2026-01-05T12:00:00Z, in policy tested
    "#);
}

#[test]
fn a_parameter_without_default_must_be_set() {
    let text = ParamSchema {
        description: Some("The group to follow".to_owned()),
        ..schema(ParamType::String)
    };
    let policy = with_param(
        policy(DecisionPoint::Size, "groups[params.x].desired"),
        "x",
        None,
        text,
    );
    assert_eq!(mistakes(&policy), "");
    let (set, found) = PolicySet::compile(&[policy], &[binding("tested")], &[]);
    insta::assert_snapshot!(listed(&found), @"1:1+1 policy tested needs parameter `x` (set it in `params`: The group to follow)");
    let decided = set.decide(&World::new().facts());
    insta::assert_snapshot!(decided.trace[0].message, @"could not be evaluated: the binding was never valid: policy tested needs parameter `x`");
}

#[test]
fn the_check_knows_the_declared_types() {
    let declared =
        |schema: ParamSchema, rule: &str| mistakes(&with_param(gate(rule), "x", None, schema));
    insta::assert_snapshot!(declared(schema(ParamType::String), "size(instances) > params.x"), @"1:17+1 an int and a string have no order (convert one side with int(), double() or string())");
    let items = ParamSchema {
        items: ParamType::Int,
        ..schema(ParamType::List)
    };
    insta::assert_snapshot!(declared(items.clone(), "group.name in params.x"), @"1:12+2 a string is never in a list(int)");
    assert_eq!(declared(items, "size(instances) in params.x"), "");
    assert_eq!(declared(schema(ParamType::Any), "params.x == 1"), "");
}

/// What is wrong with a policy whose parameter has this declaration.
fn declared(
    default: Option<Value>,
    type_: ParamType,
    limit: impl FnOnce(&mut ParamSchema),
) -> String {
    let mut schema = schema(type_);
    limit(&mut schema);
    let rule = gate("params.x == params.x && now > now");
    mistakes(&with_param(rule, "x", default, schema))
}

#[test]
fn a_declaration_that_makes_no_sense_is_a_mistake() {
    let wrong = [
        declared(Some(Value::from("five")), ParamType::Int, |_| {}),
        declared(Some(Value::Int(3)), ParamType::Int, |it| {
            it.minimum = Some(4.0);
        }),
        declared(None, ParamType::Int, |it| {
            it.minimum = Some(4.0);
            it.maximum = Some(3.0);
        }),
        declared(None, ParamType::Int, |it| it.pattern = Some("x".to_owned())),
        declared(None, ParamType::Int, |it| it.items = ParamType::Int),
        declared(None, ParamType::Int, |it| {
            it.values = vec![Value::from("a")];
        }),
        declared(None, ParamType::String, |it| {
            it.pattern = Some("(".to_owned());
        }),
        declared(None, ParamType::List, |it| {
            it.items_min = Some(3);
            it.items_max = Some(1);
        }),
    ];
    insta::assert_snapshot!(wrong.join("\n"), @"
    1:1+1 the default: parameter `x` must be int, not a string
    1:1+1 the default: parameter `x` must be at least 4, not 3
    1:1+1 parameter `x`: the minimum 4 is above the maximum 3
    1:1+1 parameter `x`: `pattern` is only for string
    1:1+1 parameter `x`: `items` is only for list
    1:1+1 a value of `enum`: parameter `x` must be int, not a string
    1:1+1 parameter `x`: not a regular expression: unclosed group
    1:1+1 parameter `x`: minItems 3 is above maxItems 1
    ");
}

#[test]
fn a_whole_number_is_a_default_for_a_double() {
    let rule = policy(DecisionPoint::Victim, "params.x * 1.5");
    let double = with_param(rule, "x", Some(Value::Int(2)), schema(ParamType::Double));
    assert_eq!(mistakes(&double), "");
    let (set, _) = PolicySet::compile(&[double], &[binding("tested")], &[]);
    let decided = set.decide(&World::new().facts());
    assert_eq!(decided.trace[0].message, "a score of 3");
}
