//! What failed launches and failed rollouts lead to. Everything here is on the clock and on what was
//! observed, never on events: a rollout that nothing happens to still meets its deadline.

use std::time::Duration;

use drover_model::{
    Digests, ErrorClass, Held, Hold, InstanceClass, InstanceId, IntentKind, IntentState,
    LaunchBackoff, Member, OnFailure, PauseCause, Reason, Rollout, RolloutMode, RolloutState,
    Timestamp,
};

use super::create::blames_template;
use super::draft::Draft;
use super::held_for;
use super::late::was_whole;
use super::observes;
use crate::classify::is_launch;
use crate::numbers::serves;
use crate::time::{earlier, elapsed, later};

/// One launch that came to nothing.
struct LaunchFailure {
    launched_at: Timestamp,
    failed_at: Timestamp,
    class: Option<ErrorClass>,
    message: String,
}

/// What a rollout is judged by beside its record.
struct Failed {
    /// Failures that this pass saw first.
    now: u32,
    /// Whether instances of another template are there.
    outdated: bool,
    /// Whether the deadline's clock stands still.
    stands_still: bool,
}

/// Returns how long the next launch waits after `failures` in a row.
fn backoff_delay(class: Option<ErrorClass>, failures: u32) -> Duration {
    let seconds = match (class, failures) {
        (_, 0) => 0,
        // The template can never succeed: only the cap, in case that the provider errs.
        (Some(ErrorClass::InvalidSpec), _) => 900,
        // Too many calls: short, growing, and never so long that the fleet stands still.
        (Some(ErrorClass::Throttled), failures) => (5 << (failures - 1).min(4)).min(60),
        (_, 1) => 0,
        (_, 2) => 60,
        (_, 3) => 300,
        (_, _) => 900,
    };
    Duration::from_secs(seconds)
}

impl Draft<'_> {
    /// Counts failed launches and sets when the next may happen.
    pub(super) fn track_launches(&mut self) {
        let target_changed = self.input.recorded.target.as_ref() != Some(&self.target);
        let blamed = |backoff: &LaunchBackoff| blames_template(backoff.class);
        if target_changed && self.next.backoff.as_ref().is_some_and(blamed) {
            self.next.backoff = None;
        }
        let failed_last = self.next.backoff.as_ref().map(last_failure);
        self.forget_want_of_room();
        if failed_last.is_some_and(|at| self.launched_well_after(at)) {
            self.next.backoff = None;
        }
        let failures = self.launch_failures();
        // A wave of launches that fail together is one failure: what counts is each new attempt.
        let news = failures
            .into_iter()
            .filter(|failure| failed_last.is_none_or(|at| failure.launched_at > at))
            .max_by_key(|failure| (failure.failed_at, failure.launched_at));
        if let Some(failure) = news {
            let before = self
                .next
                .backoff
                .as_ref()
                .map_or(0, |backoff| backoff.failures);
            let failures = before.saturating_add(1);
            let delay = backoff_delay(failure.class, failures);
            self.next.backoff = Some(LaunchBackoff {
                failures,
                until: later(failure.failed_at, delay),
                class: failure.class,
                message: failure.message,
            });
        }
        if let Some(until) = self.next.backoff.as_ref().map(|backoff| backoff.until) {
            self.wake(until);
        }
    }

    /// Returns whether a launch after `failed_last` came to something.
    fn launched_well_after(&self, failed_last: Timestamp) -> bool {
        let backoff = self.next.backoff.as_ref();
        let blamed = backoff.is_some_and(|backoff| blames_template(backoff.class));
        let acked = self.intents.creates.iter().any(|intent| {
            matches!(&intent.state, IntentState::Acked { made, at } if made.len() == intent.slots().len() && *at > failed_last)
        });
        let served = crate::classify::served_since(self.spec, self.input.now);
        let serves = self.live().any(|member| {
            let memory = self.input.classified.memory.get(&member.id);
            let ready_at = memory.and_then(|memory| memory.ready_at);
            serves(member) && ready_at.is_some_and(|at| at > failed_last && at <= served)
        });
        serves || (acked && !blamed)
    }

    fn launch_failures(&self) -> Vec<LaunchFailure> {
        let mut failures = Vec::new();
        for intent in &self.intents.creates {
            let IntentKind::Create { slots, digests, .. } = &intent.kind else {
                continue;
            };
            if self.in_quarantine(digests) {
                continue;
            }
            let zonal = self.is_zonal(&intent.kind);
            match &intent.state {
                // A repeat was refused; the launch itself came to something.
                IntentState::Failed { .. } if self.is_there(intent) => {}
                // A zone without room waits on its own.
                IntentState::Failed {
                    class: ErrorClass::Capacity,
                    ..
                } if zonal => {}
                IntentState::Failed { class, message, at } => failures.push(LaunchFailure {
                    launched_at: intent.issued_at,
                    failed_at: *at,
                    class: blame(*digests == self.target, class_of_refusal(*class)),
                    message: message.clone(),
                }),
                IntentState::Acked { made, at } if made.len() < slots.len() && !zonal => {
                    failures.push(LaunchFailure {
                        launched_at: intent.issued_at,
                        failed_at: *at,
                        class: Some(ErrorClass::Partial),
                        message: format!("{} of {} were made", made.len(), slots.len()),
                    });
                }
                IntentState::Intended | IntentState::Sent | IntentState::Acked { .. } => {}
            }
        }
        for member in self.remaining() {
            if let InstanceClass::Failed { why } = &member.class
                && member.interruption.is_none()
                && !self.in_quarantine(&member.digests)
            {
                failures.push(LaunchFailure {
                    launched_at: launched_at(member),
                    failed_at: self.input.now,
                    class: blame(self.current(member), None),
                    message: format!("{}: {why}", member.id),
                });
            }
        }
        failures.extend(self.vanished_launches());
        failures
    }

    /// Returns the launches of which nothing is left before they were ready, and that nobody ended.
    fn vanished_launches(&self) -> impl Iterator<Item = LaunchFailure> {
        let gone = self.input.classified.gone.keys();
        gone.filter_map(|id| {
            let (digests, launched_at) = match self.input.recorded.instances.get(id) {
                Some(was) if is_launch(was) && !was.draining && was.kept.is_none() => {
                    (&was.digests, was.created_at)
                }
                Some(_) => return None,
                None => self.made_unrecorded(id)?,
            };
            let ended = self.intents.destroy(id).is_some();
            (!ended && !self.in_quarantine(digests)).then(|| LaunchFailure {
                launched_at,
                failed_at: self.input.now,
                class: blame(*digests == self.target, None),
                message: format!("{id}: vanished before it was ready"),
            })
        })
    }

    /// Returns the template of an instance that a provider said to have made and that was never recorded,
    /// and when it was asked for.
    fn made_unrecorded(&self, id: &InstanceId) -> Option<(&Digests, Timestamp)> {
        let mut creates = self.intents.creates.iter();
        creates.find_map(|intent| match (&intent.kind, &intent.state) {
            (IntentKind::Create { digests, .. }, IntentState::Acked { made, .. })
                if made.contains_key(id) =>
            {
                Some((digests, intent.issued_at))
            }
            (
                IntentKind::Create { .. }
                | IntentKind::Drain { .. }
                | IntentKind::Destroy { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_),
                _,
            ) => None,
        })
    }

    /// What fails in quarantine says nothing about the template that is in force.
    fn in_quarantine(&self, digests: &Digests) -> bool {
        let quarantine = self.next.quarantine.as_ref();
        quarantine.is_some_and(|quarantine| quarantine.digests == *digests)
    }

    /// Begins, continues, pauses, turns back or ends the rollout.
    pub(super) fn track_rollout(&mut self) {
        if let Some(cause) = self.track_target()
            && self.quarantine(&cause)
        {
            // The way back begins with a clean sheet.
            self.track_target();
        }
        if let Some(quarantine) = &self.next.quarantine {
            let hold = held_for(Reason::Update, Hold::Quarantined(quarantine.cause.clone()));
            self.hold(hold);
        }
        if let Some(resting) = self.resting.clone() {
            self.hold(resting);
        }
    }

    /// Tracks the rollout to the target. Returns why it stopped, if it did in this pass.
    fn track_target(&mut self) -> Option<PauseCause> {
        let now = self.input.now;
        if let Some(cause) = self.track_proving() {
            self.resting = None;
            return Some(cause);
        }
        // What is on its way back is not there yet, though it has the template.
        let outdated =
            self.remaining().any(|member| !self.current(member)) || self.rollout_stands_in();
        let unfinished = self.next.stable.as_ref() != Some(&self.target) || outdated;
        let going = self.next.rollout.take();
        self.resting = None;
        if !unfinished {
            return None;
        }
        let mut rollout = going
            .filter(|rollout| rollout.target == self.target)
            .unwrap_or_else(|| Rollout::new(self.target.clone(), now, self.resolved.size));
        self.track_updated(&mut rollout);
        let failed_now = self.note_failures(&mut rollout);
        let mut advanced = rollout.clone();
        let resting = self.advance(&mut advanced);
        let rests = resting.is_some() || (rollout.stages.bake_since.is_some() && self.all_serve());
        let stands_still = rests || self.clock_stands_still();
        let stood_still = rollout.clock_stood_still || self.nobody_acted();
        let begins_anew = self.progressed(rollout.progressed_at) || (stood_still && !stands_still);
        for rollout in [&mut rollout, &mut advanced] {
            if begins_anew {
                rollout.progressed_at = now;
            }
            rollout.clock_stood_still = stands_still;
        }
        if rollout.state == RolloutState::Progressing {
            let failed = Failed {
                now: failed_now,
                outdated,
                stands_still,
            };
            let cause = self.pause_cause(&rollout, &failed);
            if let Some(cause) = cause {
                rollout.state = RolloutState::Paused(cause.clone());
                self.next.rollout = Some(rollout);
                return Some(cause);
            }
            self.resting = resting;
            rollout = advanced;
        }
        self.next.rollout = Some(rollout);
        None
    }

    /// Notes the instances of the target that failed. Returns how many of them are new.
    pub(super) fn note_failures(&self, rollout: &mut Rollout) -> u32 {
        let mut failed_now = 0;
        for (id, why) in self.target_failures(rollout) {
            if rollout.forgiven.contains(&id) {
                continue;
            }
            if rollout.failures.insert(id.clone()) {
                rollout.last_failure = Some(format!("{id}: {why}"));
                failed_now += 1;
            }
        }
        failed_now
    }

    /// Returns whether every instance is there, has the target and serves.
    fn all_serve(&self) -> bool {
        let good = self
            .remaining()
            .all(|member| serves(member) && self.current(member));
        good && self.live_count() >= self.resolved.size
    }

    /// Returns the instances of the target that failed, with what they died of.
    fn target_failures(&self, rollout: &Rollout) -> Vec<(InstanceId, String)> {
        let mut failures = Vec::new();
        // Canaries and what bakes are watched for as long as that takes.
        let watched = self.watches_canaries(rollout) || rollout.stages.bake_since.is_some();
        let monitor = self.spec.rollout.monitor;
        let late = self.counts_late(rollout);
        for member in self
            .remaining()
            .filter(|member| member.digests == rollout.target && !self.completed(member))
            // What the provider takes says nothing about the template.
            .filter(|member| member.interruption.is_none())
            // Who was taken out of a membership list ends because of that.
            .filter(|member| self.register.is_none() || self.is_listed(member))
        {
            let early = self
                .input
                .classified
                .memory
                .get(&member.id)
                .and_then(|memory| memory.ready_at)
                .is_some_and(|ready| watched || elapsed(ready, self.input.now) < monitor);
            let counts = match member.class {
                InstanceClass::Failed { .. } => true,
                InstanceClass::Exited(_) | InstanceClass::Unhealthy { .. } => {
                    early || (late && was_whole(self.input.recorded.instances.get(&member.id)))
                }
                InstanceClass::Terminating
                | InstanceClass::Lost { .. }
                | InstanceClass::Suspect { .. }
                | InstanceClass::Starting
                | InstanceClass::Warming
                | InstanceClass::Available => false,
            };
            if counts {
                failures.push((member.id.clone(), member.class.why().unwrap_or_default()));
            }
        }
        for id in self.input.classified.gone.keys() {
            let Some(was) = self.input.recorded.instances.get(id) else {
                continue;
            };
            let launching = is_launch(was);
            let ended = self.intents.destroy(id).is_some() || was.draining || was.kept.is_some();
            if was.digests == rollout.target && (launching || watched) && !ended {
                let when = if launching {
                    "before it was ready"
                } else {
                    "while it was watched"
                };
                failures.push((id.clone(), format!("vanished {when}")));
            }
        }
        failures
    }

    /// Returns whether an instance became available with the target, or got it, since the last record. One that breaks
    /// and recovers, over and over, has got on only the first time: it is not the last step that made it so.
    fn progressed(&self, last: Timestamp) -> bool {
        let available = InstanceClass::Available.as_str();
        let recorded = &self.input.recorded.instances;
        let mut current = self
            .live()
            .filter(|member| serves(member) && self.counts_as_current(&member.digests));
        current.any(|member| match recorded.get(&member.id) {
            Some(before) if !self.counts_as_current(&before.digests) => true,
            Some(before) if before.class == available => false,
            Some(_) | None => self.is_first_served_after(member, last),
        })
    }

    /// Returns whether the earliest that a member can have been available with what it is made of is after `last`.
    fn is_first_served_after(&self, member: &Member, last: Timestamp) -> bool {
        let memory = self.input.classified.memory.get(&member.id);
        let ready_at = memory.and_then(|memory| memory.ready_at.max(memory.changed_at));
        ready_at.is_none_or(|at| later(at, self.spec.rollout.min_ready) > last)
    }

    fn pause_cause(&self, rollout: &Rollout, failed: &Failed) -> Option<PauseCause> {
        if let Some(message) = self.rejection() {
            return Some(PauseCause::Rejected { message });
        }
        // Without anything to protect or to go back to, stopping would help nobody: failed launches
        // are spaced out, and that is all.
        let stable = self.next.stable.as_ref();
        let protects = failed.outdated || stable.is_some();
        let proved = stable == Some(&self.target) && !self.rolls_back();
        if proved || !protects || self.spec.rollout.on_failure == OnFailure::Continue {
            return None;
        }
        if let Some(message) = self.failed_analysis() {
            return Some(PauseCause::Analysis { message });
        }
        if failed.now > 0 && self.watches_canaries(rollout) {
            return Some(PauseCause::Failures {
                failed: failed.now,
                threshold: 1,
                last: rollout.last_failure.clone(),
            });
        }
        let count = rollout.failures.len() as u32;
        let threshold = self.spec.failure_threshold(self.resolved.size);
        if count >= threshold {
            return Some(PauseCause::Failures {
                failed: count,
                threshold,
                last: rollout.last_failure.clone(),
            });
        }
        let late = elapsed(rollout.progressed_at, self.input.now) > self.spec.progress_deadline();
        (late && !failed.stands_still && !self.all_serve()).then_some(PauseCause::Deadline)
    }

    /// Returns what the provider said when it refused the target.
    fn rejection(&self) -> Option<String> {
        let of_changes = self.live_rejection();
        if of_changes.is_some() {
            return of_changes;
        }
        if self.next.stable.as_ref() == Some(&self.target) {
            return None;
        }
        self.intents.creates.iter().find_map(|intent| {
            let of_target = matches!(&intent.kind, IntentKind::Create { digests, .. } if *digests == self.target);
            match &intent.state {
                IntentState::Failed {
                    class: ErrorClass::InvalidSpec,
                    message,
                    ..
                } if of_target => Some(message.clone()),
                IntentState::Intended
                | IntentState::Sent
                | IntentState::Acked { .. }
                | IntentState::Failed { .. } => None,
            }
        })
    }

    /// Returns whether the progress deadline's clock stands still: the rollout may not act, so that
    /// it makes no progress is no failure of the template.
    fn clock_stands_still(&self) -> bool {
        let slowed = self.next.backoff.as_ref().is_some_and(|backoff| {
            matches!(
                backoff.class,
                Some(ErrorClass::Throttled | ErrorClass::Auth)
            )
        });
        let refused = |held: &Held| matches!(held.hold, Hold::LaunchesRefused { .. });
        slowed
            || self.input.fences.iter().any(refused)
            || self.told_refused_end().is_some()
            || self.lacks_leave_to_change()
            || observes(self.input)
            || self.zones_closed().is_some()
            || self.withheld(Reason::Update).is_some()
            || self.spec.rollout.mode != RolloutMode::Proactive
            || self.only_kept_left()
            || self.waits_for_the_hour()
            || self.waits_for_a_budget()
            || self.waits_for_surplus()
            || self.waits_for_others()
    }

    /// Returns whether something was in the way of every step in the last pass, in which no rollout was
    /// tracked then.
    fn nobody_acted(&self) -> bool {
        let update = |reason: Option<Reason>| reason.is_none_or(|reason| reason == Reason::Update);
        let mut holds = self.input.recorded.holds.iter();
        holds.any(|held| update(held.reason) && stops_clock(&held.hold))
    }
}

/// Returns when a member was last started.
fn launched_at(member: &Member) -> Timestamp {
    let restarted = member.restarted_at;
    restarted.map_or(member.created_at, |at| at.max(member.created_at))
}

/// Returns the class of a launch that made nothing. A provider that says `partial` has tried, and is in doubt neither for
/// its credentials nor for its room: the image cannot be pulled, the program is missing. That is as a launch that
/// was made and failed to start.
fn class_of_refusal(class: ErrorClass) -> Option<ErrorClass> {
    match class {
        ErrorClass::Partial => None,
        ErrorClass::Throttled
        | ErrorClass::Capacity
        | ErrorClass::Quota
        | ErrorClass::InvalidSpec
        | ErrorClass::Auth
        | ErrorClass::Unknown
        | ErrorClass::NotFound => Some(class),
    }
}

/// Returns when the latest of the launches that made others wait had failed.
pub fn last_failure(backoff: &LaunchBackoff) -> Timestamp {
    let delay = backoff_delay(backoff.class, backoff.failures);
    earlier(backoff.until, delay)
}

/// A launch of the last good template that fails while the target is the suspect speaks for a
/// cause that lies in neither.
fn blame(of_target: bool, class: Option<ErrorClass>) -> Option<ErrorClass> {
    if !of_target && blames_template(class) {
        Some(ErrorClass::Unknown)
    } else {
        class
    }
}

#[expect(clippy::too_many_lines, reason = "one arm per hold, nothing to split")]
fn stops_clock(hold: &Hold) -> bool {
    match hold {
        Hold::ObservationPartial { .. }
        | Hold::ObservationStale
        | Hold::ObservationEmptied { .. }
        | Hold::ProviderFailed { .. }
        | Hold::ProviderMissing { .. }
        | Hold::ProviderChanged { .. }
        | Hold::SizingChanged
        | Hold::QuorumAtRisk { .. }
        | Hold::MembershipUnclear { .. }
        | Hold::ClusterUnknown { .. }
        | Hold::QuorumUnproven { .. }
        | Hold::Suspended { .. }
        | Hold::Frozen { .. }
        | Hold::ObserveOnly
        | Hold::OwnerStillActs { .. }
        | Hold::OwnerUnproven { .. }
        | Hold::AdoptionContested { .. }
        | Hold::AdoptionRefused { .. }
        | Hold::StrangersMissing { .. }
        | Hold::Adopting { .. }
        | Hold::GateClosed(_)
        | Hold::WindowClosed { .. }
        | Hold::DependencyNotReady { .. }
        | Hold::PolicyFailed(_)
        | Hold::CanaryHold { .. }
        | Hold::Checkpoint { .. }
        | Hold::Bake
        | Hold::Partition { .. }
        | Hold::NotProactive { .. }
        | Hold::MaxAction { .. }
        | Hold::ZonesCooling { .. }
        | Hold::PlaceForbidden(_)
        | Hold::AnalysisPending(_)
        | Hold::JournalUnavailable { .. }
        | Hold::ClockStepped
        | Hold::SecretUnresolved { .. }
        | Hold::LaunchesRefused { .. }
        | Hold::SourceOutage { .. }
        | Hold::EpochConflict { .. }
        | Hold::StateUntrusted { .. } => true,
        // These stop it only where nothing else is on the way.
        Hold::ProtectedInstance { .. }
        | Hold::KeptInstance { .. }
        | Hold::ProtectedByPolicy(_)
        | Hold::BudgetByPolicy(_)
        | Hold::CreateLimit { .. }
        | Hold::BudgetExhausted { .. }
        | Hold::FleetBudgetExhausted { .. }
        | Hold::SpecInvalid { .. }
        | Hold::PolicyDenied(_)
        | Hold::ApprovalNeeded(_)
        | Hold::ApprovalRejected(_)
        | Hold::DestroyRate { .. }
        | Hold::SurgeExhausted { .. }
        | Hold::AvailabilityFloor { .. }
        | Hold::FirstBatch { .. }
        | Hold::RolloutWindow { .. }
        | Hold::RolloutPaused(_)
        | Hold::Quarantined(_)
        | Hold::LaunchBackoff { .. }
        | Hold::UpdateRefused { .. }
        | Hold::HealBudget { .. }
        | Hold::Systemic { .. }
        | Hold::AllUnknown
        | Hold::DestroyLimit { .. }
        | Hold::FleetDestroyLimit { .. }
        | Hold::ScalingStabilized { .. }
        | Hold::ScalingRate { .. }
        | Hold::TotalLimit { .. }
        | Hold::QuorumUnsettled { .. }
        | Hold::ClusterDegraded { .. }
        | Hold::AdoptedSurplus { .. }
        | Hold::AdoptionUnknown { .. }
        | Hold::StrayInstances { .. }
        | Hold::DuplicateInstances { .. }
        | Hold::Protected
        | Hold::DeletionUnconfirmed { .. }
        | Hold::RenameUnconfirmed { .. }
        | Hold::DrainTimeout
        | Hold::NumbersExhausted { .. }
        | Hold::UnknownOutcomes { .. }
        | Hold::EndRefused { .. }
        | Hold::ChangeRefused { .. }
        | Hold::SourceUnavailable { .. } => false,
    }
}
