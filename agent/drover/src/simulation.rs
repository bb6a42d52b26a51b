//! Simulations as people and programs read them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use drover_model::{GroupName, Timestamp};
use drover_sim::fleet::{Counts, End, GroupOutcome, HoldSpan, Outcome, Sample, Weight, short};
use serde::Serialize;

use crate::exit::Exit;
use crate::plan_view::ChangeView;
use crate::printable::printable;

mod markdown;
mod svg;
mod text;

pub(crate) use markdown::markdown;
pub(crate) use svg::svg;
pub(crate) use text::text;

/// What a simulation was made with.
#[derive(Debug, Clone)]
pub(crate) struct Assumed {
    pub(crate) base: String,
    pub(crate) head: String,
    /// When the push happens, where somebody said so.
    pub(crate) at: Option<Timestamp>,
    pub(crate) seed: u64,
    pub(crate) horizon: Duration,
    pub(crate) what_if: Vec<String>,
}

/// A simulation. Its JSON is documented in `docs/guides/preview-a-rollout.md`; times are in
/// seconds after the push. The time of the push itself is in it only where it was given: all else would
/// make two runs of the same simulation differ.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SimulationView {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) base: String,
    pub(crate) head: String,
    pub(crate) at: Option<String>,
    pub(crate) seed: u64,
    pub(crate) horizon_seconds: f64,
    pub(crate) what_if: Vec<String>,
    /// Whether every group came to where the repository wants it.
    pub(crate) converges: bool,
    pub(crate) verdict: String,
    pub(crate) duration_seconds: f64,
    pub(crate) passes: u64,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// By operation and class of the error.
    pub(crate) failed_calls: BTreeMap<String, u64>,
    pub(crate) groups: Vec<GroupView>,
    /// What stops the agent as a whole.
    pub(crate) holds: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// One group of a simulation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupView {
    pub(crate) group: String,
    pub(crate) end: &'static str,
    pub(crate) verdict: String,
    pub(crate) phase: &'static str,
    pub(crate) duration_seconds: f64,
    /// The hold that is in the way at the end.
    pub(crate) because: Option<HoldView>,
    pub(crate) change: Option<ChangeView>,
    pub(crate) template_before: Option<String>,
    pub(crate) template_after: Option<String>,
    /// The availability closest to its floor. None: the group is new.
    pub(crate) lowest: Option<LowView>,
    pub(crate) most: MostView,
    pub(crate) created: u32,
    pub(crate) destroyed: u32,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    pub(crate) holds: Vec<HoldView>,
    pub(crate) events: Vec<EventView>,
    pub(crate) samples: Vec<SampleView>,
    #[serde(skip)]
    how: End,
    /// The verdict without the words of the hold that is to blame.
    #[serde(skip)]
    short: String,
}

/// The availability closest to its floor.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LowView {
    pub(crate) available: u32,
    pub(crate) floor: u32,
    pub(crate) at_seconds: f64,
}

/// The most instances at once.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MostView {
    pub(crate) instances: u32,
    pub(crate) ceiling: u32,
}

/// A hold from its beginning to its end.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HoldView {
    pub(crate) code: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) message: String,
    pub(crate) from_seconds: f64,
    /// None: it lasted to the end.
    pub(crate) to_seconds: Option<f64>,
    /// When it ends by itself, where it lasted to the end and that is known.
    pub(crate) until_seconds: Option<f64>,
    /// Whether it comes and goes in any rollout.
    pub(crate) routine: bool,
    #[serde(skip)]
    weight: Weight,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView {
    pub(crate) at_seconds: f64,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// The instances at one moment, until the next one.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SampleView {
    pub(crate) at_seconds: f64,
    pub(crate) size: u32,
    pub(crate) floor: u32,
    pub(crate) ceiling: u32,
    pub(crate) old: CountsView,
    pub(crate) new: CountsView,
}

/// Instances of one template by how they are.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CountsView {
    pub(crate) ready: u32,
    pub(crate) starting: u32,
    pub(crate) failing: u32,
    pub(crate) leaving: u32,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        Self {
            ready: counts.ready,
            starting: counts.starting,
            failing: counts.failing,
            leaving: counts.leaving,
        }
    }
}

impl From<&Sample> for SampleView {
    fn from(sample: &Sample) -> Self {
        Self {
            at_seconds: seconds(sample.after),
            size: sample.size,
            floor: sample.floor,
            ceiling: sample.ceiling,
            old: sample.old.into(),
            new: sample.new.into(),
        }
    }
}

impl SampleView {
    fn available(&self) -> u32 {
        self.old.ready + self.new.ready
    }

    fn failing(&self) -> u32 {
        self.old.failing + self.new.failing
    }
}

impl HoldView {
    fn of(hold: &HoldSpan, pushed: Timestamp) -> Self {
        let until = hold.until.filter(|_| hold.to.is_none());
        Self {
            code: hold.code,
            reason: hold.reason,
            message: hold.message.clone(),
            from_seconds: seconds(hold.from),
            to_seconds: hold.to.map(seconds),
            until_seconds: until
                .and_then(|until| Duration::try_from(until.duration_since(pushed)).ok())
                .map(seconds),
            routine: hold.weight == Weight::Routine,
            weight: hold.weight,
        }
    }

    /// Whether a reader should see it: what is in the way, and the stages of a rollout.
    fn is_worth_telling(&self) -> bool {
        self.weight != Weight::Routine
    }

    fn is_stage(&self) -> bool {
        self.weight == Weight::Stage
    }

    /// Returns what it withholds, to be read after its code.
    fn reason_text(&self) -> String {
        let reason = self.reason;
        reason.map_or_else(String::new, |reason| format!(" ({reason})"))
    }
}

/// Returns the holds that a reader should see, those that came again and again together.
fn lanes(holds: &[HoldView]) -> Vec<Vec<&HoldView>> {
    let mut lanes: Vec<Vec<&HoldView>> = Vec::new();
    for hold in holds.iter().filter(|hold| hold.is_worth_telling()) {
        let same =
            |lane: &&mut Vec<&HoldView>| (lane[0].code, lane[0].reason) == (hold.code, hold.reason);
        match lanes.iter_mut().find(same) {
            Some(lane) => lane.push(hold),
            None => lanes.push(vec![hold]),
        }
    }
    lanes
}

/// Returns what happened and how often, as a list.
fn counted(counts: impl IntoIterator<Item = (impl fmt::Display, u64)>) -> String {
    let counts = counts.into_iter();
    let words = counts.map(|(what, count)| format!("{what} {count}"));
    words.collect::<Vec<_>>().join(", ")
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}

fn told(seconds: f64) -> String {
    short(Duration::from_secs_f64(seconds.max(0.0)))
}

impl GroupView {
    fn of(name: &GroupName, group: &GroupOutcome, pushed: Timestamp) -> Self {
        let is_new = group.before.is_none();
        let calls = group.calls.iter();
        let hold = |hold: &HoldSpan| HoldView::of(hold, pushed);
        let event = |event: &drover_sim::fleet::Event| EventView {
            at_seconds: seconds(event.after),
            kind: event.kind,
            text: event.text.clone(),
        };
        Self {
            group: name.to_string(),
            end: group.end.as_str(),
            verdict: verdict_of(group),
            short: short_verdict(group),
            phase: group.phase.as_str(),
            duration_seconds: seconds(group.took),
            because: group.because.as_ref().map(hold),
            change: group.change.as_ref().map(|change| ChangeView {
                // The simulated group lives a life of its own, which the id depends on.
                id: None,
                ..ChangeView::from(change)
            }),
            template_before: group.before.clone(),
            template_after: group.after.clone(),
            lowest: (!is_new).then_some(LowView {
                available: group.lowest.available,
                floor: group.lowest.floor,
                at_seconds: seconds(group.lowest.after),
            }),
            most: MostView {
                instances: group.most,
                ceiling: group.ceiling,
            },
            created: group.created,
            destroyed: group.destroyed,
            calls: calls.map(|(op, count)| (op.as_str(), *count)).collect(),
            holds: group.holds.iter().map(hold).collect(),
            events: group.events.iter().map(event).collect(),
            samples: group.samples.iter().map(SampleView::from).collect(),
            how: group.end,
        }
    }

    /// Returns the change in a few words.
    fn summary(&self) -> String {
        let Some(change) = &self.change else {
            return "no change".to_owned();
        };
        let mut parts = change.told();
        if let (None, Some(to)) = (&change.from, &change.to) {
            parts.insert(1, format!("size {}", to.size));
        }
        parts.join(", ")
    }

    fn is_below_floor(&self) -> bool {
        self.lowest.is_some_and(|low| low.available < low.floor)
    }

    /// Returns the most that is drawn at one moment: instances, or the ceiling above them. At least 1.
    fn most_drawn(&self) -> u32 {
        let samples = self.samples.iter();
        let most = samples
            .map(|sample| total(sample).max(sample.ceiling))
            .max();
        most.unwrap_or(1).max(1)
    }

    fn calls_text(&self) -> String {
        if self.calls.is_empty() {
            return "none".to_owned();
        }
        counted(self.calls.iter().map(|(op, count)| (op, *count)))
    }
}

/// Returns how a group ended, to be read after its name, and what is to blame.
fn verdict_of(group: &GroupOutcome) -> String {
    let verdict = short_verdict(group);
    match (&group.because, group.end) {
        (Some(hold), End::Denied | End::Paused | End::RolledBack | End::Held | End::Unfinished) => {
            format!("{verdict} by {}: {}", hold.code, printable(&hold.message))
        }
        (Some(_), End::Converged | End::Deleted | End::Observed) | (None, _) => verdict,
    }
}

/// Returns how a group ended, to be read after its name.
fn short_verdict(group: &GroupOutcome) -> String {
    let took = short(group.took);
    match group.end {
        End::Converged if !group.is_touched() => "nothing to do".to_owned(),
        End::Converged => format!("converges in {took}"),
        End::Deleted => format!("is gone after {took}"),
        End::Observed => "is watched only".to_owned(),
        End::Denied => "is denied".to_owned(),
        End::Paused => format!("pauses after {took}"),
        End::RolledBack => format!("is rolled back after {took}"),
        End::Held => format!("is held after {took}"),
        End::Unfinished if group.because.is_some() => "is not done in time, held".to_owned(),
        End::Unfinished => "is not done in time".to_owned(),
    }
}

impl SimulationView {
    /// Shows the groups that are `chosen`.
    pub(crate) fn of(
        outcome: &Outcome,
        assumed: &Assumed,
        chosen: &dyn Fn(&GroupName, &GroupOutcome) -> bool,
    ) -> Self {
        let groups = outcome
            .groups
            .iter()
            .filter(|(name, group)| chosen(name, group));
        let groups: Vec<GroupView> = groups
            .map(|(name, group)| GroupView::of(name, group, outcome.at))
            .collect();
        let calls = outcome.calls.iter();
        let failed = outcome.failed_calls.iter();
        let failed = failed.map(|((op, class), count)| {
            let kind = format!("{} {}", op.as_str(), class.as_str());
            (kind, *count)
        });
        let took = groups
            .iter()
            .map(|group| group.duration_seconds)
            .fold(0.0, f64::max);
        let converges = outcome.holds.is_empty() && groups.iter().all(|group| group.how.is_good());
        Self {
            api_version: "drover/v1alpha1",
            kind: "Simulation",
            base: assumed.base.clone(),
            head: assumed.head.clone(),
            at: assumed.at.map(|at| at.to_string()),
            seed: assumed.seed,
            horizon_seconds: seconds(assumed.horizon),
            what_if: assumed.what_if.clone(),
            converges,
            verdict: verdict(&groups, &outcome.holds, took),
            duration_seconds: took,
            passes: outcome.passes,
            calls: calls.map(|(op, count)| (op.as_str(), *count)).collect(),
            failed_calls: failed.collect(),
            groups,
            holds: outcome.holds.clone(),
            notes: outcome.notes.clone(),
        }
    }

    /// Returns the verdict and, apart from it, what is to blame.
    fn short_verdict(&self) -> (String, Option<String>) {
        let mut bad = self.groups.iter().filter(|group| !group.how.is_good());
        match (bad.next(), bad.next()) {
            (Some(one), None) if self.holds.is_empty() => {
                let why = one.because.as_ref();
                let why = why.map(|hold| format!("{}: {}", hold.code, printable(&hold.message)));
                let verdict = format!("{} does not converge: it {}", one.group, one.short);
                (verdict, why)
            }
            (Some(_) | None, _) => (self.verdict.clone(), None),
        }
    }

    /// Returns what the program says by its exit status, as `run --until-converged` would.
    pub(crate) fn exit(&self) -> Exit {
        let any = |end: End| self.groups.iter().any(|group| group.how == end);
        if any(End::Denied) {
            Exit::Denied
        } else if any(End::Unfinished) {
            Exit::TimedOut
        } else if self.converges {
            Exit::Done
        } else {
            Exit::Partial
        }
    }

    fn assumptions(&self) -> String {
        let pushed = self.at.as_ref().map(|at| format!("pushed {at}"));
        let mut parts: Vec<String> = pushed.into_iter().collect();
        parts.push(format!("seed {}", self.seed));
        parts.extend(self.what_if.iter().cloned());
        parts.join(", ")
    }

    fn calls_text(&self) -> String {
        if self.calls.is_empty() {
            return "no provider calls".to_owned();
        }
        let calls = self.calls.iter().map(|(op, count)| (op, *count));
        format!("provider calls in all: {}", counted(calls))
    }

    fn failed_text(&self) -> Option<String> {
        let failed = self.failed_calls.iter().map(|(kind, count)| (kind, *count));
        (!self.failed_calls.is_empty())
            .then(|| format!("failed provider calls: {}", counted(failed)))
    }
}

fn verdict(groups: &[GroupView], holds: &[String], took: f64) -> String {
    if let [hold, ..] = holds {
        return format!("nothing is done, the agent holds: {hold}");
    }
    if groups.is_empty() {
        return "no group changes".to_owned();
    }
    let bad: Vec<&GroupView> = groups.iter().filter(|group| !group.how.is_good()).collect();
    match bad.as_slice() {
        [] if took == 0.0 => "nothing to do".to_owned(),
        [] if groups.len() == 1 => format!("{} {}", groups[0].group, groups[0].verdict),
        [] => format!("{} groups converge in {}", groups.len(), told(took)),
        [one] => format!("{} does not converge: it {}", one.group, one.verdict),
        many => {
            let names: Vec<&str> = many.iter().map(|group| group.group.as_str()).collect();
            format!("{} do not converge", names.join(", "))
        }
    }
}

fn total(sample: &SampleView) -> u32 {
    let sum = |counts: CountsView| counts.ready + counts.starting + counts.failing + counts.leaving;
    sum(sample.old) + sum(sample.new)
}
