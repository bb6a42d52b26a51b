//! One expression by itself, checked and evaluated as a policy of some decision point would have it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use drover_model::{DecisionPoint, SourceText};

use crate::check::Declared;
use crate::definitions::Definitions;
use crate::expression::Expression;
use crate::given::{Given, Params};
use crate::language::{Datum, datum_as};
use crate::limits::EXPRESSION_STEPS_MAX;
use crate::meter::Budget;
use crate::params::type_of_value;
use crate::policy::PolicyMistake;
use crate::stack::on_large_stack;
use crate::types::Fields;

#[cfg(test)]
mod tests;

/// What an expression came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// Its value.
    pub value: Datum,
    /// Its type as far as the check knows it, such as `list(instance)`.
    pub type_: String,
    /// How many steps it took.
    pub steps: u64,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// What is given makes no sense.
    Given(String),
    /// The check found mistakes, with their places in the source.
    Refused(Vec<PolicyMistake>),
    /// Its evaluation failed.
    Failed(String),
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(why) | Self::Failed(why) => f.write_str(why),
            Self::Refused(mistakes) => {
                let messages: Vec<&str> = mistakes.iter().map(|it| it.message.as_str()).collect();
                f.write_str(&messages.join("; "))
            }
        }
    }
}

impl std::error::Error for EvalError {}

/// Evaluates an expression with the variables that policies of `point` have, and `params` as they are
/// given. None: those that all points have. `definitions`: the metrics and calendars that it may name.
///
/// # Errors
///
/// See [`EvalError`].
pub fn evaluate(
    source: &SourceText,
    point: Option<DecisionPoint>,
    given: Given<'_>,
    definitions: &Definitions,
) -> Result<Evaluated, EvalError> {
    on_large_stack(|| evaluate_here(source, point, given, definitions))
        .unwrap_or_else(|failure| Err(EvalError::Failed(failure.explain())))
}

fn evaluate_here(
    source: &SourceText,
    point: Option<DecisionPoint>,
    given: Given<'_>,
    definitions: &Definitions,
) -> Result<Evaluated, EvalError> {
    let values = given
        .values(point, &Params::Any, definitions)
        .map_err(EvalError::Given)?;
    let params = values.params.iter();
    let declared = Declared {
        point,
        params: Arc::new(Fields {
            name: "params",
            types: params
                .map(|(name, value)| (name.clone(), type_of_value(value)))
                .collect(),
        }),
        variables: &BTreeMap::new(),
        all_variables: &BTreeSet::new(),
    };
    let expression = Expression::compile(source, &declared, None).map_err(|mistakes| {
        let mistakes = mistakes.into_iter().map(|mistake| PolicyMistake {
            policy: None,
            binding: None,
            span: source.locate(mistake.offset, mistake.length),
            message: mistake.message,
            hint: mistake.hint,
        });
        EvalError::Refused(mistakes.collect())
    })?;
    let context = values.context();
    let mut budget = Budget::new(EXPRESSION_STEPS_MAX);
    let value = expression
        .evaluate(&context, &mut budget)
        .map_err(EvalError::Failed)?;
    Ok(Evaluated {
        value: datum_as(value.as_ref(), &expression.type_),
        type_: expression.type_.to_string(),
        steps: budget.spent(),
    })
}
