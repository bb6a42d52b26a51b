//! A few of the mutated expressions that the example `fuzz` evaluates a million of.

#[path = "../examples/fuzz/mutate.rs"]
mod mutate;

use std::time::{Duration, Instant};

use drover_policy::language::{Checking, Fault, Surroundings, evaluate};

/// Generous: a debug build on a busy machine.
const BOUNDED: Duration = Duration::from_secs(20);

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about time")]
fn mutated_expressions_neither_panic_nor_take_long() {
    let corpus = mutate::corpus();
    let values = mutate::values();
    let mut evaluated = 0;
    for number in 0..1_000 {
        let source = mutate::mutated(&corpus, 7, number);
        for checking in [Checking::Strict, Checking::None] {
            let began = Instant::now();
            let surroundings = Surroundings {
                container: "",
                values: &values,
                checking,
            };
            let result = evaluate(&source, surroundings);
            let took = began.elapsed();
            assert!(
                !matches!(result, Err(Fault::Panicked(_))),
                "{number}: {source}: {result:?}"
            );
            assert!(took < BOUNDED, "{number}: {source}: {took:?}");
            evaluated += usize::from(result.is_ok());
        }
    }
    // Otherwise they would say little about evaluation.
    assert!(evaluated > 100, "{evaluated} had a value");
}
