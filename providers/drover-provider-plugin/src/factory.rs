//! The provider type `plugin`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_model::{ErrorClass, FieldClass, FleetName, ProviderName, ProviderType, Value};
use drover_provider::{
    AttachmentUse, Clock, Described, Field, Form, InitUse, Manifest, ObjectSchema, Others, Pattern,
    Provider, ProviderError, ProviderFactory, Shape, parse_duration,
};

use crate::adopting::{Shared, Sightings};
use crate::call::{Caller, Place};
use crate::contact::{Contact, Contacts, Introduced};
use crate::endpoint::PluginName;
use crate::groups::Neighbours;
use crate::hello::InstanceVersion;
use crate::instance::{Flights, Inner, InstanceProvider, Looked, Usage};
use crate::json::to_json;
use crate::ledger::Ledger;
use crate::remote::{Opening, RemoteProvider, properties};
use crate::spec::invalid;
use crate::wire::{DescribeResult, ScopeDto};

/// The type's name in Provider documents.
pub(crate) const TYPE: &str = "plugin";

/// Default of `visibility`: the slowest listings that people reported of InfraKit's plugins were some
/// seconds behind.
const VISIBILITY: Duration = Duration::from_secs(30);

/// Default of `timeout`: InfraKit's own is 15 s, and too short for its slower plugins.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Default of `provisionTimeout`.
const PROVISION_TIMEOUT: Duration = Duration::from_mins(2);

/// Makes providers of the type `plugin`.
#[derive(Debug)]
pub struct PluginFactory {
    manifest: Manifest,
    place: Place,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
    contacts: Contacts,
    scopes: Mutex<BTreeMap<ProviderName, Scope>>,
    fleet: Option<FleetName>,
    neighbours: Arc<Neighbours>,
}

/// What every opening of one document shares.
#[derive(Debug, Clone)]
struct Scope {
    ledger: Ledger,
    flights: Arc<Flights>,
    sightings: Arc<Sightings>,
}

impl PluginFactory {
    /// Makes a factory for the plugins at `place`. What is asked of them is written down below
    /// `data_dir`, one folder per Provider document; nothing is made there before the first call.
    pub fn new(place: Place, data_dir: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            manifest: Manifest {
                type_: ProviderType::parse(TYPE).expect("a valid label"),
                properties: any_properties(),
                settings: settings_schema(),
                batch_max: 1,
                visibility: VISIBILITY,
                init: InitUse::UserData,
                attachments: AttachmentUse::HandedOver,
            },
            place,
            data_dir,
            clock,
            contacts: Contacts::default(),
            scopes: Mutex::default(),
            fleet: None,
            neighbours: Arc::default(),
        }
    }

    /// Says whose agent uses the plugins: groups that a server of this fleet offers are no other owner's. Without, those of
    /// every fleet are.
    #[must_use]
    pub fn of_fleet(self, fleet: Option<FleetName>) -> Self {
        Self { fleet, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProviderName, Scope>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scope(&self, name: &ProviderName) -> Result<Scope, ProviderError> {
        let mut scopes = self.lock();
        if let Some(scope) = scopes.get(name) {
            return Ok(scope.clone());
        }
        let ledger = Ledger::open(&self.data_dir.join(name.as_str()));
        let ledger = ledger.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let message = format!("{error}{}", cause.unwrap_or_default());
            ProviderError::new(ErrorClass::Unknown, message)
        })?;
        let scope = Scope {
            ledger,
            flights: Arc::default(),
            sightings: Arc::default(),
        };
        scopes.insert(name.clone(), scope.clone());
        Ok(scope)
    }
}

impl ProviderFactory for PluginFactory {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        if let Some(mistake) = self.manifest.settings.check(settings).first() {
            return Err(invalid(format!(
                "settings: {}: {}",
                mistake.path, mistake.message
            )));
        }
        let contact = self.contact(name, settings)?;
        let introduced = self.contacts.meet(&contact)?;
        let Contact {
            plugin,
            place,
            scope,
        } = contact;
        let caller = Caller::new(plugin, place);
        match introduced {
            Introduced::Provider(described) => {
                let opening = self.opening(settings, caller, scope, described);
                self.open_remote(settings, opening)
            }
            Introduced::Refused(mistakes) => {
                let first = mistakes.first();
                let first = first.map(|mistake| format!("{}: {}", mistake.path, mistake.message));
                Err(invalid(format!(
                    "plugin {}: settings: {}",
                    caller.name,
                    first.unwrap_or_default()
                )))
            }
            Introduced::Instance(version) => {
                if let Some(name) = ["settings"]
                    .iter()
                    .find(|name| settings.get(name).is_some())
                {
                    let plugin = &caller.name;
                    return Err(invalid(format!(
                        "`{name}`: plugin {plugin} is one of InfraKit, which takes none"
                    )));
                }
                self.open_instance(name, caller, version, usage(settings))
            }
        }
    }

    fn describe(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Option<Described>, ProviderError> {
        let contact = self.contact(name, settings)?;
        Ok(match self.contacts.meet(&contact)? {
            // It publishes nothing, and is asked about each instance.
            Introduced::Instance(_) => None,
            Introduced::Refused(mistakes) => {
                Some(Described::of_program(any_properties(), mistakes))
            }
            Introduced::Provider(described) => {
                let properties = properties(&described).map_err(|why| {
                    let plugin = &contact.plugin;
                    invalid(format!("plugin {plugin}: Provider.Describe: {why}"))
                })?;
                Some(Described::of_program(properties, Vec::new()))
            }
        })
    }

    fn moved(&self, before: &Value, after: &Value) -> Option<String> {
        if let Some(name) = self.manifest.settings.differing(before, after) {
            return Some(name);
        }
        // Only the plugin knows what its own settings are for.
        let schema = named(after).ok();
        let schema = schema.and_then(|plugin| self.contacts.settings_of(&plugin));
        let none = Value::empty_map();
        let own = |settings: &Value| settings.get("settings").unwrap_or(&none).clone();
        let differing = schema.unwrap_or_default();
        let differing = differing.differing(&own(before), &own(after));
        differing.map(|name| format!("settings.{name}"))
    }
}

/// Returns whom a document names.
fn named(settings: &Value) -> Result<PluginName, ProviderError> {
    let written = settings.get("plugin").and_then(Value::as_str);
    let written = written.unwrap_or_default();
    written
        .parse()
        .map_err(|error| invalid(format!("plugin: {written:?} {error}")))
}

impl PluginFactory {
    /// Returns whom a document means.
    pub(crate) fn contact(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Contact, ProviderError> {
        let plugin = named(settings)?;
        let scope = ScopeDto {
            provider: name.to_string(),
            type_: plugin.subtype.clone(),
            settings: to_json(settings.get("settings").unwrap_or(&Value::empty_map())),
        };
        Ok(Contact {
            plugin,
            place: self.place.clone(),
            scope,
        })
    }

    /// Returns what a scope over a plugin with our interface is opened with.
    fn opening(
        &self,
        settings: &Value,
        caller: Caller,
        scope: ScopeDto,
        described: DescribeResult,
    ) -> Opening {
        let usage = usage(settings);
        Opening {
            caller,
            scope,
            described,
            timeout: usage.timeout,
            making: usage.making,
            clock: Arc::clone(&self.clock),
        }
    }

    fn open_remote(
        &self,
        settings: &Value,
        opening: Opening,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let plugin = &opening.caller.name;
        // What the plugin says itself, or has no place for.
        let unused = ["visibility", "addressTag", "addressProperty"];
        if let Some(name) = unused.iter().find(|name| settings.get(name).is_some()) {
            return Err(invalid(format!(
                "`{name}`: plugin {plugin} says that itself"
            )));
        }
        let schema = self.manifest.settings.clone();
        Ok(Arc::new(RemoteProvider::new(opening, schema)?))
    }

    /// Opens a scope whose calls have fields that nobody knows.
    pub(crate) fn open_peculiar(
        &self,
        settings: &Value,
        caller: Caller,
        scope: ScopeDto,
        described: DescribeResult,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let opening = self.opening(settings, caller, scope, described);
        let remote = RemoteProvider::new(opening, self.manifest.settings.clone())?;
        Ok(Arc::new(remote.made_peculiar()))
    }

    fn open_instance(
        &self,
        name: &ProviderName,
        caller: Caller,
        version: InstanceVersion,
        usage: Usage,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let Scope {
            ledger,
            flights,
            sightings,
        } = self.scope(name)?;
        let manifest = Manifest {
            visibility: usage.visibility,
            ..self.manifest.clone()
        };
        Ok(Arc::new(InstanceProvider::new(Inner {
            manifest,
            caller,
            version,
            usage,
            ledger,
            clock: Arc::clone(&self.clock),
            flights,
            fleet: self.fleet.clone(),
            neighbours: Arc::clone(&self.neighbours),
            sightings,
            looked: Looked::default(),
            shared: Shared::default(),
        })))
    }
}

/// Plugins of InfraKit publish no schema: they are asked about each instance's properties.
fn any_properties() -> ObjectSchema {
    ObjectSchema {
        fields: BTreeMap::new(),
        others: Others::Taken,
        rules: drover_provider::Rules::default(),
    }
}

fn usage(settings: &Value) -> Usage {
    let text = |name: &str| settings.get(name).and_then(Value::as_str);
    let duration = |name: &str, otherwise| text(name).and_then(parse_duration).unwrap_or(otherwise);
    Usage {
        visibility: duration("visibility", VISIBILITY),
        timeout: duration("timeout", TIMEOUT),
        making: duration("provisionTimeout", PROVISION_TIMEOUT),
        address_tag: text("addressTag").map(str::to_owned),
        address_property: text("addressProperty").map(str::to_owned),
    }
}

/// As [`PluginName`] reads it.
fn plugin_name() -> Form {
    let what = "a plugin's name, with `/` and a subtype where it has several,";
    let pattern = "^[^/\u{0}-\u{1f}\u{7f}-\u{9f}]+(/[^\u{0}-\u{1f}\u{7f}-\u{9f}]+)?$";
    Form {
        not: Pattern::parse(r"^\.\.?(/|$)").ok(),
        ..Form::of(pattern, what, "ec2/asg")
    }
}

fn settings_schema() -> ObjectSchema {
    let table = [
        (
            "plugin",
            Shape::text(plugin_name()),
            true,
            "Which plugin: the name of its socket, and `/` and a subtype where it has several.",
        ),
        (
            "settings",
            Shape::Map(Box::new(Shape::Any)),
            false,
            "The plugin's own settings, for plugins with the interface `Provider/1`.",
        ),
        (
            "visibility",
            Shape::Duration,
            false,
            "How long an instance that was made may be missing from the plugin's listings, 30s unless written.",
        ),
        (
            "timeout",
            Shape::Duration,
            false,
            "How long a call may take that makes nothing, 60s unless written.",
        ),
        (
            "provisionTimeout",
            Shape::Duration,
            false,
            "How long the plugin may take to make an instance, 2m unless written.",
        ),
        (
            "addressTag",
            Shape::String,
            false,
            "The tag in which the plugin keeps an instance's address.",
        ),
        (
            "addressProperty",
            Shape::String,
            false,
            "Where in an instance's described properties its address is, as a path with dots.",
        ),
    ];
    let fields = table.map(|(name, shape, required, doc)| {
        // Instances of one plugin are not to be found with another.
        let class = match name {
            "plugin" => FieldClass::Replace,
            _ => FieldClass::Ignore,
        };
        let field = Field {
            shape,
            required,
            class,
            doc: doc.to_owned(),
        };
        (name.to_owned(), field)
    });
    ObjectSchema {
        fields: fields.into(),
        others: Others::Refused,
        rules: drover_provider::Rules::default(),
    }
}
