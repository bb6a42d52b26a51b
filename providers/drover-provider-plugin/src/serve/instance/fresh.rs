//! What was just made: a provider's listing may be behind, and what InfraKit's group controller is not told of, it
//! makes again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_model::{
    Digests, InstanceId, Listed, Ownership, ProviderPhase, ProviderRef, Timestamp, Token,
};
use serde::{Deserialize, Serialize};

use super::InstanceService;

/// What an instance was made as, kept with its tags so that it outlives this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Made {
    #[serde(rename = "ref")]
    ref_: String,
    instance: String,
    digest: String,
    at: String,
}

impl Made {
    pub(super) fn of(handle: &ProviderRef, owner: &Ownership, at: Timestamp) -> Self {
        Self {
            ref_: handle.to_string(),
            instance: owner.instance.to_string(),
            digest: owner.digests.to_string(),
            at: at.to_string(),
        }
    }

    /// Returns the instance, and when it was made. None: it is not what this program writes.
    fn read(&self, token: &Token) -> Option<(ProviderRef, Ownership, Timestamp)> {
        let owner = Ownership {
            fleet: InstanceService::fleet(),
            group: InstanceService::group(),
            instance: InstanceId::parse(&self.instance).ok()?,
            digests: Digests::parse(&self.digest).ok()?,
            token: token.clone(),
            epoch: InstanceService::EPOCH,
            seat: None,
        };
        let at: Timestamp = self.at.parse().ok()?;
        Some((ProviderRef::parse(&self.ref_).ok()?, owner, at))
    }
}

/// Instances that a listing may not have yet.
#[derive(Debug)]
pub(super) struct Fresh {
    /// How long a listing may be behind.
    visibility: Duration,
    instances: Mutex<BTreeMap<ProviderRef, (Ownership, Timestamp)>>,
}

impl Fresh {
    pub(super) fn new(visibility: Duration, made: Vec<(Token, Made)>) -> Self {
        let instances = made.into_iter().filter_map(|(token, made)| {
            let (handle, owner, at) = made.read(&token)?;
            Some((handle, (owner, at)))
        });
        Self {
            visibility,
            instances: Mutex::new(instances.collect()),
        }
    }

    /// Returns whether listings are never behind.
    pub(super) fn is_needless(&self) -> bool {
        self.visibility.is_zero()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProviderRef, (Ownership, Timestamp)>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, handle: &ProviderRef, owner: &Ownership, at: Timestamp) {
        self.lock().insert(handle.clone(), (owner.clone(), at));
    }

    pub(super) fn forget(&self, handle: &ProviderRef) {
        self.lock().remove(handle);
    }

    /// Adds to a listing what it may not have yet.
    pub(super) fn add_to(&self, instances: &mut Vec<Listed>, now: Timestamp) {
        let mut fresh = self.lock();
        fresh.retain(|_, (_, at)| now.duration_since(*at).unsigned_abs() < self.visibility);
        let missing = fresh.iter().filter(|(handle, _)| {
            let mut listed = instances.iter();
            !listed.any(|listed| listed.provider_ref == **handle)
        });
        let missing = missing.map(|(handle, (owner, at))| Listed {
            provider_ref: handle.clone(),
            ownership: Some(owner.clone()),
            phase: ProviderPhase::Pending,
            address: None,
            zone: None,
            created_at: Some(*at),
            interruption: None,
        });
        let missing: Vec<Listed> = missing.collect();
        instances.extend(missing);
    }
}
