//! The writer of one branch that holds recorded state: commits are queued locally and survive a
//! restart; publishing never forces and never merges texts, but repeats our own edits on whatever
//! the branch has become.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use git2::{Repository, Sort};
use jiff::Timestamp;

use crate::commits::{self, Signature, find_commit, tree_of};
use crate::error::GitError;
use crate::mirror::{Mirror, file_id, read_blob};
use crate::oid::Oid;
use crate::open::clear_locks;
use crate::refs::{RemoteRefs, full_reference};
use crate::signing::CommitKey;
use crate::tree::Kind;
use crate::update::PushOutcome;
use crate::write::{Change, CommitMeta, Content, Edit};

/// The largest file of recorded state that is read, in bytes: what the largest group takes, many times over. Files of people
/// have [a lower limit](crate::FILE_BYTES_MAX).
pub const RECORDED_BYTES_MAX: u64 = 64 << 20;

/// How hard to try when other writers are faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishPolicy {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// The longest pause before the second attempt; it doubles up to 32 times this.
    pub pause: Duration,
    /// Seeds the jitter, so that writers that collide do not collide again.
    pub seed: u64,
}

/// Attempts of a publication when nobody says otherwise; then the caller's next pass is the retry.
pub const DEFAULT_ATTEMPTS: u32 = 5;

impl PublishPolicy {
    /// Returns the usual policy with this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            attempts: DEFAULT_ATTEMPTS,
            pause: Duration::from_millis(200),
            seed,
        }
    }

    /// The pause after the given attempt (from zero): random between nothing and a doubling limit.
    fn pause_after(&self, attempt: u32) -> Duration {
        let limit = self.pause.saturating_mul(1 << attempt.min(5));
        let random = mix(self.seed ^ u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        limit.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// One round of splitmix64: good enough to spread pauses.
fn mix(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What the remote's branch is to us after a look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// The branch does not exist and never did, as far as is known here.
    Absent,
    /// The branch has what was published from here, or nothing newer.
    Current,
    /// Somebody else added to the branch; without commits of ours pending, that is now the tip.
    Advanced,
    /// The branch no longer contains what was published: somebody rewrote it.
    Rewritten {
        /// What had been published.
        was: Oid,
    },
    /// The branch is gone, although it had been published. Our copy stays, and counts as pending.
    Lost {
        /// What had been published.
        was: Oid,
    },
}

/// One commit to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCommit {
    /// The paths that it changes.
    pub edits: Vec<Edit>,
    /// Subject, body and trailers.
    pub message: String,
    /// When what it records happened.
    pub time: Timestamp,
}

/// A publication that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Commits that are new on the branch.
    pub pushed: usize,
    /// How often our commits were repeated on a newer tip.
    pub rebuilt: u32,
    /// The branch's tip, none when there is nothing at all.
    pub tip: Option<Oid>,
}

/// The writer of one state branch. One writer per branch and mirror at a time; other machines may
/// write the same branch.
#[derive(Debug)]
pub struct StateBranch {
    mirror: Arc<Mirror>,
    /// The branch, in full.
    reference: String,
    /// Our commits that are not published; gone when there are none.
    pending_reference: String,
    /// What was last seen published.
    published_reference: String,
    identity: Signature,
    signer: Option<Arc<CommitKey>>,
    /// What readers see: our newest commit, else what was published.
    tip: Option<Oid>,
    /// The branch at the remote, as last seen.
    remote: Option<Oid>,
    /// What was last seen published; kept when the remote loses its branch.
    published: Option<Oid>,
    pending: usize,
    /// Joins packs, now and then.
    joining: Option<JoinHandle<()>>,
}

impl Drop for StateBranch {
    fn drop(&mut self) {
        self.wait_for_packs();
    }
}

impl StateBranch {
    /// Opens the writer with what is here; does not talk to the remote.
    ///
    /// # Errors
    ///
    /// [`GitError::BadReference`], or as the local repository has it.
    pub fn open(mirror: Arc<Mirror>, branch: &str, identity: Signature) -> Result<Self, GitError> {
        let reference = full_reference(branch)?;
        let short = reference.strip_prefix("refs/").unwrap_or(&reference);
        let short = short.strip_prefix("heads/").unwrap_or(short);
        let pending_reference = format!("refs/drover/pending/{short}");
        let published_reference = format!("refs/drover/published/{short}");
        let ours = mirror.read_ref(&pending_reference)?;
        let remote = mirror.read_ref(&reference)?;
        let published = mirror.read_ref(&published_reference)?.or(remote);
        let mut branch = Self {
            tip: ours.or(published),
            mirror,
            reference,
            pending_reference,
            published_reference,
            identity,
            signer: None,
            remote,
            published,
            pending: 0,
            joining: None,
        };
        branch.count_pending()?;
        Ok(branch)
    }

    /// Signs commits with this key from now on.
    pub fn sign_with(&mut self, key: Option<Arc<CommitKey>>) {
        self.signer = key;
    }

    /// Looks at the branch in a listing: fetches it, and adopts its tip when nothing of our own is
    /// pending. Otherwise [`StateBranch::publish`] brings both together.
    pub fn load(&mut self, refs: &RemoteRefs) -> Result<Loaded, GitError> {
        self.clear_locks()?;
        self.see(refs.all().get(&self.reference).copied())
    }

    /// Returns the newest commit: ours when there is one that is not published yet.
    pub fn tip(&self) -> Option<Oid> {
        self.tip
    }

    /// Returns what was last seen published, even when the remote has lost it since.
    pub fn published(&self) -> Option<Oid> {
        self.published
    }

    /// Returns the references that keep the branch's newest commit here, also when the branch is deleted.
    pub fn kept_by(&self) -> Result<Vec<&str>, GitError> {
        let mut kept = Vec::new();
        for reference in [&self.pending_reference, &self.published_reference] {
            if self.mirror.read_ref(reference)?.is_some() {
                kept.push(reference.as_str());
            }
        }
        Ok(kept)
    }

    /// Returns how many commits have still to be pushed.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Returns a file's content at the tip, of at most [`RECORDED_BYTES_MAX`] bytes.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let Some(tip) = self.tip else {
            return Ok(None);
        };
        self.mirror.with_repository(|repository| {
            file_id(repository, tip, path)?
                .map(|id| read_blob(repository, id, RECORDED_BYTES_MAX as usize))
                .transpose()
        })
    }

    /// Returns a file's id at the tip.
    pub fn id_of(&self, path: &str) -> Result<Option<Oid>, GitError> {
        let Some(tip) = self.tip else {
            return Ok(None);
        };
        self.mirror
            .with_repository(|repository| file_id(repository, tip, path))
    }

    /// Returns the paths of all files in a folder and below it at the tip, sorted.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, GitError> {
        let Some(tip) = self.tip else {
            return Ok(Vec::new());
        };
        let files = self.mirror.recorded_below(tip, folder)?;
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    /// Adds one commit to the queue. Returns none when nothing would change.
    pub fn commit(
        &mut self,
        edits: impl AsRef<[Edit]>,
        message: String,
        time: Timestamp,
    ) -> Result<Option<Oid>, GitError> {
        let commit = StateCommit {
            edits: edits.as_ref().to_vec(),
            message,
            time,
        };
        Ok(self.commit_all(&[commit])?.pop().flatten())
    }

    /// Adds commits to the queue, one on top of the other: all of them or, on an error, none. For
    /// many at once this is much cheaper than one by one, since they share a pack and a reference
    /// update. Returns the new ids in order, none where nothing would change.
    pub fn commit_all(&mut self, commits: &[StateCommit]) -> Result<Vec<Option<Oid>>, GitError> {
        self.clear_locks()?;
        let start = self.tip;
        let ids = self.mirror.write(|writer| {
            let mut base = start;
            let mut ids = Vec::with_capacity(commits.len());
            for commit in commits {
                let meta = CommitMeta {
                    message: commit.message.clone(),
                    author: self.identity.clone(),
                    time: commit.time,
                    signer: self.signer.clone(),
                };
                let changes: Vec<Change<'_>> = commit.edits.iter().map(Change::from).collect();
                let id = writer.commit(base, &changes, &meta)?;
                base = id.or(base);
                ids.push(id);
            }
            Ok(ids)
        })?;
        if let Some(newest) = ids.iter().rev().find_map(|id| *id) {
            self.mirror.set_reference(&self.pending_reference, newest)?;
            self.tip = Some(newest);
            self.pending += ids.iter().flatten().count();
            self.tidy();
        }
        Ok(ids)
    }

    /// Publishes what is pending. When the branch has moved, our commits are repeated on its new tip
    /// one by one, touching only the paths that each of them changed, with their messages and times.
    /// A remote that breaks off a conversation is asked again, within the same attempts.
    ///
    /// # Errors
    ///
    /// [`GitError::Contended`] when other writers won every attempt, [`GitError::Refused`], or as
    /// the network has it. What is pending stays pending.
    pub fn publish(&mut self, policy: &PublishPolicy) -> Result<Published, GitError> {
        self.clear_locks()?;
        let attempts = policy.attempts.max(1);
        let mut rebuilt = 0;
        for attempt in 0..attempts {
            if attempt > 0 {
                std::thread::sleep(policy.pause_after(attempt - 1));
            }
            match self.publish_once(&mut rebuilt) {
                Ok(Some(published)) => return Ok(published),
                Ok(None) => {
                    tracing::debug!(reference = self.reference, attempt, "state branch moved");
                }
                // Nothing is lost by asking again: a push names the value that it expects.
                Err(error) if attempt + 1 < attempts && is_passing(&error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, attempt, "the remote broke off");
                }
                Err(error) => return Err(error),
            }
        }
        Err(GitError::Contended {
            url: self.mirror.url().redacted(),
            reference: self.reference.clone(),
            attempts,
        })
    }

    /// One attempt at a publication; none when the branch has moved meanwhile, which is then known.
    fn publish_once(&mut self, rebuilt: &mut u32) -> Result<Option<Published>, GitError> {
        if self.rebuild_if_needed()? {
            *rebuilt += 1;
        }
        let pushed = self.pending;
        if let Some(tip) = self.tip.filter(|_| pushed > 0) {
            match self.mirror.update(&self.reference, self.remote, tip)? {
                PushOutcome::Done => self.settle(tip)?,
                PushOutcome::Moved { current } => {
                    self.see(current)?;
                    return Ok(None);
                }
                PushOutcome::Refused { message } => {
                    return Err(GitError::Refused {
                        url: self.mirror.url().redacted(),
                        reference: self.reference.clone(),
                        message,
                    });
                }
            }
        }
        Ok(Some(Published {
            pushed,
            rebuilt: *rebuilt,
            tip: self.tip,
        }))
    }

    /// Takes note of the remote's tip and compares it with ours.
    fn see(&mut self, remote: Option<Oid>) -> Result<Loaded, GitError> {
        if let Some(id) = remote {
            self.mirror.fetch_state(&[(&self.reference, id)])?;
        }
        self.remote = remote;
        let loaded = match (remote, self.published) {
            (None, None) => Loaded::Absent,
            (None, Some(was)) => Loaded::Lost { was },
            (Some(_), None) => Loaded::Advanced,
            (Some(remote), Some(was)) if remote == was => Loaded::Current,
            (Some(remote), Some(was)) => {
                let tip = self.tip.unwrap_or(was);
                if self.mirror.is_ancestor(was, remote)? {
                    let ours = self.mirror.is_ancestor(remote, tip)?;
                    if ours {
                        Loaded::Current
                    } else {
                        Loaded::Advanced
                    }
                } else {
                    Loaded::Rewritten { was }
                }
            }
        };
        if let Some(remote) = remote {
            // With nothing of ours outstanding, what the remote has is the truth.
            let nothing_ours = self.pending_tip()?.is_none();
            let contained = match self.tip {
                None => true,
                Some(tip) => nothing_ours || self.mirror.is_ancestor(tip, remote)?,
            };
            if contained {
                self.settle(remote)?;
                return Ok(loaded);
            }
        }
        self.count_pending()?;
        Ok(loaded)
    }

    /// In a repository on this machine a killed agent leaves locks that nobody else would remove.
    fn clear_locks(&self) -> Result<(), GitError> {
        let ours = [
            self.reference.as_str(),
            &self.pending_reference,
            &self.published_reference,
        ];
        self.mirror
            .with_repository(|repository| clear_locks(repository, &ours))
    }

    fn pending_tip(&self) -> Result<Option<Oid>, GitError> {
        self.mirror.read_ref(&self.pending_reference)
    }

    /// Records that the branch is at `tip` and nothing of ours is outstanding.
    fn settle(&mut self, tip: Oid) -> Result<(), GitError> {
        self.remote = Some(tip);
        self.tip = Some(tip);
        self.pending = 0;
        if self.published != Some(tip) || self.read_published()? != Some(tip) {
            self.mirror.set_reference(&self.published_reference, tip)?;
            self.published = Some(tip);
        }
        // Last: until here a restart finds the same commits and publishes them again, as a no-op.
        self.mirror.delete_reference(&self.pending_reference)
    }

    fn read_published(&self) -> Result<Option<Oid>, GitError> {
        self.mirror.read_ref(&self.published_reference)
    }

    fn count_pending(&mut self) -> Result<(), GitError> {
        self.pending = self.outstanding(self.remote)?.len();
        Ok(())
    }

    /// Our commits that are not in `remote`, oldest first.
    fn outstanding(&self, remote: Option<Oid>) -> Result<Vec<Oid>, GitError> {
        let Some(tip) = self.tip else {
            return Ok(Vec::new());
        };
        // A remote that lost its branch gets the whole history back.
        let known = remote.and(self.published);
        self.mirror.with_repository(|repository| {
            let broken = |error| GitError::local("find the commits to publish", error);
            let mut walk = repository.revwalk().map_err(broken)?;
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)
                .map_err(broken)?;
            walk.simplify_first_parent().map_err(broken)?;
            walk.push(tip.raw()).map_err(broken)?;
            for hidden in [remote, known].into_iter().flatten() {
                walk.hide(hidden.raw()).map_err(broken)?;
            }
            walk.map(|id| id.map(Oid::from).map_err(broken)).collect()
        })
    }

    /// Repeats our commits on the remote's tip unless they already stand on it.
    fn rebuild_if_needed(&mut self) -> Result<bool, GitError> {
        let (Some(remote), Some(tip)) = (self.remote, self.tip) else {
            return Ok(false);
        };
        if self.mirror.is_ancestor(remote, tip)? {
            return Ok(false);
        }
        let ours = self.outstanding(Some(remote))?;
        let rebuilt = self.mirror.write(|writer| {
            let mut onto = remote;
            for id in &ours {
                let commit = find_commit(writer.repository, *id)?;
                let changes = own_changes(writer.repository, *id)?;
                let changes: Vec<Change<'_>> = changes
                    .iter()
                    .map(|change| Change {
                        path: &change.path,
                        content: change.new.map_or(Content::Removed, Content::Existing),
                    })
                    .collect();
                let info = commits::info(&commit);
                let meta = CommitMeta {
                    message: info.message,
                    author: info.author,
                    time: info.time,
                    signer: self.signer.clone(),
                };
                // None: somebody else made the very same change, so there is nothing to say.
                if let Some(id) = writer.commit(Some(onto), &changes, &meta)? {
                    onto = id;
                }
            }
            Ok(onto)
        })?;
        if rebuilt == remote {
            self.settle(remote)?;
            return Ok(true);
        }
        // In this order: a stop in between leaves our commits on the new tip with the old mark,
        // from which the same commits are found, because those of the remote are hidden by it.
        self.mirror
            .set_reference(&self.pending_reference, rebuilt)?;
        self.mirror
            .set_reference(&self.published_reference, remote)?;
        self.published = Some(remote);
        self.tip = Some(rebuilt);
        self.count_pending()?;
        Ok(true)
    }

    /// Joins packs now and then, beside what comes next; a failure costs speed and room only, so it is no
    /// failure of the commit.
    fn tidy(&mut self) {
        if self.joining.as_ref().is_some_and(|it| !it.is_finished()) {
            return;
        }
        self.wait_for_packs();
        match self.mirror.has_small_packs() {
            Ok(false) => {}
            Ok(true) => {
                let mirror = Arc::clone(&self.mirror);
                let work = move || {
                    if let Err(error) = mirror.maintain() {
                        not_joined(&error);
                    }
                };
                self.joining = Some(std::thread::spawn(work));
            }
            Err(error) => not_joined(&error),
        }
    }

    fn wait_for_packs(&mut self) {
        if let Some(Err(_)) = self.joining.take().map(JoinHandle::join) {
            tracing::error!("joining packs panicked");
        }
    }
}

fn not_joined(error: &GitError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "packs could not be joined");
}

/// Tells whether a remote that is there failed one conversation: a busy host answers with an error,
/// or sends its headers and then cannot start the program behind them.
fn is_passing(error: &GitError) -> bool {
    matches!(
        error,
        GitError::Protocol { .. }
            | GitError::Unavailable { .. }
            | GitError::MovedWhileFetching { .. }
    )
}

/// What one commit changed against its first parent.
fn own_changes(repository: &Repository, id: Oid) -> Result<Vec<commits::ChangedPath>, GitError> {
    let commit = find_commit(repository, id)?;
    let parent = commit.parents().next();
    let before = parent.as_ref().map(tree_of).transpose()?;
    commits::diff(repository, before.as_ref(), Some(&tree_of(&commit)?), "")
}

/// Returns paths and ids of all files in a folder of a commit and below it, sorted.
pub(crate) fn files_below(
    repository: &Repository,
    commit: Oid,
    folder: &str,
) -> Result<Vec<(String, Oid)>, GitError> {
    let broken = |error| GitError::local(format!("list the folder {folder:?}"), error);
    let mut tree = tree_of(&find_commit(repository, commit)?)?;
    let folder = folder.trim_matches('/');
    if !folder.is_empty() {
        let id = match tree.get_path(std::path::Path::new(folder)) {
            Ok(entry) if Kind::of(entry.filemode()) == Kind::Folder => entry.id(),
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(broken(error)),
        };
        tree = repository.find_tree(id).map_err(broken)?;
    }
    let mut found = Vec::new();
    tree.walk(git2::TreeWalkMode::PreOrder, |above, entry| {
        if Kind::of(entry.filemode()) == Kind::File
            && let Ok(name) = entry.name()
        {
            let above = above.to_owned() + name;
            let path = if folder.is_empty() {
                above
            } else {
                format!("{folder}/{above}")
            };
            found.push((path, entry.id().into()));
        }
        git2::TreeWalkResult::Ok
    })
    .map_err(broken)?;
    found.sort();
    Ok(found)
}
