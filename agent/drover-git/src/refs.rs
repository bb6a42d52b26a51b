//! The references of a repository, as one listing saw them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::GitError;
use crate::oid::Oid;

/// References that drover keeps for itself in a local repository; never listed, never pushed.
pub(crate) const PRIVATE_PREFIX: &str = "refs/drover/";

/// The references of a repository, all from one listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRefs {
    url: String,
    /// Every reference by its full name; annotated tags also as `refs/tags/x^{}`.
    /// Shared, since some repositories have tens of thousands.
    all: Arc<BTreeMap<String, Oid>>,
    /// What `HEAD` points to.
    default_branch: Option<String>,
}

impl RemoteRefs {
    pub(crate) fn new(
        url: String,
        all: BTreeMap<String, Oid>,
        default_branch: Option<String>,
    ) -> Self {
        Self {
            url,
            all: Arc::new(all),
            default_branch,
        }
    }

    /// Returns all references by their full names; a peeled tag ends with `^{}`.
    pub fn all(&self) -> &BTreeMap<String, Oid> {
        &self.all
    }

    /// Returns the full name of the branch that the repository shows first.
    pub fn default_branch(&self) -> Option<&str> {
        self.default_branch.as_deref()
    }

    /// Returns the commit of a branch, else of a tag; full names (`refs/...`) are taken literally.
    pub fn get(&self, name: &str) -> Option<Oid> {
        self.full_name(name).and_then(|full| self.peeled(&full))
    }

    /// Returns the full name that `name` stands for in this listing.
    pub fn full_name(&self, name: &str) -> Option<String> {
        let candidates = if name.starts_with("refs/") || name == "HEAD" {
            vec![name.to_owned()]
        } else {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
        };
        candidates
            .into_iter()
            .find(|candidate| self.all.contains_key(candidate))
    }

    /// Returns the commit of a branch or tag that must exist.
    ///
    /// # Errors
    ///
    /// [`GitError::EmptyRepository`] when there is no reference at all, else
    /// [`GitError::RefMissing`]. Neither means that anything was deleted on purpose.
    pub fn require(&self, name: &str) -> Result<Oid, GitError> {
        if let Some(id) = self.get(name) {
            return Ok(id);
        }
        let url = self.url.clone();
        if self.all.is_empty() {
            return Err(GitError::EmptyRepository { url });
        }
        Err(GitError::RefMissing {
            url,
            reference: name.to_owned(),
        })
    }

    fn peeled(&self, full: &str) -> Option<Oid> {
        let peeled = self.all.get(&format!("{full}^{{}}"));
        peeled.or_else(|| self.all.get(full)).copied()
    }
}

/// Returns the full name of a reference given as a branch name or in full.
pub(crate) fn full_reference(name: &str) -> Result<String, GitError> {
    let full = if name.starts_with("refs/") {
        name.to_owned()
    } else {
        format!("refs/heads/{name}")
    };
    // A leading dash is legal for Git and a trap for every script that names the branch.
    let dash = full.split('/').any(|part| part.starts_with('-'));
    if dash || !git2::Reference::is_valid_name(&full) {
        return Err(GitError::BadReference {
            reference: name.to_owned(),
        });
    }
    Ok(full)
}
