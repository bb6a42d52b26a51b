//! A thread with a large stack. Parsing, evaluating and dropping an expression recurse as deep as
//! it is nested; a stack that overflows ends the whole process, and nothing can catch that.
//!
//! One thread per call of this crate's entry points, not per expression: it borrows what is decided
//! about, so nothing is copied; groups decided at once do not wait for each other; and starting it
//! costs some 30 µs. A thread that lived longer would need facts of its own.

use std::panic::{self, AssertUnwindSafe};

use crate::limits::STACK_BYTES;

#[cfg(test)]
mod tests;

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The thread could not be started.
    Thread(String),
    /// A bug, here or in the evaluator.
    Panic(String),
}

impl Failure {
    pub(crate) fn explain(&self) -> String {
        match self {
            Self::Thread(why) => format!("no thread to evaluate policies on: {why}"),
            Self::Panic(why) => format!("the evaluation panicked, which is a bug: {why}"),
        }
    }
}

/// Runs `work` on a thread of its own.
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("policy".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| Failure::Thread(error.to_string()))?;
        thread
            .join()
            .map_err(|payload| Failure::Panic(text_of(payload.as_ref())))
    })
}

/// Runs `work` and contains a panic in it, so that one expression does not take the others along.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload| Failure::Panic(text_of(payload.as_ref())))
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
