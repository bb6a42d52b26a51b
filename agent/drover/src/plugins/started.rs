//! The plugins of the agent's file, for a plan that no agent makes: those that do not run are started for as long as it takes.

use std::os::unix::net::UnixStream;

use drover_loop::plugin_type;
use drover_provider_plugin::Directory;
use drover_spec::agent_config::PluginConfig;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::error::{CommandResult, Context as _};
use crate::plugins::Supervisor;
use crate::settings::Settings;

/// Plugins that were started for this.
pub(super) struct Started {
    supervisor: Supervisor,
    /// Their sockets, and who they are.
    _scratch: TempDir,
}

impl Started {
    pub(super) async fn end(self) {
        self.supervisor.end().await;
    }
}

/// Starts the plugins that do not run. Returns the settings with which they are found. None: there is none to start.
pub(super) fn start(
    settings: &Settings,
    runtime: &Runtime,
) -> CommandResult<Option<(Settings, Started)>> {
    let needed = needed(settings);
    if needed.is_empty() {
        return Ok(None);
    }
    let scratch = tempfile::tempdir().context("cannot make a scratch folder")?;
    let folder = scratch.path().join("sockets");
    let settings = settings.clone().with_started(folder.clone());
    let sockets = Directory::new(folder).knowing(settings.absences());
    let supervisor = runtime
        .block_on(Supervisor::start(&needed, &sockets, scratch.path()))
        .context("cannot start the plugins of the agent's file")?;
    let started = Started {
        supervisor,
        _scratch: scratch,
    };
    Ok(Some((settings, started)))
}

/// Returns the plugins on whose sockets nobody listens, where documents may name any.
fn needed(settings: &Settings) -> Vec<PluginConfig> {
    if !settings.allowed.allows(&plugin_type()) {
        return Vec::new();
    }
    let sockets = settings.places(&settings.process_dir).plugins;
    let idle =
        |plugin: &&PluginConfig| UnixStream::connect(sockets.path().join(&plugin.name)).is_err();
    settings
        .plugins
        .start
        .iter()
        .filter(idle)
        .cloned()
        .collect()
}
