//! `drover replay`: computes recorded plans again and compares them with what was recorded.

use drover_git::Oid;
use drover_loop::{RecordedFacts, ReplayError, Replayed};
use drover_model::GroupName;
use serde::Serialize;

use crate::cli::{Output, ReplayArgs};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;
use crate::snapshot::{GROUPS_FOLDER, Repository};
use crate::ui::Ui;
use crate::view::List;

/// Where the inputs of the latest plans are on the state branch.
pub(super) const INPUTS_FOLDER: &str = "inputs";

/// Returns what the newest recorded plan of a group rests on. None: none is recorded.
pub(super) fn inputs(
    repository: &Repository,
    group: &GroupName,
) -> CommandResult<Option<RecordedFacts>> {
    let Some(tip) = repository.state_tip()? else {
        return Ok(None);
    };
    let path = format!("{INPUTS_FOLDER}/{group}.json");
    let file = repository.mirror.recorded(tip, &path);
    let Some((_, bytes)) = file.context(format!("cannot read {path}"))? else {
        return Ok(None);
    };
    let facts = RecordedFacts::read(&String::from_utf8_lossy(&bytes));
    facts
        .context(format!("cannot read {path} of {}", tip.short()))
        .map(Some)
}

/// What became of one group's plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    group: String,
    commit: String,
    result: &'static str,
    steps: Option<usize>,
    difference: Option<String>,
    error: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &ReplayArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let repository = Repository::open(&settings)?;
    let commit = commit(&repository, args.commit.as_deref())?;
    let names = match &args.group {
        Some(group) => vec![group.to_string()],
        None => recorded(&repository, commit)?,
    };
    if names.is_empty() {
        let commit = commit.short();
        let error = CommandError::new(format!("commit {commit} records no plan"));
        return Err(error.hint("`drover log` lists the commits of the state branch"));
    }
    let mut rows = Vec::with_capacity(names.len());
    for name in names {
        rows.push(row(&repository, commit, &name)?);
    }
    let reproduced = rows.iter().all(|row| row.result == "reproduced");
    let other_version = rows.iter().any(|row| row.result == "not recomputable");
    let text = match args.output {
        Output::Json => output::json(&List::new("Replay", rows))?,
        Output::Yaml => output::yaml(&List::new("Replay", rows))?,
        Output::Text | Output::Wide | Output::Name | Output::Markdown => {
            rows.iter().map(line).collect()
        }
    };
    ui.result(&text)?;
    if reproduced {
        return Ok(Exit::Done);
    }
    let error = CommandError::new("not every plan is reproduced");
    Err(if other_version {
        error.hint(
            "use the drover that made the plan: the commit's trailer Drover-Agent names its version",
        )
    } else {
        error
    })
}

fn commit(repository: &Repository, asked: Option<&str>) -> CommandResult<Oid> {
    let tip = repository.state_tip()?.ok_or_else(|| {
        CommandError::new(format!(
            "{} has no branch {}: nothing was ever recorded",
            repository.mirror.url(),
            repository.state_branch
        ))
        .hint("start the agent with `drover run`, or name the right --config")
    })?;
    match asked {
        None => Ok(tip),
        Some(name) => repository
            .mirror
            .resolve(name)
            .context(format!("cannot find commit {name}")),
    }
}

fn recorded(repository: &Repository, commit: Oid) -> CommandResult<Vec<String>> {
    let paths = repository.group_files(commit);
    let paths = paths.context(format!("cannot read commit {}", commit.short()))?;
    let names = paths.iter().filter_map(|(path, _)| {
        let name = path.rsplit('/').next()?;
        Some(name.strip_suffix(".yaml")?.to_owned())
    });
    let mut planned = Vec::new();
    for name in names {
        // A group of which no document was ever in force was never planned.
        let path = format!("{INPUTS_FOLDER}/{name}.json");
        let inputs = repository.mirror.recorded(commit, &path);
        if inputs.context(format!("cannot read {path}"))?.is_some() {
            planned.push(name);
        }
    }
    Ok(planned)
}

fn read(repository: &Repository, commit: Oid, path: &str) -> CommandResult<Option<String>> {
    let file = repository.mirror.recorded(commit, path);
    let file = file.context(format!("cannot read {path} of {}", commit.short()))?;
    Ok(file.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()))
}

fn row(repository: &Repository, commit: Oid, name: &str) -> CommandResult<Row> {
    let inputs = read(repository, commit, &format!("{INPUTS_FOLDER}/{name}.json"))?;
    let state = read(repository, commit, &format!("{GROUPS_FOLDER}/{name}.yaml"))?;
    let inputs = inputs.ok_or_else(|| {
        CommandError::new(format!(
            "commit {} has no inputs of a group {name}",
            commit.short()
        ))
        .hint("`drover log` lists the commits of the state branch")
    })?;
    let mut row = Row {
        group: name.to_owned(),
        commit: commit.to_string(),
        result: "reproduced",
        steps: None,
        difference: None,
        error: None,
    };
    match drover_loop::replay(&inputs, state.as_deref()) {
        Ok(Replayed::Reproduced { steps }) => row.steps = Some(steps),
        Ok(Replayed::Differs { difference }) => {
            row.result = "differs";
            row.difference = Some(difference);
        }
        Err(error) => {
            row.result = "not recomputable";
            row.error = Some(said(&error));
        }
    }
    Ok(row)
}

fn said(error: &ReplayError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn line(row: &Row) -> String {
    let Row {
        group,
        commit: _,
        result,
        steps,
        difference,
        error,
    } = row;
    match (steps, difference, error) {
        (Some(1), _, _) => format!("{group}: {result}, 1 step\n"),
        (Some(steps), _, _) => format!("{group}: {result}, {steps} steps\n"),
        (None, Some(difference), _) => format!("{group}: {result}\n{difference}"),
        (None, None, Some(error)) => format!("{group}: {result}: {error}\n"),
        (None, None, None) => format!("{group}: {result}\n"),
    }
}
