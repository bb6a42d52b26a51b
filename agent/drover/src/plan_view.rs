//! Plans as people and programs read them: what would change, what is done about it now, and what
//! is withheld.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drover_loop::{AgentStatus, GroupStatus, StepReport};
use drover_model::{Change, GroupName, Held, Hold};
use serde::{Deserialize, Serialize};

use crate::printable::printable;
use crate::ui::Style;

mod markdown;
#[cfg(test)]
mod tests;

pub(crate) use markdown::{fenced, markdown, marked};

/// The plan of one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanView {
    pub(crate) group: String,
    pub(crate) phase: String,
    pub(crate) change: Option<ChangeView>,
    /// What differs in the documents, where two commits were compared.
    #[serde(default)]
    pub(crate) fields: Vec<FieldView>,
    pub(crate) steps: Vec<StepView>,
    pub(crate) holds: Vec<PlanHold>,
    /// A change that policies or limits do not let through.
    pub(crate) denied: bool,
    /// How many people must still approve the change.
    pub(crate) approvals_needed: u32,
}

/// What a person reviews.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangeView {
    /// None: not known, because the agent has not seen the group, or not in what it comes from.
    pub(crate) id: Option<String>,
    pub(crate) from: Option<EndView>,
    pub(crate) to: Option<EndView>,
    pub(crate) creates: u32,
    pub(crate) replaces: u32,
    /// Restarted in place.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// Changed in place, without an interruption.
    #[serde(default)]
    pub(crate) changes: u32,
    pub(crate) destroys: u32,
    pub(crate) unavailable_max: u32,
    pub(crate) destroyed_max: u32,
    pub(crate) total_max: u32,
    pub(crate) policies: BTreeMap<String, String>,
}

/// One end of a change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndView {
    pub(crate) template: String,
    pub(crate) size: u32,
}

/// A field that two documents of a group differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FieldView {
    /// `size`, `properties.<key>`, `tags.<key>` or `flavors`.
    pub(crate) field: String,
    /// What a change of it needs: `live`, `restart` or `replace`; `scale` for the size.
    pub(crate) class: String,
    /// As compact JSON. None: it is not written.
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// A step of the next pass.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepView {
    pub(crate) action: String,
    pub(crate) instances: Vec<String>,
    pub(crate) cause: String,
}

/// A reason not to act.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanHold {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) reason: Option<String>,
    pub(crate) routine: bool,
}

impl From<&Change> for ChangeView {
    fn from(change: &Change) -> Self {
        let end = |end: &drover_model::ChangeEnd| EndView {
            template: end.digests.short().to_owned(),
            size: end.size,
        };
        Self {
            id: Some(change.id.to_string()),
            from: change.from.as_ref().map(end),
            to: change.to.as_ref().map(end),
            creates: change.creates,
            replaces: change.replaces,
            restarts: change.restarts,
            changes: change.changes,
            destroys: change.destroys,
            unavailable_max: change.certificate.unavailable_max,
            destroyed_max: change.certificate.destroyed_max,
            total_max: change.certificate.total_max,
            policies: change.policies.clone(),
        }
    }
}

impl From<&Held> for PlanHold {
    fn from(held: &Held) -> Self {
        Self {
            code: held.hold.code().to_owned(),
            message: held.hold.to_string(),
            reason: held.reason.map(|reason| reason.as_str().to_owned()),
            routine: held.hold.is_routine(),
        }
    }
}

/// Returns the plans of an agent's groups.
pub(crate) fn of_status(status: &AgentStatus) -> Vec<PlanView> {
    let groups = status.groups.iter();
    groups.map(|(name, group)| of_group(name, group)).collect()
}

fn of_group(name: &GroupName, group: &GroupStatus) -> PlanView {
    let report = &group.report;
    let step = |step: &StepReport| StepView {
        action: step.verb.to_owned(),
        instances: step.instances.clone(),
        cause: step.cause.to_owned(),
    };
    PlanView {
        group: name.to_string(),
        phase: report
            .phase
            .map_or("Pending", |phase| phase.as_str())
            .to_owned(),
        change: group.change.as_deref().map(ChangeView::from),
        fields: Vec::new(),
        steps: report
            .steps
            .iter()
            .filter(|step| step.verb != "settle")
            .map(step)
            .collect(),
        denied: is_denied(&report.holds),
        approvals_needed: approvals_needed(&report.holds),
        holds: report.holds.iter().map(PlanHold::from).collect(),
    }
}

/// Returns how many people must still approve the change.
fn approvals_needed(holds: &[Held]) -> u32 {
    let missing = holds.iter().filter_map(|held| match &held.hold {
        Hold::ApprovalNeeded(needed) => Some(needed.need.saturating_sub(needed.have.len() as u32)),
        _ => None,
    });
    missing.max().unwrap_or(0)
}

/// Whether the change as a whole is withheld by a rule.
pub(crate) fn is_denied(holds: &[Held]) -> bool {
    holds
        .iter()
        .any(|held| matches!(held.hold, Hold::PolicyDenied(_) | Hold::ApprovalRejected(_)))
}

impl PlanView {
    /// Whether anything would change.
    pub(crate) fn is_pending(&self) -> bool {
        self.change.is_some() || !self.steps.is_empty()
    }

    fn verdict(&self) -> String {
        let Some(change) = &self.change else {
            return if self.steps.is_empty() {
                "no changes".to_owned()
            } else {
                "keeps what is in force".to_owned()
            };
        };
        let mut parts = Vec::new();
        match (&change.from, &change.to) {
            (None, _) => parts.push("new".to_owned()),
            (Some(_), None) => parts.push("removed".to_owned()),
            (Some(from), Some(to)) => {
                if from.size != to.size {
                    parts.push(format!("size {} -> {}", from.size, to.size));
                }
                if from.template != to.template {
                    parts.push(format!("template {} -> {}", from.template, to.template));
                }
            }
        }
        for (count, verb) in [
            (change.creates, "create"),
            (change.replaces, "replace"),
            (change.restarts, "restart"),
            (change.changes, "change live"),
            (change.destroys, "destroy"),
        ] {
            if count > 0 {
                parts.push(format!("{verb} {count}"));
            }
        }
        if parts.is_empty() {
            parts.push("settings change, and no instance".to_owned());
        }
        if self.denied {
            parts.push("DENIED".to_owned());
        } else if self.approvals_needed > 0 {
            parts.push("NEEDS APPROVAL".to_owned());
        }
        parts.join(", ")
    }
}

/// Totals over all groups, as the first line of every format.
pub(crate) fn headline(plans: &[PlanView]) -> String {
    let changes: Vec<&ChangeView> = plans
        .iter()
        .filter_map(|plan| plan.change.as_ref())
        .collect();
    if changes.is_empty() {
        return "Plan: no changes".to_owned();
    }
    let sum = |pick: fn(&ChangeView) -> u32| changes.iter().map(|change| pick(change)).sum::<u32>();
    let denied = plans.iter().filter(|plan| plan.denied).count();
    let mut text = format!(
        "Plan: {} to create, {} to replace, {} to destroy in {} of {} groups",
        sum(|change| change.creates),
        sum(|change| change.replaces),
        sum(|change| change.destroys),
        changes.len(),
        plans.len()
    );
    let in_place = [
        (sum(|change| change.restarts), "to restart in place"),
        (sum(|change| change.changes), "to change live"),
    ];
    for (count, what) in in_place.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, ", {count} {what}");
    }
    let asking = plans
        .iter()
        .filter(|plan| plan.approvals_needed > 0 && !plan.denied);
    let asking = asking.count();
    if denied > 0 {
        let _ = write!(text, " - {denied} denied by policy");
    }
    if asking > 0 {
        let _ = write!(text, " - {asking} must be approved");
    }
    text
}

/// Returns plans for a terminal.
pub(crate) fn text(plans: &[PlanView], color: bool) -> String {
    let mut out = String::new();
    for plan in plans {
        let name = Style::Bold.paint(&plan.group, color);
        let _ = writeln!(out, "{name}: {}", plan.verdict());
        if let Some(change) = &plan.change {
            let _ = writeln!(
                out,
                "  at once at most: {} unavailable, {} destroyed without replacement, {} in total",
                change.unavailable_max, change.destroyed_max, change.total_max
            );
            if let Some(id) = &change.id {
                let id: String = id.chars().take(12).collect();
                let _ = writeln!(out, "  change {id}");
            }
        }
        for step in &plan.steps {
            let _ = writeln!(
                out,
                "  {} {} ({})",
                step.action,
                step.instances.join(", "),
                step.cause
            );
        }
        for hold in &plan.holds {
            let reason = hold
                .reason
                .as_ref()
                .map(|r| format!(" ({r})"))
                .unwrap_or_default();
            let code = Style::Yellow.paint(&hold.code, color);
            let _ = writeln!(out, "  held: {code}{reason}: {}", printable(&hold.message));
        }
    }
    let _ = writeln!(out, "{}", headline(plans));
    out
}
