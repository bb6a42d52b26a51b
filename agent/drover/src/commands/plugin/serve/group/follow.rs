//! Whether a change is in force. A call that changes a group is answered with success only then: a commit that a policy
//! or a limit withholds is written, and changes nothing.

use std::time::{Duration, Instant};

use drover_model::{GroupName, RecordedGroup};

use super::{AgentGroups, PASS};
use crate::agent::client::AgentClient;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::snapshot::{Origin, Repository, Snapshot};
use crate::source_edit::{self, Edited};

/// How long the agent may take to take a commit up.
const TAKEN_UP: Duration = Duration::from_secs(10);

/// Between two passes that are asked for.
const PAUSE: Duration = Duration::from_millis(200);

/// Most holds that an answer names.
const HOLDS_MAX: usize = 3;

/// How what the branch says of a group stands.
enum Standing {
    InForce,
    /// The agent has looked, and does not act on it.
    Withheld(String),
    /// The agent has not looked yet.
    Awaited,
}

impl AgentGroups {
    /// Has the agent look, until what the branch says of a group is in force.
    ///
    /// # Errors
    ///
    /// It is not, and why.
    pub(super) fn follow(
        &self,
        repository: &Repository,
        group: &GroupName,
        done: &Edited,
    ) -> CommandResult<()> {
        let written = match done {
            Edited::DryRun { .. } | Edited::Beside { .. } => return Ok(()),
            Edited::Unchanged => "the branch says so already".to_owned(),
            Edited::Committed { commit, .. } => format!("written as {}", commit.short()),
        };
        let attempted = || format!("group {group}: {written}, and nobody knows if it is in force");
        let deadline = Instant::now() + TAKEN_UP;
        // What nobody has written now may be in force for long.
        let mut asks = *done != Edited::Unchanged;
        loop {
            if asks {
                self.look();
            }
            let why = match self.standing(repository, group).context(attempted())? {
                Standing::InForce => return Ok(()),
                Standing::Withheld(why) if asks => why,
                Standing::Withheld(_) | Standing::Awaited if Instant::now() < deadline => {
                    asks = true;
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Standing::Withheld(_) | Standing::Awaited => {
                    format!(
                        "the agent has not taken it up within {}s",
                        TAKEN_UP.as_secs()
                    )
                }
            };
            return Err(CommandError::new(format!(
                "group {group}: {written}, and not in force: {why}"
            )));
        }
    }

    /// Has the agent make a pass. One that takes too long is seen by what it has not brought.
    fn look(&self) {
        let passed =
            AgentClient::connect(&self.settings.data_dir).and_then(|client| client.reconcile(PASS));
        if let Err(error) = passed {
            tracing::warn!(%error, "agent not told of a change");
        }
    }

    fn standing(&self, repository: &Repository, group: &GroupName) -> CommandResult<Standing> {
        let target = self.target(repository);
        let tip = source_edit::tip(target)?;
        let documents = Documents::from_commit(target.mirror, tip, target.path)?;
        let written = documents.repository.groups.get(group);
        let written = written.map(|written| &*written.text);
        let snapshot = self.snapshot()?;
        let recorded = snapshot.groups.get(group);
        if is_in_force(written, recorded) {
            return Ok(Standing::InForce);
        }
        let Origin::Agent { status, .. } = &snapshot.origin else {
            return Ok(Standing::Awaited);
        };
        if let Some(error) = &status.source.error {
            return Ok(Standing::Withheld(error.clone()));
        }
        let has_looked = status.source.revision == Some(tip.to_string());
        Ok(match why(&snapshot, recorded) {
            Some(why) if has_looked => Standing::Withheld(why),
            Some(_) | None => Standing::Awaited,
        })
    }
}

/// Returns whether the agent acts on what is written of a group, which may be nothing.
fn is_in_force(written: Option<&str>, recorded: Option<&RecordedGroup>) -> bool {
    let accepted = recorded.and_then(|recorded| recorded.accepted.as_ref());
    let ends = recorded.is_some_and(|recorded| recorded.deleting.is_some());
    match written {
        Some(written) => !ends && accepted.is_some_and(|accepted| *accepted.text == *written),
        None => ends || accepted.is_none(),
    }
}

/// Returns what the agent withholds, in its words.
fn why(snapshot: &Snapshot, recorded: Option<&RecordedGroup>) -> Option<String> {
    let holds = recorded.into_iter().flat_map(|recorded| &recorded.holds);
    let serious = holds.filter(|held| !held.hold.is_routine());
    let mut said: Vec<String> = serious
        .map(|held| format!("{}: {}", held.hold.code(), held.hold))
        .collect();
    if let Origin::Agent { status, .. } = &snapshot.origin {
        said.extend(status.holds.iter().cloned());
    }
    said.dedup();
    said.truncate(HOLDS_MAX);
    (!said.is_empty()).then(|| said.join("; "))
}
