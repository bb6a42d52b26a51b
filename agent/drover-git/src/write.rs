//! Building commits in memory from edits of paths, without a work tree. New objects go through one
//! mempack and land on disk as one pack per call, complete before any reference names them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use git2::{ObjectType, Odb, Repository, Tree, TreeBuilder};
use jiff::Timestamp;

use crate::commits::{Signature, find_commit, missing_or, tree_of};
use crate::error::GitError;
use crate::oid::Oid;
use crate::open::open_repository;
use crate::pack::{Source, make_durable, store};
use crate::signing::CommitKey;
use crate::tree::{DEPTH_MAX, Kind};

#[cfg(test)]
mod tests;

/// Above every backend on disk, so that new objects are written to memory first.
const MEMPACK_PRIORITY: i32 = 1000;

/// The longest path that is written; Linux cannot check out a longer one.
const PATH_BYTES_MAX: usize = 4096;

/// The longest name in a path, as file systems have it.
const NAME_BYTES_MAX: usize = 255;

const FILE_MODE: i32 = 0o100_644;
const FOLDER_MODE: i32 = 0o040_000;

/// One path and what shall stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The path from the repository's root.
    pub path: String,
    /// The new content, or none to remove the file.
    pub content: Option<Vec<u8>>,
}

impl Edit {
    /// Writes a file.
    pub fn put(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content: Some(content.into()),
        }
    }

    /// Removes a file; nothing happens when it is not there.
    pub fn remove(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            content: None,
        }
    }
}

/// What a commit says besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitMeta {
    /// Subject, blank line, body, blank line, trailers.
    pub message: String,
    /// Author and committer.
    pub author: Signature,
    /// When; seconds are kept.
    pub time: Timestamp,
    /// Who signs the commit. None: nobody.
    pub signer: Option<Arc<CommitKey>>,
}

/// An edit whose content may already be an object of the repository.
pub(crate) struct Change<'c> {
    pub(crate) path: &'c str,
    pub(crate) content: Content<'c>,
}

#[derive(Clone, Copy)]
pub(crate) enum Content<'c> {
    Bytes(&'c [u8]),
    Existing(Oid),
    Removed,
}

impl<'c> From<&'c Edit> for Change<'c> {
    fn from(edit: &'c Edit) -> Self {
        Self {
            path: &edit.path,
            content: edit
                .content
                .as_deref()
                .map_or(Content::Removed, Content::Bytes),
        }
    }
}

/// Runs `work` with a writer on the repository at `dir`; what it wrote is on disk, in one pack, when
/// this returns, and not at all when it fails.
pub(crate) fn with_writer<T>(
    dir: &Path,
    work: impl FnOnce(&mut ObjectWriter<'_>) -> Result<T, GitError>,
) -> Result<T, GitError> {
    // A handle of its own: after a failure nothing half-written stays in a shared object cache.
    let repository = open_repository(dir)?;
    let broken = |error| GitError::local("open the object database", error);
    let odb = repository.odb().map_err(broken)?;
    let _mempack = odb
        .add_new_mempack_backend(MEMPACK_PRIORITY)
        .map_err(broken)?;
    let mut writer = ObjectWriter {
        repository: &repository,
        odb: &odb,
        created: Vec::new(),
    };
    let result = work(&mut writer)?;
    let created = std::mem::take(&mut writer.created);
    let created = created.into_iter().collect::<BTreeSet<_>>();
    if !created.is_empty() {
        let pack = store(Source::Open(&repository), &created)?;
        // In a person's repository their settings say how much this is worth.
        let config = repository.config().map_err(broken)?;
        if config.get_bool("core.fsyncObjectFiles").unwrap_or(false) {
            make_durable(&pack)?;
        }
    }
    Ok(result)
}

/// Writes objects of one or more commits.
pub(crate) struct ObjectWriter<'r> {
    pub(crate) repository: &'r Repository,
    odb: &'r Odb<'r>,
    created: Vec<git2::Oid>,
}

/// Edits by path component, so that each folder is rewritten once.
enum Node<'c> {
    Leaf(Content<'c>),
    Folder(BTreeMap<&'c str, Node<'c>>),
}

impl ObjectWriter<'_> {
    /// Writes a commit on `base`, unless its tree would be the same.
    pub(crate) fn commit(
        &mut self,
        base: Option<Oid>,
        changes: &[Change<'_>],
        meta: &CommitMeta,
    ) -> Result<Option<Oid>, GitError> {
        let parent = base
            .map(|id| find_commit(self.repository, id))
            .transpose()?;
        let before = parent.as_ref().map(tree_of).transpose()?;
        let edits = by_component(changes)?;
        let tree = match self.folder(before.as_ref(), &edits, "")? {
            Some(tree) => tree,
            None if before.is_none() => return Ok(None),
            None => self.empty_tree()?,
        };
        if before.is_some_and(|before| before.id() == tree) {
            return Ok(None);
        }
        let broken = |error| GitError::local("write a commit", error);
        let author = signature(&meta.author, meta.time)?;
        let tree = self.repository.find_tree(tree).map_err(broken)?;
        let message = ended(&meta.message);
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        let bytes = self
            .repository
            .commit_create_buffer(&author, &author, &message, &tree, &parents)
            .map_err(broken)?;
        let signed = meta.signer.as_ref().map(|key| key.sign_commit(&bytes));
        let signed = signed.transpose()?;
        let bytes = signed.as_deref().unwrap_or(&bytes);
        let id = self.odb.write(ObjectType::Commit, bytes).map_err(broken)?;
        self.created.push(id);
        Ok(Some(id.into()))
    }

    /// Applies edits to a folder; none when nothing is left in it.
    fn folder(
        &mut self,
        tree: Option<&Tree<'_>>,
        edits: &BTreeMap<&str, Node<'_>>,
        prefix: &str,
    ) -> Result<Option<git2::Oid>, GitError> {
        let broken = |error| GitError::local(format!("edit the folder {prefix:?}"), error);
        let mut builder = self.repository.treebuilder(tree).map_err(broken)?;
        for (name, node) in edits {
            let path = if prefix.is_empty() {
                (*name).to_owned()
            } else {
                format!("{prefix}/{name}")
            };
            let existing = existing(&builder, name).map_err(broken)?;
            let entry = match node {
                Node::Leaf(content) => self.leaf(existing, *content, &path)?,
                Node::Folder(below) => self.below(existing, below, &path)?,
            };
            match entry {
                Some((id, mode)) => {
                    builder.insert(name, id, mode).map_err(broken)?;
                }
                None if existing.is_some() => builder.remove(name).map_err(broken)?,
                None => {}
            }
        }
        if builder.is_empty() {
            return Ok(None);
        }
        let id = builder.write().map_err(broken)?;
        if tree.is_none_or(|before| before.id() != id) {
            self.created.push(id);
        }
        Ok(Some(id))
    }

    fn leaf(
        &mut self,
        existing: Option<(git2::Oid, i32)>,
        content: Content<'_>,
        path: &str,
    ) -> Result<Option<(git2::Oid, i32)>, GitError> {
        let mode = match existing {
            // A link is not replaced either: somebody put it there for a reason we do not know.
            Some((_, mode)) if Kind::of(mode) != Kind::File => {
                return Err(GitError::PathConflict {
                    path: path.to_owned(),
                });
            }
            Some((_, mode)) => mode,
            None => FILE_MODE,
        };
        match content {
            Content::Removed => Ok(None),
            Content::Existing(id) => Ok(Some((id.raw(), mode))),
            Content::Bytes(bytes) => Ok(Some((self.blob(bytes)?, mode))),
        }
    }

    fn below(
        &mut self,
        existing: Option<(git2::Oid, i32)>,
        edits: &BTreeMap<&str, Node<'_>>,
        path: &str,
    ) -> Result<Option<(git2::Oid, i32)>, GitError> {
        let tree = match existing {
            Some((id, mode)) if Kind::of(mode) == Kind::Folder => {
                let tree = self.repository.find_tree(id);
                Some(tree.map_err(|error| missing_or(error, id.into(), "read a tree"))?)
            }
            Some(_) => {
                return Err(GitError::PathConflict {
                    path: path.to_owned(),
                });
            }
            None => None,
        };
        let id = self.folder(tree.as_ref(), edits, path)?;
        Ok(id.map(|id| (id, FOLDER_MODE)))
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<git2::Oid, GitError> {
        let broken = |error| GitError::local("write a file", error);
        let id = Oid::of_blob(bytes)?.raw();
        if !self.odb.exists(id) {
            self.odb.write(ObjectType::Blob, bytes).map_err(broken)?;
            self.created.push(id);
        }
        Ok(id)
    }

    fn empty_tree(&mut self) -> Result<git2::Oid, GitError> {
        let broken = |error| GitError::local("write an empty folder", error);
        let builder = self.repository.treebuilder(None).map_err(broken)?;
        let id = builder.write().map_err(broken)?;
        self.created.push(id);
        Ok(id)
    }
}

fn existing(
    builder: &TreeBuilder<'_>,
    name: &str,
) -> Result<Option<(git2::Oid, i32)>, git2::Error> {
    let entry = builder.get(name)?;
    Ok(entry.map(|entry| (entry.id(), entry.filemode())))
}

/// Sorts edits into folders; a later edit of a path wins.
fn by_component<'c>(changes: &[Change<'c>]) -> Result<BTreeMap<&'c str, Node<'c>>, GitError> {
    let mut root = BTreeMap::new();
    for change in changes {
        check_path(change.path)?;
        let conflict = || GitError::PathConflict {
            path: change.path.to_owned(),
        };
        let (folders, name) = match change.path.rsplit_once('/') {
            Some((folders, name)) => (Some(folders), name),
            None => (None, change.path),
        };
        let mut folder = &mut root;
        for part in folders.into_iter().flat_map(|folders| folders.split('/')) {
            let node = folder
                .entry(part)
                .or_insert_with(|| Node::Folder(BTreeMap::new()));
            folder = match node {
                Node::Folder(below) => below,
                Node::Leaf(_) => return Err(conflict()),
            };
        }
        if let Some(Node::Folder(_)) = folder.insert(name, Node::Leaf(change.content)) {
            return Err(conflict());
        }
    }
    Ok(root)
}

/// Refuses paths that would leave the tree, reach Git's own folder, or confuse a reader.
pub(crate) fn check_path(path: &str) -> Result<(), GitError> {
    let parts = path.split('/');
    let fine = path.len() <= PATH_BYTES_MAX
        && path.matches('/').count() <= DEPTH_MAX
        && parts.into_iter().all(|part| {
            !matches!(part, "" | "." | "..")
                && !part.eq_ignore_ascii_case(".git")
                && part.len() <= NAME_BYTES_MAX
                && !part.chars().any(|c| c.is_control() || c == '\\')
        });
    if fine {
        Ok(())
    } else {
        Err(GitError::BadPath {
            path: path.to_owned(),
        })
    }
}

/// Git's signature; characters that would end a field early are left out.
pub(crate) fn signature(
    who: &Signature,
    time: Timestamp,
) -> Result<git2::Signature<'static>, GitError> {
    let clean = |text: &str, otherwise: &str| -> String {
        let text: String = text
            .chars()
            .filter(|c| !c.is_control() && !matches!(c, '<' | '>'))
            .collect();
        match text.trim() {
            "" => otherwise.to_owned(),
            text => text.to_owned(),
        }
    };
    git2::Signature::new(
        &clean(&who.name, "unknown"),
        &clean(&who.email, "unknown"),
        &git2::Time::new(time.as_second(), 0),
    )
    .map_err(|error| GitError::local("write a signature", error))
}

/// A message ends with a line break, and a NUL would cut it off.
fn ended(message: &str) -> String {
    let mut text = message.replace('\0', "");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
