//! Whether documents in force are those of the commits that they are said to come from.

use std::collections::BTreeMap;

use drover_git::{CommitInfo, GitError, Mirror, Oid};
use drover_loop::{Checked, ProblemKind};
use drover_model::{AcceptedDocument, GroupName, Kind, Revision};
use drover_spec::parse_file;

use crate::settings::Settings;

/// What was not there to compare with.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// Documents in force whose commits are gone.
    pub(super) documents: usize,
    /// Commits of the log whose source is gone, or was rewritten where that was not looked at.
    pub(super) sources: usize,
    /// Commits of the log whose source is in the repository, and not on its branch.
    pub(super) elsewhere: usize,
}

/// The commits of the configuration.
pub(super) struct Sources {
    /// The watched branch.
    branch: String,
    /// Its tip, once it was fetched.
    tip: Option<Tip>,
    /// The folder of the configuration in the repository.
    root: String,
    /// Whether the log is looked at from its beginning on.
    whole: bool,
    /// The documents that were compared last, by kind and name.
    known: BTreeMap<(Kind, String), AcceptedDocument>,
    /// The source that was looked at last, and where it is.
    last: Option<(Oid, Place)>,
    /// The sources that were last found to have the documents of groups in their history.
    related: BTreeMap<GroupName, (Oid, Oid)>,
    /// What was in force before each rewritten history that was accepted.
    replaced: Vec<Oid>,
    missing: Missing,
}

/// The tip of a branch. None: there is no such branch.
#[derive(Debug, Clone, Copy)]
struct Tip(Option<Oid>);

/// Where a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Gone,
    OnBranch,
    Elsewhere,
}

impl Sources {
    /// `whole`: the log is looked at from its beginning on.
    pub(super) fn new(settings: &Settings, whole: bool) -> Self {
        Self {
            branch: settings.branch.clone(),
            tip: None,
            root: settings.path.trim_matches('/').to_owned(),
            whole,
            known: BTreeMap::new(),
            last: None,
            related: BTreeMap::new(),
            replaced: Vec::new(),
            missing: Missing::default(),
        }
    }

    pub(super) fn missing(&self) -> Missing {
        self.missing.clone()
    }

    /// Compares what a commit has in force with the sources that it names.
    pub(super) fn check(
        &mut self,
        mirror: &Mirror,
        info: &CommitInfo,
        checked: &mut Checked,
    ) -> Result<(), GitError> {
        let rewrite = checked.accepted_rewrite.as_ref();
        let replaced = rewrite.and_then(|accepted| oid(&accepted.replaced));
        self.replaced.extend(replaced);
        let mut documents = Vec::new();
        let mut of_group = None;
        if let Some(state) = &checked.state {
            let document = state.accepted.as_ref();
            let identity = (Kind::Group, state.name.to_string());
            documents.extend(document.map(|document| (identity, document.clone())));
            let revision = document.and_then(|document| oid(&document.revision));
            of_group = revision.map(|revision| (state.name.clone(), revision));
        }
        if let Some(fleet) = &checked.fleet {
            // Those of earlier policies that still judge first: what is in force is what the next commit has, too.
            let all = fleet.earlier.iter().flatten().chain(&fleet.documents);
            documents.extend(all.map(|(identity, document)| (identity.clone(), document.clone())));
        }
        for (identity, document) in documents {
            self.document(mirror, identity, document, checked)?;
        }
        if checked.entry.is_some() {
            self.source(mirror, info, of_group, checked)?;
        }
        Ok(())
    }

    /// Checks that the source that a commit names is there, and that a group's document is of its history.
    fn source(
        &mut self,
        mirror: &Mirror,
        info: &CommitInfo,
        document: Option<(GroupName, Oid)>,
        checked: &mut Checked,
    ) -> Result<(), GitError> {
        let Some((_, id)) = info
            .trailer("Drover-Source")
            .and_then(|it| it.rsplit_once(':'))
        else {
            return Ok(());
        };
        let Ok(source) = id.parse::<Oid>() else {
            let detail = format!("Drover-Source names {id:?}, which is no commit");
            checked.problem(ProblemKind::SourceDiffers, detail);
            return Ok(());
        };
        match self.place(mirror, source)? {
            Place::Gone => {
                self.missing.sources += 1;
                return Ok(());
            }
            Place::Elsewhere => self.missing.elsewhere += 1,
            Place::OnBranch => {}
        }
        let Some((group, revision)) = document else {
            return Ok(());
        };
        let pair = (source, revision);
        if self.related.get(&group) == Some(&pair) {
            return Ok(());
        }
        // Its own absence is told with the document.
        let same = source == revision || mirror.commit(revision).is_err();
        if same || self.rests_on(mirror, source, revision)? {
            self.related.insert(group, pair);
        } else if self.whole {
            let detail = format!(
                "the document in force is of commit {}, which is not in the history of {} that Drover-Source names",
                revision.short(),
                source.short()
            );
            checked.problem(ProblemKind::SourceDiffers, detail);
        } else {
            self.missing.sources += 1;
        }
        Ok(())
    }

    /// Returns whether a commit is in the history of a source, or was in that of one which it replaced.
    fn rests_on(&self, mirror: &Mirror, source: Oid, revision: Oid) -> Result<bool, GitError> {
        let histories = [source].into_iter().chain(self.replaced.iter().copied());
        for history in histories {
            if mirror.commit(history).is_ok() && mirror.is_ancestor(revision, history)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn place(&mut self, mirror: &Mirror, source: Oid) -> Result<Place, GitError> {
        if let Some((last, place)) = self.last
            && last == source
        {
            return Ok(place);
        }
        let tip = self.tip(mirror)?;
        let place = if mirror.commit(source).is_err() {
            Place::Gone
        } else if tip.is_some_and(|tip| mirror.is_ancestor(source, tip).unwrap_or(false)) {
            Place::OnBranch
        } else {
            Place::Elsewhere
        };
        self.last = Some((source, place));
        Ok(place)
    }

    /// Returns the tip of the watched branch, fetched. None: there is no such branch.
    fn tip(&mut self, mirror: &Mirror) -> Result<Option<Oid>, GitError> {
        if let Some(Tip(tip)) = self.tip {
            return Ok(tip);
        }
        let refs = mirror.list()?;
        let named = refs.full_name(&self.branch).zip(refs.get(&self.branch));
        if let Some((name, tip)) = &named {
            mirror.fetch(&[(name, *tip)])?;
        }
        // It may be the id of a commit.
        let tip = named.map(|(_, tip)| tip);
        let tip = tip.or_else(|| mirror.resolve(&self.branch).ok());
        self.tip = Some(Tip(tip));
        Ok(tip)
    }

    /// Compares a document in force with its source.
    fn document(
        &mut self,
        mirror: &Mirror,
        identity: (Kind, String),
        document: AcceptedDocument,
        checked: &mut Checked,
    ) -> Result<(), GitError> {
        if self.known.get(&identity) == Some(&document) {
            return Ok(());
        }
        let (path, revision) = (&document.path, document.revision.short());
        let what = match &identity {
            (Kind::Group, _) => "the document in force".to_owned(),
            (kind, name) => format!("the {} {name} in force", kind.as_str()),
        };
        let problem = match self.find(mirror, &document)? {
            Found::Gone => {
                self.missing.documents += 1;
                None
            }
            // As a whole: one that was cut at its end says something else.
            Found::File(Some(text)) if has(path, &text, &document.text) => None,
            Found::File(Some(_)) => Some(format!(
                "{what} is not the one of {path} in commit {revision}"
            )),
            Found::File(None) => Some(format!("commit {revision} has no file {path}")),
        };
        self.known.insert(identity, document);
        if let Some(problem) = problem {
            checked.problem(ProblemKind::DocumentDiffers, problem);
        }
        Ok(())
    }

    fn find(&mut self, mirror: &Mirror, document: &AcceptedDocument) -> Result<Found, GitError> {
        let Some(id) = oid(&document.revision) else {
            return Ok(Found::Gone);
        };
        if mirror.commit(id).is_err() {
            self.tip(mirror)?;
            if mirror.commit(id).is_err() {
                return Ok(Found::Gone);
            }
        }
        let below = match self.root.as_str() {
            "" => None,
            root => Some(format!("{root}/{}", document.path)),
        };
        for path in [Some(document.path.clone()), below].into_iter().flatten() {
            if let Some((_, bytes)) = mirror.file(id, &path)? {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Ok(Found::File(Some(text)));
            }
        }
        Ok(Found::File(None))
    }
}

fn oid(revision: &Revision) -> Option<Oid> {
    revision.as_str().parse().ok()
}

/// Returns whether a file has a document of exactly this text.
fn has(path: &str, file: &str, document: &str) -> bool {
    let parsed = parse_file(path, file.as_bytes());
    parsed.documents.iter().any(|one| &*one.text == document)
}

/// What a commit of the configuration has.
enum Found {
    /// It is not in the repository any more.
    Gone,
    /// The file, or that there is none.
    File(Option<String>),
}

#[cfg(test)]
mod tests;
