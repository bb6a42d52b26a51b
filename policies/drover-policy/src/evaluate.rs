//! Evaluation of one bound policy over the facts of one group.

use std::collections::{BTreeMap, BTreeSet};

use cel::Context;
use drover_model::{Binding, Bounds, Change, Outcome, SizeDecision, Value, Verdict};

use crate::check::Reads;
use crate::definitions::Definitions;
use crate::expression::Expression;
use crate::facts::GroupFacts;
use crate::functions;
use crate::limits::BINDING_STEPS_MAX;
use crate::meter::Budget;
use crate::policy::{Body, CompiledPolicy, ResultType};
use crate::value::{self, Boxed};
use crate::variables;

/// Returns a context with the variables in `roots`, shared by all policies of one call.
pub(crate) fn context<'a>(
    roots: &BTreeSet<&'static str>,
    facts: GroupFacts<'a>,
    change: Option<&'a Change>,
    definitions: &'a Definitions,
) -> Context<'a, 'a> {
    let values = roots
        .iter()
        .filter_map(|name| Some((*name, variables::read(name, facts, change, definitions)?)));
    context_of(values)
}

/// Returns a context with `values`.
pub(crate) fn context_of<'a>(
    values: impl IntoIterator<Item = (&'static str, Boxed<'a>)>,
) -> Context<'a, 'a> {
    let mut context = Context::with_env(functions::environment());
    for (name, value) in values {
        context.add_variable_as_val(name, value);
    }
    context
}

/// The variables that differ between the questions of one decision point.
const VARYING: [&str; 8] = [
    "reason", "instance", "zone", "signals", "field", "class", "old", "new",
];

/// Which clause of a policy decided, and whether it could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Clause {
    /// Its position among the rules. None: a condition of `match`.
    rule: Option<usize>,
    broken: bool,
}

impl Clause {
    /// Returns the one clause that a policy of one value is.
    pub(crate) fn of_value(broken: bool) -> Self {
        let rule = Some(0);
        Self { rule, broken }
    }
}

/// A value, or the verdict on why there is none.
pub(crate) type Valued<T> = Result<(T, Verdict), Box<Verdict>>;

/// One bound policy, about to be evaluated.
pub(crate) struct Scope<'s, 'v> {
    policy: &'v CompiledPolicy,
    binding: Option<&'s Binding>,
    context: Context<'s, 'v>,
    /// The variables that could not be evaluated, and why. They have no value; an expression that
    /// does not need them after all is not affected.
    failed: BTreeMap<String, String>,
    /// What is left of the budget of the binding.
    budget: Budget,
}

impl<'s, 'v> Scope<'s, 'v> {
    pub(crate) fn new(
        policy: &'v CompiledPolicy,
        params: &'v BTreeMap<String, Value>,
        binding: &'s Binding,
        parent: &'s Context<'v, 'v>,
    ) -> Self {
        let mut scope = Self::unbound(policy, parent);
        scope.binding = Some(binding);
        scope.set("params", value::map(params));
        scope
    }

    /// Returns the scope of a policy without binding, for its tests.
    pub(crate) fn unbound(policy: &'v CompiledPolicy, parent: &'s Context<'_, 'v>) -> Self {
        Self {
            policy,
            binding: None,
            context: parent.new_inner_scope(),
            failed: BTreeMap::new(),
            budget: Budget::new(BINDING_STEPS_MAX),
        }
    }

    /// Returns the budget of the binding.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    /// Returns the variables that could not be evaluated, and why.
    pub(crate) fn failures(&self) -> &BTreeMap<String, String> {
        &self.failed
    }

    fn set(&mut self, name: &str, value: Boxed<'v>) {
        self.context.add_variable_as_val(name, value);
    }

    /// Evaluates the policy's variables that are `wanted`, in order.
    pub(crate) fn variables(&mut self, wanted: impl Fn(&Reads) -> bool) {
        for (name, expression) in &self.policy.variables {
            if !wanted(&expression.reads) {
                continue;
            }
            match expression.evaluate(&self.context, &mut self.budget) {
                Ok(value) => self
                    .context
                    .add_variable_as_val(format!("variables.{name}"), value),
                Err(why) => {
                    let why = self.cause(expression, why);
                    self.failed.insert(name.clone(), why);
                }
            }
        }
    }

    /// Evaluates the policy's variables that are the same for every question of its decision point.
    pub(crate) fn common_variables(&mut self) {
        self.variables(|reads| !VARYING.iter().any(|name| reads.roots.contains(name)));
    }

    /// Asks with the variables that differ from question to question, all that the decision point has.
    pub(crate) fn ask<T>(
        &mut self,
        question: Vec<(&'static str, Boxed<'v>)>,
        answer: impl FnOnce(&mut Scope<'_, 'v>) -> T,
    ) -> T {
        let mut inner = Scope {
            policy: self.policy,
            binding: self.binding,
            context: self.context.new_inner_scope(),
            failed: self.failed.clone(),
            budget: self.budget,
        };
        for (name, value) in question {
            inner.set(name, value);
        }
        inner.variables(|reads| VARYING.iter().any(|name| reads.roots.contains(name)));
        let answer = answer(&mut inner);
        self.budget = inner.budget;
        answer
    }

    /// Returns what a failed variable makes of an error of an expression that reads it.
    fn cause(&self, expression: &Expression, why: String) -> String {
        let reads = &expression.reads.variables;
        match self.failed.iter().find(|(name, _)| reads.contains(*name)) {
            // It failed because of another variable, which says more.
            Some((_, cause)) if cause.starts_with("variables.") => cause.clone(),
            Some((name, cause)) => format!("variables.{name}: {cause}"),
            None => why,
        }
    }

    /// Returns whether the policy applies, by its conditions; or the verdict that nobody knows. One
    /// condition that does not hold is enough, whatever the others are.
    fn applies(&mut self) -> Result<bool, Box<Verdict>> {
        let mut first_error = None;
        for condition in &self.policy.matches {
            match condition.condition(&self.context, &mut self.budget) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    first_error.get_or_insert((condition, why));
                }
            }
        }
        match first_error {
            None => Ok(true),
            Some((condition, why)) => Err(Box::new(self.error(condition, why))),
        }
    }

    /// Evaluates the rules. Empty: the policy does not apply.
    pub(crate) fn rules(&mut self) -> Vec<Verdict> {
        match self.applies() {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(verdict) => return vec![*verdict],
        }
        let Body::Rules(rules) = &self.policy.body else {
            return Vec::new();
        };
        let mut verdicts = Vec::new();
        for rule in rules {
            verdicts.push(
                match rule.condition.condition(&self.context, &mut self.budget) {
                    Ok(holds) => {
                        let outcome = if holds {
                            Outcome::Passed
                        } else {
                            Outcome::Failed
                        };
                        self.verdict(&rule.condition, outcome, rule.message.clone())
                    }
                    Err(why) => self.error(&rule.condition, why),
                },
            );
        }
        verdicts
    }

    /// Returns the first rule that does not hold, with a verdict unless it is `known` already. None:
    /// all of them hold, or the policy does not apply.
    pub(crate) fn violation(
        &mut self,
        known: &BTreeMap<Clause, usize>,
    ) -> Option<(Clause, Option<Verdict>)> {
        match self.applies() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(verdict) => {
                let clause = Clause {
                    rule: None,
                    broken: true,
                };
                return Some((clause, Some(*verdict)));
            }
        }
        let policy = self.policy;
        let Body::Rules(rules) = &policy.body else {
            return None;
        };
        for (position, rule) in rules.iter().enumerate() {
            let result = rule.condition.condition(&self.context, &mut self.budget);
            if result == Ok(true) {
                continue;
            }
            let clause = Clause {
                rule: Some(position),
                broken: result.is_err(),
            };
            let verdict = (!known.contains_key(&clause)).then(|| match result {
                Ok(_) => self.verdict(&rule.condition, Outcome::Failed, rule.message.clone()),
                Err(why) => self.error(&rule.condition, why),
            });
            return Some((clause, verdict));
        }
        None
    }

    /// Evaluates a policy of one value with `value`; `say` puts it into words. None: it does not apply.
    fn valued<T>(
        &mut self,
        value: impl FnOnce(&Expression, &Context<'s, 'v>, &mut Budget) -> Result<T, String>,
        say: impl FnOnce(&T) -> String,
    ) -> Option<Valued<T>> {
        match self.applies() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(verdict) => return Some(Err(verdict)),
        }
        let policy = self.policy;
        let Body::Value(expression) = &policy.body else {
            return None;
        };
        Some(match value(expression, &self.context, &mut self.budget) {
            Ok(value) => {
                let message = say(&value);
                Ok((value, self.verdict(expression, Outcome::Passed, message)))
            }
            Err(why) => Err(Box::new(self.error(expression, why))),
        })
    }

    /// Evaluates a whole number that is not negative.
    pub(crate) fn count(&mut self, unit: &str) -> Option<Valued<u32>> {
        self.valued(
            |expression, context, budget| {
                let number = expression.number(context, budget)?;
                Ok(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
            },
            |count| format!("{count} {unit}"),
        )
    }

    /// Evaluates a number of any kind.
    pub(crate) fn score(&mut self) -> Option<Valued<f64>> {
        self.valued(Expression::score, |score| format!("a score of {score}"))
    }

    /// Evaluates to one of the words of the decision point.
    pub(crate) fn word(&mut self) -> Option<Valued<&'static str>> {
        let words = match ResultType::of(self.policy.point) {
            ResultType::Word(words) => words,
            ResultType::Count | ResultType::Score => &[],
        };
        self.valued(
            |expression, context, budget| expression.word(words, context, budget),
            |word| (*word).to_owned(),
        )
    }

    /// Evaluates the size within the bounds. None: the policy does not apply.
    pub(crate) fn size(&mut self, bounds: Option<Bounds>) -> Option<SizeDecision> {
        let (asked, verdict) = match self.size_unbounded()? {
            SizeDecision::Chosen { asked, verdict, .. } => (asked, verdict),
            failed @ SizeDecision::Failed(_) => return Some(failed),
        };
        let Some(bounds) = bounds else {
            let why = "the group has no spec.bounds, which a size policy needs";
            return Some(SizeDecision::Failed(Verdict {
                outcome: Outcome::Error(why.to_owned()),
                message: format!("could not be used: {why}"),
                ..verdict
            }));
        };
        let size = asked.clamp(i64::from(bounds.min), i64::from(bounds.max));
        let message = if size == asked {
            format!("size {size}")
        } else {
            format!(
                "asked for {asked}, which spec.bounds of {} to {} make {size}",
                bounds.min, bounds.max
            )
        };
        Some(SizeDecision::Chosen {
            size: size as u32,
            asked,
            verdict: Verdict { message, ..verdict },
        })
    }

    /// Evaluates what the policy asks for. None: it does not apply.
    pub(crate) fn size_unbounded(&mut self) -> Option<SizeDecision> {
        match self.applies() {
            Ok(true) => {}
            Ok(false) => return None,
            Err(verdict) => return Some(SizeDecision::Failed(*verdict)),
        }
        let Body::Value(expression) = &self.policy.body else {
            return None;
        };
        Some(match expression.number(&self.context, &mut self.budget) {
            Ok(asked) => SizeDecision::Chosen {
                size: u32::try_from(asked.max(0)).unwrap_or(u32::MAX),
                asked,
                verdict: self.verdict(expression, Outcome::Passed, format!("size {asked}")),
            },
            Err(why) => SizeDecision::Failed(self.error(expression, why)),
        })
    }

    fn error(&self, expression: &Expression, why: String) -> Verdict {
        let why = self.cause(expression, why);
        let message = format!("could not be evaluated: {why}");
        self.verdict(expression, Outcome::Error(why), message)
    }

    fn verdict(&self, expression: &Expression, outcome: Outcome, message: String) -> Verdict {
        let (binding, enforcement) = match self.binding {
            Some(binding) => (binding.name.clone(), binding.enforcement),
            None => unbound_name(),
        };
        Verdict {
            policy: self.policy.name.clone(),
            binding,
            point: self.policy.point,
            enforcement,
            outcome,
            message,
            span: expression.span(),
            values: expression.values(&self.context),
            digest: self.policy.digest.clone(),
        }
    }
}

/// The binding of a policy that is tested by itself.
fn unbound_name() -> (drover_model::BindingName, drover_model::Enforcement) {
    let name = drover_model::BindingName::parse("test").expect("a DNS label");
    (name, drover_model::Enforcement::Audit)
}
