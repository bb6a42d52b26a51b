//! What decisions take: time and steps.

use std::time::Duration;

use drover_model::{BindingName, Change, DecisionPoint, Outcome, PolicyName, Verdict};

use crate::decide;
use crate::definitions::Definitions;
use crate::facts::GroupFacts;
use crate::limits::{BINDING_STEPS_MAX, EXPRESSION_STEPS_MAX};
use crate::meter::Budget;
use crate::set::{self, Bound, PolicySet};
use crate::stack::on_large_stack;

#[cfg(test)]
mod tests;

/// What the decision of one binding about one group took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The time of the evaluation. The thread that it runs on is started before.
    pub elapsed: Duration,
    /// Steps of all evaluations together.
    pub steps: u64,
    /// Most steps that there may be.
    pub steps_max: u64,
    /// Steps of the largest evaluation of one expression.
    pub largest: u64,
    /// Most steps that one may have.
    pub largest_max: u64,
    /// How many evaluations of an expression there were.
    pub evaluations: u64,
    /// The first thing that could not be evaluated.
    pub error: Option<String>,
}

impl PolicySet {
    /// Returns the bindings with their policies, in order of the bindings' names.
    pub fn bindings(&self) -> Vec<(BindingName, PolicyName, Option<DecisionPoint>)> {
        let bound = self.all_bound().iter();
        bound
            .map(|bound| {
                let binding = &bound.binding;
                (binding.name.clone(), binding.policy.clone(), bound.point())
            })
            .collect()
    }

    /// Decides once about a group with one binding, whatever its selector, and returns what that
    /// took. `clock` says the time since some moment; `change` is what policies about changes judge.
    ///
    /// # Errors
    ///
    /// A binding that is unknown or cannot be asked.
    pub fn measure(
        &self,
        binding: &BindingName,
        facts: &GroupFacts<'_>,
        change: &Change,
        clock: &(dyn Fn() -> Duration + Sync),
    ) -> Result<Measured, String> {
        let bound = self.bound(binding);
        let bound = bound.ok_or_else(|| format!("there is no binding {binding}"))?;
        on_large_stack(|| measure_here(bound, *facts, change, &self.definitions, clock))
            .unwrap_or_else(|failure| Err(failure.explain()))
    }
}

fn measure_here(
    bound: &Bound,
    facts: GroupFacts<'_>,
    change: &Change,
    definitions: &Definitions,
    clock: &(dyn Fn() -> Duration + Sync),
) -> Result<Measured, String> {
    let before = clock();
    let of_change = matches!(
        bound.point(),
        Some(DecisionPoint::Validate | DecisionPoint::Approve)
    );
    let (trace, budget): (Vec<Verdict>, Budget) = if of_change {
        set::measure_change(bound, facts, change, definitions)?
    } else {
        let (decisions, budget) = decide::measure(bound, facts, definitions)?;
        let gates = decisions.gates.into_values().flatten();
        (decisions.trace.into_iter().chain(gates).collect(), budget)
    };
    let elapsed = clock().saturating_sub(before);
    let error = trace.iter().find_map(|verdict| match &verdict.outcome {
        Outcome::Error(why) => Some(why.clone()),
        Outcome::Passed | Outcome::Failed => None,
    });
    Ok(Measured {
        elapsed,
        steps: budget.spent(),
        steps_max: BINDING_STEPS_MAX,
        largest: budget.largest(),
        largest_max: EXPRESSION_STEPS_MAX,
        evaluations: budget.evaluations(),
        error,
    })
}
