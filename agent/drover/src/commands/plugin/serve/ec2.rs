//! The provider that is a program of its own: started, watched, and offered again as InfraKit's `Instance`.
//!
//! Its cloud library is not linked here; what this program speaks to it is `Provider/1`, as an agent does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_apply::{DirLock, JournalError};
use drover_model::{ErrorClass, Value};
use drover_provider::{Provider, ProviderFactory as _};
use drover_provider_plugin::{Directory, Place, PluginFactory};
use drover_spec::agent_config::PluginConfig;
use tokio::time::Instant;

use super::name;
use crate::cli::PluginServeArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::plugins::Supervisor;
use crate::providers::{EC2_PROGRAM, SystemClock, ec2_program};

/// What the program is called among plugins.
const PLUGIN: &str = "ec2";

/// Where in the data folder its socket is.
const SOCKETS: &str = "infrakit-plugins";

/// Where in the data folder is kept that it runs: an agent may have the same data folder, and a program of this name.
const STARTED: &str = "infrakit-started";

/// Where in the data folder is kept what was asked of it.
const LEDGER: &str = "infrakit-ledger";

/// How long it may take to listen: it reads its configuration first.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to describe itself, with a look at its credentials.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// What of the environment is the program's: where credentials are, and how to reach the cloud.
const ENVIRONMENT: [&str; 9] = [
    "AWS_",
    "DROVER_LOG",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// Starts the program and opens the provider `plugin` that it is.
pub(super) async fn start(
    args: &PluginServeArgs,
    plugin: &str,
) -> CommandResult<(Arc<dyn Provider>, Supervisor)> {
    let program = program(args)?;
    let sockets = Directory::new(args.data_dir().join(SOCKETS));
    let mut arguments = vec!["--socket".to_owned(), "${socket}".to_owned()];
    arguments.extend(args.arguments.iter().cloned());
    let config = PluginConfig {
        name: PLUGIN.to_owned(),
        program: program.clone(),
        args: arguments,
        env: environment(),
        memory: None,
        start_timeout: START_TIMEOUT,
    };
    let folder = args.data_dir().join(STARTED);
    let lock = lock(&folder)?;
    let started = Supervisor::start(&[config], &sockets, &folder).await;
    let supervisor = started.context(format!("cannot start {}", program.display()))?;
    let listens = supervisor.states().all().values().all(|state| state.up);
    let opened = if listens {
        open(args, plugin, sockets).await
    } else {
        Err(
            CommandError::new(format!("{} does not listen", program.display()))
                .hint("what it says is in the log above"),
        )
    };
    match opened {
        Ok(provider) => Ok((provider, supervisor.holding(lock))),
        Err(error) => {
            supervisor.end().await;
            Err(error)
        }
    }
}

/// Makes a folder and locks it: what is written down there as started is nobody else's.
fn lock(folder: &Path) -> CommandResult<DirLock> {
    DirLock::take(folder).map_err(|error| {
        let shown = folder.display();
        match error {
            JournalError::Locked { .. } => CommandError::new(format!(
                "another `drover plugin serve ec2` or `asg` uses {shown}"
            ))
            .hint("give each a data folder of its own, with --data-dir"),
            error => CommandError::new(format!("cannot use {shown}")).because(error),
        }
    })
}

/// Opens the provider, once the program has described itself.
async fn open(
    args: &PluginServeArgs,
    plugin: &str,
    sockets: Directory,
) -> CommandResult<Arc<dyn Provider>> {
    let place = Place::Named(sockets);
    let ledger = args.data_dir().join(LEDGER);
    let factory = PluginFactory::new(place, ledger, Arc::new(SystemClock));
    let own: Value = args.settings.iter().cloned().collect();
    let settings: Value = [
        ("plugin".to_owned(), Value::from(plugin)),
        ("settings".to_owned(), own),
    ]
    .into_iter()
    .collect();
    let deadline = Instant::now() + DESCRIBE_TIMEOUT;
    loop {
        match factory.open(&name(), &settings) {
            Err(error) if error.class == ErrorClass::Unknown && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            opened => return opened.context(format!("cannot open the provider {plugin}")),
        }
    }
}

/// Returns where the program is.
fn program(args: &PluginServeArgs) -> CommandResult<PathBuf> {
    if let Some(program) = &args.program {
        return std::path::absolute(program).context("cannot tell where the program is");
    }
    ec2_program().ok_or_else(|| {
        CommandError::new(format!("there is no {EC2_PROGRAM}"))
            .hint("build it with `cargo build -p drover-provider-ec2`, or name it with --program")
    })
}

fn environment() -> BTreeMap<String, String> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let is_its = |name: &String| {
        let upper = name.to_ascii_uppercase();
        let named = |its: &&str| upper == **its || its.ends_with('_') && upper.starts_with(*its);
        ENVIRONMENT.iter().any(named)
    };
    variables.filter(|(name, _)| is_its(name)).collect()
}
