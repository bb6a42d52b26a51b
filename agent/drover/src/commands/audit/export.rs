//! `drover audit export`: the audit log as JSON Lines, for other programs.
//!
//! The names of the fields are a promise.

use std::collections::BTreeMap;

use drover_loop::{ACCEPTED_STATE, AuditStep, CommitKind, Proof};
use drover_model::{ApprovedChange, RecordedGroup, Revision};
use serde::Serialize;

use super::history::{Audited, History};
use crate::cli::AuditExportArgs;
use crate::commands::policy::commit_facts;
use crate::error::{CommandResult, Context as _};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::ui::Ui;
use crate::view::{self, HoldView};

/// One commit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    commit: String,
    time: String,
    kind: &'static str,
    agent: Option<String>,
    version: Option<String>,
    epoch: Option<u64>,
    sequence: Option<u64>,
    group: Option<String>,
    subject: String,
    source: Option<SourceLine>,
    change: Option<String>,
    phase: Option<&'static str>,
    size: Option<u32>,
    result: Option<String>,
    steps: Vec<StepLine>,
    more_steps: u64,
    holds: Vec<HoldView>,
    policies: BTreeMap<String, String>,
    approvals: Vec<ApprovalLine>,
    authors: Vec<String>,
    accepted_rewrite: Option<RewriteLine>,
    /// A commit of the state branch that nobody signed and somebody answers for.
    accepted_state: Option<String>,
    signer: Option<String>,
    verified: &'static str,
    why: Option<String>,
    problems: Vec<ProblemLine>,
}

/// The commit of the configuration that was in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceLine {
    branch: Option<String>,
    commit: String,
    /// None: the commit is not in the repository any more.
    author: Option<String>,
}

/// A rewritten history of the configuration that was accepted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RewriteLine {
    commit: String,
    replaced: String,
    by: String,
}

/// A step that was tried.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepLine {
    step: String,
    instances: Vec<String>,
    cause: String,
    result: String,
    detail: Option<String>,
}

/// Somebody's approval of the change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApprovalLine {
    signer: String,
    at: String,
    expires: String,
    because: String,
    operation: String,
}

/// Something that does not hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemLine {
    problem: &'static str,
    detail: String,
}

/// Runs the command.
pub(super) fn run(args: &AuditExportArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.options.source)?;
    let history = History::open(&args.options, &settings)?;
    let mut authors = Authors {
        history: &history,
        branch: Some(settings.branch),
        known: BTreeMap::new(),
    };
    history.each(|audited| {
        let wanted = args.group.as_ref().is_none_or(|group| {
            matches!(&audited.checked.kind, CommitKind::Group(name) if name == group.as_str())
        });
        if !wanted {
            return Ok(());
        }
        let line = line(audited, &mut authors);
        let mut text = serde_json::to_string(&line).context("cannot write JSON")?;
        text.push('\n');
        Ok(ui.result(&text)?)
    })?;
    Ok(Exit::Done)
}

/// Who wrote commits of the configuration.
struct Authors<'a> {
    history: &'a History,
    /// To be fetched once.
    branch: Option<String>,
    known: BTreeMap<String, Option<String>>,
}

/// Commits of the configuration whose authors are kept at once.
const AUTHORS_MAX: usize = 10_000;

impl Authors<'_> {
    fn of(&mut self, commit: &str) -> Option<String> {
        if let Some(known) = self.known.get(commit) {
            return known.clone();
        }
        if self.known.len() == AUTHORS_MAX {
            self.known.clear();
        }
        let revision = Revision::parse(commit).ok()?;
        let branch = self.branch.take();
        let mirror = &self.history.repository.mirror;
        let facts = commit_facts(mirror, &revision, branch.as_deref());
        let author = Some(facts.author).filter(|author| !author.is_empty());
        self.known.insert(commit.to_owned(), author.clone());
        author
    }
}

fn line(audited: Audited, authors: &mut Authors<'_>) -> Line {
    let Audited {
        id,
        info,
        checked,
        signer,
    } = audited;
    let trailer = |name: &str| info.trailer(name).map(str::to_owned);
    let (kind, group) = match checked.kind {
        CommitKind::Group(group) => ("Group", Some(group)),
        CommitKind::Fleet => ("Fleet", None),
        CommitKind::Lease => ("Lease", None),
        CommitKind::Foreign => ("Foreign", None),
    };
    let agent = trailer("Drover-Agent").filter(|_| kind != "Foreign");
    let agent = agent.as_deref().and_then(|text| text.split_once(' '));
    let entry = checked.entry.as_ref();
    let state = checked.state.as_ref();
    let policies = checked.inputs.map(|inputs| inputs.policies);
    let (verified, why) = proof(checked.proof);
    Line {
        commit: id.to_string(),
        time: view::seconds(info.time),
        kind,
        agent: agent.map(|(name, _)| name.to_owned()),
        version: agent.map(|(_, version)| version.to_owned()),
        epoch: entry.map(|entry| entry.epoch),
        sequence: entry.map(|entry| entry.sequence),
        group,
        source: trailer("Drover-Source").map(|text| source(&text, authors)),
        change: trailer("Drover-Plan"),
        phase: state.map(|state| state.phase.as_str()),
        size: state.map(|state| state.size),
        result: trailer("Drover-Result"),
        steps: entry.map_or_else(Vec::new, |entry| entry.steps.iter().map(step).collect()),
        more_steps: entry.map_or(0, |entry| entry.more_steps),
        holds: state.map_or_else(Vec::new, |state| {
            state.holds.iter().map(view::hold).collect()
        }),
        policies: policies.unwrap_or_default(),
        approvals: state.map_or_else(Vec::new, approvals),
        authors: state.map_or_else(Vec::new, written_by),
        accepted_rewrite: checked.accepted_rewrite.map(|accepted| RewriteLine {
            commit: accepted.revision.to_string(),
            replaced: accepted.replaced.to_string(),
            by: accepted.by,
        }),
        accepted_state: trailer(ACCEPTED_STATE),
        signer,
        verified,
        why,
        problems: checked
            .problems
            .into_iter()
            .map(|problem| ProblemLine {
                problem: problem.kind.code(),
                detail: problem.detail.trim_end().to_owned(),
            })
            .collect(),
        subject: info.subject,
    }
}

fn proof(proof: Proof) -> (&'static str, Option<String>) {
    match proof {
        Proof::Recomputed => ("Recomputed", None),
        Proof::Followed => ("Followed", None),
        Proof::Recorded => ("Recorded", None),
        Proof::NotRecomputable(why) => ("NotRecomputable", Some(why)),
        Proof::Unproven => ("Unproven", None),
        Proof::Failed => ("Failed", None),
    }
}

/// Reads what a `Drover-Source` trailer says: `main@sha1:4be6...`.
fn source(text: &str, authors: &mut Authors<'_>) -> SourceLine {
    let (branch, id) = match text.rsplit_once('@') {
        Some((branch, id)) => (Some(branch.to_owned()), id),
        None => (None, text),
    };
    let commit = id.rsplit(':').next().unwrap_or(id).to_owned();
    SourceLine {
        branch,
        author: authors.of(&commit),
        commit,
    }
}

fn step(step: &AuditStep) -> StepLine {
    let AuditStep {
        step,
        instances,
        cause,
        result,
        detail,
    } = step.clone();
    StepLine {
        step,
        instances,
        cause,
        result,
        detail,
    }
}

/// Returns what people approved of the change in progress.
fn approved(state: &RecordedGroup) -> Option<&ApprovedChange> {
    let approved = state.approved.as_ref();
    approved.filter(|it| state.change.as_ref() == Some(&it.change))
}

fn written_by(state: &RecordedGroup) -> Vec<String> {
    let authors = approved(state)
        .into_iter()
        .flat_map(|it| it.authors.known());
    authors.map(str::to_owned).collect()
}

fn approvals(state: &RecordedGroup) -> Vec<ApprovalLine> {
    let approvals = approved(state).into_iter().flat_map(|it| &it.approvals);
    let line = |approval: &drover_model::Approval| ApprovalLine {
        signer: approval.signer.to_string(),
        at: view::seconds(approval.at),
        expires: view::seconds(approval.expires),
        because: approval.because.clone(),
        operation: approval.operation.to_string(),
    };
    approvals.map(line).collect()
}
