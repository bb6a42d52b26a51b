//! The recorder over `drover-git`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drover_git::{
    CommitKey, CommitMeta, Edit, GitError, Mirror, Oid, PublishPolicy, PushAdvice, PushBudget,
    PushLimits, PushOutcome, RemoteRefs, Signature, StateBranch, StateTrust,
};
use drover_model::{Revision, Timestamp};

use super::vouch::{Believed, Vouched, Word};
use super::{Guard, PublishResult, PublishWhen, Recorder, RecorderError, StateCommit, Swap};
use crate::source::{SharedRefs, chain};

/// Attempts of a publication or a swap when others are faster; then the next pass is the retry.
const ATTEMPTS: u32 = 5;

/// What a [`GitRecorder`] needs beside the mirror.
#[derive(Debug, Clone)]
pub struct GitRecorderOptions {
    /// The branch.
    pub branch: String,
    /// Author and committer of state commits.
    pub identity: Signature,
    /// Spreads the attempts of agents that collide.
    pub seed: u64,
    /// Signs state commits. None: nobody does.
    pub signer: Option<Arc<CommitKey>>,
    /// Whose signatures count for an agent that knows nothing but the branch. None: nobody has to sign.
    pub trust: Option<StateTrust>,
    /// Where to remember what was published last. None: nowhere.
    pub anchor: Option<PathBuf>,
}

/// A state branch in a Git repository.
#[derive(Debug)]
pub struct GitRecorder {
    mirror: Arc<Mirror>,
    state: StateBranch,
    reference: String,
    identity: Signature,
    signer: Option<Arc<CommitKey>>,
    trust: Option<StateTrust>,
    vouched: Vouched,
    anchor: Option<PathBuf>,
    refs: SharedRefs,
    /// The branch's published tip, as last seen.
    remote: Option<Oid>,
    budget: PushBudget,
    seed: u64,
}

impl GitRecorder {
    /// Opens the writer of a state branch. `refs` is shared with the source over the same mirror.
    ///
    /// # Errors
    ///
    /// A bad branch name, or a broken local repository.
    pub fn open(
        mirror: Arc<Mirror>,
        refs: SharedRefs,
        options: GitRecorderOptions,
    ) -> Result<Self, GitError> {
        let limits = if mirror.url().is_local() {
            // A push is the move of a reference here, and people watch the log.
            PushLimits {
                per_minute: 6_000,
                quiet: Duration::ZERO,
                max_delay: Duration::ZERO,
            }
        } else {
            PushLimits::remote()
        };
        let reference = if options.branch.starts_with("refs/") {
            options.branch.clone()
        } else {
            format!("refs/heads/{}", options.branch)
        };
        let mut state = StateBranch::open(
            Arc::clone(&mirror),
            &options.branch,
            options.identity.clone(),
        )?;
        state.sign_with(options.signer.clone());
        Ok(Self {
            remote: mirror.read_ref(&reference)?,
            mirror,
            state,
            reference,
            identity: options.identity,
            signer: options.signer,
            trust: options.trust,
            vouched: Vouched::default(),
            anchor: options.anchor,
            refs,
            budget: PushBudget::new(limits),
            seed: options.seed,
        })
    }

    fn see(&mut self, refs: &RemoteRefs) -> Result<(), RecorderError> {
        self.state.load(refs).map_err(|error| failed(&error))?;
        self.remote = refs.all().get(&self.reference).copied();
        Ok(())
    }

    fn see_now(&mut self) -> Result<(), RecorderError> {
        let refs = self.mirror.list().map_err(|error| failed(&error))?;
        self.see(&refs)
    }

    fn push_once(&mut self, attempt: u32, now: Timestamp) -> Result<Option<usize>, RecorderError> {
        let policy = PublishPolicy {
            attempts: 1,
            pause: Duration::ZERO,
            seed: self.seed ^ u64::from(attempt),
        };
        match self.state.publish(&policy) {
            Ok(published) => {
                self.remote = self.state.published();
                if published.pushed > 0 {
                    self.budget.succeeded();
                }
                Ok(Some(published.pushed))
            }
            Err(GitError::Contended { .. }) => Ok(None),
            Err(error @ GitError::Throttled { until, .. }) => {
                self.budget.refused(now, until);
                tracing::info!(
                    %until,
                    per_hour = self.budget.per_hour(),
                    "the remote wants fewer pushes"
                );
                Err(failed(&error))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Remembers the published tip outside of Git.
    fn remember(&self, at: Timestamp) {
        let (Some(path), Some(tip)) = (&self.anchor, self.remote) else {
            return;
        };
        let place = self.mirror.url().redacted();
        let contains = |known: &str| {
            let known = known.parse::<Oid>().ok();
            // What cannot be compared is not called rewritten.
            known.is_none_or(|known| self.mirror.is_ancestor(known, tip).unwrap_or(true))
        };
        let place = (place.as_str(), self.reference.as_str());
        match super::anchor::remember(path, place, &tip.to_string(), at, contains) {
            Ok(None) => {}
            Ok(Some(was)) => tracing::warn!(
                was,
                now = tip.to_string(),
                "the state branch was rewritten: it lacks what was published from here"
            ),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the published commit cannot be remembered"
            ),
        }
    }

    fn guarded(&mut self, guard: &Guard<'_>) -> Result<bool, RecorderError> {
        let found = self.published(guard.path)?;
        Ok(found.is_none_or(|found| guard.holds(&found)))
    }
}

fn failed(error: &GitError) -> RecorderError {
    let message = chain(error);
    match error {
        GitError::Refused { .. } => RecorderError::Refused { message },
        GitError::TooLarge { .. } => RecorderError::TooLarge { message },
        _ => RecorderError::Unreachable { message },
    }
}

fn edits(commit: &StateCommit) -> Vec<Edit> {
    let edit = |(path, content): &(String, Option<Vec<u8>>)| Edit {
        path: path.clone(),
        content: content.clone(),
    };
    commit.files.iter().map(edit).collect()
}

impl Recorder for GitRecorder {
    fn look(&mut self) -> Result<(), RecorderError> {
        match self.refs.take() {
            Some(refs) => self.see(&refs),
            None => self.see_now(),
        }
    }

    fn vouch(&mut self, accepted: Option<&Revision>) -> Result<Option<Revision>, RecorderError> {
        self.vouched.tips = None;
        let Some(trust) = &self.trust else {
            return Ok(None);
        };
        let word = Word { trust, accepted };
        let tips: BTreeSet<Oid> = self.remote.into_iter().chain(self.state.tip()).collect();
        let mut by_word = false;
        for tip in &tips {
            let believed = self.vouched.judge(&self.mirror, *tip, word)?;
            by_word |= believed == Believed::Accepted;
        }
        self.vouched.tips = Some(tips.into_iter().collect());
        let published = self.remote.filter(|_| by_word);
        Ok(published.and_then(|tip| Revision::parse(&tip.to_string()).ok()))
    }

    fn published(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError> {
        let Some(tip) = self.remote else {
            return Ok(None);
        };
        let file = self
            .mirror
            .recorded(tip, path)
            .map_err(|error| failed(&error))?;
        Ok(file.map(|(_, bytes)| bytes))
    }

    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, RecorderError> {
        self.state.read(path).map_err(|error| failed(&error))
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, RecorderError> {
        self.state.list(folder).map_err(|error| failed(&error))
    }

    /// Compares ids: the content itself need not be read.
    fn has(&mut self, path: &str, content: Option<&[u8]>) -> Result<bool, RecorderError> {
        let found = self.state.id_of(path).map_err(|error| failed(&error))?;
        let wanted = content.map(Oid::of_blob).transpose();
        Ok(found == wanted.map_err(|error| failed(&error))?)
    }

    fn swap(
        &mut self,
        path: &str,
        expected: Option<&[u8]>,
        commit: &StateCommit,
    ) -> Result<Swap, RecorderError> {
        let meta = CommitMeta {
            message: commit.message.clone(),
            author: self.identity.clone(),
            time: commit.at,
            signer: self.signer.clone(),
        };
        for attempt in 0..ATTEMPTS {
            self.see_now()?;
            // A branch that was deleted gets its history back, and no new beginning.
            if self.remote.is_none() && self.state.tip().is_some() {
                self.push_once(attempt, commit.at)?;
                self.see_now()?;
                let found = self.published(path)?;
                let mut files = commit.files.iter();
                if files.any(|(file, content)| file == path && *content == found) {
                    return Ok(Swap::Done);
                }
            }
            let found = self.published(path)?;
            // What nobody looked at would be signed for.
            let elsewhere = |tips: &Vec<Oid>| self.remote.is_some_and(|tip| !tips.contains(&tip));
            let moved = self.vouched.tips.as_ref().is_some_and(elsewhere);
            if moved || found.as_deref() != expected {
                return Ok(Swap::Differs { found });
            }
            let built = self.mirror.build_commit(self.remote, &edits(commit), &meta);
            let Some(new) = built.map_err(|error| failed(&error))? else {
                return Ok(Swap::Done);
            };
            let moved = self.mirror.update(&self.reference, self.remote, new);
            match moved.map_err(|error| failed(&error))? {
                PushOutcome::Done => {
                    self.vouched.tips = None;
                    self.see_now()?;
                    self.remember(commit.at);
                    return Ok(Swap::Done);
                }
                PushOutcome::Moved { .. } => {}
                PushOutcome::Refused { message } => return Err(RecorderError::Refused { message }),
            }
        }
        Err(RecorderError::Unreachable {
            message: format!("{} moved {ATTEMPTS} times", self.reference),
        })
    }

    fn commit(&mut self, commits: &[StateCommit]) -> Result<Vec<bool>, RecorderError> {
        let queued: Vec<drover_git::StateCommit> = commits
            .iter()
            .map(|commit| drover_git::StateCommit {
                edits: edits(commit),
                message: commit.message.clone(),
                time: commit.at,
            })
            .collect();
        let made = self.state.commit_all(&queued);
        let made = made.map_err(|error| failed(&error))?;
        for (commit, _) in commits.iter().zip(&made).filter(|(_, id)| id.is_some()) {
            self.budget.changed(commit.at);
        }
        Ok(made.iter().map(Option::is_some).collect())
    }

    fn pending(&self) -> usize {
        self.state.pending()
    }

    fn kept(&self) -> Result<Option<String>, RecorderError> {
        let kept = self.state.kept_by().map_err(|error| failed(&error))?;
        let folder = self.mirror.directory().display();
        let commands = kept
            .iter()
            .map(|reference| format!("`git -C {folder} update-ref -d {reference}`"));
        let commands: Vec<String> = commands.collect();
        Ok((!commands.is_empty()).then(|| commands.join(" and ")))
    }

    fn publish(
        &mut self,
        now: Timestamp,
        guard: &Guard<'_>,
        when: PublishWhen,
    ) -> Result<PublishResult, RecorderError> {
        match (self.budget.advise(now, self.state.pending()), when) {
            (PushAdvice::Idle, _) => return Ok(PublishResult::Nothing),
            (PushAdvice::Wait { until }, PublishWhen::Due) => {
                return Ok(PublishResult::Waits { until });
            }
            (PushAdvice::Wait { .. }, PublishWhen::Now) | (PushAdvice::Push, _) => {}
        }
        self.budget.pushing(now);
        for attempt in 0..ATTEMPTS {
            // One attempt each: a push only ever lands on a tip whose guard was looked at.
            if attempt > 0 {
                self.see_now()?;
            }
            if !self.guarded(guard)? {
                return Ok(PublishResult::Fenced);
            }
            if let Some(commits) = self.push_once(attempt, now)? {
                self.remember(now);
                return Ok(PublishResult::Pushed { commits });
            }
        }
        Err(RecorderError::Unreachable {
            message: format!("{} moved {ATTEMPTS} times", self.reference),
        })
    }
}
