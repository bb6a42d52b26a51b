//! The source over `drover-git`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use drover_git::{
    ChangedPath, Changes, FILE_BYTES_MAX, GitError, IGNORE_FILE, Identities, IgnoreRules, Mirror,
    Oid, PathPatterns, RemoteRefs, Signatories, Trust,
};
use drover_model::Revision;
use sha2::{Digest as _, Sha256};

use super::{
    Authored, FileChange, History, RefusedFile, Source, SourceCommit, SourceError, SourceFile,
    SourcePlace, SourceTree, Written,
};

/// More commits than this at once are not looked through for documents that came and went between them.
const COMMITS_MAX: usize = 1000;

/// More commits than this are not looked through for who wrote a change: a second of work where each changes one file.
const AUTHORED_MAX: usize = 10_000;

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

/// The files of the commit in force, documents or not, for who needs one of them after the documents were read.
#[derive(Debug, Clone)]
pub struct SourceFiles {
    mirror: Arc<Mirror>,
    /// The configuration's root.
    root: String,
    commit: Arc<Mutex<Option<Oid>>>,
}

impl SourceFiles {
    fn new(mirror: Arc<Mirror>, root: &str) -> Self {
        Self {
            mirror,
            root: root.trim_matches('/').to_owned(),
            commit: Arc::default(),
        }
    }

    fn commit(&self) -> std::sync::MutexGuard<'_, Option<Oid>> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the commit in force: a commit that is refused afterwards takes no file away from it.
    pub(crate) fn stand_at(&self, in_force: &Revision) {
        if let Ok(commit) = oid_of(in_force.as_str()) {
            *self.commit() = Some(commit);
        }
    }

    /// Returns the content of a file, by its path from the configuration's root on. Blocks; asks no remote.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, for people.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let commit = *self.commit();
        let commit = commit.ok_or("no commit is in force yet")?;
        let found = self.mirror.file(commit, &below(&self.root, path));
        match found {
            Ok(Some((_, bytes))) => Ok(bytes),
            Ok(None) => Err(format!("commit {} has no such file", commit.short())),
            Err(error) => Err(chain(&error)),
        }
    }
}

fn below(root: &str, path: &str) -> String {
    match root {
        "" => path.to_owned(),
        root => format!("{root}/{path}"),
    }
}

/// A branch of a Git repository, followed through its mirror.
#[derive(Debug)]
pub struct GitSource {
    mirror: Arc<Mirror>,
    place: SourcePlace,
    refs: SharedRefs,
    files: SourceFiles,
    /// What the latest poll saw the branch at.
    seen: Option<Seen>,
    /// Whose signatures count. None: any commit will do.
    verification: Option<Verification>,
    /// Where it says whose a key is.
    identities: Identities,
    /// What that says as of this look.
    signatories: Option<Signatories>,
}

/// What is followed, at one moment.
#[derive(Debug, Clone)]
struct Seen {
    /// The commit.
    commit: Oid,
    at: SeenAt,
}

#[derive(Debug, Clone)]
enum SeenAt {
    /// A branch or tag.
    Reference {
        /// Its full name.
        name: String,
        /// The object: a tag's own, if it has one.
        object: Oid,
    },
    /// A commit by its id: the branches and tags that may lead to it.
    Commit(Vec<(String, Oid)>),
}

impl Seen {
    /// Reads from a listing what the name of a branch, of a tag, or the id of a commit stands for.
    fn find(refs: &RemoteRefs, branch: &str) -> Result<Self, GitError> {
        if let Some(name) = refs.full_name(branch) {
            let commit = refs.require(branch)?;
            let object = refs.all().get(&name).copied().unwrap_or(commit);
            let at = SeenAt::Reference { name, object };
            return Ok(Self { commit, at });
        }
        let id: Option<Oid> = branch.parse().ok();
        // An empty repository, or one without the branch, says so.
        let Some(commit) = id.filter(|_| !refs.all().is_empty()) else {
            let commit = refs.require(branch)?;
            let at = SeenAt::Commit(Vec::new());
            return Ok(Self { commit, at });
        };
        let leads = |(name, _): &(&String, &Oid)| {
            let plain = name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
            plain && !name.ends_with("^{}")
        };
        let all = refs.all().iter().filter(leads);
        let all = all.map(|(name, object)| (name.clone(), *object));
        Ok(Self {
            commit,
            at: SeenAt::Commit(all.collect()),
        })
    }
}

/// What has to be signed for a commit to be acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// What is looked at.
    pub mode: VerifyMode,
    /// Whose signatures count.
    pub trust: Trust,
    /// Files that fewer people may change.
    pub paths: Vec<PathRule>,
}

/// Files whose change needs the signature of somebody on a list of its own, beside the general one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    /// Which files, from the configuration's root: patterns in gitignore syntax, which were parsed before.
    pub patterns: Vec<String>,
    /// Whose signatures count for them.
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
            files: SourceFiles::new(Arc::clone(&mirror), &place.path),
            mirror,
            place,
            refs: SharedRefs::default(),
            seen: None,
            verification: None,
            identities: Identities::default(),
            signatories: None,
        }
    }

    /// Acts on signed commits only.
    pub fn verifying(mut self, verification: Option<Verification>) -> Self {
        self.verification = verification;
        self
    }

    /// Takes who signed a commit for one of its authors, as far as it says here whose a key is.
    pub fn knowing(mut self, identities: Identities) -> Self {
        self.identities = identities;
        self
    }

    /// Returns who signed a commit, where anybody has to.
    fn verify(&self, revision: &Revision, commit: Oid) -> Result<Option<String>, SourceError> {
        let Some(Verification { mode, trust, .. }) = &self.verification else {
            return Ok(None);
        };
        let signed = self.signed(*mode, commit, trust).map(Some);
        signed.map_err(|why| SourceError::Unverified {
            revision: revision.clone(),
            why,
        })
    }

    /// Returns who of `trust` signed what has to be signed, else why nobody did.
    fn signed(&self, mode: VerifyMode, commit: Oid, trust: &Trust) -> Result<String, String> {
        let seen = self.seen.as_ref().filter(|seen| seen.commit == commit);
        let verified = match (mode, seen.map(|seen| &seen.at)) {
            (VerifyMode::Head, _) => self.mirror.verify_commit(commit, trust),
            (VerifyMode::Tag, Some(SeenAt::Reference { name, object })) => {
                let Some(tag) = name.strip_prefix("refs/tags/") else {
                    return Err(format!("{name} is no tag"));
                };
                self.mirror.verify_tag(tag, *object, commit, trust)
            }
            (VerifyMode::Tag, Some(SeenAt::Commit(_))) => {
                return Err("a commit is followed, and no tag".to_owned());
            }
            (VerifyMode::Tag, None) => return Err("the tag has moved meanwhile".to_owned()),
        };
        let signed = verified.map_err(|error| chain(&error))?;
        Ok(signed.principal)
    }

    /// Tells whether the signature of a commit would count, were it what the branch has, with `in_force` as what is acted
    /// on until then. The commit is at hand, and nobody else need have it.
    ///
    /// # Errors
    ///
    /// [`SourceError::Unverified`] where it would not; where a tag is followed, always.
    pub fn would_verify(
        &self,
        commit: Oid,
        in_force: Option<&Revision>,
    ) -> Result<(), SourceError> {
        let revision = revision_of(commit)?;
        if let Some(Verification { mode, .. }) = &self.verification
            && *mode == VerifyMode::Tag
        {
            let why = "a signed tag is followed, which people make".to_owned();
            return Err(SourceError::Unverified { revision, why });
        }
        self.verify(&revision, commit)?;
        self.check_paths(&revision, commit, in_force)
    }

    /// Returns the files that differ from the commit in force, from the configuration's root.
    fn changed(
        &self,
        commit: Oid,
        in_force: Option<&Revision>,
    ) -> Result<Vec<String>, SourceError> {
        let local = |error: GitError| unreadable(&error);
        let base = in_force.map(|base| oid_of(base.as_str())).transpose()?;
        // One that is not here any more vouches for nothing.
        let base = base.filter(|base| self.mirror.commit(*base).is_ok());
        let root = self.place.path.trim_matches('/');
        let changed = self.mirror.tree_diff(base, commit, root).map_err(local)?;
        let below = changed.into_iter();
        Ok(below
            .map(|changed| self.below_root(&changed.path))
            .collect())
    }

    /// Returns a path of the repository as seen from the configuration's root.
    fn below_root(&self, path: &str) -> String {
        let root = self.place.path.trim_matches('/');
        let below = path.strip_prefix(root);
        let below = below.map(|path| path.strip_prefix('/').unwrap_or(path));
        below.unwrap_or(path).to_owned()
    }

    /// Fetches what is followed.
    fn bring(&self, seen: &Seen) -> Result<(), SourceError> {
        let failed = |error: GitError| unreadable(&error);
        match &seen.at {
            SeenAt::Reference { name, object } => {
                self.mirror.fetch(&[(name, *object)]).map_err(failed)
            }
            SeenAt::Commit(_) if self.mirror.commit(seen.commit).is_ok() => Ok(()),
            SeenAt::Commit(all) => {
                let all: Vec<(&str, Oid)> =
                    all.iter().map(|(name, id)| (name.as_str(), *id)).collect();
                self.mirror.fetch(&all).map_err(failed)?;
                match self.mirror.commit(seen.commit) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(SourceError::CommitMissing {
                        commit: seen.commit.to_string(),
                    }),
                }
            }
        }
    }

    /// Returns the listing that a recorder over the same mirror may share.
    pub fn refs(&self) -> SharedRefs {
        self.refs.clone()
    }

    /// Returns the files of the commit in force, as this source goes on.
    pub fn files(&self) -> SourceFiles {
        self.files.clone()
    }

    fn within(&self, path: &str) -> String {
        below(self.place.path.trim_matches('/'), path)
    }

    /// Returns an error where files changed whose change needs the signature of others.
    fn check_paths(
        &self,
        revision: &Revision,
        commit: Oid,
        in_force: Option<&Revision>,
    ) -> Result<(), SourceError> {
        let Some(Verification { mode, paths, .. }) = &self.verification else {
            return Ok(());
        };
        if paths.is_empty() {
            return Ok(());
        }
        let refused = |why: String| SourceError::Unverified {
            revision: revision.clone(),
            why,
        };
        let changed = self.changed(commit, in_force)?;
        // It decides which files count at all, also such as come later: whoever may change it could take away any other.
        let ignores = changed.iter().find(|path| *path == IGNORE_FILE);
        for rule in paths {
            let patterns = PathPatterns::parse(&rule.patterns)
                .map_err(|(pattern, why)| refused(format!("pattern {pattern:?}: {why}")))?;
            let named = changed.iter().find(|path| patterns.contains(path));
            let Some(path) = named.or(ignores) else {
                continue;
            };
            self.signed(*mode, commit, &rule.trust).map_err(|why| {
                refused(format!("{path} changed, which needs another signer: {why}"))
            })?;
        }
        Ok(())
    }
}

/// Returns an error's text with its causes, already cleaned of credentials by `drover-git`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Returns the branches that a person may have meant.
fn branches(refs: &RemoteRefs) -> Vec<String> {
    let names = refs.all().keys();
    let branches = names.filter_map(|name| name.strip_prefix("refs/heads/"));
    let theirs = branches.filter(|name| !name.starts_with("drover/"));
    theirs.map(str::to_owned).collect()
}

/// The remote has listed what it has, so whatever fails now says nothing of its other branches.
fn unreadable(error: &GitError) -> SourceError {
    SourceError::Unreadable {
        message: chain(error),
    }
}

/// Says which file it is that cannot be read: the error names an object, which nobody knows by heart.
fn unread_rules(error: &GitError) -> SourceError {
    let message = match error {
        GitError::TooLarge { size, limit, .. } => {
            format!("{IGNORE_FILE} has {size} bytes, more than {limit}")
        }
        other => format!("read {IGNORE_FILE}: {}", chain(other)),
    };
    SourceError::Unreadable { message }
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
        let refs = self
            .mirror
            .list()
            .map_err(|error| SourceError::Unreachable {
                message: chain(&error),
            })?;
        let branch = &self.place.branch;
        let seen = Seen::find(&refs, branch).map_err(|error| match error {
            GitError::EmptyRepository { .. } => SourceError::Emptied,
            GitError::RefMissing { .. } => SourceError::BranchMissing {
                branch: branch.clone(),
                others: branches(&refs),
            },
            other => unreadable(&other),
        });
        self.refs.set(Some(refs));
        let seen = self.seen.insert(seen?);
        revision_of(seen.commit)
    }

    fn tree(&mut self, revision: &Revision) -> Result<SourceTree, SourceError> {
        let commit = oid_of(revision.as_str())?;
        if let Some(seen) = &self.seen
            && seen.commit == commit
        {
            self.bring(seen)?;
        }
        // Lists of signers are read for each look.
        self.signatories = None;
        // Before a byte of it is looked at.
        let signer = self.verify(revision, commit)?;
        let local = |error: GitError| unreadable(&error);
        let info = self.mirror.commit(commit).map_err(local)?;
        let rules = self.mirror.file(commit, &self.within(IGNORE_FILE));
        let rules = rules.map_err(|error| unread_rules(&error))?;
        let rules = rules.map(|(_, bytes)| bytes);
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
            why: refused.why.to_string(),
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

    fn files_in_force(&self) -> Option<SourceFiles> {
        Some(self.files())
    }

    fn vouch(
        &mut self,
        revision: &Revision,
        in_force: Option<&Revision>,
    ) -> Result<(), SourceError> {
        let commit = oid_of(revision.as_str())?;
        self.check_paths(revision, commit, in_force)
    }

    fn written_since(
        &mut self,
        revision: &Revision,
        in_force: &Revision,
    ) -> Result<Option<Vec<Written>>, SourceError> {
        let (from, to) = (oid_of(in_force.as_str())?, oid_of(revision.as_str())?);
        let root = self.place.path.trim_matches('/');
        // What cannot be read on the way is no reason not to act on what can: it is as good as too much.
        let found = self.mirror.written_since(from, to, root, COMMITS_MAX);
        let Some(commits) = found.ok().flatten() else {
            return Ok(None);
        };
        let mut written = Vec::new();
        for (commit, files) in commits {
            let revision = revision_of(commit)?;
            written.extend(files.into_iter().map(|(path, oid)| Written {
                revision: revision.clone(),
                file: SourceFile {
                    path,
                    oid: oid.to_string(),
                },
            }));
        }
        Ok(Some(written))
    }

    fn history(
        &mut self,
        revision: &Revision,
        base: Option<&Revision>,
    ) -> Result<History, SourceError> {
        let to = oid_of(revision.as_str())?;
        let from = base.map(|base| oid_of(base.as_str())).transpose()?;
        // One that is not here any more leaves out nothing.
        let from = from.filter(|from| self.mirror.commit(*from).is_ok());
        let root = self.place.path.trim_matches('/');
        let found = self.mirror.changes_since(from, to, root, AUTHORED_MAX);
        // What cannot be read on the way is no reason not to act on what can: only nobody's approval counts then.
        let Ok(Changes { commits, complete }) = found else {
            return Ok(History::default());
        };
        let commits = commits.into_iter().map(|commit| {
            let file = |changed: ChangedPath| FileChange {
                path: self.below_root(&changed.path),
                before: changed.old.map(|oid| oid.to_string()),
                after: changed.new.map(|oid| oid.to_string()),
            };
            let of_parent = |changed: Vec<ChangedPath>| changed.into_iter().map(file).collect();
            let against = commit.against;
            let against = against.map(|all| all.into_iter().map(of_parent).collect());
            Ok(Authored {
                revision: revision_of(commit.id)?,
                authors: commit.authors,
                against,
            })
        });
        Ok(History {
            commits: commits.collect::<Result<_, SourceError>>()?,
            complete,
        })
    }

    fn signers(&mut self, revision: &Revision) -> Result<Option<Vec<String>>, SourceError> {
        let commit = oid_of(revision.as_str())?;
        let signatories = self
            .signatories
            .get_or_insert_with(|| Signatories::read(&self.identities));
        let signers = signatories.of(&self.mirror, commit);
        // What cannot be read on the way is no reason not to act on what can.
        Ok(signers.unwrap_or_default())
    }

    fn read(&mut self, oid: &str) -> Result<Vec<u8>, SourceError> {
        let read = self.mirror.read(oid_of(oid)?, FILE_BYTES_MAX as usize);
        read.map_err(|error| unreadable(&error))
    }

    fn descends(&mut self, of: &Revision, ancestor: &Revision) -> Result<bool, SourceError> {
        let (ancestor, of) = (oid_of(ancestor.as_str())?, oid_of(of.as_str())?);
        let descends = self.mirror.is_ancestor(ancestor, of);
        descends.map_err(|error| unreadable(&error))
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
