//! InfraKit's `Flavor`, served by our flavor `vanilla`: init lines, tags and attachments, without logic.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::instance::Done;
use super::{Answered, Failure, Service, param, without_subtype, written};
use crate::json::{field, list, text, texts};
use crate::spec::invalid;

/// Health in InfraKit's numbers: unknown, healthy, unhealthy.
const HEALTHY: u8 = 1;

/// Every method of the interface.
pub(super) const METHODS: [&str; 4] = ["Validate", "Prepare", "Healthy", "Drain"];

/// The versions of the interface, as the handshakes of this protocol's ages announce them.
pub(super) const VERSIONS: [Option<&str>; 3] = [Some("0.1.0"), Some("0.1.0"), Some("0.1.1")];

/// Serves the flavor `vanilla`.
#[derive(Debug, Clone, Copy, Default)]
pub struct VanillaService;

/// What the properties say.
struct Vanilla {
    init: Vec<String>,
    tags: BTreeMap<String, String>,
    attachments: Vec<Json>,
}

/// A prepared instance, its members in InfraKit's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    properties: Json,
    tags: Json,
    init: String,
    #[serde(rename = "LogicalID")]
    logical_id: Json,
    attachments: Option<Vec<Attachment>>,
}

#[derive(Serialize)]
struct Attachment {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Type")]
    type_: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Prepared {
    r#type: &'static str,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    r#type: &'static str,
    health: u8,
}

fn read(params: &Json) -> Result<Vanilla, Failure> {
    let bad = |why: String| Failure::of(&invalid(why));
    let empty = Map::new();
    let properties = match param(params, "Properties") {
        None | Some(Json::Null) => &empty,
        Some(Json::Object(properties)) => properties,
        Some(_) => return Err(bad("the properties are not a map".to_owned())),
    };
    let template = field(properties, "InitScriptTemplateURL");
    // A program in Go writes the fields that it has no value for.
    if template.is_some_and(|url| !url.is_null() && url != "") {
        let why =
            "InitScriptTemplateURL: templates are not rendered here; write the lines into Init";
        return Err(bad(why.to_owned()));
    }
    let part = |name| {
        let part = list(field(properties, name));
        part.map_err(|_| bad(format!("{name}: expected a list")))
    };
    let init = part("Init")?.iter().map(|line| match line {
        Json::String(line) => Ok(line.clone()),
        _ => Err(bad("Init: a line is not a text".to_owned())),
    });
    Ok(Vanilla {
        init: init.collect::<Result<_, _>>()?,
        tags: texts(field(properties, "Tags")).map_err(|why| bad(format!("Tags: {why}")))?,
        attachments: part("Attachments")?.to_vec(),
    })
}

fn attachment(json: &Json) -> Result<Attachment, Failure> {
    let part = |name| {
        let part = json.as_object().map(|entry| text(field(entry, name)));
        part.and_then(Result::ok).flatten()
    };
    match (part("ID"), part("Type")) {
        (Some(id), Some(type_)) => Ok(Attachment { id, type_ }),
        _ => Err(Failure::of(&invalid(
            "Attachments: an entry has no ID or no Type",
        ))),
    }
}

/// Returns the init that an instance has before this flavor, if there is any.
pub(super) fn init_before(params: &Json) -> Result<Option<String>, Failure> {
    let bad = |why: String| Failure::params(format!("`Init`: {why}"), params);
    let before = text(part(params, "Init")).map_err(bad)?;
    Ok(before.filter(|before| !before.is_empty()))
}

fn part<'a>(params: &'a Json, name: &str) -> Option<&'a Json> {
    let spec = param(params, "Spec").and_then(Json::as_object);
    spec.and_then(|spec| field(spec, name))
}

/// Answers `Prepare`: the instance with this init, and with what the flavor adds.
pub(super) fn prepared(
    params: &Json,
    init: String,
    more: BTreeMap<String, String>,
    attachments: &[Json],
) -> Answered {
    let bad = |why: String| Failure::params(format!("`Tags`: {why}"), params);
    // No tags at all stay none, as in InfraKit.
    let given = part(params, "Tags").filter(|tags| !tags.is_null());
    let mut tags = texts(given).map_err(bad)?;
    let tagged = given.is_some() || !more.is_empty();
    tags.extend(more);
    let given = part(params, "Attachments").filter(|list| !list.is_null());
    let attached = list(given);
    let attached =
        attached.map_err(|why| Failure::params(format!("`Attachments`: {why}"), params))?;
    let attached = attached.iter().chain(attachments);
    let attached: Vec<Attachment> = attached.map(attachment).collect::<Result<_, _>>()?;
    written(&Prepared {
        r#type: "",
        spec: Spec {
            properties: part(params, "Properties").cloned().unwrap_or_default(),
            tags: if tagged {
                serde_json::json!(tags)
            } else {
                Json::Null
            },
            init,
            logical_id: part(params, "LogicalID").cloned().unwrap_or_default(),
            attachments: (given.is_some() || !attached.is_empty()).then_some(attached),
        },
    })
}

fn prepare(params: &Json) -> Answered {
    let vanilla = read(params)?;
    let mut init: Vec<String> = init_before(params)?.into_iter().collect();
    init.extend(vanilla.init);
    prepared(params, init.join("\n"), vanilla.tags, &vanilla.attachments)
}

/// Answers `Healthy` of a flavor that has no health of its own.
pub(super) fn healthy() -> Answered {
    written(&Health {
        r#type: "",
        health: HEALTHY,
    })
}

#[async_trait]
impl Service for VanillaService {
    fn name(&self) -> &'static str {
        "Flavor"
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        VERSIONS
    }

    async fn call(&self, method: &str, params: &Json) -> Option<Answered> {
        if !METHODS.contains(&method) {
            return None;
        }
        if let Err(failure) = without_subtype(params) {
            return Some(Err(failure));
        }
        Some(match method {
            "Validate" => read(params).and_then(|vanilla| {
                vanilla
                    .attachments
                    .iter()
                    .try_for_each(|entry| attachment(entry).map(drop))?;
                written(&Done::OK)
            }),
            "Prepare" => prepare(params),
            // It has no health of its own, and nothing to drain.
            "Healthy" => read(params).and_then(|_| healthy()),
            _ => read(params).and_then(|_| written(&Done::OK)),
        })
    }
}
