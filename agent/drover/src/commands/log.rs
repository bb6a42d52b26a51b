//! `drover log`: the audit log, which is the history of the state branch.

use std::fmt::Write as _;

use drover_git::CommitInfo;
use drover_model::GroupName;
use serde::Serialize;

use crate::cli::{LogArgs, Output};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::printable::printable;
use crate::settings::Settings;
use crate::snapshot::{GROUPS_FOLDER, Repository};
use crate::table::Table;
use crate::ui::{Style, Ui};
use crate::view::{self, List};

/// One entry of the log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    commit: String,
    time: String,
    agent: String,
    subject: String,
    body: String,
    trailers: Vec<Trailer>,
}

#[derive(Debug, Serialize)]
struct Trailer {
    key: String,
    value: String,
}

/// Runs the command.
pub(super) fn run(args: &LogArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let repository = Repository::open(&settings)?;
    let entries = entries(&repository, args.group.as_ref(), args.limit)?;
    if let (true, Some(group)) = (entries.is_empty(), &args.group) {
        return Err(CommandError::new(format!(
            "branch {} says nothing about a group {group}",
            repository.state_branch
        )));
    }
    let text = match args.output {
        Output::Json => output::json(&List::new("AuditLog", views(&entries)))?,
        Output::Yaml => output::yaml(&List::new("AuditLog", views(&entries)))?,
        Output::Name => entries
            .iter()
            .map(|entry| format!("{}\n", entry.id))
            .collect(),
        Output::Markdown => table(&entries).to_markdown(),
        Output::Wide | Output::Text if args.oneline => oneline(&entries, ui),
        Output::Wide | Output::Text => full(&entries, ui),
    };
    ui.result(&text)?;
    Ok(Exit::Done)
}

/// Returns the newest entries first.
pub(crate) fn entries(
    repository: &Repository,
    group: Option<&GroupName>,
    limit: usize,
) -> CommandResult<Vec<CommitInfo>> {
    let Some(tip) = repository.state_tip()? else {
        return Err(CommandError::new(format!(
            "{} has no branch {}: nothing was ever recorded",
            repository.mirror.url(),
            repository.state_branch
        ))
        .hint("start the agent with `drover run`, or name the right --config"));
    };
    let path = group.map(|group| format!("{GROUPS_FOLDER}/{group}.yaml"));
    repository
        .mirror
        .log(tip, path.as_deref(), limit)
        .context(format!("cannot read branch {}", repository.state_branch))
}

/// Splits a message into what stands between subject and trailers.
pub(crate) fn body(entry: &CommitInfo) -> String {
    let without_subject = entry
        .message
        .split_once('\n')
        .map_or("", |(_, rest)| rest)
        .trim();
    let body = match without_subject.rsplit_once("\n\n") {
        _ if entry.trailers.is_empty() => without_subject,
        Some((body, _)) => body.trim(),
        None => "",
    };
    // For the host's machinery, not for people.
    let lines = body.lines().filter(|line| *line != "[skip ci]");
    lines.collect::<Vec<_>>().join("\n")
}

fn views(entries: &[CommitInfo]) -> Vec<Entry> {
    let view = |entry: &CommitInfo| Entry {
        commit: entry.id.to_string(),
        time: view::seconds(entry.time),
        agent: entry.author.name.clone(),
        subject: entry.subject.clone(),
        body: body(entry),
        trailers: entry
            .trailers
            .iter()
            .map(|(key, value)| Trailer {
                key: key.clone(),
                value: value.clone(),
            })
            .collect(),
    };
    entries.iter().map(view).collect()
}

fn table(entries: &[CommitInfo]) -> Table {
    let mut table = Table::new(&["TIME", "COMMIT", "ENTRY"]);
    for entry in entries {
        table.row(vec![
            view::seconds(entry.time),
            entry.id.short(),
            entry.subject.clone(),
        ]);
    }
    table
}

fn oneline(entries: &[CommitInfo], ui: Ui) -> String {
    let color = ui.out_color();
    let line = |entry: &CommitInfo| {
        let id = Style::Yellow.paint(&entry.id.short(), color);
        format!(
            "{id} {} {}\n",
            view::seconds(entry.time),
            printable(&entry.subject)
        )
    };
    entries.iter().map(line).collect()
}

fn full(entries: &[CommitInfo], ui: Ui) -> String {
    let color = ui.out_color();
    let mut text = String::new();
    for entry in entries {
        let id = Style::Yellow.paint(&entry.id.short(), color);
        let time = view::seconds(entry.time);
        let subject = Style::Bold.paint(&printable(&entry.subject), color);
        let _ = writeln!(text, "{id} {time} {subject}");
        for line in body(entry).lines() {
            let _ = writeln!(text, "    {}", printable(line));
        }
        for (key, value) in &entry.trailers {
            let trailer = format!("{key}: {}", printable(value));
            let _ = writeln!(text, "    {}", Style::Dim.paint(&trailer, color));
        }
    }
    text
}
