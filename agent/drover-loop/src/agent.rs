//! The agent: one pass after the other over everything that it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use drover_apply::{HealthSource, Journal, Network, Prober, Reach, Rosters};
use drover_model::{
    AgentName, Approvals, Epoch, FleetName, GroupName, Held, Hold, Revision, Timestamp,
};
use drover_policy::SourceFacts;
use drover_provider::{Clock, Flavors, SecretSource};
use drover_spec::Diagnostic;
use drover_spec::record::RecordedFleet;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::brake::AgentBrake;
use crate::entry::GroupEntry;
use crate::fleet::Fleet;
use crate::lease::{Lease, Liveness, Question};
use crate::members::MembersDir;
use crate::metrics::{MetricReader, Metrics};
use crate::observe::Scopes;
use crate::offload::Offload;
use crate::orphans::OrphanWatch;
use crate::outage::{OutageRule, OutageWatch};
use crate::recorder::Recorder;
use crate::registry::Registry;
use crate::removals::Removals;
use crate::shares::Shares;
use crate::source::{Operations, Snapshot, Source, SourceFiles};
use crate::status::{AgentStatus, OperationsStatus, PassReport, SourceStatus, WriteBackStatus};
use crate::store::{Store, StoreError, Stored, StoredGroup};
use crate::survey::Surveys;
use crate::task::{Keep, Mode, Shared, Versions};
use crate::timekeeping::{Tick, Timekeeper};
use crate::timing::PassLimits;

mod authors;
mod claims;
mod desired;
mod emptied;
mod fetch;
mod first_look;
mod groups;
mod observation;
mod refused;
mod report;
mod restore;
mod unproven;
mod write_back;

pub(crate) use write_back::approved_by;

use fetch::{Job, Remote, Tenure};
use first_look::Whereabouts;
use groups::Outcome;

/// What an agent is told about itself.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Its name.
    pub name: AgentName,
    /// The fleet that it serves.
    pub fleet: FleetName,
    /// Whether it acts.
    pub mode: Mode,
    /// Where memberships and the freeze file are. None: in memory only.
    pub data_dir: Option<PathBuf>,
    /// The longest time between two passes.
    pub interval: Duration,
    /// What waits while the source cannot be read. None: nothing.
    pub outage: Option<OutageRule>,
    /// The version of drover, for the audit log.
    pub version: String,
    /// The machine that it runs on, for the lease.
    pub machine: Option<String>,
    /// Limits in time and number.
    pub limits: PassLimits,
    /// What it writes down.
    pub keep: Keep,
}

/// What an agent works with.
pub struct AgentParts {
    /// Where times come from.
    pub clock: Arc<dyn Clock>,
    /// Where the desired state comes from.
    pub source: Box<dyn Source>,
    /// Where people's decisions are read. None: nobody's counts.
    pub operations: Option<Box<dyn Operations>>,
    /// Where recorded state is published.
    pub recorder: Box<dyn Recorder>,
    /// The journal and local store.
    pub journal: Arc<dyn Journal>,
    /// The provider types.
    pub registry: Registry,
    /// Where the values of secrets are read.
    pub secrets: Arc<dyn SecretSource>,
    /// Who is asked what flavor plugins make of an instance.
    pub flavors: Arc<dyn Flavors>,
    /// Tells whether the holder of a lease lives.
    pub liveness: LivenessProbe,
    /// Draws the ids of groups and of this data directory.
    pub entropy: Entropy,
    /// How instances themselves are talked to. None: over the network.
    pub contact: Option<Contact>,
    /// Where metrics are read from.
    pub metrics: Arc<dyn MetricReader>,
}

/// How instances themselves are talked to, as opposed to their provider.
#[derive(Debug, Clone)]
pub struct Contact {
    /// Their health.
    pub health: Arc<dyn HealthSource>,
    /// Their drains.
    pub reach: Arc<dyn Reach>,
    /// The membership lists of their programs.
    pub rosters: Arc<dyn Rosters>,
}

/// Tells whether the holder of a lease lives.
pub type LivenessProbe = Arc<dyn Fn(&Lease) -> Liveness + Send + Sync>;

/// A source of random numbers.
pub type Entropy = Box<dyn FnMut() -> u64 + Send>;

impl fmt::Debug for AgentParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentParts")
            .field("source", &self.source)
            .field("recorder", &self.recorder)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The local store cannot be read.
    #[error("read the local store")]
    Store(#[from] StoreError),
    /// The data directory belongs to another agent.
    #[error("the data directory belongs to agent {found}, this is agent {ours}")]
    OtherAgent {
        /// Whose it is.
        found: String,
        /// The name in the agent's file.
        ours: AgentName,
    },
}

/// The agent. Passes never overlap.
pub struct Agent {
    settings: AgentSettings,
    clock: Arc<dyn Clock>,
    journal: Arc<dyn Journal>,
    registry: Registry,
    liveness: LivenessProbe,
    entropy: Entropy,
    prober: Arc<dyn HealthSource>,
    reach: Arc<dyn Reach>,
    secrets: Arc<dyn SecretSource>,
    flavors: Arc<dyn Flavors>,
    rosters: Arc<dyn Rosters>,
    store: Store,
    brake: Arc<AgentBrake>,
    members: MembersDir,
    remote: Offload<Remote, Job>,
    tenure: Tenure,
    timekeeper: Timekeeper,
    fleet: Fleet,
    unsaved: Unsaved,
    /// A lease that was taken and is not written down yet, with what has to be.
    claimed: Option<(Lease, crate::store::Batch)>,
    looks: Looks,
    guard_round: GuardRound,
    shares: Shares,
    groups: BTreeMap<GroupName, GroupEntry>,
    /// Recorded groups that could not be read from the state branch, with the reason.
    unreadable: BTreeMap<String, String>,
    snapshot: Option<Arc<Snapshot>>,
    /// What people said about changes, as last read.
    approvals: Arc<Approvals>,
    /// The commit in force.
    applied: Option<Revision>,
    /// Its files.
    files: Option<SourceFiles>,
    /// Other commits of which something is in force, until the source was read: after the loss of the data directory.
    also_applied: Vec<Revision>,
    /// Whose instances a person says are the group's own.
    accepted_instances: unproven::Accepted,
    /// A rewritten tip that a person accepted, and who.
    accepted_rewrite: Option<(Revision, String)>,
    orphans: OrphanWatch,
    metrics: Metrics,
    whereabouts: Whereabouts,
    /// Whether documents have to be compared with what is in force again.
    desired_stale: bool,
    /// What changes took away lately in all groups together.
    removals: Removals,
    /// When what is held for that is looked at again.
    removals_at: Option<Timestamp>,
    refusals: refused::Refusals,
    scopes: Scopes,
    surveys: Surveys,
    tasks: JoinSet<Outcome>,
    /// Which group a task works on, for tasks that panic.
    task_names: BTreeMap<tokio::task::Id, GroupName>,
    /// Work that ended between two passes, for the run loop.
    changed: Arc<Notify>,
    /// What groups shared in the latest pass, and a number that changes with it.
    shared: Option<(Versions, Arc<Shared>)>,
    ticks: Arc<AtomicU64>,
    pass: u64,
    journal_failure: Option<String>,
    source_status: SourceStatus,
    outage_watch: OutageWatch,
    /// What waits for the source in this pass.
    outage: Option<Hold>,
    operations: OperationsStatus,
    write_back: WriteBackStatus,
    unpublished_since: Option<Timestamp>,
    publish_at: Option<Timestamp>,
    diagnostics: Arc<Vec<Diagnostic>>,
    /// Provider calls of the pass that changed something.
    mutations: usize,
    /// Groups whose planning began in this pass.
    planned: usize,
    provider_notes: BTreeMap<String, crate::status::ProviderStatus>,
    logged_holds: BTreeSet<&'static str>,
    status: watch::Sender<Arc<AgentStatus>>,
    control: Arc<Control>,
}

/// Which of the fleet's documents have still to be written somewhere.
#[derive(Debug, Default)]
struct Unsaved {
    /// The documents in force, to the local store.
    documents: bool,
    /// The earlier policies, to the local store.
    guards: bool,
    /// The documents in force, to the state branch.
    commit: bool,
}

impl Unsaved {
    /// Returns what a stored record still has to tell.
    fn of(fleet: Option<&RecordedFleet>) -> Self {
        Self {
            commit: fleet.is_some_and(|fleet| fleet.accepted_rewrite.is_some()),
            ..Self::default()
        }
    }
}

/// When the source is looked at.
#[derive(Debug, Default)]
struct Looks {
    /// When it last was.
    last: Option<Timestamp>,
    /// Whether somebody asked for a look.
    asked: bool,
    /// Whether the commit that was looked at last has to be judged again: more is known since.
    anew: bool,
    /// A tip of the state branch that a person answers for.
    accepted_state: Option<restore::AcceptedState>,
    /// Whether a dry run without data has still to read the state branch.
    view_missing: bool,
    /// What was asked of the holder of the lease.
    question: Option<Question>,
}

impl Looks {
    fn new(mode: Mode, stored: &BTreeMap<GroupName, StoredGroup>) -> Self {
        Self {
            view_missing: mode == Mode::DryRun && stored.is_empty(),
            ..Self::default()
        }
    }
}

/// What the earlier policies did in one pass.
#[derive(Debug, Default)]
struct GuardRound {
    /// For each earlier set, whether it held anything back.
    withhold: Vec<bool>,
    /// Whether some group was not judged.
    incomplete: bool,
}

/// What other threads ask of the agent; taken up at the next pass.
#[derive(Debug, Default)]
pub(crate) struct Control {
    asked: Mutex<Vec<Ask>>,
}

/// Something asked of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To accept a rewritten history at this commit, by whom.
    AcceptRewrite(Revision, String),
    /// To take up what the state branch has at this commit, although nobody who counts signed it, by whom.
    AcceptState(Revision, String),
    /// To take the instances of a group that has no record for its own, by whom.
    AcceptInstances(GroupName, String),
    /// To keep what is frozen.
    StoreFreeze,
    /// To look at the source in the next pass, however soon it comes.
    Look,
}

impl Control {
    pub(crate) fn ask(&self, ask: Ask) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Asking twice for the same changes nothing, and keeps the list short.
        if !asked.contains(&ask) {
            asked.push(ask);
        }
    }

    fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("settings", &self.settings)
            .field("tenure", &self.tenure)
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Takes up what the local store has. Talks to nobody: that is the first pass.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Blocks for reading the store.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime, in which health checks run.
    pub fn open(settings: AgentSettings, parts: AgentParts) -> Result<Self, StartError> {
        let store = Store::new(Arc::clone(&parts.journal));
        let stored = load(&store, &settings.name)?;
        let changed = Arc::new(Notify::new());
        let contact = contact(parts.contact, &parts.clock, &parts.flavors, &changed);
        let mut agent = Self {
            brake: Arc::new(AgentBrake::new(settings.data_dir.as_deref(), stored.freeze)),
            members: MembersDir::new(settings.data_dir.as_deref()),
            prober: contact.health,
            reach: contact.reach,
            secrets: parts.secrets,
            flavors: parts.flavors,
            rosters: contact.rosters,
            source_status: SourceStatus::new(parts.source.place()),
            files: files_at(&*parts.source, stored.applied.as_ref()),
            remote: Offload::new(Remote::new(parts.source, parts.recorder, parts.operations)),
            timekeeper: Timekeeper::new(stored.clock, settings.interval),
            fleet: Fleet::restore(stored.fleet.as_ref(), &stored.guards),
            looks: Looks::new(settings.mode, &stored.groups),
            groups: restored_groups(stored.groups),
            whereabouts: Whereabouts::of(stored.lease.as_ref(), stored.first_look),
            status: watch::Sender::new(Arc::new(AgentStatus::new(&settings.name, &settings.fleet))),
            outage_watch: OutageWatch::new(settings.outage),
            outage: None,
            tenure: Tenure::open(stored.lease, settings.mode),
            settings,
            clock: parts.clock,
            journal: parts.journal,
            registry: parts.registry,
            liveness: parts.liveness,
            entropy: parts.entropy,
            store,
            unreadable: BTreeMap::new(),
            snapshot: None,
            approvals: Arc::default(),
            applied: stored.applied,
            also_applied: stored.also_applied,
            accepted_instances: unproven::Accepted::default(),
            accepted_rewrite: None,
            desired_stale: true,
            removals: stored.removals,
            removals_at: None,
            refusals: refused::Refusals::default(),
            scopes: Scopes::default(),
            surveys: Surveys::default(),
            orphans: OrphanWatch::default(),
            metrics: Metrics::new(parts.metrics),
            tasks: JoinSet::new(),
            task_names: BTreeMap::new(),
            changed,
            shared: None,
            ticks: Arc::default(),
            pass: 0,
            journal_failure: None,
            operations: OperationsStatus::default(),
            write_back: WriteBackStatus::default(),
            unpublished_since: None,
            publish_at: None,
            diagnostics: Arc::default(),
            mutations: 0,
            planned: 0,
            unsaved: Unsaved::of(stored.fleet.as_ref()),
            claimed: None,
            guard_round: GuardRound::default(),
            shares: Shares::default(),
            provider_notes: BTreeMap::new(),
            logged_holds: BTreeSet::new(),
            control: Arc::default(),
        };
        agent.publish_status(None, &[]);
        Ok(agent)
    }

    /// Takes note of the commit in force.
    fn stand_at(&mut self, revision: Revision) {
        if let Some(files) = &self.files {
            files.stand_at(&revision);
        }
        self.applied = Some(revision);
    }

    /// Makes one pass: fetch, observe, decide, plan, apply, record.
    ///
    /// # Cancellation
    ///
    /// A dropped future leaves groups' work under way; the next pass collects it. Nothing is done
    /// that the journal does not know.
    #[tracing::instrument(name = "pass", skip_all, fields(pass = self.pass + 1))]
    pub async fn pass(&mut self) -> Arc<PassReport> {
        let begun = Instant::now();
        let now = self.clock.now();
        self.pass += 1;
        let commits_before = self.write_back.commits;
        self.collect_finished();
        let tick = self.timekeeper.tick(now);
        self.keep_time(tick, now);
        self.answer_asks(now).await;
        self.brake.look();
        self.check_journal();
        self.fetch(now).await;
        let fetched = begun.elapsed();
        let groups = self.groups.values();
        let recorded = groups.flat_map(|entry| &entry.recorded.holds);
        self.outage = self.outage_watch.hold(now, recorded);
        if self.tenure.may_act() {
            self.follow_documents(now).await;
            let asked = self.metrics.ask(&self.fleet.sets);
            let observed = self.observe(now).await;
            let wait = self.settings.limits.metric_wait;
            self.metrics.take(asked, &self.fleet.sets, now, wait).await;
            debug!(
                pass = self.pass,
                fetch_us = fetched.as_micros() as u64,
                "planning begins"
            );
            self.dispatch(now, tick, &observed);
            self.gather().await;
            self.release_guards(now).await;
        }
        self.record(now, crate::recorder::PublishWhen::Due).await;
        let holds = self.agent_holds(tick);
        self.log_holds(&holds);
        let report = Arc::new(self.report(now, begun.elapsed(), &holds, commits_before));
        self.publish_status(Some(Arc::clone(&report)), &holds);
        report
    }

    /// Returns the agent as it was after the latest pass. Cheap.
    pub fn status(&self) -> Arc<AgentStatus> {
        self.status.borrow().clone()
    }

    /// Returns a receiver of the status after each pass.
    pub fn watch_status(&self) -> watch::Receiver<Arc<AgentStatus>> {
        self.status.subscribe()
    }

    /// Accepts that the source's history was rewritten, if its tip is this commit, as of the next pass. The record says by
    /// whom.
    pub fn accept_rewrite(&self, tip: Revision, by: &str) {
        self.control.ask(Ask::AcceptRewrite(tip, by.to_owned()));
    }

    /// Lets an agent with an empty data directory take up what the state branch has, if its tip is this commit, although
    /// nobody who counts signed it. The log says by whom.
    pub fn accept_state(&self, tip: Revision, by: &str) {
        self.control.ask(Ask::AcceptState(tip, by.to_owned()));
    }

    /// Takes the instances of a group of which nothing is recorded for its own, as of the next pass. The log says by whom.
    pub fn accept_instances(&self, group: GroupName, by: &str) {
        self.control.ask(Ask::AcceptInstances(group, by.to_owned()));
    }

    /// Waits for groups whose work goes on beside the passes, and publishes what waits.
    ///
    /// No step begins any more; those in flight are given until their time limit.
    pub async fn shut_down(mut self) {
        self.brake.end();
        while let Some(joined) = self.tasks.join_next_with_id().await {
            self.collect(joined);
        }
        let now = self.clock.now();
        self.record(now, crate::recorder::PublishWhen::Now).await;
        self.prober.shutdown().await;
        info!("agent ended");
    }

    /// Restarts or corrects timers after the clock did something unusual.
    fn keep_time(&mut self, tick: Tick, now: Timestamp) {
        let passed = match tick {
            Tick::Steady | Tick::SteppedBack => Duration::ZERO,
            Tick::Leapt(by) | Tick::Resumed(by) => by,
        };
        let correct: fn(&mut BTreeMap<_, _>, Timestamp) = match tick {
            Tick::Steady => return,
            Tick::Resumed(_) => |_, _| {},
            Tick::SteppedBack => crate::timekeeping::clamp_to,
            Tick::Leapt(by) => {
                warn!(
                    by_ms = by.as_millis() as u64,
                    "the clock leapt ahead, timers restart"
                );
                crate::timekeeping::restart_timers
            }
        };
        self.outage_watch.skip(passed, now);
        for entry in self.groups.values_mut() {
            entry.quiet = None;
        }
        for entry in self.groups.values_mut().filter(|entry| !entry.busy) {
            correct(Arc::make_mut(&mut entry.memory), now);
            if matches!(tick, Tick::Leapt(_)) {
                // Nobody asked for anything meanwhile: what is asked for must last anew.
                entry.recommendations = Arc::default();
            }
            if !passed.is_zero()
                && entry.recorded.rollout.is_some()
                && let Some(rollout) = &mut Arc::make_mut(&mut entry.recorded).rollout
            {
                let moved = rollout.progressed_at.checked_add(passed);
                rollout.progressed_at = moved.unwrap_or(now).min(now);
            }
        }
    }

    async fn answer_asks(&mut self, now: Timestamp) {
        for ask in self.control.take() {
            match ask {
                Ask::Look => self.looks.asked = true,
                Ask::AcceptRewrite(revision, by) => {
                    self.accepted_rewrite = Some((revision, by));
                    self.looks.asked = true;
                }
                Ask::AcceptState(tip, by) => {
                    self.looks.accepted_state = Some(restore::AcceptedState { tip, by });
                    self.looks.asked = true;
                }
                Ask::AcceptInstances(group, by) => self.accepted_instances.insert(group, by),
                Ask::StoreFreeze => {
                    let mut batch = crate::store::Batch::default();
                    batch.freeze(&self.brake.frozen()).clock(now);
                    self.write_store(batch).await;
                }
            }
        }
    }

    /// After a failed write, finds out whether the journal can be written again.
    fn check_journal(&mut self) {
        if self.journal_failure.is_some() {
            self.journal_failure = self.journal.check().err().map(|e| crate::source::chain(&e));
        }
    }

    /// Writes to the local store, and notes a failure: then nothing is done until it works again.
    async fn write_store(&mut self, batch: crate::store::Batch) -> bool {
        if self.settings.mode == Mode::DryRun {
            return true;
        }
        match self.store.write(batch).await {
            Ok(()) => true,
            Err(error) => {
                self.journal_failure = Some(crate::source::chain(&error));
                false
            }
        }
    }

    /// Returns what holds for every group.
    fn agent_holds(&self, tick: Tick) -> Vec<Held> {
        let mut holds = Vec::new();
        let source = self.source_status.failure.as_ref();
        // The source and the state branch are in one repository: that it cannot be read is told once.
        let told = |hold: &Hold| matches!(hold, Hold::SourceUnavailable { .. }) && source.is_some();
        holds.extend(self.tenure.refusal().filter(|hold| !told(hold)));
        if let Some(why) = &self.journal_failure {
            holds.push(Hold::JournalUnavailable { why: why.clone() });
        }
        if tick == Tick::SteppedBack {
            holds.push(Hold::ClockStepped);
        }
        holds.extend(self.outage.clone());
        if let Some((_, why)) = source {
            holds.push(Hold::SourceUnavailable { why: why.clone() });
        }
        holds.into_iter().map(plain).collect()
    }

    /// Logs holds of the whole agent when they begin and end.
    fn log_holds(&mut self, holds: &[Held]) {
        let now: BTreeSet<&'static str> = holds.iter().map(|held| held.hold.code()).collect();
        for held in holds {
            if !self.logged_holds.contains(held.hold.code()) {
                warn!(hold = held.hold.code(), error = %held.hold, "hold begun");
            }
        }
        for ended in self.logged_holds.difference(&now) {
            info!(hold = ended, "hold ended");
        }
        self.logged_holds = now;
    }

    /// Returns the facts of the commit in force, for policies.
    fn source_facts(&self) -> Option<SourceFacts> {
        let commit = self.source_status.commit.as_ref();
        if let Some(commit) = commit {
            return Some(SourceFacts {
                revision: commit.revision.clone(),
                author: commit.author.clone(),
                subject: commit.subject.clone(),
                trailers: commit.trailers.clone(),
                signer: commit.signer.clone().unwrap_or_default(),
            });
        }
        self.applied.clone().map(|revision| SourceFacts {
            revision,
            author: String::new(),
            subject: String::new(),
            trailers: BTreeMap::new(),
            signer: String::new(),
        })
    }

    /// Returns the longest time between two passes.
    pub(crate) fn interval(&self) -> Duration {
        self.settings.interval
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns what is notified when a health check turns out differently.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    pub(crate) fn brake(&self) -> Arc<AgentBrake> {
        Arc::clone(&self.brake)
    }

    pub(crate) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    fn epoch(&self) -> Epoch {
        self.tenure.epoch()
    }
}

/// Returns the ways to instances: over the network unless told otherwise.
fn contact(
    told: Option<Contact>,
    clock: &Arc<dyn Clock>,
    flavors: &Arc<dyn Flavors>,
    changed: &Arc<Notify>,
) -> Contact {
    if let Some(contact) = told {
        return contact;
    }
    let prober = Prober::new(Arc::clone(clock), Arc::clone(flavors), Arc::clone(changed));
    Contact {
        health: Arc::new(prober),
        reach: Arc::new(Network),
        rosters: Arc::new(Network),
    }
}

fn restored_groups(stored: BTreeMap<GroupName, StoredGroup>) -> BTreeMap<GroupName, GroupEntry> {
    let stored = stored.into_iter();
    stored
        .map(|(name, stored)| (name, GroupEntry::restored(stored)))
        .collect()
}

/// Returns the files of the commit in force.
fn files_at(source: &dyn Source, applied: Option<&Revision>) -> Option<SourceFiles> {
    let files = source.files_in_force()?;
    if let Some(applied) = applied {
        files.stand_at(applied);
    }
    Some(files)
}

/// Returns what the local store has.
fn load(store: &Store, name: &AgentName) -> Result<Stored, StartError> {
    let stored = store.load()?;
    check_owner(stored.lease.as_ref(), name)?;
    Ok(stored)
}

/// Refuses a data directory that belongs to another agent.
fn check_owner(lease: Option<&Lease>, ours: &AgentName) -> Result<(), StartError> {
    match lease {
        Some(lease) if lease.name != ours.as_str() => Err(StartError::OtherAgent {
            found: lease.name.clone(),
            ours: ours.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Returns a hold of everything.
pub(crate) fn plain(hold: Hold) -> Held {
    Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    }
}
