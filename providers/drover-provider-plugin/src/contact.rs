//! Meeting plugins: the handshake, from code that cannot wait for it.
//!
//! A provider is opened synchronously, in the middle of a pass that serves every group. So the handshake
//! runs on a thread of its own, and only its first time is waited for a little; later the pass takes what
//! is known, and a plugin that does not answer costs it nothing, however many documents name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drover_model::ErrorClass;
use drover_provider::{Mistake, ProviderError};

use crate::call::{Caller, Place};
use crate::endpoint::PluginName;
use crate::hello::{InstanceVersion, Spoken, hello};
use crate::remote::{describe, mistaken_settings};
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
            Some(Meeting::UnderWay) => return Err(waiting(&contact.plugin)),
            None | Some(Meeting::Over { met: Ok(_), .. }) => waiting(&contact.plugin),
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
                return Err(waiting(&contact.plugin));
            }
            let waited = self.0.ended.wait_timeout(known, left);
            known = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn start(&self, known: &mut Known, contact: &Contact) {
        if known.meetings.len() >= MEETINGS_MAX {
            let under_way =
                |_: &String, meeting: &mut Meeting| matches!(meeting, Meeting::UnderWay);
            known.meetings.retain(under_way);
        }
        known.meetings.insert(contact.key(), Meeting::UnderWay);
        let (shared, contact) = (Arc::clone(&self.0), contact.clone());
        // It ends by itself: the handshake is bounded.
        std::thread::spawn(move || {
            let met = shake_hands(&contact);
            let answered = met.is_ok();
            let over = Meeting::Over {
                met,
                at: Instant::now(),
            };
            let mut known = shared.lock();
            known.meetings.insert(contact.key(), over);
            if answered {
                known.silent.remove(&contact.plugin.to_string());
            }
            drop(known);
            shared.ended.notify_all();
        });
    }
}

fn shake_hands(contact: &Contact) -> Met {
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
        Ok(match spoken {
            Spoken::Instance(version) => Introduced::Instance(version),
            Spoken::Provider => {
                let mistakes = mistaken_settings(&caller, &contact.scope, DESCRIBE_LIMIT).await;
                let mistakes = mistakes.map_err(failed)?;
                if !mistakes.is_empty() {
                    return Ok(Introduced::Refused(mistakes));
                }
                let described = describe(&caller, &contact.scope, DESCRIBE_LIMIT).await;
                Introduced::Provider(described.map_err(failed)?)
            }
        })
    })
}

fn waiting(plugin: &PluginName) -> ProviderError {
    let message = format!("plugin {plugin}: Handshake.Hello: no answer yet");
    ProviderError::new(ErrorClass::Unknown, message)
}
