//! Lock files that an agent left behind when it was killed in the middle of moving a reference.
//!
//! `drover-git` clears those that are a minute old, which is safe whoever runs. An agent that starts
//! need not wait that long: it holds the lock of its data folder, so its predecessor is gone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

#[cfg(test)]
mod tests;

/// Who else may be at work in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company<'a> {
    /// Nobody: a mirror in the data folder, whose lock is ours.
    Alone,
    /// People and their Git, who leave alone the state branch of this name and what drover keeps for
    /// itself.
    Shared(&'a str),
}

/// A lock of a single reference is held for milliseconds. One this old has lost its owner.
const AGE_MIN: Duration = Duration::from_secs(2);

/// How deep references are looked for.
const DEPTH_MAX: usize = 16;

/// Removes lock files without an owner. A young one may still have one, and is waited for: at most
/// two seconds.
pub(super) fn clear(git_dir: &Path, company: Company<'_>) {
    let mut found = Vec::new();
    match company {
        Company::Alone => {
            for name in ["packed-refs.lock", "config.lock", "HEAD.lock"] {
                found.push(git_dir.join(name));
            }
            collect(&git_dir.join("refs"), 0, &mut found);
        }
        Company::Shared(state_branch) => {
            found.push(git_dir.join(format!("refs/heads/{state_branch}.lock")));
            collect(&git_dir.join("refs/drover"), 0, &mut found);
        }
    }
    for path in found {
        let age_min = match company {
            Company::Alone => Duration::ZERO,
            Company::Shared(_) => AGE_MIN,
        };
        if let Err(error) = clear_one(&path, age_min) {
            warn!(path = %path.display(), %error, "lock file not removed");
        }
    }
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    // What cannot be read has no lock of ours in it.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth < DEPTH_MAX {
            collect(&path, depth + 1, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            found.push(path);
        }
    }
}

fn clear_one(path: &Path, age_min: Duration) -> io::Result<()> {
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !facts.is_file() {
        return Ok(());
    }
    let changed = facts.modified()?;
    // A time in the future is a clock that stepped back: the whole age is waited for.
    let age = changed.elapsed().unwrap_or(Duration::ZERO);
    std::thread::sleep(age_min.saturating_sub(age));
    let same = fs::symlink_metadata(path).and_then(|facts| facts.modified());
    if same.is_ok_and(|again| again == changed) {
        fs::remove_file(path)?;
        warn!(path = %path.display(), "removed a lock file that an agent left behind");
    }
    Ok(())
}
