//! A source with two commits, and a state branch that keeps the latest files and no history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drover_loop::{
    Authored, Guard, History, PublishResult, PublishWhen, Recorder, RecorderError, Source,
    SourceCommit, SourceError, SourceFile, SourcePlace, SourceTree, StateCommit, Swap, Written,
};
use drover_model::{Revision, Timestamp};

use super::scenario::Commit;

/// A branch whose tip moves from the base to the head.
#[derive(Debug, Clone)]
pub(super) struct Branch(Arc<Mutex<Tips>>);

#[derive(Debug)]
struct Tips {
    place: SourcePlace,
    commits: Vec<Commit>,
    /// The texts of all commits by their names.
    blobs: BTreeMap<String, String>,
    tip: usize,
    committed_at: Timestamp,
}

impl Branch {
    pub(super) fn new(place: SourcePlace, commits: Vec<Commit>, committed_at: Timestamp) -> Self {
        let texts = commits.iter().flat_map(|commit| commit.files.values());
        Self(Arc::new(Mutex::new(Tips {
            place,
            blobs: texts.map(|text| (blob_of(text), text.clone())).collect(),
            commits,
            tip: 0,
            committed_at,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Tips> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the tip to the next commit.
    pub(super) fn push(&self) {
        let mut tips = self.lock();
        tips.tip = (tips.tip + 1).min(tips.commits.len() - 1);
    }
}

/// Returns the name of a content: equal texts are one blob.
fn blob_of(text: &str) -> String {
    let hash = drover_provider_sim::of_text(0, text);
    format!("{hash:016x}{:08x}", text.len())
}

impl Tips {
    fn find(&self, revision: &Revision) -> Result<&Commit, SourceError> {
        let mut commits = self.commits.iter();
        let found = commits.find(|commit| commit.revision == *revision);
        found.ok_or_else(|| SourceError::Internal {
            message: format!("no commit {revision}"),
        })
    }
}

impl Source for Branch {
    fn place(&self) -> SourcePlace {
        self.lock().place.clone()
    }

    fn poll(&mut self) -> Result<Revision, SourceError> {
        let tips = self.lock();
        Ok(tips.commits[tips.tip].revision.clone())
    }

    fn tree(&mut self, revision: &Revision) -> Result<SourceTree, SourceError> {
        let tips = self.lock();
        let commit = tips.find(revision)?;
        let files = commit.files.iter().map(|(path, text)| SourceFile {
            path: path.clone(),
            oid: blob_of(text),
        });
        Ok(SourceTree {
            commit: SourceCommit {
                revision: commit.revision.clone(),
                author: commit.author.clone(),
                subject: commit.subject.clone(),
                trailers: commit.trailers.clone(),
                time: tips.committed_at,
                signer: None,
            },
            files: files.collect(),
            refused: Vec::new(),
            // Both commits are given as documents alone, so the rules that chose them are equal.
            ignore_digest: String::new(),
            ignore_mistakes: Vec::new(),
            complete: true,
        })
    }

    fn written_since(
        &mut self,
        _revision: &Revision,
        _in_force: &Revision,
    ) -> Result<Option<Vec<Written>>, SourceError> {
        // The second commit is the one after the first.
        Ok(Some(Vec::new()))
    }

    /// Whoever wrote the head wrote all that is new in it.
    fn history(
        &mut self,
        revision: &Revision,
        base: Option<&Revision>,
    ) -> Result<History, SourceError> {
        let tips = self.lock();
        let commit = tips.find(revision)?;
        let mut commits = Vec::new();
        if base != Some(revision) {
            commits.push(Authored {
                revision: revision.clone(),
                authors: vec![commit.author.clone()],
                against: None,
            });
        }
        Ok(History {
            commits,
            complete: true,
        })
    }

    fn read(&mut self, oid: &str) -> Result<Vec<u8>, SourceError> {
        let tips = self.lock();
        let found = tips.blobs.get(oid);
        found
            .map(|text| text.as_bytes().to_vec())
            .ok_or_else(|| SourceError::Internal {
                message: format!("no blob {oid}"),
            })
    }

    /// The head is simulated as merged: whatever is in force is an ancestor of it.
    fn descends(&mut self, _of: &Revision, _ancestor: &Revision) -> Result<bool, SourceError> {
        Ok(true)
    }
}

/// A state branch in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct StateBranch(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl StateBranch {
    pub(super) fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(files)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, commit: &StateCommit) -> bool {
        let mut files = self.lock();
        let mut changed = false;
        for (path, content) in &commit.files {
            changed |= files.get(path) != content.as_ref();
            match content {
                Some(content) => files.insert(path.clone(), content.clone()),
                None => files.remove(path),
            };
        }
        changed
    }
}

impl Recorder for StateBranch {
    fn look(&mut self) -> Result<(), RecorderError> {
        Ok(())
    }

    fn published(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError> {
        Ok(self.lock().get(path).cloned())
    }

    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError> {
        self.published(path)
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, RecorderError> {
        let prefix = format!("{folder}/");
        let files = self.lock();
        let paths = files.keys().filter(|path| path.starts_with(&prefix));
        Ok(paths.cloned().collect())
    }

    fn swap(
        &mut self,
        path: &str,
        expected: Option<&[u8]>,
        commit: &StateCommit,
    ) -> Result<Swap, RecorderError> {
        let found = self.lock().get(path).cloned();
        if found.as_deref() != expected {
            return Ok(Swap::Differs { found });
        }
        self.add(commit);
        Ok(Swap::Done)
    }

    fn commit(&mut self, commits: &[StateCommit]) -> Result<Vec<bool>, RecorderError> {
        Ok(commits.iter().map(|commit| self.add(commit)).collect())
    }

    fn pending(&self) -> usize {
        0
    }

    fn publish(
        &mut self,
        _now: Timestamp,
        _guard: &Guard<'_>,
        _when: PublishWhen,
    ) -> Result<PublishResult, RecorderError> {
        Ok(PublishResult::Nothing)
    }
}
