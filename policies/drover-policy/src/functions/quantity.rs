//! Quantities as Kubernetes writes them: `quantity("1.5Gi")`, `quantity("250m")`.
//!
//! They are exact, counted in billionths: what is finer is rounded away from zero, and what is larger
//! than 10^29 or so is an error.

use std::cmp::Ordering;
use std::fmt;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelString, INT_TYPE, STRING_TYPE, Type as CelType,
};
use cel::{DeclarationError, Env, ExecutionError};

use super::opaque::{
    Opaque, Ordered, argument, compare, held, is_greater_than, is_less_than, type_of,
};
use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::value::shorten;

static QUANTITY_TYPE: CelType = type_of("kubernetes.Quantity");

/// How many parts a unit is counted in.
const PARTS: i128 = 1_000_000_000;

/// The most digits that the number of a quantity may have: more cannot be counted.
const DIGITS_MAX: usize = 30;

/// A quantity, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

impl Ordered for Quantity {
    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

impl Opaque for Quantity {
    const TYPE: &'static CelType = &QUANTITY_TYPE;
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (
            self.0.unsigned_abs() / 1_000_000_000,
            self.0.unsigned_abs() % 1_000_000_000,
        );
        write!(f, "{sign}{whole}")?;
        if rest > 0 {
            let fraction = format!("{rest:09}");
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// What stands behind the number of a quantity.
enum Suffix {
    /// Times two to this power.
    Binary(u32),
    /// Times ten to this power.
    Decimal(i32),
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Decimal(0),
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            exponent => {
                let digits = exponent.strip_prefix(['e', 'E'])?;
                Self::Decimal(digits.parse().ok()?)
            }
        })
    }
}

/// Why a text is not a quantity.
enum Unusable {
    NotOne,
    TooLarge,
}

impl Quantity {
    fn parse(text: &str) -> Result<Self, Unusable> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || fraction.contains('.') {
            return Err(Unusable::NotOne);
        }
        let suffix = Suffix::parse(suffix).ok_or(Unusable::NotOne)?;
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self(0));
        }
        let decimals = i32::try_from(fraction.len()).map_err(|_| Unusable::TooLarge)?;
        if digits.len() > DIGITS_MAX {
            return Err(Unusable::TooLarge);
        }
        let mantissa: i128 = digits.parse().map_err(|_| Unusable::TooLarge)?;
        let parts = match suffix {
            Suffix::Decimal(power) => scaled(mantissa, power.saturating_sub(decimals), 1),
            Suffix::Binary(power) => {
                let most = i128::from(i64::MAX) * PARTS;
                scaled(mantissa, -decimals, 1 << power).map(|parts| parts.min(most))
            }
        };
        let parts = parts.ok_or(Unusable::TooLarge)?;
        Ok(Self(if negative { -parts } else { parts }))
    }

    fn as_integer(self) -> Option<i64> {
        let whole = self.0 % PARTS == 0;
        i64::try_from(self.0 / PARTS).ok().filter(|_| whole)
    }
}

/// Returns `mantissa * factor * 10^power` in parts, rounded up. None: it is too large.
fn scaled(mantissa: i128, power: i32, factor: i128) -> Option<i128> {
    let product = mantissa.checked_mul(factor)?;
    let power = power.saturating_add(9);
    let magnitude = power.unsigned_abs();
    if power >= 0 {
        product.checked_mul(10_i128.checked_pow(magnitude)?)
    } else {
        // Anything is larger than nothing, however small.
        Some(match 10_i128.checked_pow(magnitude) {
            Some(divisor) => product / divisor + i128::from(product % divisor > 0),
            None => 1,
        })
    }
}

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let of = || QUANTITY_TYPE.to_owned();
    let text = || vec![STRING_TYPE];
    env.add_type(of())?;
    env.add_overload("quantity", "quantity", text(), new)?;
    env.add_overload("isQuantity", "is_quantity", text(), is_quantity)?;
    env.add_member_overload("sign", "sign", of(), vec![], sign)?;
    env.add_member_overload("isInteger", "is_integer", of(), vec![], is_integer)?;
    env.add_member_overload("asInteger", "as_integer", of(), vec![], as_integer)?;
    env.add_member_overload("asApproximateFloat", "as_float", of(), vec![], as_float)?;
    env.add_member_overload("add", "add_quantity", of(), vec![of()], add)?;
    env.add_member_overload("add", "add_int", of(), vec![INT_TYPE], add)?;
    env.add_member_overload("sub", "sub_quantity", of(), vec![of()], sub)?;
    env.add_member_overload("sub", "sub_int", of(), vec![INT_TYPE], sub)?;
    env.add_member_overload(
        "isLessThan",
        "quantity_lt",
        of(),
        vec![of()],
        is_less_than::<Quantity>,
    )?;
    env.add_member_overload(
        "isGreaterThan",
        "quantity_gt",
        of(),
        vec![of()],
        is_greater_than::<Quantity>,
    )?;
    env.add_member_overload(
        "compareTo",
        "quantity_cmp",
        of(),
        vec![of()],
        compare::<Quantity>,
    )
}

fn parsed(name: &str, arguments: &Arguments<'_, '_>) -> Result<Quantity, ExecutionError> {
    let text = arguments[0]
        .downcast_ref::<CelString<'_>>()
        .ok_or_else(|| no_overload(name, arguments))?;
    Quantity::parse(text.inner()).map_err(|why| {
        let text = shorten(text.inner(), 60);
        failure(match why {
            Unusable::NotOne => {
                format!("`{text}` is not a quantity such as 1.5Gi, 250m or 3e6")
            }
            Unusable::TooLarge => format!("the quantity `{text}` is too large"),
        })
    })
}

fn new<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    parsed("quantity", &arguments).map(held)
}

fn is_quantity<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let is = parsed("isQuantity", &arguments).is_ok();
    Ok(owned(CelBool::from(is)))
}

fn sign<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let Quantity(parts) = argument("sign", &arguments, 0)?;
    Ok(owned(CelInt::from(parts.signum() as i64)))
}

fn is_integer<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let quantity: &Quantity = argument("isInteger", &arguments, 0)?;
    Ok(owned(CelBool::from(quantity.as_integer().is_some())))
}

fn as_integer<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let quantity: &Quantity = argument("asInteger", &arguments, 0)?;
    let number = quantity.as_integer().ok_or_else(|| {
        failure(format!(
            "the quantity {quantity} is not a whole number that fits an int; isInteger() tells"
        ))
    })?;
    Ok(owned(CelInt::from(number)))
}

fn as_float<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let Quantity(parts) = argument("asApproximateFloat", &arguments, 0)?;
    Ok(owned(CelDouble::from(*parts as f64 / PARTS as f64)))
}

/// Returns the two operands of a sum, of which the second may be a number.
fn operands(name: &str, arguments: &Arguments<'_, '_>) -> Result<(i128, i128), ExecutionError> {
    let Quantity(left) = argument(name, arguments, 0)?;
    let number = arguments[1].downcast_ref::<CelInt>();
    let right = match number {
        Some(number) => i128::from(*number.inner()) * PARTS,
        None => argument::<Quantity>(name, arguments, 1)?.0,
    };
    Ok((*left, right))
}

fn sum<'b, 'v>(parts: Option<i128>) -> Outcome<'b, 'v> {
    let parts = parts.ok_or_else(|| failure("the quantity is too large"))?;
    Ok(held(Quantity(parts)))
}

fn add<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (left, right) = operands("add", &arguments)?;
    sum(left.checked_add(right))
}

fn sub<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (left, right) = operands("sub", &arguments)?;
    sum(left.checked_sub(right))
}
