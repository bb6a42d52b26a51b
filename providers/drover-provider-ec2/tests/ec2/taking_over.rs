//! Instances that others made, taken over by the agent over the program: watched first, left to their owner while it
//! acts, adopted with nothing made and nothing ended, then rolled.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::{InstanceType, ResourceType, Tag, TagSpecification};

use crate::agent::{PROVIDER, Sandbox, real};
use crate::fake::Fake;
use crate::support::client;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(2);

fn group(size: usize, selector: &str, key: &str, more: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: aws
  size: {size}
  adopt: {{selector: {{matchTags: {{{selector}}}}}, revision: assume}}
  template:
    properties: {{imageId: ami-00000001, instanceType: t3.micro, keyName: {key}}}
  rollout: {{minReady: 100ms, maxSurge: 1}}
  drain: {{delay: 0s}}
  limits: {{maxDestroy: '100%', maxCreatePerHour: 10000}}
{more}"
    )
}

fn push(sandbox: &Sandbox, message: &str, text: &str) {
    sandbox.push(message, &[PROVIDER, ("groups/web.yaml", text)]);
}

/// Launches instances as somebody else would.
fn launch(fake: &Fake, count: i32) {
    let tag = Tag::builder().key("app").value("web").build();
    let specification = TagSpecification::builder()
        .resource_type(ResourceType::Instance)
        .tags(tag);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        client(&fake.endpoint())
            .await
            .run_instances()
            .image_id("ami-00000001")
            .instance_type(InstanceType::T3Micro)
            .key_name("one")
            .min_count(count)
            .max_count(count)
            .tag_specifications(specification.build())
            .send()
            .await
            .unwrap()
    });
    fake.calls();
}

fn living(fake: &Fake) -> BTreeSet<String> {
    fake.world().living().map(|one| one.id.clone()).collect()
}

/// Fails if any call so far has changed something; waits before until there were this many listings.
fn assert_nothing_is_changed_in(fake: &Fake, listings: u64) {
    let started = Instant::now();
    let mut seen = 0;
    while seen < listings {
        assert!(started.elapsed() < PATIENCE, "no passes");
        std::thread::sleep(Duration::from_millis(100));
        for (action, count) in fake.calls() {
            assert!(action.starts_with("Describe"), "{action} was called");
            seen += if action == "DescribeInstances" {
                count
            } else {
                0
            };
        }
    }
}

fn calls_of(fake: &Fake, actions: [&str; 3]) -> [u64; 3] {
    let calls = fake.calls();
    actions.map(|action| calls.get(action).copied().unwrap_or(0))
}

#[test]
fn instances_that_run_are_watched_then_adopted_then_rolled() {
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    launch(&fake, 3);
    let before = living(&fake);
    let watched = group(3, "app: web", "one", "  manage: observe\n");
    push(&sandbox, "watch", &watched);
    sandbox.start();
    assert_nothing_is_changed_in(&fake, 12);

    push(&sandbox, "take over", &group(3, "app: web", "one", ""));
    sandbox.wait_converged(&fake, "web", 3, "one");
    let counted = calls_of(&fake, ["RunInstances", "TerminateInstances", "CreateTags"]);
    assert_eq!(
        counted,
        [0, 0, 3],
        "nothing made, nothing ended, each tagged once"
    );
    assert_eq!(living(&fake), before);

    push(&sandbox, "roll", &group(3, "app: web", "two", ""));
    sandbox.wait_converged(&fake, "web", 3, "two");
    assert!(living(&fake).is_disjoint(&before));
    assert_eq!(fake.world().machines.len(), 6);
}

#[test]
fn a_scaling_groups_instances_are_adopted_when_its_processes_are_suspended() {
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let place = crate::adoption::Place::fake(&fake);
    runtime.block_on(place.scale("workers", 2));
    let before = living(&fake);
    fake.calls();
    let text = group(2, "'aws:autoscaling:groupName': workers", "''", "");
    let text = text.replace(", keyName: ''", "");
    push(&sandbox, "take over", &text);
    sandbox.start();
    let hint = "suspend-processes --auto-scaling-group-name workers";
    sandbox.wait_told("web", &[hint]);
    sandbox.wait_told("web", &["OwnerStillActs"]);
    assert_nothing_is_changed_in(&fake, 6);

    let all = [
        "Launch",
        "Terminate",
        "HealthCheck",
        "ReplaceUnhealthy",
        "AZRebalance",
        "ScheduledActions",
        "AlarmNotification",
        "InstanceRefresh",
    ];
    runtime.block_on(place.suspend("workers", &all));
    sandbox.wait_converged(&fake, "web", 2, "");
    assert_eq!(living(&fake), before);
    let counted = calls_of(&fake, ["RunInstances", "TerminateInstances", "CreateTags"]);
    assert_eq!(counted, [0, 0, 2]);
}
