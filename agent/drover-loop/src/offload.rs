//! Blocking work that must not hold up a pass: one value, lent to a blocking thread and handed back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::task::JoinHandle;

/// A value that lives on blocking threads while it works, such as the connection to a remote.
///
/// **Invariant:** at most one piece of work is under way, and its result is collected before the
/// next begins.
#[derive(Debug)]
pub(crate) struct Offload<T, R> {
    state: State<T, R>,
}

#[derive(Debug)]
enum State<T, R> {
    Idle(Box<T>),
    Busy(JoinHandle<(Box<T>, Result<R, Panicked>)>),
    /// The runtime dropped the work: only at shutdown.
    Lost,
}

/// The work panicked; the value was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("internal error: {message}")]
pub(crate) struct Panicked {
    /// What the panic said.
    pub(crate) message: String,
}

/// How waiting for a piece of work ended.
#[derive(Debug)]
pub(crate) enum Waited<R> {
    /// It is done.
    Done(Result<R, Panicked>),
    /// It goes on.
    Running,
    /// Nothing was under way.
    Nothing,
}

impl<T: Send + 'static, R: Send + 'static> Offload<T, R> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            state: State::Idle(Box::new(value)),
        }
    }

    /// Begins work unless some is under way. Returns whether it began.
    pub(crate) fn begin(&mut self, work: impl FnOnce(&mut T) -> R + Send + 'static) -> bool {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(mut value) => {
                self.state = State::Busy(tokio::task::spawn_blocking(move || {
                    // The value may be half changed by a panic; every adapter re-reads what it
                    // needs from its repository at the next call.
                    let result = catch_unwind(AssertUnwindSafe(|| work(&mut value)));
                    (value, result.map_err(|panic| Panicked::from(&*panic)))
                }));
                true
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    /// Waits for the work under way until `deadline`.
    ///
    /// # Cancellation
    ///
    /// A dropped future leaves the work running and its result uncollected.
    pub(crate) async fn wait(&mut self, deadline: tokio::time::Instant) -> Waited<R> {
        let State::Busy(handle) = &mut self.state else {
            return Waited::Nothing;
        };
        match tokio::time::timeout_at(deadline, handle).await {
            Err(_elapsed) => Waited::Running,
            Ok(Ok((value, result))) => {
                self.state = State::Idle(value);
                Waited::Done(result)
            }
            Ok(Err(_cancelled)) => {
                self.state = State::Lost;
                Waited::Nothing
            }
        }
    }

    /// Returns whether work is under way.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.state, State::Busy(_))
    }
}

impl From<&(dyn Any + Send)> for Panicked {
    fn from(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Self {
            message: text.unwrap_or_else(|| "a panic without a message".to_owned()),
        }
    }
}
