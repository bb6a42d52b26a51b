//! Asking plugins what they take: those that run, and for as long as that takes those of the agent's file that do not.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drover_loop::Asked;
use drover_model::{ErrorClass, ProviderDoc};
use drover_provider::{Described, ProviderError, ProviderFactory as _};
use drover_provider_plugin::{Absences, Directory, Place, PluginFactory};
use drover_spec::Repository;
use drover_spec::agent_config::PluginConfig;

use crate::cli::{AgentOptions, SourceOptions};
use crate::error::{CommandResult, Context as _};
use crate::plugins::started::{Started, is_idle};
use crate::providers::{self, SystemClock};
use crate::settings::Settings;

/// How often a plugin that is there and does not answer is asked, each time for a second.
const ATTEMPTS: u32 = 5;

/// Between two attempts: as long as a failed meeting stands.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads an agent's file.
pub(super) fn settings(config: &Path) -> CommandResult<Settings> {
    Settings::of_agent(&AgentOptions {
        source: SourceOptions {
            config: Some(config.to_owned()),
            ..SourceOptions::default()
        },
        ..AgentOptions::default()
    })
}

/// Asks the plugins of every Provider document.
pub(super) fn plugins(repository: &Repository, settings: &Settings) -> CommandResult<Asked> {
    let running = settings.places(Path::new("/nonexistent")).plugins;
    let needed = needed(repository, &settings.plugins.start, &running);
    let names: BTreeSet<&str> = needed.iter().map(|plugin| plugin.name.as_str()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let started = Started::start(&needed, Absences::default(), &runtime)?;
    let with_factory = |directory: Directory| {
        let place = Place::Named(directory.clone());
        let ledger = started.scratch().join("ledger");
        let factory = PluginFactory::new(place, ledger, Arc::new(SystemClock));
        (directory, factory)
    };
    let running = with_factory(running);
    let own = with_factory(started.sockets().clone());
    let registry = providers::registry();
    let asked = Asked::of(repository, &registry, &|document| {
        let is_started = lookup(document).is_some_and(|lookup| names.contains(lookup));
        let sockets = if is_started { &own } else { &running };
        ask(sockets, document)
    });
    runtime.block_on(started.end());
    Ok(asked)
}

/// Returns the name of a document's plugin, without its subtype. None: it is of another type.
fn lookup(document: &ProviderDoc) -> Option<&str> {
    let plugin = (document.type_.as_str() == "plugin").then_some(&document.settings)?;
    plugin.get("plugin")?.as_str()?.split('/').next()
}

/// Returns what has to be started: named by a document, and nobody listens.
fn needed(
    repository: &Repository,
    start: &[PluginConfig],
    running: &Directory,
) -> Vec<PluginConfig> {
    let documents = repository.providers.values();
    let named: BTreeSet<&str> = documents
        .filter_map(|located| lookup(&located.value))
        .collect();
    let is_needed =
        |plugin: &&PluginConfig| named.contains(plugin.name.as_str()) && is_idle(plugin, running);
    start.iter().filter(is_needed).cloned().collect()
}

fn ask(
    (directory, factory): &(Directory, PluginFactory),
    document: &ProviderDoc,
) -> Result<Option<Described>, ProviderError> {
    let Some(lookup) = lookup(document) else {
        return Ok(None);
    };
    let mut attempts = 1;
    loop {
        let asked = factory.describe(&document.name, &document.settings);
        let silent = matches!(&asked, Err(error) if error.class == ErrorClass::Unknown);
        if !silent || attempts == ATTEMPTS || directory.find(lookup).is_err() {
            return asked;
        }
        attempts += 1;
        std::thread::sleep(PAUSE);
    }
}
