//! What the tests share: the engine, a scope of their own in it, and ways to write calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use drover_model::{
    Digests, Epoch, FleetName, GroupName, GroupUid, InstanceId, Listed, ProviderName,
    ProviderPhase, ProviderRef, Template, TemplateParts, Timestamp, Token, Value,
};
use drover_provider::{
    Clock, DestroyRequest, Provider, ProviderError, ProviderFactory as _, ProvisionRequest, Slot,
};
use drover_provider_docker::{DockerFactory, Grants};

use crate::engine::{Engine, IMAGE};

/// How long anything may take before a test gives up: generous, because machines are shared.
const PATIENCE: Duration = Duration::from_mins(1);

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
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Returns the engine that runs as long as any test uses it.
pub(crate) fn engine() -> Arc<Engine> {
    static ENGINE: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
    let mut shared = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Engine::start());
        *shared = Arc::downgrade(&started);
        started
    })
}

/// A fleet and a Provider document of one test.
pub(crate) struct Scope {
    pub(crate) engine: Arc<Engine>,
    pub(crate) fleet: FleetName,
    pub(crate) provider: Arc<dyn Provider>,
    grants: Grants,
    data: tempfile::TempDir,
}

impl Scope {
    /// Opens one. `name` is another one for each test.
    pub(crate) fn new(name: &str) -> Self {
        Self::granted(name, Grants::default())
    }

    pub(crate) fn granted(name: &str, grants: Grants) -> Self {
        let engine = engine();
        let data = tempfile::tempdir().unwrap();
        let provider = open(&engine, &grants, data.path(), "local");
        Self {
            engine,
            fleet: FleetName::parse(name).unwrap(),
            provider,
            grants,
            data,
        }
    }

    /// Opens the same scope once more, as an agent that starts again.
    pub(crate) fn reopened(&self) -> Arc<dyn Provider> {
        open(&self.engine, &self.grants, self.data.path(), "local")
    }

    /// Opens another Provider document's scope at the same engine.
    pub(crate) fn neighbour(&self) -> Arc<dyn Provider> {
        open(&self.engine, &self.grants, self.data.path(), "other")
    }

    /// Has an agent that acts lose its data folder: opens the same scope with an empty one, by a clock of the test's.
    pub(crate) fn lose_data(&mut self, clock: &SetClock) {
        self.data = tempfile::tempdir().unwrap();
        let data = self.data.path().to_owned();
        let (endpoint, grants) = (self.engine.endpoint(), self.grants.clone());
        let factory = DockerFactory::new(endpoint, grants, data, Arc::new(clock.clone()));
        let name = ProviderName::parse("local").unwrap();
        let opened = factory.finishing(true).open(&name, &Value::empty_map());
        self.provider = opened.unwrap();
    }

    /// Makes an instance as an agent leaves it that is killed before the start: the same container, never started, and
    /// in the first of its networks only.
    pub(crate) async fn half_made(&self, request: &ProvisionRequest) -> ProviderRef {
        let handle = self.make(request).await;
        let made = self.engine.inspect(handle.as_str()).unwrap();
        let network = made["Config"]["Labels"]["drover.networks"].as_str();
        let network = network.and_then(|names| names.split(',').next());
        let limit = |name, most| serde_json::json!({"Name": name, "Soft": most, "Hard": most});
        let mut host = serde_json::json!({
            "Ulimits": [limit("nofile", 1_024), limit("nproc", 4_096)],
        });
        if let Some(network) = network {
            host["NetworkMode"] = network.into();
        }
        let config = serde_json::json!({
            "Image": made["Config"]["Image"], "Cmd": made["Config"]["Cmd"],
            "Labels": made["Config"]["Labels"], "HostConfig": host,
        });
        let path = format!("/containers/{handle}?force=true");
        self.engine.delete(&path);
        let path = format!("/containers/create?name={handle}");
        let body = config.to_string();
        let made = self
            .engine
            .call("POST", &path, "application/json", body.as_bytes());
        assert_eq!(made.0, 201, "{}", made.1);
        let listed = self.listed(&handle).await.unwrap();
        assert_eq!(listed.phase, ProviderPhase::Pending);
        handle
    }

    /// Returns a call that makes one instance.
    pub(crate) fn request(&self, number: u64, properties: Value) -> ProvisionRequest {
        let group = GroupName::parse("web").unwrap();
        let instance = InstanceId::new(group.clone(), number);
        let template = Template::from(TemplateParts {
            properties: properties.clone(),
            flavors: Vec::new(),
            flavors_as_written: Value::List(Vec::new()),
            tags: BTreeMap::new(),
        });
        let manifest = self.provider.manifest();
        let uid = GroupUid::parse("0123456789abcdef").unwrap();
        ProvisionRequest {
            token: Token::derive(&self.fleet, &uid, Epoch(1), &instance, 0),
            fleet: self.fleet.clone(),
            epoch: Epoch(1),
            digests: Digests::of(&manifest.type_, &template, &manifest.properties.classes()),
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

    /// Makes an instance and returns its handle.
    pub(crate) async fn make(&self, request: &ProvisionRequest) -> ProviderRef {
        let made = self.try_make(request).await;
        made.unwrap_or_else(|error| panic!("{}: {error}", error.class.as_str()))
    }

    pub(crate) async fn try_make(
        &self,
        request: &ProvisionRequest,
    ) -> Result<ProviderRef, ProviderError> {
        let made = self.provider.provision(request).await?.made;
        Ok(made.into_values().next().unwrap())
    }

    pub(crate) async fn listed(&self, handle: &ProviderRef) -> Option<Listed> {
        let listing = self.provider.list(&self.fleet).await.unwrap();
        let mut listed = listing.instances.into_iter();
        listed.find(|listed| listed.provider_ref == *handle)
    }

    /// Waits until the instance is listed as wanted. None: it is not listed.
    pub(crate) async fn until(
        &self,
        handle: &ProviderRef,
        wanted: impl Fn(Option<&ProviderPhase>) -> bool,
    ) -> Option<Listed> {
        let started = Instant::now();
        let mut seen = None;
        while started.elapsed() < PATIENCE {
            seen = self.listed(handle).await;
            if wanted(seen.as_ref().map(|listed| &listed.phase)) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited in vain; last seen: {seen:?}");
    }

    pub(crate) async fn until_ended(&self, handle: &ProviderRef) -> drover_model::ExitReport {
        let ended = |phase: Option<&ProviderPhase>| matches!(phase, Some(ProviderPhase::Exited(_)));
        match self.until(handle, ended).await.map(|listed| listed.phase) {
            Some(ProviderPhase::Exited(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn until_gone(&self, handle: &ProviderRef) {
        self.until(handle, |phase| phase.is_none()).await;
    }

    /// Waits until the instance has printed a text.
    pub(crate) async fn until_printed(&self, handle: &ProviderRef, text: &str) -> String {
        let started = Instant::now();
        let mut log = String::new();
        while started.elapsed() < PATIENCE {
            log = self.provider.logs(handle, 100).await.unwrap();
            if log.contains(text) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{text:?} is not printed: {log:?}");
    }

    /// The containers of the fleet, by name.
    pub(crate) fn containers(&self) -> Vec<String> {
        self.engine
            .containers(&format!("drover.fleet={}", self.fleet))
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.engine.remove(&format!("drover.fleet={}", self.fleet));
    }
}

pub(crate) fn open(
    engine: &Engine,
    grants: &Grants,
    data: &std::path::Path,
    name: &str,
) -> Arc<dyn Provider> {
    let clock = Arc::new(WallClock);
    let factory = DockerFactory::new(engine.endpoint(), grants.clone(), data.to_owned(), clock);
    let name = ProviderName::parse(name).unwrap();
    factory.open(&name, &Value::empty_map()).unwrap()
}

/// Returns the call that ends an instance.
pub(crate) fn destroying(
    request: &ProvisionRequest,
    handle: &ProviderRef,
    grace: Duration,
) -> DestroyRequest {
    DestroyRequest {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        epoch: request.epoch,
        instance: request.slots[0].instance.clone(),
        provider_ref: handle.clone(),
        token: request.token.clone(),
        grace,
        ending: drover_provider::Ending::default(),
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

/// Properties that run a shell, with more of them. The limits are those that an engine inside of a
/// container or a small machine may give.
pub(crate) fn shell(script: &str, more: &[(&str, Value)]) -> Value {
    let limit = |most| map(&[("soft", Value::Int(most)), ("hard", Value::Int(most))]);
    let limits = map(&[("nofile", limit(1_024)), ("nproc", limit(4_096))]);
    let mut all = vec![
        ("image", Value::from(IMAGE)),
        ("command", strings(&["/bin/sh", "-c", script])),
        ("ulimits", limits),
    ];
    all.extend(more.iter().cloned());
    map(&all)
}

/// A script that ends when it is told to.
pub(crate) const IDLE: &str = "trap 'exit 0' TERM; sleep 1000 & wait";
