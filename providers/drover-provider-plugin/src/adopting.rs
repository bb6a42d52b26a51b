//! Taking over instances that an InfraKit group, or somebody by hand, has made.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Completeness, Ownership, ProviderPhase, Stranger, Survey};
use drover_provider::{AdoptRequest, ProviderError};

use crate::call::{CallError, Place};
use crate::groups::{WatchedError, Watcher};
use crate::infrakit::Description;
use crate::instance::Inner;
use crate::ledger::State;
use crate::wire::strange;
use crate::{spec, tags};

/// The tag that says which of InfraKit's groups an instance is of.
const GROUP: &str = "infrakit.group";

/// The tag that says which place of it, where the plugin does not say so itself.
const LOGICAL_ID: &str = "infrakit.logical_id";

impl Inner {
    /// Describes what nobody owns and what has the tags.
    pub(crate) async fn survey(
        &self,
        wanted: &BTreeMap<String, String>,
    ) -> Result<Survey, ProviderError> {
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
        for description in found.iter().filter(|one| !is_owned(&one.tags)) {
            if !ids.insert(&description.id) {
                completeness = Completeness::Partial {
                    why: format!(
                        "plugin {}: Instance.DescribeInstances describes {} more than once",
                        self.caller.name, description.id
                    ),
                };
                continue;
            }
            strangers.push(self.stranger(description, &watched)?);
        }
        Ok(Survey {
            completeness,
            as_of,
            strangers,
        })
    }

    /// Returns who beside this agent watches which group.
    async fn watched(&self) -> Result<BTreeMap<String, Watcher>, WatchedError> {
        match &self.caller.place {
            Place::Named(folder) => self.groupless.watched(folder, self.fleet.as_ref()).await,
            // A plugin that is tried on its own has no neighbours.
            Place::Fixed(_) => Ok(BTreeMap::new()),
        }
    }

    fn stranger(
        &self,
        description: &Description,
        watched: &BTreeMap<String, Watcher>,
    ) -> Result<Stranger, ProviderError> {
        let listed = self.listed(description)?;
        let tag = |name: &str| description.tags.get(name).filter(|tag| !tag.is_empty());
        let ended = self.ledger.of_id(&description.id);
        let ends = ended.is_some_and(|entry| entry.state == State::Ended);
        Ok(Stranger {
            provider_ref: listed.provider_ref,
            phase: if ends {
                ProviderPhase::Stopping
            } else {
                listed.phase
            },
            address: listed.address,
            zone: listed.zone,
            created_at: listed.created_at,
            member: description
                .logical_id
                .clone()
                .or_else(|| tag(LOGICAL_ID).cloned())
                .filter(|member| !member.is_empty() && strange(member).is_none()),
            claimed_by: claimed_by(&description.tags, watched),
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
        let all = self.describe(&BTreeMap::new()).await;
        let all = all.map_err(CallError::into_provider_error)?;
        let found = all.into_iter().find(|one| one.id == handle.as_str());
        let found = found.ok_or_else(|| {
            let message = format!("instance {handle} does not exist");
            ProviderError::new(drover_model::ErrorClass::NotFound, message)
        })?;
        if tags::owner(&found.tags).as_ref() == Some(&owner) {
            return Ok(());
        }
        if is_owned(&found.tags) {
            return Err(spec::invalid(format!(
                "plugin {plugin}: {handle} carries ownership tags already"
            )));
        }
        let watched = self
            .watched()
            .await
            .map_err(WatchedError::into_provider_error)?;
        if let Some(claimed) = claimed_by(&found.tags, &watched) {
            return Err(spec::invalid(format!(
                "plugin {plugin}: {handle}: {claimed}"
            )));
        }
        let mut labels = tags::of(&owner);
        if found.tags.contains_key(tags::RELEASED) {
            labels.insert(tags::RELEASED.to_owned(), String::new());
        }
        self.label(&found.id, &labels).await
    }
}

/// Returns whether somebody's agent owns what has these tags. Emptied ones are what a release leaves.
fn is_owned(tags: &BTreeMap<String, String>) -> bool {
    let mut owning = tags::OWNING.iter();
    owning.any(|name| tags.get(*name).is_some_and(|tag| !tag.is_empty()))
}

/// Returns who still acts on what has these tags, and what to do about it.
fn claimed_by(
    tags: &BTreeMap<String, String>,
    watched: &BTreeMap<String, Watcher>,
) -> Option<String> {
    let group = tags.get(GROUP)?;
    Some(watched.get(group)?.claim(group))
}
