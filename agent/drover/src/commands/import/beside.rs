//! What an import's output folder has already: the documents have to be right beside it, and not only by themselves.

use std::collections::BTreeSet;
use std::path::Path;

use drover_model::{Kind, ProviderDoc, Value};
use drover_spec::{Diagnostic, Document, Located};

use super::{Draft, Drafts};
use crate::check;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};

/// The documents of the output folder.
#[derive(Debug, Default)]
pub(super) struct Present {
    documents: Option<Documents>,
    /// Where mistakes are there, and which, whatever the import does.
    mistakes: BTreeSet<(String, String)>,
}

impl Present {
    /// Reads the folder. One that there is not has nothing.
    pub(super) fn read(folder: &Path) -> CommandResult<Self> {
        if !folder.is_dir() {
            return Ok(Self::default());
        }
        let attempted = "cannot tell what the output folder has already";
        let documents = Documents::from_path(folder).context(attempted)?;
        Ok(Self {
            mistakes: mistakes(&documents),
            documents: Some(documents),
        })
    }

    /// Returns the texts of the files, by path.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&String, &String)> {
        self.documents.iter().flat_map(|there| &there.texts)
    }

    /// Returns whether a mistake is there without the import.
    pub(super) fn has_mistake(&self, file: &str, message: &str) -> bool {
        self.mistakes
            .contains(&(file.to_owned(), message.to_owned()))
    }

    /// Leaves out the Provider documents that are there, with a remark each. One at the same path is written over, where
    /// that is asked for.
    ///
    /// # Errors
    ///
    /// One of that name is there that is something else.
    pub(super) fn keep_providers(&self, drafts: &mut Drafts, force: bool) -> CommandResult<()> {
        let mut kept = BTreeSet::new();
        for draft in &drafts.files {
            let Some((there, drafted)) = self.provider_like(draft) else {
                continue;
            };
            let path = &there.path;
            let same_file = *path == draft.path;
            let same_text = self.texts().any(|file| file == (path, &draft.text));
            if same_file && (same_text || force) {
                continue;
            }
            if says_all_of(&there.value, &drafted) {
                let name = &drafted.name;
                let remark = format!(
                    "the Provider document {name} is there already, in {path}, and is used as it is"
                );
                kept.insert((draft.path.clone(), remark));
            } else if !same_file {
                let name = &drafted.name;
                let message = format!("{path} has a Provider document {name} for something else");
                return Err(CommandError::new(message).hint("call this one otherwise: --provider"));
            }
        }
        for (path, remark) in kept {
            drafts.files.retain(|draft| draft.path != path);
            drafts.remarks.push(remark);
        }
        Ok(())
    }

    /// Returns the Provider document that has the name of a drafted one, with that one.
    fn provider_like(&self, draft: &Draft) -> Option<(&Located<ProviderDoc>, ProviderDoc)> {
        let parsed = drover_spec::parse_file(&draft.path, draft.text.as_bytes());
        let mut documents = parsed.documents.into_iter();
        let drafted = documents.find_map(|document| match document.outcome {
            Some(Document::Provider(provider)) => Some(*provider),
            _ => None,
        })?;
        let there = &self.documents.as_ref()?.repository.providers;
        Some((there.get(&drafted.name)?, drafted))
    }

    /// Returns where a group of a draft's name is, if that is another file.
    pub(super) fn elsewhere(&self, draft: &Draft) -> Option<(String, String)> {
        let parsed = drover_spec::parse_file(&draft.path, draft.text.as_bytes());
        let identities = parsed
            .documents
            .iter()
            .filter_map(|one| one.identity.as_ref());
        let mut groups = identities.filter(|(kind, _)| *kind == Kind::Group);
        let identity = groups.next()?;
        let files = self.documents.iter().flat_map(|there| &there.files);
        let mut others = files.filter(|file| file.path != draft.path);
        let there = others.find(|file| {
            let mut documents = file.documents.iter();
            documents.any(|one| one.identity.as_ref() == Some(identity))
        })?;
        Some((identity.1.clone(), there.path.clone()))
    }
}

/// Returns the mistakes of documents, with the files that they are in.
pub(super) fn mistakes(documents: &Documents) -> BTreeSet<(String, String)> {
    let checked = check::check(documents);
    let all = checked.diagnostics.into_iter();
    let errors = all.filter(Diagnostic::is_error);
    errors
        .map(|one| (one.span.file.to_string(), one.message))
        .collect()
}

/// Returns whether a Provider document says what another one says, and maybe more.
fn says_all_of(there: &ProviderDoc, drafted: &ProviderDoc) -> bool {
    let settings = drafted.settings.as_map().into_iter().flatten();
    let mut settings = settings.map(|(name, value)| (name, Some(value)));
    let said = |name: &str| -> Option<&Value> { there.settings.get(name) };
    there.type_ == drafted.type_ && settings.all(|(name, value)| said(name) == value)
}
