//! Operations: what a person with a key asks of the agents, one small signed document each, on a
//! branch of their own. The signature stands below the document and covers its bytes as written.

use std::sync::Arc;

use drover_model::{
    ApprovalVerdict, ChangeId, FleetName, GroupName, InstanceId, OrderVerb, SourceSpan, Timestamp,
};

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
    /// What, and of what.
    pub asked: Asked,
    /// The fleet: another's agents do not listen.
    pub fleet: FleetName,
    /// The group.
    pub group: GroupName,
    /// When it was asked, by the signer's clock.
    pub at: Timestamp,
    /// When it ends to count.
    pub expires: Timestamp,
    /// Why.
    pub because: String,
}

/// What is asked, and what of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Something of a change, and of no other.
    Change {
        /// What.
        verdict: ApprovalVerdict,
        /// The change.
        change: ChangeId,
    },
    /// Something of an instance, and of no other.
    Instance {
        /// What.
        verb: OrderVerb,
        /// The instance, which is one of the group.
        instance: InstanceId,
    },
}

impl Asked {
    /// Returns the word that commands and documents use.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Change { verdict, .. } => verdict.word(),
            Self::Instance { verb, .. } => verb.word(),
        }
    }
}

/// Writes an operation; the result is what is signed.
pub fn encode(operation: &Operation) -> String {
    let spec = MapOf::new()
        .text("operation", operation.asked.word())
        .text("fleet", operation.fleet.as_str())
        .text("group", operation.group.as_str());
    let spec = match &operation.asked {
        Asked::Change { change, .. } => spec.text("change", change.as_str()),
        Asked::Instance { instance, .. } => spec.text("instance", instance),
    };
    let spec = spec
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
    let word = spec.word("operation");
    let fleet = spec.id("fleet");
    let group = spec.id("group");
    let asked = asked(report, &spec, word, group.as_ref());
    let at = spec.time("at");
    let expires = spec.time("expires");
    let because = spec.text("because");
    Some(Operation {
        asked: asked?,
        fleet: fleet?,
        group: group?,
        at: at?,
        expires: expires?,
        because: because?,
    })
}

/// Reads what is asked and what of: a change or an instance, as the word has it.
fn asked(
    report: &Report,
    spec: &Fields<'_>,
    word: &'static str,
    group: Option<&GroupName>,
) -> Option<Asked> {
    let change = spec.id("change");
    let instance: Option<InstanceId> = spec.id("instance");
    let mut verbs = OrderVerb::ALL.into_iter();
    let verb = verbs.find(|verb| verb.word() == word);
    let (needed, other) = match verb {
        Some(_) => ("instance", "change"),
        None => ("change", "instance"),
    };
    // A word that is none has been told, and what it would be about is not known.
    let known = spec.get("operation").1;
    if known.and_then(|entry| entry.value.text()) != Some(word) {
        return None;
    }
    if !spec.has(needed) {
        let message = format!("`{needed}` is missing from spec");
        let diagnostic = Diagnostic::error("missing-field", message, spec.span_of("operation"));
        let hint = format!("`{word}` is about one {needed}");
        report.push(diagnostic.hint(hint));
    }
    if spec.has(other) {
        let message = format!("`{other}` is not a field of `{word}`");
        let diagnostic = Diagnostic::error("unknown-field", message, spec.span_of(other));
        let hint = format!("did you mean `{needed}`? `{word}` is about one {needed}");
        report.push(diagnostic.hint(hint));
    }
    if let Some(verb) = verb {
        let instance = instance?;
        if group.is_some_and(|group| group != instance.group())
            && let Some(entry) = spec.get("instance").1
        {
            spec.bad(
                entry,
                format!("is not one of group {}", spec.text("group")?),
            );
        }
        return Some(Asked::Instance { verb, instance });
    }
    let mut verdicts = ApprovalVerdict::ALL.into_iter();
    let verdict = verdicts.find(|verdict| verdict.word() == word)?;
    Some(Asked::Change {
        verdict,
        change: change?,
    })
}
