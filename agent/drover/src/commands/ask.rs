//! Commands that ask the running agent: `freeze`, `unfreeze`, `reconcile`, `logs`.

use std::fs;
use std::io;
use std::path::PathBuf;

use drover_loop::FREEZE_FILE;
use drover_model::counted;

use crate::agent::client::{AgentClient, ClientError};
use crate::agent::protocol::LogsQuery;
use crate::cli::{FreezeArgs, LogsArgs, ReconcileArgs, UnfreezeArgs};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::ui::Ui;

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
        Err(ClientError::NotRunning { .. }) => {
            let file = FreezeFile::of(&settings);
            file.add(group.as_deref())?;
            ui.message(&format!(
                "no agent runs; wrote {}, which holds the next one",
                file.path.display()
            ));
        }
        Err(error) => return Err(needed(error)),
    }
    Ok(Exit::Done)
}

/// Runs `drover unfreeze`: in the file, and tells the agent if one runs.
pub(super) fn unfreeze(args: &UnfreezeArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let group = args.group.as_ref().map(ToString::to_string);
    let had_file = FreezeFile::of(&settings).remove(group.as_deref())?;
    match connect(&settings) {
        Ok(client) => client.unfreeze(group).context("cannot lift the freeze")?,
        Err(ClientError::NotRunning { .. }) if had_file => {}
        Err(error) => return Err(needed(error)),
    }
    ui.message("unfrozen");
    Ok(Exit::Done)
}

/// The file in the data folder that freezes the agent while it exists: the groups by line, an empty
/// file means all of them.
struct FreezeFile {
    path: PathBuf,
}

impl FreezeFile {
    fn of(settings: &Settings) -> Self {
        Self {
            path: settings.data_dir.join(FREEZE_FILE),
        }
    }

    fn read(&self) -> CommandResult<Option<String>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(format!("cannot read {}", self.path.display())),
        }
    }

    fn write(&self, text: &str) -> CommandResult<()> {
        fs::write(&self.path, text).context(format!("cannot write {}", self.path.display()))
    }

    /// Adds a group, or all of them.
    fn add(&self, group: Option<&str>) -> CommandResult<()> {
        match (group, self.read()?) {
            (None, _) => self.write(""),
            (Some(group), None) => self.write(&format!("{group}\n")),
            // Everything is frozen already.
            (Some(_), Some(text)) if text.trim().is_empty() => Ok(()),
            (Some(group), Some(text)) => self.write(&format!("{}\n{group}\n", text.trim_end())),
        }
    }

    /// Takes a group out, or removes the file. Returns whether that changed anything.
    fn remove(&self, group: Option<&str>) -> CommandResult<bool> {
        let Some(text) = self.read()? else {
            return Ok(false);
        };
        let left: Vec<&str> = match group {
            None => Vec::new(),
            Some(group) => text.lines().filter(|line| line.trim() != group).collect(),
        };
        if group.is_some() && left.len() == text.lines().count() {
            return Ok(false);
        }
        // An empty file would freeze everything.
        if left.is_empty() {
            fs::remove_file(&self.path)
                .context(format!("cannot remove {}", self.path.display()))?;
        } else {
            self.write(&format!("{}\n", left.join("\n")))?;
        }
        Ok(true)
    }
}

/// Runs `drover reconcile`.
pub(super) fn reconcile(args: &ReconcileArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let client = connect(&settings).map_err(needed)?;
    if let Some(commit) = &args.accept_rewrite {
        let accepted = client.accept_rewrite(commit);
        accepted.context("the agent does not take that up")?;
    }
    if let Some(commit) = &args.accept_state {
        let accepted = client.accept_state(commit);
        accepted.context("the agent does not take that up")?;
    }
    for group in &args.accept_instances {
        let accepted = client.accept_instances(group);
        accepted.context("the agent does not take that up")?;
    }
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
        "pass {}: {} in {} ms",
        pass.number,
        counted(pass.steps, "step"),
        pass.duration_ms
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
