//! Lives random lives of groups on all cores until so many passes are done, and tells what they went
//! through: `cargo run --release -p drover-sim --example walk -- 1000000`. A second number is the first
//! seed, for a run that repeats no other one.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what the example is for"
)]

use std::process::ExitCode;
use std::time::Instant;

use drover_sim::{WalkUntil, Walks, walk_all};

const USAGE: &str =
    "usage: cargo run --release -p drover-sim --example walk -- PASSES [FIRST_SEED]";

/// As in the test that walks.
const PASSES_WITH_TROUBLE: u32 = 150;

fn main() -> ExitCode {
    let walks = match walks(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(walks) => walks,
        Err(mistake) => {
            eprintln!("error: {mistake}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let begun = Instant::now();
    let walked = walk_all(walks);
    println!("{walked}\nwalked in {:.0?}", begun.elapsed());
    ExitCode::from(u8::from(!walked.violations.is_empty()))
}

fn walks(arguments: &[String]) -> Result<Walks, String> {
    let (passes, first) = match arguments {
        [] => return Err("how many passes?".to_owned()),
        [passes] => (number("PASSES", passes)?, 0),
        [passes, first] => (number("PASSES", passes)?, number("FIRST_SEED", first)?),
        [_, _, more @ ..] => return Err(format!("unexpected: {}", more.join(" "))),
    };
    if passes == 0 {
        return Err("PASSES must be at least 1".to_owned());
    }
    Ok(Walks {
        first,
        until: WalkUntil::Passes(passes),
        passes: PASSES_WITH_TROUBLE,
        trace: None,
    })
}

fn number(what: &str, text: &str) -> Result<u64, String> {
    text.replace('_', "")
        .parse()
        .map_err(|_| format!("{what} must be a whole number, not \"{text}\""))
}
