//! When a document that is gone removes its group, and when it asks.

use std::time::Duration;

use drover_model::GroupPhase;
use drover_provider_sim::Op;

use crate::harness::{PROVIDER, World, group, group_with};

/// Eight groups of one, so that no removal below is most of them.
async fn eight() -> World {
    let mut world = World::new(&[]);
    push(&world, 8);
    world.pass().await;
    world.converge().await;
    world
}

/// Commits the first `count` of `g1`, `g2`, ...
fn push(world: &World, count: usize) {
    push_with(world, count, &[]);
}

fn push_with(world: &World, count: usize, more: &[(&str, &str)]) {
    let documents: Vec<(String, String)> = (1..=count)
        .map(|number| {
            let name = format!("g{number}");
            (format!("groups/{name}.yaml"), group(&name, 1, "a"))
        })
        .collect();
    let mut files = vec![("providers/local.yaml", PROVIDER)];
    files.extend(
        documents
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    files.extend(more);
    world.repository.commit(&files);
}

#[tokio::test]
async fn a_removed_document_removes_its_group() {
    let mut world = eight().await;
    push(&world, 7);
    world.pass().await;
    assert_eq!(world.status("g8").recorded.phase, GroupPhase::Deleting);
    world.until("the removal", |world| !world.knows("g8")).await;
    assert!(world.living("g8").is_empty());
    assert_eq!(world.branch.file("groups/g8.yaml"), None);
    assert_eq!(world.branch.file("inputs/g8.json"), None);
    let subjects = world.subjects();
    assert_eq!(subjects.last().unwrap(), "g8: deleted");
    // Nothing of it comes back with a restart.
    world.restart().pass().await;
    assert!(!world.knows("g8"));
}

fn fleet(limit: &str) -> (&'static str, String) {
    let text = format!(
        "apiVersion: drover/v1alpha1
kind: Fleet
metadata: {{name: shop}}
spec: {{limits: {{maxDestroy: {limit}}}}}
"
    );
    ("drover.yaml", text)
}

#[tokio::test]
async fn what_commits_remove_of_the_whole_fleet_within_an_hour_is_limited() {
    let mut world = eight().await;
    let push = |world: &World, count: usize, limit: &str, web: u32| {
        let (path, text) = fleet(limit);
        let large = group("web", web, "a");
        push_with(world, count, &[(path, &text), ("groups/web.yaml", &large)]);
    };
    // Sixteen instances, of which four may go within an hour.
    push(&world, 8, "25%", 8);
    world.pass().await;
    world.converge().await;
    push(&world, 7, "25%", 6);
    world.until("the removal", |world| !world.knows("g8")).await;
    world
        .until("fewer", |world| world.living("web").len() == 6)
        .await;

    // Neither the group that goes nor the one that shrinks, and no other limit in the same commit.
    push(&world, 6, "100%", 4);
    world.passes(3).await;
    for name in ["g7", "web"] {
        assert_eq!(world.holds(name), ["FleetDestroyLimit"]);
    }
    assert_eq!(world.living("web").len(), 6);
    // Nor after another commit, in which the limit is what that one made of it.
    let (path, text) = fleet("100%");
    let (large, other) = (group("web", 4, "a"), group("other", 1, "b"));
    let files = [
        (path, text.as_str()),
        ("groups/web.yaml", &large),
        ("groups/other.yaml", &other),
    ];
    push_with(&world, 6, &files);
    world.passes(3).await;
    for name in ["g7", "web"] {
        assert_eq!(world.holds(name), ["FleetDestroyLimit"]);
    }
    // A restart knows it still.
    world.restart().passes(3).await;
    for name in ["g7", "web"] {
        assert_eq!(world.holds(name), ["FleetDestroyLimit"]);
    }
    world.clock.advance(Duration::from_hours(1));
    world.until("the removal", |world| !world.knows("g7")).await;
    world
        .until("fewer", |world| world.living("web").len() == 4)
        .await;
}

#[tokio::test]
async fn a_removal_goes_on_over_a_restart_with_the_accepted_document() {
    let mut world = eight().await;
    push(&world, 7);
    world.pass().await;
    world.restart();
    world.until("the removal", |world| !world.knows("g8")).await;
    assert!(world.living("g8").is_empty());
}

#[tokio::test]
async fn a_document_that_comes_back_stops_the_removal() {
    let mut world = eight().await;
    push(&world, 7);
    world.pass().await;
    push(&world, 8);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("g8").len(), 1);
}

#[tokio::test]
async fn a_document_for_another_provider_waits_until_the_removed_group_is_gone() {
    let mut world = eight().await;
    let uid = world.status("g8").recorded.uid.clone();
    push(&world, 7);
    world.pass().await;
    assert_eq!(world.status("g8").recorded.phase, GroupPhase::Deleting);
    let made = world.calls(Op::Provision);
    let other = PROVIDER.replace("name: local", "name: other");
    let moved = group("g8", 1, "a").replace("provider: local", "provider: other");
    let more = [
        ("providers/other.yaml", other.as_str()),
        ("groups/g8.yaml", moved.as_str()),
    ];
    push_with(&world, 7, &more);
    world.pass().await;
    let recorded = world.status("g8").recorded.clone();
    assert_eq!(recorded.phase, GroupPhase::Deleting);
    assert_eq!(world.holds("g8"), [""; 0]);
    let anew = |world: &World| {
        let known = world.knows("g8") && world.status("g8").recorded.uid != uid;
        known && world.status("g8").recorded.phase == GroupPhase::Converged
    };
    world.until("the new group", anew).await;
    let provider = world.status("g8").recorded.provider.clone();
    assert_eq!(provider.unwrap().name.as_str(), "other");
    assert_eq!(world.calls(Op::Provision), made, "none where it was");
}

#[tokio::test]
async fn a_renamed_file_removes_nothing() {
    let mut world = eight().await;
    push_with(&world, 7, &[("elsewhere/moved.yaml", &group("g8", 1, "a"))]);
    world.passes(3).await;
    assert_eq!(world.status("g8").recorded.phase, GroupPhase::Converged);
    assert_eq!(world.calls(Op::Destroy), 0);
}

/// Asserts that `g8` is held with this code, and lives.
async fn asks(world: &mut World, code: &str) {
    world.passes(3).await;
    assert_eq!(world.holds("g8"), [code]);
    assert_eq!(world.living("g8").len(), 1);
    // Also after a restart, when the commit is in force already.
    world.restart();
    world.passes(3).await;
    assert_eq!(world.holds("g8"), [code]);
    assert_eq!(world.calls(Op::Destroy), 0);
}

/// A group that is handed back when its document goes.
fn orphaned(name: &str) -> String {
    group_with(name, 1, "a", "  deletion: {policy: Orphan}\n")
}

#[tokio::test]
async fn a_document_that_was_to_hand_back_and_went_before_the_agent_looked_asks() {
    let mut world = eight().await;
    push_with(&world, 7, &[("groups/g8.yaml", &orphaned("g8"))]);
    push(&world, 7);
    asks(&mut world, "DeletionUnconfirmed").await;
    let told = world.status("g8").recorded.holds[0].hold.to_string();
    assert!(told.contains("changed its `deletion`"), "{told}");
    // Nor does a later commit make a removal of it.
    let other = group("other", 1, "a");
    let other = ("groups/other.yaml", other.as_str());
    push_with(&world, 7, &[other]);
    asks(&mut world, "DeletionUnconfirmed").await;
    push_with(&world, 7, &[("groups/g8.yaml", &orphaned("g8")), other]);
    world.pass().await;
    world.converge().await;
    push_with(&world, 7, &[other]);
    world.until("the removal", |world| !world.knows("g8")).await;
    assert_eq!(world.calls(Op::Destroy), 0);
}

/// Orphaned, and then gone, where nobody can read the former: `looks` at each, or at both at once.
async fn hands_back_unread(text: &str, looks: bool) -> World {
    let mut world = eight().await;
    push_with(&world, 7, &[("groups/g8.yaml", text)]);
    if looks {
        world.passes(3).await;
    }
    push(&world, 7);
    asks(&mut world, "DeletionUnconfirmed").await;
    world
}

#[tokio::test]
async fn a_document_that_could_not_be_read_before_it_went_asks() {
    let garbled = orphaned("g8").replace("kind: Group\n", "kind: Group\n  indented: [\n");
    let wrong = orphaned("g8").replace("size: 1", "size: one");
    for (text, looks) in [
        (&garbled, false),
        (&garbled, true),
        (&wrong, false),
        (&wrong, true),
    ] {
        let mut world = hands_back_unread(text, looks).await;
        // As it was meant, and then gone.
        push_with(&world, 7, &[("groups/g8.yaml", &orphaned("g8"))]);
        world.pass().await;
        world.converge().await;
        push(&world, 7);
        world.until("the removal", |world| !world.knows("g8")).await;
        assert_eq!(world.calls(Op::Destroy), 0);
    }
}

#[tokio::test]
async fn other_changes_before_a_removal_do_not_ask() {
    let mut world = eight().await;
    push_with(&world, 7, &[("elsewhere/g8.yaml", &group("g8", 2, "b"))]);
    push(&world, 7);
    world.until("the removal", |world| !world.knows("g8")).await;
}

#[tokio::test]
async fn more_than_half_of_the_groups_at_once_asks() {
    let mut world = eight().await;
    push(&world, 3);
    asks(&mut world, "DeletionUnconfirmed").await;
    // An unrelated commit does not count as confirmation.
    push_with(&world, 3, &[("notes.yaml", "# nothing\n")]);
    asks(&mut world, "DeletionUnconfirmed").await;
    // Fewer at a time do.
    push(&world, 5);
    world.until("the removal", |world| !world.knows("g8")).await;
    assert!(world.knows("g5"));
}

#[tokio::test]
async fn half_of_the_groups_at_once_does_not_ask() {
    let mut world = eight().await;
    push(&world, 4);
    world.until("the removal", |world| !world.knows("g8")).await;
    assert!(world.knows("g4"));
}

#[tokio::test]
async fn an_unreadable_identity_anywhere_asks() {
    let mut world = eight().await;
    push_with(
        &world,
        7,
        &[("broken.yaml", "kind: Group\nmetadata: {name: [\n")],
    );
    asks(&mut world, "DeletionUnconfirmed").await;
    push(&world, 7);
    world.until("the removal", |world| !world.knows("g8")).await;
}

#[tokio::test]
async fn a_file_that_is_not_read_asks() {
    let mut world = eight().await;
    push_with(&world, 7, &[("groups/link.yaml", "../g8.yaml")]);
    world
        .repository
        .refuse("groups/link.yaml", "symbolic links are not followed");
    asks(&mut world, "DeletionUnconfirmed").await;
}

#[tokio::test]
async fn a_group_named_by_a_broken_document_is_not_removed() {
    let mut world = eight().await;
    let broken = group("g8", 1, "a").replace("size: 1", "size: one");
    push_with(&world, 7, &[("groups/g8.yaml", &broken)]);
    asks(&mut world, "SpecInvalid").await;
}

#[tokio::test]
async fn changed_ignore_rules_ask() {
    let mut world = eight().await;
    let text = group("g8", 1, "a");
    push_with(
        &world,
        7,
        &[
            ("groups/g8.yaml", &text),
            (".droverignore", "groups/g8.yaml\n"),
        ],
    );
    asks(&mut world, "DeletionUnconfirmed").await;
}

#[tokio::test]
async fn another_path_in_the_agents_file_asks() {
    let mut world = eight().await;
    world.place.path = "elsewhere".to_owned();
    // Seven of the eight are there too, so that their number raises no doubt.
    let documents: Vec<(String, String)> = (1..=7)
        .map(|number| {
            let name = format!("g{number}");
            (format!("elsewhere/{name}.yaml"), group(&name, 1, "a"))
        })
        .collect();
    let mut more: Vec<(&str, &str)> = vec![("elsewhere/local.yaml", PROVIDER)];
    more.extend(
        documents
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    push_with(&world, 8, &more);
    world.restart();
    asks(&mut world, "DeletionUnconfirmed").await;
}

#[tokio::test]
async fn another_branch_in_the_agents_file_asks() {
    let mut world = eight().await;
    world.place.branch = "trunk".to_owned();
    push(&world, 7);
    world.restart();
    asks(&mut world, "DeletionUnconfirmed").await;
}

#[tokio::test]
async fn a_protected_group_asks_until_an_earlier_commit_releases_it() {
    let mut world = eight().await;
    let protected =
        |on: bool| group_with("g8", 1, "a", &format!("  deletion: {{protect: {on}}}\n"));
    push_with(&world, 7, &[("groups/g8.yaml", &protected(true))]);
    world.pass().await;
    push(&world, 7);
    asks(&mut world, "Protected").await;
    push_with(&world, 7, &[("groups/g8.yaml", &protected(false))]);
    world.passes(2).await;
    push(&world, 7);
    world.until("the removal", |world| !world.knows("g8")).await;
}

#[tokio::test]
async fn more_instances_than_the_limit_ask() {
    let mut world = eight().await;
    let large = |limit: &str| {
        group_with(
            "g8",
            12,
            "a",
            &format!("  limits: {{maxDestroy: {limit}}}\n"),
        )
    };
    push_with(&world, 7, &[("groups/g8.yaml", &large("10"))]);
    world.pass().await;
    world.converge().await;
    push(&world, 7);
    world.passes(3).await;
    assert_eq!(world.holds("g8"), ["DestroyLimit"]);
    assert_eq!(world.living("g8").len(), 12);
    push_with(&world, 7, &[("groups/g8.yaml", &large("\"100%\""))]);
    world.passes(2).await;
    push(&world, 7);
    world.until("the removal", |world| !world.knows("g8")).await;
}

#[tokio::test]
async fn an_orphaned_group_keeps_its_instances_without_tags() {
    let mut world = eight().await;
    let orphan = group_with("g8", 1, "a", "  deletion: {policy: Orphan}\n");
    push_with(&world, 7, &[("groups/g8.yaml", &orphan)]);
    world.passes(2).await;
    push(&world, 7);
    world.until("the removal", |world| !world.knows("g8")).await;
    assert_eq!(world.calls(Op::Destroy), 0);
    assert_eq!(world.calls(Op::Release), 1);
}

#[tokio::test]
async fn a_group_that_comes_back_later_is_a_new_life_with_new_numbers() {
    let mut world = eight().await;
    let uid = world.status("g8").recorded.uid.clone();
    push(&world, 7);
    world.until("the removal", |world| !world.knows("g8")).await;
    push(&world, 8);
    world.clock.advance(Duration::from_secs(1));
    world.pass().await;
    world.converge().await;
    assert_ne!(world.status("g8").recorded.uid, uid);
    assert_eq!(world.living("g8"), ["g8-2"]);
}
