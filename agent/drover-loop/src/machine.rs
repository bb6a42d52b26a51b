//! What an agent gets from the machine that it runs on: its name, and whether another agent's process
//! lives here.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::LivenessProbe;
use crate::lease::{Lease, Liveness};

/// The file in a data directory that a running agent holds locked.
const LOCK_FILE: &str = "lock";

/// Returns what tells this machine, as it was booted, from others. None: it cannot be told.
///
/// Containers on one host share it, which is harmless: a data directory that is not there to look at
/// is taken for one without an agent, and the epoch keeps the two apart.
pub fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

/// Returns a probe that looks at the lock of the holder's data directory, where that is on this
/// machine. `own` is this agent's directory, whose lock it holds itself.
pub fn local_liveness(own: Option<PathBuf>) -> LivenessProbe {
    let machine = machine();
    Arc::new(move |lease: &Lease| {
        let (Some(ours), Some(theirs), Some(dir)) = (&machine, &lease.machine, &lease.data_dir)
        else {
            return Liveness::Unknown;
        };
        if ours != theirs {
            return Liveness::Unknown;
        }
        if own.as_deref() == Some(Path::new(dir)) {
            return Liveness::Dead;
        }
        holder_of(Path::new(dir))
    })
}

fn holder_of(dir: &Path) -> Liveness {
    let file = match File::open(dir.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Liveness::Dead,
        Err(_) => return Liveness::Unknown,
    };
    // Shared, so that two who look do not take each other for the holder.
    match file.try_lock_shared() {
        Ok(()) => Liveness::Dead,
        Err(TryLockError::WouldBlock) => Liveness::Alive,
        Err(TryLockError::Error(_)) => Liveness::Unknown,
    }
}

#[cfg(test)]
mod tests;
