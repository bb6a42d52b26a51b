//! `drover policy`: tools for who writes policies.

use std::io::IsTerminal as _;

use crate::check::Checked;
use crate::cli::PolicyCommand;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult};
use crate::ui::Ui;

mod backtest;
mod bench;
mod eval;
mod explain;
mod live;
mod synthetic;
mod test;

pub(super) use live::commit_facts;

/// Runs a command.
pub(super) fn run(command: &PolicyCommand, ui: Ui) -> CommandResult {
    match command {
        PolicyCommand::Test(args) => test::run(args, ui),
        PolicyCommand::Eval(args) => eval::run(args, ui),
        PolicyCommand::Explain(args) => explain::run(args, ui),
        PolicyCommand::Bench(args) => bench::run(args, ui),
        PolicyCommand::Backtest(args) => backtest::run(args, ui),
    }
}

/// Fails, after telling every mistake of the policies, when there is one.
fn insist_on_valid(documents: &Documents, checked: &Checked, ui: Ui) -> CommandResult<()> {
    let mistakes = checked.of_policies(documents);
    if mistakes.is_empty() {
        return Ok(());
    }
    let source = |path: &str| documents.texts.get(path).cloned();
    let color = std::io::stderr().is_terminal() && ui.err_color();
    ui.message(&drover_spec::render(&mistakes, &source, color));
    let error = CommandError::new("the policies are not valid");
    Err(error.hint("`drover validate` shows every mistake"))
}
