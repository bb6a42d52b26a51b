//! What people with a key said about changes: verified before it gets here, and never a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::{ChangeId, GroupName, Order, PolicyHold, Revision, Signer, Timestamp};

/// How long a word on a change counts at most, so that a forgotten one is not one for ever.
pub const APPROVAL_LIFETIME_MAX: Duration = Duration::from_hours(30 * 24);

/// Most changes of a group whose approvals are known to be used, each by itself: more than three a day for as long as
/// an approval can count, which no people keep up, in 10 KiB.
pub const SPENT_CHANGES_MAX: usize = 100;

/// What a signer said about a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApprovalVerdict {
    /// It may go on.
    Approve,
    /// It must not.
    Reject,
    /// Its rollout may go past the stage that it waits at.
    Promote,
    /// Its rollout, which stopped after failures, may go on.
    Retry,
}

impl ApprovalVerdict {
    /// Returns the word that commands and documents use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Promote => "promote",
            Self::Retry => "retry",
        }
    }

    /// Every one.
    pub const ALL: [Self; 4] = [Self::Approve, Self::Reject, Self::Promote, Self::Retry];

    /// Whether it says whether a change may go on at all.
    pub fn is_decision(self) -> bool {
        match self {
            Self::Approve | Self::Reject => true,
            Self::Promote | Self::Retry => false,
        }
    }
}

/// One person's decision about one change. Its signature was verified, and its document was seen for
/// the first time; whether it has expired depends on the time that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The change that it covers, and no other.
    pub change: ChangeId,
    /// Who signed it, by the agent's list of signers.
    pub signer: Signer,
    /// Approved or rejected.
    pub verdict: ApprovalVerdict,
    /// When it was signed, by the signer's clock.
    pub at: Timestamp,
    /// When it ends to count.
    pub expires: Timestamp,
    /// Why, in the signer's words.
    pub because: String,
    /// The commit that brought it.
    pub operation: Revision,
}

impl Approval {
    /// Returns whether it counts at `now`. One from the future counts: clocks differ, and what is
    /// too far ahead was refused when it was read.
    pub fn counts(&self, now: Timestamp) -> bool {
        now < self.expires
    }
}

/// Everything that was verified of what people said, by group: about changes, and about instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvals {
    changes: BTreeMap<GroupName, Vec<Approval>>,
    orders: BTreeMap<GroupName, Vec<Order>>,
}

impl Approvals {
    /// Adds one. The order in which they are added does not matter.
    pub fn add(&mut self, group: GroupName, approval: Approval) {
        let all = self.changes.entry(group).or_default();
        let before = |known: &Approval| {
            (known.at, known.verdict, &known.operation)
                <= (approval.at, approval.verdict, &approval.operation)
        };
        let place = all.partition_point(before);
        all.insert(place, approval);
    }

    /// Adds what is asked of an instance. The order in which they are added does not matter.
    pub fn add_order(&mut self, order: Order) {
        let all = self
            .orders
            .entry(order.instance.group().clone())
            .or_default();
        let before = |known: &Order| {
            (known.at, known.verb, &known.operation) <= (order.at, order.verb, &order.operation)
        };
        let place = all.partition_point(before);
        all.insert(place, order);
    }

    /// Returns what was said about changes of a group, the oldest first.
    pub fn of(&self, group: &GroupName) -> &[Approval] {
        self.changes.get(group).map_or(&[], Vec::as_slice)
    }

    /// Returns what was asked of instances of a group, the oldest first.
    pub fn orders_of(&self, group: &GroupName) -> &[Order] {
        self.orders.get(group).map_or(&[], Vec::as_slice)
    }

    /// Returns the groups that anything was said about.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        let all: BTreeSet<&GroupName> = self.changes.keys().chain(self.orders.keys()).collect();
        all.into_iter()
    }

    /// Returns whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.orders.is_empty()
    }

    /// Returns what counts for a change at `now`: the latest word of each signer, since who rejects
    /// after an approval takes it back, and the other way round. Of two at the same moment the
    /// rejection wins. A latest word that has expired counts for nothing, and brings no earlier one back.
    pub fn standing(
        &self,
        group: &GroupName,
        change: &ChangeId,
        now: Timestamp,
    ) -> BTreeMap<&Signer, &Approval> {
        let about =
            |approval: &&Approval| approval.verdict.is_decision() && approval.change == *change;
        let said = self.of(group).iter().filter(about);
        let mut latest: BTreeMap<_, _> =
            said.map(|approval| (&approval.signer, approval)).collect();
        latest.retain(|_, approval| approval.counts(now));
        latest
    }
}

/// Approvals that were used: whatever approves a change that came into force, up to the moment it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpentApprovals {
    changes: BTreeMap<ChangeId, Timestamp>,
    before: Option<Timestamp>,
}

impl SpentApprovals {
    /// Returns what was written down.
    pub fn recorded(changes: BTreeMap<ChangeId, Timestamp>, before: Option<Timestamp>) -> Self {
        Self { changes, before }
    }

    /// Returns the changes whose approvals are used, each with the time of the last one that is.
    pub fn changes(&self) -> &BTreeMap<ChangeId, Timestamp> {
        &self.changes
    }

    /// Returns until when approvals of any change count as used. None: there never were too many to know each.
    pub fn before(&self) -> Option<Timestamp> {
        self.before
    }

    /// Returns whether nothing is used.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.before.is_none()
    }

    /// Returns the time up to which approvals of a change are used, that included. None: none is.
    pub fn until(&self, change: &ChangeId) -> Option<Timestamp> {
        self.changes.get(change).copied().max(self.before)
    }

    /// Notes at `now` that the approvals of a change up to `until` are used.
    ///
    /// What nobody's approval can be older than is forgotten. Of too many the oldest are, and from then on no approval
    /// of that time counts for anything: somebody approves once more than they had to, and nothing is approved twice.
    pub fn spend(&mut self, change: ChangeId, until: Timestamp, now: Timestamp) {
        let lasts = |until: &Timestamp| {
            let over = now.duration_since(*until);
            over.is_negative() || over.unsigned_abs() <= APPROVAL_LIFETIME_MAX
        };
        self.changes.insert(change, until);
        self.changes.retain(|_, until| lasts(until));
        self.before = self.before.filter(lasts);
        while self.changes.len() > SPENT_CHANGES_MAX {
            let oldest = self.changes.iter().min_by_key(|(_, until)| **until);
            let Some((change, until)) = oldest.map(|(change, until)| (change.clone(), *until))
            else {
                break;
            };
            self.changes.remove(&change);
            self.before = self.before.max(Some(until));
        }
    }
}

/// Who wrote a change, and so approves none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authors {
    /// Their addresses, or what stands in their place, as they were written first.
    known: BTreeSet<String>,
    /// Whether there may be others, so that nobody can be told not to be one.
    pub unknown: bool,
}

impl Authors {
    /// Returns these, each as `name <address>` or an address alone.
    pub fn of(authors: &[impl AsRef<str>]) -> Self {
        let mut all = Self::default();
        for author in authors {
            all.add(author.as_ref());
        }
        all
    }

    /// Returns those that were written down: addresses, as [`known`](Self::known) gives them.
    pub fn recorded(known: impl IntoIterator<Item = String>, unknown: bool) -> Self {
        let known = known.into_iter().collect();
        Self { known, unknown }
    }

    /// Adds one, as `name <address>` or an address alone. Addresses are the same in any letter case.
    pub fn add(&mut self, author: &str) {
        let author = address(author);
        if !author.is_empty() && !self.contains(author) {
            self.known.insert(author.to_owned());
        }
    }

    /// Adds all of the others.
    pub fn extend(&mut self, others: &Self) {
        for author in &others.known {
            self.add(author);
        }
        self.unknown |= others.unknown;
    }

    /// Returns the addresses that are known, in order.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str)
    }

    /// Returns whether nobody is known and there is nobody else.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && !self.unknown
    }

    /// Returns whether a signer is, or may be, one of them.
    pub fn may_include(&self, signer: &Signer) -> bool {
        self.unknown || self.contains(signer.as_str())
    }

    fn contains(&self, author: &str) -> bool {
        let mut known = self.known.iter();
        known.any(|known| known.eq_ignore_ascii_case(author))
    }
}

/// Most authors that a message names.
const AUTHORS_TOLD_MAX: usize = 3;

impl fmt::Display for Authors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<&str> = self.known().take(AUTHORS_TOLD_MAX).collect();
        f.write_str(&told.join(", "))?;
        match self.known.len() - told.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Returns the address in `name <address>`; without one the whole text.
fn address(author: &str) -> &str {
    let inside = author
        .rsplit_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    let inside = inside.map_or("", |(address, _)| address.trim());
    if inside.is_empty() {
        author.trim()
    } else {
        inside
    }
}

/// Approvals of a change that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalNeeded {
    /// Which rule asks for them.
    pub policy: PolicyHold,
    /// The change.
    pub change: ChangeId,
    /// Who wrote it, and so cannot approve it.
    pub authors: Authors,
    /// Who has approved it so far.
    pub have: BTreeSet<Signer>,
    /// How many must.
    pub need: u32,
    /// Until when approvals of it were used, since it came into force once already. None: none was.
    pub spent: Option<Timestamp>,
}

impl fmt::Display for ApprovalNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let have: Vec<&str> = self.have.iter().map(Signer::as_str).collect();
        let plural = if self.need == 1 { "" } else { "s" };
        write!(
            f,
            "change {} needs {} approval{plural}",
            self.change.short(),
            self.need
        )?;
        if self.authors.unknown {
            f.write_str(", which nobody can give: not all who wrote it are known")?;
        } else if !self.authors.is_empty() {
            write!(f, " by others than {}", self.authors)?;
        }
        f.write_str(", has ")?;
        if have.is_empty() {
            f.write_str("none")?;
        } else {
            write!(f, "{} ({})", have.len(), have.join(", "))?;
        }
        if let Some(spent) = self.spent {
            let until = spent.strftime("%Y-%m-%dT%H:%M:%SZ");
            write!(f, ", as those until {until} are used: approve it again")?;
        }
        write!(f, ": {}", self.policy)
    }
}

/// A rejection of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRejected {
    /// Which rule asks for approval.
    pub policy: PolicyHold,
    /// The change.
    pub change: ChangeId,
    /// Who wrote it.
    pub authors: Authors,
    /// Who rejected it.
    pub by: Signer,
    /// Why.
    pub because: String,
}

impl fmt::Display for ApprovalRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            policy,
            change,
            authors: _,
            by,
            because,
        } = self;
        let change = change.short();
        write!(
            f,
            "change {change} was rejected by {by} ({because}): {policy}"
        )
    }
}

#[cfg(test)]
mod tests;
