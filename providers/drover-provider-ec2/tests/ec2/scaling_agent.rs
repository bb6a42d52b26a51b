//! Scaling groups under the agent: what Amazon refuses and what fails on the way replaces none.

use std::time::{Duration, Instant};

use crate::agent::{Sandbox, real};
use crate::fake::Fake;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(2);

const PROVIDER: (&str, &str) = (
    "providers/aws.yaml",
    "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: aws}\n\
     spec: {type: plugin, plugin: ec2/asg, settings: {region: eu-central-1}}\n",
);

fn push(sandbox: &Sandbox, version: u32) {
    let text = format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: aws
  size: 1
  template:
    properties:
      minSize: 2
      maxSize: 4
      launchTemplate: {{id: lt-1, version: '{version}'}}
      subnets: [subnet-a]
  health: {{unhealthyAfter: 30m, unknownAfter: 2s, checks: [{{provider: {{}}, interval: 1s, timeout: 5s}}]}}
  rollout: {{minReady: 100ms, maxSurge: 0, maxUnavailable: 1}}
  drain: {{delay: 0s}}
  limits: {{maxDestroy: '100%'}}
"
    );
    let message = format!("version {version}");
    sandbox.push(&message, &[PROVIDER, ("groups/web.yaml", &text)]);
}

/// Waits until the group has converged, and all of its machines are from a version of the template.
#[track_caller]
fn wait_converged(sandbox: &Sandbox, fake: &Fake, version: u32) {
    let image = format!("ami-{version:0>8}");
    sandbox.wait("web", "it does not converge", |group| {
        let world = fake.world();
        let right = world.living().filter(|machine| machine.image == image);
        group["phase"] == "Converged" && right.count() == 2 && world.living().count() == 2
    });
}

/// Waits until the agent has listed the groups so many times more.
fn wait_listed(fake: &Fake, times: u64) {
    let listings = || {
        let world = fake.world();
        let listings = world.calls.get("DescribeAutoScalingGroups");
        listings.copied().unwrap_or(0)
    };
    let (before, started) = (listings(), Instant::now());
    while listings() < before + times {
        assert!(started.elapsed() < PATIENCE, "no passes");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the one group that there is and ever was.
#[track_caller]
fn only_group(fake: &Fake) -> String {
    let world = fake.world();
    let names: Vec<&String> = world.groups.keys().chain(&world.past_groups).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(world.calls.get("DeleteAutoScalingGroup"), None);
    names[0].clone()
}

fn begin() -> (Fake, Sandbox, String) {
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    push(&sandbox, 1);
    sandbox.start();
    wait_converged(&sandbox, &fake, 1);
    let name = only_group(&fake);
    (fake, sandbox, name)
}

#[test]
fn a_change_that_amazon_refuses_pauses_the_rollout_and_the_next_document_goes_on() {
    let (fake, sandbox, name) = begin();
    fake.world()
        .refuse("UpdateAutoScalingGroup", "ValidationError", 1);
    push(&sandbox, 2);
    sandbox.wait_told("web", &["RolloutPaused", "ValidationError"]);
    wait_listed(&fake, 8);
    assert_eq!(only_group(&fake), name);
    let calls = fake.world().calls.get("UpdateAutoScalingGroup").copied();
    assert_eq!(calls, Some(1), "it is not asked for again by itself");
    push(&sandbox, 3);
    wait_converged(&sandbox, &fake, 3);
    assert_eq!(only_group(&fake), name);
}

/// Waits for a refresh, and lets it fail when it has reached one of the machines.
fn fail_refresh(fake: &Fake, count: usize, reached: u32) {
    let started = Instant::now();
    loop {
        let mut world = fake.world();
        let group = world.groups.values_mut().next().unwrap();
        if group.refreshes.len() == count {
            let refresh = group.refreshes.last_mut().unwrap();
            "Failed".clone_into(&mut refresh.status);
            "Warmup timed out".clone_into(&mut refresh.reason);
            let living = |machine: &&mut crate::fake::Machine| machine.ended.is_none();
            let machine = world.machines.values_mut().find(living).unwrap();
            machine.image = format!("ami-{reached:0>8}");
            let tag = "aws:ec2launchtemplate:version".to_owned();
            machine.tags.insert(tag, reached.to_string());
            return;
        }
        drop(world);
        assert!(started.elapsed() < PATIENCE, "no refresh");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_way_back_whose_refresh_fails_is_told_and_the_next_document_changes_the_same_group() {
    let (fake, sandbox, name) = begin();
    fake.world().refreshes_wait = true;
    push(&sandbox, 2);
    fail_refresh(&fake, 1, 2);
    push(&sandbox, 1);
    fail_refresh(&fake, 2, 2);
    let words = ["Lost", "its instance refresh is Failed: Warmup timed out"];
    sandbox.wait_told("web", &words);
    wait_listed(&fake, 8);
    assert_eq!(only_group(&fake), name);
    fake.world().refreshes_wait = false;
    push(&sandbox, 3);
    wait_converged(&sandbox, &fake, 3);
    assert_eq!(only_group(&fake), name);
}
