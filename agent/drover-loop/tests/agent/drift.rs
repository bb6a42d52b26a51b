//! What leaves the template in force by itself is repaired; that and changes have separate gates.

use std::time::Duration;

use drover_model::{Digests, Hold, InstanceId, OrderVerb, Reason};

use crate::approvals::RULE;
use crate::harness::{PROVIDER, World, group};
use crate::peers::reproduced;

/// A gate that is closed for one reason.
fn closed_for(reason: Reason) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Policy
metadata: {{name: shut}}
spec:
  on: gate
  rules: [{{expression: 'reason != \"{reason}\"', message: somebody looks first}}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {{name: shut}}
spec: {{policy: shut, selector: {{}}, enforcement: deny}}
"
    )
}

fn push(world: &World, policy: &str, image: &str) {
    let web = group("web", 3, image);
    let files = [
        ("p.yaml", PROVIDER),
        ("policy.yaml", policy),
        ("web.yaml", &web),
    ];
    world.repository.commit(&files);
}

/// A group that was rolled from `a` to `b` under a policy, and the digests of `a`.
async fn settled(policy: &str) -> (World, Digests) {
    let mut world = World::new(&[]);
    let open = closed_for(Reason::Cost);
    push(&world, &open, "a");
    world.pass().await;
    world.converge().await;
    let digests = world.status("web").recorded.target.clone().unwrap();
    push(&world, &open, "b");
    world.pass().await;
    world.converge().await;
    push(&world, policy, "b");
    world.passes(3).await;
    assert_eq!(world.living("web"), ["web-4", "web-5", "web-6"]);
    (world, digests)
}

/// Lets an instance say that it was made from another template.
fn alter(world: &World, instance: &str, digests: &Digests) {
    let id = InstanceId::parse(instance).unwrap();
    let recorded = world.status("web").recorded.instances[&id].clone();
    world.sim(|mut sim| sim.retag(&recorded.provider_ref.unwrap(), digests));
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

/// The clauses that keep gates closed.
fn closed(world: &World) -> Vec<String> {
    let report = world.report("web");
    let closed = report.holds.iter().filter_map(|held| match &held.hold {
        Hold::GateClosed(hold) => Some(hold.to_string()),
        _ => None,
    });
    closed.collect()
}

#[tokio::test]
async fn a_gate_for_drift_holds_repairs_and_lets_changes_pass() {
    let (mut world, old) = settled(&closed_for(Reason::Drift)).await;
    alter(&world, "web-5", &old);
    world.passes(20).await;
    assert_eq!(world.living("web"), ["web-4", "web-5", "web-6"]);
    let told = closed(&world);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("somebody looks first"), "{told:?}");
    // The same without the data, and after a day.
    world.restart_without_data();
    world.clock.advance(Duration::from_hours(24));
    world.passes(20).await;
    assert_eq!(world.living("web"), ["web-4", "web-5", "web-6"]);
    assert_eq!(closed(&world).len(), 1);
    reproduced(&world, "web");
    push(&world, &closed_for(Reason::Drift), "c");
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web"), ["web-7", "web-8", "web-9"]);
}

#[tokio::test]
async fn a_gate_for_changes_lets_repairs_pass() {
    let (mut world, old) = settled(&closed_for(Reason::Update)).await;
    alter(&world, "web-5", &old);
    world
        .until("the repair", |world| {
            world.living("web") == ["web-4", "web-6", "web-7"]
        })
        .await;
    world.converge().await;
    push(&world, &closed_for(Reason::Update), "c");
    world.passes(20).await;
    assert_eq!(world.living("web"), ["web-4", "web-6", "web-7"]);
    assert_eq!(closed(&world).len(), 1);
}

#[tokio::test]
async fn the_way_back_from_a_change_that_was_begun_is_no_repair() {
    let (mut world, _) = settled(&closed_for(Reason::Drift)).await;
    push(&world, &closed_for(Reason::Drift), "c");
    world
        .until("one to be replaced", |world| {
            !world.living("web").contains(&"web-4".to_owned())
        })
        .await;
    push(&world, &closed_for(Reason::Drift), "b");
    world.pass().await;
    world.converge().await;
    let living = world.living("web");
    assert!(!living.contains(&"web-4".to_owned()), "{living:?}");
    assert!(living.contains(&"web-6".to_owned()), "{living:?}");
    assert!(closed(&world).is_empty());
}

#[tokio::test]
async fn people_approve_changes_and_not_repairs_or_the_other_way_round() {
    let ask = RULE.replace("<= 1", "== 0");
    let mut world = World::new(&[]);
    push(&world, &ask, "a");
    world.pass().await;
    world.converge().await;
    let target = world.status("web").recorded.target.clone().unwrap();
    let (version, rest) = target.to_string().split_once(':').map(owned).unwrap();
    let first = if rest.starts_with('a') { "b" } else { "a" };
    let other = Digests::parse(&format!("{version}:{first}{}", &rest[1..]));
    alter(&world, "web-2", &other.unwrap());
    world
        .until("the repair, without a word", |world| {
            world.living("web") == ["web-1", "web-3", "web-4"]
        })
        .await;
    world.converge().await;
    push(&world, &ask, "b");
    world.passes(5).await;
    assert_eq!(world.holds("web"), ["ApprovalNeeded"]);
    // Changes go by themselves, and of a repair a person has to say that it may be.
    let (mut world, old) = settled(&closed_for(Reason::Drift)).await;
    alter(&world, "web-5", &old);
    world.passes(20).await;
    assert_eq!(closed(&world).len(), 1);
    let operations = world.operations.clone();
    operations.order(&world, OrderVerb::Replace, "web-5");
    world.converge().await;
    assert_eq!(world.living("web"), ["web-4", "web-6", "web-7"]);
    let log = world.branch.log();
    let told = "- replace web-5 by tom@example.com: looked at it\n";
    assert!(log.iter().any(|commit| commit.message.contains(told)));
    reproduced(&world, "web");
}
