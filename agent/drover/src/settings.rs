//! Where source, state and data are: flags over `DROVER_*` variables over the agent's file over
//! defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_git::{Identities, RemoteOptions, SignersFile, SourceUrl, Trust};
use drover_loop::{Allowed, OutageRule, Verification};
use drover_model::{AgentName, FleetName};
use drover_provider_docker::{GrantedMount, Grants, LoginSource, Registries, RegistryLogin};
use drover_provider_plugin::{Absences, Directory};
use drover_spec::agent_config::{
    self, AgentConfig, DockerConfig, DockerLogin, DockerRegistry, MetricSourceConfig, Mode,
    NotifyConfig, OpenPgpConfig, PluginsConfig, ReviewsConfig, SecretsConfig, WebhookConfig,
};

use crate::cli::{AgentOptions, Listen, SourceOptions};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::providers::Places;

mod remote;
fn state_trust(config: &AgentConfig) -> Trust {
    let named = config.state_signers.clone();
    Trust {
        signers: named.signers.map(SignersFile),
        gnupg_home: named.gnupg_home,
    }
}

fn outage(config: &AgentConfig) -> Option<OutageRule> {
    let (mode, after) = config.source.outage?;
    Some(OutageRule { mode, after })
}

#[cfg(test)]
mod tests;

/// The agent's file that is read where it exists and no other is named.
const DEFAULT_CONFIG: &str = "/etc/drover/agent.yaml";

/// The largest agent's file that is read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Where data is unless somebody says otherwise.
pub(crate) const DEFAULT_DATA_DIR: &str = "/var/lib/drover";
/// Where the provider type `process` keeps its instances in the data folder.
pub(crate) const PROCESS_FOLDER: &str = "process";
/// Where in the data folder is kept what was asked of plugins.
const LEDGER_FOLDER: &str = "plugin-ledger";
/// Where in the data folder is kept which calls have made containers.
const DOCKER_FOLDER: &str = "docker";
/// What programs that hand out credentials for registries get of the agent's environment.
const HELPER_VARIABLES: [&str; 3] = ["PATH", "HOME", "LANG"];
const DEFAULT_BRANCH: &str = "main";
const DEFAULT_STATE_BRANCH: &str = "drover/state";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7643);

/// Everything that a command may need to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: AgentName,
    pub(crate) fleet: FleetName,
    pub(crate) observe: bool,
    /// Whether there is an agent's file.
    pub(crate) from_file: bool,
    source: Option<String>,
    /// The folder that a relative `source` of the file is relative to.
    source_base: Option<PathBuf>,
    pub(crate) branch: String,
    pub(crate) path: String,
    pub(crate) interval: Duration,
    /// What waits while the source cannot be read. None: nothing.
    pub(crate) outage: Option<OutageRule>,
    pub(crate) state_branch: String,
    /// Whose signatures on recorded state count, beside the agent's own.
    pub(crate) state_trust: Trust,
    pub(crate) data_dir: PathBuf,
    /// Where the provider type `process` keeps its instances.
    pub(crate) process_dir: PathBuf,
    pub(crate) listen: Listen,
    pub(crate) allowed: Allowed,
    pub(crate) remote: RemoteOptions,
    /// Where metrics come from.
    pub(crate) metric_sources: Vec<MetricSourceConfig>,
    /// The plugins of the type `plugin`.
    pub(crate) plugins: PluginsConfig,
    /// Why those that the agent starts do not run.
    absences: Absences,
    /// Where plugins listen that were started for this command alone.
    started: Option<PathBuf>,
    /// What containers may have of the machine around them, and with which credentials their images are pulled.
    docker: DockerConfig,
    /// What has to be signed. None: nothing.
    pub(crate) verification: Option<Verification>,
    /// Where it says whose a key is.
    pub(crate) identities: Identities,
    /// Whose operations count. None: nobody's.
    pub(crate) signers: Option<SignersFile>,
    /// The private key that signs, and a file with its passphrase.
    pub(crate) key: Option<(PathBuf, Option<PathBuf>)>,
    /// An OpenPGP key that signs state commits instead.
    pub(crate) open_pgp: Option<OpenPgpConfig>,
    /// Which secrets documents may refer to.
    pub(crate) secrets: SecretsConfig,
    /// The webhooks that are answered on `listen`.
    pub(crate) webhooks: Vec<WebhookConfig>,
    /// Who is told what happens. None: nobody.
    pub(crate) notify: Option<NotifyConfig>,
    pub(crate) reviews: Option<ReviewsConfig>,
}

impl Settings {
    /// Resolves the settings of a command that reads or edits.
    pub(crate) fn of_source(options: &SourceOptions) -> CommandResult<Self> {
        Self::of_agent(&AgentOptions {
            source: options.clone(),
            ..AgentOptions::default()
        })
    }

    /// Whether something says where the source repository is.
    pub(crate) fn is_source_named(&self) -> bool {
        self.source.is_some()
    }

    /// Takes the clone that the command runs in as the source repository.
    #[must_use]
    pub(crate) fn in_clone(self) -> Self {
        Self {
            source: Some(".".to_owned()),
            source_base: None,
            ..self
        }
    }

    /// Resolves the settings of an agent.
    pub(crate) fn of_agent(options: &AgentOptions) -> CommandResult<Self> {
        let default = PathBuf::from(DEFAULT_CONFIG);
        let path = match &options.source.config {
            Some(path) => Some(path.clone()),
            None => default.is_file().then_some(default),
        };
        let file = match path {
            Some(path) => {
                let config = read_config(&path)?;
                Some((path, config))
            }
            None => None,
        };
        Self::resolve(options, file)
    }

    fn resolve(
        options: &AgentOptions,
        file: Option<(PathBuf, AgentConfig)>,
    ) -> CommandResult<Self> {
        let (file_path, config) = match file {
            Some((path, config)) => (Some(path), Some(config)),
            None => (None, None),
        };
        let flags = &options.source;
        let base = file_path
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned);
        let from_file = |pick: &dyn Fn(&AgentConfig) -> String| config.as_ref().map(pick);
        let (name, fleet) = identity(options, config.as_ref())?;
        let remote = remote::options(config.as_ref(), flags.source.as_deref())?;
        let (branch, state_branch) = branches(flags, config.as_ref())?;
        let (data_dir, process_dir) = folders(options, config.as_ref());
        let source_base = if flags.source.is_some() { None } else { base };
        Ok(Self {
            name,
            fleet,
            from_file: config.is_some(),
            observe: config
                .as_ref()
                .is_some_and(|config| config.mode == Mode::Observe),
            source: flags
                .source
                .clone()
                .or_else(|| from_file(&|config| config.source.url.clone())),
            source_base,
            branch,
            path: flags
                .path
                .clone()
                .or_else(|| from_file(&|config| config.source.path.clone()))
                .unwrap_or_default(),
            interval: options
                .interval
                .or(config.as_ref().map(|config| config.source.interval))
                .unwrap_or(DEFAULT_INTERVAL),
            outage: config.as_ref().and_then(outage),
            state_branch,
            state_trust: config.as_ref().map(state_trust).unwrap_or_default(),
            data_dir,
            process_dir,
            listen: listening(options, config.as_ref()),
            allowed: allowed(options, config.as_ref()),
            remote,
            plugins: list(config.as_ref(), |config| &config.plugins),
            absences: Absences::default(),
            started: None,
            docker: list(config.as_ref(), |config| &config.docker),
            verification: remote::verification(config.as_ref())?,
            identities: remote::identities(config.as_ref()),
            signers: config
                .as_ref()
                .and_then(|config| config.signers.clone().map(SignersFile)),
            key: config.as_ref().and_then(|config| config.key.clone()),
            open_pgp: config.as_ref().and_then(|config| config.open_pgp.clone()),
            metric_sources: list(config.as_ref(), |config| &config.metric_sources),
            secrets: list(config.as_ref(), |config| &config.secrets),
            webhooks: list(config.as_ref(), |config| &config.webhooks),
            notify: config.as_ref().and_then(|config| config.notify.clone()),
            reviews: config.as_ref().and_then(|config| config.reviews.clone()),
        })
    }

    /// Returns why plugins that were started do not run, shared with who is told it.
    pub(crate) fn absences(&self) -> Absences {
        self.absences.clone()
    }

    /// Finds plugins in `started` before those that run.
    pub(crate) fn with_started(self, started: &Path) -> Self {
        Self {
            started: Some(started.to_owned()),
            ..self
        }
    }

    /// Returns where providers keep and find their things; instances of processes are in `process_dir`.
    pub(crate) fn places(&self, process_dir: &Path) -> Places {
        let dir = self.plugins.dir.clone();
        let environment = || Directory::of_environment(|name| std::env::var_os(name));
        let plugins = dir.map_or_else(environment, Directory::new);
        let plugins = plugins.knowing(self.absences());
        Places {
            process_dir: process_dir.to_owned(),
            plugins: match &self.started {
                Some(started) => plugins.beside(started.clone()),
                None => plugins,
            },
            ledger_dir: self.data_dir.join(LEDGER_FOLDER),
            docker_dir: self.data_dir.join(DOCKER_FOLDER),
            acts: false,
            grants: grants(&self.docker),
            fleet: Some(self.fleet.clone()),
        }
    }

    /// Returns where the source repository is.
    ///
    /// # Errors
    ///
    /// None was named, or it is no place that drover can use.
    pub(crate) fn source_url(&self) -> CommandResult<SourceUrl> {
        let Some(source) = &self.source else {
            return Err(CommandError::usage("no source repository is named")
                .hint("name the agent's file with --config, or the repository with --source")
                .hint("`drover init DIR` makes a repository with both"));
        };
        let is_path = !source.contains("://") && !source.starts_with('/');
        let text = match &self.source_base {
            Some(base) if is_path && !source.contains(':') => {
                base.join(source).display().to_string()
            }
            _ => source.clone(),
        };
        SourceUrl::parse(&text).map_err(|error| {
            CommandError::new("cannot use the source repository")
                .because(error)
                .exit(Exit::Usage)
        })
    }
}

/// Returns the watched branch and that of recorded state.
fn branches(
    flags: &SourceOptions,
    config: Option<&AgentConfig>,
) -> CommandResult<(String, String)> {
    let watched = flags
        .branch
        .clone()
        .or_else(|| config.map(|config| config.source.branch.clone()))
        .unwrap_or_else(|| DEFAULT_BRANCH.to_owned());
    let state = flags
        .state_branch
        .clone()
        .or_else(|| config.map(|config| config.state_branch.clone()))
        .unwrap_or_else(|| DEFAULT_STATE_BRANCH.to_owned());
    for (flag, name) in [("--branch", &watched), ("--state-branch", &state)] {
        if !agent_config::is_branch(name) {
            return Err(CommandError::usage(format!(
                "{flag}: {name:?} is not the name of a branch"
            )));
        }
    }
    if watched == state {
        return Err(CommandError::usage(format!(
            "recorded state cannot go to the watched branch {watched}"
        ))
        .hint(
            "both are the same in --branch and --state-branch, their variables or the agent's file",
        ));
    }
    Ok((watched, state))
}

fn listening(options: &AgentOptions, config: Option<&AgentConfig>) -> Listen {
    match (options.listen, config) {
        (Some(listen), _) => listen,
        (None, Some(config)) => config.listen.map_or(Listen::Off, Listen::On),
        (None, None) => Listen::On(DEFAULT_LISTEN),
    }
}

impl Settings {
    /// Says it where nothing vouches for what a repository has.
    pub(crate) fn warn_of(&self, source: &SourceUrl) {
        if source.is_read_only() && self.verification.is_none() {
            tracing::warn!(
                source = source.redacted(),
                "nothing authenticates what this repository sends, nor does `source.verify` ask for signatures"
            );
        }
    }
}

fn grants(docker: &DockerConfig) -> Grants {
    let mounts = docker.mounts.iter().map(|mount| GrantedMount {
        path: mount.path.clone(),
        read_only: mount.read_only,
    });
    Grants {
        endpoints: docker.endpoints.clone(),
        networks: docker.networks.clone(),
        mounts: mounts.collect(),
        registries: Registries {
            logins: docker.registries.iter().map(login).collect(),
            helper_environment: helper_environment(),
        },
    }
}

fn login(registry: &DockerRegistry) -> RegistryLogin {
    RegistryLogin {
        host: registry.host.clone(),
        prefix: registry.prefix.clone(),
        source: match &registry.login {
            DockerLogin::Password { username, file } => LoginSource::Password {
                username: username.clone(),
                file: file.clone(),
            },
            DockerLogin::ConfigFile(file) => LoginSource::ConfigFile(file.clone()),
        },
    }
}

/// Returns the environment of programs that hand out credentials: enough to find their own settings, and nothing
/// that is a secret of the agent's.
fn helper_environment() -> BTreeMap<String, OsString> {
    let set = HELPER_VARIABLES.iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        Some(((*name).to_owned(), value))
    });
    set.collect()
}

/// Returns what the file lists: nothing where there is no file.
fn list<T: Clone + Default>(config: Option<&AgentConfig>, pick: impl Fn(&AgentConfig) -> &T) -> T {
    config
        .map(|config| pick(config).clone())
        .unwrap_or_default()
}

fn read_config(path: &Path) -> CommandResult<AgentConfig> {
    let shown = path.display().to_string();
    let attempted = || format!("cannot read the agent's file {shown}");
    let size = fs::metadata(path).context(attempted())?.len();
    if size > CONFIG_BYTES_MAX {
        return Err(CommandError::new(attempted()).because("it is larger than 1 MiB"));
    }
    let bytes = fs::read(path).context(attempted())?;
    agent_config::parse(&shown, &bytes).map_err(|mistakes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let source = |_: &str| Some(text.clone());
        CommandError::new(format!("the agent's file {shown} is not valid"))
            .because(drover_spec::render(&mistakes, &source, false))
    })
}

fn allowed(options: &AgentOptions, config: Option<&AgentConfig>) -> Allowed {
    let named: BTreeSet<_> = options.allow_provider.iter().cloned().collect();
    if !named.is_empty() {
        return Allowed::Only(named);
    }
    match config.and_then(|config| config.providers_allowed.clone()) {
        Some(types) => Allowed::Only(types.into_iter().collect()),
        None => Allowed::AllButProcess,
    }
}

/// Returns the agent's name and fleet.
fn identity(
    options: &AgentOptions,
    config: Option<&AgentConfig>,
) -> CommandResult<(AgentName, FleetName)> {
    let name = match (&options.name, config) {
        (Some(name), _) => name.clone(),
        (None, Some(config)) => config.name.clone(),
        (None, None) => host_name(),
    };
    // A file that names no fleet means its own agent's name, which another name replaces.
    let written = config
        .filter(|config| options.name.is_none() || config.fleet.as_str() != config.name.as_str());
    let fleet = match (&options.fleet, written) {
        (Some(fleet), _) => fleet.clone(),
        (None, Some(config)) => config.fleet.clone(),
        (None, None) => fleet_of(&name)?,
    };
    Ok((name, fleet))
}

/// The fleet is the agent's name where nobody says otherwise.
fn fleet_of(name: &AgentName) -> CommandResult<FleetName> {
    FleetName::parse(name.as_str()).context("cannot name the fleet after the agent")
}

/// Returns the host's name as far as it is a valid agent's name.
fn host_name() -> AgentName {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_ascii_lowercase();
    let label = host.split('.').next().unwrap_or_default();
    let clean: String = label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    AgentName::parse(clean.trim_matches('-'))
        .unwrap_or_else(|_| AgentName::parse("drover").expect("a valid label"))
}

/// Returns the data folder, and where processes are kept.
fn folders(options: &AgentOptions, config: Option<&AgentConfig>) -> (PathBuf, PathBuf) {
    let data_dir = options.source.data_dir.clone();
    let data_dir = data_dir
        .or_else(|| config.map(|config| config.data_dir.clone()))
        .unwrap_or_else(|| DEFAULT_DATA_DIR.into());
    let process_dir = options.process_dir.clone();
    let process_dir = process_dir
        .or_else(|| config?.process_dir.clone())
        .unwrap_or_else(|| data_dir.join(PROCESS_FOLDER));
    (data_dir, process_dir)
}
