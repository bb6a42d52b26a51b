//! Message and trailers of a commit against its entry, its plan and its recorded state.

use drover_model::{RecordedGroup, Revision};
use drover_spec::record::RecordedFleet;

use super::{
    AuditCommit, AuditEntry, Checked, CommitKind, ProblemKind, approved_by, message,
    message_digest, policies_digest,
};

/// The trailer that names a rewritten history that was accepted.
const REWRITE: &str = "Drover-Accepted-Rewrite";

/// Returns what a commit without an entry says that it is about.
pub(super) fn subject_of(trailers: &[(String, String)]) -> CommitKind {
    match value(trailers, "Drover-Group") {
        Some(group) => CommitKind::Group(group.to_owned()),
        None => CommitKind::Fleet,
    }
}

fn value<'a>(trailers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = trailers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// Compares a trailer with what it should say.
fn compare(name: &str, expected: Option<&str>, commit: &AuditCommit<'_>, checked: &mut Checked) {
    let found = value(commit.trailers, name);
    if found != expected {
        let said = |value: Option<&str>| value.map_or_else(|| "nothing".to_owned(), str::to_owned);
        let (found, expected) = (said(found), said(expected));
        let detail = format!("{name} says {found}, and the content {expected}");
        checked.problem(ProblemKind::TrailerDiffers, detail);
    }
}

/// Checks what the entry alone says about the message.
pub(super) fn check(entry: &AuditEntry, commit: &AuditCommit<'_>, checked: &mut Checked) {
    if message_digest(commit.message) != entry.message {
        let detail = "its message is not the one that the entry names";
        checked.problem(ProblemKind::MessageDiffers, detail);
    }
    let time = drover_spec::format_time(commit.time);
    if time != entry.time {
        let detail = format!("it is of {time}, and its entry of {}", entry.time);
        checked.problem(ProblemKind::MessageDiffers, detail);
    }
    let agent = format!("{} {}", entry.agent, entry.version);
    compare("Drover-Agent", Some(&agent), commit, checked);
    compare("Drover-Group", entry.group.as_deref(), commit, checked);
}

/// Checks the trailer that names the change.
pub(super) fn check_plan(state: &RecordedGroup, commit: &AuditCommit<'_>, checked: &mut Checked) {
    let change = state.change.as_ref().map(ToString::to_string);
    compare("Drover-Plan", change.as_deref(), commit, checked);
}

/// Checks what the fleet's record says about the trailers.
pub(super) fn check_fleet(fleet: &RecordedFleet, commit: &AuditCommit<'_>, checked: &mut Checked) {
    let rewrite = fleet.accepted_rewrite.as_ref();
    let rewrite = rewrite.map(|accepted| accepted.revision.to_string());
    compare(REWRITE, rewrite.as_deref(), commit, checked);
    let source = value(commit.trailers, "Drover-Source");
    let named = source.and_then(|source| source.rsplit_once(':'));
    let read = fleet.revision.as_ref().map(Revision::as_str);
    if named.map(|(_, id)| id) != read {
        let (found, read) = (source.unwrap_or("nothing"), read.unwrap_or("none"));
        let detail = format!("Drover-Source says {found}, and the documents are of {read}");
        checked.problem(ProblemKind::TrailerDiffers, detail);
    }
}

/// Checks what state and plan say about the trailers.
pub(super) fn check_state(
    entry: &AuditEntry,
    state: &RecordedGroup,
    commit: &AuditCommit<'_>,
    checked: &mut Checked,
) {
    check_plan(state, commit, checked);
    compare(REWRITE, None, commit, checked);
    let withheld = state.holds.iter().any(|held| !held.hold.is_routine());
    let counts = (entry.done as usize, entry.failed as usize);
    let result = message::result(counts, withheld);
    compare("Drover-Result", Some(result), commit, checked);
    let digest = checked
        .inputs
        .as_ref()
        .and_then(|inputs| policies_digest(&inputs.policies));
    // A commit without a plan of its own names no policies.
    let inputs = format!("inputs/{}.json", state.name);
    let planned = commit.changed.contains(&inputs) && checked.inputs.is_some();
    let says = checked.inputs.is_some() && value(commit.trailers, "Drover-Policy").is_some();
    if planned || says {
        compare("Drover-Policy", digest.as_deref(), commit, checked);
    }
    let by = commit.trailers.iter();
    let by = by.filter(|(key, _)| key == "Drover-Approved-By");
    let by: Vec<&str> = by.map(|(_, value)| value.as_str()).collect();
    let expected = approved_by(state);
    if by != expected {
        let detail = format!(
            "Drover-Approved-By says {}, and the content {}",
            list(&by),
            list(&expected)
        );
        checked.problem(ProblemKind::TrailerDiffers, detail);
    }
}

fn list(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(", ")
}
