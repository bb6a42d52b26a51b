//! What was planned. It is never read back: a plan that is computed again is compared as text.

use drover_model::{
    Action, Allowance, Certificate, Change, ChangeEnd, Numbers, Plan, PlanReport, Precondition,
    Settlement, SettlementOutcome, Step,
};
use sha2::{Digest as _, Sha256};

use super::decided::recommendation_out;
use super::seen::{drain_out, ids, seat_out, update_out};
use super::{adopt, list_out, map_out, roster};
use crate::formats::{format_duration, format_time};
use crate::record::write::{MapOf, Yaml};
use crate::record::{self, encode, hold};

/// A plan with its report.
#[derive(Debug, Clone, Copy)]
pub struct PlanOutcome<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What it says about itself.
    pub report: &'a PlanReport,
}

pub(super) fn outcome_out(outcome: &PlanOutcome<'_>) -> Yaml {
    let Plan {
        group,
        observed_at,
        change,
        steps,
        allowance,
        recommendations,
        next,
        wake_at,
    } = outcome.plan;
    let PlanReport {
        holds,
        numbers,
        // Computed from the rest, and nothing of this plan is done by it.
        timer_at: _,
        disturbance: _,
    } = outcome.report;
    MapOf::new()
        .text("group", group)
        .text("observedAt", &format_time(*observed_at))
        .optional("change", change.as_ref().map(change_out))
        .with("steps", list_out(steps, step_out))
        .with("allowance", allowance_out(*allowance))
        .with("holds", list_out(holds, hold::encode_held))
        .with("numbers", numbers_out(numbers))
        .with(
            "recommendations",
            list_out(recommendations, recommendation_out),
        )
        .optional_text("wakeAt", wake_at.map(format_time))
        .text("next", &text_digest(&record::encode(next)))
        .build()
}

/// Returns the digest by which a recorded state is compared: the state itself is beside the inputs.
fn text_digest(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = "sha256:".to_owned();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn numbers_out(numbers: &Numbers) -> Yaml {
    let Numbers {
        size,
        total,
        kept,
        available,
        updated,
        outdated,
        floor,
        ceiling,
        strangers,
    } = numbers;
    MapOf::new()
        .number("size", *size)
        .number("total", *total)
        .number("available", *available)
        .number("updated", *updated)
        .number("outdated", *outdated)
        .number("floor", *floor)
        .number("ceiling", *ceiling)
        .optional("kept", (*kept > 0).then(|| Yaml::number(*kept)))
        .optional(
            "strangers",
            (*strangers > 0).then(|| Yaml::number(*strangers)),
        )
        .build()
}

fn allowance_out(allowance: Allowance) -> Yaml {
    let Allowance {
        ending_max,
        removed_max,
    } = allowance;
    MapOf::new()
        .number("endingMax", ending_max)
        .number("removedMax", removed_max)
        .build()
}

fn change_out(change: &Change) -> Yaml {
    let Change {
        id,
        group,
        from,
        to,
        creates,
        replaces,
        restarts,
        changes,
        destroys,
        policies,
        certificate,
    } = change;
    let some = |count: &u32| (*count > 0).then(|| Yaml::number(*count));
    let end = |end: &ChangeEnd| {
        let ChangeEnd {
            digests,
            size,
            members,
        } = end;
        let ids = members.iter().map(Yaml::text).collect();
        MapOf::new()
            .text("digests", digests)
            .number("size", *size)
            .optional("members", (!members.is_empty()).then_some(Yaml::List(ids)))
            .build()
    };
    let Certificate {
        unavailable_max,
        destroyed_max,
        total_max,
    } = certificate;
    let certificate = MapOf::new()
        .number("unavailableMax", *unavailable_max)
        .number("destroyedMax", *destroyed_max)
        .number("totalMax", *total_max);
    MapOf::new()
        .text("id", id)
        .text("group", group)
        .optional("from", from.as_ref().map(end))
        .optional("to", to.as_ref().map(end))
        .number("creates", *creates)
        .number("replaces", *replaces)
        .optional("restarts", some(restarts))
        .optional("changes", some(changes))
        .number("destroys", *destroys)
        .with("policies", map_out(policies, Yaml::text))
        .with("certificate", certificate.build())
        .build()
}

fn step_out(step: &Step) -> Yaml {
    let Step {
        action,
        cause,
        preconditions,
    } = step;
    MapOf::new()
        .with(action.verb(), action_out(action))
        .text("cause", cause.as_str())
        .with("if", list_out(preconditions, precondition_out))
        .build()
}

fn action_out(action: &Action) -> Yaml {
    let map = MapOf::new();
    match action {
        Action::Create {
            slots,
            attempt,
            token,
            digests,
            zone,
            template,
            seat,
        } => map
            .with("slots", ids(slots))
            .number("attempt", *attempt)
            .text("token", token)
            .text("digests", digests)
            .optional_text("zone", zone.as_ref())
            .with("template", encode::template(template))
            .optional("seat", seat.as_deref().map(seat_out)),
        Action::Resend { intent } => map.number("intent", intent.0),
        Action::Drain {
            instance,
            provider_ref,
            address,
            spec,
            deadline,
            returns,
        } => map
            .text("instance", instance)
            .text("ref", provider_ref)
            .optional_text("address", address.as_ref())
            .with("spec", drain_out(spec))
            .text("deadline", &format_time(*deadline))
            .optional_text("returns", returns.as_ref()),
        Action::Update(change) => update_out(change),
        Action::Roster(step) => roster::step_out(step),
        Action::Destroy {
            instance,
            provider_ref,
            token,
            grace,
        } => map
            .text("instance", instance)
            .text("ref", provider_ref)
            .text("token", token)
            .text("grace", &format_duration(*grace)),
        Action::Adopt(step) => adopt::step_out(step),
        Action::Release {
            instance,
            provider_ref,
        } => map.text("instance", instance).text("ref", provider_ref),
        Action::Settle(Settlement { intent, outcome }) => {
            let outcome = match outcome {
                SettlementOutcome::Observed => "observed",
                SettlementOutcome::NoEffect => "noEffect",
                SettlementOutcome::Superseded => "superseded",
            };
            map.number("intent", intent.0).text("outcome", outcome)
        }
    }
    .build()
}

fn precondition_out(precondition: &Precondition) -> Yaml {
    match precondition {
        Precondition::Absent(instance) => MapOf::new().text("absent", instance),
        Precondition::ObservedAs {
            instance,
            provider_ref,
            token,
        } => MapOf::new()
            .text("observed", instance)
            .text("ref", provider_ref)
            .text("token", token),
        Precondition::Open(intent) => MapOf::new().number("open", intent.0),
    }
    .build()
}
