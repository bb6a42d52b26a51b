//! HTTP over a unix socket: one request on a connection of its own, bounded in time and in the size of
//! the answer.
//!
//! A connection per call costs a fraction of a millisecond, and leaves no doubt about what an engine that
//! was restarted meanwhile still holds open.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_provider::SecretText;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// How long connecting may take: the engine is on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The header with credentials for the registry that an image is pulled from.
const REGISTRY_AUTH: &str = "x-registry-auth";

/// What is kept of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it; more than so many bytes is an error.
    All(usize),
    /// The first so many bytes; the rest is read and thrown away.
    First(usize),
    /// The last so many bytes, or up to twice as many.
    Last(usize),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The engine cannot have carried it out.
    NotSent {
        why: String,
        /// Whether the socket may not be opened.
        denied: bool,
    },
    /// Nobody knows whether it was carried out.
    Lost(String),
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query, encoded.
    pub(crate) target: String,
    /// JSON. None: no body.
    pub(crate) body: Option<Vec<u8>>,
    /// Credentials for a registry.
    pub(crate) registry_auth: Option<SecretText>,
    pub(crate) limit: Duration,
    pub(crate) keep: Keep,
}

/// Ends the connection's task with the call, also when it is dropped.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket(PathBuf);

impl Socket {
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Exchanges one request for one answer.
    ///
    /// # Cancellation
    ///
    /// A dropped future closes the connection; the engine may carry the request out all the same.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Answer, Fault> {
        let connecting = tokio::time::timeout(CONNECT_LIMIT, UnixStream::connect(&self.0));
        let stream = match connecting.await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error))?,
            Err(_) => return Err(not_sent(format!("no connection within {CONNECT_LIMIT:?}"))),
        };
        let limit = call.limit;
        match tokio::time::timeout(limit, send(stream, call)).await {
            Ok(answered) => answered,
            Err(_) => Err(Fault::Lost(format!("no answer within {limit:?}"))),
        }
    }

    fn unreachable(&self, error: &io::Error) -> Fault {
        Fault::NotSent {
            why: format!("cannot connect to {}: {error}", self.0.display()),
            denied: error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

async fn send(stream: UnixStream, call: Call) -> Result<Answer, Fault> {
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| not_sent(whole(&error)))?;
    let driving = Connection(tokio::spawn(async move {
        // Why the connection ended is told by the answer that did not come.
        let _ = connection.await;
    }));
    let mut request = Request::builder()
        .method(call.method)
        .uri(call.target)
        .header(HOST, "engine")
        .header(USER_AGENT, concat!("drover/", env!("CARGO_PKG_VERSION")));
    if call.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(credentials) = call.registry_auth {
        let value = HeaderValue::from_str(credentials.reveal());
        let mut value = value.map_err(|_| not_sent("the credentials cannot be sent"))?;
        value.set_sensitive(true);
        request = request.header(REGISTRY_AUTH, value);
    }
    let body = Full::<Bytes>::new(call.body.unwrap_or_default().into());
    let request = request.body(body);
    let request = request.map_err(|error| not_sent(whole(&error)))?;
    let answered = sender.send_request(request).await;
    let response =
        answered.map_err(|error| Fault::Lost(format!("no answer: {}", whole(&error))))?;
    let status = response.status().as_u16();
    let body = collect(response.into_body(), call.keep).await?;
    drop(driving);
    Ok(Answer { status, body })
}

async fn collect(mut body: Incoming, keep: Keep) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Fault::Lost(format!("the answer ends: {}", whole(&error))))?;
        let Ok(part) = frame.into_data() else {
            continue;
        };
        match keep {
            Keep::All(most) if bytes.len() + part.len() > most => {
                let why = format!("the answer is larger than {most} bytes");
                return Err(Fault::Lost(why));
            }
            Keep::All(_) => bytes.extend_from_slice(&part),
            Keep::First(most) => {
                let room = most.saturating_sub(bytes.len()).min(part.len());
                bytes.extend_from_slice(&part[..room]);
            }
            Keep::Last(most) => {
                bytes.extend_from_slice(&part);
                if bytes.len() > 2 * most {
                    bytes.drain(..bytes.len() - most);
                }
            }
        }
    }
    Ok(bytes)
}

fn not_sent(why: impl Into<String>) -> Fault {
    Fault::NotSent {
        why: why.into(),
        denied: false,
    }
}

/// Returns an error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Returns a text as it stands in a path or query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&data_encoding::HEXUPPER.encode(&[byte]));
        }
    }
    out
}

#[cfg(test)]
mod tests;
