//! Arguments of the commands of `drover plugin`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use drover_model::Value;

use super::{SourceOptions, values};
use crate::settings::DEFAULT_DATA_DIR;

/// Commands of `drover plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Check whether a plugin keeps the provider contract
    Conform(PluginConformArgs),
    /// Offer a provider or a flavor of drover's to InfraKit, and a provider to other agents
    Serve(PluginServeArgs),
}

/// Arguments of `drover plugin serve`.
#[derive(Debug, Args)]
pub(crate) struct PluginServeArgs {
    /// What to offer
    #[arg(value_enum)]
    pub(crate) type_: ServedType,
    /// The socket [default: the type's name in the folder where InfraKit looks for plugins]
    #[arg(long, value_name = "SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Where instances and their tags are kept, or the agent's for `group` [default: /var/lib/drover]
    #[arg(long, env = "DROVER_DATA_DIR", value_name = "DIR", hide_env = true)]
    data_dir: Option<PathBuf>,
    /// A setting of the provider as InfraKit's `Instance` has it, e.g. `bootTime=1s`; repeatable. With `Provider/1`, each Provider document has its own
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = values::setting)]
    pub(crate) settings: Vec<(String, Value)>,
    /// The agent's file, for `group` and for what containers may have [default: /etc/drover/agent.yaml, where it exists]
    #[arg(
        short,
        long,
        env = "DROVER_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// The private ssh key that `group` signs its commits with, and operations, to end instances by their handles [default: `key` of the agent's file]
    #[arg(long, env = "DROVER_KEY", value_name = "FILE", hide_env = true)]
    key: Option<PathBuf>,
    /// A file with the passphrase of --key
    #[arg(long, value_name = "FILE", requires = "key")]
    key_passphrase_file: Option<PathBuf>,
    /// How long these operations count, at most 720h [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) expires: Option<Duration>,
    /// The program of `ec2` [default: drover-provider-ec2 beside this one, or in PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) program: Option<PathBuf>,
    /// Arguments of that program
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

impl PluginServeArgs {
    /// Returns where instances and their tags are kept.
    pub(crate) fn data_dir(&self) -> &Path {
        let written = self.data_dir.as_deref();
        written.unwrap_or_else(|| Path::new(DEFAULT_DATA_DIR))
    }

    /// Returns the key that operations are signed with, and the file with its passphrase.
    pub(crate) fn key_file(&self) -> Option<(PathBuf, Option<PathBuf>)> {
        let key = self.key.clone();
        key.map(|key| (key, self.key_passphrase_file.clone()))
    }

    /// Returns where the agent is whose groups are served.
    pub(crate) fn source(&self) -> SourceOptions {
        SourceOptions {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            ..SourceOptions::default()
        }
    }
}

/// What can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServedType {
    /// Processes of this machine.
    Process,
    /// Containers of Docker or Podman.
    Docker,
    /// Machines of EC2, by the program drover-provider-ec2.
    Ec2,
    /// Auto Scaling groups, each as one instance, by the same program.
    Asg,
    /// Instances in the memory of the serving process.
    Simulated,
    /// The flavor of init lines, tags and attachments.
    Vanilla,
    /// The flavor of user data in parts.
    #[value(name = "cloudInit")]
    CloudInit,
    /// The groups of a running agent.
    Group,
}

impl ServedType {
    /// Returns its name among the plugins of the program drover-provider-ec2. None: it is none of them.
    pub(crate) fn of_ec2_program(self) -> Option<&'static str> {
        match self {
            Self::Ec2 => Some("ec2"),
            Self::Asg => Some("ec2/asg"),
            Self::Process
            | Self::Docker
            | Self::Simulated
            | Self::Vanilla
            | Self::CloudInit
            | Self::Group => None,
        }
    }

    /// Returns its name, which is that of its socket too.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Ec2 => "ec2",
            Self::Asg => "asg",
            Self::Simulated => "simulated",
            Self::Vanilla => "vanilla",
            Self::CloudInit => "cloudInit",
            Self::Group => "group",
        }
    }
}

/// Arguments of `drover plugin conform`.
#[derive(Debug, Args)]
pub(crate) struct PluginConformArgs {
    /// The plugin: a socket, or a name as Provider documents have it
    pub(crate) plugin: String,
    /// Which of a socket's objects, where it has several
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) subtype: String,
    /// Properties with which an instance runs until it is ended, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = values::json_map)]
    pub(crate) properties: Value,
    /// Properties that the plugin must refuse, as JSON
    #[arg(long, value_name = "JSON", value_parser = values::json_map)]
    pub(crate) invalid: Option<Value>,
    /// Properties with which an instance soon ends by itself, as JSON
    #[arg(long, value_name = "JSON", value_parser = values::json_map)]
    pub(crate) exiting: Option<Value>,
    /// Properties with which an instance runs and is never healthy, as JSON
    #[arg(long, value_name = "JSON", value_parser = values::json_map)]
    pub(crate) unhealthy: Option<Value>,
    /// Properties with which an instance prints two lines or more and then nothing, as JSON
    #[arg(long, value_name = "JSON", value_parser = values::json_map)]
    pub(crate) printing: Option<Value>,
    /// A shell command that ends an instance which was released: `$DROVER_REF` is its handle
    #[arg(long, value_name = "COMMAND")]
    pub(crate) end_released: Option<String>,
    /// A setting of the Provider document, e.g. `visibility=10s`, or `settings={...}` for the plugin's own, as JSON; repeatable
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = values::setting)]
    pub(crate) settings: Vec<(String, Value)>,
    /// Make this check only, by the name that the report has; repeatable
    #[arg(long = "check", value_name = "NAME")]
    pub(crate) checks: Vec<String>,
    /// How long any change of state is waited for, looks included
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(crate) patience: Duration,
    /// The agent's file, for `plugins.dir` [default: /etc/drover/agent.yaml, where it exists]
    #[arg(
        short,
        long,
        env = "DROVER_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t = ReportOutput::Text)]
    pub(crate) output: ReportOutput,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}
