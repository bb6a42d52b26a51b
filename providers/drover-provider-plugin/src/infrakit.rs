//! The messages of InfraKit's `Instance` interface, as its programs write and read them.

use std::collections::BTreeMap;

use drover_model::Attachment;
use drover_provider::Ending;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use crate::call::members;
use crate::hello::InstanceVersion;
use crate::json::{field, take, text, texts};
use crate::wire::{plain, plain_if_any};

/// What is to be made. The order of the members is that of InfraKit's own client.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Spec {
    pub(crate) properties: Json,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) init: String,
    #[serde(rename = "LogicalID")]
    pub(crate) logical_id: Option<String>,
    #[serde(serialize_with = "attached")]
    pub(crate) attachments: Option<Vec<Attachment>>,
}

/// Something that is attached to an instance, as InfraKit writes it.
#[derive(Serialize)]
struct AttachmentParams<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Type")]
    type_: &'a str,
}

#[expect(clippy::ref_option, reason = "serde hands the field over as it is")]
fn attached<S: Serializer>(
    attachments: &Option<Vec<Attachment>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let written = attachments.as_ref().map(|list| {
        let list = list.iter();
        let list = list.map(|Attachment { id, type_ }| AttachmentParams { id, type_ });
        list.collect::<Vec<_>>()
    });
    written.serialize(serializer)
}

/// Reads the list that a plugin answers with. None, and `null`, are an empty one, as of a program in Go.
pub(crate) fn attachments(list: Option<&Json>) -> Result<Vec<Attachment>, String> {
    let list = match list {
        None | Some(Json::Null) => return Ok(Vec::new()),
        Some(Json::Array(list)) => list,
        Some(_) => return Err("`Attachments` is not a list".to_owned()),
    };
    let one = |one: &Json| {
        let one = one
            .as_object()
            .ok_or("an entry of `Attachments` is not a map")?;
        let part = |name: &str| {
            text(field(one, name)).map_err(|why| format!("`{name}` of an attachment is {why}"))
        };
        let id = part("ID")?.filter(|id| !id.is_empty());
        Ok(Attachment {
            id: id.ok_or("an attachment has no `ID`")?,
            type_: part("Type")?.unwrap_or_default(),
        })
    };
    list.iter().map(one).collect()
}

/// Returns why an instance is ended, in InfraKit's words.
fn reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Replaced => "rolling_update",
        Ending::Removed => "terminate",
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ValidateParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    properties: &'a Json,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ProvisionParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    spec: &'a Spec,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LabelParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    instance: &'a str,
    labels: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DestroyParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<DestroyContext>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DestroyContext {
    reason: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<bool>,
}

/// Writes requests for one subtype in the form of one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect<'a> {
    pub(crate) version: InstanceVersion,
    pub(crate) subtype: &'a str,
}

impl<'a> Dialect<'a> {
    fn type_(self) -> Option<&'a str> {
        // The first releases knew no subtypes; one that does is told even so.
        let knows = self.version > InstanceVersion::V0_1_0 || !self.subtype.is_empty();
        knows.then_some(self.subtype)
    }

    pub(crate) fn validate(self, properties: &'a Json) -> ValidateParams<'a> {
        ValidateParams {
            r#type: self.type_(),
            properties,
        }
    }

    pub(crate) fn provision(self, spec: &'a Spec) -> ProvisionParams<'a> {
        ProvisionParams {
            r#type: self.type_(),
            spec,
        }
    }

    pub(crate) fn label(
        self,
        instance: &'a str,
        labels: &'a BTreeMap<String, String>,
    ) -> LabelParams<'a> {
        LabelParams {
            r#type: self.type_(),
            instance,
            labels,
        }
    }

    pub(crate) fn destroy(self, instance: &'a str, ending: Ending) -> DestroyParams<'a> {
        let explains = self.version >= InstanceVersion::V0_6_0;
        DestroyParams {
            r#type: self.type_(),
            instance,
            context: explains.then_some(DestroyContext {
                reason: reason(ending),
            }),
        }
    }

    pub(crate) fn describe(
        self,
        tags: &'a BTreeMap<String, String>,
        properties: bool,
    ) -> DescribeParams<'a> {
        let knows = self.version >= InstanceVersion::V0_5_0;
        DescribeParams {
            r#type: self.type_(),
            tags,
            properties: knows.then_some(properties),
        }
    }
}

/// An instance as a plugin describes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Description {
    pub(crate) id: String,
    pub(crate) logical_id: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) properties: Option<Json>,
}

/// Reads `{"Descriptions": [...]}`. One description that cannot be read spoils the whole answer: leaving
/// it out would make an instance look gone.
pub(crate) fn descriptions(answer: &[u8]) -> Result<Vec<Description>, String> {
    let unreadable = |error: serde_json::Error| error.to_string();
    let answer = std::str::from_utf8(answer).map_err(|error| error.to_string())?;
    let [list] = members(answer, ["Descriptions"]).map_err(unreadable)?;
    let list = list.ok_or("`Descriptions` is missing")?.get();
    if list == "null" {
        // An empty list of a program in Go.
        return Ok(Vec::new());
    }
    if !list.starts_with('[') {
        return Err("`Descriptions` is not a list".to_owned());
    }
    // One after the other, so that never more than one is in memory as a map.
    let list: Vec<&RawValue> = serde_json::from_str(list).map_err(unreadable)?;
    list.iter()
        .map(|one| description(serde_json::from_str(one.get()).map_err(unreadable)?))
        .collect()
}

fn description(json: Json) -> Result<Description, String> {
    let Json::Object(mut description) = json else {
        return Err("not a map".to_owned());
    };
    // Not copied: this is the part whose size is the plugin's to choose.
    let properties = take(&mut description, "Properties");
    let description = &description;
    let id = text(field(description, "ID")).map_err(|why| format!("`ID` is {why}"))?;
    let id = id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| "a description has no `ID`".to_owned())?;
    let id = plain("ID", id)?;
    let logical_id = text(field(description, "LogicalID"));
    let tags = texts(field(description, "Tags"));
    Ok(Description {
        logical_id: logical_id.map_err(|why| format!("`LogicalID` of {id} is {why}"))?,
        tags: tags.map_err(|why| format!("`Tags` of {id}: {why}"))?,
        properties,
        id,
    })
}

/// Reads `{"ID": "..."}`. None: made, and the plugin does not say which one it is.
pub(crate) fn made(answer: &Json) -> Result<Option<String>, String> {
    let id = text(field(object(answer)?, "ID")).map_err(|why| format!("`ID` is {why}"))?;
    plain_if_any("ID", id)
}

/// Reads `{"OK": true}`. An answer without it is one: what counts is that there is no error.
pub(crate) fn is_ok(answer: &Json) -> Result<bool, String> {
    match field(object(answer)?, "OK") {
        None => Ok(true),
        Some(Json::Bool(ok)) => Ok(*ok),
        Some(_) => Err("`OK` is neither true nor false".to_owned()),
    }
}

fn object(json: &Json) -> Result<&Map<String, Json>, String> {
    json.as_object().ok_or_else(|| "not a map".to_owned())
}

#[cfg(test)]
mod tests;
