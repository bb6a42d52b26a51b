//! How many groups are planned, and how long a pass takes, after a commit that touches one of ten thousand groups of ten
//! simulated instances, all of which a gate policy judges.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use fleet::{Fleet, INSTANCES, group, push};

mod fleet;

fn main() {
    const MANY: usize = 10_000;
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let fleet = Fleet::of(MANY, true);
    let mut agent = fleet.agent();
    runtime.block_on(fleet.converge(&mut agent));
    fleet.clock.advance();
    // The next pass is within the time for which plans without steps are believed.
    runtime.block_on(agent.pass());
    let mut documents: Vec<(String, String)> = (0..MANY).map(group).collect();
    let (size, other) = (format!("size: {INSTANCES}"), "size: 9");
    documents[7].1 = documents[7].1.replace(&size, other);
    push(&fleet.repository, &documents, true);
    let before = agent.status().source.commit.clone();
    let (report, took) = loop {
        // What became of so many groups may still be being written down.
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        let report = runtime.block_on(agent.pass());
        let took = begun.elapsed();
        if agent.status().source.commit != before {
            break (report, took);
        }
        assert_eq!(report.planned, 0);
        fleet.clock.advance();
    };
    println!(
        "a commit that touches one of {MANY} groups: {} planned, a pass of {} ms",
        report.planned,
        took.as_millis()
    );
    assert_eq!(report.planned, 1);
}
