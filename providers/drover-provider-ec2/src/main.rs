//! `drover-provider-ec2`: serves the EC2 provider on a unix socket until it is told to stop, or describes once what
//! others made.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use drover_model::Timestamp;
use drover_provider::Clock;
use drover_provider_ec2::{Ec2Factory, Question, Reach, SCALING_GROUPS, describe};
use drover_provider_plugin::{Directory, ProviderService, Served, ServedSocket};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long a socket may take to be let go of.
const LET_GO: Duration = Duration::from_secs(1);

/// What is logged where DROVER_LOG says nothing. The SDK's warning of credentials that it does not find is a dump of its own types,
/// and the call that fails says the same.
const LOG: &str = "warn,aws_config=error";

/// The name of the socket where none is given.
const NAME: &str = "ec2";

/// Serve the EC2 provider of drover on a unix socket
///
/// The agent starts it (`plugins.start` in its file). Credentials are found as every AWS SDK finds them:
/// environment, configuration files, web identity, container, instance metadata.
#[derive(Debug, Parser)]
#[command(name = "drover-provider-ec2", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// The socket; the agent says it in DROVER_PLUGIN_SOCKET
    #[arg(long, env = "DROVER_PLUGIN_SOCKET")]
    socket: Option<PathBuf>,

    #[command(flatten)]
    reach: ReachArgs,
}

#[derive(Debug, Args)]
struct ReachArgs {
    /// Where EC2 is, for emulators and private endpoints
    #[arg(long, value_name = "URL", global = true)]
    endpoint: Option<String>,

    /// Where EC2 Auto Scaling is, where it is not behind `--endpoint` too
    #[arg(long, value_name = "URL", global = true)]
    scaling_endpoint: Option<String>,

    /// Percent of the account's EC2 API limits to take at most
    #[arg(long, value_name = "PERCENT", global = true, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    limit_share: u8,

    /// Let documents say `metadata: {tokens: optional}`, so that instances answer IMDSv1
    #[arg(long, global = true)]
    allow_imdsv1: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print instances that others made as JSON, for `drover import`
    Describe(DescribeArgs),
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// A tag that the instances have; of several, all
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag, required_unless_present = "asg", conflicts_with = "asg")]
    tags: Vec<(String, String)>,

    /// The Auto Scaling group that they are in
    #[arg(long, value_name = "NAME")]
    asg: Option<String>,

    /// The region; else AWS_REGION or AWS_DEFAULT_REGION
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    /// A profile of the AWS configuration files
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// Reads `KEY=VALUE`. The value may be empty, and may hold `=`.
fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("a tag is KEY=VALUE".to_owned()),
    }
}

/// The system's clock.
#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("DROVER_LOG").unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if that fails.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> io::Result<()> {
    // One thread: it waits for the network, and the agent bounds its address space.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reach = Reach {
        endpoint: cli.reach.endpoint,
        scaling_endpoint: cli.reach.scaling_endpoint,
        limit_share: cli.reach.limit_share,
        allow_imdsv1: cli.reach.allow_imdsv1,
        credentials: None,
    };
    match cli.command {
        None => runtime.block_on(serve(cli.socket, reach)),
        Some(Command::Describe(args)) => runtime.block_on(print(args, reach)),
    }
}

/// Describes what others made.
async fn print(args: DescribeArgs, reach: Reach) -> io::Result<()> {
    let of_environment = |name| std::env::var(name).ok().filter(|region| !region.is_empty());
    let region = args.region;
    let region = region.or_else(|| of_environment("AWS_REGION"));
    let region = region.or_else(|| of_environment("AWS_DEFAULT_REGION"));
    let region = region.ok_or_else(|| {
        io::Error::other("which region? say --region, or set AWS_REGION: profiles are not asked")
    })?;
    let question = if let Some(name) = args.asg {
        Question::ScalingGroup(name)
    } else {
        let mut tags = BTreeMap::new();
        for (key, value) in args.tags {
            if tags.insert(key.clone(), value).is_some() {
                return Err(io::Error::other(format!("--tag {key} is there twice")));
            }
        }
        Question::Tags(tags)
    };
    let described = describe(reach, &region, args.profile, &question).await;
    let text = described.and_then(|described| described.to_json());
    let text = text.map_err(io::Error::other)?;
    writeln!(io::stdout(), "{text}")
}

async fn serve(socket: Option<PathBuf>, reach: Reach) -> io::Result<()> {
    let path = socket.unwrap_or_else(|| {
        let folder = Directory::of_environment(|name| std::env::var_os(name));
        folder.path().join(NAME)
    });
    let factory = Ec2Factory::new(reach, Arc::new(SystemClock));
    let groups = Arc::new(factory.scaling_groups());
    let service = ProviderService::new(Arc::new(factory)).with_subtype(SCALING_GROUPS, groups);
    let served = Served::new(vec![Box::new(service)]);
    let socket = bind(&path).await.map_err(|error| {
        let message = format!("cannot serve on {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        never = served.serve(&socket) => match never {},
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
