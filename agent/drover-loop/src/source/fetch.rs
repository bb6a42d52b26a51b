//! From a branch to documents: one ref listing, and the rest only when the tip has moved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{Deletion, Enforcement, GroupName, Kind, Revision, SourceSpan};
use drover_spec::{Diagnostic, Document, ParsedFile, Repository};

use super::history::{Blind, Look, Reader, Writers};
use super::{Source, SourceCommit, SourceError, SourceFile, SourcePlace, SourceTree, Written};

/// Every document of one commit, parsed and joined.
#[derive(Debug)]
pub struct Snapshot {
    /// The commit.
    pub commit: SourceCommit,
    /// Which part of which branch was read.
    pub place: SourcePlace,
    /// A digest of the ignore rules.
    pub ignore_digest: String,
    /// The documents.
    pub repository: Repository,
    /// Everything that is wrong with the files: what [`Repository::diagnostics`] has, and the files
    /// that were not read.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the kind and name of every document is known. Otherwise nothing counts as removed.
    pub identities_readable: bool,
    /// Where an identity cannot be read, for people.
    pub unreadable: Option<String>,
    /// The documents of groups that came and went between the commit in force and this one: nobody acted on them. None:
    /// there are too many to tell.
    pub passed: Option<BTreeMap<String, Vec<PassedDocument>>>,
    /// The files of which nobody can tell which documents they have, in this commit or in one since the commit in force,
    /// with that commit.
    pub garbled: BTreeMap<String, Revision>,
    /// Who wrote the commits since the one in force.
    pub writers: Writers,
    /// The commit that was in force, where this one does not descend from it.
    pub replaces: Option<Revision>,
}

/// A group's document that was never in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedDocument {
    /// The commit that wrote it.
    pub revision: Revision,
    /// What it said of the removal of its group. None: it cannot be read.
    pub deletion: Option<Deletion>,
}

/// What came and went between the commit in force and another one.
#[derive(Debug, Default)]
struct Passed {
    documents: BTreeMap<String, Vec<PassedDocument>>,
    garbled: BTreeMap<String, Revision>,
}

/// More files than this, written and gone again between two looks, are not read for the documents in them.
const PASSED_FILES_MAX: usize = 1000;

/// What a look at the source found.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The tip is the commit of the last snapshot.
    Unchanged,
    /// Another commit.
    Changed(Arc<Snapshot>),
}

/// What the fetcher has to know about what is in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct InForce {
    /// The commit in force.
    pub(crate) applied: Option<Revision>,
    /// Other commits of which something is in force, as far as nobody knows that `applied` descends from them.
    pub(crate) also: Vec<Revision>,
    /// Whether any group is in force.
    pub(crate) has_groups: bool,
    /// A rewritten tip that a person accepted.
    pub(crate) accepted_rewrite: Option<Revision>,
    /// Whether what is in force is not known yet, so that this look is not the last at its commit.
    pub(crate) unknown: bool,
    /// Groups of which nobody knows whether a document was waiting.
    pub(crate) blind: BTreeMap<GroupName, Blind>,
}

/// Parsed files by path, with the ids of their contents.
pub(super) type ParsedFiles = BTreeMap<String, (String, Arc<ParsedFile>)>;

/// Reads snapshots and keeps what was parsed.
#[derive(Debug)]
pub(crate) struct Fetcher {
    source: Box<dyn Source>,
    /// Parsed files of the last snapshot by path, with the id of their content. Never more than one
    /// snapshot's worth.
    parsed: ParsedFiles,
    current: Option<Revision>,
}

impl Fetcher {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            parsed: BTreeMap::new(),
            current: None,
        }
    }

    /// Forgets which commit was looked at last: the next look judges it anew.
    pub(crate) fn forget(&mut self) {
        self.current = None;
    }

    /// Looks at the source. Blocks.
    ///
    /// # Errors
    ///
    /// See [`SourceError`]; the last snapshot stays current.
    pub(crate) fn fetch(&mut self, in_force: &InForce) -> Result<Fetched, SourceError> {
        let tip = self.source.poll()?;
        if self.current.as_ref() == Some(&tip) {
            return Ok(Fetched::Unchanged);
        }
        let tree = self.source.tree(&tip)?;
        let replaces = self.check_descent(&tip, in_force)?;
        if !tree.complete {
            return Err(SourceError::Truncated { revision: tip });
        }
        self.source.vouch(&tip, in_force.applied.as_ref())?;
        if tree.files.is_empty() && in_force.has_groups {
            return Err(SourceError::NoDocuments { revision: tip });
        }
        let passed = self.passed(&tree, in_force)?;
        let (mut snapshot, before) = self.snapshot(&tree, passed)?;
        let rewritten = replaces.is_some();
        snapshot.replaces = replaces;
        snapshot.writers = self.writers(&snapshot, (&tree, rewritten), &before, in_force)?;
        self.current = Some(tip);
        Ok(Fetched::Changed(Arc::new(snapshot)))
    }

    /// Returns what is in force and not in the tip's history, which a person must have accepted. None: all of it is.
    fn check_descent(
        &mut self,
        tip: &Revision,
        in_force: &InForce,
    ) -> Result<Option<Revision>, SourceError> {
        let accepted = in_force.accepted_rewrite.as_ref() == Some(tip);
        for revision in in_force.applied.iter().chain(&in_force.also) {
            match self.source.descends(tip, revision) {
                Ok(true) => {}
                Ok(false) | Err(_) if accepted => return Ok(Some(revision.clone())),
                Ok(false) => {
                    return Err(SourceError::Rewritten {
                        applied: revision.clone(),
                        tip: tip.clone(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Returns what came and went since the commit in force. None: too much to tell.
    fn passed(
        &mut self,
        tree: &SourceTree,
        in_force: &InForce,
    ) -> Result<Option<Passed>, SourceError> {
        let tip = &tree.commit.revision;
        let applied = in_force.applied.as_ref();
        // What a person let pass for the new history has no documents in between.
        let applied = applied.filter(|_| in_force.accepted_rewrite.as_ref() != Some(tip));
        let mut passed = Passed::default();
        let Some(applied) = applied else {
            return Ok(Some(passed));
        };
        let Some(mut written) = self.source.written_since(tip, applied)? else {
            return Ok(None);
        };
        let there: BTreeSet<&SourceFile> = tree.files.iter().collect();
        written.retain(|written| !there.contains(&written.file));
        if written.len() > PASSED_FILES_MAX {
            return Ok(None);
        }
        for Written { revision, file } in written {
            let Ok(bytes) = self.source.read(&file.oid) else {
                // Too large, or no file: as good as too many.
                return Ok(None);
            };
            let parsed = drover_spec::parse_file(&file.path, &bytes);
            if !parsed.identities_readable() {
                passed.garbled.insert(file.path.clone(), revision.clone());
            }
            for document in parsed.documents {
                if let Some((Kind::Group, name)) = document.identity {
                    let revision = revision.clone();
                    let deletion = match document.outcome {
                        Some(Document::Group(group)) => Some(group.spec.deletion),
                        _ => None,
                    };
                    let of_group = passed.documents.entry(name).or_default();
                    of_group.push(PassedDocument { revision, deletion });
                }
            }
        }
        Ok(Some(passed))
    }

    /// Looks through the commits since the one in force. `before`: the files as they were parsed before.
    fn writers(
        &mut self,
        snapshot: &Snapshot,
        (tree, rewritten): (&SourceTree, bool),
        before: &ParsedFiles,
        in_force: &InForce,
    ) -> Result<Writers, SourceError> {
        let base = in_force.applied.as_ref();
        // Before anything is in force all that there ever was is looked through, and only where it is asked for.
        if base.is_none() && (in_force.unknown || !asks(&snapshot.repository)) {
            return Ok(Writers::default());
        }
        let groups = &snapshot.repository.groups;
        let differs = |(name, blind): &(&GroupName, &Blind)| {
            let text = groups.get(*name).map(|located| &located.text);
            text != blind.accepted.as_ref().map(|(text, _)| text)
        };
        let blind = in_force.blind.iter().filter(differs);
        let look = Look {
            commit: &tree.commit,
            base,
            rewritten,
            blind: blind.collect(),
        };
        let mut reader = Reader::new([before, &self.parsed]);
        reader.writers(&mut *self.source, &look)
    }

    /// Returns the documents, and the files as they were parsed before.
    fn snapshot(
        &mut self,
        tree: &SourceTree,
        passed: Option<Passed>,
    ) -> Result<(Snapshot, ParsedFiles), SourceError> {
        let mut parsed = BTreeMap::new();
        for file in &tree.files {
            let entry = match self.parsed.get(&file.path) {
                Some((oid, known)) if *oid == file.oid => Arc::clone(known),
                _ => {
                    let bytes = self.source.read(&file.oid)?;
                    Arc::new(drover_spec::parse_file(&file.path, &bytes))
                }
            };
            parsed.insert(file.path.clone(), (file.oid.clone(), entry));
        }
        let before = std::mem::replace(&mut self.parsed, parsed);
        let repository =
            drover_spec::assemble(self.parsed.values().map(|(_, parsed)| parsed.as_ref()));
        let mut diagnostics = repository.diagnostics.clone();
        diagnostics.extend(left_out(tree));
        let unreadable = self.unreadable(tree);
        let (passed, mut garbled) = match passed {
            Some(Passed { documents, garbled }) => (Some(documents), garbled),
            None => (None, BTreeMap::new()),
        };
        let now = unreadable
            .iter()
            .map(|path| (path.clone(), tree.commit.revision.clone()));
        garbled.extend(now);
        let snapshot = Snapshot {
            identities_readable: repository.identities_readable && unreadable.is_empty(),
            unreadable: unreadable.into_iter().next(),
            garbled,
            commit: tree.commit.clone(),
            writers: Writers::default(),
            replaces: None,
            place: self.source.place(),
            ignore_digest: tree.ignore_digest.clone(),
            repository,
            diagnostics,
            passed,
        };
        Ok((snapshot, before))
    }

    /// Returns the files of which some document's kind or name is not known.
    fn unreadable(&self, tree: &SourceTree) -> Vec<String> {
        let parsed = self.parsed.values();
        let parsed = parsed.filter(|(_, file)| !file.identities_readable());
        let parsed = parsed.map(|(_, file)| file.path.clone());
        let refused = tree.refused.iter().map(|file| file.path.clone());
        parsed.chain(refused).collect()
    }
}

/// Returns whether any binding asks people.
fn asks(repository: &Repository) -> bool {
    let mut bindings = repository.bindings.values();
    bindings.any(|located| located.value.enforcement == Enforcement::RequireApproval)
}

/// Returns a diagnostic for each file that was not read and each ignore rule without effect.
fn left_out(tree: &SourceTree) -> Vec<Diagnostic> {
    let refused = tree.refused.iter().map(|file| {
        let message = format!("the file is not read: {}", file.why);
        Diagnostic::error("file-refused", message, SourceSpan::start_of(&file.path))
            .hint("groups that it describes keep their last good document")
    });
    let rules = tree.ignore_mistakes.iter().map(|(line, why)| {
        let span = SourceSpan {
            line: *line as u32,
            ..SourceSpan::start_of(".droverignore")
        };
        Diagnostic::error(
            "ignore-rule",
            format!("the rule has no effect: {why}"),
            span,
        )
    });
    refused.chain(rules).collect()
}
