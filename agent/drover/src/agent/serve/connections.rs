//! The connections of a listener: only so many at once, and none that lasts for ever.
//!
//! When all are taken and one more comes, the oldest that asks for nothing is closed. So a crowd that connects and says
//! nothing keeps out nobody who asks.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;

#[cfg(test)]
mod tests;

/// How long to wait after connections cannot be taken: the system has no more files, and asking again at once would
/// only turn in a circle.
const PAUSE: Duration = Duration::from_secs(1);

/// The most that is kept of a request whose headers are not complete. Hosts send less than a tenth of it.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) connections_max: usize,
    /// How long a request's headers may take, and how long nothing may be asked between two requests.
    pub(super) header: Duration,
    /// How long a connection takes new requests.
    pub(super) lifetime: Duration,
    /// How long the last one may take after that.
    pub(super) grace: Duration,
}

impl Limits {
    /// A monitor has one or two connections, a proxy in front some dozen, and opens new ones when they are closed.
    pub(super) const USUAL: Self = Self {
        connections_max: 64,
        header: Duration::from_secs(10),
        lifetime: Duration::from_mins(1),
        grace: Duration::from_secs(15),
    };
}

/// A connection that was taken.
struct Open {
    task: AbortHandle,
    /// The requests that are being answered.
    asked: Arc<AtomicUsize>,
}

/// Serves until the future is dropped.
///
/// # Cancellation
///
/// The connections end with it.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    // The oldest first.
    let mut open: Vec<Open> = Vec::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !is_of_the_connection(&error) {
                    debug!(%error, "connection not taken");
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
        };
        make_room(&mut tasks, &mut open, limits.connections_max).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let task = tasks.spawn(converse(stream, router.clone(), asked.clone(), limits));
        open.push(Open { task, asked });
    }
}

/// Waits until there is room for one more, and makes it where somebody asks for nothing.
async fn make_room(tasks: &mut JoinSet<()>, open: &mut Vec<Open>, connections_max: usize) {
    loop {
        while tasks.try_join_next().is_some() {}
        open.retain(|one| !one.task.is_finished());
        if open.len() < connections_max {
            return;
        }
        let idle = |one: &&Open| one.asked.load(Ordering::SeqCst) == 0;
        if let Some(oldest) = open.iter().find(idle) {
            oldest.task.abort();
        }
        // Where everybody waits for an answer, the first one that has it makes room.
        tasks.join_next().await;
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Answers what is asked on a connection, for no longer than it may last.
async fn converse(stream: TcpStream, router: Router, asked: Arc<AtomicUsize>, limits: Limits) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        let asking = Asking::new(&asked);
        let answer = router.call(request);
        async move {
            let answer = answer.await;
            drop(asking);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // A connection that fails is its client's affair.
    if tokio::time::timeout(limits.lifetime, connection.as_mut())
        .await
        .is_err()
    {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(limits.grace, connection).await;
    }
}

/// A request that is being answered.
struct Asking(Arc<AtomicUsize>);

impl Asking {
    fn new(asked: &Arc<AtomicUsize>) -> Self {
        asked.fetch_add(1, Ordering::SeqCst);
        Self(asked.clone())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
