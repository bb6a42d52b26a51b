//! What a step means for the journal and the provider: the intent it writes, and the call it makes.

use drover_model::{
    Action, AdoptStep, Cause, Digests, Epoch, ErrorClass, InPlaceUpdate, InstanceId, IntentId,
    IntentKind, IntentState, Plan, Reason, RecordedGroup, Seat, Step, Template, Token,
};
use drover_provider::{
    AdoptRequest, AttachmentUse, DestroyRequest, Ending, Facts, ProviderError, ProvisionRequest,
    Slot, UpdateRequest, Urgency, prepare, refuse_attachments,
};

use super::call::{Call, Work};
use super::view::View;
use super::{ApplyContext, StepResult, appended};
use crate::JournalChange;

/// Prepares a step whose preconditions hold, and notes it in `view`.
pub(super) fn work<'a>(
    work: Work<'a>,
    plan: &Plan,
    ctx: &ApplyContext,
    view: &mut View,
) -> Work<'a> {
    match &work.step.action {
        Action::Create { .. } => create(work, plan, ctx, view),
        Action::Resend { intent } => resend(work, *intent, plan, ctx, view),
        Action::Drain { .. } => drain(work, plan, ctx, view),
        Action::Destroy {
            instance,
            provider_ref,
            token,
            grace,
        } => {
            let request = DestroyRequest {
                fleet: ctx.fleet.clone(),
                group: plan.group.clone(),
                epoch: ctx.epoch,
                instance: instance.clone(),
                provider_ref: provider_ref.clone(),
                token: token.clone(),
                grace: *grace,
                ending: ending(view.reason(work.step, instance)),
            };
            destroy(work, request, plan, ctx, view)
        }
        Action::Update(change) => update(work, change, plan, ctx, view),
        Action::Roster(change) => {
            let kind = IntentKind::Roster(change.clone());
            let call = Ok(Call::Roster(change.clone()));
            written_first(work, kind, call, plan, ctx, view)
        }
        Action::Adopt(adopt) => {
            let kind = IntentKind::Adopt(adopt.clone());
            let call = Ok(Call::Adopt(adopt_request(adopt, ctx.epoch, plan, ctx)));
            written_first(work, kind, call, plan, ctx, view)
        }
        Action::Release { provider_ref, .. } => {
            // Idempotent, and planned again from the listing alone: no intent is needed.
            work.calling(Call::Release(provider_ref.clone()))
        }
        Action::Settle(settlement) => {
            let mut work = work;
            work.change = Some(JournalChange::Settle(vec![settlement.clone()]));
            work
        }
    }
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, message)
}

/// Returns what an intent is written with: the template of the step, with what flavor plugins made of it.
fn made<'a>(work: &mut Work<'a>, template: &'a Template) -> (Template, Result<(), ProviderError>) {
    match work.made.take() {
        None => (template.clone(), Ok(())),
        Some(Ok(made)) => (made, Ok(())),
        Some(Err(error)) => (template.clone(), Err(error)),
    }
}

fn update<'a>(
    mut work: Work<'a>,
    change: &'a InPlaceUpdate,
    plan: &Plan,
    ctx: &ApplyContext,
    view: &mut View,
) -> Work<'a> {
    let (template, asked) = made(&mut work, &change.template);
    let change = InPlaceUpdate {
        template,
        ..change.clone()
    };
    let request = asked.and_then(|()| {
        let request = update_request(&change, ctx.epoch, plan, ctx);
        request.map_err(invalid)
    });
    let kind = IntentKind::Update(change);
    written_first(work, kind, request.map(Call::Update), plan, ctx, view)
}

fn create<'a>(mut work: Work<'a>, plan: &Plan, ctx: &ApplyContext, view: &mut View) -> Work<'a> {
    let Action::Create {
        slots,
        attempt,
        token,
        digests,
        zone,
        template,
        seat,
    } = &work.step.action
    else {
        return work;
    };
    let (template, asked) = made(&mut work, template);
    let launch = Launch {
        slots,
        token,
        digests,
        zone: zone.as_ref(),
        template: &template,
        seat: seat.as_deref(),
        epoch: ctx.epoch,
        urgency: urgency(work.step.cause, &plan.next),
    };
    let call = asked.and_then(|()| launch.request(plan, ctx).map_err(invalid));
    let kind = IntentKind::Create {
        slots: slots.clone(),
        attempt: *attempt,
        token: token.clone(),
        digests: digests.clone(),
        zone: zone.clone(),
        template,
        seat: seat.clone(),
    };
    written_first(work, kind, call.map(Call::Provision), plan, ctx, view)
}

/// Carries out a step whose intent is durable before the provider is called.
fn written_first<'a>(
    mut work: Work<'a>,
    kind: IntentKind,
    call: Result<Call, ProviderError>,
    plan: &Plan,
    ctx: &ApplyContext,
    view: &mut View,
) -> Work<'a> {
    view.add(kind.clone());
    match call {
        Ok(call) => work
            .appending(appended(plan, ctx, kind, IntentState::Intended))
            .calling(call),
        Err(ProviderError { class, message }) => {
            // Written all the same, so that the next pass sees that this template cannot succeed, or not yet.
            let failed = IntentState::Failed {
                class,
                message: message.clone(),
                at: ctx.clock.now(),
            };
            work.result = StepResult::Failed { class, message };
            work.appending(appended(plan, ctx, kind, failed))
        }
    }
}

/// A drain begins by being written: from then on the published membership marks the instance.
fn drain<'a>(work: Work<'a>, plan: &Plan, ctx: &ApplyContext, view: &mut View) -> Work<'a> {
    let Action::Drain {
        instance,
        provider_ref,
        address,
        spec,
        deadline,
        returns,
    } = &work.step.action
    else {
        return work;
    };
    let kind = IntentKind::Drain {
        instance: instance.clone(),
        provider_ref: provider_ref.clone(),
        address: address.clone(),
        reason: view.reason(work.step, instance),
        spec: spec.clone(),
        deadline: *deadline,
        begun: false,
        done: false,
        returns: returns.clone(),
    };
    view.add(kind.clone());
    work.appending(appended(plan, ctx, kind, IntentState::Intended))
}

/// Refuses what the provider would not attach, before it is asked.
fn attached(slot: &Slot, ctx: &ApplyContext) -> Result<(), String> {
    match ctx.provider.manifest().attachments {
        AttachmentUse::HandedOver => Ok(()),
        AttachmentUse::Refused => refuse_attachments(slot).map_err(|error| error.message),
    }
}

/// Builds the request of an update: a function of the intent alone, so that a repeated one is identical.
fn update_request(
    change: &InPlaceUpdate,
    epoch: Epoch,
    plan: &Plan,
    ctx: &ApplyContext,
) -> Result<UpdateRequest, String> {
    let InPlaceUpdate {
        instance,
        provider_ref,
        token,
        update,
        how,
        digests,
        zone,
        template,
        grace,
    } = change;
    let facts = Facts {
        instance: instance.clone(),
        group: plan.group.clone(),
        zone: zone.clone(),
        address: None,
        seat: None,
        members: None,
    };
    let prepared = prepare(template, &facts).map_err(|error| error.to_string())?;
    attached(&prepared.slot, ctx)?;
    Ok(UpdateRequest {
        fleet: ctx.fleet.clone(),
        group: plan.group.clone(),
        epoch,
        provider_ref: provider_ref.clone(),
        token: token.clone(),
        update: update.clone(),
        how: *how,
        digests: digests.clone(),
        slot: prepared.slot,
        properties: prepared.properties,
        grace: *grace,
        secrets: drover_provider::Secrets::default(),
    })
}

/// Builds the request of an adoption: a function of the intent alone, so that a repeated one is identical.
fn adopt_request(adopt: &AdoptStep, epoch: Epoch, plan: &Plan, ctx: &ApplyContext) -> AdoptRequest {
    let AdoptStep {
        instance,
        provider_ref,
        token,
        digests,
        seat,
        tags: _,
    } = adopt.clone();
    AdoptRequest {
        fleet: ctx.fleet.clone(),
        group: plan.group.clone(),
        epoch,
        provider_ref,
        instance,
        token,
        digests,
        seat,
    }
}

fn resend<'a>(
    mut work: Work<'a>,
    id: IntentId,
    plan: &Plan,
    ctx: &ApplyContext,
    view: &View,
) -> Work<'a> {
    let refused = |message: &str| StepResult::Failed {
        class: ErrorClass::InvalidSpec,
        message: message.to_owned(),
    };
    let Some(intent) = view.intent(id) else {
        work.result = refused("the intent to repeat is not open");
        return work;
    };
    if let IntentKind::Update(change) = &intent.kind {
        return match update_request(change, intent.epoch, plan, ctx) {
            Ok(request) => work.repeats(intent).calling(Call::Update(request)),
            Err(message) => {
                work.result = refused(&message);
                work
            }
        };
    }
    if let IntentKind::Adopt(adopt) = &intent.kind {
        let request = adopt_request(adopt, intent.epoch, plan, ctx);
        return work.repeats(intent).calling(Call::Adopt(request));
    }
    let IntentKind::Create {
        slots,
        token,
        digests,
        zone,
        template,
        seat,
        ..
    } = &intent.kind
    else {
        work.result =
            refused("the intent to repeat makes nothing, changes nothing and adopts nothing");
        return work;
    };
    // The epoch of the first call, not ours: the provider refuses a token with other parameters.
    let launch = Launch {
        slots,
        token,
        digests,
        zone: zone.as_ref(),
        template,
        seat: seat.as_deref(),
        epoch: intent.epoch,
        urgency: urgency(work.step.cause, &plan.next),
    };
    match launch.request(plan, ctx) {
        Ok(request) => work.repeats(intent).calling(Call::Provision(request)),
        // Not written as a failure: the first call may have taken effect.
        Err(message) => {
            work.result = refused(&message);
            work
        }
    }
}

fn destroy<'a>(
    work: Work<'a>,
    request: DestroyRequest,
    plan: &Plan,
    ctx: &ApplyContext,
    view: &mut View,
) -> Work<'a> {
    if let Some(open) = view.destroy_of(&request.provider_ref, &request.token) {
        return work.repeats(open).calling(Call::Destroy(request));
    }
    let kind = IntentKind::Destroy {
        instance: request.instance.clone(),
        provider_ref: request.provider_ref.clone(),
        token: request.token.clone(),
        reason: view.reason(work.step, &request.instance),
    };
    view.add(kind.clone());
    work.appending(appended(plan, ctx, kind, IntentState::Intended))
        .calling(Call::Destroy(request))
}

/// The parameters of a provision call, of a step or of the intent that it left.
struct Launch<'a> {
    slots: &'a [InstanceId],
    token: &'a Token,
    digests: &'a Digests,
    zone: Option<&'a String>,
    template: &'a Template,
    seat: Option<&'a Seat>,
    epoch: Epoch,
    urgency: Urgency,
}

impl Launch<'_> {
    /// Builds the request: a function of the intent alone, so that a repeated one is identical.
    ///
    /// # Errors
    ///
    /// A substitution that names no fact, and slots that would get different parameters: those are
    /// batches of one, which the planner decides; a token cannot be split.
    fn request(&self, plan: &Plan, ctx: &ApplyContext) -> Result<ProvisionRequest, String> {
        let mut slots = Vec::new();
        let mut properties = None;
        for instance in self.slots {
            let facts = Facts {
                instance: instance.clone(),
                group: plan.group.clone(),
                zone: self.zone.cloned(),
                address: None,
                seat: self.seat.cloned(),
                members: None,
            };
            let prepared = prepare(self.template, &facts).map_err(|error| error.to_string())?;
            attached(&prepared.slot, ctx)?;
            slots.push(prepared.slot);
            let first = properties.get_or_insert_with(|| prepared.properties.clone());
            if *first != prepared.properties {
                return Err(differ(&self.slots[0], instance, "properties"));
            }
        }
        let properties = properties.ok_or("the create names no instance")?;
        for slot in &slots[1..] {
            if slot.init != slots[0].init {
                return Err(differ(&self.slots[0], &slot.instance, "init lines"));
            }
            if slot.env != slots[0].env {
                return Err(differ(&self.slots[0], &slot.instance, "environments"));
            }
            if slot.attachments != slots[0].attachments {
                return Err(differ(&self.slots[0], &slot.instance, "attachments"));
            }
        }
        Ok(ProvisionRequest {
            token: self.token.clone(),
            fleet: ctx.fleet.clone(),
            group: plan.group.clone(),
            epoch: self.epoch,
            digests: self.digests.clone(),
            zone: self.zone.cloned(),
            slots,
            properties,
            secrets: drover_provider::Secrets::default(),
            urgency: self.urgency,
            asked: None,
        })
    }
}

/// Returns what a launch is for, of why it is made and of the sizes that the group has reached and is to have.
///
/// A launch that is repeated says no more why it was made: then the sizes alone tell.
fn urgency(cause: Cause, next: &RecordedGroup) -> Urgency {
    match cause {
        Cause::Because(Reason::Heal | Reason::Interruption) => Urgency::Heal,
        Cause::Because(_) => Urgency::Roll,
        Cause::ScaleOut
        | Cause::FollowUp
        | Cause::FailedLaunch
        | Cause::Completed
        | Cause::KeptOver
        | Cause::Adoption => {
            if next.size <= next.stable_size {
                Urgency::Heal
            } else {
                Urgency::Scale
            }
        }
    }
}

/// Returns whether an instance that ends for a reason leaves its place to another one while it still serves.
fn ending(reason: Reason) -> Ending {
    match reason {
        Reason::Update | Reason::Drift | Reason::Expiry | Reason::Rebalance | Reason::Cost => {
            Ending::Replaced
        }
        Reason::Heal | Reason::ScaleIn | Reason::Interruption | Reason::Delete => Ending::Removed,
    }
}

fn differ(first: &InstanceId, other: &InstanceId, what: &str) -> String {
    format!("{first} and {other} have different {what}, so one call cannot make both")
}

/// Returns the instances that a step is about, for the log.
pub(super) fn subject(step: &Step, call: Option<&Call>) -> String {
    let list = |instances: &mut dyn Iterator<Item = &InstanceId>| {
        let names: Vec<String> = instances.map(ToString::to_string).collect();
        names.join(",")
    };
    match (&step.action, call) {
        (_, Some(Call::Provision(request))) => {
            list(&mut request.slots.iter().map(|slot| &slot.instance))
        }
        (_, Some(Call::Adopt(request))) => request.instance.to_string(),
        (_, Some(Call::Update(request))) => request.slot.instance.to_string(),
        (Action::Create { slots, .. }, _) => list(&mut slots.iter()),
        (
            Action::Drain { instance, .. }
            | Action::Destroy { instance, .. }
            | Action::Update(InPlaceUpdate { instance, .. })
            | Action::Adopt(AdoptStep { instance, .. })
            | Action::Release { instance, .. },
            _,
        ) => instance.to_string(),
        (Action::Roster(change), _) => change.subject(),
        (Action::Resend { .. } | Action::Settle(_), _) => String::new(),
    }
}

/// Returns the attempt of a create, for the log.
pub(super) fn attempt(step: &Step) -> Option<u32> {
    match step.action {
        Action::Create { attempt, .. } => Some(attempt),
        Action::Resend { .. }
        | Action::Drain { .. }
        | Action::Destroy { .. }
        | Action::Update(_)
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Release { .. }
        | Action::Settle(_) => None,
    }
}
