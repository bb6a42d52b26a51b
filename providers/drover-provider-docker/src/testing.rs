//! An engine that answers as a test says, and a provider at it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_model::{
    Digests, Epoch, FleetName, GroupName, GroupUid, InstanceId, ProviderName, Template,
    TemplateParts, Timestamp, Token, Value,
};
use drover_provider::{Clock, Provider, ProviderFactory as _, ProvisionRequest, Slot};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use crate::{DockerFactory, Grants, Registries};

#[derive(Debug)]
pub(crate) struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that goes on when it is told to.
#[derive(Debug, Clone)]
pub(crate) struct SetClock(Arc<Mutex<Timestamp>>);

impl SetClock {
    pub(crate) fn start() -> Self {
        Self(Arc::new(Mutex::new(Timestamp::now())))
    }

    pub(crate) fn pass(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        *now += time;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// An answer: its status and body. None: the connection is cut.
pub(crate) type Scripted = Option<(u16, String)>;

/// Returns the answer of an engine that speaks this API.
pub(crate) fn version(newest: &str) -> (u16, String) {
    let said = format!("{{\"ApiVersion\": \"{newest}\", \"MinAPIVersion\": \"1.24\"}}");
    (200, said)
}

/// An engine on a socket of its own, for as long as the test's runtime lives.
pub(crate) struct FakeEngine {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeEngine {
    /// Starts one. `answer` gets the method and the target, such as `GET /v1.44/_ping`.
    pub(crate) fn start(answer: impl Fn(&str) -> Scripted + Send + Sync + 'static) -> Self {
        Self::slow(answer, |_| Duration::ZERO)
    }

    /// The same, and each answer comes after a time that `delay` says.
    pub(crate) fn slow(
        answer: impl Fn(&str) -> Scripted + Send + Sync + 'static,
        delay: impl Fn(&str) -> Duration + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let (notes, answer, delay) = (Arc::clone(&requests), Arc::new(answer), Arc::new(delay));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (notes, answer) = (Arc::clone(&notes), Arc::clone(&answer));
                let delay = Arc::clone(&delay);
                tokio::spawn(async move {
                    let mut request = vec![0; 64 << 10];
                    let length = stream.read(&mut request).await.unwrap_or_default();
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    let asked = line_of(&request);
                    notes.lock().unwrap().push(request);
                    let wait = delay(&asked);
                    if !wait.is_zero() {
                        tokio::time::sleep(wait).await;
                    }
                    if let Some((status, body)) = answer(&asked) {
                        let length = body.len();
                        let head = format!(
                            "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                        );
                        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                    }
                });
            }
        });
        Self { folder, requests }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests()
            .iter()
            .map(|request| line_of(request))
            .collect()
    }

    /// The same with headers and bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn provider(&self) -> Arc<dyn Provider> {
        provider_at(&self.socket(), self.folder.path())
    }

    /// Opens a provider with a clock of the test's; `finishes`: that of an agent that acts.
    pub(crate) fn provider_by(&self, clock: &SetClock, finishes: bool) -> Arc<dyn Provider> {
        let endpoint = format!("unix://{}", self.socket().display());
        let data = self.folder.path().join("data");
        let factory =
            DockerFactory::new(endpoint, Grants::default(), data, Arc::new(clock.clone()));
        let name = ProviderName::parse("local").unwrap();
        let factory = factory.finishing(finishes);
        factory.open(&name, &Value::empty_map()).unwrap()
    }

    /// Opens a provider that has credentials.
    pub(crate) fn provider_with(&self, registries: Registries) -> Arc<dyn Provider> {
        let grants = Grants {
            registries,
            ..Grants::default()
        };
        granted_at(&self.socket(), self.folder.path(), grants)
    }
}

/// Returns method and target of a request.
fn line_of(request: &str) -> String {
    let line = request.lines().next().unwrap_or_default();
    line.trim_end_matches(" HTTP/1.1").to_owned()
}

/// Opens a provider at a socket.
pub(crate) fn provider_at(socket: &Path, data: &Path) -> Arc<dyn Provider> {
    granted_at(socket, data, Grants::default())
}

fn granted_at(socket: &Path, data: &Path, grants: Grants) -> Arc<dyn Provider> {
    let endpoint = format!("unix://{}", socket.display());
    let clock = Arc::new(WallClock);
    let factory = DockerFactory::new(endpoint, grants, data.join("data"), clock);
    let name = ProviderName::parse("local").unwrap();
    factory.open(&name, &Value::empty_map()).unwrap()
}

pub(crate) fn fleet() -> FleetName {
    FleetName::parse("prod").unwrap()
}

/// Returns a call that makes `web-1` with these properties.
pub(crate) fn request(properties: Value) -> ProvisionRequest {
    request_of(1, properties)
}

/// Returns a call that makes the instance of this number with these properties.
pub(crate) fn request_of(number: u64, properties: Value) -> ProvisionRequest {
    let group = GroupName::parse("web").unwrap();
    let instance = InstanceId::new(group.clone(), number);
    let uid = GroupUid::parse("0123456789abcdef").unwrap();
    let template = Template::from(TemplateParts {
        properties: properties.clone(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let type_ = "docker".parse().unwrap();
    ProvisionRequest {
        token: Token::derive(&fleet(), &uid, Epoch(1), &instance, 0),
        fleet: fleet(),
        epoch: Epoch(1),
        digests: Digests::of(&type_, &template, &crate::schema::properties().classes()),
        zone: None,
        slots: vec![Slot {
            instance,
            init: Vec::new(),
            env: BTreeMap::new(),
            tags: BTreeMap::new(),
            attachments: Vec::new(),
            seat: None,
            secrets: std::collections::BTreeMap::new(),
        }],
        group,
        properties,
        secrets: drover_provider::Secrets::default(),
        urgency: drover_provider::Urgency::default(),
        asked: None,
    }
}

pub(crate) fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

pub(crate) fn strings(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| Value::from(*text)).collect())
}
