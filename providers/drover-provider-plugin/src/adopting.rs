//! Taking over instances that an InfraKit group, or somebody by hand, has made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use drover_model::{Completeness, Ownership, Stranger, Survey, Timestamp};
use drover_provider::{AdoptRequest, ProviderError};
use tokio::sync::Mutex;

use crate::call::{CallError, Place, shortened};
use crate::groups::{Watched, WatchedError};
use crate::infrakit::Description;
use crate::instance::Inner;
use crate::ledger::{Entry, State};
use crate::ownership::{foreign, other_fleet};
use crate::wire::strange;
use crate::{spec, tags};

/// The tag that says which of InfraKit's groups an instance is of.
const GROUP: &str = "infrakit.group";

/// What to do where it is not known whose an instance is.
const TAKE_OFF: &str = "take its tags that begin with `drover.` off at the provider, unless another fleet takes it over";

/// How long answers count that adoptions share: those of one pass follow each other and its survey.
const SHARED: Duration = Duration::from_secs(5);

/// What adoptions share: with an answer for each of them, a group of a thousand would have the plugin describe a million
/// instances, and every neighbour asked a thousand times.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// What was described, by its handle. Each counts for one adoption.
    found: Option<(Timestamp, BTreeMap<String, Description>)>,
    watched: Option<(Timestamp, Arc<Watched>)>,
}

impl Shared {
    /// Forgets everything: whoever surveys asks for itself.
    async fn forget(&self) {
        *self.0.lock().await = Answers::default();
    }

    /// Takes up what a survey has asked for anyway.
    async fn keep(&self, at: Timestamp, found: Vec<Description>, watched: Watched) {
        let mut answers = self.0.lock().await;
        let found = found.into_iter().map(|one| (one.id.clone(), one));
        answers.found = Some((at, found.collect()));
        answers.watched = Some((at, Arc::new(watched)));
    }
}

/// Most strangers that are remembered; beyond that all are forgotten, which costs a survey while something is made.
const SIGHTED_MAX: usize = 65_536;

/// The calls that had no outcome when a stranger was first seen by a survey, by its handle: what was there before a call
/// is not what it made.
#[derive(Debug, Default)]
pub(crate) struct Sightings(std::sync::Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Sightings {
    /// Returns the first of `found` that one of the `open` calls may have made, with that call.
    fn made_by<'a>(
        &self,
        found: impl Iterator<Item = &'a str>,
        open: &[Entry],
    ) -> Option<(&'a str, Entry)> {
        let mut sighted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sighted.len() > SIGHTED_MAX {
            sighted.clear();
        }
        let mut first = None;
        for id in found {
            let then = sighted.entry(id.to_owned());
            let then = then.or_insert_with(|| open.iter().map(|one| one.token.clone()).collect());
            then.retain(|token| open.iter().any(|one| one.token == *token));
            let call = open.iter().find(|one| then.contains(&one.token));
            first = first.or_else(|| Some((id, call?.clone())));
        }
        first
    }

    /// Returns whether a survey told of it before.
    fn has(&self, id: &str) -> bool {
        let sighted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sighted.contains_key(id)
    }
}

impl Inner {
    /// Returns whether an answer of that time counts still.
    fn counts(&self, at: Timestamp) -> bool {
        let age = Duration::try_from(self.clock.now().duration_since(at));
        age.is_ok_and(|age| age <= SHARED)
    }

    /// Describes the instance that is to be adopted.
    async fn described(&self, id: &str) -> Result<Option<Description>, ProviderError> {
        // Adoptions that come meanwhile wait, and share the answer.
        let mut answers = self.shared.0.lock().await;
        let known = answers.found.as_mut().filter(|(at, _)| self.counts(*at));
        if let Some(found) = known.and_then(|(_, found)| found.remove(id)) {
            return Ok(Some(found));
        }
        let at = self.clock.now();
        let all = self.describe(&BTreeMap::new()).await;
        let all = all.map_err(CallError::into_provider_error)?;
        let mut all: BTreeMap<_, _> = all.into_iter().map(|one| (one.id.clone(), one)).collect();
        let found = all.remove(id);
        answers.found = Some((at, all));
        Ok(found)
    }

    /// Returns who beside this agent watches which group, as far as an adoption is concerned.
    async fn neighbours(&self) -> Result<Arc<Watched>, ProviderError> {
        let mut answers = self.shared.0.lock().await;
        if let Some((at, watched)) = &answers.watched
            && self.counts(*at)
        {
            return Ok(Arc::clone(watched));
        }
        let at = self.clock.now();
        let watched = self.watched().await;
        let watched = Arc::new(watched.map_err(WatchedError::into_provider_error)?);
        answers.watched = Some((at, Arc::clone(&watched)));
        Ok(watched)
    }

    /// Describes what nobody owns and what has the tags.
    pub(crate) async fn survey(
        &self,
        wanted: &BTreeMap<String, String>,
    ) -> Result<Survey, ProviderError> {
        self.shared.forget().await;
        let as_of = self.clock.now();
        let watched = self
            .watched()
            .await
            .map_err(WatchedError::into_provider_error)?;
        let found = self.describe(wanted).await;
        let found = found.map_err(CallError::into_provider_error)?;
        let mut ids = BTreeSet::new();
        let mut completeness = Completeness::Complete;
        let mut strangers = Vec::new();
        for description in found.iter().filter(|one| self.is_told(one, &watched)) {
            if !ids.insert(&description.id) {
                completeness = Completeness::Partial {
                    why: format!(
                        "plugin {}: Instance.DescribeInstances describes {} more than once",
                        self.caller.name, description.id
                    ),
                };
                continue;
            }
            if self.may_be_ending(&description.id) {
                completeness = Completeness::Partial {
                    why: format!(
                        "plugin {}: Instance.DescribeInstances describes {}, whose end it has agreed to",
                        self.caller.name, description.id
                    ),
                };
            }
            strangers.push(self.stranger(description, &watched)?);
        }
        if let Some(why) = self.may_be_made(&strangers) {
            completeness = Completeness::Partial { why };
        }
        self.shared.keep(as_of, found, watched).await;
        Ok(Survey {
            completeness,
            as_of,
            strangers,
        })
    }

    /// Returns why what a survey found may be what a call has made of which nobody knows the outcome: plugins put tags on one
    /// by one, so that it may have a part of them.
    fn may_be_made(&self, strangers: &[Stranger]) -> Option<String> {
        let mut open = self.ledger.open_calls();
        open.retain(|entry| !self.is_past(entry));
        let found = strangers.iter().map(|one| one.provider_ref.as_str());
        let (id, call) = self.sightings.made_by(found, &open)?;
        let owner = tags::noted(&call.owner);
        let made = tags::get(&owner, tags::INSTANCE).unwrap_or("an instance");
        Some(format!(
            "plugin {}: nobody knows yet what became of Instance.Provision for {made}, and {id} may be what it has made",
            self.caller.name
        ))
    }

    /// Returns whether a survey tells of an instance: of one without an owner, of one of this fleet's on which its former
    /// owner acts again, and of one that another fleet has taken since a survey told of it: it is not gone.
    fn is_told(&self, found: &Description, watched: &Watched) -> bool {
        self.owner_of(found).is_none_or(|owner| {
            let is_ours = self.fleet.as_ref() == Some(&owner.fleet);
            let may_be_told = is_ours || self.sightings.has(&found.id);
            may_be_told && self.claimed_by(found, watched).is_some()
        })
    }

    /// Returns who beside this agent watches which group.
    async fn watched(&self) -> Result<Watched, WatchedError> {
        match &self.caller.place {
            Place::Named(folder) => {
                let now = self.clock.now();
                let fleet = self.fleet.as_ref();
                self.neighbours.watched(folder, fleet, now).await
            }
            // A plugin that is tried on its own has no neighbours.
            Place::Fixed(_) => Ok(Watched::default()),
        }
    }

    /// Returns whether what has this handle may be what the plugin has agreed to end. Once no listing can be behind, it is
    /// another one with the same handle.
    fn may_be_ending(&self, id: &str) -> bool {
        let last = self.ledger.of_id(id);
        last.is_some_and(|last| last.state == State::Ended && !self.is_past(&last))
    }

    fn stranger(
        &self,
        description: &Description,
        watched: &Watched,
    ) -> Result<Stranger, ProviderError> {
        let listed = self.listed(description)?;
        let tag = |name: &str| description.tags.get(name).filter(|tag| !tag.is_empty());
        Ok(Stranger {
            provider_ref: listed.provider_ref,
            phase: listed.phase,
            address: listed.address,
            zone: listed.zone,
            created_at: listed.created_at,
            member: description
                .logical_id
                .clone()
                .or_else(|| tag(tags::LOGICAL_ID).cloned())
                .filter(|member| !member.is_empty() && strange(member).is_none()),
            claimed_by: self.claimed_by(description, watched),
            unheard: tag(GROUP).and_then(|group| watched.unheard(group)),
            tags: description.tags.clone(),
        })
    }

    /// Labels an instance that nobody owns.
    pub(crate) async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        let plugin = &self.caller.name;
        if !self.can_label() {
            return Err(spec::invalid(format!(
                "plugin {plugin}: it cannot change labels, so its instances cannot be adopted"
            )));
        }
        let owner = Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: request.instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: request.seat.clone(),
        };
        let handle = &request.provider_ref;
        let found = self.described(handle.as_str()).await?;
        let found = found.ok_or_else(|| {
            let message = format!("instance {handle} does not exist");
            ProviderError::new(drover_model::ErrorClass::NotFound, message)
        })?;
        if tags::owner(&found.tags).as_ref() == Some(&owner) {
            return Ok(());
        }
        if self.owner_of(&found).is_some() {
            return Err(spec::invalid(format!(
                "plugin {plugin}: {handle} carries ownership tags already"
            )));
        }
        let watched = self.neighbours().await?;
        if let Some(claimed) = self.claimed_by(&found, &watched) {
            return Err(spec::invalid(format!(
                "plugin {plugin}: {handle}: {claimed}"
            )));
        }
        let mut labels = tags::of(&owner);
        if let Some((name, value)) = foreign(&found.tags, &owner, &labels) {
            return Err(spec::invalid(format!(
                "plugin {plugin}: {handle} has the tag {name}={}, and nobody knows whose it is; {TAKE_OFF}",
                shortened(value)
            )));
        }
        let left = tags::OWNING.into_iter().chain([tags::RELEASED]);
        for name in left.filter(|name| found.tags.contains_key(*name)) {
            labels.entry(name.to_owned()).or_default();
        }
        // Whose it is to be comes first, in a call of its own: some plugins put tags on one by one, and fail in the middle.
        let fleet = labels.iter().filter(|(name, _)| *name == tags::FLEET);
        let fleet = fleet.map(|(name, value)| (name.clone(), value.clone()));
        self.label(&found.id, &fleet.collect()).await?;
        self.label(&found.id, &labels).await?;
        self.is_labelled(&found, &labels).await
    }

    /// Refuses an adoption whose tags the plugin has kept otherwise: no listing would ever have its owner.
    async fn is_labelled(
        &self,
        before: &Description,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ProviderError> {
        let Ok(now) = self.labelled(before, labels).await else {
            // It is labelled; the listings show it.
            return Ok(());
        };
        let mut was = before.tags.clone();
        for name in labels.keys() {
            was.entry(name.clone()).or_default();
        }
        let came_back = now.and_then(|mut now| {
            for name in labels.keys() {
                now.tags.entry(name.clone()).or_default();
            }
            self.came_back("Instance.Label", Some(&was), labels, &now)
        });
        came_back.map_or(Ok(()), |why| Err(spec::invalid(why)))
    }

    /// Describes an instance that was labelled: what has its token, and only where that is nothing everything.
    async fn labelled(
        &self,
        before: &Description,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<Description>, CallError> {
        let is_it = |one: &Description| one.id == before.id;
        let token = labels.iter().filter(|(name, _)| *name == tags::TOKEN);
        let token: BTreeMap<String, String> = token
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut found = self.describe(&token).await?.into_iter();
        if let Some(found) = found.find(is_it) {
            return Ok(Some(found));
        }
        Ok(self
            .describe(&BTreeMap::new())
            .await?
            .into_iter()
            .find(is_it))
    }

    /// Returns who still acts on an instance, and what to do about it.
    fn claimed_by(&self, description: &Description, watched: &Watched) -> Option<String> {
        let tags = &description.tags;
        if let Some(fleet) = other_fleet(tags, self.fleet.as_ref()) {
            let (fleet, id) = (shortened(fleet), &description.id);
            return Some(format!(
                "the fleet {fleet}, which the tag drover.fleet of {id} names; {TAKE_OFF}"
            ));
        }
        let group = tags.get(GROUP)?;
        watched.claim(group)
    }
}
