//! Operations: what a person with a key asks of the agents, one small signed document each, on a
//! branch of their own. The signature stands below the document and covers its bytes as written.

use std::sync::Arc;

use drover_model::{ApprovalVerdict, ChangeId, FleetName, GroupName, SourceSpan, Timestamp};

use crate::declare::OPERATION;
use crate::decode::{Fields, Others};
use crate::diagnostic::{Diagnostic, Report};
use crate::document::{API_VERSION, report_faults};
use crate::formats::format_time;
use crate::record::{MapOf, document};
use crate::tree::{Node, TreeLimits, read};

#[cfg(test)]
mod tests;

/// What signatures of operations are for: one for something else does not count.
pub const OPERATION_NAMESPACE: &str = "drover-operation";

/// The folder of the operations on their branch.
pub const OPERATIONS_FOLDER: &str = "operations";

/// The largest operation with its signature.
pub const OPERATION_BYTES_MAX: usize = 16 << 10;

/// How the signature below an operation begins.
const SIGNATURE_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";

/// What somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Whether the change may go on.
    pub verdict: ApprovalVerdict,
    /// The fleet: another's agents do not listen.
    pub fleet: FleetName,
    /// The group.
    pub group: GroupName,
    /// The change, and no other.
    pub change: ChangeId,
    /// When it was asked, by the signer's clock.
    pub at: Timestamp,
    /// When it ends to count.
    pub expires: Timestamp,
    /// Why.
    pub because: String,
}

/// Writes an operation; the result is what is signed.
pub fn encode(operation: &Operation) -> String {
    let spec = MapOf::new()
        .text("operation", operation.verdict.word())
        .text("fleet", operation.fleet.as_str())
        .text("group", operation.group.as_str())
        .text("change", operation.change.as_str())
        .text("at", &format_time(operation.at))
        .text("expires", &format_time(operation.expires))
        .text("because", operation.because.as_str());
    let root = MapOf::new()
        .text("apiVersion", API_VERSION)
        .text("kind", "Operation")
        .with("spec", spec.build());
    document(&root.build())
}

/// Puts a document and its armoured signature into one file.
pub fn join(document: &str, signature: &str) -> String {
    format!("{}\n{}\n", document.trim_end(), signature.trim_end())
}

/// Takes a file apart into what is signed and the signature. None: there is no signature below it.
pub fn split(file: &str) -> Option<(&str, &str)> {
    // At the beginning of a line: anywhere else it is a part of a text.
    let at = file.find(&format!("\n{SIGNATURE_BEGIN}"))?;
    Some(file.split_at(at + 1))
}

/// Parses an operation, without its signature.
///
/// # Errors
///
/// Every mistake, in the order of their places.
pub fn parse(path: &str, document: &str) -> Result<Operation, Vec<Diagnostic>> {
    let file: Arc<str> = path.into();
    let raw = read(document, 0, TreeLimits::DOCUMENTS);
    let report = Report::new(file);
    report_faults(&report, raw.fault.into_iter().collect());
    let mut documents = raw.documents;
    if documents.len() != 1 && report.count() == 0 {
        let message = format!("expected one document, found {}", documents.len());
        let start = SourceSpan::start_of(path);
        return Err(vec![Diagnostic::error("wrong-type", message, start)]);
    }
    let mut operation = None;
    if let Some(document) = documents.pop() {
        report_faults(&report, document.faults);
        if let (Some(root), true) = (&document.root, document.finished) {
            operation = decode(&report, root);
        }
    }
    let diagnostics = report.finish();
    match operation {
        Some(operation) if diagnostics.iter().all(|found| !found.is_error()) => Ok(operation),
        Some(_) | None => Err(diagnostics),
    }
}

fn decode(report: &Report, root: &Node) -> Option<Operation> {
    let fields = Fields::open(report, root, root.place, &OPERATION, Others::Refuse);
    let _ = fields.word("apiVersion");
    let _ = fields.word("kind");
    let spec = fields.object("spec");
    let verdict = match spec.word("operation") {
        "reject" => ApprovalVerdict::Reject,
        "promote" => ApprovalVerdict::Promote,
        "retry" => ApprovalVerdict::Retry,
        _ => ApprovalVerdict::Approve,
    };
    let fleet = spec.id("fleet");
    let group = spec.id("group");
    let change = spec.id("change");
    let at = spec.time("at");
    let expires = spec.time("expires");
    let because = spec.text("because");
    Some(Operation {
        verdict,
        fleet: fleet?,
        group: group?,
        change: change?,
        at: at?,
        expires: expires?,
        because: because?,
    })
}
