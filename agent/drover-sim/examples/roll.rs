//! Rolls 1,000 instances on the virtual clock and tells how long that takes there, and how long it
//! takes here: `cargo run --release -p drover-sim --example roll`.

#![expect(clippy::print_stdout, reason = "what the example is for")]

use std::time::{Duration, Instant};

use drover_model::Amount;
use drover_provider_sim::SimSettings;
use drover_sim::{Simulation, SimulationError, group, template};

fn main() -> Result<(), SimulationError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(rolls())
}

async fn rolls() -> Result<(), SimulationError> {
    for (surge, unavailable) in [(10, 0), (10, 10), (25, 25)] {
        let settings = SimSettings {
            boot: Duration::from_secs(90),
            ..SimSettings::default()
        };
        let mut sim = Simulation::new(group("web", 1000, 1), settings);
        sim.converge().await?;
        sim.edit(|spec| {
            spec.rollout.surge_max = Amount::Percent(surge);
            spec.rollout.unavailable_max = Amount::Percent(unavailable);
            spec.drain.delay = Duration::from_secs(30);
            spec.template = template(2);
        });
        let begun = Instant::now();
        let mut passes = 0;
        let wanted = |pass: &drover_sim::Pass| {
            passes += 1;
            pass.plan.next.phase == drover_model::GroupPhase::Converged
        };
        let taken = sim.until(Duration::from_hours(24), wanted).await?;
        println!(
            "surge {surge} %, unavailable {unavailable} %: {taken:?} of virtual time, {passes} passes in {:?}",
            begun.elapsed()
        );
    }
    Ok(())
}
