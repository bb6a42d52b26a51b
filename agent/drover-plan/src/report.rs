//! A plan as people read it: steps, holds, numbers, in plain text.

use std::fmt::Write as _;

use drover_model::{Action, Plan, PlanReport, Step};

/// Returns the plan and its report as text, one line per step and per hold.
pub fn render(plan: &Plan, report: &PlanReport) -> String {
    let mut out = String::new();
    let numbers = &report.numbers;
    let _ = writeln!(
        out,
        "{}: size {}, {} total, {} available (floor {}, ceiling {}), {} updated, {} outdated: {}",
        plan.group,
        numbers.size,
        numbers.total,
        numbers.available,
        numbers.floor,
        numbers.ceiling,
        numbers.updated,
        numbers.outdated,
        plan.next.phase.as_str(),
    );
    for step in &plan.steps {
        let _ = writeln!(out, "  {}", step_line(step));
    }
    for held in &report.holds {
        let _ = write!(out, "  hold {}", held.hold.code());
        if let Some(reason) = held.reason {
            let _ = write!(out, " ({reason}");
            if let Some(instance) = &held.instance {
                let _ = write!(out, ", {instance}");
            }
            out.push(')');
        } else if let Some(instance) = &held.instance {
            let _ = write!(out, " ({instance})");
        }
        let _ = write!(out, ": {}", held.hold);
        if let Some(until) = held.until {
            let _ = write!(out, "; until {until}");
        }
        out.push('\n');
    }
    out
}

fn step_line(step: &Step) -> String {
    let verb = step.action.verb();
    let subject = match &step.action {
        Action::Create { slots, digests, .. } => {
            let names: Vec<String> = slots.iter().map(ToString::to_string).collect();
            format!("{} from {}", names.join(", "), digests.short())
        }
        Action::Resend { intent } => format!("create {intent}"),
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Release { instance, .. } => instance.to_string(),
        Action::Settle(settlement) => {
            format!("{} as {:?}", settlement.intent, settlement.outcome)
        }
    };
    format!("{verb} {subject} ({})", step.cause.as_str())
}
