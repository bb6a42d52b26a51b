//! The connections of a served socket. Only calls are scarce: a connection over which nobody calls holds nobody up, and
//! is closed when it has been so for long, or when another one needs its place. A call ends, whoever hangs up.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::{Served, ServedSocket};

/// How much a served socket takes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most connections at once; more wait in the socket's queue for the one that has been idle for longest.
    pub(super) connections: usize,
    /// Most calls at once: each may take as much memory as a request may.
    pub(super) calls: usize,
    /// How long a call may wait for others.
    pub(super) queue: Duration,
    /// How long a call may take. Then it is dropped, so that it holds its place, and what it was asked with, no longer.
    pub(super) call: Duration,
    /// How long a connection may be without a call: silent, in the middle of a request, or with an answer that nobody
    /// reads.
    pub(super) idle: Duration,
}

impl Limits {
    /// Connections stay far below the 1,024 files that a process may have open, and a call that waits is answered
    /// before InfraKit's clients give up, after 15 seconds. A call may take longer than any caller of ours waits.
    pub(super) const STANDARD: Self = Self {
        connections: 512,
        calls: 64,
        queue: Duration::from_secs(10),
        call: Duration::from_mins(15),
        idle: Duration::from_secs(30),
    };
}

/// Between two looks for an idle connection while one is awaited to end.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// What all connections of a socket share.
#[derive(Debug)]
struct Connections {
    limits: Limits,
    places: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    /// Connections without a call, the one that has been so for longest first, with what tells them to go.
    idle: Mutex<BTreeMap<u64, Arc<Notify>>>,
    /// Somebody became idle.
    arrived: Notify,
    next: AtomicU64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Connections>,
    /// Whether a call is under way. Whatever is sent, the time in which nothing happens begins anew.
    busy: watch::Sender<bool>,
    leave: Arc<Notify>,
    /// Under which number it is idle.
    number: Mutex<Option<u64>>,
}

/// A call that is under way on a connection.
#[derive(Debug)]
pub(super) struct Busy<'a>(&'a Place);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            calls: Arc::new(Semaphore::new(limits.calls)),
            idle: Mutex::default(),
            arrived: Notify::new(),
            next: AtomicU64::new(0),
        })
    }

    /// Waits for a place. Where there is none, the connection that has been idle for longest goes.
    async fn room(&self) -> io::Result<OwnedSemaphorePermit> {
        let mut room = pin!(Arc::clone(&self.places).acquire_owned());
        if let Ok(room) = timeout(Duration::ZERO, room.as_mut()).await {
            return room.map_err(io::Error::other);
        }
        loop {
            let first = lock(&self.idle).pop_first();
            if let Some((_, leave)) = &first {
                leave.notify_one();
            }
            tokio::select! {
                biased;
                room = room.as_mut() => return room.map_err(io::Error::other),
                () = self.arrived.notified(), if first.is_none() => {}
                () = tokio::time::sleep(ROOM_INTERVAL) => {}
            }
        }
    }
}

impl Place {
    fn new(shared: &Arc<Connections>) -> Arc<Self> {
        let place = Self {
            shared: Arc::clone(shared),
            busy: watch::Sender::new(false),
            leave: Arc::new(Notify::new()),
            number: Mutex::default(),
        };
        place.rest();
        Arc::new(place)
    }

    /// Waits until a call may be carried out. None: there are too many.
    pub(super) async fn call(&self) -> Option<OwnedSemaphorePermit> {
        self.busy.send_replace(false);
        let calls = Arc::clone(&self.shared.calls).acquire_owned();
        timeout(self.shared.limits.queue, calls).await.ok()?.ok()
    }

    /// Returns how long a call may take.
    pub(super) fn call_limit(&self) -> Duration {
        self.shared.limits.call
    }

    /// Says that a call is carried out, until the result is dropped.
    pub(super) fn busy(&self) -> Busy<'_> {
        self.leave_queue();
        self.busy.send_replace(true);
        Busy(self)
    }

    fn rest(&self) {
        let number = self.shared.next.fetch_add(1, Relaxed);
        *lock(&self.number) = Some(number);
        lock(&self.shared.idle).insert(number, Arc::clone(&self.leave));
        self.busy.send_replace(false);
        self.shared.arrived.notify_one();
    }

    fn leave_queue(&self) {
        if let Some(number) = lock(&self.number).take() {
            lock(&self.shared.idle).remove(&number);
        }
    }

    /// Waits until nothing has happened for too long.
    async fn stalled(&self) {
        let mut busy = self.busy.subscribe();
        loop {
            let is_busy = *busy.borrow_and_update();
            // The sender is ours: neither wait ends without news.
            if is_busy {
                let _ = busy.changed().await;
            } else if timeout(self.shared.limits.idle, busy.changed())
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// Serves until the future is dropped.
pub(super) async fn serve(
    served: &Served,
    socket: &ServedSocket,
    limits: Limits,
) -> io::Result<()> {
    let shared = Connections::new(limits);
    loop {
        let (stream, _) = socket.listener.accept().await?;
        let room = shared.room().await?;
        let (served, place) = (served.clone(), Place::new(&shared));
        tokio::spawn(async move {
            connection(&served, &place, stream).await;
            place.leave_queue();
            drop(room);
        });
    }
}

async fn connection(served: &Served, place: &Arc<Place>, stream: UnixStream) {
    let service = service_fn(|request| {
        let (served, place) = (served.clone(), Arc::clone(place));
        async move { Ok::<_, Infallible>(served.respond(request, &place).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new();
    let mut serving = pin!(serving.serve_connection(TokioIo::new(stream), service));
    let mut stalled = pin!(place.stalled());
    loop {
        tokio::select! {
            biased;
            // Whoever called has gone, or is told to by hyper; there is nobody to tell.
            _ = serving.as_mut() => return,
            // An answer that is under way is sent first.
            () = place.leave.notified() => serving.as_mut().graceful_shutdown(),
            () = stalled.as_mut() => return,
        }
    }
}

#[cfg(test)]
mod tests;
