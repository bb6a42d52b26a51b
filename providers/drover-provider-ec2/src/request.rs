//! The request of a launch: properties, flavors and ownership as `RunInstances` takes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CreditSpecificationRequest, EbsBlockDevice, HttpTokensState,
    IamInstanceProfileSpecification, InstanceInterruptionBehavior, InstanceMarketOptionsRequest,
    InstanceMetadataOptionsRequest, InstanceMetadataTagsState,
    InstanceNetworkInterfaceSpecification, InstanceType, LaunchTemplateSpecification, MarketType,
    Placement, ResourceType, RunInstancesMonitoringEnabled, ShutdownBehavior, SpotInstanceType,
    SpotMarketOptions, TagSpecification, Tenancy, VolumeType,
};
use data_encoding::BASE64;
use drover_model::{Ownership, ProviderName};
use drover_provider::{ProviderError, ProvisionRequest, Slot, USER_DATA_MAX, is_user_data};

use crate::places::Place;
use crate::properties::{Disk, LaunchTemplate, Metadata, OnShutdown, Properties, Spot, invalid};
use crate::tags;

/// Where an instance is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Where {
    pub(crate) subnet: Option<String>,
    pub(crate) zone: Option<String>,
}

/// A batch, ready to be asked for anywhere.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) provider: &'a ProviderName,
    pub(crate) request: &'a ProvisionRequest,
    pub(crate) properties: &'a Properties,
    pub(crate) tags: BTreeMap<String, String>,
    /// In base64. None: there is none.
    pub(crate) user_data: Option<String>,
    /// The place that it takes in a quorum group.
    pub(crate) place: Option<Place>,
}

impl Launch<'_> {
    /// Returns the ownership of an instance of the batch.
    pub(crate) fn ownership(&self, slot: &Slot) -> Ownership {
        let request = self.request;
        Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: slot.instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: slot.seat.as_ref().map(|seat| seat.id.clone()),
        }
    }

    /// Returns the call, for one type at one place.
    pub(crate) fn builder(
        &self,
        client: &Client,
        type_: Option<&str>,
        at: &Where,
    ) -> RunInstancesFluentBuilder {
        let Properties {
            image_id,
            types: _,
            launch_template,
            subnets: _,
            security_groups,
            key_name,
            iam_instance_profile,
            public_address,
            spot,
            monitoring,
            ebs_optimized,
            placement_group,
            tenancy,
            cpu_credits,
            on_shutdown,
            volumes,
            attachments: _,
            metadata,
        } = self.properties;
        let count = i32::try_from(self.request.slots.len()).unwrap_or(i32::MAX);
        let monitored = monitoring.map(|enabled| {
            RunInstancesMonitoringEnabled::builder()
                .enabled(enabled)
                .build()
        });
        let credits = cpu_credits.as_ref().map(|credits| {
            CreditSpecificationRequest::builder()
                .cpu_credits(credits)
                .build()
        });
        let devices: Vec<BlockDeviceMapping> = volumes.iter().map(device).collect();
        let placed = placement(at, placement_group.as_ref(), tenancy.as_ref());
        let call = client
            .run_instances()
            .client_token(self.request.token.as_str())
            .min_count(1)
            .max_count(count)
            .set_image_id(image_id.clone())
            .set_instance_type(type_.map(InstanceType::from))
            .set_launch_template(launch_template.as_ref().map(specification))
            .set_key_name(key_name.clone())
            .set_iam_instance_profile(iam_instance_profile.as_deref().map(profile))
            .set_instance_market_options(spot.as_ref().map(market))
            .set_monitoring(monitored)
            .set_ebs_optimized(*ebs_optimized)
            .set_placement(placed)
            .set_credit_specification(credits)
            .set_instance_initiated_shutdown_behavior(on_shutdown.map(behavior))
            .set_block_device_mappings((!devices.is_empty()).then_some(devices))
            .metadata_options(metadata_options(metadata))
            .set_user_data(self.user_data.clone())
            .set_tag_specifications(Some(self.tag_specifications()));
        self.in_network(call, at, security_groups.clone(), *public_address)
    }

    /// Adds where in the network it is.
    fn in_network(
        &self,
        call: RunInstancesFluentBuilder,
        at: &Where,
        security_groups: Option<Vec<String>>,
        public_address: Option<bool>,
    ) -> RunInstancesFluentBuilder {
        let first = InstanceNetworkInterfaceSpecification::builder().device_index(0);
        if let Some(place) = &self.place {
            let own = first.network_interface_id(&place.interface).build();
            return call.network_interfaces(own);
        }
        match public_address {
            // Only an interface can say so, and then it says the rest too.
            Some(public) => call.network_interfaces(
                first
                    .associate_public_ip_address(public)
                    .delete_on_termination(true)
                    .set_subnet_id(at.subnet.clone())
                    .set_groups(security_groups)
                    .build(),
            ),
            None => call
                .set_subnet_id(at.subnet.clone())
                .set_security_group_ids(security_groups),
        }
    }

    fn tag_specifications(&self) -> Vec<TagSpecification> {
        let mut kinds = vec![ResourceType::Instance, ResourceType::Volume];
        if self.properties.spot.is_some() {
            kinds.push(ResourceType::SpotInstancesRequest);
        }
        let of = |kind| {
            TagSpecification::builder()
                .resource_type(kind)
                .set_tags(Some(tags::to_sdk(&self.tags)))
                .build()
        };
        kinds.into_iter().map(of).collect()
    }
}

fn specification(template: &LaunchTemplate) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .set_launch_template_id(template.id.clone())
        .set_launch_template_name(template.name.clone())
        .version(&template.version)
        .build()
}

fn placement(at: &Where, group: Option<&String>, tenancy: Option<&String>) -> Option<Placement> {
    // A subnet is in one zone, and says so itself.
    let zone = at.zone.clone().filter(|_| at.subnet.is_none());
    if zone.is_none() && group.is_none() && tenancy.is_none() {
        return None;
    }
    let placement = Placement::builder()
        .set_availability_zone(zone)
        .set_group_name(group.cloned())
        .set_tenancy(tenancy.map(|tenancy| Tenancy::from(tenancy.as_str())));
    Some(placement.build())
}

fn profile(written: &str) -> IamInstanceProfileSpecification {
    let builder = IamInstanceProfileSpecification::builder();
    if written.starts_with("arn:") {
        builder.arn(written).build()
    } else {
        builder.name(written).build()
    }
}

fn market(spot: &Spot) -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
        .set_max_price(spot.max_price.clone());
    InstanceMarketOptionsRequest::builder()
        .market_type(MarketType::Spot)
        .spot_options(options.build())
        .build()
}

fn behavior(on_shutdown: OnShutdown) -> ShutdownBehavior {
    match on_shutdown {
        OnShutdown::Stop => ShutdownBehavior::Stop,
        OnShutdown::Terminate => ShutdownBehavior::Terminate,
    }
}

fn device(disk: &Disk) -> BlockDeviceMapping {
    let ebs = EbsBlockDevice::builder()
        .set_volume_size(disk.size_gib)
        .volume_type(VolumeType::from(disk.type_.as_str()))
        .set_iops(disk.iops)
        .set_throughput(disk.throughput)
        .encrypted(disk.encrypted)
        .set_kms_key_id(disk.kms_key_id.clone())
        .set_snapshot_id(disk.snapshot_id.clone())
        .delete_on_termination(disk.delete_on_termination);
    BlockDeviceMapping::builder()
        .device_name(&disk.device)
        .ebs(ebs.build())
        .build()
}

/// Returns the metadata options: tokens are always said, so that no image or template makes them optional. Whether there is
/// an endpoint at all is left to the template.
fn metadata_options(metadata: &Metadata) -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_tokens(http_tokens(metadata.requires_tokens()))
        .set_http_put_response_hop_limit(metadata.hop_limit)
        .set_instance_metadata_tags(metadata.instance_tags.map(metadata_tags))
        .build()
}

pub(crate) fn http_tokens(required: bool) -> HttpTokensState {
    if required {
        HttpTokensState::Required
    } else {
        HttpTokensState::Optional
    }
}

pub(crate) fn metadata_tags(shown: bool) -> InstanceMetadataTagsState {
    if shown {
        InstanceMetadataTagsState::Enabled
    } else {
        InstanceMetadataTagsState::Disabled
    }
}

/// Returns the user data of a slot, in base64. Init lines become a script, the environment exports before them.
///
/// # Errors
///
/// It is larger than EC2 takes.
pub(crate) fn user_data(slot: &Slot) -> Result<Option<String>, ProviderError> {
    let text = if is_user_data(&slot.init) {
        slot.init[0].clone()
    } else if slot.init.is_empty() && slot.env.is_empty() {
        return Ok(None);
    } else {
        let mut script = "#!/bin/sh\nset -eu\n".to_owned();
        for (name, value) in &slot.env {
            let value = value.replace('\'', r"'\''");
            let _ = writeln!(script, "export {name}='{value}'");
        }
        for line in &slot.init {
            script.push_str(line);
            script.push('\n');
        }
        script
    };
    if text.len() > USER_DATA_MAX {
        return Err(invalid(format!(
            "user data of {} bytes; EC2 takes {USER_DATA_MAX}",
            text.len()
        )));
    }
    Ok(Some(BASE64.encode(text.as_bytes())))
}

#[cfg(test)]
mod tests;
