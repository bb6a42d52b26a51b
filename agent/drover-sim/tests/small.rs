//! Small groups, exhaustively: every size up to four, every surge and unavailability up to two, every
//! health that the instances can have when a new template arrives, and every outcome of the first
//! launches. In each of these lives the floor and the ceiling hold, and the rollout ends well.

mod driver;

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use drover_model::{
    Action, Amount, CheckOutcome, ExitReport, GroupPhase, InPlace, InPlaceUpdate, InstanceClass,
    InstanceId, OnFailure, ProviderRef, Timestamp,
};
use drover_provider_sim::{Behavior, SimSettings, Which};
use drover_sim::{Pass, Simulation, group, template};

use driver::{Life, live, seconds, serving};

const SIZE_MAX: u32 = 4;

/// So many launches of the new template have every outcome; those after them come up.
const DEPTH: u32 = 2;

/// Of an instance at the push, and of a launch after it: well, failing its checks, ended.
const FATES: u32 = 3;

/// The lives of all sizes: outcomes of `DEPTH` launches, times surge and unavailability from 0 to 2,
/// times the health of each instance.
const LIVES: u32 = (3 + 9 + 27 + 81) * 9 * FATES.pow(DEPTH);

/// From the push to the end, virtual: failed launches are spaced out by minutes.
const END: Duration = Duration::from_hours(1);

/// One combination.
#[derive(Debug, Clone)]
struct Case {
    size: u32,
    surge: u32,
    unavailable: u32,
    /// The fate of each instance at the push.
    old: Vec<u32>,
    /// The fate of each of the first launches after it.
    new: Vec<u32>,
}

fn digits(mut number: u32, count: u32) -> Vec<u32> {
    let mut digits = Vec::new();
    for _ in 0..count {
        digits.push(number % FATES);
        number /= FATES;
    }
    digits
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in 1..=SIZE_MAX {
        for limits in 0..9 {
            for old in 0..FATES.pow(size) {
                for new in 0..FATES.pow(DEPTH) {
                    cases.push(Case {
                        size,
                        surge: limits / 3,
                        unavailable: limits % 3,
                        old: digits(old, size),
                        new: digits(new, DEPTH),
                    });
                }
            }
        }
    }
    cases
}

fn failing() -> Behavior {
    Behavior::Health {
        after: Duration::ZERO,
        outcome: CheckOutcome::Failing {
            why: "status 500".to_owned(),
        },
    }
}

/// Lets everything happen that the case says, and pushes the new template.
fn push(sim: &mut Simulation, case: &Case) {
    let now = sim.now();
    let name = sim.name().clone();
    let refs: Vec<ProviderRef> = sim
        .world()
        .of_group(&name, now)
        .iter()
        .map(|(_, instance)| instance.provider_ref.clone())
        .collect();
    for (instance, fate) in refs.into_iter().zip(&case.old) {
        let mut world = sim.world();
        match fate {
            0 => {}
            1 => world.behave(now, Which::Ref(instance), failing()),
            _ => world.crash(&instance, now, ExitReport::default()),
        }
    }
    for (number, fate) in (u64::from(case.size) + 1..).zip(&case.new) {
        let which = Which::Instance(InstanceId::new(name.clone(), number));
        let mut world = sim.world();
        match fate {
            0 => {}
            1 => world.behave(now, which, failing()),
            _ => world.behave(
                now,
                which,
                Behavior::Exits {
                    after: seconds(3),
                    report: ExitReport::default(),
                },
            ),
        }
    }
    sim.edit(|spec| {
        spec.rollout.surge_max = Amount::Count(case.surge);
        spec.rollout.unavailable_max = Amount::Count(case.unavailable);
        spec.template = template(2);
    });
}

/// Returns how many instances were available before the pass, and how many of them it left alone.
fn available(pass: &Pass) -> (usize, usize) {
    let members = pass.classified.members.values();
    let before: BTreeSet<&InstanceId> = members
        .filter(|member| member.class == InstanceClass::Available && member.drain.is_none())
        .map(|member| &member.id)
        .collect();
    let taken = pass.plan.steps.iter().filter(|step| match &step.action {
        Action::Drain { instance, .. } | Action::Destroy { instance, .. } => {
            before.contains(instance)
        }
        Action::Update(InPlaceUpdate { instance, how, .. }) => {
            *how == InPlace::Restart && before.contains(instance)
        }
        Action::Create { .. }
        | Action::Resend { .. }
        | Action::Release { .. }
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Settle(_) => false,
    });
    (before.len(), before.len() - taken.count())
}

/// Lives one case. Returns the passes made.
async fn lived(life: &mut Life, case: &Case) -> u32 {
    let settings = SimSettings {
        boot: seconds(1),
        stop: seconds(1),
        ..SimSettings::default()
    };
    let mut begun = group("web", case.size, 1);
    begun.spec.rollout.min_ready = seconds(5);
    begun.spec.rollout.on_failure = OnFailure::Continue;
    begun.spec.health.startup_timeout = seconds(20);
    begun.spec.health.unhealthy_after = seconds(20);
    let mut sim = Simulation::new(begun, settings);
    life.converge(&mut sim).await;
    push(&mut sim, case);
    // Where neither is allowed, one may be unavailable.
    let unavailable = match (case.surge, case.unavailable) {
        (0, 0) => 1,
        (_, unavailable) => unavailable.min(case.size),
    };
    let floor = (case.size - unavailable) as usize;
    let ceiling = (case.size + case.surge) as usize;
    let end = sim.now().checked_add(END).unwrap_or(Timestamp::MAX);
    let mut passes = 0;
    while sim.now() < end {
        let pass = life.pass(&mut sim).await;
        passes += 1;
        let (before, after) = available(&pass);
        assert!(
            after >= before.min(floor),
            "{before} were available, then {after}: {case:?}"
        );
        let there = sim.world().of_group(sim.name(), sim.now()).len();
        assert!(there <= ceiling, "{there} exist: {case:?}");
        if pass.plan.next.phase == GroupPhase::Converged {
            let size = case.size as usize;
            assert_eq!((serving(&sim), there), (size, size), "{case:?}");
            let target = pass.plan.next.target.as_ref();
            let mut members = pass.classified.members.values();
            let current = members.all(|member| Some(&member.digests) == target);
            assert!(current, "{case:?}");
            return passes;
        }
        // The plan knows when there is something to see: no look between is needed.
        let interval = pass.at.checked_add(seconds(30)).unwrap_or(end);
        sim.clock
            .set(pass.plan.wake_at.unwrap_or(interval).min(end));
    }
    let holds: Vec<String> = sim
        .recorded
        .holds
        .iter()
        .map(|held| held.hold.to_string())
        .collect();
    panic!("never converged: {case:?}: {holds:?}");
}

#[test]
fn small_groups_keep_floor_and_ceiling_and_converge_whatever_fails() {
    let cases = cases();
    assert_eq!(cases.len(), LIVES as usize);
    let (next, passes) = (AtomicUsize::new(0), AtomicU32::new(0));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    live(async |life: &mut Life| {
                        passes.fetch_add(lived(life, case).await, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    println!("{LIVES} lives, {} passes", passes.into_inner());
}
