//! A simulation as a picture: per group the instances over time, stacked by template and health,
//! with the availability floor, the ceiling, and above them a lane for each hold.
//!
//! The picture brings its own background and both its palettes, so it is readable on light and dark
//! pages, and by viewers that know only the first one.

use std::fmt::Write as _;

use drover_model::plural;

use super::{GroupView, HoldView, SampleView, SimulationView, lanes, told, total};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const HEAD: f64 = 78.0;
/// The height of the line that says what is to blame.
const BLAME: f64 = 22.0;
const PLOT: f64 = 220.0;
const TITLE: f64 = 44.0;
const LANE: f64 = 20.0;
const TICKS: f64 = 48.0;
const LEGEND: f64 = 44.0;
/// The height of each further line of the legend.
const LEGEND_LINE: f64 = 20.0;

/// Most lanes of one chart.
const LANES_MAX: usize = 5;

/// Most groups in a picture.
const GROUPS_MAX: usize = 12;

/// A pause longer than this many times everything else is drawn shortened.
const BREAK_OVER: f64 = 1.2;

/// A class, a name, and how many there are.
type Layer = (&'static str, &'static str, fn(&SampleView) -> u32);

/// Layers from the bottom: what serves comes first, so that its upper edge can be held against the
/// floor.
const LAYERS: [Layer; 6] = [
    ("nr", "new, ready", |sample| sample.new.ready),
    ("or", "old, ready", |sample| sample.old.ready),
    ("ns", "new, starting", |sample| sample.new.starting),
    ("os", "old, starting", |sample| sample.old.starting),
    ("fa", "failing", SampleView::failing),
    ("le", "leaving", |sample| {
        sample.old.leaving + sample.new.leaving
    }),
];

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\
.bg{fill:#ffffff;stroke:#d0d7de}.t{font-size:16px;font-weight:600}.s{fill:#59636e}.e{font-size:12px;fill:#59636e}\
.ok{fill:#1a7f37;font-weight:600}.no{fill:#cf222e;font-weight:600}\
.g{stroke:#d8dee4;stroke-width:1}.ax{stroke:#818b98;stroke-width:1}\
.nr{fill:#2da44e}.or{fill:#4a84d6}.ns{fill:#a6dfb4}.os{fill:#b3cdf3}.fa{fill:#e5534b}.le{fill:#c3c9d0}\
.fl{stroke:#9a3412;stroke-width:2;stroke-dasharray:7 4;fill:none}\
.ce{stroke:#6e40c9;stroke-width:1.5;stroke-dasharray:2 4;fill:none}\
.tf{fill:#9a3412;font-size:12px}.tc{fill:#6e40c9;font-size:12px}\
.ho{fill:#f2d488}.st{fill:#dccbf7}\
.fm{fill:#cf222e;stroke:#ffffff;stroke-width:1}\
.th{font-size:12px;fill:#1f2328}.ev{stroke:#59636e;stroke-width:1;stroke-dasharray:2 3}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117;stroke:#3d444d}.s,.e{fill:#9198a1}\
.ok{fill:#3fb950}.no{fill:#ff7b72}.g{stroke:#2a313c}.ax{stroke:#656c76}\
.nr{fill:#2ea043}.or{fill:#3b76c9}.ns{fill:#1f5a32}.os{fill:#24466f}.fa{fill:#da3633}.fm{fill:#ff7b72;stroke:#0d1117}.le{fill:#4a525c}\
.fl{stroke:#ffa657}.tf{fill:#ffa657}.ce{stroke:#bc8cff}.tc{fill:#bc8cff}.ho{fill:#7a5c14}.st{fill:#4c3777}.th{fill:#e6edf3}\
.ev{stroke:#9198a1}}";

/// Returns the simulation as an SVG document.
pub(crate) fn svg(view: &SimulationView) -> String {
    let shown = view.groups.iter().take(GROUPS_MAX);
    let mut charts = Vec::new();
    let (verdict, blame) = view.short_verdict();
    let head = HEAD + if blame.is_some() { BLAME } else { 0.0 };
    let mut height = head;
    for group in shown {
        let chart = Chart::new(group, height);
        height = chart.bottom();
        charts.push(chart);
    }
    let legend = legend(&charts, view.groups.len());
    let lines = legend.last().map_or(0.0, |item| item.y);
    let legend_at = height + LEGEND - 20.0;
    height += if legend.is_empty() {
        0.0
    } else {
        LEGEND + lines
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n",
        escape(&format!("Simulation: {}", view.verdict))
    );
    let _ = writeln!(
        out,
        "<rect class=\"bg\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
        WIDTH - 1.0,
        height - 1.0
    );
    let class = if view.converges { "t ok" } else { "t no" };
    text(&mut out, (24.0, 34.0), class, &clipped(&verdict, 84));
    if let Some(blame) = &blame {
        text(&mut out, (24.0, 56.0), "no", &clipped(blame, 112));
    }
    let facts = format!("{} over {}; {}", view.head, view.base, view.assumptions());
    text(&mut out, (24.0, head - 22.0), "s", &clipped(&facts, 120));
    for chart in &charts {
        chart.draw(&mut out, charts.len() > 1);
    }
    for item in &legend {
        item.draw(&mut out, legend_at);
    }
    out.push_str("</svg>\n");
    out
}

/// One group's chart.
struct Chart<'a> {
    group: &'a GroupView,
    /// The upper edge of the title.
    head: f64,
    /// The upper edge of the plot, below the lanes.
    top: f64,
    axis: Axis,
    /// The number at the upper edge.
    most: u32,
    lanes: Vec<Vec<&'a HoldView>>,
}

impl<'a> Chart<'a> {
    fn new(group: &'a GroupView, head: f64) -> Self {
        let most = group.most_drawn();
        let mut lanes = lanes(&group.holds);
        lanes.truncate(LANES_MAX);
        Self {
            group,
            head,
            top: head + TITLE + LANE * lanes.len() as f64,
            axis: Axis::of(group),
            most: most + most.div_ceil(8),
            lanes,
        }
    }

    fn bottom(&self) -> f64 {
        self.top + PLOT + TICKS
    }

    fn y(&self, count: u32) -> f64 {
        self.top + PLOT - f64::from(count) / f64::from(self.most) * PLOT
    }

    /// Returns from where to where a sample holds.
    fn stretch(&self, position: usize) -> (f64, f64) {
        let samples = &self.group.samples;
        let from = self.axis.x(samples[position].at_seconds);
        let next = samples.get(position + 1);
        let to = next.map_or(WIDTH - RIGHT, |next| self.axis.x(next.at_seconds));
        (from, to)
    }

    fn draw(&self, out: &mut String, is_one_of_many: bool) {
        let group = self.group;
        let title = format!("{}: {}", group.group, group.summary());
        text(out, (24.0, self.head + 20.0), "t", &clipped(&title, 66));
        let class = if group.how.is_good() { "ok" } else { "no" };
        // What the heading of the picture says already is not said again.
        if is_one_of_many {
            let _ = writeln!(
                out,
                "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                self.head + 20.0,
                escape(&clipped(&group.short, 32))
            );
        }
        self.grid(out);
        for (class, _, count) in &LAYERS {
            self.layer(out, class, *count);
        }
        self.holds(out);
        self.line(out, "fl", |sample| sample.floor);
        self.line(out, "ce", |sample| sample.ceiling);
        self.failures(out);
        self.labels(out);
        self.ticks(out);
    }

    fn grid(&self, out: &mut String) {
        let step = nice(f64::from(self.most) / 6.0).max(1.0) as u32;
        let mut count = 0;
        while count <= self.most {
            let y = self.y(count);
            let class = if count == 0 { "ax" } else { "g" };
            let _ = writeln!(
                out,
                "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"e\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0
            );
            count += step;
        }
    }

    /// Draws one layer on top of those below it.
    fn layer(&self, out: &mut String, class: &str, count: fn(&SampleView) -> u32) {
        let below = |sample: &SampleView| {
            let layers = LAYERS.iter().take_while(|(name, _, _)| *name != class);
            layers.map(|(_, _, count)| count(sample)).sum::<u32>()
        };
        if self.group.samples.iter().all(|sample| count(sample) == 0) {
            return;
        }
        let mut path = String::new();
        // One closed area for each stretch in which there are any.
        let samples = &self.group.samples;
        let mut position = 0;
        while position < samples.len() {
            if count(&samples[position]) == 0 {
                position += 1;
                continue;
            }
            let mut upper: Vec<(f64, f64)> = Vec::new();
            let mut lower: Vec<(f64, f64)> = Vec::new();
            while position < samples.len() && count(&samples[position]) > 0 {
                let sample = &samples[position];
                let (from, to) = self.stretch(position);
                let bottom = below(sample);
                let (bottom, top) = (self.y(bottom), self.y(bottom + count(sample)));
                upper.extend([(from, top), (to, top)]);
                lower.extend([(from, bottom), (to, bottom)]);
                position += 1;
            }
            for (step, (x, y)) in upper.iter().chain(lower.iter().rev()).enumerate() {
                let letter = if step == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{letter}{x:.1} {y:.1}");
            }
            path.push('Z');
        }
        let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    fn line(&self, out: &mut String, class: &str, count: fn(&SampleView) -> u32) {
        let mut path = String::new();
        let samples = &self.group.samples;
        for (position, sample) in samples.iter().enumerate() {
            let ((from, to), y) = (self.stretch(position), self.y(count(sample)));
            let letter = if position == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{from:.1} {y:.1}L{to:.1} {y:.1}");
        }
        let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// Draws a lane for each hold that a reader should see, with its name where it begins.
    fn holds(&self, out: &mut String) {
        for (position, lane) in self.lanes.iter().enumerate() {
            let y = self.head + TITLE - 8.0 + LANE * position as f64;
            for hold in lane {
                let from = self.axis.x(hold.from_seconds);
                let to = hold.to_seconds.map_or(WIDTH - RIGHT, |to| self.axis.x(to));
                let class = if hold.is_stage() { "st" } else { "ho" };
                let _ = writeln!(
                    out,
                    "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"16\" \
                     rx=\"2\"><title>{}</title></rect>",
                    (to - from).max(2.0),
                    escape(&hold.message)
                );
            }
            self.name(out, lane, y + 12.0);
        }
    }

    /// Writes a lane's name into its first bar where it fits, else beside it.
    fn name(&self, out: &mut String, lane: &[&HoldView], y: f64) {
        let first = lane[0];
        let name = format!("{}{}", first.code, first.reason_text());
        let long = width(&name, 12.0);
        let end = |hold: &HoldView| hold.to_seconds.map_or(WIDTH - RIGHT, |to| self.axis.x(to));
        let (from, to) = (self.axis.x(first.from_seconds), end(first));
        let next = lane.get(1).map(|next| self.axis.x(next.from_seconds));
        let free = next.unwrap_or(WIDTH - RIGHT) - to;
        let last = lane.last().map_or(to, |last| end(last));
        let x = if to - from >= long + 8.0 {
            from + 4.0
        } else if free >= long + 8.0 {
            to + 5.0
        } else if from - long - 5.0 >= LEFT {
            from - long - 5.0
        } else if WIDTH - RIGHT - last >= long + 8.0 {
            last + 5.0
        } else {
            from + 4.0
        };
        text(out, (x, y), "th", &name);
    }

    /// Marks the moments at which instances failed: many are gone a second later, too soon to be seen.
    fn failures(&self, out: &mut String) {
        let samples = &self.group.samples;
        let mut marked = f64::NEG_INFINITY;
        for pair in samples.windows(2) {
            let x = self.axis.x(pair[1].at_seconds);
            if pair[1].failing() > pair[0].failing() && x - marked >= 3.0 {
                marked = x;
                let y = self.y(total(&pair[1]).max(total(&pair[0]))) - 3.0;
                mark(out, x, y);
            }
        }
    }

    /// Names the two lines where they end.
    fn labels(&self, out: &mut String) {
        let Some(last) = self.group.samples.last() else {
            return;
        };
        let x = WIDTH - RIGHT - 4.0;
        let _ = writeln!(
            out,
            "<text class=\"tc\" x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">ceiling {}</text>",
            self.y(last.ceiling) - 6.0,
            last.ceiling
        );
        // Below its line, over the areas: on a ground of its own it is readable on any colour.
        let (name, y) = (format!("floor {}", last.floor), self.y(last.floor));
        let long = name.chars().count() as f64 * 6.6 + 10.0;
        let y = (y + 20.0).min(self.top + PLOT - 4.0);
        let _ = writeln!(
            out,
            "<rect class=\"bg\" x=\"{:.1}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"18\" rx=\"3\"/>\
             <text class=\"tf\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{name}</text>",
            x - long + 2.0,
            y - 13.5,
            x - long / 2.0 + 2.0
        );
    }

    fn ticks(&self, out: &mut String) {
        let base = self.top + PLOT;
        let mut right = 0.0;
        for (x, label) in self.axis.ticks() {
            let half = label.chars().count() as f64 * 3.4;
            let anchor_x = x.clamp(LEFT, WIDTH - RIGHT - half);
            if anchor_x - half < right {
                continue;
            }
            right = anchor_x + half + 10.0;
            let _ = writeln!(
                out,
                "<line class=\"ax\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base}\" y2=\"{}\"/>\
                 <text class=\"e\" x=\"{anchor_x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                base + 5.0,
                base + 20.0
            );
        }
        for (x, label) in self.axis.breaks() {
            let _ = writeln!(
                out,
                "<line class=\"ev\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{base}\"/>\
                 <text class=\"e\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">… {label} …</text>",
                self.top,
                base + 36.0
            );
        }
    }
}

/// Time from left to right, with long pauses shortened.
struct Axis {
    /// Stretches: from, to, and their part of the width.
    stretches: Vec<(f64, f64, f64)>,
    shortened: Vec<usize>,
}

impl Axis {
    fn of(group: &GroupView) -> Self {
        let samples = group.samples.iter().map(|sample| sample.at_seconds);
        let events = group.events.iter().map(|event| event.at_seconds);
        let holds = group.holds.iter().filter(|hold| hold.is_worth_telling());
        let holds = holds
            .flat_map(|hold| [Some(hold.from_seconds), hold.to_seconds])
            .flatten();
        let mut moments: Vec<f64> = samples.chain(events).chain(holds).collect();
        let last = moments
            .iter()
            .copied()
            .fold(group.duration_seconds, f64::max);
        // What it comes to is seen for a while.
        moments.extend([0.0, last, (last * 1.06).max(last + 10.0)]);
        moments.sort_by(f64::total_cmp);
        moments.dedup();
        let mut lengths: Vec<f64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut shortened = Vec::new();
        for _ in 0..2 {
            let longest = (0..lengths.len()).max_by(|a, b| lengths[*a].total_cmp(&lengths[*b]));
            let Some(longest) = longest else { break };
            let rest = lengths.iter().sum::<f64>() - lengths[longest];
            if rest > 0.0 && lengths[longest] > rest * BREAK_OVER && lengths[longest] > 600.0 {
                lengths[longest] = rest * 0.35;
                shortened.push(longest);
            }
        }
        let whole: f64 = lengths.iter().sum();
        let stretches = moments.windows(2).zip(&lengths);
        Self {
            stretches: stretches
                .map(|(pair, length)| (pair[0], pair[1], length / whole))
                .collect(),
            shortened,
        }
    }

    fn x(&self, at: f64) -> f64 {
        let mut part = 0.0;
        for (from, to, share) in &self.stretches {
            if at >= *to {
                part += share;
            } else {
                part += share * ((at - from) / (to - from)).clamp(0.0, 1.0);
                break;
            }
        }
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    fn is_shortened(&self, at: f64) -> bool {
        self.shortened.iter().any(|position| {
            let (from, to, _) = self.stretches[*position];
            at > from && at < to
        })
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let drawn: f64 = self
            .stretches
            .iter()
            .enumerate()
            .filter(|(position, _)| !self.shortened.contains(position))
            .map(|(_, (from, to, _))| to - from)
            .sum();
        let step = time_step(drawn / 8.0);
        let end = self.stretches.last().map_or(0.0, |(_, to, _)| *to);
        let mut ticks = Vec::new();
        for position in &self.shortened {
            let (_, to, _) = self.stretches[*position];
            ticks.push(to);
        }
        let mut at = 0.0;
        while at <= end {
            if !self.is_shortened(at) {
                ticks.push(at);
            }
            at += step;
        }
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        ticks.into_iter().map(|at| (self.x(at), told(at))).collect()
    }

    fn breaks(&self) -> Vec<(f64, String)> {
        let breaks = self.shortened.iter().map(|position| {
            let (from, to, _) = self.stretches[*position];
            (f64::midpoint(self.x(from), self.x(to)), told(to - from))
        });
        breaks.collect()
    }
}

/// Returns the next step of a time axis that people can count in.
fn time_step(least: f64) -> f64 {
    let steps = [
        5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
        10_800.0, 21_600.0, 43_200.0,
    ];
    let found = steps.into_iter().find(|step| *step >= least);
    found.unwrap_or(86_400.0)
}

/// Returns 1, 2 or 5 times a power of ten.
fn nice(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1.0).log10().floor());
    let found = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power);
    found
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(power)
}

/// One entry of the legend.
struct Item {
    x: f64,
    /// Below the first line.
    y: f64,
    sign: Sign,
    class: &'static str,
    name: String,
}

/// What stands before an entry's name.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Area,
    Line,
    Mark,
    Nothing,
}

/// Explains what the charts show, and nothing that is not in them.
fn legend(charts: &[Chart<'_>], all: usize) -> Vec<Item> {
    let samples = || charts.iter().flat_map(|chart| &chart.group.samples);
    let mut entries: Vec<(Sign, &'static str, String)> = Vec::new();
    for (class, name, count) in LAYERS {
        if samples().any(|sample| count(sample) > 0) {
            entries.push((Sign::Area, class, name.to_owned()));
        }
    }
    if samples().any(|sample| sample.failing() > 0) {
        entries.push((Sign::Mark, "fm", "instances fail".to_owned()));
    }
    if !charts.is_empty() {
        entries.push((Sign::Line, "fl", "availability floor".to_owned()));
        entries.push((Sign::Line, "ce", "ceiling".to_owned()));
    }
    let holds = || charts.iter().flat_map(|chart| chart.lanes.iter().flatten());
    for (class, name, is_stage) in [("ho", "hold", false), ("st", "stage", true)] {
        if holds().any(|hold| hold.is_stage() == is_stage) {
            entries.push((Sign::Area, class, name.to_owned()));
        }
    }
    if all > charts.len() {
        let left_out = plural(all - charts.len(), "more group is", "more groups are");
        let more = format!("{left_out} not drawn");
        entries.push((Sign::Nothing, "", more));
    }
    let (mut x, mut y) = (24.0, 0.0);
    let mut items = Vec::new();
    for (sign, class, name) in entries {
        let long = sign.width() + width(&name, 12.0);
        if x + long > WIDTH - RIGHT {
            (x, y) = (24.0, y + LEGEND_LINE);
        }
        items.push(Item {
            x,
            y,
            sign,
            class,
            name,
        });
        x += long + 12.0;
    }
    items
}

impl Sign {
    fn width(self) -> f64 {
        match self {
            Self::Area | Self::Mark => 18.0,
            Self::Line => 26.0,
            Self::Nothing => 0.0,
        }
    }
}

impl Item {
    fn draw(&self, out: &mut String, top: f64) {
        let (x, y, class) = (self.x, top + self.y, self.class);
        match self.sign {
            Sign::Area => {
                let _ = writeln!(
                    out,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/>",
                    y - 10.0
                );
            }
            Sign::Line => {
                let y = y - 4.0;
                let _ = writeln!(out, "<path class=\"{class}\" d=\"M{x:.1} {y}h20\"/>");
            }
            Sign::Mark => mark(out, x + 6.0, y),
            Sign::Nothing => {}
        }
        text(out, (x + self.sign.width(), y), "e", &self.name);
    }
}

/// Draws a mark whose tip is at `x` and `y`.
fn mark(out: &mut String, x: f64, y: f64) {
    let _ = writeln!(out, "<path class=\"fm\" d=\"M{x:.1} {y:.1}l-5 -9h10Z\"/>");
}

fn text(out: &mut String, (x, y): (f64, f64), class: &str, content: &str) {
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escape(content)
    );
}

/// Returns about how wide a text is. Fonts differ, so this is the wide end of the usual ones.
fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.58
}

fn clipped(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('…');
    short
}

/// Escapes text for XML, and drops what XML cannot hold.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out
}
