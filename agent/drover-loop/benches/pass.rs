//! How long a pass takes over a large fleet: with nothing to do, and from a cold start.
//!
//! Everything around the agent is in memory, so this measures the agent: parsing, joining,
//! classifying, deciding, planning, and telling what is unchanged.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

use fleet::Fleet;

mod fleet;

/// The memory that the process holds, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024
}

fn unchanged(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    for (name, policy) in [("unchanged", false), ("unchanged with a policy", true)] {
        let fleet = Fleet::new(policy);
        let mut agent = fleet.agent();
        runtime.block_on(fleet.converge(&mut agent));
        let (writes, commits) = (fleet.journal.writes(), fleet.branch.log().len());
        criterion.bench_function(&format!("pass/{name}"), |bencher| {
            bencher.iter(|| {
                fleet.clock.advance();
                runtime.block_on(agent.pass())
            });
        });
        assert_eq!(fleet.journal.writes(), writes, "an unchanged pass wrote");
        assert_eq!(
            fleet.branch.log().len(),
            commits,
            "an unchanged pass committed"
        );
        println!(
            "resident: {} MiB, the simulated world and the journal included",
            resident_mib()
        );
    }
}

fn cold(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let fleet = Fleet::new(false);
    let mut agent = fleet.agent();
    runtime.block_on(fleet.converge(&mut agent));
    drop(agent);
    criterion.bench_function("pass/cold start with data", |bencher| {
        bencher.iter(|| {
            let mut agent = fleet.agent();
            runtime.block_on(agent.pass())
        });
    });
    criterion.bench_function("pass/first sight", |bencher| {
        bencher.iter_batched(
            || Fleet::new(false),
            |fleet| {
                let mut agent = fleet.agent();
                runtime.block_on(agent.pass());
                fleet
            },
            criterion::BatchSize::LargeInput,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = unchanged, cold
}
criterion_main!(benches);
