//! Whether people have approved a change as far as policies ask for it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Approval, ApprovalNeeded, ApprovalRejected, ApprovalRule, ApprovalVerdict, Approvals, Change,
    Held, Hold, PolicyHold, RecordedGroup, Signer, Timestamp, Verdict,
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
    /// The author of the commit that the change comes from, as `name <address>`.
    pub author: &'a str,
    /// The verdicts that ask for approval, each with who may give it.
    pub wanted: &'a [(Verdict, ApprovalRule)],
    /// Everything that people said.
    pub approvals: &'a Approvals,
}

/// How the approvals of a change stand.
#[derive(Debug, Clone, PartialEq)]
pub enum ApprovalReview {
    /// Nothing asks for approval, or everything is approved, by these.
    Approved(Vec<Approval>),
    /// Somebody must still approve it, or has rejected it: plan with the last accepted document, and pass
    /// the hold as a fence.
    Withheld(Held),
}

/// Judges the approvals of a change.
///
/// Every rule that asks is satisfied by itself; one approval may count for several. The author's own
/// word counts for none, unless it is a rejection.
pub fn review_approvals(input: &ApprovalInput<'_>) -> ApprovalReview {
    let change = &input.change.id;
    let standing = input
        .approvals
        .standing(&input.change.group, change, input.now);
    let author = first_author(input);
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
                by: (*signer).clone(),
                because: approval.because.clone(),
            })));
        }
        let counts = said().filter(|(signer, _)| !is_same(signer, &author));
        let have: BTreeMap<&Signer, &Approval> = counts.map(|(by, it)| (*by, *it)).collect();
        if (have.len() as u64) < u64::from(rule.count) {
            return withheld(Hold::ApprovalNeeded(Box::new(ApprovalNeeded {
                policy,
                change: change.clone(),
                have: have.into_keys().cloned().collect::<BTreeSet<Signer>>(),
                need: rule.count,
                author,
            })));
        }
        used.extend(have);
    }
    ApprovalReview::Approved(used.into_values().cloned().collect())
}

fn withheld(hold: Hold) -> ApprovalReview {
    ApprovalReview::Withheld(Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    })
}

/// Returns the address of who wrote the change. While it waits, that is the author of the commit that
/// it was first seen in: an unrelated commit by somebody else must not let its author approve it.
fn first_author(input: &ApprovalInput<'_>) -> String {
    let mut holds = input.recorded.holds.iter();
    let known = holds.find_map(|held| match &held.hold {
        Hold::ApprovalNeeded(needed) if needed.change == input.change.id => {
            Some(needed.author.clone())
        }
        _ => None,
    });
    known.unwrap_or_else(|| address(input.author).to_owned())
}

/// Returns the address in `name <address>`; without one the whole text.
fn address(author: &str) -> &str {
    let inside = author
        .rsplit_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(author, |(address, _)| address).trim()
}

fn is_same(signer: &Signer, author: &str) -> bool {
    signer.as_str().eq_ignore_ascii_case(author)
}
