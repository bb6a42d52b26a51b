//! Scaling groups as instances: whose they are, where they are in their life, how they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_autoscaling::types::{
    AutoScalingGroup, Filter, Instance, InstanceRefresh, InstanceRefreshStatus,
    LaunchTemplateSpecification, LifecycleState, RefreshPreferences,
};
use drover_model::{
    CheckOutcome, Digests, FleetName, Listed, Owned, Ownership, ProviderName, ProviderPhase,
    ProviderRef, Stranger, Timestamp,
};
use drover_provider::ProviderError;

use super::AsgProvider;
use crate::budget::{Limit, Priority};
use crate::error::CallError;
use crate::properties::invalid;
use crate::region::Cost;
use crate::tags;
/// The fingerprint of the call that made a group.
pub(super) use crate::tags::ASKED;

/// The token of the last change.
pub(super) const UPDATE: &str = "drover.update";
/// What a group is from when all of its machines come from the template of the next tag.
pub(super) const NEXT: &str = "drover.next";
/// The template of the last change, as `ID-OR-NAME/VERSION`; or [`AT_ONCE`].
pub(super) const NEXT_TEMPLATE: &str = "drover.next-template";
/// Instead of a template: the change left the template alone and needed no refresh.
pub(super) const AT_ONCE: &str = "-";

/// Every tag of ours on a group.
pub(super) const OWN: [&str; 4] = [ASKED, UPDATE, NEXT, NEXT_TEMPLATE];

/// How long a group that was made may take to get its machines into service. Afterwards it runs, whatever becomes
/// of its machines: it is Amazon that replaces those, and a group that lost some is not one that did not start.
const START_MAX: Duration = Duration::from_mins(30);

/// The share of a group that an instance refresh leaves in service unless it says so: Amazon's default.
const MIN_HEALTHY: i32 = 90;

/// A scaling group with its tags.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) inner: AutoScalingGroup,
}

/// Returns whether a group's template is this one, written as `ID-OR-NAME/VERSION`.
fn is_template(template: &LaunchTemplateSpecification, written: &str) -> bool {
    let Some((key, version)) = written.rsplit_once('/') else {
        return false;
    };
    let named = [
        template.launch_template_id(),
        template.launch_template_name(),
    ];
    named.contains(&Some(key)) && template.version() == Some(version)
}

/// Returns whether a refresh still changes machines.
pub(super) fn is_active(refresh: &InstanceRefresh) -> bool {
    use InstanceRefreshStatus as S;
    matches!(
        refresh.status(),
        Some(S::Pending | S::InProgress | S::Cancelling | S::RollbackInProgress | S::Baking)
    )
}

impl Group {
    pub(super) fn of(inner: AutoScalingGroup) -> Option<Self> {
        let tags = inner.tags().iter().filter_map(|tag| {
            let value = tag.value().unwrap_or_default();
            Some((tag.key()?.to_owned(), value.to_owned()))
        });
        Some(Self {
            name: inner.auto_scaling_group_name()?.to_owned(),
            tags: tags.collect(),
            inner,
        })
    }

    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.get(key).map(String::as_str)
    }

    /// Returns whether a deletion was accepted.
    pub(super) fn is_ending(&self) -> bool {
        self.inner.status().is_some()
    }

    /// Returns whether it carries anything of an owner's.
    pub(super) fn is_owned(&self) -> bool {
        tags::OWNER.iter().any(|key| self.tags.contains_key(*key))
    }

    /// Returns the machines that a change must reach: not those that leave.
    fn machines(&self) -> impl Iterator<Item = &Instance> {
        use LifecycleState as L;
        self.inner.instances().iter().filter(|machine| {
            !matches!(
                machine.lifecycle_state(),
                Some(
                    L::Terminating
                        | L::TerminatingWait
                        | L::TerminatingProceed
                        | L::TerminatingRetained
                        | L::Terminated
                        | L::Detaching
                        | L::Detached
                        | L::Standby
                        | L::EnteringStandby
                )
            )
        })
    }

    /// Returns whether this is the group's template, whatever its machines come from.
    pub(super) fn has_template(&self, written: &str) -> bool {
        let own = self.inner.launch_template();
        own.is_some_and(|own| is_template(own, written))
    }

    /// Returns whether the group and all of its machines come from this template.
    pub(super) fn is_all(&self, written: &str) -> bool {
        let own = self.inner.launch_template();
        // Machines may name it by its id where the document has its name, so they are compared with the group's own.
        let same = |machine: &Instance| {
            let theirs = machine.launch_template();
            own.zip(theirs).is_some_and(|(own, theirs)| {
                own.launch_template_id() == theirs.launch_template_id()
                    && theirs.version() == own.version()
            })
        };
        self.has_template(written) && self.machines().all(same)
    }

    /// Returns what it is, once the last change has reached every machine.
    pub(super) fn reached(&self) -> Option<&str> {
        let next = self.tag(NEXT)?;
        let template = self.tag(NEXT_TEMPLATE)?;
        (template == AT_ONCE || self.is_all(template)).then_some(next)
    }

    /// Returns the owner that the tags name.
    pub(super) fn ownership(&self) -> Option<Ownership> {
        let own = self.tags.iter();
        let own = own.map(|(key, value)| (key.as_str(), value.as_str()));
        let mut owner = tags::owner(&own.collect(), 0)?;
        if let Some(next) = self.reached() {
            owner.digests = Digests::parse(next).ok()?;
        }
        Some(owner)
    }

    pub(super) fn is_of(&self, provider: &ProviderName) -> bool {
        self.tag(tags::PROVIDER) == Some(provider.as_str())
    }

    /// Returns how many machines are in service, and how many there shall be.
    fn in_service(&self) -> (i32, i32) {
        let machines = self.inner.instances().iter();
        let serving = machines
            .filter(|machine| machine.lifecycle_state() == Some(&LifecycleState::InService))
            .count();
        let desired = self.inner.desired_capacity().unwrap_or(0);
        (i32::try_from(serving).unwrap_or(i32::MAX), desired)
    }

    fn created_at(&self) -> Option<Timestamp> {
        self.inner
            .created_time()
            .and_then(crate::listing::timestamp)
    }

    pub(super) fn phase(&self, now: Timestamp) -> ProviderPhase {
        if self.is_ending() {
            return ProviderPhase::Stopping;
        }
        let (serving, desired) = self.in_service();
        let until = self.created_at();
        let until = until.and_then(|created| created.checked_add(START_MAX).ok());
        let is_young = until.is_some_and(|until| now < until);
        // What was changed since ran before, and so did what others made.
        let is_new = self.tag(UPDATE).is_none() && self.tag(ASKED).is_some();
        if serving < desired && is_young && is_new {
            ProviderPhase::Pending
        } else {
            ProviderPhase::Running
        }
    }

    pub(super) fn listed(&self, phase: ProviderPhase) -> Option<Listed> {
        Some(Listed {
            provider_ref: ProviderRef::parse(&self.name).ok()?,
            ownership: self.ownership(),
            phase,
            // Whoever wants an address asks a load balancer.
            address: None,
            zone: None,
            created_at: self.created_at(),
            interruption: None,
        })
    }

    fn stranger(self, now: Timestamp) -> Option<Stranger> {
        let claim = self.claim();
        Some(Stranger {
            provider_ref: ProviderRef::parse(&self.name).ok()?,
            phase: self.phase(now),
            address: None,
            zone: None,
            created_at: self.created_at(),
            tags: self.tags,
            member: None,
            claimed_by: claim,
            unheard: None,
        })
    }

    /// Returns what its machines come from instead of a launch template: no document can say that, and a template would take
    /// its place.
    pub(super) fn obstacle(&self) -> Option<&'static str> {
        let configuration = self.inner.launch_configuration_name();
        if self.inner.mixed_instances_policy().is_some() {
            Some("a mixed instances policy")
        } else if configuration.is_some_and(|name| !name.is_empty()) {
            Some("a launch configuration")
        } else {
            None
        }
    }

    /// Returns who else drives it, or what does.
    pub(super) fn claim(&self) -> Option<String> {
        let mut keys = self.tags.keys();
        let key = keys.find(|key| key.starts_with("eks:"));
        let eks = key.map(|key| format!("Amazon EKS (tag {key})"));
        let operator = self.inner.operator();
        let operator = operator.and_then(|operator| operator.principal());
        let others = eks.or_else(|| operator.map(|principal| format!("the service {principal}")));
        others.or_else(|| self.unadoptable())
    }

    /// Returns why it cannot be adopted, whoever drives it.
    pub(super) fn unadoptable(&self) -> Option<String> {
        let (name, obstacle) = (&self.name, self.obstacle()?);
        Some(format!(
            "the Auto Scaling group {name} has {obstacle}, and only one with a launch template can be adopted"
        ))
    }
}

pub(super) fn cost(action: &'static str, priority: Priority) -> Cost {
    Cost {
        action,
        limit: Limit::Scaling,
        priority,
    }
}

/// The groups that were seen to run, while they are young: one that starts does so once.
#[derive(Debug, Default)]
pub(super) struct Started(Mutex<BTreeSet<String>>);

impl Started {
    /// Returns the groups with where each is in its life.
    pub(super) fn phases<'a>(
        &self,
        groups: &'a [Group],
        now: Timestamp,
    ) -> Vec<(&'a Group, ProviderPhase)> {
        let mut started = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *started);
        let phases = groups.iter().map(|group| {
            let mut phase = group.phase(now);
            if phase == ProviderPhase::Pending && before.contains(&group.name) {
                phase = ProviderPhase::Running;
            }
            if phase == ProviderPhase::Running {
                started.insert(group.name.clone());
            }
            (group, phase)
        });
        phases.collect()
    }
}

impl AsgProvider {
    /// Returns the groups that have all of these tags.
    pub(super) async fn tagged(
        &self,
        asked: &BTreeMap<String, String>,
    ) -> Result<Vec<Group>, CallError> {
        let filters = asked.iter().map(|(key, value)| {
            let filter = Filter::builder().name(format!("tag:{key}"));
            filter.values(value).build()
        });
        let client = self.region.scaling().await;
        let call = client
            .describe_auto_scaling_groups()
            .set_filters(Some(filters.collect()));
        let found = self.region.scaling_pages(call, Priority::Observe).await?;
        let found = found.into_iter().filter_map(Group::of);
        // Whatever a filter lets through.
        let has_all = |group: &Group| {
            let mut asked = asked.iter();
            asked.all(|(key, value)| group.tag(key) == Some(value))
        };
        Ok(found.filter(has_all).collect())
    }

    /// Returns the groups of a fleet that belong to this document.
    pub(super) async fn owned(&self, fleet: &FleetName) -> Result<Vec<Group>, CallError> {
        let asked = [
            (tags::FLEET.to_owned(), fleet.to_string()),
            (tags::PROVIDER.to_owned(), self.name.to_string()),
        ];
        self.tagged(&asked.into()).await
    }

    /// Returns the groups that have these tags: those of others, and those that have an owner.
    pub(super) async fn strangers(
        &self,
        asked: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(Vec<Stranger>, Vec<Owned>), ProviderError> {
        if asked.is_empty() {
            return Err(invalid("which groups? no tags are named"));
        }
        let found = self.tagged(asked).await?.into_iter();
        let found = found.filter(|group| !group.is_ending());
        let (owned, free): (Vec<Group>, Vec<Group>) = found.partition(Group::is_owned);
        let free = free.into_iter().filter_map(|group| group.stranger(now));
        let owned = owned.into_iter().filter_map(|group| {
            let owner = group.ownership()?;
            let mut stranger = group.stranger(now)?;
            stranger.claimed_by = None;
            Some(Owned {
                stranger,
                fleet: owner.fleet,
                group: owner.group,
            })
        });
        Ok((free.collect(), owned.collect()))
    }

    /// Returns a group as it is now.
    pub(super) async fn group(
        &self,
        name: &str,
        priority: Priority,
    ) -> Result<Option<Group>, CallError> {
        let names = [name.to_owned()];
        let mut found = self.region.scaling_groups(&names, priority).await?;
        Ok(found.remove(name).and_then(Group::of))
    }

    /// Returns the last instance refresh of a group.
    pub(super) async fn last_refresh(
        &self,
        name: &str,
        priority: Priority,
    ) -> Result<Option<InstanceRefresh>, CallError> {
        let client = self.region.scaling().await;
        let call = client
            .describe_instance_refreshes()
            .auto_scaling_group_name(name)
            .max_records(1);
        let cost = cost("DescribeInstanceRefreshes", priority);
        let answer = self.region.call(cost, || call.clone().send()).await?;
        Ok(answer.instance_refreshes().first().cloned())
    }

    /// Returns how a group is: its machines in service, and its last refresh.
    pub(super) async fn condition(
        &self,
        instance: &ProviderRef,
    ) -> Result<CheckOutcome, ProviderError> {
        let name = instance.as_str();
        let Some(group) = self.group(name, Priority::Observe).await? else {
            let why = format!("there is no Auto Scaling group {name}");
            return Ok(CheckOutcome::Unknown { why });
        };
        let last = match group.tag(NEXT) {
            // Only a change of ours starts one that is followed.
            Some(_) if group.reached().is_none() => {
                self.last_refresh(name, Priority::Observe).await?
            }
            _ => None,
        };
        Ok(outcome(&group, last.as_ref()))
    }
}

/// Decides what a group's machines and its refresh say of it. `last`: the refresh of a change that has not reached
/// every machine.
fn outcome(group: &Group, last: Option<&InstanceRefresh>) -> CheckOutcome {
    use InstanceRefreshStatus as S;
    let (serving, desired) = group.in_service();
    let mut needed = desired;
    if let Some(refresh) = last {
        // That says nothing against the machines that serve, and another group would not fare better with the template:
        // what helps is another change.
        if let Some(S::Failed | S::RollbackFailed | S::RollbackSuccessful) = refresh.status() {
            let status = refresh.status().map_or("", S::as_str);
            let reason = refresh.status_reason().unwrap_or("no reason given");
            let why = format!(
                "its instance refresh is {status}: {reason}; {serving} of {desired} machines are in service"
            );
            return CheckOutcome::Unknown { why };
        }
        if is_active(refresh) {
            let preferences = refresh.preferences();
            let kept = preferences.and_then(RefreshPreferences::min_healthy_percentage);
            let kept = i64::from(kept.unwrap_or(MIN_HEALTHY));
            // Rounded down: Amazon may take one more than the share says out of a small group.
            needed = i32::try_from(i64::from(desired) * kept / 100).unwrap_or(desired);
        }
    }
    if serving >= needed {
        CheckOutcome::Passing
    } else {
        let why = format!(
            "{serving} of {} in service",
            if desired == 1 {
                "1 machine is".to_owned()
            } else {
                format!("{desired} machines are")
            }
        );
        CheckOutcome::Failing { why }
    }
}

#[cfg(test)]
mod tests;
