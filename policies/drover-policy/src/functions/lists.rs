//! Functions of lists that the evaluator lacks, or that would cost more than the guards could tell.

use cel::common::types::{CelBool, CelInt, CelList, CelMap, CelMapKey, DYN_TYPE, Kind};
use cel::common::value::Val;
use cel::{DeclarationError, Env, ExecutionError};

use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::guards;
use crate::limits::{STEPS_PER_ELEMENT, STEPS_PER_ENTRY};
use crate::meter;
use crate::value::Boxed;

pub(crate) const NUMBERS: &str = "@lists.range";
pub(crate) const SETS_CONTAINS: &str = "@sets.contains";
pub(crate) const SETS_EQUIVALENT: &str = "@sets.equivalent";
pub(crate) const SETS_INTERSECTS: &str = "@sets.intersects";

/// What a loop with two variables goes over: pairs of index and element, or of key and value.
pub(crate) const PAIRS: &str = "@pairs";
/// Makes a map of a list of pairs.
pub(crate) const TO_MAP: &str = "@toMap";
/// Makes one map of a list of maps.
pub(crate) const MERGE_MAPS: &str = "@mergeMaps";

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let one = || vec![DYN_TYPE];
    let two = || vec![DYN_TYPE, DYN_TYPE];
    env.add_overload(NUMBERS, "numbers", one(), numbers)?;
    env.add_overload(SETS_CONTAINS, "own_contains", two(), contains)?;
    env.add_overload(SETS_EQUIVALENT, "own_equivalent", two(), equivalent)?;
    env.add_overload(SETS_INTERSECTS, "own_intersects", two(), intersects)?;
    env.add_overload(PAIRS, "pairs", one(), pairs)?;
    env.add_overload(TO_MAP, "to_map", one(), to_map)?;
    env.add_overload(MERGE_MAPS, "merge_maps", one(), merge_maps)
}

/// Returns the whole numbers below another, from zero.
fn numbers<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let count = arguments[0]
        .downcast_ref::<CelInt>()
        .ok_or_else(|| no_overload("lists.range", &arguments))?;
    let count = *count.inner();
    if count < 0 {
        return Err(failure("lists.range() takes a number that is not negative"));
    }
    meter::charge((count as u64).saturating_mul(STEPS_PER_ELEMENT))?;
    let numbers: Vec<Boxed<'v>> = (0..count).map(crate::value::int).collect();
    Ok(owned(CelList::from(numbers)))
}

fn two_lists<'a, 'v>(
    name: &str,
    arguments: &'a Arguments<'_, 'v>,
) -> Result<[&'a [Boxed<'v>]; 2], ExecutionError> {
    let list = |at: usize| {
        arguments
            .get(at)
            .and_then(|argument| argument.downcast_ref::<CelList<'v>>())
            .map(CelList::inner)
            .ok_or_else(|| no_overload(name, arguments))
    };
    Ok([list(0)?, list(1)?])
}

fn holds(list: &[Boxed<'_>], wanted: &dyn Val) -> Result<bool, ExecutionError> {
    for element in list {
        if guards::same(element.as_ref(), wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn holds_all(list: &[Boxed<'_>], wanted: &[Boxed<'_>]) -> Result<bool, ExecutionError> {
    for wanted in wanted {
        if !holds(list, wanted.as_ref())? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [list, wanted] = two_lists("sets.contains", &arguments)?;
    Ok(owned(CelBool::from(holds_all(list, wanted)?)))
}

fn equivalent<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [left, right] = two_lists("sets.equivalent", &arguments)?;
    let equivalent = holds_all(left, right)? && holds_all(right, left)?;
    Ok(owned(CelBool::from(equivalent)))
}

fn intersects<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [left, right] = two_lists("sets.intersects", &arguments)?;
    for element in left {
        if holds(right, element.as_ref())? {
            return Ok(owned(CelBool::from(true)));
        }
    }
    Ok(owned(CelBool::from(false)))
}

fn pairs<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let value = arguments[0].as_ref();
    let pair = |key: Boxed<'v>, value: Boxed<'v>| -> Boxed<'v> {
        Box::new(CelList::from(vec![key, value]))
    };
    let mut all: Vec<Boxed<'v>> = Vec::new();
    match value.get_type().kind() {
        Kind::List => {
            let iterable = value.as_iterable().ok_or_else(|| not_a_range(value))?;
            let mut elements = iterable.iter();
            let mut index = 0_i64;
            while let Some(element) = elements.next() {
                meter::charge(2 * STEPS_PER_ELEMENT)?;
                meter::charge_weight(element)?;
                all.push(pair(crate::value::int(index), element.clone_as_boxed()));
                index += 1;
            }
        }
        Kind::Map => {
            let indexer = value.as_indexer().ok_or_else(|| not_a_range(value))?;
            for key in guards::keys(value)? {
                let held = indexer.get(key.as_ref())?;
                meter::charge(2 * STEPS_PER_ELEMENT)?;
                meter::charge_weight(held.as_ref())?;
                let held = held.as_ref().clone_as_boxed();
                all.push(pair(key, held));
            }
        }
        _ => return Err(not_a_range(value)),
    }
    Ok(owned(CelList::from(all)))
}

fn not_a_range(value: &dyn Val) -> ExecutionError {
    ExecutionError::UnexpectedType {
        got: value.get_type().name().to_owned(),
        want: "a list or a map".to_owned(),
    }
}

/// A map being made.
#[derive(Default)]
pub(super) struct Making<'v> {
    entries: Vec<(CelMapKey<'v>, Boxed<'v>)>,
}

impl<'v> Making<'v> {
    pub(super) fn insert(
        &mut self,
        key: Boxed<'v>,
        value: Boxed<'v>,
    ) -> Result<(), ExecutionError> {
        meter::charge(STEPS_PER_ENTRY)?;
        meter::charge_weight(key.as_ref())?;
        self.entries.push((CelMapKey::try_from(key)?, value));
        Ok(())
    }

    pub(super) fn finish(self) -> Result<CelMap<'v>, ExecutionError> {
        #[expect(
            clippy::disallowed_types,
            reason = "the evaluator's maps are hashed; loops over them go by sorted keys"
        )]
        let mut map = std::collections::HashMap::with_capacity(self.entries.len());
        for (key, value) in self.entries {
            let shown = crate::value::show(key.inner());
            if map.insert(key, value).is_some() {
                return Err(failure(format!("the key {shown} stands twice in the map")));
            }
        }
        Ok(CelMap::from(map))
    }
}

/// Returns the elements of a list: moved out where nobody else has them.
fn elements<'v>(mut arguments: Arguments<'_, 'v>) -> Result<Vec<Boxed<'v>>, ExecutionError> {
    let list = arguments.swap_remove(0);
    meter::charge_weight(list.as_ref())?;
    Vec::try_from(list.into_owned()).map_err(|other: Boxed<'v>| not_a_range(other.as_ref()))
}

fn to_map<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let mut map = Making::default();
    for pair in elements(arguments)? {
        let pair: Vec<Boxed<'v>> =
            Vec::try_from(pair).map_err(|pair: Boxed<'v>| not_a_range(pair.as_ref()))?;
        let mut pair = pair.into_iter();
        if let (Some(key), Some(value)) = (pair.next(), pair.next()) {
            map.insert(key, value)?;
        }
    }
    map.finish().map(owned)
}

fn merge_maps<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let mut all = Making::default();
    for map in elements(arguments)? {
        let indexer = map.as_indexer().ok_or_else(|| not_a_range(map.as_ref()))?;
        for key in guards::keys(map.as_ref())? {
            let value = indexer.get(key.as_ref())?.as_ref().clone_as_boxed();
            all.insert(key, value)?;
        }
    }
    all.finish().map(owned)
}
