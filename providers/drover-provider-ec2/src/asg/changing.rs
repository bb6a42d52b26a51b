//! Changing scaling groups in place, taking them over, and letting go of them.
//!
//! A change of the launch template notes what the group will be, sets the group, and starts an instance refresh
//! last. What the group is follows from its machines: it is what was noted as soon as all of them come from the
//! template that was noted. So nothing has to be remembered, or written when a refresh ends, and whoever is killed
//! on the way repeats the call. Every other change takes effect at once, and is noted last.
//!
//! A change that leads back to what the group was, while the one before it has not reached every machine, is a change
//! like any other: until it has, the group is what that one was to make of it.

use aws_sdk_autoscaling::types::RefreshPreferences;
use drover_model::{ErrorClass, FleetName, InPlace, Ownership, ProviderRef};
use drover_provider::{AdoptRequest, ProviderError, UpdateRequest};

use super::AsgProvider;
use super::listing::{AT_ONCE, Group, NEXT, NEXT_TEMPLATE, OWN, UPDATE, cost, is_active};
use super::making::{GoesOn, check_slot, sdk_tags, specification};
use super::properties::{Properties, decode};
use crate::budget::Priority;
use crate::properties::{LaunchTemplate, invalid};
use crate::provider::{LOOKS, finished, not_found};
use crate::tags;

/// Returns a launch template as it is noted.
fn written(template: &LaunchTemplate) -> String {
    let key = template.id.as_ref().or(template.name.as_ref());
    format!("{}/{}", key.map_or("", String::as_str), template.version)
}

/// A refresh that is under way.
fn refreshing(name: &str) -> ProviderError {
    let message = format!("the Auto Scaling group {name}: an instance refresh is under way");
    ProviderError::new(ErrorClass::Throttled, message)
}

impl AsgProvider {
    pub(super) async fn change(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        match request.how {
            InPlace::Restart => {
                return Err(invalid("Auto Scaling groups are not restarted in place"));
            }
            InPlace::Live => {}
        }
        check_slot(&request.slot)?;
        let prepared = finished(&request.slot, &request.properties, None, &request.secrets)?;
        let properties = decode(&prepared.properties)?;
        let name = request.provider_ref.as_str();
        let group = self.group(name, Priority::Rest).await?;
        let named = (
            &request.fleet,
            &request.group,
            &request.slot.instance,
            &request.token,
        );
        let own = |group: &Group| !group.is_ending() && self.is_named(group, named);
        let Some(group) = group.filter(own) else {
            let message = format!("the Auto Scaling group {name} is gone, ends, or is another's");
            return Err(not_found(message));
        };
        if let Some(obstacle) = group.obstacle() {
            return Err(invalid(format!(
                "the Auto Scaling group {name} has {obstacle}, which a change would replace by the launch template"
            )));
        }
        let template = written(&properties.launch_template);
        let unfinished = group.tag(NEXT).is_some() && group.reached().is_none();
        if !unfinished && group.has_template(&template) {
            self.attach(&group, &properties).await?;
            self.set(&group, &properties).await?;
            return self.note(&group, request, &properties, AT_ONCE).await;
        }
        let repeated = group.tag(UPDATE) == Some(request.update.as_str());
        let last = self.last_refresh(name, Priority::Rest).await?;
        let active = last.is_some_and(|last| is_active(&last));
        if active && !repeated {
            return Err(refreshing(name));
        }
        self.note(&group, request, &properties, &template).await?;
        let changed = match self.attach(&group, &properties).await {
            Ok(()) => self.set(&group, &properties).await,
            Err(error) => Err(error),
        };
        if let Err(error) = changed {
            if error.class == ErrorClass::InvalidSpec {
                self.take_back(&group).await;
            }
            return Err(error);
        }
        if active {
            return Ok(());
        }
        let now = self.group(name, Priority::Rest).await?;
        if now.is_some_and(|now| now.is_all(&template)) {
            return Ok(());
        }
        self.refresh(name, &properties).await
    }

    async fn set(&self, group: &Group, properties: &Properties) -> Result<(), ProviderError> {
        // Only where it differs: one that is sent takes the place of a policy that somebody gave the group a moment ago.
        let template = &properties.launch_template;
        let template = (!group.has_template(&written(template))).then(|| specification(template));
        let client = self.region.scaling().await;
        let call = client
            .update_auto_scaling_group()
            .auto_scaling_group_name(&group.name)
            .min_size(properties.min)
            .max_size(properties.max)
            .set_desired_capacity(properties.desired)
            .set_launch_template(template)
            .vpc_zone_identifier(properties.subnets.join(","))
            .set_health_check_type(properties.health_check_type.clone())
            .set_health_check_grace_period(properties.grace_seconds);
        let cost = cost("UpdateAutoScalingGroup", Priority::Rest);
        self.region.call(cost, || call.clone().send()).await?;
        Ok(())
    }

    /// Registers machines with the target groups that are written, and with no other.
    async fn attach(&self, group: &Group, properties: &Properties) -> Result<(), ProviderError> {
        let Some(wanted) = &properties.target_groups else {
            return Ok(());
        };
        let there = group.inner.target_group_arns();
        let without = |all: &[String], others: &[String]| -> Vec<String> {
            let missing = all.iter().filter(|one| !others.contains(one));
            missing.cloned().collect()
        };
        let client = self.region.scaling().await;
        let more = without(wanted, there);
        if !more.is_empty() {
            let call = client
                .attach_load_balancer_target_groups()
                .auto_scaling_group_name(&group.name)
                .set_target_group_arns(Some(more));
            let cost = cost("AttachLoadBalancerTargetGroups", Priority::Rest);
            self.region.call(cost, || call.clone().send()).await?;
        }
        let fewer = without(there, wanted);
        if !fewer.is_empty() {
            let call = client
                .detach_load_balancer_target_groups()
                .auto_scaling_group_name(&group.name)
                .set_target_group_arns(Some(fewer));
            let cost = cost("DetachLoadBalancerTargetGroups", Priority::Rest);
            self.region.call(cost, || call.clone().send()).await?;
        }
        Ok(())
    }

    /// Notes what the group will be, and what it was until then.
    async fn note(
        &self,
        group: &Group,
        request: &UpdateRequest,
        properties: &Properties,
        template: &str,
    ) -> Result<(), ProviderError> {
        let mut own = vec![
            (UPDATE, request.update.to_string()),
            (NEXT, request.digests.to_string()),
            (NEXT_TEMPLATE, template.to_owned()),
        ];
        let way_back = group.tag(tags::DIGEST) == Some(request.digests.to_string().as_str());
        let was = match (group.reached(), group.tag(NEXT)) {
            (Some(reached), _) => Some(reached),
            (None, next) if way_back => next,
            (None, _) => None,
        };
        own.extend(was.map(|was| (tags::DIGEST, was.to_owned())));
        let mut all = sdk_tags(&group.name, own, GoesOn::Group);
        let theirs = properties.tags.iter();
        let theirs = theirs.map(|(key, value)| (key.as_str(), value.clone()));
        all.extend(sdk_tags(&group.name, theirs, GoesOn::Machines));
        self.put(all).await
    }

    /// Notes again what was noted before a change that was refused: nothing will come of it, so that its refresh, or the
    /// lack of one, says nothing of the group. Where that fails the group is what it was all the same.
    async fn take_back(&self, before: &Group) {
        let keys = [UPDATE, NEXT, NEXT_TEMPLATE, tags::DIGEST];
        let (had, lacked): (Vec<_>, Vec<_>) = keys
            .into_iter()
            .map(|key| (key, before.tag(key)))
            .partition(|(_, value)| value.is_some());
        let had = had.into_iter();
        let had = had.filter_map(|(key, value)| Some((key, value?.to_owned())));
        let mut taken = self.put(sdk_tags(&before.name, had, GoesOn::Group)).await;
        if taken.is_ok() && !lacked.is_empty() {
            let lacked = lacked.into_iter().map(|(key, _)| key);
            taken = self.remove_tags(&before.name, lacked).await;
        }
        if let Err(error) = taken {
            tracing::warn!(group = %before.name, %error, "the note of a change that was refused cannot be taken back");
        }
    }

    async fn remove_tags(
        &self,
        name: &str,
        keys: impl Iterator<Item = &'static str>,
    ) -> Result<(), ProviderError> {
        let keys = keys.map(|key| (key, String::new()));
        let client = self.region.scaling().await;
        let call = client
            .delete_tags()
            .set_tags(Some(sdk_tags(name, keys, GoesOn::Group)));
        let cost = cost("DeleteTags", Priority::Rest);
        self.region.call(cost, || call.clone().send()).await?;
        Ok(())
    }

    async fn put(&self, tags: Vec<aws_sdk_autoscaling::types::Tag>) -> Result<(), ProviderError> {
        let client = self.region.scaling().await;
        let call = client.create_or_update_tags().set_tags(Some(tags));
        let cost = cost("CreateOrUpdateTags", Priority::Rest);
        self.region.call(cost, || call.clone().send()).await?;
        Ok(())
    }

    async fn refresh(&self, name: &str, properties: &Properties) -> Result<(), ProviderError> {
        let asked = &properties.refresh;
        let preferences = RefreshPreferences::builder()
            .set_min_healthy_percentage(asked.min_healthy)
            .set_instance_warmup(asked.warmup_seconds)
            .skip_matching(asked.skip_matching);
        let client = self.region.scaling().await;
        let call = client
            .start_instance_refresh()
            .auto_scaling_group_name(name)
            .preferences(preferences.build());
        let cost = cost("StartInstanceRefresh", Priority::Rest);
        match self.region.call(cost, || call.clone().send()).await {
            Ok(_) => Ok(()),
            // Nobody's was under way when this call began: it is that of an earlier try.
            Err(error) if error.is("InstanceRefreshInProgress") => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn take_over(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        let name = request.provider_ref.as_str();
        if request.seat.is_some() {
            return Err(invalid(
                "an Auto Scaling group is no member of a quorum group",
            ));
        }
        let group = self.group(name, Priority::Rest).await?;
        let Some(group) = group.filter(|group| !group.is_ending()) else {
            return Err(not_found(format!(
                "the Auto Scaling group {name} is gone, or ends"
            )));
        };
        if self.is_owned_as(&group, request) {
            return Ok(());
        }
        if group.is_owned() {
            return Err(invalid(format!(
                "the Auto Scaling group {name} carries tags of an owner already"
            )));
        }
        if let Some(why) = group.unadoptable() {
            return Err(invalid(why));
        }
        if let Some(claim) = group.claim() {
            return Err(invalid(format!(
                "the Auto Scaling group {name} still belongs to {claim}"
            )));
        }
        let own = tags::of_adoption(&self.name, request, &group.tags);
        let own = own.map_err(|error| invalid(error.to_string()))?;
        let own = own.iter().map(|(key, value)| (key.as_str(), value.clone()));
        self.put(sdk_tags(name, own, GoesOn::Group)).await?;
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let group = self.group(name, Priority::Rest).await?;
            match group {
                Some(group) if self.is_owned_as(&group, request) => return Ok(()),
                Some(group) if group.is_owned() => {
                    return Err(invalid(format!(
                        "the Auto Scaling group {name} was adopted by another agent at the same moment"
                    )));
                }
                Some(_) | None => {}
            }
        }
        let message =
            format!("the Auto Scaling group {name} was tagged, but is not described so yet");
        Err(ProviderError::new(ErrorClass::Unknown, message))
    }

    fn is_owned_as(&self, group: &Group, request: &AdoptRequest) -> bool {
        let wanted = Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: request.instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: None,
        };
        group.is_of(&self.name) && group.ownership() == Some(wanted)
    }

    pub(super) async fn let_go(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        let name = instance.as_str();
        let Some(group) = self.group(name, Priority::Rest).await? else {
            return Err(not_found(format!("there is no Auto Scaling group {name}")));
        };
        let owner = (group.tag(tags::FLEET), group.tag(tags::PROVIDER));
        if owner == (None, None) {
            return Ok(());
        }
        if owner != (Some(fleet.as_str()), Some(self.name.as_str())) {
            return Err(not_found(format!(
                "the Auto Scaling group {name} is another's"
            )));
        }
        let keys = tags::OWNER.iter().chain(&OWN);
        self.remove_tags(name, keys.copied()).await
    }
}
