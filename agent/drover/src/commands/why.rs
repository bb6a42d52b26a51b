//! `drover why`: the chain behind a hold or an instance, from what is seen to the person who caused
//! it.

use std::fmt::Write as _;

use drover_git::{CommitInfo, Oid};
use drover_model::{
    AcceptedDocument, Approval, GroupName, Heeded, Held, InstanceId, OrderState, PolicyHold,
    RecordedGroup, RecordedOrder, Revision,
};
use serde::Serialize;

use super::get::declared;
use super::log::{body, entries};
use super::replay::inputs;
use crate::cli::{Output, Subject, WhyArgs};
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::output;
use crate::printable::printable;
use crate::settings::Settings;
use crate::snapshot::{Reader, Repository, Snapshot};
use crate::ui::{Style, Ui};
use crate::view::{self, HoldView, PolicyHoldView};

mod used;

/// How many entries of the audit log are searched for an instance.
const SEARCH_MAX: usize = 2_000;

/// The chain, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Chain {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    state: String,
    holds: Vec<Link>,
    /// What policies decided about the instance beside holds.
    decisions: Vec<Decided>,
    /// Who approved the change in force.
    approvals: Vec<ApprovedBy>,
    /// Who asked something of its rollout, of late.
    asked: Vec<AskedBy>,
    /// Who asked something of the instance, or of one of the group, of late.
    ordered: Vec<OrderedBy>,
    document: Option<Origin>,
    history: Vec<Event>,
}

/// Somebody who asked something of an instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderedBy {
    /// `replace`, `restart`, `keep` or `release`.
    operation: &'static str,
    instance: String,
    signer: String,
    at: String,
    expires: String,
    because: String,
    /// The commit that brought it.
    commit: String,
    /// `Open`, `Done`, `Superseded` or `Refused`.
    state: &'static str,
    /// Why it is refused.
    why: Option<String>,
}

/// Somebody who asked something of a rollout.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AskedBy {
    /// `promote` or `retry`.
    operation: &'static str,
    signer: String,
    at: String,
    because: String,
    change: String,
    /// The commit that brought it.
    commit: String,
    /// Whether there was something to do.
    effect: bool,
}

/// A hold with where its clause comes from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    #[serde(flatten)]
    hold: HoldView,
    clause: Option<String>,
    origin: Option<Origin>,
    /// What approvals that count no more were used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<used::Used>,
}

/// A decision of a policy about an instance with where its clause comes from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Decided {
    what: String,
    policy: PolicyHoldView,
    clause: Option<String>,
    origin: Option<Origin>,
}

/// Somebody's approval.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApprovedBy {
    signer: String,
    at: String,
    because: String,
    change: String,
    operation: String,
}

/// The commit behind a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Origin {
    file: String,
    commit: String,
    author: String,
    time: String,
    subject: String,
}

/// An entry of the audit log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    commit: String,
    time: String,
    subject: String,
    lines: Vec<String>,
    source: Option<Origin>,
}

/// Runs the command.
pub(super) fn run(args: &WhyArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let snapshot = Reader::open(&settings)?.read()?;
    let subject = super::find_subject(&args.name, &snapshot)?;
    let history = History {
        repository: Repository::open(&settings)?,
        root: settings.path.clone(),
    };
    history.fetch_source(&settings.branch);
    let chain = match &subject {
        Subject::Group(name) => group_chain(snapshot.group(name)?, &snapshot, &history)?,
        Subject::Instance(id) => instance_chain(snapshot.group_of(id)?, id, &snapshot, &history)?,
    };
    let text = match args.output {
        Output::Json => output::json(&chain)?,
        Output::Yaml => output::yaml(&chain)?,
        Output::Text | Output::Wide | Output::Name | Output::Markdown => {
            render(&chain, ui.out_color())
        }
    };
    ui.result(&text)?;
    Ok(Exit::Done)
}

/// The repository's history, as far as it is here.
struct History {
    repository: Repository,
    root: String,
}

impl History {
    /// Brings a remote's branch here. Without it the chain ends at the commit's id.
    fn fetch_source(&self, branch: &str) {
        let mirror = &self.repository.mirror;
        let fetched = mirror.list().and_then(|refs| match refs.get(branch) {
            Some(tip) => {
                let name = refs.full_name(branch).unwrap_or_else(|| branch.to_owned());
                mirror.fetch(&[(&name, tip)])
            }
            None => Ok(()),
        });
        if let Err(error) = fetched {
            tracing::warn!(%error, "source not fetched");
        }
    }

    /// Returns the commit that last changed `file`, as of `revision`.
    fn origin(&self, file: &str, revision: &Revision) -> Option<Origin> {
        let from: Oid = revision.as_str().parse().ok()?;
        let path = match self.root.trim_matches('/') {
            "" => file.to_owned(),
            root => format!("{root}/{file}"),
        };
        let commits = self.repository.mirror.log(from, Some(&path), 1).ok()?;
        Some(origin(file, commits.first()?))
    }

    /// Returns the source commit that an audit entry names.
    fn source_of(&self, entry: &CommitInfo) -> Option<Origin> {
        let trailer = entry.trailer("Drover-Source")?;
        // `main@sha1:<id>` or the id alone.
        let id = trailer.rsplit([':', '@']).next()?.trim();
        let commit = self.repository.mirror.commit(id.parse().ok()?).ok()?;
        Some(origin("", &commit))
    }
}

fn origin(file: &str, commit: &CommitInfo) -> Origin {
    Origin {
        file: file.to_owned(),
        commit: commit.id.to_string(),
        author: format!("{} <{}>", commit.author.name, commit.author.email),
        time: view::seconds(commit.time),
        subject: commit.subject.clone(),
    }
}

fn group_chain(
    recorded: &RecordedGroup,
    snapshot: &Snapshot,
    history: &History,
) -> CommandResult<Chain> {
    let view = view::group(recorded, &declared(recorded));
    let latest = entries(&history.repository, Some(&recorded.name), 3)?;
    Ok(Chain {
        api_version: view::API_VERSION,
        kind: "Why",
        name: recorded.name.to_string(),
        state: format!(
            "{}: {} wanted, {} available, {} updated",
            view.phase, view.size, view.available, view.updated
        ),
        holds: links(recorded.holds.iter(), &recorded.name, snapshot, history),
        decisions: Vec::new(),
        approvals: approvals(recorded),
        asked: asked(recorded),
        ordered: ordered(recorded, None),
        document: document(recorded, history),
        history: latest.iter().map(|entry| event(entry, history)).collect(),
    })
}

fn instance_chain(
    recorded: &RecordedGroup,
    id: &InstanceId,
    snapshot: &Snapshot,
    history: &History,
) -> CommandResult<Chain> {
    let missing = || CommandError::new(format!("there is no instance {id}"));
    let entry = recorded.instances.get(id).ok_or_else(missing)?;
    let view = view::instance(recorded, id, entry);
    let mut state = view.class.clone();
    if let Some(why) = &view.why {
        let _ = write!(state, ": {why}");
    }
    if let Some(kept) = &view.kept {
        let _ = write!(
            state,
            "; kept since {}, until {}: {}",
            kept.since, kept.until, kept.because
        );
    }
    let template = if view.current { "current" } else { "outdated" };
    let _ = write!(state, "; template {} ({template})", view.digest);
    // A hold without an instance concerns all of them.
    let concerns = |held: &&Held| held.instance.as_ref().is_none_or(|held| held == id);
    let holds = recorded.holds.iter().filter(concerns);
    let log = entries(&history.repository, Some(&recorded.name), SEARCH_MAX)?;
    let named = log.iter().filter(|entry| mentions(&entry.message, id));
    Ok(Chain {
        api_version: view::API_VERSION,
        kind: "Why",
        name: id.to_string(),
        state,
        holds: links(holds, &recorded.name, snapshot, history),
        decisions: decisions(recorded, id, snapshot, history),
        approvals: approvals(recorded),
        asked: asked(recorded),
        ordered: ordered(recorded, Some(id)),
        document: document(recorded, history),
        history: named.map(|entry| event(entry, history)).collect(),
    })
}

/// Whether a message names the instance, and not merely one whose id begins alike.
fn mentions(message: &str, id: &InstanceId) -> bool {
    let boundary = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let id = id.to_string();
    message.split(boundary).any(|word| word == id)
}

fn document(recorded: &RecordedGroup, history: &History) -> Option<Origin> {
    let accepted = recorded.accepted.as_ref()?;
    history.origin(&accepted.path, &accepted.revision)
}

fn links<'a>(
    holds: impl Iterator<Item = &'a Held>,
    group: &GroupName,
    snapshot: &Snapshot,
    history: &History,
) -> Vec<Link> {
    let link = |held: &Held| {
        let hold = view::hold(held);
        let policy = hold.policy.as_ref();
        let source = policy.map(|policy| source_of(policy, snapshot, history));
        let (clause, origin) = source.unwrap_or_default();
        Link {
            hold,
            clause,
            origin,
            used: used::used(held, group, history),
        }
    };
    holds.map(link).collect()
}

/// Returns the clause of a policy and the commit behind it.
fn source_of(
    policy: &PolicyHoldView,
    snapshot: &Snapshot,
    history: &History,
) -> (Option<String>, Option<Origin>) {
    let document = recorded(snapshot, &policy.file, policy.line);
    let clause = document.and_then(|document| clause(document, policy.line));
    let origin = document.and_then(|document| history.origin(&document.path, &document.revision));
    (clause, origin)
}

/// Returns what policies say of the instance's health and of its template, as the last recorded pass has
/// it.
fn decisions(
    recorded: &RecordedGroup,
    id: &InstanceId,
    snapshot: &Snapshot,
    history: &History,
) -> Vec<Decided> {
    // What is not recorded, or cannot be read by this version, is not told here.
    let Ok(Some(inputs)) = inputs(&history.repository, &recorded.name) else {
        return Vec::new();
    };
    let entry = recorded.instances.get(id);
    let health = inputs.decisions.health.iter();
    let health = health.filter(|said| said.instances.contains(id));
    let health = health.map(|said| (format!("{} by policy", said.health.as_str()), &said.verdict));
    let template = entry.zip(recorded.target.as_ref());
    let drift = template.and_then(|(entry, target)| {
        let decided = inputs.decisions.drift.decision(&entry.digests, target)?;
        let (action, short) = (decided.class.as_action(), target.short());
        let what = format!("template {short} needs {action} by policy");
        Some((what, &decided.verdict))
    });
    let decided = health.chain(drift).map(|(what, verdict)| {
        let policy = view::policy(&PolicyHold::from(verdict));
        let (clause, origin) = source_of(&policy, snapshot, history);
        Decided {
            what,
            policy,
            clause,
            origin,
        }
    });
    decided.collect()
}

/// Returns who approved the change in force.
fn approvals(recorded: &RecordedGroup) -> Vec<ApprovedBy> {
    let approved = recorded.approved.iter();
    let all = approved.flat_map(|approved| {
        let change = approved.change.short().to_owned();
        let one = move |approval: &Approval| ApprovedBy {
            signer: approval.signer.to_string(),
            at: view::seconds(approval.at),
            because: approval.because.clone(),
            change: change.clone(),
            operation: approval.operation.to_string(),
        };
        approved.approvals.iter().map(one)
    });
    all.collect()
}

/// Returns who asked something of the rollout.
fn asked(recorded: &RecordedGroup) -> Vec<AskedBy> {
    let one = |Heeded { asked, effect }: &Heeded| AskedBy {
        operation: asked.verdict.word(),
        signer: asked.signer.to_string(),
        at: view::seconds(asked.at),
        because: asked.because.clone(),
        change: asked.change.short().to_owned(),
        commit: asked.operation.to_string(),
        effect: *effect,
    };
    recorded.heeded.iter().map(one).collect()
}

/// Returns who asked something of an instance, or of any.
fn ordered(recorded: &RecordedGroup, id: Option<&InstanceId>) -> Vec<OrderedBy> {
    let about = |known: &&RecordedOrder| id.is_none_or(|id| known.order.instance == *id);
    let one = |RecordedOrder { order, state }: &RecordedOrder| OrderedBy {
        operation: order.verb.word(),
        instance: order.instance.to_string(),
        signer: order.signer.to_string(),
        at: view::seconds(order.at),
        expires: view::seconds(order.expires),
        because: order.because.clone(),
        commit: order.operation.to_string(),
        state: state.as_str(),
        why: match state {
            OrderState::Refused { why } => Some(why.clone()),
            OrderState::Open | OrderState::Done | OrderState::Superseded => None,
        },
    };
    recorded.orders.iter().filter(about).map(one).collect()
}

/// Returns the recorded document that a place is in.
fn recorded<'a>(snapshot: &'a Snapshot, file: &str, line: u32) -> Option<&'a AcceptedDocument> {
    let documents = snapshot.fleet.as_ref()?.documents.values();
    documents.into_iter().find(|document| {
        let lines = document.text.lines().count() as u32;
        document.path == file && (document.line..document.line + lines).contains(&line)
    })
}

/// Returns a line of a recorded document.
fn clause(document: &AcceptedDocument, line: u32) -> Option<String> {
    let text = document.text.lines().nth((line - document.line) as usize)?;
    Some(text.trim().to_owned())
}

fn event(entry: &CommitInfo, history: &History) -> Event {
    Event {
        commit: entry.id.to_string(),
        time: view::seconds(entry.time),
        subject: entry.subject.clone(),
        lines: body(entry).lines().map(str::to_owned).collect(),
        source: history.source_of(entry),
    }
}

fn render(chain: &Chain, color: bool) -> String {
    let mut text = format!(
        "{} {}\n",
        Style::Bold.paint(&chain.name, color),
        printable(&chain.state)
    );
    for link in &chain.holds {
        let reason = link
            .hold
            .reason
            .map(|r| format!(" ({r})"))
            .unwrap_or_default();
        let code = Style::Yellow.paint(link.hold.code, color);
        let _ = writeln!(
            text,
            "├─ held by {code}{reason}: {}",
            printable(&link.hold.message)
        );
        if let Some(policy) = &link.hold.policy {
            render_clause(&mut text, policy, link.clause.as_deref());
        }
        if let Some(origin) = &link.origin {
            let _ = writeln!(text, "│  └─ from {}", render_origin(origin));
        }
        if let Some(used) = &link.used {
            let _ = writeln!(text, "│  └─ {}", printable(&used.line()));
        }
    }
    for decided in &chain.decisions {
        let _ = writeln!(
            text,
            "├─ {}: {}",
            decided.what,
            printable(&decided.policy.message)
        );
        render_clause(&mut text, &decided.policy, decided.clause.as_deref());
        if let Some(origin) = &decided.origin {
            let _ = writeln!(text, "│  └─ from {}", render_origin(origin));
        }
    }
    render_people(&mut text, chain);
    render_orders(&mut text, &chain.ordered);
    if chain.holds.is_empty() {
        text.push_str("├─ nothing is held\n");
    }
    if let Some(document) = &chain.document {
        let _ = writeln!(
            text,
            "├─ document {}: {}",
            printable(&document.file),
            render_origin(document)
        );
    }
    for event in &chain.history {
        let id = event.commit.chars().take(10).collect::<String>();
        let _ = writeln!(
            text,
            "├─ {} {} {}",
            Style::Dim.paint(&id, color),
            event.time,
            printable(&event.subject)
        );
        for line in event.lines.iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(text, "│    {}", printable(line));
        }
        if let Some(source) = &event.source {
            let _ = writeln!(text, "│    └─ from {}", render_origin(source));
        }
    }
    text.push_str("└─ the whole history: drover log\n");
    text
}

/// Writes who approved what, and who asked what.
fn render_people(text: &mut String, chain: &Chain) {
    for approved in &chain.approvals {
        let ApprovedBy {
            signer,
            at,
            because,
            change,
            operation,
        } = approved;
        let operation: String = operation.chars().take(10).collect();
        let because = printable(because);
        let _ = writeln!(
            text,
            "├─ change {change} approved by {signer} at {at}: {because} (operation {operation})"
        );
    }
    for asked in &chain.asked {
        let AskedBy {
            operation,
            signer,
            at,
            because,
            change,
            commit,
            effect,
        } = asked;
        let commit: String = commit.chars().take(10).collect();
        let because = printable(because);
        let nothing = if *effect {
            ""
        } else {
            ", there was nothing to do"
        };
        let _ = writeln!(
            text,
            "├─ change {change}: {operation} by {signer} at {at}: {because} (operation {commit}){nothing}"
        );
    }
}

/// Writes who asked what of instances, and what has become of it.
fn render_orders(text: &mut String, orders: &[OrderedBy]) {
    for ordered in orders {
        let OrderedBy {
            operation,
            instance,
            signer,
            at,
            expires,
            because,
            commit,
            state,
            why,
        } = ordered;
        let commit: String = commit.chars().take(10).collect();
        let state = state.to_lowercase();
        let because = printable(because);
        let why = why.as_ref().map(|why| format!(": {}", printable(why)));
        let why = why.unwrap_or_default();
        let _ = writeln!(
            text,
            "├─ {instance}: {operation} by {signer} at {at}, until {expires}: {because} (operation {commit}), {state}{why}"
        );
    }
}

fn render_clause(text: &mut String, policy: &PolicyHoldView, clause: Option<&str>) {
    let clause = printable(clause.unwrap_or(&policy.message));
    let place = format!("{}:{}:{}", policy.file, policy.line, policy.column);
    let _ = writeln!(text, "│  ├─ clause {place}: {clause}");
    let _ = writeln!(text, "│  ├─ bound by {}", policy.binding);
    for (name, value) in &policy.values {
        let _ = writeln!(text, "│  ├─ with {name} = {}", printable(value));
    }
}

fn render_origin(origin: &Origin) -> String {
    let id = origin.commit.chars().take(7).collect::<String>();
    let (author, subject) = (printable(&origin.author), printable(&origin.subject));
    format!("commit {id} by {author}: {subject}")
}
