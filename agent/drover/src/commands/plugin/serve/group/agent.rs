//! Which groups the agent manages, for agents that take instances over.

use std::sync::Arc;

use async_trait::async_trait;
use drover_model::{Manage, RecordedGroup};
use drover_provider_plugin::{AgentService, Managed, ManagingAgent};

use super::{AgentGroups, in_force};
use crate::cli::PluginServeArgs;
use crate::error::CommandResult;
use crate::settings::Settings;
use crate::snapshot::Origin;

/// Returns the service that tells whose groups are served.
pub(in crate::commands::plugin::serve) fn agent(
    args: &PluginServeArgs,
) -> CommandResult<AgentService<AgentGroups>> {
    let settings = Settings::of_source(&args.source())?;
    // It is only asked, so that it needs no key.
    Ok(AgentService::new(AgentGroups {
        settings,
        signing: None,
        turn: Arc::default(),
        writing: Arc::default(),
    }))
}

#[async_trait]
impl ManagingAgent for AgentGroups {
    async fn managed(&self) -> Result<Managed, String> {
        let snapshot = self.blocking(Self::snapshot).await?;
        // The agent's own word: the options of this command may name a fleet that it is not.
        let Origin::Agent { status, .. } = &snapshot.origin else {
            return Err("no agent runs".to_owned());
        };
        let managed = snapshot.groups.values().filter(|group| is_managed(group));
        Ok(Managed {
            fleet: status.fleet.clone(),
            groups: managed.map(|group| group.name.to_string()).collect(),
        })
    }
}

/// Returns whether the agent may make and end instances of a group. Without a document in force nobody has said that it
/// only watches.
fn is_managed(group: &RecordedGroup) -> bool {
    group.deleting.is_some()
        || in_force(group).is_none_or(|document| document.spec.manage != Manage::Observe)
}
