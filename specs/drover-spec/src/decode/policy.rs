//! Policy documents.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    DecisionPoint, ParamFormat, ParamSchema, ParamType, Policy, PolicyBody, PolicyName,
    PolicyParam, PolicyRule, PolicyTest, PolicyVariable, SourceText, Value,
};

use super::{Fields, Metadata, Others, check};
use crate::declare::POLICY_PARAM;
use crate::diagnostic::Diagnostic;
use crate::tree::Node;

/// Decodes a policy. None: a mistake that leaves nothing to build; it was reported.
pub(crate) fn decode_policy(
    metadata: Option<Metadata>,
    spec: &Fields<'_>,
    digest: String,
) -> Option<Policy> {
    let before = spec.report.count();
    let on = spec.word("on");
    let known = spec.has("on") && spec.report.count() == before;
    let point = DecisionPoint::ALL
        .into_iter()
        .find(|point| point.as_str() == on)?;
    let matches = spec.expressions("match");
    let params = declared_params(spec);
    let variables = variables(spec);
    let rules = rules(spec);
    let value = spec.expression("value");
    let body = body(spec, known.then_some(point), rules, value);
    let tests = tests(spec, known.then_some(point));
    let metadata = metadata?;
    Some(Policy {
        name: PolicyName::parse(&metadata.name).ok()?,
        span: metadata.span,
        point,
        matches,
        params,
        variables,
        body: body?,
        tests,
        digest,
    })
}

/// Reads parameters: their names are used in expressions.
pub(crate) fn params(spec: &Fields<'_>, name: &'static str) -> BTreeMap<String, Value> {
    let (value, node) = spec.any_map(name);
    for entry in node.and_then(|node| node.entries()).into_iter().flatten() {
        if !check::is_identifier(&entry.key) {
            identifier_wanted(spec, &entry.key, entry.key_place);
        }
    }
    match value {
        Value::Map(map) => map,
        _ => BTreeMap::new(),
    }
}

/// Reads the parameters that a policy declares.
fn declared_params(spec: &Fields<'_>) -> BTreeMap<String, PolicyParam> {
    let (_, node) = spec.any_map("params");
    let mut params = BTreeMap::new();
    for entry in node.and_then(|node| node.entries()).into_iter().flatten() {
        if !check::is_identifier(&entry.key) {
            identifier_wanted(spec, &entry.key, entry.key_place);
        }
        let span = spec.report.span(entry.key_place);
        let param = if is_declaration(&entry.value) {
            let place = entry.key_place;
            let fields = Fields::open(
                spec.report,
                &entry.value,
                place,
                &POLICY_PARAM,
                Others::Refuse,
            );
            PolicyParam {
                span,
                default: fields.get("default").1.map(|entry| entry.value.to_value()),
                schema: Some(param_schema(&fields)),
            }
        } else {
            PolicyParam {
                span,
                default: Some(entry.value.to_value()),
                schema: None,
            }
        };
        params.insert(entry.key.clone(), param);
    }
    params
}

/// A map is a declaration when its `type` is one, or when nothing but a misspelt `type` makes it none;
/// otherwise it is a default like any other value.
fn is_declaration(node: &Node) -> bool {
    let Some(type_) = node.get("type") else {
        return false;
    };
    if ParamType::ALL
        .iter()
        .any(|known| type_.text() == Some(known.as_str()))
    {
        return true;
    }
    let entries = node.entries().unwrap_or_default();
    entries.len() > 1
        && entries
            .iter()
            .all(|entry| POLICY_PARAM.field(&entry.key).is_some())
}

fn param_schema(fields: &Fields<'_>) -> ParamSchema {
    let written = |name: &'static str| {
        let word = fields.word(name);
        fields.has(name).then_some(word)
    };
    let type_of = |name: &'static str| {
        let word = written(name);
        let mut types = ParamType::ALL.into_iter();
        types
            .find(|type_| word == Some(type_.as_str()))
            .unwrap_or(ParamType::Any)
    };
    let format = written("format");
    let count = |name: &'static str| {
        let count = fields.integer(name);
        fields.has(name).then_some(count)
    };
    let values = fields.items("enum").map_or(&[][..], |(_, _, items)| items);
    ParamSchema {
        type_: type_of("type"),
        items: type_of("items"),
        description: fields.text("description"),
        minimum: number(fields, "minimum"),
        maximum: number(fields, "maximum"),
        values: values.iter().map(Node::to_value).collect(),
        pattern: fields.text("pattern"),
        format: ParamFormat::ALL
            .into_iter()
            .find(|known| format == Some(known.as_str())),
        items_min: count("minItems"),
        items_max: count("maxItems"),
    }
}

fn number(fields: &Fields<'_>, name: &'static str) -> Option<f64> {
    let entry = fields.get(name).1?;
    match entry.value.to_value() {
        Value::Int(number) => Some(number as f64),
        Value::UInt(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => {
            fields.wrong(entry, "a number");
            None
        }
    }
}

fn identifier_wanted(spec: &Fields<'_>, name: &str, place: crate::tree::Place) {
    let message = format!(
        "`{name}` cannot be used in an expression: it must have letters, digits and '_', and not begin with a digit"
    );
    spec.report.error("bad-value", place, message);
}

fn variables(spec: &Fields<'_>) -> Vec<PolicyVariable> {
    let mut seen = BTreeSet::new();
    let mut variables = Vec::new();
    for fields in spec.objects("variables") {
        let name = fields.text("name");
        let expression = fields.expression("expression");
        let (Some(name), Some(entry)) = (name, fields.get("name").1) else {
            continue;
        };
        if !check::is_identifier(&name) {
            identifier_wanted(&fields, &name, entry.value.place);
        } else if !seen.insert(name.clone()) {
            let message = format!("the variable `{name}` is repeated");
            fields
                .report
                .error("duplicate-name", entry.value.place, message);
        }
        if let Some(expression) = expression {
            variables.push(PolicyVariable { name, expression });
        }
    }
    variables
}

fn rules(spec: &Fields<'_>) -> Vec<PolicyRule> {
    spec.objects("rules")
        .iter()
        .filter_map(|fields| {
            let expression = fields.expression("expression");
            let message = fields.text("message");
            Some(PolicyRule {
                expression: expression?,
                message: message?,
            })
        })
        .collect()
}

/// Checks that the shape of the policy is that of its decision point.
fn body(
    spec: &Fields<'_>,
    point: Option<DecisionPoint>,
    rules: Vec<PolicyRule>,
    value: Option<SourceText>,
) -> Option<PolicyBody> {
    let point = point?;
    let (wanted, other) = if point.takes_rules() {
        ("rules", "value")
    } else {
        ("value", "rules")
    };
    if spec.has(other) {
        let message = format!(
            "a `{}` policy has `{wanted}`, not `{other}`",
            point.as_str()
        );
        let place = spec
            .get(other)
            .1
            .map_or(spec.place, |entry| entry.key_place);
        spec.report.error("wrong-shape", place, message);
    }
    if !spec.has(wanted) {
        let message = format!("`{wanted}` is missing from a `{}` policy", point.as_str());
        spec.report.push(Diagnostic::error(
            "missing-field",
            message,
            spec.report.span(spec.place),
        ));
    }
    if point.takes_rules() {
        Some(PolicyBody::Rules(rules))
    } else {
        value.map(PolicyBody::Value)
    }
}

fn tests(spec: &Fields<'_>, point: Option<DecisionPoint>) -> Vec<PolicyTest> {
    let mut seen = BTreeSet::new();
    let mut tests = Vec::new();
    for fields in spec.objects("tests") {
        let name = fields.text("name");
        let (given, _) = fields.any_map("given");
        let expect = fields.get("expect").1;
        if let (Some(entry), Some(point)) = (expect, point)
            && point.takes_rules()
            && !is_expected_of_rules(&entry.value.to_value())
        {
            fields.wrong(entry, "true, false or the word error for a policy of rules");
        }
        let (Some(name), Some(expect)) = (name, expect) else {
            continue;
        };
        if !seen.insert(name.clone()) {
            let message = format!("the test `{name}` is repeated");
            fields.report.push(Diagnostic::error(
                "duplicate-name",
                message,
                fields.span_of("name"),
            ));
        }
        tests.push(PolicyTest {
            name,
            given,
            expect: expect.value.to_value(),
            span: fields.report.span(fields.place),
        });
    }
    tests
}

/// Rules hold, do not hold, or cannot be evaluated.
fn is_expected_of_rules(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::String(word) => word == "error",
        Value::Null
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => false,
    }
}
