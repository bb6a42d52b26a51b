//! Progress on a terminal: one bar per group while it is on its way. The log goes around it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use drover_loop::{GroupReport, PassReport};
use drover_model::{GroupName, GroupPhase};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::printable::event;

/// The bars of this process; the log must not be written across them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// How often a bar's mark moves, so that a person sees that it lives.
const TICK: Duration = Duration::from_millis(120);

/// The bars of an agent.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: MultiProgress,
    groups: BTreeMap<GroupName, ProgressBar>,
}

impl Progress {
    /// Draws on stderr.
    pub(crate) fn new() -> Self {
        Self {
            bars: BARS.get_or_init(MultiProgress::new).clone(),
            groups: BTreeMap::new(),
        }
    }

    /// Shows where the groups stand; a group that is where it should be loses its bar.
    pub(crate) fn show(&mut self, report: &PassReport) {
        for (name, group) in &report.groups {
            if !group.planned {
                continue;
            }
            let settled = matches!(
                group.phase,
                None | Some(GroupPhase::Converged | GroupPhase::Observed | GroupPhase::Deleted)
            );
            if settled {
                if let Some(bar) = self.groups.remove(name) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
                continue;
            }
            let bars = &self.bars;
            let (length, position) = numbers(group);
            let bar = self
                .groups
                .entry(name.clone())
                .or_insert_with(|| new_bar(bars, name, length));
            bar.set_length(length);
            bar.set_position(position);
            bar.set_message(message(group));
        }
        self.groups.retain(|name, bar| {
            let there = report.groups.contains_key(name);
            if !there {
                bar.finish_and_clear();
            }
            there
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Whatever is printed next must not stand below a bar.
        let _ = self.bars.clear();
    }
}

fn new_bar(bars: &MultiProgress, name: &GroupName, length: u64) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(length));
    let style = ProgressStyle::with_template("{spinner} {prefix:20} [{bar:24}] {pos}/{len} {msg}");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_string());
    bar.enable_steady_tick(TICK);
    bar
}

fn numbers(group: &GroupReport) -> (u64, u64) {
    let numbers = &group.numbers;
    if group.phase == Some(GroupPhase::Deleting) {
        return (u64::from(numbers.total), 0);
    }
    (
        u64::from(numbers.size),
        u64::from(numbers.updated.min(numbers.size)),
    )
}

fn message(group: &GroupReport) -> String {
    let numbers = &group.numbers;
    let phase = group.phase.map_or("", GroupPhase::as_str);
    let hold = group.holds.iter().find(|held| !held.hold.is_routine());
    let hold = hold.or(group.holds.first());
    let hold = hold
        .map(|held| format!(", {}", held.hold.code()))
        .unwrap_or_default();
    format!(
        "{phase}: {} available, {} in total{hold}",
        numbers.available, numbers.total
    )
}

/// Writes to stderr, around the bars if there are any, one line for each event, and nothing that a terminal obeys but
/// colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AroundBars {
    color: bool,
}

impl AroundBars {
    pub(crate) fn new(color: bool) -> Self {
        Self { color }
    }
}

impl Write for AroundBars {
    /// Writes all of it: an event comes in one piece.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = event(&text, self.color);
        let write = || io::stderr().lock().write_all(text.as_bytes());
        match BARS.get() {
            Some(bars) => bars.suspend(write)?,
            None => write()?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}
