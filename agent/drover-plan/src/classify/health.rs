//! The health of one listed instance: one verdict, its timers, and the class that follows.
//!
//! This is the one place that says what *available* means; everything that counts available
//! instances reads the class.

use std::time::Duration;

use drover_model::{
    CheckOutcome, ExitReport, GroupSpec, HealthOverride, HealthSignal, HealthSignals, HealthSpec,
    HealthVerdict, InstanceClass, InstanceId, InstanceMemory, Lifecycle, ProviderPhase,
    RecordedInstance, Timestamp,
};

use crate::time::{earlier, elapsed, later};

/// An instance that ended within this time of being ready never served, even where `minReady` is
/// zero: a crash loop must not look like a good launch.
pub(crate) const SERVED_MIN: Duration = Duration::from_secs(10);

/// A signal is believed for three rounds of its slowest check and this much: then whoever probes
/// has stopped, and the health is unknown.
const SIGNAL_SLACK: Duration = Duration::from_secs(30);

/// The longest time between two looks at an instance that is warming up: a source interval.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// What else a class depends on.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    /// When the instance was made.
    pub(super) created_at: Timestamp,
    /// Its class as last recorded.
    pub(super) before: Option<&'a str>,
}

/// What is known of an instance's health now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// Ended by itself.
    Ended(ExitReport),
    /// Being ended by its provider.
    Stopping,
    /// Being made.
    Pending,
    /// All checks pass, or there are none and it runs.
    Healthy,
    /// A check fails.
    Failing(String),
    /// Nobody knows.
    Unknown(String),
}

/// Joins the provider's word and the checks.
pub(super) fn verdict(
    phase: &ProviderPhase,
    spec: &HealthSpec,
    signal: Option<&HealthSignal>,
    now: Timestamp,
) -> Health {
    match phase {
        ProviderPhase::Exited(report) => Health::Ended(report.clone()),
        ProviderPhase::Stopping | ProviderPhase::Terminated => Health::Stopping,
        ProviderPhase::Pending => Health::Pending,
        ProviderPhase::Unknown => Health::Unknown("the provider cannot say".to_owned()),
        ProviderPhase::Running if spec.checks.is_empty() => Health::Healthy,
        ProviderPhase::Running => match signal {
            None => Health::Unknown("no check was tried yet".to_owned()),
            Some(signal) => checked(spec, signal, now),
        },
    }
}

fn checked(spec: &HealthSpec, signal: &HealthSignal, now: Timestamp) -> Health {
    let rounds = spec
        .checks
        .iter()
        .map(|check| (check.interval + check.timeout) * 3)
        .max()
        .unwrap_or_default();
    if elapsed(signal.asked_at, now) > rounds + SIGNAL_SLACK {
        return Health::Unknown("the last checks are too old".to_owned());
    }
    let mut unknown = None;
    for outcome in &signal.checks {
        match outcome {
            CheckOutcome::Failing { why } => return Health::Failing(why.clone()),
            CheckOutcome::Unknown { why } => unknown = unknown.or(Some(why)),
            CheckOutcome::Passing => {}
        }
    }
    match unknown {
        Some(why) => Health::Unknown(why.clone()),
        None if signal.checks.len() < spec.checks.len() => {
            Health::Unknown("not every check was tried yet".to_owned())
        }
        None => Health::Healthy,
    }
}

/// Returns what is known of a running instance. None: it is being made or ended, or has ended, and no
/// policy makes anything else of that.
pub(super) fn signals(
    phase: &ProviderPhase,
    spec: &HealthSpec,
    signal: Option<&HealthSignal>,
    now: Timestamp,
) -> Option<HealthSignals> {
    let health = verdict(phase, spec, signal, now);
    let (combined, why) = in_words(&health)?;
    let provider = match phase {
        ProviderPhase::Running => HealthVerdict::Healthy,
        ProviderPhase::Unknown
        | ProviderPhase::Pending
        | ProviderPhase::Exited(_)
        | ProviderPhase::Stopping
        | ProviderPhase::Terminated => HealthVerdict::Unknown,
    };
    let tried = |position: usize| signal.and_then(|signal| signal.checks.get(position));
    let checks = (0..spec.checks.len()).map(|position| match tried(position) {
        Some(CheckOutcome::Passing) => HealthVerdict::Healthy,
        Some(CheckOutcome::Failing { .. }) => HealthVerdict::Unhealthy,
        Some(CheckOutcome::Unknown { .. }) | None => HealthVerdict::Unknown,
    });
    // Of a provider that cannot say whether an instance runs, the checks are asked all the same.
    let probe = match signal {
        _ if spec.checks.is_empty() => None,
        None => Some(HealthVerdict::Unknown),
        Some(signal) => in_words(&checked(spec, signal, now)).map(|(probe, _)| probe),
    };
    Some(HealthSignals {
        provider,
        probe,
        checks: checks.collect(),
        combined,
        why: why.to_owned(),
    })
}

/// Returns the word for the health of a running instance, and why.
fn in_words(health: &Health) -> Option<(HealthVerdict, &str)> {
    match health {
        Health::Healthy => Some((HealthVerdict::Healthy, "")),
        Health::Failing(why) => Some((HealthVerdict::Unhealthy, why)),
        Health::Unknown(why) => Some((HealthVerdict::Unknown, why)),
        Health::Ended(_) | Health::Stopping | Health::Pending => None,
    }
}

/// Returns the health that policies say a running instance has.
pub(super) fn overridden(health: Health, id: &InstanceId, overrides: &[HealthOverride]) -> Health {
    if in_words(&health).is_none() {
        return health;
    }
    let about = overrides.iter().filter(|it| it.instances.contains(id));
    let Some(said) = about.max_by_key(|it| it.health) else {
        return health;
    };
    let why = || {
        let verdict = &said.verdict;
        format!(
            "policy {} by binding {} says so",
            verdict.policy, verdict.binding
        )
    };
    match said.health {
        HealthVerdict::Healthy => Health::Healthy,
        HealthVerdict::Unhealthy => Health::Failing(why()),
        HealthVerdict::Unknown => Health::Unknown(why()),
    }
}

/// Moves the timers along.
pub(super) fn remember(memory: &mut InstanceMemory, health: &Health, now: Timestamp) {
    match health {
        Health::Healthy => {
            memory.healthy_since.get_or_insert(now);
            memory.ready_at.get_or_insert(now);
            memory.failing_since = None;
            memory.unknown_since = None;
        }
        Health::Failing(_) | Health::Ended(_) => {
            memory.healthy_since = None;
            memory.failing_since.get_or_insert(now);
            memory.unknown_since = None;
        }
        // Not knowing says nothing about the instance: what was known stays, and does not count.
        Health::Unknown(_) => {
            memory.failing_since = None;
            memory.unknown_since.get_or_insert(now);
        }
        // One that was ready does not serve while it is made again, for however long that takes.
        Health::Pending if memory.ready_at.is_some() => {
            memory.healthy_since = None;
            memory.failing_since.get_or_insert(now);
            memory.unknown_since = None;
        }
        Health::Pending | Health::Stopping => {
            memory.healthy_since = None;
            memory.failing_since = None;
            memory.unknown_since = None;
        }
    }
}

/// Fills an empty memory from the record: who was ready then was ready once, and who was available
/// then and is healthy now need not warm up again.
pub(super) fn restore(memory: &mut InstanceMemory, was: &RecordedInstance) {
    match was.class.as_str() {
        "Available" => {
            memory.ready_at = Some(was.created_at);
            memory.healthy_since = Some(was.created_at);
        }
        "Warming" | "Suspect" | "Unhealthy" | "Lost" | "Exited" => {
            memory.ready_at = Some(was.created_at);
        }
        _ => {}
    }
}

/// Returns the class of a listed instance, and when it may change by time alone.
pub(super) fn class(
    health: &Health,
    memory: &InstanceMemory,
    seen: Seen<'_>,
    spec: &GroupSpec,
    now: Timestamp,
) -> (InstanceClass, Option<Timestamp>) {
    let Seen { created_at, before } = seen;
    match health {
        Health::Stopping => (InstanceClass::Terminating, None),
        Health::Ended(report) => (ended(report, memory, before, spec), None),
        Health::Healthy => {
            let since = memory.healthy_since.unwrap_or(now);
            if elapsed(since, now) >= spec.rollout.min_ready {
                (InstanceClass::Available, None)
            } else {
                let at = later(since, spec.rollout.min_ready);
                (InstanceClass::Warming, Some(at))
            }
        }
        Health::Pending | Health::Failing(_) | Health::Unknown(_) if memory.ready_at.is_none() => {
            starting(health, memory, created_at, spec, now)
        }
        Health::Pending => suspect(
            "the provider is making it again".to_owned(),
            memory.failing_since.unwrap_or(now),
            spec.health.unhealthy_after,
            now,
            |why| InstanceClass::Unhealthy { why },
        ),
        Health::Failing(why) => suspect(
            why.clone(),
            memory.failing_since.unwrap_or(now),
            spec.health.unhealthy_after,
            now,
            |why| InstanceClass::Unhealthy { why },
        ),
        Health::Unknown(why) => suspect(
            why.clone(),
            memory.unknown_since.unwrap_or(now),
            spec.health.unknown_after,
            now,
            |why| InstanceClass::Lost { why },
        ),
    }
}

/// Returns whether an instance has done its work. Where there are no checks, running is being ready, and
/// a status of 0 says that it ran: work of seconds may begin and end between two looks.
pub(super) fn completed(health: &Health, memory: &InstanceMemory, spec: &GroupSpec) -> bool {
    let Health::Ended(report) = health else {
        return false;
    };
    let was_ready = memory.ready_at.is_some() || spec.health.checks.is_empty();
    spec.lifecycle == Lifecycle::Ephemeral && report.code == Some(0) && was_ready
}

/// An instance that ended before it could serve is a failed launch; later it is an end like any.
fn ended(
    report: &ExitReport,
    memory: &InstanceMemory,
    before: Option<&str>,
    spec: &GroupSpec,
) -> InstanceClass {
    if memory.completed {
        return InstanceClass::Exited(report.clone());
    }
    let failed_at = memory.failing_since.unwrap_or(Timestamp::MAX);
    let mut needed = spec.rollout.min_ready.max(SERVED_MIN);
    // Between two looks it may have lived for minReady and some more, and never was seen to serve.
    if matches!(before, Some("Starting" | "Warming" | "Failed")) {
        needed = needed * 2 + LOOK_MAX;
    }
    let served = memory
        .ready_at
        .is_some_and(|ready| elapsed(ready, failed_at) >= needed);
    if served {
        InstanceClass::Exited(report.clone())
    } else {
        InstanceClass::Failed {
            why: format!("ended before it was available: {report}"),
        }
    }
}

fn starting(
    health: &Health,
    memory: &InstanceMemory,
    created_at: Timestamp,
    spec: &GroupSpec,
    now: Timestamp,
) -> (InstanceClass, Option<Timestamp>) {
    let mut until = later(
        created_at.max(memory.first_seen),
        spec.health.startup_timeout,
    );
    let why = match health {
        Health::Failing(why) => why.clone(),
        Health::Unknown(why) => {
            // Not knowing never acts before its own time.
            let unknown_since = memory.unknown_since.unwrap_or(now);
            until = until.max(later(unknown_since, spec.health.unknown_after));
            why.clone()
        }
        Health::Pending | Health::Healthy | Health::Stopping | Health::Ended(_) => {
            "the provider did not finish making it".to_owned()
        }
    };
    if now >= until {
        let why = format!("not ready within the startup timeout: {why}");
        (InstanceClass::Failed { why }, None)
    } else {
        (InstanceClass::Starting, Some(until))
    }
}

fn suspect(
    why: String,
    since: Timestamp,
    patience: Duration,
    now: Timestamp,
    verdict: impl FnOnce(String) -> InstanceClass,
) -> (InstanceClass, Option<Timestamp>) {
    if elapsed(since, now) >= patience {
        (verdict(why), None)
    } else {
        (InstanceClass::Suspect { why }, Some(later(since, patience)))
    }
}

/// Returns the latest time of being ready that counts as having served until `now`.
pub(crate) fn served_since(spec: &GroupSpec, now: Timestamp) -> Timestamp {
    earlier(now, spec.rollout.min_ready.max(SERVED_MIN))
}
