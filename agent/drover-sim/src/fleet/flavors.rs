//! What answers for flavor plugins: nobody knows what they would say, and a rollout does not depend on it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use drover_provider::{FlavorPrepared, FlavorRequest, Flavors, ProviderError};

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
            init: String::new(),
            tags: BTreeMap::new(),
            properties: None,
        })
    }
}
