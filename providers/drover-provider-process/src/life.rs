//! Where an instance is in its life, read from its folder.

use std::io::{self, ErrorKind};

use drover_model::{ExitReport, FleetName, Listed, ProviderPhase, ProviderRef, Timestamp};

use crate::folder::Folder;
use crate::log;
use crate::process::{boot_id, end_orphans};
use crate::record::{Stage, VERSION};

/// Lists one folder. None: it is not the fleet's, or it is gone.
pub(crate) fn list_one(
    folder: &Folder,
    name: &str,
    fleet: &FleetName,
    boot: &str,
) -> io::Result<Option<Listed>> {
    let Some(record) = folder.record()? else {
        // A folder under its final name is whole, so one without a record is being removed; one
        // that stays so was tampered with, and what it holds cannot be known.
        return if folder.path().exists() {
            Err(io::Error::other("instance.json is missing"))
        } else {
            Ok(None)
        };
    };
    if record.version != VERSION {
        let version = record.version;
        return Err(io::Error::other(format!("format {version} is not known")));
    }
    let Some(owner) = record.ownership else {
        return Ok(None);
    };
    if owner.fleet() != fleet.as_str() {
        return Ok(None);
    }
    let Some(phase) = phase(folder, boot)? else {
        return Ok(None);
    };
    Ok(Some(Listed {
        provider_ref: ProviderRef::parse(name).map_err(io::Error::other)?,
        ownership: owner.parse().ok(),
        phase,
        address: Some(record.address),
        zone: record.zone,
        created_at: record.created_at.parse::<Timestamp>().ok(),
        interruption: None,
    }))
}

/// Returns where an instance is in its life. None: it is gone. Clears up behind an instance that was
/// to end and whose shim is gone.
pub(crate) fn phase(folder: &Folder, boot: &str) -> io::Result<Option<ProviderPhase>> {
    // In this order: a shim writes the exit before it ends, so what is found dead has written it.
    let run = folder.run()?;
    let alive = run
        .as_ref()
        .is_some_and(|run| run.boot == boot && run.shim.is_alive());
    let exit = folder.exit()?;
    let stopping = folder.stop()?.is_some();
    if !folder.exists() {
        return Ok(None);
    }
    if stopping {
        let gone = !alive && clear(folder)?;
        return Ok((!gone).then_some(ProviderPhase::Stopping));
    }
    if let Some(exit) = exit {
        return Ok(Some(ProviderPhase::Exited(exit.into())));
    }
    let Some(run) = run else {
        // Not started yet, or its agent ended before it could: the repeated call starts it.
        return Ok(Some(ProviderPhase::Pending));
    };
    Ok(Some(match run.stage {
        Stage::Init if alive => ProviderPhase::Pending,
        // What runs is what it was, and ends.
        Stage::Command if alive && folder.restarts() => ProviderPhase::Pending,
        Stage::Command if alive => ProviderPhase::Running,
        Stage::Init | Stage::Command => {
            let what = if run.boot == boot {
                "its shim ended without a report"
            } else {
                "the machine was started again"
            };
            let log = log::digest(&log::tail(&folder.log(), 20)?);
            let parts = [what, log.as_str()];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            ProviderPhase::Exited(ExitReport {
                code: None,
                signal: None,
                message: parts.join(": "),
            })
        }
    }))
}

/// Removes an instance that has no shim, with what a killed shim may have left running. False: a
/// shim lives.
pub(crate) fn clear(folder: &Folder) -> io::Result<bool> {
    let lock = match folder.try_lock() {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    if let Some(run) = folder.run()?
        && folder.exit()?.is_none()
    {
        let recorded = run
            .child
            .filter(|_| boot_id().is_ok_and(|boot| boot == run.boot));
        let killed = end_orphans(&folder.data(), recorded);
        if killed > 0 {
            tracing::warn!(
                folder = %folder.path().display(),
                killed,
                "processes left by a shim that was killed"
            );
        }
    }
    folder.bury()?;
    drop(lock);
    Ok(true)
}
