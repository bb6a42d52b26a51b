//! What there is, from one call of the engine, and one more for each container that has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{
    Completeness, ExitReport, FleetName, Listed, Listing, ProviderPhase, Timestamp,
};
use drover_provider::ProviderError;

use crate::api::{EngineError, Inspected};
use crate::frames;
use crate::labels;
use crate::names::Stage;
use crate::provider::{Found, Inner, failed};

/// Lines of the log that are read for an exit report.
const LOG_LINES: usize = 20;

/// A container's state, in the words of Docker and Podman.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It was made and never started.
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

/// Returns whether a container of this state runs or has run.
pub(crate) fn has_started(state: &str) -> bool {
    Word::read(state) != Word::Created
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
        let mut instances = Vec::new();
        let mut seen = BTreeSet::new();
        for summary in listed {
            let Some(found) = self.own(summary) else {
                continue;
            };
            let of_fleet = found.labels.get(labels::FLEET).map(String::as_str);
            if of_fleet != Some(fleet.as_str()) || found.name.stage == Stage::Released {
                continue;
            }
            seen.insert(found.summary.id.clone());
            if let Some(phase) = self.phase(&found).await {
                instances.push(one(&found, phase));
            }
        }
        self.memory.exits().retain(|id, _| seen.contains(id));
        self.memory.execs().retain(|(id, _), _| seen.contains(id));
        Ok(Listing {
            completeness: Completeness::Complete,
            as_of,
            instances,
            attached: BTreeSet::new(),
            places: BTreeMap::new(),
        })
    }

    /// Returns where a container is in its life. None: it is gone meanwhile.
    async fn phase(self: &Arc<Self>, found: &Found) -> Option<ProviderPhase> {
        if let Stage::Ending { kill_at } = found.name.stage {
            self.end(&found.summary.id, kill_at);
            return Some(ProviderPhase::Stopping);
        }
        Some(match Word::read(&found.summary.state) {
            Word::Created => ProviderPhase::Pending,
            Word::Running => {
                // Whoever started it again ended what was known of its end.
                self.memory.exits().remove(&found.summary.id);
                ProviderPhase::Running
            }
            Word::Stopping => ProviderPhase::Stopping,
            Word::Other => ProviderPhase::Unknown,
            Word::Ended => match self.exit(&found.summary.id).await {
                Ok(Some(report)) => ProviderPhase::Exited(report),
                Err(error) if error.is_missing() => return None,
                // Somebody has started it again; or nobody knows how it ended, which decides what
                // becomes of it.
                Ok(None) | Err(_) => ProviderPhase::Unknown,
            },
        })
    }

    /// Returns how a container ended, which is asked once. None: it runs.
    async fn exit(&self, id: &str) -> Result<Option<ExitReport>, EngineError> {
        if let Some(report) = self.memory.exits().get(id) {
            return Ok(Some(report.clone()));
        }
        let inspected = self.engine.inspect(id).await?;
        if Word::read(&inspected.state.status) != Word::Ended {
            return Ok(None);
        }
        // Some ways of keeping logs cannot be read, which is no reason not to say the rest.
        let log = self.engine.logs(id, LOG_LINES).await.unwrap_or_default();
        let report = report(&inspected, &frames::text(&log));
        let mut exits = self.memory.exits();
        exits.insert(id.to_owned(), report.clone());
        Ok(Some(report))
    }
}

/// Returns how a container ended.
fn report(inspected: &Inspected, log: &str) -> ExitReport {
    let state = &inspected.state;
    let memory = match state.out_of_memory {
        Some(true) => "out of memory",
        Some(false) | None => "",
    };
    let error = state.error.as_deref().unwrap_or_default();
    let log = frames::digest(log);
    let parts = [memory, error, log.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    ExitReport {
        // The engine says 128 and the signal's number for a signal, as shells do, and nothing else.
        code: state.exit_code,
        signal: None,
        message: parts.join(": "),
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
mod tests;
