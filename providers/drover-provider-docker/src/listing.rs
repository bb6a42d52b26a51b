//! What there is, from one call of the engine, and one more for each container that does not run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{Completeness, FleetName, Listed, Listing, ProviderPhase, Timestamp};
use drover_provider::ProviderError;

use crate::fates::Fate;
use crate::labels;
use crate::names::Stage;
use crate::provider::{Found, Inner, failed, lock};

/// A container's state, in the words of Docker and Podman.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It was made and not started; or Podman has forgotten, with a restart of the machine, that it ran.
    Created,
    Running,
    /// It is being ended, by whom ever.
    Stopping,
    Ended,
    /// Stopped in its tracks by somebody, or a word of a later engine.
    Other,
}

impl Word {
    pub(crate) fn read(state: &str) -> Self {
        match state {
            "created" | "configured" | "initialized" => Self::Created,
            "running" => Self::Running,
            "stopping" | "removing" => Self::Stopping,
            "exited" | "stopped" | "dead" => Self::Ended,
            _ => Self::Other,
        }
    }
}

impl Inner {
    pub(crate) async fn list(
        self: &Arc<Self>,
        fleet: &FleetName,
    ) -> Result<Listing, ProviderError> {
        let as_of = self.clock.now();
        let filters = [
            format!("{}={fleet}", labels::FLEET),
            format!("{}={}", labels::PROVIDER, self.name),
        ];
        let listed = self.engine.containers(&filters).await;
        let listed = listed.map_err(|error| failed(&error))?;
        let own = listed.into_iter().filter_map(|summary| self.own(summary));
        let found: Vec<Found> = own
            .filter(|found| {
                let of_fleet = found.labels.get(labels::FLEET).map(String::as_str);
                of_fleet == Some(fleet.as_str()) && found.name.stage != Stage::Released
            })
            .collect();
        let fates = self.fates(&found).await;
        let listed = found.iter().filter_map(|found| {
            let phase = self.phase(found, fates.get(&found.summary.id))?;
            Some(one(found, phase))
        });
        let instances = listed.collect();
        let seen: BTreeSet<&str> = found
            .iter()
            .map(|found| found.summary.id.as_str())
            .collect();
        self.memory
            .exits()
            .retain(|id, _| seen.contains(id.as_str()));
        lock(&self.memory.waiting).retain(|id, _| seen.contains(id.as_str()));
        self.memory
            .execs()
            .retain(|(id, _), _| seen.contains(id.as_str()));
        Ok(Listing {
            completeness: Completeness::Complete,
            as_of,
            instances,
            attached: BTreeSet::new(),
            places: BTreeMap::new(),
        })
    }

    /// Returns where a container is in its life. `fate`: what became of it, as far as the engine says. None: it is gone
    /// meanwhile.
    fn phase(self: &Arc<Self>, found: &Found, fate: Option<&Fate>) -> Option<ProviderPhase> {
        if let Stage::Ending { kill_at } = found.name.stage {
            self.end(&found.summary.id, kill_at);
            return Some(ProviderPhase::Stopping);
        }
        let word = Word::read(&found.summary.state);
        match word {
            Word::Running => {
                // Whoever started it again ended what was known of its end.
                self.memory.exits().remove(&found.summary.id);
                Some(ProviderPhase::Running)
            }
            Word::Stopping => Some(ProviderPhase::Stopping),
            Word::Other => Some(ProviderPhase::Unknown),
            Word::Created | Word::Ended => match fate {
                Some(Fate::Ended(report)) => Some(ProviderPhase::Exited(report.clone())),
                Some(Fate::Gone) => None,
                Some(Fate::Fresh) => {
                    self.waiting(found);
                    Some(ProviderPhase::Pending)
                }
                Some(Fate::Runs | Fate::Untold) | None if word == Word::Created => {
                    Some(ProviderPhase::Pending)
                }
                // Somebody has started it again; or nobody knows how it ended, which decides what becomes of it.
                Some(Fate::Runs | Fate::Untold) | None => Some(ProviderPhase::Unknown),
            },
        }
    }
}

fn one(found: &Found, phase: ProviderPhase) -> Listed {
    let label = |name: &str| found.labels.get(name).cloned();
    Listed {
        provider_ref: found.name.handle(),
        ownership: labels::owner(&found.labels)
            .filter(|owner| owner.instance == found.name.instance),
        phase,
        address: label(labels::ADDRESS).or_else(|| network_address(found)),
        zone: label(labels::ZONE),
        created_at: found
            .summary
            .created
            .and_then(|seconds| Timestamp::from_second(seconds).ok()),
        interruption: None,
    }
}

/// Returns the container's address in its first network.
fn network_address(found: &Found) -> Option<String> {
    let first = found.labels.get(labels::NETWORKS);
    let first = first.and_then(|names| names.split(',').next());
    let mut networks = found.summary.networks();
    let of_first = networks.find_map(|(name, address)| {
        let is_it = first.is_none_or(|first| first == name);
        address.filter(|_| is_it)
    });
    of_first.map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests;
