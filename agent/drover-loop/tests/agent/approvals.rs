//! Changes that people must approve, through the whole agent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_loop::{Awaited, Operations, SourceError};
use drover_model::{
    Approval, ApprovalVerdict, Approvals, ChangeId, ExitReport, GroupName, Hold, InstanceId, Order,
    OrderVerb, Revision, Signer, Timestamp,
};
use drover_provider::Clock as _;
use drover_provider_sim::{Behavior, Which};

use crate::audit::History;
use crate::harness::{PROVIDER, World, group};
use crate::peers::reproduced;

/// What people said, as though it had been read and verified.
#[derive(Debug, Clone)]
pub(crate) struct TestOperations(
    Arc<Mutex<Result<Approvals, String>>>,
    /// What was said to wait.
    Arc<Mutex<Vec<Awaited>>>,
);

impl Default for TestOperations {
    fn default() -> Self {
        Self(
            Arc::new(Mutex::new(Ok(Approvals::default()))),
            Arc::default(),
        )
    }
}

impl TestOperations {
    pub(crate) fn say(
        &self,
        world: &World,
        signer: &str,
        verdict: ApprovalVerdict,
        change: &ChangeId,
    ) {
        self.said_at(world.clock.now(), signer, verdict, change);
    }

    fn said_at(&self, at: Timestamp, signer: &str, verdict: ApprovalVerdict, change: &ChangeId) {
        let approval = Approval {
            change: change.clone(),
            signer: Signer::parse(signer).unwrap(),
            verdict,
            at,
            expires: at + Duration::from_mins(5),
            because: "looked at it".to_owned(),
            operation: Revision::parse(&"a".repeat(40)).unwrap(),
        };
        let mut said = self.0.lock().unwrap();
        let web = GroupName::parse("web").unwrap();
        said.as_mut().unwrap().add(web, approval);
    }
}

impl TestOperations {
    pub(crate) fn order(&self, world: &World, verb: OrderVerb, instance: &str) {
        let now = world.clock.now();
        let order = Order {
            verb,
            instance: InstanceId::parse(instance).unwrap(),
            signer: Signer::parse("tom@example.com").unwrap(),
            at: now,
            expires: now + Duration::from_hours(2),
            because: "looked at it".to_owned(),
            operation: Revision::parse(&"b".repeat(40)).unwrap(),
        };
        self.0.lock().unwrap().as_mut().unwrap().add_order(order);
    }
}

impl Operations for TestOperations {
    fn approvals(
        &mut self,
        awaited: &[Awaited],
        _now: Timestamp,
    ) -> Result<Arc<Approvals>, SourceError> {
        self.1.lock().unwrap().extend_from_slice(awaited);
        let said = self.0.lock().unwrap().clone();
        said.map(Arc::new)
            .map_err(|message| SourceError::Unreachable { message })
    }
}

pub(crate) const RULE: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: few-at-once}
spec:
  on: approve
  rules: [{expression: 'change.replaces + change.destroys <= 1', message: more than one goes}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: few-at-once}
spec: {policy: few-at-once, selector: {}, enforcement: requireApproval, approvals: {count: 2}}
";

pub(crate) fn push(world: &World, size: u32, image: &str, more: &str) {
    let web = group("web", size, image);
    let files = [
        ("p.yaml", PROVIDER),
        ("rule.yaml", RULE),
        ("web.yaml", &web),
    ];
    let more = [("more.yaml", more)];
    let more = more.iter().filter(|(_, text)| !text.is_empty());
    let files: Vec<(&str, &str)> = files.iter().chain(more).copied().collect();
    world.repository.commit(&files);
}

async fn converged() -> World {
    let mut world = World::new(&[]);
    push(&world, 3, "a", "");
    world.pass().await;
    world.converge().await;
    world
}

/// The change that waits, who approved it so far, and who wrote it.
fn waiting(world: &World) -> Option<(ChangeId, Vec<String>, Vec<String>)> {
    let report = world.report("web");
    report.holds.iter().find_map(|held| match &held.hold {
        Hold::ApprovalNeeded(needed) => {
            let have = needed.have.iter().map(ToString::to_string).collect();
            assert!(!needed.authors.unknown);
            let authors = needed.authors.known().map(str::to_owned);
            Some((needed.change.clone(), have, authors.collect()))
        }
        _ => None,
    })
}

/// Has as many people approve the change as must.
fn approved_by_two(world: &World, change: &ChangeId) -> TestOperations {
    let operations = world.operations.clone();
    for signer in ["bob@example.com", "eve@example.com"] {
        operations.say(world, signer, ApprovalVerdict::Approve, change);
    }
    operations
}

#[tokio::test]
async fn a_change_waits_for_so_many_people_and_its_approval_holds_through_every_batch() {
    let mut world = converged().await;
    let before = world.living("web");
    push(&world, 3, "b", "");
    world.passes(3).await;
    let (change, have, authors) = waiting(&world).unwrap();
    assert!(have.is_empty());
    assert_eq!(authors, ["ada@example.com"]);
    let operations = world.operations.clone();
    let asked = operations.1.lock().unwrap().last().cloned().unwrap();
    assert_eq!((asked.group.as_str(), &asked.change), ("web", &change));
    assert_eq!(asked.path.as_deref(), Some("web.yaml"));
    operations.say(&world, "bob@example.com", ApprovalVerdict::Approve, &change);
    world.passes(2).await;
    assert_eq!(waiting(&world).unwrap().1, ["bob@example.com"]);
    // An unrelated commit keeps what was approved; the author's own word counts for nothing.
    push(&world, 3, "b", &group("db", 1, "a"));
    let author = "Ada@Example.com";
    operations.say(&world, author, ApprovalVerdict::Approve, &change);
    world.passes(2).await;
    let (same, have, _) = waiting(&world).unwrap();
    assert_eq!((same, have.len()), (change.clone(), 1));
    assert_eq!(world.living("web"), before, "nothing was done so far");
    operations.say(&world, "eve@example.com", ApprovalVerdict::Approve, &change);
    world.pass().await;
    // It runs out while the rollout goes on.
    world.clock.advance(Duration::from_mins(10));
    world.converge().await;
    let living = world.living("web");
    assert!(
        before.iter().all(|name| !living.contains(name)),
        "{living:?}"
    );
    reproduced(&world, "web");
    let log = {
        let log = world.branch.log();
        let messages: Vec<String> = log.into_iter().map(|commit| commit.message).collect();
        messages.join("\n")
    };
    let told = "Drover-Approved-By: bob@example.com\nDrover-Approved-By: eve@example.com\n";
    assert!(log.contains(told), "{log}");
}

#[tokio::test]
async fn another_effect_needs_another_approval_and_a_small_change_none() {
    let mut world = converged().await;
    push(&world, 3, "b", "");
    world.passes(2).await;
    let (change, ..) = waiting(&world).unwrap();
    approved_by_two(&world, &change);
    push(&world, 3, "c", "");
    world.passes(2).await;
    let (other, have, _) = waiting(&world).unwrap();
    assert_ne!(other, change);
    assert!(have.is_empty());
    // What people are asked for is published, although the hold is of the same kind as before.
    let log = world.branch.log();
    let told = &log.last().unwrap().message;
    assert!(told.contains(other.short()), "{told}");
    push(&world, 4, "a", "");
    world.passes(2).await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 4);
}

#[tokio::test]
async fn an_approval_covers_every_setting_of_the_document() {
    let mut world = converged().await;
    push(&world, 3, "b", "");
    world.passes(2).await;
    let (change, ..) = waiting(&world).unwrap();
    approved_by_two(&world, &change);
    // The same template, and what keeps the group from being removed goes.
    let other = |more: &str| group("web", 3, "b").replace("  drain:", more);
    let push_web = |world: &World, web: &str| {
        let files = [("p.yaml", PROVIDER), ("rule.yaml", RULE), ("web.yaml", web)];
        world.repository.commit(&files);
    };
    let before = world.living("web");
    let loosened = other("  deletion: {policy: Orphan}\n  drain:");
    push_web(&world, &loosened);
    world.passes(3).await;
    let (second, have, _) = waiting(&world).expect("nobody has approved it");
    assert_ne!(second, change);
    assert_eq!((have.len(), world.living("web")), (0, before));
    // Neither a comment nor a suspension is another change.
    let commented = format!("# Why not.\n{loosened}");
    push_web(
        &world,
        &commented.replace("  drain:", "  suspend: [{what: [gc]}]\n  drain:"),
    );
    world.passes(2).await;
    assert_eq!(waiting(&world).map(|(id, ..)| id), Some(second.clone()));
    approved_by_two(&world, &second);
    world.pass().await;
    assert_eq!(waiting(&world), None);
    assert_eq!(world.status("web").recorded.change, Some(second));
    // Nor does it cover what comes while its rollout is under way.
    world.passes(3).await;
    push_web(
        &world,
        &other("  deletion: {policy: Orphan, protect: true}\n  drain:"),
    );
    world.passes(2).await;
    let (third, have, _) = waiting(&world).expect("nobody has approved it");
    assert_eq!(have.len(), 0);
    approved_by_two(&world, &third);
    world.pass().await;
    world.converge().await;
    reproduced(&world, "web");
}

#[tokio::test]
async fn a_rejection_stands_until_it_is_taken_back_and_what_cannot_be_read_approves_nothing() {
    let mut world = converged().await;
    push(&world, 3, "b", "");
    world.passes(2).await;
    let (change, ..) = waiting(&world).unwrap();
    let operations = approved_by_two(&world, &change);
    operations.say(&world, "zoe@example.com", ApprovalVerdict::Reject, &change);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["ApprovalRejected"]);
    // Until it is back, what was said stays said.
    let said = std::mem::replace(
        &mut *operations.0.lock().unwrap(),
        Err("no route".to_owned()),
    );
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["ApprovalRejected"]);
    *operations.0.lock().unwrap() = said;
    world.clock.advance(Duration::from_secs(1));
    operations.say(&world, "zoe@example.com", ApprovalVerdict::Approve, &change);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web"), ["web-4", "web-5", "web-6"]);
}

#[tokio::test]
async fn the_removal_of_a_group_is_approved_like_any_change() {
    let mut world = converged().await;
    world
        .repository
        .commit(&[("p.yaml", PROVIDER), ("rule.yaml", RULE)]);
    world.passes(3).await;
    let (change, ..) = waiting(&world).unwrap();
    assert_eq!(world.living("web").len(), 3);
    approved_by_two(&world, &change);
    world
        .until("it is gone", |world| world.living("web").is_empty())
        .await;
}

/// Asserts that a change waits for approval because what approved it is used.
fn waits_anew(world: &World, change: &ChangeId) {
    let (waits, have, _) = waiting(world).expect("it waits");
    assert_eq!((&waits, have.len()), (change, 0));
    let report = world.report("web");
    let told: Vec<String> = report.holds.iter().map(|it| it.hold.to_string()).collect();
    assert!(told[0].contains("are used: approve it again"), "{told:?}");
}

/// Rolls the image out with the approval of two people. Returns the change.
async fn roll(world: &mut World, image: &str) -> ChangeId {
    push(world, 3, image, "");
    world.passes(2).await;
    let (change, ..) = waiting(world).expect("it waits");
    approved_by_two(world, &change);
    world.pass().await;
    world.converge().await;
    change
}

/// Two changes were approved, each as it came into force.
pub(crate) async fn twice_approved() -> World {
    let mut world = converged().await;
    roll(&mut world, "b").await;
    roll(&mut world, "a").await;
    world
}

#[tokio::test]
async fn an_approval_is_used_once_also_over_restarts() {
    let mut world = converged().await;
    let begun = world.clock.now();
    let change = roll(&mut world, "b").await;
    let back = roll(&mut world, "a").await;
    assert_ne!(change, back);
    let before = world.living("web");
    push(&world, 3, "b", "");
    world.passes(3).await;
    waits_anew(&world, &change);
    world.restart().passes(3).await;
    waits_anew(&world, &change);
    // From what is published.
    world.restart_without_data().passes(3).await;
    waits_anew(&world, &change);
    assert_eq!(world.living("web"), before, "nothing was done so far");
    let passed = world.clock.now().duration_since(begun);
    assert!(
        passed.as_secs() < 300,
        "no approval has run out: {passed:?}"
    );
    reproduced(&world, "web");
    approved_by_two(&world, &change);
    world.pass().await;
    world.converge().await;
    assert_ne!(world.living("web"), before);
    reproduced(&world, "web");
    History::of(&world).assert_proven();
}

#[tokio::test]
async fn of_two_changes_that_build_on_each_other_both_are_approved_beforehand() {
    let mut world = converged().await;
    let beforehand = world.clock.now();
    roll(&mut world, "b").await;
    push(&world, 3, "c", "");
    world.passes(2).await;
    let (second, ..) = waiting(&world).unwrap();
    let operations = world.operations.clone();
    for signer in ["bob@example.com", "eve@example.com"] {
        operations.said_at(beforehand, signer, ApprovalVerdict::Approve, &second);
    }
    world.pass().await;
    assert_eq!(waiting(&world), None);
    world.converge().await;
}

#[tokio::test]
async fn another_document_with_the_effect_that_is_carried_out_is_not_approved_again() {
    let mut world = converged().await;
    push(&world, 3, "b", "");
    world.passes(2).await;
    let (change, ..) = waiting(&world).unwrap();
    approved_by_two(&world, &change);
    world.pass().await;
    let more = "# Somebody explains it.\n";
    let web = group("web", 3, "b") + more;
    let files = [
        ("p.yaml", PROVIDER),
        ("rule.yaml", RULE),
        ("web.yaml", &web),
    ];
    world.repository.commit(&files);
    world.passes(2).await;
    let status = world.status("web");
    let recorded = &status.recorded;
    assert!(recorded.rollout.is_some(), "it goes on");
    assert_eq!(recorded.change.as_ref(), Some(&change));
    let accepted = recorded.accepted.as_ref().unwrap();
    assert!(accepted.text.contains(more), "{}", accepted.text);
    // What is taken back meanwhile is used, too.
    push(&world, 3, "a", "");
    world.passes(2).await;
    push(&world, 3, "b", "");
    world.passes(2).await;
    waits_anew(&world, &change);
}

#[tokio::test]
async fn a_group_that_is_made_again_is_removed_with_another_approval() {
    let mut world = converged().await;
    let remove = |world: &World| {
        let files = [("p.yaml", PROVIDER), ("rule.yaml", RULE)];
        world.repository.commit(&files);
    };
    remove(&world);
    world.passes(3).await;
    let (first, ..) = waiting(&world).unwrap();
    approved_by_two(&world, &first);
    world.until("it is gone", |world| !world.knows("web")).await;
    push(&world, 3, "a", "");
    world.passes(2).await;
    world.converge().await;
    remove(&world);
    world.passes(3).await;
    let (second, have, _) = waiting(&world).unwrap();
    assert_ne!(first, second);
    assert!(have.is_empty());
}

/// Nothing asks for approval, and nobody waits for a whole rollout.
async fn rolled(rollout: &str) -> World {
    let mut world = World::web();
    world.converge().await;
    let rolled = group("web", 3, "b").replace("{minReady: 0s}", rollout);
    world.push(&[("web", &rolled)]);
    world
}

fn change_of(world: &World) -> ChangeId {
    world.status("web").recorded.change.clone().unwrap()
}

#[tokio::test]
async fn canaries_that_wait_for_a_person_are_promoted_by_one() {
    let mut world = rolled("{minReady: 0s, canary: {count: 1, hold: 1m, promote: manual}}").await;
    world
        .until("the canary to wait", |world| {
            world.holds("web").contains(&"CanaryHold")
        })
        .await;
    world.passes(300).await;
    assert!(world.holds("web").contains(&"CanaryHold"));
    let (operations, change) = (world.operations.clone(), change_of(&world));
    operations.say(&world, "tom@example.com", ApprovalVerdict::Promote, &change);
    world.converge().await;
    assert_eq!(world.living("web"), ["web-4", "web-5", "web-6"]);
    let log = world.branch.log();
    let told = "- promote by tom@example.com: looked at it\n";
    let times = log.iter().filter(|commit| commit.message.contains(told));
    assert_eq!(times.count(), 1);
    reproduced(&world, "web");
}

#[tokio::test]
async fn a_rollout_that_stopped_goes_on_when_a_person_says_so_once() {
    let mut world = rolled("{minReady: 0s, maxSurge: 1, maxUnavailable: 0}").await;
    let now = world.clock.now();
    world.sim(|mut sim| {
        let bad = Which::Property("image".to_owned(), "b".into());
        let behavior = Behavior::Exits {
            after: Duration::from_secs(1),
            report: ExitReport::default(),
        };
        sim.behave(now, bad, behavior);
    });
    world
        .until("the rollout to stop", |world| {
            world.holds("web").contains(&"RolloutPaused")
        })
        .await;
    world.passes(120).await;
    assert!(world.holds("web").contains(&"RolloutPaused"));
    let (operations, change) = (world.operations.clone(), change_of(&world));
    // It fails again: what was asked once is not done twice.
    operations.say(&world, "tom@example.com", ApprovalVerdict::Retry, &change);
    world
        .until("the rollout to go on", |world| {
            !world.holds("web").contains(&"RolloutPaused")
        })
        .await;
    world
        .until("the rollout to stop again", |world| {
            world.holds("web").contains(&"RolloutPaused")
        })
        .await;
    world.passes(60).await;
    assert!(world.holds("web").contains(&"RolloutPaused"));
    world.sim(|mut sim| sim.clear_behaviors());
    operations.say(&world, "eve@example.com", ApprovalVerdict::Retry, &change);
    world.converge().await;
    assert_eq!(world.living("web").len(), 3);
    reproduced(&world, "web");
}

#[tokio::test]
async fn an_instance_is_replaced_or_kept_because_a_person_says_so() {
    let mut world = World::web();
    world.converge().await;
    let operations = world.operations.clone();
    operations.order(&world, OrderVerb::Replace, "web-2");
    operations.order(&world, OrderVerb::Keep, "web-1");
    world
        .until("another one to serve", |world| {
            world.living("web") == ["web-1", "web-3", "web-4"]
        })
        .await;
    world.converge().await;
    let held = |world: &World| -> Vec<&'static str> {
        let recorded = &world.status("web").recorded;
        recorded.holds.iter().map(|held| held.hold.code()).collect()
    };
    assert_eq!(held(&world), ["KeptInstance"]);
    // A new template passes the kept one by.
    world.push(&[("web", &group("web", 3, "b"))]);
    world
        .until("the others to be new", |world| {
            world.living("web") == ["web-1", "web-5", "web-6"]
        })
        .await;
    world.passes(60).await;
    assert_eq!(world.living("web"), ["web-1", "web-5", "web-6"]);
    operations.order(&world, OrderVerb::Release, "web-1");
    world.converge().await;
    assert_eq!(world.living("web"), ["web-5", "web-6", "web-7"]);
    let log: Vec<String> = world
        .branch
        .log()
        .into_iter()
        .map(|it| it.message)
        .collect();
    for told in [
        "- replace web-2 by tom@example.com: looked at it\n",
        "- replace web-2 by tom@example.com, done: looked at it\n",
        "- keep web-1 by tom@example.com: looked at it\n",
        "- keep web-1 by tom@example.com, for which a later word stands\n",
        "- release web-1 by tom@example.com, done: looked at it\n",
    ] {
        let times = log.iter().filter(|message| message.contains(told)).count();
        assert_eq!(times, 1, "{told}");
    }
    reproduced(&world, "web");
}
