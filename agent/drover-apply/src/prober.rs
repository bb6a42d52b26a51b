//! The prober: runs every group's health checks and keeps the latest results.
//!
//! One task serves all groups. What is due when is plain data in `board`, so ten thousand targets cost
//! a heap entry each and no task. The prober judges nothing: how long a check must fail before anything
//! happens is classified from its signals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drover_model::{GroupName, HealthSignal, HealthSpec, InstanceId, ProviderRef};
use drover_provider::{Clock, FlavorSubject, Flavors, Provider};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

mod board;
mod probe;
#[cfg(test)]
mod tests;

use board::{Board, Finished};

/// Most checks under way at once. Each holds a descriptor, of which a process has 1,024 by default;
/// ten thousand targets checked every 10 s keep some 50 under way.
const PROBES_MAX: usize = 512;

/// An instance to be checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeTarget {
    /// The instance.
    pub instance: InstanceId,
    /// The provider's handle, for checks that the provider runs.
    pub provider_ref: ProviderRef,
    /// Its address. None: not known yet, which leaves network checks unknown.
    pub address: Option<String>,
    /// Whether it has been healthy before. One that has not is checked often, so that a new instance
    /// is found healthy within a second.
    pub settled: bool,
    /// What the flavor plugins of its template are asked about it. None: its template has none.
    pub flavors: Option<Arc<FlavorSubject>>,
}

/// Runs health checks in the background.
///
/// Dropping it stops the checks; [`shutdown`](Self::shutdown) also waits for that.
#[derive(Debug)]
pub struct Prober {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    flavors: Arc<dyn Flavors>,
    /// Told when a group's signals changed.
    changed: Arc<Notify>,
    /// Told when there is something new to do.
    wake: Notify,
    board: Mutex<Option<Board>>,
}

impl Prober {
    /// Starts the prober. `changed` is notified when the outcome of a check or the word `busy`
    /// changes, and when an instance has its first results.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(clock: Arc<dyn Clock>, flavors: Arc<dyn Flavors>, changed: Arc<Notify>) -> Self {
        let shared = Arc::new(Shared {
            clock,
            flavors,
            changed,
            wake: Notify::new(),
            board: Mutex::new(Some(Board::default())),
        });
        let task = tokio::spawn(run(shared.clone()));
        Self {
            shared,
            task: Mutex::new(Some(task)),
        }
    }

    /// Checks exactly `targets` of `group` from now on, as `health` says. Results of targets that are
    /// as before are kept; a new address, handle or flavor starts afresh; changed checks start all afresh.
    pub fn watch(
        &self,
        group: &GroupName,
        health: &HealthSpec,
        targets: Vec<ProbeTarget>,
        provider: Arc<dyn Provider>,
    ) {
        let now = self.shared.clock.now();
        let changed = self.shared.with_board(|board| {
            board.watch(
                group,
                &health.checks,
                targets,
                provider,
                Instant::now(),
                now,
            )
        });
        self.shared.wake.notify_one();
        if changed == Some(true) {
            self.shared.changed.notify_one();
        }
    }

    /// Returns the latest results of `group`. An instance whose checks have not all been tried is not
    /// among them, nor is any of a group without checks.
    pub fn signals(&self, group: &GroupName) -> BTreeMap<InstanceId, HealthSignal> {
        let signals = self.shared.with_board(|board| board.signals(group));
        signals.unwrap_or_default()
    }

    /// Stops checking `group` and forgets its results.
    pub fn forget(&self, group: &GroupName) {
        self.shared.with_board(|board| board.forget(group));
    }

    /// Stops all checks and waits until none is under way.
    ///
    /// # Cancellation
    ///
    /// The checks stop all the same.
    pub async fn shutdown(&self) {
        self.shared.lock().take();
        self.shared.wake.notify_one();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            // Cancelled by the end of the runtime: then nothing is under way either.
            let _ = task.await;
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.lock().take();
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

impl Shared {
    /// The board; None once the prober has been shut down.
    fn lock(&self) -> MutexGuard<'_, Option<Board>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_board<T>(&self, use_it: impl FnOnce(&mut Board) -> T) -> Option<T> {
        self.lock().as_mut().map(use_it)
    }
}

async fn run(shared: Arc<Shared>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        let next = {
            let mut board = shared.lock();
            let Some(board) = board.as_mut() else { return };
            let now = Instant::now();
            while under_way.len() < PROBES_MAX
                && let Some(job) = board.begin(now)
            {
                under_way.push(probe::run(
                    job,
                    shared.clock.clone(),
                    shared.flavors.clone(),
                ));
            }
            board.next_due().filter(|_| under_way.len() < PROBES_MAX)
        };
        tokio::select! {
            Some(finished) = under_way.next(), if !under_way.is_empty() => {
                finish(&shared, finished);
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            () = shared.wake.notified() => {}
        }
    }
}

fn finish(shared: &Shared, finished: Finished) {
    let changed = shared.with_board(|board| board.finish(finished, Instant::now()));
    if changed == Some(true) {
        shared.changed.notify_one();
    }
}
