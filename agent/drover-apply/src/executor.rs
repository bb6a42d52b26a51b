//! The executor: carries out the steps of one plan, in order, each written down before it is done.
//!
//! Steps of one kind that follow each other form a wave: their intents are made durable together, then
//! they are carried out with bounded concurrency. Waves follow each other. The executor never plans
//! anew and never repeats a call: the next pass does both.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_model::{
    Action, Epoch, ErrorClass, FleetName, GroupName, IntentId, IntentKind, IntentState, Plan,
    Precondition, Settlement, SettlementOutcome, Step,
};
use drover_provider::{Clock, ClusterView, Flavors, Provider, SecretSource};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::{Journal, JournalChange, JournalError, Reach, Rosters, write_journal};

mod call;
mod flavors;
mod ledger;
mod prepare;
#[cfg(test)]
mod tests;
mod view;

use call::{Work, carry_out};
use ledger::Ledger;
use view::View;

/// Most steps whose intents are written in one transaction. A template is some kilobytes, so a wave
/// stays within a few megabytes.
const WAVE_STEPS_MAX: usize = 256;

/// Most steps of a wave that flavor plugins are asked about: what a slow plugin has answered for these is used before it
/// is asked about others, so that a pass which runs out of time has come further than the one before.
const ASKED_STEPS_MAX: usize = 16;

/// What a plan is applied with.
#[derive(Debug, Clone)]
pub struct ApplyContext {
    /// The owner written into what is made.
    pub fleet: FleetName,
    /// The epoch of this agent for the group.
    pub epoch: Epoch,
    /// The provider of the group.
    pub provider: Arc<dyn Provider>,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// Where times come from.
    pub clock: Arc<dyn Clock>,
    /// The time limit of one provider call. When it passes, the outcome is unknown.
    pub call_timeout: Duration,
    /// Most calls under way at once, at least 1.
    pub concurrency: usize,
    /// Where the values of secrets are read.
    pub secrets: Arc<dyn SecretSource>,
    /// Who is asked what flavor plugins make of an instance.
    pub flavors: Arc<dyn Flavors>,
    /// The instances that there are, for flavors that join newcomers to them.
    pub cluster: Arc<ClusterView>,
    /// How instances are told to drain, and asked whether they have.
    pub reach: Arc<dyn Reach>,
    /// How membership lists of quorum groups are changed.
    pub rosters: Arc<dyn Rosters>,
    /// Asked before every call and every intent; an `Arc<AtomicBool>` is one: set means frozen.
    pub brake: Arc<dyn Brake>,
}

/// Stops the executor between two calls.
pub trait Brake: Send + Sync + fmt::Debug {
    /// Returns why nothing more may be done for `group`, if so. Asked often: must not block.
    fn stop(&self, group: &GroupName) -> Option<Stop>;
}

impl Brake for AtomicBool {
    fn stop(&self, _group: &GroupName) -> Option<Stop> {
        self.load(Ordering::SeqCst).then_some(Stop::Frozen)
    }
}

/// Why nothing more may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// A person froze the agent or the group.
    Frozen,
    /// Another agent holds the group with a later epoch.
    EpochLost,
    /// The agent ends.
    ShuttingDown,
}

/// How a plan was carried out.
#[derive(Debug, Clone)]
pub struct ApplyReport {
    /// One outcome per step, in the plan's order.
    pub outcomes: Vec<StepOutcome>,
    /// Why the journal could not be read or written, in which case nothing more was done.
    pub journal_error: Option<JournalError>,
}

impl ApplyReport {
    /// Returns whether every step was done.
    pub fn is_complete(&self) -> bool {
        let done = |outcome: &StepOutcome| outcome.result == StepResult::Done;
        self.journal_error.is_none() && self.outcomes.iter().all(done)
    }
}

/// How one step turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutcome {
    /// The step's position in the plan.
    pub step: usize,
    /// How it turned out.
    pub result: StepResult,
}

/// How a step turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// It was carried out; for a call, the provider said yes.
    Done,
    /// It was not begun.
    Skipped(Skip),
    /// The provider said no, wholly or (class `Partial` or the reason of the shortfall) in part.
    Failed {
        /// The class of the error.
        class: ErrorClass,
        /// What it said, for people.
        message: String,
    },
    /// Nobody knows whether it took effect.
    Unknown {
        /// What happened, for people.
        message: String,
    },
}

/// Why a step was not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// What it rests on no longer holds.
    Precondition(Precondition),
    /// Nothing more may be done.
    Stopped(Stop),
    /// An earlier step of the plan failed in a way that this one would fail in too.
    AfterFailure {
        /// The class of that failure.
        class: ErrorClass,
    },
    /// The journal cannot be read or written.
    JournalUnavailable,
    /// More instances would be on their way out than the plan's allowance covers. That is a mistake of
    /// the planner, and what of it is left undone.
    BeyondAllowance {
        /// How many may be.
        allowed: u32,
    },
}

/// Carries out `plan`.
///
/// Each step is skipped when a precondition no longer holds. A failed step does not keep the others
/// from being tried, or one broken instance would block its group for ever; but after `throttled` and
/// `auth` nothing more is called, and after `capacity`, `quota` and `invalidSpec` nothing more is
/// created, because those would fail alike. A panic of the provider is an unknown outcome.
///
/// What ends instances is counted against the plan's allowance, with what the journal says is on its
/// way: steps beyond it are refused, whatever the planner had in mind.
///
/// # Cancellation
///
/// May be dropped at any await. An intent whose call was under way stays `Sent`, so the next pass
/// follows it up; one whose call was not begun stays `Intended` and has had no effect. Nothing is
/// called that was not durable as `Sent` before.
pub async fn apply(plan: &Plan, ctx: &ApplyContext) -> ApplyReport {
    let mut run = Run {
        plan,
        ctx,
        view: View::default(),
        ledger: Ledger::default(),
        results: vec![None; plan.steps.len()],
        not_sent: BTreeSet::new(),
        halt: Halt::default(),
    };
    match ctx.journal.open_intents(&plan.group) {
        Ok(intents) => {
            run.ledger = Ledger::of(plan, &intents);
            run.view = View::of(intents);
        }
        Err(error) => run.halt.journal_failed(error),
    }
    if run.view.epoch() > ctx.epoch || plan.next.epoch > ctx.epoch {
        run.halt.lock().stopped = Some(Stop::EpochLost);
    }
    for wave in waves(plan) {
        run.wave(wave).await;
    }
    run.withdraw().await;
    run.report()
}

/// Returns how many steps a wave with `step` may have.
fn most(step: &Step) -> usize {
    if flavors::asks(step) {
        ASKED_STEPS_MAX
    } else {
        WAVE_STEPS_MAX
    }
}

/// Cuts a plan into runs of steps of one kind.
fn waves(plan: &Plan) -> Vec<Range<usize>> {
    let mut waves: Vec<Range<usize>> = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        match waves.last_mut() {
            Some(wave)
                if wave.len() < most(step).min(most(&plan.steps[wave.start]))
                    && plan.steps[wave.start].action.verb() == step.action.verb() =>
            {
                wave.end = index + 1;
            }
            _ => waves.push(index..index + 1),
        }
    }
    waves
}

/// One plan being applied.
struct Run<'a> {
    plan: &'a Plan,
    ctx: &'a ApplyContext,
    view: View,
    ledger: Ledger,
    results: Vec<Option<StepResult>>,
    /// Intents of this run that were written and not sent.
    not_sent: BTreeSet<IntentId>,
    halt: Halt,
}

/// What keeps further steps from being begun. Shared by the calls of a wave.
#[derive(Debug, Default)]
struct Halt(Mutex<Halted>);

#[derive(Debug, Default)]
struct Halted {
    journal: Option<JournalError>,
    stopped: Option<Stop>,
    calls: Option<ErrorClass>,
    creates: Option<ErrorClass>,
}

impl Halt {
    fn lock(&self) -> MutexGuard<'_, Halted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal_failed(&self, error: JournalError) {
        self.lock().journal.get_or_insert(error);
    }

    /// Takes note of a flavor plugin that did not answer: it would not for the next instance either.
    fn note_unasked(&self, class: ErrorClass) {
        self.lock().creates.get_or_insert(class);
    }

    /// Takes note of a refusal that the following steps would meet too.
    fn note(&self, action: &Action, result: &StepResult) {
        let StepResult::Failed { class, .. } = result else {
            return;
        };
        if matches!(action, Action::Roster(_)) {
            return;
        }
        let mut halted = self.lock();
        match class {
            ErrorClass::Throttled | ErrorClass::Auth => {
                halted.calls.get_or_insert(*class);
            }
            ErrorClass::Capacity | ErrorClass::Quota | ErrorClass::InvalidSpec
                if creates(action) =>
            {
                halted.creates.get_or_insert(*class);
            }
            ErrorClass::Capacity
            | ErrorClass::Quota
            | ErrorClass::InvalidSpec
            | ErrorClass::Partial
            | ErrorClass::Unknown
            | ErrorClass::NotFound => {}
        }
    }

    /// Returns why `action` may not be begun.
    fn skip(&self, ctx: &ApplyContext, group: &GroupName, action: &Action) -> Option<Skip> {
        let mut halted = self.lock();
        if halted.journal.is_some() {
            return Some(Skip::JournalUnavailable);
        }
        if halted.stopped.is_none() {
            halted.stopped = ctx.brake.stop(group);
        }
        // Closing an intent that has ended is no effect on the world, and safe while frozen.
        let stopped = halted.stopped.filter(|stop| match stop {
            Stop::Frozen => action.mutates(),
            Stop::EpochLost | Stop::ShuttingDown => true,
        });
        if let Some(stop) = stopped {
            return Some(Skip::Stopped(stop));
        }
        let class = match action {
            Action::Create { .. } | Action::Resend { .. } => halted.calls.or(halted.creates),
            Action::Destroy { .. }
            | Action::Release { .. }
            | Action::Update(_)
            | Action::Adopt(_) => halted.calls,
            // The list is not the provider's.
            Action::Drain { .. } | Action::Roster(_) | Action::Settle(_) => None,
        };
        class.map(|class| Skip::AfterFailure { class })
    }
}

fn creates(action: &Action) -> bool {
    matches!(action, Action::Create { .. } | Action::Resend { .. })
}

impl Run<'_> {
    async fn wave(&mut self, steps: Range<usize>) {
        let asking = steps.clone().filter(|index| {
            let step = &self.plan.steps[*index];
            flavors::asks(step) && self.skip(step).is_none()
        });
        let mut made = flavors::ask(asking.collect(), self.plan, self.ctx).await;
        let unasked = flavors::failed_create(&made, self.plan);
        let mut works: Vec<Work<'_>> = Vec::new();
        for index in steps {
            let step = &self.plan.steps[index];
            let skip = self
                .skip(step)
                .or_else(|| self.ledger.spend(self.plan, step, &self.view));
            if let Some(skip) = skip {
                self.results[index] = Some(StepResult::Skipped(skip));
                continue;
            }
            let mut work = Work::new(index, step);
            work.made = made.remove(&index);
            works.push(prepare::work(work, self.plan, self.ctx, &mut self.view));
        }
        if works.is_empty() {
            return;
        }
        let changes = works.iter_mut().filter_map(|work| work.change.take());
        // Also without changes: a journal that cannot be written stops a release or a repeated call.
        match write_journal(&*self.ctx.journal, changes.collect()).await {
            Ok(ids) => self.name(&mut works, ids),
            Err(error) => {
                self.halt.journal_failed(error);
                for work in works {
                    let skipped = StepResult::Skipped(Skip::JournalUnavailable);
                    self.results[work.index] = Some(skipped);
                }
                return;
            }
        }
        self.call(works).await;
        if let Some(class) = unasked {
            self.halt.note_unasked(class);
        }
    }

    /// Returns why `step` may not be begun, as far as it is no matter of the plan's allowance.
    fn skip(&self, step: &Step) -> Option<Skip> {
        let halted = self.halt.skip(self.ctx, &self.plan.group, &step.action);
        halted.or_else(|| {
            let mut preconditions = step.preconditions.iter();
            let failed = preconditions.find(|one| !self.view.holds(one, step));
            failed.cloned().map(Skip::Precondition)
        })
    }

    /// Gives each new intent of a wave its id, in the order in which they were written.
    fn name(&mut self, works: &mut [Work<'_>], ids: Vec<IntentId>) {
        let mut ids = ids.into_iter();
        for work in works.iter_mut().filter(|work| work.appends) {
            work.intent = ids.next();
            if work.call.is_some() {
                self.not_sent.extend(work.intent);
            }
        }
    }

    async fn call(&mut self, works: Vec<Work<'_>>) {
        let (calls, written): (Vec<_>, Vec<_>) =
            works.into_iter().partition(|work| work.call.is_some());
        for work in written {
            self.halt.note(&work.step.action, &work.result);
            work.log_written(&self.plan.group);
            self.results[work.index] = Some(work.result);
        }
        let mut waiting = calls.into_iter();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < self.ctx.concurrency.max(1) {
                let Some(work) = waiting.next() else { break };
                under_way.push(carry_out(work, self.plan, self.ctx, &self.halt));
            }
            let Some(done) = under_way.next().await else {
                break;
            };
            if done.sent
                && let Some(intent) = done.intent
            {
                self.not_sent.remove(&intent);
            }
            self.results[done.index] = Some(done.result);
        }
    }

    /// Closes the intents whose calls were never begun: they have had no effect and never will.
    async fn withdraw(&mut self) {
        if self.not_sent.is_empty() || self.halt.lock().journal.is_some() {
            return;
        }
        let settlement = |intent| Settlement {
            intent,
            outcome: SettlementOutcome::NoEffect,
        };
        let settlements = self.not_sent.iter().copied().map(settlement).collect();
        let change = JournalChange::Settle(settlements);
        if let Err(error) = write_journal(&*self.ctx.journal, vec![change]).await {
            self.halt.journal_failed(error);
        }
    }

    fn report(self) -> ApplyReport {
        let results = self.results.into_iter().enumerate();
        let outcomes = results.map(|(step, result)| StepOutcome {
            step,
            // Every wave gives every step of it a result.
            result: result.unwrap_or(StepResult::Skipped(Skip::JournalUnavailable)),
        });
        ApplyReport {
            outcomes: outcomes.collect(),
            journal_error: self.halt.lock().journal.take(),
        }
    }
}

/// Makes the change that appends one intent.
fn appended(
    plan: &Plan,
    ctx: &ApplyContext,
    kind: IntentKind,
    state: IntentState,
) -> JournalChange {
    JournalChange::Append {
        group: plan.group.clone(),
        epoch: ctx.epoch,
        at: ctx.clock.now(),
        intents: vec![(kind, state)],
    }
}
