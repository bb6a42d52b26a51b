//! Puts an agent together: journal, repository, providers, identity.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drover_apply::{Journal, JournalError, MemoryJournal, RedbJournal};
use drover_git::{CommitKey, Mirror, OpenPgpKey, Signature, SigningKey, StateTrust, Trust};
use drover_loop::{
    ANCHOR_FILE, Agent, AgentParts, AgentSettings, Allowed, Entropy, GitRecorder,
    GitRecorderOptions, GitSource, Memory, Mode, OPERATION_COMMITS_MAX, OPERATIONS_BRANCH,
    Operations, OperationsOptions, OperationsReader, PassLimits, Registry, SourceFiles,
    SourcePlace, local_liveness, machine,
};
use drover_provider::{Flavors, NoFlavors};
use drover_provider_plugin::{Place, PluginFlavors};
use tracing::warn;

use super::{locks, watch};
use crate::commands::VERSION;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::metric_sources::MetricSources;
use crate::providers::{self, Places, SystemClock};
use crate::reviews::{Decisions, Reviews};
use crate::secrets::LocalSecrets;
use crate::settings::Settings;

/// The folder of a remote's mirror in the data folder.
const MIRROR: &str = "mirror";

/// An agent, with what the wiring around it needs.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) agent: Agent,
    pub(crate) registry: Registry,
    /// The repository on this machine, if it is one.
    pub(crate) local: Option<PathBuf>,
    pub(crate) url: String,
    pub(crate) mirror: Arc<Mirror>,
    /// A dry run's own folder; removed with it.
    pub(crate) scratch: Option<tempfile::TempDir>,
}

/// Opens everything. A dry run writes nothing but a scratch folder.
pub(crate) fn assemble(
    settings: &Settings,
    mode: Mode,
    limits: PassLimits,
) -> CommandResult<Assembled> {
    let url = settings.source_url()?;
    settings.warn_of(&url);
    let dry = mode == Mode::DryRun;
    let (journal, scratch): (Arc<dyn Journal>, _) = if dry {
        let scratch = tempfile::tempdir().context("cannot make a scratch folder")?;
        (Arc::new(MemoryJournal::new()), Some(scratch))
    } else {
        (Arc::new(open_journal(&settings.data_dir)?), None)
    };
    let folder = scratch
        .as_ref()
        .map_or(settings.data_dir.as_path(), |dir| dir.path());
    if !dry {
        clear_locks(settings, url.local_path(), folder);
    }
    let mirror = Mirror::open(&folder.join(MIRROR), url.clone(), settings.remote.clone())
        .context(format!("cannot open the repository {url}"))?;
    let mirror = Arc::new(mirror);
    let source = source(settings, &mirror);
    let source_files = source.files();
    let memory = if dry { Memory::Nowhere } else { Memory::Kept };
    let signer = signing_key(settings, dry)?;
    let options = GitRecorderOptions {
        branch: settings.state_branch.clone(),
        identity: Signature {
            name: format!("drover {}", settings.name),
            email: format!("drover+{}@{}", settings.name, settings.fleet),
        },
        seed: random(),
        trust: state_trust(settings, signer.as_ref()),
        signer,
        anchor: (!dry).then(|| settings.data_dir.join(ANCHOR_FILE)),
    };
    let recorder = GitRecorder::open(mirror.clone(), source.refs(), options)
        .context(format!("cannot open the branch {}", settings.state_branch))?;
    // What exists is looked at where it is. A folder that is not there has no instances.
    let instances = if dry && !settings.process_dir.exists() {
        folder
    } else {
        settings.process_dir.as_path()
    };
    let registry = providers(settings, instances, mode);
    let parts = AgentParts {
        clock: Arc::new(SystemClock),
        operations: operations(settings, &mirror, &source, memory),
        source: Box::new(source),
        recorder: Box::new(recorder),
        journal,
        registry: registry.clone(),
        secrets: secrets(settings, &source_files),
        flavors: flavors(settings, &registry, instances),
        liveness: local_liveness(std::path::absolute(&settings.data_dir).ok()),
        entropy: if dry { nothing_drawn() } else { entropy() },
        contact: None,
        metrics: Arc::new(MetricSources::new(&settings.metric_sources)),
    };
    let agent =
        Agent::open(agent_settings(settings, mode, limits), parts).context("cannot start")?;
    Ok(Assembled {
        agent,
        registry,
        local: url.local_path().map(Path::to_owned),
        url: url.redacted(),
        mirror,
        scratch,
    })
}

/// Clears away the locks that another agent left behind. The journal's lock is held: it is gone.
fn clear_locks(settings: &Settings, local: Option<&Path>, folder: &Path) {
    match local {
        Some(path) => {
            let company = locks::Company::Shared(&settings.state_branch);
            locks::clear(&watch::git_dir(path), company);
        }
        None => locks::clear(&folder.join(MIRROR), locks::Company::Alone),
    }
}

/// Which providers there are. Tells which registries' credentials cannot be read now: they are read again for each
/// pull, and what needs no pull works without, so that is no reason not to start.
fn providers(settings: &Settings, instances: &Path, mode: Mode) -> Registry {
    let places = Places {
        acts: mode == Mode::Act,
        ..settings.places(instances)
    };
    if mode != Mode::DryRun {
        for mistake in places.grants.registries.mistakes() {
            warn!(error = %mistake, "credentials for a registry cannot be read");
        }
    }
    let registry = Registry::new(providers::factories(places), settings.allowed.clone());
    if let Allowed::Only(types) = &settings.allowed {
        for unknown in types
            .iter()
            .filter(|type_| !registry.types().any(|known| known == *type_))
        {
            let known = registry.types().map(ToString::to_string);
            let known: Vec<String> = known.collect();
            warn!(
                type_ = %unknown,
                "a provider type is allowed that this agent does not have; it has {}",
                known.join(", ")
            );
        }
    }
    registry
}

/// Which flavor plugins may be asked: those that provider plugins are found among.
fn flavors(settings: &Settings, registry: &Registry, instances: &Path) -> Arc<dyn Flavors> {
    if registry.allows_flavor_plugins() {
        let plugins = settings.places(instances).plugins;
        return Arc::new(PluginFlavors::new(Place::Named(plugins)));
    }
    let why = "the agent's file does not allow plugins";
    Arc::new(NoFlavors::new(why))
}

/// What secrets may be read.
fn secrets(settings: &Settings, files: &SourceFiles) -> Arc<LocalSecrets> {
    let files = files.clone();
    let repository = Arc::new(move |path: &str| files.read(path));
    Arc::new(LocalSecrets::new(settings.secrets.clone(), repository))
}

/// What is followed, and whose signatures count.
fn source(settings: &Settings, mirror: &Arc<Mirror>) -> GitSource {
    let place = SourcePlace {
        branch: settings.branch.clone(),
        path: settings.path.clone(),
    };
    GitSource::new(Arc::clone(mirror), place)
        .verifying(settings.verification.clone())
        .knowing(settings.identities.clone())
}

/// Where people's decisions are read: where the agent has a list of signers, and on the Git host.
fn operations(
    settings: &Settings,
    mirror: &Arc<Mirror>,
    source: &GitSource,
    memory: Memory,
) -> Option<Box<dyn Operations>> {
    let signed = settings.signers.clone().map(|signers| {
        let options = OperationsOptions {
            commits_max: OPERATION_COMMITS_MAX,
            branch: OPERATIONS_BRANCH.to_owned(),
            fleet: settings.fleet.clone(),
            signers,
            memory,
        };
        let reader = OperationsReader::new(Arc::clone(mirror), source.refs(), options);
        Box::new(reader) as Box<dyn Operations>
    });
    // A dry run is made where people are, who need no token of the host.
    let reviews = settings.reviews.clone().filter(|_| memory == Memory::Kept);
    let Some(config) = reviews else {
        return signed;
    };
    let (branch, path) = (settings.branch.clone(), &settings.path);
    Some(Box::new(Decisions {
        operations: signed,
        reviews: Reviews::new(config, Arc::clone(mirror), branch, path),
    }))
}

/// Reads the key that signs state commits: an agent that should sign and cannot does not start. A dry
/// run commits nothing.
fn signing_key(settings: &Settings, dry: bool) -> CommandResult<Option<Arc<CommitKey>>> {
    if dry {
        return Ok(None);
    }
    let key = match (&settings.key, &settings.open_pgp) {
        (Some((path, passphrase)), _) => {
            SigningKey::read(path, passphrase.as_deref()).map(CommitKey::Ssh)
        }
        (None, Some(key)) => OpenPgpKey::open(
            key.gnupg_home.clone(),
            &key.fingerprint,
            key.passphrase.clone(),
        )
        .map(CommitKey::OpenPgp),
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(key.context("cannot sign state commits")?)))
}

/// Returns whose signatures an empty data directory asks for. None: nobody's, as the agent signs nothing and its file names
/// nobody. Of a dry run, which acts on nothing, nothing is asked.
fn state_trust(settings: &Settings, signer: Option<&Arc<CommitKey>>) -> Option<StateTrust> {
    let trust = StateTrust {
        own: signer.cloned(),
        others: settings.state_trust.clone(),
    };
    let asked = trust.own.is_some() || trust.others != Trust::default();
    asked.then_some(trust)
}

fn agent_settings(settings: &Settings, mode: Mode, limits: PassLimits) -> AgentSettings {
    AgentSettings {
        name: settings.name.clone(),
        fleet: settings.fleet.clone(),
        mode,
        data_dir: (mode != Mode::DryRun).then(|| settings.data_dir.clone()),
        interval: settings.interval,
        outage: settings.outage,
        version: VERSION.to_owned(),
        machine: machine(),
        limits,
        keep: drover_loop::Keep::Everything,
    }
}

fn open_journal(data_dir: &Path) -> CommandResult<RedbJournal> {
    RedbJournal::open(data_dir).map_err(|error| {
        let hint = match &error {
            JournalError::Locked { .. } => {
                Some("one agent per data folder: stop the other one, or choose another --data-dir")
            }
            JournalError::NewerFormat { .. } => Some("run the version of drover that wrote it"),
            JournalError::Storage { .. } => {
                Some("choose a folder that you may write to with --data-dir")
            }
            _ => None,
        };
        let failed = CommandError::new("cannot open the journal").because(error);
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    })
}

fn entropy() -> Entropy {
    Box::new(random)
}

/// A dry pass gives no group a life of its own: it would be another one in each, and the changes of a group that no
/// agent has seen would have other ids than the agent's.
fn nothing_drawn() -> Entropy {
    Box::new(|| 0)
}

/// The life of a group that a dry pass is the first to see.
pub(crate) const UNDRAWN: &str = "aaaaaaaaaaaaaaaa";

/// Returns a random number from the system.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("Linux always has /dev/urandom");
    u64::from_ne_bytes(bytes)
}
