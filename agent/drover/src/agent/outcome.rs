//! What a pass means for `--once` and `--until-converged`: going on, done, or waiting for a person.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use drover_loop::{GroupReport, PassReport, StepFate};
use drover_model::{GroupName, GroupPhase, Held, Hold, Numbers, Promote};

use crate::exit::Exit;
use crate::printable::printable;
use crate::view::seconds;

#[cfg(test)]
mod tests;

/// Where everything stands after a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Every group is where it should be.
    Converged,
    /// Something is on its way, or waits for time to pass.
    Going,
    /// Nothing goes on without a person.
    Stuck(Exit),
}

/// Judges a pass. `clocked` says whether what policies decided about a group depends on the time: then
/// a closed gate opens by itself.
pub(crate) fn standing(report: &PassReport, clocked: &dyn Fn(&GroupName) -> bool) -> Standing {
    if report.unfinished > 0 {
        return Standing::Going;
    }
    let mut exits = Vec::new();
    let agent = person(&report.holds);
    exits.extend(agent);
    for (name, group) in &report.groups {
        match group_standing(group, clocked(name)) {
            Standing::Converged => {}
            Standing::Going => return Standing::Going,
            Standing::Stuck(exit) => exits.push(exit),
        }
    }
    if report
        .diagnostics
        .iter()
        .any(drover_spec::Diagnostic::is_error)
    {
        exits.push(Exit::Partial);
    }
    // The agent cannot work at all: it tries again, until the time is over.
    if !report.holds.is_empty() && agent.is_none() {
        return Standing::Going;
    }
    // What can be decided by somebody comes first: approval, then denial, then the rest.
    let first = [Exit::ApprovalNeeded, Exit::Denied, Exit::Partial]
        .into_iter()
        .find(|exit| exits.contains(exit));
    match first {
        Some(exit) => Standing::Stuck(exit),
        None if report.revision.is_none() => Standing::Going,
        None => Standing::Converged,
    }
}

fn group_standing(group: &GroupReport, clocked: bool) -> Standing {
    let lasting = |held: &&Held| !(clocked && matches!(held.hold, Hold::GateClosed(_)));
    let holds: Vec<Held> = group.holds.iter().filter(lasting).cloned().collect();
    if group.error.is_some() || moved(group) {
        return Standing::Going;
    }
    if !group.planned {
        // Without a provider, for example, there is nothing to plan with.
        return person(&holds).map_or(Standing::Going, Standing::Stuck);
    }
    // A held group may still have instances on their way, up or down, or wait to work at all.
    let begins = group.phase == Some(GroupPhase::Bootstrapping);
    let waits = begins || group.numbers.total - group.numbers.kept != group.numbers.available;
    let asked = person(&holds);
    let ends = match group.phase {
        Some(GroupPhase::Pending | GroupPhase::Progressing) => return Standing::Going,
        Some(
            GroupPhase::Bootstrapping
            | GroupPhase::Held
            | GroupPhase::Paused
            | GroupPhase::Deleting,
        ) => Standing::Going,
        Some(GroupPhase::Converged | GroupPhase::Observed | GroupPhase::Deleted) | None => {
            Standing::Converged
        }
    };
    match asked {
        Some(_) if waits => Standing::Going,
        Some(exit) => Standing::Stuck(exit),
        None => ends,
    }
}

/// Whether something was changed in this pass. Closing an intent changes nothing outside.
fn moved(group: &GroupReport) -> bool {
    let done = |fate: &StepFate| matches!(fate, StepFate::Done | StepFate::Unknown(_));
    let mut steps = group.steps.iter();
    steps.any(|step| step.verb != "settle" && done(&step.result))
}

/// Returns what the holds ask of a person; none when time alone ends them.
fn person(holds: &[Held]) -> Option<Exit> {
    let exits: Vec<Exit> = holds.iter().filter_map(asks).collect();
    [Exit::ApprovalNeeded, Exit::Denied, Exit::Partial]
        .into_iter()
        .find(|exit| exits.contains(exit))
}

#[expect(clippy::too_many_lines, reason = "one arm per hold, nothing to split")]
fn asks(held: &Held) -> Option<Exit> {
    // A hold with an end needs nobody.
    if held.until.is_some() {
        return None;
    }
    match &held.hold {
        Hold::Protected
        | Hold::ApprovalNeeded(_)
        | Hold::DestroyLimit { .. }
        | Hold::FleetDestroyLimit { .. }
        | Hold::DeletionUnconfirmed { .. }
        | Hold::RenameUnconfirmed { .. }
        | Hold::CanaryHold {
            promote: Promote::Manual,
            ..
        } => Some(Exit::ApprovalNeeded),
        Hold::PolicyDenied(_)
        | Hold::ApprovalRejected(_)
        | Hold::GateClosed(_)
        | Hold::ProtectedByPolicy(_)
        | Hold::PlaceForbidden(_) => Some(Exit::Denied),
        Hold::SpecInvalid { .. }
        | Hold::PolicyFailed(_)
        | Hold::ProviderMissing { .. }
        | Hold::ProviderChanged { .. }
        | Hold::OwnerStillActs { .. }
        | Hold::AdoptionContested { .. }
        | Hold::AdoptionRefused { .. }
        | Hold::SizingChanged
        | Hold::QuorumAtRisk { .. }
        | Hold::MembershipUnclear { .. }
        | Hold::QuorumUnproven { .. }
        | Hold::Suspended { .. }
        | Hold::Frozen { .. }
        | Hold::RolloutPaused(_)
        | Hold::Quarantined(_)
        | Hold::Partition { .. }
        | Hold::NotProactive { .. }
        | Hold::MaxAction { .. }
        | Hold::DrainTimeout
        | Hold::ProtectedInstance { .. }
        | Hold::KeptInstance { .. }
        | Hold::NumbersExhausted { .. }
        | Hold::EpochConflict { .. }
        | Hold::OwnerUnproven { .. }
        | Hold::StateUntrusted { .. } => Some(Exit::Partial),
        Hold::Adopting { .. }
        | Hold::StrangersMissing { .. }
        | Hold::AdoptedSurplus { .. }
        | Hold::AdoptionUnknown { .. }
        | Hold::StrayInstances { .. }
        | Hold::DuplicateInstances { .. }
        | Hold::ObservationPartial { .. }
        | Hold::ObservationStale
        | Hold::ObservationEmptied { .. }
        | Hold::ProviderFailed { .. }
        | Hold::ObserveOnly
        | Hold::BudgetByPolicy(_)
        | Hold::AnalysisPending(_)
        | Hold::WindowClosed { .. }
        | Hold::BudgetExhausted { .. }
        | Hold::FleetBudgetExhausted { .. }
        | Hold::DependencyNotReady { .. }
        | Hold::CreateLimit { .. }
        | Hold::DestroyRate { .. }
        | Hold::SurgeExhausted { .. }
        | Hold::AvailabilityFloor { .. }
        | Hold::FirstBatch { .. }
        | Hold::RolloutWindow { .. }
        | Hold::CanaryHold {
            promote: Promote::Auto,
            ..
        }
        | Hold::Checkpoint { .. }
        | Hold::Bake
        | Hold::LaunchBackoff { .. }
        | Hold::UpdateRefused { .. }
        | Hold::HealBudget { .. }
        | Hold::Systemic { .. }
        | Hold::AllUnknown
        | Hold::ZonesCooling { .. }
        | Hold::ScalingStabilized { .. }
        | Hold::ScalingRate { .. }
        | Hold::TotalLimit { .. }
        | Hold::QuorumUnsettled { .. }
        | Hold::ClusterDegraded { .. }
        | Hold::ClusterUnknown { .. }
        | Hold::UnknownOutcomes { .. }
        | Hold::JournalUnavailable { .. }
        | Hold::ClockStepped
        | Hold::SecretUnresolved { .. }
        | Hold::LaunchesRefused { .. }
        | Hold::EndRefused { .. }
        | Hold::ChangeRefused { .. }
        | Hold::SourceOutage { .. }
        | Hold::SourceUnavailable { .. } => None,
    }
}

/// Returns the exit status of a single pass: that it was made, and whether what it did succeeded.
pub(crate) fn of_one_pass(report: &PassReport) -> Exit {
    let failed = |group: &GroupReport| {
        let step_failed =
            |fate: &StepFate| matches!(fate, StepFate::Failed(_) | StepFate::Unknown(_));
        group.error.is_some() || group.steps.iter().any(|step| step_failed(&step.result))
    };
    if report.groups.values().any(|group| failed(group)) {
        return Exit::Partial;
    }
    let broken = report.holds.iter().any(|held| {
        matches!(
            held.hold,
            Hold::SourceUnavailable { .. }
                | Hold::JournalUnavailable { .. }
                | Hold::EpochConflict { .. }
                | Hold::StateUntrusted { .. }
        )
    });
    if broken { Exit::Failed } else { Exit::Done }
}

/// Says how far a group is that goes on by itself.
fn under_way(name: &GroupName, group: &GroupReport) -> Option<String> {
    let phase = group.phase.filter(|phase| {
        matches!(
            phase,
            GroupPhase::Pending | GroupPhase::Bootstrapping | GroupPhase::Progressing
        )
    })?;
    let Numbers {
        size,
        available,
        updated,
        ..
    } = group.numbers;
    let mut line = format!(
        "{name}: {}, {available} of {size} available, {updated} of the template in force",
        phase.as_str()
    );
    if let Some(at) = group.timer_at {
        let _ = write!(line, "; time alone changes something at {}", seconds(at));
    }
    Some(line)
}

/// Says in a line per group why it is stuck, for the end of `--until-converged`.
pub(crate) fn reasons(report: &PassReport) -> Vec<String> {
    let mut lines = Vec::new();
    let of = |name: &str, held: &Held| format!("{name}: {}: {}", held.hold.code(), held.hold);
    lines.extend(report.holds.iter().map(|held| of("agent", held)));
    let groups: &BTreeMap<GroupName, _> = &report.groups;
    for (name, group) in groups {
        let serious = group.holds.iter().filter(|held| !held.hold.is_routine());
        lines.extend(serious.map(|held| of(name.as_str(), held)));
        lines.extend(under_way(name, group));
        if let Some(error) = &group.error {
            lines.push(format!("{name}: {error}"));
        }
    }
    let errors = report
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.is_error());
    lines.extend(errors.map(|diagnostic| format!("{}: {}", diagnostic.span, diagnostic.message)));
    lines.dedup();
    for line in &mut lines {
        if let Cow::Owned(safe) = printable(line) {
            *line = safe;
        }
    }
    lines
}
