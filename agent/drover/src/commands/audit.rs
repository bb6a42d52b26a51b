//! The commands of `drover audit`.

use crate::cli::AuditCommand;
use crate::error::CommandResult;
use crate::ui::Ui;

mod approvals;
mod export;
mod history;
mod sources;
mod verify;

/// Runs one of them.
pub(super) fn run(command: &AuditCommand, ui: Ui) -> CommandResult {
    match command {
        AuditCommand::Verify(args) => verify::run(args, ui),
        AuditCommand::Export(args) => export::run(args, ui),
    }
}
