//! A few of the mutated texts that the example `fuzz` reads a million of.

#[path = "../examples/fuzz/targets.rs"]
mod targets;

use targets::{Target, mutated};

#[test]
fn mutated_texts_panic_nowhere_and_break_no_promise() {
    for target in Target::ALL {
        let corpus = target.corpus();
        assert!(!corpus.is_empty(), "{}", target.name());
        for original in &corpus {
            target.read(original).unwrap();
        }
        for number in 0..3_000 {
            let text = mutated(&corpus, 7, number);
            let read = target.read(&text);
            assert_eq!(read, Ok(()), "{} {number}: {text}", target.name());
        }
    }
}
