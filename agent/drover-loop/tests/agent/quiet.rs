//! A pass in which nothing changed costs next to nothing, and leaves nothing behind.

use drover_provider_sim::Op;

use crate::harness::{World, group};

#[tokio::test]
async fn an_unchanged_pass_lists_once_and_writes_nothing() {
    let mut world = World::with_groups(&[
        ("api", &group("api", 2, "a")),
        ("web", &group("web", 3, "a")),
    ]);
    world.converge().await;
    world.passes(2).await;
    let (polls, reads) = world.repository.counts();
    let lists = world.calls(Op::List);
    let (writes, mutations) = (world.journal.writes(), world.mutations());
    let (commits, pushes) = (world.branch.log().len(), world.branch.pushes());
    world.passes(10).await;
    assert_eq!(world.repository.counts(), (polls + 10, reads));
    assert_eq!(world.calls(Op::List), lists + 10);
    assert_eq!(world.journal.writes(), writes);
    assert_eq!(world.mutations(), mutations);
    assert_eq!(world.branch.log().len(), commits);
    assert_eq!(world.branch.pushes(), pushes);
}

#[tokio::test]
async fn an_unrelated_commit_reads_one_file_and_commits_nothing() {
    let mut world = World::web();
    world.converge().await;
    world.passes(2).await;
    let (_, reads) = world.repository.counts();
    let commits = world.branch.log().len();
    let web = group("web", 3, "a");
    world.repository.commit(&[
        ("providers/local.yaml", crate::harness::PROVIDER),
        ("groups/web.yaml", &web),
        ("notes.yaml", "# nothing\n"),
    ]);
    world.passes(3).await;
    assert_eq!(world.repository.counts().1, reads + 1);
    assert_eq!(world.branch.log().len(), commits);
}

const FOLLOWS: &str = "\
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: POINT}
spec:
  on: gate
  rules: [{expression: 'READS', message: no}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: POINT}
spec: {policy: POINT, selector: {matchLabels: {see: POINT}}, enforcement: deny}
";

#[tokio::test]
async fn a_commit_plans_those_groups_again_that_it_concerns() {
    let named = |name: &str, size: u32| group(name, size, "a");
    let sees = |name: &str, what: &str| {
        let text = named(name, 1);
        assert!(text.contains("labels: {env: test}"), "{text}");
        text.replace("env: test", &format!("see: {what}"))
    };
    let policy = |name: &str, reads: &str| FOLLOWS.replace("POINT", name).replace("READS", reads);
    let commit = policy("commit", "git.subject != \"never\"");
    let others = policy("others", "groups[\"a\"].available < 100");
    let (reads_git, reads_groups) = (sees("g", "commit"), sees("h", "others"));
    let documents = |size: u32| {
        [
            ("providers/local.yaml", crate::harness::PROVIDER.to_owned()),
            ("policies/commit.yaml", commit.clone()),
            ("policies/others.yaml", others.clone()),
            ("groups/a.yaml", named("a", size)),
            ("groups/b.yaml", named("b", 2)),
            ("groups/c.yaml", named("c", 3)),
            ("groups/g.yaml", reads_git.clone()),
            ("groups/h.yaml", reads_groups.clone()),
        ]
    };
    let mut world = World::new(&[]);
    let push = |world: &World, size: u32| {
        let files = documents(size);
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect();
        world.repository.commit(&files);
    };
    push(&world, 1);
    world.start();
    world.converge().await;
    world.passes(3).await;
    assert_eq!(world.pass().await.planned, 0);
    // The one that changed, and the one whose policy reads the commit.
    push(&world, 2);
    assert_eq!(world.pass().await.planned, 2);
    world.converge().await;
    world.passes(3).await;
    assert_eq!(world.pass().await.planned, 0);
    // What becomes of it concerns the one whose policy reads the others.
    push(&world, 1);
    let mut planned = Vec::new();
    for _ in 0..3 {
        planned.push(world.pass().await.planned);
    }
    assert_eq!(planned[0], 2, "{planned:?}");
    assert!(planned[1..].contains(&2), "{planned:?}");
    assert!(planned.iter().all(|planned| *planned <= 3), "{planned:?}");
}

#[tokio::test]
async fn with_the_state_branch_down_work_goes_on_and_is_told_later() {
    let mut world = World::web();
    world.converge().await;
    let commits = world.branch.log().len();
    let down = drover_loop::RecorderError::Unreachable {
        message: "connection refused".to_owned(),
    };
    world.branch.fail(Some(down));
    world.push(&[("web", &group("web", 5, "a"))]);
    world.passes(10).await;
    assert_eq!(world.living("web").len(), 5);
    let status = world.agent.as_ref().unwrap().status();
    assert!(status.write_back.pending > 0);
    assert!(
        status.write_back.lag.as_secs() >= 5,
        "{:?}",
        status.write_back
    );
    assert!(status.write_back.failure.is_some());
    world.branch.fail(None);
    world.passes(2).await;
    assert!(world.branch.log().len() > commits);
    let status = world.agent.as_ref().unwrap().status();
    assert_eq!(status.write_back.pending, 0);
    assert_eq!(status.write_back.failure, None);
}

#[tokio::test]
async fn a_state_branch_that_cannot_be_looked_at_is_told_until_it_can() {
    let mut world = World::web();
    world.converge().await;
    let down = drover_loop::RecorderError::Unreachable {
        message: "connection refused".to_owned(),
    };
    world.branch.fail(Some(down));
    world.passes(2).await;
    let failure = |world: &World| {
        let status = world.agent.as_ref().unwrap().status();
        status.write_back.failure.clone()
    };
    assert!(failure(&world).is_some());
    world.branch.fail(None);
    world.passes(1).await;
    assert_eq!(failure(&world), None, "nothing waits to be published");
}

#[tokio::test]
async fn a_publication_that_waits_for_its_turn_does_not_end_a_failure() {
    let mut world = World::web();
    world.converge().await;
    let down = drover_loop::RecorderError::Unreachable {
        message: "connection refused".to_owned(),
    };
    world.branch.fail(Some(down));
    world.push(&[("web", &group("web", 5, "a"))]);
    world.passes(3).await;
    world.branch.fail(None);
    world
        .branch
        .hold_pushes("2100-01-01T00:00:00Z".parse().ok());
    world.passes(1).await;
    let status = world.agent.as_ref().unwrap().status();
    assert!(status.write_back.pending > 0);
    assert!(status.write_back.failure.is_some());
    world.branch.hold_pushes(None);
    world.passes(1).await;
    let status = world.agent.as_ref().unwrap().status();
    assert_eq!(status.write_back.failure, None);
}

#[tokio::test]
async fn what_is_committed_and_published_waits_no_longer() {
    let mut world = World::web();
    world.converge().await;
    let status = world.agent.as_ref().unwrap().status();
    assert_eq!(status.write_back.pending, 0);
}

#[tokio::test]
async fn what_a_commit_records_can_be_read_back() {
    let mut world = World::web();
    world.converge().await;
    let text = String::from_utf8(world.branch.file("groups/web.yaml").unwrap()).unwrap();
    let recorded = drover_spec::record::decode(&text).unwrap();
    assert_eq!(recorded, *world.status("web").recorded);
    let inputs: serde_json::Value =
        serde_json::from_slice(&world.branch.file("inputs/web.json").unwrap()).unwrap();
    assert_eq!(inputs["outcome"]["numbers"]["available"], 3);
    assert_eq!(inputs["seenUnder"]["branch"], "main");
}

#[tokio::test]
async fn every_committed_plan_is_reproduced_from_its_inputs() {
    let mut world = World::web();
    for (size, template) in [(3, "a"), (3, "b"), (1, "b")] {
        world.push(&[("web", &group("web", size, template))]);
        for _ in 0..40 {
            world.passes(1).await;
            let text = |path: &str| {
                let bytes = world.branch.file(path)?;
                Some(String::from_utf8(bytes).unwrap())
            };
            let Some(inputs) = text("inputs/web.json") else {
                continue;
            };
            let replayed = drover_loop::replay(&inputs, text("groups/web.yaml").as_deref());
            let replayed = replayed.unwrap();
            assert!(
                matches!(replayed, drover_loop::Replayed::Reproduced { .. }),
                "{replayed:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_recorded_plan_that_was_changed_is_not_reproduced() {
    let mut world = World::web();
    world.converge().await;
    let inputs = String::from_utf8(world.branch.file("inputs/web.json").unwrap()).unwrap();
    let changed = inputs.replacen("\"available\": 3", "\"available\": 4", 1);
    assert_ne!(inputs, changed);
    let Ok(drover_loop::Replayed::Differs { difference }) = drover_loop::replay(&changed, None)
    else {
        panic!("it must differ");
    };
    assert!(difference.contains("\"available\": 4"), "{difference}");
    let newer = inputs.replacen("\"planner\": ", "\"planner\": 9", 1);
    let error = drover_loop::replay(&newer, None).unwrap_err();
    assert!(matches!(error, drover_loop::ReplayError::Planner { .. }));
}
