//! What failed launches and failed rollouts lead to. Everything here is on the clock and on what was
//! observed, never on events: a rollout that nothing happens to still meets its deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    ErrorClass, Hold, InstanceClass, InstanceId, IntentKind, IntentState, LaunchBackoff, OnFailure,
    PauseCause, Reason, Rollout, RolloutState, Timestamp,
};

use super::create::blames_template;
use super::draft::Draft;
use super::observes;
use crate::numbers::{is_current, serves};
use crate::time::{earlier, elapsed, later};

/// Instances of a new template that break within this time of being ready count against it.
const MONITOR: Duration = Duration::from_mins(5);

/// One launch that came to nothing.
struct LaunchFailure {
    launched_at: Timestamp,
    failed_at: Timestamp,
    class: Option<ErrorClass>,
    message: String,
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
        let failed_last = self.next.backoff.as_ref().map(|backoff| {
            let delay = backoff_delay(backoff.class, backoff.failures);
            earlier(backoff.until, delay)
        });
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
            let slots = match &intent.kind {
                IntentKind::Create { slots, .. } => slots.len(),
                IntentKind::Drain { .. } | IntentKind::Destroy { .. } => return false,
            };
            matches!(&intent.state, IntentState::Acked { made, at } if made.len() == slots && *at > failed_last)
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
            match &intent.state {
                IntentState::Failed { class, message, at } => failures.push(LaunchFailure {
                    launched_at: intent.issued_at,
                    failed_at: *at,
                    class: blame(*digests == self.target, Some(*class)),
                    message: message.clone(),
                }),
                IntentState::Acked { made, at } if made.len() < slots.len() => {
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
        for member in self.live() {
            if let InstanceClass::Failed { why } = &member.class {
                failures.push(LaunchFailure {
                    launched_at: member.created_at,
                    failed_at: self.input.now,
                    class: blame(self.current(member), None),
                    message: format!("{}: {why}", member.id),
                });
            }
        }
        failures
    }

    /// Begins, continues, pauses or ends the rollout.
    pub(super) fn track_rollout(&mut self) {
        let now = self.input.now;
        let outdated = self.live().any(|member| !self.current(member));
        let unfinished = self.next.stable.as_ref() != Some(&self.target) || outdated;
        if !unfinished {
            self.next.rollout = None;
            return;
        }
        let going = self.next.rollout.take();
        let mut rollout = going
            .filter(|rollout| rollout.target == self.target)
            .unwrap_or_else(|| Rollout {
                target: self.target.clone(),
                started_at: now,
                progressed_at: now,
                state: RolloutState::Progressing,
                failures: BTreeSet::new(),
                last_failure: None,
            });
        for (id, why) in self.target_failures(&rollout) {
            if rollout.failures.insert(id.clone()) {
                rollout.last_failure = Some(format!("{id}: {why}"));
            }
        }
        let stands_still = self.clock_stands_still();
        if self.progressed() || (self.clock_stood_still() && !stands_still) {
            rollout.progressed_at = now;
        }
        if rollout.state == RolloutState::Progressing
            && let Some(cause) = self.pause_cause(&rollout, stands_still, outdated)
        {
            rollout.state = RolloutState::Paused(cause);
        }
        self.next.rollout = Some(rollout);
    }

    /// Returns the instances of the target that failed, with what they died of.
    fn target_failures(&self, rollout: &Rollout) -> Vec<(InstanceId, String)> {
        let mut failures = Vec::new();
        for member in self
            .live()
            .filter(|member| member.digests == rollout.target && !self.completed(member))
        {
            let early = self
                .input
                .classified
                .memory
                .get(&member.id)
                .and_then(|memory| memory.ready_at)
                .is_some_and(|ready| elapsed(ready, self.input.now) < MONITOR);
            let counts = match member.class {
                InstanceClass::Failed { .. } => true,
                InstanceClass::Exited(_) | InstanceClass::Unhealthy { .. } => early,
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
            let was = self.input.recorded.instances.get(id);
            let launching = was.is_some_and(|was| {
                was.digests == rollout.target && was.class == InstanceClass::Starting.as_str()
            });
            if launching && self.intents.destroy(id).is_none() {
                failures.push((id.clone(), "vanished before it was ready".to_owned()));
            }
        }
        failures
    }

    /// Returns whether an instance of the target became available since the last record.
    fn progressed(&self) -> bool {
        let available = InstanceClass::Available.as_str();
        let recorded = &self.input.recorded.instances;
        self.live().any(|member| {
            let before = recorded.get(&member.id);
            serves(member)
                && is_current(&member.digests, &self.target)
                && before.is_none_or(|before| before.class != available)
        })
    }

    fn pause_cause(
        &self,
        rollout: &Rollout,
        stands_still: bool,
        outdated: bool,
    ) -> Option<PauseCause> {
        if let Some(message) = self.rejection() {
            return Some(PauseCause::Rejected { message });
        }
        // Without anything to protect or to go back to, stopping would help nobody: failed launches
        // are spaced out, and that is all.
        let stable = self.next.stable.as_ref();
        let protects = outdated || stable.is_some();
        if stable == Some(&self.target)
            || !protects
            || self.spec.rollout.on_failure == OnFailure::Continue
        {
            return None;
        }
        let failed = rollout.failures.len() as u32;
        let threshold = self.spec.failure_threshold(self.resolved.size);
        if failed >= threshold {
            return Some(PauseCause::Failures { failed, threshold });
        }
        let late = elapsed(rollout.progressed_at, self.input.now) > self.spec.progress_deadline();
        let all_serve = self
            .live()
            .all(|member| serves(member) && self.current(member));
        let done = all_serve && self.live_count() >= self.resolved.size;
        (late && !stands_still && !done).then_some(PauseCause::Deadline)
    }

    /// Returns what the provider said when it refused the target.
    fn rejection(&self) -> Option<String> {
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
        slowed || observes(self.input) || self.withheld(Reason::Update).is_some()
    }

    /// Returns whether it stood still in the last pass.
    fn clock_stood_still(&self) -> bool {
        let recorded = self.input.recorded;
        let slowed = recorded.backoff.as_ref().is_some_and(|backoff| {
            matches!(
                backoff.class,
                Some(ErrorClass::Throttled | ErrorClass::Auth)
            )
        });
        let update = |reason: Option<Reason>| reason.is_none_or(|reason| reason == Reason::Update);
        slowed
            || recorded
                .holds
                .iter()
                .any(|held| update(held.reason) && stops_clock(&held.hold))
    }
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

fn stops_clock(hold: &Hold) -> bool {
    match hold {
        Hold::ObservationPartial { .. }
        | Hold::ObservationStale
        | Hold::ObservationEmptied { .. }
        | Hold::ProviderFailed { .. }
        | Hold::ProviderMissing { .. }
        | Hold::ProviderChanged { .. }
        | Hold::Suspended { .. }
        | Hold::Frozen { .. }
        | Hold::ObserveOnly
        | Hold::GateClosed(_)
        | Hold::PolicyFailed(_)
        | Hold::JournalUnavailable { .. }
        | Hold::ClockStepped
        | Hold::EpochConflict { .. } => true,
        Hold::SpecInvalid { .. }
        | Hold::PolicyDenied(_)
        | Hold::SurgeExhausted { .. }
        | Hold::AvailabilityFloor { .. }
        | Hold::FirstBatch { .. }
        | Hold::RolloutWindow { .. }
        | Hold::RolloutPaused(_)
        | Hold::LaunchBackoff { .. }
        | Hold::HealBudget { .. }
        | Hold::Systemic { .. }
        | Hold::AllUnknown
        | Hold::DestroyLimit { .. }
        | Hold::ScalingStabilized { .. }
        | Hold::ScalingRate { .. }
        | Hold::TotalLimit { .. }
        | Hold::Protected
        | Hold::DeletionUnconfirmed { .. }
        | Hold::DrainTimeout
        | Hold::UnknownOutcomes { .. }
        | Hold::SourceUnavailable { .. } => false,
    }
}
