//! The calls of a served socket: so many at once, and none for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::connections::ConnectionLimits;

/// How much a served socket takes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of its connections.
    pub(super) connections: ConnectionLimits,
    /// Most calls at once: each may take as much memory as a request may.
    pub(super) calls: usize,
    /// How long a call may wait for others.
    pub(super) queue: Duration,
    /// How long a call may take. Then it is dropped, so that it holds its place, and what it was asked with, no longer.
    pub(super) call: Duration,
}

impl Limits {
    /// Connections stay far below the 1,024 files that a process may have open, and a call that waits is answered
    /// before InfraKit's clients give up, after 15 seconds. A call may take longer than any caller of ours waits.
    pub(super) const STANDARD: Self = Self {
        connections: ConnectionLimits {
            connections: 512,
            idle: Duration::from_secs(30),
            lifetime: None,
        },
        calls: 64,
        queue: Duration::from_secs(10),
        call: Duration::from_mins(15),
    };
}

/// The places of a socket's calls. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) limits: Limits,
    places: Arc<Semaphore>,
}

impl Calls {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            places: Arc::new(Semaphore::new(limits.calls)),
        }
    }

    /// Waits until a call may be carried out. None: there are too many.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned();
        timeout(self.limits.queue, place).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests;
