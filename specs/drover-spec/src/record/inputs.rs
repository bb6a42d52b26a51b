//! What a plan was made from, and what it was: `inputs/<group>.json` on the state branch.
//!
//! Each value is taken apart field by field, without `..`, so that a field that is added to the
//! planner's input and forgotten here does not compile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    AcceptedDocument, Decisions, Epoch, FieldClass, FleetName, Group, HealthSignal, Held,
    InstanceId, InstanceMemory, Intent, Listing, Peers, ProviderName, ProviderType, Readings,
    Recommendation, RecordedGroup, Revision, RosterView, Surveyed, Timestamp, Value,
};

use super::read::{self, Reader};
use super::write::{MapOf, Yaml};
use super::{RecordError, decode, encode, hold, json};
use crate::document::parse_document;
use crate::formats::{format_duration, format_time, parse_duration};

mod adopt;
mod decided;
mod metrics;
mod outcome;
mod roster;
mod seen;

pub(crate) const KIND: &str = "PlanInputs";

/// Everything that a plan rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanInputs {
    /// The version of the planner that used it.
    pub planner: u64,
    /// The time of the pass.
    pub now: Timestamp,
    /// The fleet.
    pub fleet: FleetName,
    /// The agent's epoch.
    pub epoch: Epoch,
    /// The commit of the source.
    pub source: Revision,
    /// What should become of the group.
    pub desired: DesiredInputs,
    /// Its provider.
    pub provider: ProviderInputs,
    /// How long the provider may leave an acknowledged instance out of its listing.
    pub visibility: Duration,
    /// The listing.
    pub listing: Listing,
    /// The results of the health checks.
    pub signals: BTreeMap<InstanceId, HealthSignal>,
    /// What the last pass remembered.
    pub memory: BTreeMap<InstanceId, InstanceMemory>,
    /// The open intents.
    pub intents: Vec<Intent>,
    /// The membership list of its program. None: nobody was asked.
    pub roster: Option<RosterView>,
    /// What the provider had that the document adopts. None: nobody was asked.
    pub surveyed: Option<Surveyed>,
    /// The recorded state before the plan.
    pub recorded: RecordedGroup,
    /// What the size policy asked for lately.
    pub recommendations: Vec<Recommendation>,
    /// What policies decided.
    pub decisions: Decisions,
    /// Digests of the policies and bindings.
    pub policies: BTreeMap<String, String>,
    /// What sources of metrics answered, for the group's policies. The decisions rest on it, the plan on
    /// them alone.
    pub readings: Readings,
    /// What was known of other groups.
    pub peers: Peers,
    /// What was in the way.
    pub fences: Vec<Held>,
}

/// What should become of a group, as documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DesiredInputs {
    /// It should be as the document says.
    Present(AcceptedDocument),
    /// Its document was removed.
    Deleting {
        /// The last accepted document.
        document: AcceptedDocument,
        /// The commit that removed it.
        revision: Revision,
    },
}

impl DesiredInputs {
    /// Returns the document that is planned with.
    pub fn document(&self) -> &AcceptedDocument {
        match self {
            Self::Present(document) | Self::Deleting { document, .. } => document,
        }
    }

    /// Parses the document. None: this version does not understand it.
    pub fn group(&self) -> Option<Arc<Group>> {
        let document = self.document();
        parse_document(&document.path, document.line, &document.text).into_group()
    }
}

/// What the planner knew of the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderInputs {
    /// The Provider document's name.
    pub name: ProviderName,
    /// Its type.
    pub type_: ProviderType,
    /// Its settings.
    pub settings: Value,
    /// The class of each property.
    pub classes: BTreeMap<String, FieldClass>,
    /// Most slots in one provision call.
    pub batch_max: u32,
}

pub use outcome::PlanOutcome;

/// Encodes what a plan was made from, and the plan.
pub fn encode_inputs(inputs: &PlanInputs, outcome: &PlanOutcome<'_>) -> String {
    let PlanInputs {
        planner,
        now,
        fleet,
        epoch,
        source,
        desired,
        provider,
        visibility,
        listing,
        signals,
        memory,
        intents,
        roster,
        surveyed,
        recorded,
        recommendations,
        decisions,
        policies,
        readings,
        peers,
        fences,
    } = inputs;
    let root = encode::header(KIND)
        .number("planner", *planner)
        .text("now", &format_time(*now))
        .text("fleet", fleet)
        .number("epoch", epoch.0)
        .text("source", source)
        .with("desired", desired_out(desired, recorded))
        .with("provider", provider_out(provider))
        .text("visibility", &format_duration(*visibility))
        .with("listing", seen::listing_out(listing))
        .with("signals", map_out(signals, seen::signal_out))
        .with("memory", map_out(memory, seen::memory_out))
        .with("intents", list_out(intents, seen::intent_out))
        .optional("roster", roster.as_ref().map(roster::view_out))
        .optional("surveyed", surveyed.as_ref().map(adopt::surveyed_out))
        .with("recorded", encode::group(recorded))
        .with(
            "recommendations",
            list_out(recommendations, decided::recommendation_out),
        )
        .with("decisions", decided::decisions_out(decisions))
        .with("policies", map_out(policies, Yaml::text))
        .optional("metrics", metrics::readings_out(readings))
        .optional("peers", decided::peers_out(peers))
        .with("fences", list_out(fences, hold::encode_held))
        .with("outcome", outcome::outcome_out(outcome));
    json::document(&root.build())
}

const FIELDS: [&str; 26] = [
    "apiVersion",
    "kind",
    "format",
    "planner",
    "now",
    "fleet",
    "epoch",
    "source",
    "desired",
    "provider",
    "visibility",
    "listing",
    "signals",
    "memory",
    "intents",
    "roster",
    "surveyed",
    "recorded",
    "recommendations",
    "decisions",
    "policies",
    "metrics",
    "peers",
    "fences",
    // What came of it is compared as text; where the document was seen is the loop's.
    "outcome",
    "seenUnder",
];

/// Decodes what [`encode_inputs`] wrote.
///
/// # Errors
///
/// As [`decode`](super::decode).
pub fn decode_inputs(text: &str) -> Result<PlanInputs, RecordError> {
    let root = read::root(text, KIND)?;
    let root = Reader::root(&root);
    root.only(&FIELDS)?;
    let recorded = decode::group(&root.get("recorded")?)?;
    Ok(PlanInputs {
        planner: root.get("planner")?.number()?,
        now: root.get("now")?.time()?,
        fleet: root.get("fleet")?.parsed()?,
        epoch: Epoch(root.get("epoch")?.number()?),
        source: root.get("source")?.parsed()?,
        desired: desired_in(&root.get("desired")?, &recorded)?,
        provider: provider_in(&root.get("provider")?)?,
        visibility: duration(&root.get("visibility")?)?,
        listing: seen::listing_in(&root.get("listing")?)?,
        signals: map_in(&root.get("signals")?, seen::signal_in)?,
        memory: map_in(&root.get("memory")?, seen::memory_in)?,
        intents: list_in(&root.get("intents")?, seen::intent_in)?,
        roster: root.optional_with("roster", roster::view_in)?,
        surveyed: root.optional_with("surveyed", adopt::surveyed_in)?,
        recorded,
        recommendations: list_in(&root.get("recommendations")?, decided::recommendation_in)?,
        decisions: decided::decisions_in(&root.get("decisions")?)?,
        policies: decode::texts(&root.get("policies")?)?,
        readings: root
            .optional_with("metrics", metrics::readings_in)?
            .unwrap_or_default(),
        peers: root
            .optional_with("peers", decided::peers_in)?
            .unwrap_or_default(),
        fences: list_in(&root.get("fences")?, hold::decode_held)?,
    })
}

/// The document is nearly always the accepted one, which the recorded state has already.
fn desired_out(desired: &DesiredInputs, recorded: &RecordedGroup) -> Yaml {
    let document = desired.document();
    let known = recorded.accepted.as_ref() == Some(document);
    let map = match desired {
        DesiredInputs::Present(_) => MapOf::new(),
        DesiredInputs::Deleting {
            document: _,
            revision,
        } => MapOf::new().text("deletedBy", revision),
    };
    map.optional("document", (!known).then(|| encode::accepted(document)))
        .build()
}

fn desired_in(reader: &Reader<'_>, recorded: &RecordedGroup) -> Result<DesiredInputs, RecordError> {
    reader.only(&["deletedBy", "document"])?;
    let document = reader
        .optional_with("document", decode::accepted)?
        .or_else(|| recorded.accepted.clone())
        .ok_or_else(|| reader.error("has no document"))?;
    Ok(match reader.optional_with("deletedBy", Reader::parsed)? {
        Some(revision) => DesiredInputs::Deleting { document, revision },
        None => DesiredInputs::Present(document),
    })
}

fn provider_out(provider: &ProviderInputs) -> Yaml {
    let ProviderInputs {
        name,
        type_,
        settings,
        classes,
        batch_max,
    } = provider;
    MapOf::new()
        .text("name", name)
        .text("type", type_)
        .with("settings", Yaml::value(settings))
        .with("classes", encode::field_classes_out(classes))
        .number("batchMax", *batch_max)
        .build()
}

fn provider_in(reader: &Reader<'_>) -> Result<ProviderInputs, RecordError> {
    reader.only(&["name", "type", "settings", "classes", "batchMax"])?;
    Ok(ProviderInputs {
        name: reader.get("name")?.parsed()?,
        type_: reader.get("type")?.parsed()?,
        settings: reader.get("settings")?.node().to_value(),
        classes: decode::field_classes(&reader.get("classes")?)?,
        batch_max: reader.get("batchMax")?.number()?,
    })
}

fn duration(reader: &Reader<'_>) -> Result<Duration, RecordError> {
    parse_duration(reader.text()?).map_err(|error| reader.error(error.to_string()))
}

fn map_out<K: ToString, V>(map: &BTreeMap<K, V>, out: impl Fn(&V) -> Yaml) -> Yaml {
    let entries = map.iter().map(|(key, value)| (key.to_string(), out(value)));
    Yaml::Map(entries.collect())
}

fn map_in<'a, V>(
    reader: &Reader<'a>,
    value: impl Fn(&Reader<'a>) -> Result<V, RecordError>,
) -> Result<BTreeMap<InstanceId, V>, RecordError> {
    reader.map_of(|key| InstanceId::parse(key).ok(), value)
}

fn list_out<T>(list: &[T], out: impl Fn(&T) -> Yaml) -> Yaml {
    Yaml::List(list.iter().map(out).collect())
}

fn list_in<'a, T>(
    reader: &Reader<'a>,
    item: impl Fn(&Reader<'a>) -> Result<T, RecordError>,
) -> Result<Vec<T>, RecordError> {
    reader.list()?.iter().map(item).collect()
}
