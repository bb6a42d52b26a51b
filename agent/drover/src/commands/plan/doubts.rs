//! What a commit would ask about what it removes, before anybody merges it.

use std::collections::BTreeMap;

use drover_loop::{ComparedDocuments, doubts_between};
use drover_model::{GroupName, Hold, Reason};

use super::End;
use crate::plan_view::PlanHold;

/// Returns what would be held of the groups that a commit removes, renames or makes smaller.
pub(super) fn doubts(base: &End, head: &End) -> BTreeMap<GroupName, PlanHold> {
    let removed = doubts_between(&compared(base), &compared(head));
    let mut holds: BTreeMap<GroupName, PlanHold> = removed
        .into_iter()
        .map(|(name, hold)| (name, told(&hold, None)))
        .collect();
    for name in head.groups() {
        if let Some(hold) = over_limit(name, base, head) {
            holds.entry(name.clone()).or_insert(hold);
        }
    }
    holds
}

fn compared(end: &End) -> ComparedDocuments<'_> {
    ComparedDocuments {
        repository: &end.documents.repository,
        ignore_rules: &end.documents.ignore_rules,
    }
}

/// Returns the hold for more instances than a smaller size may take at once.
fn over_limit(name: &GroupName, base: &End, head: &End) -> Option<PlanHold> {
    let (before, after) = (base.group(name)?, head.group(name)?);
    if head.policies.has_size_policy(&after.labels) {
        return None;
    }
    let wanted = before.spec.size.saturating_sub(after.spec.size);
    let limit = after.spec.destroy_max(before.spec.size);
    let hold = Hold::DestroyLimit {
        wanted,
        limit,
        earlier: 0,
    };
    (wanted > limit).then(|| told(&hold, Some(Reason::ScaleIn)))
}

fn told(hold: &Hold, reason: Option<Reason>) -> PlanHold {
    PlanHold {
        code: hold.code().to_owned(),
        message: hold.to_string(),
        reason: reason.map(|reason| reason.as_str().to_owned()),
        routine: hold.is_routine(),
    }
}
