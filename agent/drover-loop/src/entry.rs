//! One group as the agent holds it between passes.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_model::{
    Condition, ConditionType, Deleting, Group, GroupPhase, Held, Hold, InstanceId, InstanceMemory,
    ProviderName, Recommendation, RecordedGroup, Timestamp,
};
use drover_spec::{Diagnostic, Document};

use crate::group::Candidate;
use crate::material;
use crate::message::Before;
use crate::quiet::Quiet;
use crate::status::{GroupReport, GroupStatus};
use crate::store::{GroupMeta, StoredGroup};
use crate::task::{Keep, Note};

/// Lines about steps that are kept for the next commit; more are counted only.
const NOTES_MAX: usize = 40;

/// A group between passes.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, set and asked in its own place"
)]
pub(crate) struct GroupEntry {
    pub(crate) recorded: Arc<RecordedGroup>,
    pub(crate) memory: Arc<BTreeMap<InstanceId, InstanceMemory>>,
    /// What the size policy asked for lately.
    pub(crate) recommendations: Arc<Vec<Recommendation>>,
    pub(crate) meta: GroupMeta,
    /// The document in force, parsed. None: none is, or it cannot be read any more.
    pub(crate) accepted: Option<Arc<Group>>,
    /// The document of the repository, where it is good and not in force.
    pub(crate) candidate: Option<Candidate>,
    /// The removal that the repository's commit asks for, until it is accepted.
    pub(crate) removal: Option<Deleting>,
    /// Set until it is known whether anything was waiting: who starts from the state branch has no other memory of it.
    pub(crate) blind: bool,
    /// Why the document of the repository is not in force.
    pub(crate) notices: Vec<Held>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Its work goes on beside the pass.
    pub(crate) busy: bool,
    /// When its last plan had been applied, in the agent's order of events.
    pub(crate) acted: u64,
    /// Whether `next_number` was compared with the journal.
    pub(crate) numbered: bool,
    /// What was last found doubtful in its part of the listing.
    pub(crate) doubted: Option<String>,
    /// Whether the log has that a person accepted its instances.
    pub(crate) owner_accepted: bool,
    /// What was last said of several instances under one id.
    pub(crate) duplicates: Option<String>,
    pub(crate) pending: Pending,
    /// What was committed last, as far as this process knows.
    pub(crate) committed: Option<Before>,
    /// What was done since the last commit.
    pub(crate) audit: Audit,
    /// The same of the commit that is being made. It counts again if that fails.
    pub(crate) sent: Option<Audit>,
    /// Set while the latest plan had nothing to do: what it was made from.
    pub(crate) quiet: Option<Quiet>,
    pub(crate) status: Arc<GroupStatus>,
}

/// Where a group's recorded state has still to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// To the state branch, perhaps: it changed since it was last compared with what is there.
    pub(crate) commit: bool,
    /// To the local store: it changed outside a task, which would have written it down.
    pub(crate) store: bool,
}

/// What the next commit about a group tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audit {
    /// Steps with their outcome, at most [`NOTES_MAX`].
    pub(crate) notes: Vec<Note>,
    pub(crate) notes_dropped: usize,
    /// Instances replaced because they were bad.
    pub(crate) healed: usize,
    pub(crate) done: usize,
    pub(crate) failed: usize,
    /// Digest of the policies that judged when `inputs` were planned from.
    pub(crate) policies: Option<String>,
    /// What is needed to compute the plan again.
    pub(crate) inputs: Option<Arc<[u8]>>,
}

impl Audit {
    pub(crate) fn note(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        } else {
            self.notes_dropped += 1;
        }
    }

    /// Puts what happened before in front.
    fn after(self, mut earlier: Self) -> Self {
        for note in self.notes {
            earlier.note(note);
        }
        earlier.notes_dropped += self.notes_dropped;
        earlier.healed += self.healed;
        earlier.done += self.done;
        earlier.failed += self.failed;
        if self.inputs.is_some() {
            earlier.inputs = self.inputs;
            earlier.policies = self.policies;
        }
        earlier
    }
}

impl GroupEntry {
    /// Makes the entry of a group that was never seen.
    pub(crate) fn new(recorded: RecordedGroup) -> Self {
        Self::of(
            StoredGroup {
                recorded,
                memory: BTreeMap::new(),
                recommendations: Vec::new(),
                meta: GroupMeta::default(),
                inputs: None,
            },
            None,
        )
    }

    /// Takes up a stored group.
    pub(crate) fn restored(stored: StoredGroup) -> Self {
        let known = Before::from(&stored.recorded);
        Self::of(stored, Some(known))
    }

    fn of(stored: StoredGroup, committed: Option<Before>) -> Self {
        let accepted = parse_accepted(&stored.recorded);
        let recorded = Arc::new(stored.recorded);
        let status = GroupStatus {
            recorded: Arc::clone(&recorded),
            group: accepted.clone(),
            report: Arc::new(GroupReport {
                phase: Some(recorded.phase),
                holds: recorded.holds.clone(),
                ..GroupReport::default()
            }),
            wanted: None,
            change: None,
            withheld: None,
            differing: Arc::default(),
            decisions: Arc::default(),
            members: None,
        };
        Self {
            memory: Arc::new(stored.memory),
            recommendations: Arc::new(stored.recommendations),
            meta: stored.meta,
            accepted,
            candidate: None,
            removal: None,
            blind: false,
            notices: Vec::new(),
            diagnostics: Vec::new(),
            busy: false,
            acted: 0,
            numbered: false,
            doubted: None,
            owner_accepted: false,
            duplicates: None,
            pending: Pending {
                commit: true,
                store: false,
            },
            committed,
            audit: Audit {
                inputs: stored.inputs,
                ..Audit::default()
            },
            sent: None,
            quiet: None,
            status: Arc::new(status),
            recorded,
        }
    }

    /// Returns the providers that may have instances of the group, as far as documents and record say.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &ProviderName> {
        let candidate = self.candidate.as_ref().map(|candidate| &candidate.group);
        let documents = self.accepted.iter().chain(candidate);
        let named = documents.map(|group| &group.spec.provider);
        named.chain(
            self.recorded
                .provider
                .as_ref()
                .map(|recorded| &recorded.name),
        )
    }

    /// Returns whether documents or record name the provider.
    pub(crate) fn uses(&self, provider: &str) -> bool {
        self.providers().any(|name| name.as_str() == provider)
    }

    /// Returns whether this is a quorum group of whose members nothing is recorded. Whoever has lost the record of one takes
    /// it for one that never was, and would start it a second time.
    pub(crate) fn is_unproven(&self) -> bool {
        let candidate = self.candidate.as_ref().map(|candidate| &candidate.group);
        let mut documents = self.accepted.iter().chain(candidate);
        self.recorded.quorum.is_none() && documents.any(|group| group.spec.quorum.is_some())
    }

    /// Returns whether nothing of the group is left and the record of it may go.
    pub(crate) fn is_gone(&self) -> bool {
        is_gone(&self.recorded)
    }

    /// Hands over what was done, to the commit that tells of it.
    pub(crate) fn send_audit(&mut self) -> &Audit {
        let audit = std::mem::take(&mut self.audit);
        self.sent.insert(audit)
    }

    /// Takes back what was handed over to a commit that was not made.
    pub(crate) fn take_back_audit(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.audit = std::mem::take(&mut self.audit).after(sent);
        }
    }

    /// Returns the digest of what should be committed, if that is not committed yet. Where nothing is
    /// kept, only the end of a group is told.
    pub(crate) fn uncommitted(&mut self, keep: Keep) -> Option<String> {
        if !self.pending.commit {
            return None;
        }
        let digest = match keep {
            Keep::Everything => material::digest(&self.recorded),
            Keep::Nothing => self.recorded.phase.as_str().to_owned(),
        };
        self.pending.commit = self.meta.committed.as_ref() != Some(&digest);
        self.pending.commit.then_some(digest)
    }

    /// Takes up what a task has stored that did not come to its end: from then on its document is in force, and it may
    /// have made instances.
    pub(crate) fn catch_up(&mut self, stored: StoredGroup) {
        let Some(accepted) = &stored.recorded.accepted else {
            return;
        };
        let text = self.candidate.as_ref().map(|newer| &newer.document.text);
        if text == Some(&accepted.text) {
            self.candidate = None;
        }
        self.accepted = parse_accepted(&stored.recorded);
        self.memory = Arc::new(stored.memory);
        self.audit.inputs = stored.inputs;
        self.record(Arc::new(stored.recorded));
    }

    /// Replaces the recorded state. Returns whether it differs.
    pub(crate) fn record(&mut self, recorded: Arc<RecordedGroup>) -> bool {
        if Arc::ptr_eq(&self.recorded, &recorded) {
            return false;
        }
        self.quiet = None;
        let differs = *self.recorded != *recorded;
        self.recorded = recorded;
        self.pending.commit |= differs;
        differs
    }
}

/// Returns whether nothing of a recorded group is left and the record of it may go.
pub(crate) fn is_gone(recorded: &RecordedGroup) -> bool {
    recorded.phase == GroupPhase::Deleted
}

/// Parses the document in force.
fn parse_accepted(recorded: &RecordedGroup) -> Option<Arc<Group>> {
    let document = recorded.accepted.as_ref()?;
    let parsed = drover_spec::parse_document(&document.path, document.line, &document.text);
    let groups = parsed.documents.into_iter();
    let mut groups = groups.filter_map(|parsed| match parsed.outcome {
        Some(Document::Group(group)) if group.name == recorded.name => Some(group),
        _ => None,
    });
    groups.next()
}

/// Returns the recorded state of a group that cannot be planned, held for `holds`.
pub(crate) fn held(recorded: &RecordedGroup, holds: &[Held], now: Timestamp) -> RecordedGroup {
    let mut next = recorded.clone();
    next.holds = holds.to_vec();
    let Some(first) = holds.first() else {
        return next;
    };
    if next.phase != GroupPhase::Deleting {
        next.phase = GroupPhase::Held;
    }
    let (reason, message) = (first.hold.code(), first.hold.to_string());
    set_condition(
        &mut next,
        ConditionType::Stalled,
        Some(true),
        reason,
        &message,
        now,
    );
    set_condition(&mut next, ConditionType::Ready, None, reason, &message, now);
    let document = holds.iter().find(|held| refuses_document(&held.hold));
    if let Some(held) = document {
        let (reason, message) = (held.hold.code(), held.hold.to_string());
        set_condition(
            &mut next,
            ConditionType::SpecAccepted,
            Some(false),
            reason,
            &message,
            now,
        );
    }
    next
}

fn refuses_document(hold: &Hold) -> bool {
    matches!(
        hold,
        Hold::SpecInvalid { .. }
            | Hold::PolicyDenied(_)
            | Hold::ApprovalNeeded(_)
            | Hold::ApprovalRejected(_)
            | Hold::PolicyFailed(_)
            | Hold::ProviderChanged { .. }
            | Hold::SizingChanged
            | Hold::RenameUnconfirmed { .. }
            | Hold::ProviderMissing { .. }
    )
}

/// Sets a condition, keeping the time at which its status last changed.
pub(crate) fn set_condition(
    recorded: &mut RecordedGroup,
    type_: ConditionType,
    status: Option<bool>,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let since = recorded
        .conditions
        .get(&type_)
        .filter(|before| before.status == status)
        .map_or(now, |before| before.since);
    let condition = Condition {
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        since,
    };
    recorded.conditions.insert(type_, condition);
}
