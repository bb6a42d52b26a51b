//! Functions that go once through a list, as Kubernetes has them: `sum`, `min`, `max`, `isSorted`,
//! `indexOf` and `lastIndexOf`.

use std::cmp::Ordering;

use cel::common::types::{CelBool, CelInt, CelList, DYN_TYPE, Kind};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::guards;
use crate::meter;
use crate::value::Boxed;

pub(crate) const SUM: &str = "@sum";
pub(crate) const MIN: &str = "@min";
pub(crate) const MAX: &str = "@max";
pub(crate) const IS_SORTED: &str = "@isSorted";

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let one = || vec![DYN_TYPE];
    env.add_overload(SUM, "list_sum", one(), sum)?;
    env.add_overload(MIN, "list_min", one(), |arguments| {
        extreme("min", Ordering::Less, arguments)
    })?;
    env.add_overload(MAX, "list_max", one(), |arguments| {
        extreme("max", Ordering::Greater, arguments)
    })?;
    env.add_overload(IS_SORTED, "list_is_sorted", one(), is_sorted)
}

fn elements<'a, 'v>(
    name: &str,
    arguments: &'a Arguments<'_, 'v>,
) -> Result<&'a [Boxed<'v>], ExecutionError> {
    let list = arguments[0].downcast_ref::<CelList<'v>>();
    let list = list.ok_or_else(|| no_overload(name, arguments))?;
    meter::charge_weight(arguments[0].as_ref())?;
    Ok(list.inner())
}

fn compare(name: &str, left: &dyn Val, right: &dyn Val) -> Result<Ordering, ExecutionError> {
    let unordered = || {
        failure(format!(
            "{name}() takes a list whose elements have an order"
        ))
    };
    // An int before a double would have one, but then the result were of either type.
    if left.get_type() != right.get_type() {
        return Err(failure(format!("{name}() takes a list of one type")));
    }
    left.as_comparer()
        .ok_or_else(unordered)?
        .compare(right)
        .map_err(|_| unordered())
}

/// Adds up numbers or durations. Of no elements the sum is 0.
fn sum<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let elements = elements("sum", &arguments)?;
    let Some((first, rest)) = elements.split_first() else {
        return Ok(owned(CelInt::from(0)));
    };
    // Texts and lists can be added, too, and would grow with every element.
    let kind = first.get_type().kind();
    if !matches!(kind, Kind::Int | Kind::UInt | Kind::Double | Kind::Duration) {
        return Err(failure("sum() takes a list of numbers or durations"));
    }
    let mut total = first.clone_as_boxed();
    for element in rest {
        if total.get_type() != element.get_type() {
            return Err(failure("sum() takes a list of one type"));
        }
        let adder = total
            .as_adder()
            .ok_or_else(|| no_overload("sum", &arguments))?;
        let next = adder.add(element.as_ref())?.into_owned();
        total = next;
    }
    Ok(CowVal::Owned(total))
}

fn extreme<'b, 'v>(name: &str, wanted: Ordering, arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let elements = elements(name, &arguments)?;
    let Some((first, rest)) = elements.split_first() else {
        return Err(failure(format!("{name}() of an empty list")));
    };
    let mut best = first;
    for element in rest {
        if compare(name, element.as_ref(), best.as_ref())? == wanted {
            best = element;
        }
    }
    Ok(CowVal::Owned(best.clone_as_boxed()))
}

fn is_sorted<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let elements = elements("isSorted", &arguments)?;
    let mut sorted = true;
    for pair in elements.windows(2) {
        sorted &= compare("isSorted", pair[0].as_ref(), pair[1].as_ref())? != Ordering::Greater;
    }
    Ok(owned(CelBool::from(sorted)))
}

/// Where an element first stands in a list, from the end on; or -1.
pub(super) fn place<'b, 'v>(arguments: &Arguments<'b, 'v>, last: bool) -> Outcome<'b, 'v> {
    let name = if last { "lastIndexOf" } else { "indexOf" };
    let (Some(list), [_, wanted]) = (
        arguments[0].downcast_ref::<CelList<'v>>(),
        arguments.as_slice(),
    ) else {
        return Err(no_overload(name, arguments));
    };
    let elements = list.inner();
    let mut places: Box<dyn Iterator<Item = usize>> = Box::new(0..elements.len());
    if last {
        places = Box::new((0..elements.len()).rev());
    }
    for at in places {
        meter::charge(1)?;
        if guards::same(elements[at].as_ref(), wanted.as_ref())? {
            return Ok(owned(CelInt::from(at as i64)));
        }
    }
    Ok(owned(CelInt::from(-1)))
}
