//! The connections of whoever serves HTTP: the plugins here, and the agent on its socket and its address.
//!
//! Only what is asked is scarce. A connection over which nobody asks holds nobody up: it is closed when it has been so for
//! long, or at once when another one needs its place.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// How much is taken on.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Most connections at once; more wait in the listener's queue for the one that has been idle for longest.
    pub connections: usize,
    /// How long a connection may be without a request: silent, in the middle of one, or with an answer that nobody reads.
    pub idle: Duration,
    /// How long a connection may last. None: as long as it is used.
    pub lifetime: Option<Lifetime>,
}

/// How long a connection may last, whatever is asked over it.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime {
    /// How long it takes new requests.
    pub asking: Duration,
    /// How long the last one may take after that.
    pub grace: Duration,
}

/// Between two looks for an idle connection while one is awaited to end.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// How long to wait after connections cannot be taken: the system has no more files, and asking again at once would
/// only turn in a circle.
const PAUSE: Duration = Duration::from_secs(1);

/// The most that is kept of a request whose headers are not complete. Hosts send less than a tenth of it.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What connections come from.
pub trait Listener: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

/// What is going on on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was ever answered, so that nothing is lost with it.
    Silent,
    /// A request is being read.
    Reading,
    /// A request is being answered.
    Busy,
    /// There is an answer; it may not be sent yet.
    Answered,
}

/// What all connections of a listener share.
#[derive(Debug)]
struct Connections {
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    /// Connections without a request, the one that has been so for longest first, with what tells them to go.
    idle: Mutex<BTreeMap<u64, Arc<Notify>>>,
    /// Somebody became idle.
    arrived: Notify,
    next: AtomicU64,
}

/// One connection, for who answers its requests.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Connections>,
    /// Whatever is sent, the time in which nothing happens begins anew.
    stage: watch::Sender<Stage>,
    leave: Arc<Notify>,
    /// Under which number it is idle.
    number: Mutex<Option<u64>>,
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Busy<'a>(&'a Connection);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connections {
    fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            idle: Mutex::default(),
            arrived: Notify::new(),
            next: AtomicU64::new(0),
        })
    }

    /// Waits for a place. Where there is none, the connection that has been idle for longest goes. None: never, as
    /// nobody closes the places.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        let mut room = pin!(Arc::clone(&self.places).acquire_owned());
        if let Ok(room) = timeout(Duration::ZERO, room.as_mut()).await {
            return room.ok();
        }
        loop {
            let first = lock(&self.idle).pop_first();
            if let Some((_, leave)) = &first {
                leave.notify_one();
            }
            tokio::select! {
                biased;
                room = room.as_mut() => return room.ok(),
                () = self.arrived.notified(), if first.is_none() => {}
                () = sleep(ROOM_INTERVAL) => {}
            }
        }
    }
}

impl Connection {
    fn new(shared: &Arc<Connections>) -> Arc<Self> {
        let connection = Self {
            shared: Arc::clone(shared),
            stage: watch::Sender::new(Stage::Silent),
            leave: Arc::new(Notify::new()),
            number: Mutex::default(),
        };
        connection.rest(Stage::Silent);
        Arc::new(connection)
    }

    /// Says that something was heard of a request that is not answered yet, so that its time begins anew.
    pub fn reading(&self) {
        self.stage.send_replace(Stage::Reading);
    }

    /// Says that a request is answered, until the result is dropped: for so long the connection is not closed for another
    /// one, and not for being idle.
    pub fn busy(&self) -> Busy<'_> {
        self.leave_queue();
        self.stage.send_replace(Stage::Busy);
        Busy(self)
    }

    fn rest(&self, stage: Stage) {
        let number = self.shared.next.fetch_add(1, Relaxed);
        *lock(&self.number) = Some(number);
        lock(&self.shared.idle).insert(number, Arc::clone(&self.leave));
        self.stage.send_replace(stage);
        self.shared.arrived.notify_one();
    }

    fn leave_queue(&self) {
        if let Some(number) = lock(&self.number).take() {
            lock(&self.shared.idle).remove(&number);
        }
    }

    /// Waits until nothing has happened for too long.
    async fn stalled(&self) {
        let mut stage = self.stage.subscribe();
        loop {
            let now = *stage.borrow_and_update();
            // The sender is ours: neither wait ends without news.
            if now == Stage::Busy {
                let _ = stage.changed().await;
            } else if timeout(self.shared.limits.idle, stage.changed())
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
        self.0.rest(Stage::Answered);
    }
}

/// Serves until the future is dropped. `respond` answers each request; while it does, it says so by
/// [`Connection::busy`].
///
/// # Cancellation
///
/// The connections end with it.
pub async fn serve<L, F, A, B>(listener: &L, limits: ConnectionLimits, respond: F) -> Infallible
where
    L: Listener,
    F: Fn(Request<Incoming>, Arc<Connection>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let shared = Connections::new(limits);
    let mut tasks = JoinSet::new();
    loop {
        let stream = match listener.next().await {
            Ok(stream) => stream,
            Err(error) => {
                if !is_of_the_connection(&error) {
                    debug!(%error, "connection not taken");
                    sleep(PAUSE).await;
                }
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        let room = shared.room().await;
        let connection = Connection::new(&shared);
        let respond = respond.clone();
        tasks.spawn(async move {
            converse(stream, &connection, respond).await;
            connection.leave_queue();
            drop(room);
        });
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

async fn converse<S, F, A, B>(stream: S, connection: &Arc<Connection>, respond: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>, Arc<Connection>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let service = service_fn(|request| {
        let answer = respond(request, Arc::clone(connection));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let serving = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let mut stalled = pin!(connection.stalled());
    let lifetime = connection.shared.limits.lifetime;
    let mut lasting = pin!(sleep(lifetime.map_or(PAUSE, |lifetime| lifetime.asking)));
    let mut is_last = false;
    loop {
        tokio::select! {
            biased;
            // Whoever asked has gone, or is told to by hyper; there is nobody to tell.
            _ = serving.as_mut() => return,
            () = connection.leave.notified() => {
                let stage = *connection.stage.borrow();
                match stage {
                    Stage::Silent | Stage::Reading => return,
                    // An answer that is under way is sent first.
                    Stage::Busy | Stage::Answered => serving.as_mut().graceful_shutdown(),
                }
            }
            () = stalled.as_mut() => return,
            () = lasting.as_mut(), if lifetime.is_some() => {
                if is_last {
                    return;
                }
                is_last = true;
                serving.as_mut().graceful_shutdown();
                let grace = lifetime.map_or(PAUSE, |lifetime| lifetime.grace);
                lasting.as_mut().reset(tokio::time::Instant::now() + grace);
            }
        }
    }
}
