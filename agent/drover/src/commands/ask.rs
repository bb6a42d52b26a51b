//! Commands that ask the running agent: `freeze`, `unfreeze`, `reconcile`, `logs`.

use std::fs;
use std::io;

use crate::agent::client::{AgentClient, ClientError};
use crate::agent::protocol::LogsQuery;
use crate::cli::{FreezeArgs, LogsArgs, ReconcileArgs, UnfreezeArgs};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::ui::Ui;

/// The file in the data folder that freezes the agent while it exists.
pub(crate) const FREEZE_FILE: &str = "FREEZE";

fn connect(settings: &Settings) -> Result<AgentClient, ClientError> {
    AgentClient::connect(&settings.data_dir)
}

fn needed(error: ClientError) -> CommandError {
    let not_running = matches!(error, ClientError::NotRunning { .. });
    let failed = CommandError::new("cannot ask the agent").because(error);
    if not_running {
        failed.hint("start it with `drover run`, or name its --config or --data-dir")
    } else {
        failed
    }
}

/// Runs `drover freeze`: through the agent, else by the file that the next agent heeds.
pub(super) fn freeze(args: &FreezeArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let group = args.group.as_ref().map(ToString::to_string);
    let what = group.as_deref().unwrap_or("every group");
    match connect(&settings) {
        Ok(client) => {
            let froze = client.freeze(args.because.clone(), group.clone());
            froze.context(format!("cannot freeze {what}"))?;
            ui.message(&format!(
                "frozen: {what} takes no new step until `drover unfreeze`"
            ));
        }
        Err(ClientError::NotRunning { .. }) if group.is_none() => {
            let path = settings.data_dir.join(FREEZE_FILE);
            let because = args.because.as_deref().unwrap_or("frozen by a person");
            fs::write(&path, format!("{because}\n"))
                .context(format!("cannot write {}", path.display()))?;
            ui.message(&format!(
                "no agent runs; wrote {}, which holds the next one",
                path.display()
            ));
        }
        Err(error) => return Err(needed(error)),
    }
    Ok(Exit::Done)
}

/// Runs `drover unfreeze`: removes the file, and tells the agent if one runs.
pub(super) fn unfreeze(args: &UnfreezeArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let group = args.group.as_ref().map(ToString::to_string);
    let path = settings.data_dir.join(FREEZE_FILE);
    let had_file = match &group {
        Some(_) => false,
        None => match fs::remove_file(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                return Err(error).context(format!("cannot remove {}", path.display()));
            }
        },
    };
    match connect(&settings) {
        Ok(client) => client.unfreeze(group).context("cannot lift the freeze")?,
        Err(ClientError::NotRunning { .. }) if had_file => {}
        Err(error) => return Err(needed(error)),
    }
    ui.message("unfrozen");
    Ok(Exit::Done)
}

/// Runs `drover reconcile`.
pub(super) fn reconcile(args: &ReconcileArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let client = connect(&settings).map_err(needed)?;
    let pass = client.reconcile(args.timeout).map_err(|error| {
        let exit = if error.is_timeout() {
            Exit::TimedOut
        } else {
            Exit::Failed
        };
        CommandError::new("the pass did not end")
            .because(error)
            .exit(exit)
    })?;
    if let Some(error) = pass.error {
        return Err(CommandError::new(format!("pass {} failed", pass.number)).because(error));
    }
    ui.message(&format!(
        "pass {}: {} steps in {} ms",
        pass.number, pass.steps, pass.duration_ms
    ));
    Ok(Exit::Done)
}

/// Runs `drover logs`.
pub(super) fn logs(args: &LogsArgs, ui: Ui) -> CommandResult {
    let Some(id) = args.instance.instance() else {
        return Err(CommandError::usage("name an instance, such as web/web-7"));
    };
    let settings = Settings::of_source(&args.source)?;
    let client = connect(&settings).map_err(needed)?;
    let query = LogsQuery {
        instance: id.to_string(),
        lines: args.lines,
    };
    let text = client
        .logs(&query)
        .context(format!("cannot read what {id} printed"))?;
    ui.result(&text)?;
    Ok(Exit::Done)
}
