//! Where objects to be packed are read from. libgit2 keeps up to 16 MiB of what it unpacked for each pack as
//! long as a handle is open, which is hundreds of MiB where there are many packs.

use std::path::Path;

use git2::{ObjectType, Oid, Repository};

use crate::error::GitError;
use crate::open::open_repository;

/// Bytes of objects that are read until a handle is closed. Opening another one takes about a millisecond.
const READ_BYTES_MAX: usize = 16 << 20;

/// A repository that is read from.
pub(crate) enum Source<'r> {
    /// Through the handle of somebody who has objects there that are nowhere else yet.
    Open(&'r Repository),
    /// Through handles that are closed now and then.
    Closing {
        /// Where it is.
        dir: &'r Path,
        /// The handle of now.
        repository: Repository,
        /// The bytes that were read with it.
        read: usize,
    },
}

impl<'r> Source<'r> {
    /// Reads what is at `dir`.
    pub(crate) fn closing(dir: &'r Path) -> Result<Self, GitError> {
        Ok(Self::Closing {
            dir,
            repository: open_repository(dir)?,
            read: 0,
        })
    }

    /// Returns the handle for the next few objects.
    pub(super) fn repository(&mut self) -> Result<&Repository, GitError> {
        match self {
            Self::Open(repository) => Ok(repository),
            Self::Closing {
                dir,
                repository,
                read,
            } => {
                if *read > READ_BYTES_MAX {
                    *repository = open_repository(dir)?;
                    *read = 0;
                }
                Ok(repository)
            }
        }
    }

    /// Takes note of what was read.
    pub(super) fn took(&mut self, bytes: usize) {
        if let Self::Closing { read, .. } = self {
            *read += bytes;
        }
    }

    /// Reads an object.
    pub(super) fn read(&mut self, id: Oid) -> Result<(ObjectType, Vec<u8>), GitError> {
        let broken = |error| GitError::local("read an object to pack it", error);
        let (kind, data) = {
            let odb = self.repository()?.odb().map_err(broken)?;
            let object = odb.read(id).map_err(broken)?;
            (object.kind(), object.data().to_vec())
        };
        self.took(data.len());
        Ok((kind, data))
    }
}
