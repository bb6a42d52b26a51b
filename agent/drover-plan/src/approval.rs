//! Whether people have approved a change as far as policies ask for it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Approval, ApprovalNeeded, ApprovalRejected, ApprovalRule, ApprovalVerdict, Approvals, Authors,
    Change, Held, Hold, PolicyHold, RecordedGroup, Signer, Timestamp, Verdict,
};

/// What the approvals of a change are judged by.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalInput<'a> {
    /// The time of the pass.
    pub now: Timestamp,
    /// The change.
    pub change: &'a Change,
    /// The group's recorded state: who wrote the change when it was first seen.
    pub recorded: &'a RecordedGroup,
    /// Who wrote it, as far as the source tells.
    pub authors: &'a Authors,
    /// The verdicts that ask for approval, each with who may give it.
    pub wanted: &'a [(Verdict, ApprovalRule)],
    /// Everything that people said.
    pub approvals: &'a Approvals,
}

/// How the approvals of a change stand.
#[derive(Debug, Clone, PartialEq)]
pub enum ApprovalReview {
    /// Nothing asks for approval, or everything is approved.
    Approved {
        /// By these.
        by: Vec<Approval>,
        /// Who wrote the change.
        authors: Authors,
    },
    /// Somebody must still approve it, or has rejected it: plan with the last accepted document, and pass
    /// the hold as a fence.
    Withheld(Held),
}

/// Judges the approvals of a change.
///
/// Every rule that asks is satisfied by itself; one approval may count for several. The word of whoever wrote the change,
/// or may have written it, counts for none, unless it is a rejection.
pub fn review_approvals(input: &ApprovalInput<'_>) -> ApprovalReview {
    let change = &input.change.id;
    let standing = input
        .approvals
        .standing(&input.change.group, change, input.now);
    let authors = authors(input);
    let mut used: BTreeMap<&Signer, &Approval> = BTreeMap::new();
    for (verdict, rule) in input.wanted {
        let entitled = |signer: &Signer| rule.from.is_empty() || rule.from.contains(signer);
        let said = || standing.iter().filter(|(signer, _)| entitled(signer));
        let policy = PolicyHold::from(verdict);
        let rejected = said().find(|(_, approval)| approval.verdict == ApprovalVerdict::Reject);
        if let Some((signer, approval)) = rejected {
            return withheld(Hold::ApprovalRejected(Box::new(ApprovalRejected {
                policy,
                change: change.clone(),
                authors,
                by: (*signer).clone(),
                because: approval.because.clone(),
            })));
        }
        let counts = said().filter(|(signer, _)| !authors.may_include(signer));
        let have: BTreeMap<&Signer, &Approval> = counts.map(|(by, it)| (*by, *it)).collect();
        if (have.len() as u64) < u64::from(rule.count) {
            return withheld(Hold::ApprovalNeeded(Box::new(ApprovalNeeded {
                policy,
                change: change.clone(),
                have: have.into_keys().cloned().collect::<BTreeSet<Signer>>(),
                need: rule.count,
                authors,
            })));
        }
        used.extend(have);
    }
    ApprovalReview::Approved {
        by: used.into_values().cloned().collect(),
        authors,
    }
}

fn withheld(hold: Hold) -> ApprovalReview {
    ApprovalReview::Withheld(Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    })
}

/// Returns who wrote the change: whoever is known to have, and while it waits also whoever was known then.
fn authors(input: &ApprovalInput<'_>) -> Authors {
    let mut authors = input.authors.clone();
    for held in &input.recorded.holds {
        match &held.hold {
            Hold::ApprovalNeeded(needed) if needed.change == input.change.id => {
                authors.extend(&needed.authors);
            }
            Hold::ApprovalRejected(rejected) if rejected.change == input.change.id => {
                authors.extend(&rejected.authors);
            }
            _ => {}
        }
    }
    authors
}
