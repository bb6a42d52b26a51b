//! Whether documents in force are those of the commits that they are said to come from.

use std::collections::BTreeMap;

use drover_git::{GitError, Mirror, Oid};
use drover_loop::{Checked, ProblemKind};
use drover_model::{AcceptedDocument, GroupName};
use drover_spec::parse_file;

use crate::settings::Settings;

/// The commits of the configuration.
pub(super) struct Sources {
    /// The watched branch, to be fetched once.
    branch: Option<String>,
    /// The folder of the configuration in the repository.
    root: String,
    /// The documents that were compared last, by group.
    known: BTreeMap<GroupName, AcceptedDocument>,
    missing: usize,
}

impl Sources {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            branch: Some(settings.branch.clone()),
            root: settings.path.trim_matches('/').to_owned(),
            known: BTreeMap::new(),
            missing: 0,
        }
    }

    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Compares the document in force of a commit with its source.
    pub(super) fn check(&mut self, mirror: &Mirror, checked: &mut Checked) -> Result<(), GitError> {
        let Some(state) = &checked.state else {
            return Ok(());
        };
        let Some(document) = &state.accepted else {
            return Ok(());
        };
        if self.known.get(&state.name) == Some(document) {
            return Ok(());
        }
        self.known.insert(state.name.clone(), document.clone());
        let (path, revision) = (&document.path, document.revision.short());
        let problem = match self.find(mirror, document)? {
            Found::Gone => {
                self.missing += 1;
                return Ok(());
            }
            // As a whole: one that was cut at its end says something else.
            Found::File(Some(text)) if has(path, &text, &document.text) => return Ok(()),
            Found::File(Some(_)) => {
                format!("the document in force is not the one of {path} in commit {revision}")
            }
            Found::File(None) => format!("commit {revision} has no file {path}"),
        };
        checked.problem(ProblemKind::DocumentDiffers, problem);
        Ok(())
    }

    fn find(&mut self, mirror: &Mirror, document: &AcceptedDocument) -> Result<Found, GitError> {
        let Ok(id) = document.revision.as_str().parse::<Oid>() else {
            return Ok(Found::Gone);
        };
        if mirror.commit(id).is_err() {
            if let Some(branch) = self.branch.take() {
                let refs = mirror.list()?;
                if let (Some(name), Some(tip)) = (refs.full_name(&branch), refs.get(&branch)) {
                    mirror.fetch(&[(&name, tip)])?;
                }
            }
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
