//! Ending and releasing containers.
//!
//! An end is accepted by a new name, which says when the container is killed. Whoever sees that name
//! carries the end out: the call that gave it, or, if its agent ended meanwhile, the next listing.

use std::sync::Arc;
use std::time::Duration;

use drover_model::{ErrorClass, FleetName, ProviderRef, Timestamp};
use drover_provider::{DestroyRequest, ProviderError};

use crate::labels;
use crate::names::{Name, Stage};
use crate::provider::{Found, Inner, failed, not_found};

impl Inner {
    pub(crate) async fn destroy(
        self: &Arc<Self>,
        request: &DestroyRequest,
    ) -> Result<(), ProviderError> {
        let Some(name) = Name::of_handle(&request.provider_ref) else {
            return Ok(());
        };
        let flight = self.memory.flight(&name.token);
        let _turn = flight.lock().await;
        let found = self.of_token(&name.token).await;
        let Some(found) = found.map_err(|error| failed(&error))? else {
            return Ok(());
        };
        if !is_asked_for(&found, &name, request) {
            let (handle, instance, token) =
                (&request.provider_ref, &request.instance, &request.token);
            let message = format!("container {handle} is not {instance} with token {token}");
            return Err(ProviderError::new(ErrorClass::NotFound, message));
        }
        let grace = request
            .grace
            .min(own_grace(&found).unwrap_or(Duration::MAX));
        let kill_at = kill_at(self.clock.now(), grace);
        let asked_before = match found.name.stage {
            Stage::Ending { kill_at } => Some(kill_at),
            Stage::Made | Stage::Released => None,
        };
        let kill_at = if let Some(earlier) = asked_before.filter(|at| *at <= kill_at) {
            earlier
        } else {
            // Once it is gone, nothing else says that the token made something.
            self.spend(&name.token).await?;
            let renamed = found.name.at(Stage::Ending { kill_at }).to_string();
            match self.engine.rename(&found.summary.id, &renamed).await {
                Ok(()) => {}
                Err(error) if error.is_missing() => return Ok(()),
                Err(error) => return Err(failed(&error)),
            }
            kill_at
        };
        self.end(&found.summary.id, kill_at);
        Ok(())
    }

    /// Carries an end out in the background, unless that is being done already.
    pub(crate) fn end(self: &Arc<Self>, id: &str, kill_at: i64) {
        let under_way = {
            let mut endings = self.memory.endings();
            let earlier = endings.get(id).is_some_and(|other| *other <= kill_at);
            if !earlier {
                endings.insert(id.to_owned(), kill_at);
            }
            earlier
        };
        if under_way {
            return;
        }
        let (this, id) = (Arc::clone(self), id.to_owned());
        // Bounded by the limits of its calls. If the agent ends meanwhile, the next listing begins anew.
        tokio::spawn(async move {
            this.carry_out_end(&id, kill_at).await;
            let mut endings = this.memory.endings();
            if endings.get(&id) == Some(&kill_at) {
                endings.remove(&id);
            }
        });
    }

    async fn carry_out_end(&self, id: &str, kill_at: i64) {
        let left = (kill_at - self.clock.now().as_second()).max(0);
        let left = Duration::from_secs(left.unsigned_abs());
        // Also when no time is left: Podman would give a container that is removed ten seconds of its own.
        if let Err(error) = self.engine.stop(id, left).await
            && !error.is_missing()
            && self.clock.now().as_second() < kill_at
        {
            // Not yet to be killed: the next listing tries again.
            tracing::warn!(provider = %self.name, container = id, %error, "container cannot be stopped");
            return;
        }
        match self.engine.remove(id).await {
            Ok(()) => {}
            // Gone, or being removed by somebody else.
            Err(error) if error.is_missing() || error.is_conflict() => {}
            Err(error) => {
                tracing::warn!(provider = %self.name, container = id, %error, "container cannot be removed");
            }
        }
    }

    pub(crate) async fn release(
        &self,
        fleet: &FleetName,
        handle: &ProviderRef,
    ) -> Result<(), ProviderError> {
        let Some(name) = Name::of_handle(handle) else {
            return Ok(());
        };
        let flight = self.memory.flight(&name.token);
        let _turn = flight.lock().await;
        let found = self.of_token(&name.token).await;
        let Some(found) = found.map_err(|error| failed(&error))? else {
            return Ok(());
        };
        if found.labels.get(labels::FLEET).map(String::as_str) != Some(fleet.as_str()) {
            let message = format!("container {handle} has another owner");
            return Err(ProviderError::new(ErrorClass::NotFound, message));
        }
        match found.name.stage {
            Stage::Released => Ok(()),
            Stage::Ending { .. } => Err(not_found(handle)),
            Stage::Made => {
                let released = found.name.at(Stage::Released).to_string();
                match self.engine.rename(&found.summary.id, &released).await {
                    Ok(()) => Ok(()),
                    Err(error) if error.is_missing() => Ok(()),
                    Err(error) => Err(failed(&error)),
                }
            }
        }
    }
}

/// Returns whether a container is the one that a request is about.
fn is_asked_for(found: &Found, name: &Name, request: &DestroyRequest) -> bool {
    let owner = labels::owner(&found.labels);
    let owned = owner.is_some_and(|owner| {
        owner.fleet == request.fleet
            && owner.group == request.group
            && owner.instance == request.instance
            && owner.token == request.token
    });
    let same = found.name.at(Stage::Made) == *name;
    owned && same && found.name.stage != Stage::Released
}

/// Returns when a container is killed, in seconds since 1970: no sooner than the grace period allows.
fn kill_at(now: Timestamp, grace: Duration) -> i64 {
    if grace.is_zero() {
        return now.as_second();
    }
    let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    let at = now.as_millisecond().saturating_add(grace);
    at.div_euclid(1_000) + 1
}

/// Returns how long the container itself says that it may take to end at most.
fn own_grace(found: &Found) -> Option<Duration> {
    let text = found.labels.get(labels::STOP_TIMEOUT)?;
    Some(Duration::from_millis(text.parse().ok()?))
}
