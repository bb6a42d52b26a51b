//! Lives of groups for tests: each pass must be made, and a failure says where.

use std::time::Duration;

use drover_provider_sim::SimSettings;
use drover_sim::{Pass, Simulation, group};

/// What drives a simulation. Every failure is a failure of the test.
pub(crate) struct Life;

#[allow(dead_code, reason = "each test program uses some of it")]
impl Life {
    pub(crate) async fn pass(&self, sim: &mut Simulation) -> Pass {
        sim.pass().await.expect("a pass can be made")
    }

    pub(crate) async fn run(&self, sim: &mut Simulation, time: Duration) {
        sim.run(time).await.expect("every pass can be made");
    }

    /// Returns how long it took.
    pub(crate) async fn converge(&self, sim: &mut Simulation) -> Duration {
        let taken = sim.converge().await.expect("every pass can be made");
        taken.unwrap_or_else(|| {
            let holds: Vec<String> = sim
                .recorded
                .holds
                .iter()
                .map(|held| held.hold.to_string())
                .collect();
            panic!("never converged: {holds:?}")
        })
    }
}

/// Runs one life on paused time.
pub(crate) fn live(life: impl AsyncFnOnce(&mut Life)) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(life(&mut Life));
}

/// Returns a group of `size` that has converged.
#[allow(dead_code, reason = "each test program uses some of it")]
pub(crate) async fn converged(life: &Life, size: u32, settings: SimSettings) -> Simulation {
    let mut sim = Simulation::new(group("web", size, 1), settings);
    life.converge(&mut sim).await;
    sim
}
