//! One provider call: marked as sent, bounded in time, its panic contained, its answer written down.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    ErrorClass, GroupName, InstanceId, Intent, IntentId, IntentState, Plan, ProviderRef,
    RosterChange, RosterStep, Step, Template, counted,
};
use drover_provider::{
    AdoptRequest, DestroyRequest, ProviderError, ProvisionRequest, Provisioned, ReserveRequest,
    SecretError, Secrets, UpdateRequest, references,
};
use futures::FutureExt as _;
use tokio::time::Instant;

use super::prepare::{attempt, subject};
use super::{ApplyContext, Halt, StepResult};
use crate::{JournalChange, ROSTER_CHANGE_LIMIT, RosterOrder, write_journal};

/// A step, ready to be carried out.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) index: usize,
    pub(super) step: &'a Step,
    /// What flavor plugins made of the step's template. None: it has none.
    pub(super) made: Option<Result<Template, ProviderError>>,
    /// What is written before anything else.
    pub(super) change: Option<JournalChange>,
    /// Whether `change` appends an intent, whose id the write returns.
    pub(super) appends: bool,
    /// The intent, once known.
    pub(super) intent: Option<IntentId>,
    /// What earlier calls of the intent came to.
    pub(super) before: Before,
    /// What the provider said to the last of them.
    pub(super) said: Option<String>,
    pub(super) call: Option<Call>,
    /// How the step turns out if nothing is called.
    pub(super) result: StepResult,
}

/// What earlier calls of an intent came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// There was none that could have taken effect.
    NoEffect,
    /// Nobody knows.
    Unknown,
    /// The provider said yes.
    Acked,
}

/// A provider call.
#[derive(Debug)]
pub(super) enum Call {
    Provision(ProvisionRequest),
    Destroy(DestroyRequest),
    Update(UpdateRequest),
    Adopt(AdoptRequest),
    Release(ProviderRef),
    Roster(RosterStep),
}

impl<'a> Work<'a> {
    pub(super) fn new(index: usize, step: &'a Step) -> Self {
        Self {
            index,
            step,
            made: None,
            change: None,
            appends: false,
            intent: None,
            before: Before::NoEffect,
            said: None,
            call: None,
            result: StepResult::Done,
        }
    }

    pub(super) fn appending(self, change: JournalChange) -> Self {
        Self {
            change: Some(change),
            appends: true,
            ..self
        }
    }

    pub(super) fn repeats(self, intent: &Intent) -> Self {
        Self {
            intent: Some(intent.id),
            before: match intent.state {
                IntentState::Intended | IntentState::Failed { .. } => Before::NoEffect,
                IntentState::Sent => Before::Unknown,
                IntentState::Acked { .. } => Before::Acked,
            },
            said: intent.said.clone(),
            ..self
        }
    }

    pub(super) fn calling(self, call: Call) -> Self {
        Self {
            call: Some(call),
            ..self
        }
    }

    /// Logs a step that is done by being written.
    pub(super) fn log_written(&self, group: &GroupName) {
        self.log(
            group,
            &subject(self.step, None),
            &self.result,
            Duration::ZERO,
        );
    }

    fn log(&self, group: &GroupName, instance: &str, result: &StepResult, elapsed: Duration) {
        let step = self.step.action.verb();
        let cause = self.step.cause.as_str();
        let attempt = attempt(self.step);
        let elapsed_ms = elapsed.as_millis() as u64;
        match result {
            StepResult::Done if self.step.action.mutates() => {
                tracing::info!(%group, instance, step, cause, attempt, elapsed_ms, "step done");
            }
            StepResult::Done | StepResult::Skipped(_) => {
                tracing::debug!(%group, instance, step, cause, "step done or skipped");
            }
            StepResult::Failed { class, message } => {
                let class = class.as_str();
                tracing::warn!(%group, instance, step, cause, attempt, elapsed_ms, class, error = message, "step failed");
            }
            // A call that is repeated until it is answered was told of once; the hold says that it goes on.
            StepResult::Unknown { message } if self.before == Before::Unknown => {
                tracing::debug!(%group, instance, step, cause, attempt, elapsed_ms, error = message, "step outcome still unknown");
            }
            StepResult::Unknown { message } => {
                tracing::warn!(%group, instance, step, cause, attempt, elapsed_ms, error = message, "step outcome unknown");
            }
        }
    }
}

/// How a call ended.
pub(super) struct Carried {
    pub(super) index: usize,
    pub(super) intent: Option<IntentId>,
    /// Whether the call may have been made.
    pub(super) sent: bool,
    pub(super) result: StepResult,
}

/// Marks the intent as sent, calls, and writes the answer down.
pub(super) async fn carry_out(
    work: Work<'_>,
    plan: &Plan,
    ctx: &ApplyContext,
    halt: &Halt,
) -> Carried {
    let carried = |sent, result| Carried {
        index: work.index,
        intent: work.intent,
        sent,
        result,
    };
    let Some(call) = &work.call else {
        return carried(false, work.result.clone());
    };
    let secrets = match secrets_of(call, ctx).await {
        Ok(secrets) => secrets,
        Err(error) => return unread(error, &work, plan, ctx, halt).await,
    };
    if let Some(skip) = halt.skip(ctx, &plan.group, &work.step.action) {
        return carried(false, StepResult::Skipped(skip));
    }
    if let Some(id) = work.intent
        && work.before == Before::NoEffect
        && let Err(error) = advance(ctx, id, IntentState::Sent).await
    {
        // Not called, although the mark may be durable: the follow-up is the same.
        halt.journal_failed(error);
        let skipped = StepResult::Skipped(super::Skip::JournalUnavailable);
        return carried(true, skipped);
    }
    let started = Instant::now();
    let (state, result) = answer(call, secrets, &plan.group, ctx).await;
    halt.note(&work.step.action, &result);
    let state = state.filter(|state| is_news(call, work.before, state));
    let news = match state {
        Some(state) => work.intent.map(|id| JournalChange::Advance { id, state }),
        None => said(&work, &result),
    };
    if let Some(news) = news
        && let Err(error) = write_journal(&*ctx.journal, vec![news]).await
    {
        halt.journal_failed(error);
    }
    let instance = subject(work.step, Some(call));
    work.log(&plan.group, &instance, &result, started.elapsed());
    carried(true, result)
}

/// Reads the secrets that a call needs.
async fn secrets_of(call: &Call, ctx: &ApplyContext) -> Result<Secrets, SecretError> {
    let needed = match call {
        Call::Provision(request) => references(&request.slots, &request.properties),
        Call::Update(request) => {
            references(std::slice::from_ref(&request.slot), &request.properties)
        }
        Call::Destroy(_) | Call::Release(_) | Call::Roster(_) | Call::Adopt(_) => BTreeSet::new(),
    };
    if needed.is_empty() {
        return Ok(Secrets::default());
    }
    let source = Arc::clone(&ctx.secrets);
    let read = tokio::task::spawn_blocking(move || Secrets::read(&*source, &needed)).await;
    read.unwrap_or_else(|_panicked| {
        Err(SecretError {
            reference: "of the template".to_owned(),
            why: "internal error".to_owned(),
        })
    })
}

/// Writes down that a call was not made because a secret cannot be read. That says nothing of earlier
/// calls of the intent.
async fn unread(
    error: SecretError,
    work: &Work<'_>,
    plan: &Plan,
    ctx: &ApplyContext,
    halt: &Halt,
) -> Carried {
    let (class, message) = (ErrorClass::Auth, error.to_string());
    let first = work.intent.filter(|_| work.before == Before::NoEffect);
    if let Some(id) = first {
        let failed = IntentState::Failed {
            class,
            message: message.clone(),
            at: ctx.clock.now(),
        };
        if let Err(error) = advance(ctx, id, failed).await {
            halt.journal_failed(error);
        }
    }
    let result = StepResult::Failed { class, message };
    halt.note(&work.step.action, &result);
    let instance = subject(work.step, work.call.as_ref());
    work.log(&plan.group, &instance, &result, Duration::ZERO);
    Carried {
        index: work.index,
        intent: work.intent,
        // Its failure is written down, for the planner to see: it is not withdrawn.
        sent: first.is_some(),
        result,
    }
}

/// Returns whether an answer says more about an intent than what is known of it.
///
/// A repeated call that is throttled, or refused for its credentials, was turned away before the
/// provider looked at the token: the first call may have taken effect all the same. One that makes
/// instances may be refused for anything that has changed since, by the host as well: for a limit, for
/// another value of a secret, for want of room. What the first call made is in a listing, or it is not.
fn is_news(call: &Call, before: Before, state: &IntentState) -> bool {
    let IntentState::Failed { class, .. } = state else {
        return true;
    };
    match before {
        Before::NoEffect => true,
        Before::Unknown if matches!(call, Call::Provision(_)) => *class == ErrorClass::Partial,
        Before::Unknown => !matches!(class, ErrorClass::Throttled | ErrorClass::Auth),
        Before::Acked => false,
    }
}

/// Returns the change that notes what the provider said to a call of which nobody knows what came, unless that is what
/// it said before.
fn said(work: &Work<'_>, result: &StepResult) -> Option<JournalChange> {
    let said = match result {
        StepResult::Unknown { message } => message.clone(),
        StepResult::Failed { class, message } if work.before == Before::Unknown => {
            format!("{}: {message}", class.as_str())
        }
        StepResult::Failed { .. } | StepResult::Done | StepResult::Skipped(_) => return None,
    };
    let id = work.intent.filter(|_| work.said.as_ref() != Some(&said))?;
    Some(JournalChange::Say { id, said })
}

async fn advance(
    ctx: &ApplyContext,
    id: IntentId,
    state: IntentState,
) -> Result<(), crate::JournalError> {
    let change = JournalChange::Advance { id, state };
    write_journal(&*ctx.journal, vec![change]).await.map(drop)
}

/// Makes the call. Returns what becomes of the intent (None: it stays `Sent`) and of the step.
async fn answer(
    call: &Call,
    secrets: Secrets,
    group: &GroupName,
    ctx: &ApplyContext,
) -> (Option<IntentState>, StepResult) {
    match call {
        Call::Provision(request) => {
            let request = ProvisionRequest {
                secrets,
                ..request.clone()
            };
            let answered = bounded(ctx, ctx.provider.provision(&request)).await;
            match answered {
                Ok(mut provisioned) => {
                    let shortfall = provisioned.shortfall;
                    provisioned.shortfall = shortfall.map(|error| clean(&error, &request.secrets));
                    made(&request, provisioned, ctx)
                }
                Err(error) => refused(clean(&error, &request.secrets), ctx),
            }
        }
        Call::Destroy(request) => match bounded(ctx, ctx.provider.destroy(request)).await {
            Ok(()) => (Some(acked(BTreeMap::new(), ctx)), StepResult::Done),
            // No proof that it is gone, some providers say so of what runs: only a listing proves it.
            Err(error) if error.class == ErrorClass::NotFound => {
                (Some(acked(BTreeMap::new(), ctx)), StepResult::Done)
            }
            Err(error) => refused(error, ctx),
        },
        Call::Update(request) => {
            let request = UpdateRequest {
                secrets,
                ..request.clone()
            };
            match bounded(ctx, ctx.provider.update(&request)).await {
                Ok(()) => (Some(acked(BTreeMap::new(), ctx)), StepResult::Done),
                Err(error) => refused(clean(&error, &request.secrets), ctx),
            }
        }
        Call::Adopt(request) => match bounded(ctx, ctx.provider.adopt(request)).await {
            Ok(()) => (Some(acked(BTreeMap::new(), ctx)), StepResult::Done),
            Err(error) => refused(error, ctx),
        },
        Call::Roster(step) => match bounded(ctx, change_roster(step, group, ctx)).await {
            Ok(()) => (Some(acked(BTreeMap::new(), ctx)), StepResult::Done),
            Err(error) => refused(error, ctx),
        },
        Call::Release(instance) => {
            match bounded(ctx, ctx.provider.release(&ctx.fleet, instance)).await {
                Ok(()) => (None, StepResult::Done),
                Err(error) => (None, refused(error, ctx).1),
            }
        }
    }
}

/// Takes the secrets out of what a provider says: it may repeat what it was given.
fn clean(error: &ProviderError, secrets: &Secrets) -> ProviderError {
    ProviderError::new(error.class, secrets.redact(&error.message))
}

/// Changes a membership list. The address of a member that is added is its place's, made if need be.
async fn change_roster(
    step: &RosterStep,
    group: &GroupName,
    ctx: &ApplyContext,
) -> Result<(), ProviderError> {
    let order = match step.change {
        RosterChange::Add => {
            let Some(seat) = step.seat.clone() else {
                let message = "the member that is added has no place";
                return Err(ProviderError::new(ErrorClass::InvalidSpec, message));
            };
            let request = ReserveRequest {
                fleet: ctx.fleet.clone(),
                group: group.clone(),
                seat,
            };
            let reserved = ctx.provider.reserve(&request).await;
            let address = reserved.map_err(|error| match error.class {
                // Making a place is no change of the list.
                ErrorClass::Unknown => ProviderError::new(ErrorClass::Throttled, error.message),
                _ => error,
            })?;
            RosterOrder::Add { address }
        }
        RosterChange::Remove(entry) => RosterOrder::Remove(entry),
        RosterChange::Promote(entry) => RosterOrder::Promote(entry),
        RosterChange::HandOver { to, .. } => RosterOrder::HandOver { to },
    };
    let limit = ROSTER_CHANGE_LIMIT;
    let changed = ctx
        .rosters
        .change(step.keeper, group, &step.at, &order, limit);
    changed.await
}

/// Waits for a call, no longer than the limit. A panic is an unknown outcome, like a lost reply.
async fn bounded<T>(
    ctx: &ApplyContext,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, ProviderError> {
    let unknown = |message: String| ProviderError::new(ErrorClass::Unknown, message);
    let contained = AssertUnwindSafe(call).catch_unwind();
    match tokio::time::timeout(ctx.call_timeout, contained).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) => Err(unknown("the provider panicked".to_owned())),
        Err(_) => Err(unknown(format!(
            "the provider did not answer within {:?}",
            ctx.call_timeout
        ))),
    }
}

fn acked(made: BTreeMap<InstanceId, ProviderRef>, ctx: &ApplyContext) -> IntentState {
    IntentState::Acked {
        made,
        at: ctx.clock.now(),
    }
}

fn refused(error: ProviderError, ctx: &ApplyContext) -> (Option<IntentState>, StepResult) {
    let ProviderError { class, message } = error;
    if class == ErrorClass::Unknown {
        return (None, StepResult::Unknown { message });
    }
    let failed = IntentState::Failed {
        class,
        message: message.clone(),
        at: ctx.clock.now(),
    };
    (Some(failed), StepResult::Failed { class, message })
}

/// Sorts the answer to a provision call: all made, some made, none made, or nobody knows.
fn made(
    request: &ProvisionRequest,
    provisioned: Provisioned,
    ctx: &ApplyContext,
) -> (Option<IntentState>, StepResult) {
    let Provisioned {
        mut made,
        shortfall,
    } = provisioned;
    let asked = |id: &InstanceId| request.slots.iter().any(|slot| slot.instance == *id);
    made.retain(|id, _| asked(id));
    if made.len() == request.slots.len() {
        return (Some(acked(made, ctx)), StepResult::Done);
    }
    let shortfall = shortfall.unwrap_or_else(|| {
        let message = format!(
            "the provider made {} of {}",
            made.len(),
            counted(request.slots.len(), "instance")
        );
        ProviderError::new(ErrorClass::Partial, message)
    });
    if made.is_empty() || shortfall.class == ErrorClass::Unknown {
        return refused(shortfall, ctx);
    }
    let ProviderError { class, message } = shortfall;
    (
        Some(acked(made, ctx)),
        StepResult::Failed { class, message },
    )
}
