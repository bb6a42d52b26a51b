//! What the serving side works with: the running agent's handle, and read access to its repository
//! and providers. Nothing here waits for a pass unless a person asked for one.

use std::sync::Arc;

use drover_git::Mirror;
use drover_loop::{AgentHandle, AgentStatus, Registry};
use drover_model::{GroupName, InstanceId, Revision};

use super::protocol::{Accept, AcceptInstances, FreezeRequest, PassStatus, StateReply};
use super::status::{self, About};
use crate::snapshot::{FLEET_FILE, state_tip_here};

/// Everything that a request may need. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) agent: AgentHandle,
    pub(crate) registry: Registry,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) about: Arc<About>,
}

/// Returns the number of a state: that of the pass that led to it.
pub(crate) fn serial(status: &AgentStatus) -> u64 {
    status.pass.as_ref().map_or(0, |pass| pass.pass)
}

impl Services {
    /// Returns the latest state.
    pub(crate) fn latest(&self) -> Arc<AgentStatus> {
        self.agent.status()
    }

    /// Waits for a state newer than `serial_known`; for ever when the agent is gone.
    pub(crate) async fn newer_than(&self, serial_known: u64) -> Arc<AgentStatus> {
        let mut states = self.agent.watch();
        let newer = states
            .wait_for(|status| serial(status) > serial_known)
            .await;
        // The guard must not be held while waiting for ever.
        let newer = newer.map(|status| status.clone()).ok();
        match newer {
            Some(status) => status,
            None => std::future::pending().await,
        }
    }

    /// Encodes a state. Reads the repository, so it blocks.
    pub(crate) fn encode(&self, status: &AgentStatus) -> StateReply {
        let groups = status.groups.iter().map(|(name, group)| {
            let text = drover_spec::record::encode(&group.recorded);
            (name.to_string(), text)
        });
        StateReply {
            serial: serial(status),
            groups: groups.collect(),
            fleet: self.fleet(),
            status: status::wire(status, &self.about),
        }
    }

    /// The recorded policies, bindings and providers: what was committed last.
    fn fleet(&self) -> Option<String> {
        let tip = state_tip_here(&self.mirror, &self.about.state_branch).ok()??;
        let (_, bytes) = self.mirror.recorded(tip, FLEET_FILE).ok()??;
        String::from_utf8(bytes).ok()
    }

    /// Runs a pass and waits for it.
    pub(crate) async fn reconcile(&self) -> Result<PassStatus, String> {
        let report = self.agent.reconcile().await;
        let report = report.map_err(|error| error.to_string())?;
        Ok(status::pass(&report))
    }

    /// Lets the source's history be another one, if its tip is this commit.
    pub(crate) fn accept_rewrite(&self, request: &Accept) -> Result<(), String> {
        let commit = Revision::parse(&request.commit).map_err(|error| error.to_string())?;
        tracing::warn!(commit = commit.as_str(), "a rewritten source is accepted");
        let by = request.by.as_deref().unwrap_or("a person");
        self.agent.accept_rewrite(commit, by);
        Ok(())
    }

    /// Lets an empty data directory take up what the state branch has, if its tip is this commit.
    pub(crate) fn accept_state(&self, request: &Accept) -> Result<(), String> {
        let commit = Revision::parse(&request.commit).map_err(|error| error.to_string())?;
        tracing::warn!(
            commit = commit.as_str(),
            "unsigned recorded state is accepted"
        );
        let by = request.by.as_deref().unwrap_or("a person");
        self.agent.accept_state(commit, by);
        Ok(())
    }

    /// Takes the instances of a group of which nothing is recorded for its own.
    pub(crate) fn accept_instances(&self, request: &AcceptInstances) -> Result<(), String> {
        let group = self.known(&request.group)?;
        tracing::warn!(%group, "instances without a record are accepted");
        let by = request.by.as_deref().unwrap_or("a person");
        self.agent.accept_instances(group, by);
        Ok(())
    }

    /// Freezes groups.
    pub(crate) fn freeze(&self, request: &FreezeRequest) -> Result<(), String> {
        let by = request.because.as_deref().unwrap_or("a person");
        self.agent.freeze(by, self.groups(request)?);
        Ok(())
    }

    /// Lifts freezes.
    pub(crate) fn unfreeze(&self, request: &FreezeRequest) -> Result<(), String> {
        self.agent.unfreeze(&self.groups(request)?);
        Ok(())
    }

    fn groups(&self, request: &FreezeRequest) -> Result<Vec<String>, String> {
        let Some(group) = &request.group else {
            return Ok(Vec::new());
        };
        Ok(vec![self.known(group)?.to_string()])
    }

    /// Returns the group of this name.
    fn known(&self, name: &str) -> Result<GroupName, String> {
        let group = GroupName::parse(name).ok();
        let group = group.filter(|group| self.latest().groups.contains_key(group));
        group.ok_or_else(|| format!("there is no group {name}"))
    }

    /// Returns what an instance printed last.
    pub(crate) async fn logs(&self, id: &InstanceId, lines: usize) -> Result<String, String> {
        let status = self.latest();
        let group = status.groups.get(id.group());
        let group = group.ok_or_else(|| format!("there is no group {}", id.group()))?;
        let instance = group.recorded.instances.get(id);
        let instance = instance.ok_or_else(|| format!("there is no instance {id}"))?;
        let handle = instance.provider_ref.as_ref();
        let handle = handle.ok_or_else(|| format!("{id} is not made yet"))?;
        let used = group.recorded.provider.as_ref();
        let used = used.ok_or_else(|| format!("group {} has no provider", id.group()))?;
        let provider = self
            .registry
            .open(&used.name, &used.type_, &used.settings)
            .map_err(|error| error.to_string())?;
        let text = provider.logs(handle, lines).await;
        text.map_err(|error| error.to_string())
    }
}
