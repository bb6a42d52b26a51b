//! Meeting plugins: the handshake, from code that cannot wait for it.
//!
//! A provider is opened synchronously, in the middle of a pass that serves every group. So the handshake
//! runs on a thread of its own, and only its first time is waited for a little; later the pass takes what
//! is known, and a plugin that does not answer costs it nothing, however many documents name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drover_model::ErrorClass;
use drover_provider::{Mistake, ObjectSchema, ProviderError};

use crate::call::{Caller, Place};
use crate::endpoint::PluginName;
use crate::hello::{HELLO, InstanceVersion, Spoken, hello};
use crate::remote::{describe, mistaken_settings, settings_schema};
use crate::wire::{DescribeResult, ScopeDto};

/// How long the first meeting is waited for: answered within milliseconds by a plugin that is there.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How long a plugin may take to describe a scope, which may need a look at its credentials.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(15);

/// How long a meeting that failed stands before the next one is tried.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Most meetings that are remembered: a fleet has a handful of Provider documents, which change.
const MEETINGS_MAX: usize = 256;

/// A plugin, where it is, and for which scope.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contact {
    pub(crate) plugin: PluginName,
    pub(crate) place: Place,
    pub(crate) scope: ScopeDto,
}

impl Contact {
    /// Returns a text that is equal for equal contacts.
    fn key(&self) -> String {
        let ScopeDto {
            provider, settings, ..
        } = &self.scope;
        format!("{provider} {} {settings}", self.plugin)
    }
}

/// What there is to talk to a plugin with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Introduced {
    /// Our own interface, and what the plugin says of the scope.
    Provider(DescribeResult),
    /// Our own interface, and what is wrong with the scope's settings.
    Refused(Vec<Mistake>),
    /// InfraKit's.
    Instance(InstanceVersion),
}

/// What a meeting came to.
type Met = Result<Introduced, ProviderError>;

/// The meetings so far, by contact.
#[derive(Debug, Default)]
pub(crate) struct Contacts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    meetings: BTreeMap<String, Meeting>,
    /// What plugins take as settings, as far as they say so.
    schemas: BTreeMap<String, ObjectSchema>,
    /// Plugins that were waited for in vain, and have not answered since: whoever names one waits no more.
    silent: BTreeSet<String>,
}

#[derive(Debug, Clone)]
enum Meeting {
    UnderWay,
    Over { met: Met, at: Instant },
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contacts {
    /// Finds out what to talk to a plugin with: anew each time, as it may have been replaced.
    ///
    /// # Errors
    ///
    /// The plugin is not there, does not answer, or offers nothing that is spoken.
    pub(crate) fn meet(&self, contact: &Contact) -> Met {
        let deadline = Instant::now() + FIRST_WAIT;
        let mut known = self.0.lock();
        let before = match known.meetings.get(&contact.key()) {
            Some(Meeting::UnderWay) => return Err(waiting(contact)),
            None | Some(Meeting::Over { met: Ok(_), .. }) => waiting(contact),
            Some(Meeting::Over {
                met: Err(error),
                at,
            }) => {
                let error = error.clone();
                if at.elapsed() < AGAIN_AFTER {
                    return Err(error);
                }
                error
            }
        };
        self.start(&mut known, contact);
        if known.silent.contains(&contact.plugin.to_string()) {
            return Err(before);
        }
        loop {
            if let Some(Meeting::Over { met, .. }) = known.meetings.get(&contact.key()) {
                return met.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                known.silent.insert(contact.plugin.to_string());
                return Err(waiting(contact));
            }
            let waited = self.0.ended.wait_timeout(known, left);
            known = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns what a plugin takes as settings, as it said when it was met last. None: it was not met, or does not say.
    pub(crate) fn settings_of(&self, plugin: &PluginName) -> Option<ObjectSchema> {
        self.0.lock().schemas.get(&plugin.to_string()).cloned()
    }

    fn start(&self, known: &mut Known, contact: &Contact) {
        if known.meetings.len() >= MEETINGS_MAX {
            let under_way =
                |_: &String, meeting: &mut Meeting| matches!(meeting, Meeting::UnderWay);
            known.meetings.retain(under_way);
            known.schemas.clear();
        }
        known.meetings.insert(contact.key(), Meeting::UnderWay);
        let (shared, contact) = (Arc::clone(&self.0), contact.clone());
        // It ends by itself: the handshake is bounded.
        std::thread::spawn(move || {
            let (schema, met) = match shake_hands(&contact) {
                Ok((schema, met)) => (schema, Ok(met)),
                Err(error) => (None, Err(error)),
            };
            let answered = met.is_ok();
            let over = Meeting::Over {
                met,
                at: Instant::now(),
            };
            let mut known = shared.lock();
            known.meetings.insert(contact.key(), over);
            if answered {
                let plugin = contact.plugin.to_string();
                known.silent.remove(&plugin);
                known.schemas.remove(&plugin);
                known.schemas.extend(schema.map(|schema| (plugin, schema)));
            }
            drop(known);
            shared.ended.notify_all();
        });
    }
}

/// Meets a plugin. Returns what it takes as settings, too.
fn shake_hands(contact: &Contact) -> Result<(Option<ObjectSchema>, Introduced), ProviderError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        let message = format!("plugin {}: cannot start a runtime: {error}", contact.plugin);
        ProviderError::new(ErrorClass::Unknown, message)
    })?;
    runtime.block_on(async {
        let caller = Caller::new(contact.plugin.clone(), contact.place.clone());
        let failed = crate::call::CallError::into_provider_error;
        let interfaces = hello(&caller).await.map_err(failed)?;
        let spoken = interfaces.choose(&contact.plugin.subtype).map_err(|why| {
            let message = format!("plugin {}: {why}", contact.plugin);
            ProviderError::new(ErrorClass::InvalidSpec, message)
        })?;
        match spoken {
            Spoken::Instance(version) => Ok((None, Introduced::Instance(version))),
            Spoken::Provider => {
                let schema = settings_schema(&caller, &contact.scope, DESCRIBE_LIMIT).await;
                let schema = schema.map_err(failed)?;
                let mistakes = schema
                    .as_ref()
                    .map(|it| mistaken_settings(it, &contact.scope));
                let mistakes = mistakes.unwrap_or_default();
                if !mistakes.is_empty() {
                    return Ok((schema, Introduced::Refused(mistakes)));
                }
                let described = describe(&caller, &contact.scope, DESCRIBE_LIMIT).await;
                Ok((schema, Introduced::Provider(described.map_err(failed)?)))
            }
        }
    })
}

fn waiting(contact: &Contact) -> ProviderError {
    let Contact { plugin, place, .. } = contact;
    let known = place.absence(plugin);
    let why = known.as_deref().unwrap_or("no answer yet");
    let message = format!("plugin {plugin}: {HELLO}: {why}");
    ProviderError::new(ErrorClass::Unknown, message)
}
