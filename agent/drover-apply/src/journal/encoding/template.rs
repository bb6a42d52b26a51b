//! Templates in the journal's own encoding.

use std::collections::BTreeMap;

use drover_model::{
    Attachment, CloudInit, Flavor, FlavorAnswer, PartType, PluginFlavor, SecretRef, Template,
    TemplateParts, UserDataPart, Value, Vanilla,
};
use serde::{Deserialize, Serialize};

use super::parse;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateRow {
    properties: ValueRow,
    flavors: Vec<FlavorRow>,
    flavors_as_written: ValueRow,
    tags: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum FlavorRow {
    Vanilla {
        init: Vec<String>,
        env: BTreeMap<String, String>,
        /// References, never values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        secrets: BTreeMap<String, ValueRow>,
        tags: BTreeMap<String, String>,
        /// In rows of earlier versions there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<AttachmentRow>,
    },
    CloudInit {
        parts: Vec<PartRow>,
    },
    Plugin {
        name: String,
        properties: ValueRow,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Box<AnswerRow>>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerRow {
    init: String,
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    properties: Option<ValueRow>,
    /// In rows of earlier versions there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<AttachmentRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttachmentRow {
    id: String,
    #[serde(rename = "type")]
    type_: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartRow {
    content_type: String,
    content: String,
    merge_how: Option<String>,
}

/// A value with its type, so that `1`, `1.0` and `"1"` stay what they were: a repeated provision call
/// must be identical.
#[derive(Serialize, Deserialize)]
enum ValueRow {
    #[serde(rename = "n")]
    Null,
    #[serde(rename = "b")]
    Bool(bool),
    #[serde(rename = "i")]
    Int(i64),
    #[serde(rename = "u")]
    UInt(u64),
    /// The bits: a decimal fraction does not survive every parser.
    #[serde(rename = "f")]
    Float(u64),
    #[serde(rename = "s")]
    String(String),
    #[serde(rename = "l")]
    List(Vec<ValueRow>),
    #[serde(rename = "m")]
    Map(BTreeMap<String, ValueRow>),
}

pub(super) fn template_out(template: &Template) -> TemplateRow {
    TemplateRow {
        properties: value_out(&template.properties),
        flavors: template.flavors.iter().map(flavor_out).collect(),
        flavors_as_written: value_out(&template.flavors_as_written),
        tags: template.tags.clone(),
    }
}

pub(super) fn template_in(row: TemplateRow) -> Result<Template, String> {
    let flavors = row.flavors.into_iter().map(flavor_in);
    Ok(Template::from(TemplateParts {
        properties: value_in(row.properties),
        flavors: flavors.collect::<Result<_, _>>()?,
        flavors_as_written: value_in(row.flavors_as_written),
        tags: row.tags,
    }))
}

fn flavor_out(flavor: &Flavor) -> FlavorRow {
    match flavor {
        Flavor::Vanilla(Vanilla {
            init,
            env,
            secrets,
            tags,
            attachments,
        }) => FlavorRow::Vanilla {
            secrets: secrets
                .iter()
                .map(|(name, from)| (name.clone(), value_out(&from.to_value())))
                .collect(),
            init: init.clone(),
            env: env.clone(),
            tags: tags.clone(),
            attachments: attachments.iter().map(attachment_out).collect(),
        },
        Flavor::CloudInit(CloudInit { parts }) => FlavorRow::CloudInit {
            parts: parts.iter().map(part_out).collect(),
        },
        Flavor::Plugin(PluginFlavor {
            name,
            properties,
            answer,
        }) => FlavorRow::Plugin {
            name: name.to_string(),
            properties: value_out(properties),
            answer: answer.as_deref().map(|answer| Box::new(answer_out(answer))),
        },
    }
}

fn answer_out(answer: &FlavorAnswer) -> AnswerRow {
    let FlavorAnswer {
        init,
        tags,
        properties,
        attachments,
    } = answer;
    AnswerRow {
        init: init.clone(),
        tags: tags.clone(),
        properties: properties.as_ref().map(value_out),
        attachments: attachments.iter().map(attachment_out).collect(),
    }
}

fn attachment_out(attachment: &Attachment) -> AttachmentRow {
    let Attachment { id, type_ } = attachment;
    AttachmentRow {
        id: id.clone(),
        type_: type_.clone(),
    }
}

fn attachment_in(row: AttachmentRow) -> Attachment {
    let AttachmentRow { id, type_ } = row;
    Attachment { id, type_ }
}

fn flavor_in(row: FlavorRow) -> Result<Flavor, String> {
    Ok(match row {
        FlavorRow::Vanilla {
            init,
            env,
            secrets,
            tags,
            attachments,
        } => Flavor::Vanilla(Vanilla {
            init,
            env,
            secrets: secrets
                .into_iter()
                .map(secret_in)
                .collect::<Result<_, _>>()?,
            tags,
            attachments: attachments.into_iter().map(attachment_in).collect(),
        }),
        FlavorRow::CloudInit { parts } => Flavor::CloudInit(CloudInit {
            parts: parts.into_iter().map(part_in).collect::<Result<_, _>>()?,
        }),
        FlavorRow::Plugin {
            name,
            properties,
            answer,
        } => Flavor::Plugin(PluginFlavor {
            name: parse("flavor", &name)?,
            properties: value_in(properties),
            answer: answer.map(|answer| Box::new(answer_in(*answer))),
        }),
    })
}

fn answer_in(row: AnswerRow) -> FlavorAnswer {
    FlavorAnswer {
        init: row.init,
        tags: row.tags,
        properties: row.properties.map(value_in),
        attachments: row.attachments.into_iter().map(attachment_in).collect(),
    }
}

fn secret_in((name, row): (String, ValueRow)) -> Result<(String, SecretRef), String> {
    let from = SecretRef::of_value(&value_in(row));
    let from = from.ok_or_else(|| format!("{name} is no reference to a secret"))?;
    Ok((name, from?))
}

fn part_out(part: &UserDataPart) -> PartRow {
    PartRow {
        content_type: part.content_type.as_str().to_owned(),
        content: part.content.clone(),
        merge_how: part.merge_how.clone(),
    }
}

fn part_in(row: PartRow) -> Result<UserDataPart, String> {
    let mut types = PartType::ALL.into_iter();
    let found = types.find(|one| one.as_str() == row.content_type);
    let content_type =
        found.ok_or_else(|| format!("unknown content type {:?}", row.content_type))?;
    Ok(UserDataPart {
        content_type,
        content: row.content,
        merge_how: row.merge_how,
    })
}

fn value_out(value: &Value) -> ValueRow {
    match value {
        Value::Null => ValueRow::Null,
        Value::Bool(value) => ValueRow::Bool(*value),
        Value::Int(value) => ValueRow::Int(*value),
        Value::UInt(value) => ValueRow::UInt(*value),
        Value::Float(value) => ValueRow::Float(value.to_bits()),
        Value::String(text) => ValueRow::String(text.clone()),
        Value::List(list) => ValueRow::List(list.iter().map(value_out).collect()),
        Value::Map(map) => ValueRow::Map(
            map.iter()
                .map(|(key, value)| (key.clone(), value_out(value)))
                .collect(),
        ),
    }
}

fn value_in(row: ValueRow) -> Value {
    match row {
        ValueRow::Null => Value::Null,
        ValueRow::Bool(value) => Value::Bool(value),
        ValueRow::Int(value) => Value::Int(value),
        ValueRow::UInt(value) => Value::UInt(value),
        ValueRow::Float(bits) => Value::Float(f64::from_bits(bits)),
        ValueRow::String(text) => Value::String(text),
        ValueRow::List(list) => Value::List(list.into_iter().map(value_in).collect()),
        ValueRow::Map(map) => map
            .into_iter()
            .map(|(key, value)| (key, value_in(value)))
            .collect(),
    }
}
