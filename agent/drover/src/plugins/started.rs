//! Plugins of the agent's file that a command starts for itself, where no agent runs that would have.

use std::os::unix::net::UnixStream;
use std::path::Path;

use drover_provider_plugin::{Absences, Directory};
use drover_spec::agent_config::PluginConfig;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Supervisor;
use crate::error::{CommandResult, Context as _};

/// Plugins that run for as long as a command takes, with sockets of their own.
pub(crate) struct Started {
    supervisor: Supervisor,
    sockets: Directory,
    /// Their sockets, and who they are.
    scratch: TempDir,
}

impl Started {
    /// Starts plugins, and waits until each answers or has had its time. `absences` has why one does not run.
    pub(crate) fn start(
        plugins: &[PluginConfig],
        absences: Absences,
        runtime: &Runtime,
    ) -> CommandResult<Self> {
        let scratch = tempfile::tempdir().context("cannot make a scratch folder")?;
        let sockets = Directory::new(scratch.path().join("sockets")).knowing(absences);
        let supervisor = runtime
            .block_on(Supervisor::start(plugins, &sockets, scratch.path()))
            .context("cannot start the plugins of the agent's file")?;
        Ok(Self {
            supervisor,
            sockets,
            scratch,
        })
    }

    /// Returns where they listen.
    pub(crate) fn sockets(&self) -> &Directory {
        &self.sockets
    }

    /// Returns a folder that is there for as long as they run.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) async fn end(self) {
        self.supervisor.end().await;
    }
}

/// Returns whether nobody listens where a plugin would in `running`.
pub(crate) fn is_idle(plugin: &PluginConfig, running: &Directory) -> bool {
    UnixStream::connect(running.path().join(&plugin.name)).is_err()
}
