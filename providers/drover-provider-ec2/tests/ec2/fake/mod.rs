//! A double of EC2 and EC2 Auto Scaling that speaks their query protocol over HTTP, so that the real SDK is tested
//! on the wire.
//!
//! It keeps what Amazon's documentation promises and what makes EC2 hard: tokens that are enforced with their
//! parameters, each in the zone that its launch names and in no other, states that take time, listings that are behind, terminated instances that stay listed, pages,
//! calls that are turned away, limits of the account, offerings without room, batches that are made in part, answers that are lost.
//! It counts every call.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

mod actions;
pub(crate) mod scaling;
mod storage;
mod world;
mod xml;

pub(crate) use world::{Disk, FakeSettings, Machine, World};

use xml::Form;

/// A refusal, as EC2 words it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        let throttled = matches!(code, "RequestLimitExceeded" | "ServiceUnavailable");
        Self {
            status: if throttled { 503 } else { 400 },
            code: code.to_owned(),
            message: message.into(),
        }
    }

    /// No refusal: the call that takes its turn is answered.
    pub(crate) fn passing() -> Self {
        Self::new("", "")
    }
}

/// A running double; it stops when it is dropped.
pub(crate) struct Fake {
    world: Arc<Mutex<World>>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    /// Starts one on a free port of loopback, on a thread of its own.
    pub(crate) fn start(settings: FakeSettings) -> Self {
        let world = Arc::new(Mutex::new(World::new(settings)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&world);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            world,
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Returns where it is.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what it holds, locked.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how often each action was called since the last time.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.world().calls)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, world: Arc<Mutex<World>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(request, Arc::clone(&world)));
            let serving = hyper::server::conn::http1::Builder::new();
            // A lost answer is a connection that breaks.
            let _ = serving
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    world: Arc<Mutex<World>>,
) -> io::Result<Response<Full<Bytes>>> {
    let signed = request.headers().get("authorization");
    let signed = signed.and_then(|value| value.to_str().ok());
    let key = signed.and_then(|value| value.strip_prefix("AWS4-HMAC-SHA256 Credential="));
    let key = key
        .and_then(|value| value.split('/').next())
        .map(str::to_owned);
    let body = request.into_body().collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    let form = Form::parse(&body);
    let action = form.text("Action").unwrap_or_default().to_owned();
    let scales = form.text("Version") == Some(scaling::VERSION);
    let carry_out = if scales {
        scaling::answer
    } else {
        actions::answer
    };
    let (answer, lost, delay) = {
        let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
        *world.calls.entry(action.clone()).or_default() += 1;
        if let Some((status, text)) = world.in_between.take() {
            return Ok(response(status, text));
        }
        let answer = if key.is_some() && (world.key.is_none() || world.key == key) {
            world
                .turn_away(&action)
                .map_or_else(|| carry_out(&mut world, &action, &form), Err)
        } else {
            Err(Refusal::new(
                "AuthFailure",
                "the request is not signed, or with another key",
            ))
        };
        let lost = answer.is_ok() && world.loses(&action);
        (answer, lost, world.settings.latency)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if lost {
        return Err(io::Error::other("the answer is lost"));
    }
    let (status, text) = match answer {
        Ok(inner) if scales => (200, xml::scaling_answer(&action, &inner)),
        Ok(inner) => (200, xml::answer(&action, &inner)),
        Err(refusal) if scales => (refusal.status, xml::scaling_refusal(&refusal)),
        Err(refusal) => (refusal.status, xml::refusal(&refusal)),
    };
    Ok(response(status, text))
}

fn response(status: u16, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
