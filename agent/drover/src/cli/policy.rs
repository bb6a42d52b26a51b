//! Arguments of the commands of `drover policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use drover_model::{DecisionPoint, GroupName, InstanceId, PolicyName, Reason};

use super::{Output, SourceOptions, Until, values};

/// Commands of `drover policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Run the test tables of the policies, and say what they cover
    Test(PolicyTestArgs),
    /// Evaluate an expression over given values, or over the fleet as it stands
    Eval(PolicyEvalArgs),
    /// Show what a policy decides, with the value of every part of its expressions
    Explain(PolicyExplainArgs),
    /// Measure what policies take: time, steps, and how close that is to their budget
    Bench(PolicyBenchArgs),
    /// Show what policies would have decided otherwise in recorded passes
    Backtest(PolicyBacktestArgs),
}

/// Arguments of `drover policy backtest`.
#[derive(Debug, Args)]
pub(crate) struct PolicyBacktestArgs {
    /// How far back: a duration such as 36h or 30d, or a time (RFC 3339)
    #[arg(long, value_name = "WHEN", default_value = "30d", value_parser = values::since)]
    pub(crate) since: Until,
    /// The policies and bindings: a folder, or a file with some policies, which are then compared
    /// alone
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(crate) policy: PathBuf,
    /// Only this group
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<GroupName>,
    /// As though every binding were at `deny`
    #[arg(long)]
    pub(crate) as_deny: bool,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = ValueOutput::Text)]
    pub(crate) output: ValueOutput,
}

/// Arguments of `drover policy bench`.
#[derive(Debug, Args)]
pub(crate) struct PolicyBenchArgs {
    /// A folder, a file or a Git repository
    #[arg(default_value = ".", value_name = "PATH")]
    pub(crate) documents: PathBuf,
    /// Groups of the synthetic fleet
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) groups: u16,
    /// Instances of each of its groups
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) instances: u32,
    /// Decide about each group so many times
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) repeat: u16,
    /// Decide about the fleet as it stands, instead of a synthetic one
    #[arg(long, conflicts_with_all = ["groups", "instances"])]
    pub(crate) live: bool,
    /// Fail when a policy takes more than this share of its budget
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) max_budget: Option<u8>,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// What an expression is evaluated with.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// A YAML or JSON file of variables, as a test's `given` sets them
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["group", "reason", "instance", "zone"])]
    pub(crate) file: Option<PathBuf>,
    /// The group, as it stands; may be left out where there is only one
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<GroupName>,
    /// The reason why an instance would be taken out of service [default: update]
    #[arg(long, value_parser = values::reason)]
    pub(crate) reason: Option<Reason>,
    /// The instance in question [default: the first]
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<InstanceId>,
    /// The zone in question [default: the first]
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// How a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ValueOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Arguments of `drover policy eval`.
#[derive(Debug, Args)]
pub(crate) struct PolicyEvalArgs {
    /// A folder, a file or a Git repository with the group's document, instead of the one in force
    #[arg(value_name = "PATH")]
    pub(crate) documents: Option<PathBuf>,
    /// The expression
    #[arg(short, long, value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) expression: String,
    /// Check it as an expression of a policy of this decision point. Otherwise it has the variables
    /// that every decision point has
    #[arg(long, value_parser = values::point)]
    pub(crate) point: Option<DecisionPoint>,
    /// What it is evaluated with.
    #[command(flatten)]
    pub(crate) given: Given,
    /// How to print the value
    #[arg(short, long, value_enum, default_value_t = ValueOutput::Text)]
    pub(crate) output: ValueOutput,
}

/// Arguments of `drover policy explain`.
#[derive(Debug, Args)]
pub(crate) struct PolicyExplainArgs {
    /// The policy's name
    pub(crate) policy: PolicyName,
    /// A folder, a file or a Git repository with policies, bindings and groups. Otherwise those in
    /// force; with --file the folder `.`
    #[arg(value_name = "PATH")]
    pub(crate) documents: Option<PathBuf>,
    /// What it is evaluated with.
    #[command(flatten)]
    pub(crate) given: Given,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = ValueOutput::Text)]
    pub(crate) output: ValueOutput,
}

/// Arguments of `drover policy test`.
#[derive(Debug, Args)]
pub(crate) struct PolicyTestArgs {
    /// A folder, a file or a Git repository
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// List every clause that no test covers
    #[arg(long)]
    pub(crate) coverage: bool,
    /// Fail when the tests of a policy cover less than this
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) min_coverage: Option<u8>,
    /// How to print the results
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}
