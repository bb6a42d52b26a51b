//! Evaluates expressions that are made to go wrong, and says whether any did.
//!
//! ```text
//! cargo run --release -p drover-policy --example fuzz-expressions -- [--seed N] [--count N] [--only N] [--hostile]
//! ```
//!
//! Each of `--count` expressions is one of ours, mutated, and is evaluated without the check and, if it
//! can be parsed, with it. A panic, an evaluation of more than a second, and of course an abort, are
//! failures; the number that is printed evaluates one of them again with `--only`. `--hostile` shows
//! what becomes of the expressions that are written to take long.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program, which measures time and prints a report"
)]

mod hostile;
mod mutate;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use drover_policy::language::{Checking, Datum, Fault, Surroundings, evaluate};

/// The longest that one evaluation may take, parsing and checking included.
const LONGEST: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if arguments.iter().any(|argument| argument == "--hostile") {
        return hostile_ones();
    }
    let seed = number("--seed").unwrap_or(1);
    let numbers = match number("--only") {
        Some(only) => only..only + 1,
        None => 0..number("--count").unwrap_or(10_000),
    };
    mutated_ones(seed, numbers)
}

fn timed(
    source: &str,
    values: &[(String, Datum)],
    checking: Checking,
) -> (Result<Datum, Fault>, Duration) {
    let began = Instant::now();
    let surroundings = Surroundings {
        container: "",
        values,
        checking,
    };
    let result = evaluate(source, surroundings);
    (result, began.elapsed())
}

/// How many evaluations came to what.
#[derive(Debug, Default)]
struct Ends {
    values: u64,
    refused: u64,
    failed: u64,
    exhausted: u64,
    panicked: u64,
    late: u64,
}

impl Ends {
    fn count(&mut self, result: &Result<Datum, Fault>) {
        match result {
            Ok(_) => self.values += 1,
            Err(Fault::Refused { .. }) => self.refused += 1,
            Err(Fault::Failed(_)) => self.failed += 1,
            Err(Fault::Exhausted) => self.exhausted += 1,
            Err(Fault::Panicked(_)) => self.panicked += 1,
        }
    }
}

fn mutated_ones(seed: u64, numbers: std::ops::Range<u64>) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let corpus = mutate::corpus();
    let values = mutate::values();
    let began = Instant::now();
    let mut ends = Ends::default();
    let mut slowest = (Duration::ZERO, 0, String::new());
    let only = numbers.end - numbers.start == 1;
    for number in numbers.clone() {
        let source = mutate::mutated(&corpus, seed, number);
        // What cannot be parsed is refused either way.
        for checking in [Checking::None, Checking::Strict] {
            let (result, took) = timed(&source, &values, checking);
            ends.count(&result);
            if only {
                println!("{checking:?}: {source}\n  {result:?}");
            }
            if let Err(Fault::Panicked(why)) = &result {
                println!("PANIC {number}: {source}\n  {why}");
            }
            if took > LONGEST {
                ends.late += 1;
                println!("LATE {number}: {source}\n  {took:?}");
            }
            if took > slowest.0 {
                slowest = (took, number, source.clone());
            }
            if matches!(result, Err(Fault::Refused { .. })) {
                break;
            }
        }
        if number % 100_000 == 99_999 {
            println!("{} after {:.0?}: {ends:?}", number + 1, began.elapsed());
        }
    }
    println!(
        "seed {seed}, {} expressions in {:.0?}: {ends:?}",
        numbers.end - numbers.start,
        began.elapsed()
    );
    println!(
        "slowest: {:?} for number {}: {}",
        slowest.0, slowest.1, slowest.2
    );
    println!("{}", peak());
    if ends.panicked + ends.late > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn hostile_ones() -> ExitCode {
    let values = hostile::values();
    let mut wrong = false;
    println!("| what it tries | what becomes of it | ms |");
    println!("| --- | --- | --- |");
    for case in hostile::all() {
        let (result, took) = timed(&case.source, &values, Checking::Strict);
        let end = match &result {
            Ok(_) => "a value".to_owned(),
            Err(fault) => fault.to_string(),
        };
        let mark = if case.end.is(&result) && took <= LONGEST {
            ""
        } else {
            " WRONG"
        };
        wrong |= !mark.is_empty();
        println!("| {} | {end}{mark} | {} |", case.name, took.as_millis());
    }
    println!("\n{}", peak());
    ExitCode::from(u8::from(wrong))
}

/// Returns the most memory that this process had, as far as the system tells.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or("VmHWM: not known here").to_owned()
}
