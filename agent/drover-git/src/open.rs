//! Opening and creating repositories, with libgit2's check that they belong to our user.

use std::path::Path;

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
