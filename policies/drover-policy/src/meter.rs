//! The budget of an evaluation. The evaluator has none of its own: expressions are rewritten when
//! they are compiled so that every loop and everything that can grow goes through here.
//!
//! The meter belongs to the thread, because the evaluator's functions cannot carry state. An
//! evaluation runs on one thread from beginning to end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use cel::ExecutionError;
use cel::common::types::{CelBytes, CelList, CelMap, CelOptional, CelString};
use cel::common::value::Val;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

use crate::limits::{
    BINDING_STEPS_MAX, BYTES_PER_STEP, EXPRESSION_STEPS_MAX, REGEX_BYTES_MAX, REGEX_CACHE_MAX,
    REGEX_STEPS, STEPS_PER_ELEMENT, STEPS_PER_ENTRY,
};

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
    static PATTERNS: RefCell<BTreeMap<String, Pattern>> = const { RefCell::new(BTreeMap::new()) };
}

/// What an evaluation used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) steps: u64,
    /// Whether it ran out. The result then means nothing: `||` may have hidden the error.
    pub(crate) exhausted: bool,
}

/// The budget of several evaluations together, and what they used of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    total: u64,
    left: u64,
    largest: u64,
    evaluations: u64,
}

impl Budget {
    /// Returns a budget of so many steps.
    pub(crate) fn new(steps: u64) -> Self {
        Self {
            total: steps,
            left: steps,
            largest: 0,
            evaluations: 0,
        }
    }

    /// Returns how many steps are left.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Returns how many steps were taken.
    pub(crate) fn spent(&self) -> u64 {
        self.total - self.left
    }

    /// Returns how many the largest evaluation took.
    pub(crate) fn largest(&self) -> u64 {
        self.largest
    }

    /// Returns how many evaluations there were.
    pub(crate) fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// Takes off what an evaluation used.
    pub(crate) fn take(&mut self, used: Used) {
        self.left = self.left.saturating_sub(used.steps);
        self.largest = self.largest.max(used.steps);
        self.evaluations += 1;
    }
}

/// Runs `evaluate` with `budget` steps.
pub(crate) fn metered<T>(budget: u64, evaluate: impl FnOnce() -> T) -> (T, Used) {
    LEFT.set(budget);
    EXHAUSTED.set(false);
    let result = evaluate();
    let used = Used {
        steps: budget - LEFT.get(),
        exhausted: EXHAUSTED.get(),
    };
    (result, used)
}

/// The text of an exhausted budget.
pub(crate) fn exhausted() -> String {
    format!(
        "the budget of {EXPRESSION_STEPS_MAX} steps is used up; loop once over the instances \
         (a variable can hold a filtered list) instead of inside another loop"
    )
}

/// The text of an exhausted budget of a whole binding.
pub(crate) fn exhausted_binding() -> String {
    format!(
        "the budget of {BINDING_STEPS_MAX} steps of the binding in one pass is used up by all \
         expressions of the policy together; let fewer of them loop over the instances"
    )
}

/// Takes `steps` off the budget.
pub(crate) fn charge(steps: u64) -> Result<(), ExecutionError> {
    if let Some(left) = LEFT.get().checked_sub(steps) {
        LEFT.set(left);
        return Ok(());
    }
    LEFT.set(0);
    EXHAUSTED.set(true);
    Err(ExecutionError::function_error("budget", exhausted()))
}

/// Takes off the budget what reading so many bytes costs.
pub(crate) fn charge_bytes(bytes: usize) -> Result<(), ExecutionError> {
    charge((bytes / BYTES_PER_STEP) as u64)
}

/// Takes off the budget what a value weighs: steps per element, and per some bytes of text.
pub(crate) fn charge_weight(value: &dyn Val) -> Result<(), ExecutionError> {
    charge_scaled(value, 1)
}

/// Takes off the budget `factor` times what a value weighs.
pub(crate) fn charge_scaled(value: &dyn Val, factor: u64) -> Result<(), ExecutionError> {
    charge(factor)?;
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return charge(factor * (text.inner().len() / BYTES_PER_STEP) as u64);
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return charge(factor * (bytes.inner().len() / BYTES_PER_STEP) as u64);
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return list.inner().iter().try_for_each(|element| {
            charge(factor * (STEPS_PER_ELEMENT - 1))?;
            charge_scaled(element.as_ref(), factor)
        });
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        return map.inner().iter().try_for_each(|(key, value)| {
            charge(factor * STEPS_PER_ENTRY)?;
            charge_scaled(key.inner(), factor)?;
            charge_scaled(value.as_ref(), factor)
        });
    }
    if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        return match optional.option() {
            Some(held) => charge_scaled(held, factor),
            None => Ok(()),
        };
    }
    Ok(())
}

/// A compiled regular expression.
struct Pattern {
    regex: Regex,
    /// In how many places of the expression a search may be at once: it may look at each of them for
    /// each byte of a text, `[ab]*a[ab]{400}c` at 400.
    places: u64,
}

/// Compiles a regular expression within limits.
pub(crate) fn pattern(source: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(source)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the regular expression is too large once compiled".to_owned()
        }
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default();
            format!(
                "not a regular expression: {}",
                reason.trim_start_matches("error: ")
            )
        }
    })
}

/// Returns in how many places of an expression a search may be.
fn places(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            places(&repetition.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => places(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts
            .iter()
            .fold(0, |sum: u64, part| sum.saturating_add(places(part))),
    }
}

/// Compiles a regular expression, and counts its places.
fn counted(source: &str) -> Result<Pattern, String> {
    let regex = pattern(source)?;
    let hir = regex_syntax::parse(source).map_err(|error| error.to_string())?;
    let places = places(&hir).max(1);
    Ok(Pattern { regex, places })
}

/// Runs `work` with the regular expression `source`, compiled once per thread.
fn with_pattern<T>(
    function: &str,
    source: &str,
    work: impl FnOnce(&Pattern) -> Result<T, ExecutionError>,
) -> Result<T, ExecutionError> {
    PATTERNS.with_borrow_mut(|patterns| {
        if let Some(pattern) = patterns.get(source) {
            return work(pattern);
        }
        charge(REGEX_STEPS)?;
        let pattern =
            counted(source).map_err(|why| ExecutionError::function_error(function, why))?;
        let result = work(&pattern);
        if patterns.len() < REGEX_CACHE_MAX {
            patterns.insert(source.to_owned(), pattern);
        }
        result
    })
}

impl Pattern {
    fn charge(&self, bytes: usize) -> Result<(), ExecutionError> {
        let looks = self.places.saturating_mul(bytes as u64);
        charge(1 + looks / BYTES_PER_STEP as u64)
    }
}

/// Returns whether `text` matches the regular expression `source`.
pub(crate) fn matches(text: &str, source: &str) -> Result<bool, ExecutionError> {
    with_pattern("matches", source, |pattern| {
        pattern.charge(text.len())?;
        Ok(pattern.regex.is_match(text))
    })
}

/// Returns what matches the regular expression `source` in `text`, at most `most` times. Each search
/// is charged for up to the end of the text, because it may look as far before it finds the next.
pub(crate) fn find_all<'t>(
    text: &'t str,
    source: &str,
    most: usize,
) -> Result<Vec<&'t str>, ExecutionError> {
    with_pattern("find", source, |pattern| {
        let mut all = Vec::new();
        pattern.charge(text.len())?;
        for found in pattern.regex.find_iter(text).take(most) {
            all.push(found.as_str());
            pattern.charge(text.len() - found.end())?;
        }
        Ok(all)
    })
}
