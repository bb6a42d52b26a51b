//! `drover audit verify`: whether the audit log follows from what it records.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drover_git::Oid;
use drover_loop::{ANCHOR_FILE, Anchor, CommitKind, Problem, ProblemKind, Proof};
use serde::Serialize;

use super::history::{Audited, History};
use crate::cli::{AuditVerifyArgs, ValueOutput};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::printable::printable;
use crate::settings::Settings;
use crate::snapshot::Repository;
use crate::ui::{Style, Ui};
use crate::view::{self, counted};

/// Problems that are told in words; more are counted only.
const PROBLEMS_MAX: usize = 1_000;

/// Reasons for which commits cannot be computed again that are told apart.
const REASONS_MAX: usize = 20;

/// What came of it, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    api_version: &'static str,
    kind: &'static str,
    verified: bool,
    branch: String,
    /// The commit that it begins after. None: it begins with the branch.
    since: Option<String>,
    tip: String,
    commits: usize,
    recomputed: usize,
    followed: usize,
    recorded: usize,
    not_recomputable: usize,
    unproven: usize,
    failed: usize,
    /// Documents in force whose commits are not in the repository any more.
    sources_missing: usize,
    /// Commits whose `Drover-Source` is not in the repository any more, or cannot be compared.
    sources_gone: usize,
    /// Commits whose `Drover-Source` is there, and not on its branch.
    sources_elsewhere: usize,
    /// What people said that an operation proves.
    operations_proven: usize,
    /// Approvals that are said to be of reviews on the Git host, which nothing in Git proves.
    approvals_by_review: usize,
    /// What people are said to have said and was not checked.
    operations_unchecked: usize,
    /// Why not.
    operations_unchecked_because: Option<String>,
    /// Whether every commit had to be signed.
    signatures_checked: bool,
    anchors: Vec<AnchorView>,
    problems: Vec<ProblemView>,
    problems_in_all: usize,
    not_recomputable_because: Vec<Reason>,
}

/// A commit that must be in the history.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AnchorView {
    commit: String,
    /// Who says so: `--anchor` or `dataDir`.
    from: &'static str,
    found: bool,
}

/// Something that does not hold.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemView {
    /// None: it is about the history as a whole.
    commit: Option<String>,
    time: Option<String>,
    subject: Option<String>,
    group: Option<String>,
    problem: &'static str,
    detail: String,
}

/// Why commits cannot be computed again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reason {
    reason: String,
    commits: usize,
    first: String,
}

/// Runs the command.
pub(super) fn run(args: &AuditVerifyArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.options.source)?;
    let history = History::open(&args.options, &settings)?;
    let mut report = Report {
        api_version: view::API_VERSION,
        kind: "AuditVerification",
        verified: false,
        branch: history.repository.state_branch.clone(),
        since: args.options.since.clone(),
        tip: history.tip.to_string(),
        commits: history.len(),
        recomputed: 0,
        followed: 0,
        recorded: 0,
        not_recomputable: 0,
        unproven: 0,
        failed: 0,
        sources_missing: 0,
        sources_gone: 0,
        sources_elsewhere: 0,
        operations_proven: 0,
        approvals_by_review: 0,
        operations_unchecked: 0,
        operations_unchecked_because: None,
        signatures_checked: history.checks_signatures(),
        anchors: Vec::new(),
        problems: Vec::new(),
        problems_in_all: 0,
        not_recomputable_because: Vec::new(),
    };
    let mut reasons = BTreeMap::new();
    history.each(|audited| {
        report.take(&audited, &mut reasons);
        Ok(())
    })?;
    report.beside(&history);
    report.not_recomputable_because = reasons
        .into_iter()
        .map(|(reason, (commits, first))| Reason {
            reason,
            commits,
            first,
        })
        .collect();
    anchors(args, &settings, &history, &mut report)?;
    let unknown = report.not_recomputable + report.unproven + report.operations_unchecked;
    report.verified = report.problems_in_all == 0 && !(args.strict && unknown > 0);
    let text = match args.output {
        ValueOutput::Json => output::json(&report)?,
        ValueOutput::Yaml => output::yaml(&report)?,
        ValueOutput::Text => text(&report, ui),
    };
    ui.result(&text)?;
    conclude(&report, args.strict)
}

fn conclude(report: &Report, strict: bool) -> CommandResult {
    if report.verified {
        return Ok(Exit::Done);
    }
    if report.problems_in_all > 0 {
        let places = counted(report.problems_in_all, "problem");
        return Err(CommandError::new(format!(
            "the audit log does not hold: {places}"
        )));
    }
    debug_assert!(strict, "only --strict fails without a problem");
    if report.not_recomputable + report.unproven == 0 {
        let error = CommandError::new("not every operation is checked, and --strict is given");
        return Err(error.hint(
            "name whose operations count with --approvers, over a repository that has them",
        ));
    }
    let error = CommandError::new("not every commit can be computed again, and --strict is given");
    Err(error.hint(
        "use the drover that made the plan: the commit's trailer Drover-Agent names its version",
    ))
}

impl Report {
    /// Takes up what was found beside the commits themselves.
    fn beside(&mut self, history: &History) {
        let missing = history.missing();
        self.sources_missing = missing.documents;
        self.sources_gone = missing.sources;
        self.sources_elsewhere = missing.elsewhere;
        let (approvals, why) = history.approvals();
        self.operations_proven = approvals.proven;
        self.approvals_by_review = approvals.by_review;
        self.operations_unchecked = approvals.unchecked;
        self.operations_unchecked_because = why;
    }

    fn take(&mut self, audited: &Audited, reasons: &mut BTreeMap<String, (usize, String)>) {
        match &audited.checked.proof {
            Proof::Recomputed => self.recomputed += 1,
            Proof::Followed => self.followed += 1,
            Proof::Recorded => self.recorded += 1,
            Proof::NotRecomputable(why) => {
                self.not_recomputable += 1;
                if reasons.len() < REASONS_MAX || reasons.contains_key(why) {
                    let first = || (0, audited.id.to_string());
                    reasons.entry(why.clone()).or_insert_with(first).0 += 1;
                }
            }
            Proof::Unproven => self.unproven += 1,
            Proof::Failed => self.failed += 1,
        }
        for problem in &audited.checked.problems {
            self.problem(Some(audited), problem);
        }
    }

    fn problem(&mut self, audited: Option<&Audited>, problem: &Problem) {
        self.problems_in_all += 1;
        if self.problems.len() == PROBLEMS_MAX {
            return;
        }
        let group = audited.and_then(|audited| match &audited.checked.kind {
            CommitKind::Group(group) => Some(group.clone()),
            CommitKind::Fleet | CommitKind::Lease | CommitKind::Foreign => None,
        });
        self.problems.push(ProblemView {
            commit: audited.map(|audited| audited.id.to_string()),
            time: audited.map(|audited| view::seconds(audited.info.time)),
            subject: audited.map(|audited| audited.info.subject.clone()),
            group,
            problem: problem.kind.code(),
            detail: problem.detail.trim_end().to_owned(),
        });
    }
}

/// Looks for the commits that must be in the history.
fn anchors(
    args: &AuditVerifyArgs,
    settings: &Settings,
    history: &History,
    report: &mut Report,
) -> CommandResult<()> {
    let repository = &history.repository;
    for name in &args.anchor {
        let named = repository.mirror.resolve(name);
        // A commit that was rewritten away may be gone for good; its full id names it still.
        let id = named.ok().or_else(|| name.parse::<Oid>().ok());
        let id = id.ok_or_else(|| {
            CommandError::usage(format!("--anchor {name}: there is no such commit"))
                .hint("give the whole id of a commit that may be gone")
        })?;
        anchor(repository, history.tip, id, "--anchor", report)?;
    }
    let path = settings.data_dir.join(ANCHOR_FILE);
    let known = Anchor::read(&path).context(format!("cannot read {}", path.display()))?;
    let url = repository.mirror.url().redacted();
    let branch = full(&repository.state_branch);
    let ours = |known: &Anchor| known.repository == url && known.branch == branch;
    let Some(known) = known.filter(ours) else {
        return Ok(());
    };
    let damaged = || CommandError::new(format!("{} names no commit", path.display()));
    let id: Oid = known.commit.parse().map_err(|_| damaged())?;
    anchor(repository, history.tip, id, "dataDir", report)?;
    for rewrite in &known.rewrites {
        let (was, now) = (&rewrite.was, &rewrite.now);
        let detail = format!(
            "the agent published {now} at {} on a history without {was}, which it had published before",
            rewrite.time
        );
        report.problem(None, &Problem::new(ProblemKind::Rewritten, detail));
    }
    Ok(())
}

fn full(branch: &str) -> String {
    if branch.starts_with("refs/") {
        branch.to_owned()
    } else {
        format!("refs/heads/{branch}")
    }
}

fn anchor(
    repository: &Repository,
    tip: Oid,
    id: Oid,
    from: &'static str,
    report: &mut Report,
) -> CommandResult<()> {
    let found = repository.mirror.is_ancestor(id, tip);
    let found = found.context(format!("cannot look for commit {}", id.short()))?;
    if !found {
        let detail = format!(
            "the history of {} does not hold {id}, which {from} says was published: it was rewritten",
            report.branch
        );
        report.problem(None, &Problem::new(ProblemKind::Rewritten, detail));
    }
    report.anchors.push(AnchorView {
        commit: id.to_string(),
        from,
        found,
    });
    Ok(())
}

fn text(report: &Report, ui: Ui) -> String {
    let color = ui.out_color();
    let mut text = String::new();
    let mut last = None;
    // Writing to a string cannot fail.
    for problem in &report.problems {
        if last != Some(&problem.commit) {
            last = Some(&problem.commit);
            let _ = match (&problem.commit, &problem.time, &problem.subject) {
                (Some(commit), Some(time), Some(subject)) => {
                    let commit = Style::Yellow.paint(commit, color);
                    writeln!(text, "{commit} {time} {}", printable(subject))
                }
                (_, _, _) => writeln!(text, "{}", report.branch),
            };
        }
        let code = Style::Red.paint(problem.problem, color);
        let mut lines = problem.detail.lines();
        let _ = writeln!(
            text,
            "  {code}: {}",
            printable(lines.next().unwrap_or_default())
        );
        for line in lines {
            let _ = writeln!(text, "    {}", printable(line));
        }
    }
    if report.problems_in_all > report.problems.len() {
        let more = report.problems_in_all - report.problems.len();
        let _ = writeln!(text, "and {}", counted(more, "problem"));
    }
    for reason in &report.not_recomputable_because {
        let _ = writeln!(
            text,
            "not recomputable: {} since {}: {}",
            counted(reason.commits, "commit"),
            reason.first,
            reason.reason
        );
    }
    summary(report, &mut text);
    text
}

fn summary(report: &Report, text: &mut String) {
    let short: String = report.tip.chars().take(10).collect();
    let _ = write!(
        text,
        "{} of {} up to {short}: {} recomputed, {} followed, {} recorded",
        counted(report.commits, "commit"),
        report.branch,
        report.recomputed,
        report.followed,
        report.recorded,
    );
    for (count, what) in [
        (report.not_recomputable, "not recomputable"),
        (report.unproven, "older than the chain"),
        (report.failed, "failed"),
        (
            report.sources_missing,
            "with a document whose commit is gone",
        ),
        (report.sources_gone, "whose source is gone"),
        (
            report.sources_elsewhere,
            "whose source is not on the branch (any more)",
        ),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let signed = if report.signatures_checked {
        "signatures checked"
    } else {
        "signatures not checked (--signers, --gnupg-home)"
    };
    let anchored = match report.anchors.len() {
        0 => "no anchor: a history that was rewritten as a whole cannot be told (--anchor)"
            .to_owned(),
        count => counted(count, "anchor"),
    };
    let _ = writeln!(text, "\n{signed}; {anchored}");
    let counts: Vec<String> = [
        (report.operations_proven, "checked"),
        (
            report.approvals_by_review,
            "said to be of a review on the Git host, which nothing in Git proves",
        ),
        (report.operations_unchecked, "not checked"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if counts.is_empty() {
        return;
    }
    let _ = write!(text, "operations: {}", counts.join(", "));
    let _ = match &report.operations_unchecked_because {
        Some(why) => writeln!(text, ": {why}"),
        None => writeln!(text),
    };
}
