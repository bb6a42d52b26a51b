//! Random lives of a group, from seeds: the planner's invariants hold in each of them.
//!
//! They are lived on all cores. A failure prints every seed that failed and the command that lives it
//! alone: `SEED=n`, where `TRACE=1` with `--nocapture` tells every pass. `SEEDS=n` lives so many, and
//! `FIRST=n` begins with another seed than 0. A long run is `cargo run --release -p drover-sim --example walk`.

use drover_sim::{WalkOptions, WalkUntil, Walks, walk, walk_all};

/// Lives in one run: about five minutes of processor time. Each of 150 passes with trouble, then peace.
const SEEDS: u64 = 2000;

/// Passes with trouble in each life.
const PASSES: u32 = 150;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[expect(clippy::print_stdout, reason = "told only on request")]
fn tell(text: &str) {
    println!("{text}");
}

#[test]
fn random_lives_keep_every_invariant_and_converge_in_peace() {
    let (first, seeds) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("FIRST").unwrap_or(0),
            number("SEEDS").unwrap_or(SEEDS),
        ),
    };
    let walked = walk_all(Walks {
        first,
        until: WalkUntil::Seeds(seeds),
        passes: PASSES,
        trace: number("TRACE").map(|_| tell as fn(&str)),
    });
    println!("{walked}");
    assert!(walked.violations.is_empty(), "{walked}");
    assert_eq!(walked.tally.seeds, seeds);
}

thread_local! {
    static TOLD: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

fn keep(text: &str) {
    TOLD.with_borrow_mut(|told| {
        told.push_str(text);
        told.push('\n');
    });
}

/// Lives one life and returns every pass of it as text.
fn told(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be built");
    TOLD.take();
    let life = walk(WalkOptions {
        seed,
        passes: PASSES,
        trace: Some(keep),
    });
    runtime
        .block_on(life)
        .expect("the walk holds every invariant");
    TOLD.take()
}

#[test]
fn a_seed_gives_the_same_life_byte_for_byte() {
    for seed in 0..4 {
        let first = told(seed);
        assert!(first.lines().count() > 150);
        assert_eq!(first, told(seed), "seed {seed}");
    }
    assert_ne!(told(0), told(1));
}
