//! The calls of the Engine API that are used, and what is read of their answers: no more than is needed,
//! and with nothing taken for granted, since engines differ in what they leave out and in the words that
//! they use for a state.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use drover_model::ErrorClass;
use hyper::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

use crate::client::{Answer, Call, Fault, Keep, Socket, encoded};
use crate::listing::Word;
use crate::registries::{Credentials, FullName};

/// The newest version of the API that this was written against. An older engine is asked in its own
/// version, which has to be [`VERSION_MIN`] at least; a newer one in this version.
const VERSION: Version = Version(1, 44);

/// Docker 17.05: the first whose create has `Mounts` for all kinds of mount, and health checks with a
/// start period.
const VERSION_MIN: Version = Version(1, 29);

/// The largest answer that is read: a listing of 20,000 containers.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The longest part of an engine's own words that is passed on, in characters.
const WORDS_MAX: usize = 500;

/// Bytes of what a pull tells that are kept: its last lines, which say how it ended.
const PULL_BYTES: usize = 16 << 10;

/// Bytes of what a command in a container prints that are kept.
const OUTPUT_BYTES: usize = 16 << 10;

/// How long an answer may take that needs no work.
const ASK_LIMIT: Duration = Duration::from_secs(30);

/// How long making or starting a container may take: a large image is unpacked, a slow disk is mounted.
const MAKE_LIMIT: Duration = Duration::from_mins(2);

/// How long removing may take: a large container's files are deleted.
const REMOVE_LIMIT: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A call of the engine that came to nothing, with what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what}: {why}")]
pub(crate) struct EngineError {
    /// What was attempted, and on what.
    what: String,
    why: String,
    pub(crate) kind: ErrorKind,
}

/// What is known of a call that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The engine cannot have carried it out.
    NotSent {
        /// Whether the socket may not be opened.
        denied: bool,
    },
    /// Nobody knows whether it was carried out.
    Lost,
    /// The engine said no, with this HTTP status.
    Refused(u16),
}

impl EngineError {
    /// Returns the class for a caller that knows nothing else of what the call came to.
    pub(crate) fn class(&self) -> ErrorClass {
        match self.kind {
            ErrorKind::NotSent { denied: true } | ErrorKind::Refused(401 | 403) => ErrorClass::Auth,
            ErrorKind::Refused(429) => ErrorClass::Throttled,
            ErrorKind::NotSent { denied: false } | ErrorKind::Lost | ErrorKind::Refused(_) => {
                ErrorClass::Unknown
            }
        }
    }

    /// Returns the class of a refusal of which it was found out that it left nothing behind.
    pub(crate) fn class_of_nothing_made(&self) -> ErrorClass {
        match self.kind {
            ErrorKind::Refused(300..=399 | 400 | 404) => ErrorClass::InvalidSpec,
            // Podman says 500 to almost everything, also to what could never succeed.
            ErrorKind::Refused(409 | 500..) => ErrorClass::Partial,
            ErrorKind::Refused(_) | ErrorKind::NotSent { .. } | ErrorKind::Lost => self.class(),
        }
    }

    /// Returns the class of a call that makes no instance, however it ends.
    pub(crate) fn class_of_a_look(&self) -> ErrorClass {
        match self.kind {
            ErrorKind::Lost => ErrorClass::Partial,
            ErrorKind::Refused(_) | ErrorKind::NotSent { .. } => self.class_of_nothing_made(),
        }
    }

    /// Returns whether the engine says that the container's state does not allow it.
    pub(crate) fn is_conflict(&self) -> bool {
        self.kind == ErrorKind::Refused(409)
    }

    /// Returns whether the engine says that there is no such thing.
    pub(crate) fn is_missing(&self) -> bool {
        self.kind == ErrorKind::Refused(404)
    }
}

/// A container as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    pub(crate) id: String,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) state: String,
    /// Seconds since 1970.
    pub(crate) created: Option<i64>,
    network_settings: Option<Networked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Networked {
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    address: Option<String>,
}

impl Summary {
    /// Returns the networks that it is in, with its address in each that has given it one.
    pub(crate) fn networks(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let networks = self.network_settings.iter();
        let networks = networks.filter_map(|settings| settings.networks.as_ref());
        networks.flatten().map(|(name, endpoint)| {
            let address = endpoint.as_ref().and_then(|it| it.address.as_deref());
            (name.as_str(), address.filter(|address| !address.is_empty()))
        })
    }
}

/// What is asked of one container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Inspected {
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) config: Option<ContainerConfig>,
}

/// How a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct State {
    pub(crate) status: String,
    pub(crate) running: bool,
    pub(crate) exit_code: Option<i32>,
    #[serde(rename = "OOMKilled")]
    pub(crate) out_of_memory: Option<bool>,
    pub(crate) error: Option<String>,
    pub(crate) health: Option<Health>,
    started_at: Option<String>,
}

/// When what has never run was started.
const YEAR_ONE: &str = "0001-01-01T";

impl State {
    /// Returns whether the container runs or has run. Its status alone does not say so: Podman calls what ran before
    /// a restart of the machine `created`.
    pub(crate) fn has_run(&self) -> bool {
        let started = self.started_at.as_deref().unwrap_or_default();
        let once = !started.is_empty() && !started.starts_with(YEAR_ONE);
        once || Word::read(&self.status) != Word::Created
    }
}

/// What a container's own check says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    pub(crate) status: Option<String>,
    pub(crate) log: Option<Vec<HealthLog>>,
}

/// One try of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HealthLog {
    pub(crate) exit_code: Option<i32>,
    pub(crate) output: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerConfig {
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// What is asked of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Image {
    pub(crate) config: Option<ImageConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageConfig {
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
}

/// A command that was run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Execution {
    pub(crate) running: bool,
    pub(crate) exit_code: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    id: String,
}

/// An engine.
#[derive(Debug)]
pub(crate) struct Engine {
    endpoint: String,
    socket: Socket,
    /// The version to ask in, once known.
    version: Mutex<Option<Version>>,
}

impl Engine {
    /// Uses the engine at a socket. `endpoint` names it in messages.
    pub(crate) fn at(endpoint: &str, socket: &Path) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            socket: Socket::at(socket),
            version: Mutex::default(),
        }
    }

    /// Lists containers, running or not, that have every one of these labels.
    pub(crate) async fn containers(&self, labels: &[String]) -> Result<Vec<Summary>, EngineError> {
        let filters = json!({ "label": labels }).to_string();
        let target = format!("/containers/json?all=true&filters={}", encoded(&filters));
        let what = "list containers";
        let answer = self.ask(what, Method::GET, &target, None).await?;
        self.read(what, &answer)
    }

    pub(crate) async fn inspect(&self, container: &str) -> Result<Inspected, EngineError> {
        let what = format!("look at container {container}");
        let target = format!("/containers/{}/json", encoded(container));
        let answer = self.ask(&what, Method::GET, &target, None).await?;
        self.read(&what, &answer)
    }

    /// Makes a container and returns its id.
    pub(crate) async fn create(&self, name: &str, config: &Json) -> Result<String, EngineError> {
        let what = format!("make container {name}");
        let target = format!("/containers/create?name={}", encoded(name));
        let order = |target| call(Method::POST, target, Some(config), MAKE_LIMIT);
        let answer = self.asked(&what, order, &target).await?;
        self.read(&what, &answer).map(|made: Made| made.id)
    }

    /// Starts a container. One that runs already is left as it is.
    pub(crate) async fn start(&self, container: &str) -> Result<(), EngineError> {
        let what = format!("start container {container}");
        let target = format!("/containers/{}/start", encoded(container));
        let order = |target| call(Method::POST, target, None, MAKE_LIMIT);
        self.asked(&what, order, &target).await.map(drop)
    }

    /// Sends a container its signal to stop, waits for its end, and kills it after `grace`.
    pub(crate) async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let what = format!("stop container {container}");
        let seconds = grace.as_millis().div_ceil(1_000);
        let target = format!("/containers/{}/stop?t={seconds}", encoded(container));
        let limit = grace + ASK_LIMIT;
        let order = |target| call(Method::POST, target, None, limit);
        self.asked(&what, order, &target).await.map(drop)
    }

    /// Kills and removes a container, with the volumes that have no name.
    pub(crate) async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let what = format!("remove container {container}");
        let target = format!("/containers/{}?force=true&v=true", encoded(container));
        let order = |target| call(Method::DELETE, target, None, REMOVE_LIMIT);
        self.asked(&what, order, &target).await.map(drop)
    }

    pub(crate) async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let what = format!("rename container {container} to {name}");
        let (container, name) = (encoded(container), encoded(name));
        let target = format!("/containers/{container}/rename?name={name}");
        self.ask(&what, Method::POST, &target, None).await.map(drop)
    }

    /// Returns the last `lines` lines that a container printed, as frames.
    pub(crate) async fn logs(&self, container: &str, lines: usize) -> Result<Vec<u8>, EngineError> {
        let what = format!("read the log of container {container}");
        let container = encoded(container);
        let target = format!("/containers/{container}/logs?stdout=true&stderr=true&tail={lines}");
        let answer = self.ask(&what, Method::GET, &target, None).await?;
        Ok(answer.body)
    }

    /// Puts a container into one more network, where it answers to these names.
    pub(crate) async fn connect(
        &self,
        container: &str,
        network: &str,
        aliases: &[String],
    ) -> Result<(), EngineError> {
        let what = format!("connect container {container} with network {network}");
        let target = format!("/networks/{}/connect", encoded(network));
        let body = json!({"Container": container, "EndpointConfig": {"Aliases": aliases}});
        self.ask(&what, Method::POST, &target, Some(&body))
            .await
            .map(drop)
    }

    /// Returns an image that is there. None: it is not.
    pub(crate) async fn image(&self, image: &str) -> Result<Option<Image>, EngineError> {
        let what = format!("look at image {image}");
        // A slash is a part of an image's name, and of the path.
        let name: Vec<String> = image.split('/').map(encoded).collect();
        let target = format!("/images/{}/json", name.join("/"));
        match self.ask(&what, Method::GET, &target, None).await {
            Ok(answer) => self.read(&what, &answer).map(Some),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pulls an image. With credentials it is asked for by its full name.
    pub(crate) async fn pull(
        &self,
        image: &str,
        login: Option<(&FullName, &Credentials)>,
        limit: Duration,
    ) -> Result<(), EngineError> {
        let what = format!("pull image {image}");
        let reference = Reference::of(image);
        let full = login.map(|(name, _)| name.to_string());
        let name = full.as_deref().unwrap_or(reference.name);
        let mut target = format!("/images/create?fromImage={}", encoded(name));
        if let Some(tag) = reference.tag {
            target = format!("{target}&tag={}", encoded(tag));
        }
        let order = |target| Call {
            keep: Keep::Last(PULL_BYTES),
            registry_auth: login.map(|(name, credentials)| credentials.header(name)),
            ..call(Method::POST, target, None, limit)
        };
        let clean = |said: &str| match login {
            Some((name, credentials)) => shortened(&credentials.redact(name, said)),
            None => shortened(said),
        };
        let answer = self.answered(&what, order, &target).await?;
        if let Some(kind) = self.refusal(&answer).await {
            let kind = kind_of_pull(kind, &answer);
            return Err(self.error(&what, words(&answer, clean), kind));
        }
        match pull_error(&answer.body) {
            None => Ok(()),
            Some(why) => Err(self.error(&what, clean(&why), ErrorKind::Refused(500))),
        }
    }

    /// Prepares a command in a running container and returns its id.
    pub(crate) async fn prepare_exec(
        &self,
        container: &str,
        command: &[String],
    ) -> Result<String, EngineError> {
        let what = format!("run a command in container {container}");
        let target = format!("/containers/{}/exec", encoded(container));
        let body = json!({"Cmd": command, "AttachStdout": true, "AttachStderr": true});
        let answer = self.ask(&what, Method::POST, &target, Some(&body)).await?;
        self.read(&what, &answer).map(|made: Made| made.id)
    }

    /// Runs a prepared command and returns what it printed, as frames.
    pub(crate) async fn exec(&self, id: &str, limit: Duration) -> Result<Vec<u8>, EngineError> {
        let body = json!({"Detach": false, "Tty": false});
        let order = |target| Call {
            keep: Keep::First(OUTPUT_BYTES),
            ..call(Method::POST, target, Some(&body), limit)
        };
        let target = format!("/exec/{}/start", encoded(id));
        let answer = self.asked("run a command", order, &target).await?;
        Ok(answer.body)
    }

    pub(crate) async fn execution(&self, id: &str) -> Result<Execution, EngineError> {
        let what = "look at a command";
        let target = format!("/exec/{}/json", encoded(id));
        let answer = self.ask(what, Method::GET, &target, None).await?;
        self.read(what, &answer)
    }
}

/// Returns a call whose answer is kept whole.
fn call(method: Method, target: String, body: Option<&Json>, limit: Duration) -> Call {
    Call {
        method,
        target,
        body: body.map(|body| body.to_string().into_bytes()),
        registry_auth: None,
        limit,
        keep: Keep::All(ANSWER_BYTES_MAX),
    }
}

impl Engine {
    async fn ask(
        &self,
        what: &str,
        method: Method,
        target: &str,
        body: Option<&Json>,
    ) -> Result<Answer, EngineError> {
        let order = |target| call(method, target, body, ASK_LIMIT);
        self.asked(what, order, target).await
    }

    /// Makes a call in the version that the engine speaks. `order` makes it of the target with the version.
    async fn asked(
        &self,
        what: &str,
        order: impl FnOnce(String) -> Call,
        target: &str,
    ) -> Result<Answer, EngineError> {
        let answer = self.answered(what, order, target).await?;
        match self.refusal(&answer).await {
            None => Ok(answer),
            Some(kind) => Err(self.error(what, words(&answer, shortened), kind)),
        }
    }

    /// Makes a call and returns the answer, whatever its status.
    async fn answered(
        &self,
        what: &str,
        order: impl FnOnce(String) -> Call,
        target: &str,
    ) -> Result<Answer, EngineError> {
        let version = self.version(what).await?;
        let answer = self.socket.exchange(order(format!("/v{version}{target}")));
        answer.await.map_err(|fault| self.fault(what, fault))
    }

    /// Returns whether an answer is a refusal.
    async fn refusal(&self, answer: &Answer) -> Option<ErrorKind> {
        if answer.status == 400 {
            // An engine that was replaced may not speak the version any more.
            self.version.lock().await.take();
        }
        // No call follows a redirection: what was asked was not done.
        let redirects = matches!(answer.status, 301..=303 | 307..=308);
        (redirects || answer.status >= 400).then_some(ErrorKind::Refused(answer.status))
    }

    /// Returns the version to ask in.
    async fn version(&self, what: &str) -> Result<Version, EngineError> {
        let mut known = self.version.lock().await;
        if let Some(version) = *known {
            return Ok(version);
        }
        let order = call(Method::GET, "/version".to_owned(), None, ASK_LIMIT);
        let answer = self.socket.exchange(order).await;
        let answer = answer.map_err(|fault| self.not_asked(what, fault))?;
        let unknown = |why: String| {
            let kind = ErrorKind::NotSent { denied: false };
            self.error(what, why, kind)
        };
        if answer.status != 200 {
            return Err(unknown(words(&answer, shortened)));
        }
        let spoken = Spoken::read(&answer.body)
            .ok_or_else(|| unknown("the engine does not say which API it has".to_owned()))?;
        let version = spoken.version().map_err(unknown)?;
        *known = Some(version);
        Ok(version)
    }

    fn read<T: DeserializeOwned>(&self, what: &str, answer: &Answer) -> Result<T, EngineError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let why = format!("the answer cannot be read: {error}");
            self.error(what, why, ErrorKind::Lost)
        })
    }

    fn fault(&self, what: &str, fault: Fault) -> EngineError {
        match fault {
            Fault::NotSent { why, denied } => self.error(what, why, ErrorKind::NotSent { denied }),
            Fault::Lost(why) => self.error(what, why, ErrorKind::Lost),
        }
    }

    /// Returns the error of a call that was not made, because the one before it failed.
    fn not_asked(&self, what: &str, fault: Fault) -> EngineError {
        match fault {
            Fault::Lost(why) => self.error(what, why, ErrorKind::NotSent { denied: false }),
            fault @ Fault::NotSent { .. } => self.fault(what, fault),
        }
    }

    fn error(&self, what: &str, why: String, kind: ErrorKind) -> EngineError {
        EngineError {
            what: format!("{what} at {}", self.endpoint),
            why,
            kind,
        }
    }
}

/// What an engine says that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spoken {
    newest: Version,
    oldest: Version,
}

impl Spoken {
    fn read(body: &[u8]) -> Option<Self> {
        let said: Json = serde_json::from_slice(body).ok()?;
        let version = |name: &str| said.get(name).and_then(Json::as_str).map(Version::parse);
        Some(Self {
            newest: version("ApiVersion")??,
            oldest: version("MinAPIVersion").flatten().unwrap_or(VERSION_MIN),
        })
    }

    /// Returns the version to ask in.
    fn version(self) -> Result<Version, String> {
        if self.newest < VERSION_MIN {
            let Self { newest, .. } = self;
            return Err(format!(
                "the engine has API {newest}, {VERSION_MIN} is needed"
            ));
        }
        // Versions only add to what is used here, so the oldest of a newer engine is as good.
        Ok(self.newest.min(VERSION).max(self.oldest))
    }
}

/// An image's name, and its tag or digest.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    name: &'a str,
    tag: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Splits a name. Without a tag an engine would pull every tag that there is.
    fn of(image: &'a str) -> Self {
        if let Some((name, digest)) = image.split_once('@') {
            let tag = Some(digest);
            return Self { name, tag };
        }
        // A colon before the last slash belongs to the registry's port.
        let start = image.rfind('/').map_or(0, |at| at + 1);
        match image[start..].rsplit_once(':') {
            Some((name, tag)) => Self {
                name: &image[..start + name.len()],
                tag: Some(tag),
            },
            None => Self {
                name: image,
                tag: Some("latest"),
            },
        }
    }
}

/// Returns what the refusal of a pull is. That an image is not handed out is said by its registry: some engines pass its
/// 401 or 403 on as their own status, others tell it in the course of the pull, and it is the same. What stands in
/// front of an engine and refuses has other answers than an engine.
fn kind_of_pull(kind: ErrorKind, answer: &Answer) -> ErrorKind {
    let engine_says = serde_json::from_slice::<Said>(&answer.body).is_ok();
    match kind {
        ErrorKind::Refused(401 | 403) if engine_says => ErrorKind::Refused(500),
        ErrorKind::Refused(_) | ErrorKind::NotSent { .. } | ErrorKind::Lost => kind,
    }
}

/// Returns what a pull failed of: the engine answers 200 before it begins, and tells in a line of JSON.
fn pull_error(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        error: Option<String>,
    }
    let text = String::from_utf8_lossy(body);
    let lines = text.lines().rev();
    let mut errors = lines.filter_map(|line| serde_json::from_str::<Line>(line).ok()?.error);
    errors.next()
}

/// How an engine says why it refuses.
#[derive(Deserialize, Serialize)]
struct Said {
    message: String,
}

/// Returns an engine's own words, made fit to be passed on.
fn words(answer: &Answer, clean: impl Fn(&str) -> String) -> String {
    let said = match serde_json::from_slice::<Said>(&answer.body) {
        Ok(said) => said.message,
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    match clean(said.trim()).as_str() {
        "" => format!("it answers with HTTP status {}", answer.status),
        said => said.to_owned(),
    }
}

/// Returns a text within bounds and on one line.
fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(WORDS_MAX).map(plain).collect();
    if text.chars().nth(WORDS_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
