//! Groups come to be what their documents say, and the state branch tells how.

use drover_model::{ConditionType, GroupPhase};

use crate::harness::{World, group, group_with};

#[tokio::test]
async fn a_new_group_converges_and_says_so() {
    let mut world = World::web();
    world.converge().await;
    assert_eq!(world.living("web"), ["web-1", "web-2", "web-3"]);
    let status = world.status("web");
    assert_eq!(status.report.numbers.available, 3);
    assert_eq!(
        status.recorded.conditions[&ConditionType::Ready].status,
        Some(true)
    );
    let members = status.members.clone().unwrap();
    let ready = members.members.iter();
    assert_eq!(ready.filter(|m| m.address.is_some()).count(), 3);
    insta::assert_snapshot!(world.subjects().join("\n"), @r"
    agent edge-1: take the lease, epoch 1
    fleet: documents at e600c0c
    web: create 3
    web: progressing, 0 of 3 available
    web: converged, 3 available
    ");
}

#[tokio::test]
async fn a_commit_scales_out_and_in() {
    let mut world = World::web();
    world.converge().await;
    world.push(&[("web", &group("web", 5, "a"))]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 5);
    world.push(&[("web", &group("web", 2, "a"))]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 2);
    let subjects = world.subjects().join("\n");
    assert!(subjects.contains("web: scale 3 -> 5"), "{subjects}");
    assert!(subjects.contains("web: scale 5 -> 2"), "{subjects}");
}

#[tokio::test]
async fn a_new_template_rolls_every_instance() {
    let mut world = World::web();
    world.converge().await;
    let before = world.living("web");
    world.push(&[("web", &group("web", 3, "b"))]);
    world.pass().await;
    world.converge().await;
    let after = world.living("web");
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|id| !before.contains(id)), "{after:?}");
    let subjects = world.subjects().join("\n");
    assert!(subjects.contains("web: roll to "), "{subjects}");
}

#[tokio::test]
async fn an_instance_that_ends_is_replaced() {
    let mut world = World::web();
    world.converge().await;
    let now = drover_provider::Clock::now(&*world.clock);
    world.sim(|mut sim| {
        let victim = sim.instances(now).next().unwrap().provider_ref.clone();
        sim.crash(&victim, now, drover_model::ExitReport::default());
    });
    world.passes(2).await;
    world.converge().await;
    let living = world.living("web");
    assert_eq!(living.len(), 3);
    assert!(living.contains(&"web-4".to_owned()), "{living:?}");
}

#[tokio::test]
async fn a_group_that_is_only_observed_is_never_touched() {
    let mut world =
        World::with_groups(&[("web", &group_with("web", 3, "a", "  manage: observe\n"))]);
    world.passes(5).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Observed);
    assert_eq!(world.mutations(), 0);
}

#[tokio::test]
async fn a_dry_run_shows_steps_and_leaves_no_trace() {
    let mut world = World::web();
    world.settings.mode = drover_loop::Mode::DryRun;
    let report = world.pass().await;
    let steps = &report.groups.values().next().unwrap().steps;
    assert!(steps.iter().any(|step| step.verb == "create"), "{steps:?}");
    world.passes(3).await;
    assert_eq!(world.mutations(), 0);
    assert_eq!(world.journal.writes(), 0);
    assert!(world.branch.log().is_empty());
}
