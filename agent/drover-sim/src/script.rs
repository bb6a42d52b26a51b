//! Scenario scripts: commands that set up, push, break and let time pass, and the transcript.
//!
//! A scenario is one text. Lines that begin with `#` are comments, lines that begin with `>` are
//! commands, and every other line is what the command before it said. [`replay`] runs the commands
//! and returns the text with what they say now, so that a difference is what a reviewer reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use drover_model::{
    Activity, BindingName, Bounds, Canary, CheckOutcome, Checkpoint, DecisionPoint, DeletionPolicy,
    Digests, Enforcement, ErrorClass, ExitReport, GroupPhase, GroupSpec, HealRevision, Held,
    InstanceId, Lifecycle, Manage, MemberId, OnDrainTimeout, OnFailure, Outcome, PolicyName,
    Prefer, Promote, Reason, Rebalance, RolloutMode, RolloutOrder, SizeDecision, SourceSpan,
    Spread, Suspend, SystemicMode, Timestamp, Value, Verdict,
};
use drover_plan::render;
use drover_provider::Clock as _;
use drover_provider_sim::{Behavior, Fault, FaultKind, Op, SimSettings, Which};

mod admission;
mod words;

use words::{amount, rate, span};

use crate::{Pass, Simulation, SimulationError, group, template};

/// Longest time that `until` waits.
const UNTIL_MAX: Duration = Duration::from_hours(24);

/// Why a script cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A command is not understood.
    #[error("line {line}: cannot understand {what:?}")]
    Unclear {
        /// The line, from 1.
        line: usize,
        /// What is not understood.
        what: String,
    },
    /// A pass could not be made.
    #[error("line {line}: a pass failed")]
    Pass {
        /// The line, from 1.
        line: usize,
        /// Why.
        source: SimulationError,
    },
}

/// Runs a scenario and returns it with the answers that it gives now.
///
/// # Errors
///
/// A command that is not understood, and a pass that fails.
pub async fn replay(text: &str) -> Result<String, ScriptError> {
    let mut stage = Stage::new();
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') || line.is_empty() && !out.contains("\n>") {
            out.push_str(line);
            out.push('\n');
        } else if let Some(command) = line.strip_prefix("> ") {
            stage.line = index + 1;
            stage.out.clear();
            stage.command(command.trim()).await?;
            let _ = writeln!(out, "{line}");
            out.push_str(&stage.out);
        }
    }
    Ok(out)
}

struct Stage {
    sim: Simulation,
    settings: SimSettings,
    begun: Option<Timestamp>,
    line: usize,
    out: String,
    told: Option<(GroupPhase, Vec<Held>)>,
}

impl Stage {
    fn new() -> Self {
        let settings = SimSettings {
            boot: Duration::from_secs(20),
            stop: Duration::from_secs(5),
            ..SimSettings::default()
        };
        Self {
            sim: Simulation::new(group("web", 3, 1), settings.clone()),
            settings,
            begun: None,
            line: 0,
            out: String::new(),
            told: None,
        }
    }

    fn unclear<T>(&self, what: &str) -> Result<T, ScriptError> {
        Err(ScriptError::Unclear {
            line: self.line,
            what: what.to_owned(),
        })
    }

    async fn command(&mut self, command: &str) -> Result<(), ScriptError> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["provider", settings @ ..] => self.provider(settings),
            ["push", edits @ ..] => self.push(edits),
            ["remove"] => {
                self.sim.remove();
                Ok(())
            }
            ["version", version, how] => self.version(version, how),
            ["crash", instance] => self.crash(instance),
            ["vanish", instance] => self.vanish(instance),
            ["interrupt", instance, notice] => self.interrupt(instance, notice),
            ["health", instance, outcome, span] => self.health(instance, outcome, span),
            ["zone", zone, room] => self.zone(zone, room),
            ["busy", instance] => self.busy(instance),
            ["list", how, span] => self.listing(how, span),
            ["next", op, how] => self.fail(op, how, |op, kind| Fault::next(op, 1, kind)),
            ["always", op, how] => self.fail(op, how, Fault::always),
            ["well"] => {
                self.sim.world().clear_faults();
                Ok(())
            }
            ["gate", reason, state] => self.gate(reason, state),
            ["policy", "size", choice] => self.size_policy(choice),
            ["suspend", activity] => self.suspend(activity),
            ["resume"] => {
                self.sim.edit(|spec| spec.suspend.clear());
                Ok(())
            }
            ["restart"] => {
                self.sim.restart(false);
                Ok(())
            }
            ["lose", what] => self.lose(what),
            ["leader", member] => self.leader(member),
            ["restart", "memory-lost"] => {
                self.sim.restart(true);
                Ok(())
            }
            ["pass"] => self.pass(true).await.map(drop),
            ["run", span] => self.run(span).await,
            ["until", phase] => self.until(phase).await,
            ["show"] => {
                self.show();
                Ok(())
            }
            ["stats"] => {
                self.stats();
                Ok(())
            }
            other if self.admission(other)? => Ok(()),
            _ => self.unclear(command),
        }
    }

    fn provider(&mut self, settings: &[&str]) -> Result<(), ScriptError> {
        for setting in settings {
            let Some((name, value)) = setting.split_once('=') else {
                return self.unclear(setting);
            };
            let mut changed = self.settings.clone();
            match (name, span(value), value.parse().ok()) {
                ("boot", Some(span), _) => changed.boot = span,
                ("stop", Some(span), _) => changed.stop = span,
                ("ready", Some(span), _) => changed.ready = span,
                ("remember", Some(span), _) => changed.remember = span,
                ("lag", Some(span), _) => {
                    changed.list_lag = span;
                    changed.visibility = span;
                }
                ("batch", _, Some(count)) => changed.batch_max = count,
                ("lease", Some(span), _) => changed.lease = Some(span),
                ("capacity", _, Some(count)) => changed.capacity = Some(count as usize),
                ("capacity", _, None) => changed.capacity = None,
                _ => return self.unclear(setting),
            }
            self.settings = changed;
        }
        if self.begun.is_none() {
            let group = self.sim.last.clone();
            self.sim = Simulation::new(group, self.settings.clone());
        } else {
            self.sim.world().settings = self.settings.clone();
        }
        Ok(())
    }

    fn push(&mut self, edits: &[&str]) -> Result<(), ScriptError> {
        let mut group = self.sim.last.clone();
        for edit in edits {
            let Some((name, value)) = edit.split_once('=') else {
                return self.unclear(edit);
            };
            if edited(&mut group.spec, name, value).is_none() {
                return self.unclear(edit);
            }
        }
        self.sim.push(group);
        Ok(())
    }

    fn version(&mut self, version: &str, how: &str) -> Result<(), ScriptError> {
        let Ok(number) = version.parse::<i64>() else {
            return self.unclear(version);
        };
        let which = Which::Property("version".to_owned(), Value::from(number));
        let behavior = match how {
            "never-boots" => Behavior::NeverBoots,
            "completes" => Behavior::Exits {
                after: Duration::from_secs(40),
                report: ExitReport {
                    code: Some(0),
                    ..ExitReport::default()
                },
            },
            "exits" => Behavior::Exits {
                after: Duration::from_secs(2),
                report: ExitReport {
                    code: Some(1),
                    signal: None,
                    message: "cannot read the configuration".to_owned(),
                },
            },
            "unhealthy" => Behavior::Health {
                after: Duration::ZERO,
                outcome: failing(),
            },
            "refused" => {
                let refused = ("version".to_owned(), Value::from(number));
                self.sim.world().settings.refused.push(refused.clone());
                self.settings.refused.push(refused);
                return Ok(());
            }
            _ => return self.unclear(how),
        };
        let now = self.sim.now();
        self.sim.world().behave(now, which, behavior);
        Ok(())
    }

    fn which(&self, instance: &str) -> Result<Which, ScriptError> {
        if instance == "all" {
            return Ok(Which::All);
        }
        match InstanceId::parse(instance) {
            Ok(id) => Ok(Which::Instance(id)),
            Err(_) => self.unclear(instance),
        }
    }

    fn crash(&mut self, instance: &str) -> Result<(), ScriptError> {
        let which = self.which(instance)?;
        let now = self.sim.now();
        let behavior = Behavior::Exits {
            after: Duration::ZERO,
            report: ExitReport {
                code: None,
                signal: Some(9),
                message: String::new(),
            },
        };
        // Only those that exist: a later instance of the same name must not die of it.
        let mut world = self.sim.world();
        let hit: Vec<_> = world
            .of_group(&self.sim.recorded.name, now)
            .into_iter()
            .filter(|(id, _)| matches!(&which, Which::All) || which == Which::Instance(id.clone()))
            .map(|(_, instance)| instance.provider_ref.clone())
            .collect();
        for provider_ref in hit {
            world.behave(now, Which::Ref(provider_ref), behavior.clone());
        }
        Ok(())
    }

    fn vanish(&mut self, instance: &str) -> Result<(), ScriptError> {
        let which = self.which(instance)?;
        let now = self.sim.now();
        let mut world = self.sim.world();
        let hit: Vec<_> = world
            .of_group(&self.sim.recorded.name, now)
            .into_iter()
            .filter(|(id, _)| matches!(&which, Which::All) || which == Which::Instance(id.clone()))
            .map(|(_, instance)| instance.provider_ref.clone())
            .collect();
        for provider_ref in hit {
            world.vanish(&provider_ref, now);
        }
        Ok(())
    }

    fn interrupt(&mut self, instance: &str, notice: &str) -> Result<(), ScriptError> {
        let now = self.sim.now();
        if let Some(past) = notice.strip_prefix('-').and_then(span) {
            let which = self.which(instance)?;
            self.sim.world().announce(&which, now - past);
            return Ok(());
        }
        let (Ok(id), Some(notice)) = (InstanceId::parse(instance), span(notice)) else {
            return self.unclear(instance);
        };
        let mut world = self.sim.world();
        let hit = world.of_group(&self.sim.recorded.name, now).into_iter();
        let hit: Vec<_> = hit
            .filter(|(of, _)| *of == id)
            .map(|(_, instance)| instance.provider_ref.clone())
            .collect();
        for provider_ref in hit {
            world.interrupt(&provider_ref, now + notice);
        }
        Ok(())
    }

    fn health(&mut self, instance: &str, outcome: &str, time: &str) -> Result<(), ScriptError> {
        let which = self.which(instance)?;
        let Some(time) = span(time) else {
            return self.unclear(time);
        };
        let outcome = match outcome {
            "failing" => failing(),
            "unknown" => CheckOutcome::Unknown {
                why: "no route to host".to_owned(),
            },
            _ => return self.unclear(outcome),
        };
        let from = self.sim.now();
        let until = from.checked_add(time).unwrap_or(Timestamp::MAX);
        let behavior = Behavior::HealthBetween {
            from,
            until,
            outcome,
        };
        self.sim.world().behave(from, which, behavior);
        Ok(())
    }

    fn zone(&mut self, zone: &str, room: &str) -> Result<(), ScriptError> {
        let room = match (room, room.parse().ok()) {
            ("down", _) => Some(0),
            ("up", _) => None,
            (_, Some(count)) => Some(count),
            _ => return self.unclear(room),
        };
        self.settings.zones.insert(zone.to_owned(), room);
        self.sim
            .world()
            .settings
            .zones
            .insert(zone.to_owned(), room);
        Ok(())
    }

    fn busy(&mut self, instance: &str) -> Result<(), ScriptError> {
        let which = self.which(instance)?;
        let now = self.sim.now();
        self.sim.world().behave(now, which, Behavior::Busy(true));
        Ok(())
    }

    fn listing(&mut self, how: &str, time: &str) -> Result<(), ScriptError> {
        let Some(time) = span(time) else {
            return self.unclear(time);
        };
        let kind = match how {
            "partial" => FaultKind::Truncated {
                keep: 1,
                declared: true,
            },
            "empty" => FaultKind::EMPTY_LIST,
            "error" => FaultKind::Error(ErrorClass::Auth),
            "foreign" => FaultKind::Foreign,
            _ => return self.unclear(how),
        };
        let from = self.sim.now();
        let until = from.checked_add(time).unwrap_or(Timestamp::MAX);
        let fault = Fault::between(Op::List, from, until, kind);
        self.sim.world().inject(fault);
        Ok(())
    }

    fn fail(
        &mut self,
        op: &str,
        how: &str,
        fault: fn(Op, FaultKind) -> Fault,
    ) -> Result<(), ScriptError> {
        let op = match op {
            "provision" => Op::Provision,
            "destroy" => Op::Destroy,
            "update" => Op::Update,
            _ => return self.unclear(op),
        };
        let kind = match how {
            "lost-reply" => FaultKind::LostReply,
            "lost-request" => FaultKind::LostRequest,
            "throttled" => FaultKind::Error(ErrorClass::Throttled),
            "capacity" => FaultKind::Error(ErrorClass::Capacity),
            "invalid" => FaultKind::Error(ErrorClass::InvalidSpec),
            "slow" => FaultKind::Slow(Duration::from_mins(2)),
            _ => return self.unclear(how),
        };
        self.sim.world().inject(fault(op, kind));
        Ok(())
    }

    fn lose(&mut self, what: &str) -> Result<(), ScriptError> {
        let (record, local) = match what {
            "record" => (true, false),
            "data" => (false, true),
            "both" => (true, true),
            _ => return self.unclear(what),
        };
        self.sim.lose(record, local);
        Ok(())
    }

    fn leader(&mut self, member: &str) -> Result<(), ScriptError> {
        let Ok(member) = MemberId::parse(member) else {
            return self.unclear(member);
        };
        self.sim.world().set_leader(Some(member));
        Ok(())
    }

    fn gate(&mut self, reason: &str, state: &str) -> Result<(), ScriptError> {
        let known = Reason::ALL.into_iter().find(|one| one.as_str() == reason);
        match (known, state) {
            (Some(reason), "open") => {
                self.sim.decisions.gates.remove(&reason);
            }
            (Some(reason), "closed") => {
                let verdict = verdict(DecisionPoint::Gate, Outcome::Failed);
                self.sim.decisions.gates.insert(reason, vec![verdict]);
            }
            _ => return self.unclear(reason),
        }
        Ok(())
    }

    fn size_policy(&mut self, choice: &str) -> Result<(), ScriptError> {
        self.sim.decisions.size = match (choice, choice.parse::<u32>()) {
            ("off", _) => None,
            ("fails", _) => {
                let broken = Outcome::Error("no such key: load".to_owned());
                Some(SizeDecision::Failed(verdict(DecisionPoint::Size, broken)))
            }
            (_, Ok(size)) => Some(SizeDecision::Chosen {
                size,
                asked: size.into(),
                verdict: verdict(DecisionPoint::Size, Outcome::Passed),
            }),
            _ => return self.unclear(choice),
        };
        Ok(())
    }

    fn suspend(&mut self, activity: &str) -> Result<(), ScriptError> {
        let all = [
            Activity::Update,
            Activity::Heal,
            Activity::Scale,
            Activity::Gc,
            Activity::All,
        ];
        let Some(activity) = all.into_iter().find(|one| one.as_str() == activity) else {
            return self.unclear(activity);
        };
        self.sim.edit(|spec| {
            spec.suspend = vec![Suspend {
                what: BTreeSet::from([activity]),
                until: None,
                because: Some("INC-123".to_owned()),
            }];
        });
        Ok(())
    }

    /// Makes a pass and tells it, at least where it differs from the last one told.
    async fn pass(&mut self, always: bool) -> Result<Pass, ScriptError> {
        let now = self.sim.now();
        let begun = *self.begun.get_or_insert(now);
        let line = self.line;
        let pass = self
            .sim
            .pass()
            .await
            .map_err(|source| ScriptError::Pass { line, source })?;
        let text = told(&pass);
        // Numbers alone change at every step; what is withheld, and where the group stands, is news.
        let news = (pass.plan.next.phase, pass.report.holds.clone());
        let acts = pass.plan.steps.iter().any(|step| step.action.mutates());
        if always || acts || self.told.as_ref() != Some(&news) {
            let seconds = now.duration_since(begun).as_secs();
            let _ = write!(
                self.out,
                "{:>3}:{:02}:{:02} {text}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            );
        }
        self.told = Some(news);
        Ok(pass)
    }

    /// Makes passes for so long, each when the agent wants the next one.
    async fn run(&mut self, time: &str) -> Result<(), ScriptError> {
        let Some(time) = span(time) else {
            return self.unclear(time);
        };
        let end = self.sim.now().checked_add(time).unwrap_or(Timestamp::MAX);
        while self.sim.now() < end {
            let pass = self.pass(false).await?;
            self.sim.sleep(&pass, end);
        }
        Ok(())
    }

    async fn until(&mut self, phase: &str) -> Result<(), ScriptError> {
        let known = |one: &GroupPhase| one.as_str().eq_ignore_ascii_case(phase);
        let Some(phase) = GroupPhase::ALL.into_iter().find(known) else {
            return self.unclear(phase);
        };
        let end = self
            .sim
            .now()
            .checked_add(UNTIL_MAX)
            .unwrap_or(Timestamp::MAX);
        while self.sim.now() < end {
            let pass = self.pass(false).await?;
            if pass.plan.next.phase == phase {
                return Ok(());
            }
            self.sim.sleep(&pass, end);
        }
        let _ = writeln!(self.out, "never {}", phase.as_str());
        Ok(())
    }

    /// Tells the members as recorded.
    fn show(&mut self) {
        let target = self.sim.recorded.target.clone();
        for (id, instance) in &self.sim.recorded.instances {
            let outdated = target
                .as_ref()
                .is_some_and(|digests| *digests != instance.digests);
            let _ = writeln!(
                self.out,
                "    {id}{} {}{}{}{}{}",
                instance
                    .seat
                    .as_ref()
                    .map_or_else(String::new, |seat| format!(" as {}", seat.member)),
                instance.class,
                instance
                    .zone
                    .as_ref()
                    .map_or_else(String::new, |zone| format!(" in {zone}")),
                if outdated { ", outdated" } else { "" },
                if instance.draining { ", draining" } else { "" },
                instance
                    .why
                    .as_ref()
                    .map_or_else(String::new, |why| format!(": {why}")),
            );
        }
    }

    /// Tells what the provider counted.
    fn stats(&mut self) {
        let world = self.sim.world();
        let stats = world.stats();
        let there = world.of_group(&self.sim.recorded.name, self.sim.clock.now());
        let _ = writeln!(
            self.out,
            "    {} exist, {} created, {} destroyed, peak {}",
            there.len(),
            stats.created,
            stats.destroyed,
            stats.peak,
        );
    }
}

/// Makes it a quorum group of these members, with the defaults of one where it was none.
fn members(spec: &mut GroupSpec, ids: &str) {
    let ids: Vec<&str> = ids.split(',').collect();
    if spec.quorum.is_none() {
        let fresh = crate::quorum_group("web", &[], 1).spec;
        spec.rollout.surge_max = fresh.rollout.surge_max;
        spec.rollout.unavailable_max = fresh.rollout.unavailable_max;
        spec.drain.on_timeout = fresh.drain.on_timeout;
        spec.deletion.protect = fresh.deletion.protect;
        spec.quorum = fresh.quorum;
    }
    crate::set_members(spec, &ids);
}

/// Applies `name=value`. None: it is not understood.
fn edited(spec: &mut GroupSpec, name: &str, value: &str) -> Option<()> {
    match name {
        "size" => spec.size = value.parse().ok()?,
        "members" => members(spec, value),
        "quorum" if value == "none" => spec.quorum = None,
        "stabilize" => spec.quorum.as_mut()?.stabilize = span(value)?,
        "allowDowntime" => spec.quorum.as_mut()?.allow_downtime = value.parse().ok()?,
        "attachments" if value == "none" => {
            for member in &mut spec.quorum.as_mut()?.members {
                member.attachments.clear();
            }
        }
        "version" => spec.template = template(value.parse().ok()?),
        "surge" => spec.rollout.surge_max = amount(value)?,
        "unavailable" => spec.rollout.unavailable_max = amount(value)?,
        "firstBatch" => spec.rollout.first_batch = value.parse().ok()?,
        "minReady" => spec.rollout.min_ready = span(value)?,
        "failureThreshold" => spec.rollout.failure_threshold = Some(value.parse().ok()?),
        "startupTimeout" => spec.health.startup_timeout = span(value)?,
        "unhealthyAfter" => spec.health.unhealthy_after = span(value)?,
        "checks" if value == "none" => spec.health.checks.clear(),
        "maxInFlight" => spec.heal.in_flight_max = amount(value)?,
        "keep" => spec.heal.keep.max = value.parse().ok()?,
        "keepFor" => spec.heal.keep.time = span(value)?,
        "systemic" if value == "stop" => spec.heal.systemic.mode = SystemicMode::Stop,
        "maxTotal" => spec.limits.total_max = Some(value.parse().ok()?),
        "maxCreatePerHour" => spec.limits.create_hourly_max = Some(value.parse().ok()?),
        "maxDestroyPerHour" => spec.limits.destroy_hourly_max = Some(value.parse().ok()?),
        "maxDestroy" => spec.limits.destroy_max = Some(amount(value)?),
        "protect" => spec.deletion.protect = value.parse().ok()?,
        "deletion" if value == "orphan" => spec.deletion.policy = DeletionPolicy::Orphan,
        "manage" if value == "observe" => spec.manage = Manage::Observe,
        "manage" if value == "full" => spec.manage = Manage::Full,
        "drainDelay" => spec.drain.delay = span(value)?,
        "drainDone" if value == "exit" => {
            spec.drain.done = Some(drover_model::DrainDone::Exit);
        }
        "onDrainTimeout" if value == "abort" => spec.drain.on_timeout = OnDrainTimeout::Abort,
        "lifecycle" if value == "ephemeral" => spec.lifecycle = Lifecycle::Ephemeral,
        "zones" => spec.placement.zones = value.split(',').map(str::to_owned).collect(),
        "spread" if value == "any" => spec.placement.spread = Spread::Any,
        "maxSkew" => spec.placement.skew_max = value.parse().ok()?,
        "cooldown" => spec.placement.cooldown = span(value)?,
        "rebalance" if value == "off" => spec.placement.rebalance = Rebalance::Off,
        "rebalance" if value == "opportunistic" => {
            spec.placement.rebalance = Rebalance::Opportunistic;
        }
        "rebalance" if value == "proactive" => spec.placement.rebalance = Rebalance::Proactive,
        "stabilizeUp" => spec.scaling.stabilization.up = span(value)?,
        "stabilizeDown" => spec.scaling.stabilization.down = span(value)?,
        "rateUp" => spec.scaling.rate.up = rate(value)?,
        "rateDown" => spec.scaling.rate.down = rate(value)?,
        "prefer" if value == "newest" => spec.scaling.prefer = Prefer::Newest,
        "bounds" => {
            let (min, max) = value.split_once("..")?;
            spec.bounds = Some(Bounds {
                min: min.parse().ok()?,
                max: max.parse().ok()?,
            });
        }
        _ => return staged(spec, name, value),
    }
    Some(())
}

/// Applies `name=value` of how a rollout goes on. None: it is not understood.
fn staged(spec: &mut GroupSpec, name: &str, value: &str) -> Option<()> {
    let rollout = &mut spec.rollout;
    match (name, value) {
        ("onFailure", "pause") => rollout.on_failure = OnFailure::Pause,
        ("onFailure", "rollback") => rollout.on_failure = OnFailure::Rollback,
        ("onFailure", "continue") => rollout.on_failure = OnFailure::Continue,
        ("paused", _) => rollout.paused = value.parse().ok()?,
        ("monitor", _) => rollout.monitor = span(value)?,
        ("bake", _) => rollout.bake = span(value)?,
        ("progressDeadline", _) => rollout.progress_deadline = Some(span(value)?),
        ("order", "auto") => rollout.order = RolloutOrder::Auto,
        ("order", "createFirst") => rollout.order = RolloutOrder::CreateFirst,
        ("order", "deleteFirst") => rollout.order = RolloutOrder::DeleteFirst,
        ("mode", _) => {
            let known = |mode: &RolloutMode| mode.as_str() == value;
            rollout.mode = RolloutMode::ALL.into_iter().find(known)?;
        }
        ("healRevision", "target") => spec.heal.revision = Some(HealRevision::Target),
        ("healRevision", "current") => spec.heal.revision = Some(HealRevision::Current),
        ("partition", "none") => rollout.partition = None,
        ("partition", _) => rollout.partition = Some(amount(value)?),
        ("canary", "none") => rollout.canary = None,
        // Such as `1/10m/auto`.
        ("canary", _) => {
            let mut parts = value.split('/');
            rollout.canary = Some(Canary {
                count: amount(parts.next()?)?,
                hold: span(parts.next()?)?,
                promote: match parts.next()? {
                    "auto" => Promote::Auto,
                    "manual" => Promote::Manual,
                    _ => return None,
                },
            });
        }
        ("checkpoints", "none") => rollout.checkpoints.clear(),
        // Such as `25%/15m,50%/1h`.
        ("checkpoints", _) => {
            let checkpoint = |text: &str| {
                let (at, wait) = text.split_once('/')?;
                Some(Checkpoint {
                    at: amount(at)?,
                    wait: span(wait)?,
                })
            };
            rollout.checkpoints = value.split(',').map(checkpoint).collect::<Option<_>>()?;
        }
        _ => return None,
    }
    Some(())
}

/// Returns a pass as the transcript tells it: what was decided, without closing of intents, and with
/// the templates by their version.
fn told(pass: &Pass) -> String {
    let mut text = String::new();
    for line in render(&pass.plan, &pass.report).lines() {
        if !line.trim_start().starts_with("settle ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    for (id, next) in &pass.plan.next.instances {
        let was = pass.before.instances.get(id);
        if let Some(kept) = &next.kept
            && was.is_none_or(|was| was.kept.is_none())
        {
            let _ = writeln!(text, "  keep {id}: {}", kept.because);
        }
    }
    let names = pass.plan.next.templates.iter();
    let known = pass.before.templates.iter();
    for (digests, template) in names.chain(known) {
        let version = template.properties.get("version");
        if let Some(Value::Int(version)) = version {
            text = text.replace(short(digests), &format!("v{version}"));
        }
    }
    let failed = pass.applied.iter().flat_map(|applied| &applied.outcomes);
    for outcome in failed {
        if let drover_apply::StepResult::Failed { message, .. }
        | drover_apply::StepResult::Unknown { message } = &outcome.result
        {
            let verb = pass.plan.steps[outcome.step].action.verb();
            let _ = writeln!(text, "  {verb} failed: {message}");
        }
    }
    text
}

fn short(digests: &Digests) -> &str {
    digests.short()
}

fn failing() -> CheckOutcome {
    CheckOutcome::Failing {
        why: "status 503".to_owned(),
    }
}

fn verdict(point: DecisionPoint, outcome: Outcome) -> Verdict {
    Verdict {
        policy: PolicyName::parse("office-hours").expect("a valid label"),
        binding: BindingName::parse("prod").expect("a valid label"),
        point,
        enforcement: Enforcement::Deny,
        outcome,
        message: "outside office hours".to_owned(),
        span: SourceSpan::start_of("policies/hours.yaml"),
        values: std::iter::once(("hour".to_owned(), "3".to_owned())).collect(),
        digest: String::new(),
    }
}
