//! Semantic versions: `semver("1.2.3")`.

use std::cmp::Ordering;
use std::fmt;

use cel::common::types::{BOOL_TYPE, CelBool, CelInt, CelString, STRING_TYPE, Type as CelType};
use cel::{DeclarationError, Env, ExecutionError};

use super::opaque::{
    Opaque, Ordered, argument, compare, held, is_greater_than, is_less_than, type_of,
};
use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::limits::VERSION_BYTES_MAX;
use crate::value::shorten;

static SEMVER_TYPE: CelType = type_of("kubernetes.Semver");

/// A version. Two that differ in their build metadata alone are equal, as neither goes before the
/// other.
#[derive(Debug, Clone)]
pub(crate) struct Version(semver::Version);

impl Opaque for Version {
    const TYPE: &'static CelType = &SEMVER_TYPE;
}

impl Ordered for Version {
    fn order(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.order(other).is_eq()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Version {
    fn parse(text: &str, tolerance: Tolerance) -> Option<Self> {
        if text.len() > VERSION_BYTES_MAX {
            return None;
        }
        let parsed = match tolerance {
            Tolerance::None => semver::Version::parse(text),
            Tolerance::Normalize => semver::Version::parse(&normalized(text)?),
        };
        parsed.ok().map(Self)
    }
}

/// What may be missing in the text of a version.
#[derive(Debug, Clone, Copy)]
enum Tolerance {
    None,
    /// A leading `v` and zeros in front are dropped, a missing minor and patch number are zero.
    Normalize,
}

/// Returns a version in full. None: it is short and has a pre-release or build metadata.
fn normalized(text: &str) -> Option<String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 && text.contains(['+', '-']) {
        return None;
    }
    parts.resize(3, "0".to_owned());
    Some(parts.join("."))
}

fn without_zeros(part: &str) -> String {
    let rest = part.trim_start_matches('0');
    let dropped = rest.len() < part.len();
    let zero = if dropped && !rest.starts_with(|c: char| c.is_ascii_digit()) {
        "0"
    } else {
        ""
    };
    format!("{zero}{rest}")
}

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let version = || SEMVER_TYPE.to_owned();
    let tolerant = || vec![STRING_TYPE, BOOL_TYPE];
    env.add_type(version())?;
    env.add_overload("semver", "semver", vec![STRING_TYPE], new)?;
    env.add_overload("semver", "semver_normalized", tolerant(), new)?;
    env.add_overload("isSemver", "is_semver", vec![STRING_TYPE], is_semver)?;
    env.add_overload("isSemver", "is_semver_normalized", tolerant(), is_semver)?;
    env.add_member_overload("major", "major", version(), vec![], major)?;
    env.add_member_overload("minor", "minor", version(), vec![], minor)?;
    env.add_member_overload("patch", "patch", version(), vec![], patch)?;
    let (less, greater) = (is_less_than::<Version>, is_greater_than::<Version>);
    env.add_member_overload("isLessThan", "semver_lt", version(), vec![version()], less)?;
    env.add_member_overload(
        "isGreaterThan",
        "semver_gt",
        version(),
        vec![version()],
        greater,
    )?;
    env.add_member_overload(
        "compareTo",
        "semver_cmp",
        version(),
        vec![version()],
        compare::<Version>,
    )
}

fn text_and_tolerance<'a>(
    name: &str,
    arguments: &'a Arguments<'_, '_>,
) -> Result<(&'a str, Tolerance), ExecutionError> {
    let text = arguments[0]
        .downcast_ref::<CelString<'_>>()
        .ok_or_else(|| no_overload(name, arguments))?;
    let normalize = arguments
        .get(1)
        .and_then(|argument| argument.downcast_ref::<CelBool>())
        .is_some_and(|normalize| *normalize.inner());
    let tolerance = if normalize {
        Tolerance::Normalize
    } else {
        Tolerance::None
    };
    Ok((text.inner(), tolerance))
}

fn new<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (text, tolerance) = text_and_tolerance("semver", &arguments)?;
    let version = Version::parse(text, tolerance);
    version.map(held).ok_or_else(|| {
        let text = shorten(text, 60);
        let tolerant = match tolerance {
            Tolerance::None => "; semver(text, true) also takes v1.2",
            Tolerance::Normalize => "",
        };
        failure(format!("`{text}` is not a version such as 1.2.3{tolerant}"))
    })
}

fn is_semver<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (text, tolerance) = text_and_tolerance("isSemver", &arguments)?;
    Ok(owned(CelBool::from(
        Version::parse(text, tolerance).is_some(),
    )))
}

fn number<'b, 'v>(
    name: &str,
    arguments: &Arguments<'b, 'v>,
    part: fn(&semver::Version) -> u64,
) -> Outcome<'b, 'v> {
    let Version(version) = argument(name, arguments, 0)?;
    let number = i64::try_from(part(version)).map_err(|_| failure("the number is too large"))?;
    Ok(owned(CelInt::from(number)))
}

fn major<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    number("major", &arguments, |version| version.major)
}

fn minor<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    number("minor", &arguments, |version| version.minor)
}

fn patch<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    number("patch", &arguments, |version| version.patch)
}
