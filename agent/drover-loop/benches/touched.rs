//! How many groups are planned, and how long a pass takes, after a commit that touches one of ten thousand groups of one
//! simulated instance, all of which a gate policy judges.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use fleet::{Fleet, group, push};

mod fleet;

fn main() {
    const MANY: usize = 10_000;
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let fleet = Fleet::of(MANY, 1, true);
    let mut agent = fleet.agent();
    runtime.block_on(fleet.converge(&mut agent));
    fleet.clock.advance();
    // Until all of it is written down, and every group was planned once more with nothing to do: from here on the
    // fleet's clock stands, as such a plan is believed for some minutes of it.
    let mut still = 0;
    while still < 3 {
        std::thread::sleep(Duration::from_millis(100));
        let report = runtime.block_on(agent.pass());
        let busy = report.planned + report.unfinished;
        still = if busy == 0 { still + 1 } else { 0 };
    }
    let mut documents: Vec<(String, String)> = (0..MANY).map(|number| group(number, 1)).collect();
    documents[7] = group(7, 2);
    push(&fleet.repository, &documents, true);
    let before = agent.status().source.commit.clone();
    let (report, took) = loop {
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        let report = runtime.block_on(agent.pass());
        let took = begun.elapsed();
        if agent.status().source.commit != before {
            break (report, took);
        }
        assert_eq!(report.planned, 0);
    };
    println!(
        "a commit that touches one of {MANY} groups: {} planned, a pass of {} ms",
        report.planned,
        took.as_millis()
    );
    assert_eq!(report.planned, 1);
}
