//! Instances that their provider does not finish making: from the start, without an answer, and again after they were
//! ready. What the agent tells of them meanwhile, and when it replaces them.

use std::time::Duration;

use drover_model::{InstanceId, ProviderRef, Timestamp};
use drover_provider::Clock as _;
use drover_provider_sim::{Behavior, Fault, FaultKind, Op, Which};

use crate::harness::{World, group_with};
use crate::peers::reproduced;

/// The defaults of `health`, as seconds.
const STARTUP_TIMEOUT: usize = 600;
const UNHEALTHY_AFTER: usize = 120;

fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

fn web(size: u32) -> String {
    group_with("web", size, "a", "")
}

/// A group of three that has been there for a minute.
async fn settled() -> World {
    let mut world = World::with_groups(&[("web", &web(3))]);
    world.converge().await;
    world.passes(60).await;
    world
}

/// What is told of an instance, on the state branch and so by `drover describe`: its class, and why.
fn told(world: &World, name: &str) -> Option<(String, String)> {
    let state = String::from_utf8(world.branch.file("groups/web.yaml").unwrap()).unwrap();
    let mut recorded = drover_spec::record::decode(&state).unwrap();
    let instance = recorded.instances.remove(&id(name))?;
    Some((instance.class, instance.why.unwrap_or_default()))
}

fn class(world: &World, name: &str) -> Option<String> {
    told(world, name).map(|(class, _)| class)
}

fn handle(world: &World, name: &str) -> ProviderRef {
    let recorded = &world.status("web").recorded;
    recorded.instances[&id(name)].provider_ref.clone().unwrap()
}

/// Has the provider make an instance again, until a time. None: for ever.
fn make_again(world: &World, name: &str, running_at: Option<Timestamp>) {
    let handle = handle(world, name);
    world.sim(|mut sim| sim.make_again(&handle, running_at));
}

/// Lets `web` grow by one that never boots, which is `web-4`.
async fn grow(world: &mut World) {
    let now = world.clock.now();
    let never = Which::Instance(id("web-4"));
    world.sim(|mut sim| sim.behave(now, never, Behavior::NeverBoots));
    world.push(&[("web", &web(4))]);
    world.passes(1).await;
}

#[tokio::test]
async fn one_that_was_ready_and_is_made_again_for_long_is_suspect_and_then_replaced() {
    let mut world = settled().await;
    make_again(&world, "web-2", None);
    world.passes(UNHEALTHY_AFTER - 10).await;
    let (class_of, why) = told(&world, "web-2").unwrap();
    assert_eq!(class_of, "Suspect");
    assert_eq!(why, "the provider is making it again");
    assert_eq!(world.calls(Op::Destroy), 0);
    assert_eq!(world.living("web").len(), 3);
    reproduced(&world, "web");

    world.passes(20).await;
    assert_eq!(world.calls(Op::Destroy), 1, "it is healed");
    world.converge().await;
    assert_eq!(world.living("web"), ["web-1", "web-3", "web-4"]);
    assert_eq!(
        (world.calls(Op::Destroy), class(&world, "web-2")),
        (1, None)
    );
    let healed = |subject: &String| subject.contains("heal");
    assert!(
        world.subjects().iter().any(healed),
        "{:?}",
        world.subjects()
    );
    reproduced(&world, "web");
}

#[tokio::test]
async fn one_that_is_made_again_within_its_time_is_as_good_as_before() {
    let mut world = settled().await;
    let back = world.clock.now().checked_add(Duration::from_mins(1));
    make_again(&world, "web-2", Some(back.unwrap()));
    world.passes(50).await;
    assert_eq!(class(&world, "web-2").as_deref(), Some("Suspect"));
    world.passes(20).await;
    world.converge().await;
    assert_eq!(class(&world, "web-2").as_deref(), Some("Available"));
    // The time that it was made for once does not count towards the next one.
    make_again(&world, "web-2", None);
    world.passes(UNHEALTHY_AFTER - 10).await;
    assert_eq!(class(&world, "web-2").as_deref(), Some("Suspect"));
    assert_eq!(world.calls(Op::Destroy), 0);
}

#[tokio::test]
async fn one_that_is_pending_from_the_start_is_starting_and_then_a_failed_launch() {
    let mut world = settled().await;
    grow(&mut world).await;
    world.passes(STARTUP_TIMEOUT - 60).await;
    assert_eq!(class(&world, "web-4").as_deref(), Some("Starting"));
    assert_eq!(world.calls(Op::Destroy), 0, "it has all of its time");
    assert_eq!(world.holds("web"), [] as [&str; 0]);
    reproduced(&world, "web");

    let mut message = String::new();
    for _ in 0..70 {
        world.passes(1).await;
        let backoff = world.status("web").recorded.backoff.clone();
        message = backoff.map_or(message, |backoff| backoff.message);
    }
    let why = "web-4: not ready within the startup timeout: the provider did not finish making it";
    assert_eq!(message, why);
    world.converge().await;
    assert_eq!(world.living("web"), ["web-1", "web-2", "web-3", "web-5"]);
    assert_eq!(world.calls(Op::Destroy), 1, "nothing else was ended for it");
    reproduced(&world, "web");
}

#[tokio::test]
async fn one_whose_launch_has_no_answer_is_told_with_the_words_of_the_provider() {
    let mut world = settled().await;
    world.sim(|mut sim| sim.inject(Fault::always(Op::Provision, FaultKind::LostReply)));
    grow(&mut world).await;
    world.passes(20).await;
    assert_eq!(world.holds("web"), [] as [&str; 0], "it may be a moment");
    world.passes(30).await;
    assert_eq!(world.holds("web"), ["UnknownOutcomes"]);
    let report = world.report("web");
    let mut holds = report.holds.iter();
    let held = holds.find(|held| held.hold.code() == "UnknownOutcomes");
    let held = held.unwrap();
    assert_eq!(held.instance, Some(id("web-4")));
    let message = held.hold.to_string();
    let words = "the outcome of 1 provider call is unknown; no new ones until it is; the latest: ";
    assert!(message.starts_with(words), "{message}");
    assert!(
        message.ends_with("the answer was lost: connection reset"),
        "{message}"
    );
    // On the state branch as well, and no commit for each of the calls.
    let state = String::from_utf8(world.branch.file("groups/web.yaml").unwrap()).unwrap();
    assert!(
        state.contains("the answer was lost: connection reset"),
        "{state}"
    );
    let commits = world.branch.log().len();
    world.passes(60).await;
    assert_eq!(world.branch.log().len(), commits);
    reproduced(&world, "web");
    // A refusal of the repeated call tells its class, and proves nothing.
    world.sim(|mut sim| {
        sim.clear_faults();
        let refused = FaultKind::Error(drover_model::ErrorClass::Auth);
        sim.inject(Fault::always(Op::Provision, refused));
    });
    world.passes(60).await;
    let report = world.report("web");
    let told = report.holds.iter().map(|held| held.hold.to_string());
    let told: Vec<String> = told.collect();
    let refused = |told: &String| told.contains("; the latest: auth: ");
    assert!(told.iter().any(refused), "{told:?}");
    assert_eq!(world.living("web").len(), 4);
    // Once it is answered the agent waits as for any other one.
    world.sim(|mut sim| sim.clear_faults());
    world.passes(60).await;
    assert_eq!(world.holds("web"), [] as [&str; 0]);
    assert_eq!(class(&world, "web-4").as_deref(), Some("Starting"));
}
