//! The published membership: who takes part in a group, for load balancers and peers. A file per
//! group, replaced as a whole, and the same in memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drover_model::{
    Action, Classified, GroupName, InPlace, InPlaceUpdate, InstanceClass, InstanceId, Member, Plan,
};
use serde::Serialize;

/// The members of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// The group's name.
    pub group: String,
    /// The members, by number.
    pub members: Vec<PublishedMember>,
}

/// One member as published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedMember {
    /// Our id.
    pub id: String,
    /// Its address, once known.
    pub address: Option<String>,
    /// Whether it takes part.
    pub state: MemberState,
    /// The short name of the template that it was made from.
    pub revision: String,
}

/// Whether a member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It serves.
    Ready,
    /// It serves what it has and shall get nothing new.
    Draining,
    /// It does not serve yet.
    Starting,
    /// It should serve and does not.
    Unhealthy,
}

/// Returns the membership that `classified` shows, with those marked that `plan` begins to drain or
/// ends: they are published as draining before their drain begins.
pub(crate) fn membership(
    group: &GroupName,
    classified: &Classified,
    plan: Option<&Plan>,
) -> Membership {
    let leaving = plan.map(leaving).unwrap_or_default();
    let all = classified.members.values().chain(classified.kept.values());
    let mut members: Vec<&Member> = all.collect();
    members.sort_by_key(|member| member.id.number());
    let published = members.into_iter().map(|member| PublishedMember {
        id: member.id.to_string(),
        address: member.address.clone(),
        // What is kept gets nothing new, however well it becomes.
        state: state(
            member,
            leaving.contains(&member.id) || classified.kept.contains_key(&member.id),
        ),
        revision: member.digests.short().to_owned(),
    });
    Membership {
        group: group.to_string(),
        members: published.collect(),
    }
}

fn leaving(plan: &Plan) -> BTreeSet<&InstanceId> {
    let steps = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Release { instance, .. }
        | Action::Update(InPlaceUpdate {
            instance,
            how: InPlace::Restart,
            ..
        }) => Some(instance),
        Action::Create { .. }
        | Action::Resend { .. }
        | Action::Update(_)
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Settle(_) => None,
    });
    // What is kept from now on leaves without a step.
    let instances = plan.next.instances.iter();
    let kept = instances.filter(|(_, next)| next.kept.is_some());
    steps.chain(kept.map(|(id, _)| id)).collect()
}

fn state(member: &Member, leaving: bool) -> MemberState {
    if leaving || member.drain.is_some() {
        return MemberState::Draining;
    }
    match member.class {
        InstanceClass::Terminating => MemberState::Draining,
        InstanceClass::Starting => MemberState::Starting,
        // Healthy, though not for long enough to count for a rollout.
        InstanceClass::Warming | InstanceClass::Available => MemberState::Ready,
        InstanceClass::Exited(_)
        | InstanceClass::Failed { .. }
        | InstanceClass::Unhealthy { .. }
        | InstanceClass::Lost { .. }
        | InstanceClass::Suspect { .. } => MemberState::Unhealthy,
    }
}

/// Where memberships are published.
#[derive(Debug, Clone)]
pub(crate) struct MembersDir(Option<PathBuf>);

impl MembersDir {
    /// Publishes below `data_dir`; without one, in memory only.
    pub(crate) fn new(data_dir: Option<&Path>) -> Self {
        Self(data_dir.map(|dir| dir.join("members")))
    }

    /// Replaces the group's file.
    pub(crate) fn publish(
        &self,
        group: &GroupName,
        membership: &Membership,
    ) -> std::io::Result<()> {
        let Some(dir) = &self.0 else {
            return Ok(());
        };
        std::fs::create_dir_all(dir)?;
        let mut bytes = serde_json::to_vec_pretty(membership).expect("texts encode");
        bytes.push(b'\n');
        let fresh = dir.join(format!(".{group}.json.new"));
        std::fs::write(&fresh, bytes)?;
        std::fs::rename(fresh, dir.join(format!("{group}.json")))
    }

    /// Removes the group's file.
    pub(crate) fn forget(&self, group: &GroupName) {
        if let Some(dir) = &self.0 {
            // Nothing reads it any more; a leftover is replaced should the group come back.
            let _ = std::fs::remove_file(dir.join(format!("{group}.json")));
        }
    }
}
