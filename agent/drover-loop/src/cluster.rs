//! Clusters: what flavors say of the instances of a group as one thing. Each pass asks the flavors of the document in
//! force, and who leads is known from then on; what is not well becomes a hold that the planner heeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    Flavor, Group, HealthSignal, Held, Hold, InstanceId, Listed, PluginFlavor, ProviderPhase,
    Timestamp,
};
use drover_provider::{
    ClusterHealth, ClusterMember, ClusterReport, ClusterView, FlavorCall, Flavors,
};

use crate::agent::plain;
use crate::task::{GroupTask, Shared};

/// How long a flavor is waited for: it asks its own cluster in turn, and other groups wait for nobody.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// How much longer than its limit it is waited for, so that it can say itself what was waited for.
const SLACK: Duration = Duration::from_secs(1);

/// When a cluster that is not well is asked about again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Asks the flavors of a group, and notes in the task what its cluster is, and in `signals` who leads. Returns when to ask
/// again.
///
/// # Cancellation
///
/// Asking changes nothing.
pub(crate) async fn look(
    task: &mut GroupTask,
    shared: &Shared,
    signals: &mut BTreeMap<InstanceId, HealthSignal>,
) -> Option<Timestamp> {
    let cluster = seen(task, &*shared.flavors, signals).await;
    let again = cluster.held.is_some();
    task.fences.extend(cluster.held);
    task.cluster = Arc::new(cluster.view);
    again.then(|| shared.now.checked_add(LOOK_AGAIN).unwrap_or(shared.now))
}

/// What a pass knows of a group's cluster.
#[derive(Debug, Default)]
struct Cluster {
    view: ClusterView,
    /// Why nothing may be taken out of it that need not be.
    held: Option<Held>,
}

async fn seen(
    task: &GroupTask,
    flavors: &dyn Flavors,
    signals: &mut BTreeMap<InstanceId, HealthSignal>,
) -> Cluster {
    let candidate = task.candidate.as_ref().map(|candidate| &candidate.group);
    let plugins = |group: &Group| -> Vec<FlavorCall> {
        let flavors = group.spec.template.flavors.iter();
        flavors.filter_map(plugin).map(call).collect()
    };
    // Of a document that is not in force yet nothing may be running.
    let in_force = task.accepted.as_ref().or(candidate);
    let asked = in_force.map(|group| plugins(group)).unwrap_or_default();
    let prepares = candidate.is_some_and(|group| !plugins(group).is_empty());
    if asked.is_empty() && !prepares {
        return Cluster::default();
    }
    let listed = task.listing.instances.iter();
    let members: Vec<ClusterMember> = listed.filter_map(member).collect();
    let leader = signals.iter().find(|(_, said)| said.leader == Some(true));
    let leader = leader.map(|(instance, _)| instance.clone());
    let mut view = ClusterView::new(members, leader);
    // Of a group that is to end altogether, no cluster is to stay.
    let empty = in_force.is_some_and(|group| group.spec.size == 0 && group.spec.bounds.is_none());
    let ends = task.recorded.deleting.is_some() || empty;
    if view.members.is_empty() || ends {
        return Cluster { view, held: None };
    }
    let mut reports = Vec::new();
    for flavor in &asked {
        let asked = flavors.cluster_health(flavor, &task.name, &view, LOOK_LIMIT);
        let answered = tokio::time::timeout(LOOK_LIMIT + SLACK, asked).await;
        reports.extend(answered.unwrap_or_else(|_elapsed| Some(no_answer(flavor))));
    }
    if let Some(leader) = led_by(&reports, &view) {
        for (instance, signal) in signals.iter_mut() {
            signal.leader = Some(*instance == leader);
        }
        view = ClusterView::new(view.members, Some(leader));
    }
    Cluster {
        held: held(&reports),
        view,
    }
}

fn no_answer(flavor: &FlavorCall) -> ClusterReport {
    let why = format!("flavor {}: no answer in time", flavor.name);
    ClusterReport {
        health: ClusterHealth::Unknown { why },
        leader: None,
    }
}

fn plugin(flavor: &Flavor) -> Option<&PluginFlavor> {
    match flavor {
        Flavor::Plugin(plugin) => Some(plugin),
        Flavor::Vanilla(_) | Flavor::CloudInit(_) => None,
    }
}

/// The properties as the document has them: no instance is spoken of whose facts could be filled in.
fn call(plugin: &PluginFlavor) -> FlavorCall {
    FlavorCall {
        name: plugin.name.clone(),
        properties: plugin.properties.clone(),
    }
}

/// Returns what is told of an instance. What is on its way out, or has ended, is no member to join.
fn member(listed: &Listed) -> Option<ClusterMember> {
    let running = match &listed.phase {
        ProviderPhase::Running | ProviderPhase::Unknown => true,
        ProviderPhase::Pending => false,
        ProviderPhase::Stopping | ProviderPhase::Exited(_) | ProviderPhase::Terminated => {
            return None;
        }
    };
    let owner = listed.ownership.as_ref()?;
    Some(ClusterMember {
        instance: owner.instance.clone(),
        provider_ref: listed.provider_ref.clone(),
        member: owner.seat.as_ref().map(|seat| seat.member.clone()),
        address: listed.address.clone(),
        running,
    })
}

/// Returns which instance leads. A handle that none of them has is nobody's.
fn led_by(reports: &[ClusterReport], view: &ClusterView) -> Option<InstanceId> {
    let leader = reports.iter().find_map(|report| report.leader.as_ref())?;
    let mut members = view.members.iter();
    let found = members.find(|member| member.provider_ref == *leader)?;
    Some(found.instance.clone())
}

/// Returns the hold of the first cluster that is not well: one that is known not to be before others.
fn held(reports: &[ClusterReport]) -> Option<Held> {
    let degraded = reports.iter().find_map(|report| match &report.health {
        ClusterHealth::Degraded { why } => Some(Hold::ClusterDegraded { why: why.clone() }),
        ClusterHealth::Healthy | ClusterHealth::Unknown { .. } => None,
    });
    let unknown = || {
        reports.iter().find_map(|report| match &report.health {
            ClusterHealth::Unknown { why } => Some(Hold::ClusterUnknown { why: why.clone() }),
            ClusterHealth::Healthy | ClusterHealth::Degraded { .. } => None,
        })
    };
    degraded.or_else(unknown).map(plain)
}
