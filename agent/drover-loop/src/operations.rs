//! What people with a key asked, read from the operations branch: found in its history, verified
//! against the agent's own list of signers, and handed to planning as a table. A document counts
//! once, wherever else it turns up, and whatever does not count is told with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use drover_git::{AllowedSigners, ChangedPath, GitError, Mirror, Oid, RemoteRefs, SignersFile};
use drover_model::{
    APPROVAL_LIFETIME_MAX, Approval, Approvals, FleetName, Order, Revision, Signer, Timestamp,
};
use drover_spec::operation::{
    self, Asked, OPERATION_BYTES_MAX, OPERATION_NAMESPACE, OPERATIONS_FOLDER, Operation,
};
use sha2::{Digest as _, Sha256};

use crate::source::{Awaited, Operations, SharedRefs, SourceError, chain, hex};

/// The branch of operations.
pub const OPERATIONS_BRANCH: &str = "drover/ops";

/// Commits that are read of the branch's history at most: decades of approvals.
pub const OPERATION_COMMITS_MAX: usize = 100_000;

/// How long an operation may count at most.
pub const LIFETIME_MAX: Duration = APPROVAL_LIFETIME_MAX;

/// How far a signer's clock may be ahead of ours.
const AHEAD_MAX: Duration = Duration::from_mins(5);

/// How long what has expired is still told.
const TOLD_FOR: Duration = Duration::from_hours(7 * 24);

/// Refused operations that are told, the newest.
const REFUSED_MAX: usize = 100;

/// What the operations branch says at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationsRead {
    /// What counts, or has counted: whether it still does depends on the time.
    pub approvals: Arc<Approvals>,
    /// What does not count, the oldest first.
    pub refused: Vec<RefusedOperation>,
    /// Why the branch, or the list of signers, cannot be used: then what was read before still
    /// counts, and nothing new does.
    pub failure: Option<String>,
}

/// An operation that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedOperation {
    /// Its file on the branch.
    pub path: String,
    /// The commit that brought it.
    pub commit: Revision,
    /// A word for programs.
    pub reason: OperationRefusal,
    /// Why, for people.
    pub why: String,
}

/// Why an operation does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationRefusal {
    /// It cannot be read.
    Invalid,
    /// It is not signed, or by nobody who counts.
    Signature,
    /// The same document was there before, under another name.
    Replayed,
    /// Its time is over.
    Expired,
    /// It claims to be from the future.
    Future,
    /// It is for another fleet.
    OtherFleet,
}

impl OperationRefusal {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::Signature => "Signature",
            Self::Replayed => "Replayed",
            Self::Expired => "Expired",
            Self::Future => "Future",
            Self::OtherFleet => "OtherFleet",
        }
    }
}

impl fmt::Display for OperationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Whose operations count, and for whom.
#[derive(Debug, Clone)]
pub struct OperationsOptions {
    /// The branch.
    pub branch: String,
    /// Our fleet.
    pub fleet: FleetName,
    /// The agent's own list of signers.
    pub signers: SignersFile,
    /// Whether what was read is remembered.
    pub memory: Memory,
    /// The longest history that is read, in commits: [`OPERATION_COMMITS_MAX`].
    pub commits_max: usize,
}

/// Whether a reader remembers across restarts what it has read of the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// In the mirror: a branch that is rewritten while no agent runs is noticed.
    Kept,
    /// Nowhere: a dry run writes nothing.
    Nowhere,
}

/// Reads the operations branch and keeps what was read.
#[derive(Debug)]
pub struct OperationsReader {
    mirror: Arc<Mirror>,
    /// What the source over the same mirror has listed.
    refs: SharedRefs,
    options: OperationsOptions,
    /// Every file that ever was on the branch, in the order in which they came.
    files: Vec<File>,
    commits: BTreeSet<Oid>,
    tip: Option<Oid>,
    judged: Judged,
    latest: OperationsRead,
}

#[derive(Debug)]
struct File {
    path: String,
    commit: Revision,
    blob: Oid,
}

/// What files were found to be, as of one list of signers.
#[derive(Debug, Default)]
struct Judged {
    signers: String,
    /// By the file's place in the order.
    verdicts: Vec<Result<(Operation, Signer), (OperationRefusal, String)>>,
    /// The digest of each verified document, with where it was first.
    seen: BTreeMap<String, String>,
}

impl OperationsReader {
    /// Makes a reader; reads nothing yet. `refs` is shared with the source over the same mirror.
    pub fn new(mirror: Arc<Mirror>, refs: SharedRefs, options: OperationsOptions) -> Self {
        Self {
            mirror,
            refs,
            options,
            files: Vec::new(),
            commits: BTreeSet::new(),
            tip: None,
            judged: Judged::default(),
            latest: OperationsRead::default(),
        }
    }

    /// Brings the table up to date with a listing of the repository's references. Blocks; talks to
    /// the remote only when the branch has moved.
    pub fn read(&mut self, refs: &RemoteRefs, now: Timestamp) -> OperationsRead {
        let failure = self.follow(refs).and_then(|()| self.judge()).err();
        let mut operations = self.table(now);
        operations.failure = failure;
        self.latest = operations.clone();
        operations
    }

    /// Reads what is new on the branch.
    fn follow(&mut self, refs: &RemoteRefs) -> Result<(), String> {
        let told = |error: GitError| chain(&error);
        let name = format!("refs/heads/{}", self.options.branch);
        let known = match self.tip {
            Some(tip) => Some(tip),
            None => self.mirror.remembered("operations").map_err(told)?,
        };
        let Some(tip) = refs.all().get(&name).copied() else {
            return match known {
                Some(_) => Err(format!("branch {} is gone", self.options.branch)),
                None => Ok(()),
            };
        };
        if self.tip == Some(tip) {
            return Ok(());
        }
        self.mirror.fetch(&[(&name, tip)]).map_err(told)?;
        if let Some(known) = known
            && !self.mirror.is_ancestor(known, tip).map_err(told)?
        {
            // A rejection may have been taken out.
            return Err(format!(
                "branch {} was rewritten: {} does not descend from {}",
                self.options.branch,
                tip.short(),
                known.short()
            ));
        }
        let most = self.options.commits_max;
        let log = self
            .mirror
            .log(tip, Some(OPERATIONS_FOLDER), most.saturating_add(1));
        let log = log.map_err(told)?;
        if log.len() > most {
            // A rejection may be among what would not be read.
            return Err(format!(
                "branch {} has more than {most} commits with operations, and an older one may be a rejection",
                self.options.branch
            ));
        }
        for commit in log.into_iter().rev() {
            if self.commits.contains(&commit.id) {
                continue;
            }
            let parent = commit.parents.first().copied();
            let changed = self.mirror.tree_diff(parent, commit.id, OPERATIONS_FOLDER);
            for change in changed.map_err(told)? {
                self.take(change, commit.id)?;
            }
            self.commits.insert(commit.id);
        }
        if self.options.memory == Memory::Kept {
            self.mirror.remember("operations", tip).map_err(told)?;
        }
        self.tip = Some(tip);
        Ok(())
    }

    /// Takes a file up. One that was removed again counts as before.
    fn take(&mut self, change: ChangedPath, commit: Oid) -> Result<(), String> {
        let Some(blob) = change.new else {
            return Ok(());
        };
        let commit = Revision::parse(&commit.to_string()).map_err(|error| error.to_string())?;
        self.files.push(File {
            path: change.path,
            commit,
            blob,
        });
        Ok(())
    }

    /// Verifies what is new, or everything when the list of signers has changed.
    fn judge(&mut self) -> Result<(), String> {
        if self.files.is_empty() {
            return Ok(());
        }
        let path = &self.options.signers.0;
        let text = self.options.signers.text().map_err(|error| chain(&error))?;
        let signers = AllowedSigners::parse(&text)
            .map_err(|why| format!("the signers in {} cannot be read: {why}", path.display()))?;
        // Only now: a list that cannot be read takes nothing back.
        if text != self.judged.signers {
            self.judged = Judged::default();
        }
        let begun = self.judged.verdicts.len();
        let Judged { verdicts, seen, .. } = &mut self.judged;
        for file in &self.files[begun..] {
            let text = text_of(&self.mirror, file.blob)?;
            let signed = text.as_deref().and_then(operation::split);
            let digest = signed.map(|(document, _)| hex(&Sha256::digest(document)));
            let before = digest.as_ref().and_then(|digest| seen.get(digest));
            // What was there before is not computed again: whoever may push can copy a file thousands of times.
            if let Some(path) = before.filter(|path| **path != file.path) {
                let why = format!("it was there before as {path}");
                verdicts.push(Err((OperationRefusal::Replayed, why)));
                continue;
            }
            let verdict = verify(&file.path, text.as_deref(), &signers, &self.options.fleet);
            // Only what is verified was there before: nobody else can use a document up.
            if let (Ok(_), Some(digest)) = (&verdict, digest) {
                seen.insert(digest, file.path.clone());
            }
            verdicts.push(verdict);
        }
        self.judged.signers = text;
        Ok(())
    }

    /// Sorts what was judged by what the time makes of it.
    fn table(&self, now: Timestamp) -> OperationsRead {
        let mut approvals = Approvals::default();
        let mut refused = Vec::new();
        let mut taken = BTreeSet::new();
        for (file, verdict) in self.files.iter().zip(&self.judged.verdicts) {
            let refusal = match verdict {
                Ok((operation, signer)) => {
                    let refusal = timely(operation, now);
                    let ahead = matches!(&refusal, Some((OperationRefusal::Future, _)));
                    // Two commits may bring one file, as a merge does.
                    if !ahead && taken.insert((&file.path, file.blob)) {
                        take_up(&mut approvals, file, operation, signer);
                    }
                    refusal
                }
                Err(refusal) => Some(refusal.clone()),
            };
            if let Some((reason, why)) = refusal {
                refused.push(RefusedOperation {
                    path: file.path.clone(),
                    commit: file.commit.clone(),
                    reason,
                    why,
                });
            }
        }
        let excess = refused.len().saturating_sub(REFUSED_MAX);
        OperationsRead {
            approvals: Arc::new(approvals),
            refused: refused.split_off(excess),
            failure: None,
        }
    }
}

impl Operations for OperationsReader {
    fn approvals(
        &mut self,
        _awaited: &[Awaited],
        now: Timestamp,
    ) -> Result<Arc<Approvals>, SourceError> {
        let unreachable = |message: String| SourceError::Unreachable { message };
        let refs = if let Some(refs) = self.refs.peek() {
            refs
        } else {
            let listed = self.mirror.list();
            listed.map_err(|error| unreachable(chain(&error)))?
        };
        let read = self.read(&refs, now);
        match read.failure {
            None => Ok(read.approvals),
            Some(failure) => Err(unreachable(failure)),
        }
    }

    fn refused(&self) -> Vec<RefusedOperation> {
        self.latest.refused.clone()
    }
}

/// Adds what somebody said to what was said before.
fn take_up(approvals: &mut Approvals, file: &File, operation: &Operation, signer: &Signer) {
    let Operation {
        asked,
        fleet: _,
        group,
        at,
        expires,
        because,
    } = operation;
    match asked {
        Asked::Change { verdict, change } => {
            let approval = Approval {
                change: change.clone(),
                signer: signer.clone(),
                verdict: *verdict,
                at: *at,
                expires: *expires,
                because: because.clone(),
                operation: file.commit.clone(),
            };
            approvals.add(group.clone(), approval);
        }
        Asked::Instance { verb, instance } => approvals.add_order(Order {
            verb: *verb,
            instance: instance.clone(),
            signer: signer.clone(),
            at: *at,
            expires: *expires,
            because: because.clone(),
            operation: file.commit.clone(),
        }),
    }
}

/// Tells what the time makes of an operation. One that expired long ago is not worth a word.
fn timely(operation: &Operation, now: Timestamp) -> Option<(OperationRefusal, String)> {
    let ahead = operation.at.duration_since(now);
    if !ahead.is_negative() && ahead.unsigned_abs() > AHEAD_MAX {
        let why = format!("it is of {}, which is yet to come", operation.at);
        return Some((OperationRefusal::Future, why));
    }
    let over = now.duration_since(operation.expires);
    let told = !over.is_negative() && over.unsigned_abs() < TOLD_FOR;
    told.then(|| {
        let why = format!("it expired at {}", operation.expires);
        (OperationRefusal::Expired, why)
    })
}

/// Returns what a file holds. None: it is too large, or not a text.
fn text_of(mirror: &Mirror, blob: Oid) -> Result<Option<String>, String> {
    match mirror.read(blob, OPERATION_BYTES_MAX) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(GitError::TooLarge { .. } | GitError::MissingObject { .. }) => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}

/// Reads one file and checks its signature; a text is believed only after that.
fn verify(
    path: &str,
    text: Option<&str>,
    signers: &AllowedSigners,
    fleet: &FleetName,
) -> Result<(Operation, Signer), (OperationRefusal, String)> {
    let invalid = |why: String| (OperationRefusal::Invalid, why);
    let Some(text) = text else {
        return Err(invalid(format!(
            "it is no text of at most {} KiB",
            OPERATION_BYTES_MAX >> 10
        )));
    };
    let Some((document, signature)) = operation::split(text) else {
        return Err((OperationRefusal::Signature, "it is not signed".to_owned()));
    };
    let operation = operation::parse(path, document).map_err(|mistakes| {
        let first = mistakes.first().map(|mistake| mistake.message.clone());
        invalid(first.unwrap_or_default())
    })?;
    let signed = signers
        .verify(
            OPERATION_NAMESPACE,
            document.as_bytes(),
            signature,
            operation.at,
        )
        .map_err(|error| (OperationRefusal::Signature, error.to_string()))?;
    let signer = Signer::parse(&signed.principal)
        .map_err(|error| invalid(format!("its signer's name {error}")))?;
    if operation.fleet != *fleet {
        let why = format!("it is for fleet {}", operation.fleet);
        return Err((OperationRefusal::OtherFleet, why));
    }
    let lifetime = operation.expires.duration_since(operation.at);
    if lifetime.is_negative() || lifetime.unsigned_abs() > LIFETIME_MAX {
        let why = "it counts for longer than 30 days, or for no time at all".to_owned();
        return Err(invalid(why));
    }
    Ok((operation, signer))
}

/// Returns a name for the file of a document that nobody else takes.
pub fn operation_path(operation: &Operation, document: &str) -> String {
    let digest = hex(&Sha256::digest(document));
    let at = operation.at.strftime("%Y%m%dT%H%M%SZ");
    let verb = operation.asked.word();
    let subject = match &operation.asked {
        Asked::Change { .. } => operation.group.to_string(),
        Asked::Instance { instance, .. } => instance.to_string(),
    };
    format!(
        "{OPERATIONS_FOLDER}/{at}-{subject}-{verb}-{}.yaml",
        &digest[..12]
    )
}
