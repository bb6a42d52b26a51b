//! InfraKit's `Flavor`, served by our flavor `cloudInit`: parts of user data, rendered as one document.

use std::collections::BTreeMap;

use async_trait::async_trait;
use drover_model::{
    CloudInit, Flavor, GroupName, InstanceId, PartType, Template, TemplateParts, UserDataPart,
    Value, Vanilla,
};
use drover_provider::{Facts, USER_DATA_MAX, escaped, is_user_data, user_data};
use serde_json::{Map, Value as Json};

use super::flavor::{METHODS, VERSIONS, healthy, init_before, prepared};
use super::instance::Done;
use super::{Answered, Failure, Service, param, without_subtype, written};
use crate::json::{field, text};
use crate::spec::invalid;

/// Serves the flavor `cloudInit`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloudInitService;

/// The fields of a part.
const PART: [&str; 3] = ["contentType", "content", "mergeHow"];

fn bad(why: impl Into<String>) -> Failure {
    Failure::of(&invalid(why))
}

/// Refuses a field that is none: what a typo takes away is missed on the instance only.
fn known(object: &Map<String, Json>, names: &[&str]) -> Result<(), Failure> {
    let is_known = |key: &String| names.iter().any(|name| key.eq_ignore_ascii_case(name));
    match object.keys().find(|key| !is_known(key)) {
        None => Ok(()),
        Some(key) => Err(bad(format!("{key}: unknown field"))),
    }
}

fn read(params: &Json) -> Result<CloudInit, Failure> {
    let Some(Json::Object(properties)) = param(params, "Properties") else {
        return Err(bad("the properties are not a map"));
    };
    known(properties, &["parts"])?;
    let Some(Json::Array(list)) = field(properties, "parts") else {
        return Err(bad("parts: expected a list"));
    };
    if list.is_empty() {
        return Err(bad("parts: at least one is needed"));
    }
    let parts = list.iter().enumerate().map(|(index, json)| {
        let part = part(json);
        part.map_err(|why| bad(format!("parts[{index}]: {why}")))
    });
    Ok(CloudInit {
        parts: parts.collect::<Result<_, _>>()?,
    })
}

fn part(json: &Json) -> Result<UserDataPart, String> {
    let object = json.as_object().ok_or("expected a map")?;
    known(object, &PART).map_err(|failure| failure.message)?;
    let read = |name: &str| text(field(object, name)).map_err(|why| format!("{name}: {why}"));
    let word = read("contentType")?.ok_or("contentType is missing")?;
    let content = read("content")?.ok_or("content is missing")?;
    let type_ = PartType::ALL.into_iter().find(|one| one.as_str() == word);
    let content_type = type_.ok_or_else(|| format!("contentType: there is no {word:?}"))?;
    if !content_type.begins(&content) {
        let beginning = content_type.beginning();
        return Err(format!(
            "the content of a part of {word} must begin with `{beginning}`"
        ));
    }
    let merge_how = read("mergeHow")?;
    if merge_how.is_some() && content_type != PartType::CloudConfig {
        return Err(format!(
            "mergeHow is of text/cloud-config: a part of {word} is not merged"
        ));
    }
    Ok(UserDataPart {
        content_type,
        content,
        merge_how,
    })
}

/// Returns what the instance runs already, as a part of its own in front of the others.
fn first(before: Option<String>) -> Result<Option<Flavor>, Failure> {
    let Some(before) = before else {
        return Ok(None);
    };
    if is_user_data(std::slice::from_ref(&before)) {
        return Err(bad("the init is user data already, which cannot be joined"));
    }
    let flavor = if PartType::ShellScript.begins(&before) {
        Flavor::CloudInit(CloudInit {
            parts: vec![UserDataPart {
                content_type: PartType::ShellScript,
                content: before,
                merge_how: None,
            }],
        })
    } else if before.starts_with('#') {
        let line = before.lines().next().unwrap_or_default();
        return Err(bad(format!(
            "the init begins with {line:?}, which is no script"
        )));
    } else {
        Flavor::Vanilla(Vanilla {
            init: vec![escaped(&before)],
            ..Vanilla::default()
        })
    };
    Ok(Some(flavor))
}

/// Renders everything. InfraKit has none of the facts that `${...}` may name, so texts stand as they are.
fn render(before: Option<String>, cloud_init: CloudInit) -> Result<String, Failure> {
    let mut flavors: Vec<Flavor> = first(before)?.into_iter().collect();
    flavors.push(Flavor::CloudInit(cloud_init));
    for flavor in &mut flavors {
        if let Flavor::CloudInit(cloud_init) = flavor {
            for part in &mut cloud_init.parts {
                part.content = escaped(&part.content);
            }
        }
    }
    let template = Template::from(TemplateParts {
        properties: Value::empty_map(),
        flavors,
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let group = GroupName::parse("infrakit").expect("a valid label");
    let facts = Facts {
        instance: InstanceId::new(group.clone(), 0),
        group,
        zone: None,
        address: None,
        seat: None,
        members: None,
    };
    let rendered = user_data(&template, &facts).map_err(|error| bad(error.to_string()))?;
    let rendered = rendered.unwrap_or_default();
    let length = rendered.len();
    if length > USER_DATA_MAX {
        return Err(bad(format!(
            "the user data has {length} bytes when rendered, and {USER_DATA_MAX} is the most"
        )));
    }
    Ok(rendered)
}

#[async_trait]
impl Service for CloudInitService {
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
        let answer = without_subtype(params).and_then(|()| read(params));
        Some(answer.and_then(|cloud_init| match method {
            "Validate" => render(None, cloud_init).and_then(|_| written(&Done::OK)),
            "Prepare" => {
                let init = render(init_before(params)?, cloud_init)?;
                prepared(params, init, BTreeMap::new(), &[])
            }
            // It has no health of its own, and nothing to drain.
            "Healthy" => healthy(),
            _ => written(&Done::OK),
        }))
    }
}
