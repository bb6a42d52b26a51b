//! What reviewers said on the Git host: a review of a merged pull request counts as an approval of the change that
//! came of it, for reviewers whom the agent's own file names.
//!
//! A review is of one commit. It counts for a group when nothing that its change rests on differs between that commit
//! and the one that asks for approval: other groups' files may, since other pull requests are merged meanwhile; its own
//! file, policies, bindings, providers and everything else may not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_git::{IGNORE_FILE, Mirror, Oid};
use drover_loop::{Awaited, Operations, RefusedOperation, SourceError, chain};
use drover_model::{
    APPROVAL_LIFETIME_MAX, Approval, ApprovalVerdict, Approvals, GroupName, Kind, Revision, Signer,
    Timestamp,
};
use drover_spec::agent_config::ReviewsConfig;
use tracing::warn;

use crate::forge::{Forge, ForgeSettings, MergedPull, Review, ReviewVerdict};

#[cfg(test)]
mod tests;

/// How long all calls of one look may take: the pass waits for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer is believed: passes are many while something waits.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// Commits whose answers are remembered.
const REMEMBERED_MAX: usize = 200;

/// How the reason of an approval begins that a review gave; the number of the pull request follows.
const REVIEW_OF: &str = "review of pull request ";

/// Returns whether an approval as it is recorded is said to be of a review on the Git host.
pub(crate) fn is_of_review(approval: &Approval) -> bool {
    let number = approval.because.strip_prefix(REVIEW_OF);
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// What people decided, by signed operations and on the Git host.
#[derive(Debug)]
pub(crate) struct Decisions {
    /// None: there is no list of signers.
    pub(crate) operations: Option<Box<dyn Operations>>,
    pub(crate) reviews: Reviews,
}

impl Operations for Decisions {
    fn approvals(
        &mut self,
        awaited: &[Awaited],
        now: Timestamp,
    ) -> Result<Arc<Approvals>, SourceError> {
        let signed = match &mut self.operations {
            Some(operations) => operations.approvals(awaited, now)?,
            None => Arc::default(),
        };
        let said = self.reviews.about(awaited);
        if said.is_empty() {
            return Ok(signed);
        }
        let mut all = Arc::unwrap_or_clone(signed);
        for (group, approval) in said {
            all.add(group, approval);
        }
        Ok(Arc::new(all))
    }

    fn refused(&self) -> Vec<RefusedOperation> {
        let operations = self.operations.as_ref();
        operations.map_or_else(Vec::new, |operations| operations.refused())
    }
}

/// The reviews of one repository on its host.
#[derive(Debug)]
pub(crate) struct Reviews {
    config: ReviewsConfig,
    mirror: Arc<Mirror>,
    branch: String,
    /// The configuration's root.
    root: String,
    known: BTreeMap<Oid, Known>,
    failure: Option<String>,
}

/// The commits that may have brought a change, or why they cannot be found.
type Brought = Result<Vec<Oid>, String>;

/// What the host said about a commit.
#[derive(Debug, Clone)]
struct Known {
    asked: Instant,
    pulls: Vec<(MergedPull, Vec<Review>)>,
}

impl Reviews {
    pub(crate) fn new(
        config: ReviewsConfig,
        mirror: Arc<Mirror>,
        branch: String,
        path: &str,
    ) -> Self {
        Self {
            config,
            mirror,
            branch,
            root: path.trim_matches('/').to_owned(),
            known: BTreeMap::new(),
            failure: None,
        }
    }

    /// Returns what reviewers said about changes that wait. What cannot be asked is as before, and told once.
    fn about(&mut self, awaited: &[Awaited]) -> Vec<(GroupName, Approval)> {
        let commits: Vec<Brought> = awaited.iter().map(|it| self.commits_of(it)).collect();
        let failed = self.ask(&commits).err();
        if failed.is_some() && failed != self.failure {
            warn!(error = failed, "cannot ask for reviews");
        }
        self.failure = failed;
        let said = awaited.iter().zip(&commits);
        said.flat_map(|(awaited, commits)| {
            self.said(awaited, commits.as_deref().unwrap_or_default())
        })
        .collect()
    }

    /// Asks the host about the commits that brought the changes.
    fn ask(&mut self, brought: &[Brought]) -> Result<(), String> {
        let mut commits = BTreeSet::new();
        for brought in brought {
            commits.extend(brought.as_ref().map_err(Clone::clone)?);
        }
        self.known.retain(|commit, _| commits.contains(commit));
        let stale = |known: &Known| known.asked.elapsed() >= BELIEVED_FOR;
        let due = commits.into_iter();
        let due = due.filter(|commit| self.known.get(commit).is_none_or(stale));
        let due: Vec<Oid> = due.take(REMEMBERED_MAX).collect();
        if due.is_empty() {
            return Ok(());
        }
        let forge = self.forge()?;
        // One pull request may have brought many commits.
        let mut reviews: BTreeMap<u64, Vec<Review>> = BTreeMap::new();
        for commit in due {
            let pulls = forge.merged_pulls(&commit.to_string());
            let pulls = pulls.map_err(|error| chain(&error))?;
            let mut of_commit = Vec::new();
            for pull in pulls.into_iter().filter(|pull| pull.target == self.branch) {
                let all = match reviews.get(&pull.number) {
                    Some(all) => all.clone(),
                    None => forge.reviews(&pull).map_err(|error| chain(&error))?,
                };
                reviews.insert(pull.number, all.clone());
                of_commit.push((pull, all));
            }
            let known = Known {
                asked: Instant::now(),
                pulls: of_commit,
            };
            self.known.insert(commit, known);
        }
        Ok(())
    }

    fn forge(&self) -> Result<Forge, String> {
        let path = self.config.token_file.display();
        let token = std::fs::read_to_string(&self.config.token_file)
            .map_err(|error| format!("cannot read the token in {path}: {error}"))?;
        let settings = ForgeSettings {
            kind: self.config.kind.into(),
            api: &self.config.api,
            token: drover_git::Secret::new(token.trim()),
            ca_file: self.config.ca_file.as_deref(),
            patience: PATIENCE,
        };
        Forge::new(&settings, &self.config.repository).map_err(|error| chain(&error))
    }

    /// Returns the commits that may have brought a change: the one that asks, and the last that changed the group's file.
    fn commits_of(&self, awaited: &Awaited) -> Brought {
        let tip = oid(&awaited.revision)?;
        let mut commits = vec![tip];
        if let Some(path) = &awaited.path {
            let path = self.below_root(path);
            let log = self.mirror.log(tip, Some(&path), 1);
            let log = log.map_err(|error| chain(&error))?;
            commits.extend(log.into_iter().map(|commit| commit.id));
        }
        Ok(commits)
    }

    fn below_root(&self, path: &str) -> String {
        match self.root.as_str() {
            "" => path.to_owned(),
            root => format!("{root}/{path}"),
        }
    }

    /// Returns what was said about one change, as far as it counts.
    fn said(&self, awaited: &Awaited, commits: &[Oid]) -> Vec<(GroupName, Approval)> {
        let pulls = commits.iter().filter_map(|commit| self.known.get(commit));
        let mut latest: BTreeMap<Signer, (Timestamp, Approval)> = BTreeMap::new();
        for (pull, reviews) in pulls.flat_map(|known| &known.pulls) {
            for review in reviews {
                let Some(approval) = self.approval(awaited, pull, review) else {
                    continue;
                };
                let newer = latest.get(&approval.signer);
                if newer.is_none_or(|(at, _)| *at < review.at) {
                    latest.insert(approval.signer.clone(), (review.at, approval));
                }
            }
        }
        let said = latest.into_values();
        said.map(|(_, approval)| (awaited.group.clone(), approval))
            .collect()
    }

    fn approval(&self, awaited: &Awaited, pull: &MergedPull, review: &Review) -> Option<Approval> {
        let same = |login: &str| login.eq_ignore_ascii_case(&review.login);
        let mut reviewers = self.config.reviewers.iter();
        let (_, signer) = reviewers.find(|(login, _)| same(login))?;
        if same(&pull.author) {
            return None;
        }
        let verdict = match review.verdict {
            // Whatever it was about, somebody who may decide does not want it.
            ReviewVerdict::Reject => ApprovalVerdict::Reject,
            ReviewVerdict::Approve if self.covers(awaited, pull, review) => {
                ApprovalVerdict::Approve
            }
            ReviewVerdict::Approve => return None,
        };
        Some(Approval {
            change: awaited.change.clone(),
            signer: signer.clone(),
            verdict,
            at: review.at,
            expires: review.at.checked_add(APPROVAL_LIFETIME_MAX).ok()?,
            because: format!("{REVIEW_OF}{}", pull.number),
            operation: Revision::parse(&review.commit).ok()?,
        })
    }

    /// Whether what was reviewed is what asks for approval now, as far as the group goes.
    fn covers(&self, awaited: &Awaited, pull: &MergedPull, review: &Review) -> bool {
        let Ok(reviewed) = review.commit.parse::<Oid>() else {
            return false;
        };
        if self.mirror.commit(reviewed).is_err() && !self.bring(pull, reviewed) {
            return false;
        }
        let Ok(tip) = oid(&awaited.revision) else {
            return false;
        };
        let differ = self.mirror.tree_diff(Some(reviewed), tip, &self.root);
        differ.is_ok_and(|differ| {
            differ.iter().all(|file| {
                let sides = [file.old, file.new].into_iter().flatten();
                let other = |id| self.is_of_others(&file.path, id, &awaited.group);
                sides.into_iter().all(other)
            })
        })
    }

    /// Fetches what a pull request proposed, where that was squashed or rebased: it is not in the branch's history.
    fn bring(&self, pull: &MergedPull, reviewed: Oid) -> bool {
        let Ok(refs) = self.mirror.list() else {
            return false;
        };
        let named = refs.all().get(&pull.reference);
        named == Some(&reviewed) && self.mirror.fetch(&[(&pull.reference, reviewed)]).is_ok()
    }

    /// Whether a file has nothing but other groups' documents, or nothing that the agent reads.
    fn is_of_others(&self, path: &str, content: Oid, group: &GroupName) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name == IGNORE_FILE {
            return false;
        }
        if !drover_git::is_document(name) {
            return true;
        }
        let bytes = self
            .mirror
            .read(content, drover_git::FILE_BYTES_MAX as usize);
        bytes.is_ok_and(|bytes| {
            let parsed = drover_spec::parse_file(path, &bytes);
            parsed.identities_readable()
                && parsed.documents.iter().all(|document| {
                    let identity = document.identity.as_ref();
                    identity
                        .is_some_and(|(kind, name)| *kind == Kind::Group && name != group.as_str())
                })
        })
    }
}

fn oid(revision: &Revision) -> Result<Oid, String> {
    let id = revision.as_str().parse();
    id.map_err(|_| format!("{revision} is no object id"))
}
