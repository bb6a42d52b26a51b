//! The provider types of this build.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drover_loop::{Allowed, Registry};
use drover_model::{FleetName, Timestamp};
use drover_provider::{Clock, ProviderFactory};
use drover_provider_docker::{DockerFactory, Grants, STANDARD_ENDPOINT};
use drover_provider_plugin::{Directory, Place, PluginFactory};
use drover_provider_process::{ProcessFactory, ShimProgram};
use drover_provider_sim::SimFactory;

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The program of the provider type `ec2`, and of `drover import`.
pub(crate) const EC2_PROGRAM: &str = "drover-provider-ec2";

/// Returns where that program is: beside this one, else in `PATH`. None: nowhere.
pub(crate) fn ec2_program() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = own.parent().map(Path::to_owned);
    let folders = beside.into_iter().chain(std::env::split_paths(&path));
    let mut programs = folders.map(|folder| folder.join(EC2_PROGRAM));
    programs.find(|program| program.is_absolute() && program.is_file())
}

/// Where providers keep and find their things.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The instances of the type `process`.
    pub(crate) process_dir: PathBuf,
    /// The sockets of plugins.
    pub(crate) plugins: Directory,
    /// What was asked of plugins.
    pub(crate) ledger_dir: PathBuf,
    /// Which calls have made containers.
    pub(crate) docker_dir: PathBuf,
    /// Whether who uses them acts, so that listings carry on what a killed agent has begun.
    pub(crate) acts: bool,
    /// What containers may have of the machine around them.
    pub(crate) grants: Grants,
    /// The fleet of the agent that uses them, where it is one.
    pub(crate) fleet: Option<FleetName>,
}

impl Places {
    /// Returns places that only processes have something in.
    pub(crate) fn of_processes(process_dir: &Path) -> Self {
        Self {
            process_dir: process_dir.to_owned(),
            plugins: Directory::new("/nonexistent"),
            ledger_dir: "/nonexistent".into(),
            docker_dir: "/nonexistent".into(),
            acts: false,
            grants: Grants::default(),
            fleet: None,
        }
    }
}

/// Makes every provider type of this build. Nothing is touched until one is opened.
pub(crate) fn factories(places: Places) -> Vec<Arc<dyn ProviderFactory>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let process = ProcessFactory::new(places.process_dir, shim(), clock.clone());
    let plugins = Place::Named(places.plugins);
    let docker = DockerFactory::new(
        docker_endpoint(std::env::var("DOCKER_HOST").ok()),
        places.grants,
        places.docker_dir,
        clock.clone(),
    )
    .finishing(places.acts);
    let plugins = PluginFactory::new(plugins, places.ledger_dir, clock.clone());
    vec![
        Arc::new(process),
        Arc::new(docker),
        Arc::new(SimFactory::new(clock)),
        Arc::new(plugins.of_fleet(places.fleet)),
    ]
}

/// Returns the engine that Docker's own programs would use.
fn docker_endpoint(docker_host: Option<String>) -> String {
    let set = docker_host.filter(|host| !host.is_empty());
    set.unwrap_or_else(|| STANDARD_ENDPOINT.to_owned())
}

/// The hidden subcommand of this very program.
///
/// `/proc/self/exe` would name a replaced binary as `... (deleted)`: then the name that it was
/// started by is as good as any.
fn shim() -> ShimProgram {
    let program = std::env::current_exe().unwrap_or_else(|_| "drover".into());
    ShimProgram {
        program,
        args: vec!["shim".into()],
    }
}

/// Returns every type, allowed, for checks that open nothing.
pub(crate) fn registry() -> Registry {
    let factories = factories(Places::of_processes(Path::new("/nonexistent")));
    let types: BTreeSet<_> = factories
        .iter()
        .map(|factory| factory.manifest().type_.clone())
        .collect();
    Registry::new(factories, Allowed::Only(types))
}
