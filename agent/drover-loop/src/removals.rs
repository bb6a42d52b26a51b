//! What changes take away in all groups together: `limits.maxDestroy` of the Fleet document.
//!
//! Each group's own limit bounds what one change may remove of it. Many groups can each stay below theirs, in one commit
//! or in a row of them, and little is left all the same. So what commits remove without replacement is counted over an
//! hour, before any of it comes into force: either all that a commit asks for fits, or nothing of it does.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{Amount, GroupName, Hold, Revision, Timestamp};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The time over which is counted.
const WINDOW: Duration = Duration::from_hours(1);

/// What a document that is not in force yet takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) group: GroupName,
    /// The size that the group would have; 0 where it is removed.
    pub(crate) to: u32,
    /// How many instances would go.
    pub(crate) instances: u32,
}

/// What was let through, and under which limit. Kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Removals {
    counted: Vec<Counted>,
    /// The commit that was judged last, with the limit that held before it: a commit cannot lift the limit for itself.
    judged: Option<(String, Option<u32>)>,
    /// What did not fit, and under which limit: no later commit lifts that for it either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<HeldUnder>,
}

/// Groups whose removals did not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeldUnder {
    limit: u32,
    groups: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    /// In seconds since 1970.
    at: i64,
    group: String,
    to: u32,
    instances: u32,
}

impl Removals {
    /// Returns the most that may go while `revision` is judged: the stricter of the limits before and in it, for a fleet of
    /// `size` instances, and of that under which something that is still asked for was held. None: there is no limit.
    pub(crate) fn limit(
        &mut self,
        revision: &Revision,
        before: Option<Amount>,
        now: Option<Amount>,
        size: u32,
    ) -> Option<u32> {
        let limit = match &self.judged {
            Some((judged, limit)) if judged == revision.as_str() => *limit,
            Some(_) | None => {
                // A share is of what the fleet had before it began to shrink.
                let whole = size.saturating_add(self.total());
                let limits = [before, now].into_iter().flatten();
                let limit = limits.map(|limit| limit.ceil_of(whole)).min();
                self.judged = Some((revision.to_string(), limit));
                limit
            }
        };
        let held = self.held.as_ref().map(|held| held.limit);
        limit.into_iter().chain(held).min()
    }

    fn total(&self) -> u32 {
        let instances = self.counted.iter().map(|counted| counted.instances);
        instances.fold(0, u32::saturating_add)
    }

    /// Forgets what is too long ago, and what never came into force: `came` says whether a group got to a size.
    pub(crate) fn settle(
        &mut self,
        now: Timestamp,
        asked: &[Removal],
        came: impl Fn(&str, u32) -> bool,
    ) {
        let asks = |group: &String| asked.iter().any(|asked| asked.group.as_str() == group);
        if let Some(held) = &mut self.held {
            held.groups.retain(asks);
        }
        self.held.take_if(|held| held.groups.is_empty());
        let since = now.as_second() - WINDOW.as_secs() as i64;
        self.counted.retain(|counted| {
            counted.at > since && (came(&counted.group, counted.to) || !asks(&counted.group))
        });
    }

    /// Lets `asked` through, or says why not.
    pub(crate) fn judge(
        &mut self,
        asked: &[Removal],
        limit: Option<u32>,
        now: Timestamp,
    ) -> Option<Hold> {
        let instances = asked.iter().map(|asked| asked.instances);
        let wanted = instances.fold(self.total(), u32::saturating_add);
        if let Some(limit) = limit
            && wanted > limit
            && !asked.is_empty()
        {
            self.held = Some(HeldUnder {
                limit,
                groups: asked.iter().map(|asked| asked.group.to_string()).collect(),
            });
            return Some(Hold::FleetDestroyLimit { wanted, limit });
        }
        self.held = None;
        self.counted.extend(asked.iter().map(|asked| Counted {
            at: now.as_second(),
            group: asked.group.to_string(),
            to: asked.to,
            instances: asked.instances,
        }));
        None
    }

    /// Returns when less will count than does now.
    pub(crate) fn eases_at(&self) -> Option<Timestamp> {
        let oldest = self.counted.iter().map(|counted| counted.at).min()?;
        Timestamp::from_second(oldest + WINDOW.as_secs() as i64 + 1).ok()
    }
}
