//! The command line, as a tree of clap types. Parsing only: what a command does is in
//! [`crate::commands`].

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use drover_model::{GroupName, InstanceId, Revision, Timestamp};

mod audit;
mod edit;
mod import;
mod operate;
mod options;
mod plugin;
mod policy;
mod pr;
mod simulate;
mod values;

pub(crate) use audit::{AuditCommand, AuditExportArgs, AuditVerifyArgs, VerifyOptions};
pub(crate) use edit::{EditOptions, ResumeArgs, RollbackArgs, ScaleArgs, SuspendArgs};
pub(crate) use import::{
    DescribeOptions, ImportAsgArgs, ImportCommand, ImportEc2Args, ImportInfrakitArgs, ImportOutput,
    ImportTerraformArgs,
};
pub(crate) use operate::{DecideArgs, KeepArgs, NamedChange, OrderArgs, SignOptions};
pub(crate) use options::{AgentOptions, ListOptions, Listen, Output, SourceOptions};
pub(crate) use plugin::{
    PluginCommand, PluginConformArgs, PluginServeArgs, ReportOutput, ServedType,
};
pub(crate) use policy::{
    Given, PolicyBacktestArgs, PolicyBenchArgs, PolicyCommand, PolicyEvalArgs, PolicyExplainArgs,
    PolicyTestArgs, ValueOutput,
};
pub(crate) use pr::PrArgs;
pub(crate) use simulate::{Fail, Rates, SimulateArgs, SimulateOutput, outage_text, span_text};
pub(crate) use values::{Subject, Until};

/// Keep groups of machines as Git says
///
/// drover pulls a repository, evaluates policies, plans scaling, healing and rolling updates,
/// applies the plan through provider modules, and commits what it did back to Git.
#[derive(Debug, Parser)]
#[command(name = "drover", version, propagate_version = false)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
#[command(max_term_width = 100)]
#[command(
    after_help = "Start with `drover demo`. Exit codes: 0 done, 1 failed or invalid, \
2 changes pending, 3 denied, 4 approval needed, 5 stale plan, 6 partially applied, \
7 timed out, 64 wrong usage."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colour
    #[arg(
        long,
        global = true,
        env = "DROVER_COLOR",
        value_enum,
        default_value_t,
        hide_env = true
    )]
    pub(crate) color: ColorChoice,
    /// Log more: -v changes and holds, -vv decisions, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands, in the order that a new user meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what drover does, on this machine, in under a minute
    Demo(DemoArgs),
    /// Scaffold a configuration repository
    Init(InitArgs),
    /// Write documents for what runs already and something else manages
    #[command(subcommand)]
    Import(ImportCommand),
    /// Check specs, policies and their tests
    Validate(ValidateArgs),
    /// Run the agent
    Run(Box<RunArgs>),
    /// Show what would happen now, or what a pull request would change
    Plan(Box<PlanArgs>),
    /// Show the rollout that a change would cause, before it is merged
    Simulate(Box<SimulateArgs>),
    /// List groups, instances, policies or providers
    Get(Box<GetArgs>),
    /// Show everything known about a group or an instance
    Describe(DescribeArgs),
    /// Show the audit log
    Log(LogArgs),
    /// Show the chain behind a hold or an instance: clause, values, commit, author
    Why(WhyArgs),
    /// Compute recorded plans again and compare them byte for byte
    Replay(ReplayArgs),
    /// Check the audit log, and hand it to other programs
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print what an instance printed
    Logs(LogsArgs),
    /// Follow a rolling update
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Set a group's size by a commit on the source branch
    Scale(ScaleArgs),
    /// Switch activities of a group off by a commit on the source branch
    Suspend(SuspendArgs),
    /// Switch suspended activities on again by a commit on the source branch
    Resume(ResumeArgs),
    /// Go back to the last good template of a group by a commit on the source branch
    Rollback(RollbackArgs),
    /// Keep the plan of a pull request in a comment there, with a commit status
    Pr(PrArgs),
    /// Approve a change of a group by a signed operation on the branch drover/ops
    Approve(DecideArgs),
    /// Reject a change of a group by a signed operation on the branch drover/ops
    Reject(DecideArgs),
    /// Let a rollout go past the canaries, the checkpoint or the bake time that it waits at
    Promote(DecideArgs),
    /// Let a rollout that stopped after failures go on
    Retry(DecideArgs),
    /// Replace an instance, although it looks well
    Replace(OrderArgs),
    /// Restart an instance in place, once
    Restart(OrderArgs),
    /// Let an instance go first when its group gets smaller
    Yield(OrderArgs),
    /// Keep an instance: nothing ends it for a time
    Keep(KeepArgs),
    /// Stop every new step of the agent at once, without Git
    Freeze(FreezeArgs),
    /// Lift a freeze
    Unfreeze(UnfreezeArgs),
    /// Start a pass now and wait for it
    Reconcile(ReconcileArgs),
    /// Work with policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Work with plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print the JSON Schema of a document kind
    Schema(SchemaArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the version
    Version(VersionArgs),
    /// Supervise one process of the process provider
    #[command(hide = true)]
    Shim(HiddenArgs),
    /// Serve the demo's page
    #[command(hide = true)]
    DemoServer(HiddenArgs),
}

/// Arguments of a hidden command, which parses them itself.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct HiddenArgs {
    /// Passed on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<String>,
}

/// Arguments of `drover demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave everything running and say how to look around
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Arguments of `drover init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder, made if it does not exist
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// Arguments of `drover validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// A folder, a file or a Git repository
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Check this commit or branch of the repository instead of the files
    #[arg(long = "ref", value_name = "REF")]
    pub(crate) reference: Option<String>,
    /// The agent's file: its plugins are asked what they take
    #[arg(
        short,
        long,
        env = "DROVER_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// How to print the mistakes
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// Arguments of `drover run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Where the agent's settings come from.
    #[command(flatten)]
    pub(crate) agent: AgentOptions,
    /// Make one pass and end
    #[arg(long, conflicts_with = "until_converged")]
    pub(crate) once: bool,
    /// End when every group is converged, or waits only for a person
    #[arg(long)]
    pub(crate) until_converged: bool,
    /// Give up `--until-converged` after this long
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// Make full passes without changing anything at a provider or in Git
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take up what the state branch has at this commit, its tip, although it is not signed by this agent
    #[arg(long, value_name = "COMMIT", value_parser = values::commit)]
    pub(crate) accept_state: Option<Revision>,
    /// Take the instances of this group for its own although nothing is recorded of it: another agent with the same fleet may have made them
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub(crate) accept_instances: Vec<GroupName>,
    /// How to write the log
    #[arg(
        long,
        env = "DROVER_LOG_FORMAT",
        value_enum,
        default_value_t,
        hide_env = true
    )]
    pub(crate) log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line per event, for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Arguments of `drover plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Only this group
    pub(crate) group: Option<GroupName>,
    /// Where the agent's settings come from.
    #[command(flatten)]
    pub(crate) agent: AgentOptions,
    /// Compare with this commit, branch or folder instead of what is recorded
    #[arg(long, value_name = "REF|DIR", requires = "head")]
    pub(crate) base: Option<String>,
    /// What is proposed: a commit, a branch, or a folder as it is, such as `./`
    #[arg(long, value_name = "REF|DIR", requires = "base")]
    pub(crate) head: Option<String>,
    /// How to print the plan
    #[arg(short, long, value_enum, default_value_t = PlanOutput::Text)]
    pub(crate) output: PlanOutput,
    /// Exit with 2 when something would change
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For a pull request's comment.
    Markdown,
}

/// Arguments of `drover get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to list
    #[arg(
        value_enum,
        value_name = "groups|instances|policies|providers|orphans|metrics"
    )]
    pub(crate) kind: GetKind,
    /// Only these: names of groups, `GROUP/INSTANCE`, policies or providers
    pub(crate) names: Vec<String>,
    /// How to list.
    #[command(flatten)]
    pub(crate) list: ListOptions,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GetKind {
    /// Groups.
    #[value(alias = "group", alias = "g")]
    Groups,
    /// Instances.
    #[value(alias = "instance", alias = "i")]
    Instances,
    /// Policies and where they apply.
    #[value(alias = "policy", alias = "p")]
    Policies,
    /// Provider documents.
    #[value(alias = "provider")]
    Providers,
    /// Instances that belong to no group, as the running agent sees them.
    #[value(alias = "orphan")]
    Orphans,
    /// Metrics that policies read, as the running agent was told.
    #[value(alias = "metric", alias = "m")]
    Metrics,
}

/// Arguments of `drover describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// `GROUP`, `GROUP/INSTANCE`, `group NAME` or `instance NAME`
    #[arg(required = true, num_args = 1..=2, value_name = "NAME")]
    pub(crate) name: Vec<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Only this group
    pub(crate) group: Option<GroupName>,
    /// How many entries at most, the newest first
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: usize,
    /// Only the subject lines
    #[arg(long)]
    pub(crate) oneline: bool,
    /// How to print them
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A group (`web`) or an instance (`web-7` or `web/web-7`)
    pub(crate) name: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Only this group
    pub(crate) group: Option<GroupName>,
    /// The commit of the state branch, instead of the newest
    #[arg(long, value_name = "REV")]
    pub(crate) commit: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The instance, as `GROUP/INSTANCE` or its id
    pub(crate) instance: Subject,
    /// How many lines, from the end
    #[arg(short = 'n', long, default_value_t = 200, value_name = "N")]
    pub(crate) lines: usize,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Commands of `drover rollout`.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show how far a rolling update has come
    Status(RolloutStatusArgs),
}

/// Arguments of `drover rollout status`.
#[derive(Debug, Args)]
pub(crate) struct RolloutStatusArgs {
    /// The group
    pub(crate) group: GroupName,
    /// Follow until it is complete or stopped
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Give up `--watch` after this long
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover freeze`.
#[derive(Debug, Args)]
pub(crate) struct FreezeArgs {
    /// Only this group. Otherwise every group
    pub(crate) group: Option<GroupName>,
    /// Why, for everyone who wonders
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: Option<String>,
    /// Where the agent is.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover unfreeze`.
#[derive(Debug, Args)]
pub(crate) struct UnfreezeArgs {
    /// Only this group. Otherwise the freeze of every group
    pub(crate) group: Option<GroupName>,
    /// Where the agent is.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover reconcile`.
#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    /// Follow this commit although it does not descend from the one in force. Groups that are missing from it stay, and ask
    #[arg(long, value_name = "COMMIT", value_parser = values::commit)]
    pub(crate) accept_rewrite: Option<Revision>,
    /// Take up what the state branch has at this commit, its tip, although it is not signed by the agent, whose data are lost
    #[arg(long, value_name = "COMMIT", value_parser = values::commit)]
    pub(crate) accept_state: Option<Revision>,
    /// Take the instances of this group for its own although nothing is recorded of it: another agent with the same fleet may have made them
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub(crate) accept_instances: Vec<GroupName>,
    /// Give up waiting after this long
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// Where the agent is.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Fleet, Group, Policy, Binding, Provider, MetricSource or Calendar. Otherwise all of them in one object
    #[arg(value_parser = values::kind)]
    pub(crate) kind: Option<drover_model::Kind>,
}

/// Arguments of `drover completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `drover version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

impl Until {
    /// Returns the moment so long before `now`.
    pub(crate) fn ago(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(time) => *time,
            Self::After(duration) => now.checked_sub(*duration).unwrap_or(Timestamp::MIN),
        }
    }

    /// Returns the moment, `now` being the time.
    pub(crate) fn at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(time) => *time,
            Self::After(duration) => now + *duration,
        }
    }
}

impl Subject {
    /// Returns the instance's id, if the subject is an instance.
    pub(crate) fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Group(_) => None,
            Self::Instance(id) => Some(id),
        }
    }
}

#[cfg(test)]
mod tests;
