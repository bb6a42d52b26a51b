//! One policy, compiled; and one binding, joined with its policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{
    BindingName, DecisionPoint, Policy, PolicyBody, PolicyName, PolicyParam, PolicyTest,
    SourceSpan, SourceText, Value,
};

use crate::check::{Declared, NameOf, NameUse, Reads};
use crate::definitions::{Definitions, Named};
use crate::expression::Expression;
use crate::limits::{CLAUSES_MAX, TESTS_MAX};
use crate::params;
use crate::parse::Mistake;
use crate::types::{Fields, Type, closest, enumerated, mask};

/// What a rule is called in messages.
const RULE: &str = "a rule";

/// A mistake in a policy or in a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyMistake {
    /// The policy; of a mistake in a binding, the one that it names.
    pub policy: Option<PolicyName>,
    /// The binding, for a mistake in one.
    pub binding: Option<BindingName>,
    /// Where it stands.
    pub span: SourceSpan,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A compiled policy.
#[derive(Debug)]
pub(crate) struct CompiledPolicy {
    pub(crate) name: PolicyName,
    pub(crate) digest: String,
    pub(crate) point: DecisionPoint,
    /// The defaults of the parameters that have one.
    pub(crate) params: BTreeMap<String, Value>,
    /// All parameters.
    pub(crate) declared: BTreeMap<String, PolicyParam>,
    pub(crate) matches: Vec<Expression>,
    pub(crate) variables: Vec<(String, Expression)>,
    pub(crate) body: Body,
    pub(crate) tests: Vec<PolicyTest>,
    /// What any expression of it reads.
    pub(crate) reads: Reads,
}

/// What a compiled policy decides.
#[derive(Debug)]
pub(crate) enum Body {
    Rules(Vec<Rule>),
    Value(Box<Expression>),
}

/// What the value of a decision point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResultType {
    /// A whole number.
    Count,
    /// Any number.
    Score,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The words of `heal`.
pub(crate) const REPLACE: &str = "replace";
/// See [`REPLACE`].
pub(crate) const WAIT: &str = "wait";

impl ResultType {
    /// Returns the type of `point`'s value. Points of rules have none; theirs is not asked for.
    pub(crate) fn of(point: DecisionPoint) -> Self {
        match point {
            DecisionPoint::Victim | DecisionPoint::Place => Self::Score,
            DecisionPoint::Heal => Self::Word(&[REPLACE, WAIT]),
            DecisionPoint::Analysis => Self::Word(&["pass", "inconclusive", "fail"]),
            DecisionPoint::Health => Self::Word(&["healthy", "unhealthy", "unknown"]),
            DecisionPoint::Drift => Self::Word(&["ignore", "live", "restart", "replace"]),
            DecisionPoint::Size
            | DecisionPoint::Budget
            | DecisionPoint::Validate
            | DecisionPoint::Approve
            | DecisionPoint::Gate
            | DecisionPoint::Protect => Self::Count,
        }
    }
}

/// Returns words as one of which a result must be: `"replace" or "wait"`.
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    enumerated(&quoted, "or")
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) condition: Expression,
    pub(crate) message: String,
}

impl CompiledPolicy {
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let body: Vec<&Expression> = match &self.body {
            Body::Rules(rules) => rules.iter().map(|rule| &rule.condition).collect(),
            Body::Value(value) => vec![value],
        };
        let variables = self.variables.iter().map(|(_, expression)| expression);
        variables.chain(&self.matches).chain(body)
    }

    /// Returns the metrics and calendars that it names with these parameters. An empty name is none.
    pub(crate) fn names<'a>(
        &'a self,
        params: &'a BTreeMap<String, Value>,
    ) -> BTreeSet<(Named, &'a str)> {
        let of = |used: &'a NameUse| {
            let name = match &used.name {
                NameOf::Literal(name) => name,
                NameOf::Param(param) => params.get(param)?.as_str()?,
            };
            (!name.is_empty()).then_some((used.named, name))
        };
        let names = self.expressions().flat_map(|expression| &expression.names);
        names.filter_map(of).collect()
    }

    /// Returns the clause that stands for the policy as a whole.
    pub(crate) fn span(&self) -> SourceSpan {
        match &self.body {
            Body::Rules(rules) => rules[0].condition.span(),
            Body::Value(value) => value.span(),
        }
    }
}

/// Whether the parts of expressions are followed while they are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracing {
    /// They are, for people.
    On,
    /// They are not.
    Off,
}

/// Compiles a policy. None when there are mistakes. Must run on a large stack.
pub(crate) fn compile(
    policy: &Policy,
    definitions: &Definitions,
    tracing: Tracing,
) -> (Option<CompiledPolicy>, Vec<PolicyMistake>) {
    let mut compiler = Compiler {
        policy,
        definitions,
        numbers: match tracing {
            Tracing::On => Some(0..),
            Tracing::Off => None,
        },
        params: Arc::new(Fields {
            name: "params",
            types: policy
                .params
                .iter()
                .map(|(name, param)| (name.clone(), params::type_of(param)))
                .collect(),
        }),
        declared: BTreeMap::new(),
        all: policy
            .variables
            .iter()
            .map(|variable| variable.name.clone())
            .collect(),
        mistakes: Vec::new(),
    };
    let compiled = compiler.run();
    let mut mistakes = compiler.mistakes;
    mistakes.sort_by(|left, right| left.span.cmp(&right.span));
    match compiled {
        Some(compiled) if mistakes.is_empty() => (Some(compiled), mistakes),
        _ => (None, mistakes),
    }
}

struct Compiler<'a> {
    policy: &'a Policy,
    definitions: &'a Definitions,
    params: Arc<Fields>,
    declared: BTreeMap<String, (Type, Reads)>,
    all: BTreeSet<String>,
    mistakes: Vec<PolicyMistake>,
    /// The numbers for the next expressions, if they are traced.
    numbers: Option<std::ops::RangeFrom<u32>>,
}

impl Compiler<'_> {
    fn run(&mut self) -> Option<CompiledPolicy> {
        let policy = self.policy;
        self.limits();
        for (span, message, hint) in params::mistakes(&policy.params) {
            let mistake = self.located(span, message);
            self.mistakes.push(PolicyMistake { hint, ..mistake });
        }
        let mut variables = Vec::new();
        for variable in &policy.variables {
            if self.declared.contains_key(&variable.name) {
                let message = format!("variable `{}` is declared twice", variable.name);
                self.mistake(variable.expression.span.clone(), message);
            }
            let expression = self.expression(&variable.expression);
            let known = expression
                .as_ref()
                .map_or((Type::Dyn, Reads::default()), |found| {
                    (found.type_.clone(), found.reads.clone())
                });
            self.declared.insert(variable.name.clone(), known);
            variables.extend(expression.map(|found| (variable.name.clone(), found)));
        }
        let matches = policy
            .matches
            .iter()
            .filter_map(|condition| self.condition(condition, "a condition of `match`"))
            .collect();
        let body = self.body()?;
        let mut compiled = CompiledPolicy {
            name: policy.name.clone(),
            digest: policy.digest.clone(),
            point: policy.point,
            params: params::defaults(&policy.params),
            declared: policy.params.clone(),
            matches,
            variables,
            body,
            tests: policy.tests.clone(),
            reads: Reads::default(),
        };
        let mut reads = Reads::default();
        for expression in compiled.expressions() {
            reads.merge(&expression.reads);
        }
        compiled.reads = reads;
        Some(compiled)
    }

    fn limits(&mut self) {
        let policy = self.policy;
        let rules = match &policy.body {
            PolicyBody::Rules(rules) => rules.len(),
            PolicyBody::Value(_) => 1,
        };
        let counts = [
            (policy.variables.len(), CLAUSES_MAX, "variables"),
            (policy.matches.len(), CLAUSES_MAX, "conditions of `match`"),
            (rules, CLAUSES_MAX, "rules"),
            (policy.tests.len(), TESTS_MAX, "tests"),
        ];
        for (count, max, what) in counts {
            if count > max {
                let message = format!("{count} {what}; at most {max} are allowed");
                self.mistake(policy.span.clone(), message);
            }
        }
    }

    fn body(&mut self) -> Option<Body> {
        let policy = self.policy;
        let point = policy.point.as_str();
        match &policy.body {
            PolicyBody::Rules(_) if !policy.point.takes_rules() => {
                let message = format!("a {point} policy has one `value`, not `rules`");
                self.mistake(policy.span.clone(), message);
                None
            }
            PolicyBody::Value(_) if policy.point.takes_rules() => {
                let message = format!("a {point} policy has `rules`, not a `value`");
                self.mistake(policy.span.clone(), message);
                None
            }
            PolicyBody::Rules(rules) if rules.is_empty() => {
                self.mistake(policy.span.clone(), "the policy has no rules".to_owned());
                None
            }
            PolicyBody::Rules(rules) => {
                let compiled = rules
                    .iter()
                    .filter_map(|rule| {
                        Some(Rule {
                            condition: self.condition(&rule.expression, RULE)?,
                            message: rule.message.clone(),
                        })
                    })
                    .collect();
                Some(Body::Rules(compiled))
            }
            PolicyBody::Value(value) => {
                let expression = self.expression(value)?;
                self.result(&expression);
                Some(Body::Value(Box::new(expression)))
            }
        }
    }

    /// Reports a value that is not of the type that the decision point has.
    fn result(&mut self, expression: &Expression) {
        let point = self.policy.point;
        let found = expression.type_.mask();
        let (wanted, name) = match ResultType::of(point) {
            ResultType::Count => (mask::INT | mask::UINT, "an int".to_owned()),
            ResultType::Score => (mask::NUMBER, "a number".to_owned()),
            ResultType::Word(words) => (mask::TEXT, one_of(words)),
        };
        if found & wanted == 0 {
            let message = format!(
                "{} must be {name}, this is {}",
                point.as_str(),
                expression.type_
            );
            let mistake = self.located(expression.span(), message);
            let counts = wanted & mask::NUMBER != 0;
            let hint = match found {
                mask::DOUBLE => Some("round it with int(math.ceil(..))"),
                mask::TEXT if counts => Some("convert it with int(..)"),
                mask::OPTIONAL => Some("`.orValue(..)` gives a value where there is none"),
                _ => None,
            };
            self.mistakes.push(PolicyMistake {
                hint: hint.map(str::to_owned),
                ..mistake
            });
            return;
        }
        let ResultType::Word(words) = ResultType::of(point) else {
            return;
        };
        for (text, offset) in expression.results() {
            if words.contains(&text.as_str()) {
                continue;
            }
            let close = closest(text, words.iter().copied());
            let span = expression.source.locate(*offset, text.len() + 2);
            let message = format!("{} must be {name}, this is \"{text}\"", point.as_str());
            let mistake = self.located(span, message);
            self.mistakes.push(PolicyMistake {
                hint: close.map(|close| format!("did you mean \"{close}\"?")),
                ..mistake
            });
        }
    }

    fn condition(&mut self, source: &SourceText, what: &str) -> Option<Expression> {
        let expression = self.expression(source)?;
        if expression.type_.mask() & mask::BOOL == 0 {
            let message = format!("{what} must be a bool, this is {}", expression.type_);
            self.mistake(expression.span(), message);
        } else if expression.reads_nothing() {
            self.always_the_same(&expression, what);
        }
        Some(expression)
    }

    /// Reports a condition that nothing can change.
    fn always_the_same(&mut self, condition: &Expression, what: &str) {
        let is_match = what != RULE;
        let (outcome, consequence) = match (condition.constant(), is_match) {
            (Some(true), true) => ("true", "so it does nothing"),
            (Some(true), false) => ("true", "so it never withholds anything"),
            (Some(false), true) => (
                "false",
                "so the policy never applies and no rule is reached",
            ),
            (Some(false), false) => ("false", "so it withholds everything, always"),
            (None, _) => ("the same", "so it decides nothing"),
        };
        let message =
            format!("{what} must depend on something; this is always {outcome}, {consequence}");
        let mistake = self.located(condition.span(), message);
        self.mistakes.push(PolicyMistake {
            hint: Some("read a variable or a parameter in it".to_owned()),
            ..mistake
        });
    }

    fn expression(&mut self, source: &SourceText) -> Option<Expression> {
        let declared = Declared {
            point: Some(self.policy.point),
            params: Arc::clone(&self.params),
            variables: &self.declared,
            all_variables: &self.all,
        };
        let number = self.numbers.as_mut().and_then(Iterator::next);
        match Expression::compile(source, &declared, number) {
            Ok(expression) => {
                self.default_forms(&expression);
                self.unknown_names(&expression);
                Some(expression)
            }
            Err(mistakes) => {
                for Mistake {
                    offset,
                    length,
                    message,
                    hint,
                } in mistakes
                {
                    let mistake = self.located(source.locate(offset, length), message);
                    self.mistakes.push(PolicyMistake { hint, ..mistake });
                }
                None
            }
        }
    }

    /// Reports metrics and calendars that no document defines.
    fn unknown_names(&mut self, expression: &Expression) {
        for used in &expression.names {
            if let NameOf::Literal(name) = &used.name
                && let Some((message, hint)) = used.named.mistake(name, self.definitions)
            {
                let span = expression.source.locate(used.offset, used.length);
                let mistake = self.located(span, message);
                self.mistakes.push(PolicyMistake {
                    hint: Some(hint),
                    ..mistake
                });
            }
        }
    }

    /// Reports parameters whose default does not have the form that an expression needs.
    fn default_forms(&mut self, expression: &Expression) {
        for used in &expression.uses {
            let param = &used.param;
            let declared = self.policy.params.get(param);
            let default = declared.and_then(|param| param.default.as_ref()?.as_str());
            if let Some(default) = default
                && let Some((why, hint)) = used.form.mistake(default)
            {
                let length = "params.".len() + param.len();
                let span = expression.source.locate(used.offset, length);
                let mistake = self.located(span, format!("the default of `{param}`: {why}"));
                self.mistakes.push(PolicyMistake {
                    hint: hint.map(str::to_owned),
                    ..mistake
                });
            }
        }
    }

    fn located(&self, span: SourceSpan, message: String) -> PolicyMistake {
        PolicyMistake {
            policy: Some(self.policy.name.clone()),
            binding: None,
            span,
            message,
            hint: None,
        }
    }

    fn mistake(&mut self, span: SourceSpan, message: String) {
        let mistake = self.located(span, message);
        self.mistakes.push(mistake);
    }
}
