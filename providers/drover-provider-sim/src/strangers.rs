//! Instances that somebody else made: who finds them, and who takes them over.

use std::collections::BTreeMap;

use drover_model::{
    Completeness, ErrorClass, FleetName, Owned, Ownership, ProviderRef, Stranger, Survey,
    Timestamp, counted,
};
use drover_provider::{AdoptRequest, ProviderError};

use crate::fault::FaultKind;
use crate::instance::Origin;
use crate::world::Foreign;
use crate::{SimInstance, SimWorld};

impl SimWorld {
    /// Adds an instance that somebody else made, with these tags, and returns its handle.
    pub fn add_stranger(
        &mut self,
        now: Timestamp,
        tags: BTreeMap<String, String>,
        member: Option<&str>,
    ) -> ProviderRef {
        self.add_stranger_as(now, None, tags, member)
    }

    /// The same under a handle of its own.
    pub fn add_stranger_as(
        &mut self,
        now: Timestamp,
        handle: Option<ProviderRef>,
        tags: BTreeMap<String, String>,
        member: Option<&str>,
    ) -> ProviderRef {
        let mut provider_ref = self.add_foreign(now, Foreign::Untagged);
        if let Some(handle) = handle
            && let Some(mut instance) = self.instances.remove(&provider_ref)
        {
            instance.provider_ref = handle.clone();
            self.instances.insert(handle.clone(), instance);
            provider_ref = handle;
        }
        if let Some(instance) = self.instances.get_mut(&provider_ref) {
            instance.stranger = Some(Box::new(Origin {
                tags,
                member: member.map(str::to_owned),
                claimed_by: None,
            }));
        }
        provider_ref
    }

    /// Says who acts on an instance that somebody else made. None: nobody does any more.
    pub fn claim(&mut self, instance: &ProviderRef, owner: Option<&str>) {
        if let Some(origin) = self
            .instances
            .get_mut(instance)
            .and_then(|instance| instance.stranger.as_mut())
        {
            origin.claimed_by = owner.map(str::to_owned);
        }
    }

    pub(crate) fn strangers(
        &self,
        now: Timestamp,
        asked_at: Timestamp,
        tags: &BTreeMap<String, String>,
        faults: &[FaultKind],
    ) -> Survey {
        let has_tags = |instance: &&SimInstance| {
            let stranger = stranger(instance, now);
            stranger.is_some_and(|stranger| stranger.has_tags(tags))
        };
        let found = self.instances.values().map(|one| &**one).filter(has_tags);
        let (owned, free): (Vec<_>, Vec<_>) = found.partition(|instance| is_owned(instance));
        let free = free.into_iter();
        let mut strangers: Vec<Stranger> = free.filter_map(|one| stranger(one, now)).collect();
        let owned = owned.into_iter().filter_map(|one| owned_one(one, now));
        let owned = owned.collect();
        let mut completeness = Completeness::Complete;
        for fault in faults {
            if let FaultKind::Truncated { keep, declared } = fault {
                strangers.truncate(*keep);
                if *declared {
                    let kept = counted(*keep, "instance");
                    let why = format!("the survey ended after {kept}");
                    completeness = Completeness::Partial { why };
                }
            }
        }
        Survey {
            completeness,
            as_of: asked_at,
            strangers,
            owned,
        }
    }

    pub(crate) fn take_over(&mut self, request: &AdoptRequest) -> Result<(), ProviderError> {
        let handle = &request.provider_ref;
        self.existing(handle)?;
        let Some(instance) = self.instances.get_mut(handle) else {
            return Ok(());
        };
        let owner = Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: request.instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: request.seat.clone(),
        };
        if instance.ownership.as_ref() == Some(&owner) {
            return Ok(());
        }
        let claimed = instance.stranger.as_ref();
        let claimed = claimed.and_then(|origin| origin.claimed_by.as_deref());
        let owned: Option<&FleetName> = instance.fleet.as_ref();
        let refused = match (owned, claimed) {
            (Some(fleet), _) => Some(format!("{handle} has ownership tags of the fleet {fleet}")),
            (None, Some(by)) => Some(format!("{handle} still has another owner: {by}")),
            (None, None) => None,
        };
        if let Some(message) = refused {
            self.stats.foreign_touches += 1;
            return Err(ProviderError::new(ErrorClass::InvalidSpec, message));
        }
        instance.fleet = Some(owner.fleet.clone());
        instance.ownership = Some(owner);
        self.stats.adopted += 1;
        let now = self.now;
        self.note_peaks(now);
        Ok(())
    }
}

/// Returns whether an instance carries anything of an owner's, whole or not.
fn is_owned(instance: &SimInstance) -> bool {
    instance.fleet.is_some() || instance.ownership.is_some()
}

/// Returns what a survey says of an instance that has an owner. None: nobody can read who that is.
fn owned_one(instance: &SimInstance, now: Timestamp) -> Option<Owned> {
    let owner = instance.ownership.as_ref()?;
    Some(Owned {
        stranger: stranger(instance, now)?,
        fleet: owner.fleet.clone(),
        group: owner.group.clone(),
    })
}

/// Returns what a survey says of an instance, whoever has it. None: it shows nowhere yet.
fn stranger(instance: &SimInstance, now: Timestamp) -> Option<Stranger> {
    if now < instance.listed_from {
        return None;
    }
    let mut tags = instance
        .blueprint
        .as_ref()
        .map(|from| from.tags.clone())
        .unwrap_or_default();
    let origin = instance.stranger.as_deref();
    tags.extend(origin.into_iter().flat_map(|origin| origin.tags.clone()));
    Some(Stranger {
        provider_ref: instance.provider_ref.clone(),
        phase: instance.phase(now)?,
        address: (now >= instance.address_from).then(|| instance.address.clone()),
        zone: instance.zone.clone(),
        created_at: Some(instance.created_at),
        tags,
        member: origin.and_then(|origin| origin.member.clone()),
        claimed_by: origin.and_then(|origin| origin.claimed_by.clone()),
        unheard: None,
    })
}

#[cfg(test)]
mod tests;
