//! The middle of a pass: list the scopes, start one task per group, and collect what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    ConditionType, GroupName, GroupPhase, Held, Hold, InstanceClass, Listing, Peers, Share,
    Timestamp,
};
use drover_policy::GroupSummary;
use tokio::task::{Id, JoinError};
use tracing::{Instrument as _, debug, debug_span, error, info};

use self::seen::{Seen, note_unseen, seen};
use self::told::{log_transition, tell_heeded};
use super::observation::Observation;
use super::{Agent, GuardRound, plain};
use crate::doubts;
use crate::entry::{self, GroupEntry, set_condition};
use crate::observe::{Limits, OpenScope, bounded};
use crate::quiet::{Fingerprint, Quiet};
use crate::shares::{Partner, Shares};
use crate::source::chain;
use crate::status::{GroupReport, GroupStatus};
use crate::store::Batch;
use crate::survey::{self, Answers, Wait};
use crate::task::{self, Finished, GroupTask, Shared, TaskError, Versions};
use crate::timekeeping::Tick;

mod seen;
mod told;

/// What came of a group's task: of its work, or that its time was up.
pub(super) type Outcome = Result<Result<Finished, TaskError>, Duration>;

impl Agent {
    /// Starts a task for every group that can be planned in this pass.
    pub(super) fn dispatch(&mut self, now: Timestamp, tick: Tick, observation: &Observation) {
        let Some(shared) = self.shared(now) else {
            return;
        };
        self.heed(now);
        let versions = self.share(&shared);
        let mut shares = self.divide_shares();
        let emptied = self.emptied(&shared, observation);
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        // What one provider does not answer is in no other one's way.
        let limits = Limits {
            place: self.settings.limits.group_wait,
            answer: self.settings.limits.group_timeout,
        };
        let gate = Arc::new(tokio::sync::Semaphore::new(
            self.settings.limits.groups_concurrent,
        ));
        for name in names {
            let beside = Peers {
                shares: shares.remove(&name).unwrap_or_default(),
                emptied: emptied.get(&name).copied(),
                ..Peers::default()
            };
            let Some(task) = self.prepare(&name, &shared, versions, tick, observation, beside)
            else {
                continue;
            };
            let (shared, gate) = (Arc::clone(&shared), Arc::clone(&gate));
            let handle = self.tasks.spawn(async move {
                let span = debug_span!("group", group = %task.name);
                let work = task::run(task, shared).instrument(span);
                bounded(gate, limits, Box::pin(work)).await
            });
            self.task_names.insert(handle.id(), name.clone());
            self.planned += 1;
            if let Some(entry) = self.groups.get_mut(&name) {
                entry.busy = true;
            }
        }
    }

    fn shared(&mut self, now: Timestamp) -> Option<Arc<Shared>> {
        let open = match self.journal.groups() {
            Ok(open) => open,
            Err(error) => {
                self.journal_failure = Some(chain(&error));
                return None;
            }
        };
        let summaries = self.groups.iter().map(|(name, entry)| {
            let numbers = &entry.status.report.numbers;
            let summary = GroupSummary {
                size: entry.recorded.size,
                available: numbers.available,
                total: numbers.total,
                updated: numbers.updated,
                phase: entry.recorded.phase,
            };
            (name.clone(), summary)
        });
        Some(Arc::new(Shared {
            now,
            fleet: self.settings.fleet.clone(),
            epoch: self.epoch(),
            mode: self.settings.mode,
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(&self.journal),
            store: self.store.clone(),
            prober: Arc::clone(&self.prober),
            reach: Arc::clone(&self.reach),
            secrets: Arc::clone(&self.secrets),
            flavors: Arc::clone(&self.flavors),
            rosters: Arc::clone(&self.rosters),
            brake: Arc::clone(&self.brake),
            members: self.members.clone(),
            limits: self.settings.limits,
            keep: self.settings.keep,
            policies: self.fleet.sets.clone(),
            source: self.source_facts()?,
            groups: summaries.collect(),
            readings: Arc::clone(&self.metrics.readings),
            approvals: Arc::clone(&self.approvals),
            reads_metrics: self.metrics.asked,
            converged: self.converged(),
            open,
            ticks: Arc::clone(&self.ticks),
        }))
    }

    /// Returns the groups that are where the documents in force want them to be: a document that is not
    /// in force yet, or a removal that was not begun, is work that is still to come.
    fn converged(&self) -> BTreeSet<GroupName> {
        let there = self.groups.iter().filter(|(_, entry)| {
            entry.recorded.phase == GroupPhase::Converged
                && entry.candidate.is_none()
                && entry.removal.is_none()
        });
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Divides the budgets of the fleet. In a dry run nothing is ever in flight, and each group is shown
    /// what it could do alone.
    fn divide_shares(&mut self) -> BTreeMap<GroupName, Vec<Share>> {
        let budgets = self.fleet.documents.budgets();
        if budgets.is_empty() {
            self.shares = Shares::default();
            return BTreeMap::new();
        }
        let groups = self.groups.iter().filter(|(_, entry)| !entry.is_gone());
        let partners: Vec<Partner> = groups.map(|(name, entry)| entry.partner(name)).collect();
        let mut parts = self.shares.divide(budgets, &partners);
        if self.settings.mode == task::Mode::DryRun {
            for share in parts.values_mut().flatten() {
                share.room = share.max;
            }
        }
        parts
    }

    /// Compares what groups share with the latest pass. Returns numbers that stay the same while it does, and while
    /// every group was judged by the policies in force alone.
    fn share(&mut self, shared: &Arc<Shared>) -> Versions {
        let mut versions = match &self.shared {
            Some((versions, before)) => shared.versions_after(before, *versions),
            None => Versions::default(),
        };
        versions.all += u64::from(!self.fleet.earlier.is_empty());
        self.shared = Some((versions, Arc::clone(shared)));
        versions
    }

    /// Takes up what people asked of rollouts and of instances.
    fn heed(&mut self, now: Timestamp) {
        for (name, entry) in self.groups.iter_mut().filter(|(_, entry)| !entry.busy) {
            let said = (self.approvals.of(name), self.approvals.orders_of(name));
            if let Some(heeded) = drover_plan::heed(&entry.recorded, said, now) {
                tell_heeded(name, &entry.recorded, &heeded);
                entry.recorded = Arc::new(heeded);
                entry.quiet = None;
            }
        }
    }

    /// Returns the group's task, or notes why there is none in this pass.
    fn prepare(
        &mut self,
        name: &GroupName,
        shared: &Shared,
        versions: Versions,
        tick: Tick,
        observation: &Observation,
        beside: Peers,
    ) -> Option<GroupTask> {
        let now = shared.now;
        let mut fences = self.fences(name, tick, observation);
        let journal = Arc::clone(&self.journal);
        let record_failures = self.settings.mode != task::Mode::DryRun;
        let entry = self.groups.get_mut(name)?;
        if entry.busy || entry.is_gone() {
            return None;
        }
        let Seen {
            scope,
            listing,
            answers,
        } = match seen(entry, (&self.settings.fleet, name), observation, now) {
            Ok(seen) => seen,
            Err(unseen) => {
                note_unseen(entry, unseen, fences, now, record_failures);
                return None;
            }
        };
        let Answers {
            known: surveyed,
            newest_waits,
        } = answers;
        let believed = doubts::believe(entry, name, scope, listing, &*journal);
        fences.extend(believed.notice.into_iter().chain(believed.duplicates));
        let listing = &believed.listing;
        let is_open = shared.open.contains(name);
        let known = (shared.epoch, &self.store);
        let accepted = &mut self.accepted_instances;
        if let Some(held) = accepted.hold(entry, listing, is_open, known) {
            fences.insert(0, held);
            entry.hold_all(fences, now, record_failures);
            return None;
        }
        fences.extend(newest_waits.as_ref().and_then(newest_held));
        let peers = peers(entry, shared, beside);
        let metrics = match &entry.accepted {
            Some(group) if shared.reads_metrics => shared.told(&group.labels),
            Some(_) | None => Vec::new(),
        };
        let at_rest = entry.candidate.is_none()
            && entry.removal.is_none()
            && !is_open
            && survey::found_nothing(&surveyed)
            && !entry.is_probed();
        if at_rest {
            let seen = Quiet {
                shared: match &entry.accepted {
                    Some(group) => shared.versions_for(&group.labels, versions),
                    None => versions,
                },
                scope: scope.number,
                instances: Fingerprint::of(listing),
                fences: fences.clone(),
                peers: peers.clone(),
                metrics,
                planned_at: now,
                wake_at: None,
            };
            if entry.quiet.as_ref().is_some_and(|quiet| quiet.holds(&seen)) {
                return None;
            }
            entry.quiet = Some(seen);
        } else {
            entry.quiet = None;
        }
        let mut task = entry.task(name, scope, listing, fences, peers);
        task.surveyed = Arc::new(surveyed);
        task.candidate = task.candidate.filter(|_| newest_waits.is_none());
        Some(task)
    }

    /// Returns what is in the way of a group, and why its newest document is not in force.
    fn fences(&self, name: &GroupName, tick: Tick, observation: &Observation) -> Vec<Held> {
        let mut holds = Vec::new();
        if let Some(why) = &self.journal_failure {
            holds.push(Hold::JournalUnavailable { why: why.clone() });
        }
        if tick == Tick::SteppedBack {
            holds.push(Hold::ClockStepped);
        }
        holds.extend(self.outage.clone());
        if self.settings.mode == task::Mode::Observe {
            holds.push(Hold::ObserveOnly);
        }
        if let Some(why) = self.unreadable.get(&format!("groups/{name}.yaml")) {
            let why = format!("its recorded state on the state branch cannot be read: {why}");
            holds.push(Hold::ObservationPartial { why });
        }
        let mut fences: Vec<Held> = holds.into_iter().map(plain).collect();
        fences.extend(self.brake.hold(name));
        fences.extend(self.astray(name, observation));
        fences.extend(self.claimed(name, observation));
        fences.extend(observation.moved.get(name).cloned().map(plain));
        if let Some(entry) = self.groups.get(name) {
            fences.extend(observation.refused.get(name).cloned().map(plain));
            fences.extend(entry.notices.iter().cloned());
        }
        fences
    }

    /// Waits for the groups of this pass, for a limited time.
    pub(super) async fn gather(&mut self) {
        let deadline = tokio::time::Instant::now() + self.settings.limits.group_wait;
        loop {
            let next = tokio::time::timeout_at(deadline, self.tasks.join_next_with_id()).await;
            match next {
                Ok(Some(joined)) => self.collect(joined),
                Ok(None) => return,
                Err(_elapsed) => {
                    debug!(groups = self.tasks.len(), "groups go on beside the pass");
                    return;
                }
            }
        }
    }

    /// Collects what ended since the last pass.
    pub(super) fn collect_finished(&mut self) {
        while let Some(joined) = self.tasks.try_join_next_with_id() {
            self.collect(joined);
        }
    }

    pub(super) fn collect(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let now = self.clock.now();
        let (id, outcome) = match joined {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(name) = self.task_names.remove(&id) else {
            return;
        };
        let Some(entry) = self.groups.get_mut(&name) else {
            return;
        };
        entry.busy = false;
        let new = entry.recorded.accepted.is_none();
        if !matches!(outcome, Ok(Ok(Ok(_)))) {
            self.shares.lost(&name);
            // Else the next plan takes the document up again.
            if new
                && entry.removal.is_some()
                && let Ok(Some(stored)) = self.store.group(&name)
            {
                entry.catch_up(stored);
            }
        }
        match outcome {
            Ok(Ok(Ok(finished))) => {
                if let Some(why) = &finished.journal_failed {
                    self.journal_failure = Some(why.clone());
                }
                self.mutations += finished.mutations;
                self.shares.planned(
                    &name,
                    finished.recorded.phase,
                    &finished.disturbance,
                    &finished.report.holds,
                );
                for (position, withholds) in finished.guards_withhold.iter().enumerate() {
                    if let Some(guard) = self.guard_round.withhold.get_mut(position) {
                        *guard |= withholds;
                    }
                }
                entry.take(&name, finished);
            }
            Ok(Ok(Err(TaskError::Journal(error)))) => {
                let why = chain(&error);
                self.journal_failure = Some(why.clone());
                entry.skip(plain(Hold::JournalUnavailable { why }));
                self.guard_round.incomplete = true;
            }
            Ok(Ok(Err(error @ TaskError::Judge(_)))) => {
                entry.fail(&name, &chain(&error), now);
                self.guard_round.incomplete = true;
            }
            Ok(Err(limit)) => {
                entry.fail(
                    &name,
                    &format!("not done within {} s", limit.as_secs()),
                    now,
                );
                self.guard_round.incomplete = true;
            }
            Err(error) => {
                entry.fail(&name, &format!("internal error: {error}"), now);
                self.guard_round.incomplete = true;
            }
        }
        // A removal that was asked for before anything was in force is judged by what is now.
        let in_force = new && entry.recorded.accepted.is_some();
        self.desired_stale |= in_force && entry.removal.is_some();
    }

    /// Lets go of earlier policies that held nothing back in a whole pass.
    pub(super) async fn release_guards(&mut self, now: Timestamp) {
        let earlier = self.fleet.earlier.len();
        let fresh = GuardRound {
            withhold: vec![false; earlier],
            incomplete: false,
        };
        let round = std::mem::replace(&mut self.guard_round, fresh);
        let unplanned = self.groups.values().any(|entry| {
            let exists = entry.accepted.is_some() || entry.candidate.is_some();
            exists && (entry.busy || !entry.status.report.planned)
        });
        if earlier == 0 || round.incomplete || unplanned || round.withhold.len() != earlier {
            return;
        }
        if self.fleet.release(&round.withhold) {
            // Newer policies may have waited for room.
            self.desired_stale = true;
            // What is published has them, unless they came in this very pass.
            self.unsaved.commit = true;
            info!(left = self.fleet.earlier.len(), "earlier policies let go");
            self.guard_round.withhold = vec![false; self.fleet.earlier.len()];
            let mut batch = Batch::default();
            if let Some(revision) = &self.applied {
                batch
                    .guards(&self.fleet.record_earlier(revision))
                    .clock(now);
            }
            self.unsaved.guards = !self.write_store(batch).await;
            self.desired_stale |= self.unsaved.guards;
        }
    }
}

/// Returns why the newest document is not in force, if its survey fails for longer than a moment.
fn newest_held(wait: &Wait) -> Option<Held> {
    match wait {
        Wait::Failed(hold, true) => {
            let why = format!("the newest document is not in force yet: {hold}");
            Some(plain(Hold::AdoptionUnknown { why }))
        }
        Wait::Failed(_, false) | Wait::Stale => None,
    }
}

/// Returns what a group must know of the others: the less, the less often it is planned anew.
fn peers(entry: &GroupEntry, shared: &Shared, beside: Peers) -> Peers {
    let candidate = entry.candidate.as_ref().map(|candidate| &candidate.group);
    let documents = entry.accepted.iter().chain(candidate);
    let named = documents.flat_map(|group| &group.spec.depends_on);
    Peers {
        converged: named
            .filter(|name| shared.converged.contains(*name))
            .cloned()
            .collect(),
        ..beside
    }
}

impl GroupEntry {
    /// Returns what matters of the group for the budgets that it shares.
    fn partner(&self, name: &GroupName) -> Partner {
        let available = InstanceClass::Available.as_str();
        let instances = self.recorded.instances.values();
        let serving = instances.filter(|was| was.class == available).count() as u32;
        let group = self.accepted.as_ref();
        let candidate = self.candidate.as_ref().map(|candidate| &candidate.group);
        Partner {
            name: name.clone(),
            labels: group
                .or(candidate)
                .map(|group| group.labels.clone())
                .unwrap_or_default(),
            size: self.recorded.size,
            short: self.recorded.size.saturating_sub(serving),
            phase: self.recorded.phase,
            busy: self.busy,
        }
    }

    /// Returns the group's work, as it stands.
    fn task(
        &self,
        name: &GroupName,
        scope: &Arc<OpenScope>,
        listing: &Arc<Listing>,
        fences: Vec<Held>,
        peers: Peers,
    ) -> GroupTask {
        GroupTask {
            name: name.clone(),
            recorded: Arc::clone(&self.recorded),
            memory: Arc::clone(&self.memory),
            recommendations: Arc::clone(&self.recommendations),
            accepted: self.accepted.clone(),
            candidate: self.candidate.clone(),
            removal: self.removal.clone(),
            authors: self.authors(),
            scope: Arc::clone(scope),
            listing: Arc::clone(listing),
            fences,
            peers,
            published: self.status.members.clone(),
            numbered: self.numbered,
            surveyed: Arc::default(),
            cluster: Arc::default(),
        }
    }

    /// Takes up what a task did.
    fn take(&mut self, name: &GroupName, finished: Finished) {
        let before = Arc::clone(&self.recorded);
        self.numbered = true;
        let rested = finished.report.planned
            && finished.report.steps.is_empty()
            && finished.acted.is_none()
            && Arc::ptr_eq(&self.recorded, &finished.recorded)
            && Arc::ptr_eq(&self.memory, &finished.memory)
            && Arc::ptr_eq(&self.recommendations, &finished.recommendations);
        match &mut self.quiet {
            Some(quiet) if rested => quiet.wake_at = finished.report.wake_at,
            _ => self.quiet = None,
        }
        if let Some(acted) = finished.acted {
            self.acted = acted;
        }
        self.memory = finished.memory;
        self.recommendations = finished.recommendations;
        // The candidate is in force now, or was replaced by a newer one while the task ran.
        let text = finished.recorded.accepted.as_ref().map(|a| a.text.clone());
        if self.candidate.as_ref().map(|c| &c.document.text) == text.as_ref() {
            self.candidate = None;
        }
        self.accepted = finished.accepted.or(self.accepted.take());
        let mut recorded = finished.recorded;
        match (&recorded.deleting, &self.recorded.deleting, &self.removal) {
            (Some(_), None, None) => {
                // The document came back while the task ran.
                Arc::make_mut(&mut recorded).deleting = None;
                self.pending.store = true;
            }
            (Some(removed), None, Some(_)) => {
                info!(group = %name, revision = removed.revision.short(), "removal accepted");
                self.removal = None;
            }
            (Some(_), Some(_), _) | (None, _, _) => {}
        }
        if self.record(recorded) {
            log_transition(&before, &self.recorded);
        }
        for note in finished.notes {
            self.audit.note(note);
        }
        self.audit.healed += finished.healed;
        self.audit.done += finished.done;
        self.audit.failed += finished.failed;
        if finished.inputs.is_some() {
            self.audit.inputs = finished.inputs;
            self.audit.policies = finished.policies;
        }
        let mut report = finished.report;
        report.diagnostics.clone_from(&self.diagnostics);
        self.status = Arc::new(GroupStatus {
            recorded: Arc::clone(&self.recorded),
            group: self.accepted.clone(),
            report: Arc::new(report),
            wanted: self.wanted(),
            change: finished.change,
            withheld: finished.withheld,
            differing: finished.differing,
            decisions: finished.decisions,
            members: finished.members,
        });
    }

    /// Returns the newer document that is not in force, as written.
    fn wanted(&self) -> Option<Arc<str>> {
        let candidate = self.candidate.as_ref();
        candidate.map(|candidate| Arc::clone(&candidate.document.text))
    }

    /// Notes that the group is not planned in this pass, for `holds`.
    fn hold_all(&mut self, holds: Vec<Held>, now: Timestamp, record: bool) {
        if record {
            let next = entry::held(&self.recorded, &holds, now);
            if next != *self.recorded {
                let before = Arc::clone(&self.recorded);
                self.record(Arc::new(next));
                self.pending.store = true;
                log_transition(&before, &self.recorded);
            }
        }
        self.report_unplanned(holds, None);
    }

    /// Notes that the group is not planned in this pass, and nothing else.
    fn skip(&mut self, hold: Held) {
        self.report_unplanned(vec![hold], None);
    }

    /// Returns whether it is recorded that there is no such provider, and another hold says that there is: people would
    /// look for a fault that is mended.
    fn refuted_by(&self, hold: &Hold) -> bool {
        let missing = |hold: &Hold| matches!(hold, Hold::ProviderMissing { .. });
        let mut recorded = self.recorded.holds.iter();
        !missing(hold) && recorded.any(|held| missing(&held.hold))
    }

    /// Notes that the group's work ended with a mistake of ours.
    fn fail(&mut self, name: &GroupName, message: &str, now: Timestamp) {
        error!(group = %name, error = message, "group not planned");
        let mut next = (*self.recorded).clone();
        set_condition(
            &mut next,
            ConditionType::Stalled,
            Some(true),
            "InternalError",
            message,
            now,
        );
        self.record(Arc::new(next));
        self.pending.store = true;
        self.report_unplanned(Vec::new(), Some(message.to_owned()));
    }

    /// Returns whether health checks have a say about the group's instances.
    fn is_probed(&self) -> bool {
        let group = self.accepted.as_ref();
        group.is_none_or(|group| !group.spec.health.checks.is_empty())
    }

    fn report_unplanned(&mut self, holds: Vec<Held>, error: Option<String>) {
        self.quiet = None;
        let before = &self.status;
        self.status = Arc::new(GroupStatus {
            recorded: Arc::clone(&self.recorded),
            group: self.accepted.clone(),
            wanted: self.wanted(),
            report: Arc::new(GroupReport {
                phase: Some(self.recorded.phase),
                numbers: before.report.numbers,
                holds,
                diagnostics: self.diagnostics.clone(),
                error,
                ..GroupReport::default()
            }),
            ..(**before).clone()
        });
    }
}

/// The time until a listing or a group's work that goes on is looked at again.
pub(super) const UNFINISHED_POLL: Duration = Duration::from_secs(1);
