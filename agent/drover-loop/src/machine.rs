//! What an agent gets from the machine that it runs on: its name, random numbers, and whether
//! another agent's process lives here.

use std::fs::{File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{Entropy, LivenessProbe};
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

/// Returns random numbers from the system.
///
/// # Errors
///
/// The system has none to give.
pub fn system_entropy() -> std::io::Result<Entropy> {
    let mut source = File::open("/dev/urandom")?;
    let mut first = [0; 8];
    source.read_exact(&mut first)?;
    // Should a later read fail, a generator goes on from the last number that was drawn.
    let mut state = u64::from_le_bytes(first) | 1;
    Ok(Box::new(move || {
        let mut bytes = [0; 8];
        if source.read_exact(&mut bytes).is_ok() {
            state ^= u64::from_le_bytes(bytes);
        }
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state
    }))
}

#[cfg(test)]
mod tests;
