//! The same for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use drover_model::{
    Digests, GroupPhase, Held, InstanceId, LaunchBackoff, RecordedGroup, RolloutState, Timestamp,
    plural,
};

use super::{GroupView, InstanceView, hold, instance, seconds, stranger};
use crate::printable::printable;
use crate::table::Table;
use crate::ui::Style;

/// Returns how long ago `then` was, in one or two units: `45s`, `3m`, `2h10m`, `4d`.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> String {
    let elapsed = now.as_second().saturating_sub(then.as_second()).max(0);
    match elapsed {
        0..=119 => format!("{elapsed}s"),
        120..=7_199 => format!("{}m", elapsed / 60),
        7_200..=172_799 => {
            let minutes = elapsed % 3_600 / 60;
            if minutes == 0 {
                format!("{}h", elapsed / 3_600)
            } else {
                format!("{}h{minutes}m", elapsed / 3_600)
            }
        }
        _ => format!("{}d", elapsed / 86_400),
    }
}

/// Returns a line of what is described. In a value a line break is a space, and colours of ours stay.
pub(super) fn field_line(name: &str, value: &str) -> String {
    let value = value.replace(['\n', '\t'], " ");
    format!("{:<12} {value}\n", format!("{name}:"))
}

/// Returns one line about the rollout, the way `rollout status` prints it.
pub(crate) fn rollout_line(recorded: &RecordedGroup, view: &GroupView) -> String {
    printable(&rollout(recorded, view)).into_owned()
}

fn rollout(recorded: &RecordedGroup, view: &GroupView) -> String {
    let counts = format!(
        "{} of {} updated, {} available, {} in total",
        view.updated, view.size, view.available, view.total
    );
    if let Some(quarantine) = &recorded.quarantine {
        let how = match recorded.rollout {
            Some(_) => "rolling back",
            None => "rolled back",
        };
        return format!("{}: {how}: {}: {counts}", view.name, quarantine.cause);
    }
    match &recorded.rollout {
        None if recorded.phase == GroupPhase::Held => {
            // What came with a newer document may not be counted yet.
            let serious = view.holds.iter().find(|hold| !hold.routine);
            let first = serious.or(view.holds.first());
            let why = first.map_or_else(String::new, |hold| {
                format!(": {}: {}", hold.code, hold.message)
            });
            format!("{}: held{why}: {counts}", view.name)
        }
        None if view.updated == view.size && view.total - view.kept == view.size => {
            format!("{}: complete: {counts}", view.name)
        }
        None => format!("{}: no rollout in progress: {counts}", view.name),
        Some(rollout) => match &rollout.state {
            RolloutState::Progressing => format!("{}: in progress: {counts}", view.name),
            RolloutState::Paused(cause) => {
                let mut line = format!("{}: paused: {cause}: {counts}", view.name);
                // What stopped it says the latest failure itself, unless it is of a later one.
                let told = rollout.last_failure.as_ref();
                if let Some(failure) = told.filter(|it| !line.contains(it.as_str())) {
                    let _ = write!(line, "; the latest failure: {failure}");
                }
                line
            }
        },
    }
}

/// Returns a hold as indented lines.
pub(crate) fn hold_lines(held: &Held) -> String {
    let view = hold(held);
    let mut what = view.code.to_owned();
    if let Some(reason) = view.reason {
        let _ = write!(what, " ({reason})");
    }
    if let Some(instance) = &view.instance {
        let _ = write!(what, " {instance}");
    }
    if let Some(until) = &view.until {
        let _ = write!(what, " until {until}");
    }
    format!("  {what}\n    {}\n", printable(&view.message))
}

/// Returns everything about a group.
pub(crate) fn describe_group(
    recorded: &RecordedGroup,
    view: &GroupView,
    now: Timestamp,
    color: bool,
) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.push_str(&field_line(name, value));
    field("Group", &Style::Bold.paint(&view.name, color));
    let labels: Vec<String> = view
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    if !labels.is_empty() {
        field("Labels", &labels.join(", "));
    }
    text.push_str(&overview(recorded, view, color));
    text.push_str(&reasons(recorded, view));
    if !recorded.strangers.is_empty() {
        text.push_str("To adopt:\n");
        text.push_str(&indent(&strangers_table(recorded).to_text(true)));
    }
    if recorded.instances.is_empty() {
        text.push_str("Instances: none\n");
    } else {
        text.push_str("Instances:\n");
        text.push_str(&indent(&instances_table(recorded, now).to_text(true)));
    }
    text
}

fn overview(recorded: &RecordedGroup, view: &GroupView, color: bool) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.push_str(&field_line(name, value));
    field("Phase", &paint_phase(view.phase, color));
    // Without a document nothing is wanted that anybody here knows of, and that is not nothing.
    let wanted = match view.source {
        Some(_) => format!("{} wanted", view.size),
        None => "no document in force yet".to_owned(),
    };
    let mut counts = format!(
        "{wanted}, {} in total, {} available, {} updated, {} draining",
        view.total, view.available, view.updated, view.draining
    );
    if view.kept > 0 {
        let _ = write!(counts, ", {} kept", view.kept);
    }
    if view.strangers > 0 {
        let _ = write!(counts, ", {} to adopt", view.strangers);
    }
    field("Size", &counts);
    if let Some(provider) = &recorded.provider {
        field(
            "Provider",
            &format!("{} ({})", provider.name, provider.type_),
        );
    }
    if let Some(accepted) = &recorded.accepted {
        let place = format!(
            "{} {}:{}",
            accepted.revision.short(),
            accepted.path,
            accepted.line
        );
        field("Source", &place);
    }
    if let Some(target) = &recorded.target {
        field("Template", &template(target));
    }
    if let Some(change) = &recorded.change {
        field("Change", change.short());
    }
    if recorded.rollout.is_some() {
        let line = rollout_line(recorded, view);
        let line = line
            .split_once(": ")
            .map_or(line.as_str(), |(_, rest)| rest);
        field("Rollout", &without_cause(line, recorded));
    }
    if let Some(backoff) = &recorded.backoff {
        field("Backoff", &backoff_line(backoff, recorded, view));
    }
    for suspended in &view.suspended {
        let mut line = suspended.what.clone();
        if let Some(until) = &suspended.until {
            let _ = write!(line, " until {until}");
        }
        if let Some(because) = &suspended.because {
            let _ = write!(line, ": {}", printable(because));
        }
        field("Suspended", &line);
    }
    if let Some(deleting) = &recorded.deleting {
        field("Deleting", &format!("since {}", seconds(deleting.since)));
    }
    text
}

/// Returns a line about failed launches. When the next one is due is nobody's while a paused rollout tries none, and
/// nothing is missing.
fn backoff_line(backoff: &LaunchBackoff, recorded: &RecordedGroup, view: &GroupView) -> String {
    let rollout = recorded.rollout.as_ref();
    let is_paused = rollout.is_some_and(|it| matches!(it.state, RolloutState::Paused(_)));
    let next = if is_paused && view.total >= view.size {
        String::new()
    } else {
        format!(", the next at {}", seconds(backoff.until))
    };
    let failed = plural(backoff.failures, "failed launch", "failed launches");
    format!("{failed}{next}: {}", backoff.message)
}

/// Returns the short id of a template. Its first part stays where instances are changed in place.
fn template(target: &Digests) -> String {
    format!(
        "{} (restart {}, live {})",
        target.short(),
        target.restart.short(),
        target.live.short()
    )
}

/// Returns a line about the rollout without why it stopped, where a hold says that.
fn without_cause(line: &str, recorded: &RecordedGroup) -> String {
    let stopped = recorded.rollout.as_ref().and_then(|it| match &it.state {
        RolloutState::Progressing => None,
        RolloutState::Paused(cause) => Some(cause),
    });
    let quarantined = recorded.quarantine.as_ref().map(|it| &it.cause);
    let Some(cause) = quarantined.or(stopped).map(ToString::to_string) else {
        return line.to_owned();
    };
    let mut holds = recorded.holds.iter();
    if holds.any(|held| held.hold.to_string().contains(&cause)) {
        line.replacen(&format!(": {cause}"), "", 1)
    } else {
        line.to_owned()
    }
}

fn reasons(recorded: &RecordedGroup, view: &GroupView) -> String {
    let mut text = String::new();
    if !view.conditions.is_empty() {
        text.push_str("Conditions:\n");
        let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
        // The holds follow, each with its sentence.
        let holds = recorded.holds.iter();
        let told: BTreeSet<String> = holds.map(|held| held.hold.to_string()).collect();
        for condition in &view.conditions {
            table.row(vec![
                condition.type_.to_owned(),
                condition.status.to_owned(),
                condition.reason.clone(),
                condition.last_transition_time.clone(),
                if told.contains(&condition.message) {
                    "see below".to_owned()
                } else {
                    condition.message.clone()
                },
            ]);
        }
        text.push_str(&indent(&table.to_text(true)));
    }
    if recorded.holds.is_empty() {
        text.push_str("Holds: none\n");
    } else {
        text.push_str("Holds:\n");
        for held in &recorded.holds {
            text.push_str(&hold_lines(held));
        }
    }
    text
}

fn instances_table(recorded: &RecordedGroup, now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "CLASS", "TEMPLATE", "ADDRESS", "AGE", "WHY"]);
    for (id, entry) in &recorded.instances {
        let view = instance(recorded, id, entry);
        let class = standing(&view);
        let template = if view.current { "current" } else { "outdated" };
        table.row(vec![
            view.name,
            class,
            template.to_owned(),
            view.address.unwrap_or_default(),
            age(now, entry.created_at),
            view.why.unwrap_or_default(),
        ]);
    }
    table
}

/// Returns what the group is about to adopt, with the names that it gets, and what it has no room for.
fn strangers_table(recorded: &RecordedGroup) -> Table {
    let mut table = Table::new(&["HANDLE", "AS", "TEMPLATE", "ADDRESS", "CLAIMED BY"]);
    for (handle, entry) in &recorded.strangers {
        let view = stranger(recorded, handle, entry);
        let template = if view.current { "current" } else { "outdated" };
        table.row(vec![
            handle.to_string(),
            view.name,
            template.to_owned(),
            view.address.unwrap_or_default(),
            view.why.unwrap_or_default(),
        ]);
    }
    table
}

/// Returns an instance's class with what else is to be known of it.
fn standing(view: &InstanceView) -> String {
    let mut text = view.class.clone();
    if let Some(kept) = &view.kept {
        let _ = write!(text, ", kept until {}", kept.until);
    }
    if view.draining {
        text.push_str(", draining");
    }
    text
}

/// Returns everything about an instance, or nothing if the group does not have it.
pub(crate) fn describe_instance(
    recorded: &RecordedGroup,
    id: &InstanceId,
    now: Timestamp,
    color: bool,
) -> Option<String> {
    let entry = recorded.instances.get(id)?;
    let view = instance(recorded, id, entry);
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.push_str(&field_line(name, value));
    field("Instance", &Style::Bold.paint(&view.name, color));
    field("Group", &view.group);
    field("Class", &standing(&view));
    if let Some(kept) = &view.kept {
        let line = format!(
            "since {}, until {}: {}",
            kept.since, kept.until, kept.because
        );
        field("Kept", &line);
    }
    if let Some(why) = &view.why {
        field("Why", why);
    }
    let template = if view.current { "current" } else { "outdated" };
    field("Template", &format!("{} ({template})", view.digest));
    field("Address", view.address.as_deref().unwrap_or("none"));
    if let Some(member) = &view.member {
        field("Member", member);
    }
    if let Some(zone) = &view.zone {
        field("Zone", zone);
    }
    field(
        "Handle",
        view.provider_ref.as_deref().unwrap_or("not known yet"),
    );
    let created = view.created_at.as_deref().unwrap_or_default();
    let created = format!("{created} ({} ago)", age(now, entry.created_at));
    field("Created", &created);
    let holds: Vec<_> = recorded
        .holds
        .iter()
        .filter(|held| held.instance.as_ref() == Some(id))
        .collect();
    if !holds.is_empty() {
        text.push_str("Holds:\n");
        for held in holds {
            text.push_str(&hold_lines(held));
        }
    }
    Some(text)
}

/// Returns a phase in its colour.
pub(crate) fn paint_phase(phase: &str, color: bool) -> String {
    let style = match phase {
        "Converged" | "Observed" => Style::Green,
        "Progressing" | "Pending" | "Deleting" | "Deleted" => Style::Yellow,
        _ => Style::Red,
    };
    style.paint(phase, color)
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
