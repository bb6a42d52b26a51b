//! Whether those who are said to have approved a change did: by operations on their branch, whose signatures are checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_git::{Mirror, SignersFile};
use drover_loop::{
    Checked, CommitKind, Memory, OPERATIONS_BRANCH, OperationsOptions, OperationsReader,
    ProblemKind, RefusedOperation, SharedRefs,
};
use drover_model::{Approval, Approvals, FleetName, GroupName, Timestamp};

use crate::error::{CommandResult, Context as _};
use crate::reviews::is_of_review;

/// How far a signer's clock may be ahead of the agent's.
const AHEAD_MAX: Duration = Duration::from_mins(5);

/// How many approvals were looked at, and what of.
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
    /// What was recorded last, by group: when, and who had approved what.
    last: BTreeMap<GroupName, (Timestamp, Vec<Approval>)>,
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
        let approved = state.approved.as_ref();
        let approvals = approved.map_or_else(Vec::new, |it| it.approvals.clone());
        let (since, known) = self.last.remove(&group).unzip();
        let known = known.unwrap_or_default();
        for approval in approvals.iter().filter(|one| !known.contains(one)) {
            if let Some(problem) = self.judge(&group, approval, (since, time)) {
                checked.problem(ProblemKind::ApprovalUnproven, problem);
            }
        }
        self.last.insert(group, (time, approvals));
    }

    /// Judges an approval that came to be recorded between two commits of its group.
    fn judge(
        &mut self,
        group: &GroupName,
        approval: &Approval,
        (since, until): (Option<Timestamp>, Timestamp),
    ) -> Option<String> {
        let Approval {
            change,
            signer,
            at,
            expires,
            ..
        } = approval;
        let Ok(said) = &self.said else {
            if is_of_review(approval) {
                self.counts.by_review += 1;
            } else {
                self.counts.unchecked += 1;
            }
            return None;
        };
        let mut operations = said.approvals.of(group).iter();
        if !operations.any(|operation| is_said_by(approval, operation)) {
            if is_of_review(approval) {
                self.counts.by_review += 1;
                return None;
            }
            let short = change.short();
            let mut refused = said.refused.iter();
            let refused = refused.find(|refused| refused.commit == approval.operation);
            let why = refused.map_or_else(String::new, |refused| {
                format!(
                    ": the one in {} does not count, {}",
                    refused.commit.short(),
                    refused.why
                )
            });
            return Some(format!(
                "{signer} is said to have approved change {short}, and no operation on {OPERATIONS_BRANCH} says so{why}"
            ));
        }
        let ahead = at.duration_since(until);
        if !ahead.is_negative() && ahead.unsigned_abs() > AHEAD_MAX {
            return Some(format!("{signer} approved the change at {at} only"));
        }
        if since.is_some_and(|since| *expires <= since) {
            return Some(format!(
                "the approval of {signer} had expired at {expires}, before it came into force"
            ));
        }
        self.counts.proven += 1;
        None
    }
}

/// Returns whether an operation says what is recorded. Which commit brought it may be told differently: two may bring one
/// file, as merges do.
fn is_said_by(recorded: &Approval, operation: &Approval) -> bool {
    let recorded = Approval {
        operation: operation.operation.clone(),
        ..recorded.clone()
    };
    recorded == *operation
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
