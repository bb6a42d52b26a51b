//! Serving: a provider of ours behind a socket, to InfraKit as an `Instance` plugin and to other agents as
//! `Provider/1`.
//!
//! The form of requests and answers is that of InfraKit's own servers, down to their status codes, their
//! empty answers, and a `Content-Type` that says text.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::net::UnixListener;

use crate::connections::{self, Connection};
use crate::go_json::{compact, entries};
use crate::json::field;
use crate::weight::weigh;
use calls::{Calls, Limits};

mod agent;
mod calls;
mod cloud_init;
mod flavor;
mod group;
mod instance;
mod provider;

pub use agent::{AgentService, Managed, ManagingAgent};
pub use cloud_init::CloudInitService;
pub use flavor::VanillaService;
pub use group::{
    GroupChange, GroupService, GroupSpec, Groups, ServedGroup, ServedInstance, Trying, Watch,
    WrittenGroup,
};
pub use instance::InstanceService;
pub use provider::ProviderService;

/// The largest request that is read: an instance's user data is at most some hundred kilobytes.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// The most memory that a request may take once it is read: a thousand slots of a batch with fifty variables each take
/// less than half of it.
const REQUEST_MEMORY_MAX: usize = 32 << 20;

/// How a plugin calls itself among its objects: what it is where no subtype is named.
const UNTYPED: &str = ".";

/// A failure that a call is answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    code: i64,
    message: String,
    /// As JSON.
    data: String,
}

impl Failure {
    /// A failure with nothing but words, as InfraKit's plugins have them.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self {
            code: -32000,
            message: message.into(),
            data: "null".to_owned(),
        }
    }

    /// Parameters that cannot be read.
    pub(crate) fn params(message: impl Into<String>, params: &Json) -> Self {
        Self {
            code: -32600,
            message: message.into(),
            data: params.to_string(),
        }
    }

    /// A provider's error, with its class for who can read it.
    pub(crate) fn of(error: &drover_provider::ProviderError) -> Self {
        Self {
            code: -32000,
            message: error.message.clone(),
            data: json!({"class": error.class.as_str()}).to_string(),
        }
    }
}

/// The answer to a call: a result as JSON, its members in the order in which InfraKit writes them.
pub type Answered = Result<String, Failure>;

/// Writes a result.
pub(crate) fn written(result: &impl Serialize) -> Answered {
    serde_json::to_string(result).map_err(|error| Failure::plain(error.to_string()))
}

/// One of a plugin's interfaces.
#[async_trait]
pub trait Service: Send + Sync + std::fmt::Debug {
    /// Returns the name in front of the dot of its methods.
    fn name(&self) -> &'static str;

    /// Returns its versions as the handshakes of this protocol's ages announce them: `Plugin.Implements`,
    /// `Handshake.Implements` and `Handshake.Hello`. None: that age did not have it.
    fn versions(&self) -> [Option<&'static str>; 3];

    /// Returns the subtypes that it has beside the plugin itself.
    fn subtypes(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Answers a call with the JSON of its result. None: there is no such method.
    async fn call(&self, method: &str, params: &Json) -> Option<Answered>;
}

/// The services of one plugin.
#[derive(Debug, Clone)]
pub struct Served(Arc<Vec<Box<dyn Service>>>);

/// A socket that is being served; its file is removed with it.
#[derive(Debug)]
pub struct ServedSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for ServedSocket {
    fn drop(&mut self) {
        // A file that stays is replaced by the next one that serves there.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ServedSocket {
    /// Listens on a socket that only this user may use. A file that nobody listens behind is replaced.
    ///
    /// # Errors
    ///
    /// Somebody listens there, or the file cannot be made.
    pub fn bind(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
        if let Ok(entry) = std::fs::symlink_metadata(path) {
            if !entry.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "it is there and no socket",
                ));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "somebody listens there",
                ));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

impl Served {
    /// Puts a plugin together.
    pub fn new(services: Vec<Box<dyn Service>>) -> Self {
        Self(Arc::new(services))
    }

    /// Serves until the future is dropped.
    ///
    /// # Cancellation
    ///
    /// Calls under way are carried out; their answers are lost.
    pub async fn serve(&self, socket: &ServedSocket) -> Infallible {
        self.serve_within(socket, Limits::STANDARD).await
    }

    async fn serve_within(&self, socket: &ServedSocket, limits: Limits) -> Infallible {
        let (served, calls) = (self.clone(), Calls::new(limits));
        let respond = move |request, connection: Arc<Connection>| {
            let (served, calls) = (served.clone(), calls.clone());
            async move { served.respond(request, &connection, &calls).await }
        };
        connections::serve(&socket.listener, limits.connections, respond).await
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        calls: &Calls,
    ) -> Response<Full<Bytes>> {
        if request.uri().path() != "/" {
            let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
            let nosniff = HeaderValue::from_static("nosniff");
            response
                .headers_mut()
                .insert("x-content-type-options", nosniff);
            return response;
        }
        if request.method() != Method::POST {
            let words = format!("rpc: POST method required, received {}", request.method());
            return text(StatusCode::METHOD_NOT_ALLOWED, words);
        }
        let type_ = request.headers().get(CONTENT_TYPE);
        let type_ = type_
            .and_then(|type_| type_.to_str().ok())
            .unwrap_or_default();
        let plain = type_.split(';').next().unwrap_or_default().trim();
        if !plain.is_empty() && !plain.eq_ignore_ascii_case("application/json") {
            let words = format!("rpc: unrecognized Content-Type: {type_}");
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, words);
        }
        connection.reading();
        let Some(permit) = calls.place().await else {
            let words = "too many calls are under way".to_owned();
            return text(StatusCode::SERVICE_UNAVAILABLE, words);
        };
        let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX)
            .collect()
            .await;
        let Ok(body) = body else {
            return Response::new(Full::default());
        };
        let _busy = connection.busy();
        let this = self.clone();
        // Carried out to its end also where the caller hangs up: what is half made is known to nobody. One that has no
        // end is dropped in time.
        let limit = calls.limits.call;
        let call = tokio::spawn(async move {
            let answer = tokio::time::timeout(limit, this.answer(&body.to_bytes())).await;
            drop(permit);
            answer
        });
        let answer = match call.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_elapsed)) => {
                let words = format!("the call has not ended within {limit:?}");
                return text(StatusCode::INTERNAL_SERVER_ERROR, words);
            }
            Err(_broken) => {
                let words = "the call broke off".to_owned();
                return text(StatusCode::INTERNAL_SERVER_ERROR, words);
            }
        };
        if answer.is_empty() {
            return Response::new(Full::default());
        }
        text(StatusCode::OK, answer)
    }

    /// Returns the answer to a request, or nothing, as InfraKit's servers do, for what is none: broken
    /// JSON, several at once, and calls that want no answer; and for what takes too much memory.
    pub async fn answer(&self, request: &[u8]) -> String {
        if weigh(request, REQUEST_MEMORY_MAX).is_err() {
            return String::new();
        }
        let Some(Call {
            version,
            method,
            params,
            id,
        }) = Call::read(request)
        else {
            return String::new();
        };
        let outcome = if version == "2.0" {
            let Ok(params) = serde_json::from_str::<Json>(&params) else {
                return String::new();
            };
            self.call(&method, &params).await
        } else {
            let (version, method) = (Json::String(version), Json::String(method));
            Err(Failure {
                code: -32600,
                message: "jsonrpc must be 2.0".to_owned(),
                // Handed back, its members in InfraKit's order.
                data: format!(
                    "{{\"jsonrpc\":{version},\"method\":{method},\"params\":{params},\"id\":{id}}}"
                ),
            })
        };
        envelope(outcome, &id)
    }

    async fn call(&self, method: &str, params: &Json) -> Answered {
        let Some((service, name)) = method.split_once('.') else {
            let words = format!("rpc: service/method request ill-formed: {method:?}");
            return Err(Failure::plain(words));
        };
        let unknown = || Failure::plain(format!("rpc: can't find method {method:?}"));
        if matches!(service, "Handshake" | "Plugin") {
            return self
                .handshake(service, name)
                .unwrap_or_else(|| Err(unknown()));
        }
        let Some(found) = self.0.iter().find(|found| found.name() == service) else {
            return Err(Failure::plain(format!(
                "rpc: can't find service {method:?}"
            )));
        };
        found
            .call(name, in_form(params)?)
            .await
            .unwrap_or_else(|| Err(unknown()))
    }

    /// Answers the handshakes of every age. None: there is no such method.
    fn handshake(&self, service: &str, name: &str) -> Option<Answered> {
        let of_age = |age: usize| -> Vec<(&'static str, &'static str)> {
            let services = self.0.iter();
            let of_age =
                services.filter_map(|service| Some((service.name(), service.versions()[age]?)));
            of_age.collect()
        };
        let apis = |age| Apis {
            apis: of_age(age)
                .into_iter()
                .map(|(name, version)| Api {
                    name,
                    version,
                    sub: "",
                })
                .collect(),
        };
        let spec = |(name, version)| format!("{name}/{version}");
        let objects = |service: &dyn Service| {
            let subtypes = service.subtypes();
            let names = [UNTYPED].into_iter().chain(subtypes);
            names
                .map(|name| Object {
                    name,
                    proxy_for: "",
                })
                .collect()
        };
        Some(match (service, name) {
            ("Handshake", "Hello") => written(&Objects {
                objects: self
                    .0
                    .iter()
                    .filter_map(|service| {
                        let api = (service.name(), service.versions()[2]?);
                        Some((spec(api), objects(&**service)))
                    })
                    .collect(),
            }),
            ("Handshake", "Implements") => written(&apis(1)),
            ("Handshake", "Types") => written(&Types {
                types: of_age(1)
                    .into_iter()
                    .map(|api| (spec(api), vec![UNTYPED]))
                    .collect(),
            }),
            ("Plugin", "Implements") => written(&apis(0)),
            _ => return None,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Objects {
    objects: BTreeMap<String, Vec<Object>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    name: &'static str,
    proxy_for: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Types {
    types: BTreeMap<String, Vec<&'static str>>,
}

#[derive(Serialize)]
struct Apis {
    #[serde(rename = "APIs")]
    apis: Vec<Api>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Api {
    name: &'static str,
    version: &'static str,
    sub: &'static str,
}

fn text(status: StatusCode, words: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(words)));
    *response.status_mut() = status;
    let type_ = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, type_);
    response
}

/// A request.
struct Call {
    version: String,
    method: String,
    /// As JSON, without the space in between.
    params: String,
    /// The same: a number may have more digits than any of ours.
    id: String,
}

impl Call {
    /// Reads a request as Go does: names in any case, of two alike the last one, and nothing of what follows. None: it is
    /// none, or wants no answer.
    fn read(request: &[u8]) -> Option<Self> {
        let entries = entries(request).ok()?;
        let of = |name: &str| {
            let mut alike = entries.iter().rev();
            let found = alike.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| compact(value))
        };
        let text = |name: &str| {
            let json = of(name).and_then(|json| serde_json::from_str::<Json>(&json).ok());
            json.and_then(|json| json.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        Some(Self {
            version: text("jsonrpc"),
            method: text("method"),
            params: of("params").unwrap_or_else(|| "null".to_owned()),
            id: of("id").filter(|id| id != "null")?,
        })
    }
}

/// Writes an answer as InfraKit's servers do: members in their order, and the characters escaped that Go
/// escapes, which stand in texts only.
fn envelope(outcome: Answered, id: &str) -> String {
    let answer = match outcome {
        Ok(result) => format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":{id}}}\n"),
        Err(Failure {
            code,
            message,
            data,
        }) => {
            let message = Json::String(message);
            format!(
                "{{\"jsonrpc\":\"2.0\",\"error\":{{\"code\":{code},\"message\":{message},\"data\":{data}}},\"id\":{id}}}\n"
            )
        }
    };
    let escaped = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    if !answer.contains(escaped.map(|(character, _)| character)) {
        return answer;
    }
    escaped
        .into_iter()
        .fold(answer, |text, (character, escape)| {
            text.replace(character, escape)
        })
}

/// Returns the parameters themselves. Some clients write a list with them, of which Go reads the first entry.
fn in_form(params: &Json) -> Result<&Json, Failure> {
    let one = match params {
        Json::Array(list) => list.first().unwrap_or(&Json::Null),
        one => one,
    };
    match one {
        Json::Object(_) | Json::Null => Ok(one),
        Json::Array(_) | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            Err(Failure::params("`params`: not a map", params))
        }
    }
}

/// Returns the parameters as an object, and a field of them in any case.
pub(crate) fn param<'a>(params: &'a Json, name: &str) -> Option<&'a Json> {
    params.as_object().and_then(|params| field(params, name))
}

/// Refuses a call of a subtype: what is served here has none.
fn without_subtype(params: &Json) -> Result<(), Failure> {
    let type_ = crate::json::text(param(params, "Type"));
    let type_ = type_.map_err(|why| Failure::params(format!("`Type`: {why}"), params))?;
    match type_.unwrap_or_default().as_str() {
        "" => Ok(()),
        type_ => Err(Failure::plain(format!("no-plugin:{type_}"))),
    }
}
