//! Moving a reference of a repository on this machine: compare-and-swap under Git's own lock. Where
//! the reference is the branch that somebody has checked out, their files follow, or the update is
//! refused: a branch that moves under a work tree makes the next commit undo what was just done.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::{ErrorCode, Index, Repository, Status};

use crate::commits::{ChangedPath, diff, find_commit, tree_of};
use crate::error::GitError;
use crate::oid::Oid;
use crate::open::open_repository;

/// How an update of a reference went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The reference has the new value.
    Done,
    /// Somebody else changed the reference; nothing was written.
    Moved {
        /// Its value now, none when it does not exist.
        current: Option<Oid>,
    },
    /// The repository declined: a hook, a protected branch, uncommitted changes in a work tree.
    Refused {
        /// Why, cleaned.
        message: String,
    },
}

/// How long another process's lock of a reference is waited for; locks are held for milliseconds.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// Between two attempts at a locked reference.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Moves a reference from `expected` (none: it must not exist) to `new`.
pub(crate) fn compare_and_swap(
    repository: &Repository,
    reference: &str,
    expected: Option<Oid>,
    new: Oid,
    message: &str,
) -> Result<PushOutcome, GitError> {
    // libgit2 takes the zero id for "must not exist", and compares under the lock. Its plain
    // "create" looks before it locks, which lets two creators both succeed.
    let current = expected.map_or(git2::Oid::ZERO_SHA1, Oid::raw);
    let start = Instant::now();
    loop {
        let outcome = repository.reference_matching(reference, new.raw(), true, current, message);
        let Err(error) = outcome else {
            return Ok(PushOutcome::Done);
        };
        match error.code() {
            ErrorCode::Modified | ErrorCode::NotFound | ErrorCode::Exists => {
                return Ok(PushOutcome::Moved {
                    current: read(repository, reference)?,
                });
            }
            ErrorCode::Locked if start.elapsed() < LOCK_WAIT => std::thread::sleep(LOCK_PAUSE),
            _ => return Err(GitError::local(format!("update {reference}"), error)),
        }
    }
}

/// Reads the value of a direct reference, following symbolic ones.
pub(crate) fn read(repository: &Repository, reference: &str) -> Result<Option<Oid>, GitError> {
    match repository.refname_to_id(reference) {
        Ok(id) => Ok(Some(id.into())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(GitError::local(format!("read {reference}"), error)),
    }
}

/// Moves a reference of a repository that people may be working in.
pub(crate) fn update_shared(
    repository: &Repository,
    reference: &str,
    expected: Option<Oid>,
    new: Oid,
) -> Result<PushOutcome, GitError> {
    if let Some(expected) = expected
        && !is_fast_forward(repository, expected, new)?
    {
        return Ok(PushOutcome::Refused {
            message: NOT_FAST_FORWARD.to_owned(),
        });
    }
    let followed = match checkout_of(repository, reference)? {
        None => None,
        Some(checkout) => {
            let changes = changes_between(repository, expected, new)?;
            if let Some(path) = checkout.first_in_the_way(&changes)? {
                return Ok(PushOutcome::Refused {
                    message: format!(
                        "the branch is checked out in {}, and {path} there has changes that are \
                         not committed",
                        checkout.root.display()
                    ),
                });
            }
            Some((checkout, changes))
        }
    };
    let outcome = compare_and_swap(repository, reference, expected, new, "drover: update")?;
    if let (PushOutcome::Done, Some((checkout, changes))) = (&outcome, followed) {
        checkout.follow(&changes)?;
    }
    Ok(outcome)
}

/// Why an update that would drop commits is refused.
pub(crate) const NOT_FAST_FORWARD: &str = "not a fast-forward: it would drop commits";

/// Tells whether `new` keeps everything that is in `old`; an unknown `old` cannot be in it.
pub(crate) fn is_fast_forward(
    repository: &Repository,
    old: Oid,
    new: Oid,
) -> Result<bool, GitError> {
    find_commit(repository, new)?;
    Ok(repository.find_commit(old.raw()).is_ok() && is_descendant(repository, new, old)?)
}

pub(crate) fn is_descendant(
    repository: &Repository,
    commit: Oid,
    ancestor: Oid,
) -> Result<bool, GitError> {
    if commit == ancestor {
        return Ok(true);
    }
    repository
        .graph_descendant_of(commit.raw(), ancestor.raw())
        .map_err(|error| crate::commits::missing_or(error, commit, "compare two commits"))
}

/// A work tree that has a branch checked out, with the handle whose index belongs to it.
struct Checkout {
    repository: Repository,
    root: PathBuf,
}

/// Finds the work tree in which this very branch is checked out: the repository's own, or one that
/// `git worktree add` made.
fn checkout_of(repository: &Repository, reference: &str) -> Result<Option<Checkout>, GitError> {
    let broken = |error| GitError::local("list the work trees", error);
    // The work tree of the handle itself, and of the repository that a linked one belongs to.
    let mut places = vec![repository.path().to_owned()];
    if repository.is_worktree() {
        places.push(repository.commondir().to_owned());
    } else if repository.is_bare() {
        places.clear();
    }
    let linked = repository.worktrees().map_err(broken)?;
    for name in &linked {
        let Ok(Some(name)) = name else { continue };
        let tree = repository.find_worktree(name).map_err(broken)?;
        // Its folder may be gone; then nobody's files are at stake.
        if tree.validate().is_ok() {
            places.push(tree.path().to_owned());
        }
    }
    for place in places {
        let candidate = open_repository(&place)?;
        let Some(root) = candidate.workdir().map(Path::to_owned) else {
            continue;
        };
        let head = candidate
            .find_reference("HEAD")
            .map_err(|error| GitError::local("read HEAD", error))?;
        let target = head
            .symbolic_target()
            .map_err(|error| GitError::local("read HEAD", error))?;
        if target == Some(reference) {
            drop(head);
            return Ok(Some(Checkout {
                repository: candidate,
                root,
            }));
        }
    }
    Ok(None)
}

fn changes_between(
    repository: &Repository,
    old: Option<Oid>,
    new: Oid,
) -> Result<Vec<ChangedPath>, GitError> {
    let old = old.map(|id| find_commit(repository, id)).transpose()?;
    let old = old.as_ref().map(tree_of).transpose()?;
    let new = tree_of(&find_commit(repository, new)?)?;
    diff(repository, old.as_ref(), Some(&new), "")
}

impl Checkout {
    /// Returns the first changed path at which the person's copy is neither the old nor the new
    /// state.
    fn first_in_the_way(&self, changes: &[ChangedPath]) -> Result<Option<String>, GitError> {
        let index = index(&self.repository)?;
        for change in changes {
            let path = &change.path;
            let staged = index.get_path(Path::new(path), 0).map(|e| Oid::from(e.id));
            let disk_known = match content_on_disk(&self.root, path)? {
                OnDisk::Nothing => change.old.is_none() || change.new.is_none(),
                OnDisk::File(id) => Some(id) == change.old || Some(id) == change.new,
                OnDisk::Other => false,
            };
            let staged_known = staged == change.old || staged == change.new;
            // Line endings may be converted on the way to the disk; Git then knows that it is clean.
            let clean = staged == change.old
                && self
                    .repository
                    .status_file(Path::new(path))
                    .is_ok_and(|status| status == Status::CURRENT);
            if !(clean || disk_known && staged_known) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }

    /// Brings files and index to the new state; everything in the way was ruled out before.
    fn follow(&self, changes: &[ChangedPath]) -> Result<(), GitError> {
        let broken = |error| GitError::local("update the index", error);
        let mut index = index(&self.repository)?;
        for change in changes {
            let path = Path::new(&change.path);
            let place = self.root.join(path);
            let written = match change.new {
                Some(id) => {
                    let blob = self.repository.find_blob(id.raw()).map_err(broken)?;
                    write_file(&place, blob.content())
                }
                None => remove_file(&place),
            };
            written.map_err(|source| GitError::Io {
                path: place,
                source,
            })?;
            match change.new {
                Some(_) => index.add_path(path).map_err(broken)?,
                None => index.remove_path(path).map_err(broken)?,
            }
        }
        index.write().map_err(broken)
    }
}

enum OnDisk {
    Nothing,
    File(Oid),
    Other,
}

/// Looks at a path without following a link anywhere in it.
fn content_on_disk(root: &Path, path: &str) -> Result<OnDisk, GitError> {
    let mut place = root.to_owned();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        place.push(part);
        let kind = match fs::symlink_metadata(&place) {
            Ok(facts) => facts.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(OnDisk::Nothing),
            Err(source) => {
                return Err(GitError::Io {
                    path: place,
                    source,
                });
            }
        };
        let fits = if parts.peek().is_some() {
            kind.is_dir()
        } else {
            kind.is_file()
        };
        if !fits {
            return Ok(OnDisk::Other);
        }
    }
    let bytes = fs::read(&place).map_err(|source| GitError::Io {
        path: place,
        source,
    })?;
    Oid::of_blob(&bytes).map(OnDisk::File)
}

fn index(repository: &Repository) -> Result<Index, GitError> {
    let broken = |error| GitError::local("read the index", error);
    let mut index = repository.index().map_err(broken)?;
    index.read(true).map_err(broken)?;
    Ok(index)
}

fn write_file(place: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(place, bytes)
}

fn remove_file(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
