//! Instances that others made: those that carry no owner's tags, and who else still makes and ends such
//! instances.
//!
//! Only what says that nobody acts any more lets an instance be adopted: who cannot be asked fails the survey.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, Instance};
use drover_provider::ProviderError;

use crate::budget::Priority;
use crate::error::CallError;
use crate::listing::{Seen, filter};
use crate::properties::invalid;
use crate::region::Region;
use crate::scaling::{GROUP_TAG, acting, suspend_command};
use crate::tags;

/// The states of what may be adopted, or is on its way to or from there. What is terminated is listed for an hour
/// and of no use to anybody.
const STATES: [&str; 5] = ["pending", "running", "shutting-down", "stopping", "stopped"];

/// Tags of who makes and ends instances by itself and is not asked whether it still does: the tag, or how it begins,
/// and who that is.
const OWNERS: [(&str, &str); 8] = [
    ("aws:ec2spot:fleet-request-id", "a Spot Fleet request"),
    ("aws:eks:", "Amazon EKS"),
    ("eks:", "Amazon EKS"),
    ("karpenter.sh/", "Karpenter"),
    ("karpenter.k8s.aws/", "Karpenter"),
    ("aws:elasticmapreduce:", "Amazon EMR"),
    ("AWSBatchServiceTag", "AWS Batch"),
    ("aws:ec2:fleet-id", "an EC2 Fleet"),
];

/// The tag of EC2 Fleet. Auto Scaling launches by fleets that make instances once and then do nothing, so among its
/// instances the tag says nothing.
const FLEET_TAG: &str = "aws:ec2:fleet-id";

/// Returns whether an instance carries anything of an owner's, whole or not.
pub(crate) fn is_owned(seen: &Seen) -> bool {
    tags::OWNER.iter().any(|key| seen.tag(key).is_some())
}

/// Returns who else acts on an instance, as far as its tags alone say it.
fn owner_by_tag(seen: &Seen) -> Option<String> {
    let scaled = seen.tag(GROUP_TAG).is_some();
    OWNERS.iter().find_map(|(begin, who)| {
        let mut keys = seen.tags.keys();
        let key = keys.find(|key| key.starts_with(begin) && !(scaled && *key == FLEET_TAG))?;
        Some(format!("{who} (tag {key})"))
    })
}

/// Returns a tag's value as a filter takes it literally: `*` and `?` stand for other texts there.
fn literally(value: &str) -> String {
    let special = |c: char| matches!(c, '*' | '?' | '\\');
    let escaped = value
        .chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
    escaped.collect()
}

fn filters(asked: &BTreeMap<String, String>) -> Vec<Filter> {
    let by_tag = |(key, value): (&String, &String)| {
        filter(&format!("tag:{key}"), &[literally(value).as_str()])
    };
    let mut filters: Vec<Filter> = asked.iter().map(by_tag).collect();
    filters.push(filter("instance-state-name", &STATES));
    filters
}

/// The instances that have the tags that were asked for.
#[derive(Debug)]
pub(crate) struct Found<T> {
    /// Those without an owner, each with who else still acts on it.
    pub(crate) free: Vec<(T, Option<String>)>,
    /// Those that carry anything of an owner's.
    pub(crate) owned: Vec<T>,
}

impl Region {
    /// Returns the instances that have all of these tags, as `read` makes of them. `seen_of`: what is known of one for
    /// that.
    ///
    /// # Errors
    ///
    /// `InvalidSpec`: no tags, which would be everything that runs. Otherwise that of the call that failed, be it one
    /// of who else may act.
    pub(crate) async fn strangers<T>(
        &self,
        asked: &BTreeMap<String, String>,
        read: fn(&Instance) -> Option<T>,
        seen_of: fn(&T) -> &Seen,
    ) -> Result<Found<T>, ProviderError> {
        if asked.is_empty() {
            return Err(invalid("which instances? no tags are named"));
        }
        let mut found = self
            .describe_as(filters(asked), Priority::Observe, read)
            .await?;
        // Whatever a filter lets through.
        found.retain(|one| {
            let seen = seen_of(one);
            let mut asked = asked.iter();
            asked.all(|(key, value)| seen.tag(key) == Some(value))
        });
        let (owned, free): (Vec<T>, Vec<T>) =
            found.into_iter().partition(|one| is_owned(seen_of(one)));
        let seen: Vec<&Seen> = free.iter().map(seen_of).collect();
        let mut claims = self.claims(&seen).await?;
        let with_claims = free.into_iter().map(|one| {
            let claim = claims.remove(&seen_of(&one).id);
            (one, claim)
        });
        Ok(Found {
            free: with_claims.collect(),
            owned,
        })
    }

    /// Returns who else still acts on these instances, in words for people, by their ids. Nobody acts on what is
    /// not in the answer.
    pub(crate) async fn claims(
        &self,
        seen: &[&Seen],
    ) -> Result<BTreeMap<String, String>, CallError> {
        let mut claims = BTreeMap::new();
        let mut scaled = Vec::new();
        for one in seen {
            if let Some(owner) = owner_by_tag(one) {
                claims.insert(one.id.clone(), owner);
            } else if one.tag(GROUP_TAG).is_some() {
                scaled.push(one.id.clone());
            }
        }
        if scaled.is_empty() {
            return Ok(claims);
        }
        // The tag alone does not say it: an instance in standby is left alone, one that was detached left.
        let mut members = self.memberships(&scaled).await?;
        members.retain(|_, member| !matches!(member.state.as_str(), "Standby" | "Detached"));
        let mut names: Vec<String> = members.values().map(|one| one.group.clone()).collect();
        names.sort();
        names.dedup();
        let groups = self.scaling_groups(&names, Priority::Observe).await?;
        for (id, member) in members {
            let name = &member.group;
            let claim = match groups.get(name) {
                None => Some(format!(
                    "the Auto Scaling group {name}, which is not described"
                )),
                Some(group) if group.status().is_some() => Some(format!(
                    "the Auto Scaling group {name}, which is being deleted"
                )),
                Some(group) => match acting(group).as_slice() {
                    [] => None,
                    acting => Some(format!(
                        "the Auto Scaling group {name} ({} not suspended): {}",
                        acting.join(", "),
                        suspend_command(name)
                    )),
                },
            };
            claims.extend(claim.map(|claim| (id, claim)));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests;
