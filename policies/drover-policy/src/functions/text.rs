//! Functions of texts that take more than one walk, or make more than they are given: the evaluator's
//! own cannot be charged for as they go.

use cel::common::types::{CelInt, CelList, CelString, DYN_TYPE, Kind};
use cel::common::value::Val;
use cel::{DeclarationError, Env, ExecutionError};

use super::{Arguments, Outcome, failure, folds, no_overload, owned};
use crate::limits::{STEPS_PER_ELEMENT, TEXT_BYTES_MAX};
use crate::meter;
use crate::value::{self, Boxed};

pub(crate) const INDEX_OF: &str = "@indexOf";
pub(crate) const LAST_INDEX_OF: &str = "@lastIndexOf";
pub(crate) const JOIN: &str = "@join";
pub(crate) const REPLACE: &str = "@replace";
pub(crate) const FIND: &str = "@find";
pub(crate) const FIND_ALL: &str = "@findAll";

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let any = |count: usize| (0..count).map(|_| DYN_TYPE).collect::<Vec<_>>();
    env.add_overload(INDEX_OF, "index_of", any(2), index_of)?;
    env.add_overload(INDEX_OF, "index_of_from", any(3), index_of)?;
    env.add_overload(LAST_INDEX_OF, "last_index_of", any(2), last_index_of)?;
    env.add_overload(LAST_INDEX_OF, "last_index_of_to", any(3), last_index_of)?;
    env.add_overload(JOIN, "join", any(1), join)?;
    env.add_overload(JOIN, "join_with", any(2), join)?;
    env.add_overload(REPLACE, "replace", any(3), replace)?;
    env.add_overload(REPLACE, "replace_some", any(4), replace)?;
    env.add_overload(FIND, "find", any(2), find)?;
    env.add_overload(FIND_ALL, "find_all", any(2), find_all)?;
    env.add_overload(FIND_ALL, "find_some", any(3), find_all)
}

fn text<'a>(
    name: &str,
    arguments: &'a Arguments<'_, '_>,
    at: usize,
) -> Result<&'a str, ExecutionError> {
    let text = arguments
        .get(at)
        .and_then(|argument| argument.downcast_ref::<CelString<'_>>())
        .ok_or_else(|| no_overload(name, arguments))?;
    meter::charge_bytes(text.inner().len())?;
    Ok(text.inner())
}

/// Returns a number among the arguments, if there are so many.
fn number(
    name: &str,
    arguments: &Arguments<'_, '_>,
    at: usize,
) -> Result<Option<i64>, ExecutionError> {
    let Some(argument) = arguments.get(at) else {
        return Ok(None);
    };
    match argument.downcast_ref::<CelInt>() {
        Some(number) => Ok(Some(*number.inner())),
        None => Err(no_overload(name, arguments)),
    }
}

fn out_of_range(index: i64) -> ExecutionError {
    failure(format!("index out of range: {index}"))
}

/// Returns the byte offset of character `index`; None: the text is shorter.
fn offset(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(index)
}

fn characters(text: &str) -> i64 {
    text.chars().count() as i64
}

fn index_of<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    if arguments[0].get_type().kind() == Kind::List {
        return folds::place(&arguments, false);
    }
    let hay = text("indexOf", &arguments, 0)?;
    let needle = text("indexOf", &arguments, 1)?;
    let from = number("indexOf", &arguments, 2)?;
    let length = characters(hay);
    let start = match from {
        None => 0,
        Some(from) if from < 0 => return Err(out_of_range(from)),
        Some(from) if needle.is_empty() => from.min(length),
        Some(from) if from >= length => return Err(out_of_range(from)),
        Some(from) => from,
    };
    let start = offset(hay, start).unwrap_or(hay.len());
    let found = hay[start..].find(needle);
    let index = found.map_or(-1, |at| characters(&hay[..start + at]));
    Ok(owned(CelInt::from(index)))
}

fn last_index_of<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    if arguments[0].get_type().kind() == Kind::List {
        return folds::place(&arguments, true);
    }
    let hay = text("lastIndexOf", &arguments, 0)?;
    let needle = text("lastIndexOf", &arguments, 1)?;
    let to = number("lastIndexOf", &arguments, 2)?;
    let length = characters(hay);
    let last = match to {
        None => length,
        Some(to) if to < 0 => return Err(out_of_range(to)),
        Some(to) if needle.is_empty() => to.min(length),
        Some(to) if to >= length => return Err(out_of_range(to)),
        Some(to) => to,
    };
    // The last place at which the needle may begin; it may reach beyond.
    let end = offset(hay, last.saturating_add(characters(needle))).unwrap_or(hay.len());
    let found = hay[..end].rfind(needle);
    let index = found.map_or(-1, |at| characters(&hay[..at]));
    Ok(owned(CelInt::from(index)))
}

/// Refuses a text that would be too long, before it is made.
fn allow(bytes: usize) -> Result<(), ExecutionError> {
    if bytes > TEXT_BYTES_MAX {
        return Err(failure(too_long()));
    }
    meter::charge_bytes(bytes)
}

/// The text of a result that is too long.
pub(crate) fn too_long() -> String {
    format!("the text would be longer than {TEXT_BYTES_MAX} bytes")
}

fn join<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let list = arguments[0]
        .downcast_ref::<CelList<'_>>()
        .ok_or_else(|| no_overload("join", &arguments))?;
    let separator = match arguments.len() {
        1 => "",
        _ => text("join", &arguments, 1)?,
    };
    let mut joined = String::new();
    for (at, element) in list.inner().iter().enumerate() {
        let element = element
            .downcast_ref::<CelString<'_>>()
            .ok_or_else(|| failure("join() takes a list of strings alone"))?;
        let separator = if at == 0 { "" } else { separator };
        meter::charge(STEPS_PER_ELEMENT)?;
        let added = separator.len() + element.inner().len();
        allow(joined.len() + added).and_then(|()| meter::charge_bytes(added))?;
        joined.push_str(separator);
        joined.push_str(element.inner());
    }
    Ok(owned(CelString::from(joined)))
}

fn replace<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let hay = text("replace", &arguments, 0)?;
    let from = text("replace", &arguments, 1)?;
    let to = text("replace", &arguments, 2)?;
    let most = match number("replace", &arguments, 3)? {
        None => usize::MAX,
        // A negative number means all of them.
        Some(most) => usize::try_from(most).unwrap_or(usize::MAX),
    };
    let count = hay.matches(from).count().min(most);
    let made = (hay.len() - count * from.len()).saturating_add(count.saturating_mul(to.len()));
    // A text that does not get longer is no reason to refuse it, however long it is.
    if made > hay.len() {
        allow(made)?;
    }
    Ok(owned(CelString::from(hay.replacen(from, to, most))))
}

fn find<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let hay = text("find", &arguments, 0)?;
    let pattern = text("find", &arguments, 1)?;
    let found = meter::find_all(hay, pattern, 1)?;
    let found = found.first().copied().unwrap_or("").to_owned();
    Ok(owned(CelString::from(found)))
}

fn find_all<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let hay = text("findAll", &arguments, 0)?;
    let pattern = text("findAll", &arguments, 1)?;
    let most = match number("findAll", &arguments, 2)? {
        None => usize::MAX,
        Some(most) => usize::try_from(most).unwrap_or(usize::MAX),
    };
    let found: Vec<Boxed<'v>> = meter::find_all(hay, pattern, most)?
        .into_iter()
        .map(|found| value::owned_text(found.to_owned()))
        .collect();
    let list = CelList::from(found);
    meter::charge_weight(&list as &dyn Val)?;
    Ok(owned(list))
}
