//! The identity of an object in a Git repository.

use std::fmt;
use std::str::FromStr;

use crate::error::GitError;

/// Identifies one object (commit, tree, blob or tag) by the hash of its content.
///
/// Not to be confused with a change id or a template digest, which are drover's own hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(git2::Oid);

/// Hexadecimal digits of a full SHA-1 object id.
const HEX_LENGTH: usize = 40;

impl Oid {
    /// Returns the id that a file with this content has in every repository.
    ///
    /// # Errors
    ///
    /// [`GitError::Local`] when hashing fails, which only an exhausted memory can cause.
    pub fn of_blob(bytes: &[u8]) -> Result<Self, GitError> {
        git2::Oid::hash_object(git2::ObjectType::Blob, bytes)
            .map(Self)
            .map_err(|error| GitError::local("hash a file", error))
    }

    /// Returns the first ten digits, for people.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(10);
        text
    }

    pub(crate) fn raw(self) -> git2::Oid {
        self.0
    }
}

impl From<git2::Oid> for Oid {
    fn from(raw: git2::Oid) -> Self {
        Self(raw)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({})", self.0)
    }
}

impl FromStr for Oid {
    type Err = ParseOidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // libgit2 fills a short text up with zeros, which would name another object.
        if text.len() != HEX_LENGTH || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseOidError);
        }
        git2::Oid::from_str(text)
            .map(Self)
            .map_err(|_| ParseOidError)
    }
}

/// A text that is not a full object id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object id has {HEX_LENGTH} hexadecimal digits")]
pub struct ParseOidError;
