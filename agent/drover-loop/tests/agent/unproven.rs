//! Two agents whose fleets have one name: what the first one has made is not ended by the second one.

use std::sync::Arc;
use std::time::Duration;

use drover_apply::MemoryJournal;
use drover_loop::memory::MemoryStateBranch;
use drover_model::GroupPhase;
use drover_provider_sim::Op;

use crate::harness::{World, group};

/// An agent with three instances of `web`, and then another one over the same provider, with a repository, a state branch and
/// data of its own, that wants less.
async fn second() -> World {
    let mut world = World::web();
    world.converge().await;
    world.agent = None;
    world.branch = MemoryStateBranch::new();
    world.journal = Arc::new(MemoryJournal::new());
    world.push(&[("web", &group("web", 1, "b")), ("db", &group("db", 1, "a"))]);
    world
}

#[tokio::test]
async fn a_group_without_a_record_ends_nothing_that_carries_its_tags() {
    let mut world = second().await;
    let mutations = world.mutations();
    world.passes(5).await;
    assert_eq!(world.holds("web"), ["OwnerUnproven"]);
    let held = world.report("web").holds[0].hold.to_string();
    let says = "there already, which another agent may have made";
    assert!(held.contains(says), "{held}");
    let word = "`drover reconcile --accept-instances web`";
    assert!(held.contains(word), "{held}");
    let status = world.status("web");
    assert_eq!(status.recorded.phase, GroupPhase::Held);
    assert!(status.recorded.accepted.is_none());
    // Other groups go on, and a restart answers nothing.
    assert_eq!(world.living("db").len(), 1);
    world.restart();
    world.clock.advance(Duration::from_hours(1));
    world.passes(5).await;
    assert_eq!(world.holds("web"), ["OwnerUnproven"]);
    world.restart_without_data();
    world.passes(5).await;
    assert_eq!(world.holds("web"), ["OwnerUnproven"]);
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(world.calls(Op::Destroy), 0);
    assert_eq!(world.mutations(), mutations + 1, "the one of db");
}

#[tokio::test]
async fn a_persons_word_is_for_one_group_and_is_told_in_the_log() {
    let mut world = second().await;
    world.passes(3).await;
    world.accept_instances("db");
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["OwnerUnproven"]);
    world.accept_instances("web");
    world.passes(2).await;
    assert!(world.status("web").recorded.accepted.is_some());
    let log = world.branch.log();
    let told = log.iter().any(|commit| {
        commit
            .message
            .contains("accept 3 instances without a record, by the word of Zoe")
    });
    assert!(told, "{log:#?}");
    // From then on the record says whose they are.
    world.restart_without_data();
    world.passes(3).await;
    assert!(!world.holds("web").contains(&"OwnerUnproven"));
}

#[tokio::test]
async fn a_group_that_goes_before_it_has_a_record_leaves_what_it_found() {
    let mut world = second().await;
    world.passes(3).await;
    world.push(&[("db", &group("db", 1, "a"))]);
    world.passes(5).await;
    assert!(!world.knows("web"));
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(world.calls(Op::Destroy), 0);
}
