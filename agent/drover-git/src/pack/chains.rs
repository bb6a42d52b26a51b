//! Which objects are versions of one another: what changed from commit to commit at one path. Packed one
//! after the other they are small, whatever their sizes, which is what Git itself sorts by.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use git2::{ErrorCode, ObjectType, Oid, Repository, Tree};

use super::source::Source;
use crate::error::GitError;
use crate::tree::DEPTH_MAX;

/// The versions of one thing, the newest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// What is likely to look like it. None: nothing.
    pub(super) family: Option<Family>,
    pub(super) objects: Vec<Oid>,
}

/// A kind of object, the history that it is of, the folder that it is in, and the end of its name.
pub(super) type Family = (u8, Oid, String, String);

/// Sorts objects into chains: each of them is in one, once. What no commit among them brought is alone.
pub(super) fn chains(
    source: &mut Source<'_>,
    objects: &BTreeSet<Oid>,
) -> Result<Vec<Chain>, GitError> {
    let mut left = objects.clone();
    let mut versions = BTreeMap::new();
    for (commit, history) in commits(source.repository()?, objects)? {
        let mut sorter = Sorter {
            repository: source.repository()?,
            history,
            left: &mut left,
            versions: &mut versions,
            read: 0,
        };
        sorter.commit(commit)?;
        let read = sorter.read;
        source.took(read);
    }
    let known = versions.into_iter().map(|(key, mut objects)| {
        objects.reverse();
        let (kind, history, path) = key;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let end = name.rsplit_once('.').map_or("", |(_, end)| end);
        Chain {
            family: Some((kind, history, folder.to_owned(), end.to_owned())),
            objects,
        }
    });
    let alone = left.into_iter().map(|id| Chain {
        family: None,
        objects: vec![id],
    });
    Ok(known.chain(alone).collect())
}

fn broken(error: git2::Error) -> GitError {
    GitError::local("sort the objects of packs", error)
}

/// Returns the commits among objects, each after its first parent, with the oldest commit that they come
/// from: branches that have nothing in common use the same paths for different things.
fn commits(repository: &Repository, objects: &BTreeSet<Oid>) -> Result<Vec<(Oid, Oid)>, GitError> {
    let odb = repository.odb().map_err(broken)?;
    let mut parents: HashMap<Oid, Option<Oid>> = HashMap::new();
    let mut by_time = Vec::new();
    for id in objects {
        let (_, kind) = odb.read_header(*id).map_err(broken)?;
        if kind == ObjectType::Commit {
            let commit = repository.find_commit(*id).map_err(broken)?;
            let parent = commit.parent_ids().next();
            parents.insert(*id, parent);
            by_time.push((commit.time().seconds(), *id));
        }
    }
    by_time.sort_unstable();
    let mut order = Vec::with_capacity(by_time.len());
    let mut histories: HashMap<Oid, Oid> = HashMap::new();
    for (_, id) in by_time {
        // Times may lie: a commit goes after those that it stands on.
        let mut line = Vec::new();
        let (mut oldest, mut next) = (id, Some(id));
        while let Some(id) = next {
            oldest = id;
            next = parents.remove(&id).and_then(|parent| {
                line.push(id);
                parent
            });
        }
        let history = histories.get(&oldest).copied().unwrap_or(oldest);
        for id in line.into_iter().rev() {
            histories.insert(id, history);
            order.push((id, history));
        }
    }
    Ok(order)
}

/// What an entry of a folder takes: its id, its mode and a name.
const ENTRY_BYTES: usize = 40;

/// The order of kinds in a pack, as Git has it.
const COMMIT: u8 = 0;
const TREE: u8 = 1;
const BLOB: u8 = 2;

/// By kind, history and path, the oldest first.
type Versions = BTreeMap<(u8, Oid, String), Vec<Oid>>;

struct Sorter<'r> {
    repository: &'r Repository,
    /// The history of the commit that is looked at.
    history: Oid,
    /// What is in no chain yet.
    left: &'r mut BTreeSet<Oid>,
    versions: &'r mut Versions,
    /// Bytes of folders that were read, about.
    read: usize,
}

impl<'r> Sorter<'r> {
    fn commit(&mut self, id: Oid) -> Result<(), GitError> {
        let commit = self.repository.find_commit(id).map_err(broken)?;
        let tree = commit.tree().map_err(broken)?;
        let before = match commit.parent_ids().next() {
            Some(parent) => self.tree_of(parent)?,
            None => None,
        };
        let mut about = String::new();
        self.folder(before.as_ref(), &tree, "", &mut about)?;
        self.place(COMMIT, &about, id);
        Ok(())
    }

    /// A history may be cut off.
    fn tree_of(&self, commit: Oid) -> Result<Option<Tree<'r>>, GitError> {
        match self.repository.find_commit(commit) {
            Ok(commit) => commit.tree().map(Some).map_err(broken),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Puts an object behind the earlier ones of its path, unless it is somewhere already.
    fn place(&mut self, kind: u8, path: &str, id: Oid) -> bool {
        let new = self.left.remove(&id);
        if new {
            let key = (kind, self.history, path.to_owned());
            self.versions.entry(key).or_default().push(id);
        }
        new
    }

    /// Places a folder and what is new in it. `about` becomes the first of the files that is in a folder:
    /// commits that tell of the same file look alike.
    fn folder(
        &mut self,
        before: Option<&Tree<'_>>,
        tree: &Tree<'_>,
        path: &str,
        about: &mut String,
    ) -> Result<(), GitError> {
        let deep = path.matches('/').count() >= DEPTH_MAX;
        // In a folder that is in a chain, or in another pack, is nothing that is in none.
        if !self.place(TREE, path, tree.id()) || deep {
            return Ok(());
        }
        self.read += 2 * ENTRY_BYTES * tree.len();
        for (position, entry) in tree.iter().enumerate() {
            // Nearly always the same names are at the same positions.
            let same = before.and_then(|before| before.get(position));
            let same = same.filter(|other| other.name_bytes() == entry.name_bytes());
            let other = match (same, before, entry.name()) {
                (Some(same), _, _) => Some(same.to_owned()),
                (None, Some(before), Ok(name)) => {
                    before.get_name(name).map(|found| found.to_owned())
                }
                (None, _, _) => None,
            };
            let other = other.filter(|other| other.kind() == entry.kind());
            if other.as_ref().is_some_and(|other| other.id() == entry.id()) {
                continue;
            }
            let name = String::from_utf8_lossy(entry.name_bytes());
            let below = match path {
                "" => name.into_owned(),
                path => format!("{path}/{name}"),
            };
            match entry.kind() {
                Some(ObjectType::Tree) => {
                    let find = |id| self.repository.find_tree(id).map_err(broken);
                    let other = other.map(|other| find(other.id())).transpose()?;
                    let tree = find(entry.id())?;
                    self.folder(other.as_ref(), &tree, &below, about)?;
                }
                Some(ObjectType::Blob) => {
                    self.place(BLOB, &below, entry.id());
                    if !about.contains('/') && (about.is_empty() || below.contains('/')) {
                        *about = below;
                    }
                }
                // A submodule's commit is not here.
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
