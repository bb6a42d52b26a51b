//! Reading commits: their facts, the history of a path, and the difference of two trees.

use std::collections::BTreeMap;
use std::fmt;

use git2::{Commit, ErrorCode, Repository, Sort, Tree};
use jiff::Timestamp;

use crate::error::GitError;
use crate::oid::Oid;
use crate::tree;

/// A name and an address, as commits carry them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name of a person or an agent.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

/// The facts of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// The commit itself.
    pub id: Oid,
    /// Its root tree: equal trees have equal content.
    pub tree: Oid,
    /// Its parents, the first being the branch it was made on.
    pub parents: Vec<Oid>,
    /// Who wrote the change.
    pub author: Signature,
    /// When the change was committed.
    pub time: Timestamp,
    /// The first line of the message.
    pub subject: String,
    /// The whole message.
    pub message: String,
    /// The trailers of the last paragraph, in order.
    pub trailers: Vec<(String, String)>,
}

impl CommitInfo {
    /// Returns the first trailer of this name, in any letter case.
    pub fn trailer(&self, key: &str) -> Option<&str> {
        self.trailers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }
}

/// A commit, and the files that it wrote, by path.
pub type CommitFiles = (Oid, Vec<(String, Oid)>);

/// A commit, who wrote it, and what it made of the documents of its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitChanges {
    /// The commit.
    pub id: Oid,
    /// Who wrote it: its author, and whoever it names in `Co-authored-by`, each as `Name <address>`.
    pub authors: Vec<String>,
    /// For each parent the documents and ignore files that differ from it; for a commit without parents all of them. A merge in
    /// which every path is as in one of its parents has nothing here.
    /// None: to tell that takes more than is looked at, for it or for a newer commit.
    pub against: Option<Vec<Vec<ChangedPath>>>,
}

/// What leads to a commit and not to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The commits, newest first.
    pub commits: Vec<CommitChanges>,
    /// Whether these are all. Otherwise there were more than the limit, or the history is cut off.
    pub complete: bool,
}

/// One path that differs between two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// The path from the repository's root.
    pub path: String,
    /// The file's object before, or none when the path is new.
    pub old: Option<Oid>,
    /// The file's object after, or none when the path was removed.
    pub new: Option<Oid>,
}

pub(crate) fn find_commit(repository: &Repository, id: Oid) -> Result<Commit<'_>, GitError> {
    repository
        .find_commit(id.raw())
        .map_err(|error| missing_or(error, id, "read a commit"))
}

/// Tells a missing object from other failures.
pub(crate) fn missing_or(error: git2::Error, id: Oid, attempted: &str) -> GitError {
    match error.code() {
        ErrorCode::NotFound => GitError::MissingObject { id },
        _ => GitError::local(format!("{attempted} ({id})"), error),
    }
}

pub(crate) fn info(commit: &Commit<'_>) -> CommitInfo {
    let author = commit.author();
    let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
    CommitInfo {
        id: commit.id().into(),
        tree: commit.tree_id().into(),
        parents: commit.parent_ids().map(Oid::from).collect(),
        author: Signature {
            name: String::from_utf8_lossy(author.name_bytes()).into_owned(),
            email: String::from_utf8_lossy(author.email_bytes()).into_owned(),
        },
        time: timestamp(commit.time().seconds()),
        subject: message.lines().next().unwrap_or_default().to_owned(),
        trailers: trailers(&message),
        message,
    }
}

/// Clamps the seconds of a commit, which anybody may have written, into the range of times.
fn timestamp(seconds: i64) -> Timestamp {
    let seconds = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns the trailers of a message, as Git reads them: the keys and values of its last paragraph, in order.
pub fn trailers(message: &str) -> Vec<(String, String)> {
    let Ok(found) = git2::message_trailers_strs(message) else {
        return Vec::new();
    };
    // libgit2 finds a trailer without a key in a line that begins with a colon.
    let keys = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_key = |key: &str| !key.is_empty() && key.chars().all(keys);
    found
        .iter()
        .filter(|(key, _)| is_key(key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Returns commits newest first; with a path only those that change it against their first parent.
pub(crate) fn log(
    repository: &Repository,
    from: Oid,
    path: Option<&str>,
    limit: usize,
) -> Result<Vec<CommitInfo>, GitError> {
    find_commit(repository, from)?;
    let broken = |error| GitError::local(format!("walk the history of {from}"), error);
    let mut walk = repository.revwalk().map_err(broken)?;
    // Topological order keeps parents behind their children when clocks disagree.
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)
        .map_err(broken)?;
    walk.push(from.raw()).map_err(broken)?;
    let mut found = Vec::new();
    for id in walk {
        if found.len() >= limit {
            break;
        }
        let commit = find_commit(repository, id.map_err(broken)?.into())?;
        if let Some(path) = path
            && !changes(&commit, path)?
        {
            continue;
        }
        found.push(info(&commit));
    }
    Ok(found)
}

/// Returns the commits that lead to `to` and not to `from`, newest first, each with the documents below `root` that it
/// wrote: those that its first parent has not, or not so. None: there are more than `limit` commits, or more in them than
/// one listing may have.
pub(crate) fn written_since(
    repository: &Repository,
    (from, to): (Oid, Oid),
    root: &str,
    limit: usize,
) -> Result<Option<Vec<CommitFiles>>, GitError> {
    let broken = |error| GitError::local(format!("walk the history of {to}"), error);
    let mut walk = repository.revwalk().map_err(broken)?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)
        .map_err(broken)?;
    walk.push(to.raw()).map_err(broken)?;
    walk.hide(from.raw()).map_err(broken)?;
    let mut found = Vec::new();
    let mut entries = tree::ENTRIES_MAX;
    for id in walk {
        if found.len() >= limit {
            return Ok(None);
        }
        let id = id.map_err(broken)?.into();
        let commit = find_commit(repository, id)?;
        let before = commit.parents().next();
        let before = before.as_ref().map(tree_of).transpose()?;
        let trees = (before, tree_of(&commit)?);
        let Some(files) = tree::written(repository, trees, root, &mut entries)? else {
            return Ok(None);
        };
        found.push((id, files));
    }
    Ok(Some(found))
}

/// Most entries of folders that are looked at to find what commits changed: some seconds. A thousand commits in a folder of
/// five thousand files are as many.
const LOOKED_AT_MAX: usize = 50 * tree::ENTRIES_MAX;

/// What is left of the limits on what is looked at and on what is found.
struct Left {
    /// Entries of folders, all commits together. One commit may take as many as a listing.
    entries: usize,
    /// Documents that differ.
    documents: usize,
}

impl Left {
    /// Returns what the newer of two trees has. None: that takes more than is left.
    fn written<'r>(
        &mut self,
        repository: &'r Repository,
        trees: (Option<Tree<'r>>, Tree<'r>),
        root: &str,
    ) -> Result<Option<Vec<(String, Oid)>>, GitError> {
        let given = self.entries.min(tree::ENTRIES_MAX);
        let mut entries = given;
        let written = tree::written(repository, trees, root, &mut entries)?;
        self.entries -= given - entries;
        let found = written.as_ref().map_or(usize::MAX, Vec::len);
        let Some(left) = self.documents.checked_sub(found) else {
            (self.entries, self.documents) = (0, 0);
            return Ok(None);
        };
        self.documents = left;
        Ok(written)
    }
}

/// Returns the commits that lead to `to` and not to `from`, newest first, with what each changed below `root`. At most
/// `limit` of them.
pub(crate) fn changes_since(
    repository: &Repository,
    (from, to): (Option<Oid>, Oid),
    root: &str,
    limit: usize,
) -> Result<Changes, GitError> {
    let broken = |error| GitError::local(format!("walk the history of {to}"), error);
    let mut walk = repository.revwalk().map_err(broken)?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)
        .map_err(broken)?;
    walk.push(to.raw()).map_err(broken)?;
    if let Some(from) = from {
        find_commit(repository, from)?;
        walk.hide(from.raw()).map_err(broken)?;
    }
    let mut commits = Vec::new();
    let mut left = Left {
        entries: LOOKED_AT_MAX,
        documents: tree::ENTRIES_MAX,
    };
    for id in walk {
        if commits.len() >= limit {
            return Ok(Changes {
                commits,
                complete: false,
            });
        }
        let commit = find_commit(repository, id.map_err(broken)?.into())?;
        commits.push(CommitChanges {
            id: commit.id().into(),
            authors: authors(&commit),
            against: against_parents(repository, &commit, root, &mut left)?,
        });
    }
    Ok(Changes {
        commits,
        // Where a history was cut off, nobody knows what came before.
        complete: !repository.is_shallow(),
    })
}

/// Returns who wrote a commit.
fn authors(commit: &Commit<'_>) -> Vec<String> {
    let info = info(commit);
    let own = info.author.to_string();
    let others = info.trailers.into_iter();
    let others = others.filter(|(key, _)| key.eq_ignore_ascii_case("Co-authored-by"));
    [own]
        .into_iter()
        .chain(others.map(|(_, who)| who))
        .collect()
}

/// Returns the documents that differ between two trees, sorted by path. None: that takes more than is left, whichever of
/// the two is the large one.
fn documents_between(
    repository: &Repository,
    (old, new): (Option<&Tree<'_>>, &Tree<'_>),
    root: &str,
    left: &mut Left,
) -> Result<Option<Vec<ChangedPath>>, GitError> {
    let mut found: BTreeMap<String, (Option<Oid>, Option<Oid>)> = BTreeMap::new();
    let Some(after) = left.written(repository, (old.cloned(), new.clone()), root)? else {
        return Ok(None);
    };
    for (path, id) in after {
        found.entry(path).or_default().1 = Some(id);
    }
    if let Some(old) = old {
        let both = (Some(new.clone()), old.clone());
        let Some(before) = left.written(repository, both, root)? else {
            return Ok(None);
        };
        for (path, id) in before {
            found.entry(path).or_default().0 = Some(id);
        }
    }
    let root = root.trim_matches('/');
    let path = |below: String| match root {
        "" => below,
        root => format!("{root}/{below}"),
    };
    let found = found.into_iter();
    let found = found.map(|(below, (old, new))| ChangedPath {
        path: path(below),
        old,
        new,
    });
    Ok(Some(found.collect()))
}

/// Returns, for each parent, the documents that differ from it. None: that takes more than is left.
fn against_parents(
    repository: &Repository,
    commit: &Commit<'_>,
    root: &str,
    left: &mut Left,
) -> Result<Option<Vec<Vec<ChangedPath>>>, GitError> {
    if left.entries == 0 {
        return Ok(None);
    }
    let tree = tree_of(commit)?;
    let parents = commit.parents().map(|parent| tree_of(&parent).map(Some));
    let mut trees = parents.collect::<Result<Vec<_>, _>>()?;
    if trees.is_empty() {
        trees.push(None);
    }
    let mut against = Vec::new();
    for parent in &trees {
        let Some(changed) = documents_between(repository, (parent.as_ref(), &tree), root, left)?
        else {
            return Ok(None);
        };
        against.push(changed);
    }
    let in_all = |path: &str| {
        let mut rest = against.iter().skip(1);
        rest.all(|changed| {
            changed
                .binary_search_by(|one| one.path.as_str().cmp(path))
                .is_ok()
        })
    };
    if !against[0].iter().any(|changed| in_all(&changed.path)) {
        return Ok(Some(Vec::new()));
    }
    Ok(Some(against))
}

/// Returns a commit and its ancestors by first parents, newest first.
pub(crate) fn first_parents(repository: &Repository, from: Oid) -> Result<Vec<Oid>, GitError> {
    let mut found = vec![from];
    let mut commit = find_commit(repository, from)?;
    while let Some(parent) = commit.parent_ids().next() {
        found.push(parent.into());
        commit = find_commit(repository, parent.into())?;
    }
    Ok(found)
}

fn changes(commit: &Commit<'_>, path: &str) -> Result<bool, GitError> {
    let before = match commit.parents().next() {
        Some(parent) => entry_at(&parent, path)?,
        None => None,
    };
    Ok(entry_at(commit, path)? != before)
}

/// Returns mode and object of what stands at a path, file or folder.
fn entry_at(commit: &Commit<'_>, path: &str) -> Result<Option<(i32, Oid)>, GitError> {
    let tree = tree_of(commit)?;
    match tree.get_path(std::path::Path::new(path)) {
        Ok(entry) => Ok(Some((entry.filemode(), entry.id().into()))),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(GitError::local(format!("look up {path:?}"), error)),
    }
}

pub(crate) fn tree_of<'r>(commit: &Commit<'r>) -> Result<Tree<'r>, GitError> {
    commit
        .tree()
        .map_err(|error| missing_or(error, commit.tree_id().into(), "read a tree"))
}

/// Returns the differing files of two trees below `root`, sorted by path; equal subtrees are skipped.
pub(crate) fn diff(
    repository: &Repository,
    old: Option<&Tree<'_>>,
    new: Option<&Tree<'_>>,
    root: &str,
) -> Result<Vec<ChangedPath>, GitError> {
    let broken = |error| GitError::local("compare two trees", error);
    let mut options = git2::DiffOptions::new();
    options.ignore_submodules(false).include_typechange(true);
    let root = root.trim_matches('/');
    if !root.is_empty() {
        options.disable_pathspec_match(true).pathspec(root);
    }
    let diff = repository
        .diff_tree_to_tree(old, new, Some(&mut options))
        .map_err(broken)?;
    let mut found = Vec::new();
    for delta in diff.deltas() {
        let (before, after) = (delta.old_file(), delta.new_file());
        let path = after.path_bytes().or_else(|| before.path_bytes());
        found.push(ChangedPath {
            path: String::from_utf8_lossy(path.unwrap_or_default()).into_owned(),
            old: before.exists().then(|| before.id().into()),
            new: after.exists().then(|| after.id().into()),
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}
