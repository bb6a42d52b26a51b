//! What is being made. It has no handle yet, so it cannot be described, and whoever asked for it may have given up: a
//! group controller that is told of less than there will be makes it again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_model::Token;
use tokio::sync::watch;

use super::has_all;

/// How long a description waits for what is being made: InfraKit's clients wait for 15 seconds.
const WAIT: Duration = Duration::from_secs(10);

/// The instances that are being made.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<BTreeMap<Token, Entry>>);

#[derive(Debug)]
struct Entry {
    tags: BTreeMap<String, String>,
    /// Ends with the call.
    ends: watch::Receiver<()>,
}

/// An instance that is being made, until this is dropped.
#[derive(Debug)]
pub(super) struct Making<'a> {
    all: &'a UnderWay,
    token: Token,
    _ends: watch::Sender<()>,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Token, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that an instance is being made.
    pub(super) fn begin(&self, token: &Token, tags: &BTreeMap<String, String>) -> Making<'_> {
        let (sender, ends) = watch::channel(());
        let tags = tags.clone();
        self.lock().insert(token.clone(), Entry { tags, ends });
        Making {
            all: self,
            token: token.clone(),
            _ends: sender,
        }
    }

    /// Waits for what is being made now and has these tags; what is begun later is not waited for.
    ///
    /// # Errors
    ///
    /// How many of them are still being made.
    pub(super) async fn wait(&self, wanted: &BTreeMap<String, String>) -> Result<(), usize> {
        let now: Vec<_> = {
            let all = self.lock();
            let now = all.values().filter(|entry| has_all(&entry.tags, wanted));
            now.map(|entry| entry.ends.clone()).collect()
        };
        let deadline = tokio::time::Instant::now() + WAIT;
        let mut left = 0;
        for mut one in now {
            // Nothing is ever sent: it ends when the sender does.
            if tokio::time::timeout_at(deadline, one.changed())
                .await
                .is_err()
            {
                left += 1;
            }
        }
        if left == 0 { Ok(()) } else { Err(left) }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.token);
    }
}
