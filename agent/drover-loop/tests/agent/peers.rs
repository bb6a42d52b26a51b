//! What groups must know of each other.

use drover_loop::{Replayed, replay};
use drover_model::{GroupPhase, Hold};

use crate::harness::{PROVIDER, World, group, group_with};

fn waits(world: &World, name: &str) -> bool {
    let report = world.report(name);
    report
        .holds
        .iter()
        .any(|held| matches!(held.hold, Hold::DependencyNotReady { .. }))
}

pub(crate) fn reproduced(world: &World, name: &str) {
    let text = |path: String| Some(String::from_utf8(world.branch.file(&path)?).unwrap());
    let inputs = text(format!("inputs/{name}.json")).unwrap();
    let replayed = replay(&inputs, text(format!("groups/{name}.yaml")).as_deref()).unwrap();
    assert!(
        matches!(replayed, Replayed::Reproduced { .. }),
        "{replayed:?}"
    );
}

#[tokio::test]
async fn a_group_is_updated_after_those_that_it_depends_on() {
    let mut world = World::with_groups(&[]);
    let push = |world: &World, image: &str| {
        let web = group_with("web", 3, image, "  dependsOn: [{group: db}]\n");
        world.push(&[("db", &group("db", 2, image)), ("web", &web)]);
    };
    push(&world, "a");
    world.passes(2).await;
    assert!(waits(&world, "web"), "the first instances wait, too");
    world.converge().await;
    let before = (world.living("db"), world.living("web"));
    push(&world, "b");
    let mut waited = 0;
    for _ in 0..120 {
        world.passes(1).await;
        let db_done = world.living("db") != before.0
            && world.status("db").recorded.phase == GroupPhase::Converged;
        if db_done {
            break;
        }
        assert_eq!(world.living("web"), before.1);
        waited += u32::from(waits(&world, "web"));
        reproduced(&world, "web");
    }
    assert!(waited > 5, "{waited}");
    world.converge().await;
    world.passes(2).await;
    world.converge().await;
    assert_ne!(world.living("web"), before.1);
    assert!(!waits(&world, "web"));
    reproduced(&world, "web");
}

const FLEET: &str = "\
apiVersion: drover/v1alpha1
kind: Fleet
metadata: {name: test}
spec: {budgets: [{name: all, max: 1}]}
";

/// Commits two groups of three, each of which may lose one at a time, and the fleet's documents.
fn push_sharing(world: &World, image: &str, fleet: &[(&str, &str)]) {
    let text = |name: &str| {
        let one_less = "rollout: {minReady: 0s, maxSurge: 0, maxUnavailable: 1}";
        group(name, 3, image).replace("rollout: {minReady: 0s}", one_less)
    };
    let (api, web) = (text("api"), text("web"));
    let mut files = vec![("p.yaml", PROVIDER), ("api.yaml", &api), ("web.yaml", &web)];
    files.extend(fleet);
    world.repository.commit(&files);
}

/// Waits until both groups have converged on what was pushed. Returns the most instances that were not
/// available at once.
async fn most_missing(world: &mut World) -> u32 {
    let mut most = 0;
    world.pass().await;
    for _ in 0..300 {
        world.passes(1).await;
        let available = |name: &str| world.report(name).numbers.available;
        most = most.max(6_u32.saturating_sub(available("api") + available("web")));
        let done = |name: &str| {
            let status = world.status(name);
            let asked = status
                .recorded
                .accepted
                .as_ref()
                .map(|a| a.revision.clone());
            let newest = world.agent.as_ref().unwrap().status().source.commit.clone();
            let in_force = asked == newest.map(|commit| commit.revision);
            in_force && status.recorded.phase == GroupPhase::Converged
        };
        if done("api") && done("web") {
            return most;
        }
    }
    panic!("the groups did not converge");
}

#[tokio::test]
async fn groups_take_turns_in_a_budget_that_they_share_also_when_its_document_goes_bad() {
    let mut world = World::new(&[]);
    push_sharing(&world, "a", &[("drover.yaml", FLEET)]);
    world.pass().await;
    world.converge().await;
    push_sharing(&world, "b", &[("drover.yaml", FLEET)]);
    assert_eq!(most_missing(&mut world).await, 1);
    reproduced(&world, "api");
    reproduced(&world, "web");
    // The last good version stays in force, after a restart, too.
    let bad = FLEET.replace("max: 1", "max: none");
    push_sharing(&world, "c", &[("drover.yaml", &bad)]);
    world.passes(2).await;
    world.restart();
    assert_eq!(most_missing(&mut world).await, 1);
    // So it does while there are two documents, of which neither can be the one.
    let second = FLEET.replace("name: test", "name: other");
    let both = [("drover.yaml", FLEET), ("other.yaml", second.as_str())];
    push_sharing(&world, "d", &both);
    assert_eq!(most_missing(&mut world).await, 1);
    push_sharing(&world, "e", &[]);
    assert_eq!(
        most_missing(&mut world).await,
        2,
        "nothing is shared any more"
    );
}

#[tokio::test]
async fn a_budget_covers_the_groups_that_its_selector_names() {
    let mut world = World::new(&[]);
    let selects = |label: &str| {
        let selector = format!("selector: {{matchLabels: {{env: {label}}}}}");
        FLEET.replace("max: 1", &format!("max: 1, {selector}"))
    };
    push_sharing(&world, "a", &[]);
    world.pass().await;
    world.converge().await;
    push_sharing(&world, "b", &[("drover.yaml", &selects("test"))]);
    assert_eq!(most_missing(&mut world).await, 1);
    push_sharing(&world, "c", &[("drover.yaml", &selects("other"))]);
    assert_eq!(most_missing(&mut world).await, 2);
}
