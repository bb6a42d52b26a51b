//! The end of a pass: commit transitions to the state branch, publish them, and forget what is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{GroupName, RecordedGroup, Timestamp, counted};
use drover_spec::record::{self, AcceptedRewrite, RecordedFleet};
use tracing::{info, warn};

use super::Agent;
use super::desired::rests_on;
use super::fetch::Job;
use crate::audit::{self, Author, Chain, Work};
use crate::deletion::SeenUnder;
use crate::entry::{self, Audit, GroupEntry};
use crate::inputs;
use crate::lease::Lease;
use crate::message::{self, Before, Trailers, Transition};
use crate::recorder::{
    FLEET_FILE, Guard, PublishResult, PublishWhen, Recorder, RecorderError, StateCommit,
};
use crate::store::Batch;
use crate::task::{Keep, Mode};

/// Commits that are handed over together. They share a pack, so that a thousand are made in seconds;
/// each holds the trees of a thousand groups in memory until the pack is written, some 80 KB.
const COMMITS_AT_ONCE: usize = 50;

/// What a commit is about.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// A group, at this recorded state with this digest.
    Group {
        name: GroupName,
        recorded: Arc<RecordedGroup>,
        digest: String,
    },
    /// The fleet's documents, and what else their record tells.
    Fleet(Option<AcceptedRewrite>),
}

/// A commit to be made. Its files are encoded when its turn has come: those of a thousand groups at
/// once would be much of the agent's memory.
#[derive(Debug)]
struct Draft {
    message: String,
    keep: Keep,
    content: Content,
    /// What its entry of the audit log says beside.
    work: Work,
}

/// What a commit writes.
#[derive(Debug)]
enum Content {
    /// The recorded state of a group, and what its plan was made from.
    Group {
        name: GroupName,
        recorded: Arc<RecordedGroup>,
        digest: String,
        inputs: Option<Arc<[u8]>>,
        seen: Option<SeenUnder>,
    },
    /// The fleet's documents.
    Fleet(RecordedFleet),
}

impl Draft {
    fn encode(&self, at: Timestamp) -> StateCommit {
        let files = match &self.content {
            Content::Group { .. } if self.keep == Keep::Nothing => Vec::new(),
            Content::Group {
                name,
                recorded,
                inputs,
                seen,
                digest: _,
            } => group_files(name, recorded, inputs.as_deref(), seen.as_ref()),
            Content::Fleet(documents) => {
                let text = record::encode_fleet(documents);
                vec![(FLEET_FILE.to_owned(), Some(text.into_bytes()))]
            }
        };
        StateCommit {
            message: self.message.clone(),
            files,
            at,
        }
    }

    fn into_subject(self) -> Subject {
        match self.content {
            Content::Group {
                name,
                recorded,
                digest,
                inputs: _,
                seen: _,
            } => Subject::Group {
                name,
                recorded,
                digest,
            },
            Content::Fleet(fleet) => Subject::Fleet(fleet.accepted_rewrite),
        }
    }
}

/// What came of commits and a publication.
#[derive(Debug)]
pub(super) struct Recorded {
    /// What was committed, and whether that changed anything.
    committed: Vec<(Subject, bool)>,
    failure: Option<RecorderError>,
    published: Option<Result<PublishResult, RecorderError>>,
    pending: usize,
}

impl Agent {
    /// Commits what changed and publishes what is due.
    pub(super) async fn record(&mut self, now: Timestamp, when: PublishWhen) {
        if self.settings.mode == Mode::DryRun {
            return;
        }
        self.save_held(now).await;
        let Some(lease) = self
            .tenure
            .lease()
            .cloned()
            .filter(|_| self.tenure.may_act())
        else {
            return;
        };
        self.settle_remote(now, Duration::ZERO).await;
        if self.remote.is_busy() {
            return;
        }
        let drafts = self.drafts();
        if !drafts.is_empty() {
            self.unpublished_since.get_or_insert(now);
        }
        if drafts.is_empty() && self.write_back.pending == 0 {
            self.publish_at = None;
            return;
        }
        let version = self.settings.version.clone();
        self.remote.begin(move |remote| {
            Job::Recorded(write(
                &mut *remote.recorder,
                drafts,
                (&lease, version),
                now,
                when,
            ))
        });
        self.settle_remote(now, self.settings.limits.fetch_wait)
            .await;
    }

    /// Writes down what changed outside the groups' own tasks.
    async fn save_held(&mut self, now: Timestamp) {
        let mut batch = Batch::default();
        for entry in self.groups.values().filter(|entry| entry.pending.store) {
            batch.recorded(&entry.recorded);
        }
        if batch.is_empty() {
            return;
        }
        batch.clock(now);
        if self.write_store(batch).await {
            for entry in self.groups.values_mut() {
                entry.pending.store = false;
            }
        }
    }

    fn drafts(&mut self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        let agent = self.agent_trailer();
        let branch = self.source_status.branch.clone();
        let source = self.applied.as_ref();
        let source = source.map(|revision| message::source_trailer(&branch, revision));
        if self.unsaved.commit
            && let Some(revision) = &self.applied
        {
            // What no group rests on any more need not be told.
            let rests: BTreeSet<_> = self.groups.values().flat_map(rests_on).collect();
            self.fleet.left_behind.retain(|left| rests.contains(left));
            let fleet = self.fleet.publish(revision);
            let rewrite = fleet.accepted_rewrite.as_ref();
            let trailers = Trailers {
                source: source.clone(),
                agent: agent.clone(),
                accepted_rewrite: rewrite.map(|rewrite| rewrite.revision.to_string()),
                ..Trailers::default()
            };
            let subject = format!("fleet: documents at {}", revision.short());
            let body: Vec<String> = rewrite.map(told).into_iter().collect();
            drafts.push(Draft {
                message: message::message(&subject, &body, &trailers),
                keep: self.settings.keep,
                content: Content::Fleet(fleet),
                work: Work::default(),
            });
        }
        for (name, entry) in &mut self.groups {
            // A group that works beside the pass is committed when it is done.
            if entry.busy {
                continue;
            }
            // What was handed over to a commit that failed is told by the next one.
            entry.take_back_audit();
            if let Some(digest) = entry.uncommitted(self.settings.keep) {
                let trailers = trailers(entry, source.clone(), agent.clone());
                let message = message(entry, &trailers);
                let recorded = Arc::clone(&entry.recorded);
                let seen = entry.meta.seen.clone();
                let audit = entry.send_audit();
                drafts.push(Draft {
                    message,
                    keep: self.settings.keep,
                    work: work(&recorded, audit),
                    content: Content::Group {
                        name: name.clone(),
                        recorded,
                        digest,
                        inputs: audit.inputs.clone(),
                        seen,
                    },
                });
            }
        }
        drafts
    }

    /// Takes up what came of the commits.
    pub(super) async fn take_recorded(&mut self, recorded: Recorded, now: Timestamp) {
        let mut batch = Batch::default();
        for (subject, made) in recorded.committed {
            self.write_back.commits += u64::from(made);
            match subject {
                Subject::Fleet(told) => {
                    self.unsaved.commit = false;
                    self.told(told.as_ref(), &mut batch);
                }
                Subject::Group {
                    name,
                    recorded,
                    digest,
                } => self.committed(&name, &recorded, digest, &mut batch),
            }
        }
        self.write_store(batch).await;
        self.write_back.pending = recorded.pending;
        self.publish_at = None;
        let earlier = self.write_back.failure.take();
        let failure = match recorded.published {
            Some(Ok(PublishResult::Nothing | PublishResult::Pushed { .. })) => {
                if recorded.pending == 0 {
                    self.unpublished_since = None;
                    self.write_back.published_at = Some(now);
                }
                None
            }
            // Nothing was tried, so what failed before is not over.
            Some(Ok(PublishResult::Waits { until })) => {
                self.publish_at = Some(until);
                earlier.clone()
            }
            Some(Ok(PublishResult::Fenced)) => {
                let why = "another agent took the lease on the state branch".to_owned();
                self.refuse(why, None);
                None
            }
            Some(Err(error)) => Some(error.to_string()),
            None => None,
        };
        let failure = recorded.failure.map(|error| error.to_string()).or(failure);
        log_write_back(earlier.as_deref(), failure.as_deref());
        self.write_back.failure = failure;
    }

    /// Forgets what a commit has told of the source.
    fn told(&mut self, told: Option<&AcceptedRewrite>, batch: &mut Batch) {
        if told.is_some() && self.fleet.rewrite.as_ref() == told {
            self.fleet.rewrite = None;
            if let Some(revision) = &self.applied {
                batch.fleet(&self.fleet.record(revision));
            }
        }
    }

    fn committed(
        &mut self,
        name: &GroupName,
        recorded: &Arc<RecordedGroup>,
        digest: String,
        batch: &mut Batch,
    ) {
        let Some(entry) = self.groups.get_mut(name) else {
            return;
        };
        if entry.is_gone() && Arc::ptr_eq(&entry.recorded, recorded) {
            info!(group = %name, "group removed");
            batch.forget(name);
            self.prober.forget(name);
            self.members.forget(name);
            self.groups.remove(name);
            // A document of the same name is a new group.
            self.desired_stale = true;
            return;
        }
        // What changed while the commit was made still waits for one of its own.
        entry.pending.commit &= !Arc::ptr_eq(&entry.recorded, recorded);
        entry.meta.committed = Some(digest);
        entry.committed = Some(Before::from(&**recorded));
        entry.sent = None;
        batch.meta(name, &entry.meta);
        if entry.audit.inputs.is_none() {
            batch.forget_inputs(name);
        }
    }
}

/// Returns who accepted a rewritten history, in words.
fn told(accepted: &AcceptedRewrite) -> String {
    let AcceptedRewrite {
        revision,
        replaced,
        by,
    } = accepted;
    let (revision, replaced) = (revision.short(), replaced.short());
    format!("rewritten history at {revision} accepted by {by}, in place of {replaced}")
}

/// Logs when publishing begins to fail, and when it works again.
fn log_write_back(earlier: Option<&str>, failure: Option<&str>) {
    match (earlier, failure) {
        (None, Some(error)) => warn!(error, "recorded state not published, it waits"),
        (Some(_), None) => info!("recorded state published again"),
        (Some(_), Some(_)) | (None, None) => {}
    }
}

fn write(
    recorder: &mut dyn Recorder,
    drafts: Vec<Draft>,
    (lease, version): (&Lease, String),
    now: Timestamp,
    when: PublishWhen,
) -> Recorded {
    let author = Author {
        agent: lease.name.clone(),
        version,
        epoch: lease.epoch,
    };
    let mut committed = Vec::with_capacity(drafts.len());
    let mut failure = None;
    let mut drafts = drafts.into_iter();
    while drafts.len() > 0 {
        let batch: Vec<Draft> = drafts.by_ref().take(COMMITS_AT_ONCE).collect();
        match commit(recorder, &batch, &author, now) {
            Ok(made) => committed.extend(batch.into_iter().map(Draft::into_subject).zip(made)),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let path = lease.file();
    let content = lease.encode();
    let guard = Guard {
        path: &path,
        content: &content,
    };
    let published = match failure {
        None => Some(recorder.publish(now, &guard, when)),
        Some(_) => None,
    };
    Recorded {
        committed,
        failure,
        published,
        pending: recorder.pending(),
    }
}

/// Commits drafts, each with its entry of the audit log. Returns for each whether it changes anything:
/// one that does not is left out.
fn commit(
    recorder: &mut dyn Recorder,
    drafts: &[Draft],
    author: &Author,
    now: Timestamp,
) -> Result<Vec<bool>, RecorderError> {
    let mut chain = Chain::read(recorder)?;
    let mut commits = Vec::with_capacity(drafts.len());
    let mut changes = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut commit = draft.encode(now);
        match draft.keep {
            Keep::Everything if audit::changes_nothing(recorder, &commit)? => {
                changes.push(false);
                continue;
            }
            Keep::Everything => chain.seal(&mut commit, author, draft.work.clone()),
            Keep::Nothing => {}
        }
        changes.push(true);
        commits.push(commit);
    }
    let mut made = recorder.commit(&commits)?.into_iter();
    let made = |changes: bool| changes && made.next().unwrap_or(false);
    Ok(changes.into_iter().map(made).collect())
}

/// Returns what the entry of a commit about a group says of the work behind it.
fn work(recorded: &RecordedGroup, audit: &Audit) -> Work {
    let removed = entry::is_gone(recorded);
    let inputs = audit.inputs.as_ref().filter(|_| removed);
    Work {
        group: Some(recorded.name.to_string()),
        steps: audit.notes.iter().map(|note| note.step.clone()).collect(),
        more_steps: audit.notes_dropped as u64,
        done: audit.done as u64,
        failed: audit.failed as u64,
        last_inputs: inputs.map(|inputs| String::from_utf8_lossy(inputs).into_owned()),
    }
}

fn trailers(entry: &GroupEntry, source: Option<String>, agent: String) -> Trailers {
    let audit = &entry.audit;
    let withheld = entry
        .recorded
        .holds
        .iter()
        .any(|held| !held.hold.is_routine());
    let result = message::result((audit.done, audit.failed), withheld);
    Trailers {
        group: Some(entry.recorded.name.to_string()),
        plan: entry.recorded.change.as_ref().map(ToString::to_string),
        source,
        policy: audit.policies.clone(),
        result: Some(result),
        agent,
        approved_by: approved_by(&entry.recorded),
        accepted_rewrite: None,
        accepted_state: None,
    }
}

/// Returns who approved the change in progress.
pub(crate) fn approved_by(recorded: &RecordedGroup) -> Vec<String> {
    let approved = recorded.approved.as_ref();
    let approved = approved.filter(|it| recorded.change.as_ref() == Some(&it.change));
    let approvals = approved.into_iter().flat_map(|it| &it.approvals);
    approvals.map(|it| it.signer.to_string()).collect()
}

fn message(entry: &GroupEntry, trailers: &Trailers) -> String {
    let transition = Transition {
        from: entry.committed.as_ref(),
        to: &entry.recorded,
        numbers: &entry.status.report.numbers,
        healed: entry.audit.healed,
    };
    message::message(&message::subject(&transition), &body(entry), trailers)
}

fn group_files(
    name: &GroupName,
    recorded: &RecordedGroup,
    inputs: Option<&[u8]>,
    seen: Option<&SeenUnder>,
) -> Vec<(String, Option<Vec<u8>>)> {
    let state = format!("groups/{name}.yaml");
    let inputs_path = format!("inputs/{name}.json");
    if entry::is_gone(recorded) {
        return vec![(state, None), (inputs_path, None)];
    }
    let mut files = vec![(state, Some(record::encode(recorded).into_bytes()))];
    if let Some(inputs) = inputs {
        files.push((inputs_path, Some(inputs::with_seen(inputs, seen))));
    }
    files
}

fn body(entry: &GroupEntry) -> Vec<String> {
    let notes = entry.audit.notes.iter();
    let mut lines = message::asked(entry.committed.as_ref(), &entry.recorded);
    lines.extend(notes.map(|note| note.line.clone()));
    if entry.audit.notes_dropped > 0 {
        lines.push(counted(entry.audit.notes_dropped, "more step"));
    }
    for held in &entry.recorded.holds {
        let what = held.reason.map_or("held", |reason| reason.as_str());
        lines.push(format!("{what}: {}", held.hold));
    }
    lines
}
