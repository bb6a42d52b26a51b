//! A random life of a group: faults, restarts, changes of mind; then peace, in which it converges.

mod admission;
mod in_place;
mod keep;
mod many;
mod members;
mod orders;
mod policies;
mod settings;
mod tally;
mod throttles;
mod told;

use std::collections::BTreeSet;
use std::time::Duration;

use drover_apply::{FailWrites, StepResult};
use drover_model::{
    Amount, Canary, CheckOutcome, Checkpoint, Decisions, ErrorClass, ExitReport, FieldClass, Group,
    GroupPhase, GroupSpec, HealRevision, Held, Hold, OnFailure, Prefer, Promote, ProviderRef, Rate,
    Rebalance, RolloutMode, RolloutOrder, Spread, SystemicMode, Value,
};
use drover_provider_sim::{Behavior, Fault, FaultKind, Op, Which};

use crate::invariants::Checks;
use crate::simulation::of_group;
use crate::{Random, Simulation, SimulationError, Violation, group};

use members::{into_members, random_members};
use settings::random_settings;

pub use many::{WalkUntil, Walked, Walks, walk_all};
pub use tally::Tally;

/// Versions of the template from here on are bad.
const BAD_FROM: i64 = 1000;

/// One life in so many is that of a quorum group. By the seed, so that the others stay what they were.
const QUORUM_EACH: u64 = 5;

/// Half of those have a program that keeps a membership list.
const DYNAMIC_EACH: u64 = 2 * QUORUM_EACH;

/// One life in so many is that of an account whose calls are limited, in trouble and in peace.
const THROTTLED_EACH: u64 = 6;

/// In peace a group converges within this virtual time.
const PEACE_MAX: Duration = Duration::from_hours(12);

/// Passes after convergence in which late facts, such as addresses, may still be recorded.
const SETTLED: u32 = 10;

/// What a walk is made of.
#[derive(Debug, Clone, Copy)]
pub struct WalkOptions {
    /// The seed: everything random follows from it.
    pub seed: u64,
    /// Passes with faults, before peace.
    pub passes: u32,
    /// Where each pass is told, for people who look for the cause of a failure.
    pub trace: Option<fn(&str)>,
}

/// Lives a random life and checks the invariants after every pass.
///
/// # Errors
///
/// The first invariant that does not hold, with the pass it was found in.
pub async fn walk(options: WalkOptions) -> Result<Tally, Violation> {
    let mut random = Random::new(options.seed);
    let mut group = random_group(&mut random);
    if options.seed % QUORUM_EACH == QUORUM_EACH - 1 {
        into_members(&mut random, &mut group);
    }
    let mut keeper = keep::keeper(options.seed);
    if let Some(keeper) = &mut keeper {
        keep::random_keep(keeper, &mut group.spec);
    }
    if options.seed % DYNAMIC_EACH == DYNAMIC_EACH - 1 {
        members::into_dynamic(&mut group);
    }
    let mut settings = random_settings(&mut random);
    if options.seed % THROTTLED_EACH == THROTTLED_EACH - 1 {
        settings.throttles = throttles::throttles();
    }
    let mut life = Life {
        sim: Simulation::new(group, settings),
        checks: Checks::default(),
        random,
        keeper,
        asker: orders::asker(options.seed),
        chooser: orders::chooser(options.seed),
        in_place: options.seed % in_place::EACH == in_place::EACH - 1,
        version: 1,
        config: 1,
        weight: 1,
        bad: BTreeSet::new(),
        tally: Tally::default(),
        trace: options.trace,
    };
    for _ in 0..options.passes {
        life.trouble();
        life.change_keep();
        life.ask();
        life.choose();
        life.pass().await?;
        life.move_on();
    }
    life.peace();
    life.calm_down().await?;
    life.last_word();
    life.converge().await?;
    let Life { sim, mut tally, .. } = life;
    tally.close(sim.world().stats());
    Ok(tally)
}

struct Life {
    sim: Simulation,
    checks: Checks,
    random: Random,
    /// What decides about what is kept, in lives in which something is.
    keeper: Option<Random>,
    /// What decides about what people ask of instances, in lives in which they do.
    asker: Option<Random>,
    /// What decides about who yields, in lives in which somebody does.
    chooser: Option<Random>,
    /// Most changes are of fields that need no replacement.
    in_place: bool,
    version: i64,
    config: i64,
    weight: i64,
    /// The bad values of fields that the world knows.
    bad: BTreeSet<(&'static str, i64)>,
    tally: Tally,
    trace: Option<fn(&str)>,
}

fn random_group(random: &mut Random) -> Group {
    let mut group = group("web", random.below(13), 1);
    let amounts = [
        Amount::Count(0),
        Amount::Count(1),
        Amount::Count(2),
        Amount::Percent(10),
        Amount::Percent(25),
        Amount::Percent(35),
        Amount::Percent(100),
    ];
    let spec = &mut group.spec;
    spec.rollout.surge_max = random.pick(&amounts);
    spec.rollout.unavailable_max = random.pick(&amounts);
    spec.rollout.first_batch = random.pick(&[1, 1, 2, 5]);
    spec.rollout.min_ready = Duration::from_secs(random.pick(&[0, 5, 30]));
    spec.rollout.on_failure = random.pick(&[
        OnFailure::Pause,
        OnFailure::Rollback,
        OnFailure::Rollback,
        OnFailure::Continue,
    ]);
    spec.heal.in_flight_max = random.pick(&amounts[1..]);
    spec.heal.systemic.mode =
        random.pick(&[SystemicMode::Slow, SystemicMode::Slow, SystemicMode::Stop]);
    // Longer than the slowest start, or a good template would fail.
    spec.health.startup_timeout = Duration::from_secs(random.pick(&[90, 300, 600]));
    spec.limits.destroy_max = random.pick(&[None, Some(Amount::Percent(100))]);
    random_stages(random, spec);
    if random.percent(30) {
        spec.health.checks.clear();
    }
    if random.percent(30) {
        spec.drain.delay = Duration::ZERO;
    }
    let spans = [0, 30, 300].map(Duration::from_secs);
    spec.scaling.stabilization.up = random.pick(&spans);
    spec.scaling.stabilization.down = random.pick(&spans);
    spec.scaling.rate.down = Rate {
        amount: random.pick(&amounts[1..]),
        per: random.pick(&spans[1..]),
    };
    if random.percent(50) {
        let zones = ["a", "b", "c"].map(str::to_owned);
        let count = 1 + random.below(3) as usize;
        spec.placement.zones = zones[..count].to_vec();
        spec.placement.spread = random.pick(&[Spread::Even, Spread::Even, Spread::Any]);
        spec.placement.skew_max = random.pick(&[1, 1, 2]);
        spec.placement.cooldown = random.pick(&[30, 180].map(Duration::from_secs));
        spec.placement.rebalance = random.pick(&[
            Rebalance::Off,
            Rebalance::Opportunistic,
            Rebalance::Proactive,
            Rebalance::Proactive,
        ]);
    }
    spec.scaling.prefer = random.pick(&[Prefer::Oldest, Prefer::Newest]);
    if random.percent(20) {
        spec.limits.total_max = Some(spec.size + random.below(4));
    }
    admission::random_admission(random, spec);
    group
}

/// How a rollout goes on: half of the groups do nothing but roll.
fn random_stages(random: &mut Random, spec: &mut GroupSpec) {
    let rollout = &mut spec.rollout;
    rollout.monitor = Duration::from_secs(random.pick(&[0, 60, 300]));
    let orders = [
        RolloutOrder::Auto,
        RolloutOrder::Auto,
        RolloutOrder::CreateFirst,
        RolloutOrder::DeleteFirst,
    ];
    rollout.order = random.pick(&orders);
    if rollout.order == RolloutOrder::CreateFirst && rollout.surge_max == Amount::Count(0) {
        rollout.order = RolloutOrder::Auto;
    }
    if random.percent(50) {
        return;
    }
    if random.percent(50) {
        rollout.canary = Some(Canary {
            count: random.pick(&[Amount::Count(1), Amount::Count(3), Amount::Percent(25)]),
            hold: Duration::from_secs(random.pick(&[0, 60, 600])),
            promote: random.pick(&[Promote::Auto, Promote::Auto, Promote::Manual]),
        });
    }
    let shares = [Amount::Percent(25), Amount::Percent(50), Amount::Count(2)];
    for at in shares {
        if random.percent(30) {
            let wait = Duration::from_secs(random.pick(&[0, 120, 900]));
            rollout.checkpoints.push(Checkpoint { at, wait });
        }
    }
    rollout.bake = Duration::from_secs(random.pick(&[0, 0, 300]));
    if random.percent(20) {
        rollout.partition =
            Some(random.pick(&[Amount::Count(0), Amount::Count(2), Amount::Percent(50)]));
    }
    rollout.mode = random.pick(&[
        RolloutMode::Proactive,
        RolloutMode::Proactive,
        RolloutMode::Opportunistic,
        RolloutMode::Manual,
    ]);
    spec.heal.revision = random.pick(&[
        None,
        Some(HealRevision::Target),
        Some(HealRevision::Current),
    ]);
}

/// Three ways to be bad: never running, ending soon, never healthy.
fn bad_in_its_way(version: i64) -> Behavior {
    match version % 3 {
        0 => Behavior::NeverBoots,
        1 => Behavior::Exits {
            after: Duration::from_secs(2),
            report: ExitReport {
                code: Some(1),
                ..ExitReport::default()
            },
        },
        _ => Behavior::Health {
            after: Duration::ZERO,
            outcome: failing(),
        },
    }
}

fn failing() -> CheckOutcome {
    CheckOutcome::Failing {
        why: "status 500".to_owned(),
    }
}

impl Life {
    async fn pass(&mut self) -> Result<(), Violation> {
        self.tally.passes += 1;
        let passes = self.tally.passes;
        let context = |violation: Violation| Violation {
            what: format!("{} (pass {passes})", violation.what),
            ..violation
        };
        let pass = self.sim.pass().await.map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let violation = Violation {
                invariant: match error {
                    SimulationError::Lint(_) => "lint",
                    SimulationError::Plan(_) | SimulationError::Journal(_) => "simulation",
                },
                what: source.unwrap_or_else(|| error.to_string()),
            };
            context(violation)
        })?;
        if let Some(trace) = self.trace {
            trace(&told::told(passes, &self.sim, &pass));
        }
        let applied = pass.applied.as_ref();
        if let Some(applied) = applied {
            let outcomes = applied.outcomes.iter();
            let done = outcomes.filter(|outcome| outcome.result == StepResult::Done);
            self.tally.steps += done.count() as u64;
        }
        if applied.is_none_or(|applied| applied.journal_error.is_some()) {
            self.count("journal", "write failed");
        }
        self.checks.after(&self.sim, &pass).map_err(context)
    }

    fn count(&mut self, who: &'static str, what: &'static str) {
        self.tally.count(who, what);
    }

    /// Lets time pass: until the agent wants to look again, or something else wakes it.
    fn move_on(&mut self) {
        let seconds = match self.random.below(10) {
            0 => 0,
            1..=6 => 1 + self.random.below(10),
            7 | 8 => 10 + self.random.below(60),
            _ => 60 + self.random.below(400),
        };
        self.sim.clock.advance(Duration::from_secs(seconds.into()));
    }

    /// Lets something happen, or not.
    fn trouble(&mut self) {
        if self.random.percent(55) {
            return;
        }
        match self.random.below(24) {
            0 | 1 => self.new_version(),
            2 | 3 => self.resize(),
            4 => self.instance_fails(),
            5 => self.instance_vanishes(),
            6 | 7 => self.health_flips(),
            8 => self.listing_fault(),
            9..=12 => self.call_fault(),
            13 => self.journal_fault(),
            14 => {
                let lost = self.random.percent(30);
                self.count(
                    "agent",
                    if lost {
                        "killed, memory lost"
                    } else {
                        "killed"
                    },
                );
                self.sim.journal().recover();
                self.sim.restart(lost);
            }
            15 => self.fence(),
            16 if self.random.percent(50) => self.gate(),
            // No policy chooses how many members there are, nor has their rollout stages.
            16 | 19 | 20 if self.sim.spec().quorum.is_some() => self.roster_trouble(),
            16 => self.size_policy(),
            17 if self.random.percent(50) => self.capacity(),
            17 => self.zone_room(),
            18 => self.recover(),
            19 | 20 if self.in_place && self.random.percent(30) => self.change_action(),
            19 | 20 => self.change_stages(),
            21 => self.other_group(),
            22 if self.random.percent(50) => self.policy_table(),
            22 => self.protect(),
            _ => self.sim.world().clear_faults(),
        }
    }

    /// Lets the world know how instances with a bad value of a field behave.
    fn note_bad(&mut self, field: &'static str, value: i64) {
        if value >= BAD_FROM && self.bad.insert((field, value)) {
            let now = self.sim.now();
            let which = Which::Property(field.to_owned(), Value::from(value));
            self.sim.world().behave(now, which, bad_in_its_way(value));
        }
    }

    fn new_version(&mut self) {
        if self.in_place {
            self.new_fields();
            return;
        }
        self.version = match self.random.below(4) {
            0 => BAD_FROM + i64::from(self.random.below(300)),
            1 => i64::from(1 + self.random.below(3)),
            _ => self.version % BAD_FROM + 1,
        };
        let version = self.version;
        if version < BAD_FROM {
            self.count("document", "another template");
        } else {
            self.count("document", "a broken template");
            self.note_bad("version", version);
        }
        self.sim
            .edit(|spec| spec.template = crate::template(version));
    }

    /// A person pauses, promotes, or changes how the rollout goes on.
    fn change_stages(&mut self) {
        self.count("document", "other stages of the rollout");
        let paused = self.random.percent(30);
        let mut drawn = self.sim.spec().clone();
        drawn.rollout.canary = None;
        drawn.rollout.checkpoints.clear();
        drawn.rollout.partition = None;
        random_stages(&mut self.random, &mut drawn);
        drawn.rollout.order = self.sim.spec().rollout.order;
        drawn.rollout.paused = paused;
        self.sim.edit(|spec| {
            spec.rollout = drawn.rollout;
            spec.heal.revision = drawn.heal.revision;
        });
    }

    fn resize(&mut self) {
        self.count("document", "another size");
        if self.sim.spec().quorum.is_some() {
            let mut drawn = self.sim.spec().clone();
            random_members(&mut self.random, &mut drawn);
            self.sim.edit(|spec| *spec = drawn);
            return;
        }
        let size = self.random.below(13);
        self.sim.edit(|spec| spec.size = size);
    }

    fn some_instance(&mut self) -> Option<ProviderRef> {
        let now = self.sim.now();
        let refs: Vec<ProviderRef> = self
            .sim
            .world()
            .of_group(self.sim.name(), now)
            .iter()
            .map(|(_, instance)| instance.provider_ref.clone())
            .collect();
        (!refs.is_empty()).then(|| self.random.pick(&refs))
    }

    fn instance_fails(&mut self) {
        let now = self.sim.now();
        if let Some(instance) = self.some_instance() {
            self.count("instance", "ended");
            self.sim
                .world()
                .crash(&instance, now, ExitReport::default());
        }
    }

    fn instance_vanishes(&mut self) {
        let now = self.sim.now();
        let Some(instance) = self.some_instance() else {
            return;
        };
        if self.random.percent(50) {
            self.count("instance", "vanished");
            self.sim.world().vanish(&instance, now);
            return;
        }
        // The same, after a notice.
        let notice = self.random.pick(&[1, 30, 120, 600, 3600]);
        let taken_at = now + Duration::from_secs(notice);
        self.count("instance", "taken after a notice");
        self.sim.world().interrupt(&instance, taken_at);
    }

    /// One instance, or all of them, fail their checks or cannot be asked for a while.
    fn health_flips(&mut self) {
        let now = self.sim.now();
        let outcome = self.random.pick(&[
            failing(),
            CheckOutcome::Unknown {
                why: "no route to host".to_owned(),
            },
        ]);
        let seconds = self.random.pick(&[5, 60, 200, 800]);
        let until = now.checked_add(Duration::from_secs(seconds)).unwrap_or(now);
        let which = match self.some_instance() {
            Some(instance) if self.random.percent(80) => Which::Ref(instance),
            _ => Which::All,
        };
        self.count(
            "checks",
            match (&outcome, &which) {
                (CheckOutcome::Unknown { .. }, Which::All) => "nobody can be asked",
                (CheckOutcome::Unknown { .. }, _) => "one cannot be asked",
                (_, Which::All) => "all fail",
                (_, _) => "one fails",
            },
        );
        let behavior = Behavior::HealthBetween {
            from: now,
            until,
            outcome,
        };
        self.sim.world().behave(now, which, behavior);
    }

    fn listing_fault(&mut self) {
        let now = self.sim.now();
        let keep = self.random.below(8) as usize;
        // A listing that lies is survived for less than the time that proves an absence.
        // One that leaves out what a quorum group may not do without breaks the provider's contract.
        let lies = self.random.percent(30) && self.sim.spec().quorum.is_none();
        let kind = if lies {
            FaultKind::Truncated {
                keep,
                declared: false,
            }
        } else {
            self.random.pick(&[
                FaultKind::Truncated {
                    keep,
                    declared: true,
                },
                FaultKind::Error(ErrorClass::Throttled),
                FaultKind::Error(ErrorClass::Unknown),
                FaultKind::Repeated,
                FaultKind::Foreign,
            ])
        };
        let seconds = if lies {
            50
        } else {
            self.random.pick(&[5, 200])
        };
        let until = now.checked_add(Duration::from_secs(seconds)).unwrap_or(now);
        // Two lies in a row would be one long one.
        self.sim.world().clear_faults();
        if lies {
            // What ends while it lasts is believed to be gone until it is seen again.
            let slowest = until.checked_add(Duration::from_mins(5)).unwrap_or(until);
            self.checks.lies_until = Some(slowest);
        }
        if !lies || self.quiet_since_lie(now) {
            self.sim
                .world()
                .inject(Fault::between(Op::List, now, until, kind));
        }
    }

    fn quiet_since_lie(&mut self, now: drover_model::Timestamp) -> bool {
        let absent = self
            .sim
            .memory
            .values()
            .any(|memory| memory.absent.is_some_and(|absence| absence.since <= now));
        !absent
    }

    fn call_fault(&mut self) {
        if self.in_place && self.random.percent(60) {
            self.update_fault();
            return;
        }
        let op = self.random.pick(&[Op::Provision, Op::Destroy]);
        // A create that takes effect after a repeat of it was refused is beyond what can be known.
        let late = match op {
            Op::Destroy => FaultKind::LateEffect(Duration::from_secs(20)),
            _ => FaultKind::LostReply,
        };
        let kind = self.random.pick(&[
            FaultKind::LostReply,
            FaultKind::LostReply,
            FaultKind::LostRequest,
            late,
            FaultKind::Error(ErrorClass::Throttled),
            FaultKind::Error(ErrorClass::Capacity),
            FaultKind::Error(ErrorClass::Quota),
            FaultKind::Error(ErrorClass::Auth),
            FaultKind::NotFound,
            FaultKind::Fewer(1),
        ]);
        let times = 1 + self.random.below(4);
        let percent = self.random.pick(&[50, 100]);
        self.sim
            .world()
            .inject(Fault::next(op, times, kind).with_percent(percent));
    }

    /// The journal fails at its next write but a few: a crash between any two steps.
    fn journal_fault(&mut self) {
        let nth = self.sim.journal().writes() + 1 + u64::from(self.random.below(12));
        let how = self.random.pick(&[FailWrites::Before, FailWrites::After]);
        self.sim.journal().fail_from(nth, how);
    }

    fn fence(&mut self) {
        self.sim.fences = self.random.pick(&[
            vec![],
            vec![],
            vec![of_group(Hold::Frozen {
                by: "a person".to_owned(),
            })],
            vec![of_group(Hold::ClockStepped)],
        ]);
        match self.sim.fences.first().map(|held| &held.hold) {
            Some(Hold::ClockStepped) => self.count("agent", "clock stepped back"),
            Some(_) => self.count("agent", "frozen"),
            None => {}
        }
    }

    /// A zone has no room, or little, or has some again; or the zones of the document change.
    fn zone_room(&mut self) {
        let zone = self.random.pick(&["a", "b", "c"]).to_owned();
        let room = self.random.pick(&[Some(0), Some(0), Some(2), None]);
        if room.is_some() {
            self.count("zone", "little room or none");
        }
        self.sim.world().settings.zones.insert(zone, room);
        if self.random.percent(20) && !self.sim.spec().placement.zones.is_empty() {
            let zones = ["a", "b", "c"].map(str::to_owned);
            let from = self.random.below(3) as usize;
            self.sim
                .edit(|spec| spec.placement.zones = zones[from..].to_vec());
        }
    }

    fn capacity(&mut self) {
        let capacity = self.random.pick(&[None, Some(5), Some(9)]);
        if capacity.is_some() {
            self.count("provider", "room for few");
        }
        self.sim.world().settings.capacity = capacity;
    }

    fn recover(&mut self) {
        self.sim.journal().recover();
        self.sim.fences.clear();
        self.sim.decisions = Decisions::default();
    }

    /// Ends all faults.
    fn peace(&mut self) {
        self.recover();
        {
            let mut world = self.sim.world();
            world.clear_faults();
            world.settings.capacity = None;
            world.settings.zones.clear();
        }
        self.sim.rosters().clear_faults();
        self.sim.rosters().set_stranger(self.sim.name(), false);
    }

    /// Waits until what was begun in trouble is over, such as health that flips for some time.
    async fn calm_down(&mut self) -> Result<(), Violation> {
        for _ in 0..40 {
            self.pass().await?;
            self.sim.clock.advance(Duration::from_secs(30));
        }
        // Everything may truly be gone; then a person says so.
        let emptied = |held: &Held| matches!(held.hold, Hold::ObservationEmptied { .. });
        if self.sim.recorded.holds.iter().any(emptied) {
            self.sim.edit(|spec| spec.size = 0);
            for _ in 0..6 {
                self.pass().await?;
                self.sim.clock.advance(Duration::from_secs(30));
            }
        }
        Ok(())
    }

    /// Pushes a good document.
    fn last_word(&mut self) {
        let size = self.random.below(13);
        let last = if self.in_place {
            crate::template_with(self.version % BAD_FROM, 77, 77)
        } else {
            crate::template(77)
        };
        self.sim.edit(|spec| {
            if let Some(quorum) = &mut spec.quorum {
                // Majorities were lost on the way, and a person has looked at what is left.
                quorum.allow_downtime = true;
                crate::set_members(spec, &["m1", "m2", "m3"]);
            } else {
                spec.size = size;
            }
            spec.template = last;
            spec.limits.total_max = None;
            spec.limits.destroy_max = Some(Amount::Percent(100));
            spec.heal.systemic.mode = SystemicMode::Slow;
            spec.heal.keep.max = 0;
            spec.rollout.paused = false;
            spec.rollout.partition = None;
            spec.rollout.mode = RolloutMode::Proactive;
            spec.rollout.action_max = FieldClass::Replace;
            admission::let_rest(spec);
            if let Some(canary) = &mut spec.rollout.canary {
                canary.promote = Promote::Auto;
            }
        });
    }

    async fn converge(&mut self) -> Result<(), Violation> {
        let deadline = self
            .sim
            .now()
            .checked_add(PEACE_MAX)
            .unwrap_or(self.sim.now());
        let mut converged = 0;
        while self.sim.now() < deadline {
            let commits = self.sim.commits;
            let before = self.sim.recorded.clone();
            let calls = self.mutations();
            self.give_up_list();
            self.pass().await?;
            let kept = self
                .sim
                .recorded
                .instances
                .values()
                .any(|one| one.kept.is_some());
            if self.sim.recorded.phase == GroupPhase::Converged && !kept {
                converged += 1;
                if converged > SETTLED && (self.sim.commits, self.mutations()) != (commits, calls) {
                    return Err(Violation {
                        invariant: "I9 idempotence",
                        what: format!(
                            "a converged group changed (pass {}): {:#?} {:#?}",
                            self.tally.passes, before, self.sim.recorded
                        ),
                    });
                }
            } else {
                converged = 0;
            }
            if converged >= SETTLED + 3 {
                return self.leftovers();
            }
            self.sim.clock.advance(Duration::from_secs(10));
        }
        let holds: Vec<&str> = self
            .sim
            .recorded
            .holds
            .iter()
            .map(|held| held.hold.code())
            .collect();
        Err(Violation {
            invariant: "I6 progress",
            what: format!(
                "phase {} after {PEACE_MAX:?} of peace, holds {holds:?}",
                self.sim.recorded.phase.as_str()
            ),
        })
    }

    fn mutations(&self) -> u64 {
        let world = self.sim.world();
        let stats = world.stats();
        let ops = [Op::Provision, Op::Destroy, Op::Update];
        ops.into_iter().map(|op| stats.calls_of(op)).sum()
    }

    /// Nothing is left over: what the provider truly has is the size.
    fn leftovers(&self) -> Result<(), Violation> {
        let there = self
            .sim
            .world()
            .of_group(self.sim.name(), self.sim.now())
            .len();
        let size = self.sim.spec().size as usize;
        if there != size {
            return Err(Violation {
                invariant: "I6 progress",
                what: format!("{there} instances exist, {size} should"),
            });
        }
        self.list_is_whole()
    }
}
