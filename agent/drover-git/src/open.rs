//! Opening and creating repositories, with libgit2's check that they belong to our user.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use git2::{ErrorClass, ErrorCode, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use crate::error::GitError;
use crate::transport;

/// Whether a new repository has a work tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryKind {
    /// Only the database, as on a server.
    Bare,
    /// With a work tree, as people use it.
    WithWorkTree,
}

/// Creates an empty repository whose first branch will be `branch`; an existing one stays as it is.
///
/// # Errors
///
/// [`GitError::NotOwned`] for another user's repository, else [`GitError::Io`] or
/// [`GitError::Local`].
pub fn init_repository(dir: &Path, kind: RepositoryKind, branch: &str) -> Result<(), GitError> {
    transport::prepare()?;
    crate::refs::full_reference(branch)?;
    let mut options = RepositoryInitOptions::new();
    options
        .bare(kind == RepositoryKind::Bare)
        .mkpath(true)
        .external_template(false)
        .initial_head(branch);
    Repository::init_opts(dir, &options)
        .map(drop)
        .map_err(|error| open_error(dir, error))
}

/// Opens exactly this folder, never a parent of it.
pub(crate) fn open_repository(dir: &Path) -> Result<Repository, GitError> {
    transport::prepare()?;
    let none: [&Path; 0] = [];
    Repository::open_ext(dir, RepositoryOpenFlags::NO_SEARCH, none)
        .map_err(|error| open_error(dir, error))
}

/// Locks last for milliseconds: one this old belongs to a process that was killed.
const STALE_LOCK: Duration = Duration::from_mins(1);

/// Temporary packs grow while they are fetched, so only old ones are leftovers.
const STALE_PACK: Duration = Duration::from_hours(24);

/// Removes what a killed agent left in its own mirror, which would block its references for ever or
/// fill the disk. Never called on a person's repository.
pub(crate) fn clean_up(dir: &Path) -> Result<(), GitError> {
    let failed = |source| GitError::Io {
        path: dir.to_owned(),
        source,
    };
    remove_old(&dir.join("refs"), STALE_LOCK, &is_lock).map_err(failed)?;
    for name in ["HEAD.lock", "config.lock", "packed-refs.lock"] {
        remove_when_old(&dir.join(name), STALE_LOCK).map_err(failed)?;
    }
    let packs = dir.join("objects").join("pack");
    remove_old(&packs, STALE_PACK, &|name| name.starts_with("pack_git2_")).map_err(failed)
}

/// Removes the locks of these references that a killed agent left, in whatever repository: they are
/// references that nobody but agents writes.
pub(crate) fn clear_locks(repository: &Repository, references: &[&str]) -> Result<(), GitError> {
    for reference in references {
        let lock = repository.commondir().join(format!("{reference}.lock"));
        remove_when_old(&lock, STALE_LOCK).map_err(|source| GitError::Io { path: lock, source })?;
    }
    Ok(())
}

fn is_lock(name: &str) -> bool {
    name.strip_suffix(".lock").is_some()
}

fn remove_old(folder: &Path, age: Duration, is_meant: &dyn Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_old(&entry.path(), age, is_meant)?;
        } else if entry.file_name().to_str().is_some_and(is_meant) {
            remove_when_old(&entry.path(), age)?;
        }
    }
    Ok(())
}

fn remove_when_old(path: &Path, age: Duration) -> io::Result<()> {
    let modified = match fs::symlink_metadata(path) {
        Ok(facts) => facts.modified()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // A time in the future is a clock that stepped back: the file may be fresh.
    if modified.elapsed().is_ok_and(|elapsed| elapsed > age) {
        tracing::warn!(path = %path.display(), "removing what a killed process left");
        fs::remove_file(path)?;
    }
    Ok(())
}

fn open_error(dir: &Path, source: git2::Error) -> GitError {
    let path = dir.to_owned();
    match (source.code(), source.class()) {
        (ErrorCode::Owner, _) => GitError::NotOwned { path },
        (ErrorCode::NotFound, _) => GitError::NotFound {
            url: path.display().to_string(),
        },
        (_, ErrorClass::Os) => GitError::Io {
            path,
            source: std::io::Error::other(source.message().to_owned()),
        },
        _ => GitError::Corrupt { path, source },
    }
}
