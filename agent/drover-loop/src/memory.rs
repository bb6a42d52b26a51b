//! A source and a recorder in memory, for tests and the simulator: a branch that tests write to, and
//! a state branch that tests read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drover_model::{Revision, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::recorder::{
    Guard, PublishResult, PublishWhen, Recorder, RecorderError, StateCommit, Swap,
};
use crate::source::{
    Authored, FileChange, History, RefusedFile, Source, SourceCommit, SourceError, SourceFile,
    SourcePlace, SourceTree, Written, hex,
};

/// A repository in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryRepository(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    commits: BTreeMap<Revision, Committed>,
    tip: Option<Revision>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// What [`Source::poll`] answers instead.
    failure: Option<SourceError>,
    polls: u64,
    reads: u64,
}

#[derive(Debug)]
struct Committed {
    parent: Option<Revision>,
    files: BTreeMap<String, String>,
    refused: Vec<RefusedFile>,
    commit: SourceCommit,
    incomplete: bool,
}

impl MemoryRepository {
    /// Returns an empty repository.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits `files` (the whole tree) on the tip.
    pub fn commit(&self, files: &[(&str, &str)]) -> Revision {
        let parent = self.lock().tip.clone();
        self.commit_on(parent, files)
    }

    /// As [`commit`](Self::commit), by another author than Ada.
    pub fn commit_by(&self, author: &str, files: &[(&str, &str)]) -> Revision {
        let revision = self.commit(files);
        if let Some(committed) = self.lock().commits.get_mut(&revision) {
            author.clone_into(&mut committed.commit.author);
        }
        revision
    }

    /// Commits `files` (the whole tree) without a parent: a rewritten history.
    pub fn rewrite(&self, files: &[(&str, &str)]) -> Revision {
        self.commit_on(None, files)
    }

    fn commit_on(&self, parent: Option<Revision>, files: &[(&str, &str)]) -> Revision {
        let mut inner = self.lock();
        let number = inner.commits.len();
        let digest = hex(&Sha256::digest(format!("commit {number}")));
        let revision = Revision::parse(&digest[..40]).expect("forty hexadecimal digits");
        let mut listed = BTreeMap::new();
        for (path, text) in files {
            let oid = hex(&Sha256::digest(text.as_bytes()));
            inner.blobs.insert(oid.clone(), text.as_bytes().to_vec());
            listed.insert((*path).to_owned(), oid);
        }
        let committed = Committed {
            parent,
            files: listed,
            refused: Vec::new(),
            commit: SourceCommit {
                revision: revision.clone(),
                author: "Ada <ada@example.com>".to_owned(),
                subject: format!("commit {number}"),
                trailers: BTreeMap::new(),
                time: Timestamp::UNIX_EPOCH,
                signer: None,
            },
            incomplete: false,
        };
        inner.commits.insert(revision.clone(), committed);
        inner.tip = Some(revision.clone());
        revision
    }

    /// Lets the tip's listing leave out a file, as it does with links.
    pub fn refuse(&self, path: &str, why: &str) {
        let mut inner = self.lock();
        if let Some(tip) = inner.tip.clone()
            && let Some(committed) = inner.commits.get_mut(&tip)
        {
            committed.files.remove(path);
            committed.refused.push(RefusedFile {
                path: path.to_owned(),
                why: why.to_owned(),
            });
        }
    }

    /// Lets the tip's listing be cut off by a limit.
    pub fn truncate(&self) {
        let mut inner = self.lock();
        if let Some(tip) = inner.tip.clone()
            && let Some(committed) = inner.commits.get_mut(&tip)
        {
            committed.incomplete = true;
        }
    }

    /// Moves the branch to a commit that exists.
    pub fn move_to(&self, revision: &Revision) {
        self.lock().tip = Some(revision.clone());
    }

    /// Lets polls fail, or succeed again.
    pub fn fail(&self, failure: Option<SourceError>) {
        self.lock().failure = failure;
    }

    /// Returns how often the tip was asked for, and how many files were read.
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.polls, inner.reads)
    }

    /// Returns a source that follows `place`.
    pub fn source(&self, place: SourcePlace) -> MemorySource {
        MemorySource {
            repository: self.clone(),
            place,
        }
    }
}

/// A source over a [`MemoryRepository`].
#[derive(Debug, Clone)]
pub struct MemorySource {
    repository: MemoryRepository,
    place: SourcePlace,
}

impl Source for MemorySource {
    fn place(&self) -> SourcePlace {
        self.place.clone()
    }

    fn poll(&mut self) -> Result<Revision, SourceError> {
        let mut inner = self.repository.lock();
        inner.polls += 1;
        match (&inner.failure, &inner.tip) {
            (Some(failure), _) => Err(failure.clone()),
            (None, None) => Err(SourceError::Emptied),
            (None, Some(tip)) => Ok(tip.clone()),
        }
    }

    fn tree(&mut self, revision: &Revision) -> Result<SourceTree, SourceError> {
        let inner = self.repository.lock();
        let missing = || SourceError::Internal {
            message: format!("no commit {revision}"),
        };
        let committed = inner.commits.get(revision).ok_or_else(missing)?;
        let root = self.place.path.trim_matches('/');
        let below = |path: &str| match root {
            "" => Some(path.to_owned()),
            root => path.strip_prefix(&format!("{root}/")).map(str::to_owned),
        };
        let files: Vec<SourceFile> = committed
            .files
            .iter()
            .filter_map(|(path, oid)| {
                Some(SourceFile {
                    path: below(path)?,
                    oid: oid.clone(),
                })
            })
            .collect();
        if files.is_empty() && !root.is_empty() {
            return Err(SourceError::PathMissing {
                path: root.to_owned(),
                revision: revision.clone(),
            });
        }
        let (rules, files): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|file| file.path == ".droverignore");
        let rules = rules.first().and_then(|rule| inner.blobs.get(&rule.oid));
        let text = String::from_utf8_lossy(rules.map_or(&[][..], Vec::as_slice)).into_owned();
        // Plain paths only: enough for tests of what changed rules mean.
        let ignored = |path: &str| text.lines().any(|line| line == path);
        Ok(SourceTree {
            commit: committed.commit.clone(),
            files: files
                .into_iter()
                .filter(|file| !ignored(&file.path))
                .collect(),
            refused: committed.refused.clone(),
            ignore_digest: hex(&Sha256::digest(text.as_bytes())),
            ignore_mistakes: Vec::new(),
            complete: !committed.incomplete,
        })
    }

    fn written_since(
        &mut self,
        revision: &Revision,
        in_force: &Revision,
    ) -> Result<Option<Vec<Written>>, SourceError> {
        let inner = self.repository.lock();
        let mut written = Vec::new();
        let mut at = Some(revision).filter(|tip| *tip != in_force);
        while let Some(committed) = at.and_then(|revision| inner.commits.get(revision)) {
            let before = committed.parent.as_ref();
            let had = before.and_then(|parent| inner.commits.get(parent));
            let had = |path: &String| had.and_then(|parent| parent.files.get(path));
            let new = committed.files.iter();
            let new = new.filter(|(path, oid)| had(path) != Some(*oid));
            let root = self.place.path.trim_matches('/');
            written.extend(new.filter_map(|(path, oid)| {
                let path = path.strip_prefix(root)?.trim_start_matches('/').to_owned();
                let oid = oid.clone();
                Some(Written {
                    revision: committed.commit.revision.clone(),
                    file: SourceFile { path, oid },
                })
            }));
            at = before.filter(|parent| *parent != in_force);
        }
        Ok(Some(written))
    }

    fn history(
        &mut self,
        revision: &Revision,
        base: Option<&Revision>,
    ) -> Result<History, SourceError> {
        let inner = self.repository.lock();
        let mut known = BTreeSet::new();
        let mut at = base;
        while let Some(revision) = at.filter(|revision| inner.commits.contains_key(*revision)) {
            known.insert(revision);
            at = inner.commits[revision].parent.as_ref();
        }
        let mut commits = Vec::new();
        let mut at = Some(revision);
        while let Some(revision) = at.filter(|revision| !known.contains(revision)) {
            let Some(committed) = inner.commits.get(revision) else {
                break;
            };
            let before = committed.parent.as_ref();
            let before = before.and_then(|parent| inner.commits.get(parent));
            let nothing = BTreeMap::new();
            let before = before.map_or(&nothing, |before| &before.files);
            let paths: BTreeSet<&String> = before.keys().chain(committed.files.keys()).collect();
            let changes = paths.into_iter().map(|path| FileChange {
                path: path.clone(),
                before: before.get(path).cloned(),
                after: committed.files.get(path).cloned(),
            });
            let changed = changes.filter(|change| change.before != change.after);
            commits.push(Authored {
                revision: revision.clone(),
                authors: vec![committed.commit.author.clone()],
                against: Some(vec![changed.collect()]),
            });
            at = committed.parent.as_ref();
        }
        Ok(History {
            commits,
            complete: true,
        })
    }

    fn read(&mut self, oid: &str) -> Result<Vec<u8>, SourceError> {
        let mut inner = self.repository.lock();
        inner.reads += 1;
        let missing = || SourceError::Internal {
            message: format!("no blob {oid}"),
        };
        inner.blobs.get(oid).cloned().ok_or_else(missing)
    }

    fn descends(&mut self, of: &Revision, ancestor: &Revision) -> Result<bool, SourceError> {
        let inner = self.repository.lock();
        let mut at = Some(of.clone());
        while let Some(revision) = at {
            if revision == *ancestor {
                return Ok(true);
            }
            let committed = inner.commits.get(&revision);
            at = committed.and_then(|committed| committed.parent.clone());
        }
        Ok(false)
    }
}

/// A state branch in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStateBranch(Arc<Mutex<StateInner>>);

#[derive(Debug, Default)]
struct StateInner {
    files: BTreeMap<String, Vec<u8>>,
    log: Vec<StateCommit>,
    failure: Option<RecorderError>,
    next_push_at: Option<Timestamp>,
    pushes: u64,
    /// Whether nothing can be committed here, either.
    full: bool,
    /// The tip, where nobody who counts signed it.
    unsigned: Option<Revision>,
}

impl MemoryStateBranch {
    /// Returns a branch that does not exist yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, StateInner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the published commits, oldest first.
    pub fn log(&self) -> Vec<StateCommit> {
        self.lock().log.clone()
    }

    /// Returns a published file.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().files.get(path).cloned()
    }

    /// Replaces a published file, as another agent or a person would.
    pub fn set_file(&self, path: &str, content: Option<Vec<u8>>) {
        let mut inner = self.lock();
        match content {
            Some(content) => inner.files.insert(path.to_owned(), content),
            None => inner.files.remove(path),
        };
    }

    /// Returns how often something was published.
    pub fn pushes(&self) -> u64 {
        self.lock().pushes
    }

    /// Lets every call that needs the remote fail, or succeed again.
    pub fn fail(&self, failure: Option<RecorderError>) {
        self.lock().failure = failure;
    }

    /// Lets the branch's tip be this one, which nobody who counts signed, or a signed one again.
    pub fn distrust(&self, tip: Option<Revision>) {
        self.lock().unsigned = tip;
    }

    /// Lets commits fail before anything is published, as on a full disk, or succeed again.
    pub fn fill(&self, full: bool) {
        self.lock().full = full;
    }

    /// Lets publications wait until then, or go ahead again.
    pub fn hold_pushes(&self, until: Option<Timestamp>) {
        self.lock().next_push_at = until;
    }

    /// Returns a writer of the branch.
    pub fn recorder(&self) -> MemoryRecorder {
        MemoryRecorder {
            branch: self.clone(),
            waiting: Vec::new(),
            edited: BTreeMap::new(),
        }
    }
}

/// A recorder over a [`MemoryStateBranch`]. What waits is lost with it.
#[derive(Debug)]
pub struct MemoryRecorder {
    branch: MemoryStateBranch,
    waiting: Vec<StateCommit>,
    /// The files as what waits leaves them. None: removed.
    edited: BTreeMap<String, Option<Vec<u8>>>,
}

impl StateInner {
    fn reachable(&self) -> Result<(), RecorderError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn add(&mut self, commit: StateCommit) {
        for (path, content) in &commit.files {
            match content {
                Some(content) => self.files.insert(path.clone(), content.clone()),
                None => self.files.remove(path),
            };
        }
        self.log.push(commit);
        self.unsigned = None;
    }
}

impl MemoryRecorder {
    fn newest(&self, path: &str) -> Option<Vec<u8>> {
        let ours = self.edited.get(path).cloned();
        ours.unwrap_or_else(|| self.branch.file(path))
    }
}

impl Recorder for MemoryRecorder {
    fn look(&mut self) -> Result<(), RecorderError> {
        self.branch.lock().reachable()
    }

    fn vouch(&mut self, accepted: Option<&Revision>) -> Result<Option<Revision>, RecorderError> {
        match &self.branch.lock().unsigned {
            None => Ok(None),
            Some(tip) if accepted == Some(tip) => Ok(Some(tip.clone())),
            Some(tip) => Err(RecorderError::Untrusted {
                commit: tip.clone(),
                tip: tip.clone(),
                why: "it is not signed".to_owned(),
            }),
        }
    }

    fn published(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError> {
        let inner = self.branch.lock();
        inner.reachable()?;
        Ok(inner.files.get(path).cloned())
    }

    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError> {
        Ok(self.newest(path))
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, RecorderError> {
        let prefix = format!("{folder}/");
        let inner = self.branch.lock();
        let paths = inner.files.keys().filter(|path| path.starts_with(&prefix));
        Ok(paths.cloned().collect())
    }

    fn swap(
        &mut self,
        path: &str,
        expected: Option<&[u8]>,
        commit: &StateCommit,
    ) -> Result<Swap, RecorderError> {
        let mut inner = self.branch.lock();
        inner.reachable()?;
        let found = inner.files.get(path).cloned();
        if found.as_deref() != expected {
            return Ok(Swap::Differs { found });
        }
        inner.add(commit.clone());
        Ok(Swap::Done)
    }

    fn commit(&mut self, commits: &[StateCommit]) -> Result<Vec<bool>, RecorderError> {
        if self.branch.lock().full {
            return Err(RecorderError::Unreachable {
                message: "the disk is full".to_owned(),
            });
        }
        let mut changed = Vec::with_capacity(commits.len());
        for commit in commits {
            let mut edits = commit.files.iter();
            let same = edits.all(|(path, content)| self.newest(path) == *content);
            if !same {
                self.edited.extend(commit.files.iter().cloned());
                self.waiting.push(commit.clone());
            }
            changed.push(!same);
        }
        Ok(changed)
    }

    fn pending(&self) -> usize {
        self.waiting.len()
    }

    fn publish(
        &mut self,
        now: Timestamp,
        guard: &Guard<'_>,
        when: PublishWhen,
    ) -> Result<PublishResult, RecorderError> {
        if self.waiting.is_empty() {
            return Ok(PublishResult::Nothing);
        }
        let mut inner = self.branch.lock();
        if let (PublishWhen::Due, Some(until)) = (when, inner.next_push_at)
            && now < until
        {
            return Ok(PublishResult::Waits { until });
        }
        inner.reachable()?;
        if inner
            .files
            .get(guard.path)
            .is_some_and(|found| !guard.holds(found))
        {
            return Ok(PublishResult::Fenced);
        }
        let commits = self.waiting.len();
        self.edited.clear();
        for commit in self.waiting.drain(..) {
            inner.add(commit);
        }
        inner.pushes += 1;
        Ok(PublishResult::Pushed { commits })
    }
}
