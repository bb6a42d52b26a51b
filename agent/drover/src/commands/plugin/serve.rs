//! `drover plugin serve`: a provider or a flavor of this build behind a socket.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_model::{ProviderName, Value};
use drover_provider::{Provider, ProviderFactory};
use drover_provider_plugin::{
    CloudInitService, Directory, InstanceService, ProviderService, Served, ServedSocket, Service,
    VanillaService,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{PluginServeArgs, ServedType};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::providers::{self, Places, SystemClock};
use crate::settings::{PROCESS_FOLDER, Settings};
use crate::ui::Ui;

mod ec2;
mod group;

/// Where in the data folder is kept what InfraKit's protocol keeps and a provider does not.
const TAGS_FOLDER: &str = "infrakit-tags";

/// Where in the data folder is kept which calls have made containers: apart from an agent's own.
const DOCKER_FOLDER: &str = "infrakit-docker";

/// The name of the Provider document that there is none of.
const PROVIDER: &str = "infrakit";

/// How long a socket may take to be let go of.
const LET_GO: Duration = Duration::from_secs(1);

/// Runs the command until it is told to stop.
pub(super) fn run(args: &PluginServeArgs, ui: Ui) -> CommandResult {
    check(args)?;
    let type_ = args.type_.as_str();
    let path = match &args.socket {
        Some(socket) => socket.clone(),
        None => plugins_folder()?.join(type_),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        let (served, program) = match args.type_ {
            ServedType::Vanilla => (one(VanillaService), None),
            ServedType::CloudInit => (one(CloudInitService), None),
            ServedType::Group => {
                let groups = Box::new(group::service(args)?);
                let services: Vec<Box<dyn Service>> = vec![groups, Box::new(group::agent(args)?)];
                (Served::new(services), None)
            }
            ServedType::Process | ServedType::Docker | ServedType::Simulated => {
                (provider(args)?, None)
            }
            ServedType::Ec2 | ServedType::Asg => {
                let plugin = args.type_.of_ec2_program().unwrap_or(type_);
                let (provider, program) = ec2::start(args, plugin).await?;
                let instances = instances(args, provider)?;
                (Served::new(vec![Box::new(instances)]), Some(program))
            }
        };
        let done = serve(&served, &path, type_, ui).await;
        if let Some(program) = program {
            program.end().await;
        }
        done
    })
}

/// Returns the folder where InfraKit looks for plugins. Who has had none yet has it now.
fn plugins_folder() -> CommandResult<PathBuf> {
    let folder = Directory::of_environment(|name| std::env::var_os(name));
    let folder = folder.path();
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.context(format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// Refuses options of other types.
fn check(args: &PluginServeArgs) -> CommandResult<()> {
    let type_ = args.type_.as_str();
    let settled = match args.type_ {
        ServedType::Vanilla | ServedType::CloudInit => Some("a flavor has no settings"),
        ServedType::Group => Some("groups have no settings: they are the agent's"),
        ServedType::Process
        | ServedType::Docker
        | ServedType::Ec2
        | ServedType::Asg
        | ServedType::Simulated => None,
    };
    if let Some(why) = settled.filter(|_| !args.settings.is_empty()) {
        return Err(CommandError::usage(why));
    }
    if args.expires.is_some() && args.type_ != ServedType::Group {
        let message = format!("{type_} signs nothing: --expires is for group");
        return Err(CommandError::usage(message));
    }
    let program = args.program.is_some() || !args.arguments.is_empty();
    if program && args.type_.of_ec2_program().is_none() {
        let message = format!("{type_} is part of this program: --program is for ec2 and asg");
        return Err(CommandError::usage(message));
    }
    Ok(())
}

/// A plugin with one interface.
fn one(service: impl Service + 'static) -> Served {
    Served::new(vec![Box::new(service)])
}

async fn serve(served: &Served, path: &Path, type_: &str, ui: Ui) -> CommandResult {
    let shown = path.display();
    let socket = bind(path).await;
    let socket = socket.context(format!("cannot serve on {shown}"))?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    ui.message(&format!("serving {type_} on {shown}"));
    tokio::select! {
        never = served.serve(&socket) => match never {},
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(Exit::Done)
}

/// Listens on the socket. One that was killed a moment ago may have left a child that has not let go of it.
async fn bind(path: &Path) -> io::Result<ServedSocket> {
    let deadline = tokio::time::Instant::now() + LET_GO;
    loop {
        match ServedSocket::bind(path) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(LET_GO / 20).await;
            }
            bound => return bound,
        }
    }
}

/// Returns a provider as both interfaces have it.
fn provider(args: &PluginServeArgs) -> CommandResult<Served> {
    let factory = factory(args)?;
    let type_ = args.type_.as_str();
    let settings: Value = args.settings.iter().cloned().collect();
    let provider = factory
        .open(&name(), &settings)
        .context(format!("cannot open the provider {type_}"))?;
    Ok(Served::new(vec![
        Box::new(instances(args, provider)?),
        Box::new(ProviderService::new(factory)),
    ]))
}

fn name() -> ProviderName {
    ProviderName::parse(PROVIDER).expect("a valid label")
}

fn instances(
    args: &PluginServeArgs,
    provider: Arc<dyn Provider>,
) -> CommandResult<InstanceService> {
    let tags = args.data_dir().join(TAGS_FOLDER).join(args.type_.as_str());
    let instances = InstanceService::new(provider, &tags, Arc::new(SystemClock));
    instances.context(format!("cannot make {}", tags.display()))
}

fn factory(args: &PluginServeArgs) -> CommandResult<Arc<dyn ProviderFactory>> {
    let type_ = args.type_.as_str();
    let mut places = Places::of_processes(&args.data_dir().join(PROCESS_FOLDER));
    if args.type_ == ServedType::Docker {
        places.docker_dir = args.data_dir().join(DOCKER_FOLDER);
        places.grants = grants(args)?;
    }
    let mut factories = providers::factories(places).into_iter();
    let found = factories.find(|factory| factory.manifest().type_.as_str() == type_);
    found.ok_or_else(|| CommandError::new(format!("this build has no provider type {type_}")))
}

/// Returns what containers may have: what the agent's file says, and the engine that is named here, by who may
/// name one.
fn grants(args: &PluginServeArgs) -> CommandResult<drover_provider_docker::Grants> {
    let settings = Settings::of_source(&args.source())?;
    let mut grants = settings.places(Path::new("")).grants;
    let named = args.settings.iter().filter(|(name, _)| name == "endpoint");
    let named = named.filter_map(|(_, value)| value.as_str());
    grants.endpoints.extend(named.map(str::to_owned));
    Ok(grants)
}
