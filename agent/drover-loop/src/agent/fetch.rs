//! The beginning of a pass: look at the source and at the lease, and take the lease where that is
//! due.

use std::sync::Arc;
use std::time::Duration;

use drover_model::{Approvals, Epoch, Hold, Timestamp};
use tracing::{info, warn};

use super::Agent;
use super::restore::{AcceptedState, Restored, read_state, vouch};
use crate::lease::{Claimant, Lease, Question, Standing, standing};
use crate::message::{self, Trailers};
use crate::offload::Waited;
use crate::operations::RefusedOperation;
use crate::recorder::{Recorder, RecorderError, StateCommit, Swap};
use crate::source::{Awaited, Fetched, Fetcher, InForce, Operations, Source, SourceError, chain};
use crate::store::Batch;
use crate::task::Mode;

use super::write_back::Recorded;

/// What lives on blocking threads: both ends of Git.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) fetcher: Fetcher,
    pub(super) recorder: Box<dyn Recorder>,
    pub(super) operations: Option<Box<dyn Operations>>,
}

impl Remote {
    pub(super) fn new(
        source: Box<dyn Source>,
        recorder: Box<dyn Recorder>,
        operations: Option<Box<dyn Operations>>,
    ) -> Self {
        Self {
            fetcher: Fetcher::new(source),
            recorder,
            operations,
        }
    }
}

/// The result of a piece of blocking work.
#[derive(Debug)]
pub(super) enum Job {
    /// A look at source and lease.
    Looked(Box<Looked>),
    /// An attempt to take the lease.
    Claimed(Box<Result<Claimed, RecorderError>>),
    /// A question to the holder of the lease.
    Asked(Box<Result<Asked, RecorderError>>),
    /// A reading of the state branch, for a dry run without data.
    Restored(Box<Result<Restored, RecorderError>>),
    /// Commits and a publication.
    Recorded(Recorded),
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Looked {
    fetched: Result<Fetched, SourceError>,
    /// None: nobody was asked.
    approvals: Option<Result<Arc<Approvals>, SourceError>>,
    refused: Vec<RefusedOperation>,
    lease: Result<LeaseSeen, RecorderError>,
}

/// What is asked of the state branch.
#[derive(Debug)]
struct LeaseAsked {
    /// The file of our own lease.
    path: String,
    /// Whether its content would be taken up, so that it has to be believed first.
    restores: bool,
    accepted: Option<AcceptedState>,
}

/// What the state branch says about who may write to it.
#[derive(Debug)]
struct LeaseSeen {
    /// The content of our own lease.
    own: Option<Vec<u8>>,
    /// The lease of an agent of another name, where ours is not there.
    other: Option<OtherLease>,
}

/// The lease of an agent of another name.
#[derive(Debug)]
struct OtherLease {
    path: String,
    /// How a person takes away what is left of the branch here, where it was deleted. None: the branch has it.
    left: Option<String>,
}

impl OtherLease {
    /// Says what is wrong, and what to do.
    fn told(&self) -> String {
        let Self { path, left } = self;
        match left {
            None => format!(
                "the state branch belongs to another agent ({path}); give this one a state branch of its own, or remove that file from the branch if the agent was renamed"
            ),
            Some(how) => format!(
                "the state branch is gone, and what is kept of it here belongs to another agent ({path}); give this one a state branch of its own, or take away what is kept, to begin anew: {how}"
            ),
        }
    }
}

/// Whether whoever takes the lease takes up what the branch has.
#[derive(Debug)]
enum Restoring {
    No,
    /// It has nothing of its own. The tip that a person answers for.
    Yes(Option<AcceptedState>),
}

/// How an attempt to take the lease went.
#[derive(Debug)]
pub(super) struct Claimed {
    lease: Lease,
    swap: Swap,
    restored: Option<Restored>,
}

/// What became of a question.
#[derive(Debug)]
pub(super) struct Asked {
    by: String,
    swap: Swap,
}

/// Why the state branch was not taken up, with an empty data directory.
#[derive(Debug)]
pub(super) enum Blank {
    /// It was not read, or cannot be: why, for people.
    Unread(String),
    /// It was read, and is not believed.
    Untrusted(String),
}

/// Whether this agent holds its name.
#[derive(Debug)]
pub(super) enum Tenure {
    /// The data directory is empty, and the state branch was not taken up yet.
    Empty(Blank),
    /// It does, with this lease.
    Held(Lease),
    /// It does not.
    Refused {
        own: Option<Lease>,
        why: String,
        until: Option<Timestamp>,
    },
    /// It acts on nothing and records nothing, so it needs no lease.
    DryRun(Epoch),
}

impl Tenure {
    pub(super) fn open(lease: Option<Lease>, mode: Mode) -> Self {
        match (lease, mode) {
            (lease, Mode::DryRun) => Self::DryRun(lease.map_or(Epoch(1), |lease| lease.epoch())),
            (Some(lease), _) => Self::Held(lease),
            (None, _) => {
                let why = "the data directory is empty and the state branch was not read yet";
                Self::Empty(Blank::Unread(why.to_owned()))
            }
        }
    }

    pub(super) fn may_act(&self) -> bool {
        matches!(self, Self::Held(_) | Self::DryRun(_))
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Held(lease) => Some(lease),
            Self::Refused { own, .. } => own.as_ref(),
            Self::Empty(_) | Self::DryRun(_) => None,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        match self {
            Self::DryRun(epoch) => *epoch,
            other => other.lease().map_or(Epoch(0), Lease::epoch),
        }
    }

    /// Returns what keeps it from acting.
    pub(super) fn refusal(&self) -> Option<Hold> {
        match self {
            Self::Refused { why, .. } => Some(Hold::EpochConflict { why: why.clone() }),
            Self::Empty(Blank::Untrusted(why)) => Some(Hold::StateUntrusted { why: why.clone() }),
            Self::Empty(Blank::Unread(why)) => Some(Hold::SourceUnavailable { why: why.clone() }),
            Self::Held(_) | Self::DryRun(_) => None,
        }
    }

    /// Returns when asking again may give another answer.
    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Refused { until, .. } => *until,
            Self::Empty(_) | Self::Held(_) | Self::DryRun(_) => None,
        }
    }
}

impl Agent {
    /// Looks at source and lease, waiting for a limited time only.
    pub(super) async fn fetch(&mut self, now: Timestamp) {
        // What is left from the last pass had its time.
        self.settle_remote(now, Duration::ZERO).await;
        self.keep_claim(now).await;
        let gap = |at: Timestamp| now.duration_since(at).unsigned_abs();
        let soon = self
            .looks
            .last
            .is_some_and(|at| gap(at) < self.settings.limits.fetch_gap);
        if soon && !self.looks.asked {
            return;
        }
        self.look(now).await;
        // What the state branch has is what a commit follows on, or does not: judged with that known.
        if self.looks.anew && !self.remote.is_busy() {
            self.look(now).await;
        }
        if self.remote.is_busy() {
            self.note_slow_source();
        }
    }

    async fn look(&mut self, now: Timestamp) {
        let in_force = InForce {
            applied: self.applied.clone(),
            also: self.also_applied.clone(),
            has_groups: self.groups.values().any(|entry| entry.accepted.is_some()),
            accepted_rewrite: self.accepted_rewrite.as_ref().map(|(tip, _)| tip.clone()),
            unknown: matches!(self.tenure, Tenure::Empty(_)) || self.looks.view_missing,
            blind: self.blind(),
        };
        let awaited = self.awaited();
        let asked = LeaseAsked {
            path: Lease::path(&self.settings.name),
            restores: self.tenure.lease().is_none() && self.settings.mode != Mode::DryRun,
            accepted: self.looks.accepted_state.clone(),
        };
        let anew = self.looks.anew;
        let begun = self.remote.begin(move |remote| {
            if anew {
                remote.fetcher.forget();
            }
            let looked = look(remote, &in_force, &awaited, &asked, now);
            Job::Looked(Box::new(looked))
        });
        if begun {
            self.looks.last = Some(now);
            self.looks.asked = false;
            self.looks.anew = false;
            self.settle_remote(now, self.settings.limits.fetch_wait)
                .await;
        }
    }

    /// Returns the changes that wait for people, as of the latest pass.
    fn awaited(&self) -> Vec<Awaited> {
        let Some(snapshot) = &self.snapshot else {
            return Vec::new();
        };
        let waiting = self.groups.iter().filter_map(|(name, entry)| {
            let mut holds = entry.recorded.holds.iter();
            let change = holds.find_map(|held| {
                if let Hold::ApprovalNeeded(needed) = &held.hold {
                    Some(&needed.change)
                } else if let Hold::ApprovalRejected(rejected) = &held.hold {
                    Some(&rejected.change)
                } else {
                    None
                }
            })?;
            let candidate = entry.candidate.as_ref().map(|it| &it.document.path);
            let accepted = entry.recorded.accepted.as_ref().map(|it| &it.path);
            Some(Awaited {
                group: name.clone(),
                change: change.clone(),
                revision: snapshot.commit.revision.clone(),
                path: candidate.or(accepted).cloned(),
            })
        });
        waiting.collect()
    }

    /// Takes up the results of blocking work, and what follows from them, within `limit`.
    pub(super) async fn settle_remote(&mut self, now: Timestamp, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match self.remote.wait(deadline).await {
                Waited::Nothing | Waited::Running => return,
                Waited::Done(Ok(Job::Looked(looked))) => self.take_look(*looked, now),
                Waited::Done(Ok(Job::Claimed(claimed))) => self.take_claim(*claimed, now).await,
                Waited::Done(Ok(Job::Asked(asked))) => self.take_question(*asked, now),
                Waited::Done(Ok(Job::Restored(restored))) => self.take_view(*restored),
                Waited::Done(Ok(Job::Recorded(recorded))) => {
                    self.take_recorded(recorded, now).await;
                }
                Waited::Done(Err(panicked)) => {
                    let error = SourceError::Internal {
                        message: panicked.message,
                    };
                    self.note_source::<()>(&Err(error), now);
                }
            }
        }
    }

    fn note_slow_source(&mut self) {
        if self.source_status.failure.is_none() {
            let message = "the repository has not answered yet".to_owned();
            self.source_status.failure = Some(("SourceSlow", message));
        }
    }

    fn take_look(&mut self, looked: Looked, now: Timestamp) {
        self.note_source(&looked.fetched, now);
        if let Ok(Fetched::Changed(snapshot)) = looked.fetched {
            self.snapshot = Some(snapshot);
            self.desired_stale = true;
        }
        if let Some(approvals) = looked.approvals {
            self.note_operations(approvals, looked.refused);
        }
        if self.settings.mode == Mode::DryRun {
            if std::mem::take(&mut self.looks.view_missing) {
                self.remote
                    .begin(|remote| Job::Restored(Box::new(read_state(&mut *remote.recorder))));
            }
            return;
        }
        match looked.lease {
            Ok(seen) => {
                // With nothing to publish, nothing else would end it.
                if self.write_back.pending == 0 {
                    self.write_back.failure = None;
                }
                self.judge_lease(seen, now);
            }
            Err(error) => {
                self.stay_empty(
                    &error,
                    "the data directory is empty and the state branch cannot be read",
                );
                self.write_back.failure = Some(error.to_string());
            }
        }
    }

    /// Notes why an empty data directory stays so.
    fn stay_empty(&mut self, error: &RecorderError, attempted: &str) {
        let unknown = self.tenure.lease().is_none() && self.settings.mode != Mode::DryRun;
        match error {
            RecorderError::Untrusted { .. } if unknown => {
                self.tenure = Tenure::Empty(Blank::Untrusted(error.to_string()));
            }
            RecorderError::Untrusted { .. }
            | RecorderError::Unreachable { .. }
            | RecorderError::Refused { .. }
            | RecorderError::TooLarge { .. }
            | RecorderError::Internal { .. } => {
                if let Tenure::Empty(blank) = &mut self.tenure {
                    *blank = Blank::Unread(format!("{attempted}: {error}"));
                }
            }
        }
    }

    /// Takes up what people with a key said, and tells once what is new and what does not count.
    fn note_operations(
        &mut self,
        approvals: Result<Arc<Approvals>, SourceError>,
        refused: Vec<RefusedOperation>,
    ) {
        for operation in &refused {
            if !self.operations.refused.contains(operation) {
                warn!(
                    path = operation.path,
                    reason = operation.reason.word(),
                    error = operation.why,
                    "operation refused"
                );
            }
        }
        self.operations.refused = refused;
        match approvals {
            Ok(approvals) => {
                self.operations.failure = None;
                if approvals != self.approvals {
                    tell_new(&self.approvals, &approvals);
                    self.approvals = approvals;
                }
            }
            // What was said before stays said.
            Err(error) => {
                let failure = Some(chain(&error));
                if self.operations.failure != failure {
                    warn!(error = failure, "cannot read the operations");
                }
                self.operations.failure = failure;
            }
        }
    }

    fn note_source<T>(&mut self, result: &Result<T, SourceError>, now: Timestamp) {
        match result {
            Ok(_) => {
                self.source_status.failure = None;
                self.source_status.asked_at = Some(now);
                self.outage_watch.read(now);
            }
            Err(error) => {
                self.source_status.failure = Some((error.reason(), error.to_string()));
            }
        }
    }

    /// Compares the lease on the state branch with ours, and begins to take it where that is due.
    fn judge_lease(&mut self, seen: LeaseSeen, now: Timestamp) {
        if self.claimed.is_some() {
            // The lease is ours already, and only has to be written down.
            return;
        }
        // Two agents would write one another's records, each for a fleet of its own.
        if let Some(other) = seen.other {
            return self.refuse(other.told(), None);
        }
        let bytes = seen.own;
        let found = match bytes.as_deref().map(Lease::decode).transpose() {
            Ok(found) => found,
            Err(error) => return self.refuse(error.to_string(), None),
        };
        let claimant = Claimant {
            own: self.tenure.lease(),
            now,
            question: self.looks.question.as_ref(),
        };
        let asked = found.as_ref().and_then(|found| found.contender.as_ref());
        if let (Some(by), Some(_)) = (asked, claimant.own) {
            warn!(
                by,
                "another agent of this name asks whether this one lives: each needs a name of its own"
            );
        }
        let liveness = Arc::clone(&self.liveness);
        match standing(claimant, found.as_ref(), |lease| liveness(lease)) {
            Standing::Held if self.looks_otherwise() => {
                self.begin_claim(self.tenure.epoch(), bytes, now);
            }
            Standing::Held => self.resume(),
            Standing::Refused { why, until } => self.refuse(why, until),
            Standing::Take(epoch) => self.begin_claim(epoch, bytes, now),
            Standing::Ask => {
                if let (Some(lease), Some(bytes)) = (found, bytes) {
                    self.begin_question(lease, bytes, now);
                }
            }
        }
    }

    /// Goes on after a refusal that has passed.
    fn resume(&mut self) {
        if let Tenure::Refused { own: Some(own), .. } = &self.tenure {
            self.tenure = Tenure::Held(own.clone());
            self.brake.set_lost(false);
        }
    }

    pub(super) fn refuse(&mut self, why: String, until: Option<Timestamp>) {
        let own = self.tenure.lease().cloned();
        self.brake.set_lost(true);
        self.tenure = Tenure::Refused { own, why, until };
    }

    /// Returns whether the lease says another interval than the agent has now, as after its file was changed.
    fn looks_otherwise(&self) -> bool {
        let said = self.tenure.lease().and_then(|lease| lease.interval_secs);
        said != Some(self.settings.interval.as_secs())
    }

    /// Asks the holder of the lease whether it lives.
    fn begin_question(&mut self, mut lease: Lease, found: Vec<u8>, now: Timestamp) {
        let why = format!(
            "agent {} is asked on the state branch whether it lives",
            lease.name
        );
        self.refuse(why, None);
        let by = match self.looks.question.take() {
            Some(question) => question.by,
            None => format!("{:016x}", (self.entropy)()),
        };
        lease.contender = Some(by.clone());
        let agent = self.agent_trailer();
        let accepted = self.looks.accepted_state.clone();
        self.remote.begin(move |remote| {
            let recorder = &mut *remote.recorder;
            let swap = vouch(recorder, accepted.as_ref()).and_then(|answered| {
                let commit = lease_commit(&lease, agent, answered.as_ref(), now);
                recorder.swap(&lease.file(), Some(&found), &commit)
            });
            Job::Asked(Box::new(swap.map(|swap| Asked { by, swap })))
        });
    }

    /// Takes up what became of a question. One that was too late is asked anew at the next look.
    fn take_question(&mut self, asked: Result<Asked, RecorderError>, now: Timestamp) {
        match asked {
            Ok(Asked {
                by,
                swap: Swap::Done,
            }) => {
                self.looks.question = Some(Question { by, since: now });
            }
            Ok(Asked {
                swap: Swap::Differs { .. },
                ..
            }) => {}
            Err(error) => {
                self.stay_empty(&error, "the state branch cannot be asked");
                self.write_back.failure = Some(error.to_string());
            }
        }
    }

    fn begin_claim(&mut self, epoch: Epoch, found: Option<Vec<u8>>, now: Timestamp) {
        let own = self.tenure.lease().cloned();
        let restoring = match &own {
            Some(_) => Restoring::No,
            None => Restoring::Yes(self.looks.accepted_state.clone()),
        };
        let mut lease = own.unwrap_or_else(|| Lease {
            name: self.settings.name.to_string(),
            instance: match &self.looks.question {
                Some(question) => question.by.clone(),
                None => format!("{:016x}", (self.entropy)()),
            },
            epoch: epoch.0,
            machine: self.settings.machine.clone(),
            data_dir: self
                .settings
                .data_dir
                .as_ref()
                .map(|dir| dir.display().to_string()),
            interval_secs: None,
            contender: None,
        });
        lease.interval_secs = Some(self.settings.interval.as_secs());
        let agent = self.agent_trailer();
        self.remote.begin(move |remote| {
            let claimed = claim(
                &mut *remote.recorder,
                lease,
                restoring,
                found.as_deref(),
                agent,
                now,
            );
            Job::Claimed(Box::new(claimed))
        });
    }

    async fn take_claim(&mut self, claimed: Result<Claimed, RecorderError>, now: Timestamp) {
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                self.stay_empty(&error, "the lease on the state branch cannot be taken");
                self.write_back.failure = Some(error.to_string());
                return;
            }
        };
        if let Swap::Differs { .. } = claimed.swap {
            let why = "another agent took the lease at the same moment".to_owned();
            return self.refuse(why, Some(now));
        }
        let mut batch = Batch::default();
        batch.lease(&claimed.lease).clock(now);
        if let Some(restored) = claimed.restored {
            self.restore(restored, claimed.lease.epoch(), &mut batch);
        }
        self.claimed = Some((claimed.lease, batch));
        self.keep_claim(now).await;
    }

    /// Writes down a lease that was taken. Until that has worked, nothing is done.
    async fn keep_claim(&mut self, now: Timestamp) {
        let Some((lease, batch)) = self.claimed.take() else {
            return;
        };
        if self.write_store(batch.clone()).await {
            info!(epoch = lease.epoch, "lease taken");
            self.brake.set_lost(false);
            self.tenure = Tenure::Held(lease);
        } else {
            let why = "the lease cannot be written to the journal".to_owned();
            self.refuse(why, Some(now));
            self.claimed = Some((lease, batch));
        }
    }

    /// Returns what the `Drover-Agent` trailer says.
    pub(super) fn agent_trailer(&self) -> String {
        format!("{} {}", self.settings.name, self.settings.version)
    }
}

/// Logs what was not said before.
fn tell_new(known: &Approvals, approvals: &Approvals) {
    for group in approvals.groups() {
        let all = approvals.of(group).iter();
        for approval in all.filter(|approval| !known.of(group).contains(approval)) {
            info!(
                %group,
                plan = approval.change.short(),
                signer = approval.signer.as_str(),
                verdict = approval.verdict.word(),
                "operation taken up"
            );
        }
        let orders = approvals.orders_of(group).iter();
        for order in orders.filter(|order| !known.orders_of(group).contains(order)) {
            info!(
                %group,
                instance = %order.instance,
                signer = order.signer.as_str(),
                verdict = order.verb.word(),
                "operation taken up"
            );
        }
    }
}

fn look(
    remote: &mut Remote,
    in_force: &InForce,
    awaited: &[Awaited],
    asked: &LeaseAsked,
    now: Timestamp,
) -> Looked {
    let fetched = remote.fetcher.fetch(in_force);
    if let Err(SourceError::Unreachable { message }) = &fetched {
        // Asking the same remote again would only wait once more.
        let message = message.clone();
        return Looked {
            fetched,
            approvals: None,
            refused: Vec::new(),
            lease: Err(RecorderError::Unreachable { message }),
        };
    }
    let operations = remote.operations.as_mut();
    let approvals = operations.map(|operations| operations.approvals(awaited, now));
    let refused = remote.operations.as_ref();
    let refused = refused.map_or_else(Vec::new, |operations| operations.refused());
    let lease = remote.recorder.look().and_then(|()| {
        if asked.restores {
            // Before a word is written: a signature of ours would vouch for what is below it.
            vouch(&mut *remote.recorder, asked.accepted.as_ref())?;
        }
        let own = remote.recorder.published(&asked.path)?;
        let leases = match &own {
            Some(_) => Vec::new(),
            None => remote.recorder.list("agents")?,
        };
        // Ours may stand in what is committed here and not published, as after the branch was deleted.
        let other = leases.into_iter().find(|other| *other != asked.path);
        let other = other.map(|path| other_lease(&mut *remote.recorder, path));
        Ok(LeaseSeen {
            own,
            other: other.transpose()?,
        })
    });
    Looked {
        fetched,
        approvals,
        refused,
        lease,
    }
}

fn other_lease(recorder: &mut dyn Recorder, path: String) -> Result<OtherLease, RecorderError> {
    let left = match recorder.published(&path)? {
        Some(_) => None,
        None => recorder.kept()?,
    };
    Ok(OtherLease { path, left })
}

fn claim(
    recorder: &mut dyn Recorder,
    mut lease: Lease,
    restoring: Restoring,
    found: Option<&[u8]>,
    agent: String,
    now: Timestamp,
) -> Result<Claimed, RecorderError> {
    let mut answered = None;
    let mut restored = None;
    if let Restoring::Yes(accepted) = restoring {
        answered = vouch(recorder, accepted.as_ref())?;
        restored = Some(read_state(recorder)?);
    }
    if let Some(restored) = &restored {
        // A branch that lost its lease still says which epochs there were.
        let groups = restored.groups.values();
        let recorded = groups.map(|(recorded, _)| recorded.epoch.0 + 1).max();
        lease.epoch = lease.epoch.max(recorded.unwrap_or(0));
    }
    let commit = lease_commit(&lease, agent, answered.as_ref(), now);
    let path = lease.file();
    let swap = recorder.swap(&path, found, &commit)?;
    Ok(Claimed {
        lease,
        swap,
        restored,
    })
}

/// Returns the commit that writes a lease. `answered`: what it says that a person answers for.
fn lease_commit(
    lease: &Lease,
    agent: String,
    answered: Option<&AcceptedState>,
    at: Timestamp,
) -> StateCommit {
    let trailers = Trailers {
        agent,
        accepted_state: answered.map(|answered| answered.tip.to_string()),
        ..Trailers::default()
    };
    let told = |AcceptedState { tip, by }: &AcceptedState| {
        let tip = tip.short();
        format!("recorded state at {tip}, which nobody who counts signed, accepted by {by}")
    };
    let body: Vec<String> = answered.map(told).into_iter().collect();
    StateCommit {
        message: message::message(&lease.subject(), &body, &trailers),
        files: vec![(lease.file(), Some(lease.encode()))],
        at,
    }
}
