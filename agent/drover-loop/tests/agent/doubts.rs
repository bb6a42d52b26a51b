//! Listings that say what cannot be: nothing of it is believed, and nothing of it is left when it is over.

use drover_model::{
    ErrorClass, GroupName, GroupPhase, Listed, OrderVerb, ProviderName, ProviderPhase, ProviderRef,
};
use drover_provider::Clock as _;
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::first_start::{Mood, far, on_far, push, two};
use crate::harness::{PROVIDER, World, group, group_with};
use crate::peers::reproduced;

/// The sentences of the holds of `web`.
fn told(world: &World) -> Vec<String> {
    told_of(world, "web")
}

fn told_of(world: &World, group: &str) -> Vec<String> {
    let report = world.report(group);
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

/// Lets the provider `local` list nothing, as though that were all.
fn empty(world: &World) {
    let kind = FaultKind::Truncated {
        keep: 0,
        declared: false,
    };
    world.sim(|mut sim| sim.inject(Fault::always(Op::List, kind)));
}

#[tokio::test]
async fn groups_that_vanish_together_are_counted_together() {
    let both = [
        ("web", &*group("web", 3, "a")),
        ("api", &*group("api", 3, "a")),
    ];
    let mut world = World::with_groups(&both);
    world.converge().await;
    let before = (world.living("web"), world.living("api"));
    for restarts in [false, true] {
        if restarts {
            // The simulated provider is opened anew, and well again.
            world.restart();
            world.pass().await;
        }
        empty(&world);
        world.passes(100).await;
        assert_eq!(world.calls(Op::Provision), 2);
        for group in ["web", "api"] {
            assert_eq!(world.holds(group), ["ObservationEmptied"]);
            let sentence = "provider local (simulated) lists none of the 3 instances that were there, and none of the 3 of other groups; ";
            assert!(told_of(&world, group)[0].starts_with(sentence));
            reproduced(&world, group);
        }
    }
    // What is new waits too: its instances would be listed where the others are not.
    let db = group("db", 2, "a");
    world.push(&[both[0], both[1], ("db", &db)]);
    world.passes(3).await;
    assert_eq!(world.holds("db"), ["ObservationEmptied"]);
    assert_eq!(world.calls(Op::Provision), 2);
    world.sim(|mut sim| sim.clear_faults());
    world.converge().await;
    assert_eq!((world.living("web"), world.living("api")), before);
    assert_eq!(world.living("db").len(), 2);
    assert_eq!(world.calls(Op::Destroy), 0);
}

#[tokio::test]
async fn groups_that_are_said_to_be_gone_together_are_counted_together() {
    let both = [("web", &*on_far("web", 3)), ("api", &*on_far("api", 3))];
    let (mut world, mood) = two(Mood::Well, &both);
    world.converge().await;
    *mood.lock().unwrap() = Mood::Mourning;
    world.passes(100).await;
    for (group, _) in both {
        assert_eq!(world.holds(group), ["ObservationEmptied"]);
        assert_eq!(far(&world, group).len(), 3, "none is made beside them");
    }
}

#[tokio::test]
async fn launches_that_end_at_once_hold_no_other_group() {
    let api = on_far("api", 5);
    let (mut world, mood) = two(Mood::Well, &[("api", &api)]);
    world
        .until("the launches to be recorded", |world| {
            let recorded = &world.status("api").recorded.instances;
            recorded
                .values()
                .filter(|was| was.class == "Starting")
                .count()
                == 5
                && recorded.values().all(|was| was.provider_ref.is_some())
        })
        .await;
    *mood.lock().unwrap() = Mood::Mourning;
    push(&world, &[("api", &api), ("web", &on_far("web", 2))]);
    world.passes(1).await;
    for group in ["api", "web"] {
        let holds = world.holds(group);
        assert!(!holds.contains(&"ObservationEmptied"), "{group}");
    }
    assert_eq!(far(&world, "web").len(), 2);
}

#[tokio::test]
async fn calls_without_an_answer_are_no_instances_that_are_missed() {
    let api = group("api", 6, "a");
    let mut world = World::with_groups(&[]);
    world.pass().await;
    let lost = FaultKind::Error(ErrorClass::Unknown);
    world.sim(|mut sim| sim.inject(Fault::always(Op::Provision, lost)));
    world.push(&[("api", &api)]);
    world.passes(20).await;
    assert_eq!(world.status("api").recorded.instances.len(), 6);
    world.push(&[("api", &api), ("web", &group("web", 2, "a"))]);
    world.passes(3).await;
    for group in ["api", "web"] {
        let holds = world.holds(group);
        assert!(!holds.contains(&"ObservationEmptied"), "{group}");
    }
}

#[tokio::test]
async fn a_group_that_is_to_be_handed_back_one_day_is_counted_until_then() {
    let api = group_with("api", 3, "a", "  deletion: {policy: Orphan}\n");
    let mut world = World::with_groups(&[("web", &group("web", 3, "a")), ("api", &api)]);
    world.converge().await;
    empty(&world);
    world.passes(100).await;
    for group in ["web", "api"] {
        assert_eq!(world.holds(group), ["ObservationEmptied"]);
    }
    assert_eq!(world.calls(Op::Provision), 2);
}

#[tokio::test]
async fn groups_that_are_ended_together_are_no_emptied_ones() {
    let both = |size| [group("web", size, "a"), group("api", size, "a")];
    let push = |world: &World, size| {
        let [web, api] = both(size);
        world.push(&[("web", &web), ("api", &api)]);
    };
    let mut world = World::with_groups(&[]);
    push(&world, 3);
    world.converge().await;
    push(&world, 0);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len() + world.living("api").len(), 0);
    push(&world, 3);
    world.pass().await;
    world.converge().await;
    // Lost for good, and one of the two says so.
    world.sim(|mut sim| {
        let now = "2026-01-06T08:00:00Z".parse().unwrap();
        let all: Vec<_> = sim
            .instances(now)
            .map(|one| one.provider_ref.clone())
            .collect();
        for one in all {
            sim.vanish(&one, now);
        }
    });
    world.clock.set("2026-01-06T08:00:00Z".parse().unwrap());
    world.passes(100).await;
    assert_eq!(world.holds("web"), ["ObservationEmptied"]);
    let [web, _] = both(0);
    let [_, api] = both(3);
    world.push(&[("web", &web), ("api", &api)]);
    world.pass().await;
    world.converge().await;
    assert_eq!(
        (world.living("web").len(), world.living("api").len()),
        (0, 3)
    );
}

#[tokio::test]
async fn what_leaves_as_it_should_holds_no_other_group() {
    for policy in ["", "  deletion: {policy: Orphan}\n"] {
        let api = group_with("api", 5, "a", policy);
        let mut world = World::with_groups(&[("api", &api)]);
        world.pass().await;
        world.converge().await;
        world.push(&[]);
        world
            .until("all to leave", |world| world.living("api").is_empty())
            .await;
        // The listing of the next pass is the first without them.
        world.push(&[("db", &group("db", 2, "a"))]);
        world.pass().await;
        assert_eq!(world.holds("db"), [""; 0], "{policy}");
    }
}

#[tokio::test]
async fn what_another_provider_lost_is_not_counted() {
    let other = "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: other}\nspec: {type: simulated, bootTime: 2s}\n";
    let api = group("api", 3, "a").replace("provider: local", "provider: other");
    let mut world = World::new(&[
        ("providers/local.yaml", PROVIDER),
        ("providers/other.yaml", other),
        ("groups/web.yaml", &group("web", 3, "a")),
        ("groups/api.yaml", &api),
    ]);
    world.pass().await;
    world.converge().await;
    for name in ["local", "other"] {
        let name = ProviderName::parse(name).unwrap();
        let now = world.clock.now();
        let sim = world.factory.world(&name).unwrap();
        let mut sim = sim.lock().unwrap();
        let all = sim.instances(now).map(|one| one.provider_ref.clone());
        let all: Vec<_> = all.collect();
        assert_eq!(all.len(), 3);
        for one in all {
            sim.vanish(&one, now);
        }
    }
    for _ in 0..10 {
        world.pass().await;
        for group in ["web", "api"] {
            assert!(
                !world.holds(group).contains(&"ObservationEmptied"),
                "{group}"
            );
        }
    }
    world.converge().await;
}

#[tokio::test]
async fn of_a_small_group_that_vanishes_and_comes_back_its_own_instances_stay() {
    for restarts in [false, true] {
        let mut world = World::web();
        world.converge().await;
        let before = world.living("web");
        empty(&world);
        world.passes(100).await;
        assert_eq!(world.living("web").len(), 6, "nothing holds so few");
        if restarts {
            world.restart();
        }
        world.sim(|mut sim| sim.clear_faults());
        world.passes(1).await;
        reproduced(&world, "web");
        world.passes(60).await;
        world.converge().await;
        assert_eq!(world.living("web"), before);
        assert_eq!(world.calls(Op::Destroy), 3);
    }
}

#[tokio::test]
async fn several_instances_under_one_id_are_told_with_their_handles_and_none_is_ended_for_it() {
    let (mut world, mood) = two(Mood::Well, &[("web", &on_far("web", 2))]);
    world.converge().await;
    let own = far(&world, "web");
    *mood.lock().unwrap() = Mood::Doubling;
    for _ in 0..2 {
        world.passes(90).await;
        assert_eq!(world.holds("web"), ["DuplicateInstances"]);
        let told = told(&world);
        let start = "provider far lists 2 instances too many under ids that others have: ";
        assert!(told[0].starts_with(start), "{told:?}");
        for handle in &own {
            let named = format!("is {handle}, and beside it again-{handle}");
            assert!(told[0].contains(&named), "{told:?}");
        }
        let recorded = &world.status("web").recorded;
        assert_eq!(recorded.phase, GroupPhase::Converged, "nothing is withheld");
        let handles = recorded.instances.values();
        let mut handles: Vec<_> = handles.filter_map(|was| was.provider_ref.clone()).collect();
        handles.sort();
        let mut expected = own.clone();
        expected.sort();
        assert_eq!(handles, expected, "the group's are the ones that it made");
        assert_eq!(far(&world, "web"), own);
        world.restart();
    }
    *mood.lock().unwrap() = Mood::Well;
    world.passes(2).await;
    assert_eq!(world.holds("web"), [""; 0]);
}

/// Lists a second instance under an id, as a plugin does whose first call took effect after the second one.
fn make_twice(world: &World, instance: &str) -> ProviderRef {
    let handle = ProviderRef::parse(&format!("late-{instance}")).unwrap();
    let now = world.clock.now();
    world.sim(|mut sim| {
        let web = GroupName::parse("web").unwrap();
        let mut all = sim.of_group(&web, now).into_iter();
        let (_, first) = all.find(|(id, _)| id.to_string() == instance).unwrap();
        let listed = Listed {
            provider_ref: handle.clone(),
            ownership: first.ownership.clone(),
            phase: ProviderPhase::Running,
            address: None,
            zone: None,
            created_at: Some(now),
            interruption: None,
        };
        sim.add_existing(listed);
    });
    handle
}

#[tokio::test]
async fn what_is_told_of_several_instances_under_one_id_is_what_there_is_now() {
    let mut world = World::web();
    world.converge().await;
    for (instance, surplus) in [("web-2", "1 instance too"), ("web-3", "2 instances too")] {
        make_twice(&world, instance);
        world.passes(60).await;
        let told = told(&world);
        assert!(told[0].contains(surplus), "{told:?}");
        assert!(told[0].contains(&format!("{instance} is ")), "{told:?}");
    }
}

#[tokio::test]
async fn an_instance_that_a_person_has_replaced_takes_along_what_stands_under_its_id() {
    for restarts in [false, true] {
        let mut world = World::web();
        world.converge().await;
        make_twice(&world, "web-2");
        world.passes(60).await;
        assert_eq!(world.holds("web"), ["DuplicateInstances"]);
        let told = told(&world);
        assert!(told[0].contains("`drover replace web/web-2`"), "{told:?}");
        assert_eq!(world.living("web"), ["web-1", "web-2", "web-2", "web-3"]);
        assert_eq!(world.calls(Op::Destroy), 0, "nobody ends it unasked");
        let operations = world.operations.clone();
        operations.order(&world, OrderVerb::Replace, "web-2");
        world
            .until("the first of the two to go", |world| {
                world.living("web").len() == 4 && world.calls(Op::Destroy) == 1
            })
            .await;
        if restarts {
            world.restart();
        }
        world
            .until("the other one to go", |world| {
                world.living("web") == ["web-1", "web-3", "web-4"]
            })
            .await;
        assert_eq!(world.calls(Op::Destroy), 2, "one for each of the two");
        world.converge().await;
        assert_eq!(world.holds("web"), [""; 0]);
        reproduced(&world, "web");
    }
}
