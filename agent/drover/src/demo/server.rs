//! What the demo's instances run: a small web server that says who it is, can be drained, and ends
//! gracefully.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The port of every instance; each has an address of its own.
pub(crate) const PORT: u16 = 8080;

/// How long a request takes, so that there is something in flight worth draining.
const WORK: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Server {
    instance: String,
    version: String,
    draining: AtomicBool,
    in_flight: AtomicUsize,
}

/// Serves until SIGTERM.
pub(crate) fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The shim keeps it in the instance's log.
            let _ = writeln!(std::io::stderr(), "demo server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> std::io::Result<()> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let address = variable("DROVER_ADDRESS");
    let address = if address.is_empty() {
        "127.0.0.1"
    } else {
        &address
    };
    let address: SocketAddr = format!("{address}:{PORT}")
        .parse()
        .map_err(|_| std::io::Error::other("DROVER_ADDRESS is not an address"))?;
    let server = Arc::new(Server {
        instance: variable("DROVER_INSTANCE"),
        version: variable("DEMO_VERSION"),
        draining: AtomicBool::new(false),
        in_flight: AtomicUsize::new(0),
    });
    let router = Router::new()
        .route("/", get(hello))
        .route("/healthz", get(async || "{\"busy\": false}\n"))
        .route("/drain", post(drain))
        .route("/idle", get(idle))
        .with_state(server);
    let listener = TcpListener::bind(address).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            terminated.recv().await;
        })
        .await
}

/// Says who it is, with its process id, so that the demo can kill it the hard way.
async fn hello(State(server): State<Arc<Server>>) -> String {
    server.in_flight.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(WORK).await;
    server.in_flight.fetch_sub(1, Ordering::SeqCst);
    format!(
        "instance={} version={} pid={}\n",
        server.instance,
        server.version,
        std::process::id()
    )
}

async fn drain(State(server): State<Arc<Server>>) -> &'static str {
    server.draining.store(true, Ordering::SeqCst);
    "draining\n"
}

/// Answers 200 once it is drained and nothing is in flight.
async fn idle(State(server): State<Arc<Server>>) -> (StatusCode, &'static str) {
    let draining = server.draining.load(Ordering::SeqCst);
    if draining && server.in_flight.load(Ordering::SeqCst) == 0 {
        (StatusCode::OK, "idle\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "busy\n")
    }
}
