//! From a branch to documents: one ref listing, and the rest only when the tip has moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_model::{Revision, SourceSpan};
use drover_spec::{Diagnostic, ParsedFile, Repository};

use super::{Source, SourceCommit, SourceError, SourcePlace, SourceTree};

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
}

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
    /// Whether any group is in force.
    pub(crate) has_groups: bool,
    /// A rewritten tip that a person accepted.
    pub(crate) accepted_rewrite: Option<Revision>,
}

/// Reads snapshots and keeps what was parsed.
#[derive(Debug)]
pub(crate) struct Fetcher {
    source: Box<dyn Source>,
    /// Parsed files of the last snapshot by path, with the id of their content. Never more than one
    /// snapshot's worth.
    parsed: BTreeMap<String, (String, Arc<ParsedFile>)>,
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

    /// Looks at the source. Blocks.
    ///
    /// # Errors
    ///
    /// See [`SourceError`]; the last snapshot stays current.
    pub(crate) fn fetch(&mut self, in_force: &InForce) -> Result<Fetched, SourceError> {
        if let Some(applied) = &in_force.applied {
            self.source.stand_at(applied);
        }
        let tip = self.source.poll()?;
        if self.current.as_ref() == Some(&tip) {
            return Ok(Fetched::Unchanged);
        }
        let tree = self.source.tree(&tip)?;
        self.check_descent(&tip, in_force)?;
        self.source.vouch(&tip, in_force.applied.as_ref())?;
        if !tree.complete {
            return Err(SourceError::Truncated { revision: tip });
        }
        if tree.files.is_empty() && in_force.has_groups {
            return Err(SourceError::NoDocuments { revision: tip });
        }
        let snapshot = self.snapshot(tree)?;
        self.current = Some(tip);
        Ok(Fetched::Changed(Arc::new(snapshot)))
    }

    fn check_descent(&mut self, tip: &Revision, in_force: &InForce) -> Result<(), SourceError> {
        let Some(applied) = &in_force.applied else {
            return Ok(());
        };
        if in_force.accepted_rewrite.as_ref() == Some(tip) || self.source.descends(tip, applied)? {
            return Ok(());
        }
        Err(SourceError::Rewritten {
            applied: applied.clone(),
            tip: tip.clone(),
        })
    }

    fn snapshot(&mut self, tree: SourceTree) -> Result<Snapshot, SourceError> {
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
        self.parsed = parsed;
        let repository =
            drover_spec::assemble(self.parsed.values().map(|(_, parsed)| parsed.as_ref()));
        let mut diagnostics = repository.diagnostics.clone();
        diagnostics.extend(left_out(&tree));
        let unreadable = self.unreadable(&tree);
        Ok(Snapshot {
            identities_readable: repository.identities_readable && unreadable.is_none(),
            unreadable,
            commit: tree.commit,
            place: self.source.place(),
            ignore_digest: tree.ignore_digest,
            repository,
            diagnostics,
        })
    }

    /// Returns the first file of which some document's kind or name is not known.
    fn unreadable(&self, tree: &SourceTree) -> Option<String> {
        let parsed = self
            .parsed
            .values()
            .find(|(_, file)| !file.identities_readable())
            .map(|(_, file)| file.path.clone());
        parsed.or_else(|| tree.refused.first().map(|file| file.path.clone()))
    }
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
