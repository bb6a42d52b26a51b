//! Lives of groups for tests: each pass must be made, and a failure says where.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_apply::Journal as _;
use drover_model::{CheckOutcome, ExitReport, IntentKind, ProviderPhase, ProviderRef};
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

#[allow(dead_code, reason = "each test program uses some of it")]
pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Counts what truly serves: running, healthy, and not being drained or ended.
#[allow(dead_code, reason = "each test program uses some of it")]
pub(crate) fn serving(sim: &Simulation) -> usize {
    let now = sim.now();
    let intents = sim.journal().open_intents(sim.name());
    let leaving: BTreeSet<_> = intents
        .expect("a journal in memory can be read")
        .into_iter()
        .filter_map(|intent| match intent.kind {
            IntentKind::Drain { instance, .. } | IntentKind::Destroy { instance, .. } => {
                Some(instance)
            }
            IntentKind::Create { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => None,
        })
        .collect();
    let world = sim.world();
    let all = world.of_group(sim.name(), now);
    all.iter()
        .filter(|(id, instance)| {
            instance.phase(now) == Some(ProviderPhase::Running)
                && world.health(&instance.provider_ref, now) == CheckOutcome::Passing
                && !leaving.contains(id)
        })
        .count()
}

/// Returns the handle of what holds each place of a quorum group, gone ones not counted.
#[allow(dead_code, reason = "each test program uses some of it")]
pub(crate) fn places(sim: &Simulation) -> BTreeMap<String, ProviderRef> {
    let world = sim.world();
    let all = world.of_group(sim.name(), sim.now());
    let placed = all.into_iter().filter_map(|(_, instance)| {
        let seat = instance.ownership.as_ref()?.seat.clone()?;
        Some((seat.member.to_string(), instance.provider_ref.clone()))
    });
    placed.collect()
}

/// Ends what holds the place of `member`.
#[allow(dead_code, reason = "each test program uses some of it")]
pub(crate) fn crash(sim: &Simulation, member: &str) {
    let (now, holder) = (sim.now(), places(sim)[member].clone());
    sim.world().crash(&holder, now, ExitReport::default());
}

/// Takes away what holds the place of `member`, without a trace.
#[allow(dead_code, reason = "each test program uses some of it")]
pub(crate) fn vanish(sim: &Simulation, member: &str) {
    let (now, holder) = (sim.now(), places(sim)[member].clone());
    sim.world().vanish(&holder, now);
}
