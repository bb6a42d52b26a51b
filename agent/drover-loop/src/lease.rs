//! Who holds an agent's name: a file on the state branch, taken by compare-and-swap.
//!
//! The lease carries no heartbeat, because a quiet fleet commits nothing. Instead an agent that finds another's lease, and
//! cannot see on this machine whether that one lives, asks: it writes itself into the lease as a contender. A living
//! holder looks at the branch in every pass and writes its lease as it was, which is the answer. Only one that has not
//! answered for as long as four of its passes take is taken over. What keeps two agents of one name apart in the end is
//! the epoch: whoever takes the lease over has a higher one, and the other stops at its next look.

use std::time::Duration;

use drover_model::{AgentName, Epoch, Timestamp};
use serde::{Deserialize, Serialize};

/// How long an agent elsewhere has to answer: four passes of the default interval, or of its own where that is longer.
pub const LEASE_GRACE: Duration = Duration::from_mins(2);

/// How many passes of its own an agent has to answer.
const GRACE_PASSES: u64 = 4;

/// When an agent that was answered asks again. Each question and answer is a commit.
const ASK_AGAIN: Duration = Duration::from_hours(1);

/// The holder of an agent's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lease {
    /// The agent's name.
    pub name: String,
    /// Drawn with each data directory: tells two agents of one name apart.
    pub instance: String,
    /// The epoch.
    pub epoch: u64,
    /// The machine that the agent runs on, as far as it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The data directory on that machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
    /// How often it looks at the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_secs: Option<u64>,
    /// Another agent of the name, which asks whether the holder lives: its `instance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contender: Option<String>,
}

/// What an agent has asked the holder of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The asking agent's `instance`.
    pub(crate) by: String,
    /// Since when it stands on the branch, by the asking agent's clock.
    pub(crate) since: Timestamp,
}

impl Lease {
    /// Returns the lease's path on the state branch.
    pub fn path(agent: &AgentName) -> String {
        file_of(agent.as_str())
    }

    /// Returns this lease's path on the state branch.
    pub(crate) fn file(&self) -> String {
        file_of(&self.name)
    }

    /// Returns the file's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("texts and numbers encode");
        bytes.push(b'\n');
        bytes
    }

    /// Returns the subject of the commit that writes this lease.
    pub(crate) fn subject(&self) -> String {
        let Self { name, epoch, .. } = self;
        match &self.contender {
            None => format!("agent {name}: take the lease, epoch {epoch}"),
            Some(by) => format!("agent {name}: does it live? asked by {by}, epoch {epoch}"),
        }
    }

    /// Returns how long its holder has to answer.
    fn grace(&self) -> Duration {
        let passes = self.interval_secs.unwrap_or(0).saturating_mul(GRACE_PASSES);
        LEASE_GRACE.max(Duration::from_secs(passes))
    }

    /// Reads the file's content.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeaseError> {
        serde_json::from_slice(bytes).map_err(|error| LeaseError {
            message: error.to_string(),
        })
    }

    /// Returns the epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }
}

/// A lease that cannot be read, which may be a newer agent's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lease on the state branch cannot be read: {message}")]
pub struct LeaseError {
    message: String,
}

/// Whether the holder of a lease lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Alive,
    /// It provably does not run.
    Dead,
    /// Nothing can be said: it is on another machine.
    Unknown,
}

/// What an agent may do about the lease that it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It holds the lease.
    Held,
    /// It may take the lease, with this epoch.
    Take(Epoch),
    /// It has to ask the holder first.
    Ask,
    /// It must not act.
    Refused {
        /// Why, for people.
        why: String,
        /// When asking again may give another answer.
        until: Option<Timestamp>,
    },
}

/// What an agent knows of itself when it meets a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant<'a> {
    /// Its own lease as its data directory has it. None: the data directory is empty.
    pub(crate) own: Option<&'a Lease>,
    /// The time.
    pub(crate) now: Timestamp,
    /// What it has asked.
    pub(crate) question: Option<&'a Question>,
}

/// Decides what to do about the lease `found` on the state branch.
pub(crate) fn standing(
    claimant: Claimant<'_>,
    found: Option<&Lease>,
    liveness: impl FnOnce(&Lease) -> Liveness,
) -> Standing {
    match (claimant.own, found) {
        (None, None) => Standing::Take(Epoch(1)),
        // The branch lost the lease; the data directory is authoritative.
        (Some(own), None) => Standing::Take(own.epoch()),
        (Some(own), Some(found)) if found.instance == own.instance => {
            if found.epoch > own.epoch {
                Standing::Refused {
                    why: format!(
                        "the state branch has epoch {} of this agent and its data directory epoch {}: the data directory is an old copy",
                        found.epoch, own.epoch
                    ),
                    until: None,
                }
            } else if found == own {
                Standing::Held
            } else {
                Standing::Take(own.epoch())
            }
        }
        // Ours is newer: the claim was written down and not published yet.
        (Some(own), Some(found)) if own.epoch > found.epoch => Standing::Take(own.epoch()),
        (Some(_), Some(found)) => Standing::Refused {
            why: format!(
                "agent {} runs with another data directory{} and epoch {}; give this agent a name of its own, or stop the other and empty this data directory",
                found.name,
                place(found),
                found.epoch
            ),
            until: None,
        },
        (None, Some(found)) => take_over(&claimant, found, liveness(found)),
    }
}

fn take_over(claimant: &Claimant<'_>, found: &Lease, liveness: Liveness) -> Standing {
    let next = Standing::Take(Epoch(found.epoch + 1));
    match liveness {
        Liveness::Dead => next,
        Liveness::Alive => Standing::Refused {
            why: format!(
                "agent {} is running{}; give this agent a name of its own",
                found.name,
                place(found)
            ),
            until: None,
        },
        Liveness::Unknown => unknown(claimant, found, next),
    }
}

/// Decides about a holder of which nothing can be seen but the branch.
fn unknown(claimant: &Claimant<'_>, found: &Lease, next: Standing) -> Standing {
    let Some(question) = claimant.question else {
        return Standing::Ask;
    };
    let after = |wait: Duration| question.since.checked_add(wait).ok();
    if found.contender.as_ref() == Some(&question.by) {
        return match after(found.grace()) {
            Some(free_at) if claimant.now < free_at => Standing::Refused {
                why: format!(
                    "agent {} was asked on the state branch whether it lives{}; if it does not answer, this one takes over at {free_at}",
                    found.name,
                    place(found)
                ),
                until: Some(free_at),
            },
            Some(_) | None => next,
        };
    }
    // Another one that asks as well has to wait as long.
    match after(ASK_AGAIN) {
        Some(at) if claimant.now < at => Standing::Refused {
            why: format!(
                "agent {} lives{}: it answered on the state branch, or another one asks; give this agent a name of its own",
                found.name,
                place(found)
            ),
            until: Some(at),
        },
        Some(_) | None => Standing::Ask,
    }
}

fn file_of(agent: &str) -> String {
    format!("agents/{agent}.json")
}

fn place(lease: &Lease) -> String {
    match (&lease.data_dir, &lease.machine) {
        (Some(dir), _) => format!(" in {dir}"),
        (None, Some(machine)) => format!(" on {machine}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests;
