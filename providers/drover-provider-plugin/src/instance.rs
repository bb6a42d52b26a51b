//! A provider over InfraKit's `Instance` interface, which knows no tokens, no owners and no phases.
//!
//! What makes it safe: ownership goes along as tags; each call that makes something is written into the
//! [`Ledger`] before it is sent; and while nobody knows what became of it, the plugin's listing decides,
//! for as long as the plugin may be behind with its listings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    Completeness, ErrorClass, FleetName, Listed, Listing, Ownership, ProviderPhase, ProviderRef,
    Survey, Timestamp, Token,
};
use drover_provider::{
    AdoptRequest, Clock, DestroyRequest, Ending, Manifest, OptionalMethod, Provider, ProviderError,
    ProvisionRequest, Provisioned,
};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared as Joined};

use crate::adopting::{Shared, Sightings};
use crate::call::{CallError, Caller};
use crate::groups::Neighbours;
use crate::hello::InstanceVersion;
use crate::infrakit::{Description, Dialect, descriptions, is_ok};
use crate::ledger::{Entry, Ledger, State};
use crate::making::Making;
use crate::wire::strange;
use crate::{spec, tags};

/// How a Provider document wants a plugin to be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Usage {
    /// How long an instance that was made may be missing from the plugin's listings.
    pub(crate) visibility: Duration,
    /// How long a call may take that makes nothing.
    pub(crate) timeout: Duration,
    /// How long a call that makes something may take, in the background.
    pub(crate) making: Duration,
    /// The tag that holds an instance's address.
    pub(crate) address_tag: Option<String>,
    /// Where in an instance's properties its address is, as a path with dots.
    pub(crate) address_property: Option<String>,
}

/// One scope of the type `plugin`, over a plugin of InfraKit.
#[derive(Debug, Clone)]
pub(crate) struct InstanceProvider(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) manifest: Manifest,
    pub(crate) caller: Caller,
    pub(crate) version: InstanceVersion,
    pub(crate) usage: Usage,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flights: Arc<Flights>,
    /// Whose agent this is, where it is one.
    pub(crate) fleet: Option<FleetName>,
    /// What the neighbours have told.
    pub(crate) neighbours: Arc<Neighbours>,
    /// What was under way when strangers were first seen.
    pub(crate) sightings: Arc<Sightings>,
    /// What the latest listing had.
    pub(crate) looked: Looked,
    /// What adoptions share.
    pub(crate) shared: Shared,
}

/// What the latest listing says of a call.
#[derive(Debug)]
pub(crate) enum AsListed {
    /// There was none since, or not lately.
    Unknown,
    /// It has made nothing yet.
    Nothing,
    /// It has made this.
    Made(String),
}

/// How old a listing may be from which a repeated call is answered: an agent lists in each pass, before it calls.
const LOOK_MAX: Duration = Duration::from_secs(15);

/// The latest listing: what each token has made.
#[derive(Debug, Default)]
pub(crate) struct Looked(Mutex<Option<Look>>);

#[derive(Debug)]
struct Look {
    begun: Timestamp,
    made: BTreeMap<String, String>,
}

impl Looked {
    fn lock(&self) -> MutexGuard<'_, Option<Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, begun: Timestamp, found: &[Description]) {
        let mut made = BTreeMap::new();
        for one in found {
            if let Some(token) = one.tags.get(tags::TOKEN) {
                let first: &mut String = made.entry(token.clone()).or_insert(one.id.clone());
                if one.id < *first {
                    first.clone_from(&one.id);
                }
            }
        }
        *self.lock() = Some(Look { begun, made });
    }
}

/// The calls under way that make something, by their token: shared by every opening of one document, so
/// that a repeated call waits for the first one instead of making a second instance.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<BTreeMap<Token, Flight>>);

#[derive(Debug, Clone)]
struct Flight {
    owner: Ownership,
    asked: String,
    done: Joined<BoxFuture<'static, Made>>,
}

/// How a call ended that makes something.
pub(crate) type Made = Result<Provisioned, ProviderError>;

impl Flights {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Token, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the plugin knows of a handle.
enum Found {
    /// It is the fleet's.
    Ours(Description),
    /// It is somebody else's, or nobody's.
    Foreign(Description),
    /// It does not exist.
    Gone,
}

impl InstanceProvider {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Starts a call that makes something, or joins the one that is under way.
    fn launch(&self, making: Making) -> Result<Joined<BoxFuture<'static, Made>>, ProviderError> {
        let token = making.owner.token.clone();
        let mut flights = self.0.flights.lock();
        if let Some(flight) = flights.get(&token) {
            if flight.owner == making.owner && flight.asked == making.asked {
                return Ok(flight.done.clone());
            }
            return Err(reused(&token));
        }
        let (owner, asked) = (making.owner.clone(), making.asked.clone());
        let (inner, ended) = (Arc::clone(&self.0), token.clone());
        let task = tokio::spawn(async move {
            let made = making.carry_out(&inner).await;
            inner.flights.lock().remove(&ended);
            made
        });
        let (flights_too, ended) = (Arc::clone(&self.0.flights), token.clone());
        let done = async move {
            let joined = task.await;
            joined.unwrap_or_else(|error| {
                // Only a panic gets here without the task having left the list.
                flights_too.lock().remove(&ended);
                let message = format!("the call was cut short: {error}");
                Err(ProviderError::new(ErrorClass::Unknown, message))
            })
        };
        let done = done.boxed().shared();
        flights.insert(
            token,
            Flight {
                owner,
                asked,
                done: done.clone(),
            },
        );
        Ok(done)
    }
}

impl Inner {
    pub(crate) fn dialect(&self) -> Dialect<'_> {
        Dialect {
            version: self.version,
            subtype: &self.caller.name.subtype,
        }
    }

    /// Asks for the instances with all of the tags. What the plugin makes of the filter is not relied on: some
    /// describe instances that lack the tag.
    pub(crate) async fn describe(
        &self,
        filter: &BTreeMap<String, String>,
    ) -> Result<Vec<Description>, CallError> {
        let method = "Instance.DescribeInstances";
        let params = self
            .dialect()
            .describe(filter, self.usage.address_property.is_some());
        let answer = self
            .caller
            .call_unread(method, &params, self.usage.timeout)
            .await?;
        let read = descriptions(&answer.result);
        drop(answer);
        let mut found = read.map_err(|why| self.caller.garbled(method, &why))?;
        let matches = |description: &Description| {
            let mut wanted = filter.iter();
            wanted.all(|(name, value)| description.tags.get(name) == Some(value))
        };
        found.retain(matches);
        let tokens = found.iter().filter_map(|found| found.tags.get(tags::TOKEN));
        self.ledger.saw(tokens);
        Ok(found)
    }

    /// Finds the instance that a token has made.
    pub(crate) async fn find(&self, token: &Token) -> Result<Option<Description>, CallError> {
        let found = self.describe(&tagged(tags::TOKEN, token.as_str())).await?;
        let first = found.into_iter();
        Ok(first.min_by(|one, other| one.id.cmp(&other.id)))
    }

    /// Returns what the latest listing says that an entry's call has made.
    pub(crate) fn made_as_listed(&self, entry: &Entry) -> AsListed {
        let looked = self.looked.lock();
        let is_recent = |look: &&Look| {
            let age = Duration::try_from(self.clock.now().duration_since(look.begun));
            look.begun > entry.at && age.is_ok_and(|age| age <= LOOK_MAX)
        };
        let Some(look) = looked.as_ref().filter(is_recent) else {
            return AsListed::Unknown;
        };
        let made = look.made.get(&entry.token);
        made.map_or(AsListed::Nothing, |id| AsListed::Made(id.clone()))
    }

    async fn look_up(&self, fleet: &FleetName, instance: &ProviderRef) -> Result<Found, CallError> {
        let is_it = |description: &Description| description.id == instance.as_str();
        let ours = self.describe(&tagged(tags::FLEET, fleet.as_str())).await?;
        if let Some(found) = ours.into_iter().find(is_it) {
            return Ok(Found::Ours(found));
        }
        // Released, or another fleet's: to be told from what is gone.
        let all = self.describe(&BTreeMap::new()).await?;
        Ok(all
            .into_iter()
            .find(is_it)
            .map_or(Found::Gone, Found::Foreign))
    }

    /// Writes down how far a call has come. `asked`: what it asks for, if that is known. What was written of it first stays.
    pub(crate) async fn note(
        &self,
        owner: &Ownership,
        asked: Option<&str>,
        state: State,
        id: Option<String>,
        message: Option<String>,
    ) -> Result<(), ProviderError> {
        let token = owner.token.to_string();
        let before = self.ledger.get(&owner.token);
        let asked = match &before {
            Some(before) => before.asked.clone(),
            None => asked.map(str::to_owned),
        };
        let sent = before.filter(|before| before.state == State::Sent && state == State::Sent);
        // What is said later of a call without an answer makes it no younger.
        let sent_at = sent.filter(|_| message.is_some()).map(|before| before.at);
        let entry = Entry {
            token,
            owner: spec::owner_text(owner),
            asked,
            state,
            at: sent_at.unwrap_or_else(|| self.clock.now()),
            id,
            message,
            seen: false,
        };
        self.write(entry).await
    }

    async fn write(&self, entry: Entry) -> Result<(), ProviderError> {
        let noted = self.ledger.note(entry).await;
        noted.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let message = format!("{error}{}", cause.unwrap_or_default());
            ProviderError::new(ErrorClass::Unknown, message)
        })
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let as_of = self.clock.now();
        let found = self.describe(&tagged(tags::FLEET, fleet.as_str())).await;
        let found = found.map_err(CallError::into_provider_error)?;
        self.looked.note(as_of, &found);
        let mut instances: BTreeMap<String, Listed> = BTreeMap::new();
        let mut doubt = None;
        for description in found {
            let id = description.id.clone();
            let listed = self.listed(&description)?;
            if listed.ownership.is_none() {
                doubt = doubt.or_else(|| self.is_altered(&description));
            }
            if instances.insert(id.clone(), listed).is_some() {
                doubt = Some(format!(
                    "plugin {}: Instance.DescribeInstances describes {id} more than once",
                    self.caller.name
                ));
            }
        }
        let completeness = match doubt {
            None => {
                self.forget(as_of, &instances);
                Completeness::Complete
            }
            Some(why) => Completeness::Partial { why },
        };
        Ok(Listing {
            completeness,
            as_of,
            instances: instances.into_values().collect(),
            attached: std::collections::BTreeSet::new(),
            places: BTreeMap::new(),
        })
    }

    fn forget(&self, now: Timestamp, listed: &BTreeMap<String, Listed>) {
        let owned = listed
            .values()
            .filter_map(|listed| listed.ownership.as_ref());
        let tokens: std::collections::BTreeSet<&str> =
            owned.map(|owner| owner.token.as_str()).collect();
        self.ledger.listed(tokens.iter().copied());
        self.ledger.forget(now, |token| tokens.contains(token));
    }

    pub(crate) fn listed(&self, description: &Description) -> Result<Listed, ProviderError> {
        let ownership = self.owner_of(description);
        let owner = ownership.as_ref();
        let ends = owner.and_then(|owner| self.end_agreed(&owner.token, &description.id));
        let tag = |name: &str| description.tags.get(name).filter(|tag| !tag.is_empty());
        let provider_ref = ProviderRef::parse(&description.id);
        Ok(Listed {
            provider_ref: provider_ref.map_err(|error| spec::invalid(error.to_string()))?,
            phase: if ends.is_some() {
                ProviderPhase::Stopping
            } else {
                // A plugin describes what there is, and nothing more of it.
                ProviderPhase::Running
            },
            // What cannot be one is a tag or a property of another meaning.
            address: self.address(description).filter(|it| strange(it).is_none()),
            zone: tag(tags::ZONE).filter(|it| strange(it).is_none()).cloned(),
            created_at: tag(tags::CREATED).and_then(|tag| tag.parse().ok()),
            ownership,
            interruption: None,
        })
    }

    fn address(&self, description: &Description) -> Option<String> {
        if let Some(name) = &self.usage.address_tag {
            return description
                .tags
                .get(name)
                .filter(|tag| !tag.is_empty())
                .cloned();
        }
        if let Some(path) = &self.usage.address_property {
            let mut parts = path.split('.');
            let found = parts.try_fold(description.properties.as_ref()?, |value, part| {
                value.get(part)
            });
            let found = found.and_then(serde_json::Value::as_str);
            return found.filter(|text| !text.is_empty()).map(str::to_owned);
        }
        // What InfraKit itself uses it for, in groups of fixed members.
        let logical_id = description.logical_id.as_ref()?;
        logical_id
            .parse::<IpAddr>()
            .is_ok()
            .then(|| logical_id.clone())
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let instance = &request.provider_ref;
        let looked = self.look_up(&request.fleet, instance).await;
        let found = match looked.map_err(CallError::into_provider_error)? {
            Found::Gone => return self.destroy_unlisted(request).await,
            Found::Foreign(_) => return Err(not_ours(instance)),
            Found::Ours(found) => found,
        };
        let owner = self.owner_of(&found).filter(|owner| {
            owner.token == request.token
                && owner.instance == request.instance
                && owner.group == request.group
                && owner.fleet == request.fleet
        });
        let owner = owner.ok_or_else(|| not_ours(instance))?;
        let agreed = self.end_agreed(&owner.token, instance.as_str());
        // Agreed to, and still listed: the listing is behind. Asked again only when it no longer can be.
        if agreed.is_some_and(|entry| !self.is_past(&entry)) {
            return Ok(());
        }
        match self.ask_to_end(instance, request.ending).await {
            Ok(()) => {
                let id = Some(instance.to_string());
                self.note(&owner, None, State::Ended, id, None).await
            }
            Err(error) => {
                self.after_refused_end(&request.fleet, instance, error)
                    .await
            }
        }
    }

    /// Returns the entry of an instance that the plugin has agreed to end. A plugin may have made several with one token, and
    /// agrees to the end of one of them.
    fn end_agreed(&self, token: &Token, id: &str) -> Option<Entry> {
        let entry = self.ledger.get(token)?;
        let is_it = entry.id.as_deref() == Some(id);
        (is_it && entry.state == State::Ended).then_some(entry)
    }

    async fn ask_to_end(&self, instance: &ProviderRef, ending: Ending) -> Result<(), CallError> {
        let method = "Instance.Destroy";
        let params = self.dialect().destroy(instance.as_str(), ending);
        let called = self.caller.call(method, &params, self.usage.timeout).await;
        called.and_then(|answer| self.agreed(method, &answer))
    }

    /// Ends what the plugin does not describe: gone, or made so lately that the listings are behind.
    async fn destroy_unlisted(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let instance = &request.provider_ref;
        let made = self.ledger.of_id(instance.as_str());
        let made =
            made.filter(|entry| entry.state == State::Made && !entry.seen && !self.is_past(entry));
        let Some(mut entry) = made else {
            return Ok(());
        };
        if entry.token != request.token.as_str() || !spec::is_owner(&entry.owner, request) {
            return Err(not_ours(instance));
        }
        let asked = self.ask_to_end(instance, request.ending).await;
        asked.map_err(CallError::into_provider_error)?;
        entry.state = State::Ended;
        entry.at = self.clock.now();
        self.write(entry).await
    }

    /// A plugin refuses to end what is gone, and so does one that has lost its answer: the listing tells.
    async fn after_refused_end(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
        error: CallError,
    ) -> Result<(), ProviderError> {
        match self.look_up(fleet, instance).await {
            Ok(Found::Gone) => Ok(()),
            Ok(Found::Ours(_) | Found::Foreign(_)) | Err(_) => Err(error.into_provider_error()),
        }
    }

    pub(crate) fn agreed(&self, method: &str, answer: &serde_json::Value) -> Result<(), CallError> {
        match is_ok(answer) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.caller.garbled(method, "`OK` is false")),
            Err(why) => Err(self.caller.garbled(method, &why)),
        }
    }

    /// Returns whether the listings tell by now what an entry came to. A call without an answer may go
    /// on at the plugin for as long as such calls may take. A clock that stepped back makes the wait
    /// longer, never shorter.
    pub(crate) fn is_past(&self, entry: &Entry) -> bool {
        let wait = match entry.state {
            State::Sent => self.usage.making.saturating_add(self.usage.visibility),
            State::Acked | State::Refused | State::Made | State::Ended | State::Failed => {
                self.usage.visibility
            }
        };
        let passed = self.clock.now().duration_since(entry.at);
        Duration::try_from(passed).is_ok_and(|passed| passed >= wait)
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        let looked = self.look_up(fleet, instance).await;
        match looked.map_err(CallError::into_provider_error)? {
            Found::Ours(found) => self.take_tags_off(fleet, &found).await,
            Found::Foreign(found) if is_released(&found, fleet) => {
                // Cut short before: what it has left is nobody's.
                let mut owning = tags::OWNING.into_iter();
                if owning.any(|name| tags::get(&found.tags, name).is_some()) {
                    return self.take_tags_off(fleet, &found).await;
                }
                Ok(())
            }
            Found::Foreign(_) | Found::Gone => Err(not_ours(instance)),
        }
    }

    /// Empties the tags: labels can be changed in this protocol, and not removed. That they are void is said first, in a
    /// call of its own: some plugins put tags on one by one, and fail in the middle.
    async fn take_tags_off(
        &self,
        fleet: &FleetName,
        found: &Description,
    ) -> Result<(), ProviderError> {
        if !self.can_label() {
            let plugin = &self.caller.name;
            return Err(spec::invalid(format!(
                "plugin {plugin}: it cannot change labels, so its instances cannot be released"
            )));
        }
        let owning = tags::OWNING
            .iter()
            .filter(|name| found.tags.contains_key(**name));
        let labels: BTreeMap<String, String> = owning
            .map(|name| ((*name).to_owned(), String::new()))
            .collect();
        let released = tagged(tags::RELEASED, fleet.as_str());
        self.label(&found.id, &released).await?;
        self.label(&found.id, &labels).await
    }

    /// Returns whether tags of instances can be changed at all.
    pub(crate) fn can_label(&self) -> bool {
        self.version >= InstanceVersion::V0_3_0
    }

    /// Changes tags of an instance, and leaves the others as they are.
    pub(crate) async fn label(
        &self,
        instance: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ProviderError> {
        let method = "Instance.Label";
        let params = self.dialect().label(instance, labels);
        let called = self.caller.call(method, &params, self.usage.timeout).await;
        let agreed = called.and_then(|answer| self.agreed(method, &answer));
        agreed.map_err(CallError::into_provider_error)
    }
}

fn tagged(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

fn is_released(found: &Description, fleet: &FleetName) -> bool {
    let tag = found.tags.get(tags::RELEASED);
    tag.is_some_and(|tag| tag == fleet.as_str()) && tags::owner(&found.tags).is_none()
}

pub(crate) fn reused(token: &Token) -> ProviderError {
    spec::invalid(format!("token {token} was used with other parameters"))
}

fn not_ours(instance: &ProviderRef) -> ProviderError {
    let message = format!("instance {instance} is not the one that is meant");
    ProviderError::new(ErrorClass::NotFound, message)
}

fn cut_short(error: &tokio::task::JoinError) -> ProviderError {
    let message = format!("the call was cut short: {error}");
    ProviderError::new(ErrorClass::Unknown, message)
}

#[async_trait]
impl Provider for InstanceProvider {
    fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        // Adopting is labelling.
        let adopt = self.0.can_label().then_some(OptionalMethod::Adopt);
        let survey = [OptionalMethod::Survey];
        survey.into_iter().chain(adopt).collect()
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        self.0.list(fleet).await
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        let making = Making::of(request, self.0.clock.now())?;
        self.launch(making)?.await
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        // To its end, even if the caller gives up: what the plugin has agreed to is written down.
        let (inner, request) = (Arc::clone(&self.0), request.clone());
        let task = tokio::spawn(async move { inner.destroy(&request).await });
        task.await.map_err(|error| cut_short(&error))?
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        self.0.release(fleet, instance).await
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        self.0.survey(tags).await
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        self.0.adopt(request).await
    }
}
