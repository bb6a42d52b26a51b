//! Making scaling groups, and ending them.
//!
//! A group's name has the caller's token in it, so Amazon itself says whether it was made before: by the group
//! that is there, and of one that is gone by its activities, which are kept for six weeks.

use aws_sdk_autoscaling::types::{LaunchTemplateSpecification, Tag};
use drover_model::{ErrorClass, InstanceId, ProviderRef};
use drover_provider::{
    DestroyRequest, ProviderError, ProvisionRequest, Provisioned, Slot, fingerprint, is_repeated,
};

use super::AsgProvider;
use super::listing::{ASKED, Group, cost};
use super::properties::{Properties, decode};
use crate::budget::Priority;
use crate::properties::{LaunchTemplate, invalid};
use crate::provider::{LOOKS, finished, not_found};
use crate::tags;

/// Returns a launch template as the SDK has it.
pub(super) fn specification(template: &LaunchTemplate) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .set_launch_template_id(template.id.clone())
        .set_launch_template_name(template.name.clone())
        .version(&template.version)
        .build()
}

/// Returns tags as the SDK has them. `goes_on`: whether machines get them too.
pub(super) fn sdk_tags<'a>(
    group: &str,
    tags: impl IntoIterator<Item = (&'a str, String)>,
    goes_on: GoesOn,
) -> Vec<Tag> {
    let tags = tags.into_iter().map(|(key, value)| {
        Tag::builder()
            .resource_type("auto-scaling-group")
            .resource_id(group)
            .key(key)
            .value(value)
            .propagate_at_launch(goes_on == GoesOn::Machines)
            .build()
    });
    tags.collect()
}

/// Whether a tag is the group's alone. Owners' tags must be: machines that carry them would be taken for
/// instances of the type `ec2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoesOn {
    Group,
    Machines,
}

/// Refuses what a scaling group cannot have.
pub(super) fn check_slot(slot: &Slot) -> Result<(), ProviderError> {
    if slot.seat.is_some() {
        return Err(invalid(
            "an Auto Scaling group is no member of a quorum group",
        ));
    }
    if !slot.init.is_empty() || !slot.env.is_empty() || !slot.secrets.is_empty() {
        return Err(invalid(
            "init lines, user data and environment: the launch template of an Auto Scaling group has them",
        ));
    }
    for key in slot.tags.keys() {
        if tags::is_taken(key) {
            let error = tags::TagError::Taken { key: key.clone() };
            return Err(invalid(error.to_string()));
        }
    }
    Ok(())
}

/// Returns the answer to a call that made, or had made, a group.
fn made(instance: &InstanceId, name: &str) -> Result<Provisioned, ProviderError> {
    let handle = ProviderRef::parse(name);
    let handle = handle.map_err(|error| invalid(format!("{name}: {error}")))?;
    Ok(Provisioned {
        made: [(instance.clone(), handle)].into(),
        shortfall: None,
    })
}

fn reused(name: &str) -> ProviderError {
    invalid(format!(
        "the Auto Scaling group {name} was made with the same token and other parameters"
    ))
}

impl AsgProvider {
    pub(super) async fn make(
        &self,
        request: &ProvisionRequest,
    ) -> Result<Provisioned, ProviderError> {
        let [slot] = request.slots.as_slice() else {
            return Err(invalid("a batch has one slot"));
        };
        check_slot(slot)?;
        if let Some(zone) = &request.zone {
            return Err(invalid(format!(
                "zone {zone}: an Auto Scaling group is where its `subnets` are; leave `placement.zones` out"
            )));
        }
        let prepared = finished(slot, &request.properties, None, &request.secrets)?;
        let properties = decode(&prepared.properties)?;
        // The same for a second call with the token. One for another group makes nothing either.
        let name = format!("{}-{}", request.group, request.token);
        let priority = Priority::Make(request.urgency);
        if self.was_made(&name, request, priority).await? {
            return made(&slot.instance, &name);
        }
        let client = self.region.scaling().await;
        let call = client
            .create_auto_scaling_group()
            .auto_scaling_group_name(&name)
            .min_size(properties.min)
            .max_size(properties.max)
            .set_desired_capacity(properties.desired)
            .launch_template(specification(&properties.launch_template))
            .vpc_zone_identifier(properties.subnets.join(","))
            .set_target_group_arns(properties.target_groups.clone())
            .set_health_check_type(properties.health_check_type.clone())
            .set_health_check_grace_period(properties.grace_seconds)
            .set_tags(Some(self.tags_of(
                request,
                &prepared.slot,
                &properties,
                &name,
            )));
        let cost = cost("CreateAutoScalingGroup", priority);
        match self.region.call(cost, || call.clone().send()).await {
            Ok(_) => made(&slot.instance, &name),
            // By an earlier try, or by another call at the same moment.
            Err(error) if error.is("AlreadyExists") => {
                for pause in LOOKS {
                    tokio::time::sleep(pause).await;
                    if self.is_there(&name, request, priority).await? {
                        return made(&slot.instance, &name);
                    }
                }
                let message = format!("{error}; it is not described yet");
                Err(ProviderError::new(ErrorClass::Unknown, message))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tags_of(
        &self,
        request: &ProvisionRequest,
        slot: &Slot,
        properties: &Properties,
        name: &str,
    ) -> Vec<Tag> {
        let own = [
            (tags::FLEET, request.fleet.to_string()),
            (tags::PROVIDER, self.name.to_string()),
            (tags::GROUP, request.group.to_string()),
            (tags::INSTANCE, slot.instance.to_string()),
            (tags::DIGEST, request.digests.to_string()),
            (tags::TOKEN, request.token.to_string()),
            (tags::EPOCH, request.epoch.to_string()),
            (ASKED, fingerprint(request)),
        ];
        let mut all = sdk_tags(name, own, GoesOn::Group);
        let mut theirs = slot.tags.clone();
        theirs.extend(properties.tags.clone());
        let theirs = theirs.iter();
        let theirs = theirs.map(|(key, value)| (key.as_str(), value.clone()));
        all.extend(sdk_tags(name, theirs, GoesOn::Machines));
        all
    }

    /// Returns whether a group of this name is there, made by the same call.
    async fn is_there(
        &self,
        name: &str,
        request: &ProvisionRequest,
        priority: Priority,
    ) -> Result<bool, ProviderError> {
        let Some(group) = self.group(name, priority).await? else {
            return Ok(false);
        };
        if group
            .tag(ASKED)
            .is_some_and(|kept| is_repeated(request, kept))
        {
            return Ok(true);
        }
        Err(reused(name))
    }

    /// Returns whether a group of this name was made before, be it gone again.
    async fn was_made(
        &self,
        name: &str,
        request: &ProvisionRequest,
        priority: Priority,
    ) -> Result<bool, ProviderError> {
        if self.is_there(name, request, priority).await? {
            return Ok(true);
        }
        // The name has more in it than the token.
        let of_token = [(tags::TOKEN.to_owned(), request.token.to_string())];
        if let Some(other) = self.tagged(&of_token.into()).await?.first() {
            return Err(reused(&other.name));
        }
        let client = self.region.scaling().await;
        let call = client
            .describe_scaling_activities()
            .auto_scaling_group_name(name)
            .include_deleted_groups(true)
            .max_records(1);
        let cost = cost("DescribeScalingActivities", priority);
        let answer = self.region.call(cost, || call.clone().send()).await?;
        Ok(!answer.activities().is_empty())
    }

    pub(super) async fn end(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let name = request.provider_ref.as_str();
        let Some(group) = self.group(name, Priority::End).await? else {
            return Ok(());
        };
        let named = (
            &request.fleet,
            &request.group,
            &request.instance,
            &request.token,
        );
        if !self.is_named(&group, named) {
            return Err(not_found(format!(
                "the Auto Scaling group {name} is another's"
            )));
        }
        if group.is_ending() {
            return Ok(());
        }
        let client = self.region.scaling().await;
        // Its own scaling must not make anything while it goes.
        let empty = client
            .update_auto_scaling_group()
            .auto_scaling_group_name(name)
            .min_size(0)
            .max_size(0)
            .desired_capacity(0);
        let delete = client
            .delete_auto_scaling_group()
            .auto_scaling_group_name(name)
            .force_delete(true);
        let cost_of_empty = cost("UpdateAutoScalingGroup", Priority::End);
        let emptied = self
            .region
            .call(cost_of_empty, || empty.clone().send())
            .await;
        let ended = match emptied {
            Ok(_) => {
                let cost = cost("DeleteAutoScalingGroup", Priority::End);
                let deleted = self.region.call(cost, || delete.clone().send()).await;
                deleted.map(drop)
            }
            Err(error) => Err(error),
        };
        match ended {
            // Whoever asks twice is told once that there is none.
            Err(error) if error.is("ValidationError") => {
                match self.group(name, Priority::End).await? {
                    Some(group) if !group.is_ending() => Err(error.into()),
                    Some(_) | None => Ok(()),
                }
            }
            ended => Ok(ended?),
        }
    }

    /// Returns whether a group is what a request names, and belongs to this document.
    pub(super) fn is_named(
        &self,
        group: &Group,
        named: (
            &drover_model::FleetName,
            &drover_model::GroupName,
            &InstanceId,
            &drover_model::Token,
        ),
    ) -> bool {
        let owner = group.ownership();
        group.is_of(&self.name)
            && owner.is_some_and(|owner| {
                (&owner.fleet, &owner.group, &owner.instance, &owner.token) == named
            })
    }
}
