//! Options that several commands share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use drover_model::{AgentName, FleetName, ProviderType};

use super::values;

/// Where an agent's source, state and data are: flags over `DROVER_*` over the agent's file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SourceOptions {
    /// The agent's file [default: /etc/drover/agent.yaml, where it exists]
    #[arg(
        short,
        long,
        env = "DROVER_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// The source repository: a path or a URL
    #[arg(long, env = "DROVER_SOURCE", value_name = "URL", hide_env = true)]
    pub(crate) source: Option<String>,
    /// The branch to follow [default: main]
    #[arg(long, env = "DROVER_BRANCH", value_name = "BRANCH", hide_env = true)]
    pub(crate) branch: Option<String>,
    /// The folder inside the repository [default: its root]
    #[arg(long, env = "DROVER_PATH", value_name = "FOLDER", hide_env = true)]
    pub(crate) path: Option<String>,
    /// Where the agent keeps its journal and socket [default: /var/lib/drover]
    #[arg(long, env = "DROVER_DATA_DIR", value_name = "DIR", hide_env = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The branch that the recorded state is committed to [default: drover/state]
    #[arg(
        long,
        env = "DROVER_STATE_BRANCH",
        value_name = "BRANCH",
        hide_env = true
    )]
    pub(crate) state_branch: Option<String>,
}

/// Everything that an agent needs to know.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AgentOptions {
    /// Where source, state and data are.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
    /// The agent's name [default: the host's name]
    #[arg(long, env = "DROVER_NAME", value_name = "NAME", hide_env = true)]
    pub(crate) name: Option<AgentName>,
    /// The owner written into every instance's tags [default: the agent's name]
    #[arg(long, env = "DROVER_FLEET", value_name = "NAME", hide_env = true)]
    pub(crate) fleet: Option<FleetName>,
    /// Time between two looks at the source [default: 30s]
    #[arg(long, env = "DROVER_INTERVAL", value_name = "DURATION", hide_env = true,
        value_parser = values::duration)]
    pub(crate) interval: Option<Duration>,
    /// Where processes of the provider type `process` are kept [default: `process` in --data-dir]
    #[arg(long, env = "DROVER_PROCESS_DIR", value_name = "DIR", hide_env = true)]
    pub(crate) process_dir: Option<PathBuf>,
    /// Where to serve health and metrics, or `off` [default: 127.0.0.1:7643]
    #[arg(long, env = "DROVER_LISTEN", value_name = "ADDRESS", hide_env = true,
        value_parser = values::listen)]
    pub(crate) listen: Option<Listen>,
    /// Allow a provider type, e.g. `process`; repeatable [default: all but `process`]
    #[arg(
        long = "allow-provider",
        env = "DROVER_ALLOW_PROVIDER",
        value_name = "TYPE",
        value_delimiter = ',',
        hide_env = true
    )]
    pub(crate) allow_provider: Vec<ProviderType>,
}

/// Where health and metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Nowhere.
    Off,
    /// On this address.
    On(SocketAddr),
}

/// How to list.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListOptions {
    /// How to print the list
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Only what carries these labels, e.g. `env=prod,tier!=db`
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "",
        hide_default_value = true, value_parser = values::selector)]
    pub(crate) selector: values::LabelSelector,
    /// Print again on every change, until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Leave the head of the table out
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table for people.
    Text,
    /// A table with more columns.
    Wide,
    /// One name per line.
    Name,
    /// JSON with stable names.
    Json,
    /// The same as YAML.
    Yaml,
    /// A table in Markdown.
    Markdown,
}
