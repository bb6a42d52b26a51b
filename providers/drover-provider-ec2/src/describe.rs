//! What `drover-provider-ec2 describe` prints: instances that others made, and their scaling group, as JSON that
//! `drover import` makes documents of.
//!
//! The agent's own program has no AWS code: this is where its import looks. Nothing is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use aws_sdk_ec2::types::{
    Instance, InstanceMetadataOptionsResponse, InstanceNetworkInterfaceAttachment, MonitoringState,
    Placement, Tenancy,
};
use drover_model::ErrorClass;
use drover_provider::ProviderError;
use serde::Serialize;

use crate::budget::Priority;
use crate::listing::Seen;
use crate::provider::not_found;
use crate::region::{Reach, Region};
use crate::scaling::{GROUP_TAG, acting, suspend_command};
use crate::settings::{self, Account};

/// The version of what is printed. Another one is another format.
pub const VERSION: u32 = 1;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The instances with all of these tags.
    Tags(BTreeMap<String, String>),
    /// The instances of this scaling group, and the group.
    ScalingGroup(String),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Described {
    version: u32,
    region: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    instances: Vec<Found>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scaling_group: Option<FoundGroup>,
}

/// An instance, in the words of `template.properties`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    id: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subnet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_type: Option<String>,
    security_groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iam_instance_profile: Option<String>,
    market: &'static str,
    monitoring: bool,
    ebs_optimized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_address: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placement_group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenancy: Option<String>,
    /// What else it has that no property is for, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<&'static str>,
    metadata: FoundMetadata,
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundMetadata {
    tokens: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hop_limit: Option<i32>,
    instance_tags: bool,
}

/// A scaling group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundGroup {
    name: String,
    min_size: i32,
    max_size: i32,
    desired_capacity: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_template: Option<FoundTemplate>,
    /// Whether it chooses among instance types or purchase options by itself.
    mixed_instances: bool,
    subnets: Vec<String>,
    zones: Vec<String>,
    target_groups: Vec<String>,
    load_balancers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_period: Option<i32>,
    /// The processes that make or end instances and are not suspended.
    acting: Vec<&'static str>,
    /// What suspends them.
    suspend: String,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FoundTemplate {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

/// Looks for what is asked. `profile`: of the program's own configuration files.
///
/// # Errors
///
/// `InvalidSpec`: no tags, or no region's name. `NotFound`: no such scaling group. Otherwise that of the call that
/// failed.
pub async fn describe(
    reach: Reach,
    region: &str,
    profile: Option<String>,
    question: &Question,
) -> Result<Described, ProviderError> {
    let account = Account {
        region: settings::region(region)?,
        profile: profile.clone(),
    };
    let account = Region::new(account, reach, &Arc::default());
    let (tags, scaling_group) = match question {
        Question::Tags(tags) => (tags.clone(), None),
        Question::ScalingGroup(name) => {
            let names = std::slice::from_ref(name);
            let mut groups = account.scaling_groups(names, Priority::Observe).await?;
            let group = groups
                .remove(name)
                .ok_or_else(|| not_found(format!("{region} has no Auto Scaling group {name:?}")))?;
            let tags = [(GROUP_TAG.to_owned(), name.clone())];
            (tags.into(), Some(found_group(name, &group)))
        }
    };
    let read = |instance: &Instance| Some((Seen::of(instance)?, found(instance)?));
    let found = account.strangers(&tags, read, |(seen, _)| seen).await?;
    let mut instances: Vec<Found> = found
        .free
        .into_iter()
        .map(|((_, found), claimed_by)| Found {
            claimed_by,
            ..found
        })
        .collect();
    instances.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(Described {
        version: VERSION,
        region: region.to_owned(),
        profile,
        instances,
        scaling_group,
    })
}

impl Described {
    /// Returns it as JSON, for people and programs.
    ///
    /// # Errors
    ///
    /// None that is known: there is nothing in it that JSON has no words for.
    pub fn to_json(&self) -> Result<String, ProviderError> {
        let text = serde_json::to_string_pretty(self);
        text.map_err(|error| ProviderError::new(ErrorClass::Unknown, error.to_string()))
    }
}

fn found(instance: &Instance) -> Option<Found> {
    let own = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let seen = Seen::of(instance)?;
    let groups = instance.security_groups().iter();
    let metadata = instance.metadata_options();
    let tokens = metadata.and_then(|options| options.http_tokens());
    let shown = metadata.and_then(|options| options.instance_metadata_tags());
    let monitored = instance.monitoring().and_then(|state| state.state());
    let profile = instance.iam_instance_profile();
    let placement = instance.placement();
    let tenancy = placement.and_then(Placement::tenancy).map(Tenancy::as_str);
    Some(Found {
        state: seen.state.as_str().to_owned(),
        zone: seen.zone,
        subnet: own(instance.subnet_id()),
        image_id: own(instance.image_id()),
        instance_type: instance
            .instance_type()
            .map(|type_| type_.as_str().to_owned()),
        security_groups: groups.filter_map(|group| own(group.group_id())).collect(),
        key_name: own(instance.key_name()),
        iam_instance_profile: own(profile.and_then(|profile| profile.arn())),
        market: if seen.spot { "spot" } else { "onDemand" },
        monitoring: matches!(
            monitored,
            Some(MonitoringState::Enabled | MonitoringState::Pending)
        ),
        ebs_optimized: instance.ebs_optimized().unwrap_or(false),
        public_address: public_address(instance),
        placement_group: own(placement.and_then(Placement::group_name)),
        tenancy: tenancy
            .filter(|tenancy| *tenancy != "default")
            .map(str::to_owned),
        others: others(instance),
        metadata: FoundMetadata {
            tokens: tokens
                .map_or("optional", |tokens| tokens.as_str())
                .to_owned(),
            hop_limit: metadata
                .and_then(InstanceMetadataOptionsResponse::http_put_response_hop_limit),
            instance_tags: shown.is_some_and(|shown| shown.as_str() == "enabled"),
        },
        tags: seen.tags,
        claimed_by: None,
        id: seen.id,
    })
}

/// Returns whether Amazon gave it a public address when it was launched. None: it has an Elastic IP, which hides that.
fn public_address(instance: &Instance) -> Option<bool> {
    let mut interfaces = instance.network_interfaces().iter();
    let first = interfaces.find(|one| {
        let attached = one.attachment();
        attached.and_then(InstanceNetworkInterfaceAttachment::device_index) == Some(0)
    });
    match first?.association() {
        None => Some(false),
        Some(association) => (association.ip_owner_id() == Some("amazon")).then_some(true),
    }
}

/// Returns what an instance has that no property is for.
fn others(instance: &Instance) -> Vec<&'static str> {
    let placement = instance.placement();
    let interfaces = instance.network_interfaces();
    let elastic = public_address(instance).is_none() && !interfaces.is_empty();
    let hibernates = instance.hibernation_options();
    let encloses = instance.enclave_options();
    let all = [
        ("an Elastic IP", elastic),
        ("more network interfaces", interfaces.len() > 1),
        (
            "IPv6 addresses",
            interfaces
                .iter()
                .any(|one| !one.ipv6_addresses().is_empty()),
        ),
        (
            "a dedicated host",
            placement.is_some_and(|at| at.host_id().is_some()),
        ),
        (
            "a placement partition",
            placement.is_some_and(|at| at.partition_number().is_some_and(|number| number > 0)),
        ),
        (
            "a capacity reservation",
            instance.capacity_reservation_id().is_some(),
        ),
        (
            "hibernation",
            hibernates.is_some_and(|it| it.configured().unwrap_or(false)),
        ),
        (
            "enclaves",
            encloses.is_some_and(|it| it.enabled().unwrap_or(false)),
        ),
        (
            "no source/destination check",
            instance.source_dest_check() == Some(false),
        ),
    ];
    all.into_iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| name)
        .collect()
}

fn found_group(name: &str, group: &AutoScalingGroup) -> FoundGroup {
    let mixed = group.mixed_instances_policy();
    let of_mixed =
        mixed.and_then(|policy| policy.launch_template()?.launch_template_specification());
    let template = group.launch_template().or(of_mixed);
    let tags = group.tags().iter();
    let subnets = group.vpc_zone_identifier().unwrap_or_default().split(',');
    let texts = |list: &[String]| list.to_vec();
    FoundGroup {
        name: name.to_owned(),
        min_size: group.min_size().unwrap_or(0),
        max_size: group.max_size().unwrap_or(0),
        desired_capacity: group.desired_capacity().unwrap_or(0),
        launch_template: template.map(|template| FoundTemplate {
            id: template.launch_template_id().map(str::to_owned),
            name: template.launch_template_name().map(str::to_owned),
            version: template.version().map(str::to_owned),
        }),
        mixed_instances: mixed.is_some(),
        subnets: subnets
            .map(str::trim)
            .filter(|subnet| !subnet.is_empty())
            .map(str::to_owned)
            .collect(),
        zones: texts(group.availability_zones()),
        target_groups: texts(group.target_group_arns()),
        load_balancers: texts(group.load_balancer_names()),
        health_check_type: group.health_check_type().map(str::to_owned),
        grace_period: group.health_check_grace_period(),
        acting: acting(group),
        suspend: suspend_command(name),
        tags: tags
            .filter_map(|tag| {
                let value = tag.value().unwrap_or_default();
                Some((tag.key()?.to_owned(), value.to_owned()))
            })
            .collect(),
    }
}
