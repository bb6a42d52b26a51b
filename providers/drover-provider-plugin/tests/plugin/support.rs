//! A scope over the fake plugin, and requests for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_model::{
    Digests, Epoch, ErrorClass, FleetName, GroupName, GroupUid, InstanceId, ProviderName,
    ProviderRef, Template, TemplateParts, Timestamp, Token, Value,
};
use drover_provider::{
    Clock, Described, DestroyRequest, Provider, ProviderError, ProviderFactory as _,
    ProvisionRequest, Slot,
};
use drover_provider_plugin::{Directory, Place, PluginFactory};

use crate::fake::Fake;

/// A clock that a test moves on.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Timestamp>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl HandClock {
    pub(crate) fn advance(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        *now += time;
    }
}

pub(crate) struct Scope {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) fake: Fake,
    pub(crate) clock: Arc<HandClock>,
    factory: PluginFactory,
}

pub(crate) fn values(entries: &[(&str, &str)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect()
}

impl Scope {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::start(folder.path(), "fake");
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Arc::new(HandClock(Mutex::new(start)));
        let factory = factory(&folder, &clock);
        Self {
            folder,
            fake,
            clock,
            factory,
        }
    }

    /// Starts anew, as an agent that was killed: only what is on disk is known.
    pub(crate) fn restart(&mut self) {
        self.factory = factory(&self.folder, &self.clock);
    }

    pub(crate) fn try_open(&self, settings: &Value) -> Result<Arc<dyn Provider>, ProviderError> {
        self.factory
            .open(&ProviderName::parse("local").unwrap(), settings)
    }

    pub(crate) fn describe(&self, settings: &Value) -> Result<Option<Described>, ProviderError> {
        self.factory
            .describe(&ProviderName::parse("local").unwrap(), settings)
    }

    pub(crate) fn moved(&self, before: &Value, after: &Value) -> Option<String> {
        self.factory.moved(before, after)
    }

    /// Opens the scope with short times.
    pub(crate) fn open(&self) -> Arc<dyn Provider> {
        let settings = values(&[
            ("plugin", "fake"),
            ("visibility", "30s"),
            ("timeout", "500ms"),
            ("provisionTimeout", "500ms"),
        ]);
        self.try_open(&settings).unwrap()
    }
}

fn factory(folder: &tempfile::TempDir, clock: &Arc<HandClock>) -> PluginFactory {
    let place = Place::Named(Directory::new(folder.path()));
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    PluginFactory::new(place, folder.path().join("data"), clock).of_fleet(Some(fleet()))
}

pub(crate) fn fleet() -> FleetName {
    FleetName::parse("prod").unwrap()
}

/// A call for instance `web-<number>`.
pub(crate) fn request(number: u64) -> ProvisionRequest {
    let group = GroupName::parse("web").unwrap();
    let instance = InstanceId::new(group.clone(), number);
    let uid = GroupUid::parse("0123456789abcdef").unwrap();
    let template = Template::from(TemplateParts {
        properties: Value::empty_map(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let type_ = "plugin".parse().unwrap();
    ProvisionRequest {
        token: Token::derive(&fleet(), &uid, Epoch(1), &instance, 0),
        fleet: fleet(),
        group,
        epoch: Epoch(1),
        digests: Digests::of(&type_, &template, &BTreeMap::new()),
        zone: None,
        slots: vec![Slot {
            instance,
            init: Vec::new(),
            env: BTreeMap::new(),
            tags: BTreeMap::new(),
            attachments: Vec::new(),
            seat: None,
            secrets: BTreeMap::new(),
        }],
        properties: Value::empty_map(),
        secrets: drover_provider::Secrets::default(),
        urgency: drover_provider::Urgency::default(),
        asked: None,
    }
}

pub(crate) fn destroying(request: &ProvisionRequest, instance: &ProviderRef) -> DestroyRequest {
    DestroyRequest {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        epoch: request.epoch,
        instance: request.slots[0].instance.clone(),
        provider_ref: instance.clone(),
        token: request.token.clone(),
        grace: Duration::ZERO,
        ending: drover_provider::Ending::default(),
    }
}

/// Makes an instance, which must succeed, and returns its handle.
pub(crate) async fn make(provider: &Arc<dyn Provider>, request: &ProvisionRequest) -> ProviderRef {
    let made = provider.provision(request).await.unwrap().made;
    made.into_values().next().unwrap()
}

/// Asserts the class of a failure and that it names the plugin and the call.
#[track_caller]
pub(crate) fn assert_failed<T: std::fmt::Debug>(
    result: Result<T, ProviderError>,
    class: ErrorClass,
    says: &str,
) {
    let error = result.unwrap_err();
    assert_eq!(error.class, class, "{error}");
    let named = error.message.starts_with("plugin fake: ");
    assert!(named && error.message.contains(says), "{error}");
}
