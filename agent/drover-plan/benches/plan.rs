//! How long planning takes: 10,000 instances in 500 groups, the goal is less than 50 ms for all of
//! them, classification included. One group is rolling, one heals, the others are quiet. The others show
//! how the cost grows, from 100 instances to 100,000.

mod fleet;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

use fleet::{SIZE, fleet_at_work, known_of, now, pass, rolling};

const LARGE: u32 = 10_000;
const SIZES: [u32; 4] = [100, 1_000, LARGE, 100_000];

fn planning(criterion: &mut Criterion) {
    let at = now() + Duration::from_secs(70);
    let mut fleets = criterion.benchmark_group("classify, plan and lint a fleet in groups of 20");
    for size in SIZES {
        let groups = fleet_at_work((size / SIZE) as usize);
        fleets.bench_with_input(
            BenchmarkId::from_parameter(size),
            &groups,
            |bench, groups| {
                bench.iter(|| {
                    for group in groups {
                        black_box(pass(group, at));
                    }
                });
            },
        );
    }
    fleets.finish();
    let mut large = known_of(0, SIZE);
    large.group.spec.size = LARGE;
    criterion.bench_function(
        "plan the first 500 of 10,000 instances of one group",
        |bench| {
            bench.iter(|| black_box(pass(&large, at)));
        },
    );
}

fn roll(criterion: &mut Criterion) {
    let at = now() + Duration::from_secs(70);
    let mut rolls =
        criterion.benchmark_group("classify, plan and lint one group in the middle of a roll");
    for size in SIZES {
        let group = rolling(size);
        let (_, plan) = pass(&group, at);
        assert!(
            plan.steps.len() >= (size / 5).min(900) as usize,
            "{} steps",
            plan.steps.len()
        );
        rolls.bench_with_input(BenchmarkId::from_parameter(size), &group, |bench, group| {
            bench.iter(|| black_box(pass(group, at)));
        });
    }
    rolls.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = planning, roll
}
criterion_main!(benches);
