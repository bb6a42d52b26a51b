//! Asking a container: commands run in it, its own check, and what it printed.

use std::time::Duration;

use drover_model::{CheckOutcome, ProviderRef};
use drover_provider::ProviderError;

use crate::api::{EngineError, ErrorKind, Execution, Health};
use crate::frames;
use crate::provider::{Inner, failed};

/// How much longer than a command's own limit its connection is kept: the limit is what counts.
const SLACK: Duration = Duration::from_secs(5);

/// Looks at a command that has printed its last word, until the engine says how it ended.
const LOOKS: u32 = 20;
/// Between two such looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

impl Inner {
    /// Runs a command in a container.
    pub(crate) async fn check(
        &self,
        handle: &ProviderRef,
        command: &[String],
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let inspected = self.look(handle).await?;
        if !inspected.state.running {
            return Ok(failing("the container is not running"));
        }
        let key = (inspected.id.clone(), command.to_vec());
        let before = self.memory.execs().get(&key).cloned();
        if let Some(before) = before
            && self.still_runs(&before).await
        {
            return Ok(failing("an earlier try of this check has not ended yet"));
        }
        let id = match self.engine.prepare_exec(&inspected.id, command).await {
            Ok(id) => id,
            Err(error) if error.is_conflict() => {
                return Ok(failing("the container is not running"));
            }
            Err(error) => return Ok(cannot_run(&error)),
        };
        self.memory.execs().insert(key.clone(), id.clone());
        let run = self.engine.exec(&id, timeout + SLACK);
        let printed = match tokio::time::timeout(timeout, run).await {
            // It goes on in the container, where nobody can end it from here.
            Err(_) => return Ok(failing(&format!("no answer within {timeout:?}"))),
            Ok(Err(error)) => return Ok(cannot_run(&error)),
            Ok(Ok(printed)) => printed,
        };
        let ended = self.ended(&id).await;
        self.memory.execs().remove(&key);
        Ok(match ended {
            Ok(Some(0)) => CheckOutcome::Passing,
            Ok(Some(code)) => {
                let said = frames::digest(&frames::text(&printed));
                let said = if said.is_empty() {
                    said
                } else {
                    format!(": {said}")
                };
                failing(&format!("exit status {code}{said}"))
            }
            Ok(None) => unknown("the engine does not say how the check ended"),
            Err(error) => cannot_run(&error),
        })
    }

    async fn still_runs(&self, id: &str) -> bool {
        let execution = self.engine.execution(id).await;
        execution.is_ok_and(|execution| execution.running)
    }

    /// Returns the exit status of a command that has printed its last word.
    async fn ended(&self, id: &str) -> Result<Option<i32>, EngineError> {
        for _ in 0..LOOKS {
            let Execution { running, exit_code } = self.engine.execution(id).await?;
            if !running && exit_code.is_some() {
                return Ok(exit_code);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(None)
    }

    /// Returns what the container's own check says.
    pub(crate) async fn health(
        &self,
        handle: &ProviderRef,
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let Ok(looked) = tokio::time::timeout(timeout, self.look(handle)).await else {
            return Ok(unknown(&format!("no answer within {timeout:?}")));
        };
        let inspected = looked?;
        if !inspected.state.running {
            return Ok(failing("the container is not running"));
        }
        Ok(health_outcome(inspected.state.health.as_ref()))
    }

    pub(crate) async fn logs(
        &self,
        handle: &ProviderRef,
        lines: usize,
    ) -> Result<String, ProviderError> {
        let inspected = self.look(handle).await?;
        let log = self.engine.logs(&inspected.id, lines).await;
        let log = log.map_err(|error| failed(&error))?;
        Ok(frames::text(&log))
    }
}

/// Returns what a container's own check says.
fn health_outcome(health: Option<&Health>) -> CheckOutcome {
    let status = health.and_then(|health| health.status.as_deref());
    match status.unwrap_or_default() {
        "healthy" => CheckOutcome::Passing,
        "unhealthy" => {
            let last = health.and_then(|health| health.log.as_ref()?.last());
            let code = last.and_then(|last| last.exit_code);
            let said = last.and_then(|last| last.output.as_deref());
            let said = frames::digest(said.unwrap_or_default());
            let code = code.map(|code| format!("exit status {code}"));
            let parts = ["its own check fails".to_owned()];
            let parts = parts.into_iter().chain(code).chain([said]);
            let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
            failing(&parts.join(": "))
        }
        "starting" => unknown("its own check has not passed yet"),
        "" | "none" => unknown("the container has no check of its own"),
        other => unknown(&format!("its own check says {other}")),
    }
}

fn cannot_run(error: &EngineError) -> CheckOutcome {
    match error.kind {
        ErrorKind::Refused(404) => failing("the container is gone"),
        ErrorKind::Refused(_) | ErrorKind::NotSent { .. } | ErrorKind::Lost => {
            unknown(&error.to_string())
        }
    }
}

fn failing(why: &str) -> CheckOutcome {
    CheckOutcome::Failing {
        why: why.to_owned(),
    }
}

fn unknown(why: &str) -> CheckOutcome {
    CheckOutcome::Unknown {
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests;
