//! Plans that were recorded once, computed again by this version: a change of the planner that alters an
//! old plan shows here. Where that is meant, `PLANNER` goes up by one, because agents in the field then
//! tell recorded plans of the two apart, and `UPDATE_REPLAY=1` records the plans anew: what a reviewer
//! reads is the difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_loop::{Replayed, replay};
use drover_model::ExitReport;
use drover_provider::Clock as _;

use crate::harness::{World, group, group_with};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/replay")
}

/// What was committed of a group: the inputs of its latest plan, and its recorded state.
type Moment = (String, String);

fn moment(world: &World, name: &str) -> Moment {
    let text = |path: String| String::from_utf8(world.branch.file(&path).unwrap()).unwrap();
    (
        text(format!("inputs/{name}.json")),
        text(format!("groups/{name}.yaml")),
    )
}

/// Makes passes until the group's recorded inputs have `step`, and returns them.
async fn when(world: &mut World, name: &str, step: &str) -> Moment {
    for _ in 0..600 {
        world.passes(1).await;
        if world.branch.file(&format!("inputs/{name}.json")).is_some() {
            let found = moment(world, name);
            if found.0.contains(step) {
                return found;
            }
        }
    }
    panic!("no plan of {name} says {step}");
}

/// Lives through what groups go through.
async fn moments() -> BTreeMap<&'static str, Moment> {
    let mut found = BTreeMap::new();
    let mut world = World::web();
    found.insert("first-create", when(&mut world, "web", "\"create\"").await);
    world.converge().await;
    found.insert("converged", moment(&world, "web"));
    let window = "  windows: [{kind: allow, cron: \"0 * * * *\", duration: 30m}]\n";
    world.push(&[("web", &group_with("web", 5, "b", window))]);
    found.insert("roll", when(&mut world, "web", "\"drain\"").await);
    world.converge().await;
    // What breaks sooner is a failure of the rollout, which has only just completed.
    world.clock.advance(Duration::from_mins(5));
    let now = world.clock.now();
    world.sim(|mut sim| {
        let victim = sim.instances(now).next().unwrap().provider_ref.clone();
        sim.crash(&victim, now, ExitReport::default());
    });
    found.insert("heal", when(&mut world, "web", "\"Exited\"").await);
    world.converge().await;
    world.push(&[("web", &group_with("web", 2, "b", window))]);
    found.insert("scale-in", when(&mut world, "web", "\"scaleIn\"").await);
    world.converge().await;
    world.push(&[(
        "web",
        &group_with("web", 2, "b", "  deletion: {protect: false}\n"),
    )]);
    world.passes(2).await;
    world.converge().await;
    world.push(&[("api", &group("api", 1, "a"))]);
    found.insert("deletion", when(&mut world, "web", "\"delete\"").await);
    found
}

#[tokio::test]
async fn recorded_plans_are_computed_again_byte_for_byte() {
    if std::env::var_os("UPDATE_REPLAY").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for (name, (inputs, state)) in moments().await {
            std::fs::write(folder().join(name).with_extension("json"), inputs).unwrap();
            std::fs::write(folder().join(name).with_extension("yaml"), state).unwrap();
        }
    }
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let inputs = std::fs::read_to_string(&path).unwrap();
        let state = std::fs::read_to_string(path.with_extension("yaml")).unwrap();
        let name = path.file_stem().unwrap().display().to_string();
        match replay(&inputs, Some(&state)) {
            Ok(Replayed::Reproduced { .. }) => count += 1,
            Ok(Replayed::Differs { difference }) => panic!(
                "{name} is planned in another way now:\n{difference}\n\
                 If that is meant, raise PLANNER and run with UPDATE_REPLAY=1."
            ),
            Err(error) => panic!("{name}: {error}; run with UPDATE_REPLAY=1 if that is meant"),
        }
    }
    assert!(count >= 6, "only {count} recorded plans were found");
}
