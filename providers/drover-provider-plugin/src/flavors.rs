//! Flavor plugins, asked: InfraKit's `Flavor`, of every release.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{CheckOutcome, ErrorClass, FlavorName, GroupName, IntentId, MemberId, Value};
use drover_provider::{
    Allocation, ClusterReport, ClusterView, FlavorCall, FlavorInstance, FlavorPrepared,
    FlavorRequest, Flavors, ProviderError,
};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use crate::call::{CallError, Caller, Fault, Place, shortened};
use crate::endpoint::PluginName;
use crate::hello::hello;
use crate::infrakit::{Spec, attachments, is_ok};
use crate::json::{field, from_json, text, texts, to_json};
use crate::spec::{invalid, logical_id};

mod cluster;
mod conformance;

use cluster::{ClusterParams, keeps_cluster};
pub use conformance::{FlavorSubject, check_flavor, is_flavor};

/// The versions of `Flavor` that are spoken, oldest first. Their requests are the same.
const VERSIONS: [((), &str); 2] = [((), "0.1.0"), ((), "0.1.1")];

/// Health in InfraKit's numbers.
const UNKNOWN: u64 = 0;
const HEALTHY: u64 = 1;
const UNHEALTHY: u64 = 2;

/// How long a plugin may take to drain one instance, before it is told anew.
const DRAIN_LIMIT: Duration = Duration::from_mins(1);

/// Most drains that are remembered: far more than end at once in a fleet. Beyond that, those that are over are forgotten, and
/// their plugins told again.
const DRAINS_MAX: usize = 4096;

/// Asks the flavor plugins at one place.
#[derive(Debug, Clone)]
pub struct PluginFlavors {
    place: Place,
    /// Which plugins keep clusters, as each said in its last handshake.
    keepers: Arc<Mutex<BTreeMap<FlavorName, bool>>>,
    drains: Arc<Mutex<BTreeMap<(IntentId, FlavorName), Flight>>>,
}

/// A call of `Flavor.Drain` that is under way, or has succeeded.
type Flight = Shared<BoxFuture<'static, Result<(), ProviderError>>>;

/// Which instances a group has, as InfraKit writes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AllocationParams {
    size: u32,
    #[serde(rename = "LogicalIDs")]
    logical_ids: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ValidateParams<'a> {
    r#type: &'a str,
    properties: &'a Json,
    allocation: &'a AllocationParams,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PrepareParams<'a> {
    r#type: &'a str,
    properties: &'a Json,
    spec: &'a Spec,
    allocation: &'a AllocationParams,
    index: IndexParams<'a>,
    /// For plugins that keep a cluster: InfraKit's own know no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterParams<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IndexParams<'a> {
    group: &'a str,
    sequence: u64,
}

/// A question about an instance.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceParams<'a> {
    r#type: &'a str,
    properties: Json,
    instance: InstanceDescription<'a>,
}

/// An instance as InfraKit's `Instance` would describe it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceDescription<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "LogicalID")]
    logical_id: Option<String>,
    tags: &'a BTreeMap<String, String>,
    properties: Json,
}

impl<'a> InstanceParams<'a> {
    fn new(caller: &'a Caller, flavor: &FlavorCall, instance: &'a FlavorInstance) -> Self {
        Self {
            r#type: &caller.name.subtype,
            properties: as_json(&flavor.properties),
            instance: InstanceDescription {
                id: instance.provider_ref.as_str(),
                logical_id: instance.member.as_ref().map(member_id),
                tags: &instance.tags,
                properties: to_json(&instance.properties),
            },
        }
    }
}

impl PluginFlavors {
    /// Finds plugins at `place`.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            keepers: Arc::default(),
            drains: Arc::default(),
        }
    }

    /// Tells a plugin to drain an instance, or joins the call that is under way for the same intent.
    fn launch(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        drain: IntentId,
    ) -> Result<Flight, ProviderError> {
        let caller = self.caller(&flavor.name)?;
        let key = (drain, flavor.name.clone());
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = drains.get(&key) {
            return Ok(flight.clone());
        }
        if drains.len() >= DRAINS_MAX {
            drains.retain(|_, flight| flight.peek().is_none());
        }
        let (flavor, instance) = (flavor.clone(), instance.clone());
        let name = flavor.name.clone();
        let task = tokio::spawn(async move {
            let method = "Flavor.Drain";
            let params = InstanceParams::new(&caller, &flavor, &instance);
            let answer = caller.call(method, &params, DRAIN_LIMIT).await;
            let answer = answer.map_err(|error| failed(&error))?;
            match is_ok(&answer) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    let refused = Fault::Refused {
                        class: None,
                        message: "it has not drained the instance".to_owned(),
                    };
                    Err(failed(&caller.error(method, refused)))
                }
                Err(why) => Err(failed(&caller.garbled(method, &why))),
            }
        });
        let done = async move {
            task.await.unwrap_or_else(|error| {
                let message =
                    format!("plugin {name}: Flavor.Drain: the call was cut short: {error}");
                Err(ProviderError::new(ErrorClass::Unknown, message))
            })
        };
        let flight = done.boxed().shared();
        drains.insert(key, flight.clone());
        Ok(flight)
    }

    /// Forgets a call that failed, so that the plugin is told anew.
    fn forget(&self, key: &(IntentId, FlavorName), flight: &Flight) {
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        if drains.get(key).is_some_and(|known| known.ptr_eq(flight)) {
            drains.remove(key);
        }
    }

    fn caller(&self, name: &FlavorName) -> Result<Caller, ProviderError> {
        let plugin: Result<PluginName, _> = name.as_str().parse();
        let plugin = plugin.map_err(|error| invalid(format!("flavor plugin {name}: {error}")))?;
        Ok(Caller::new(plugin, self.place.clone()))
    }

    /// Asks for an instance's health. Without a handshake: it is asked so often, and what is no flavor has no such
    /// method.
    async fn health(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        limit: Duration,
    ) -> Result<u64, ProviderError> {
        let caller = self.caller(&flavor.name)?;
        let params = InstanceParams::new(&caller, flavor, instance);
        let method = "Flavor.Healthy";
        let answer = caller
            .call(method, &params, limit)
            .await
            .map_err(|error| failed(&error))?;
        health_of(&answer)
            .ok_or_else(|| failed(&caller.garbled(method, "`Health` is not a number")))
    }
}

/// Returns an error of a plugin that was asked to do nothing: whether it was asked does not matter, and what it says in
/// words without a class is a refusal.
fn failed(error: &CallError) -> ProviderError {
    let class = match &error.fault {
        Fault::Absent(_) | Fault::NotSent(_) | Fault::Lost(_) => ErrorClass::Unknown,
        Fault::Refused { class, .. } => class.unwrap_or(ErrorClass::InvalidSpec),
    };
    ProviderError::new(class, error.to_string())
}

fn allocation(allocation: &Allocation) -> AllocationParams {
    match allocation {
        Allocation::Size(size) => AllocationParams {
            size: *size,
            logical_ids: None,
        },
        Allocation::Members(members) => AllocationParams {
            size: 0,
            logical_ids: Some(members.iter().map(member_id).collect()),
        },
    }
}

fn member_id(member: &MemberId) -> String {
    logical_id(member.as_str())
}

/// One plugin, asked for one instance within one limit.
struct Asking {
    caller: Caller,
    deadline: Instant,
    properties: Json,
    allocation: AllocationParams,
}

impl Asking {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    async fn call<P: Serialize + Sync>(
        &self,
        method: &str,
        params: &P,
    ) -> Result<Json, ProviderError> {
        let answer = self.caller.call(method, params, self.left()).await;
        answer.map_err(|error| failed(&error))
    }

    fn garbled(&self, method: &str, why: &str) -> ProviderError {
        failed(&self.caller.garbled(method, why))
    }

    /// Makes sure that the plugin is a flavor, and that it takes the properties. Returns whether it keeps a cluster.
    async fn validate(&self) -> Result<bool, ProviderError> {
        let greeting = hello(&self.caller);
        let greeted = tokio::time::timeout(self.left(), greeting).await;
        let Ok(answered) = greeted else {
            let late = Fault::Lost("no answer in time".to_owned());
            return Err(failed(&self.caller.error("Handshake.Hello", late)));
        };
        // What knows no handshake may be anything, and may be another program soon: no refusal.
        let interfaces = answered.map_err(CallError::into_provider_error)?;
        let subtype = &self.caller.name.subtype;
        let offered = interfaces.version("Flavor", &VERSIONS, subtype);
        offered.map_err(|why| invalid(format!("plugin {}: {why}", self.caller.name)))?;
        let params = ValidateParams {
            r#type: subtype,
            properties: &self.properties,
            allocation: &self.allocation,
        };
        let method = "Flavor.Validate";
        let answer = self.call(method, &params).await?;
        let ok = is_ok(&answer).map_err(|why| self.garbled(method, &why))?;
        if ok {
            return Ok(keeps_cluster(&interfaces, subtype));
        }
        let refused = Fault::Refused {
            class: None,
            message: "it does not take these properties".to_owned(),
        };
        Err(failed(&self.caller.error(method, refused)))
    }

    async fn prepare(
        &self,
        request: &FlavorRequest,
        keeps: bool,
    ) -> Result<FlavorPrepared, ProviderError> {
        let spec = Spec {
            properties: to_json(&request.spec.properties),
            tags: request.spec.tags.clone(),
            // Each flavor's own part is added where it stands. InfraKit's `combo` repeats what was there.
            init: String::new(),
            logical_id: request.index.member.as_ref().map(member_id),
            // And so it does with what they attach. What is attached is what each flavor says, one after the other.
            attachments: None,
        };
        let params = PrepareParams {
            r#type: &self.caller.name.subtype,
            properties: &self.properties,
            spec: &spec,
            allocation: &self.allocation,
            index: IndexParams {
                group: request.index.group.as_str(),
                sequence: request.index.number,
            },
            cluster: keeps.then(|| ClusterParams::of(&request.cluster)),
        };
        let method = "Flavor.Prepare";
        let answer = self.call(method, &params).await?;
        let read = prepared(&answer).map_err(|why| self.garbled(method, &why))?;
        read.honoured(&spec).map_err(|message| {
            let refused = Fault::Refused {
                class: None,
                message,
            };
            failed(&self.caller.error(method, refused))
        })
    }
}

/// The spec that a plugin answers with.
struct Answer {
    prepared: FlavorPrepared,
    logical_id: Option<String>,
}

impl Answer {
    /// Refuses what nobody would do.
    fn honoured(self, asked: &Spec) -> Result<FlavorPrepared, String> {
        let given = self.logical_id.filter(|id| !id.is_empty());
        if given.is_some() && given != asked.logical_id {
            return Err(format!(
                "it sets the LogicalID {}, which is the group's to choose",
                shortened(&given.unwrap_or_default())
            ));
        }
        Ok(self.prepared)
    }
}

/// Reads `{"Health": 1}`.
fn health_of(answer: &Json) -> Option<u64> {
    let answer = answer.as_object()?;
    field(answer, "Health").and_then(Json::as_u64)
}

/// Reads `{"Spec": {...}}`.
fn prepared(answer: &Json) -> Result<Answer, String> {
    let spec = answer
        .as_object()
        .and_then(|answer| field(answer, "Spec")?.as_object());
    let spec = spec.ok_or("`Spec` is not a map")?;
    let word = |name: &str| text(field(spec, name)).map_err(|why| format!("`{name}` is {why}"));
    let properties = match field(spec, "Properties") {
        // A program in Go that does not look at them.
        None | Some(Json::Null) => None,
        Some(json @ Json::Object(_)) => Some(from_json(json)),
        Some(_) => return Err("`Properties` is not a map".to_owned()),
    };
    Ok(Answer {
        prepared: FlavorPrepared {
            init: word("Init")?.unwrap_or_default(),
            tags: texts(field(spec, "Tags")).map_err(|why| format!("`Tags`: {why}"))?,
            properties,
            attachments: attachments(field(spec, "Attachments"))?,
        },
        logical_id: word("LogicalID")?,
    })
}

/// Returns properties as JSON: none are an empty map.
fn as_json(properties: &Value) -> Json {
    match properties {
        Value::Null => Json::Object(Map::new()),
        properties => to_json(properties),
    }
}

#[async_trait]
impl Flavors for PluginFlavors {
    async fn prepare(
        &self,
        request: &FlavorRequest,
        limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        let asking = Asking {
            caller: self.caller(&request.flavor.name)?,
            deadline: Instant::now() + limit,
            properties: as_json(&request.flavor.properties),
            allocation: allocation(&request.allocation),
        };
        let keeps = asking.validate().await?;
        self.note_keeper(&request.flavor.name, keeps);
        asking.prepare(request, keeps).await
    }

    async fn healthy(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        limit: Duration,
    ) -> CheckOutcome {
        let says = |what: &str| format!("plugin {}: Flavor.Healthy: {what}", flavor.name);
        match self.health(flavor, instance, limit).await {
            Ok(HEALTHY) => CheckOutcome::Passing,
            Ok(UNHEALTHY) => CheckOutcome::Failing {
                why: says("it is unhealthy"),
            },
            Ok(UNKNOWN) => CheckOutcome::Unknown {
                why: says("it does not know"),
            },
            Ok(other) => CheckOutcome::Unknown {
                why: says(&format!("it answers {other}, which is no health")),
            },
            Err(error) => CheckOutcome::Unknown { why: error.message },
        }
    }

    async fn drain(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        drain: IntentId,
        limit: Duration,
    ) -> Result<(), ProviderError> {
        let flight = self.launch(flavor, instance, drain)?;
        match tokio::time::timeout(limit, flight.clone()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.forget(&(drain, flavor.name.clone()), &flight);
                Err(error)
            }
            Err(_) => {
                let message = format!("plugin {}: Flavor.Drain: no answer yet", flavor.name);
                Err(ProviderError::new(ErrorClass::Unknown, message))
            }
        }
    }

    async fn cluster_health(
        &self,
        flavor: &FlavorCall,
        group: &GroupName,
        view: &ClusterView,
        limit: Duration,
    ) -> Option<ClusterReport> {
        self.cluster(flavor, group, view, limit).await
    }
}

#[cfg(test)]
mod tests;
