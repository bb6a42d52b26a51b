//! The message of a state commit: the audit entry that people read in `git log`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use drover_model::{
    Digests, FieldClass, GroupPhase, Heeded, Numbers, OrderState, RecordedGroup, RecordedOrder,
    Revision, Rollout, RolloutState,
};

/// The longest subject, in characters.
const SUBJECT_MAX: usize = 72;

/// The longest line of the body: sentences of holds are long, and viewers wrap.
const LINE_MAX: usize = 200;

/// Lines of the body, so that a large scale-out stays readable.
const LINES_MAX: usize = 20;

/// The longest value of a trailer.
const TRAILER_MAX: usize = 200;

/// The trailer that names a tip of the state branch that a person answers for.
pub const ACCEPTED_STATE: &str = "Drover-Accepted-State";

/// What the trailers say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trailers {
    pub(crate) group: Option<String>,
    pub(crate) plan: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) result: Option<&'static str>,
    pub(crate) agent: String,
    pub(crate) approved_by: Vec<String>,
    pub(crate) accepted_rewrite: Option<String>,
    pub(crate) accepted_state: Option<String>,
}

/// Writes a whole message.
pub(crate) fn message(subject: &str, body: &[String], trailers: &Trailers) -> String {
    let mut text = line(subject, SUBJECT_MAX);
    text.push_str("\n\n");
    let body = merged(body);
    for entry in body.iter().take(LINES_MAX) {
        let _ = writeln!(text, "{}", body_line(entry));
    }
    if let Some(more) = body.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "- and {more} more");
    }
    text.push_str("[skip ci]\n\n");
    let result = trailers.result.map(str::to_owned);
    let fields = [
        ("Drover-Group", trailers.group.clone()),
        ("Drover-Plan", trailers.plan.clone()),
        ("Drover-Source", trailers.source.clone()),
        ("Drover-Policy", trailers.policy.clone()),
        ("Drover-Result", result),
        ("Drover-Agent", Some(trailers.agent.clone())),
        ("Drover-Accepted-Rewrite", trailers.accepted_rewrite.clone()),
        (ACCEPTED_STATE, trailers.accepted_state.clone()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}: {}", line(&value, TRAILER_MAX));
        }
    }
    for signer in &trailers.approved_by {
        let _ = writeln!(text, "Drover-Approved-By: {}", line(signer, TRAILER_MAX));
    }
    text
}

/// Returns each line once, where it is first, with how often it is there.
fn merged(lines: &[String]) -> Vec<Cow<'_, str>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    let once = lines.iter().filter_map(|line| {
        let count = counts.remove(line.as_str())?;
        Some(match count {
            1 => Cow::Borrowed(line.as_str()),
            count => Cow::Owned(format!("{count} x {line}")),
        })
    });
    once.collect()
}

/// A body line starts with a dash, so that nothing in it is ever taken for a trailer.
fn body_line(text: &str) -> String {
    line(&format!("- {text}"), LINE_MAX)
}

/// Returns whether a character is obeyed or hidden by what shows it: control characters, line breaks among them, and
/// what reorders or hides the text around it.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns `text` on one line, without control characters, and at most `max` characters long.
pub(crate) fn line(text: &str, max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max));
    let mut space = false;
    for character in text.chars() {
        if character.is_whitespace() || is_hidden(character) {
            space = !clean.is_empty();
            continue;
        }
        if space {
            clean.push(' ');
            space = false;
        }
        clean.push(character);
    }
    if clean.chars().count() <= max {
        return clean;
    }
    let mut cut: String = clean.chars().take(max.saturating_sub(3)).collect();
    cut.truncate(cut.trim_end().len());
    cut.push_str("...");
    cut
}

/// What a message tells of the state that was committed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Before {
    phase: GroupPhase,
    size: u32,
    /// The text of the document in force.
    document: Option<Arc<str>>,
    /// The codes of the holds.
    holds: Vec<&'static str>,
    /// What people had asked.
    heeded: Vec<Heeded>,
    /// What people had asked of instances, and what had become of it.
    orders: Vec<RecordedOrder>,
}

impl From<&RecordedGroup> for Before {
    fn from(recorded: &RecordedGroup) -> Self {
        let document = recorded.accepted.as_ref();
        Self {
            phase: recorded.phase,
            size: recorded.size,
            document: document.map(|document| Arc::clone(&document.text)),
            holds: recorded.holds.iter().map(|held| held.hold.code()).collect(),
            heeded: recorded.heeded.clone(),
            orders: recorded.orders.clone(),
        }
    }
}

/// A transition of one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transition<'a> {
    /// What was committed last. None: nothing.
    pub(crate) from: Option<&'a Before>,
    /// What is committed now.
    pub(crate) to: &'a RecordedGroup,
    /// The numbers of the latest plan.
    pub(crate) numbers: &'a Numbers,
    /// How many instances were replaced because they were bad.
    pub(crate) healed: usize,
}

/// Returns what people asked of instances since the last commit, and what has become of it, in words.
fn ordered(from: Option<&Before>, to: &RecordedGroup) -> Vec<String> {
    let known = |order: &&RecordedOrder| from.is_some_and(|from| from.orders.contains(order));
    let new = to.orders.iter().filter(|order| !known(order));
    new.map(|RecordedOrder { order, state }| {
        let (what, who) = (order.verb.word(), &order.signer);
        let asked = format!("{what} {} by {who}", order.instance);
        match state {
            OrderState::Open => format!("{asked}: {}", order.because),
            OrderState::Done => format!("{asked}, done: {}", order.because),
            OrderState::Superseded => format!("{asked}, for which a later word stands"),
            OrderState::Refused { why } => format!("{asked}, refused: {why}"),
        }
    })
    .collect()
}

/// Returns what people asked of the rollout and of instances since the last commit, and was done, in words.
pub(crate) fn asked(from: Option<&Before>, to: &RecordedGroup) -> Vec<String> {
    let known = |heeded: &&Heeded| from.is_some_and(|from| from.heeded.contains(heeded));
    let new = to.heeded.iter().filter(|it| it.effect && !known(it));
    let rollouts = new.map(|Heeded { asked, .. }| {
        let (what, who) = (asked.verdict.word(), &asked.signer);
        format!("{what} by {who}: {}", asked.because)
    });
    rollouts.chain(ordered(from, to)).collect()
}

/// Returns the subject of a transition, such as `web: scale 3 -> 5`.
pub(crate) fn subject(transition: &Transition<'_>) -> String {
    let to = transition.to;
    format!("{}: {}", to.name, what(transition))
}

fn what(transition: &Transition<'_>) -> String {
    let &Transition {
        from, to, numbers, ..
    } = transition;
    let phase_before = from.map(|from| from.phase);
    let entered = phase_before != Some(to.phase);
    match to.phase {
        GroupPhase::Deleted => return "deleted".to_owned(),
        GroupPhase::Deleting if entered => return deleting(to),
        GroupPhase::Deleting => return format!("deleting, {} left", numbers.total),
        GroupPhase::Paused if entered => return paused(to),
        GroupPhase::Converged if entered => {
            return format!("converged, {} available", numbers.available);
        }
        GroupPhase::Observed if entered => {
            return format!("observed, {} available", numbers.available);
        }
        GroupPhase::Held if entered => return held(to),
        GroupPhase::Pending
        | GroupPhase::Bootstrapping
        | GroupPhase::Progressing
        | GroupPhase::Converged
        | GroupPhase::Paused
        | GroupPhase::Held
        | GroupPhase::Observed => {}
    }
    let size_before = from.map_or(0, |from| from.size);
    if size_before != to.size {
        return match from {
            Some(from) if from.document.is_some() => {
                format!("scale {size_before} -> {}", to.size)
            }
            _ => format!("create {}", to.size),
        };
    }
    if let (Some(rollout), Some(stable)) = (&to.rollout, &to.stable) {
        let to_what = rolled(stable, rollout);
        return format!("{to_what} ({} of {})", numbers.updated, to.size);
    }
    if transition.healed > 0 {
        return format!("heal {}", count(transition.healed, "instance"));
    }
    if let Some(from) = from
        && from.document.as_ref() != to.accepted.as_ref().map(|a| &a.text)
    {
        let revision = to.accepted.as_ref().map(|a| a.revision.short().to_owned());
        return format!("accept {}", revision.unwrap_or_default());
    }
    if let Some(hold) = newly_held(from, to) {
        return format!("held, {hold}");
    }
    let phase = to.phase.as_str().to_lowercase();
    format!("{phase}, {} of {} available", numbers.available, to.size)
}

/// Returns what a rollout does, with a name of the template that another template has not.
fn rolled(stable: &Digests, rollout: &Rollout) -> String {
    let target = &rollout.target;
    match stable.change_to(target) {
        FieldClass::Live if rollout.refused.is_none() => {
            format!("change to {} in place", target.live.short())
        }
        FieldClass::Restart if rollout.refused.is_none() => {
            format!("restart as {}", target.restart.short())
        }
        FieldClass::Live => format!("roll to {}", target.live.short()),
        FieldClass::Restart => format!("roll to {}", target.restart.short()),
        FieldClass::Replace | FieldClass::Ignore => format!("roll to {}", target.short()),
    }
}

fn deleting(to: &RecordedGroup) -> String {
    let revision = to.deleting.as_ref().map(|d| d.revision.short());
    format!("delete, removed in {}", revision.unwrap_or("a commit"))
}

fn paused(to: &RecordedGroup) -> String {
    match to.rollout.as_ref().map(|rollout| &rollout.state) {
        Some(RolloutState::Paused(cause)) => format!("pause the rollout, {cause}"),
        Some(RolloutState::Progressing) | None => "pause the rollout".to_owned(),
    }
}

fn held(to: &RecordedGroup) -> String {
    let hold = to.holds.iter().find(|held| !held.hold.is_routine());
    hold.map_or_else(|| "held".to_owned(), |held| format!("held, {}", held.hold))
}

fn newly_held<'a>(from: Option<&Before>, to: &'a RecordedGroup) -> Option<&'a drover_model::Hold> {
    let known = |code: &str| from.is_some_and(|from| from.holds.contains(&code));
    let fresh = to
        .holds
        .iter()
        .find(|held| !held.hold.is_routine() && !known(held.hold.code()));
    fresh.map(|held| &held.hold)
}

/// Returns what a `Drover-Result` trailer says of so many steps that were done and that failed.
pub(crate) fn result((done, failed): (usize, usize), withheld: bool) -> &'static str {
    match (done, failed) {
        (0, 0) if withheld => "Held",
        (_, 0) => "Succeeded",
        (0, _) => "Failed",
        (_, _) => "Partial",
    }
}

/// Returns `1 instance`, `2 instances`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Returns what a `Drover-Source` trailer says.
pub(crate) fn source_trailer(branch: &str, revision: &Revision) -> String {
    let algorithm = match revision.as_str().len() {
        40 => "sha1",
        _ => "sha256",
    };
    format!("{branch}@{algorithm}:{revision}")
}

#[cfg(test)]
mod tests;
