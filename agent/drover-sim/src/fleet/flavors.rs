//! What answers for flavor plugins: nobody knows what they would say, and a rollout does not depend on it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{CheckOutcome, IntentId};
use drover_provider::{
    FlavorCall, FlavorInstance, FlavorPrepared, FlavorRequest, Flavors, ProviderError,
};

/// Adds nothing to any instance.
#[derive(Debug)]
pub(super) struct SimFlavors;

#[async_trait]
impl Flavors for SimFlavors {
    async fn prepare(
        &self,
        _request: &FlavorRequest,
        _limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        Ok(FlavorPrepared {
            attachments: Vec::new(),
            init: String::new(),
            tags: BTreeMap::new(),
            properties: None,
        })
    }

    /// Never asked: a simulated fleet has its own source of health.
    async fn healthy(
        &self,
        _flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _limit: Duration,
    ) -> CheckOutcome {
        CheckOutcome::Passing
    }

    async fn drain(
        &self,
        _flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _drain: IntentId,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        Ok(())
    }
}
