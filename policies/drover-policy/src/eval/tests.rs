use std::collections::BTreeMap;

use drover_model::{DecisionPoint, InstanceId, Reason, SourceText, Value};

use super::{EvalError, evaluate};
use crate::testing::World;
use crate::{Definitions, Given, Question};

/// What an expression comes to over the facts of the fixtures.
fn live(source: &str, point: Option<DecisionPoint>, question: Question<'_>) -> String {
    let world = World::new();
    let given = Given::Facts(world.facts(), question);
    match evaluate(
        &SourceText::inline(source),
        point,
        given,
        &Definitions::default(),
    ) {
        Ok(found) => format!("{:?}: {}", found.value, found.type_),
        Err(error) => error.to_string(),
    }
}

#[test]
fn records_are_shown_with_their_fields() {
    let question = Question::default();
    insta::assert_snapshot!(live("[groups['db'], groups['db']][0]", None, question), @r#"Map([(Text("desired"), Int(2)), (Text("available"), Int(2)), (Text("total"), Int(2)), (Text("updated"), Int(1)), (Text("phase"), Text("Progressing"))]): groups[name]"#);
    insta::assert_snapshot!(live("instances.map(i, i.id)", None, question), @r#"List([Text("web-1"), Text("web-2"), Text("web-3")]): list(string)"#);
    insta::assert_snapshot!(live("spec.bounds", None, question), @r#"Map([(Text("min"), Int(2)), (Text("max"), Int(20))]): bounds or null"#);
    insta::assert_snapshot!(live("spec.template", None, question), @r#"Map([(Text("properties"), Map([(Text("image"), Text("v1"))])), (Text("flavors"), List([])), (Text("tags"), Map([]))]): template"#);
}

#[test]
fn the_decision_point_says_which_variables_there_are() {
    let id = InstanceId::parse("web-1").unwrap();
    let question = Question {
        reason: Some(Reason::Update),
        instance: Some(&id),
        ..Question::default()
    };
    insta::assert_snapshot!(live("reason", None, question), @"`reason` is only known to gate, budget, protect and victim policies");
    let point = Some(DecisionPoint::Protect);
    insta::assert_snapshot!(live("reason + ' of ' + instance.id", point, question), @r#"Text("update of web-1"): string"#);
    let unknown = InstanceId::parse("web-9").unwrap();
    let question = Question {
        instance: Some(&unknown),
        ..question
    };
    insta::assert_snapshot!(live("reason", point, question), @"group web has no instance web-9");
}

#[test]
fn values_are_given_as_in_a_test_table() {
    let given = |name: &str, value: Value| Value::Map([(name.to_owned(), value)].into());
    let params = given("params", given("max", Value::Int(7)));
    let source = |text: &str| SourceText::inline(text);
    let found = evaluate(
        &source("params.max + spec.size"),
        None,
        Given::Values(&params),
        &Definitions::default(),
    )
    .unwrap();
    assert_eq!(
        (format!("{:?}", found.value), found.type_.as_str()),
        ("Int(10)".to_owned(), "int")
    );
    let error = |text: &str, value: &Value| {
        let given = Given::Values(value);
        evaluate(&source(text), None, given, &Definitions::default())
    };
    let EvalError::Refused(mistakes) = error("params.mox + 1", &params).unwrap_err() else {
        panic!("it has a mistake");
    };
    assert_eq!((mistakes[0].span.column, mistakes[0].span.length), (8, 3));
    let unknown = given("statsu", Value::Map(BTreeMap::new()));
    insta::assert_snapshot!(error("1", &unknown).unwrap_err(), @"`given` sets `statsu`, which not every policy knows; did you mean `status`?");
    insta::assert_snapshot!(error("1 / (spec.size - 3)", &Value::Null).unwrap_err(), @"division by zero");
}
