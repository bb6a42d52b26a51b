//! What the parts of an expression come to while it is evaluated: for the coverage of a policy's
//! tests, and for its explanation.
//!
//! An expression that is traced has every part that somebody wrote wrapped in two calls: one notes
//! that its evaluation began, the other its value. What macros expand to is left alone. The notes
//! belong to the thread, as the meter does, and cost no steps, so a traced expression decides what
//! the plain one does.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "the evaluator prescribes the signature"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use cel::common::types::{CelBool, CelInt, DYN_TYPE, INT_TYPE};
use cel::common::value::CowVal;
use cel::{DeclarationError, Env};

use crate::functions::{Arguments, Outcome, owned};
use crate::value::show;

mod extent;
mod outline;

#[cfg(test)]
mod tests;

pub(crate) use outline::{Part, Role, outline};

/// Notes that the evaluation of a part begins, and is true.
pub(crate) const ENTER: &str = "@enter";
/// Notes the value of a part, and returns it.
pub(crate) const LEAVE: &str = "@leave";

/// Most different values that are kept of one part, which a loop evaluates many times.
const VALUES_KEPT_MAX: usize = 4;

thread_local! {
    static RECORD: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// Which part: the number of its expression in the policy, and its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(i64);

impl Key {
    /// Returns the key of node `id` of the expression that has `number` in its policy.
    pub(crate) fn new(number: u32, id: u64) -> Self {
        // A policy has a few hundred expressions at most, an expression a few thousand nodes.
        Self((i64::from(number) << 32) | (id & 0xffff_ffff) as i64)
    }

    /// Returns the key as the number that is written into the expression.
    pub(crate) fn number(self) -> i64 {
        self.0
    }
}

/// What became of one part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How often its evaluation began.
    pub(crate) entered: u64,
    /// How often it had a value; fewer where it failed.
    pub(crate) left: u64,
    /// How often it was true.
    pub(crate) truths: u64,
    /// How often it was false.
    pub(crate) falsehoods: u64,
    /// The first few different values as people read them, each with how often it came.
    pub(crate) values: Vec<(String, u64)>,
}

/// What became of every part that was evaluated.
pub(crate) type Record = BTreeMap<Key, Seen>;

/// Returns what `evaluate` does, and what became of the parts of traced expressions meanwhile.
pub(crate) fn recorded<T>(evaluate: impl FnOnce() -> T) -> (T, Record) {
    RECORD.set(Some(Record::new()));
    let result = evaluate();
    (result, RECORD.take().unwrap_or_default())
}

pub(crate) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(ENTER, "enter", vec![INT_TYPE], enter)?;
    env.add_overload(LEAVE, "leave", vec![INT_TYPE, DYN_TYPE], leave)
}

fn note(arguments: &[CowVal<'_, '_>], what: impl FnOnce(&mut Seen)) {
    let Some(key) = arguments.first().and_then(|it| it.downcast_ref::<CelInt>()) else {
        return;
    };
    let key = Key(*key.inner());
    RECORD.with_borrow_mut(|record| {
        if let Some(record) = record {
            what(record.entry(key).or_default());
        }
    });
}

fn enter<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    note(&arguments, |seen| seen.entered += 1);
    Ok(owned(CelBool::from(true)))
}

fn leave<'b, 'v>(mut arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    note(&arguments, |seen| {
        let value = arguments[1].as_ref();
        seen.left += 1;
        match value.downcast_ref::<CelBool>().map(|it| *it.inner()) {
            Some(true) => seen.truths += 1,
            Some(false) => seen.falsehoods += 1,
            None => {}
        }
        let shown = show(value);
        let known = seen.values.iter().position(|(known, _)| *known == shown);
        match known {
            Some(at) => seen.values[at].1 += 1,
            None if seen.values.len() < VALUES_KEPT_MAX => seen.values.push((shown, 1)),
            None => {}
        }
    });
    Ok(arguments.swap_remove(1))
}
