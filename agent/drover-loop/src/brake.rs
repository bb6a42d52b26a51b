//! What stops the agent between two steps: a person's freeze, a lost lease, the end of the process.

use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use drover_apply::{Brake, Stop};
use drover_model::{GroupName, Held, Hold};

use crate::store::Freeze;

/// The name of the file in the data directory that freezes the agent while it exists. Its lines name
/// groups; an empty file means all of them.
pub const FREEZE_FILE: &str = "FREEZE";

/// The agent's brake.
#[derive(Debug, Default)]
pub(crate) struct AgentBrake {
    /// What people froze through the agent.
    frozen: RwLock<Vec<Freeze>>,
    /// What the file says, as last read.
    file: RwLock<Option<Freeze>>,
    path: Option<PathBuf>,
    lost: AtomicBool,
    ending: AtomicBool,
}

impl AgentBrake {
    pub(crate) fn new(data_dir: Option<&Path>, frozen: Vec<Freeze>) -> Self {
        let brake = Self {
            frozen: RwLock::new(frozen),
            path: data_dir.map(|dir| dir.join(FREEZE_FILE)),
            ..Self::default()
        };
        brake.look();
        brake
    }

    /// Reads the file.
    pub(crate) fn look(&self) {
        let Some(path) = &self.path else {
            return;
        };
        let found = match std::fs::read_to_string(path) {
            Ok(text) => Some(Freeze {
                by: format!("the file {}", path.display()),
                groups: text
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned)
                    .collect(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // It is there and cannot be read: somebody wants the agent to stop.
            Err(error) => Some(Freeze {
                by: format!("the file {}, which cannot be read: {error}", path.display()),
                groups: Vec::new(),
            }),
        };
        *write(&self.file) = found;
    }

    /// Returns what people froze through the agent.
    pub(crate) fn frozen(&self) -> Vec<Freeze> {
        read(&self.frozen).clone()
    }

    pub(crate) fn set_frozen(&self, frozen: Vec<Freeze>) {
        *write(&self.frozen) = frozen;
    }

    pub(crate) fn set_lost(&self, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Returns the hold of a frozen group.
    pub(crate) fn hold(&self, group: &GroupName) -> Option<Held> {
        let covers = |freeze: &&Freeze| {
            freeze.groups.is_empty() || freeze.groups.iter().any(|name| name == group.as_str())
        };
        let by = |freeze: &Freeze| Held {
            hold: Hold::Frozen {
                by: freeze.by.clone(),
            },
            reason: None,
            instance: None,
            until: None,
        };
        let file = read(&self.file);
        let frozen = read(&self.frozen);
        let mut all = file.iter().chain(frozen.iter());
        all.find(covers).map(by)
    }
}

/// A panic elsewhere leaves the lists whole: they are replaced in one step.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Brake for AgentBrake {
    fn stop(&self, group: &GroupName) -> Option<Stop> {
        if self.lost.load(Ordering::SeqCst) {
            return Some(Stop::EpochLost);
        }
        if self.ending.load(Ordering::SeqCst) {
            return Some(Stop::ShuttingDown);
        }
        self.hold(group).map(|_| Stop::Frozen)
    }
}
