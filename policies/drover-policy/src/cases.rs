//! The policies' own test tables.
//!
//! A row's `given` sets variables; what it leaves out has the defaults of [`default_of`]: a group
//! `test` of three available instances, nothing going on, on Monday 2026-01-05 at 12:00 UTC, asked
//! for reason `update`. Maps merge field by field; a list replaces, its elements filled up. Times
//! and durations are written as in documents. `expect` is a boolean (whether all rules hold; a
//! policy whose `match` does not hold withholds nothing, so true), the value (a size before the
//! bounds), `null` (a policy of one value that does not apply), or the word `error`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use drover_model::{
    DecisionPoint, Outcome, PolicyName, PolicyTest, SizeDecision, SourceSpan, Timestamp, Value,
    Verdict,
};

use crate::definitions::Definitions;
use crate::evaluate::{Scope, Valued};
use crate::given::{Given, Params};
use crate::params;
use crate::policy::{Body, CompiledPolicy, ResultType};
use crate::set::PolicySet;
use crate::stack::{Failure, on_large_stack};
use crate::types::{Shape, Type, closest};
use crate::value::{self, Boxed, Entries};
use crate::variables::{VARIABLES, health_of};

pub(crate) mod facts;

#[cfg(test)]
mod tests;

/// How one row of a policy's test table turned out.
#[derive(Debug, Clone, PartialEq)]
pub struct TestOutcome {
    /// The policy.
    pub policy: PolicyName,
    /// The row's name.
    pub name: String,
    /// Where the row stands.
    pub span: SourceSpan,
    /// How it turned out.
    pub result: TestResult,
}

/// The result of a test.
#[derive(Debug, Clone, PartialEq)]
pub enum TestResult {
    /// As expected.
    Passed,
    /// Otherwise.
    Failed {
        /// What the row expects.
        expected: String,
        /// What came out.
        got: String,
        /// The clause that decided, where one did.
        clause: Option<SourceSpan>,
        /// Its message.
        message: String,
        /// The values that it read.
        values: BTreeMap<String, String>,
    },
    /// The row makes no sense: an unknown variable, a value of the wrong type.
    Invalid {
        /// What is wrong.
        message: String,
    },
}

impl PolicySet {
    /// Runs the test tables of all policies without mistakes, in order of their names.
    pub fn run_tests(&self) -> Vec<TestOutcome> {
        let policies = self.policies.values();
        let outcomes = policies.flat_map(|policy| {
            on_large_stack(|| run(policy, &self.definitions))
                .unwrap_or_else(|failure| failed(policy, &failure))
        });
        outcomes.collect()
    }
}

/// Runs the test table of a policy. Must run on a large stack.
pub(crate) fn run(policy: &CompiledPolicy, known: &Definitions) -> Vec<TestOutcome> {
    let outcome = |test: &PolicyTest| TestOutcome {
        policy: policy.name.clone(),
        name: test.name.clone(),
        span: test.span.clone(),
        result: run_test(policy, test, known),
    };
    policy.tests.iter().map(outcome).collect()
}

/// Returns the outcome when no row could be run.
pub(crate) fn failed(policy: &CompiledPolicy, failure: &Failure) -> Vec<TestOutcome> {
    let message = failure.explain();
    vec![TestOutcome {
        policy: policy.name.clone(),
        name: String::new(),
        span: policy.span(),
        result: TestResult::Invalid { message },
    }]
}

/// What a policy decides, as a row expects it.
pub(crate) struct Got {
    pub(crate) value: Value,
    /// What decided. None: the policy does not apply.
    pub(crate) verdict: Option<Verdict>,
}

/// Asks a policy of which the variables are evaluated.
pub(crate) fn got(policy: &CompiledPolicy, scope: &mut Scope<'_, '_>) -> Got {
    match policy.body {
        Body::Rules(_) => got_rules(&scope.rules()),
        Body::Value(_) => got_value(policy.point, scope),
    }
}

fn run_test(policy: &CompiledPolicy, test: &PolicyTest, known: &Definitions) -> TestResult {
    let given = Given::Values(&test.given);
    let params = Params::Of(policy, &policy.params);
    let values = match given.values(Some(policy.point), &params, known) {
        Ok(values) => values,
        Err(message) => return TestResult::Invalid { message },
    };
    if let Err(message) = check_expectation(policy, &test.expect) {
        return TestResult::Invalid { message };
    }
    let root = values.context();
    let mut scope = Scope::unbound(policy, &root);
    scope.variables(|_| true);
    let got = got(policy, &mut scope);
    if same(&got.value, &test.expect) {
        return TestResult::Passed;
    }
    let (clause, message, values) = match got.verdict {
        Some(verdict) => (Some(verdict.span), verdict.message, verdict.values),
        None => (None, String::new(), BTreeMap::new()),
    };
    TestResult::Failed {
        expected: show(&test.expect),
        got: show(&got.value),
        clause,
        message,
        values,
    }
}

fn got_rules(verdicts: &[Verdict]) -> Got {
    let failing = verdicts
        .iter()
        .find(|verdict| matches!(verdict.outcome, Outcome::Error(_)))
        .or_else(|| {
            verdicts
                .iter()
                .find(|verdict| verdict.outcome == Outcome::Failed)
        });
    let value = match failing.map(|verdict| &verdict.outcome) {
        None | Some(Outcome::Passed) => Value::Bool(true),
        Some(Outcome::Failed) => Value::Bool(false),
        Some(Outcome::Error(_)) => Value::from(ERROR),
    };
    Got {
        value,
        verdict: failing.or_else(|| verdicts.last()).cloned(),
    }
}

fn got_value(point: DecisionPoint, scope: &mut Scope<'_, '_>) -> Got {
    let answer = match ResultType::of(point) {
        ResultType::Count if point == DecisionPoint::Size => return got_size(scope),
        ResultType::Count => scope
            .count("at once")
            .map(|answer| valued(answer, |count| Value::Int(i64::from(count)))),
        ResultType::Score => scope.score().map(|answer| valued(answer, Value::Float)),
        ResultType::Word(_) => scope.word().map(|answer| valued(answer, Value::from)),
    };
    answer.unwrap_or(DOES_NOT_APPLY)
}

fn valued<T>(answer: Valued<T>, value: impl FnOnce(T) -> Value) -> Got {
    let (value, verdict) = match answer {
        Ok((answer, verdict)) => (value(answer), verdict),
        Err(verdict) => (Value::from(ERROR), *verdict),
    };
    Got {
        value,
        verdict: Some(verdict),
    }
}

const DOES_NOT_APPLY: Got = Got {
    value: Value::Null,
    verdict: None,
};

fn got_size(scope: &mut Scope<'_, '_>) -> Got {
    let (value, verdict) = match scope.size_unbounded() {
        None => return DOES_NOT_APPLY,
        Some(SizeDecision::Chosen { asked, verdict, .. }) => (Value::Int(asked), verdict),
        Some(SizeDecision::Failed(verdict)) => (Value::from(ERROR), verdict),
    };
    Got {
        value,
        verdict: Some(verdict),
    }
}

/// Returns whether a result is the expected one. A score is a number, whether it is whole or not.
fn same(got: &Value, expected: &Value) -> bool {
    match (got, expected) {
        (Value::Float(got), Value::Int(expected)) => {
            got.partial_cmp(&(*expected as f64)) == Some(Ordering::Equal)
        }
        (got, expected) => got == expected,
    }
}

/// What a row expects when the clause is to fail to evaluate.
const ERROR: &str = "error";

fn check_expectation(policy: &CompiledPolicy, expect: &Value) -> Result<(), String> {
    let result = match policy.body {
        Body::Rules(_) => None,
        Body::Value(_) => Some(ResultType::of(policy.point)),
    };
    let wanted = match (result, expect) {
        (_, Value::String(text)) if text == ERROR => return Ok(()),
        (None, Value::Bool(_))
        | (Some(_), Value::Null)
        | (Some(ResultType::Count | ResultType::Score), Value::Int(_))
        | (Some(ResultType::Score), Value::Float(_)) => return Ok(()),
        (Some(ResultType::Word(words)), Value::String(text)) if words.contains(&text.as_str()) => {
            return Ok(());
        }
        (None, _) => "true, false".to_owned(),
        (Some(ResultType::Count), _) => "a whole number, null".to_owned(),
        (Some(ResultType::Score), _) => "a number, null".to_owned(),
        (Some(ResultType::Word(words)), _) => format!("{}, null", words.join(", ")),
    };
    Err(format!(
        "`expect` is {wanted} or the word error, not {}",
        show(expect)
    ))
}

/// Returns a result for people.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "does not apply".to_owned(),
        other => value::show(value::document(other).as_ref()),
    }
}

/// Returns what a row gives by name.
pub(crate) fn entries(given: &Value) -> Result<&BTreeMap<String, Value>, String> {
    static NOTHING: BTreeMap<String, Value> = BTreeMap::new();
    match given {
        Value::Map(given) => Ok(given),
        Value::Null => Ok(&NOTHING),
        other => {
            let kind = other.kind();
            Err(format!("`given` is a map of variables, not {kind}"))
        }
    }
}

/// Returns the variables of a row, without the parameters.
pub(crate) fn given(
    point: Option<DecisionPoint>,
    given: &BTreeMap<String, Value>,
) -> Result<BTreeMap<&'static str, Tree>, String> {
    let known: Vec<&str> = VARIABLES
        .iter()
        .filter(|variable| variable.available_in(point))
        .map(|variable| variable.name)
        .chain(["params"])
        .chain(facts::NAMES)
        .collect();
    if let Some(unknown) = given.keys().find(|name| !known.contains(&name.as_str())) {
        let close = closest(unknown, known.iter().copied());
        let hint = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
        let whom = match point {
            Some(point) => format!("a {} policy does not know", point.as_str()),
            None => "not every policy knows".to_owned(),
        };
        return Err(format!("`given` sets `{unknown}`, which {whom}{hint}"));
    }
    let mut values = BTreeMap::new();
    for variable in VARIABLES
        .iter()
        .filter(|variable| variable.available_in(point))
    {
        let type_ = (variable.type_)();
        let value = given.get(variable.name);
        // Unlike other values that may be null, this one is there unless a row says otherwise.
        let type_ = match (&type_, value) {
            (Type::Nullable(inner), None) if variable.name == "oldSpec" => (**inner).clone(),
            _ => type_,
        };
        let default = default_of("", variable.name);
        let tree = typed(&type_, value.or(default.as_ref()), variable.name)?;
        values.insert(variable.name, tree);
    }
    Ok(values)
}

/// Returns the parameters of `policy`: `params`, with what a row gives over them.
pub(crate) fn params(
    policy: &CompiledPolicy,
    params: &BTreeMap<String, Value>,
    given: Option<&Value>,
) -> Result<BTreeMap<String, Value>, String> {
    let mut all = params.clone();
    let given = match given {
        None => return insist_on_all(policy, all),
        Some(Value::Map(given)) => given,
        Some(other) => return Err(format!("`params` is a map, not {}", other.kind())),
    };
    for (name, value) in given {
        let Some(param) = policy.declared.get(name) else {
            let close = closest(name, policy.declared.keys().map(String::as_str));
            let hint = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
            return Err(format!("the policy has no parameter `{name}`{hint}"));
        };
        let fitting = params::fit(name, param, value).map_err(|(why, _)| why)?;
        all.insert(name.clone(), fitting);
    }
    insist_on_all(policy, all)
}

fn insist_on_all(
    policy: &CompiledPolicy,
    all: BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Value>, String> {
    match params::unset(policy, &all).into_iter().next() {
        Some((name, _)) => Err(format!(
            "nothing sets parameter `{name}`, which has no default"
        )),
        None => Ok(all),
    }
}

/// A value of a row, converted to the declared type and filled up.
pub(crate) enum Tree {
    Null,
    Document(Value),
    Time(Timestamp),
    Duration(std::time::Duration),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    Record(&'static Shape, BTreeMap<&'static str, Tree>),
}

impl Tree {
    pub(crate) fn boxed(&self) -> Boxed<'_> {
        match self {
            Self::Null => value::absent("it is null in this test"),
            Self::Document(document) => value::document(document),
            Self::Time(time) => value::time(*time),
            Self::Duration(duration) => value::duration(*duration),
            Self::List(elements) => value::list(elements.iter().map(Self::boxed).collect()),
            Self::Map(entries) => value::keyed(TreeMap(entries)),
            Self::Record(shape, fields) => value::keyed(TreeRecord(shape, fields)),
        }
    }
}

#[derive(Clone, Copy)]
struct TreeMap<'a>(&'a BTreeMap<String, Tree>);

impl<'a> Entries<'a> for TreeMap<'a> {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        self.0.get(key).map(Tree::boxed)
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[derive(Clone, Copy)]
struct TreeRecord<'a>(&'static Shape, &'a BTreeMap<&'static str, Tree>);

impl<'a> Entries<'a> for TreeRecord<'a> {
    const MAP: bool = false;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        self.1.get(key).map(Tree::boxed)
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.fields.iter().map(|field| field.name).collect()
    }
}

/// Returns `given` as a value of `type_`, filled up with defaults.
fn typed(type_: &Type, given: Option<&Value>, path: &str) -> Result<Tree, String> {
    let wrong = |given: &Value| Err(format!("`{path}` is {type_}, not {}", given.kind()));
    let empty = BTreeMap::new();
    let tree = match (type_, given) {
        (Type::Nullable(_), None | Some(Value::Null)) => Tree::Null,
        (Type::Nullable(inner), given) => return typed(inner, given, path),
        (Type::Record(shape), None) => return record(shape, &empty, path),
        (Type::Record(shape), Some(Value::Map(given))) => return record(shape, given, path),
        (Type::List(_), None) => Tree::List(Vec::new()),
        (Type::List(element), Some(Value::List(given))) => Tree::List(
            given
                .iter()
                .enumerate()
                .map(|(at, given)| typed(element, Some(given), &format!("{path}[{at}]")))
                .collect::<Result<_, _>>()?,
        ),
        (Type::Map(_), None) => Tree::Map(BTreeMap::new()),
        (Type::Map(value), Some(Value::Map(given))) => Tree::Map(
            given
                .iter()
                .map(|(key, given)| {
                    let tree = typed(value, Some(given), &format!("{path}.{key}"))?;
                    Ok((key.clone(), tree))
                })
                .collect::<Result<_, String>>()?,
        ),
        (Type::Timestamp, Some(Value::String(text))) => {
            Tree::Time(text.parse().map_err(|_| {
                format!("`{path}` is a time such as 2026-01-05T12:00:00Z, not {text}")
            })?)
        }
        (Type::Duration, None) => Tree::Duration(std::time::Duration::ZERO),
        (Type::Duration, Some(Value::String(text))) => Tree::Duration(duration(text, path)?),
        (Type::Word(words), Some(Value::String(text))) => {
            let all = (words.all)();
            if !all.contains(&text.as_str()) {
                return Err(format!(
                    "`{path}`: `{text}` is not {}; one of {}",
                    words.name,
                    all.join(", ")
                ));
            }
            Tree::Document(Value::from(text.as_str()))
        }
        (Type::Text, Some(Value::String(_)))
        | (Type::Int, Some(Value::Int(_)))
        | (Type::Bool, Some(Value::Bool(_)))
        | (Type::Dyn, Some(_)) => Tree::Document(given.cloned().unwrap_or(Value::Null)),
        (Type::Int, None) => Tree::Document(Value::Int(0)),
        (Type::Bool, None) => Tree::Document(Value::Bool(false)),
        (Type::Dyn, None) => Tree::Document(Value::empty_map()),
        (_, None) => Tree::Document(Value::from("")),
        (_, Some(given)) => return wrong(given),
    };
    Ok(tree)
}

fn record(
    shape: &'static Shape,
    given: &BTreeMap<String, Value>,
    path: &str,
) -> Result<Tree, String> {
    if let Some(unknown) = given.keys().find(|name| shape.field(name).is_none()) {
        let close = closest(unknown, shape.fields.iter().map(|field| field.name));
        let hint = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
        return Err(format!("`{path}` has no field `{unknown}`{hint}"));
    }
    let mut fields = BTreeMap::new();
    for field in shape.fields {
        let default = match (shape.name, field.name) {
            ("instance", "health") => {
                let class = given.get("class").and_then(Value::as_str);
                Some(Value::from(health_of(class.unwrap_or("Available"))))
            }
            (shape, field) => default_of(shape, field),
        };
        let value = given.get(field.name).or(default.as_ref());
        let tree = typed(&(field.type_)(), value, &format!("{path}.{}", field.name))?;
        fields.insert(field.name, tree);
    }
    Ok(Tree::Record(shape, fields))
}

fn duration(text: &str, path: &str) -> Result<std::time::Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| std::time::Duration::try_from(duration).ok())
        .ok_or_else(|| format!("`{path}` is a duration such as 90s or 1h30m, not {text}"))
}

/// Returns the value that a field has in a test that does not set it; None: zero, empty, false or
/// null. A variable is a field of the empty shape.
fn default_of(shape: &str, field: &str) -> Option<Value> {
    let text = |text: &str| Some(Value::from(text));
    match (shape, field) {
        ("", "now") => text("2026-01-05T12:00:00Z"),
        ("", "reason") => text("update"),
        ("", "zone") => text("a"),
        ("", "current")
        | ("spec", "size")
        | ("change", "fromSize" | "toSize")
        | ("status" | "groups[name]", "desired" | "total" | "available" | "updated") => {
            Some(Value::Int(3))
        }
        ("group", "name") | ("spec", "provider") | ("git", "subject") => text("test"),
        ("spec", "manage") => text("full"),
        ("spec.rollout", "maxSurge" | "firstBatch") => Some(Value::Int(1)),
        ("spec.rollout", "minReady") => text("30s"),
        ("spec.rollout", "onFailure") => text("pause"),
        ("health", "startupTimeout") => text("10m"),
        ("health", "unhealthyAfter") => text("2m"),
        ("check", "kind") => text("http"),
        ("check", "path") => text("/healthz"),
        ("check", "port") => Some(Value::Int(8080)),
        ("check", "interval") => text("10s"),
        ("deletion", "policy") => text("Destroy"),
        ("status" | "groups[name]", "phase") => text("Converged"),
        ("rollout", "phase") => text("Idle"),
        ("", "field") => text("properties.image"),
        ("", "class") => text("replace"),
        ("signals", "provider") => text("running"),
        ("signals", "probe" | "combined") => text("healthy"),
        ("instance", "id") => text("test-1"),
        ("instance", "class") => text("Available"),
        ("instance", "age") => text("1h"),
        ("git", "revision") => text("0000000000000000000000000000000000000000"),
        ("git", "author") => text("Test <test@example.com>"),
        _ => None,
    }
}
