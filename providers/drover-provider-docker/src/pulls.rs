//! Pulls of images that are under way: one for each image, whose outcome is that of everybody who waits for it, and
//! a few at once from each registry. So what a registry does not hand out keeps nobody waiting but those who want it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use drover_model::ErrorClass;
use drover_provider::ProviderError;
use tokio::sync::{Semaphore, watch};

use crate::provider::lock;

/// Pulls at once from one registry: as many as a disk keeps up with, and more than one, as one may hang.
const PER_REGISTRY_MAX: usize = 4;

/// How a pull ended.
pub(crate) type Pulled = Result<(), ProviderError>;

/// How a pull ended. None: it goes on.
type Outcome = watch::Receiver<Option<Pulled>>;

/// The pulls of one Provider document.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    /// By image, as it is written.
    under_way: Mutex<BTreeMap<String, Outcome>>,
    /// Who may pull, by registry.
    registries: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// Whose turn it is.
enum Turn {
    /// Nobody pulls the image: the one who asks does, and says here how it ended.
    First(watch::Sender<Option<Pulled>>),
    /// Somebody does.
    Waits(Outcome),
}

impl Pulls {
    /// Lets `pull` run, unless a pull of the image is under way: then its outcome is returned.
    pub(crate) async fn once(
        &self,
        image: &str,
        registry: &str,
        pull: impl Future<Output = Pulled>,
    ) -> Pulled {
        let sender = match self.turn(image) {
            Turn::Waits(outcome) => return outcome_of(outcome).await,
            Turn::First(sender) => sender,
        };
        let permits = self.of_registry(registry);
        // It is never closed, so that there is always one in the end.
        let _permit = permits.acquire().await.ok();
        let pulled = pull.await;
        lock(&self.under_way).remove(image);
        sender.send_replace(Some(pulled.clone()));
        pulled
    }

    /// Waits for the pull of an image that is under way, if there is one.
    pub(crate) async fn earlier(&self, image: &str) -> Pulled {
        let under_way = lock(&self.under_way).get(image).cloned();
        match under_way {
            Some(outcome) => outcome_of(outcome).await,
            None => Ok(()),
        }
    }

    fn turn(&self, image: &str) -> Turn {
        let mut under_way = lock(&self.under_way);
        // One that was cut short says nothing any more.
        let goes_on = |outcome: &&Outcome| outcome.has_changed().is_ok();
        if let Some(outcome) = under_way.get(image).filter(goes_on) {
            return Turn::Waits(outcome.clone());
        }
        let (sender, outcome) = watch::channel(None);
        under_way.insert(image.to_owned(), outcome);
        Turn::First(sender)
    }

    fn of_registry(&self, registry: &str) -> Arc<Semaphore> {
        let mut registries = lock(&self.registries);
        // Nobody waits for what only the map holds.
        registries.retain(|_, permits| Arc::strong_count(permits) > 1);
        let permits = registries.entry(registry.to_owned());
        Arc::clone(permits.or_insert_with(|| Arc::new(Semaphore::new(PER_REGISTRY_MAX))))
    }
}

async fn outcome_of(mut outcome: Outcome) -> Pulled {
    let ended = outcome.wait_for(Option::is_some).await;
    let ended = ended.ok().and_then(|ended| ended.clone());
    ended.unwrap_or_else(|| {
        let message = "the pull of its image was cut short";
        Err(ProviderError::new(ErrorClass::Partial, message))
    })
}

#[cfg(test)]
mod tests;
