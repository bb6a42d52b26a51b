//! Reads texts that are made to go wrong, and says whether any did.
//!
//! ```text
//! cargo run --release -p drover-loop --example fuzz -- [TARGET...] [--seed N] [--count N] [--only N]
//! ```
//!
//! Each of `--count` texts for each target is one of ours, mutated. A panic, a broken promise and a text that takes
//! more than a second to read are failures; `--only` shows one of them again.

#![expect(
    clippy::print_stdout,
    reason = "a program, which measures time and prints a report"
)]

mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use targets::{Target, mutated};

/// The longest that reading one text may take.
const LONGEST: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let seed = number("--seed").unwrap_or(1);
    let numbers = match number("--only") {
        Some(only) => only..only + 1,
        None => 0..number("--count").unwrap_or(10_000),
    };
    std::panic::set_hook(Box::new(|_| {}));
    let named = |target: &&Target| arguments.iter().any(|name| name == target.name());
    let mut chosen: Vec<&Target> = Target::ALL.iter().filter(named).collect();
    if chosen.is_empty() {
        chosen = Target::ALL.iter().collect();
    }
    let mut failures = 0;
    for target in chosen {
        failures += walk(*target, seed, numbers.clone());
    }
    println!("{}", peak());
    ExitCode::from(u8::from(failures > 0))
}

fn walk(target: Target, seed: u64, numbers: std::ops::Range<u64>) -> u64 {
    let corpus = target.corpus();
    let (began, count) = (Instant::now(), numbers.end - numbers.start);
    let (mut failures, mut slowest) = (0, (Duration::ZERO, 0));
    for number in numbers {
        let text = mutated(&corpus, seed, number);
        let begun = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| target.read(&text)));
        let took = begun.elapsed();
        let wrong = match read {
            Ok(Ok(())) if took <= LONGEST => None,
            Ok(Ok(())) => Some(format!("took {took:?}")),
            Ok(Err(promise)) => Some(promise),
            Err(_) => Some("panicked".to_owned()),
        };
        if let Some(wrong) = wrong {
            failures += 1;
            println!("{} {number}: {wrong}", target.name());
        }
        if count == 1 {
            println!("{text}");
        }
        slowest = slowest.max((took, number));
    }
    println!(
        "{}: seed {seed}, {count} texts in {:.0?}, {failures} failures; the slowest took {:?} (number {})",
        target.name(),
        began.elapsed(),
        slowest.0,
        slowest.1
    );
    failures
}

/// Returns the most memory that this process had, as far as the system tells.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or("VmHWM: not known here").to_owned()
}
