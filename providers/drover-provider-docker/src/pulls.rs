//! Pulls of images that are under way: one for each image, whose outcome is that of everybody who waits for it, and
//! a few at once from each registry. So what a registry does not hand out keeps nobody waiting but those who want it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use drover_model::ErrorClass;
use drover_provider::ProviderError;
use tokio::sync::Semaphore;

use crate::provider::lock;
use crate::single_flight::{SingleFlight, Waiting};

/// Pulls at once from one registry: as many as a disk keeps up with, and more than one, as one may hang.
const PER_REGISTRY_MAX: usize = 4;

/// How a pull ended.
pub(crate) type Pulled = Result<(), ProviderError>;

/// The pulls of one Provider document.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    /// By image, as it is written.
    under_way: SingleFlight<Pulled>,
    /// Who may pull, by registry.
    registries: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Pulls {
    /// Lets `pull` run, unless a pull of the image is under way: then its outcome is returned.
    pub(crate) async fn once(
        &self,
        image: &str,
        registry: &str,
        pull: impl Future<Output = Pulled>,
    ) -> Pulled {
        let (outcome, duty) = self.under_way.ask(image);
        let Some(duty) = duty else {
            return outcome_of(outcome).await;
        };
        let permits = self.of_registry(registry);
        // It is never closed, so that there is always one in the end.
        let _permit = permits.acquire().await.ok();
        let pulled = pull.await;
        duty.answer(pulled.clone());
        pulled
    }

    /// Waits for the pull of an image that is under way, if there is one.
    pub(crate) async fn earlier(&self, image: &str) -> Pulled {
        match self.under_way.under_way(image) {
            Some(outcome) => outcome_of(outcome).await,
            None => Ok(()),
        }
    }

    fn of_registry(&self, registry: &str) -> Arc<Semaphore> {
        let mut registries = lock(&self.registries);
        // Nobody waits for what only the map holds.
        registries.retain(|_, permits| Arc::strong_count(permits) > 1);
        let permits = registries.entry(registry.to_owned());
        Arc::clone(permits.or_insert_with(|| Arc::new(Semaphore::new(PER_REGISTRY_MAX))))
    }
}

async fn outcome_of(outcome: Waiting<Pulled>) -> Pulled {
    outcome.answer().await.unwrap_or_else(|| {
        let message = "the pull of its image was cut short";
        Err(ProviderError::new(ErrorClass::Partial, message))
    })
}

#[cfg(test)]
mod tests;
