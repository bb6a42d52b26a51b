//! Judges calls of webhooks that are made to go wrong, and says whether any was judged wrongly.
//!
//! ```text
//! cargo run --release -p drover --example webhook-bodies -- [--seed N] [--count N]
//! ```
//!
//! A panic, a call that counts and must not, and one that must and does not are failures.

#![expect(
    clippy::print_stdout,
    reason = "a program, which measures time and prints a report"
)]

mod calls;
#[path = "../../src/agent/webhook/signature.rs"]
mod signature;

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        let value = at.and_then(|at| arguments.get(at + 1)?.parse().ok());
        value.unwrap_or(default)
    };
    let (seed, count) = (number("--seed", 1), number("--count", 10_000));
    let begun = Instant::now();
    let (mut counted, mut failures) = (0_u64, 0_u64);
    for number in 0..count {
        let judged = catch_unwind(|| calls::judge(seed, number));
        let wrong = match judged {
            Ok(Ok(counts)) => {
                counted += u64::from(counts);
                continue;
            }
            Ok(Err(wrong)) => wrong,
            Err(_) => "panicked".to_owned(),
        };
        failures += 1;
        println!("call {number}: {wrong}");
    }
    let took = begun.elapsed();
    println!("seed {seed}, {count} calls in {took:.0?}: {counted} count, {failures} failures");
    ExitCode::from(u8::from(failures > 0))
}
