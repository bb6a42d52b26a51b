//! Whether people have approved a change as far as policies ask for it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Approval, ApprovalNeeded, ApprovalRejected, ApprovalRule, ApprovalVerdict, Approvals, Authors,
    Change, ChangeId, Held, Hold, PolicyHold, RecordedGroup, Signer, SpentApprovals, Timestamp,
    Verdict,
};

/// What the approvals of a change are judged by.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalInput<'a> {
    /// The time of the pass.
    pub now: Timestamp,
    /// The change.
    pub change: &'a Change,
    /// The group's recorded state: who wrote the change when it was first seen, and which approvals were used.
    pub recorded: &'a RecordedGroup,
    /// The change that the document in force asks for, while it is carried out: nobody approves that twice.
    pub in_force: Option<&'a ChangeId>,
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
        /// Which approvals are used once it is in force.
        spent: SpentApprovals,
    },
    /// Somebody must still approve it, or has rejected it: plan with the last accepted document, and pass
    /// the hold as a fence.
    Withheld(Held),
}

/// Judges the approvals of a change.
///
/// Every rule that asks is satisfied by itself; one approval may count for several. The word of whoever wrote the change,
/// or may have written it, counts for none, unless it is a rejection. Nor does an approval that was used when the same
/// change came into force before.
pub fn review_approvals(input: &ApprovalInput<'_>) -> ApprovalReview {
    let change = &input.change.id;
    let standing = input
        .approvals
        .standing(&input.change.group, change, input.now);
    let authors = authors(input);
    let spent = spent_until(input);
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
        let others = said().filter(|(signer, _)| !authors.may_include(signer));
        let counts = others.filter(|(_, approval)| spent.is_none_or(|until| approval.at > until));
        let have: BTreeMap<&Signer, &Approval> = counts.map(|(by, it)| (*by, *it)).collect();
        if (have.len() as u64) < u64::from(rule.count) {
            return withheld(Hold::ApprovalNeeded(Box::new(ApprovalNeeded {
                policy,
                change: change.clone(),
                have: have.into_keys().cloned().collect::<BTreeSet<Signer>>(),
                need: rule.count,
                authors,
                spent: spent.filter(|until| is_told(input, &standing, *until)),
            })));
        }
        used.extend(have);
    }
    ApprovalReview::Approved {
        by: used.into_values().cloned().collect(),
        authors,
        spent: spent_by(input),
    }
}

/// Returns until when approvals of the change are used. The change that is carried out still has the use of its own.
fn spent_until(input: &ApprovalInput<'_>) -> Option<Timestamp> {
    let change = &input.change.id;
    let again = input.in_force != Some(change);
    let until = || input.recorded.spent.until(change);
    again.then(until).flatten()
}

/// Whether somebody may wonder why their approval does not count. What was in force before is always told, as an
/// approval that expires meanwhile makes no other hold of it.
fn is_told(
    input: &ApprovalInput<'_>,
    standing: &BTreeMap<&Signer, &Approval>,
    until: Timestamp,
) -> bool {
    let before = input.recorded.spent.changes();
    let mut standing = standing.values();
    before.contains_key(&input.change.id) || standing.any(|approval| approval.at <= until)
}

/// Returns which approvals are used once the change is in force: those of it that anybody gave, needed or not, also
/// where the clock of who signed is ahead of ours.
fn spent_by(input: &ApprovalInput<'_>) -> SpentApprovals {
    let mut spent = input.recorded.spent.clone();
    let change = &input.change.id;
    let said = input.approvals.of(&input.change.group).iter();
    let of_it = said.filter(|said| {
        said.change == *change && said.verdict == ApprovalVerdict::Approve && said.counts(input.now)
    });
    if let Some(latest) = of_it.map(|said| said.at).max() {
        spent.spend(change.clone(), latest.max(input.now), input.now);
    }
    spent
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
