//! Evaluation of one bound policy over the facts of one group.

use std::collections::{BTreeMap, BTreeSet};

use cel::Context;
use drover_model::{Binding, Bounds, Change, Outcome, Reason, SizeDecision, Value, Verdict};

use crate::check::Reads;
use crate::expression::Expression;
use crate::facts::GroupFacts;
use crate::functions;
use crate::limits::BINDING_STEPS_MAX;
use crate::policy::{Body, CompiledPolicy};
use crate::value::{self, Boxed};
use crate::variables;

/// Returns a context with the variables in `roots`, shared by all policies of one call.
pub(crate) fn context<'a>(
    roots: &BTreeSet<&'static str>,
    facts: GroupFacts<'a>,
    change: Option<&'a Change>,
) -> Context<'a, 'a> {
    let values = roots
        .iter()
        .filter_map(|name| Some((*name, variables::read(name, facts, change)?)));
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

/// One bound policy, about to be evaluated.
pub(crate) struct Scope<'s, 'v> {
    policy: &'v CompiledPolicy,
    binding: Option<&'s Binding>,
    context: Context<'s, 'v>,
    /// The variables that could not be evaluated, and why. They have no value; an expression that
    /// does not need them after all is not affected.
    failed: BTreeMap<String, String>,
    /// What is left of the budget of the binding.
    budget: u64,
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
            budget: BINDING_STEPS_MAX,
        }
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

    /// Evaluates everything that depends on the reason, for one reason.
    pub(crate) fn for_reason(&mut self, reason: Reason) -> Vec<Verdict> {
        let mut inner = Scope {
            policy: self.policy,
            binding: self.binding,
            context: self.context.new_inner_scope(),
            failed: self.failed.clone(),
            budget: self.budget,
        };
        inner.set("reason", value::text(reason.as_str()));
        inner.variables(|reads| reads.roots.contains("reason"));
        let verdicts = inner.rules();
        self.budget = inner.budget;
        verdicts
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
