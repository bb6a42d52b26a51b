//! The functions that the compiler puts into expressions to bound them, under names that no source
//! can spell.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the evaluator prescribes the signature"
)]

use cel::ExecutionError;
use cel::common::types::{CelBool, CelBytes, CelInt, CelList, CelMap, CelString, CelUInt, Kind};
use cel::common::value::{CowVal, Val};

use crate::functions::{Arguments, Outcome, failure, too_long};
use crate::limits::{STEPS_PER_COMPARISON, STEPS_PER_SORTED, TEXT_BYTES_MAX};
use crate::meter;
use crate::value;

pub(crate) const TICK: &str = "@tick";
pub(crate) const ADD: &str = "@add";
pub(crate) const KEEP: &str = "@keep";
pub(crate) const CONTAINS: &str = "@contains";
pub(crate) const EQUAL: &str = "@equal";
pub(crate) const SHORT: &str = "@short";
pub(crate) const READ: &str = "@read";
pub(crate) const WALK: &str = "@walk";
pub(crate) const SORT: &str = "@sort";
pub(crate) const PAIRWISE: &str = "@pairwise";
pub(crate) const RANGE: &str = "@range";
pub(crate) const MATCHES: &str = "@matches";

static TRUE: CelBool = CelBool::TRUE;
static FALSE: CelBool = CelBool::FALSE;

fn truth<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::Borrowed(if value { &TRUE } else { &FALSE })
}

/// Charges one round of a loop and returns true.
pub(crate) fn tick<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let steps = arguments[0].downcast_ref::<CelInt>();
    meter::charge(steps.map_or(1, |steps| *steps.inner() as u64))?;
    Ok(truth(true))
}

/// Adds, after charging for what the result will weigh.
pub(crate) fn add<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [left, right] = [arguments[0].as_ref(), arguments[1].as_ref()];
    if let (Some(left), Some(right)) = (bytes_of(left), bytes_of(right))
        && left + right > TEXT_BYTES_MAX
    {
        return Err(failure(too_long()));
    }
    meter::charge_weight(left)?;
    meter::charge_weight(right)?;
    let sum = left
        .as_adder()
        .ok_or_else(|| no_overload("_+_", left, right))?
        .add(right)
        .map_err(|error| match error {
            ExecutionError::UnsupportedBinaryOperator(..) => no_overload("_+_", left, right),
            other => other,
        })?;
    Ok(CowVal::Owned(sum.into_owned()))
}

fn bytes_of(value: &dyn Val) -> Option<usize> {
    let text = value.downcast_ref::<CelString<'_>>();
    let bytes = value.downcast_ref::<CelBytes<'_>>();
    text.map(|text| text.inner().len())
        .or_else(|| bytes.map(|bytes| bytes.inner().len()))
}

fn no_overload(operator: &str, left: &dyn Val, right: &dyn Val) -> ExecutionError {
    let types = vec![
        left.get_type().name().to_owned(),
        right.get_type().name().to_owned(),
    ];
    ExecutionError::no_such_overload(operator, types)
}

/// Charges for a value that a loop keeps, or that a function made.
pub(crate) fn keep<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    meter::charge_weight(arguments[0].as_ref())?;
    Ok(arguments.swap_remove(0))
}

/// Charges for the result of a function that may be much longer than what it was given.
pub(crate) fn short<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    match bytes_of(arguments[0].as_ref()) {
        Some(bytes) if bytes > TEXT_BYTES_MAX => Err(failure(too_long())),
        _ => keep(arguments),
    }
}

/// Charges for reading a text to its end.
pub(crate) fn read<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    if let Some(bytes) = bytes_of(arguments[0].as_ref()) {
        meter::charge_bytes(bytes)?;
    }
    Ok(arguments.swap_remove(0))
}

/// Charges for walking through a value.
pub(crate) fn walk<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    keep(arguments)
}

/// Charges for sorting a list.
pub(crate) fn order<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    meter::charge_scaled(arguments[0].as_ref(), STEPS_PER_SORTED)?;
    Ok(arguments.swap_remove(0))
}

/// Charges for comparing each element of a list with each.
pub(crate) fn pairwise<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let list = arguments[0].downcast_ref::<CelList<'_>>();
    let count = list.map_or(1, |list| list.inner().len() as u64);
    meter::charge_scaled(arguments[0].as_ref(), count.max(1))?;
    Ok(arguments.swap_remove(0))
}

/// Looks for the first argument in the second, after charging for the search through a list.
pub(crate) fn contains<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [needle, hay] = [arguments[0].as_ref(), arguments[1].as_ref()];
    if let Some(list) = hay.downcast_ref::<CelList<'_>>() {
        meter::charge(1 + list.inner().len() as u64)?;
    }
    hay.as_container()
        .ok_or_else(|| no_overload("@in", needle, hay))?
        .contains(needle)
        .map(truth)
}

/// Compares values that may be large, in both directions: the left operand decides in the
/// evaluator, and its own types do not know ours.
pub(crate) fn equal<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [left, right] = [arguments[0].as_ref(), arguments[1].as_ref()];
    same(left, right).map(truth)
}

/// Returns whether two values are equal, after charging for the comparison.
pub(crate) fn same(left: &dyn Val, right: &dyn Val) -> Result<bool, ExecutionError> {
    let weighty = [left, right]
        .into_iter()
        .all(|value| value.as_indexer().is_some() || value.as_sizer().is_some());
    let factor = if weighty { STEPS_PER_COMPARISON } else { 1 };
    meter::charge_scaled(left, factor)?;
    Ok(left.equals(right) || right.equals(left))
}

/// Returns what a loop goes over: a list as it is, and the keys of a map in order. The evaluator's
/// own maps are hashed, so their order would differ from run to run.
pub(crate) fn range<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let value = arguments[0].as_ref();
    if value.get_type().kind() != Kind::Map {
        return Ok(arguments.swap_remove(0));
    }
    Ok(CowVal::owned(CelList::from(keys(value)?)))
}

/// Returns the keys of a map, in order.
pub(crate) fn keys<'v>(value: &(dyn Val + 'v)) -> Result<Vec<value::Boxed<'v>>, ExecutionError> {
    let mut keys: Vec<value::Boxed<'v>> = Vec::new();
    if let Some(iterable) = value.as_iterable() {
        let mut all = iterable.iter();
        while let Some(key) = all.next() {
            meter::charge(1)?;
            keys.push(key.clone_as_boxed());
        }
    }
    if value.downcast_ref::<CelMap<'_>>().is_some() {
        keys.sort_by_cached_key(|key| sort_key(key.as_ref()));
    }
    Ok(keys)
}

fn sort_key(key: &dyn Val) -> (u8, i128, String) {
    if let Some(value) = key.downcast_ref::<CelBool>() {
        (0, i128::from(*value.inner()), String::new())
    } else if let Some(value) = key.downcast_ref::<CelInt>() {
        (1, i128::from(*value.inner()), String::new())
    } else if let Some(value) = key.downcast_ref::<CelUInt>() {
        (1, i128::from(*value.inner()), String::new())
    } else if let Some(value) = key.downcast_ref::<CelString<'_>>() {
        (2, 0, value.inner().to_owned())
    } else {
        (3, 0, String::new())
    }
}

pub(crate) fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let text = arguments[0].downcast_ref::<CelString<'_>>();
    let pattern = arguments[1].downcast_ref::<CelString<'_>>();
    let (Some(text), Some(pattern)) = (text, pattern) else {
        let [text, pattern] = [arguments[0].as_ref(), arguments[1].as_ref()];
        return Err(no_overload("matches", text, pattern));
    };
    meter::matches(text.inner(), pattern.inner()).map(truth)
}
