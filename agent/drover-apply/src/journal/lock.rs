//! The lock on a data directory: one agent at a time, across processes.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Attempted, JournalError};

/// The lock file's name. It holds the pid of the agent, for people and for the error of a second one.
const FILE: &str = "lock";

/// A data directory, held until this is dropped or the process ends.
///
/// The file is never removed: a removed and re-created lock file can be locked twice.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

impl Drop for DirLock {
    /// Closing would not do: a process that is just being started shares the lock until it runs its
    /// program.
    fn drop(&mut self) {
        // The lock ends with the process at the latest.
        let _ = self.file.unlock();
    }
}

impl DirLock {
    /// Makes the directory, readable by its owner alone, and takes the lock without waiting.
    ///
    /// # Errors
    ///
    /// [`JournalError::Locked`] when somebody has it, [`JournalError::Storage`] when the file cannot be made or locked.
    pub fn take(dir: &Path) -> Result<Self, JournalError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| storage(Attempted::Create, dir.to_owned(), error))?;
        let path = dir.join(FILE);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = opened.map_err(|error| storage(Attempted::Lock, path.clone(), error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Locked {
                    dir: dir.to_owned(),
                    pid: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(storage(Attempted::Lock, path, error));
            }
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        // The pid only helps people: a full disk must not keep the agent from starting.
        if let Err(error) = noted {
            tracing::warn!(path = %path.display(), %error, "cannot note the pid in the lock file");
        }
        Ok(Self { file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

pub(crate) fn storage(
    attempted: Attempted,
    path: PathBuf,
    error: impl std::error::Error + Send + Sync + 'static,
) -> JournalError {
    JournalError::Storage {
        attempted,
        path,
        source: Arc::new(error),
    }
}
