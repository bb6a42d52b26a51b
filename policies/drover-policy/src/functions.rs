//! The functions that expressions may call, and the guards that the compiler puts into them.
//!
//! What is not in [`SIGNATURES`] does not exist for a policy, even where the evaluator knows it:
//! functions that multiply text (`join`, `replace`, `format`) are left out on purpose.

use std::sync::{Arc, LazyLock};

use cel::common::types::{
    CelBool, CelBytes, CelInt, CelList, CelMap, CelString, DYN_TYPE, INT_TYPE, Kind, STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use crate::limits::{LIST_ELEMENTS_MAX, TEXT_BYTES_MAX};
use crate::meter;
use crate::types::{Type, mask};
use crate::value;

/// The guards, under names that no source can spell.
pub(crate) mod guard {
    pub(crate) const TICK: &str = "@tick";
    pub(crate) const ADD: &str = "@add";
    pub(crate) const KEEP: &str = "@keep";
    pub(crate) const CONTAINS: &str = "@contains";
    pub(crate) const EQUAL: &str = "@equal";
    pub(crate) const RANGE: &str = "@range";
    pub(crate) const MATCHES: &str = "@matches";
}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(environment_with_guards()));

/// Returns the environment that every expression is compiled and evaluated in.
pub(crate) fn environment() -> Arc<Env> {
    Arc::clone(&ENVIRONMENT)
}

fn environment_with_guards() -> Env {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::math)
        .and_then(|()| env.add_extension(cel::extensions::strings))
        .and_then(|()| env.add_overload(guard::TICK, guard::TICK, vec![INT_TYPE], tick))
        .and_then(|()| env.add_overload(guard::ADD, guard::ADD, vec![DYN_TYPE, DYN_TYPE], add))
        .and_then(|()| env.add_overload(guard::KEEP, guard::KEEP, vec![DYN_TYPE], keep))
        .and_then(|()| {
            let arguments = vec![DYN_TYPE, DYN_TYPE];
            env.add_overload(guard::CONTAINS, guard::CONTAINS, arguments, contains)
        })
        .and_then(|()| {
            env.add_overload(guard::EQUAL, guard::EQUAL, vec![DYN_TYPE, DYN_TYPE], equal)
        })
        .and_then(|()| env.add_overload(guard::RANGE, guard::RANGE, vec![DYN_TYPE], range))
        .and_then(|()| {
            let arguments = vec![STRING_TYPE, STRING_TYPE];
            env.add_overload(guard::MATCHES, guard::MATCHES, arguments, matches)
        })
        .expect("names and signatures of the guards are distinct");
    env
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

static TRUE: CelBool = CelBool::TRUE;
static FALSE: CelBool = CelBool::FALSE;

fn truth<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::Borrowed(if value { &TRUE } else { &FALSE })
}

/// Charges one round of a loop and returns true.
fn tick<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let steps = arguments[0].downcast_ref::<CelInt>();
    meter::charge(steps.map_or(1, |steps| *steps.inner() as u64))?;
    Ok(truth(true))
}

/// Adds, after charging for what the result will weigh.
fn add<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [left, right] = [arguments[0].as_ref(), arguments[1].as_ref()];
    let too_large = |what: &str| Err(ExecutionError::function_error("+", what));
    if let (Some(left), Some(right)) = (bytes_of(left), bytes_of(right))
        && left + right > TEXT_BYTES_MAX
    {
        return too_large("the text would be too long");
    }
    if let (Some(left), Some(right)) = (
        left.downcast_ref::<CelList<'_>>(),
        right.downcast_ref::<CelList<'_>>(),
    ) && left.inner().len() + right.inner().len() > LIST_ELEMENTS_MAX
    {
        return too_large("the list would be too long");
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
fn keep<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    meter::charge_weight(arguments[0].as_ref())?;
    Ok(arguments.swap_remove(0))
}

/// Looks for the first argument in the second, after charging for the search through a list.
fn contains<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
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
fn equal<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [left, right] = [arguments[0].as_ref(), arguments[1].as_ref()];
    meter::charge_weight(left)?;
    Ok(truth(left.equals(right) || right.equals(left)))
}

/// Returns what a loop goes over: a list as it is, and the keys of a map in order. The evaluator's
/// own maps are hashed, so their order would differ from run to run.
fn range<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
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
    } else if let Some(value) = key.downcast_ref::<cel::common::types::CelUInt>() {
        (1, i128::from(*value.inner()), String::new())
    } else if let Some(value) = key.downcast_ref::<CelString<'_>>() {
        (2, 0, value.inner().to_owned())
    } else {
        (3, 0, String::new())
    }
}

fn matches<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let text = arguments[0].downcast_ref::<CelString<'_>>();
    let pattern = arguments[1].downcast_ref::<CelString<'_>>();
    let (Some(text), Some(pattern)) = (text, pattern) else {
        let [text, pattern] = [arguments[0].as_ref(), arguments[1].as_ref()];
        return Err(no_overload("matches", text, pattern));
    };
    meter::matches(text.inner(), pattern.inner()).map(truth)
}

/// One overload of a function.
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    /// Whether it is called on its first argument, as in `text.contains("x")`.
    pub(crate) member: bool,
    /// The sets of types that each argument may have, see [`mask`]; of a member, the receiver first.
    pub(crate) arguments: &'static [u32],
    pub(crate) result: fn() -> Type,
}

/// A function whose result is as long as what it is given, so that the compiler guards it.
pub(crate) fn grows(result: &Type) -> bool {
    let set = result.mask();
    set == mask::ANY || set & (mask::TEXT | mask::BYTES | mask::LIST | mask::MAP) != 0
}

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

/// The macros and their numbers of arguments.
pub(crate) const MACROS: [(&str, &str); 7] = [
    ("has", "has(record.field)"),
    ("all", "list.all(element, condition)"),
    ("exists", "list.exists(element, condition)"),
    ("exists_one", "list.exists_one(element, condition)"),
    ("existsOne", "list.existsOne(element, condition)"),
    ("filter", "list.filter(element, condition)"),
    ("map", "list.map(element, value)"),
];

const fn of(name: &'static str, arguments: &'static [u32], result: fn() -> Type) -> Signature {
    Signature {
        name,
        member: false,
        arguments,
        result,
    }
}

const fn on(name: &'static str, arguments: &'static [u32], result: fn() -> Type) -> Signature {
    Signature {
        name,
        member: true,
        arguments,
        result,
    }
}

const fn at(name: &'static str) -> [Signature; 2] {
    [
        on(name, &[mask::TIMESTAMP], || Type::Int),
        on(name, &[mask::TIMESTAMP, mask::TEXT], || Type::Int),
    ]
}

const SIZED: u32 = mask::TEXT | mask::BYTES | mask::LIST | mask::MAP;

/// Functions beside the accessors of timestamps.
static SIGNATURES: &[Signature] = &[
    of("size", &[SIZED], || Type::Int),
    on("size", &[SIZED], || Type::Int),
    of(
        "int",
        &[mask::NUMBER | mask::TEXT | mask::TIMESTAMP],
        || Type::Int,
    ),
    of("uint", &[mask::NUMBER | mask::TEXT], || Type::Uint),
    of("double", &[mask::NUMBER | mask::TEXT], || Type::Double),
    of(
        "string",
        &[mask::NUMBER | mask::TEXT | mask::BOOL | mask::BYTES | mask::TIMESTAMP | mask::DURATION],
        || Type::Text,
    ),
    of("bool", &[mask::BOOL | mask::TEXT], || Type::Bool),
    of("bytes", &[mask::TEXT | mask::BYTES], || Type::Bytes),
    of(
        "timestamp",
        &[mask::TEXT | mask::TIMESTAMP | mask::INT],
        || Type::Timestamp,
    ),
    of("duration", &[mask::TEXT | mask::DURATION], || {
        Type::Duration
    }),
    of("dyn", &[mask::ANY], || Type::Dyn),
    of("matches", &[mask::TEXT, mask::TEXT], || Type::Bool),
    on("matches", &[mask::TEXT, mask::TEXT], || Type::Bool),
    on("contains", &[mask::TEXT, mask::TEXT], || Type::Bool),
    on("startsWith", &[mask::TEXT, mask::TEXT], || Type::Bool),
    on("endsWith", &[mask::TEXT, mask::TEXT], || Type::Bool),
    on("charAt", &[mask::TEXT, mask::INT], || Type::Text),
    on("indexOf", &[mask::TEXT, mask::TEXT], || Type::Int),
    on("indexOf", &[mask::TEXT, mask::TEXT, mask::INT], || {
        Type::Int
    }),
    on("lastIndexOf", &[mask::TEXT, mask::TEXT], || Type::Int),
    on("lowerAscii", &[mask::TEXT], || Type::Text),
    on("upperAscii", &[mask::TEXT], || Type::Text),
    on("trim", &[mask::TEXT], || Type::Text),
    on("reverse", &[mask::TEXT], || Type::Text),
    on("split", &[mask::TEXT, mask::TEXT], || {
        Type::list(Type::Text)
    }),
    on("split", &[mask::TEXT, mask::TEXT, mask::INT], || {
        Type::list(Type::Text)
    }),
    on("substring", &[mask::TEXT, mask::INT], || Type::Text),
    on("substring", &[mask::TEXT, mask::INT, mask::INT], || {
        Type::Text
    }),
    on("getHours", &[mask::DURATION], || Type::Int),
    on("getMinutes", &[mask::DURATION], || Type::Int),
    on("getSeconds", &[mask::DURATION], || Type::Int),
    on("getMilliseconds", &[mask::DURATION], || Type::Int),
    of("optional.of", &[mask::ANY], || Type::Dyn),
    of("optional.ofNonZeroValue", &[mask::ANY], || Type::Dyn),
    of("optional.none", &[], || Type::Dyn),
    on("hasValue", &[mask::DYN], || Type::Bool),
    on("value", &[mask::DYN], || Type::Dyn),
    on("or", &[mask::DYN, mask::DYN], || Type::Dyn),
    on("orValue", &[mask::DYN, mask::ANY], || Type::Dyn),
    of("math.ceil", &[mask::DOUBLE], || Type::Double),
    of("math.floor", &[mask::DOUBLE], || Type::Double),
    of("math.round", &[mask::DOUBLE], || Type::Double),
    of("math.trunc", &[mask::DOUBLE], || Type::Double),
    of("math.abs", &[mask::INT], || Type::Int),
    of("math.abs", &[mask::NUMBER], || Type::Dyn),
    of("math.sign", &[mask::INT], || Type::Int),
    of("math.sign", &[mask::NUMBER], || Type::Dyn),
    of("math.@max", &[mask::INT, mask::INT], || Type::Int),
    of("math.@max", &[mask::NUMBER | mask::LIST], || Type::Dyn),
    of("math.@max", &[mask::NUMBER, mask::NUMBER], || Type::Dyn),
    of("math.@min", &[mask::INT, mask::INT], || Type::Int),
    of("math.@min", &[mask::NUMBER | mask::LIST], || Type::Dyn),
    of("math.@min", &[mask::NUMBER, mask::NUMBER], || Type::Dyn),
];

static TIME_SIGNATURES: LazyLock<Vec<Signature>> =
    LazyLock::new(|| ACCESSORS.into_iter().flat_map(at).collect());

/// Returns every overload.
pub(crate) fn signatures() -> impl Iterator<Item = &'static Signature> {
    SIGNATURES.iter().chain(TIME_SIGNATURES.iter())
}
