//! `drover plugin`: tools for who writes and runs plugins.

use crate::cli::PluginCommand;
use crate::error::CommandResult;
use crate::ui::Ui;

mod conform;
mod serve;

/// Runs a command.
pub(super) fn run(command: &PluginCommand, ui: Ui) -> CommandResult {
    match command {
        PluginCommand::Conform(args) => conform::run(args, ui),
        PluginCommand::Serve(args) => serve::run(args, ui),
    }
}
