//! The source over `drover-git`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use drover_git::{
    FILE_BYTES_MAX, GitError, IGNORE_FILE, IgnoreRules, Mirror, Oid, RefusedWhy, RemoteRefs, Trust,
};
use drover_model::Revision;
use sha2::{Digest as _, Sha256};

use super::{RefusedFile, Source, SourceCommit, SourceError, SourceFile, SourcePlace, SourceTree};

/// The references as the latest poll saw them, shared between source and recorder, so that a pass
/// asks the remote once.
#[derive(Debug, Clone, Default)]
pub struct SharedRefs(Arc<Mutex<Option<RemoteRefs>>>);

impl SharedRefs {
    fn set(&self, refs: Option<RemoteRefs>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refs;
    }

    /// Returns the latest listing, which others may still take.
    pub(crate) fn peek(&self) -> Option<RemoteRefs> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes the latest listing: it is used once, a second look asks the remote again.
    pub(crate) fn take(&self) -> Option<RemoteRefs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A branch of a Git repository, followed through its mirror.
#[derive(Debug)]
pub struct GitSource {
    mirror: Arc<Mirror>,
    place: SourcePlace,
    refs: SharedRefs,
    /// What the latest poll saw the branch at, under its full name.
    seen: Option<Seen>,
    /// Whose signatures count. None: any commit will do.
    verification: Option<Verification>,
}

/// The followed reference at one moment.
#[derive(Debug, Clone)]
struct Seen {
    /// Its full name.
    name: String,
    /// The object: a tag's own, if it has one.
    object: Oid,
    /// The commit.
    commit: Oid,
}

/// What has to be signed for a commit to be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// What is looked at.
    pub mode: VerifyMode,
    /// Whose signatures count.
    pub trust: Trust,
}

/// What has to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyMode {
    /// The commit that is acted on.
    Head,
    /// The annotated tag that is followed.
    Tag,
}

impl GitSource {
    /// Follows `place` of the mirrored repository.
    pub fn new(mirror: Arc<Mirror>, place: SourcePlace) -> Self {
        Self {
            mirror,
            place,
            refs: SharedRefs::default(),
            seen: None,
            verification: None,
        }
    }

    /// Acts on signed commits only.
    pub fn verifying(mut self, verification: Option<Verification>) -> Self {
        self.verification = verification;
        self
    }

    /// Returns who signed a commit, where anybody has to.
    fn verify(&self, revision: &Revision, commit: Oid) -> Result<Option<String>, SourceError> {
        let Some(Verification { mode, trust }) = &self.verification else {
            return Ok(None);
        };
        let outcome = match (mode, &self.seen) {
            (VerifyMode::Head, _) => self
                .mirror
                .verify_commit(commit, trust)
                .map_err(|e| chain(&e)),
            (VerifyMode::Tag, Some(seen)) if seen.commit == commit => {
                match seen.name.strip_prefix("refs/tags/") {
                    Some(tag) => {
                        let verified = self.mirror.verify_tag(tag, seen.object, commit, trust);
                        verified.map_err(|error| chain(&error))
                    }
                    None => Err(format!("{} is no tag", seen.name)),
                }
            }
            (VerifyMode::Tag, _) => Err("the tag has moved meanwhile".to_owned()),
        };
        let signed = outcome.map(|signed| Some(signed.principal));
        signed.map_err(|why| SourceError::Unverified {
            revision: revision.clone(),
            why,
        })
    }

    /// Returns the listing that a recorder over the same mirror may share.
    pub fn refs(&self) -> SharedRefs {
        self.refs.clone()
    }

    fn within(&self, path: &str) -> String {
        match self.place.path.trim_matches('/') {
            "" => path.to_owned(),
            root => format!("{root}/{path}"),
        }
    }
}

/// Returns an error's text with its causes, already cleaned of credentials by `drover-git`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn unreachable(error: &GitError) -> SourceError {
    SourceError::Unreachable {
        message: chain(error),
    }
}

pub(crate) fn oid_of(text: &str) -> Result<Oid, SourceError> {
    text.parse().map_err(|_| SourceError::Internal {
        message: format!("{text:?} is no object id"),
    })
}

fn revision_of(id: Oid) -> Result<Revision, SourceError> {
    Revision::parse(&id.to_string()).map_err(|error| SourceError::Internal {
        message: format!("commit id {id} {error}"),
    })
}

impl Source for GitSource {
    fn place(&self) -> SourcePlace {
        self.place.clone()
    }

    fn poll(&mut self) -> Result<Revision, SourceError> {
        self.refs.set(None);
        let refs = self.mirror.list().map_err(|error| unreachable(&error))?;
        let branch = &self.place.branch;
        let tip = refs.require(branch).map_err(|error| match error {
            GitError::EmptyRepository { .. } => SourceError::Emptied,
            GitError::RefMissing { .. } => SourceError::BranchMissing {
                branch: branch.clone(),
            },
            other => unreachable(&other),
        });
        let full = refs.full_name(branch);
        let object = full.as_ref().and_then(|full| refs.all().get(full).copied());
        self.refs.set(Some(refs));
        let commit = tip?;
        self.seen = full.zip(object).map(|(name, object)| Seen {
            name,
            object,
            commit,
        });
        revision_of(commit)
    }

    fn tree(&mut self, revision: &Revision) -> Result<SourceTree, SourceError> {
        let commit = oid_of(revision.as_str())?;
        if let Some(seen) = &self.seen
            && seen.commit == commit
        {
            let fetched = self.mirror.fetch(&[(&seen.name, seen.object)]);
            fetched.map_err(|error| unreachable(&error))?;
        }
        // Before a byte of it is looked at.
        let signer = self.verify(revision, commit)?;
        let local = |error: GitError| unreachable(&error);
        let info = self.mirror.commit(commit).map_err(local)?;
        let rules = self.mirror.file(commit, &self.within(IGNORE_FILE));
        let rules = rules.map_err(local)?.map(|(_, bytes)| bytes);
        let (ignore, ignore_mistakes) = match &rules {
            Some(bytes) => IgnoreRules::parse(bytes),
            None => (IgnoreRules::defaults(), Vec::new()),
        };
        let listing = self.mirror.tree(commit, &self.place.path, &ignore);
        let listing = listing.map_err(local)?;
        if !listing.root_found {
            return Err(SourceError::PathMissing {
                path: self.place.path.clone(),
                revision: revision.clone(),
            });
        }
        let complete = listing.is_complete();
        let files = listing.files.into_iter();
        let files = files.filter(|file| !file.path.ends_with(IGNORE_FILE));
        let refused = listing.refused.into_iter().map(|refused| RefusedFile {
            path: refused.path,
            why: why(refused.why).to_owned(),
        });
        Ok(SourceTree {
            commit: SourceCommit {
                revision: revision.clone(),
                author: format!("{} <{}>", info.author.name, info.author.email),
                subject: info.subject,
                trailers: info.trailers.into_iter().collect::<BTreeMap<_, _>>(),
                time: info.time,
                signer,
            },
            files: files
                .map(|file| SourceFile {
                    path: file.path,
                    oid: file.oid.to_string(),
                })
                .collect(),
            refused: refused.collect(),
            ignore_digest: hex(&Sha256::digest(rules.unwrap_or_default())),
            ignore_mistakes,
            complete,
        })
    }

    fn read(&mut self, oid: &str) -> Result<Vec<u8>, SourceError> {
        let read = self.mirror.read(oid_of(oid)?, FILE_BYTES_MAX as usize);
        read.map_err(|error| unreachable(&error))
    }

    fn descends(&mut self, of: &Revision, ancestor: &Revision) -> Result<bool, SourceError> {
        let (ancestor, of) = (oid_of(ancestor.as_str())?, oid_of(of.as_str())?);
        let descends = self.mirror.is_ancestor(ancestor, of);
        descends.map_err(|error| unreachable(&error))
    }
}

fn why(why: RefusedWhy) -> &'static str {
    match why {
        RefusedWhy::Symlink => "symbolic links are not followed",
        RefusedWhy::Submodule => "submodules are not entered",
        RefusedWhy::TooLarge => "it is larger than 1 MiB",
        RefusedWhy::PathTooDeep => "it is more than 32 folders deep",
        RefusedWhy::BadName => "its name is not plain UTF-8",
        RefusedWhy::TooMany => "the repository has more files than the limits allow",
    }
}

/// Returns bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
