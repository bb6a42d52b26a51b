//! People who approve whatever must be approved.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use drover_loop::{Awaited, Operations, SourceError};
use drover_model::{
    APPROVAL_LIFETIME_MAX, Approval, ApprovalNeeded, ApprovalVerdict, Approvals, GroupName, Held,
    Hold, Revision, Signer, Timestamp,
};

/// People who say yes, and what they have said so far.
#[derive(Debug, Clone)]
pub(super) struct People {
    signers: BTreeSet<Signer>,
    said: Arc<Mutex<Arc<Approvals>>>,
    revision: Revision,
}

impl People {
    /// Returns people who have said nothing yet. What they sign arrives with a commit that stands for all of theirs.
    pub(super) fn new(signers: &BTreeSet<Signer>, revision: &Revision) -> Self {
        Self {
            signers: signers.clone(),
            said: Arc::default(),
            revision: revision.clone(),
        }
    }

    /// Has everybody approve what a group waits for. Whoever must not is not counted by the agent.
    pub(super) fn approve(&self, group: &GroupName, holds: &[Held], now: Timestamp) {
        let waiting = holds.iter().filter_map(|held| match &held.hold {
            Hold::ApprovalNeeded(needed) => Some(needed),
            _ => None,
        });
        for needed in waiting {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let known = said.of(group).iter();
            if known.into_iter().any(|one| answers(one, needed, now)) {
                continue;
            }
            let mut all = Approvals::clone(&said);
            for signer in &self.signers {
                let approval = Approval {
                    change: needed.change.clone(),
                    signer: signer.clone(),
                    verdict: ApprovalVerdict::Approve,
                    at: now,
                    expires: now + APPROVAL_LIFETIME_MAX,
                    because: "assumed".to_owned(),
                    operation: self.revision.clone(),
                };
                all.add(group.clone(), approval);
            }
            *said = Arc::new(all);
        }
    }
}

/// Whether somebody has said enough already.
fn answers(said: &Approval, needed: &ApprovalNeeded, now: Timestamp) -> bool {
    let unused = needed.spent.is_none_or(|until| said.at > until);
    said.change == needed.change && said.counts(now) && unused
}

impl Operations for People {
    fn approvals(
        &mut self,
        _awaited: &[Awaited],
        _now: Timestamp,
    ) -> Result<Arc<Approvals>, SourceError> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(&said))
    }
}
