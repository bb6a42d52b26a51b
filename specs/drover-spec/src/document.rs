//! One file's documents: parsed, decoded, each with its own text and mistakes.

use std::borrow::Cow;
use std::sync::Arc;

use drover_model::{
    Amount, Binding, Calendar, FleetBudget, Group, Kind, MetricSource, Policy, ProviderDoc,
    SourceSpan, Value,
};
use sha2::{Digest as _, Sha256};

use crate::declare::{
    BINDING_SPEC, CALENDAR_SPEC, FLEET_SPEC, GROUP_SPEC, METADATA, METRIC_SOURCE_SPEC, Object,
    POLICY_SPEC, PROVIDER_SPEC,
};
use crate::decode::{
    Fields, Metadata, Others, closest, decode_binding, decode_calendar, decode_fleet, decode_group,
    decode_metric_source, decode_policy, decode_provider, outdented,
};
use crate::diagnostic::{Diagnostic, Report};
use crate::tree::{
    Content, Entry, Fault, Node, Place, RawDocument, RawFile, Resolved, Style, TreeLimits, read,
    taken_for,
};

mod glimpse;

pub use glimpse::Glimpse;

/// The version of the format that every document names.
pub const API_VERSION: &str = "drover/v1alpha1";

/// A file of the repository, parsed. A pure function of its path and content, so callers may cache
/// it by both.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedFile {
    /// The path inside the repository.
    pub path: String,
    /// The documents in order. Empty documents are not among them.
    pub documents: Vec<ParsedDocument>,
    /// Mistakes of the file as a whole, such as its size. When there is one, documents may be
    /// missing.
    pub diagnostics: Vec<Diagnostic>,
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedDocument {
    /// Kind and name, as far as they can be read. A name that is no valid name is not given.
    pub identity: Option<(Kind, String)>,
    /// Whether `identity` is beyond doubt: nothing in the document is hidden by a mistake.
    pub identity_certain: bool,
    /// The document's own text as written, without the `---` line before it.
    pub text: Arc<str>,
    /// The line of the file at which the text starts, from 1.
    pub line: u32,
    /// What the document says. None: a mistake, see `diagnostics`.
    pub outcome: Option<Document>,
    /// What can still be told of a group with mistakes.
    pub glimpse: Option<Glimpse>,
    /// The mistakes and warnings, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Defaults and limits of the repository.
    Fleet(FleetDoc),
    /// A group.
    Group(Arc<Group>),
    /// A policy.
    Policy(Box<Policy>),
    /// A binding.
    Binding(Box<Binding>),
    /// A provider.
    Provider(Box<ProviderDoc>),
    /// Metrics.
    MetricSource(Box<MetricSource>),
    /// Days.
    Calendar(Box<Calendar>),
}

/// A Fleet document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetDoc {
    /// The name.
    pub name: String,
    /// Where `metadata.name` stands.
    pub span: SourceSpan,
    /// Budgets that groups share.
    pub budgets: Vec<FleetBudget>,
    /// `limits.maxDestroy`: most instances that changes may remove without replacement within an hour, a share of those
    /// of all groups rounded up. None: the groups' own limits are all there is.
    pub destroy_max: Option<Amount>,
}

impl ParsedFile {
    /// Returns the first group of the file. None: it has none that can be understood.
    pub fn into_group(self) -> Option<Arc<Group>> {
        let mut outcomes = self.documents.into_iter().filter_map(|it| it.outcome);
        outcomes.find_map(|outcome| match outcome {
            Document::Group(group) => Some(group),
            Document::Fleet(_)
            | Document::Policy(_)
            | Document::Binding(_)
            | Document::Provider(_)
            | Document::MetricSource(_)
            | Document::Calendar(_) => None,
        })
    }

    /// Returns whether every document's kind and name are beyond doubt, so that a name that is not
    /// among them is really absent.
    pub fn identities_readable(&self) -> bool {
        self.diagnostics
            .iter()
            .all(|diagnostic| !diagnostic.is_error())
            && self
                .documents
                .iter()
                .all(|document| document.identity.is_some() && document.identity_certain)
    }
}

/// Parses and decodes every document of a file, collecting every mistake.
pub fn parse_file(path: &str, bytes: &[u8]) -> ParsedFile {
    let file: Arc<str> = path.into();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let line = good.matches('\n').count() as u32 + 1;
            let column = good.rsplit('\n').next().unwrap_or("").chars().count() as u32 + 1;
            let span = SourceSpan {
                file,
                line,
                column,
                length: 1,
            };
            return ParsedFile {
                path: path.to_owned(),
                documents: Vec::new(),
                diagnostics: vec![Diagnostic::error(
                    "not-utf8",
                    "the file is not valid UTF-8 from here on",
                    span,
                )],
            };
        }
    };
    parsed(path, &file, text, 0)
}

/// Parses a file that holds a value and no document, as a row of a policy's test table gives it.
/// Nothing is null.
///
/// # Errors
///
/// Every mistake, and more than one document.
pub fn parse_value(path: &str, text: &str) -> Result<Value, Vec<Diagnostic>> {
    parse_value_with(path, text, &|_, _| ())
}

/// A value whose maps have their entries in the order in which they were written.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderedValue {
    /// A single value: no list and no map.
    Single(Value),
    /// A sequence.
    List(Vec<OrderedValue>),
    /// A mapping. No key is repeated.
    Map(Vec<(String, OrderedValue)>),
}

impl OrderedValue {
    /// Returns the plain value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Single(value) => value.clone(),
            Self::List(items) => Value::List(items.iter().map(Self::to_value).collect()),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_value()))
                .collect(),
        }
    }

    /// The tree's depth is bounded, so recursion is.
    fn of(node: &Node) -> Self {
        match &node.content {
            Content::Scalar(_) => Self::Single(node.to_value()),
            Content::List(items, _) => Self::List(items.iter().map(Self::of).collect()),
            Content::Map(entries, _) => {
                let entry = |entry: &Entry| (entry.key.clone(), Self::of(&entry.value));
                Self::Map(entries.iter().map(entry).collect())
            }
        }
    }
}

/// Parses such a file with the entries of its maps in order.
///
/// # Errors
///
/// Those of [`parse_value`].
pub fn parse_ordered_value(path: &str, text: &str) -> Result<OrderedValue, Vec<Diagnostic>> {
    let root = parse_root(path, text, &|_, _| ())?;
    let nothing = OrderedValue::Single(Value::Null);
    Ok(root.as_ref().map_or(nothing, OrderedValue::of))
}

/// Parses such a file that another program reads as YAML 1.1: what it takes for something else is a mistake.
///
/// # Errors
///
/// Those of [`parse_value`], and each such text.
pub fn parse_value_of_yaml_1_1(path: &str, text: &str) -> Result<Value, Vec<Diagnostic>> {
    parse_value_with(path, text, &disputed)
}

/// Reports texts that YAML 1.1 takes for something else. The tree's depth is bounded, so recursion is.
fn disputed(report: &Report, node: &Node) {
    let mistake = |place, text: &str, kind: &str, way_out: &str| {
        let message = format!("readers of YAML 1.1 take `{text}` for {kind}: {way_out}");
        report.error("yaml-1.1", place, message);
    };
    match &node.content {
        Content::Scalar(scalar) => {
            let plain = scalar.style == Style::Plain;
            if let Some(kind) = taken_for(&scalar.text).filter(|_| plain) {
                mistake(
                    node.place,
                    &scalar.text,
                    kind,
                    "write it as one, or quote it",
                );
            }
        }
        Content::List(items, _) => items.iter().for_each(|item| disputed(report, item)),
        Content::Map(entries, _) => {
            for entry in entries {
                if let Some(kind) = taken_for(&entry.key) {
                    mistake(entry.key_place, &entry.key, kind, "give the file as JSON");
                }
                disputed(report, &entry.value);
            }
        }
    }
}

fn parse_value_with(
    path: &str,
    text: &str,
    check: &dyn Fn(&Report, &Node),
) -> Result<Value, Vec<Diagnostic>> {
    let root = parse_root(path, text, check)?;
    Ok(root.as_ref().map_or(Value::Null, Node::to_value))
}

/// Returns the one value of a file. None: it has none.
fn parse_root(
    path: &str,
    text: &str,
    check: &dyn Fn(&Report, &Node),
) -> Result<Option<Node>, Vec<Diagnostic>> {
    let report = Report::new(path.into());
    let RawFile { documents, fault } = read(text, 0, TreeLimits::DOCUMENTS);
    report_faults(&report, fault.into_iter().collect());
    let mut value = None;
    for (at, document) in documents.into_iter().enumerate() {
        report_faults(&report, document.faults);
        if let Some(root) = document.root {
            check(&report, &root);
            value = Some(root);
        }
        if at > 0 {
            let place = Place::at(document.line, 1);
            report.error(
                "more-documents",
                place,
                "one value is wanted, here is another",
            );
        }
    }
    let diagnostics = report.finish();
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    Ok(value)
}

/// Parses and decodes the text of one document on its own, as recorded state holds it. `line` is the
/// line of the file at which the text starts, from 1.
pub fn parse_document(path: &str, line: u32, text: &str) -> ParsedFile {
    parsed(path, &path.into(), text, line.saturating_sub(1))
}

fn parsed(path: &str, file: &Arc<str>, text: &str, line_offset: u32) -> ParsedFile {
    let raw = read(text, line_offset, TreeLimits::DOCUMENTS);
    let RawFile { documents, fault } = raw;
    let report = Report::new(file.clone());
    report_faults(&report, fault.into_iter().collect());
    ParsedFile {
        path: path.to_owned(),
        documents: documents
            .into_iter()
            .filter(|raw| !raw.root.as_ref().is_some_and(is_encrypted))
            .map(|raw| parsed_document(file, text, raw))
            .collect(),
        diagnostics: report.finish(),
    }
}

pub(crate) fn report_faults(report: &Report, faults: Vec<Fault>) {
    for fault in faults {
        let mut diagnostic = Diagnostic::error(fault.code, fault.message, report.span(fault.place));
        diagnostic.hint = fault.hint.map(Cow::into_owned);
        if let Some((place, label)) = fault.related {
            diagnostic = diagnostic.related(report.span(place), label);
        }
        report.push(diagnostic);
    }
}

fn parsed_document(file: &Arc<str>, source: &str, raw: RawDocument) -> ParsedDocument {
    let report = Report::new(file.clone());
    let text: Arc<str> = source[raw.start..raw.end].into();
    let identity = raw.root.as_ref().and_then(identity_of);
    report_faults(&report, raw.faults);
    // What stands in an unfinished tree is not all that was written: more mistakes would mislead.
    let outcome = match &raw.root {
        Some(root) if raw.finished => decode(&report, root, &text),
        Some(_) | None => None,
    };
    let glimpse = match &raw.root {
        Some(root) if raw.finished && report.has_errors() => {
            let group = match &outcome {
                Some(Document::Group(group)) => Some(group),
                Some(_) | None => None,
            };
            Glimpse::of(&report, root, group)
        }
        Some(_) | None => None,
    };
    let diagnostics = report.finish();
    let good = diagnostics.iter().all(|diagnostic| !diagnostic.is_error());
    ParsedDocument {
        identity,
        identity_certain: raw.finished && !raw.repeated,
        text,
        line: raw.line,
        outcome: outcome.filter(|_| good),
        glimpse,
        diagnostics,
    }
}

/// Whether it is a file of SOPS, which stands beside documents and is none.
fn is_encrypted(root: &Node) -> bool {
    let sops = root.get("sops");
    let has_mac = sops.is_some_and(|sops| sops.get("mac").is_some());
    has_mac && root.get("apiVersion").is_none() && root.get("kind").is_none()
}

/// Reads kind and name without judging anything else.
fn identity_of(root: &Node) -> Option<(Kind, String)> {
    let kind = root.get("kind")?.text()?;
    let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let name = root.get("metadata")?.get("name")?.text()?;
    drover_model::GroupName::parse(name).ok()?;
    Some((kind, name.to_owned()))
}

/// Returns the digest of a document's text, in hexadecimal.
fn text_digest(text: &str) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Returns the declaration of a kind's `spec`.
pub(crate) fn spec_of(kind: Kind) -> &'static Object {
    match kind {
        Kind::Fleet => &FLEET_SPEC,
        Kind::Group => &GROUP_SPEC,
        Kind::Policy => &POLICY_SPEC,
        Kind::Binding => &BINDING_SPEC,
        Kind::Provider => &PROVIDER_SPEC,
        Kind::MetricSource => &METRIC_SOURCE_SPEC,
        Kind::Calendar => &CALENDAR_SPEC,
    }
}

/// The keys of every document, with what they hold.
const TOP: [(&str, &str); 4] = [
    ("apiVersion", "write `apiVersion: drover/v1alpha1`"),
    (
        "kind",
        "write one of Fleet, Group, Policy, Binding, Provider, MetricSource, Calendar",
    ),
    ("metadata", "write `metadata: {name: ...}`"),
    ("spec", "write `spec:` with the document's fields"),
];

fn decode(report: &Report, root: &Node, text: &str) -> Option<Document> {
    let Some(entries) = root.entries() else {
        let message = format!("a document must be a map, found {}", root.kind());
        report.error("wrong-type", root.place, message);
        return None;
    };
    let top = Place {
        length: 1,
        ..root.place
    };
    if root.get("apiVersion").is_none() && root.get("kind").is_none() {
        report.error_hint(
            "not-a-document",
            top,
            "this is no drover document: it has neither `apiVersion` nor `kind`",
            "files that are none are named in .droverignore",
        );
        return None;
    }
    check_top(report, entries, top);
    let kind = kind_of(report, root);
    let entry = |name: &str| entries.iter().find(|entry| entry.key == name);
    let metadata = entry("metadata").and_then(|entry| {
        let place = entry.key_place;
        let fields = Fields::open(report, &entry.value, place, &METADATA, Others::Refuse);
        Metadata::decode(&fields)
    });
    let (kind, spec) = (kind?, entry("spec")?);
    let others = match kind {
        Kind::Provider => Others::Leave,
        Kind::Fleet
        | Kind::Group
        | Kind::Policy
        | Kind::Binding
        | Kind::MetricSource
        | Kind::Calendar => Others::Refuse,
    };
    let fields = Fields::open(report, &spec.value, spec.key_place, spec_of(kind), others);
    Some(match kind {
        Kind::Fleet => Document::Fleet(decode_fleet(metadata, &fields)?),
        Kind::Group => Document::Group(Arc::new(decode_group(metadata, &fields)?)),
        Kind::Policy => Document::Policy(Box::new(decode_policy(
            metadata,
            &fields,
            text_digest(text),
        )?)),
        Kind::Binding => Document::Binding(Box::new(decode_binding(
            metadata,
            &fields,
            text_digest(text),
        )?)),
        Kind::Provider => Document::Provider(Box::new(decode_provider(metadata, &fields)?)),
        Kind::MetricSource => {
            let digest = text_digest(text);
            let source = decode_metric_source(metadata, &fields, digest)?;
            Document::MetricSource(Box::new(source))
        }
        Kind::Calendar => {
            let calendar = decode_calendar(metadata, &fields, text_digest(text))?;
            Document::Calendar(Box::new(calendar))
        }
    })
}

/// Returns the empty key that a field of another name stands beside, and probably belongs below.
fn empty_above<'a>(entries: &'a [Entry], entry: &Entry) -> Option<&'a Entry> {
    let is_before = |other: &&Entry| other.key_place.start < entry.key_place.start;
    let mut before = entries.iter().filter(is_before).rev();
    let above = before.find(|other| TOP.iter().any(|(name, _)| *name == other.key))?;
    let scalar = above.value.scalar()?;
    (scalar.resolved == Resolved::Null && scalar.text.is_empty()).then_some(above)
}

fn check_top(report: &Report, entries: &[Entry], place: Place) {
    for (name, hint) in TOP {
        if !entries.iter().any(|entry| entry.key == name) {
            report.error_hint(
                "missing-field",
                place,
                format!("`{name}` is missing from the document"),
                hint,
            );
        }
    }
    for entry in entries {
        if TOP.iter().any(|(name, _)| *name == entry.key) {
            continue;
        }
        let message = format!("unknown field `{}`", entry.key);
        let mut diagnostic =
            Diagnostic::error("unknown-field", message, report.span(entry.key_place));
        if let Some(above) = empty_above(entries, entry) {
            diagnostic = diagnostic.hint(outdented(&above.key));
        } else if entry.key == "status" {
            diagnostic = diagnostic.hint("what is observed goes to the state branch, never here");
        } else if let Some(near) = closest(&entry.key, TOP.iter().map(|(name, _)| *name)) {
            diagnostic = diagnostic.hint(format!("did you mean `{near}`?"));
        }
        report.push(diagnostic);
    }
}

fn kind_of(report: &Report, root: &Node) -> Option<Kind> {
    if let Some(version) = root.get("apiVersion")
        && version.text() != Some(API_VERSION)
    {
        report.error_hint(
            "unknown-version",
            version.place,
            "unknown apiVersion",
            format!("this version of drover reads `{API_VERSION}`"),
        );
    }
    let node = root.get("kind")?;
    let written = node.text().unwrap_or("");
    let known = Kind::ALL.into_iter().find(|kind| kind.as_str() == written);
    if known.is_none() {
        let names = || Kind::ALL.into_iter().map(Kind::as_str);
        let message = format!("unknown kind `{written}`");
        let diagnostic = Diagnostic::error("unknown-kind", message, report.span(node.place));
        report.push(match closest(written, names()) {
            Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
            None => diagnostic.hint(format!(
                "the kinds are {}",
                names().collect::<Vec<_>>().join(", ")
            )),
        });
    }
    known
}

#[cfg(test)]
mod tests;
