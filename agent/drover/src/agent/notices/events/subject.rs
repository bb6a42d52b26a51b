//! What holds are about beside their object: another of these is another hold. Numbers and what others said are no part
//! of it, since they differ from pass to pass.

use drover_model::{ChangeId, Held, Hold, InstanceId};

/// Returns the change that waits for people.
pub(super) fn change(hold: &Hold) -> Option<&ChangeId> {
    if let Hold::ApprovalNeeded(needed) = hold {
        return Some(&needed.change);
    }
    if let Hold::ApprovalRejected(rejected) = hold {
        return Some(&rejected.change);
    }
    None
}

/// Returns the instance of a hold that is about this one, and not about whichever is next.
pub(super) fn instance(held: &Held) -> Option<&InstanceId> {
    let own = matches!(
        held.hold,
        Hold::ProtectedInstance { .. }
            | Hold::KeptInstance { .. }
            | Hold::ProtectedByPolicy(_)
            | Hold::DrainTimeout
    );
    held.instance.as_ref().filter(|_| own)
}

/// Returns what a hold is about, in words; nothing if an object can have only one of its name.
#[expect(clippy::too_many_lines, reason = "one arm per hold, nothing to split")]
pub(super) fn subject(held: &Held) -> String {
    let instance = instance(held).map(ToString::to_string).unwrap_or_default();
    match &held.hold {
        Hold::ApprovalNeeded(needed) => format!("change {}", needed.change.short()),
        Hold::ApprovalRejected(rejected) => format!("change {}", rejected.change.short()),
        Hold::ProviderMissing { provider, .. } => provider.to_string(),
        Hold::ProviderChanged { to, .. } => to.to_string(),
        Hold::Suspended { activity, .. } => activity.as_str().to_owned(),
        Hold::AdoptionContested { stranger, .. } => stranger.to_string(),
        Hold::FleetBudgetExhausted { budget, .. } => budget.to_string(),
        Hold::DependencyNotReady { group } => group.to_string(),
        Hold::RenameUnconfirmed { from } => from.to_string(),
        Hold::SecretUnresolved { reference, .. } => reference.clone(),
        Hold::ProtectedByPolicy(policy) => {
            let text = format!("{} {instance}", policy.policy);
            text.trim_end().to_owned()
        }
        Hold::PolicyDenied(policy)
        | Hold::GateClosed(policy)
        | Hold::PolicyFailed(policy)
        | Hold::BudgetByPolicy(policy)
        | Hold::PlaceForbidden(policy)
        | Hold::AnalysisPending(policy) => policy.policy.to_string(),
        Hold::ProtectedInstance { .. } | Hold::KeptInstance { .. } | Hold::DrainTimeout => instance,
        Hold::ObservationPartial { .. }
        | Hold::ObservationStale
        | Hold::ObservationEmptied { .. }
        | Hold::ProviderFailed { .. }
        | Hold::SpecInvalid { .. }
        | Hold::Frozen { .. }
        | Hold::ObserveOnly
        | Hold::OwnerStillActs { .. }
        | Hold::OwnerUnproven { .. }
        | Hold::AdoptionRefused { .. }
        | Hold::StrangersMissing { .. }
        | Hold::AdoptedSurplus { .. }
        | Hold::AdoptionUnknown { .. }
        | Hold::StrayInstances { .. }
        | Hold::DuplicateInstances { .. }
        | Hold::Adopting { .. }
        | Hold::WindowClosed { .. }
        | Hold::BudgetExhausted { .. }
        | Hold::CreateLimit { .. }
        | Hold::DestroyRate { .. }
        | Hold::SurgeExhausted { .. }
        | Hold::AvailabilityFloor { .. }
        | Hold::FirstBatch { .. }
        | Hold::RolloutWindow { .. }
        | Hold::RolloutPaused(_)
        | Hold::Quarantined(_)
        | Hold::CanaryHold { .. }
        | Hold::Checkpoint { .. }
        | Hold::Bake
        | Hold::Partition { .. }
        | Hold::MaxAction { .. }
        | Hold::UpdateRefused { .. }
        | Hold::NotProactive { .. }
        | Hold::LaunchBackoff { .. }
        | Hold::HealBudget { .. }
        | Hold::Systemic { .. }
        | Hold::AllUnknown
        | Hold::FleetDestroyLimit { .. }
        | Hold::DestroyLimit { .. }
        | Hold::ZonesCooling { .. }
        | Hold::ScalingStabilized { .. }
        | Hold::ScalingRate { .. }
        | Hold::TotalLimit { .. }
        | Hold::QuorumAtRisk { .. }
        | Hold::QuorumUnsettled { .. }
        | Hold::ClusterDegraded { .. }
        | Hold::ClusterUnknown { .. }
        | Hold::MembershipUnclear { .. }
        | Hold::QuorumUnproven { .. }
        | Hold::SizingChanged
        | Hold::Protected
        | Hold::DeletionUnconfirmed { .. }
        | Hold::NumbersExhausted { .. }
        | Hold::UnknownOutcomes { .. }
        | Hold::JournalUnavailable { .. }
        | Hold::ClockStepped
        | Hold::LaunchesRefused { .. }
        | Hold::EndRefused { .. }
        | Hold::ChangeRefused { .. }
        | Hold::SourceOutage { .. }
        | Hold::EpochConflict { .. }
        | Hold::StateUntrusted { .. }
        | Hold::SourceUnavailable { .. } => String::new(),
    }
}
