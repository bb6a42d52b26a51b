//! A group that goes on under another name keeps its instances until somebody says what is meant.

use drover_provider_sim::Op;

use crate::harness::{PROVIDER, World, group, group_with};

/// The group `old` with three instances, and one that stays.
async fn old() -> World {
    let mut world = World::new(&[]);
    push(&world, &[("groups/web.yaml", &group("old", 3, "a"))]);
    world.pass().await;
    world.converge().await;
    world
}

fn push(world: &World, groups: &[(&str, &str)]) {
    let stays = group("stays", 1, "z");
    let mut files = vec![
        ("providers/local.yaml", PROVIDER),
        ("groups/stays.yaml", stays.as_str()),
    ];
    files.extend(groups);
    world.repository.commit(&files);
}

/// Asserts that nothing was made or ended, and what both groups say.
async fn neither(world: &mut World) {
    let mutations = world.mutations();
    world.passes(3).await;
    assert_eq!(world.holds("old"), ["DeletionUnconfirmed"]);
    assert_eq!(world.holds("new"), ["RenameUnconfirmed"]);
    assert_eq!(world.living("old").len(), 3);
    assert_eq!(world.living("new"), [""; 0]);
    assert_eq!(world.mutations(), mutations);
}

#[tokio::test]
async fn a_name_changed_in_place_makes_nothing_and_removes_nothing() {
    let mut world = old().await;
    push(&world, &[("groups/web.yaml", &group("new", 3, "a"))]);
    neither(&mut world).await;
    let told = world.report("old").holds[0].hold.to_string();
    assert!(told.contains("group new is new"), "{told}");
    world.restart();
    neither(&mut world).await;
    // Nor does a commit that changes more, nor an agent that starts with an empty data directory.
    push(&world, &[("groups/web.yaml", &group("new", 2, "b"))]);
    neither(&mut world).await;
    world.restart_without_data();
    neither(&mut world).await;
    // The old name again, and all is calm.
    push(&world, &[("groups/web.yaml", &group("old", 3, "a"))]);
    let mutations = world.mutations();
    world.passes(3).await;
    assert_eq!(world.holds("old"), [""; 0]);
    assert!(!world.knows("new"));
    assert_eq!(world.mutations(), mutations);
}

#[tokio::test]
async fn a_file_that_was_moved_before_is_known_by_its_new_place() {
    let mut world = old().await;
    push(&world, &[("moved/web.yaml", &group("old", 3, "a"))]);
    world.passes(2).await;
    world.restart();
    push(&world, &[("moved/web.yaml", &group("new", 2, "b"))]);
    neither(&mut world).await;
}

#[tokio::test]
async fn a_removal_and_its_successor_in_two_commits_seen_at_once_ask() {
    let mut world = old().await;
    push(&world, &[]);
    push(&world, &[("groups/web.yaml", &group("new", 3, "b"))]);
    neither(&mut world).await;
}

#[tokio::test]
async fn both_at_once_and_the_old_one_later_replaces_it() {
    let mut world = old().await;
    let new = ("groups/web.yaml", &*group("new", 3, "a"));
    push(&world, &[new]);
    neither(&mut world).await;
    push(&world, &[new, ("groups/old.yaml", &group("old", 3, "a"))]);
    world
        .until("the new ones", |world| world.living("new").len() == 3)
        .await;
    world.converge().await;
    assert_eq!(world.living("old").len(), 3);
    push(&world, &[new]);
    world
        .until("the removal", |world| !world.knows("old"))
        .await;
    assert_eq!(world.living("new").len(), 3);
}

#[tokio::test]
async fn an_alike_group_elsewhere_starts_and_the_removal_asks_whatever_comes() {
    let mut world = old().await;
    push(&world, &[("groups/other.yaml", &group("new", 3, "a"))]);
    world
        .until("the new ones", |world| world.living("new").len() == 3)
        .await;
    for _ in 0..2 {
        assert_eq!(world.holds("old"), ["DeletionUnconfirmed"]);
        assert_eq!(world.living("old").len(), 3);
        assert_eq!(world.calls(Op::Destroy), 0);
        // It is not new any more, and not alike either.
        push(&world, &[("groups/other.yaml", &group("new", 4, "a"))]);
        world.restart();
        world.passes(4).await;
    }
}

#[tokio::test]
async fn what_is_not_alike_replaces_at_once() {
    let mut world = old().await;
    push(&world, &[("groups/other.yaml", &group("new", 3, "b"))]);
    world
        .until("the removal", |world| !world.knows("old"))
        .await;
    assert_eq!(world.living("new").len(), 3);
}

#[tokio::test]
async fn a_document_with_mistakes_in_its_place_removes_nothing() {
    let mut world = old().await;
    let broken = group_with("new", 3, "a", "  nonsense: 1\n");
    push(&world, &[("groups/web.yaml", &broken)]);
    world.passes(3).await;
    assert_eq!(world.holds("old"), ["DeletionUnconfirmed"]);
    assert_eq!(world.living("old").len(), 3);
}
