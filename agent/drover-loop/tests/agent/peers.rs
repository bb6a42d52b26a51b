//! What groups must know of each other.

use drover_loop::{Replayed, replay};
use drover_model::{GroupPhase, Hold};

use crate::harness::{World, group, group_with};

fn waits(world: &World, name: &str) -> bool {
    let report = world.report(name);
    report
        .holds
        .iter()
        .any(|held| matches!(held.hold, Hold::DependencyNotReady { .. }))
}

fn reproduced(world: &World, name: &str) {
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
