//! One call of a plugin: a JSON-RPC 2.0 request over HTTP, on a connection of its own, bounded in time
//! and in the size of the answer.
//!
//! A connection per call costs a fraction of a millisecond on a unix socket and leaves no doubt about
//! what a plugin that was restarted meanwhile still holds open. It also tells the two cases apart that
//! matter most: whether a call that failed can have reached the plugin.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drover_model::ErrorClass;
use drover_provider::ProviderError;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::{Directory, Endpoint, FindError, PluginName};

mod answer;

pub(crate) use answer::{Answer, Bounds, class_of, is_handshake, members, shortened};

/// How long connecting may take: the other end is on this machine, or near.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The most of an answer that is read where its status says that it is none, for its words.
const WORDS_BYTES_MAX: usize = 64 << 10;

/// How plugins are reached: by their name in a folder, or at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Looked up anew for each call.
    Named(Directory),
    /// Always there.
    Fixed(Endpoint),
}

impl Place {
    /// Returns why a plugin does not run, where who starts it says so.
    pub(crate) fn absence(&self, plugin: &PluginName) -> Option<String> {
        match self {
            Self::Named(directory) => directory.absences().of(&plugin.lookup),
            Self::Fixed(_) => None,
        }
    }
}

/// Calls one plugin.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) name: PluginName,
    pub(crate) place: Place,
    next_id: AtomicU64,
}

/// A call that has no result, with the plugin and the method that it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin {plugin}: {method}: {fault}")]
pub(crate) struct CallError {
    pub(crate) plugin: String,
    pub(crate) method: String,
    pub(crate) fault: Fault,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody is there who could have carried it out: neither socket nor `.listen` file, or a socket that nobody
    /// listens on.
    Absent(String),
    /// The plugin cannot have carried it out, and may run all the same.
    NotSent(String),
    /// Nobody knows whether it was carried out.
    Lost(String),
    /// The plugin answered that it failed.
    Refused {
        /// The error's class, if the plugin said one.
        class: Option<ErrorClass>,
        /// What it said.
        message: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) | Self::NotSent(why) | Self::Lost(why) => f.write_str(why),
            Self::Refused { message, .. } => f.write_str(message),
        }
    }
}

impl CallError {
    /// Returns the error for a caller that cannot know more than whether the call was carried out.
    pub(crate) fn into_provider_error(self) -> ProviderError {
        let class = match &self.fault {
            Fault::Absent(_) | Fault::NotSent(_) | Fault::Lost(_) => ErrorClass::Unknown,
            Fault::Refused { class, .. } => class.unwrap_or(ErrorClass::Unknown),
        };
        ProviderError::new(class, self.to_string())
    }
}

/// The request, with its members in the order in which InfraKit's own client writes them.
#[derive(Serialize)]
struct Envelope<'a, P> {
    jsonrpc: &'static str,
    method: &'a str,
    params: &'a P,
    id: u64,
}

impl Caller {
    pub(crate) fn new(name: PluginName, place: Place) -> Self {
        Self {
            name,
            place,
            next_id: AtomicU64::new(1),
        }
    }

    /// Calls a method and returns its result, never null, built as what is wanted of it.
    ///
    /// # Cancellation
    ///
    /// A dropped future closes the connection; the plugin may carry the call out all the same.
    pub(crate) async fn call<P: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: &str,
        params: &P,
        limit: Duration,
    ) -> Result<R, CallError> {
        let answer = self.call_unread(method, params, limit).await?;
        self.build(method, &answer)
    }

    /// Builds a result.
    pub(crate) fn build<R: DeserializeOwned>(
        &self,
        method: &str,
        answer: &Answer,
    ) -> Result<R, CallError> {
        let built = serde_json::from_slice(&answer.result);
        built.map_err(|error| self.garbled(method, &error.to_string()))
    }

    /// Returns an error of this plugin that no answer was the reason for.
    pub(crate) fn error(&self, method: &str, fault: Fault) -> CallError {
        CallError {
            plugin: self.name.to_string(),
            method: method.to_owned(),
            fault,
        }
    }

    /// Calls a method and returns its result as it came: for who must not lose a digit of it, or reads it in parts.
    ///
    /// # Cancellation
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn call_unread<P: Serialize + Sync>(
        &self,
        method: &str,
        params: &P,
        limit: Duration,
    ) -> Result<Answer, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = self.try_bytes(method, params, id, limit).await;
        let answered = bytes.and_then(|bytes| answer::read(&bytes, Bounds::of(method)));
        answered.map_err(|fault| self.error(method, self.explained(method, fault)))
    }

    /// Returns the fault in the words of who starts the plugin, where it has ended: that nobody listens says less. A call that
    /// was lost keeps its own words, as the plugin may have run then; a handshake only asks whether it does.
    fn explained(&self, method: &str, fault: Fault) -> Fault {
        let known = self.place.absence(&self.name);
        match (fault, known) {
            (Fault::Absent(_), Some(why)) => Fault::Absent(why),
            (Fault::NotSent(_), Some(why)) if is_handshake(method) => Fault::NotSent(why),
            (Fault::Lost(_), Some(why)) if is_handshake(method) => Fault::Lost(why),
            (fault, _) => fault,
        }
    }

    /// Returns where the plugin is now.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Fault> {
        match &self.place {
            Place::Fixed(endpoint) => Ok(endpoint.clone()),
            Place::Named(directory) => {
                let found = directory.find(&self.name.lookup);
                found.map_err(|error| not_found(&error))
            }
        }
    }

    async fn try_bytes<P: Serialize + Sync>(
        &self,
        method: &str,
        params: &P,
        id: u64,
        limit: Duration,
    ) -> Result<Bytes, Fault> {
        let envelope = Envelope {
            jsonrpc: "2.0",
            method,
            params,
            id,
        };
        let body = serde_json::to_vec(&envelope).map_err(|error| not_sent(&error))?;
        let endpoint = self.endpoint()?;
        let exchanging = exchange(&endpoint, body, Bounds::of(method));
        match tokio::time::timeout(limit, exchanging).await {
            Ok(exchanged) => exchanged,
            Err(_) => Err(Fault::Lost(format!("no answer within {limit:?}"))),
        }
    }
}

/// Opens the connection and exchanges one request for one answer.
async fn exchange(endpoint: &Endpoint, body: Vec<u8>, bounds: Bounds) -> Result<Bytes, Fault> {
    let refused = |error: std::io::Error| {
        let why = format!("cannot connect to {endpoint}: {error}");
        if nobody_listens(endpoint, error.kind()) {
            Fault::Absent(why)
        } else {
            Fault::NotSent(why)
        }
    };
    let late = || {
        Fault::NotSent(format!(
            "no connection to {endpoint} within {CONNECT_LIMIT:?}"
        ))
    };
    match endpoint {
        Endpoint::Unix(path) => {
            let connecting = tokio::time::timeout(CONNECT_LIMIT, UnixStream::connect(path));
            let stream = connecting.await.map_err(|_| late())?.map_err(refused)?;
            send(stream, body, bounds).await
        }
        Endpoint::Tcp(address) => {
            let connecting = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address));
            let stream = connecting.await.map_err(|_| late())?.map_err(refused)?;
            send(stream, body, bounds).await
        }
    }
}

/// Returns whether an error of connecting says that nobody is there. A socket's file that is gone, or that nobody listens
/// behind, says so, and it is on this machine; a full queue does not. A refusal over the network may be a firewall's, or
/// another machine's at that address.
fn nobody_listens(endpoint: &Endpoint, kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    match endpoint {
        Endpoint::Unix(_) => matches!(kind, NotFound | ConnectionRefused),
        Endpoint::Tcp(_) => false,
    }
}

/// Ends the connection's task with the call, also when it is dropped.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    body: Vec<u8>,
    bounds: Bounds,
) -> Result<Bytes, Fault> {
    let io = TokioIo::new(stream);
    let shaken = hyper::client::conn::http1::handshake(io).await;
    let (mut sender, connection) = shaken.map_err(|error| not_sent(&error))?;
    let driving = Connection(tokio::spawn(async move {
        // Why the connection ended is told by the answer that did not come.
        let _ = connection.await;
    }));
    let request = Request::post("/")
        .header(HOST, "h")
        .header(USER_AGENT, concat!("drover/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::new(body.into()));
    let request = request.map_err(|error| not_sent(&error))?;
    let answered = sender.send_request(request).await;
    let response =
        answered.map_err(|error| Fault::Lost(format!("no answer: {}", whole(&error))))?;
    let status = response.status();
    let bounds = match status {
        StatusCode::OK => bounds,
        _ => Bounds {
            text: WORDS_BYTES_MAX,
            ..bounds
        },
    };
    let answer = collect(response, bounds).await;
    drop(driving);
    match status {
        StatusCode::OK => answer,
        // Answered by who looks at the request's form, before it is carried out.
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => Err(Fault::NotSent(status_text(status, answer))),
        _ => Err(Fault::Lost(status_text(status, answer))),
    }
}

fn status_text(status: StatusCode, answer: Result<Bytes, Fault>) -> String {
    let said = answer.unwrap_or_default();
    let said = shortened(String::from_utf8_lossy(&said).trim());
    match said.as_str() {
        "" => format!("it answers with HTTP status {}", status.as_u16()),
        said => format!("it answers with HTTP status {}: {said}", status.as_u16()),
    }
}

/// Reads an answer's body up to the limit. What its `Content-Type` says is not looked at: InfraKit's own
/// plugins call it text.
async fn collect(response: Response<Incoming>, bounds: Bounds) -> Result<Bytes, Fault> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Fault::Lost(format!("the answer ends early: {}", whole(&error))))?;
        let Ok(part) = frame.into_data() else {
            continue;
        };
        if bytes.len() + part.len() > bounds.text {
            return Err(bounds.too_long());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.into())
}

/// Returns the fault of a plugin that is not found in its folder.
pub(crate) fn not_found(error: &FindError) -> Fault {
    match error {
        FindError::Missing { .. } => Fault::Absent(whole(error)),
        FindError::Address { .. } | FindError::Read { .. } => not_sent(error),
    }
}

fn not_sent(error: &dyn std::error::Error) -> Fault {
    Fault::NotSent(whole(error))
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

impl Caller {
    /// Returns the error of an answer that cannot be read: whatever it was, it may have been done.
    pub(crate) fn garbled(&self, method: &str, why: &str) -> CallError {
        let fault = Fault::Lost(format!("the answer cannot be read: {}", shortened(why)));
        self.error(method, fault)
    }
}

#[cfg(test)]
mod tests;
