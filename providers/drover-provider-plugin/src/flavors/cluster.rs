//! Flavor plugins that keep a cluster: `Cluster/1`, an interface of ours beside InfraKit's `Flavor`.

use std::sync::PoisonError;
use std::time::Duration;

use drover_model::{FlavorName, GroupName, ProviderRef};
use drover_provider::{
    ClusterHealth, ClusterMember, ClusterReport, ClusterView, FlavorCall, ProviderError,
};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::{PluginFlavors, as_json, failed, member_id};
use crate::call::CallError;
use crate::hello::{Interfaces, hello};
use crate::json::{field, text};

/// The name of the interface. Its version is part of the name: another one is another interface.
const CLUSTER: &str = "Cluster";

/// The method that asks how a cluster is.
pub(super) const HEALTH: &str = "Cluster.Health";

/// The longest reason that is passed on, in characters: it goes into the recorded state.
const WHY_MAX: usize = 300;

/// The instances of a group, for a plugin.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ClusterParams<'a> {
    members: Vec<MemberParams<'a>>,
    /// The handle of the one that leads.
    leader: Option<&'a str>,
    join: JoinParams<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MemberParams<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: String,
    #[serde(rename = "LogicalID")]
    logical_id: Option<String>,
    address: Option<&'a str>,
    running: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct JoinParams<'a> {
    addresses: Vec<&'a str>,
    secrets: Vec<&'a str>,
}

/// The question how a cluster is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthParams<'a> {
    pub(super) r#type: &'a str,
    pub(super) properties: Json,
    pub(super) group: &'a str,
    pub(super) cluster: ClusterParams<'a>,
}

impl<'a> ClusterParams<'a> {
    pub(super) fn of(view: &'a ClusterView) -> Self {
        let ClusterView {
            members,
            leader,
            join,
        } = view;
        let leads = |member: &&ClusterMember| Some(&member.instance) == leader.as_ref();
        let leader = members.iter().find(leads);
        Self {
            members: members.iter().map(MemberParams::of).collect(),
            leader: leader.map(|member| member.provider_ref.as_str()),
            join: JoinParams {
                addresses: join.addresses.iter().map(String::as_str).collect(),
                secrets: join.secrets.iter().map(String::as_str).collect(),
            },
        }
    }
}

impl<'a> MemberParams<'a> {
    fn of(member: &'a ClusterMember) -> Self {
        Self {
            id: member.provider_ref.as_str(),
            name: member.instance.to_string(),
            logical_id: member.member.as_ref().map(member_id),
            address: member.address.as_deref(),
            running: member.running,
        }
    }
}

/// Returns whether a plugin keeps clusters, in a version that is spoken.
pub(super) fn keeps_cluster(interfaces: &Interfaces, subtype: &str) -> bool {
    interfaces.version(CLUSTER, &[((), "1")], subtype).is_ok()
}

/// Reads `{"Health": "degraded", "Why": "...", "Leader": "ID"}`.
///
/// # Errors
///
/// What of it cannot be read.
pub(super) fn report(answer: &Json) -> Result<ClusterReport, String> {
    let answer = answer.as_object().ok_or("it is not a map")?;
    let word = |name: &str| text(field(answer, name)).map_err(|why| format!("`{name}` is {why}"));
    let why = word("Why")?.unwrap_or_default();
    let why: String = why.chars().take(WHY_MAX).collect();
    let health = match word("Health")?.unwrap_or_default().as_str() {
        "healthy" => ClusterHealth::Healthy,
        "degraded" => ClusterHealth::Degraded { why },
        "unknown" => ClusterHealth::Unknown { why },
        other => return Err(format!("`Health` is {other:?}")),
    };
    let leader = word("Leader")?.filter(|handle| !handle.is_empty());
    let leader = leader.map(|handle| ProviderRef::parse(&handle));
    let leader = leader.transpose().map_err(|_| "`Leader` is no handle")?;
    Ok(ClusterReport { health, leader })
}

impl PluginFlavors {
    /// Notes what a handshake said.
    pub(super) fn note_keeper(&self, name: &FlavorName, keeps: bool) {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.insert(name.clone(), keeps);
    }

    /// Asks a plugin how its cluster is. One that said that it keeps none has nothing to say, whether it answers now
    /// or not; of one that was never met, nobody knows.
    pub(super) async fn cluster(
        &self,
        flavor: &FlavorCall,
        group: &GroupName,
        view: &ClusterView,
        limit: Duration,
    ) -> Option<ClusterReport> {
        let asked = self.ask_cluster(flavor, group, view, Instant::now() + limit);
        let error = match tokio::time::timeout(limit, asked).await {
            Ok(Ok(report)) => return report,
            Ok(Err(error)) => error.message,
            Err(_) => format!("plugin {}: {HEALTH}: no answer in time", flavor.name),
        };
        let keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let keeps = keepers.get(&flavor.name).copied().unwrap_or(true);
        let why: String = error.chars().take(WHY_MAX).collect();
        keeps.then_some(ClusterReport {
            health: ClusterHealth::Unknown { why },
            leader: None,
        })
    }

    async fn ask_cluster(
        &self,
        flavor: &FlavorCall,
        group: &GroupName,
        view: &ClusterView,
        deadline: Instant,
    ) -> Result<Option<ClusterReport>, ProviderError> {
        let caller = self.caller(&flavor.name)?;
        // Each time, as it may have been replaced by one that keeps a cluster, or no more.
        let interfaces = hello(&caller)
            .await
            .map_err(CallError::into_provider_error)?;
        let keeps = keeps_cluster(&interfaces, &caller.name.subtype);
        self.note_keeper(&flavor.name, keeps);
        if !keeps {
            return Ok(None);
        }
        let params = HealthParams {
            r#type: &caller.name.subtype,
            properties: as_json(&flavor.properties),
            group: group.as_str(),
            cluster: ClusterParams::of(view),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = caller.call(HEALTH, &params, left).await;
        let answer = answer.map_err(|error| failed(&error))?;
        let said = report(&answer).map_err(|why| failed(&caller.garbled(HEALTH, &why)))?;
        Ok(Some(named(said, flavor)))
    }
}

/// Returns a report whose reason says which plugin gives it.
fn named(report: ClusterReport, flavor: &FlavorCall) -> ClusterReport {
    let says = |why: String| match why.as_str() {
        "" => format!("plugin {} gives no reason", flavor.name),
        _ => format!("plugin {}: {why}", flavor.name),
    };
    let health = match report.health {
        ClusterHealth::Healthy => ClusterHealth::Healthy,
        ClusterHealth::Degraded { why } => ClusterHealth::Degraded { why: says(why) },
        ClusterHealth::Unknown { why } => ClusterHealth::Unknown { why: says(why) },
    };
    ClusterReport { health, ..report }
}
