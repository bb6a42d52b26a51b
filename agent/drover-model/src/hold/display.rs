//! The sentence of each hold.

use std::fmt;

use super::Hold;
use crate::{
    ErrorClass, GroupName, InstanceId, OutageMode, ProviderRef, Timestamp, counted, plural,
};

/// What is listed no more: instances of the group, and of others.
struct Vanished(u32, u32);

impl fmt::Display for Vanished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(own, elsewhere) = self;
        match (own, elsewhere) {
            (0, _) => write!(
                f,
                "none of the {} that other groups had there",
                counted(*elsewhere, "instance")
            ),
            (_, 0) => {
                let own = plural(*own, "instance that was", "instances that were");
                write!(f, "none of the {own} there")
            }
            (_, _) => {
                let own = plural(*own, "instance that was", "instances that were");
                write!(
                    f,
                    "none of the {own} there, and none of the {elsewhere} of other groups"
                )
            }
        }
    }
}

impl fmt::Display for Hold {
    #[expect(
        clippy::too_many_lines,
        reason = "one sentence per hold, nothing to split"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObservationPartial { why } => {
                write!(
                    f,
                    "the provider's listing is incomplete ({why}); what is missing from it is unknown, not gone"
                )
            }
            Self::ObservationStale => write!(f, "the provider's listing is too old to act on"),
            Self::ObservationEmptied {
                expected,
                elsewhere,
                asked,
            } => write!(
                f,
                "{asked} lists {}; this looks like a wrong credential, region or filter, so nothing is created; `size: 0` in a commit confirms that they are gone",
                Vanished(*expected, *elsewhere)
            ),
            Self::ProviderFailed { class, message } => {
                write!(
                    f,
                    "the provider could not be asked ({}): {message}",
                    class.as_str()
                )
            }
            Self::ProviderMissing { provider, why } => write!(f, "provider {provider}: {why}"),
            Self::ProviderChanged {
                from,
                setting: Some(setting),
                ..
            } => write!(
                f,
                "`{setting}` of provider {from} was changed, which leads to another place than the live instances are in; its settings stay as they were for this group; change it back, or make a new provider and a new group"
            ),
            Self::ProviderChanged {
                from,
                to,
                setting: None,
            } => write!(
                f,
                "the document names provider {to}, the live instances belong to {from}; make a new group instead"
            ),
            Self::SpecInvalid { message } => {
                write!(
                    f,
                    "the document is not valid, the last good one stays in force: {message}"
                )
            }
            Self::Suspended { activity, because } => {
                write!(f, "{} is suspended", activity.as_str())?;
                because
                    .as_ref()
                    .map_or(Ok(()), |because| write!(f, ": {because}"))
            }
            Self::Frozen { by } => {
                write!(f, "the agent is frozen ({by}); `drover unfreeze` lifts it")
            }
            Self::ObserveOnly => write!(f, "the group says manage: observe"),
            Self::OwnerStillActs { owner, instances } => write!(
                f,
                "of what the group adopts, {} an owner who makes and ends {}, so nothing is touched: {owner}",
                plural(*instances, "still has", "still have"),
                if *instances == 1 { "it" } else { "them" }
            ),
            Self::AdoptionContested { stranger, groups } => {
                let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
                let groups = groups.join(", ");
                write!(
                    f,
                    "{stranger} is what {groups} would adopt too, so no group does; narrow adopt.selector until each instance matches one"
                )
            }
            Self::OwnerUnproven { group, instances } => write!(
                f,
                "nothing is recorded of this group, and {} there already, which another agent may have made; where they are this group's own: `drover reconcile --accept-instances {group}`, and otherwise another `fleet` in the agent's file",
                plural(
                    *instances,
                    "instance with the tags of this fleet and group is",
                    "instances with the tags of this fleet and group are"
                )
            ),
            Self::AdoptionRefused { why } => {
                write!(f, "what the document adopts cannot be adopted: {why}")
            }
            Self::StrayInstances { why } | Self::DuplicateInstances { why } => f.write_str(why),
            Self::StrangersMissing { missing } => write!(
                f,
                "the provider's answer lacks {} that the group is to adopt; nothing is created or ended until each is shown again, or gone for certain",
                counted(*missing, "instance"),
            ),
            Self::AdoptedSurplus { count, handles } => {
                let named: Vec<&str> = handles.iter().map(ProviderRef::as_str).collect();
                let more = count.saturating_sub(handles.len() as u32);
                let more = if more > 0 {
                    format!(" and {more} more")
                } else {
                    String::new()
                };
                write!(
                    f,
                    "`size` has no room for {} adopt.selector, so {} left alone: {}{more}; raise `size` to take {} over, or narrow the selector",
                    plural(*count, "instance that matches", "instances that match"),
                    if *count == 1 { "it is" } else { "they are" },
                    named.join(", "),
                    if *count == 1 { "it" } else { "them" },
                )
            }
            Self::AdoptionUnknown { why } => write!(
                f,
                "nobody knows what there is to adopt, so nothing is, and the group goes on with what it has: {why}"
            ),
            Self::Adopting { left } => write!(
                f,
                "instances are being adopted, {left} to go, and nothing else is done before that"
            ),
            Self::PolicyDenied(hold) => write!(f, "denied by {hold}"),
            Self::ApprovalNeeded(needed) => needed.fmt(f),
            Self::ApprovalRejected(rejected) => rejected.fmt(f),
            Self::GateClosed(hold) => write!(f, "not now, says {hold}"),
            Self::PolicyFailed(hold) => write!(f, "held, because it failed: {hold}"),
            Self::BudgetByPolicy(hold) => write!(f, "no more at once, says {hold}"),
            Self::ProtectedByPolicy(hold) => write!(f, "kept in service by {hold}"),
            Self::PlaceForbidden(hold) => write!(f, "nothing is made anywhere, says {hold}"),
            Self::AnalysisPending(hold) => write!(f, "the rollout does not go on yet, says {hold}"),
            Self::WindowClosed { window } => write!(f, "not now, says the window {window}"),
            Self::BudgetExhausted { used, max } => write!(
                f,
                "{}, the budget allows {max}",
                plural(
                    *used,
                    "instance is out of service or on its way",
                    "instances are out of service or on their way"
                )
            ),
            Self::FleetBudgetExhausted {
                budget,
                max,
                taken_by,
            } => {
                write!(
                    f,
                    "not its turn: the fleet's budget {budget} lets {} of all groups go at once",
                    counted(*max, "instance")
                )?;
                for (position, group) in taken_by.iter().enumerate() {
                    let lead = if position == 0 { ", in use by " } else { ", " };
                    write!(f, "{lead}{group}")?;
                }
                Ok(())
            }
            Self::ProtectedInstance { because } => {
                write!(f, "the document protects it")?;
                because
                    .as_ref()
                    .map_or(Ok(()), |because| write!(f, ": {because}"))
            }
            Self::KeptInstance { by, because } => write!(f, "{by} keeps it: {because}"),
            Self::DependencyNotReady { group } => {
                write!(
                    f,
                    "the group {group}, which it depends on, has not converged"
                )
            }
            Self::CreateLimit { limit, reserved: 0 } => write!(
                f,
                "{} made within the hour, the most that limits.maxCreatePerHour allows",
                plural(*limit, "instance was", "instances were")
            ),
            Self::CreateLimit { limit, reserved } => write!(
                f,
                "of the {limit} that limits.maxCreatePerHour allows within the hour, {} left for what is missing",
                plural(*reserved, "is", "are")
            ),
            Self::DestroyRate { limit, reserved: 0 } => write!(
                f,
                "{} ended within the hour without a change that asks for it, the most that limits.maxDestroyPerHour allows",
                plural(*limit, "instance was", "instances were")
            ),
            Self::DestroyRate { limit, reserved } => write!(
                f,
                "of the {limit} that limits.maxDestroyPerHour allows within the hour, {} left for what breaks",
                plural(*reserved, "is", "are")
            ),
            Self::SurgeExhausted { ceiling } => {
                let exist = plural(*ceiling, "instance exists", "instances exist");
                write!(f, "{exist}, the most allowed at once")
            }
            Self::AvailabilityFloor { floor, available } => {
                write!(
                    f,
                    "{} available and {floor} must stay so",
                    plural(*available, "instance is", "instances are")
                )
            }
            Self::FirstBatch { waiting } => {
                write!(
                    f,
                    "waiting for the first {} of the new template to become available",
                    match waiting {
                        1 => "instance".to_owned(),
                        waiting => waiting.to_string(),
                    }
                )
            }
            Self::RolloutWindow { waiting } => {
                write!(f, "waiting for {waiting} on the way to become available")
            }
            Self::RolloutPaused(cause) => write!(f, "the rollout is paused: {cause}"),
            Self::Quarantined(cause) => write!(
                f,
                "the document's template is in quarantine, the last good one is in force until a commit changes the template: {cause}"
            ),
            Self::CanaryHold {
                count,
                promote: crate::Promote::Auto,
            } => write!(
                f,
                "watching {count} of the new template before others follow"
            ),
            Self::CanaryHold {
                count,
                promote: crate::Promote::Manual,
            } => write!(
                f,
                "watching {count} of the new template until a commit says rollout.canary.promote: auto, or removes the canary"
            ),
            Self::Checkpoint { at } => {
                write!(f, "waiting at the checkpoint of {at} of the new template")
            }
            Self::Bake => write!(
                f,
                "every instance has the new template, which is called good after rollout.bake"
            ),
            Self::Partition { at } => write!(
                f,
                "rollout.partition allows {at} of the new template; raise it in a commit to go on"
            ),
            Self::MaxAction { needs, allowed } => write!(
                f,
                "outdated instances need {}, and rollout.maxAction allows {} at most; raise it in a commit to go on",
                needs.as_action(),
                allowed.as_action()
            ),
            Self::UpdateRefused { message } => write!(
                f,
                "the provider does not change these instances in place, so they are replaced: {message}"
            ),
            Self::NotProactive { mode } => write!(
                f,
                "rollout.mode is {}: outdated instances are not replaced for being outdated",
                mode.as_str()
            ),
            Self::LaunchBackoff { failures, message } => {
                write!(
                    f,
                    "{} failed, the next one waits; the latest: {message}",
                    plural(*failures, "launch", "launches in a row")
                )
            }
            Self::HealBudget { allowed } => {
                write!(
                    f,
                    "{} on the way, the most that heal.maxInFlight allows",
                    plural(*allowed, "replacement is", "replacements are")
                )
            }
            Self::Systemic { bad, total } => write!(
                f,
                "{bad} of {} bad at once: the cause is presumed to lie outside them, so healing slows down",
                plural(*total, "instance is", "instances are")
            ),
            Self::AllUnknown => {
                write!(
                    f,
                    "no instance's health is known: the observer is presumed broken, so nothing is healed"
                )
            }
            Self::DestroyLimit {
                wanted,
                limit,
                earlier: earlier @ 1..,
            } => write!(
                f,
                "commits of an hour remove {}, {earlier} of them before this one, and limits.maxDestroy allows {limit}; wait, or raise the limit in a commit to allow it",
                counted(*wanted, "instance")
            ),
            Self::DestroyLimit {
                wanted,
                limit,
                earlier: 0,
            } => write!(
                f,
                "the change removes {} and limits.maxDestroy allows {limit}; raise the limit in a commit to allow it",
                counted(*wanted, "instance")
            ),
            Self::FleetDestroyLimit { wanted, limit } => write!(
                f,
                "the commits of an hour remove {} of all groups together and limits.maxDestroy of the Fleet document allows {limit}; remove fewer, wait, or raise the limit in an earlier commit",
                counted(*wanted, "instance")
            ),
            Self::ZonesCooling { zones } => write!(
                f,
                "no zone had room for another instance lately, of {zones} in `placement.zones`"
            ),
            Self::ScalingStabilized { asked, size } => write!(
                f,
                "the policy asks for size {asked}, and has not for `scaling.stabilization`: {size} until then"
            ),
            Self::ScalingRate { asked, size } => write!(
                f,
                "the policy asks for size {asked}, `scaling.rate` allows {size} now"
            ),
            Self::TotalLimit { limit } => write!(f, "limits.maxTotal of {limit} is reached"),
            Self::QuorumAtRisk {
                healthy,
                voters,
                needed,
            } => write!(
                f,
                "{healthy} of {} well and {} needed to decide anything; no member is taken out or made anew that would leave fewer or stand in for a lost majority; `quorum.allowDowntime: true` in a commit allows it",
                plural(*voters, "member is", "members are"),
                plural(*needed, "is", "are")
            ),
            Self::QuorumUnsettled { why } => write!(f, "one member at a time: {why}"),
            Self::ClusterDegraded { why } => write!(
                f,
                "the cluster is not well, so nothing is taken out of it that need not be: {why}"
            ),
            Self::ClusterUnknown { why } => write!(
                f,
                "nobody knows how the cluster is, so nothing is taken out of it that need not be: {why}"
            ),
            Self::MembershipUnclear { why } => write!(
                f,
                "no member is touched, because the membership list is not clear: {why}"
            ),
            Self::QuorumUnproven { why } => write!(
                f,
                "the members are not started for the first time, because {why}"
            ),
            Self::SizingChanged => write!(
                f,
                "the document switches between `size` and `members`, and the live instances stay what they are; make a new group instead"
            ),
            Self::Protected => write!(
                f,
                "the removed group has deletion.protect; restore the document with `protect: false`, then remove it"
            ),
            Self::DeletionUnconfirmed { why } => {
                write!(f, "the group's removal is not certain: {why}")
            }
            Self::RenameUnconfirmed { from } => write!(
                f,
                "the document took the place of group {from}'s, which looks like a rename, and nothing is made while that group is there; to keep its instances, give it back the name {from}; to have both, bring its document back in a file beside this one"
            ),
            Self::DrainTimeout => write!(f, "the drain timed out and drain.onTimeout says abort"),
            Self::NumbersExhausted { next } => write!(
                f,
                "the next instance would have the number {next}, and {} is the largest: a listing that was believed once named an instance that drover never made, so nothing is made; move to a group of another name, this one can still shrink and be removed",
                InstanceId::NUMBER_MAX
            ),
            Self::UnknownOutcomes { count, said } => {
                let calls = counted(*count, "provider call");
                write!(
                    f,
                    "the outcome of {calls} is unknown; no new ones until it is"
                )?;
                match said {
                    Some(said) => write!(f, "; the latest: {said}"),
                    None => Ok(()),
                }
            }
            Self::JournalUnavailable { why } => write!(f, "the journal cannot be written: {why}"),
            Self::ClockStepped => write!(f, "the clock stepped back; voluntary work waits"),
            Self::SecretUnresolved { reference, why } => {
                write!(f, "secret {reference} cannot be read: {why}")
            }
            Self::LaunchesRefused { provider, message } => write!(
                f,
                "provider {provider} refuses launches, so nothing that serves makes way for a successor until one works: {message}"
            ),
            Self::EndRefused {
                class: ErrorClass::Unknown,
                message,
            } => write!(
                f,
                "nobody knows whether the provider ends the instance, and it is asked again: {message}"
            ),
            Self::EndRefused { class, message } => write!(
                f,
                "the provider refuses to end the instance, and is asked again ({}): {message}",
                class.as_str()
            ),
            Self::ChangeRefused {
                class: ErrorClass::Unknown,
                message,
            } => write!(
                f,
                "nobody knows whether the provider changes the instance, and it is asked again: {message}"
            ),
            Self::ChangeRefused { class, message } => write!(
                f,
                "the provider refuses to change the instance in place, and is asked again ({}): {message}",
                class.as_str()
            ),
            Self::SourceOutage { mode, since } => {
                let goes_on = match mode {
                    OutageMode::HealOnly => "instances are healed and nothing else is done",
                    OutageMode::HoldCapacity => "missing instances are made and none is ended",
                    OutageMode::Freeze => "nothing is done",
                };
                let since = since.as_second();
                let since = Timestamp::from_second(since).unwrap_or_default();
                write!(
                    f,
                    "the source was last read at {since}: {goes_on} until it is again"
                )
            }
            Self::EpochConflict { why } => write!(f, "another agent holds the group: {why}"),
            Self::StateUntrusted { why } => {
                write!(f, "nothing is restored from the state branch: {why}")
            }
            Self::SourceUnavailable { why } => {
                write!(
                    f,
                    "the source cannot be used, what is in force stays so: {why}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
