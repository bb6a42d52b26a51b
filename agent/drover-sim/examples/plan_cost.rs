//! Measures what planning costs, from 100 instances to 100,000, prints a table, and draws a chart:
//! `cargo run --profile test -p drover-sim --example plan_cost -- docs/plan-cost.svg`. On an idle machine.

#![expect(clippy::print_stdout, reason = "what the example is for")]

#[path = "../../drover-plan/benches/fleet/mod.rs"]
mod fleet;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use fleet::{Known, SIZE, fleet_at_work, now, pass, rolling};

const SIZES: [u32; 7] = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];

/// Each is measured so often and for at least this long; the fastest counts.
const ROUNDS: u32 = 7;
const TIME: Duration = Duration::from_millis(500);

struct Line {
    name: &'static str,
    color: &'static str,
    /// Of each size.
    took: Vec<Duration>,
}

fn main() -> std::io::Result<()> {
    let fleets = SIZES.map(|size| measured(&fleet_at_work((size / SIZE) as usize)));
    let rolls = SIZES.map(|size| measured(&[rolling(size)]));
    let lines = [
        Line {
            name: "a fleet in groups of 20",
            color: "#1f6feb",
            took: fleets.into(),
        },
        Line {
            name: "one group in the middle of a roll",
            color: "#bf3989",
            took: rolls.into(),
        },
    ];
    print!("{}", table(&lines));
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, chart(&lines))?;
        println!("\n{path} drawn");
    }
    Ok(())
}

fn measured(groups: &[Known]) -> Duration {
    let at = now() + Duration::from_secs(70);
    let begun = Instant::now();
    let mut fastest = Duration::MAX;
    let mut rounds = 0;
    while rounds < ROUNDS || begun.elapsed() < TIME {
        let round = Instant::now();
        for group in groups {
            black_box(pass(group, at));
        }
        fastest = fastest.min(round.elapsed());
        rounds += 1;
    }
    fastest
}

/// In microseconds for each instance.
fn each(took: Duration, size: u32) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(size)
}

fn table(lines: &[Line]) -> String {
    let mut text = String::from("| instances |");
    for line in lines {
        let _ = write!(text, " {} | each |", line.name);
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- | --- |".repeat(lines.len()));
    for (index, size) in SIZES.into_iter().enumerate() {
        let _ = write!(text, "\n| {} |", thousands(size));
        for line in lines {
            let took = line.took[index];
            let each = each(took, size);
            let _ = write!(text, " {:.2} ms | {each:.2} µs |", took.as_secs_f64() * 1e3);
        }
    }
    text.push('\n');
    text
}

fn thousands(number: u32) -> String {
    match number / 1000 {
        0 => number.to_string(),
        thousands => format!("{thousands},{:03}", number % 1000),
    }
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 48.0;

fn x(size: u32) -> f64 {
    let (least, most) = (f64::from(SIZES[0]).log10(), f64::from(SIZES[6]).log10());
    let share = (f64::from(size).log10() - least) / (most - least);
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y(each: f64, most: f64) -> f64 {
    HEIGHT - BOTTOM - each / most * (HEIGHT - TOP - BOTTOM)
}

fn costs(line: &Line) -> Vec<(u32, f64)> {
    let all = SIZES.into_iter().zip(&line.took);
    all.map(|(size, took)| (size, each(*took, size))).collect()
}

/// Draws the cost of each instance: flat lines are what is wanted.
fn chart(lines: &[Line]) -> String {
    let highest = lines.iter().flat_map(costs).map(|(_, cost)| cost);
    let highest = highest.fold(0.0, f64::max);
    let step = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    let step = step.into_iter().find(|step| highest / step <= 5.0);
    let step = step.unwrap_or(200.0);
    let most = (highest / step).ceil() * step;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\">\n<title>What a plan costs for each instance</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" fill=\"#1f2328\">Classify, plan and lint: microseconds for each \
         instance</text>\n"
    );
    grid(&mut out, most, step);
    for (index, line) in lines.iter().enumerate() {
        curve(&mut out, index, line, most);
    }
    out.push_str("</svg>\n");
    out
}

/// Draws the lines of the grid and what they stand for.
fn grid(out: &mut String, most: f64, step: f64) {
    let mut tick: f64 = 0.0;
    while tick <= most + step / 2.0 {
        let at = y(tick, most);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#d0d7de\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#57606a\">{tick}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
        tick += step;
    }
    for size in SIZES {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#57606a\">{}</text>",
            x(size),
            HEIGHT - BOTTOM + 18.0,
            thousands(size)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#57606a\">instances</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 8.0
    );
}

/// Draws one line and its name.
fn curve(out: &mut String, index: usize, line: &Line, most: f64) {
    let points: Vec<(f64, f64)> = costs(line)
        .into_iter()
        .map(|(size, cost)| (x(size), y(cost, most)))
        .collect();
    let path: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let color = line.color;
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (x, y) in points {
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>"
        );
    }
    let at = LEFT + 240.0 * index as f64;
    let _ = writeln!(
        out,
        "<rect x=\"{at}\" y=\"32\" width=\"12\" height=\"4\" fill=\"{color}\"/>\
         <text x=\"{}\" y=\"38\" fill=\"#1f2328\">{}</text>",
        at + 18.0,
        line.name
    );
}
