//! Containers that were made and never started, and that nobody comes back for.
//!
//! A call that makes a container is carried to its end. An agent that is killed on the way repeats it with the same
//! token, unless it has lost its data folder: then the container waits. A listing that has seen it wait for a while
//! puts it into its networks and starts it, in the name of the call that made it: everything that it needs is in
//! the container and its labels.
//!
//! It is started by the name that it was made with. An end and a release are other names, and the engine looks a
//! name up when it starts a container: so whatever was asked to end meanwhile is not there any more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use drover_provider::ProviderError;

use crate::labels;
use crate::names::Name;
use crate::provider::{Found, Inner, failed, lock};

/// How long listings see a container wait before it is started: longer than who still has the call takes to
/// repeat it, and than several passes take to end what is not wanted any more.
const WAITS: Duration = Duration::from_mins(1);

impl Inner {
    /// Takes note of a container that has never run, and goes on with it once it has waited.
    pub(crate) fn waiting(self: &Arc<Self>, found: &Found) {
        let owner = labels::owner(&found.labels);
        let is_owned = owner.is_some_and(|owner| owner.instance == found.name.instance);
        if !self.finishes || !found.name.is_made() || !is_owned {
            return;
        }
        let now = self.clock.now();
        let id = &found.summary.id;
        {
            let mut waiting = lock(&self.memory.waiting);
            let since = *waiting.entry(id.clone()).or_insert(now);
            if now.duration_since(since).unsigned_abs() < WAITS {
                return;
            }
            // The next try, if it comes to that, waits as long.
            waiting.insert(id.clone(), now);
        }
        // Whoever has the turn makes, ends or releases it.
        let flight = self.memory.flight(&found.name.token);
        let Ok(turn) = flight.try_lock_owned() else {
            return;
        };
        let (this, found) = (Arc::clone(self), found.clone());
        // Bounded by the limits of its calls.
        tokio::spawn(async move {
            let _turn = turn;
            let name = &found.name;
            match this.finish(&found).await {
                Ok(true) => {
                    tracing::info!(provider = %this.name, container = %name, "container that was made and not started is started");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(provider = %this.name, container = %name, %error, "container that was made and not started cannot be started");
                }
            }
        });
    }

    /// Starts a container. Returns whether it was there to be started.
    async fn finish(&self, found: &Found) -> Result<bool, ProviderError> {
        let name = found.name.to_string();
        match self.engine.inspect(&name).await {
            Ok(inspected) => {
                let same = inspected.id == found.summary.id;
                if !same || inspected.state.has_run() {
                    return Ok(false);
                }
            }
            Err(error) if error.is_missing() => return Ok(false),
            Err(error) => return Err(failed(&error)),
        }
        // Once it is gone, nothing else says that the token made something.
        self.spend(&found.name.token).await?;
        for network in missing_networks(found) {
            let joined = self.engine.connect(&name, &network, &aliases(found)).await;
            joined.map_err(|error| failed(&error))?;
        }
        match self.engine.start(&name).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_missing() && self.is_renamed(&found.name).await => Ok(false),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Returns whether nothing has the name any more.
    async fn is_renamed(&self, name: &Name) -> bool {
        let there = self.engine.inspect(&name.to_string()).await;
        there.is_err_and(|error| error.is_missing())
    }
}

/// Returns the networks that a container was asked to be in and is not.
pub(crate) fn missing_networks(found: &Found) -> Vec<String> {
    let present: BTreeSet<&str> = found.summary.networks().map(|(name, _)| name).collect();
    let wanted = found.labels.get(labels::NETWORKS);
    let wanted = wanted.into_iter().flat_map(|names| names.split(','));
    let missing = wanted.filter(|name| !present.contains(name));
    missing.map(str::to_owned).collect()
}

/// Returns the names that a container answers to in its networks.
fn aliases(found: &Found) -> Vec<String> {
    let instance = &found.name.instance;
    vec![instance.to_string(), instance.group().to_string()]
}

#[cfg(test)]
mod tests;
