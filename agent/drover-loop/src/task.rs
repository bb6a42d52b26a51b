//! One group's work in a pass: drains, signals, judgement, record, membership, steps. Runs as a task
//! of its own, so that a panic or a slow provider stays with its group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drover_apply::{
    ApplyContext, HealthSource, Journal, JournalError, ProbeTarget, ROSTER_READ_LIMIT, Reach,
    Rosters,
};
use drover_model::{
    Approvals, Authors, Change, Decisions, Deleting, Digests, Disturbance, Epoch, FieldChange,
    FleetName, Group, GroupName, HealthSignal, Held, InstanceId, InstanceMemory, Intent,
    IntentKind, Listing, Peers, ProviderPhase, Readings, Recommendation, RecordedGroup, RosterView,
    Surveyed, Timestamp,
};
use drover_plan::{FenceScope, fence_scope};
use drover_policy::{GroupSummary, PolicySet, SourceFacts};
use drover_provider::{Clock, ClusterView, Flavors, SecretSource};
use tracing::warn;

use crate::audit::AuditStep;
use crate::brake::AgentBrake;
use crate::cluster;
use crate::entry;
use crate::group::{self, Candidate, GroupInput, JudgeError, Judged};
use crate::members::{self, MembersDir, Membership};
use crate::observe::OpenScope;
use crate::secrets;
use crate::status::GroupReport;
use crate::store::{Batch, Store};
use crate::survey::Tags;
use crate::timing::PassLimits;

mod account;

use account::{account, note_kept, planned};

/// Whether the agent acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It plans and acts.
    Act,
    /// It plans and records, and changes nothing at a provider.
    Observe,
    /// It plans, and neither acts nor records anything anywhere.
    DryRun,
}

/// What the agent writes down of its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Everything, durably: it may be restarted at any time.
    Everything,
    /// Nothing but intents: for a simulation that lives and ends with its agent.
    Nothing,
}

/// What every group of a pass shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) now: Timestamp,
    pub(crate) fleet: FleetName,
    pub(crate) epoch: Epoch,
    pub(crate) mode: Mode,
    pub(crate) keep: Keep,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) store: Store,
    pub(crate) prober: Arc<dyn HealthSource>,
    pub(crate) reach: Arc<dyn Reach>,
    pub(crate) secrets: Arc<dyn SecretSource>,
    pub(crate) flavors: Arc<dyn Flavors>,
    pub(crate) rosters: Arc<dyn Rosters>,
    pub(crate) brake: Arc<AgentBrake>,
    pub(crate) members: MembersDir,
    pub(crate) limits: PassLimits,
    pub(crate) policies: Vec<Arc<PolicySet>>,
    pub(crate) source: SourceFacts,
    pub(crate) groups: BTreeMap<GroupName, GroupSummary>,
    /// What came of asking for metrics.
    pub(crate) readings: Arc<Readings>,
    /// What people said about changes.
    pub(crate) approvals: Arc<Approvals>,
    /// Whether any policy reads one.
    pub(crate) reads_metrics: bool,
    /// The groups that are where their documents want them to be.
    pub(crate) converged: BTreeSet<GroupName>,
    /// Groups with open intents when the pass began.
    pub(crate) open: BTreeSet<GroupName>,
    /// Counts events, so that their order does not rest on the clock.
    pub(crate) ticks: Arc<AtomicU64>,
}

/// Numbers that stay the same while what they stand for does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Of what every group is judged by: policies, approvals, epoch.
    pub(crate) all: u64,
    /// Of the commit in force, for policies that read `git`.
    pub(crate) source: u64,
    /// Of the other groups, for policies that read `groups`.
    pub(crate) groups: u64,
}

impl Shared {
    /// Returns the versions that follow `versions`, which are `before`'s.
    pub(crate) fn versions_after(&self, before: &Self, mut versions: Versions) -> Versions {
        let same_set = |(one, other): (&Arc<PolicySet>, &Arc<PolicySet>)| Arc::ptr_eq(one, other);
        let same = self.epoch == before.epoch
            && self.policies.len() == before.policies.len()
            && self.policies.iter().zip(&before.policies).all(same_set)
            && self.approvals == before.approvals;
        versions.all += u64::from(!same);
        versions.source += u64::from(self.source != before.source);
        versions.groups += u64::from(self.groups != before.groups);
        versions
    }

    /// Returns what of the versions concerns a group with `labels`: a commit that changes another group, or what
    /// becomes of that one, is no reason to plan this one again where no policy of its looks at it.
    pub(crate) fn versions_for(
        &self,
        labels: &BTreeMap<String, String>,
        versions: Versions,
    ) -> Versions {
        let is_read = |name| self.policies.iter().any(|set| set.is_read(labels, name));
        let where_read = |version: u64, name| if is_read(name) { version } else { 0 };
        Versions {
            all: versions.all,
            source: where_read(versions.source, "git"),
            groups: where_read(versions.groups, "groups"),
        }
    }
}

/// One group's work.
#[derive(Debug)]
pub(crate) struct GroupTask {
    pub(crate) name: GroupName,
    pub(crate) recorded: Arc<RecordedGroup>,
    pub(crate) memory: Arc<BTreeMap<InstanceId, InstanceMemory>>,
    pub(crate) recommendations: Arc<Vec<Recommendation>>,
    pub(crate) accepted: Option<Arc<Group>>,
    pub(crate) candidate: Option<Candidate>,
    /// The removal that a commit asks for.
    pub(crate) removal: Option<Deleting>,
    /// Who wrote the one or the other.
    pub(crate) authors: Authors,
    pub(crate) scope: Arc<OpenScope>,
    pub(crate) listing: Arc<Listing>,
    /// What there is that its documents adopt, by the tags that they ask for.
    pub(crate) surveyed: Arc<BTreeMap<Tags, Surveyed>>,
    pub(crate) fences: Vec<Held>,
    /// What it must know of other groups.
    pub(crate) peers: Peers,
    /// The instances as flavors are told of them that keep a cluster; empty until they were asked.
    pub(crate) cluster: Arc<ClusterView>,
    /// None: not by this process.
    pub(crate) published: Option<Arc<Membership>>,
    /// Whether `next_number` was compared with the journal.
    pub(crate) numbered: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) recorded: Arc<RecordedGroup>,
    pub(crate) memory: Arc<BTreeMap<InstanceId, InstanceMemory>>,
    pub(crate) recommendations: Arc<Vec<Recommendation>>,
    pub(crate) accepted: Option<Arc<Group>>,
    pub(crate) report: GroupReport,
    /// What the plan disturbs.
    pub(crate) disturbance: Disturbance,
    pub(crate) change: Option<Arc<Change>>,
    /// The one that is withheld.
    pub(crate) withheld: Option<Arc<Change>>,
    /// The fields of the template that the latter is about, or else the former.
    pub(crate) differing: Arc<[FieldChange]>,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) members: Option<Arc<Membership>>,
    pub(crate) guards_withhold: Vec<bool>,
    /// The order of the last step, where one was carried out.
    pub(crate) acted: Option<u64>,
    pub(crate) notes: Vec<Note>,
    pub(crate) healed: usize,
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) mutations: usize,
    pub(crate) policies: Option<String>,
    /// What is needed to compute the plan again, where it may be committed.
    pub(crate) inputs: Option<Arc<[u8]>>,
    pub(crate) journal_failed: Option<String>,
}

/// When a secret that cannot be read is looked for again.
const SECRETS_AGAIN: Duration = Duration::from_secs(30);

/// A step as the next commit tells it.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    /// In the body of its message.
    pub(crate) line: String,
    /// In its entry.
    pub(crate) step: AuditStep,
}

/// Why a group's work ended early. What is in force stays in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The journal cannot be read or written: nothing was done.
    #[error("use the journal")]
    Journal(#[from] JournalError),
    /// A mistake in drover.
    #[error("internal error")]
    Judge(#[source] JudgeError),
}

/// Works on one group.
///
/// # Cancellation
///
/// A dropped future leaves intents in the journal that say how far it came; the next pass follows
/// them up.
pub(crate) async fn run(mut task: GroupTask, shared: Arc<Shared>) -> Result<Finished, TaskError> {
    let secrets = secrets::look(&task, &shared).await;
    let unread = !secrets.holds.is_empty();
    let secret_at = unread.then(|| shared.now + SECRETS_AGAIN);
    task.fences.extend(secrets.holds.iter().cloned());
    secrets.clean_listing(&mut task.listing);
    let blocked = |held: &Held| fence_scope(&held.hold) == FenceScope::Everything;
    let may_act = shared.mode == Mode::Act && !task.fences.iter().any(blocked);
    let mut intents = if shared.open.contains(&task.name) {
        shared.journal.open_intents(&task.name)?
    } else {
        Vec::new()
    };
    let (mut drain_wake, mut drain_timer) = (None, None);
    if may_act && intents.iter().any(is_drain) {
        let advanced = drover_apply::advance_drains(
            &task.name,
            &intents,
            &task.listing,
            &task.recorded,
            &apply_context(&task, &shared),
        )
        .await?;
        (drain_wake, drain_timer) = (advanced.next_at, advanced.timer_at);
        if advanced.changed {
            intents = shared.journal.open_intents(&task.name)?;
        }
    }
    let mut signals = watch(&task, &shared, &intents);
    secrets.clean_signals(&mut signals);
    let cluster_at = cluster::look(&mut task, &shared, &mut signals).await;
    let roster = roster(&task, &shared).await;
    let recorded = numbered(&task, &shared, &intents)?;
    let input = GroupInput {
        roster: roster.as_ref(),
        ..input(&task, &shared, &recorded, &intents, &signals)
    };
    let judged = match group::judge(&input) {
        Ok(judged) => judged,
        Err(JudgeError::NothingInForce { holds, withheld }) => {
            let mut finished = nothing_in_force(task, &shared, holds).await?;
            finished.withheld = withheld.map(Arc::from);
            return Ok(finished);
        }
        Err(error) => return Err(TaskError::Judge(error)),
    };
    let change = judged.plan.change.clone().map(Arc::new);
    let mut judged = judged;
    let inputs = judged
        .inputs
        .take()
        .map(|text| Arc::from(text.into_bytes()));
    let first = |timers: [Option<Timestamp>; 5]| timers.into_iter().flatten().min();
    let review_at = judged.decisions.review_at;
    judged.plan.wake_at = first([
        judged.plan.wake_at,
        drain_wake,
        review_at,
        secret_at,
        cluster_at,
    ]);
    judged.report.timer_at = first([
        judged.report.timer_at,
        drain_timer,
        review_at,
        secret_at,
        cluster_at,
    ]);
    finish(task, &shared, recorded, judged, (change, inputs), &intents).await
}

fn is_drain(intent: &Intent) -> bool {
    matches!(intent.kind, IntentKind::Drain { .. })
}

fn input<'a>(
    task: &'a GroupTask,
    shared: &'a Shared,
    recorded: &'a RecordedGroup,
    intents: &'a [Intent],
    signals: &'a BTreeMap<InstanceId, HealthSignal>,
) -> GroupInput<'a> {
    GroupInput {
        now: shared.now,
        fleet: &shared.fleet,
        epoch: shared.epoch,
        recorded,
        memory: &task.memory,
        recommendations: &task.recommendations,
        accepted: task.accepted.as_ref(),
        candidate: task.candidate.as_ref(),
        removal: task.removal.as_ref(),
        authors: &task.authors,
        provider: &task.scope.facts,
        visibility: task.scope.visibility,
        listing: &task.listing,
        surveyed: &task.surveyed,
        signals,
        intents,
        roster: None,
        policies: &shared.policies,
        source: &shared.source,
        groups: &shared.groups,
        readings: &shared.readings,
        approvals: &shared.approvals,
        peers: &task.peers,
        fences: &task.fences,
        keep: shared.keep,
    }
}

/// Returns the recorded state with this agent's epoch and a next number that was never used: above
/// what the record, the journal and the tags of what exists say.
fn numbered(
    task: &GroupTask,
    shared: &Shared,
    intents: &[Intent],
) -> Result<Arc<RecordedGroup>, JournalError> {
    let listed = task.listing.instances.iter();
    let listed = listed.filter_map(|listed| Some(listed.ownership.as_ref()?.instance.number()));
    let mut used = listed.max().unwrap_or(0);
    for intent in intents {
        match &intent.kind {
            IntentKind::Create { slots, .. } => {
                used = slots.iter().map(InstanceId::number).fold(used, u64::max);
            }
            IntentKind::Adopt(step) => used = used.max(step.instance.number()),
            IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_) => {}
        }
    }
    if !task.numbered {
        used = used.max(shared.journal.last_number(&task.name)?);
    }
    let recorded = &task.recorded;
    if recorded.next_number > used && recorded.epoch == shared.epoch {
        return Ok(Arc::clone(recorded));
    }
    Ok(Arc::new(RecordedGroup {
        next_number: recorded.next_number.max(used.saturating_add(1)),
        epoch: shared.epoch,
        ..(**recorded).clone()
    }))
}

/// Tells the prober whom to ask, and returns what it knows.
fn watch(
    task: &GroupTask,
    shared: &Shared,
    intents: &[Intent],
) -> BTreeMap<InstanceId, HealthSignal> {
    let in_force = task.accepted.as_ref();
    let group = in_force.or(task.candidate.as_ref().map(|candidate| &candidate.group));
    let Some(group) = group.filter(|group| !group.spec.health.checks.is_empty()) else {
        shared.prober.forget(&task.name);
        return BTreeMap::new();
    };
    let targets = task.listing.instances.iter().filter_map(|listed| {
        let running = matches!(
            listed.phase,
            ProviderPhase::Running | ProviderPhase::Unknown
        );
        let owner = listed.ownership.as_ref().filter(|_| running)?;
        let known = task.memory.get(&owner.instance);
        let flavors = drover_apply::flavor_subject(listed, &task.recorded, intents);
        Some(ProbeTarget {
            flavors: flavors.map(Arc::new),
            instance: owner.instance.clone(),
            provider_ref: listed.provider_ref.clone(),
            address: listed.address.clone(),
            settled: known
                .is_some_and(|memory| memory.ready_at.is_some() && memory.failing_since.is_none()),
        })
    });
    let targets = targets.collect();
    let provider = Arc::clone(&task.scope.provider);
    shared
        .prober
        .watch(&task.name, &group.spec.health, targets, provider);
    shared.prober.signals(&task.name)
}

/// Asks the members for the list that their program keeps, where the document says that the agent
/// changes it. None: it does not.
async fn roster(task: &GroupTask, shared: &Shared) -> Option<RosterView> {
    let candidate = task.candidate.as_ref().map(|candidate| &candidate.group);
    let keeper = |group: &Arc<Group>| group.spec.quorum.as_ref()?.membership.keeper();
    let mut documents = task.accepted.iter().chain(candidate);
    let keeper = documents.find_map(keeper)?;
    let members = task.listing.instances.iter().filter(|listed| {
        let seat = listed.ownership.as_ref().map(|owner| owner.seat.is_some());
        let running = matches!(
            listed.phase,
            ProviderPhase::Running | ProviderPhase::Unknown
        );
        seat == Some(true) && running
    });
    let addresses: BTreeSet<String> = members.filter_map(|one| one.address.clone()).collect();
    let addresses: Vec<String> = addresses.into_iter().collect();
    let asked = shared
        .rosters
        .read(keeper, &task.name, &addresses, ROSTER_READ_LIMIT);
    Some(asked.await)
}

fn apply_context(task: &GroupTask, shared: &Shared) -> ApplyContext {
    ApplyContext {
        fleet: shared.fleet.clone(),
        epoch: shared.epoch,
        provider: Arc::clone(&task.scope.provider),
        journal: Arc::clone(&shared.journal),
        clock: Arc::clone(&shared.clock),
        call_timeout: shared.limits.call_timeout,
        concurrency: shared.limits.calls_concurrent,
        reach: Arc::clone(&shared.reach),
        secrets: Arc::clone(&shared.secrets),
        flavors: Arc::clone(&shared.flavors),
        cluster: Arc::clone(&task.cluster),
        rosters: Arc::clone(&shared.rosters),
        brake: Arc::clone(&shared.brake) as Arc<dyn drover_apply::Brake>,
    }
}

/// Returns what is now, shared with what was before if that is the same.
fn kept<T: Clone + PartialEq>(before: &Arc<T>, now: &T) -> Arc<T> {
    if *now == **before {
        Arc::clone(before)
    } else {
        Arc::new(now.clone())
    }
}

/// Writes down what is in force from now on, marks what leaves, and carries out the steps.
async fn finish(
    task: GroupTask,
    shared: &Shared,
    recorded: Arc<RecordedGroup>,
    mut judged: Judged,
    (change, inputs): (Option<Arc<Change>>, Option<Arc<[u8]>>),
    intents: &[Intent],
) -> Result<Finished, TaskError> {
    let next = kept(&task.recorded, &judged.plan.next);
    drop(recorded);
    let memory = std::mem::take(&mut judged.classified.memory);
    let memory = if memory == *task.memory {
        Arc::clone(&task.memory)
    } else {
        Arc::new(memory)
    };
    let recommendations = kept(&task.recommendations, &judged.plan.recommendations);
    let mut finished = Finished {
        members: task.published.clone(),
        memory,
        recommendations,
        accepted: Some(Arc::clone(&judged.in_force)),
        report: GroupReport {
            phase: Some(next.phase),
            numbers: judged.report.numbers,
            holds: judged.report.holds.clone(),
            planned: true,
            wake_at: judged.plan.wake_at,
            timer_at: judged.report.timer_at,
            ..GroupReport::default()
        },
        recorded: next,
        disturbance: judged.report.disturbance.clone(),
        differing: differing(
            &task,
            &judged.in_force,
            judged.withheld.as_ref().or(change.as_deref()),
        ),
        change,
        withheld: judged.withheld.map(Arc::new),
        decisions: Arc::new(judged.decisions),
        guards_withhold: judged.guards_withhold,
        acted: None,
        notes: Vec::new(),
        healed: 0,
        done: 0,
        failed: 0,
        mutations: 0,
        policies: policies_digest(&judged.policies),
        inputs,
        journal_failed: None,
    };
    if shared.mode == Mode::DryRun {
        // Nothing was done, so nothing of the planned record has come true.
        finished.recorded = task.recorded;
        finished.report.steps = planned(&judged.plan);
        return Ok(finished);
    }
    store(&task, shared, &finished).await?;
    let membership = members::membership(&task.name, &judged.classified, Some(&judged.plan));
    publish(&task, shared, membership, &mut finished).await;
    note_kept(&task.recorded, &mut finished);
    if shared.mode == Mode::Act && !judged.plan.steps.is_empty() {
        let report = drover_apply::apply(&judged.plan, &apply_context(&task, shared)).await;
        finished.acted = Some(shared.ticks.fetch_add(1, Ordering::SeqCst) + 1);
        account(&judged.plan, &judged.classified, &report, &mut finished);
        if !report.is_complete() {
            let memory = Arc::make_mut(&mut finished.memory);
            let (made, now) = ((&judged.plan, intents), shared.clock.now());
            drover_apply::remember_unanswered(memory, made, &report, now);
        }
    }
    Ok(finished)
}

/// Returns the fields of the template that a change is about, where both templates are known.
fn differing(task: &GroupTask, in_force: &Group, change: Option<&Change>) -> Arc<[FieldChange]> {
    let find = || {
        let change = change?;
        let (from, to) = change.from.as_ref().zip(change.to.as_ref())?;
        if from.digests == to.digests {
            return None;
        }
        let old = task.recorded.templates.get(&from.digests)?;
        let (type_, classes) = (&task.scope.facts.type_, &task.scope.facts.classes);
        let candidate = task.candidate.iter().map(|candidate| &*candidate.group);
        let mut templates = candidate
            .chain([in_force])
            .map(|group| &group.spec.template);
        let new = templates.find(|it| Digests::of(type_, it, classes) == to.digests)?;
        Some(drover_model::field_changes(old, new, classes).into())
    };
    find().unwrap_or_default()
}

/// Makes the new recorded state durable before anything is done on the strength of it.
async fn store(task: &GroupTask, shared: &Shared, finished: &Finished) -> Result<(), JournalError> {
    if shared.keep == Keep::Nothing {
        return Ok(());
    }
    let mut batch = Batch::default();
    if !Arc::ptr_eq(&task.recorded, &finished.recorded) {
        batch.recorded(&finished.recorded);
    }
    if let Some(inputs) = &finished.inputs {
        // The commit that tells of it may be made by another process, after a crash.
        batch.inputs(&task.name, inputs);
    }
    if !Arc::ptr_eq(&task.memory, &finished.memory) {
        batch.memory(&task.name, &finished.memory);
    }
    if !Arc::ptr_eq(&task.recommendations, &finished.recommendations) {
        batch.recommendations(&task.name, &finished.recommendations);
    }
    if !batch.is_empty() {
        batch.clock(shared.now);
    }
    shared.store.write(batch).await
}

/// Publishes the membership with those marked that begin to leave, before they do.
async fn publish(
    task: &GroupTask,
    shared: &Shared,
    membership: Membership,
    finished: &mut Finished,
) {
    if task.published.as_deref() == Some(&membership) {
        return;
    }
    let membership = Arc::new(membership);
    finished.members = Some(Arc::clone(&membership));
    let (dir, group) = (shared.members.clone(), task.name.clone());
    let written = tokio::task::spawn_blocking(move || dir.publish(&group, &membership)).await;
    if let Ok(Err(error)) = written {
        warn!(group = %task.name, error = %error, "membership not published");
    }
}

/// Records the state of a group without any document in force.
async fn nothing_in_force(
    task: GroupTask,
    shared: &Shared,
    holds: Vec<Held>,
) -> Result<Finished, TaskError> {
    let next = entry::held(&task.recorded, &holds, shared.now);
    let recorded = if next == *task.recorded {
        Arc::clone(&task.recorded)
    } else {
        Arc::new(next)
    };
    let finished = Finished {
        memory: Arc::clone(&task.memory),
        recommendations: Arc::clone(&task.recommendations),
        accepted: None,
        report: GroupReport {
            phase: Some(recorded.phase),
            holds,
            planned: true,
            ..GroupReport::default()
        },
        recorded,
        disturbance: Disturbance::default(),
        change: None,
        withheld: None,
        differing: Arc::default(),
        decisions: Arc::default(),
        members: task.published.clone(),
        guards_withhold: Vec::new(),
        acted: None,
        notes: Vec::new(),
        healed: 0,
        done: 0,
        failed: 0,
        mutations: 0,
        policies: None,
        inputs: None,
        journal_failed: None,
    };
    if shared.mode != Mode::DryRun {
        store(&task, shared, &finished).await?;
    }
    Ok(finished)
}

/// Returns one digest of all policies that judged. None: there are none.
pub(crate) fn policies_digest(policies: &BTreeMap<String, String>) -> Option<String> {
    use sha2::{Digest as _, Sha256};
    if policies.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    for (name, digest) in policies {
        hash.update(format!("{name}={digest}\n"));
    }
    Some(format!("sha256:{}", crate::source::hex(&hash.finalize())))
}
