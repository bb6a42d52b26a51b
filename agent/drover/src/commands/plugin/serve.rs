//! `drover plugin serve`: a provider or a flavor of this build behind a socket.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{ProviderName, Value};
use drover_provider::ProviderFactory;
use drover_provider_plugin::{
    Directory, InstanceService, ProviderService, Served, ServedSocket, VanillaService,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{PluginServeArgs, ServedType};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::providers::{self, Places, SystemClock};
use crate::settings::PROCESS_FOLDER;
use crate::ui::Ui;

/// Where in the data folder is kept what InfraKit's protocol keeps and a provider does not.
const TAGS_FOLDER: &str = "infrakit-tags";

/// How long a socket may take to be let go of.
const LET_GO: Duration = Duration::from_secs(1);

/// Runs the command until it is told to stop.
pub(super) fn run(args: &PluginServeArgs, ui: Ui) -> CommandResult {
    let type_ = match args.type_ {
        ServedType::Process => "process",
        ServedType::Simulated => "simulated",
        ServedType::Vanilla => "vanilla",
    };
    let path = args.socket.clone().unwrap_or_else(|| {
        let folder = Directory::of_environment(|name| std::env::var_os(name));
        folder.path().join(type_)
    });
    let served = match args.type_ {
        ServedType::Vanilla if !args.settings.is_empty() => {
            return Err(CommandError::usage("a flavor has no settings"));
        }
        ServedType::Vanilla => Served::new(vec![Box::new(VanillaService)]),
        ServedType::Process | ServedType::Simulated => provider(args, type_)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        let shown = path.display();
        let socket = bind(&path).await;
        let socket = socket.context(format!("cannot serve on {shown}"))?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        ui.message(&format!("serving {type_} on {shown}"));
        tokio::select! {
            ended = served.serve(&socket) => ended.context(format!("cannot serve on {shown}"))?,
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(Exit::Done)
    })
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
fn provider(args: &PluginServeArgs, type_: &str) -> CommandResult<Served> {
    let factory = factory(args, type_)?;
    let name = ProviderName::parse("infrakit").context("the served provider")?;
    let settings: Value = args.settings.iter().cloned().collect();
    let provider = factory
        .open(&name, &settings)
        .context(format!("cannot open the provider {type_}"))?;
    let tags = args.data_dir.join(TAGS_FOLDER).join(type_);
    let instances = InstanceService::new(provider, &tags, Arc::new(SystemClock));
    let instances = instances.context(format!("cannot make {}", tags.display()))?;
    Ok(Served::new(vec![
        Box::new(instances),
        Box::new(ProviderService::new(factory)),
    ]))
}

fn factory(args: &PluginServeArgs, type_: &str) -> CommandResult<Arc<dyn ProviderFactory>> {
    let places = Places::of_processes(&args.data_dir.join(PROCESS_FOLDER));
    let mut factories = providers::factories(places).into_iter();
    let found = factories.find(|factory| factory.manifest().type_.as_str() == type_);
    found.ok_or_else(|| CommandError::new(format!("this build has no provider type {type_}")))
}
