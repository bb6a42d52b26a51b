//! Simulations as a comment for a pull request.

use std::fmt::Write as _;

use drover_model::counted;

use super::text::{merged, rows};
use super::{CountsView, GroupView, SimulationView, told};
use crate::table::{Table, escape_markdown};

/// The longest comment that every host takes.
const MARKDOWN_MAX: usize = 60_000;

/// Returns the simulation as a comment for a pull request. The marker lets a bot find its earlier one.
pub(crate) fn markdown(view: &SimulationView) -> String {
    // A marker ends at `-->`: what people named must not end it earlier.
    let marker = format!("{}..{}", view.base, view.head)
        .replace("--", "-")
        .replace('>', "");
    let mut out = format!(
        "<!-- drover:simulate {marker} -->\n**Simulation: {}**\n\n",
        escape_markdown(&view.verdict)
    );
    if !view.groups.is_empty() {
        out.push_str(&overview(&view.groups));
        out.push('\n');
    }
    let mut left_out = 0;
    for group in &view.groups {
        let details = details(group);
        if out.len() + details.len() > MARKDOWN_MAX {
            left_out += 1;
        } else {
            out.push_str(&details);
        }
    }
    if left_out > 0 {
        let _ = writeln!(
            out,
            "Truncated: the details of {}.\n",
            counted(left_out, "more group")
        );
    }
    let holds = view.holds.iter();
    let holds = holds.map(|hold| format!("The agent holds: {hold}"));
    let notes = view.notes.iter().map(|note| format!("Note: {note}"));
    let calls = [view.calls_text()].into_iter().chain(view.failed_text());
    for line in holds.chain(calls).chain(notes) {
        let _ = writeln!(out, "{}\n", escape_markdown(&line));
    }
    let _ = writeln!(
        out,
        "<sub>{} over {}; {}</sub>",
        escape_markdown(&view.head),
        escape_markdown(&view.base),
        escape_markdown(&view.assumptions())
    );
    out
}

fn overview(groups: &[GroupView]) -> String {
    let mut table = Table::new(&[
        "group",
        "change",
        "result",
        "takes",
        "lowest availability",
        "most at once",
        "created",
        "destroyed",
        "holds",
    ]);
    for group in groups {
        let mut holds: Vec<&str> = group
            .holds
            .iter()
            .filter(|hold| hold.is_worth_telling())
            .map(|hold| hold.code)
            .collect();
        holds.sort_unstable();
        holds.dedup();
        let lowest = group
            .lowest
            .map(|low| format!("{} (floor {})", low.available, low.floor));
        table.row(vec![
            group.group.clone(),
            group.summary(),
            group.end.to_owned(),
            told(group.duration_seconds),
            lowest.unwrap_or_default(),
            format!("{} (ceiling {})", group.most.instances, group.most.ceiling),
            group.created.to_string(),
            group.destroyed.to_string(),
            holds.join(", "),
        ]);
    }
    table.to_markdown()
}

fn details(group: &GroupView) -> String {
    let mut out = format!(
        "<details><summary>{}: {}</summary>\n\n",
        escape_markdown(&group.group),
        escape_markdown(&group.verdict)
    );
    let mut table = Table::new(&[
        "after",
        "available",
        "before",
        "after the push",
        "what happens",
    ]);
    for (at, sample, events) in rows(group) {
        table.row(vec![
            told(at),
            format!("{} of {}", sample.available(), sample.size),
            counts_text(sample.old),
            counts_text(sample.new),
            events.join("; "),
        ]);
    }
    out.push_str(&table.to_markdown());
    out.push('\n');
    for (hold, spans) in merged(&group.holds) {
        let message = escape_markdown(&hold.message);
        let _ = writeln!(out, "- held {spans}: {}: {message}", hold.code);
    }
    let _ = writeln!(
        out,
        "- provider calls: {}\n\n</details>\n",
        group.calls_text()
    );
    out
}

fn counts_text(counts: CountsView) -> String {
    let parts = [
        (counts.ready, "ready"),
        (counts.starting, "starting"),
        (counts.failing, "failing"),
        (counts.leaving, "leaving"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts
        .map(|(count, what)| format!("{count} {what}"))
        .collect::<Vec<_>>()
        .join(", ")
}
