//! The conformance suite of flavor plugins: what drover relies on when it asks one, each sentence tried on the wire.
//! Nothing that it asks about exists, so nothing can be harmed by it.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{InstanceId, ProviderRef, Value};
use drover_provider::conformance::{CheckResult, Outcome, Report};
use serde::Serialize;
use serde_json::{Value as Json, json};

use drover_provider::{ClusterMember, ClusterView};

use super::cluster::{ClusterParams, HEALTH as HEALTH_OF_ALL, HealthParams, keeps_cluster, report};
use super::{
    AllocationParams, IndexParams, InstanceDescription, InstanceParams, PrepareParams, VERSIONS,
    ValidateParams, as_json, prepared,
};
use crate::call::{CallError, Caller, Fault, Place};
use crate::endpoint::PluginName;
use crate::hello::hello;
use crate::infrakit::{Spec, is_ok};

/// What a flavor plugin is tried with.
#[derive(Debug, Clone)]
pub struct FlavorSubject<'a> {
    /// Which plugin.
    pub plugin: PluginName,
    /// Where it is.
    pub place: Place,
    /// Properties that it takes.
    pub properties: &'a Value,
    /// Properties that it must refuse. None: nobody knows any.
    pub invalid: Option<&'a Value>,
    /// How long it may take to answer.
    pub limit: Duration,
}

/// The group and instances that the suite speaks of. There are none such.
const GROUP: &str = "conformance";
const NOBODY: &str = "drover-conformance-nobody";
const GROUP_MEMBER: &str = "conformance-1";

/// A tag that the plugin is given and has nothing to do with.
const FOREIGN: (&str, &str) = ("conformance.foreign", "kept");

/// Returns whether a plugin is a flavor, and nothing that makes instances.
pub async fn is_flavor(plugin: &PluginName, place: &Place) -> bool {
    let caller = Caller::new(plugin.clone(), place.clone());
    let Ok(interfaces) = hello(&caller).await else {
        return false;
    };
    let subtype = &plugin.subtype;
    interfaces.choose(subtype).is_err() && interfaces.version("Flavor", &VERSIONS, subtype).is_ok()
}

/// Runs every check, one after the other.
///
/// # Cancellation
///
/// A dropped future leaves nothing behind; the plugin may go on with what it was asked.
pub async fn check_flavor(subject: &FlavorSubject<'_>) -> Report {
    let suite = Suite {
        caller: Caller::new(subject.plugin.clone(), subject.place.clone()),
        properties: as_json(subject.properties),
        limit: subject.limit,
    };
    let invalid = subject.invalid.map(as_json);
    let mut results = vec![
        result("handshake", HANDSHAKE, suite.handshake().await),
        result("validate", VALIDATE, suite.validate().await),
        match invalid {
            Some(invalid) => result("invalid", INVALID, suite.refuses(&invalid).await),
            None => CheckResult {
                name: "invalid",
                sentence: INVALID,
                outcome: Outcome::Skipped {
                    why: "the suite was told no invalid properties".to_owned(),
                },
            },
        },
        result("prepare", PREPARE, suite.prepare(1).await.map(drop)),
        result("prepare-tags", TAGS, suite.keeps_tags().await),
        result("prepare-again", AGAIN, suite.prepares_again().await),
        result("health-nobody", HEALTH, suite.health().await),
        result("drain-nobody", DRAIN, suite.drain().await),
        result("garbage", GARBAGE, suite.garbage().await),
    ];
    if suite.keeps_cluster().await {
        results.push(result("cluster", CLUSTER, suite.cluster().await));
    }
    Report {
        results,
        ..Report::default()
    }
}

const HANDSHAKE: &str = "It offers `Flavor` in a version that is spoken, for this subtype.";
const VALIDATE: &str = "It takes the properties that it was given.";
const INVALID: &str =
    "It refuses properties that are wrong, in words, before it is asked to prepare anything.";
const PREPARE: &str = "It says what to make of an instance, without a LogicalID of its own.";
const TAGS: &str = "Tags that it was given stay as they are.";
const AGAIN: &str = "It answers again, for another instance and for the same.";
const HEALTH: &str =
    "Asked about an instance that nobody made, it answers with a health, or refuses in words.";
const DRAIN: &str = "Told to drain an instance that nobody made, it answers, or refuses in words.";
const CLUSTER: &str =
    "It says how a cluster is, or that it does not know, also of one without members.";
const GARBAGE: &str =
    "Properties that are no map do it no harm: it answers each time, and goes on.";

fn result(name: &'static str, sentence: &'static str, found: Result<(), String>) -> CheckResult {
    let outcome = match found {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed { why },
    };
    CheckResult {
        name,
        sentence,
        outcome,
    }
}

struct Suite {
    caller: Caller,
    properties: Json,
    limit: Duration,
}

fn allocation() -> AllocationParams {
    AllocationParams {
        size: 2,
        logical_ids: None,
    }
}

fn spec() -> Spec {
    let (name, tag) = FOREIGN;
    Spec {
        properties: json!({"conformance": [1, "two", null]}),
        tags: BTreeMap::from([(name.to_owned(), tag.to_owned())]),
        init: String::new(),
        logical_id: None,
        attachments: None,
    }
}

/// An answer, or a refusal in words.
fn answered(called: Result<Json, CallError>) -> Result<Option<Json>, String> {
    match called {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(error.fault, Fault::Refused { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

impl Suite {
    async fn call<P: Serialize + Sync>(&self, method: &str, params: &P) -> Result<Json, CallError> {
        self.caller.call(method, params, self.limit).await
    }

    async fn handshake(&self) -> Result<(), String> {
        let interfaces = hello(&self.caller)
            .await
            .map_err(|error| error.to_string())?;
        let subtype = &self.caller.name.subtype;
        interfaces.version("Flavor", &VERSIONS, subtype)
    }

    async fn valid(&self, properties: &Json) -> Result<Json, CallError> {
        let params = ValidateParams {
            r#type: &self.caller.name.subtype,
            properties,
            allocation: &allocation(),
        };
        self.call("Flavor.Validate", &params).await
    }

    async fn validate(&self) -> Result<(), String> {
        let answer = self
            .valid(&self.properties)
            .await
            .map_err(|error| error.to_string())?;
        match is_ok(&answer) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it answers `OK: false`, and no error".to_owned()),
            Err(why) => Err(why),
        }
    }

    async fn refuses(&self, invalid: &Json) -> Result<(), String> {
        match answered(self.valid(invalid).await)? {
            None => Ok(()),
            Some(_) => Err("Flavor.Validate takes them".to_owned()),
        }
    }

    async fn prepare(&self, number: u64) -> Result<drover_provider::FlavorPrepared, String> {
        let spec = spec();
        let params = PrepareParams {
            r#type: &self.caller.name.subtype,
            properties: &self.properties,
            spec: &spec,
            allocation: &allocation(),
            index: IndexParams {
                group: GROUP,
                sequence: number,
            },
            cluster: None,
        };
        let answer = self.call("Flavor.Prepare", &params).await;
        let answer = answer.map_err(|error| error.to_string())?;
        prepared(&answer)?.honoured(&spec)
    }

    async fn keeps_tags(&self) -> Result<(), String> {
        let (name, tag) = FOREIGN;
        let prepared = self.prepare(1).await?;
        if let Some(owner) = prepared
            .tags
            .keys()
            .find(|name| name.starts_with("drover."))
        {
            return Err(format!("it sets {owner}, which says who owns an instance"));
        }
        match prepared.tags.get(name).map(String::as_str) {
            Some(kept) if kept == tag => Ok(()),
            Some(other) => Err(format!("it makes {other:?} of {tag:?}")),
            None => Err(format!("it leaves {name} out")),
        }
    }

    async fn prepares_again(&self) -> Result<(), String> {
        for number in [2, 2, 1] {
            self.prepare(number).await?;
        }
        Ok(())
    }

    async fn about_nobody(&self, method: &str) -> Result<Option<Json>, String> {
        let spec = spec();
        let params = InstanceParams {
            r#type: &self.caller.name.subtype,
            properties: self.properties.clone(),
            instance: InstanceDescription {
                id: NOBODY,
                logical_id: None,
                tags: &spec.tags,
                properties: spec.properties.clone(),
            },
        };
        answered(self.call(method, &params).await)
    }

    async fn health(&self) -> Result<(), String> {
        let Some(answer) = self.about_nobody("Flavor.Healthy").await? else {
            return Ok(());
        };
        match super::health_of(&answer) {
            Some(0..=2) => Ok(()),
            Some(other) => Err(format!("{other} is no health")),
            None => Err("`Health` is not a number".to_owned()),
        }
    }

    async fn drain(&self) -> Result<(), String> {
        match self.about_nobody("Flavor.Drain").await? {
            None => Ok(()),
            Some(answer) => is_ok(&answer).map(drop),
        }
    }

    async fn keeps_cluster(&self) -> bool {
        let interfaces = hello(&self.caller).await;
        let subtype = &self.caller.name.subtype;
        interfaces.is_ok_and(|interfaces| keeps_cluster(&interfaces, subtype))
    }

    async fn cluster(&self) -> Result<(), String> {
        let nobody = ClusterMember {
            instance: InstanceId::parse(GROUP_MEMBER).map_err(|error| error.to_string())?,
            provider_ref: ProviderRef::parse(NOBODY).map_err(|error| error.to_string())?,
            member: None,
            address: None,
            running: false,
        };
        for view in [ClusterView::default(), ClusterView::new(vec![nobody], None)] {
            let params = HealthParams {
                r#type: &self.caller.name.subtype,
                properties: self.properties.clone(),
                group: GROUP,
                cluster: ClusterParams::of(&view),
            };
            let answer = self.call(HEALTH_OF_ALL, &params).await;
            report(&answer.map_err(|error| error.to_string())?)?;
        }
        Ok(())
    }

    async fn garbage(&self) -> Result<(), String> {
        for garbage in [json!("garbage"), json!(7), json!([[]]), Json::Null] {
            answered(self.valid(&garbage).await)?;
        }
        self.handshake().await
    }
}
