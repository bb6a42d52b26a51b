//! The simulated world behind the [`Provider`] trait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{CheckOutcome, FleetName, Listing, ProviderRef, ProviderType, Survey};
use drover_provider::{
    AdoptRequest, AttachmentUse, Clock, DestroyRequest, InitUse, Manifest, ObjectSchema,
    OptionalMethod, Provider, ProviderError, ProvisionRequest, Provisioned, ReserveRequest, Slot,
    UpdateRequest, refuse_attachments,
};

use crate::{Reply, SimWorld};

/// A provider over a simulated world. Clones share the world.
///
/// # Cancellation
///
/// A call takes effect when it is first polled; the rest is waiting for the reply.
#[derive(Debug, Clone)]
pub struct SimProvider {
    world: Arc<Mutex<SimWorld>>,
    clock: Arc<dyn Clock>,
    manifest: Manifest,
}

impl SimProvider {
    /// Opens a world. The manifest follows the world's settings as they are now.
    pub fn new(world: Arc<Mutex<SimWorld>>, clock: Arc<dyn Clock>) -> Self {
        let manifest = {
            let world = world.lock().unwrap_or_else(PoisonError::into_inner);
            Manifest {
                type_: ProviderType::parse(crate::factory::TYPE).expect("a valid label"),
                properties: world.settings.properties.clone().unwrap_or_default(),
                settings: ObjectSchema::default(),
                batch_max: world.settings.batch_max,
                visibility: world.settings.visibility,
                init: InitUse::UserData,
                attachments: AttachmentUse::Refused,
            }
        };
        Self {
            world,
            clock,
            manifest,
        }
    }

    /// Answers with this manifest, to stand in for another type.
    #[must_use]
    pub fn with_manifest(self, manifest: Manifest) -> Self {
        Self { manifest, ..self }
    }

    /// Returns the world, locked. A panic elsewhere does not close it: tests look at it afterwards.
    pub fn world(&self) -> MutexGuard<'_, SimWorld> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what the type that is stood in for refuses.
    fn refuse(&self, slot: &Slot) -> Result<(), ProviderError> {
        match self.manifest.attachments {
            AttachmentUse::Refused => refuse_attachments(slot),
            AttachmentUse::HandedOver => Ok(()),
        }
    }

    async fn answer<T>(&self, reply: Reply<T>) -> Result<T, ProviderError> {
        if reply.latency > Duration::ZERO {
            tokio::time::sleep(reply.latency).await;
        }
        reply.result
    }
}

#[async_trait]
impl Provider for SimProvider {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        use OptionalMethod::{Adopt, Check, Logs, Reserve, Survey, Update};
        [Update, Reserve, Survey, Adopt, Check, Logs].into()
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let reply = self.world().list(self.clock.now(), fleet);
        self.answer(reply).await
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        request
            .slots
            .iter()
            .try_for_each(|slot| self.refuse(slot))?;
        let reply = self.world().provision(self.clock.now(), request);
        self.answer(reply).await
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<String, ProviderError> {
        Ok(self.world().reserve(&request.group, &request.seat))
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let reply = self.world().destroy(self.clock.now(), request);
        self.answer(reply).await
    }

    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        self.refuse(&request.slot)?;
        let reply = self.world().update(self.clock.now(), request);
        self.answer(reply).await
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        let reply = self.world().release(self.clock.now(), fleet, instance);
        self.answer(reply).await
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        let reply = self.world().survey(self.clock.now(), tags);
        self.answer(reply).await
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        let reply = self.world().adopt(self.clock.now(), request);
        self.answer(reply).await
    }

    async fn check(
        &self,
        instance: &ProviderRef,
        _command: &[String],
        _timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let reply = self.world().check(self.clock.now(), instance);
        self.answer(reply).await
    }

    async fn logs(&self, instance: &ProviderRef, lines: usize) -> Result<String, ProviderError> {
        let reply = self.world().logs(self.clock.now(), instance, lines);
        self.answer(reply).await
    }
}

#[cfg(test)]
mod tests;
