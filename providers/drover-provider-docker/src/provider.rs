//! The provider, and what its parts share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    CheckOutcome, ErrorClass, ExitReport, FleetName, Listing, ProviderName, ProviderRef, Timestamp,
    Token,
};
use drover_provider::{
    Clock, DestroyRequest, Manifest, OptionalMethod, Provider, ProviderError, ProvisionRequest,
    Provisioned, refuse_attachments,
};

use crate::api::{Engine, EngineError, Inspected, Summary};
use crate::fates::{ASKED_MAX, Fate};
use crate::grants::Grants;
use crate::labels::{self, Labels};
use crate::names::Name;
use crate::pulls::Pulls;
use crate::single_flight::SingleFlight;
use crate::spent::Spent;

/// One scope of the type `docker`: the containers of one Provider document at one engine.
#[derive(Debug, Clone)]
pub struct DockerProvider(Arc<Inner>);

/// What the parts share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) manifest: Manifest,
    pub(crate) name: ProviderName,
    pub(crate) engine: Engine,
    pub(crate) grants: Grants,
    pub(crate) spent: Spent,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pull_timeout: Duration,
    /// Whether a listing starts what was made, was never started, and has waited for long.
    pub(crate) finishes: bool,
    pub(crate) memory: Memory,
}

/// What is remembered between calls. Losing it costs a few calls of the engine.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Calls that make something, by token: a repeated one waits for the one under way.
    flights: Mutex<BTreeMap<Token, Arc<tokio::sync::Mutex<()>>>>,
    /// Pulls of images that are under way.
    pub(crate) pulls: Pulls,
    /// Containers that are being ended, by id, with the time of the kill in seconds since 1970.
    endings: Mutex<BTreeMap<String, i64>>,
    /// How containers ended, by id.
    exits: Mutex<BTreeMap<String, ExitReport>>,
    /// Containers that have never run, by id, with the time from which they wait to be started.
    pub(crate) waiting: Mutex<BTreeMap<String, Timestamp>>,
    /// What the engine is being asked about containers, by id.
    pub(crate) questions: SingleFlight<Fate>,
    /// Who may ask it.
    pub(crate) asking: Asking,
    /// Commands that are, or may be, running in containers: by container and command, its id.
    execs: Mutex<BTreeMap<(String, Vec<String>), String>>,
}

/// Permits to ask about single containers.
#[derive(Debug)]
pub(crate) struct Asking(tokio::sync::Semaphore);

impl Default for Asking {
    fn default() -> Self {
        Self(tokio::sync::Semaphore::new(ASKED_MAX))
    }
}

impl Asking {
    /// Waits for one. None never comes: it is not closed.
    pub(crate) async fn permit(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.0.acquire().await.ok()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Returns the lock of a token.
    pub(crate) fn flight(&self, token: &Token) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = lock(&self.flights);
        // Nobody waits for what only the map holds.
        flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        Arc::clone(flights.entry(token.clone()).or_default())
    }

    pub(crate) fn endings(&self) -> MutexGuard<'_, BTreeMap<String, i64>> {
        lock(&self.endings)
    }

    pub(crate) fn exits(&self) -> MutexGuard<'_, BTreeMap<String, ExitReport>> {
        lock(&self.exits)
    }

    pub(crate) fn execs(&self) -> MutexGuard<'_, BTreeMap<(String, Vec<String>), String>> {
        lock(&self.execs)
    }
}

/// A container of this scope, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: Name,
    pub(crate) labels: Labels,
    pub(crate) summary: Summary,
}

impl Inner {
    /// Reads a listed container. None: it is not of this scope.
    pub(crate) fn own(&self, mut summary: Summary) -> Option<Found> {
        let labels = summary.labels.take()?;
        let is = |name: &str, value: &str| labels.get(name).is_some_and(|it| it == value);
        if !is(labels::PROVIDER, self.name.as_str()) {
            return None;
        }
        let names = summary.names.iter().flatten();
        let names = names.filter_map(|name| Name::parse(name.strip_prefix('/').unwrap_or(name)));
        // Whoever gives the name of one container to another has not made that one ours.
        let mut names = names.filter(|name| is(labels::TOKEN, name.token.as_str()));
        let name = names.next()?;
        Some(Found {
            name,
            labels,
            summary,
        })
    }

    /// Finds what a token made, whatever has become of it.
    pub(crate) async fn of_token(&self, token: &Token) -> Result<Option<Found>, EngineError> {
        let filters = [
            format!("{}={token}", labels::TOKEN),
            format!("{}={}", labels::PROVIDER, self.name),
        ];
        let listed = self.engine.containers(&filters).await?;
        let mut found = listed.into_iter().filter_map(|summary| self.own(summary));
        Ok(found.find(|found| found.name.token == *token))
    }

    /// Looks at the container of a handle.
    ///
    /// # Errors
    ///
    /// `NotFound`: there is none.
    pub(crate) async fn look(&self, handle: &ProviderRef) -> Result<Inspected, ProviderError> {
        let name = Name::of_handle(handle).ok_or_else(|| not_found(handle))?;
        // By its name, as long as it has the one that it was made with.
        match self.engine.inspect(&name.to_string()).await {
            Ok(inspected) if self.is_of(&inspected, &name.token) => return Ok(inspected),
            Ok(_) => return Err(not_found(handle)),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(failed(&error)),
        }
        let found = self.of_token(&name.token).await;
        let found = found.map_err(|error| failed(&error))?;
        let found = found.ok_or_else(|| not_found(handle))?;
        match self.engine.inspect(&found.summary.id).await {
            Ok(inspected) => Ok(inspected),
            Err(error) if error.is_missing() => Err(not_found(handle)),
            Err(error) => Err(failed(&error)),
        }
    }

    fn is_of(&self, inspected: &Inspected, token: &Token) -> bool {
        let config = inspected.config.as_ref();
        let labels = config.and_then(|config| config.labels.as_ref());
        let is = |name: &str, value: &str| {
            let label = labels.and_then(|labels| labels.get(name));
            label.is_some_and(|label| label == value)
        };
        is(labels::TOKEN, token.as_str()) && is(labels::PROVIDER, self.name.as_str())
    }
}

pub(crate) fn failed(error: &EngineError) -> ProviderError {
    ProviderError::new(error.class(), error.to_string())
}

pub(crate) fn unknown(message: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorClass::Unknown, message)
}

pub(crate) fn not_found(handle: &ProviderRef) -> ProviderError {
    let message = format!("container {handle} does not exist");
    ProviderError::new(ErrorClass::NotFound, message)
}

impl DockerProvider {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Runs work to its end, even if the caller drops the future: what is half made would otherwise wait
    /// for a repeated call.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ProviderError>> + Send + 'static,
    ) -> Result<T, ProviderError> {
        match tokio::spawn(work).await {
            Ok(result) => result,
            Err(error) => Err(unknown(format!("the call was cut short: {error}"))),
        }
    }
}

#[async_trait]
impl Provider for DockerProvider {
    fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        use OptionalMethod::{Check, Health, Logs};
        [Check, Health, Logs].into()
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        self.0.list(fleet).await
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        request.slots.iter().try_for_each(refuse_attachments)?;
        let (inner, request) = (Arc::clone(&self.0), request.clone());
        self.whole(async move { inner.provision(&request).await })
            .await
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let (inner, request) = (Arc::clone(&self.0), request.clone());
        self.whole(async move { inner.destroy(&request).await })
            .await
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        self.0.release(fleet, instance).await
    }

    /// # Cancellation
    ///
    /// A dropped future leaves the command running: an engine cannot be asked to end one. Until it has
    /// ended, no other is started for the same check.
    async fn check(
        &self,
        instance: &ProviderRef,
        command: &[String],
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        self.0.check(instance, command, timeout).await
    }

    async fn health(
        &self,
        instance: &ProviderRef,
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        self.0.health(instance, timeout).await
    }

    async fn logs(&self, instance: &ProviderRef, lines: usize) -> Result<String, ProviderError> {
        self.0.logs(instance, lines).await
    }
}
