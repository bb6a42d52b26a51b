//! What a run has asked for and has seen: for who has to know what is left, however the run ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use drover_model::{ErrorClass, InstanceId, ProviderRef};

use crate::{DestroyRequest, ProviderError, ProvisionRequest, Provisioned};

/// What a run of the suite has asked for and has seen so far.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// Instances that were asked for, of which nobody knows whether they were made.
    asked: BTreeSet<InstanceId>,
    /// What was made and has not been seen to be gone, with the call that ends it.
    open: BTreeMap<ProviderRef, DestroyRequest>,
    /// All that was made.
    made: BTreeSet<ProviderRef>,
    /// What was waited for in vain.
    unseen: BTreeSet<ProviderRef>,
    /// Whether anything that was made has been listed.
    any_listed: bool,
    /// Whether the latest listing failed.
    listing_failed: bool,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the instances that were asked for and are without an answer: they may have been made, or be made yet.
    pub fn asked(&self) -> BTreeSet<InstanceId> {
        self.lock().asked.clone()
    }

    /// Returns what was made and should have been listed, and never was: nobody can see whether it has ended. Where nothing
    /// was ever listed, that is everything that was made.
    pub fn unseen(&self) -> BTreeSet<ProviderRef> {
        let noted = self.lock();
        let set = if noted.is_blind() {
            &noted.made
        } else {
            &noted.unseen
        };
        set.clone()
    }

    /// Returns the calls that end what was made and has not been seen to be gone.
    pub(super) fn open(&self) -> Vec<DestroyRequest> {
        self.lock().open.values().cloned().collect()
    }

    /// Returns whether nothing that was made was ever listed, though it was waited for.
    pub(super) fn is_blind(&self) -> bool {
        self.lock().is_blind()
    }

    /// Returns whether the latest listing failed.
    pub(super) fn listing_failed(&self) -> bool {
        self.lock().listing_failed
    }

    pub(super) fn asks(&self, request: &ProvisionRequest) {
        let slots = request.slots.iter();
        let asked = slots.map(|slot| slot.instance.clone());
        self.lock().asked.extend(asked);
    }

    pub(super) fn answered(
        &self,
        request: &ProvisionRequest,
        answer: &Result<Provisioned, ProviderError>,
    ) {
        // The one class of which nobody knows what it left.
        if matches!(answer, Err(error) if error.class == ErrorClass::Unknown) {
            return;
        }
        let mut noted = self.lock();
        for slot in &request.slots {
            noted.asked.remove(&slot.instance);
        }
    }

    /// Notes that it is known of an instance whether it was made.
    pub(super) fn known(&self, instance: &InstanceId) {
        self.lock().asked.remove(instance);
    }

    pub(super) fn made(&self, destroy: &DestroyRequest) {
        let mut noted = self.lock();
        let handle = &destroy.provider_ref;
        noted.made.insert(handle.clone());
        noted.open.insert(handle.clone(), destroy.clone());
    }

    pub(super) fn gone(&self, handle: &ProviderRef) {
        self.lock().open.remove(handle);
    }

    pub(super) fn listing(&self, has_failed: bool) {
        self.lock().listing_failed = has_failed;
    }

    pub(super) fn listed(&self) {
        self.lock().any_listed = true;
    }

    pub(super) fn not_listed(&self, handle: &ProviderRef) {
        self.lock().unseen.insert(handle.clone());
    }
}

impl Noted {
    fn is_blind(&self) -> bool {
        !self.any_listed && !self.unseen.is_empty()
    }
}
