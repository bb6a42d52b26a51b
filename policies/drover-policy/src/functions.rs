//! The functions that expressions may call.
//!
//! What is not in [`signatures`] does not exist for a policy, even where the evaluator knows it. Each
//! entry says what the check must know (arguments, result) and what the guards must know: what a call
//! costs beside the one step that every part of an expression in a loop costs.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "the evaluator prescribes the signature"
)]

use std::sync::{Arc, LazyLock};

use cel::common::types::{DYN_TYPE, INT_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use crate::guards;
use crate::types::{Type, mask};

mod folds;
mod format;
mod lists;
mod macros;
mod named;
mod network;
mod opaque;
mod quantity;
mod table;
mod text;
mod url;
mod version;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use lists::{MERGE_MAPS, PAIRS, TO_MAP};
pub(crate) use macros::{block_index, is_bind};
pub(crate) use named::{IS_HOLIDAY, SHOWN_HOLIDAY};
pub(crate) use opaque::{
    Held, Opaque, show as show_opaque, type_name as opaque_type_name, type_of as opaque_type,
};
pub(crate) use table::signatures;
pub(crate) use text::too_long;
pub(crate) use window::{IN_WINDOW, cron_mistake};

pub(crate) type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
pub(crate) type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(new_environment()));

/// Returns the environment that every expression is compiled and evaluated in.
pub(crate) fn environment() -> Arc<Env> {
    Arc::clone(&ENVIRONMENT)
}

/// Returns the environment with a namespace of its own, which names are looked up in first.
pub(crate) fn environment_in(container: &str) -> Result<Arc<Env>, DeclarationError> {
    if container.is_empty() {
        return Ok(environment());
    }
    let mut env = new_environment();
    env.set_container(container)?;
    Ok(Arc::new(env))
}

fn new_environment() -> Env {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::math)
        .and_then(|()| env.add_extension(cel::extensions::strings))
        .and_then(|()| env.add_extension(cel::extensions::lists))
        .and_then(|()| env.add_extension(cel::extensions::encoders))
        .and_then(|()| env.add_extension(add_guards))
        .and_then(|()| env.add_extension(crate::trace::extension))
        .and_then(|()| env.add_extension(macros::extension))
        .and_then(|()| env.add_extension(text::extension))
        .and_then(|()| env.add_extension(lists::extension))
        .and_then(|()| env.add_extension(folds::extension))
        .and_then(|()| env.add_extension(format::extension))
        .and_then(|()| env.add_extension(network::extension))
        .and_then(|()| env.add_extension(version::extension))
        .and_then(|()| env.add_extension(quantity::extension))
        .and_then(|()| env.add_extension(url::extension))
        .and_then(|()| env.add_extension(window::extension))
        .and_then(|()| env.add_extension(named::extension))
        .expect("names and signatures are distinct");
    env
}

fn add_guards(env: &mut Env) -> Result<(), DeclarationError> {
    let one = || vec![DYN_TYPE];
    let two = || vec![DYN_TYPE, DYN_TYPE];
    let texts = vec![STRING_TYPE, STRING_TYPE];
    env.add_overload(guards::TICK, "tick", vec![INT_TYPE], guards::tick)?;
    env.add_overload(guards::ADD, "add", two(), guards::add)?;
    env.add_overload(guards::KEEP, "keep", one(), guards::keep)?;
    env.add_overload(guards::SHORT, "short", one(), guards::short)?;
    env.add_overload(guards::READ, "read", one(), guards::read)?;
    env.add_overload(guards::WALK, "walk", one(), guards::walk)?;
    env.add_overload(guards::SORT, "order", one(), guards::order)?;
    env.add_overload(guards::PAIRWISE, "pairwise", one(), guards::pairwise)?;
    env.add_overload(guards::CONTAINS, "contains", two(), guards::contains)?;
    env.add_overload(guards::EQUAL, "equal", two(), guards::equal)?;
    env.add_overload(guards::RANGE, "range", one(), guards::range)?;
    env.add_overload(guards::MATCHES, "matches", texts, guards::matches)
}

/// One overload of a function.
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    /// Whether it is called on its first argument, as in `text.contains("x")`.
    pub(crate) member: bool,
    /// The sets of types that each argument may have, see [`mask`]; of a member, the receiver first.
    pub(crate) arguments: &'static [u32],
    /// The type of the result, from those of the arguments.
    pub(crate) result: fn(&[Type]) -> Type,
    pub(crate) cost: Cost,
}

/// What a call costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Nothing worth counting.
    Fixed,
    /// It reads its texts to their end.
    Read,
    /// It walks through its arguments, lists and all.
    Walk,
    /// Like [`Cost::Walk`], and the result may be a much longer text.
    Grow,
    /// It sorts its first argument.
    Sort,
    /// It compares each element of its first argument with each.
    Pairwise,
    /// It is called under this name, and charges by itself.
    Own(&'static str),
}

/// Returns what a call of a function costs; of all its overloads, the same.
pub(crate) fn cost(name: &str, member: bool) -> Option<Cost> {
    signatures()
        .find(|signature| signature.name == name && signature.member == member)
        .map(|signature| signature.cost)
}

/// A function whose result is as long as what it is given, so that the compiler guards it.
pub(crate) fn grows(result: &Type) -> bool {
    let set = result.mask();
    let long = mask::TEXT | mask::BYTES | mask::LIST | mask::MAP | mask::OPTIONAL;
    set == mask::ANY || set & long != 0
}

/// The names in front of functions, as in `math.abs(x)`.
pub(crate) const NAMESPACES: [&str; 9] = [
    "math", "optional", "strings", "lists", "sets", "base64", "cel", "ip", "format",
];

/// Accessors of a timestamp that change at most once a quarter of an hour.
pub(crate) const COARSE_ACCESSORS: [&str; 7] = [
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
];

/// Accessors of a timestamp, which take a time zone.
pub(crate) const ACCESSORS: [&str; 10] = [
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

/// The macros: name and use. What is called on a value has a dot in front of its name.
pub(crate) const MACROS: [(&str, &str); 27] = [
    ("metric", "metric(name)"),
    ("isHoliday", "isHoliday(calendar)"),
    ("isHoliday", "isHoliday(calendar, time)"),
    ("has", "has(record.field)"),
    ("all", "list.all(element, condition)"),
    ("all", "map.all(key, value, condition)"),
    ("exists", "list.exists(element, condition)"),
    ("exists", "map.exists(key, value, condition)"),
    ("exists_one", "list.exists_one(element, condition)"),
    ("exists_one", "map.exists_one(key, value, condition)"),
    ("existsOne", "list.existsOne(element, condition)"),
    ("existsOne", "map.existsOne(key, value, condition)"),
    ("filter", "list.filter(element, condition)"),
    ("map", "list.map(element, value)"),
    ("map", "list.map(element, condition, value)"),
    ("transformList", "map.transformList(key, value, result)"),
    (
        "transformList",
        "map.transformList(key, value, condition, result)",
    ),
    ("transformMap", "map.transformMap(key, value, result)"),
    (
        "transformMap",
        "map.transformMap(key, value, condition, result)",
    ),
    (
        "transformMapEntry",
        "map.transformMapEntry(key, value, {newKey: result})",
    ),
    (
        "transformMapEntry",
        "map.transformMapEntry(key, value, condition, {newKey: result})",
    ),
    ("sortBy", "list.sortBy(element, key)"),
    ("optMap", "optional.optMap(name, value)"),
    ("optFlatMap", "optional.optFlatMap(name, optional)"),
    ("cel.bind", "cel.bind(name, value, expression)"),
    ("cel.block", "cel.block([values], expression)"),
    ("cel.index", "cel.index(number)"),
];

/// Returns what a name of other languages is called in this one.
pub(crate) fn synonym(name: &str) -> Option<&'static str> {
    Some(match name {
        "length" | "len" | "count" => "size",
        "any" | "some" => "exists",
        "every" => "all",
        "select" | "where" => "filter",
        "includes" => "contains",
        "lower" | "toLower" | "toLowerCase" | "lowercase" => "lowerAscii",
        "upper" | "toUpper" | "toUpperCase" | "uppercase" => "upperAscii",
        "max" | "math.max" => "math.greatest",
        "min" | "math.min" => "math.least",
        _ => return None,
    })
}

/// Returns the name that people write for a function.
pub(crate) fn written_name(name: &'static str) -> &'static str {
    match name {
        "math.@max" => "math.greatest",
        "math.@min" => "math.least",
        name => name,
    }
}

/// Returns the failure of a function of ours, in words that stand alone.
pub(crate) fn failure(message: impl ToString) -> ExecutionError {
    ExecutionError::function_error("@", message)
}

/// Returns the failure of a call whose arguments have the wrong types.
pub(crate) fn no_overload(name: &str, arguments: &[CowVal<'_, '_>]) -> ExecutionError {
    let types = arguments
        .iter()
        .map(|argument| argument.get_type().name().to_owned())
        .collect();
    ExecutionError::no_such_overload(name, types)
}

/// Returns a value as the result of a function.
pub(crate) fn owned<'b, 'v>(value: impl Val + 'v) -> CowVal<'b, 'v> {
    CowVal::Owned(Box::new(value))
}
