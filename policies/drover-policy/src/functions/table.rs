//! The table of all functions.

use std::sync::LazyLock;

use super::{ACCESSORS, Cost, Signature, folds, format, lists, text, window};
use crate::guards;
use crate::types::{Type, mask};

const fn of(
    name: &'static str,
    arguments: &'static [u32],
    result: fn(&[Type]) -> Type,
) -> Signature {
    Signature {
        name,
        member: false,
        arguments,
        result,
        cost: Cost::Read,
    }
}

const fn on(
    name: &'static str,
    arguments: &'static [u32],
    result: fn(&[Type]) -> Type,
) -> Signature {
    Signature {
        member: true,
        ..of(name, arguments, result)
    }
}

impl Signature {
    const fn costs(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    const fn fixed(self) -> Self {
        self.costs(Cost::Fixed)
    }

    const fn own(self, name: &'static str) -> Self {
        self.costs(Cost::Own(name))
    }
}

const fn at(name: &'static str) -> [Signature; 2] {
    [
        on(name, &[mask::TIMESTAMP], int).fixed(),
        on(name, &[mask::TIMESTAMP, mask::TEXT], int).fixed(),
    ]
}

fn bool(_: &[Type]) -> Type {
    Type::Bool
}

fn int(_: &[Type]) -> Type {
    Type::Int
}

fn uint(_: &[Type]) -> Type {
    Type::Uint
}

fn double(_: &[Type]) -> Type {
    Type::Double
}

fn string(_: &[Type]) -> Type {
    Type::Text
}

fn bytes(_: &[Type]) -> Type {
    Type::Bytes
}

fn texts(_: &[Type]) -> Type {
    Type::list(Type::Text)
}

fn any(_: &[Type]) -> Type {
    Type::Dyn
}

/// The type of the first argument.
fn same(arguments: &[Type]) -> Type {
    arguments
        .first()
        .map_or(Type::Dyn, |type_| type_.present().clone())
}

/// The list that is called on, or a list of anything.
fn same_list(arguments: &[Type]) -> Type {
    Type::list(arguments.first().map_or(Type::Dyn, Type::element))
}

/// The type of the elements of the list that is called on.
fn element(arguments: &[Type]) -> Type {
    arguments.first().map_or(Type::Dyn, Type::element)
}

fn named_format(_: &[Type]) -> Type {
    Type::Format
}

fn held(arguments: &[Type]) -> Type {
    arguments.first().map_or(Type::Dyn, Type::held)
}

const SIZED: u32 = mask::TEXT | mask::BYTES | mask::LIST | mask::MAP;
const LISTS: &[u32] = &[mask::LIST, mask::LIST];
const TEXTS: &[u32] = &[mask::TEXT, mask::TEXT];
const INTS: &[u32] = &[mask::INT, mask::INT];
const SAME_QUANTITIES: &[u32] = &[mask::QUANTITY, mask::QUANTITY];
const VERSIONS: &[u32] = &[mask::SEMVER, mask::SEMVER];

/// The standard library: conversions, texts, times.
static STANDARD: &[Signature] = &[
    of("size", &[SIZED], int),
    on("size", &[SIZED], int),
    of("int", &[mask::NUMBER | mask::TEXT | mask::TIMESTAMP], int),
    of("uint", &[mask::NUMBER | mask::TEXT], uint),
    of("double", &[mask::NUMBER | mask::TEXT], double),
    of(
        "string",
        &[mask::NUMBER
            | mask::TEXT
            | mask::BOOL
            | mask::BYTES
            | mask::TIMESTAMP
            | mask::DURATION
            | mask::IP
            | mask::CIDR],
        string,
    ),
    of("bool", &[mask::BOOL | mask::TEXT], bool),
    of("bytes", &[mask::TEXT | mask::BYTES], bytes),
    of(
        "timestamp",
        &[mask::TEXT | mask::TIMESTAMP | mask::INT],
        |_| Type::Timestamp,
    ),
    of("duration", &[mask::TEXT | mask::DURATION], |_| {
        Type::Duration
    }),
    of("dyn", &[mask::ANY], any).fixed(),
    of("type", &[mask::ANY], |_| Type::Kind).fixed(),
    of("matches", TEXTS, bool).own(guards::MATCHES),
    on("matches", TEXTS, bool).own(guards::MATCHES),
    on("contains", TEXTS, bool),
    on("startsWith", TEXTS, bool),
    on("endsWith", TEXTS, bool),
    on("getHours", &[mask::DURATION], int).fixed(),
    on("getMinutes", &[mask::DURATION], int).fixed(),
    on("getSeconds", &[mask::DURATION], int).fixed(),
    on("getMilliseconds", &[mask::DURATION], int).fixed(),
    of("optional.of", &[mask::ANY], |arguments| {
        Type::optional(same(arguments))
    })
    .fixed(),
    of("optional.ofNonZeroValue", &[mask::ANY], |arguments| {
        Type::optional(same(arguments))
    })
    .fixed(),
    of("optional.none", &[], |_| Type::optional(Type::Dyn)).fixed(),
    on("hasValue", &[mask::OPTIONAL], bool).fixed(),
    on("value", &[mask::OPTIONAL], held).fixed(),
    on("or", &[mask::OPTIONAL, mask::OPTIONAL], |arguments| {
        arguments
            .iter()
            .cloned()
            .reduce(Type::join)
            .unwrap_or(Type::Dyn)
    })
    .fixed(),
    on(
        "orValue",
        &[mask::OPTIONAL, mask::ANY],
        |arguments| match arguments {
            [optional, other] => optional.held().join(other.clone()),
            _ => Type::Dyn,
        },
    )
    .fixed(),
];

/// Texts, bytes and regular expressions.
static TEXT: &[Signature] = &[
    on("charAt", &[mask::TEXT, mask::INT], string),
    on("indexOf", TEXTS, int).own(text::INDEX_OF),
    on("indexOf", &[mask::LIST, mask::ANY], int).own(text::INDEX_OF),
    on("indexOf", &[mask::TEXT, mask::TEXT, mask::INT], int).own(text::INDEX_OF),
    on("lastIndexOf", TEXTS, int).own(text::LAST_INDEX_OF),
    on("lastIndexOf", &[mask::LIST, mask::ANY], int).own(text::LAST_INDEX_OF),
    on("lastIndexOf", &[mask::TEXT, mask::TEXT, mask::INT], int).own(text::LAST_INDEX_OF),
    on("lowerAscii", &[mask::TEXT], string),
    on("upperAscii", &[mask::TEXT], string),
    on("trim", &[mask::TEXT], string),
    on("reverse", &[mask::TEXT], string),
    on("reverse", &[mask::LIST], same_list),
    on("split", TEXTS, texts),
    on("split", &[mask::TEXT, mask::TEXT, mask::INT], texts),
    on("join", &[mask::LIST], string).own(text::JOIN),
    on("join", &[mask::LIST, mask::TEXT], string).own(text::JOIN),
    on("replace", &[mask::TEXT, mask::TEXT, mask::TEXT], string).own(text::REPLACE),
    on(
        "replace",
        &[mask::TEXT, mask::TEXT, mask::TEXT, mask::INT],
        string,
    )
    .own(text::REPLACE),
    on("substring", &[mask::TEXT, mask::INT], string),
    on("substring", &[mask::TEXT, mask::INT, mask::INT], string),
    on("format", &[mask::TEXT, mask::LIST], string).costs(Cost::Grow),
    of("strings.quote", &[mask::TEXT], string).costs(Cost::Grow),
    of("base64.encode", &[mask::BYTES], string).costs(Cost::Grow),
    of("base64.decode", &[mask::TEXT], bytes),
    on("find", TEXTS, string).own(text::FIND),
    on("findAll", TEXTS, texts).own(text::FIND_ALL),
    on("findAll", &[mask::TEXT, mask::TEXT, mask::INT], texts).own(text::FIND_ALL),
];

/// Lists and sets.
static LIST: &[Signature] = &[
    on("slice", &[mask::LIST, mask::INT, mask::INT], same_list).costs(Cost::Walk),
    on("flatten", &[mask::LIST], any).costs(Cost::Walk),
    on("flatten", &[mask::LIST, mask::INT], any).costs(Cost::Walk),
    on("distinct", &[mask::LIST], same_list).costs(Cost::Pairwise),
    on("sort", &[mask::LIST], same_list).costs(Cost::Sort),
    on("@sortByAssociatedKeys", LISTS, same_list).costs(Cost::Sort),
    on("sum", &[mask::LIST], element).own(folds::SUM),
    on("min", &[mask::LIST], element).own(folds::MIN),
    on("max", &[mask::LIST], element).own(folds::MAX),
    on("isSorted", &[mask::LIST], bool).own(folds::IS_SORTED),
    of("lists.range", &[mask::INT], |_| Type::list(Type::Int)).own(lists::NUMBERS),
    of("sets.contains", LISTS, bool).own(lists::SETS_CONTAINS),
    of("sets.equivalent", LISTS, bool).own(lists::SETS_EQUIVALENT),
    of("sets.intersects", LISTS, bool).own(lists::SETS_INTERSECTS),
];

/// Numbers.
static MATH: &[Signature] = &[
    of("math.ceil", &[mask::DOUBLE], double).fixed(),
    of("math.floor", &[mask::DOUBLE], double).fixed(),
    of("math.round", &[mask::DOUBLE], double).fixed(),
    of("math.trunc", &[mask::DOUBLE], double).fixed(),
    of("math.isNaN", &[mask::DOUBLE], bool).fixed(),
    of("math.isInf", &[mask::DOUBLE], bool).fixed(),
    of("math.isFinite", &[mask::DOUBLE], bool).fixed(),
    of("math.sqrt", &[mask::NUMBER], double).fixed(),
    of("math.abs", &[mask::NUMBER], same).fixed(),
    of("math.sign", &[mask::NUMBER], same).fixed(),
    of("math.bitAnd", INTS, int).fixed(),
    of("math.bitAnd", &[mask::UINT, mask::UINT], uint).fixed(),
    of("math.bitOr", INTS, int).fixed(),
    of("math.bitOr", &[mask::UINT, mask::UINT], uint).fixed(),
    of("math.bitXor", INTS, int).fixed(),
    of("math.bitXor", &[mask::UINT, mask::UINT], uint).fixed(),
    of("math.bitNot", &[mask::INT | mask::UINT], same).fixed(),
    of(
        "math.bitShiftLeft",
        &[mask::INT | mask::UINT, mask::INT],
        same,
    )
    .fixed(),
    of(
        "math.bitShiftRight",
        &[mask::INT | mask::UINT, mask::INT],
        same,
    )
    .fixed(),
    of("math.@max", INTS, int).costs(Cost::Walk),
    of("math.@max", &[mask::NUMBER | mask::LIST], one_of).costs(Cost::Walk),
    of("math.@max", &[mask::NUMBER, mask::NUMBER], joined).costs(Cost::Walk),
    of("math.@min", INTS, int).costs(Cost::Walk),
    of("math.@min", &[mask::NUMBER | mask::LIST], one_of).costs(Cost::Walk),
    of("math.@min", &[mask::NUMBER, mask::NUMBER], joined).costs(Cost::Walk),
];

/// The number itself, or one of a list of them.
fn one_of(arguments: &[Type]) -> Type {
    match arguments {
        [list @ Type::List(_)] => list.element(),
        _ => same(arguments),
    }
}

fn joined(arguments: &[Type]) -> Type {
    let types = arguments.iter().map(|type_| type_.present().clone());
    types.reduce(Type::join).unwrap_or(Type::Dyn)
}

/// Addresses, versions, quantities, windows: what Kubernetes adds, and what drover does.
static KINDS: &[Signature] = &[
    of("ip", &[mask::TEXT], |_| Type::Ip),
    of("isIP", &[mask::TEXT], bool),
    of("ip.isCanonical", &[mask::TEXT], bool),
    on("family", &[mask::IP], int).fixed(),
    on("isUnspecified", &[mask::IP], bool).fixed(),
    on("isLoopback", &[mask::IP], bool).fixed(),
    on("isLinkLocalMulticast", &[mask::IP], bool).fixed(),
    on("isLinkLocalUnicast", &[mask::IP], bool).fixed(),
    on("isGlobalUnicast", &[mask::IP], bool).fixed(),
    of("cidr", &[mask::TEXT], |_| Type::Cidr),
    of("isCIDR", &[mask::TEXT], bool),
    on("containsIP", &[mask::CIDR, mask::IP | mask::TEXT], bool),
    on("containsCIDR", &[mask::CIDR, mask::CIDR | mask::TEXT], bool),
    on("ip", &[mask::CIDR], |_| Type::Ip).fixed(),
    on("masked", &[mask::CIDR], |_| Type::Cidr).fixed(),
    on("prefixLength", &[mask::CIDR], int).fixed(),
    of("semver", &[mask::TEXT], |_| Type::Semver),
    of("semver", &[mask::TEXT, mask::BOOL], |_| Type::Semver),
    of("isSemver", &[mask::TEXT], bool),
    of("isSemver", &[mask::TEXT, mask::BOOL], bool),
    on("major", &[mask::SEMVER], int).fixed(),
    on("minor", &[mask::SEMVER], int).fixed(),
    on("patch", &[mask::SEMVER], int).fixed(),
    on("isLessThan", VERSIONS, bool).fixed(),
    on("isLessThan", SAME_QUANTITIES, bool).fixed(),
    on("isGreaterThan", VERSIONS, bool).fixed(),
    on("isGreaterThan", SAME_QUANTITIES, bool).fixed(),
    on("compareTo", VERSIONS, int).fixed(),
    on("compareTo", SAME_QUANTITIES, int).fixed(),
    of("url", &[mask::TEXT], |_| Type::Url),
    of("isURL", &[mask::TEXT], bool),
    on("getScheme", &[mask::URL], string),
    on("getHost", &[mask::URL], string),
    on("getHostname", &[mask::URL], string),
    on("getPort", &[mask::URL], string),
    on("getEscapedPath", &[mask::URL], string),
    on("getQuery", &[mask::URL], |_| {
        Type::map(Type::list(Type::Text))
    }),
    of("quantity", &[mask::TEXT], |_| Type::Quantity),
    of("isQuantity", &[mask::TEXT], bool),
    on("sign", &[mask::QUANTITY], int).fixed(),
    on("isInteger", &[mask::QUANTITY], bool).fixed(),
    on("asInteger", &[mask::QUANTITY], int).fixed(),
    on("asApproximateFloat", &[mask::QUANTITY], double).fixed(),
    on("add", &[mask::QUANTITY, mask::QUANTITY | mask::INT], |_| {
        Type::Quantity
    })
    .fixed(),
    on("sub", &[mask::QUANTITY, mask::QUANTITY | mask::INT], |_| {
        Type::Quantity
    })
    .fixed(),
    of("inWindow", &[mask::TEXT, mask::DURATION, mask::TEXT], bool).own(window::IN_WINDOW),
];

/// Named formats.
static FORMATS: &[Signature] = &[
    of("format.named", &[mask::TEXT], |_| {
        Type::optional(Type::Format)
    }),
    of("format.dns1123Label", &[], named_format).fixed(),
    of("format.dns1123LabelPrefix", &[], named_format).fixed(),
    of("format.dns1123Subdomain", &[], named_format).fixed(),
    of("format.dns1123SubdomainPrefix", &[], named_format).fixed(),
    of("format.dns1035Label", &[], named_format).fixed(),
    of("format.dns1035LabelPrefix", &[], named_format).fixed(),
    of("format.qualifiedName", &[], named_format).fixed(),
    of("format.labelValue", &[], named_format).fixed(),
    of("format.uri", &[], named_format).fixed(),
    of("format.uuid", &[], named_format).fixed(),
    of("format.byte", &[], named_format).fixed(),
    of("format.date", &[], named_format).fixed(),
    of("format.datetime", &[], named_format).fixed(),
    on("validate", &[mask::FORMAT, mask::TEXT], |_| {
        Type::optional(Type::list(Type::Text))
    })
    .own(format::VALIDATE),
];

static TIMES: LazyLock<Vec<Signature>> =
    LazyLock::new(|| ACCESSORS.into_iter().flat_map(at).collect());

/// Returns every overload.
pub(crate) fn signatures() -> impl Iterator<Item = &'static Signature> {
    let tables = [STANDARD, TEXT, LIST, MATH, KINDS, FORMATS];
    tables.into_iter().flatten().chain(TIMES.iter())
}
