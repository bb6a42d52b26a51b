//! `drover-provider-ec2`: serves the EC2 provider on a unix socket until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use drover_model::Timestamp;
use drover_provider::Clock;
use drover_provider_ec2::{Ec2Factory, Reach};
use drover_provider_plugin::{Directory, ProviderService, Served, ServedSocket};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long a socket may take to be let go of.
const LET_GO: Duration = Duration::from_secs(1);

/// The name of the socket where none is given.
const NAME: &str = "ec2";

/// Serve the EC2 provider of drover on a unix socket
///
/// The agent starts it (`plugins.start` in its file). Credentials are found as every AWS SDK finds them:
/// environment, configuration files, web identity, container, instance metadata.
#[derive(Debug, Parser)]
#[command(name = "drover-provider-ec2", version)]
struct Args {
    /// The socket; the agent says it in DROVER_PLUGIN_SOCKET
    #[arg(long, env = "DROVER_PLUGIN_SOCKET")]
    socket: Option<PathBuf>,

    /// Where EC2 is, for emulators and private endpoints
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// Percent of the account's EC2 API limits to take at most
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit_share: u8,
}

/// The system's clock.
#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("DROVER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    // One thread: it waits for the network, and the agent bounds its address space.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: Args) -> io::Result<()> {
    let path = args.socket.unwrap_or_else(|| {
        let folder = Directory::of_environment(|name| std::env::var_os(name));
        folder.path().join(NAME)
    });
    let reach = Reach {
        endpoint: args.endpoint,
        limit_share: args.limit_share,
        credentials: None,
    };
    let factory = Ec2Factory::new(reach, Arc::new(SystemClock));
    let served = Served::new(vec![Box::new(ProviderService::new(Arc::new(factory)))]);
    let socket = bind(&path).await.map_err(|error| {
        let message = format!("cannot serve on {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = served.serve(&socket) => ended,
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Listens on the socket. One that was killed a moment ago may not have let go of it.
async fn bind(path: &std::path::Path) -> io::Result<ServedSocket> {
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
