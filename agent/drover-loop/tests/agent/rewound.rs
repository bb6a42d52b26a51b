//! A branch that was set back while the data directory is lost: what was in force stays, and a person is asked.

use drover_model::GroupName;

use crate::git::{commit, git, repository, start_elsewhere, write};
use crate::harness::{PROVIDER, World, group};

/// Why the source is not followed.
fn source_failure(world: &World) -> Option<&'static str> {
    let status = world.agent.as_ref().unwrap().status();
    let failure = status.source.failure.as_ref();
    failure.map(|(reason, _)| *reason)
}

#[tokio::test]
async fn a_group_that_the_branch_was_set_back_before_is_not_removed_after_the_data_are_lost() {
    let dir = repository();
    write(dir.path(), "groups/api.yaml", &group("api", 2, "a"));
    commit(dir.path(), "another group");
    let mut world = crate::git::world(dir.path());
    world.converge().await;
    // Of the fleet's own documents nothing changes.
    write(dir.path(), "groups/db.yaml", &group("db", 2, "a"));
    commit(dir.path(), "a third one");
    world.pass().await;
    world.converge().await;
    world.passes(3).await;
    assert_eq!(world.living("db").len(), 2);
    git(dir.path(), &["reset", "-q", "--hard", "HEAD~1"]);
    let _elsewhere = start_elsewhere(&mut world, dir.path());
    world.passes(5).await;
    assert_eq!(source_failure(&world), Some("SourceRewritten"));
    assert_eq!(world.living("db").len(), 2);
    // Also when it starts again before anybody has looked.
    let _elsewhere = start_elsewhere(&mut world, dir.path());
    world.passes(5).await;
    assert_eq!(source_failure(&world), Some("SourceRewritten"));
    assert_eq!(world.living("db").len(), 2);
}

#[tokio::test]
async fn a_size_is_not_set_back_with_the_branch_after_the_data_are_lost() {
    let mut world = World::web();
    let first = world.pass().await.revision.clone().unwrap();
    world.converge().await;
    world.push(&[("web", &group("web", 5, "a"))]);
    world.pass().await;
    world.converge().await;
    world.passes(2).await;
    world.repository.move_to(&first);
    world.restart_without_data();
    for _ in 0..2 {
        world.passes(3).await;
        assert_eq!(source_failure(&world), Some("SourceRewritten"));
        assert_eq!(world.living("web").len(), 5);
        // What was restored is known after a start with the data, too.
        world.restart();
    }
    // What follows on what was in force is followed, and then it is the branch as ever.
    world.repository.move_to(&first);
    let agent = world.agent.as_ref().unwrap();
    agent.accept_rewrite(first, "Ada");
    world.pass().await;
    world
        .until("three", |world| world.living("web").len() == 3)
        .await;
}

#[tokio::test]
async fn what_a_person_let_go_of_is_not_asked_for_again_after_the_data_are_lost() {
    let mut world = World::web();
    world.converge().await;
    let web = group("web", 3, "a");
    let files = [("providers/local.yaml", PROVIDER), ("web.yaml", &web)];
    let tip = world.repository.rewrite(&files);
    let agent = world.agent.as_ref().unwrap();
    agent.accept_rewrite(tip.clone(), "Ada");
    world.passes(5).await;
    assert_eq!(source_failure(&world), None);
    // Its document is the same as before, and so of a commit that is gone.
    let name = GroupName::parse("web").unwrap();
    let status = world.agent.as_ref().unwrap().status();
    let accepted = status.groups[&name].recorded.accepted.clone().unwrap();
    assert_ne!(accepted.revision, tip);
    world.restart_without_data();
    world.passes(5).await;
    assert_eq!(source_failure(&world), None);
    assert_eq!(world.holds("web"), [""; 0]);
    // What is in force since counts.
    world.push(&[("web", &group("web", 4, "a"))]);
    world.pass().await;
    world.converge().await;
    world.passes(2).await;
    world.repository.move_to(&tip);
    world.restart_without_data();
    world.passes(5).await;
    assert_eq!(source_failure(&world), Some("SourceRewritten"));
    assert_eq!(world.living("web").len(), 4);
}
