//! The functions that the compiler puts into expressions to bound them, under names that no source
//! can spell.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the evaluator prescribes the signature"
)]

use cel::ExecutionError;
use cel::common::types::{CelBool, CelBytes, CelInt, CelList, CelMap, CelString, CelUInt, Kind};
use cel::common::value::{CowVal, Val};

use crate::limits::{STEPS_PER_COMPARISON, TEXT_BYTES_MAX};
use crate::meter;
use crate::value;

pub(crate) const TICK: &str = "@tick";
pub(crate) const ADD: &str = "@add";
pub(crate) const KEEP: &str = "@keep";
pub(crate) const CONTAINS: &str = "@contains";
pub(crate) const EQUAL: &str = "@equal";
pub(crate) const RANGE: &str = "@range";
pub(crate) const MATCHES: &str = "@matches";

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

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
        let why = "the text would be too long";
        return Err(ExecutionError::function_error("+", why));
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
    meter::charge_scaled(left, STEPS_PER_COMPARISON)?;
    Ok(truth(left.equals(right) || right.equals(left)))
}

/// Returns what a loop goes over: a list as it is, and the keys of a map in order. The evaluator's
/// own maps are hashed, so their order would differ from run to run.
pub(crate) fn range<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let value = arguments[0].as_ref();
    if value.get_type().kind() != Kind::Map {
        return Ok(arguments.swap_remove(0));
    }
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
    Ok(CowVal::owned(CelList::from(keys)))
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
