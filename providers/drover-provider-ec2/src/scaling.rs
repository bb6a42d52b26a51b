//! What EC2 Auto Scaling is asked: which group an instance is in, and what a group still does by itself.

use std::collections::BTreeMap;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use drover_model::ErrorClass;

use crate::budget::{Limit, Priority};
use crate::error::CallError;
use crate::region::{Cost, Region};

/// The tag that Amazon puts on each instance of a scaling group.
pub(crate) const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// The processes of a scaling group that make or end instances. The ninth, `AddToLoadBalancer`, does neither.
pub(crate) const ACTING: [&str; 8] = [
    "Launch",
    "Terminate",
    "HealthCheck",
    "ReplaceUnhealthy",
    "AZRebalance",
    "ScheduledActions",
    "AlarmNotification",
    "InstanceRefresh",
];

/// Most instances, and most names, of one call: Amazon's own limit.
const CHUNK: usize = 50;

/// Most pages of one answer. A call for fifty names has one; that it never ends is no reason to ask for ever.
const PAGES_MAX: usize = 100;

/// Where an instance is in a scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: String,
    /// Amazon's word for where it is in its life there.
    pub(crate) state: String,
}

/// Returns the processes of a group that make or end instances and are not suspended.
pub(crate) fn acting(group: &AutoScalingGroup) -> Vec<&'static str> {
    let suspended = group.suspended_processes().iter();
    let suspended: Vec<&str> = suspended.filter_map(|one| one.process_name()).collect();
    let mut acting = ACTING.to_vec();
    acting.retain(|process| !suspended.contains(process));
    acting
}

/// Returns the command that suspends what makes or ends instances.
pub(crate) fn suspend_command(group: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=@%+,".contains(c);
    let group = if group.chars().all(plain) {
        group.to_owned()
    } else {
        format!("'{}'", group.replace('\'', r"'\''"))
    };
    format!(
        "aws autoscaling suspend-processes --auto-scaling-group-name {group} --scaling-processes {}",
        ACTING.join(" ")
    )
}

fn cost(action: &'static str, priority: Priority) -> Cost {
    Cost {
        action,
        limit: Limit::Scaling,
        priority,
    }
}

fn endless(action: &'static str) -> CallError {
    let message = format!("more than {PAGES_MAX} pages");
    CallError::new(action, ErrorClass::Unknown, message)
}

impl Region {
    /// Returns which of these instances are in a scaling group. Those that left theirs are not in the answer.
    pub(crate) async fn memberships(
        &self,
        ids: &[String],
    ) -> Result<BTreeMap<String, Membership>, CallError> {
        let action = "DescribeAutoScalingInstances";
        let client = self.scaling().await;
        let mut found = BTreeMap::new();
        for chunk in ids.chunks(CHUNK) {
            let mut next: Option<String> = None;
            for page in 0.. {
                if page == PAGES_MAX {
                    return Err(endless(action));
                }
                let call = client
                    .describe_auto_scaling_instances()
                    .set_instance_ids(Some(chunk.to_vec()))
                    .set_next_token(next.take());
                let cost = cost(action, Priority::Observe);
                let answer = self.call(cost, || call.clone().send()).await?;
                for one in answer.auto_scaling_instances() {
                    let (Some(id), Some(group)) =
                        (one.instance_id(), one.auto_scaling_group_name())
                    else {
                        continue;
                    };
                    let membership = Membership {
                        group: group.to_owned(),
                        state: one.lifecycle_state().unwrap_or_default().to_owned(),
                    };
                    found.insert(id.to_owned(), membership);
                }
                next = answer
                    .next_token()
                    .filter(|token| !token.is_empty())
                    .map(str::to_owned);
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Returns the scaling groups of these names, by name. What does not exist is not in the answer.
    pub(crate) async fn scaling_groups(
        &self,
        names: &[String],
        priority: Priority,
    ) -> Result<BTreeMap<String, AutoScalingGroup>, CallError> {
        let mut found = BTreeMap::new();
        for chunk in names.chunks(CHUNK) {
            let client = self.scaling().await;
            let call = client
                .describe_auto_scaling_groups()
                .set_auto_scaling_group_names(Some(chunk.to_vec()));
            for group in self.scaling_pages(call, priority).await? {
                if let Some(name) = group.auto_scaling_group_name() {
                    found.insert(name.to_owned(), group.clone());
                }
            }
        }
        Ok(found)
    }

    /// Returns every page of a description of scaling groups.
    pub(crate) async fn scaling_pages(
        &self,
        call: aws_sdk_autoscaling::operation::describe_auto_scaling_groups::builders::DescribeAutoScalingGroupsFluentBuilder,
        priority: Priority,
    ) -> Result<Vec<AutoScalingGroup>, CallError> {
        let action = "DescribeAutoScalingGroups";
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = call.clone().max_records(100).set_next_token(next);
            let cost = cost(action, priority);
            let answer = self.call(cost, || page.clone().send()).await?;
            let groups = answer.auto_scaling_groups();
            let name = groups
                .first()
                .and_then(AutoScalingGroup::auto_scaling_group_arn);
            self.purse.belongs_to(name.and_then(account_of));
            found.extend_from_slice(groups);
            match answer.next_token() {
                None | Some("") => return Ok(found),
                Some(token) => next = Some(token.to_owned()),
            }
        }
        Err(endless(action))
    }
}

/// Returns the account in an ARN: `arn:PARTITION:SERVICE:REGION:ACCOUNT:...`.
fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

#[cfg(test)]
mod tests;
