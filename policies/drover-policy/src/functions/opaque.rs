//! Values of the kinds that drover adds to the language: an address, a network, a version, a
//! quantity. They are equal when they mean the same, and can be told apart by `type(x)`.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt::{Debug, Display};

use cel::ExecutionError;
use cel::common::types::{CelBool, CelInt, Kind, Type as CelType};
use cel::common::value::{CowVal, StaticVal, Val};

use super::format::Format;
use super::network::{Address, Network};
use super::quantity::Quantity;
use super::url::Url;
use super::version::Version;
use super::{Arguments, Outcome, no_overload, owned};

/// What a value of one kind is.
pub(crate) trait Opaque:
    Clone + Debug + Display + PartialEq + Send + Sync + 'static
{
    /// The type that expressions know it by.
    const TYPE: &'static CelType;
}

/// Returns the type of a kind, by its name.
pub(crate) const fn type_of(name: &'static str) -> CelType {
    CelType::simple_type(Kind::Opaque, name)
}

/// A value of one kind, as the evaluator holds it.
#[derive(Debug, Clone)]
pub(crate) struct Held<T>(pub(crate) T);

impl<T: Opaque> Val for Held<T> {
    fn get_type(&self) -> &CelType {
        T::TYPE
    }

    fn cel_type() -> &'static CelType {
        T::TYPE
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other
            .downcast_ref::<Self>()
            .is_some_and(|other| self.0 == other.0)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl<T: Opaque> StaticVal for Held<T> {}

/// Returns a value of a kind as the result of a function.
pub(crate) fn held<'b, 'v, T: Opaque>(value: T) -> CowVal<'b, 'v> {
    CowVal::Owned(Box::new(Held(value)))
}

/// Returns argument `at`, which must be of one kind.
pub(crate) fn argument<'a, T: Opaque>(
    name: &str,
    arguments: &'a Arguments<'_, '_>,
    at: usize,
) -> Result<&'a T, ExecutionError> {
    arguments
        .get(at)
        .and_then(|argument| argument.downcast_ref::<Held<T>>())
        .map(|held| &held.0)
        .ok_or_else(|| no_overload(name, arguments))
}

/// A kind whose values go one before the other.
pub(crate) trait Ordered: Opaque {
    /// Returns which of two goes first.
    fn order(&self, other: &Self) -> Ordering;
}

fn order<T: Ordered>(
    name: &str,
    arguments: &Arguments<'_, '_>,
) -> Result<Ordering, ExecutionError> {
    let left: &T = argument(name, arguments, 0)?;
    Ok(left.order(argument(name, arguments, 1)?))
}

/// `isLessThan` of an ordered kind.
pub(crate) fn is_less_than<'b, 'v, T: Ordered>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    order::<T>("isLessThan", &arguments).map(|order| owned(CelBool::from(order.is_lt())))
}

/// `isGreaterThan` of an ordered kind.
pub(crate) fn is_greater_than<'b, 'v, T: Ordered>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    order::<T>("isGreaterThan", &arguments).map(|order| owned(CelBool::from(order.is_gt())))
}

/// `compareTo` of an ordered kind.
pub(crate) fn compare<'b, 'v, T: Ordered>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    order::<T>("compareTo", &arguments).map(|order| owned(CelInt::from(order as i64)))
}

/// Returns a value of one of our kinds as text.
pub(crate) fn show(value: &dyn Val) -> Option<String> {
    fn text<T: Opaque>(value: &dyn Val) -> Option<String> {
        value
            .downcast_ref::<Held<T>>()
            .map(|held| held.0.to_string())
    }
    text::<Address>(value)
        .or_else(|| text::<Network>(value))
        .or_else(|| text::<Version>(value))
        .or_else(|| text::<Quantity>(value))
        .or_else(|| text::<Url>(value))
        .or_else(|| text::<Format>(value))
}

/// Returns the name that people know a type of ours under.
pub(crate) fn type_name(name: &str) -> Option<&'static str> {
    match name {
        "net.IP" => Some("ip"),
        "net.CIDR" => Some("cidr"),
        "kubernetes.Semver" => Some("semver"),
        "kubernetes.Quantity" => Some("quantity"),
        "kubernetes.URL" => Some("url"),
        "kubernetes.NamedFormat" => Some("format"),
        _ => None,
    }
}
