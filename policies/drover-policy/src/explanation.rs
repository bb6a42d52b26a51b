//! The decision of a policy with the value of every part of its expressions.

use std::collections::BTreeMap;

use drover_model::{BindingName, DecisionPoint, Outcome, PolicyName, SourceSpan, Value, Verdict};

use crate::cases;
use crate::definitions::Definitions;
use crate::evaluate::Scope;
use crate::expression::Expression;
use crate::given::{Given, Params};
use crate::policy::{Body, CompiledPolicy};
use crate::set::PolicySet;
use crate::stack::on_large_stack;
use crate::trace::{Key, Part, Record, recorded};
use crate::types::closest;
use crate::value;

#[cfg(test)]
mod tests;

/// A decision, and what it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The policy.
    pub policy: PolicyName,
    /// The binding whose parameters it has. None: it has its own defaults, or those given.
    pub binding: Option<BindingName>,
    /// The decision point.
    pub point: DecisionPoint,
    /// The result, as a row of a test table expects it: `true`, `3`, `error`, `does not apply`.
    pub result: String,
    /// The message of the clause that decided; empty when none did.
    pub message: String,
    /// The parameters, as people read them.
    pub params: BTreeMap<String, String>,
    /// How many steps the evaluation took, of those that a binding has in one pass.
    pub steps: u64,
    /// The policy's expressions in the order of their evaluation: variables, `match`, then rules or
    /// value.
    pub expressions: Vec<ExplainedExpression>,
}

/// One expression of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedExpression {
    /// What it is: `variable hour`, `match 1`, `rule 2`, `value`.
    pub title: String,
    /// The message of a rule.
    pub message: Option<String>,
    /// Where it stands.
    pub span: SourceSpan,
    /// Its source.
    pub text: String,
    /// Why it could not be evaluated.
    pub error: Option<String>,
    /// The expression as a whole, with all its parts.
    pub whole: ExplainedPart,
}

/// One part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedPart {
    /// Where it stands.
    pub span: SourceSpan,
    /// Its bytes in the source of the expression.
    pub range: (usize, usize),
    /// How often its evaluation began; 0 is never.
    pub evaluated: u64,
    /// How often it did not end with a value.
    pub failed: u64,
    /// The first few different values as people read them, each with how often it came.
    pub values: Vec<(String, u64)>,
    /// Its own parts, in order.
    pub parts: Vec<ExplainedPart>,
}

impl PolicySet {
    /// Returns the bindings that put `policy` on a group with `labels`.
    pub fn bindings_of(
        &self,
        policy: &PolicyName,
        labels: &BTreeMap<String, String>,
    ) -> Vec<BindingName> {
        let bound = self.applicable(labels);
        let bound = bound.filter(|bound| bound.binding.policy == *policy);
        bound.map(|bound| bound.binding.name.clone()).collect()
    }

    /// Returns the decision point of a policy without mistakes.
    pub fn point(&self, policy: &PolicyName) -> Option<DecisionPoint> {
        self.policies.get(policy).map(|policy| policy.point)
    }

    /// Returns whether an expression of a policy reads the variable `name`.
    pub fn reads(&self, policy: &PolicyName, name: &str) -> bool {
        let policy = self.policies.get(policy);
        policy.is_some_and(|policy| policy.reads.roots.contains(name))
    }

    /// Explains what `policy` decides, with the parameters of `binding` or its own defaults. The set
    /// must be of [`PolicySet::compile_traced`].
    ///
    /// # Errors
    ///
    /// A policy or binding that is unknown or has mistakes, and given values that make no sense.
    pub fn explain(
        &self,
        policy: &PolicyName,
        binding: Option<&BindingName>,
        given: Given<'_>,
    ) -> Result<Explanation, String> {
        let Some(compiled) = self.policies.get(policy) else {
            let known = self.policies.keys().map(PolicyName::as_str);
            let close = closest(policy.as_str(), known);
            let hint = close.map_or(String::new(), |close| format!("; did you mean {close}?"));
            return Err(format!("there is no valid policy {policy}{hint}"));
        };
        let params = match binding {
            None => &compiled.params,
            Some(name) => {
                let bound = self.bound(name);
                let bound = bound.ok_or_else(|| format!("there is no binding {name}"))?;
                bound.ready()?.1
            }
        };
        on_large_stack(|| explain_here(compiled, params, binding, given, &self.definitions))
            .unwrap_or_else(|failure| Err(failure.explain()))
    }
}

fn explain_here(
    policy: &CompiledPolicy,
    params: &BTreeMap<String, Value>,
    binding: Option<&BindingName>,
    given: Given<'_>,
    definitions: &Definitions,
) -> Result<Explanation, String> {
    let values = given.values(Some(policy.point), &Params::Of(policy, params), definitions)?;
    let root = values.context();
    let mut scope = Scope::unbound(policy, &root);
    let (got, record) = recorded(|| {
        scope.variables(|_| true);
        cases::got(policy, &mut scope)
    });
    let told = got.verdict.as_ref().filter(|verdict| {
        // A rule's message says what is wrong when it does not hold.
        !(policy.point.takes_rules() && verdict.outcome == Outcome::Passed)
    });
    let shown = values.params.iter().map(|(name, held)| {
        let held = value::show(value::document(held).as_ref());
        (name.clone(), held)
    });
    Ok(Explanation {
        policy: policy.name.clone(),
        binding: binding.cloned(),
        point: policy.point,
        result: cases::show(&got.value),
        message: told.map_or(String::new(), |verdict| verdict.message.clone()),
        params: shown.collect(),
        steps: scope.budget().spent(),
        expressions: expressions(policy, scope.failures(), got.verdict.as_ref(), &record),
    })
}

fn expressions(
    policy: &CompiledPolicy,
    failures: &BTreeMap<String, String>,
    verdict: Option<&Verdict>,
    record: &Record,
) -> Vec<ExplainedExpression> {
    let mut all = Vec::new();
    for (name, expression) in &policy.variables {
        all.push(ExplainedExpression {
            error: failures.get(name).cloned(),
            ..explained(expression, format!("variable {name}"), record)
        });
    }
    for (at, expression) in (1..).zip(&policy.matches) {
        all.push(explained(expression, format!("match {at}"), record));
    }
    match &policy.body {
        Body::Rules(rules) => {
            for (at, rule) in (1..).zip(rules) {
                all.push(ExplainedExpression {
                    message: Some(rule.message.clone()),
                    ..explained(&rule.condition, format!("rule {at}"), record)
                });
            }
        }
        Body::Value(value) => all.push(explained(value, "value".to_owned(), record)),
    }
    if let Some(verdict) = verdict
        && let Outcome::Error(why) = &verdict.outcome
        && let Some(failed) = all
            .iter_mut()
            .find(|it| it.span == verdict.span && it.error.is_none())
    {
        failed.error = Some(why.clone());
    }
    all
}

fn explained(expression: &Expression, title: String, record: &Record) -> ExplainedExpression {
    let whole = match &expression.traced {
        Some((number, outline)) => part(expression, *number, outline, record),
        None => ExplainedPart {
            span: expression.span(),
            range: (0, expression.source.text.len()),
            evaluated: 0,
            failed: 0,
            values: Vec::new(),
            parts: Vec::new(),
        },
    };
    ExplainedExpression {
        title,
        message: None,
        span: expression.span(),
        text: expression.source.text.clone(),
        error: None,
        whole,
    }
}

fn part(expression: &Expression, number: u32, part: &Part, record: &Record) -> ExplainedPart {
    let seen = record.get(&Key::new(number, part.id)).cloned();
    let seen = seen.unwrap_or_default();
    let range = part.range.clone();
    let below = part.children.iter();
    ExplainedPart {
        span: expression.source.locate(range.start, range.len()),
        range: (range.start, range.end),
        evaluated: seen.entered,
        failed: seen.entered - seen.left,
        values: seen.values,
        parts: below
            .map(|part| self::part(expression, number, part, record))
            .collect(),
    }
}
