//! `drover policy backtest`: what policies would have decided otherwise in recorded passes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use drover_model::{Binding, Enforcement, GroupName, Policy, PolicyName, Timestamp};
use drover_policy::PolicySet;
use serde::Serialize;

use super::insist_on_valid;
use crate::check;
use crate::cli::{PolicyBacktestArgs, ValueOutput};
use crate::commands::validate::from_path;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::output;
use crate::printable::printable;
use crate::settings::Settings;
use crate::snapshot::Repository;
use crate::ui::{Style, Ui};
use crate::view::{self, counted, plural};

mod compare;
mod history;

use compare::differences;
use history::History;

/// The comparison, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    api_version: &'static str,
    kind: &'static str,
    since: String,
    /// Recorded passes over a group that were decided again.
    passes: usize,
    groups: usize,
    /// Passes with a difference.
    differing: usize,
    items: Vec<Difference>,
    skipped: Vec<Skipped>,
}

/// A decision that would have been another one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    time: String,
    commit: String,
    group: String,
    question: String,
    was: String,
    would_be: String,
}

/// A recorded pass that could not be decided again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Skipped {
    commit: String,
    group: String,
    why: String,
}

/// The policies that recorded passes are decided with.
struct Trial {
    set: PolicySet,
    /// The policies that are compared. None: all, those that are gone included.
    only: Option<BTreeSet<PolicyName>>,
}

/// Runs the command.
pub(super) fn run(args: &PolicyBacktestArgs, ui: Ui) -> CommandResult {
    let documents = from_path(&args.policy)?;
    insist_on_valid(&documents, &check::check(&documents), ui)?;
    let settings = Settings::of_source(&args.source)?;
    let repository = Repository::open(&settings)?;
    let trial = trial(args, &documents, &repository)?;
    let since = args.since.ago(Timestamp::now());
    let report = report(&trial, &repository, &settings, args.group.as_ref(), since)?;
    let text = match args.output {
        ValueOutput::Json => output::json(&report)?,
        ValueOutput::Yaml => output::yaml(&report)?,
        ValueOutput::Text => render(&report, ui.out_color()),
    };
    ui.result(&text)?;
    ui.message(&summary(&report));
    Ok(Exit::Done)
}

fn trial(
    args: &PolicyBacktestArgs,
    documents: &Documents,
    repository: &Repository,
) -> CommandResult<Trial> {
    let policies = documents.policies();
    let mut bindings = documents.bindings();
    let only = args.policy.is_file().then(|| {
        let names = policies.iter().map(|policy| policy.name.clone());
        names.collect::<BTreeSet<PolicyName>>()
    });
    if only.is_some() {
        let recorded = Documents::from_recorded(repository.snapshot()?.fleet.as_ref());
        bindings.extend(missing(&policies, &bindings, recorded.bindings()));
        bindings.retain(|binding| policies.iter().any(|policy| policy.name == binding.policy));
    }
    if bindings.is_empty() {
        return Err(unbound(&args.policy));
    }
    if args.as_deny {
        for binding in &mut bindings {
            binding.enforcement = Enforcement::Deny;
        }
    }
    let (set, _) = PolicySet::compile_with(&policies, &bindings, &[], documents.definitions());
    Ok(Trial { set, only })
}

/// Returns the recorded bindings of policies that have none beside them.
fn missing(policies: &[Policy], bindings: &[Binding], recorded: Vec<Binding>) -> Vec<Binding> {
    let bound = |name: &PolicyName| bindings.iter().any(|binding| binding.policy == *name);
    let wanted = |name: &PolicyName| policies.iter().any(|policy| policy.name == *name);
    let mut recorded = recorded;
    recorded.retain(|binding| wanted(&binding.policy) && !bound(&binding.policy));
    recorded
}

fn unbound(path: &Path) -> CommandError {
    let message = format!("no binding puts a policy of {} on a group", path.display());
    CommandError::new(message)
        .hint("write a Binding beside it, or name the folder of the repository with --policy")
}

fn report(
    trial: &Trial,
    repository: &Repository,
    settings: &Settings,
    group: Option<&GroupName>,
    since: Timestamp,
) -> CommandResult<Report> {
    let mut history = History::new(repository, &settings.branch);
    let mut report = Report {
        api_version: view::API_VERSION,
        kind: "PolicyBacktest",
        since: view::seconds(since),
        passes: 0,
        groups: 0,
        differing: 0,
        items: Vec::new(),
        skipped: Vec::new(),
    };
    let mut groups = BTreeSet::new();
    for pass in history.passes(group, since)? {
        groups.insert(pass.group.clone());
        let commit = pass.commit.to_string();
        let recorded = match history.read(&pass)? {
            Ok(recorded) => recorded,
            Err(why) => {
                report.skipped.push(Skipped {
                    commit,
                    group: pass.group.to_string(),
                    why,
                });
                continue;
            }
        };
        report.passes += 1;
        let found = differences(&trial.set, trial.only.as_ref(), &recorded);
        report.differing += usize::from(!found.is_empty());
        for (question, was, would_be) in found {
            report.items.push(Difference {
                time: view::seconds(recorded.facts.now),
                commit: commit.clone(),
                group: pass.group.to_string(),
                question,
                was,
                would_be,
            });
        }
    }
    report.groups = groups.len();
    Ok(report)
}

fn render(report: &Report, color: bool) -> String {
    let mut text = String::new();
    let mut last = None;
    for item in &report.items {
        let pass = (item.commit.as_str(), item.group.as_str());
        if last.replace(pass) != Some(pass) {
            let commit: String = item.commit.chars().take(10).collect();
            let commit = Style::Yellow.paint(&commit, color);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {commit} {}", item.time, item.group);
        }
        let [question, was, would_be] =
            [&item.question, &item.was, &item.would_be].map(|words| printable(words));
        let was = Style::Dim.paint(&was, color);
        let _ = writeln!(text, "    {question}: {was} -> {would_be}");
    }
    text
}

fn summary(report: &Report) -> String {
    let mut text = format!(
        "{} of {} since {}: {} would have been decided otherwise, in {}",
        plural(report.passes, "recorded pass", "recorded passes"),
        counted(report.groups, "group"),
        report.since,
        counted(report.items.len(), "question"),
        plural(report.differing, "pass", "passes"),
    );
    if let Some(first) = report.skipped.first() {
        let _ = write!(
            text,
            "; {} could not be decided again, the first of {} at {}: {}",
            report.skipped.len(),
            first.group,
            first.commit.chars().take(10).collect::<String>(),
            printable(&first.why)
        );
    }
    text
}
