//! Whether those who are said to have approved a change, or asked something of a rollout or an instance, did: by
//! operations on their branch, whose signatures are checked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use drover_git::{Mirror, SignersFile};
use drover_loop::{
    Checked, CommitKind, Memory, OPERATION_COMMITS_MAX, OPERATIONS_BRANCH, OperationsOptions,
    OperationsReader, ProblemKind, RefusedOperation, SharedRefs,
};
use drover_model::{
    Approval, Approvals, FleetName, GroupName, Order, RecordedGroup, Revision, Signer, Timestamp,
};

use crate::error::{CommandResult, Context as _};
use crate::reviews::is_of_review;

/// How far a signer's clock may be ahead of the agent's.
const AHEAD_MAX: Duration = Duration::from_mins(5);

/// What somebody is said to have said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// That a change may come into force.
    Approval(Approval),
    /// That a rollout may go on.
    Rollout(Approval),
    /// What should become of an instance.
    Instance(Order),
}

impl Word {
    /// Returns everything that a recorded state has of people.
    fn all(state: &RecordedGroup) -> Vec<Self> {
        let approvals = state.approved.iter().flat_map(|it| it.approvals.clone());
        let heeded = state.heeded.iter().map(|it| it.asked.clone());
        let orders = state.orders.iter().map(|it| it.order.clone());
        let all = approvals.map(Self::Approval);
        let all = all.chain(heeded.map(Self::Rollout));
        all.chain(orders.map(Self::Instance)).collect()
    }

    /// Returns whether an operation says it. Which commit brought that may be told differently: two may bring one file, as
    /// merges do.
    fn is_in(&self, said: &Approvals, group: &GroupName) -> bool {
        match self {
            Self::Approval(one) | Self::Rollout(one) => said.of(group).iter().any(|operation| {
                let operation = Approval {
                    operation: one.operation.clone(),
                    ..operation.clone()
                };
                operation == *one
            }),
            Self::Instance(one) => said.orders_of(group).iter().any(|operation| {
                let operation = Order {
                    operation: one.operation.clone(),
                    ..operation.clone()
                };
                operation == *one
            }),
        }
    }

    fn is_of_review(&self) -> bool {
        match self {
            Self::Approval(one) => is_of_review(one),
            Self::Rollout(_) | Self::Instance(_) => false,
        }
    }

    /// Returns who is said to have said it, between which times it counts, and what brought it.
    fn said(&self) -> (&Signer, Timestamp, Timestamp, &Revision) {
        match self {
            Self::Approval(one) | Self::Rollout(one) => {
                (&one.signer, one.at, one.expires, &one.operation)
            }
            Self::Instance(one) => (&one.signer, one.at, one.expires, &one.operation),
        }
    }

    fn kind(&self) -> ProblemKind {
        match self {
            Self::Approval(_) => ProblemKind::ApprovalUnproven,
            Self::Rollout(_) | Self::Instance(_) => ProblemKind::OperationUnproven,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval(one) | Self::Rollout(one) => {
                write!(f, "{} change {}", one.verdict.word(), one.change.short())
            }
            Self::Instance(one) => write!(f, "{} {}", one.verb.word(), one.instance),
        }
    }
}

/// How many approvals and other words were looked at, and what of.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    /// An operation that counts says so.
    pub(super) proven: usize,
    /// They are said to be of reviews on the Git host, which nothing in Git proves.
    pub(super) by_review: usize,
    /// Nothing was at hand to check them with.
    pub(super) unchecked: usize,
}

/// What is known of people's operations.
#[derive(Debug)]
pub(super) struct Approvers {
    /// What they said, or why that is not at hand.
    said: Result<Said, String>,
    /// What was recorded last, by group: when, and what people had said.
    last: BTreeMap<GroupName, (Timestamp, Vec<Word>)>,
    counts: Counts,
}

#[derive(Debug)]
struct Said {
    approvals: Arc<Approvals>,
    refused: Vec<RefusedOperation>,
}

impl Approvers {
    /// Reads the operations of a fleet, where there are any and it is known whose count.
    ///
    /// # Errors
    ///
    /// The list of signers cannot be read, or the repository.
    pub(super) fn read(
        mirror: &Arc<Mirror>,
        fleet: FleetName,
        signers: Option<SignersFile>,
    ) -> CommandResult<Self> {
        Ok(Self {
            said: said(mirror, fleet, signers)?,
            last: BTreeMap::new(),
            counts: Counts::default(),
        })
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Returns why approvals are not checked.
    pub(super) fn missing(&self) -> Option<&str> {
        self.said.as_ref().err().map(String::as_str)
    }

    /// Checks the approvals that a commit is the first to record.
    pub(super) fn check(&mut self, time: Timestamp, checked: &mut Checked) {
        let Some(state) = &checked.state else {
            if let CommitKind::Group(group) = &checked.kind {
                let group = GroupName::parse(group).ok();
                group.and_then(|group| self.last.remove(&group));
            }
            return;
        };
        let group = state.name.clone();
        let words = Word::all(state);
        let (since, known) = self.last.remove(&group).unzip();
        let known = known.unwrap_or_default();
        for word in words.iter().filter(|one| !known.contains(one)) {
            if let Some(problem) = self.judge(&group, word, (since, time)) {
                checked.problem(word.kind(), problem);
            }
        }
        self.last.insert(group, (time, words));
    }

    /// Judges what came to be recorded between two commits of its group.
    fn judge(
        &mut self,
        group: &GroupName,
        word: &Word,
        (since, until): (Option<Timestamp>, Timestamp),
    ) -> Option<String> {
        let (signer, at, expires, operation) = word.said();
        match &self.said {
            Ok(said) if word.is_in(&said.approvals, group) => {}
            Ok(_) | Err(_) if word.is_of_review() => {
                self.counts.by_review += 1;
                return None;
            }
            Err(_) => {
                self.counts.unchecked += 1;
                return None;
            }
            Ok(said) => {
                let mut refused = said.refused.iter();
                let refused = refused.find(|refused| refused.commit == *operation);
                let why = refused.map_or_else(String::new, |refused| {
                    let commit = refused.commit.short();
                    format!(": the one in {commit} does not count, {}", refused.why)
                });
                return Some(format!(
                    "{signer} is said to have said {word}, and no operation on {OPERATIONS_BRANCH} does{why}"
                ));
            }
        }
        let ahead = at.duration_since(until);
        if !ahead.is_negative() && ahead.unsigned_abs() > AHEAD_MAX {
            return Some(format!("{signer} said {word} at {at} only"));
        }
        if since.is_some_and(|since| expires <= since) {
            return Some(format!(
                "what {signer} said, {word}, had expired at {expires}, before it came into force"
            ));
        }
        self.counts.proven += 1;
        None
    }
}

fn said(
    mirror: &Arc<Mirror>,
    fleet: FleetName,
    signers: Option<SignersFile>,
) -> CommandResult<Result<Said, String>> {
    let refs = mirror.list().context("cannot list the repository")?;
    let reference = format!("refs/heads/{OPERATIONS_BRANCH}");
    if !refs.all().contains_key(&reference) {
        let why = format!("the repository has no branch {OPERATIONS_BRANCH}");
        return Ok(Err(why));
    }
    let Some(signers) = signers else {
        return Ok(Err(
            "it is not said whose operations count (--approvers)".to_owned()
        ));
    };
    signers.read().context("cannot read the approvers")?;
    let options = OperationsOptions {
        commits_max: OPERATION_COMMITS_MAX,
        branch: OPERATIONS_BRANCH.to_owned(),
        fleet,
        signers,
        memory: Memory::Nowhere,
    };
    let mut reader = OperationsReader::new(Arc::clone(mirror), SharedRefs::default(), options);
    let read = reader.read(&refs, Timestamp::now());
    Ok(match read.failure {
        Some(failure) => Err(failure),
        None => Ok(Said {
            approvals: read.approvals,
            refused: read.refused,
        }),
    })
}

#[cfg(test)]
mod tests;
