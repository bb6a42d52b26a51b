//! Who wrote what is not in force yet: from commits to the documents that each changed.
//!
//! **Invariant:** whoever may have written a document counts as having done so. What cannot be read, or is more than is
//! looked through, makes more people authors and never fewer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_git::IGNORE_FILE;
use drover_model::{Authors, GroupName, Kind, Revision};
use drover_spec::ParsedFile;
use sha2::{Digest as _, Sha256};

use super::fetch::ParsedFiles;
use super::{Authored, FileChange, Source, SourceCommit, SourceError};

/// More files than this are not read in one look; commits beyond it count as having changed everything.
const FILES_READ_MAX: usize = 20_000;

/// Kind and name of a document.
pub(crate) type Identity = (Kind, String);

/// Who wrote the commits since the one in force, and what.
#[derive(Debug, Clone, Default)]
pub struct Writers {
    commits: Vec<Wrote>,
    /// Whether these are all.
    complete: bool,
    /// The author of the commit that is looked at.
    tip: Authors,
    /// The same since the document in force, for groups of which nobody knows what was waiting before.
    blind: BTreeMap<GroupName, Vec<Wrote>>,
    /// Those of them for which these are not all.
    blind_cut: BTreeSet<GroupName>,
}

/// What a commit changed, and who wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Wrote {
    authors: Authors,
    /// None: anything.
    documents: Option<BTreeSet<Identity>>,
}

/// A group of which nobody knows whether a document of it was waiting.
#[derive(Debug, Clone)]
pub(crate) struct Blind {
    /// The document in force, and the commit that it was read from.
    pub(crate) accepted: Option<(Arc<str>, Revision)>,
}

impl Writers {
    /// Returns who wrote a group's document or one of `judges`, and whether anybody is known to have written the
    /// document.
    pub(crate) fn of(&self, group: &GroupName, judges: &BTreeSet<Identity>) -> (Authors, bool) {
        let blind = self.blind.get(group);
        let complete = match blind {
            Some(_) => !self.blind_cut.contains(group),
            None => self.complete,
        };
        let own = (Kind::Group, group.to_string());
        let mut found = false;
        let mut authors = Authors::default();
        // The policies are those of the commit in force, whenever the document is from.
        let since = self.commits.iter().map(|wrote| (wrote, true));
        let before = blind.into_iter().flatten().map(|wrote| (wrote, false));
        for (wrote, recent) in since.chain(before) {
            let Some(documents) = &wrote.documents else {
                authors.extend(&wrote.authors);
                continue;
            };
            let is_own = documents.contains(&own);
            found |= is_own;
            if is_own || recent && !documents.is_disjoint(judges) {
                authors.extend(&wrote.authors);
            }
        }
        authors.unknown |= !complete;
        (authors, found)
    }

    /// Returns everybody who wrote any of the commits.
    pub(crate) fn everybody(&self) -> Authors {
        let mut authors = self.tip.clone();
        for wrote in &self.commits {
            authors.extend(&wrote.authors);
        }
        authors.unknown |= !self.complete;
        authors
    }
}

/// What is looked through for writers.
pub(super) struct Look<'a> {
    pub(super) commit: &'a SourceCommit,
    /// The commit in force.
    pub(super) base: Option<&'a Revision>,
    /// Whether the commit does not descend from it.
    pub(super) rewritten: bool,
    pub(super) blind: BTreeMap<&'a GroupName, &'a Blind>,
}

/// What was read on the way.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// Files that were parsed anyway: those of the last look, and of this one.
    parsed: [&'a ParsedFiles; 2],
    /// What other files say, by the ids of their contents. None: not everything in it can be read.
    contents: BTreeMap<String, Option<Arc<Texts>>>,
    /// What commits changed.
    commits: BTreeMap<Revision, Wrote>,
    read: usize,
}

/// The documents of a file, each with a digest of its text.
type Texts = Vec<(Identity, [u8; 32])>;

impl<'a> Reader<'a> {
    pub(super) fn new(parsed: [&'a ParsedFiles; 2]) -> Self {
        Self {
            parsed,
            contents: BTreeMap::new(),
            commits: BTreeMap::new(),
            read: 0,
        }
    }

    /// Looks through the commits since the one in force.
    pub(super) fn writers(
        &mut self,
        source: &mut dyn Source,
        look: &Look<'_>,
    ) -> Result<Writers, SourceError> {
        let tip = &look.commit.revision;
        let (mut commits, mut complete) = self.since(source, look, look.base)?;
        if let Some(base) = look.base.filter(|_| look.rewritten) {
            // What was taken back is a change, too, and nobody knows by whom.
            let undone = source.history(base, Some(tip)).unwrap_or_default();
            complete &= undone.complete;
            for commit in undone.commits {
                commits.push(Wrote {
                    authors: authors(source, &commit)?,
                    documents: None,
                });
            }
            for wrote in &mut commits {
                wrote.documents = None;
            }
        }
        let mut writers = Writers {
            commits,
            complete,
            tip: Authors::of(&[&look.commit.author]),
            ..Writers::default()
        };
        for (group, blind) in &look.blind {
            let base = blind.accepted.as_ref().map(|(_, revision)| revision);
            if base == look.base {
                continue;
            }
            let (commits, complete) = self.since(source, look, base)?;
            writers.blind.insert((*group).clone(), commits);
            if !complete {
                writers.blind_cut.insert((*group).clone());
            }
        }
        Ok(writers)
    }

    fn since(
        &mut self,
        source: &mut dyn Source,
        look: &Look<'_>,
        base: Option<&Revision>,
    ) -> Result<(Vec<Wrote>, bool), SourceError> {
        let history = source.history(&look.commit.revision, base)?;
        let commits = history.commits.into_iter();
        let commits = commits.map(|commit| self.wrote(source, commit));
        Ok((commits.collect::<Result<_, _>>()?, history.complete))
    }

    fn wrote(&mut self, source: &mut dyn Source, commit: Authored) -> Result<Wrote, SourceError> {
        if let Some(known) = self.commits.get(&commit.revision) {
            return Ok(known.clone());
        }
        let authors = authors(source, &commit)?;
        let documents = commit.against.and_then(|parents| {
            if parents.is_empty() {
                return Some(BTreeSet::new());
            }
            // What a merge has from one of its parents is not its own.
            let differ = parents
                .iter()
                .filter_map(|changed| self.differ(source, changed));
            differ.reduce(|one, other| one.intersection(&other).cloned().collect())
        });
        let wrote = Wrote { authors, documents };
        self.commits.insert(commit.revision, wrote.clone());
        Ok(wrote)
    }

    /// Returns the documents that differ, wherever they stand. None: any of them may.
    fn differ(
        &mut self,
        source: &mut dyn Source,
        changed: &[FileChange],
    ) -> Option<BTreeSet<Identity>> {
        if changed.iter().any(|file| file.path == IGNORE_FILE) {
            return None;
        }
        let mut texts: BTreeMap<Identity, [Vec<[u8; 32]>; 2]> = BTreeMap::new();
        for file in changed {
            for (side, oid) in [&file.before, &file.after].into_iter().enumerate() {
                let Some(oid) = oid else {
                    continue;
                };
                let content = self.content(source, &file.path, oid)?;
                for (identity, digest) in content.iter() {
                    texts.entry(identity.clone()).or_default()[side].push(*digest);
                }
            }
        }
        let differ = texts.into_iter().filter_map(|(identity, sides)| {
            let [mut before, mut after] = sides;
            before.sort_unstable();
            after.sort_unstable();
            (before != after).then_some(identity)
        });
        Some(differ.collect())
    }

    /// Returns what a file says. None: not everything in it can be read.
    fn content(&mut self, source: &mut dyn Source, path: &str, oid: &str) -> Option<Arc<Texts>> {
        for parsed in self.parsed {
            if let Some((_, file)) = parsed.get(path).filter(|(known, _)| known == oid) {
                return texts(file);
            }
        }
        if let Some(known) = self.contents.get(oid) {
            return known.clone();
        }
        if self.read == FILES_READ_MAX {
            return None;
        }
        self.read += 1;
        let read = source.read(oid).ok();
        let parsed = read.map(|bytes| drover_spec::parse_file(path, &bytes));
        let content = parsed.as_ref().and_then(texts);
        self.contents.insert(oid.to_owned(), content.clone());
        content
    }
}

/// Returns who wrote a commit: whom it names, and who signed it, whatever it names.
fn authors(source: &mut dyn Source, commit: &Authored) -> Result<Authors, SourceError> {
    let mut authors = Authors::of(&commit.authors);
    match source.signers(&commit.revision)? {
        Some(signers) => authors.extend(&Authors::of(&signers)),
        None => authors.unknown = true,
    }
    Ok(authors)
}

/// Returns the documents of a file. None: the kind or name of some document is not known.
fn texts(file: &ParsedFile) -> Option<Arc<Texts>> {
    if !file.identities_readable() {
        return None;
    }
    let documents = file.documents.iter().filter_map(|document| {
        let digest = Sha256::digest(document.text.as_bytes());
        Some((document.identity.clone()?, digest.into()))
    });
    Some(Arc::new(documents.collect()))
}

#[cfg(test)]
mod tests;
