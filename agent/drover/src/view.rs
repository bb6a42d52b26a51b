//! What the read commands print: recorded state as documents with stable names.
//!
//! These types are the JSON and YAML of `-o json|yaml`: a promise to scripts, so they are kept apart
//! from the model, which must stay free to change.

use std::collections::BTreeMap;

use drover_model::{
    Condition, ConditionType, Digests, FieldClass, Group, Held, Hold, InstanceId, PolicyHold,
    ProviderRef, RecordedGroup, RecordedInstance, RecordedStranger, Rollout, RolloutState, Suspend,
    Timestamp,
};
use serde::Serialize;

#[cfg(test)]
mod tests;
mod text;

pub(crate) use drover_model::{counted, plural};
pub(crate) use text::{age, describe_group, describe_instance, hold_lines, rollout_line};

/// The `apiVersion` of everything that is printed.
pub(crate) const API_VERSION: &str = "drover/v1alpha1";

/// A list with its envelope.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List<T> {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) items: Vec<T>,
}

impl<T> List<T> {
    /// Wraps `items`.
    pub(crate) fn new(kind: &'static str, items: Vec<T>) -> Self {
        Self {
            api_version: API_VERSION,
            kind,
            items,
        }
    }
}

/// A group as it stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupView {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) phase: &'static str,
    pub(crate) provider: Option<String>,
    pub(crate) provider_type: Option<String>,
    pub(crate) size: u32,
    pub(crate) total: u32,
    pub(crate) available: u32,
    pub(crate) updated: u32,
    pub(crate) draining: u32,
    /// Kept for people to look at, beside the size.
    pub(crate) kept: u32,
    /// Instances of somebody else that it is about to adopt: in no other number.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) strangers: u32,
    pub(crate) classes: BTreeMap<String, u32>,
    pub(crate) target: Option<String>,
    pub(crate) stable: Option<String>,
    pub(crate) source: Option<SourceView>,
    pub(crate) change: Option<String>,
    pub(crate) rollout: Option<RolloutView>,
    pub(crate) backoff: Option<BackoffView>,
    pub(crate) deleting: Option<DeletingView>,
    /// What people have suspended in its document.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) suspended: Vec<SuspendedView>,
    pub(crate) conditions: Vec<ConditionView>,
    pub(crate) holds: Vec<HoldView>,
    pub(crate) uid: String,
    pub(crate) epoch: u64,
}

/// Where the document in force stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceView {
    pub(crate) revision: String,
    pub(crate) path: String,
    pub(crate) line: u32,
}

/// A rolling update.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RolloutView {
    pub(crate) target: String,
    pub(crate) state: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) started_at: String,
    pub(crate) progressed_at: String,
    pub(crate) failures: Vec<String>,
    pub(crate) last_failure: Option<String>,
}

/// Failed launches in a row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackoffView {
    pub(crate) failures: u32,
    pub(crate) until: String,
    pub(crate) class: Option<&'static str>,
    pub(crate) message: String,
}

/// What is suspended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SuspendedView {
    /// The activities, with commas between them.
    pub(crate) what: String,
    pub(crate) until: Option<String>,
    pub(crate) because: Option<String>,
}

/// What a group's document says that recorded state does not.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) suspended: Vec<SuspendedView>,
    /// The size that it asks for, before decisions.
    pub(crate) size: u32,
}

impl Declared {
    /// Returns what a document says at a time.
    pub(crate) fn of(group: &Group, now: Timestamp) -> Self {
        let in_force = |suspend: &&Suspend| suspend.until.is_none_or(|until| now < until);
        let suspends = group.spec.suspend.iter().filter(in_force);
        let view = |suspend: &Suspend| {
            let what: Vec<&str> = suspend.what.iter().map(|it| it.as_str()).collect();
            SuspendedView {
                what: what.join(","),
                until: suspend.until.map(seconds),
                because: suspend.because.clone(),
            }
        };
        Self {
            labels: group.labels.clone(),
            suspended: suspends.map(view).collect(),
            size: group.spec.size,
        }
    }
}

/// A removal in progress.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletingView {
    pub(crate) revision: String,
    pub(crate) since: String,
}

/// A condition.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConditionView {
    #[serde(rename = "type")]
    pub(crate) type_: &'static str,
    pub(crate) status: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) last_transition_time: String,
}

/// A reason why something that should be done is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HoldView {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) reason: Option<&'static str>,
    pub(crate) instance: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) routine: bool,
    pub(crate) policy: Option<PolicyHoldView>,
}

/// The clause behind a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyHoldView {
    pub(crate) policy: String,
    pub(crate) binding: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) message: String,
    pub(crate) values: BTreeMap<String, String>,
}

/// An instance as last seen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceView {
    pub(crate) name: String,
    /// Whose place it takes, in a quorum group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<String>,
    pub(crate) group: String,
    pub(crate) class: String,
    pub(crate) draining: bool,
    pub(crate) current: bool,
    pub(crate) digest: String,
    pub(crate) address: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) provider_ref: Option<String>,
    /// None: of what is still to be adopted nobody knows.
    pub(crate) created_at: Option<String>,
    pub(crate) why: Option<String>,
    /// Set while it is kept for people to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<KeptView>,
}

/// For how long a bad instance is kept, and why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptView {
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) because: String,
}

impl InstanceView {
    /// Returns the class with what else is to be known of it, in few words.
    pub(crate) fn standing(&self, separator: &str) -> String {
        let draining = self.draining.then_some("Draining");
        let kept = self.kept.is_some().then_some("Kept");
        let words = [Some(self.class.as_str()), kept, draining];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        words.join(separator)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the serializer passes a reference"
)]
pub(crate) fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Returns the view of a group whose document says this.
pub(crate) fn group(recorded: &RecordedGroup, declared: &Declared) -> GroupView {
    let mut classes: BTreeMap<String, u32> = BTreeMap::new();
    for instance in recorded.instances.values() {
        *classes.entry(instance.class.clone()).or_default() += 1;
    }
    let count = |filter: &dyn Fn(&RecordedInstance) -> bool| {
        recorded.instances.values().filter(|i| filter(i)).count() as u32
    };
    let available =
        |i: &RecordedInstance| i.class == "Available" && !i.draining && i.kept.is_none();
    GroupView {
        name: recorded.name.to_string(),
        labels: declared.labels.clone(),
        phase: recorded.phase.as_str(),
        provider: recorded.provider.as_ref().map(|p| p.name.to_string()),
        provider_type: recorded.provider.as_ref().map(|p| p.type_.to_string()),
        // Until the first plan, nothing was decided.
        size: match recorded.target {
            Some(_) => recorded.size,
            None => recorded.size.max(declared.size),
        },
        total: recorded.instances.len() as u32,
        available: count(&available),
        updated: count(&|i| available(i) && is_current(recorded, i)),
        draining: count(&|i| i.draining),
        kept: count(&|i| i.kept.is_some()),
        strangers: recorded.to_adopt().count() as u32,
        classes,
        target: recorded.target.as_ref().map(|d| d.short().to_owned()),
        stable: recorded.stable.as_ref().map(|d| d.short().to_owned()),
        source: recorded.accepted.as_ref().map(|accepted| SourceView {
            revision: accepted.revision.to_string(),
            path: accepted.path.clone(),
            line: accepted.line,
        }),
        change: recorded.change.as_ref().map(ToString::to_string),
        rollout: recorded.rollout.as_ref().map(rollout),
        backoff: recorded.backoff.as_ref().map(|backoff| BackoffView {
            failures: backoff.failures,
            until: seconds(backoff.until),
            class: backoff.class.map(drover_model::ErrorClass::as_str),
            message: backoff.message.clone(),
        }),
        deleting: recorded.deleting.as_ref().map(|deleting| DeletingView {
            revision: deleting.revision.to_string(),
            since: seconds(deleting.since),
        }),
        suspended: declared.suspended.clone(),
        conditions: conditions(recorded),
        holds: recorded.holds.iter().map(hold).collect(),
        uid: recorded.uid.to_string(),
        epoch: recorded.epoch.0,
    }
}

fn is_current(recorded: &RecordedGroup, instance: &RecordedInstance) -> bool {
    let same = |target: &Digests| instance.digests.change_to(target) == FieldClass::Ignore;
    // No template makes it outdated.
    let own = instance.digests.is_own_revision();
    own || recorded.target.as_ref().is_none_or(same)
        || recorded.ignored.contains_key(&instance.digests)
}

fn rollout(rollout: &Rollout) -> RolloutView {
    let (state, message) = match &rollout.state {
        RolloutState::Progressing => ("Progressing", None),
        RolloutState::Paused(cause) => ("Paused", Some(cause.to_string())),
    };
    RolloutView {
        target: rollout.target.short().to_owned(),
        state,
        message,
        started_at: seconds(rollout.started_at),
        progressed_at: seconds(rollout.progressed_at),
        failures: rollout.failures.iter().map(ToString::to_string).collect(),
        last_failure: rollout.last_failure.clone(),
    }
}

fn conditions(recorded: &RecordedGroup) -> Vec<ConditionView> {
    let view = |type_: &ConditionType, condition: &Condition| ConditionView {
        type_: type_.as_str(),
        status: status(condition.status),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_transition_time: seconds(condition.since),
    };
    recorded
        .conditions
        .iter()
        .map(|(type_, condition)| view(type_, condition))
        .collect()
}

/// Returns the word for a condition's status.
pub(crate) fn status(status: Option<bool>) -> &'static str {
    match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    }
}

/// Returns the view of what a policy said.
pub(crate) fn policy(hold: &PolicyHold) -> PolicyHoldView {
    PolicyHoldView {
        policy: hold.policy.to_string(),
        binding: hold.binding.clone(),
        file: hold.span.file.to_string(),
        line: hold.span.line,
        column: hold.span.column,
        message: hold.message.clone(),
        values: hold.values.clone(),
    }
}

/// Returns the view of a hold.
pub(crate) fn hold(held: &Held) -> HoldView {
    let said = match &held.hold {
        Hold::ApprovalNeeded(needed) => Some(&needed.policy),
        Hold::ApprovalRejected(rejected) => Some(&rejected.policy),
        Hold::PolicyDenied(hold)
        | Hold::GateClosed(hold)
        | Hold::PolicyFailed(hold)
        | Hold::BudgetByPolicy(hold)
        | Hold::ProtectedByPolicy(hold)
        | Hold::PlaceForbidden(hold)
        | Hold::AnalysisPending(hold) => Some(hold),
        _ => None,
    };
    HoldView {
        code: held.hold.code(),
        message: held.hold.to_string(),
        reason: held.reason.map(drover_model::Reason::as_str),
        instance: held.instance.as_ref().map(ToString::to_string),
        until: held.until.map(seconds),
        routine: held.hold.is_routine(),
        policy: said.map(policy),
    }
}

/// Returns the view of an instance of a group.
pub(crate) fn instance(
    recorded: &RecordedGroup,
    id: &InstanceId,
    instance: &RecordedInstance,
) -> InstanceView {
    InstanceView {
        name: id.to_string(),
        group: recorded.name.to_string(),
        class: instance.class.clone(),
        draining: instance.draining,
        current: is_current(recorded, instance),
        digest: instance.digests.short().to_owned(),
        address: instance.address.clone(),
        zone: instance.zone.clone(),
        member: instance.seat.as_ref().map(|seat| seat.member.to_string()),
        provider_ref: instance.provider_ref.as_ref().map(ToString::to_string),
        created_at: Some(seconds(instance.created_at)),
        why: instance.why.clone(),
        kept: instance.kept.as_ref().map(|kept| KeptView {
            since: seconds(kept.since),
            until: seconds(kept.until),
            because: kept.because.clone(),
        }),
    }
}

/// Returns the view of an instance that a group is about to adopt, under the name that it gets, or that it has no room
/// for.
pub(crate) fn stranger(
    recorded: &RecordedGroup,
    handle: &ProviderRef,
    stranger: &RecordedStranger,
) -> InstanceView {
    InstanceView {
        name: stranger
            .instance
            .as_ref()
            .map_or_else(|| "(no room)".to_owned(), ToString::to_string),
        group: recorded.name.to_string(),
        class: "Stranger".to_owned(),
        draining: false,
        current: !stranger.outdated,
        digest: String::new(),
        address: stranger.address.clone(),
        zone: stranger.zone.clone(),
        member: stranger.member.as_ref().map(ToString::to_string),
        provider_ref: Some(handle.to_string()),
        created_at: None,
        why: stranger.claimed_by.clone().or_else(|| {
            let since = stranger.missing_since.map(seconds)?;
            Some(format!("missing from the provider's answer since {since}"))
        }),
        kept: None,
    }
}

/// Returns a time as documents write it: RFC 3339, whole seconds, UTC.
pub(crate) fn seconds(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second()).unwrap_or(time);
    drover_spec::format_time(whole)
}
