//! Listing the documents of a commit, straight from its tree: nothing is checked out, links and
//! submodules are never followed, and everything has a limit.

use std::fmt;

use git2::{ObjectType, Odb, Repository, Tree};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::commits::missing_or;
use crate::error::GitError;
use crate::oid::Oid;

#[cfg(test)]
mod tests;

/// Documents in one listing: twenty times the thousand groups that one agent serves well.
pub const FILES_MAX: usize = 20_000;

/// Folders above a document; people use three or four.
pub const DEPTH_MAX: usize = 32;

/// Bytes of one document; hosts advise against objects above this.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of all documents of one listing.
pub const TOTAL_BYTES_MAX: u64 = 64 << 20;

/// Entries that are looked at, documents or not; a repository with more belongs behind a `path`.
pub const ENTRIES_MAX: usize = 200_000;

/// Refusals that are reported one by one.
pub const REFUSED_MAX: usize = 100;

/// The name of the file with ignore rules.
pub const IGNORE_FILE: &str = ".droverignore";

/// Which paths of a repository are not drover's: gitignore syntax.
///
/// Hidden files and folders (`.github/`) are ignored unless a rule brings them back (`!.fleet/`).
#[derive(Debug, Clone)]
pub struct IgnoreRules {
    matcher: Gitignore,
}

impl IgnoreRules {
    /// Returns the rules that hold without a `.droverignore`.
    pub fn defaults() -> Self {
        Self {
            matcher: build(&[]).0,
        }
    }

    /// Parses the content of a `.droverignore`; lines that do not parse are returned by number, from
    /// one, with the reason, and have no effect.
    pub fn parse(bytes: &[u8]) -> (Self, Vec<(usize, String)>) {
        let (matcher, mistakes) = build(bytes);
        (Self { matcher }, mistakes)
    }

    /// Tells whether a path, from the configuration's root, is ignored by itself; a folder that is
    /// ignored takes everything in it along.
    pub fn ignores(&self, path: &str, is_folder: bool) -> bool {
        self.matcher.matched(path, is_folder).is_ignore()
    }
}

impl Default for IgnoreRules {
    fn default() -> Self {
        Self::defaults()
    }
}

/// Which paths somebody means, from the configuration's root: patterns in gitignore syntax, where a folder takes
/// everything in it along and the last pattern that matches decides.
#[derive(Debug, Clone)]
pub struct PathPatterns {
    matcher: Gitignore,
}

impl PathPatterns {
    /// Parses patterns.
    ///
    /// # Errors
    ///
    /// The first pattern that does not parse, and why; and a list that means nothing.
    pub fn parse(patterns: &[String]) -> Result<Self, (String, String)> {
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            // Of one pattern a person expects no comment.
            if pattern.trim().is_empty() || pattern.starts_with('#') {
                return Err((pattern.clone(), "it matches nothing".to_owned()));
            }
            let added = builder.add_line(None, pattern);
            added.map_err(|error| (pattern.clone(), error.to_string()))?;
        }
        let matcher = builder.build();
        let matcher = matcher.map_err(|error| (patterns.join(" "), error.to_string()))?;
        if matcher.num_ignores() == 0 {
            return Err((patterns.join(" "), "they match nothing".to_owned()));
        }
        Ok(Self { matcher })
    }

    /// Tells whether a file's path is meant.
    pub fn contains(&self, path: &str) -> bool {
        let matched = self.matcher.matched_path_or_any_parents(path, false);
        matched.is_ignore()
    }
}

fn build(bytes: &[u8]) -> (Gitignore, Vec<(usize, String)>) {
    let mut builder = GitignoreBuilder::new("");
    // A person who forgot a bracket wants to know, not to ignore a file with a bracket in its name.
    builder.allow_unclosed_class(false);
    let mut mistakes = Vec::new();
    for rule in [".*", "!.droverignore"] {
        builder
            .add_line(None, rule)
            .expect("the built-in rules parse");
    }
    let text = String::from_utf8_lossy(bytes);
    for (index, line) in text.lines().enumerate() {
        if let Err(error) = builder.add_line(None, line) {
            mistakes.push((index + 1, error.to_string()));
        }
    }
    match builder.build() {
        Ok(matcher) => (matcher, mistakes),
        Err(error) => {
            mistakes.push((1, error.to_string()));
            (Gitignore::empty(), mistakes)
        }
    }
}

/// One document of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The path from the listing's root.
    pub path: String,
    /// The content's id.
    pub oid: Oid,
    /// The content's size in bytes.
    pub size: u64,
}

/// A path that was left out although its name asked for being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The path from the listing's root.
    pub path: String,
    /// Why it was left out.
    pub why: RefusedWhy,
}

/// Why a path was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedWhy {
    /// A symbolic link, which is never followed.
    Symlink,
    /// Another repository, which is never entered.
    Submodule,
    /// More than [`FILE_BYTES_MAX`].
    TooLarge,
    /// More than [`DEPTH_MAX`] folders deep.
    PathTooDeep,
    /// A name that is not UTF-8, or contains control characters or a backslash.
    BadName,
    /// A name that stands for another place in a file system: `.`, `..`, `.git`, or one with a slash in it. No
    /// porcelain of Git writes one.
    NameLeadsAway,
    /// An entry that says it is a file, and is a folder or a commit.
    NotAFile,
    /// Beyond [`FILES_MAX`], [`ENTRIES_MAX`] or [`TOTAL_BYTES_MAX`]: the listing is incomplete.
    TooMany,
}

impl fmt::Display for RefusedWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symlink => "symbolic links are not followed",
            Self::Submodule => "submodules are not entered",
            Self::TooLarge => "it is larger than 1 MiB",
            Self::PathTooDeep => "it is more than 32 folders deep",
            Self::BadName => "its name is not plain UTF-8",
            Self::NameLeadsAway => "its name would lead to another place",
            Self::NotAFile => "it is no file",
            Self::TooMany => "the repository has more files than the limits allow",
        })
    }
}

/// The documents of a commit below a root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeListing {
    /// The documents (`*.yaml`, `*.yml`) and ignore files, sorted by path.
    pub files: Vec<FileEntry>,
    /// What was left out, in the order it was met; at most [`REFUSED_MAX`] plus a last `TooMany`.
    pub refused: Vec<Refused>,
    /// Whether the root exists and is a folder. Without it, "no files" means nothing.
    pub root_found: bool,
}

impl TreeListing {
    /// Tells whether everything was seen; a truncated listing must never look like a deletion.
    pub fn is_complete(&self) -> bool {
        self.root_found && !self.refused.iter().any(|r| r.why == RefusedWhy::TooMany)
    }
}

/// Lists the documents of `tree` below `root`.
pub(crate) fn list(
    repository: &Repository,
    tree: Tree<'_>,
    root: &str,
    ignore: &IgnoreRules,
) -> Result<TreeListing, GitError> {
    let odb = repository
        .odb()
        .map_err(|error| GitError::local("open the object database", error))?;
    let mut listing = TreeListing::default();
    let Some(start) = descend(repository, tree, root, &mut listing)? else {
        return Ok(listing);
    };
    listing.root_found = true;
    let mut walk = Walk {
        repository,
        odb: &odb,
        ignore,
        entries: 0,
        bytes: 0,
        full: false,
        listing,
    };
    walk.folder(&start, "", 0)?;
    walk.listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.listing)
}

/// Returns the documents of the newer of two trees below `root` that the older one has not, or not so; equal folders are
/// not looked into. None: that takes more than `entries`, of which it takes what it looks at.
pub(crate) fn written<'r>(
    repository: &'r Repository,
    (old, new): (Option<Tree<'r>>, Tree<'r>),
    root: &str,
    entries: &mut usize,
) -> Result<Option<Vec<(String, Oid)>>, GitError> {
    let mut ignored = TreeListing::default();
    let mut below = |tree| descend(repository, tree, root, &mut ignored);
    let old = old.map(&mut below).transpose()?.flatten();
    let Some(new) = below(new)? else {
        return Ok(Some(Vec::new()));
    };
    let mut files = Vec::new();
    let whole = newer(repository, (old.as_ref(), &new), "", 0, entries, &mut files)?;
    Ok(whole.then_some(files))
}

/// Adds what a folder has that the older one has not. Returns whether all of it was looked at.
fn newer(
    repository: &Repository,
    (old, new): (Option<&Tree<'_>>, &Tree<'_>),
    prefix: &str,
    depth: usize,
    entries: &mut usize,
    files: &mut Vec<(String, Oid)>,
) -> Result<bool, GitError> {
    for entry in new {
        let Some(left) = entries.checked_sub(1) else {
            return Ok(false);
        };
        *entries = left;
        // A listing takes no others.
        let Ok(name) = usable_name(entry.name_bytes()) else {
            continue;
        };
        let before = old.and_then(|old| old.get_name(name));
        let before = before.map(|before| (before.id(), before.filemode()));
        if before == Some((entry.id(), entry.filemode())) {
            continue;
        }
        let path = join(prefix, name);
        match Kind::of(entry.filemode()) {
            Kind::File if is_document(name) => files.push((path, entry.id().into())),
            Kind::Folder if depth < DEPTH_MAX => {
                let was = before.filter(|(_, mode)| Kind::of(*mode) == Kind::Folder);
                let was = was.map(|(id, _)| find_tree(repository, id.into()));
                let (was, is) = (was.transpose()?, find_tree(repository, entry.id().into())?);
                if !newer(
                    repository,
                    (was.as_ref(), &is),
                    &path,
                    depth + 1,
                    entries,
                    files,
                )? {
                    return Ok(false);
                }
            }
            Kind::File | Kind::Folder | Kind::Symlink | Kind::Submodule => {}
        }
    }
    Ok(true)
}

/// Follows the root's components, through folders only.
fn descend<'r>(
    repository: &'r Repository,
    tree: Tree<'r>,
    root: &str,
    listing: &mut TreeListing,
) -> Result<Option<Tree<'r>>, GitError> {
    let mut tree = tree;
    for part in root.split('/').filter(|part| !part.is_empty()) {
        let Some((id, mode)) = tree.get_name(part).map(|e| (e.id(), e.filemode())) else {
            return Ok(None);
        };
        match Kind::of(mode) {
            Kind::Folder => tree = find_tree(repository, id.into())?,
            Kind::Symlink => {
                listing.refuse(root, RefusedWhy::Symlink);
                return Ok(None);
            }
            Kind::Submodule => {
                listing.refuse(root, RefusedWhy::Submodule);
                return Ok(None);
            }
            Kind::File => return Ok(None),
        }
    }
    Ok(Some(tree))
}

fn find_tree(repository: &Repository, id: Oid) -> Result<Tree<'_>, GitError> {
    repository
        .find_tree(id.raw())
        .map_err(|error| missing_or(error, id, "read a tree"))
}

impl TreeListing {
    fn refuse(&mut self, path: &str, why: RefusedWhy) {
        let last = why == RefusedWhy::TooMany;
        if self.refused.len() < REFUSED_MAX || last {
            self.refused.push(Refused {
                path: path.to_owned(),
                why,
            });
        }
    }
}

/// What a tree entry's mode says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
    Symlink,
    Submodule,
}

impl Kind {
    pub(crate) fn of(mode: i32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Folder,
            0o120_000 => Self::Symlink,
            0o160_000 => Self::Submodule,
            _ => Self::File,
        }
    }
}

struct Walk<'a> {
    repository: &'a Repository,
    odb: &'a Odb<'a>,
    ignore: &'a IgnoreRules,
    entries: usize,
    bytes: u64,
    /// A limit on the whole listing was reached, so the rest is not looked at.
    full: bool,
    listing: TreeListing,
}

impl Walk<'_> {
    fn folder(&mut self, tree: &Tree<'_>, prefix: &str, depth: usize) -> Result<(), GitError> {
        for entry in tree {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                self.stop(prefix);
            }
            if self.full {
                return Ok(());
            }
            let kind = Kind::of(entry.filemode());
            let name = match usable_name(entry.name_bytes()) {
                Ok(name) => name,
                Err(why) => {
                    let shown = String::from_utf8_lossy(entry.name_bytes());
                    let shown = shown.escape_debug().to_string();
                    self.listing.refuse(&join(prefix, &shown), why);
                    continue;
                }
            };
            let path = join(prefix, name);
            if self.ignore.ignores(&path, kind == Kind::Folder) {
                continue;
            }
            let id = entry.id().into();
            match kind {
                Kind::Symlink => self.listing.refuse(&path, RefusedWhy::Symlink),
                Kind::Submodule => self.listing.refuse(&path, RefusedWhy::Submodule),
                Kind::File if is_document(name) => self.file(path, id)?,
                Kind::File => {}
                Kind::Folder if depth + 1 > DEPTH_MAX => {
                    self.listing.refuse(&path, RefusedWhy::PathTooDeep);
                }
                Kind::Folder => {
                    let below = find_tree(self.repository, id)?;
                    self.folder(&below, &path, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: String, oid: Oid) -> Result<(), GitError> {
        let (size, kind) = self
            .odb
            .read_header(oid.raw())
            .map_err(|error| missing_or(error, oid, "read the size of a file"))?;
        let size = size as u64;
        if kind != ObjectType::Blob {
            self.listing.refuse(&path, RefusedWhy::NotAFile);
        } else if size > FILE_BYTES_MAX {
            self.listing.refuse(&path, RefusedWhy::TooLarge);
        } else if self.listing.files.len() >= FILES_MAX || self.bytes + size > TOTAL_BYTES_MAX {
            self.stop(&path);
        } else {
            self.bytes += size;
            self.listing.files.push(FileEntry { path, oid, size });
        }
        Ok(())
    }

    fn stop(&mut self, path: &str) {
        if !self.full {
            self.full = true;
            self.listing.refuse(path, RefusedWhy::TooMany);
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    }
}

/// Tells whether a file of this name is read as documents, or as ignore rules.
pub fn is_document(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "yaml" | "yml") || name == IGNORE_FILE
}

/// Returns the name when it can appear in a message and in any file system.
fn usable_name(bytes: &[u8]) -> Result<&str, RefusedWhy> {
    let name = std::str::from_utf8(bytes).map_err(|_| RefusedWhy::BadName)?;
    let reserved = matches!(name, "" | "." | "..") || name.eq_ignore_ascii_case(".git");
    if reserved || name.contains('/') {
        return Err(RefusedWhy::NameLeadsAway);
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err(RefusedWhy::BadName);
    }
    Ok(name)
}
