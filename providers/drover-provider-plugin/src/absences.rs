//! Why plugins are not there, as far as who starts them knows it: a caller only finds that nobody listens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why plugins do not run, by the name of their socket. Who starts them tells it, and the errors of those who call them
/// say it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Absences(Arc<Mutex<BTreeMap<String, String>>>);

impl Absences {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why a plugin does not run: the end of a sentence that begins with its name. It gets into what is recorded, so that
    /// it changes only with what it is about.
    pub fn tell(&self, lookup: &str, why: String) {
        self.lock().insert(lookup.to_owned(), why);
    }

    /// Forgets why a plugin did not run.
    pub fn forget(&self, lookup: &str) {
        self.lock().remove(lookup);
    }

    /// Returns why a plugin does not run. None: nobody said so.
    pub fn of(&self, lookup: &str) -> Option<String> {
        self.lock().get(lookup).cloned()
    }
}
