//! InfraKit's `Instance`, served by a provider of ours. The protocol describes and changes tags, which ours only
//! puts on, so they are kept here too, one file for each instance.
//!
//! What InfraKit's group controller is not told of, it makes again. So an instance whose file cannot be read is
//! left out of no answer that it may belong to: such a call fails, and names instance and file. The group is also in
//! the name of the file, so that one whose content is bad stands in the way of its own group alone.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drover_model::{
    Completeness, Digests, Epoch, FleetName, GroupName, GroupUid, InstanceId, Listed, Ownership,
    ProviderPhase, ProviderRef, Template, TemplateParts, Token, Value, plural,
};
use drover_provider::{
    Clock, DestroyRequest, Provider, ProviderError, ProvisionRequest, Slot, escaped, escaped_value,
};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use tokio::sync::Mutex;

use super::{Answered, Failure, Service, param, without_subtype, written};
use crate::json::{flag, from_json, list, text, texts};

mod fresh;
mod records;
mod under_way;

use fresh::{Fresh, Made};
use records::{Files, Record, Records, Unread};
use under_way::UnderWay;

/// How long an instance may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// The shortest time between two looks for what ended by itself.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The tag by which InfraKit's group controller finds the instances of a group.
const GROUP_TAG: &str = "infrakit.group";

/// The longest names and values of tags, in characters, that go onto the instance: EC2's limits.
const TAG_NAME_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;

/// Most tags that go onto the instance: EC2 takes 50, and drover has some of its own.
const TAGS_MAX: usize = 38;

/// Serves one scope of a provider.
#[derive(Debug)]
pub struct InstanceService {
    provider: Arc<dyn Provider>,
    records: Records,
    clock: Arc<dyn Clock>,
    fresh: Fresh,
    under_way: UnderWay,
    /// The number of the newest instance.
    newest: AtomicU64,
    /// One call at a time changes labels.
    labelling: Mutex<()>,
    /// When what ended by itself was last cleared away.
    swept: Mutex<Option<Instant>>,
}

impl InstanceService {
    const EPOCH: Epoch = Epoch(1);

    /// Serves `provider`, with what it has no place for in `folder`.
    ///
    /// # Errors
    ///
    /// The folder cannot be made.
    pub fn new(
        provider: Arc<dyn Provider>,
        folder: &Path,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let records = Records::open(folder)?;
        let visibility = provider.manifest().visibility;
        let made = if visibility.is_zero() {
            Vec::new()
        } else {
            records.files()?.made()
        };
        Ok(Self {
            fresh: Fresh::new(visibility, made),
            under_way: UnderWay::default(),
            provider,
            records,
            clock,
            newest: AtomicU64::new(0),
            labelling: Mutex::const_new(()),
            swept: Mutex::const_new(None),
        })
    }

    /// The owner in the provider's eyes: what InfraKit makes is another fleet's than any agent's.
    fn fleet() -> FleetName {
        FleetName::parse("infrakit").expect("a valid label")
    }

    fn group() -> GroupName {
        GroupName::parse("infrakit").expect("a valid label")
    }

    fn files(&self) -> Result<Files<'_>, Failure> {
        let files = self.records.files();
        files.map_err(|error| Failure::plain(format!("cannot look for the tags: {error}")))
    }

    fn save(&self, token: &Token, record: &Record) -> Result<(), Failure> {
        let saved = self.records.save(token, record);
        saved.map_err(|error| Failure::plain(format!("cannot keep the tags: {error}")))
    }

    /// Returns the instances that are there. Some of them is an error: a list that is too short makes a
    /// group controller make more.
    async fn there(&self) -> Result<Vec<(Listed, Ownership)>, Failure> {
        let listing = self.provider.list(&Self::fleet()).await;
        let listing = listing.map_err(|error| Failure::of(&error))?;
        if let Completeness::Partial { why } = listing.completeness {
            return Err(Failure::plain(format!("the listing is partial: {why}")));
        }
        let mut instances = listing.instances;
        self.fresh.add_to(&mut instances, self.clock.now());
        let owned = instances.into_iter().filter_map(|listed| {
            let owner = listed.ownership.clone()?;
            (listed.phase != ProviderPhase::Terminated).then_some((listed, owner))
        });
        Ok(owned.collect())
    }

    async fn find(&self, params: &Json) -> Result<(Listed, Ownership), Failure> {
        let id = text(param(params, "Instance")).map_err(|why| Failure::params(why, params))?;
        let id = id.unwrap_or_default();
        let there = self.there().await?;
        let found = there.into_iter().find(|(listed, _)| {
            let ends = matches!(
                listed.phase,
                ProviderPhase::Stopping | ProviderPhase::Exited(_)
            );
            listed.provider_ref.as_str() == id && !ends
        });
        found.ok_or_else(|| Failure::plain(format!("not found {id}")))
    }

    fn validate(&self, params: &Json) -> Answered {
        let properties = param(params, "Properties").cloned();
        self.check(&properties.unwrap_or_else(|| json!({})))?;
        written(&Done::OK)
    }

    fn check(&self, properties: &Json) -> Result<Value, Failure> {
        let value = from_json(properties);
        let mistakes = self.provider.manifest().properties.check(&value);
        match mistakes.first() {
            None => Ok(value),
            Some(mistake) => Err(Failure::of(&crate::spec::invalid(mistake.to_string()))),
        }
    }

    async fn provision(&self, params: &Json) -> Answered {
        let bad = |why: String| Failure::params(why, params);
        // What is made without its tags is found by nobody.
        let spec = param(params, "Spec").and_then(Json::as_object);
        let spec = spec.ok_or_else(|| bad("`Spec`: not a map".to_owned()))?;
        let part = |name| crate::json::field(spec, name);
        let properties = part("Properties").filter(|properties| !properties.is_null());
        let properties = self.check(properties.unwrap_or(&json!({})))?;
        let attachments = list(part("Attachments"));
        let attachments = attachments.map_err(|why| bad(format!("`Attachments`: {why}")))?;
        if !attachments.is_empty() {
            let error = crate::spec::invalid("this provider attaches nothing that has an id");
            return Err(Failure::of(&error));
        }
        let record = Record {
            tags: texts(part("Tags")).map_err(|why| bad(format!("`Tags`: {why}")))?,
            logical_id: text(part("LogicalID"))
                .map_err(|why| bad(format!("`LogicalID`: {why}")))?,
            spec: Json::Object(spec.clone()),
            made: None,
        };
        let init = text(part("Init")).map_err(|why| bad(format!("`Init`: {why}")))?;
        let request = self.request(&init.unwrap_or_default(), &properties, &record.tags);
        // Until it is made and noted, or is not.
        let under_way = self.under_way.begin(&request.token, &record.tags);
        self.save(&request.token, &record)?;
        let made = self.provider.provision(&request).await;
        let handle = made.and_then(|provisioned| {
            let shortfall = provisioned.shortfall;
            let handle = provisioned.made.into_values().next();
            handle.ok_or_else(|| {
                shortfall.unwrap_or_else(|| crate::spec::invalid("nothing was made"))
            })
        });
        match handle {
            Ok(handle) => {
                self.note(&request, record, &handle).await;
                drop(under_way);
                self.sweep().await;
                written(&Provisioned {
                    r#type: "",
                    id: handle.as_str(),
                })
            }
            Err(error) => {
                // What may have been made keeps its tags.
                if error.class != drover_model::ErrorClass::Unknown {
                    self.records.remove(&request.token);
                }
                Err(Failure::of(&error))
            }
        }
    }

    /// Notes what was made until listings are sure to have it.
    async fn note(&self, request: &ProvisionRequest, record: Record, handle: &ProviderRef) {
        if self.fresh.is_needless() {
            return;
        }
        let _labelling = self.labelling.lock().await;
        // Somebody who saw it in a listing may have labelled it meanwhile.
        let files = self.files().ok();
        let labelled = files.and_then(|files| files.load(&request.token).ok());
        let owner = Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: request.slots[0].instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: None,
        };
        let at = self.clock.now();
        self.fresh.note(handle, &owner, at);
        let record = Record {
            made: Some(Made::of(handle, &owner, at)),
            ..labelled.unwrap_or(record)
        };
        // It is there all the same: this process remembers it, and only the next one may not.
        if let Err(error) = self.records.save(&request.token, &record) {
            tracing::warn!(instance = %handle, %error, "not noted that an instance was made");
        }
    }

    /// Returns a number that no instance had.
    fn number(&self) -> u64 {
        let nanoseconds = self.clock.now().as_nanosecond();
        let now = u64::try_from(nanoseconds).unwrap_or_default();
        let next = |newest: u64| Some(now.max(newest.saturating_add(1)));
        let before = self.newest.fetch_update(Relaxed, Relaxed, next);
        next(before.unwrap_or_default()).unwrap_or(now)
    }

    /// Asks for an instance. What `${...}` is in InfraKit's texts belongs to whoever reads them, such as a shell, and names
    /// no fact of ours: it is escaped, and the provider puts it back.
    fn request(
        &self,
        init: &str,
        properties: &Value,
        tags: &BTreeMap<String, String>,
    ) -> ProvisionRequest {
        let properties = escaped_value(properties);
        // A protocol without tokens: each call is another one.
        let instance = InstanceId::new(Self::group(), self.number());
        let uid = GroupUid::parse("infrakit00000000").expect("16 letters and digits");
        let template = Template::from(TemplateParts {
            properties: properties.clone(),
            flavors: Vec::new(),
            flavors_as_written: Value::List(Vec::new()),
            tags: BTreeMap::new(),
        });
        let manifest = self.provider.manifest();
        let classes = manifest.properties.classes();
        ProvisionRequest {
            token: Token::derive(&Self::fleet(), &uid, Self::EPOCH, &instance, 0),
            fleet: Self::fleet(),
            group: Self::group(),
            epoch: Self::EPOCH,
            digests: Digests::of(&manifest.type_, &template, &classes),
            zone: None,
            slots: vec![Slot {
                instance,
                init: if init.is_empty() {
                    Vec::new()
                } else {
                    vec![escaped(init)]
                },
                env: BTreeMap::new(),
                tags: carried(tags),
                attachments: Vec::new(),
                seat: None,
                secrets: BTreeMap::new(),
            }],
            properties,
            secrets: drover_provider::Secrets::default(),
            urgency: drover_provider::Urgency::default(),
            asked: None,
        }
    }

    async fn end(&self, listed: &Listed, owner: &Ownership) -> Result<(), ProviderError> {
        let request = DestroyRequest {
            fleet: owner.fleet.clone(),
            group: owner.group.clone(),
            epoch: owner.epoch,
            instance: owner.instance.clone(),
            provider_ref: listed.provider_ref.clone(),
            token: owner.token.clone(),
            grace: GRACE,
            ending: drover_provider::Ending::default(),
        };
        self.provider.destroy(&request).await
    }

    /// Clears away what ended by itself: it is described no more, so nobody else will. Not after each of many that
    /// are made at once: each look is a listing.
    async fn sweep(&self) {
        let Ok(mut swept) = self.swept.try_lock() else {
            return;
        };
        if swept.is_some_and(|at| at.elapsed() < SWEEP_INTERVAL) {
            return;
        }
        for (listed, owner) in self.there().await.unwrap_or_default() {
            if matches!(listed.phase, ProviderPhase::Exited(_)) {
                if let Err(error) = self.end(&listed, &owner).await {
                    tracing::warn!(instance = %listed.provider_ref, %error, "instance not cleared away");
                }
                self.records.remove(&owner.token);
            }
        }
        *swept = Some(Instant::now());
    }

    async fn label(&self, params: &Json) -> Answered {
        let _labelling = self.labelling.lock().await;
        let (listed, owner) = self.find(params).await?;
        let labels = texts(param(params, "Labels"));
        let labels = labels.map_err(|why| Failure::params(format!("`Labels`: {why}"), params))?;
        let record = self.files()?.load(&owner.token);
        let mut record = record.map_err(|why| unread(&listed, &why))?;
        record.tags.extend(labels);
        self.save(&owner.token, &record)?;
        written(&Done::OK)
    }

    async fn destroy(&self, params: &Json) -> Answered {
        let (listed, owner) = self.find(params).await?;
        self.end(&listed, &owner)
            .await
            .map_err(|error| Failure::of(&error))?;
        self.fresh.forget(&listed.provider_ref);
        self.records.remove(&owner.token);
        written(&Done::OK)
    }

    async fn describe(&self, params: &Json) -> Answered {
        let wanted = texts(param(params, "Tags"));
        let wanted = wanted.map_err(|why| Failure::params(format!("`Tags`: {why}"), params))?;
        let in_full = flag(param(params, "Properties"));
        let in_full =
            in_full.map_err(|why| Failure::params(format!("`Properties`: {why}"), params))?;
        if let Err(count) = self.under_way.wait(&wanted).await {
            let words = format!(
                "{} being made, and cannot be described yet: ask again",
                plural(
                    count,
                    "instance with these tags is",
                    "instances with these tags are"
                )
            );
            return Err(Failure::plain(words));
        }
        let records = self.described(&wanted).await?;
        let records = records.into_iter();
        let shown = records.filter(|(_, record)| has_all(&record.tags, &wanted));
        written(&Descriptions {
            r#type: "",
            descriptions: shown
                .map(|(handle, record)| described(&handle, record, in_full))
                .collect(),
        })
    }

    /// Returns the instances with what is kept of them; without those of which nothing can be read, where they
    /// cannot have the wanted tags.
    async fn described(
        &self,
        wanted: &BTreeMap<String, String>,
    ) -> Result<Vec<(ProviderRef, Record)>, Failure> {
        let mut records = Vec::new();
        let mut unread_once = Vec::new();
        let there = self.there().await?;
        let files = self.files()?;
        for (listed, owner) in there {
            if is_instance(&listed.phase) {
                match files.load(&owner.token) {
                    Ok(record) => records.push((listed.provider_ref, record)),
                    Err(_) => unread_once.push(listed.provider_ref),
                }
            }
        }
        if unread_once.is_empty() {
            return Ok(records);
        }
        // It may have been ended after it was listed, and its file with it.
        let there = self.there().await?;
        let files = self.files()?;
        for (listed, owner) in there {
            if !is_instance(&listed.phase) || !unread_once.contains(&listed.provider_ref) {
                continue;
            }
            match files.load(&owner.token) {
                Ok(record) => records.push((listed.provider_ref, record)),
                Err(why) if is_elsewhere(&why, wanted) => {
                    let instance = &listed.provider_ref;
                    tracing::warn!(%instance, error = %why, "tags of an instance cannot be read");
                }
                Err(why) => return Err(unread(&listed, &why)),
            }
        }
        Ok(records)
    }
}

/// Returns whether the wanted tags are among these.
fn has_all(tags: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    let mut wanted = wanted.iter();
    wanted.all(|(name, value)| tags.get(name) == Some(value))
}

/// Returns whether a phase is one of what InfraKit takes for an instance. What ends, or has ended, is none: only
/// so does it make another one.
fn is_instance(phase: &ProviderPhase) -> bool {
    match phase {
        ProviderPhase::Pending | ProviderPhase::Running | ProviderPhase::Unknown => true,
        ProviderPhase::Stopping | ProviderPhase::Exited(_) | ProviderPhase::Terminated => false,
    }
}

/// Returns whether the wanted tags are those of another group than the instance is of.
fn is_elsewhere(unread: &Unread, wanted: &BTreeMap<String, String>) -> bool {
    let groups = unread.group.as_ref().zip(wanted.get(GROUP_TAG));
    groups.is_some_and(|(own, wanted)| own != wanted)
}

fn unread(listed: &Listed, why: &Unread) -> Failure {
    let instance = &listed.provider_ref;
    Failure::plain(format!(
        "the tags of instance {instance} are not known: {why}; put the file back, or destroy the instance"
    ))
}

/// Returns the tags that go onto the instance itself, for who looks there: InfraKit's own first. What begins as
/// the provider's own tags do, or is too long for EC2, is in the file alone.
fn carried(tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let fits = |(name, value): &(&String, &String)| {
        let name_lower = name.to_ascii_lowercase();
        let mut reserved = ["drover.", "aws:"].into_iter();
        let is_reserved = reserved.any(|start| name_lower.starts_with(start));
        !name.is_empty()
            && !is_reserved
            && name.chars().count() <= TAG_NAME_MAX
            && value.chars().count() <= TAG_VALUE_MAX
    };
    let (own, others): (Vec<_>, Vec<_>) = tags
        .iter()
        .filter(fits)
        .partition(|(name, _)| name.starts_with("infrakit."));
    own.into_iter()
        .chain(others)
        .take(TAGS_MAX)
        .map(|(name, value)| (name.clone(), escaped(value)))
        .collect()
}

/// The answer to what has no result but that it was done.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done {
    r#type: &'static str,
    #[serde(rename = "OK")]
    ok: bool,
}

impl Done {
    pub(super) const OK: Self = Self {
        r#type: "",
        ok: true,
    };
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Provisioned<'a> {
    r#type: &'static str,
    #[serde(rename = "ID")]
    id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Descriptions {
    r#type: &'static str,
    descriptions: Vec<Described>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "LogicalID")]
    logical_id: Option<String>,
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Spec>,
}

/// What an instance was asked for with, its members in InfraKit's order, and its labels as they are now.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    properties: Json,
    tags: BTreeMap<String, String>,
    init: String,
    #[serde(rename = "LogicalID")]
    logical_id: Option<String>,
    attachments: Json,
}

impl Spec {
    fn of(record: &Record) -> Self {
        let empty = Map::new();
        let spec = record.spec.as_object().unwrap_or(&empty);
        let part = |name| crate::json::field(spec, name).cloned();
        Self {
            properties: part("Properties").unwrap_or_default(),
            tags: record.tags.clone(),
            // A text, or it would not have been made.
            init: text(part("Init").as_ref())
                .ok()
                .flatten()
                .unwrap_or_default(),
            logical_id: record.logical_id.clone(),
            attachments: part("Attachments").unwrap_or_default(),
        }
    }
}

fn described(handle: &ProviderRef, record: Record, in_full: bool) -> Described {
    Described {
        id: handle.to_string(),
        properties: in_full.then(|| Spec::of(&record)),
        logical_id: record.logical_id,
        tags: record.tags,
    }
}

#[async_trait]
impl Service for InstanceService {
    fn name(&self) -> &'static str {
        "Instance"
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        [Some("0.1.0"), Some("0.5.0"), Some("0.6.1")]
    }

    async fn call(&self, method: &str, params: &Json) -> Option<Answered> {
        let known = [
            "Validate",
            "Provision",
            "Label",
            "Destroy",
            "DescribeInstances",
        ];
        if !known.contains(&method) {
            return None;
        }
        if let Err(failure) = without_subtype(params) {
            return Some(Err(failure));
        }
        Some(match method {
            "Validate" => self.validate(params),
            "DescribeInstances" => self.describe(params).await,
            "Provision" => self.provision(params).await,
            "Label" => self.label(params).await,
            _ => self.destroy(params).await,
        })
    }
}
