//! What the commands do. Each module is one command or a family.

use drover_model::{ApprovalVerdict, GroupName, InstanceId, OrderVerb};

use crate::cli::{Command, RolloutCommand, Subject};
use crate::error::{CommandError, CommandResult};
use crate::snapshot::Snapshot;
use crate::ui::Ui;

pub(crate) use init::shell_quoted;
pub(crate) use log::entries;
pub(crate) use tools::VERSION;

pub(crate) mod ask;
mod audit;
mod describe;
mod edit;
mod get;
mod import;
mod init;
mod log;
mod operate;
mod plan;
mod plugin;
mod policy;
mod pr;
mod replay;
mod rollout;
mod simulate;
mod tools;
mod validate;
mod why;

/// Runs a command.
pub(crate) fn run(command: &Command, ui: Ui) -> CommandResult {
    match command {
        Command::Demo(args) => crate::demo::run(args, ui),
        Command::Init(args) => init::run(args, ui),
        Command::Import(command) => import::run(command, ui),
        Command::Validate(args) => validate::run(args, ui),
        Command::Run(args) => crate::agent::run(args, ui),
        Command::Plan(args) => plan::run(args, ui),
        Command::Simulate(args) => simulate::run(args, ui),
        Command::Get(args) => get::run(args, ui),
        Command::Describe(args) => describe::run(args, ui),
        Command::Log(args) => log::run(args, ui),
        Command::Why(args) => why::run(args, ui),
        Command::Replay(args) => replay::run(args, ui),
        Command::Audit(command) => audit::run(command, ui),
        Command::Logs(args) => ask::logs(args, ui),
        Command::Rollout(RolloutCommand::Status(args)) => rollout::status(args, ui),
        Command::Scale(args) => edit::scale(args, ui),
        Command::Suspend(args) => edit::suspend(args, ui),
        Command::Resume(args) => edit::resume(args, ui),
        Command::Rollback(args) => edit::rollback(args, ui),
        Command::Pr(args) => pr::run(args, ui),
        Command::Approve(args) => operate::decide(args, ApprovalVerdict::Approve, ui),
        Command::Reject(args) => operate::decide(args, ApprovalVerdict::Reject, ui),
        Command::Promote(args) => operate::decide(args, ApprovalVerdict::Promote, ui),
        Command::Retry(args) => operate::decide(args, ApprovalVerdict::Retry, ui),
        Command::Replace(args) => operate::order_of(args, OrderVerb::Replace, ui),
        Command::Restart(args) => operate::order_of(args, OrderVerb::Restart, ui),
        Command::Yield(args) => operate::order_of(args, OrderVerb::Yield, ui),
        Command::Keep(args) => operate::keep(args, ui),
        Command::Freeze(args) => ask::freeze(args, ui),
        Command::Unfreeze(args) => ask::unfreeze(args, ui),
        Command::Reconcile(args) => ask::reconcile(args, ui),
        Command::Policy(command) => policy::run(command, ui),
        Command::Plugin(command) => plugin::run(command, ui),
        Command::Schema(args) => tools::schema(args, ui),
        Command::Completions(args) => tools::completions(args, ui),
        Command::Version(args) => tools::version(args, ui),
        // Dispatched before the command line is parsed: see `crate::main`.
        Command::Shim(_) | Command::DemoServer(_) => {
            Err(CommandError::usage("this command is drover's own"))
        }
    }
}

/// Tells on stderr what a reader should know about the state as a whole.
fn note(snapshot: &Snapshot, ui: Ui) {
    for note in snapshot.notes() {
        ui.message(&format!("note: {note}"));
    }
}

/// Finds out what a name means: `web-7` may be a group as well as an instance of `web`.
fn find_subject(name: &str, snapshot: &Snapshot) -> CommandResult<Subject> {
    if let Some(group) = existing_group(name, snapshot) {
        return Ok(Subject::Group(group));
    }
    let subject: Subject = name.parse().map_err(CommandError::usage)?;
    // A name that is neither is most likely a group's, unless its group exists.
    match &subject {
        Subject::Instance(id) if !name.contains('/') && !has_group(id, snapshot) => {
            GroupName::parse(name).map(Subject::Group).or(Ok(subject))
        }
        _ => Ok(subject),
    }
}

fn existing_group(name: &str, snapshot: &Snapshot) -> Option<GroupName> {
    let name = GroupName::parse(name).ok()?;
    snapshot.groups.contains_key(&name).then_some(name)
}

fn has_group(id: &InstanceId, snapshot: &Snapshot) -> bool {
    snapshot.groups.contains_key(id.group())
}
