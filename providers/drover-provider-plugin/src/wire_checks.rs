//! What only the wire shows of a plugin with `Provider/1`: whether it takes what a later drover may send, and whether it
//! greets while something else goes on. The suite of providers cannot see it, so it is tried here.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_model::{InstanceId, ProviderName, ProviderPhase, ProviderRef, Value};
use drover_provider::conformance::{self, CheckResult, Outcome, Subject};
use drover_provider::{Provider, ProviderError, ProvisionRequest};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use crate::call::Caller;
use crate::endpoint::Endpoint;
use crate::factory::PluginFactory;
use crate::hello::{Spoken, hello};
use crate::remote::describe;
use crate::wire::{ProvisionDto, ScopeDto};

/// A check's name, and the sentence of the protocol that it is of.
type Check = (&'static str, &'static str);

const UNKNOWN_FIELDS: Check = (
    "unknown-fields",
    "Unknown fields of parameters are ignored, so that a later drover may send more.",
);

const HELLO_MEANWHILE: Check = (
    "hello-meanwhile",
    "`Handshake.Hello` is answered while other calls are under way, and while somebody who is connected says nothing.",
);

/// The checks in their order.
const CHECKS: [Check; 3] = [crate::unclaimed::CHECK, UNKNOWN_FIELDS, HELLO_MEANWHILE];

/// The first number of the instances that are made here: the suite has lower ones.
const NUMBERS: u64 = 1_000_000;

/// How long a greeting may wait while a call is under way before it counts against the plugin: one that is busy for a moment
/// is not told from one that waits for the call.
const LONG: Duration = Duration::from_secs(2);

/// How long what was sent has to arrive and be taken up, before a greeting that follows it.
const ARRIVES: Duration = Duration::from_millis(300);

/// How often it is greeted while half a call is there: a machine that is busy may take that up later.
const GREETINGS: u32 = 5;

/// What is tried, and for how long at most.
struct Trial<'a> {
    subject: &'a dyn Subject,
    caller: Caller,
    scope: ScopeDto,
    /// The scope, by calls with fields that nobody knows.
    peculiar: Arc<dyn Provider>,
    limit: Duration,
}

/// Returns the names of the checks that are made of a plugin: those of any provider, then those of what only the wire
/// shows.
pub fn check_names() -> impl Iterator<Item = &'static str> {
    conformance::names().chain(CHECKS.iter().map(|(name, _)| *name))
}

/// Returns the results of these checks of a plugin whose instances nobody sees: they are not made, for `why`.
pub fn wire_unchecked(subject: &dyn Subject, why: &str) -> Vec<CheckResult> {
    let wanted = CHECKS.iter().filter(|check| subject.makes(check.0));
    let results = wanted.map(|check| {
        let why = why.to_owned();
        result(*check, Outcome::Skipped { why })
    });
    let results: Vec<CheckResult> = results.collect();
    for result in &results {
        subject.told(result);
    }
    results
}

impl PluginFactory {
    /// Tries what only the wire shows of the plugin of a document. `subject`: what the suite tries of it, and which checks
    /// are made.
    ///
    /// # Cancellation
    ///
    /// A dropped future leaves the instance of the check that was running.
    pub async fn check_wire(
        &self,
        subject: &dyn Subject,
        name: &ProviderName,
        settings: &Value,
        limit: Duration,
    ) -> Vec<CheckResult> {
        let wanted = CHECKS.iter().filter(|check| subject.makes(check.0));
        let wanted: Vec<_> = wanted.copied().collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let all = |outcome: Outcome| {
            let results = wanted.iter().map(|check| result(*check, outcome.clone()));
            let results: Vec<CheckResult> = results.collect();
            for result in &results {
                subject.told(result);
            }
            results
        };
        let trial = match self.trial(subject, name, settings, limit).await {
            Ok(Some(trial)) => trial,
            Ok(None) => {
                let why = "the plugin has InfraKit's interface, and not `Provider/1`".to_owned();
                return all(Outcome::Skipped { why });
            }
            Err(why) => return all(Outcome::Failed { why }),
        };
        let mut results = Vec::new();
        for check in wanted {
            let verdict = match check {
                UNKNOWN_FIELDS => trial.takes_unknown_fields().await,
                HELLO_MEANWHILE => trial.greets_meanwhile().await,
                _ => crate::unclaimed::refuses(&trial.caller, &trial.scope, limit).await,
            };
            let result = result(check, outcome(verdict));
            subject.told(&result);
            results.push(result);
        }
        results
    }

    /// None: the plugin has not our interface.
    async fn trial<'a>(
        &self,
        subject: &'a dyn Subject,
        name: &ProviderName,
        settings: &Value,
        limit: Duration,
    ) -> Result<Option<Trial<'a>>, String> {
        let contact = self.contact(name, settings);
        let contact = contact.map_err(|error| error.to_string())?;
        let caller = || Caller::new(contact.plugin.clone(), contact.place.clone());
        let interfaces = hello(&caller()).await.map_err(|error| error.to_string())?;
        match interfaces.choose(&contact.plugin.subtype) {
            Ok(Spoken::Provider) => {}
            Ok(Spoken::Instance(_)) => return Ok(None),
            Err(why) => return Err(why),
        }
        let described = describe(&caller(), &contact.scope, limit).await;
        let described = described.map_err(|error| error.to_string())?;
        let peculiar = self.open_peculiar(settings, caller(), contact.scope.clone(), described);
        Ok(Some(Trial {
            subject,
            caller: caller(),
            peculiar: peculiar.map_err(|error| error.to_string())?,
            scope: contact.scope,
            limit,
        }))
    }
}

fn result((name, sentence): Check, outcome: Outcome) -> CheckResult {
    CheckResult {
        name,
        sentence,
        outcome,
    }
}

fn outcome(verdict: Result<(), String>) -> Outcome {
    match verdict {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed { why },
    }
}

fn said(error: &ProviderError) -> String {
    format!("{}: {error}", error.class.as_str())
}

/// Adds fields that nobody knows to parameters, and to the objects in them.
pub(crate) fn with_more(params: &impl Serialize) -> Result<Json, serde_json::Error> {
    let mut params = serde_json::to_value(params)?;
    let more = |value: &mut Json| {
        if let Json::Object(fields) = value {
            fields.insert("conformance".to_owned(), json!({"of": ["a later release"]}));
        }
    };
    for name in ["scope", "slot", "seat"] {
        if let Some(object) = params.get_mut(name) {
            more(object);
        }
    }
    let slots = params.get_mut("slots").and_then(Json::as_array_mut);
    for slot in slots.into_iter().flatten() {
        more(slot);
    }
    more(&mut params);
    Ok(params)
}

/// Waits until a call that is under way has arrived, and makes another one then.
async fn later<T>(call: impl Future<Output = T>) -> T {
    tokio::time::sleep(ARRIVES).await;
    call.await
}

impl Trial<'_> {
    fn request(&self, number: u64) -> ProvisionRequest {
        conformance::request(self.subject, NUMBERS + number)
    }

    async fn takes_unknown_fields(&self) -> Result<(), String> {
        let request = self.request(0);
        let listed = self.peculiar.list(&request.fleet).await;
        listed.map_err(|error| format!("a listing: {}", said(&error)))?;
        let made = self.peculiar.provision(&request).await;
        let made = made.map_err(|error| format!("a provision: {}", said(&error)))?;
        let plain = self.subject.provider().provision(&request).await;
        let plain = plain.map_err(|error| format!("the same call without: {}", said(&error)))?;
        self.end(&request, &plain.made).await?;
        if plain.made != made.made {
            return Err(format!(
                "the same call without them has other handles: {}, not {}",
                handles(&plain.made),
                handles(&made.made)
            ));
        }
        Ok(())
    }

    async fn greets_meanwhile(&self) -> Result<(), String> {
        let greet = |when: &'static str| async move {
            let greeted = hello(&self.caller).await;
            greeted
                .map(|_| ())
                .map_err(|error| format!("{when}: {error}"))
        };
        let silent = self.connection(b"").await?;
        greet("while a connection is open and silent").await?;
        let half = self.half_a_call()?;
        let half = self.connection(&half).await?;
        for _ in 0..GREETINGS {
            later(greet("while half a call was sent")).await?;
        }
        drop((silent, half));
        let request = self.request(2);
        let provider = self.subject.provider();
        let mut provision = provider.provision(&request);
        let (mut greeted_last, mut silence) = (Instant::now(), Duration::ZERO);
        let made = loop {
            tokio::select! {
                biased;
                made = &mut provision => break made,
                said = later(greet("while an instance is made")) => {
                    said?;
                    silence = silence.max(greeted_last.elapsed());
                    greeted_last = Instant::now();
                }
            }
        };
        // An answer that comes with the call's own was kept waiting by it.
        silence = silence.max(greeted_last.elapsed());
        let made = made.map_err(|error| said(&error))?;
        self.end(&request, &made.made).await?;
        if silence >= LONG {
            return Err(format!(
                "no answer while an instance was made, for {:.1} s",
                silence.as_secs_f64()
            ));
        }
        Ok(())
    }

    /// Returns the first half of a call that makes an instance, as it goes over the connection.
    fn half_a_call(&self) -> Result<Vec<u8>, String> {
        let request = ProvisionDto::of(&self.request(1)).map_err(|error| said(&error))?;
        let mut params = serde_json::to_value(&request).map_err(|error| error.to_string())?;
        params["scope"] = serde_json::to_value(&self.scope).map_err(|error| error.to_string())?;
        let call =
            json!({"jsonrpc": "2.0", "method": "Provider.Provision", "params": params, "id": 1});
        let body = call.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Ok([head.as_bytes(), &body.as_bytes()[..body.len() / 2]].concat())
    }

    /// Opens a connection, and says no more on it than this.
    async fn connection(&self, said: &[u8]) -> Result<Box<dyn Send>, String> {
        let endpoint = self.caller.endpoint().map_err(|fault| fault.to_string())?;
        let opening = tokio::time::timeout(self.limit, opened(&endpoint, said)).await;
        let opened =
            opening.map_err(|_| format!("no connection within {} s", self.limit.as_secs_f32()))?;
        opened.map_err(|error| format!("cannot connect to {endpoint}: {error}"))
    }

    /// Ends what was made, by calls with fields that nobody knows.
    async fn end(
        &self,
        request: &ProvisionRequest,
        made: &std::collections::BTreeMap<InstanceId, ProviderRef>,
    ) -> Result<(), String> {
        for (instance, handle) in made {
            let running = |phase: Option<&ProviderPhase>| phase == Some(&ProviderPhase::Running);
            self.until(request, handle, "does not run", running).await?;
            let end = conformance::destroying(request, instance, handle);
            let ended = self.peculiar.destroy(&end).await;
            ended.map_err(|error| format!("a destroy: {}", said(&error)))?;
            let gone = |phase: Option<&ProviderPhase>| {
                matches!(phase, None | Some(ProviderPhase::Terminated))
            };
            self.until(request, handle, "does not end", gone).await?;
        }
        Ok(())
    }

    async fn until(
        &self,
        request: &ProvisionRequest,
        handle: &ProviderRef,
        what: &str,
        wanted: impl Fn(Option<&ProviderPhase>) -> bool,
    ) -> Result<(), String> {
        let started = Instant::now();
        let limit = self.subject.limit().unwrap_or(Duration::MAX);
        for _ in 0..self.subject.patience() {
            if started.elapsed() >= limit {
                break;
            }
            let listing = self.peculiar.list(&request.fleet).await;
            let listing = listing.map_err(|error| format!("a listing: {}", said(&error)))?;
            let mut listed = listing.instances.iter();
            let found = listed.find(|listed| listed.provider_ref == *handle);
            if wanted(found.map(|listed| &listed.phase)) {
                return Ok(());
            }
            self.subject.wait().await;
        }
        Err(format!("{handle} {what} in time"))
    }
}

fn handles(made: &std::collections::BTreeMap<InstanceId, ProviderRef>) -> String {
    let handles = made.values().map(ToString::to_string);
    handles.collect::<Vec<_>>().join(", ")
}

/// Opens a connection, which is there for as long as what is returned.
async fn opened(endpoint: &Endpoint, said: &[u8]) -> io::Result<Box<dyn Send>> {
    match endpoint {
        Endpoint::Unix(path) => {
            let mut stream = UnixStream::connect(path).await?;
            stream.write_all(said).await?;
            Ok(Box::new(stream))
        }
        Endpoint::Tcp(address) => {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(said).await?;
            Ok(Box::new(stream))
        }
    }
}
