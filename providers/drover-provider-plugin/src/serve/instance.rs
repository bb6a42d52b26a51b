//! InfraKit's `Instance`, served by a provider of ours. The protocol keeps tags that ours has no place for,
//! so they are kept here, one file for each instance.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    Completeness, Digests, Epoch, FleetName, GroupName, GroupUid, InstanceId, Listed, Ownership,
    ProviderPhase, ProviderRef, Template, TemplateParts, Token, Value,
};
use drover_provider::{Clock, DestroyRequest, Provider, ProviderError, ProvisionRequest, Slot};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tokio::sync::Mutex;

use super::{Answered, Failure, Service, param, without_subtype, written};
use crate::json::{from_json, text, texts};

/// How long an instance may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// What is kept of an instance, in the file of its token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    tags: BTreeMap<String, String>,
    logical_id: Option<String>,
    spec: Json,
}

/// Serves one scope of a provider.
#[derive(Debug)]
pub struct InstanceService {
    provider: Arc<dyn Provider>,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    /// One call at a time changes something.
    turn: Mutex<()>,
}

impl InstanceService {
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
        fs::create_dir_all(folder)?;
        Ok(Self {
            provider,
            folder: folder.to_owned(),
            clock,
            turn: Mutex::const_new(()),
        })
    }

    /// The owner in the provider's eyes: what InfraKit makes is another fleet's than any agent's.
    fn fleet() -> FleetName {
        FleetName::parse("infrakit").expect("a valid label")
    }

    fn group() -> GroupName {
        GroupName::parse("infrakit").expect("a valid label")
    }

    fn path(&self, token: &Token) -> PathBuf {
        self.folder.join(format!("{token}.json"))
    }

    fn save(&self, token: &Token, record: &Record) -> Result<(), Failure> {
        let path = self.path(token);
        let unfinished = path.with_extension("new");
        let bytes =
            serde_json::to_vec(record).map_err(|error| Failure::plain(error.to_string()))?;
        let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|error| Failure::plain(format!("cannot keep the tags: {error}")))
    }

    fn load(&self, token: &Token) -> Result<Record, Failure> {
        let read = fs::read(self.path(token));
        let read =
            read.map_err(|error| Failure::plain(format!("cannot read the tags: {error}")))?;
        serde_json::from_slice(&read)
            .map_err(|error| Failure::plain(format!("cannot read the tags: {error}")))
    }

    /// Returns the instances that are there. Some of them is an error: a list that is too short makes a
    /// group controller make more.
    async fn there(&self) -> Result<Vec<(Listed, Ownership)>, Failure> {
        let listing = self.provider.list(&Self::fleet()).await;
        let listing = listing.map_err(|error| Failure::of(&error))?;
        if let Completeness::Partial { why } = listing.completeness {
            return Err(Failure::plain(format!("the listing is partial: {why}")));
        }
        let owned = listing.instances.into_iter().filter_map(|listed| {
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
            Some(mistake) => {
                let message = match mistake.path.as_str() {
                    "" => mistake.message.clone(),
                    path => format!("{path}: {}", mistake.message),
                };
                Err(Failure::of(&crate::spec::invalid(message)))
            }
        }
    }

    async fn provision(&self, params: &Json) -> Answered {
        let empty = Map::new();
        let spec = param(params, "Spec")
            .and_then(Json::as_object)
            .unwrap_or(&empty);
        let part = |name| crate::json::field(spec, name);
        let bad = |why: String| Failure::params(why, params);
        let properties = part("Properties").filter(|properties| !properties.is_null());
        let properties = self.check(properties.unwrap_or(&json!({})))?;
        if part("Attachments")
            .and_then(Json::as_array)
            .is_some_and(|list| !list.is_empty())
        {
            let error = crate::spec::invalid("this provider attaches nothing that has an id");
            return Err(Failure::of(&error));
        }
        let record = Record {
            tags: texts(part("Tags")).map_err(|why| bad(format!("`Tags`: {why}")))?,
            logical_id: text(part("LogicalID"))
                .map_err(|why| bad(format!("`LogicalID`: {why}")))?,
            spec: Json::Object(spec.clone()),
        };
        let init = text(part("Init")).map_err(|why| bad(format!("`Init`: {why}")))?;
        let request = self.request(init.unwrap_or_default(), properties);
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
                self.sweep().await;
                written(&Made {
                    r#type: "",
                    id: handle.as_str(),
                })
            }
            Err(error) => {
                // What may have been made keeps its tags.
                if error.class != drover_model::ErrorClass::Unknown {
                    let _ = fs::remove_file(self.path(&request.token));
                }
                Err(Failure::of(&error))
            }
        }
    }

    fn request(&self, init: String, properties: Value) -> ProvisionRequest {
        // A protocol without tokens: each call is another one.
        let nanoseconds = self.clock.now().as_nanosecond();
        let number = u64::try_from(nanoseconds).unwrap_or_default();
        let instance = InstanceId::new(Self::group(), number);
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
            token: Token::derive(&Self::fleet(), &uid, Epoch(1), &instance, 0),
            fleet: Self::fleet(),
            group: Self::group(),
            epoch: Epoch(1),
            digests: Digests::of(&manifest.type_, &template, &classes),
            zone: None,
            slots: vec![Slot {
                instance,
                init: if init.is_empty() {
                    Vec::new()
                } else {
                    vec![init]
                },
                env: BTreeMap::new(),
                tags: BTreeMap::new(),
                seat: None,
                secrets: BTreeMap::new(),
            }],
            properties,
            secrets: drover_provider::Secrets::default(),
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
        };
        self.provider.destroy(&request).await
    }

    /// Clears away what ended by itself: it is described no more, so nobody else will.
    async fn sweep(&self) {
        for (listed, owner) in self.there().await.unwrap_or_default() {
            if matches!(listed.phase, ProviderPhase::Exited(_)) {
                if let Err(error) = self.end(&listed, &owner).await {
                    tracing::warn!(instance = %listed.provider_ref, %error, "instance not cleared away");
                }
                let _ = fs::remove_file(self.path(&owner.token));
            }
        }
    }

    async fn label(&self, params: &Json) -> Answered {
        let (_, owner) = self.find(params).await?;
        let labels = texts(param(params, "Labels"));
        let labels = labels.map_err(|why| Failure::params(format!("`Labels`: {why}"), params))?;
        let mut record = self.load(&owner.token)?;
        record.tags.extend(labels);
        self.save(&owner.token, &record)?;
        written(&Done::OK)
    }

    async fn destroy(&self, params: &Json) -> Answered {
        let (listed, owner) = self.find(params).await?;
        self.end(&listed, &owner)
            .await
            .map_err(|error| Failure::of(&error))?;
        let _ = fs::remove_file(self.path(&owner.token));
        written(&Done::OK)
    }

    async fn describe(&self, params: &Json) -> Answered {
        let wanted = texts(param(params, "Tags"));
        let wanted = wanted.map_err(|why| Failure::params(format!("`Tags`: {why}"), params))?;
        let in_full = param(params, "Properties") == Some(&Json::Bool(true));
        let mut shown = Vec::new();
        for (listed, owner) in self.there().await? {
            // What ends, or has ended, is no instance to InfraKit: only so does it make another one.
            match listed.phase {
                ProviderPhase::Pending | ProviderPhase::Running | ProviderPhase::Unknown => {}
                ProviderPhase::Stopping | ProviderPhase::Exited(_) | ProviderPhase::Terminated => {
                    continue;
                }
            }
            let record = self.load(&owner.token)?;
            if wanted
                .iter()
                .all(|(name, value)| record.tags.get(name) == Some(value))
            {
                shown.push(described(&listed.provider_ref, record, in_full));
            }
        }
        written(&Descriptions {
            r#type: "",
            descriptions: shown,
        })
    }
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
struct Made<'a> {
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
            _ => {
                let _turn = self.turn.lock().await;
                match method {
                    "Provision" => self.provision(params).await,
                    "Label" => self.label(params).await,
                    _ => self.destroy(params).await,
                }
            }
        })
    }
}
