//! A journal in memory, for tests and the simulator: durable means that it survives [`MemoryJournal::crashed`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use drover_model::{GroupName, Intent};

use super::lock::storage;
use super::state::{Staged, State};
use super::{Attempted, Journal, JournalChange, JournalError, Reply};

/// A journal in memory, whose writes can be made to fail.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    blobs: BTreeMap<String, Vec<u8>>,
    writes: u64,
    failing: Option<(FailWrites, u64)>,
}

/// How writes fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailWrites {
    /// Nothing is written.
    Before,
    /// The write is durable and the answer says that it failed, as when the last flush reports an error.
    After,
}

impl MemoryJournal {
    /// Returns an empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every write fail from the `nth` on, counted from 1 over the journal's whole life.
    pub fn fail_from(&self, nth: u64, how: FailWrites) {
        self.lock().failing = Some((how, nth));
    }

    /// Lets writes succeed again.
    pub fn recover(&self) {
        self.lock().failing = None;
    }

    /// Returns whether the next write would fail.
    pub fn is_failing(&self) -> bool {
        let inner = self.lock();
        inner
            .failing
            .is_some_and(|(_, from)| inner.writes + 1 >= from)
    }

    /// Returns how many writes were tried.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Returns what an agent finds that starts after a crash at this moment.
    #[must_use]
    pub fn crashed(&self) -> Self {
        let inner = self.lock();
        Self {
            inner: Mutex::new(Inner {
                state: inner.state.clone(),
                blobs: inner.blobs.clone(),
                writes: 0,
                failing: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the state whole: it is changed in one step.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn write(
        &mut self,
        changes: Vec<JournalChange>,
    ) -> Result<Vec<drover_model::IntentId>, JournalError> {
        self.writes += 1;
        let failing = match self.failing {
            Some((how, from)) if self.writes >= from => Some(how),
            _ => None,
        };
        if failing == Some(FailWrites::Before) {
            return Err(injected());
        }
        let mut staged = Staged::on(&self.state);
        let ids = staged.apply(changes)?;
        let mut delta = staged.delta;
        for (key, blob) in std::mem::take(&mut delta.blobs) {
            match blob {
                Some(blob) => self.blobs.insert(key, blob),
                None => self.blobs.remove(&key),
            };
        }
        self.state.merge(delta);
        match failing {
            Some(_) => Err(injected()),
            None => Ok(ids),
        }
    }
}

fn injected() -> JournalError {
    let error = io::Error::new(io::ErrorKind::StorageFull, "injected failure");
    storage(Attempted::Write, PathBuf::from("(memory)"), error)
}

impl Journal for MemoryJournal {
    fn open_intents(&self, group: &GroupName) -> Result<Vec<Intent>, JournalError> {
        Ok(self.lock().state.open_intents(group))
    }

    fn groups(&self) -> Result<BTreeSet<GroupName>, JournalError> {
        Ok(self.lock().state.open_groups())
    }

    fn last_number(&self, group: &GroupName) -> Result<u64, JournalError> {
        Ok(self.lock().state.last_number(group))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.lock().blobs.get(key).cloned())
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, JournalError> {
        let inner = self.lock();
        let from = inner.blobs.range(prefix.to_owned()..);
        let keys = from
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix));
        Ok(keys.cloned().collect())
    }

    fn submit(&self, changes: Vec<JournalChange>, reply: Reply) {
        // The lock is released before the reply runs: it may use the journal.
        let result = self.lock().write(changes);
        reply(result);
    }
}
