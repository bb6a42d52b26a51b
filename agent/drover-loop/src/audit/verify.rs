//! Checking the audit log, commit by commit from the oldest on. Pure: what a commit holds is asked of
//! the caller, who also checks signatures, merges and where the history has to begin.

use std::collections::BTreeMap;

use drover_model::{
    APPROVAL_LIFETIME_MAX, GroupName, GroupUid, RecordedGroup, Revision, SpentApprovals, Timestamp,
};
use drover_spec::record::{self, AcceptedRewrite, PlanInputs, RecordError, RecordedFleet};

use super::follow::{Follows, follows};
use super::{AUDIT_FILE, AuditEntry, AuditError, digest, message_digest};
use crate::agent::approved_by;
use crate::lease::Lease;
use crate::message;
use crate::recorder::FLEET_FILE;
use crate::replay::{Recomputed, ReplayError, Replayed, recompute};
use crate::source::chain;
use crate::task::policies_digest;

mod trailers;

/// A file of a commit could not be read: why not, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Reads a file of a commit. None: there is none.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, ReadError> + 'a;

/// One commit of the state branch, as a checker needs it.
pub struct AuditCommit<'a> {
    /// How many parents it has.
    pub parents: usize,
    /// The whole message.
    pub message: &'a str,
    /// The trailers of the message, in order.
    pub trailers: &'a [(String, String)],
    /// When it was committed.
    pub time: Timestamp,
    /// The paths that differ from its first parent.
    pub changed: &'a [String],
    /// The files of the commit.
    pub read: &'a ReadFile<'a>,
}

impl std::fmt::Debug for AuditCommit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditCommit")
            .field("message", &self.message)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

/// What a commit is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitKind {
    /// A group.
    Group(String),
    /// The fleet's documents.
    Fleet,
    /// An agent that takes the lease.
    Lease,
    /// Nothing that an agent wrote.
    Foreign,
}

/// How far a commit proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Its state is, byte for byte, what the plan leads to, and the plan was computed again.
    Recomputed,
    /// The plan was computed again, and its state is what it leads to with what was in the way later.
    Followed,
    /// It decides nothing: it records documents or takes the lease.
    Recorded,
    /// It is in its place, and this version of drover cannot compute its plan again.
    NotRecomputable(String),
    /// It was made before entries were written: nothing of it can be checked.
    Unproven,
    /// It does not hold: see the problems.
    Failed,
}

/// What does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// It is no commit of an agent.
    Foreign,
    /// It joins histories, which no agent does.
    Merge,
    /// The entry cannot be read.
    EntryUnreadable,
    /// It does not follow the entry before it.
    ChainBroken,
    /// An epoch is older than one before.
    EpochBackwards,
    /// A file is not the one that the entry names.
    FileDiffers,
    /// The message is not the one that the entry names.
    MessageDiffers,
    /// A trailer says something else than the content.
    TrailerDiffers,
    /// The plan does not follow from what it was made from.
    PlanDiffers,
    /// The recorded state does not follow from the plan.
    StateDiffers,
    /// The document in force is not the one of the commit that it is said to come from.
    DocumentDiffers,
    /// The document in force is of a commit that the source which it names does not rest on.
    SourceDiffers,
    /// Somebody is said to have approved the change, and no operation that counts says so.
    ApprovalUnproven,
    /// Somebody is said to have asked something of a rollout or an instance, and no operation that counts says so.
    OperationUnproven,
    /// It is not signed.
    Unsigned,
    /// Its signature does not count.
    SignatureInvalid,
    /// A commit that should be in the history is not.
    Rewritten,
}

impl ProblemKind {
    /// Returns the name, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Foreign => "Foreign",
            Self::Merge => "Merge",
            Self::EntryUnreadable => "EntryUnreadable",
            Self::ChainBroken => "ChainBroken",
            Self::EpochBackwards => "EpochBackwards",
            Self::FileDiffers => "FileDiffers",
            Self::MessageDiffers => "MessageDiffers",
            Self::TrailerDiffers => "TrailerDiffers",
            Self::PlanDiffers => "PlanDiffers",
            Self::StateDiffers => "StateDiffers",
            Self::DocumentDiffers => "DocumentDiffers",
            Self::SourceDiffers => "SourceDiffers",
            Self::ApprovalUnproven => "ApprovalUnproven",
            Self::OperationUnproven => "OperationUnproven",
            Self::Unsigned => "Unsigned",
            Self::SignatureInvalid => "SignatureInvalid",
            Self::Rewritten => "Rewritten",
        }
    }
}

/// One thing that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub kind: ProblemKind,
    /// In a sentence, for people.
    pub detail: String,
}

impl Problem {
    /// Makes one.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }
}

/// What came of a commit.
#[derive(Debug)]
pub struct Checked {
    /// What it is about.
    pub kind: CommitKind,
    /// How far it proves itself.
    pub proof: Proof,
    /// What does not hold.
    pub problems: Vec<Problem>,
    /// Its entry.
    pub entry: Option<AuditEntry>,
    /// What its plan was made from, where that can be read.
    pub inputs: Option<PlanInputs>,
    /// The recorded state, where that can be read.
    pub state: Option<RecordedGroup>,
    /// The fleet's documents, where it records them.
    pub fleet: Option<RecordedFleet>,
    /// The rewritten history that it says was accepted.
    pub accepted_rewrite: Option<AcceptedRewrite>,
}

impl Checked {
    fn new(kind: CommitKind) -> Self {
        Self {
            kind,
            proof: Proof::Recorded,
            problems: Vec::new(),
            entry: None,
            inputs: None,
            state: None,
            fleet: None,
            accepted_rewrite: None,
        }
    }

    fn with(kind: CommitKind, problem: ProblemKind, detail: impl Into<String>) -> Self {
        let mut checked = Self::new(kind);
        checked.problem(problem, detail);
        checked.settled()
    }

    /// Adds something that does not hold.
    pub fn problem(&mut self, kind: ProblemKind, detail: impl Into<String>) {
        self.problems.push(Problem::new(kind, detail));
        self.proof = Proof::Failed;
    }

    fn settled(mut self) -> Self {
        if !self.problems.is_empty() {
            self.proof = Proof::Failed;
        }
        self
    }
}

/// What is known of a group from its commits so far.
#[derive(Debug)]
struct Trail {
    uid: GroupUid,
    next_number: u64,
    /// Which approvals were used.
    spent: SpentApprovals,
    /// A document of it was in force.
    begun: bool,
}

/// Checks the commits of a state branch one after the other, the oldest first. What it keeps grows with
/// the number of groups, not with that of commits.
#[derive(Debug, Default)]
pub struct Auditor {
    /// Digest and number of the entry that the next one has to name.
    head: Option<(String, u64)>,
    epoch: u64,
    lease: Option<Lease>,
    groups: BTreeMap<String, Trail>,
}

impl Auditor {
    /// Returns a checker of a branch from its beginning on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a checker of what follows a commit, which is taken to hold. `leases` are its files below
    /// `agents`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn after(read: &ReadFile<'_>, leases: &[String]) -> Result<Self, ReadError> {
        let mut auditor = Self::new();
        if let Some(bytes) = read(AUDIT_FILE)? {
            let entry = AuditEntry::decode(&bytes).ok();
            let sequence = entry.as_ref().map_or(0, |entry| entry.sequence);
            auditor.head = Some((digest(&bytes), sequence));
            auditor.epoch = entry.map_or(0, |entry| entry.epoch);
        }
        for path in leases {
            let bytes = read(path)?.unwrap_or_default();
            auditor.lease = Lease::decode(&bytes).ok().or(auditor.lease);
        }
        Ok(auditor)
    }

    /// Checks the next commit.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn check(&mut self, commit: &AuditCommit<'_>) -> Result<Checked, ReadError> {
        if commit.parents > 1 {
            let detail = "it joins another history to the branch, which no agent does";
            let checked = Checked::with(CommitKind::Foreign, ProblemKind::Merge, detail);
            self.follow(commit)?;
            return Ok(checked);
        }
        if commit.changed.iter().any(|path| path == AUDIT_FILE) {
            return self.entry(commit);
        }
        if let [path] = commit.changed
            && let Some(name) = path.strip_prefix("agents/")
            && let Some(name) = name.strip_suffix(".json")
        {
            return self.lease(commit, path, name);
        }
        let agent = commit.trailers.iter().any(|(key, _)| key == "Drover-Agent");
        if agent && self.head.is_none() {
            let mut checked = Checked::new(CommitKind::Foreign);
            checked.kind = trailers::subject_of(commit.trailers);
            checked.proof = Proof::Unproven;
            return Ok(checked);
        }
        let detail = format!("no agent made it; it changes {}", named(commit.changed));
        Ok(Checked::with(
            CommitKind::Foreign,
            ProblemKind::Foreign,
            detail,
        ))
    }

    /// Takes up whatever stands where entries are, so that one problem is told once.
    fn follow(&mut self, commit: &AuditCommit<'_>) -> Result<(), ReadError> {
        let bytes = (commit.read)(AUDIT_FILE)?;
        self.head = bytes.map(|bytes| {
            let entry = AuditEntry::decode(&bytes);
            (digest(&bytes), entry.map_or(0, |entry| entry.sequence))
        });
        Ok(())
    }

    fn entry(&mut self, commit: &AuditCommit<'_>) -> Result<Checked, ReadError> {
        let Some(bytes) = (commit.read)(AUDIT_FILE)? else {
            self.head = None;
            let detail = format!("it removes {AUDIT_FILE}");
            return Ok(Checked::with(
                CommitKind::Foreign,
                ProblemKind::Foreign,
                detail,
            ));
        };
        let entry = match AuditEntry::decode(&bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.head = Some((digest(&bytes), 0));
                let mut checked = Checked::new(trailers::subject_of(commit.trailers));
                match error {
                    AuditError::Newer { .. } => {
                        checked.proof = Proof::NotRecomputable(error.to_string());
                    }
                    AuditError::Unreadable { .. } => {
                        checked.problem(ProblemKind::EntryUnreadable, error.to_string());
                    }
                }
                return Ok(checked);
            }
        };
        let mut checked = Checked::new(match &entry.group {
            Some(group) => CommitKind::Group(group.clone()),
            None => CommitKind::Fleet,
        });
        self.place(&entry, &mut checked);
        self.head = Some((digest(&bytes), entry.sequence));
        self.epoch = self.epoch.max(entry.epoch);
        files(&entry, commit, &mut checked)?;
        trailers::check(&entry, commit, &mut checked);
        match &entry.group {
            Some(group) => self.group(group, &entry, commit, &mut checked)?,
            None => fleet(commit, &mut checked)?,
        }
        checked.entry = Some(entry);
        Ok(checked.settled())
    }

    /// Checks that an entry is the one after the last.
    fn place(&self, entry: &AuditEntry, checked: &mut Checked) {
        let last = self.head.as_ref();
        let named = last.map(|(digest, _)| digest);
        if entry.previous.as_ref() != named {
            let number = entry.sequence;
            let last = last.map_or(0, |(_, sequence)| *sequence);
            let detail = match number.checked_sub(last + 1) {
                Some(0) => format!(
                    "entry {number} does not name the one before it: that was changed, or another was there"
                ),
                Some(1) => format!("entry {} is missing before it", last + 1),
                Some(_) => format!(
                    "entries {} to {} are missing before it",
                    last + 1,
                    number - 1
                ),
                None => format!("entry {number} comes after entry {last}"),
            };
            checked.problem(ProblemKind::ChainBroken, detail);
        } else if entry.sequence != last.map_or(0, |(_, sequence)| *sequence) + 1 {
            let detail = format!("entry {} does not count on", entry.sequence);
            checked.problem(ProblemKind::ChainBroken, detail);
        }
        let lease = self.lease.as_ref();
        if entry.epoch < self.epoch {
            let detail = format!("epoch {} after epoch {}", entry.epoch, self.epoch);
            checked.problem(ProblemKind::EpochBackwards, detail);
        } else if let Some(lease) = lease.filter(|lease| entry.epoch > lease.epoch) {
            let detail = format!(
                "epoch {}, and the latest lease has epoch {}",
                entry.epoch, lease.epoch
            );
            checked.problem(ProblemKind::ChainBroken, detail);
        }
    }

    fn lease(
        &mut self,
        commit: &AuditCommit<'_>,
        path: &str,
        name: &str,
    ) -> Result<Checked, ReadError> {
        let kind = CommitKind::Lease;
        let foreign =
            |detail: String| Checked::with(CommitKind::Foreign, ProblemKind::Foreign, detail);
        let Some(bytes) = (commit.read)(path)? else {
            return Ok(foreign(format!("no agent made it; it removes {path}")));
        };
        let lease = match Lease::decode(&bytes) {
            Ok(lease) if lease.name == name => lease,
            Ok(lease) => {
                return Ok(foreign(format!("{path} is the lease of {}", lease.name)));
            }
            Err(error) => return Ok(foreign(error.to_string())),
        };
        let mut checked = Checked::new(kind);
        let subject = lease.subject();
        if commit.message.lines().next() != Some(&subject) {
            let detail = format!("the lease says {subject:?}");
            checked.problem(ProblemKind::MessageDiffers, detail);
        }
        if let Some(last) = &self.lease {
            let epoch = lease.epoch;
            if epoch < last.epoch {
                let detail = format!("epoch {epoch} after epoch {}", last.epoch);
                checked.problem(ProblemKind::EpochBackwards, detail);
            } else if epoch == last.epoch && lease.instance != last.instance {
                let detail = format!("two agents took the lease with epoch {epoch}");
                checked.problem(ProblemKind::EpochBackwards, detail);
            }
        }
        let newer = self
            .lease
            .as_ref()
            .is_none_or(|last| last.epoch <= lease.epoch);
        if newer {
            self.lease = Some(lease);
        }
        Ok(checked.settled())
    }

    fn group(
        &mut self,
        group: &str,
        entry: &AuditEntry,
        commit: &AuditCommit<'_>,
        checked: &mut Checked,
    ) -> Result<(), ReadError> {
        let state_path = format!("groups/{group}.yaml");
        let Ok(name) = GroupName::parse(group) else {
            let detail = format!("{group:?} is no group's name");
            checked.problem(ProblemKind::EntryUnreadable, detail);
            return Ok(());
        };
        let removed = entry.files.get(&state_path) == Some(&None);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let state = (commit.read)(&state_path)?.map(text);
        let inputs = match &entry.last_inputs {
            Some(inputs) => Some(inputs.clone()),
            None => (commit.read)(&format!("inputs/{group}.json"))?.map(text),
        };
        let Some(state) = state else {
            if removed {
                self.groups.remove(group);
                plan_of_removal(inputs.as_deref(), commit, checked);
            } else {
                checked.problem(ProblemKind::FileDiffers, format!("{state_path} is missing"));
            }
            return Ok(());
        };
        let decoded = match record::decode(&state) {
            Ok(decoded) => decoded,
            Err(error) => {
                unreadable(&error, ProblemKind::StateDiffers, checked);
                return Ok(());
            }
        };
        if decoded.name != name {
            let detail = format!("{state_path} is the state of {}", decoded.name);
            checked.problem(ProblemKind::StateDiffers, detail);
        }
        if decoded.epoch.0 > entry.epoch {
            let detail = format!("{state_path} has epoch {}", decoded.epoch.0);
            checked.problem(ProblemKind::EpochBackwards, detail);
        }
        self.continues(&decoded, ended(commit.time), checked);
        plan(inputs.as_deref(), &decoded, &state, commit, checked);
        trailers::check_state(entry, &decoded, commit, checked);
        checked.state = Some(decoded);
        Ok(())
    }

    /// Checks that a state belongs to the group's life so far.
    fn continues(&mut self, state: &RecordedGroup, time: Timestamp, checked: &mut Checked) {
        let name = state.name.as_str();
        // What a journal failed to keep before anything was made of a group begins anew.
        let trail = self.groups.get(name).filter(|trail| trail.begun);
        if let Some(trail) = trail {
            if trail.uid != state.uid {
                let detail = format!("the group {name} has another uid than before");
                checked.problem(ProblemKind::StateDiffers, detail);
            } else if state.next_number < trail.next_number {
                let detail = format!(
                    "the next instance of {name} had number {}, and now {}",
                    trail.next_number, state.next_number
                );
                checked.problem(ProblemKind::StateDiffers, detail);
            } else if let Some(change) = unspent(&trail.spent, &state.spent, time) {
                let detail = format!("approvals of {change} of {name} were used, and now are not");
                checked.problem(ProblemKind::StateDiffers, detail);
            }
        }
        let trail = Trail {
            uid: state.uid.clone(),
            next_number: state.next_number,
            spent: state.spent.clone(),
            begun: state.accepted.is_some(),
        };
        self.groups.insert(name.to_owned(), trail);
    }
}

/// Returns a change whose approvals were used and would count again, short, at `time`.
fn unspent<'a>(
    before: &'a SpentApprovals,
    now: &SpentApprovals,
    time: Timestamp,
) -> Option<&'a str> {
    let lasts = |until: Timestamp| {
        let over = time.duration_since(until);
        over.is_negative() || over.unsigned_abs() <= APPROVAL_LIFETIME_MAX
    };
    let mut known = before.changes().iter();
    let gone = known.find(|(change, until)| now.until(change) < Some(**until) && lasts(**until));
    gone.map(|(change, _)| change.short())
}

/// Returns paths as a sentence needs them.
fn named(paths: &[String]) -> String {
    match paths {
        [] => "nothing".to_owned(),
        [first] => first.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// Checks that the commit writes what its entry names, and nothing else.
fn files(
    entry: &AuditEntry,
    commit: &AuditCommit<'_>,
    checked: &mut Checked,
) -> Result<(), ReadError> {
    for (path, named) in &entry.files {
        let found = (commit.read)(path)?.as_deref().map(digest);
        if found != *named {
            let detail = format!("{path} is not what the entry names");
            checked.problem(ProblemKind::FileDiffers, detail);
        }
    }
    let own = |path: &&String| **path != AUDIT_FILE && !entry.files.contains_key(*path);
    let more: Vec<String> = commit.changed.iter().filter(own).cloned().collect();
    if !more.is_empty() {
        let detail = format!("it changes {}, which the entry does not name", named(&more));
        checked.problem(ProblemKind::FileDiffers, detail);
    }
    Ok(())
}

fn fleet(commit: &AuditCommit<'_>, checked: &mut Checked) -> Result<(), ReadError> {
    let text = (commit.read)(FLEET_FILE)?.unwrap_or_default();
    let fleet = match record::decode_fleet(&String::from_utf8_lossy(&text)) {
        Ok(fleet) => fleet,
        Err(error) => {
            unreadable(&error, ProblemKind::StateDiffers, checked);
            return Ok(());
        }
    };
    trailers::check_fleet(&fleet, commit, checked);
    let subject = fleet.revision.as_ref().map(Revision::short);
    let subject = format!("fleet: documents at {}", subject.unwrap_or_default());
    if commit.message.lines().next() != Some(&subject) {
        let detail = format!("{FLEET_FILE} says {subject:?}");
        checked.problem(ProblemKind::MessageDiffers, detail);
    }
    checked.accepted_rewrite.clone_from(&fleet.accepted_rewrite);
    checked.fleet = Some(fleet);
    Ok(())
}

/// What another version wrote is no problem, and cannot be checked.
fn unreadable(error: &RecordError, kind: ProblemKind, checked: &mut Checked) {
    match error {
        RecordError::Newer { .. } => checked.proof = Proof::NotRecomputable(error.to_string()),
        RecordError::Syntax { .. } | RecordError::Kind { .. } | RecordError::Field { .. } => {
            checked.problem(kind, error.to_string());
        }
    }
}

/// Computes the plan again, and compares the state with what it leads to.
fn plan(
    inputs: Option<&str>,
    state: &RecordedGroup,
    text: &str,
    commit: &AuditCommit<'_>,
    checked: &mut Checked,
) {
    let next = match inputs {
        // A group of which no document was ever in force was never planned.
        None => RecordedGroup::new(state.name.clone(), state.uid.clone(), state.epoch),
        Some(inputs) => match computed(inputs, Some(text), checked) {
            Some(next) => next,
            None => return,
        },
    };
    match follows(&next, state, text, ended(commit.time)) {
        Ok(Follows::FromPlan) => checked.proof = Proof::Recomputed,
        Ok(Follows::WithHolds) => checked.proof = Proof::Followed,
        Err(difference) => {
            let detail = format!("the state does not follow from the plan:\n{difference}");
            checked.problem(ProblemKind::StateDiffers, detail);
        }
    }
}

/// A commit's time is in whole seconds.
fn ended(time: Timestamp) -> Timestamp {
    time.checked_add(jiff::SignedDuration::from_secs(1))
        .unwrap_or(time)
}

/// Computes a plan again. None: it cannot be, which `checked` says.
fn computed(inputs: &str, state: Option<&str>, checked: &mut Checked) -> Option<RecordedGroup> {
    match recompute(inputs, state) {
        Ok(Recomputed {
            replayed: Replayed::Reproduced { steps: _ },
            inputs,
            next,
        }) => {
            checked.inputs = Some(inputs);
            Some(next)
        }
        Ok(Recomputed {
            replayed: Replayed::Differs { difference },
            inputs,
            next: _,
        }) => {
            checked.inputs = Some(inputs);
            let detail = format!(
                "the recorded plan does not follow from what it was made from:\n{difference}"
            );
            checked.problem(ProblemKind::PlanDiffers, detail);
            None
        }
        Err(
            error @ (ReplayError::Planner { .. }
            | ReplayError::Document
            | ReplayError::Unreadable(RecordError::Newer { .. })),
        ) => {
            checked.proof = Proof::NotRecomputable(error.to_string());
            None
        }
        Err(error @ (ReplayError::Unreadable(_) | ReplayError::Plan(_))) => {
            checked.problem(ProblemKind::PlanDiffers, chain(&error));
            None
        }
    }
}

/// Checks that the plan ends the group.
fn plan_of_removal(inputs: Option<&str>, commit: &AuditCommit<'_>, checked: &mut Checked) {
    let Some(inputs) = inputs else {
        let detail = "it removes the group, and has no plan that does";
        checked.problem(ProblemKind::PlanDiffers, detail);
        return;
    };
    let Some(next) = computed(inputs, None, checked) else {
        return;
    };
    if crate::entry::is_gone(&next) {
        checked.proof = Proof::Recomputed;
        trailers::check_plan(&next, commit, checked);
    } else {
        let phase = next.phase.as_str();
        let detail = format!("it removes the group, and the plan leads to {phase}");
        checked.problem(ProblemKind::StateDiffers, detail);
    }
}
