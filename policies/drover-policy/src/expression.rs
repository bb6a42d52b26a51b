//! One expression, compiled: checked, guarded, ready to be evaluated.

use std::collections::BTreeMap;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, CelUInt};
use cel::common::value::Val;
use cel::{Context, Value};
use drover_model::{SourceSpan, SourceText};

use crate::check::{self, Declared, NameUse, ParamUse, Reads};
use crate::explain::explain;
use crate::functions;
use crate::guard;
use crate::limits::{EXPRESSION_STEPS_MAX, VALUES_MAX};
use crate::meter::{self, Budget};
use crate::parse::{Mistake, Parsed, parse};
use crate::policy::one_of;
use crate::stack::contained;
use crate::trace::{Key, Part, outline};
use crate::types::Type;
use crate::value::{Boxed, show};

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) source: SourceText,
    root: IdedExpr,
    pub(crate) type_: Type,
    pub(crate) reads: Reads,
    /// The values that it reads, by the name that people know them under.
    values: Vec<(String, IdedExpr)>,
    /// The parameters that it uses as something with a form of its own.
    pub(crate) uses: Vec<ParamUse>,
    /// The metrics and calendars that it names.
    pub(crate) names: Vec<NameUse>,
    /// The texts that it may result in as they are written, and where.
    results: Vec<(String, usize)>,
    /// Its number among the expressions of the policy, and its parts. None: it is not traced.
    pub(crate) traced: Option<(u32, Part)>,
}

impl Expression {
    /// Compiles an expression, or returns every mistake in it. With a number it is traced under that.
    /// Must run on a large stack.
    pub(crate) fn compile(
        source: &SourceText,
        declared: &Declared<'_>,
        number: Option<u32>,
    ) -> Result<Self, Vec<Mistake>> {
        let parsed = parse(&source.text).map_err(|mistake| vec![mistake])?;
        let checked = check::check(&source.text, &parsed, declared);
        if !checked.mistakes.is_empty() {
            return Err(checked.mistakes);
        }
        let values = checked
            .values
            .into_iter()
            .take(VALUES_MAX)
            .map(|(name, node)| (name, guard::guarded(&node, &checked.types)))
            .collect();
        let traced = number.map(|number| {
            let outline = outline(&source.text, &parsed, &checked.types);
            (number, outline)
        });
        let root = match &traced {
            None => guard::guarded(&parsed.root, &checked.types),
            Some((number, outline)) => {
                let parts = outline.flat().into_iter();
                let keys = parts.map(|part| (part.id, Key::new(*number, part.id)));
                guard::traced(&parsed.root, &checked.types, &keys.collect())
            }
        };
        Ok(Self {
            source: source.clone(),
            root,
            type_: checked.type_,
            reads: checked.reads,
            values,
            uses: checked.uses,
            names: checked.names,
            results: literal_results(&parsed),
            traced,
        })
    }

    /// Returns whether the result is always the same.
    pub(crate) fn reads_nothing(&self) -> bool {
        self.values.is_empty() && self.reads.roots.is_empty()
    }

    /// Returns what the condition always is, if it reads nothing and can be evaluated.
    pub(crate) fn constant(&self) -> Option<bool> {
        if !self.reads_nothing() {
            return None;
        }
        let context = Context::with_env(functions::environment());
        let mut budget = Budget::new(EXPRESSION_STEPS_MAX);
        self.condition(&context, &mut budget).ok()
    }

    /// Returns the place of the expression: of its first line where it has several.
    pub(crate) fn span(&self) -> SourceSpan {
        let trimmed = self.source.text.trim_start();
        let start = self.source.text.len() - trimmed.len();
        self.source.locate(start, trimmed.len().max(1))
    }

    /// Evaluates the expression, and takes what it uses off `budget`.
    pub(crate) fn evaluate<'v>(
        &self,
        context: &Context<'_, 'v>,
        budget: &mut Budget,
    ) -> Result<Boxed<'v>, String> {
        let allowance = EXPRESSION_STEPS_MAX.min(budget.left());
        let (result, used) = meter::metered(allowance, || {
            contained(|| {
                Value::resolve_val(&self.root, context).map(cel::common::value::CowVal::into_owned)
            })
        });
        budget.take(used);
        if used.exhausted && allowance < EXPRESSION_STEPS_MAX {
            return Err(meter::exhausted_binding());
        }
        if used.exhausted {
            return Err(meter::exhausted());
        }
        match result {
            Err(failure) => Err(failure.explain()),
            Ok(Err(error)) => Err(explain(&error)),
            Ok(Ok(value)) => Ok(value),
        }
    }

    /// Evaluates a condition. Anything but a boolean is an error.
    pub(crate) fn condition(
        &self,
        context: &Context<'_, '_>,
        budget: &mut Budget,
    ) -> Result<bool, String> {
        let value = self.evaluate(context, budget)?;
        match value.downcast_ref::<CelBool>() {
            Some(value) => Ok(*value.inner()),
            None => Err(wrong_type("a bool", value.as_ref())),
        }
    }

    /// Evaluates a number. Anything but a whole number is an error.
    pub(crate) fn number(
        &self,
        context: &Context<'_, '_>,
        budget: &mut Budget,
    ) -> Result<i64, String> {
        let value = self.evaluate(context, budget)?;
        if let Some(value) = value.downcast_ref::<CelInt>() {
            return Ok(*value.inner());
        }
        if let Some(value) = value.downcast_ref::<CelUInt>() {
            return Ok(i64::try_from(*value.inner()).unwrap_or(i64::MAX));
        }
        Err(wrong_type("an int", value.as_ref()))
    }

    /// Evaluates a number of any kind. Anything else, and what is no number, is an error.
    pub(crate) fn score(
        &self,
        context: &Context<'_, '_>,
        budget: &mut Budget,
    ) -> Result<f64, String> {
        let value = self.evaluate(context, budget)?;
        let int = value.downcast_ref::<CelInt>().map(|it| *it.inner() as f64);
        let uint = value.downcast_ref::<CelUInt>().map(|it| *it.inner() as f64);
        let double = value.downcast_ref::<CelDouble>().map(|it| *it.inner());
        match int.or(uint).or(double) {
            Some(score) if score.is_finite() => Ok(score),
            Some(_) | None => Err(wrong_type("a number", value.as_ref())),
        }
    }

    /// Evaluates to one of `words`. Anything else is an error.
    pub(crate) fn word(
        &self,
        words: &'static [&'static str],
        context: &Context<'_, '_>,
        budget: &mut Budget,
    ) -> Result<&'static str, String> {
        let value = self.evaluate(context, budget)?;
        let text = value.downcast_ref::<CelString<'_>>();
        let found = text.and_then(|text| words.iter().find(|word| **word == text.inner()));
        found
            .copied()
            .ok_or_else(|| wrong_type(&one_of(words), value.as_ref()))
    }

    /// Returns the texts that the expression may result in as they are written, and where.
    pub(crate) fn results(&self) -> &[(String, usize)] {
        &self.results
    }

    /// Returns the values that the expression reads, as text.
    pub(crate) fn values(&self, context: &Context<'_, '_>) -> BTreeMap<String, String> {
        let shown = |node: &IdedExpr| {
            let (result, _) = meter::metered(EXPRESSION_STEPS_MAX, || {
                contained(|| Value::resolve_val(node, context).map(|value| show(value.as_ref())))
            });
            match result {
                Ok(Ok(text)) => text,
                _ => "(no value)".to_owned(),
            }
        };
        self.values
            .iter()
            .map(|(name, node)| (name.clone(), shown(node)))
            .collect()
    }
}

/// Returns the text literals that an expression, or a branch of its conditionals, consists of.
fn literal_results(parsed: &Parsed) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut left = vec![&parsed.root];
    while let Some(node) = left.pop() {
        match &node.expr {
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                left.extend(call.args.iter().skip(1).rev());
            }
            Expr::Literal(LiteralValue::String(text)) => {
                let offset = parsed.offsets.offset_for(node.id).unwrap_or((0, 0)).0;
                found.push((text.inner().to_owned(), offset as usize));
            }
            _ => {}
        }
    }
    found
}

fn wrong_type(wanted: &str, value: &dyn Val) -> String {
    format!("the result is {}, not {wanted}", show(value))
}
