//! Listings that say what cannot be: nothing of it is believed, and nothing of it is left when it is over.

use drover_model::GroupPhase;

use crate::first_start::{Mood, far, on_far, push, two};
use crate::harness::World;

/// The sentences of a group's holds.
fn told(world: &World) -> Vec<String> {
    let report = world.report("web");
    let holds = report.holds.iter();
    let holds = holds.filter(|held| !held.hold.is_routine());
    holds.map(|held| held.hold.to_string()).collect()
}

#[tokio::test]
async fn a_number_that_nobody_gave_is_not_counted_on_from() {
    for more in [u64::MAX - 4, 1 << 53, 2_000_000] {
        let (mut world, mood) = two(Mood::Well, &[("web", &on_far("web", 2))]);
        world.converge().await;
        *mood.lock().unwrap() = Mood::Renumbering(more);
        for _ in 0..3 {
            world.passes(90).await;
            assert_eq!(world.holds("web"), ["ObservationPartial"]);
            let told = told(&world);
            let known = [
                format!("as web-{},", more + 1),
                format!("as web-{},", more + 2),
            ];
            assert!(told[0].contains("(provider far lists "), "{told:?}");
            assert!(known.iter().any(|name| told[0].contains(name)), "{told:?}");
            assert_eq!(far(&world, "web").len(), 2, "what is listed so is not gone");
            world.restart();
        }
        *mood.lock().unwrap() = Mood::Well;
        world.converge().await;
        assert_eq!(world.holds("web"), [""; 0]);
        push(&world, &[("web", &on_far("web", 3))]);
        world.pass().await;
        world.converge().await;
        let recorded = &world.status("web").recorded;
        assert_eq!(recorded.next_number, 4);
        assert_eq!(far(&world, "web").len(), 3);
    }
}

#[tokio::test]
async fn a_stray_with_such_a_number_is_told_and_holds_nobody() {
    let (mut world, mood) = two(Mood::Straying(u64::MAX), &[("web", &on_far("web", 2))]);
    world.passes(90).await;
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    assert_eq!(world.holds("web"), ["StrayInstances"]);
    let sentence = format!("provider far lists lie-{0} as web-{0}, a number", u64::MAX);
    assert!(told(&world)[0].starts_with(&sentence), "{:?}", told(&world));
    world.restart();
    push(&world, &[("web", &on_far("web", 3))]);
    world.passes(90).await;
    assert_eq!(far(&world, "web").len(), 3);
    assert_eq!(world.status("web").recorded.next_number, 4);
    *mood.lock().unwrap() = Mood::Well;
    world.passes(2).await;
    assert_eq!(world.holds("web"), [""; 0]);
}
