//! Spot capacity of which everything is taken back, over the agent and the program: with notices that a pass has seen it is
//! made anew, without them a person is asked.

use std::time::{Duration, Instant};

use drover_model::Timestamp;
use serde_json::Value as Json;

use crate::agent::{PROVIDER, Sandbox, real};
use crate::fake::Fake;

const SIZE: usize = 6;

/// How long anything may take: a minute passes until what is missing is known to be gone.
const PATIENCE: Duration = Duration::from_mins(4);

/// A group that makes nothing beside its instances, and that takes longer to drain than a notice lasts: nobody but Amazon
/// ends anything.
const WEB: &str = "apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec:
  provider: aws
  size: 6
  template:
    properties: {imageId: ami-00000001, instanceType: t3.micro, keyName: one, market: spot}
  rollout: {minReady: 100ms}
  drain: {delay: 10m, timeout: 20m}
  limits: {maxTotal: 6}
";

fn started(fake: &Fake) -> Sandbox {
    let mut sandbox = Sandbox::new(fake);
    sandbox.push("a group", &[PROVIDER, ("groups/web.yaml", WEB)]);
    sandbox.start();
    sandbox.wait_converged(fake, "web", SIZE, "one");
    sandbox
}

#[track_caller]
fn wait(sandbox: &Sandbox, what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}\n{}", sandbox.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for two more listings that have an answer.
fn wait_for_passes(sandbox: &Sandbox, fake: &Fake) {
    fake.calls();
    wait(sandbox, "no pass", || {
        fake.world().calls.get("DescribeInstances") >= Some(&3)
    });
}

/// What is left of everything that Amazon took: nothing, once EC2 has forgotten it.
fn take_everything(fake: &Fake) {
    fake.world().machines.clear();
}

fn is_held(group: Option<&Json>) -> bool {
    group.is_some_and(|group| group.to_string().contains("ObservationEmptied"))
}

#[test]
fn spot_capacity_that_is_taken_back_with_notices_is_made_anew_by_the_next_agent() {
    let fake = Fake::start(real());
    let mut sandbox = started(&fake);
    for machine in fake.world().machines.values_mut() {
        machine.marked = Some(Timestamp::now());
    }
    wait_for_passes(&sandbox, &fake);
    assert_eq!(fake.world().living().count(), SIZE, "nobody ends them");
    sandbox.kill();
    take_everything(&fake);
    sandbox.start();
    wait(&sandbox, "not made anew", || {
        assert!(!is_held(sandbox.group("web").as_ref()));
        fake.world().living().count() == SIZE
    });
    sandbox.wait_converged(&fake, "web", SIZE, "one");
    assert!(!fake.calls().contains_key("TerminateInstances"));
}

#[test]
fn spot_capacity_that_is_gone_without_a_notice_waits_for_a_person() {
    let fake = Fake::start(real());
    let sandbox = started(&fake);
    take_everything(&fake);
    wait(&sandbox, "not held", || {
        is_held(sandbox.group("web").as_ref())
    });
    wait_for_passes(&sandbox, &fake);
    assert_eq!(fake.world().living().count(), 0);
    assert!(is_held(sandbox.group("web").as_ref()));
}
