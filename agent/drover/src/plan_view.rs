//! Plans as people and programs read them: what would change, what is done about it now, and what
//! is withheld; and which documents other than groups change with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drover_loop::{AgentStatus, GroupStatus, StepReport};
use drover_model::{Change, DeletionPolicy, Group, GroupName, Held, Hold, Manage, counted, plural};
use serde::{Deserialize, Serialize};

use crate::printable::printable;
use crate::ui::Style;
use crate::view::is_zero;

use self::markdown::{FIELDS_MAX, first_shown, short};

mod documents;
pub(crate) mod fields;
mod markdown;
#[cfg(test)]
mod tests;

pub(crate) use documents::{DocumentChange, DocumentView};
pub(crate) use markdown::{fenced, markdown, marked};

/// Everything that is told at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plans {
    /// Of each group.
    pub(crate) groups: Vec<PlanView>,
    /// The other documents, where two commits were compared: what is to be looked at first stands first.
    pub(crate) documents: Vec<DocumentView>,
}

impl Plans {
    /// Whether anything would change.
    pub(crate) fn is_pending(&self) -> bool {
        !self.documents.is_empty() || self.groups.iter().any(PlanView::is_pending)
    }

    /// Whether something of it is denied.
    pub(crate) fn is_denied(&self) -> bool {
        self.groups.iter().any(|plan| plan.denied)
    }
}

/// The plan of one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanView {
    pub(crate) group: String,
    pub(crate) phase: String,
    pub(crate) change: Option<ChangeView>,
    /// What a commit takes over. None: nothing, or what is shown is what happens now, where each is a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adoption: Option<AdoptionView>,
    /// What differs in the documents, or all that a new one says.
    #[serde(default)]
    pub(crate) fields: Vec<FieldView>,
    /// The bindings that select the group no longer, since it has other labels.
    #[serde(default)]
    pub(crate) unguarded: Vec<String>,
    pub(crate) steps: Vec<StepView>,
    pub(crate) holds: Vec<PlanHold>,
    /// Whether nothing is known of what there is, as the provider could not be asked: then nothing is known of what would change.
    #[serde(default)]
    pub(crate) unseen: bool,
    /// A change that policies or limits do not let through.
    pub(crate) denied: bool,
    /// How many people must still approve the change.
    pub(crate) approvals_needed: u32,
}

/// What a commit takes over of what others made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdoptionView {
    /// How many instances. None: that is known to the agent alone, once it has looked, and so is what it makes,
    /// replaces and ends: there is no `change` then.
    pub(crate) strangers: Option<u32>,
    /// How many more match, and are held because `size` has no room for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) held: u32,
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
    /// Let go of, and left running.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) releases: u32,
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

/// A field that two documents differ in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FieldView {
    /// The path, such as `size`, `properties.env.PORT`, `tags.team`, `flavors[0].init` or `rollout.maxSurge`.
    pub(crate) field: String,
    /// What a change of it needs: `live`, `restart` or `replace`; `scale` for the size, `setting` for how the group is
    /// kept, `new` for all that a new group says; empty for what is no group.
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
            releases: 0,
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
        change: reviewed(group)
            .map(|change| ChangeView::from(change).led_from(group.group.as_deref())),
        adoption: None,
        fields: fields_of(group),
        unguarded: Vec::new(),
        steps: report
            .steps
            .iter()
            .filter(|step| step.verb != "settle")
            .map(step)
            .collect(),
        unseen: is_unseen(&report.holds),
        denied: is_denied(&report.holds),
        approvals_needed: approvals_needed(&report.holds),
        holds: report.holds.iter().map(PlanHold::from).collect(),
    }
}

/// Returns the change that people look at: the one that waits for them before the one in progress.
fn reviewed(group: &GroupStatus) -> Option<&Change> {
    group.withheld.as_deref().or(group.change.as_deref())
}

/// Returns what differs between the documents that the change leads from and to, or all that a new one says.
fn fields_of(group: &GroupStatus) -> Vec<FieldView> {
    let accepted = group.recorded.accepted.as_ref();
    let accepted = accepted.map(|accepted| &accepted.text);
    let wanted = group.wanted.as_ref();
    let mut found = Vec::new();
    if let Some(change) = reviewed(group) {
        match (&change.from, &change.to) {
            (None, Some(_)) => {
                let text = wanted.or(accepted);
                return text.map_or_else(Vec::new, |text| fields::of_new(text));
            }
            (Some(from), Some(to)) => found.extend(fields::sized(from.size, to.size)),
            (_, None) => return found,
        }
        found.extend(fields::template(&group.differing));
    }
    if let Some((before, after)) = accepted.zip(wanted) {
        found.extend(fields::settings(before, after));
    }
    found
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

/// Whether the group is not planned, for want of a listing.
fn is_unseen(holds: &[Held]) -> bool {
    holds.iter().any(|held| {
        matches!(
            held.hold,
            Hold::ProviderMissing { .. } | Hold::ProviderFailed { .. } | Hold::ObservationStale
        )
    })
}

impl PlanView {
    /// Whether anything would change, or may: nobody knows.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_changed() || !self.steps.is_empty() || self.unseen
    }

    /// Whether something else is asked for than before.
    fn is_changed(&self) -> bool {
        self.change.is_some() || self.adoption.is_some() || !self.fields.is_empty()
    }

    /// Whether nobody knows yet what is taken over.
    fn is_unknown(&self) -> bool {
        self.adoption.is_some_and(|it| it.strangers.is_none())
    }

    fn verdict(&self) -> String {
        let mut parts = Vec::new();
        match (&self.change, &self.adoption) {
            (None, None) => {
                return match (self.fields.is_empty(), self.steps.is_empty()) {
                    (false, _) => "settings change, and no instance",
                    (true, true) if self.unseen => "not known, as its provider could not be asked",
                    (true, true) => "no changes",
                    (true, false) => "keeps what is in force",
                }
                .to_owned();
            }
            (change, adoption) => {
                parts.extend(adoption.map(|adoption| adoption.told(&self.group)));
                parts.extend(change.iter().flat_map(ChangeView::told));
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

impl AdoptionView {
    fn told(self, group: &str) -> String {
        match self.strangers {
            Some(count) if self.held > 0 => {
                format!("adopt {count}, hold {} (AdoptedSurplus)", self.held)
            }
            Some(count) => format!("adopt {count}"),
            None => format!(
                "what it adopts, replaces or ends is known once the agent has looked: `drover plan {group}`"
            ),
        }
    }
}

impl ChangeView {
    /// Returns the change as one that leads away from this document: what a removal does to instances is said there.
    #[must_use]
    pub(crate) fn led_from(self, document: Option<&Group>) -> Self {
        let Some(Group { spec, .. }) = document else {
            return self;
        };
        let releases = match (&self.to, spec.manage, spec.deletion.policy) {
            (Some(_), ..) | (None, Manage::Full, DeletionPolicy::Destroy) => return self,
            (None, Manage::Full, DeletionPolicy::Orphan) => self.destroys,
            // Nothing of what was only watched is the agent's.
            (None, Manage::Observe, _) => 0,
        };
        Self {
            destroys: 0,
            releases,
            unavailable_max: 0,
            destroyed_max: 0,
            ..self
        }
    }

    /// Returns what it does, in a few words each.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut parts = Vec::new();
        match (&self.from, &self.to) {
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
        let counts = [
            (self.creates, "create"),
            (self.replaces, "replace"),
            (self.restarts, "restart"),
            (self.changes, "change live"),
            (self.destroys, "destroy"),
            (self.releases, "release"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(counts.map(|(count, verb)| format!("{verb} {count}")));
        parts
    }
}

/// Totals over everything, as the first line of every format.
pub(crate) fn headline(plans: &Plans) -> String {
    let groups = of_groups(&plans.groups);
    let documents = documents::headline(&plans.documents);
    let others = [kept(&plans.groups), unseen(&plans.groups)];
    let parts = [groups.clone(), documents.clone()]
        .into_iter()
        .chain(others);
    let parts: Vec<String> = parts.flatten().collect();
    match (groups, documents) {
        (None, None) if parts.is_empty() => "Plan: no changes".to_owned(),
        (None, Some(_)) => format!("Plan: no group changes; {}", parts.join("; ")),
        (None, None) | (Some(_), _) => format!("Plan: {}", parts.join("; ")),
    }
}

/// Returns of how many groups nothing is known. None: of all of them.
fn unseen(plans: &[PlanView]) -> Option<String> {
    let unseen = plans.iter().filter(|plan| plan.unseen).count();
    let of = counted(plans.len(), "group");
    let told =
        || format!("nothing is known of {unseen} of {of}, whose provider could not be asked");
    (unseen > 0).then(told)
}

/// Returns what is done in groups that do not change. None: nothing is.
fn kept(plans: &[PlanView]) -> Option<String> {
    let unchanged = |plan: &&PlanView| !plan.is_changed();
    let busy = plans.iter().filter(unchanged);
    let busy: Vec<usize> = busy
        .map(|plan| plan.steps.len())
        .filter(|steps| *steps > 0)
        .collect();
    let steps: usize = busy.iter().sum();
    let of = format!("{} of {}", busy.len(), counted(plans.len(), "group"));
    let told = || {
        format!(
            "{} to keep what is in force, in {of}",
            counted(steps, "step")
        )
    };
    (steps > 0).then(told)
}

/// Returns the totals over all groups. None: none changes.
fn of_groups(plans: &[PlanView]) -> Option<String> {
    let changed = plans.iter().filter(|plan| plan.is_changed()).count();
    if changed == 0 {
        return None;
    }
    let sum = |pick: fn(&ChangeView) -> u32| {
        let changes = plans.iter().filter_map(|plan| plan.change.as_ref());
        changes.map(pick).sum::<u32>()
    };
    let adopted = plans.iter().filter_map(|plan| plan.adoption?.strangers);
    let unknown = plans.iter().filter(|plan| plan.is_unknown()).count();
    let counts = [
        (sum(|change| change.creates), "to create"),
        (sum(|change| change.replaces), "to replace"),
        (sum(|change| change.destroys), "to destroy"),
        (sum(|change| change.restarts), "to restart in place"),
        (sum(|change| change.changes), "to change live"),
        (adopted.sum(), "to adopt"),
        (sum(|change| change.releases), "to release"),
    ];
    let of = format!("{changed} of {}", counted(plans.len(), "group"));
    let mut text = if counts.iter().all(|(count, _)| *count == 0) {
        match unknown {
            0 => format!("settings of {of} change, and no instance"),
            _ => format!("settings of {of} change"),
        }
    } else {
        // The first three are what everybody looks for.
        let told = counts.iter().enumerate();
        let told = told.filter(|(at, (count, _))| *at < 3 || *count > 0);
        let told: Vec<String> = told
            .map(|(_, (count, what))| format!("{count} {what}"))
            .collect();
        format!("{} in {of}", told.join(", "))
    };
    if unknown > 0 {
        let groups = plural(unknown, "group adopts", "groups adopt");
        let _ = write!(text, "; what {groups} is known once the agent has looked");
    }
    let denied = plans.iter().filter(|plan| plan.denied).count();
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
    Some(text)
}

/// Returns plans for a terminal.
pub(crate) fn text(plans: &Plans, color: bool) -> String {
    let mut out = String::new();
    for plan in &plans.groups {
        let name = Style::Bold.paint(&plan.group, color);
        let _ = writeln!(out, "{name}: {}", plan.verdict());
        text_fields(&plan.fields, &mut out);
        for binding in &plan.unguarded {
            let _ = writeln!(out, "  no longer judged by {binding}");
        }
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
    documents::text(&plans.documents, color, &mut out);
    let _ = writeln!(out, "{}", headline(plans));
    out
}

/// Writes what differs, a line for each field.
fn text_fields(fields: &[FieldView], out: &mut String) {
    for field in fields.iter().take(FIELDS_MAX) {
        let name = printable(&field.field);
        let from = first_shown(field);
        let [old, new] = [&field.old, &field.new].map(|value| {
            let value = value.as_ref();
            value.map(|value| short(value, from))
        });
        let needs = field.needs().map(|needs| format!(" ({needs})"));
        let needs = needs.unwrap_or_default();
        let _ = match (old, new) {
            (Some(old), Some(new)) => writeln!(out, "  ~ {name}: {old} -> {new}{needs}"),
            (Some(old), None) => writeln!(out, "  - {name}: {old}{needs}"),
            (None, Some(new)) => writeln!(out, "  + {name}: {new}{needs}"),
            (None, None) => Ok(()),
        };
    }
    if let Some(more @ 1..) = fields.len().checked_sub(FIELDS_MAX) {
        let _ = writeln!(out, "  and {more} more: see -o json");
    }
}
