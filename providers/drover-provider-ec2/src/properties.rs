//! The properties of a template, decoded: what a launch is made from.

use std::collections::BTreeMap;

use drover_model::{ErrorClass, Value};
use drover_provider::{ObjectSchema, ProviderError};

#[cfg(test)]
use crate::schema::CHOICES_MAX;

/// The properties of a template.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Properties {
    pub(crate) image_id: Option<String>,
    /// In order of preference; empty: the launch template's.
    pub(crate) types: Vec<String>,
    pub(crate) launch_template: Option<LaunchTemplate>,
    pub(crate) subnets: Vec<String>,
    /// None: as the launch template or the subnet's network has it.
    pub(crate) security_groups: Option<Vec<String>>,
    pub(crate) key_name: Option<String>,
    pub(crate) iam_instance_profile: Option<String>,
    pub(crate) public_address: Option<bool>,
    pub(crate) spot: Option<Spot>,
    pub(crate) monitoring: Option<bool>,
    pub(crate) ebs_optimized: Option<bool>,
    pub(crate) placement_group: Option<String>,
    pub(crate) tenancy: Option<String>,
    pub(crate) cpu_credits: Option<String>,
    pub(crate) on_shutdown: Option<OnShutdown>,
    pub(crate) volumes: Vec<Disk>,
    pub(crate) attachments: BTreeMap<String, Disk>,
    pub(crate) metadata: Metadata,
}

/// Which launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaunchTemplate {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) version: String,
}

/// That spot capacity is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The most to pay for an hour, in dollars as text.
    pub(crate) max_price: Option<String>,
}

/// What becomes of an instance that shuts itself down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnShutdown {
    Stop,
    Terminate,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) device: String,
    pub(crate) size_gib: Option<i32>,
    pub(crate) type_: String,
    pub(crate) iops: Option<i32>,
    pub(crate) throughput: Option<i32>,
    pub(crate) encrypted: bool,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) delete_on_termination: bool,
}

/// The instance metadata service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Whether IMDSv1 is refused. None: not written, so that what is launched refuses it, and what runs stays as it is.
    pub(crate) tokens_required: Option<bool>,
    /// None: as the image or the launch template has it.
    pub(crate) hop_limit: Option<i32>,
    pub(crate) instance_tags: Option<bool>,
}

impl Metadata {
    /// Returns whether what is launched refuses IMDSv1.
    pub(crate) fn requires_tokens(&self) -> bool {
        self.tokens_required.unwrap_or(true)
    }
}

/// Returns an error of what was written.
pub(crate) fn invalid(message: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, message)
}

/// Returns the first mistake that a schema finds. Values of secrets stand in what is launched: no message shows any.
pub(crate) fn checked(schema: &ObjectSchema, value: &Value) -> Result<(), ProviderError> {
    match schema.check_finished(value).first() {
        None => Ok(()),
        Some(mistake) => Err(invalid(mistake.to_string())),
    }
}

/// Decodes properties.
///
/// # Errors
///
/// `InvalidSpec`: the first mistake.
pub(crate) fn decode(value: &Value) -> Result<Properties, ProviderError> {
    checked(&crate::schema::properties(), value)?;
    let launch_template = value.get("launchTemplate").map(launch_template);
    let image_id = text(value, "imageId");
    let mut types: Vec<String> = text(value, "instanceType").into_iter().collect();
    types.extend(texts(value, "fallbackTypes").unwrap_or_default());
    let subnets = texts(value, "subnets").unwrap_or_default();
    let attachments = value.get("attachments").and_then(Value::as_map);
    let attachments = attachments.into_iter().flatten();
    let attachments = attachments.map(|(name, value)| (name.clone(), disk(value)));
    let volumes = value.get("volumes").and_then(Value::as_list);
    let properties = Properties {
        image_id,
        types,
        launch_template,
        subnets,
        security_groups: texts(value, "securityGroups"),
        key_name: text(value, "keyName"),
        iam_instance_profile: text(value, "iamInstanceProfile"),
        public_address: flag(value, "publicAddress"),
        spot: spot(value),
        monitoring: flag(value, "monitoring"),
        ebs_optimized: flag(value, "ebsOptimized"),
        placement_group: text(value, "placementGroup"),
        tenancy: text(value, "tenancy"),
        cpu_credits: text(value, "cpuCredits"),
        on_shutdown: on_shutdown(value),
        volumes: volumes.into_iter().flatten().map(disk).collect(),
        attachments: attachments.collect(),
        metadata: metadata(value),
    };
    Ok(properties)
}

/// Decodes how a launch template is named. Only a number is a version: what `$Latest` stands for changes without a commit, and
/// instances would differ under one digest.
pub(crate) fn launch_template(value: &Value) -> LaunchTemplate {
    LaunchTemplate {
        id: text(value, "id"),
        name: text(value, "name"),
        version: text(value, "version").unwrap_or_default(),
    }
}

fn spot(value: &Value) -> Option<Spot> {
    let max_price = text(value, "spotMaxPrice");
    (text(value, "market").as_deref() == Some("spot")).then_some(Spot { max_price })
}

fn on_shutdown(value: &Value) -> Option<OnShutdown> {
    let written = text(value, "onShutdown");
    let spot = value.get("market").and_then(Value::as_str) == Some("spot");
    match written.as_deref() {
        Some("terminate") => Some(OnShutdown::Terminate),
        None if spot => None,
        // Stopped, it is there to be seen as ended until the agent has dealt with it.
        Some(_) | None => Some(OnShutdown::Stop),
    }
}

fn metadata(value: &Value) -> Metadata {
    let Some(value) = value.get("metadata") else {
        return Metadata::default();
    };
    let tokens = text(value, "tokens");
    Metadata {
        tokens_required: tokens.map(|tokens| tokens != "optional"),
        hop_limit: number(value, "hopLimit"),
        instance_tags: flag(value, "instanceTags"),
    }
}

fn disk(value: &Value) -> Disk {
    Disk {
        device: text(value, "device").unwrap_or_default(),
        size_gib: number(value, "sizeGiB"),
        type_: text(value, "type").unwrap_or_else(|| "gp3".to_owned()),
        iops: number(value, "iops"),
        throughput: number(value, "throughput"),
        encrypted: flag(value, "encrypted").unwrap_or(true),
        kms_key_id: text(value, "kmsKeyId"),
        snapshot_id: text(value, "snapshotId"),
        delete_on_termination: flag(value, "deleteOnTermination").unwrap_or(true),
    }
}

/// Returns a text. The schema has refused what is none.
pub(crate) fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// Returns a list of texts.
pub(crate) fn texts(value: &Value, name: &str) -> Option<Vec<String>> {
    let list = value.get(name)?.as_list()?;
    let texts = list.iter().filter_map(Value::as_str);
    Some(texts.map(str::to_owned).collect())
}

/// Returns a number, which the schema has bounded.
pub(crate) fn number(value: &Value, name: &str) -> Option<i32> {
    match value.get(name) {
        Some(Value::Int(number)) => i32::try_from(*number).ok(),
        _ => None,
    }
}

/// Returns true or false.
pub(crate) fn flag(value: &Value, name: &str) -> Option<bool> {
    match value.get(name) {
        Some(Value::Bool(flag)) => Some(*flag),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
