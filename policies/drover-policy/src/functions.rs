//! The functions that expressions may call.
//!
//! What is not in [`SIGNATURES`] does not exist for a policy, even where the evaluator knows it:
//! functions that multiply text (`join`, `replace`, `format`) are left out on purpose.

use std::sync::{Arc, LazyLock};

use cel::Env;
use cel::common::types::{DYN_TYPE, INT_TYPE, STRING_TYPE};

use crate::guards;
use crate::types::{Type, mask};

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(environment_with_guards()));

/// Returns the environment that every expression is compiled and evaluated in.
pub(crate) fn environment() -> Arc<Env> {
    Arc::clone(&ENVIRONMENT)
}

fn environment_with_guards() -> Env {
    let mut env = Env::stdlib();
    let two = || vec![DYN_TYPE, DYN_TYPE];
    let texts = vec![STRING_TYPE, STRING_TYPE];
    env.add_extension(cel::extensions::math)
        .and_then(|()| env.add_extension(cel::extensions::strings))
        .and_then(|()| env.add_overload(guards::TICK, "tick", vec![INT_TYPE], guards::tick))
        .and_then(|()| env.add_overload(guards::ADD, "add", two(), guards::add))
        .and_then(|()| env.add_overload(guards::KEEP, "keep", vec![DYN_TYPE], guards::keep))
        .and_then(|()| env.add_overload(guards::CONTAINS, "contains", two(), guards::contains))
        .and_then(|()| env.add_overload(guards::EQUAL, "equal", two(), guards::equal))
        .and_then(|()| env.add_overload(guards::RANGE, "range", vec![DYN_TYPE], guards::range))
        .and_then(|()| env.add_overload(guards::MATCHES, "matches", texts, guards::matches))
        .expect("names and signatures of the guards are distinct");
    env
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
