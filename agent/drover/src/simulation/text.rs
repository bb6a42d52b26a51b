//! Simulations as a timeline for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drover_model::counted;

use super::{GroupView, HoldView, SampleView, SimulationView, lanes, told};
use crate::printable::printable;
use crate::ui::Style;

/// The widest bar of a timeline. A larger group is drawn to scale.
const BAR_MAX: u32 = 48;

/// About how many rows a timeline has where little happens.
const ROWS_USUAL: usize = 16;

/// The most rows of a timeline: some thirty from its beginning, the others from its end.
const ROWS_MAX: usize = 40;

/// Returns the simulation for a terminal.
pub(crate) fn text(view: &SimulationView, color: bool) -> String {
    let mut out = String::new();
    let title = format!("{} over {}", view.head, view.base);
    let _ = writeln!(out, "{}", Style::Bold.paint(&title, color));
    let _ = writeln!(out, "{}", view.assumptions());
    for group in &view.groups {
        out.push('\n');
        let name = Style::Bold.paint(&group.group, color);
        let _ = writeln!(out, "{name}: {}", group.summary());
        timeline(&mut out, group, color);
        summary(&mut out, group, color);
    }
    let _ = writeln!(out, "\n{}", view.calls_text());
    let failed = view.failed_text().into_iter();
    for line in failed.chain(
        view.holds
            .iter()
            .map(|hold| format!("the agent holds: {hold}")),
    ) {
        let _ = writeln!(out, "\n{line}");
    }
    let style = if view.converges {
        Style::Green
    } else {
        Style::Red
    };
    let _ = writeln!(
        out,
        "\n{}",
        style.paint(&format!("Simulation: {}", view.verdict), color)
    );
    out
}

fn timeline(out: &mut String, group: &GroupView, color: bool) {
    let rows = rows(group);
    let most = group.most_drawn();
    let width = most.min(BAR_MAX) as usize;
    if rows.is_empty() {
        return;
    }
    let letters = "o before, # after, + starting, ! failing, - leaving";
    let scale = if most > BAR_MAX {
        format!(
            "; a letter is {:.1} instances",
            f64::from(most) / f64::from(BAR_MAX)
        )
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "{}",
        Style::Dim.paint(&format!("  {letters}{scale}"), color)
    );
    let left_out = rows.len().saturating_sub(ROWS_MAX);
    let hidden = ROWS_MAX * 3 / 4..ROWS_MAX * 3 / 4 + left_out;
    for (position, (at, sample, events)) in rows.iter().enumerate() {
        if hidden.contains(&position) {
            if position == hidden.start {
                let _ = writeln!(out, "  {:>8}  {}", "...", counted(left_out, "more moment"));
            }
            continue;
        }
        let (bar, length) = bar(sample, most, color);
        let padding = " ".repeat(width.saturating_sub(length));
        let numbers = format!("{}/{}", sample.available(), sample.size);
        let mut lines = events.iter();
        let first = lines
            .next()
            .map(|text| format!("  {text}"))
            .unwrap_or_default();
        let line = format!("  {:>8}  {bar}{padding}  {numbers:>7}{first}", told(*at));
        let _ = writeln!(out, "{}", line.trim_end());
        for text in lines {
            let _ = writeln!(out, "  {:>8}  {:width$}  {:>7}  {text}", "", "", "");
        }
    }
}

/// One row of a timeline: what there is from then on, and what happens then.
pub(super) type Row = (f64, SampleView, Vec<String>);

/// Chooses the moments that are shown: those with events, the last one, and those after which nothing
/// changes for longest.
pub(super) fn rows(group: &GroupView) -> Vec<Row> {
    let mut moments: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let millis = |at: f64| (at * 1_000.0).round() as u64;
    for event in &group.events {
        moments
            .entry(millis(event.at_seconds))
            .or_default()
            .push(event.text.clone());
    }
    let samples = &group.samples;
    let mut lasting: Vec<(u64, u64)> = samples
        .windows(2)
        .map(|pair| (millis(pair[0].at_seconds), millis(pair[1].at_seconds)))
        .map(|(from, to)| (to - from, from))
        .collect();
    lasting.extend(
        samples
            .last()
            .map(|last| (u64::MAX, millis(last.at_seconds))),
    );
    lasting.sort_unstable_by(|a, b| b.cmp(a));
    for (_, from) in lasting {
        if moments.len() >= ROWS_USUAL {
            break;
        }
        moments.entry(from).or_default();
    }
    let at = |moment: u64| {
        let mut before = samples.iter().rev();
        before.find(|sample| millis(sample.at_seconds) <= moment)
    };
    let rows = moments.into_iter().filter_map(|(moment, events)| {
        let sample = at(moment).or_else(|| samples.first())?;
        Some((moment as f64 / 1_000.0, *sample, events))
    });
    rows.collect()
}

/// Returns a bar and its length without colours.
fn bar(sample: &SampleView, most: u32, color: bool) -> (String, usize) {
    let (old, new) = (sample.old, sample.new);
    let parts = [
        (new.ready, '#', Some(Style::Green)),
        (old.ready, 'o', None),
        (new.starting + old.starting, '+', Some(Style::Yellow)),
        (sample.failing(), '!', Some(Style::Red)),
        (new.leaving + old.leaving, '-', Some(Style::Dim)),
    ];
    let (mut text, mut length) = (String::new(), 0);
    for (count, letter, style) in parts {
        let shown = if most <= BAR_MAX {
            count
        } else {
            // Whatever exists is seen, be it only one of thousands.
            let scaled = (count * BAR_MAX + most / 2) / most;
            scaled.max(u32::from(count > 0))
        };
        let letters: String = std::iter::repeat_n(letter, shown as usize).collect();
        length += letters.len();
        match style {
            Some(style) if shown > 0 => text.push_str(&style.paint(&letters, color)),
            Some(_) | None => text.push_str(&letters),
        }
    }
    (text, length)
}

fn summary(out: &mut String, group: &GroupView, color: bool) {
    let style = if group.how.is_good() {
        Style::Green
    } else {
        Style::Red
    };
    let _ = writeln!(out, "  {}", style.paint(&group.verdict, color));
    if let Some(low) = group.lowest {
        let text = format!(
            "lowest availability {} of {}, at {}; the floor is {}",
            low.available,
            size_at(group, low.at_seconds),
            told(low.at_seconds),
            low.floor,
        );
        let text = if group.is_below_floor() {
            Style::Red.paint(&format!("{text}: BELOW THE FLOOR"), color)
        } else {
            text
        };
        let _ = writeln!(out, "  {text}");
    }
    let _ = writeln!(
        out,
        "  at most {} at once, the ceiling is {}; {} created, {} destroyed",
        counted(group.most.instances, "instance"),
        group.most.ceiling,
        group.created,
        group.destroyed,
    );
    let _ = writeln!(out, "  provider calls: {}", group.calls_text());
    for (hold, spans) in merged(&group.holds) {
        let code = Style::Yellow.paint(hold.code, color);
        let reason = hold.reason_text();
        let _ = writeln!(
            out,
            "  held {spans}: {code}{reason}: {}",
            printable(&hold.message)
        );
    }
}

/// Joins the holds that came again and again: each with its latest words, and when it lasted.
pub(super) fn merged(holds: &[HoldView]) -> Vec<(&HoldView, String)> {
    let lanes = lanes(holds).into_iter();
    lanes.filter_map(|lane| in_words(&lane)).collect()
}

fn in_words<'a>(lane: &[&'a HoldView]) -> Option<(&'a HoldView, String)> {
    match *lane {
        [] => None,
        [only] => Some((only, lasting(only))),
        [first, .., last] => {
            let (times, from, to) = (lane.len(), lasting(first), lasting(last));
            Some((last, format!("{times} times, first {from}, last {to}")))
        }
    }
}

fn size_at(group: &GroupView, at: f64) -> u32 {
    let mut before = group.samples.iter().rev();
    before
        .find(|sample| sample.at_seconds <= at)
        .map_or(0, |sample| sample.size)
}

fn lasting(hold: &HoldView) -> String {
    let from = told(hold.from_seconds);
    match (hold.to_seconds, hold.until_seconds) {
        (Some(to), _) => format!("{from} to {}", told(to)),
        (None, Some(until)) => format!("{from} to {}, after the horizon", told(until)),
        (None, None) => format!("{from} on"),
    }
}
