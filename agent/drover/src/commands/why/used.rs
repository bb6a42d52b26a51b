//! What the approvals of a change that is asked for once more were used for.

use drover_git::CommitInfo;
use drover_model::{ChangeId, GroupName, Held, Hold};
use serde::Serialize;

use super::{History, Origin, SEARCH_MAX};
use crate::commands::log::entries;
use crate::view;

/// Approvals that count no more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Used {
    /// Those given until then are used.
    until: String,
    /// Who had given them.
    approved_by: Vec<String>,
    /// The entry of the audit log that tells of it.
    entry: String,
    /// The commit that came into force with them. None: it is not here.
    source: Option<Origin>,
}

/// Returns what the approvals were used for that the hold says are used. None: it says so of none, or the log tells of
/// none.
pub(super) fn used(held: &Held, group: &GroupName, history: &History) -> Option<Used> {
    let Hold::ApprovalNeeded(needed) = &held.hold else {
        return None;
    };
    let until = needed.spent?;
    let log = entries(&history.repository, Some(group), SEARCH_MAX).ok()?;
    let entry = began(&log, &needed.change)?;
    let approvals = entry.trailers.iter();
    let approvals = approvals.filter(|(key, _)| key == "Drover-Approved-By");
    Some(Used {
        until: view::seconds(until),
        approved_by: approvals.map(|(_, by)| by.clone()).collect(),
        entry: entry.id.to_string(),
        source: history.source_of(entry),
    })
}

/// Returns the entry with which an approved change last came into force. Entries go from the latest to the oldest; more
/// than one may tell of it.
fn began<'a>(log: &'a [CommitInfo], change: &ChangeId) -> Option<&'a CommitInfo> {
    let change = change.to_string();
    let tells = |entry: &&CommitInfo| {
        entry.trailer("Drover-Plan") == Some(change.as_str())
            && entry.trailer("Drover-Approved-By").is_some()
    };
    let from = log.iter().position(|entry| tells(&entry))?;
    log[from..].iter().take_while(tells).last()
}

impl Used {
    /// Returns it as a part of the chain.
    pub(super) fn line(&self) -> String {
        let by = self.approved_by.join(", ");
        let what = match &self.source {
            Some(source) => super::render_origin(source),
            None => format!(
                "the commit of entry {}",
                self.entry.chars().take(10).collect::<String>()
            ),
        };
        format!(
            "approvals until {} were used for {what} (approved by {by})",
            self.until
        )
    }
}
