//! A plan as people read it: steps, holds, numbers, in plain text.

use std::fmt::Write as _;

use drover_model::{Action, InPlace, InPlaceUpdate, Plan, PlanReport, Step};

/// Returns the plan and its report as text, one line per kind of step and per hold.
pub fn render(plan: &Plan, report: &PlanReport) -> String {
    let mut out = String::new();
    let numbers = &report.numbers;
    let kept = match numbers.kept {
        0 => String::new(),
        kept => format!(", {kept} kept"),
    };
    let strangers = match numbers.strangers {
        0 => String::new(),
        strangers => format!(", {strangers} to adopt"),
    };
    let _ = writeln!(
        out,
        "{}: size {}, {} total{kept}{strangers}, {} available (floor {}, ceiling {}), {} updated, {} outdated: {}",
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
    let lines = plan.steps.chunk_by(alike);
    for steps in lines {
        let subjects: Vec<String> = steps.iter().map(subject).collect();
        let verb = steps[0].action.verb();
        let cause = steps[0].cause.as_str();
        let from = match &steps[0].action {
            Action::Create {
                digests,
                zone: Some(zone),
                ..
            } => format!(" from {} in {zone}", digests.short()),
            Action::Create { digests, .. } => format!(" from {}", digests.short()),
            Action::Update(InPlaceUpdate { how, digests, .. }) => {
                let of_class = match how {
                    InPlace::Restart => &digests.restart,
                    InPlace::Live => &digests.live,
                };
                format!(" to {} ({})", of_class.short(), how.as_str())
            }
            Action::Drain {
                returns: Some(_), ..
            } => " before a restart".to_owned(),
            _ => String::new(),
        };
        let _ = writeln!(out, "  {verb} {}{from} ({cause})", subjects.join(", "));
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

/// Returns whether two steps fit in one line.
fn alike(one: &Step, other: &Step) -> bool {
    let same_template = match (&one.action, &other.action) {
        (
            Action::Create {
                digests: one,
                zone: here,
                ..
            },
            Action::Create {
                digests: other,
                zone: there,
                ..
            },
        ) => one == other && here == there,
        (Action::Settle(one), Action::Settle(other)) => one.outcome == other.outcome,
        (
            Action::Update(InPlaceUpdate {
                how: one,
                digests: this,
                ..
            }),
            Action::Update(InPlaceUpdate {
                how: other,
                digests: that,
                ..
            }),
        ) => one == other && this == that,
        (Action::Drain { returns: one, .. }, Action::Drain { returns: other, .. }) => {
            one.is_some() == other.is_some()
        }
        _ => true,
    };
    one.action.verb() == other.action.verb() && one.cause == other.cause && same_template
}

fn subject(step: &Step) -> String {
    match &step.action {
        Action::Create {
            slots,
            seat: Some(seat),
            ..
        } => {
            let names: Vec<String> = slots.iter().map(ToString::to_string).collect();
            format!("{} as {}", names.join(", "), seat.id.member)
        }
        Action::Create { slots, .. } => {
            let names: Vec<String> = slots.iter().map(ToString::to_string).collect();
            names.join(", ")
        }
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Update(InPlaceUpdate { instance, .. })
        | Action::Release { instance, .. } => instance.to_string(),
        Action::Roster(step) => step.subject(),
        Action::Adopt(step) => match &step.seat {
            Some(seat) => format!(
                "{} as {} ({})",
                step.provider_ref, step.instance, seat.member
            ),
            None => format!("{} as {}", step.provider_ref, step.instance),
        },
        Action::Resend { intent } => format!("intent {intent}"),
        Action::Settle(settlement) => format!("intent {}", settlement.intent),
    }
}
