//! What is worth telling: holds that begin and end, and where groups stand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_loop::{AgentStatus, GroupStatus};
use drover_model::{GroupPhase, Held, Hold, Timestamp};
use serde::Serialize;

use self::subject::{change, instance, subject};

mod subject;
#[cfg(test)]
mod tests;

/// The same is not told again sooner: something that comes and goes every few seconds is told once, and what it is
/// like after that time.
const AGAIN: Duration = Duration::from_mins(5);

/// Something that happened, in the shape of Flux's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    pub(crate) involved_object: Involved,
    pub(crate) severity: Severity,
    pub(crate) timestamp: String,
    pub(crate) message: String,
    pub(crate) reason: String,
    pub(crate) metadata: BTreeMap<&'static str, String>,
    pub(crate) reporting_controller: &'static str,
    pub(crate) reporting_instance: String,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Involved {
    pub(crate) api_version: &'static str,
    /// `Group` or `Agent`.
    pub(crate) kind: &'static str,
    /// The fleet.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Whether somebody has to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Info,
    Error,
}

/// What was told so far.
#[derive(Debug)]
pub(crate) struct Told {
    errors_only: bool,
    /// The holds whose beginning was told and whose end was not.
    holds: BTreeMap<Key, Severity>,
    /// The phases of groups. An object and no bare name: a group may be called as the agent is.
    phases: BTreeMap<Involved, GroupPhase>,
    /// When something was last told.
    at: BTreeMap<Key, Timestamp>,
}

/// An object, a reason, and what that is about, where an object may have it more than once.
type Key = (Involved, String, String);

/// Most holds of one name whose beginning is told of one object: of a thousand kept instances not each.
const SAME_MAX: usize = 10;

impl Told {
    pub(crate) fn new(errors_only: bool) -> Self {
        Self {
            errors_only,
            holds: BTreeMap::new(),
            phases: BTreeMap::new(),
            at: BTreeMap::new(),
        }
    }

    /// Returns what is to be told of a status. After a start everything that holds is new.
    pub(crate) fn follow(&mut self, status: &AgentStatus, now: Timestamp) -> Vec<Event> {
        // Before the first pass nothing is known.
        if status.pass.is_none() {
            return Vec::new();
        }
        self.at.retain(|_, at| is_recent(*at, now));
        let mut events = Vec::new();
        let agent = involved(status, "Agent", status.agent.as_str());
        self.holds_of(&agent, &status.holds, status, now, &mut events);
        let mut known = BTreeSet::from([agent]);
        for (name, group) in &status.groups {
            let object = involved(status, "Group", name.as_str());
            let own = group.report.holds.iter();
            // What holds the whole agent is told once.
            let own = own.filter(|held| !status.holds.iter().any(|all| all.hold == held.hold));
            let own: Vec<Held> = own.cloned().collect();
            self.holds_of(&object, &own, status, now, &mut events);
            self.phase_of(&object, group, status, now, &mut events);
            known.insert(object);
        }
        self.gone(&known, status, now, &mut events);
        if self.errors_only {
            // An end is told to whoever was told of the beginning.
            events.retain(|(event, was)| {
                *was == Severity::Error || event.severity == Severity::Error
            });
        }
        events.into_iter().map(|(event, _)| event).collect()
    }

    fn holds_of(
        &mut self,
        object: &Involved,
        holds: &[Held],
        status: &AgentStatus,
        now: Timestamp,
        events: &mut Vec<(Event, Severity)>,
    ) {
        let mut current: BTreeMap<Key, &Held> = BTreeMap::new();
        for held in holds.iter().filter(|held| !held.hold.is_routine()) {
            let code = held.hold.code().to_owned();
            let key = (object.clone(), code, subject(held));
            current.entry(key).or_insert(held);
        }
        let ended: Vec<Key> = self
            .holds
            .keys()
            .filter(|key| key.0 == *object && !current.contains_key(key))
            .cloned()
            .collect();
        for key in ended {
            let (_, code, about) = &key;
            let again = (object.clone(), format!("{code}Ended"), about.clone());
            if self.is_quiet(&again, now) {
                continue;
            }
            let was = self.holds.remove(&key).unwrap_or(Severity::Info);
            let message = match about.as_str() {
                "" => format!("{code} has ended"),
                about => format!("{code} has ended: {about}"),
            };
            let reason = again.1.clone();
            let event = event(object, reason, message, Severity::Info, status, now);
            self.at.insert(again, now);
            events.push((event, was));
        }
        for (key, held) in current {
            let same = |told: &&Key| told.0 == key.0 && told.1 == key.1;
            if self.holds.contains_key(&key)
                || self.is_quiet(&key, now)
                || self.holds.keys().filter(same).count() >= SAME_MAX
            {
                continue;
            }
            let event = begun(object, held, status, now);
            let severity = event.severity;
            self.holds.insert(key.clone(), severity);
            self.at.insert(key, now);
            events.push((event, severity));
        }
    }

    /// Tells when a group has begun to change, has converged, or is being removed.
    fn phase_of(
        &mut self,
        object: &Involved,
        group: &GroupStatus,
        status: &AgentStatus,
        now: Timestamp,
        events: &mut Vec<(Event, Severity)>,
    ) {
        let phase = group.recorded.phase;
        let worth = matches!(
            phase,
            GroupPhase::Progressing | GroupPhase::Converged | GroupPhase::Deleting
        );
        let before = self.phases.get(object).copied();
        let key = (object.clone(), phase.as_str().to_owned(), String::new());
        if !worth || before == Some(phase) || self.is_quiet(&key, now) {
            return;
        }
        self.phases.insert(object.clone(), phase);
        // A group that was as it should be when the agent started is no news.
        if before.is_none() && phase == GroupPhase::Converged && group.report.steps.is_empty() {
            return;
        }
        let numbers = &group.report.numbers;
        let message = format!(
            "{} of {} available, {} updated",
            numbers.available, numbers.size, numbers.updated
        );
        let reason = phase.as_str().to_owned();
        let mut event = event(object, reason, message, Severity::Info, status, now);
        if let Some(change) = &group.change {
            event.metadata.insert("change", change.id.to_string());
        }
        self.at.insert(key, now);
        events.push((event, Severity::Info));
    }

    /// Forgets groups that are gone, and tells it.
    fn gone(
        &mut self,
        known: &BTreeSet<Involved>,
        status: &AgentStatus,
        now: Timestamp,
        events: &mut Vec<(Event, Severity)>,
    ) {
        self.holds
            .retain(|(object, _, _), _| known.contains(object));
        let gone: Vec<Involved> = self
            .phases
            .keys()
            .filter(|object| !known.contains(object))
            .cloned()
            .collect();
        for object in gone {
            self.phases.remove(&object);
            let message = "the group is gone".to_owned();
            let event = event(
                &object,
                "Deleted".to_owned(),
                message,
                Severity::Info,
                status,
                now,
            );
            events.push((event, Severity::Info));
        }
    }

    fn is_quiet(&self, key: &Key, now: Timestamp) -> bool {
        self.at.get(key).is_some_and(|at| is_recent(*at, now))
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    let passed = Duration::try_from(now.duration_since(at));
    // A clock that stepped back makes nothing recent for ever.
    passed.is_ok_and(|passed| passed < AGAIN)
}

fn involved(status: &AgentStatus, kind: &'static str, name: &str) -> Involved {
    Involved {
        api_version: "drover/v1alpha1",
        kind,
        namespace: status.fleet.to_string(),
        name: name.to_owned(),
    }
}

fn event(
    object: &Involved,
    reason: String,
    message: String,
    severity: Severity,
    status: &AgentStatus,
    now: Timestamp,
) -> Event {
    let commit = status.source.commit.as_ref();
    let revision =
        commit.map(|commit| format!("{}@sha1:{}", status.source.branch, commit.revision));
    Event {
        involved_object: object.clone(),
        severity,
        timestamp: crate::view::seconds(now),
        message,
        reason,
        metadata: revision.map(|it| ("revision", it)).into_iter().collect(),
        reporting_controller: "drover",
        reporting_instance: status.agent.to_string(),
    }
}

/// Returns the event of a hold that begins.
fn begun(object: &Involved, held: &Held, status: &AgentStatus, now: Timestamp) -> Event {
    let mut message = held.hold.to_string();
    let instance = instance(held);
    if let Some(instance) = instance {
        message = format!("{instance}: {message}");
    }
    let (code, severity) = (held.hold.code().to_owned(), severity(&held.hold));
    let mut event = event(object, code, message, severity, status, now);
    if let Some(instance) = instance {
        event.metadata.insert("instance", instance.to_string());
    }
    if let Some(change) = change(&held.hold) {
        event.metadata.insert("change", change.to_string());
    }
    event
}

/// What somebody asked for is no error, nor what waits for a word that was asked for by a policy.
fn severity(hold: &Hold) -> Severity {
    match hold {
        Hold::Suspended { .. }
        | Hold::Frozen { .. }
        | Hold::ObserveOnly
        | Hold::ApprovalNeeded(_)
        | Hold::GateClosed(_)
        | Hold::WindowClosed { .. }
        | Hold::RolloutWindow { .. }
        | Hold::Partition { .. }
        | Hold::NotProactive { .. }
        | Hold::CanaryHold { .. }
        | Hold::Checkpoint { .. } => Severity::Info,
        _ => Severity::Error,
    }
}
