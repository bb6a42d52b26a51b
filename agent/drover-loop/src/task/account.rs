//! What became of the steps of a plan: for the status, for the audit log, for the numbers.

use std::sync::Arc;

use drover_apply::{ApplyReport, Skip, StepResult};
use drover_model::{
    Action, AdoptStep, Cause, Classified, InPlaceUpdate, Plan, Reason, RecordedGroup, Step, plural,
};
use tracing::{info, warn};

use super::{Finished, Note};
use crate::audit::AuditStep;
use crate::message;
use crate::source::chain;
use crate::status::{StepFate, StepReport};

/// The longest account of what was said about a step, in characters.
const DETAIL_MAX: usize = 200;

pub(super) fn planned(plan: &Plan) -> Vec<StepReport> {
    let steps = plan.steps.iter();
    steps
        .map(|step| step_report(&step.action, step.cause, StepFate::Planned))
        .collect()
}

fn step_report(action: &Action, cause: Cause, result: StepFate) -> StepReport {
    let instances = match action {
        Action::Create { slots, .. } => slots.iter().map(ToString::to_string).collect(),
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Update(InPlaceUpdate { instance, .. })
        | Action::Adopt(AdoptStep { instance, .. })
        | Action::Release { instance, .. } => vec![instance.to_string()],
        Action::Roster(step) => vec![step.subject()],
        Action::Resend { .. } | Action::Settle(_) => Vec::new(),
    };
    StepReport {
        verb: action.verb(),
        cause: cause.as_str(),
        instances,
        result,
    }
}

/// Notes what became of each step.
pub(super) fn account(
    plan: &Plan,
    classified: &Classified,
    report: &ApplyReport,
    finished: &mut Finished,
) {
    for outcome in &report.outcomes {
        let Some(step) = plan.steps.get(outcome.step) else {
            continue;
        };
        let fate = match &outcome.result {
            StepResult::Done => StepFate::Done,
            StepResult::Skipped(skip) => StepFate::Skipped(skipped(skip)),
            StepResult::Failed { class, message } => {
                StepFate::Failed(format!("{}: {message}", class.as_str()))
            }
            StepResult::Unknown { message } => StepFate::Unknown(message.clone()),
        };
        let step_report = step_report(&step.action, step.cause, fate);
        if step.action.mutates() {
            let why = why_launch_failed(classified, step);
            note(&step_report, step.cause, why, finished);
        }
        finished.report.steps.push(step_report);
    }
    if let Some(error) = &report.journal_error {
        finished.journal_failed = Some(chain(error));
    }
}

/// Returns what the launch died of whose remains a step clears: they are gone by the time that anybody reads of it.
fn why_launch_failed(classified: &Classified, step: &Step) -> Option<String> {
    let (Cause::FailedLaunch, Action::Destroy { instance, .. }) = (step.cause, &step.action) else {
        return None;
    };
    let member = classified.members.get(instance)?;
    let why = message::line(&member.class.why()?, DETAIL_MAX);
    (!why.is_empty()).then_some(why)
}

/// Puts what is kept from now on into the commit's body: no step says so.
pub(super) fn note_kept(before: &RecordedGroup, finished: &mut Finished) {
    let recorded = Arc::clone(&finished.recorded);
    for (id, instance) in &recorded.instances {
        let was = before.instances.get(id);
        let new = was.is_none_or(|was| was.kept.is_none());
        if let Some(kept) = instance.kept.as_ref().filter(|_| new) {
            info!(instance = %id, until = %kept.until, "bad instance kept");
            let until = drover_spec::format_time(kept.until);
            finished.healed += 1;
            let detail = format!("until {until}: {}", kept.because);
            finished.notes.push(Note {
                line: format!("keep {id} {detail}"),
                step: AuditStep {
                    step: "keep".to_owned(),
                    instances: vec![id.to_string()],
                    cause: Reason::Heal.as_str().to_owned(),
                    result: "Done".to_owned(),
                    detail: Some(message::line(&detail, DETAIL_MAX)),
                },
            });
        }
    }
}

/// Counts a step and puts it into the commit's body. The executor has logged it.
fn note(step: &StepReport, cause: Cause, died_of: Option<String>, finished: &mut Finished) {
    let instances = abbreviate(&step.instances);
    let (outcome, result, why) = match &step.result {
        StepFate::Done => {
            if let Some(error) = &died_of {
                warn!(instance = instances, error, "failed launch cleared");
            }
            finished.done += 1;
            finished.mutations += 1;
            if cause == Cause::Because(Reason::Heal) && step.verb != "create" {
                finished.healed += 1;
            }
            let told = died_of.as_ref().map(|why| format!(": {why}"));
            (told.unwrap_or_default(), "Done", died_of)
        }
        StepFate::Skipped(_) | StepFate::Planned => return,
        StepFate::Failed(why) => {
            finished.failed += 1;
            (format!(" failed: {why}"), "Failed", Some(why.clone()))
        }
        StepFate::Unknown(why) => {
            finished.failed += 1;
            finished.mutations += 1;
            (
                format!(", outcome unknown: {why}"),
                "Unknown",
                Some(why.clone()),
            )
        }
    };
    finished.notes.push(Note {
        line: format!("{} {instances} ({}){outcome}", step.verb, step.cause),
        step: AuditStep {
            step: step.verb.to_owned(),
            instances: step.instances.clone(),
            cause: step.cause.to_owned(),
            result: result.to_owned(),
            detail: why.map(|why| message::line(&why, DETAIL_MAX)),
        },
    });
}

/// Returns `web-1, web-2` or `web-1 to web-40 (40)`.
fn abbreviate(instances: &[String]) -> String {
    match instances {
        [first, .., last] if instances.len() > 4 => {
            format!("{first} to {last} ({})", instances.len())
        }
        _ => instances.join(", "),
    }
}

fn skipped(skip: &Skip) -> String {
    match skip {
        Skip::Precondition(_) => "what it rests on has changed".to_owned(),
        Skip::Stopped(stop) => format!("stopped: {stop:?}"),
        Skip::AfterFailure { class } => format!("an earlier step failed: {}", class.as_str()),
        Skip::JournalUnavailable => "the journal is unavailable".to_owned(),
        Skip::BeyondAllowance { allowed } => {
            format!(
                "refused: the certificate lets {} at once, which is a bug of the planner",
                plural(*allowed, "instance end", "instances end")
            )
        }
    }
}
