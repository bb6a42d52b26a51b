//! Watches the groups of a simulated fleet from pass to pass, and keeps what a reader wants to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use drover_loop::{GroupStatus, StepFate};
use drover_model::{
    Digests, GroupName, GroupPhase, Held, Hold, InstanceId, Reason, RecordedGroup,
    RecordedInstance, Timestamp,
};
use drover_provider::Clock as _;
use drover_provider_sim::Op;

use super::outcome::{Counts, End, Event, GroupOutcome, HoldSpan, Low, Sample, Weight};
use super::worlds::Worlds;

/// Most events of one group: a fleet that fails for a day must not fill a page.
const EVENTS_MAX: usize = 200;

/// Most holds of one group.
const HOLDS_MAX: usize = 500;

/// What tells one hold from another while both last. Holds of single instances are one.
type HoldKey = (&'static str, Option<Reason>);

/// All groups.
#[derive(Debug)]
pub(super) struct Tracks {
    at: Timestamp,
    pub(super) groups: BTreeMap<GroupName, Track>,
    calls_seen: BTreeMap<Op, u64>,
}

/// One group.
#[derive(Debug)]
pub(super) struct Track {
    base: Option<Digests>,
    began: bool,
    latest: Option<Arc<GroupStatus>>,
    open: BTreeMap<HoldKey, usize>,
    known: BTreeSet<InstanceId>,
    existing: u32,
    first_available: bool,
    is_gone: bool,
    /// What was available at the push, while the floor was not yet reached.
    grows_from: Option<u32>,
    pub(super) outcome: GroupOutcome,
}

impl Track {
    fn new() -> Self {
        Self {
            base: None,
            began: false,
            latest: None,
            open: BTreeMap::new(),
            known: BTreeSet::new(),
            existing: 0,
            first_available: false,
            is_gone: false,
            grows_from: None,
            outcome: GroupOutcome {
                change: None,
                at_rest_before: true,
                end: End::Unfinished,
                phase: GroupPhase::Pending,
                took: Duration::ZERO,
                because: None,
                before: None,
                after: None,
                samples: Vec::new(),
                events: Vec::new(),
                holds: Vec::new(),
                lowest: Low::default(),
                most: 0,
                ceiling: 0,
                created: 0,
                destroyed: 0,
                calls: BTreeMap::new(),
            },
        }
    }

    fn event(&mut self, after: Duration, kind: &'static str, text: String) {
        if self.outcome.events.len() < EVENTS_MAX {
            self.outcome.events.push(Event { after, kind, text });
        }
    }
}

impl Tracks {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            at,
            groups: BTreeMap::new(),
            calls_seen: BTreeMap::new(),
        }
    }

    /// Notes what there is before the push.
    pub(super) fn before<'a>(
        &mut self,
        groups: impl Iterator<Item = &'a RecordedGroup>,
        worlds: &Worlds,
    ) {
        for recorded in groups {
            let name = recorded.name.clone();
            let track = self.groups.entry(name).or_insert_with(Track::new);
            let current = recorded.stable.clone().or_else(|| recorded.target.clone());
            track.outcome.at_rest_before = is_at_rest(recorded.phase);
            track.outcome.before = current.as_ref().map(|digests| digests.short().to_owned());
            track.base = current;
        }
        let now = worlds.clock.now();
        worlds.each(|_, world| {
            for instance in world.instances(now).filter(|one| one.exists(now)) {
                if let Some(owner) = &instance.ownership
                    && let Some(track) = self.groups.get_mut(&owner.group)
                {
                    track.known.insert(owner.instance.clone());
                }
            }
        });
    }

    fn after(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.at)).unwrap_or_default()
    }

    /// Adds something that was done to the fleet from outside.
    pub(super) fn outside(
        &mut self,
        group: Option<&GroupName>,
        now: Timestamp,
        kind: &'static str,
        text: &str,
    ) {
        let after = self.after(now);
        for (name, track) in &mut self.groups {
            if group.is_none_or(|group| group == name) {
                track.event(after, kind, text.to_owned());
            }
        }
    }

    /// Takes note of a pass. Returns whether any group was changed, or was asked to change.
    pub(super) fn pass(
        &mut self,
        groups: &BTreeMap<GroupName, Arc<GroupStatus>>,
        worlds: &Worlds,
        now: Timestamp,
    ) -> bool {
        let after = self.after(now);
        let mut moved = false;
        for (name, status) in groups {
            let track = self.groups.entry(name.clone()).or_insert_with(Track::new);
            let same = track
                .latest
                .as_ref()
                .is_some_and(|latest| Arc::ptr_eq(latest, status));
            track.is_gone = false;
            if !same {
                moved |= track.pass(status, after);
                track.latest = Some(Arc::clone(status));
            }
        }
        for (name, track) in &mut self.groups {
            if !groups.contains_key(name) {
                moved |= track.gone(after);
            }
        }
        self.count(worlds, now);
        moved
    }

    /// Counts what exists, and what was called.
    fn count(&mut self, worlds: &Worlds, now: Timestamp) {
        let mut existing: BTreeMap<GroupName, u32> = BTreeMap::new();
        let groups = &mut self.groups;
        let mut total: BTreeMap<Op, u64> = BTreeMap::new();
        worlds.each(|_, world| {
            for instance in world.instances(now).filter(|one| one.exists(now)) {
                let Some(owner) = &instance.ownership else {
                    continue;
                };
                if let Some(count) = existing.get_mut(&owner.group) {
                    *count += 1;
                } else {
                    existing.insert(owner.group.clone(), 1);
                }
                if let Some(track) = groups.get_mut(&owner.group)
                    && !track.known.contains(&owner.instance)
                {
                    track.known.insert(owner.instance.clone());
                    // What was taken over was there before.
                    track.outcome.created += u32::from(!instance.was_strangers());
                }
            }
            for (op, calls) in &world.stats().calls {
                *total.entry(*op).or_default() += calls;
            }
        });
        for (name, track) in groups.iter_mut() {
            track.existing = existing.get(name).copied().unwrap_or(0);
            track.outcome.destroyed = track.known.len() as u32 - track.existing;
            let ceiling = track.outcome.samples.last().map_or(0, |one| one.ceiling);
            if track.existing > track.outcome.most || track.outcome.ceiling == 0 {
                track.outcome.most = track.existing;
                track.outcome.ceiling = ceiling;
            }
        }
        self.attribute(worlds, &total);
    }

    /// Counts the calls of each group by what they named.
    fn attribute(&mut self, worlds: &Worlds, total: &BTreeMap<Op, u64>) {
        let before: u64 = self.calls_seen.values().sum();
        if total.values().sum::<u64>() == before {
            return;
        }
        self.calls_seen.clone_from(total);
        let groups = &mut self.groups;
        let at = self.at;
        worlds.each(|_, world| {
            for call in world.take_log() {
                let first = call.subject.split(' ').next().unwrap_or_default();
                if call.at >= at
                    && let Ok(id) = InstanceId::parse(first)
                    && let Some(track) = groups.get_mut(id.group())
                {
                    *track.outcome.calls.entry(call.op).or_default() += 1;
                }
            }
        });
    }

    /// Ends the watch: because everything is still, or because the time is up.
    pub(super) fn finish(mut self, settled: bool) -> BTreeMap<GroupName, GroupOutcome> {
        for track in self.groups.values_mut() {
            track.finish(settled);
        }
        let groups = self.groups.into_iter();
        groups.map(|(name, track)| (name, track.outcome)).collect()
    }
}

impl Track {
    fn pass(&mut self, status: &GroupStatus, after: Duration) -> bool {
        let outcome = &mut self.outcome;
        if outcome.change.is_none() {
            outcome.change = status.change.as_deref().cloned();
        }
        outcome.phase = status.recorded.phase;
        let steps = &status.report.steps;
        let acted = steps.iter().any(|step| step.verb != "settle");
        let mut moved = acted;
        if let Some(sample) = sample(self.base.as_ref(), status, after) {
            let same = outcome
                .samples
                .last()
                .is_some_and(|last| last.same_counts(&sample));
            if !same {
                moved = true;
                match outcome.samples.last_mut() {
                    Some(last) if last.after == after && self.began => *last = sample,
                    _ => outcome.samples.push(sample),
                }
            }
            self.milestones(&sample, after);
        }
        self.began = true;
        self.steps(status, after);
        moved |= self.holds(&status.report.holds, after);
        if moved || !is_settled(status) {
            self.outcome.took = after;
        }
        moved
    }

    /// Notes that the agent has forgotten the group: nothing of it is left. Returns whether that is
    /// news.
    fn gone(&mut self, after: Duration) -> bool {
        if std::mem::replace(&mut self.is_gone, true) {
            return false;
        }
        self.latest = None;
        let empty = Sample {
            after,
            old: Counts::default(),
            new: Counts::default(),
            size: 0,
            floor: 0,
            ceiling: 0,
        };
        self.outcome.samples.push(empty);
        self.holds(&[], after);
        self.outcome.phase = GroupPhase::Deleted;
        self.outcome.end = End::Deleted;
        self.outcome.took = after;
        self.event(after, "Deleted", "nothing of the group is left".to_owned());
        true
    }

    fn milestones(&mut self, sample: &Sample, after: Duration) {
        let available = sample.available();
        // A group that is new, or being scaled out, is below its floor because it grows: until it has
        // reached it, it must only not fall below what it began with.
        let is_first = self.outcome.samples.len() <= 1;
        if is_first {
            self.grows_from = Some(available);
        }
        if available >= sample.floor {
            self.grows_from = None;
        }
        let floor = sample.floor.min(self.grows_from.unwrap_or(u32::MAX));
        let low = Low {
            available,
            floor,
            after,
        };
        let margin = |low: Low| i64::from(low.available) - i64::from(low.floor);
        let is_new = self.base.is_none();
        if !is_new && (is_first || margin(low) < margin(self.outcome.lowest)) {
            self.outcome.lowest = low;
        }
        if sample.new.ready > 0 && !self.first_available {
            self.first_available = true;
            let text = "the first instance of the new template is available".to_owned();
            self.event(after, "FirstAvailable", text);
        }
    }

    fn steps(&mut self, status: &GroupStatus, after: Duration) {
        let first = |track: &Self, kind: &str| {
            let mut events = track.outcome.events.iter();
            !events.any(|event| event.kind == kind)
        };
        for step in &status.report.steps {
            let count = step.instances.len();
            match (&step.result, step.verb) {
                (StepFate::Done, "create") if first(self, "FirstCreate") => {
                    let text = format!("the first {} made", instances(count));
                    self.event(after, "FirstCreate", text);
                }
                (StepFate::Done, "drain") if first(self, "FirstDrain") => {
                    let verb = if count == 1 { "drains" } else { "drain" };
                    let text = format!("the first {} {verb}", instances(count));
                    self.event(after, "FirstDrain", text);
                }
                (StepFate::Failed(why), verb) => {
                    let text = format!("{verb} failed: {why}");
                    let known = |event: &Event| event.kind == "StepFailed" && event.text == text;
                    if !self.outcome.events.iter().any(known) {
                        self.event(after, "StepFailed", text);
                    }
                }
                (
                    StepFate::Planned
                    | StepFate::Done
                    | StepFate::Skipped(_)
                    | StepFate::Unknown(_),
                    _,
                ) => {}
            }
        }
    }

    /// Follows the holds. Returns whether one began or ended.
    fn holds(&mut self, holds: &[Held], after: Duration) -> bool {
        let mut now = BTreeSet::new();
        let mut moved = false;
        for held in holds {
            let key: HoldKey = (held.hold.code(), held.reason);
            if !now.insert(key) {
                continue;
            }
            if let Some(position) = self.open.get(&key) {
                let span = &mut self.outcome.holds[*position];
                span.message = told(&held.hold);
                span.until = held.until;
            } else if self.outcome.holds.len() < HOLDS_MAX {
                moved = true;
                self.begin_hold(key, held, after);
            }
        }
        let open = self.open.keys().copied();
        let ended: Vec<HoldKey> = open.filter(|key| !now.contains(key)).collect();
        for key in ended {
            moved = true;
            let Some(position) = self.open.remove(&key) else {
                continue;
            };
            let span = &mut self.outcome.holds[position];
            span.to = Some(after);
            if span.weight != Weight::Routine {
                let lasted = short(after.saturating_sub(span.from));
                let text = format!("{} ended after {lasted}", span.code);
                self.event(after, "HoldEnded", text);
            }
        }
        moved
    }

    fn begin_hold(&mut self, key: HoldKey, held: &Held, after: Duration) {
        let span = HoldSpan {
            code: held.hold.code(),
            reason: held.reason.map(Reason::as_str),
            message: told(&held.hold),
            from: after,
            to: None,
            until: held.until,
            weight: Weight::of(&held.hold),
        };
        if span.weight != Weight::Routine {
            let text = format!("{}: {}", span.code, span.message);
            self.event(after, "HoldBegan", text);
        }
        self.open.insert(key, self.outcome.holds.len());
        self.outcome.holds.push(span);
    }

    fn finish(&mut self, settled: bool) {
        let Some(status) = self.latest.clone() else {
            return;
        };
        let target = status.recorded.target.as_ref();
        self.outcome.after = target.map(|digests| digests.short().to_owned());
        let (end, hold) = end_of(&status, settled);
        self.outcome.end = end;
        let hold = hold.and_then(|held| self.open.get(&(held.hold.code(), held.reason)));
        self.outcome.because = hold.map(|position| self.outcome.holds[*position].clone());
        match (end, &self.outcome.because) {
            (End::Denied | End::Paused | End::Held, Some(hold)) => self.outcome.took = hold.from,
            (End::RolledBack, _) => {
                // What goes on after the last instance has moved are timers of what failed.
                let last = self.outcome.samples.last();
                self.outcome.took = last.map_or(self.outcome.took, |sample| sample.after);
            }
            (End::Converged, _) if self.outcome.is_touched() => {
                let took = self.outcome.took;
                self.event(took, "Converged", "converged".to_owned());
            }
            (
                End::Converged
                | End::Deleted
                | End::Observed
                | End::Denied
                | End::Paused
                | End::Held
                | End::Unfinished,
                _,
            ) => {}
        }
    }
}

fn is_refusal(hold: &Hold) -> bool {
    matches!(
        hold,
        Hold::PolicyDenied(_) | Hold::ApprovalNeeded(_) | Hold::ApprovalRejected(_)
    )
}

/// Returns how a group ended, and the hold that is to blame.
fn end_of(status: &GroupStatus, settled: bool) -> (End, Option<&Held>) {
    let holds = &status.report.holds;
    let find = |wanted: fn(&Hold) -> bool| holds.iter().find(|held| wanted(&held.hold));
    if let Some(held) = find(is_refusal) {
        return (End::Denied, Some(held));
    }
    if let Some(held) = find(|hold| matches!(hold, Hold::Quarantined(_))) {
        return (End::RolledBack, Some(held));
    }
    let notable = || find(|hold| Weight::of(hold) == Weight::Notable);
    let stage = || find(|hold| Weight::of(hold) == Weight::Stage);
    let in_the_way = || notable().or_else(stage).or(holds.first());
    match status.recorded.phase {
        GroupPhase::Converged => (End::Converged, None),
        GroupPhase::Deleted => (End::Deleted, None),
        GroupPhase::Observed => (End::Observed, None),
        GroupPhase::Paused => {
            let paused = find(|hold| matches!(hold, Hold::RolloutPaused(_)));
            (End::Paused, paused.or_else(in_the_way))
        }
        GroupPhase::Pending
        | GroupPhase::Bootstrapping
        | GroupPhase::Progressing
        | GroupPhase::Held
        | GroupPhase::Deleting => {
            let still = settled && status.report.timer_at.is_none();
            let end = if still { End::Held } else { End::Unfinished };
            (end, in_the_way())
        }
    }
}

fn is_at_rest(phase: GroupPhase) -> bool {
    match phase {
        GroupPhase::Converged | GroupPhase::Deleted | GroupPhase::Observed => true,
        GroupPhase::Pending
        | GroupPhase::Bootstrapping
        | GroupPhase::Progressing
        | GroupPhase::Held
        | GroupPhase::Paused
        | GroupPhase::Deleting => false,
    }
}

/// Returns a hold in words. The id of a change depends on which life of a group it is of, and the simulated fleet
/// lives its own: nobody can approve that one.
fn told(hold: &Hold) -> String {
    match hold {
        Hold::ApprovalNeeded(needed) => {
            let plural = if needed.need == 1 { "" } else { "s" };
            format!("{} approval{plural} needed: {}", needed.need, needed.policy)
        }
        hold => hold.to_string(),
    }
}

/// Returns whether nothing is left to do for a group.
pub(super) fn is_settled(status: &GroupStatus) -> bool {
    is_at_rest(status.recorded.phase) && status.report.planned && status.report.steps.is_empty()
}

fn sample(base: Option<&Digests>, status: &GroupStatus, after: Duration) -> Option<Sample> {
    if !status.report.planned {
        return None;
    }
    let numbers = &status.report.numbers;
    let mut sample = Sample {
        after,
        old: Counts::default(),
        new: Counts::default(),
        size: numbers.size,
        floor: numbers.floor,
        ceiling: numbers.ceiling,
    };
    for instance in status.recorded.instances.values() {
        let counts = if base == Some(&instance.digests) {
            &mut sample.old
        } else {
            &mut sample.new
        };
        *counts.of(instance) += 1;
    }
    Some(sample)
}

impl Counts {
    fn of(&mut self, instance: &RecordedInstance) -> &mut u32 {
        match instance.class.as_str() {
            "Terminating" => &mut self.leaving,
            _ if instance.draining => &mut self.leaving,
            "Available" => &mut self.ready,
            "Starting" | "Warming" => &mut self.starting,
            _ => &mut self.failing,
        }
    }
}

fn instances(count: usize) -> String {
    match count {
        1 => "instance".to_owned(),
        _ => format!("{count} instances"),
    }
}

/// Returns a duration as people write it: `45s`, `12m 5s`, `3h 20m`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}
