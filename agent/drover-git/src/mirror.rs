//! The agent's view of one repository: a bare mirror of a remote, or a repository on this
//! machine, opened in place. Everything but the conversations with a remote works on local objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use git2::{ErrorCode, ObjectType, Repository};

use crate::commits::{
    self, ChangedPath, Changes, CommitFiles, CommitInfo, find_commit, missing_or, tree_of,
};
use crate::credentials::RemoteOptions;
use crate::error::GitError;
use crate::incoming::STATE_OBJECTS_MAX;
use crate::oid::Oid;
use crate::open::{RepositoryKind, clean_up, init_repository, open_repository};
use crate::pack;
use crate::refs::{PRIVATE_PREFIX, RemoteRefs, full_reference};
use crate::remote::Remote;
use crate::state::{RECORDED_BYTES_MAX, files_below};
use crate::tree::{self, IgnoreRules, TreeListing};
use crate::update::{self, PushOutcome};
use crate::url::SourceUrl;
use crate::write::{Change, CommitMeta, Edit, ObjectWriter, check_path, with_writer};

/// One repository, usable from several threads at once. All calls block.
pub struct Mirror {
    url: SourceUrl,
    directory: PathBuf,
    /// The handle for reading; a fresh one replaces it when packs were moved under it.
    repository: Mutex<Repository>,
    /// None for a repository on this machine.
    remote: Option<Remote>,
    /// Held for writing while packs are removed, so that no handle of ours loses one.
    packs: RwLock<()>,
    /// Held while packs are joined.
    joining: Mutex<()>,
}

/// How long packs that were joined wait until nobody talks with the remote.
const CONVERSATION_MAX: Duration = Duration::from_mins(1);

/// Between two looks whether somebody does.
const CONVERSATION_PAUSE: Duration = Duration::from_millis(50);

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mirror({})", self.url)
    }
}

impl Mirror {
    /// Opens the mirror of a remote at `dir`, creating it when absent, or a repository on
    /// this machine in place (`dir` is then unused). Does not talk to the remote.
    ///
    /// # Errors
    ///
    /// [`GitError::NotFound`] without a local repository, [`GitError::NotOwned`] for another
    /// user's, [`GitError::Corrupt`] or [`GitError::Io`].
    pub fn open(dir: &Path, url: SourceUrl, options: RemoteOptions) -> Result<Self, GitError> {
        let (directory, remote) = match url.local_path() {
            None => {
                init_repository(dir, RepositoryKind::Bare, "main")?;
                clean_up(dir)?;
                bind_to_remote(dir, &url)?;
                let remote = Remote::start(dir.to_owned(), url.clone(), options)?;
                (dir.to_owned(), Some(remote))
            }
            Some(path) => (path.to_owned(), None),
        };
        Ok(Self {
            repository: Mutex::new(open_repository(&directory)?),
            url,
            directory,
            remote,
            packs: RwLock::new(()),
            joining: Mutex::new(()),
        })
    }

    /// Returns where the repository is.
    pub fn url(&self) -> &SourceUrl {
        &self.url
    }

    /// Returns the folder with the objects: the mirror, or the local repository itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Replaces credentials, authorities and time limits from the next operation on.
    pub fn set_options(&self, options: RemoteOptions) {
        if let Some(remote) = &self.remote {
            remote.set_options(options);
        }
    }

    /// Ends the conversation that is under way, within a step's limit, and lets none begin: for an agent that stops,
    /// which would else wait for a slow remote until the deadline.
    pub fn stop(&self) {
        if let Some(remote) = &self.remote {
            remote.stop();
        }
    }

    /// Lists the repository's references: one request to a remote.
    pub fn list(&self) -> Result<RemoteRefs, GitError> {
        match &self.remote {
            Some(remote) => {
                let _packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
                remote.list()
            }
            None => self.with_repository(|repository| self.list_local(repository)),
        }
    }

    /// Fetches references at the values that a listing gave; does nothing when they are here.
    ///
    /// # Errors
    ///
    /// [`GitError::MovedWhileFetching`] when a reference was rewritten since the listing,
    /// [`GitError::Pack`] when that would bring more than the limits permit, else as the network has it.
    pub fn fetch(&self, wants: &[(&str, Oid)]) -> Result<(), GitError> {
        let remote = self.remote.as_ref();
        let limit = remote.map_or(0, |remote| remote.options().limits.objects);
        self.fetch_at_most(wants, limit)
    }

    /// The same of a branch that nobody but agents writes, which grows with every change of every group.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn fetch_state(&self, wants: &[(&str, Oid)]) -> Result<(), GitError> {
        self.fetch_at_most(wants, STATE_OBJECTS_MAX)
    }

    fn fetch_at_most(&self, wants: &[(&str, Oid)], objects_max: u32) -> Result<(), GitError> {
        let mut names = Vec::new();
        for (name, id) in wants {
            if !self.has(*id)? {
                names.push(full_reference(name)?);
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        if let Some(remote) = &self.remote {
            self.make_room_for(&names)?;
            let _packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
            remote.fetch(names, objects_max)?;
        }
        for (name, id) in wants {
            if !self.has(*id)? {
                return Err(GitError::MovedWhileFetching {
                    url: self.url.redacted(),
                    reference: (*name).to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Returns the facts of a commit.
    pub fn commit(&self, id: Oid) -> Result<CommitInfo, GitError> {
        self.with_repository(|repository| Ok(commits::info(&find_commit(repository, id)?)))
    }

    /// Returns at most `limit` commits, newest first; with a path (a file or folder) only those
    /// that change it against their first parent.
    pub fn log(
        &self,
        from: Oid,
        path: Option<&str>,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, GitError> {
        if let Some(path) = path {
            check_path(path)?;
        }
        self.with_repository(|repository| commits::log(repository, from, path, limit))
    }

    /// Returns a commit and its ancestors by first parents, newest first: a branch as one writer made it.
    pub fn first_parents(&self, from: Oid) -> Result<Vec<Oid>, GitError> {
        self.with_repository(|repository| commits::first_parents(repository, from))
    }

    /// Lets go of what was unpacked while reading: an open handle keeps up to 16 MiB for each pack, which
    /// adds up for who reads a whole history.
    pub fn let_go(&self) -> Result<(), GitError> {
        let _packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        *self.handle() = open_repository(&self.directory)?;
        Ok(())
    }

    /// Lists the documents of a commit below `root` (empty: the whole tree).
    pub fn tree(
        &self,
        commit: Oid,
        root: &str,
        ignore: &IgnoreRules,
    ) -> Result<TreeListing, GitError> {
        self.with_repository(|repository| {
            let tree = tree_of(&find_commit(repository, commit)?)?;
            tree::list(repository, tree, root, ignore)
        })
    }

    /// Returns the paths below `root` that differ between two commits, sorted.
    pub fn tree_diff(
        &self,
        old: Option<Oid>,
        new: Oid,
        root: &str,
    ) -> Result<Vec<ChangedPath>, GitError> {
        self.with_repository(|repository| {
            let old = old.map(|id| find_commit(repository, id)).transpose()?;
            let old = old.as_ref().map(tree_of).transpose()?;
            let new = tree_of(&find_commit(repository, new)?)?;
            commits::diff(repository, old.as_ref(), Some(&new), root)
        })
    }

    /// Returns the commits that lead to `to` and not to `from`, newest first, each with the documents below `root` that
    /// it wrote: those that its first parent has not, or not so. None: there are more than `limit` commits, or more in
    /// them than one listing may have.
    pub fn written_since(
        &self,
        from: Oid,
        to: Oid,
        root: &str,
        limit: usize,
    ) -> Result<Option<Vec<CommitFiles>>, GitError> {
        self.with_repository(|repository| {
            commits::written_since(repository, (from, to), root, limit)
        })
    }

    /// Returns the commits that lead to `to` and not to `from`, newest first, with who wrote each and what it changed of
    /// the documents below `root`. At most `limit` of them; without `from` the whole history.
    ///
    /// # Errors
    ///
    /// [`GitError::MissingObject`] when one of the two is not here.
    pub fn changes_since(
        &self,
        from: Option<Oid>,
        to: Oid,
        root: &str,
        limit: usize,
    ) -> Result<Changes, GitError> {
        self.with_repository(|repository| {
            commits::changes_since(repository, (from, to), root, limit)
        })
    }

    /// Returns the content of a file by its id.
    ///
    /// # Errors
    ///
    /// [`GitError::TooLarge`] before anything is read, [`GitError::MissingObject`].
    pub fn read(&self, id: Oid, max_bytes: usize) -> Result<Vec<u8>, GitError> {
        self.with_repository(|repository| read_blob(repository, id, max_bytes))
    }

    /// Returns id and content of a file of a commit, of at most [`tree::FILE_BYTES_MAX`] bytes; none
    /// when no regular file stands there.
    pub fn file(&self, commit: Oid, path: &str) -> Result<Option<(Oid, Vec<u8>)>, GitError> {
        self.file_within(commit, path, tree::FILE_BYTES_MAX)
    }

    /// Returns id and content of a file of recorded state, of at most [`RECORDED_BYTES_MAX`] bytes; none when no regular
    /// file stands there.
    pub fn recorded(&self, commit: Oid, path: &str) -> Result<Option<(Oid, Vec<u8>)>, GitError> {
        self.file_within(commit, path, RECORDED_BYTES_MAX)
    }

    /// Returns paths and ids of all files of recorded state in a folder of a commit and below it, sorted.
    pub fn recorded_below(
        &self,
        commit: Oid,
        folder: &str,
    ) -> Result<Vec<(String, Oid)>, GitError> {
        self.with_repository(|repository| files_below(repository, commit, folder))
    }

    fn file_within(
        &self,
        commit: Oid,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<(Oid, Vec<u8>)>, GitError> {
        check_path(path)?;
        self.with_repository(|repository| {
            let Some(id) = file_id(repository, commit, path)? else {
                return Ok(None);
            };
            let bytes = read_blob(repository, id, bytes_max as usize)?;
            Ok(Some((id, bytes)))
        })
    }

    /// Tells whether `ancestor` is `of` or one of its ancestors; a commit that is not here at all
    /// is no ancestor, since histories are complete.
    ///
    /// # Errors
    ///
    /// [`GitError::Shallow`] when the history is cut off and the answer would be a guess.
    pub fn is_ancestor(&self, ancestor: Oid, of: Oid) -> Result<bool, GitError> {
        self.with_repository(|repository| {
            find_commit(repository, of)?;
            let here = has_commit(repository, ancestor);
            if here && update::is_descendant(repository, of, ancestor)? {
                return Ok(true);
            }
            if repository.is_shallow() {
                return Err(GitError::Shallow {
                    path: self.directory.clone(),
                });
            }
            Ok(false)
        })
    }

    /// Returns the newest commit that both descend from. None: their histories have nothing in common.
    ///
    /// # Errors
    ///
    /// [`GitError::Shallow`] when the history is cut off before it is found.
    pub fn merge_base(&self, one: Oid, other: Oid) -> Result<Option<Oid>, GitError> {
        self.with_repository(|repository| {
            for commit in [one, other] {
                find_commit(repository, commit)?;
            }
            match repository.merge_base(one.raw(), other.raw()) {
                Ok(base) => Ok(Some(base.into())),
                Err(_) if repository.is_shallow() => Err(GitError::Shallow {
                    path: self.directory.clone(),
                }),
                Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
                Err(error) => Err(GitError::local("compare two commits", error)),
            }
        })
    }

    /// Returns the commit that a branch, a tag, an id or an expression such as `main~1` names, by
    /// what is here.
    pub fn resolve(&self, name: &str) -> Result<Oid, GitError> {
        let unknown = || GitError::UnknownRevision {
            name: name.to_owned(),
        };
        if name.is_empty() || name.starts_with('-') || name.chars().any(char::is_control) {
            return Err(unknown());
        }
        self.with_repository(|repository| {
            let commit = repository
                .revparse_single(name)
                .and_then(|object| object.peel_to_commit());
            match commit {
                Ok(commit) => Ok(commit.id().into()),
                Err(_) => Err(unknown()),
            }
        })
    }

    /// Builds a commit on `base` (none: without a parent) and stores it, without moving any
    /// reference. Returns none when the tree would not change.
    pub fn build_commit(
        &self,
        base: Option<Oid>,
        edits: &[Edit],
        meta: &CommitMeta,
    ) -> Result<Option<Oid>, GitError> {
        self.write(|writer| {
            let changes: Vec<Change<'_>> = edits.iter().map(Change::from).collect();
            writer.commit(base, &changes, meta)
        })
    }

    /// Moves a reference (a branch name, or `refs/...`) from `expected` to `new`, never by force.
    ///
    /// On this machine that is a compare-and-swap; to a remote it is a push with a check of the old
    /// value, and the server's own answer decides.
    pub fn update(
        &self,
        reference: &str,
        expected: Option<Oid>,
        new: Oid,
    ) -> Result<PushOutcome, GitError> {
        let reference = full_reference(reference)?;
        let Some(remote) = &self.remote else {
            return self.with_repository(|repository| {
                update::update_shared(repository, &reference, expected, new)
            });
        };
        let outcome = {
            let _packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
            remote.push(reference.clone(), expected, new)?
        };
        if outcome == PushOutcome::Done {
            self.make_room_for(std::slice::from_ref(&reference))?;
            self.set_reference(&reference, new)?;
        }
        Ok(outcome)
    }

    /// Returns the value of a reference as it is here: for a remote, as last fetched or pushed.
    pub fn read_ref(&self, reference: &str) -> Result<Option<Oid>, GitError> {
        let reference = full_reference(reference)?;
        self.with_repository(|repository| update::read(repository, &reference))
    }

    /// Remembers a commit under a name, across restarts and for nobody else to see.
    pub fn remember(&self, name: &str, id: Oid) -> Result<(), GitError> {
        self.set_reference(&remembered_as(name)?, id)
    }

    /// Returns what was remembered under a name.
    pub fn remembered(&self, name: &str) -> Result<Option<Oid>, GitError> {
        let reference = remembered_as(name)?;
        self.with_repository(|repository| update::read(repository, &reference))
    }

    /// Makes sure that a branch exists, creating it at `at`. Returns where it is.
    ///
    /// # Errors
    ///
    /// [`GitError::Refused`] when the repository does not permit the new branch.
    pub fn ensure_branch(&self, branch: &str, at: Oid) -> Result<Oid, GitError> {
        let reference = full_reference(branch)?;
        match self.update(&reference, None, at)? {
            PushOutcome::Done => Ok(at),
            PushOutcome::Moved {
                current: Some(current),
            } => Ok(current),
            PushOutcome::Moved { current: None } => Err(GitError::Contended {
                url: self.url.redacted(),
                reference,
                attempts: 1,
            }),
            PushOutcome::Refused { message } => Err(GitError::Refused {
                url: self.url.redacted(),
                reference,
                message,
            }),
        }
    }

    /// Returns whether joining small packs is worth it. Cheap.
    pub(crate) fn has_small_packs(&self) -> Result<bool, GitError> {
        pack::are_to_be_joined(&self.directory)
    }

    /// Joins small packs when there are some hundreds, or they are much beside the rest. Returns whether it
    /// did. That takes seconds, in which everything else goes on.
    pub fn maintain(&self) -> Result<bool, GitError> {
        let _joining = match self.joining.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        if !self.has_small_packs()? {
            return Ok(false);
        }
        let joined = pack::join_small_packs(&self.directory)?;
        let began = Instant::now();
        let _packs = loop {
            match self.packs.try_write() {
                Ok(guard) => break guard,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                // A conversation with the remote is under way, which others must be able to join.
                Err(TryLockError::WouldBlock) if began.elapsed() < CONVERSATION_MAX => {
                    std::thread::sleep(CONVERSATION_PAUSE);
                }
                // What is there twice is joined again.
                Err(TryLockError::WouldBlock) => return Ok(false),
            }
        };
        let mut handle = self.handle();
        joined.replace()?;
        *handle = open_repository(&self.directory)?;
        Ok(true)
    }

    /// Stores what `work` writes, as one pack.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&mut ObjectWriter<'_>) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let _packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        let written = with_writer(&self.directory, work)?;
        // An open handle keeps up to 16 MiB of unpacked objects for each pack; this one is read seldom.
        *self.handle() = open_repository(&self.directory)?;
        Ok(written)
    }

    /// Sets a reference of drover's own, or of a mirror, which nobody else writes.
    pub(crate) fn set_reference(&self, reference: &str, value: Oid) -> Result<(), GitError> {
        self.with_repository(|repository| {
            repository
                .reference(reference, value.raw(), true, "drover")
                .map(drop)
                .map_err(|error| GitError::local(format!("write {reference}"), error))
        })
    }

    pub(crate) fn delete_reference(&self, reference: &str) -> Result<(), GitError> {
        self.with_repository(|repository| delete(repository, reference))
    }

    /// Runs `read` on the reading handle, and once more on a fresh one when an object is missing:
    /// somebody may have repacked the repository since the handle was opened.
    pub(crate) fn with_repository<T>(
        &self,
        read: impl Fn(&Repository) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let mut handle = self.handle();
        match read(&handle) {
            Err(error) if error.may_be_stale_handle() => {
                *handle = open_repository(&self.directory)?;
                read(&handle).map_err(|error| self.explain(error))
            }
            outcome => outcome,
        }
    }

    fn handle(&self) -> std::sync::MutexGuard<'_, Repository> {
        // A panic while reading leaves nothing behind in the handle.
        self.repository
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// An object that cannot be read even through a fresh handle is damage.
    fn explain(&self, error: GitError) -> GitError {
        match error {
            GitError::Local { source, .. }
                if matches!(
                    source.class(),
                    git2::ErrorClass::Odb | git2::ErrorClass::Zlib
                ) =>
            {
                GitError::Corrupt {
                    path: self.directory.clone(),
                    source,
                }
            }
            other => other,
        }
    }

    fn has(&self, id: Oid) -> Result<bool, GitError> {
        self.with_repository(|repository| {
            let odb = repository
                .odb()
                .map_err(|error| GitError::local("open the object database", error))?;
            Ok(odb.exists(id.raw()))
        })
    }

    fn list_local(&self, repository: &Repository) -> Result<RemoteRefs, GitError> {
        let broken = |error| GitError::local("list the references", error);
        let mut all = BTreeMap::new();
        for reference in repository.references().map_err(broken)? {
            let reference = reference.map_err(broken)?;
            let Ok(name) = reference.name() else {
                continue;
            };
            if name.starts_with(PRIVATE_PREFIX) {
                continue;
            }
            // A symbolic reference to nothing is not worth failing for.
            let Some(id) = reference.resolve().ok().and_then(|direct| direct.target()) else {
                continue;
            };
            if let Ok(target) = reference.peel(ObjectType::Any)
                && reference.is_tag()
                && target.id() != id
            {
                all.insert(format!("{name}^{{}}"), target.id().into());
            }
            all.insert(name.to_owned(), id.into());
        }
        let head = repository.find_reference("HEAD").map_err(broken)?;
        if let Some(id) = head.resolve().ok().and_then(|direct| direct.target()) {
            all.insert("HEAD".to_owned(), id.into());
        }
        let default = head.symbolic_target().map_err(broken)?.map(str::to_owned);
        Ok(RemoteRefs::new(self.url.redacted(), all, default))
    }

    /// Removes references of the mirror that stand in the way of new ones: `a` blocks `a/b`.
    fn make_room_for(&self, names: &[String]) -> Result<(), GitError> {
        self.with_repository(|repository| {
            for name in names {
                let parents = name.match_indices('/').map(|(at, _)| &name[..at]);
                for parent in parents.filter(|parent| parent.matches('/').count() >= 2) {
                    delete(repository, parent)?;
                }
                for below in names_of(repository, &format!("{name}/*"))? {
                    delete(repository, &below)?;
                }
            }
            Ok(())
        })
    }
}

fn remembered_as(name: &str) -> Result<String, GitError> {
    full_reference(&format!("{PRIVATE_PREFIX}remembered/{name}"))
}

/// Remembers whose mirror this is. At another URL the references of the old one mean nothing, but
/// objects and what is still to be published stay.
fn bind_to_remote(dir: &Path, url: &SourceUrl) -> Result<(), GitError> {
    let broken = |error| GitError::local("configure the mirror", error);
    let repository = open_repository(dir)?;
    let mut config = repository.config().map_err(broken)?;
    // A reference must never reach the disk before its objects.
    config
        .set_bool("core.fsyncObjectFiles", true)
        .map_err(broken)?;
    let place = url.redacted();
    let known = config.get_string("drover.url").ok();
    if known.as_deref() == Some(place.as_str()) {
        return Ok(());
    }
    for name in names_of(&repository, "refs/*")? {
        if !name.starts_with(PRIVATE_PREFIX) {
            delete(&repository, &name)?;
        }
    }
    config.set_str("drover.url", &place).map_err(broken)
}

fn names_of(repository: &Repository, pattern: &str) -> Result<Vec<String>, GitError> {
    let broken = |error| GitError::local("list the references", error);
    let mut references = repository.references_glob(pattern).map_err(broken)?;
    let mut names = Vec::new();
    for name in references.names() {
        names.push(name.map_err(broken)?.to_owned());
    }
    Ok(names)
}

fn delete(repository: &Repository, reference: &str) -> Result<(), GitError> {
    let outcome = match repository.find_reference(reference) {
        Ok(mut found) => found.delete(),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.code() != ErrorCode::NotFound => {
            Err(GitError::local(format!("delete {reference}"), error))
        }
        _ => Ok(()),
    }
}

fn has_commit(repository: &Repository, id: Oid) -> bool {
    repository.find_commit(id.raw()).is_ok()
}

/// Returns the id of a regular file; links, folders and submodules are not followed.
pub(crate) fn file_id(
    repository: &Repository,
    commit: Oid,
    path: &str,
) -> Result<Option<Oid>, GitError> {
    let tree = tree_of(&find_commit(repository, commit)?)?;
    match tree.get_path(Path::new(path)) {
        Ok(entry) if tree::Kind::of(entry.filemode()) == tree::Kind::File => {
            Ok(Some(entry.id().into()))
        }
        Ok(_) => Ok(None),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(GitError::local(format!("look up {path:?}"), error)),
    }
}

pub(crate) fn read_blob(
    repository: &Repository,
    id: Oid,
    max_bytes: usize,
) -> Result<Vec<u8>, GitError> {
    let odb = repository
        .odb()
        .map_err(|error| GitError::local("open the object database", error))?;
    let (size, _) = odb
        .read_header(id.raw())
        .map_err(|error| missing_or(error, id, "read the size of a file"))?;
    if size > max_bytes {
        return Err(GitError::TooLarge {
            id,
            size: size as u64,
            limit: max_bytes as u64,
        });
    }
    let blob = repository
        .find_blob(id.raw())
        .map_err(|error| missing_or(error, id, "read a file"))?;
    Ok(blob.content().to_vec())
}
