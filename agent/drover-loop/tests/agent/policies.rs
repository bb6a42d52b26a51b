//! What policies decide beside gates and sizes, through the whole agent.

use crate::harness::{PROVIDER, World, group};
use crate::peers::reproduced;

fn policy(point: &str, body: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Policy
metadata: {{name: tested}}
spec:
  on: {point}
  {body}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {{name: tested}}
spec: {{policy: tested, selector: {{}}, enforcement: deny}}
"
    )
}

/// The codes of all holds, those among them that are part of any rollout.
fn codes(world: &World) -> Vec<&'static str> {
    let report = world.report("web");
    let mut codes: Vec<_> = report.holds.iter().map(|held| held.hold.code()).collect();
    codes.dedup();
    codes
}

fn push(world: &World, policy: &str, size: u32, image: &str) {
    let web = group("web", size, image);
    let files = [
        ("p.yaml", PROVIDER),
        ("policy.yaml", policy),
        ("web.yaml", &web),
    ];
    world.repository.commit(&files);
}

#[tokio::test]
async fn a_protected_instance_outlives_a_rollout_and_its_guard_must_agree_to_go() {
    let keep_first = policy(
        "protect",
        "rules: [{expression: 'instance.id != \"web-1\"', message: it is kept}]",
    );
    let mut world = World::new(&[]);
    push(&world, &keep_first, 3, "a");
    world.pass().await;
    world.converge().await;
    push(&world, &keep_first, 3, "b");
    world
        .until("two are replaced", |world| {
            let living = world.living("web");
            living.len() == 3 && !living.contains(&"web-2".to_owned())
        })
        .await;
    world.passes(10).await;
    assert!(world.living("web").contains(&"web-1".to_owned()));
    assert_eq!(codes(&world), ["ProtectedByPolicy"]);
    // A commit that loosens it is judged by what was there before.
    let loosened = policy(
        "protect",
        "rules: [{expression: 'instance.id != \"nobody\"', message: it is kept}]",
    );
    push(&world, &loosened, 3, "b");
    world.passes(5).await;
    assert_eq!(codes(&world), ["ProtectedByPolicy"]);
    // With nothing to keep it from, the old guard is gone.
    push(&world, &loosened, 3, "a");
    world.pass().await;
    world.converge().await;
    push(&world, &loosened, 3, "b");
    world.pass().await;
    world.converge().await;
    assert!(!world.living("web").contains(&"web-1".to_owned()));
}

#[tokio::test]
async fn a_bad_instance_waits_as_long_as_a_policy_says_so() {
    let wait = policy(
        "heal",
        "value: 'instances.filter(i, i.class == \"Exited\").size() > 1 ? \"wait\" : \"replace\"'",
    );
    let mut world = World::new(&[]);
    push(&world, &wait, 3, "a");
    world.pass().await;
    world.converge().await;
    // What ends sooner has never served.
    world.passes(60).await;
    let crash = |world: &World, count| {
        let now = drover_provider::Clock::now(&*world.clock);
        world.sim(|mut sim| {
            let all: Vec<_> = sim.instances(now).collect();
            let refs: Vec<_> = all.iter().map(|one| one.provider_ref.clone()).collect();
            for victim in refs.iter().take(count) {
                sim.crash(victim, now, drover_model::ExitReport::default());
            }
        });
    };
    crash(&world, 2);
    world.passes(5).await;
    assert_eq!(codes(&world), ["ProtectedByPolicy"]);
    let replace = policy("heal", "value: '\"replace\"'");
    push(&world, &replace, 3, "a");
    world.passes(3).await;
    assert_eq!(codes(&world), ["ProtectedByPolicy"], "the guard's word");
}

#[tokio::test]
async fn a_budget_of_nothing_stops_a_rollout_and_scaling_goes_on() {
    let none = policy(
        "budget",
        "value: 'reason == \"update\" ? 0 : status.desired'",
    );
    let mut world = World::new(&[]);
    push(&world, &none, 3, "a");
    world.pass().await;
    world.converge().await;
    push(&world, &none, 2, "b");
    world
        .until("one is removed", |world| codes(world) == ["BudgetByPolicy"])
        .await;
    world.passes(10).await;
    let living = world.living("web");
    let old = living
        .iter()
        .filter(|name| ["web-1", "web-2", "web-3"].contains(&name.as_str()));
    assert_eq!(old.count(), 2, "{living:?}");
}

#[tokio::test]
async fn a_difference_that_a_policy_ignores_replaces_nobody_and_newcomers_get_it() {
    let ignore = policy(
        "drift",
        "value: 'field == \"properties.image\" ? \"ignore\" : class'",
    );
    let mut world = World::new(&[]);
    push(&world, &ignore, 3, "a");
    world.pass().await;
    world.converge().await;
    let before = world.living("web");
    push(&world, &ignore, 3, "b");
    world.passes(5).await;
    world.converge().await;
    assert_eq!(world.living("web"), before);
    let state = String::from_utf8(world.branch.file("groups/web.yaml").unwrap()).unwrap();
    assert!(state.contains("ignored: properties.image"), "{state}");
    push(&world, &ignore, 4, "b");
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 4);
    reproduced(&world, "web");
    // Without the policy the difference counts again.
    let web = group("web", 4, "b");
    let files = [("p.yaml", PROVIDER), ("web.yaml", web.as_str())];
    world.repository.commit(&files);
    world.pass().await;
    world.converge().await;
    let living = world.living("web");
    assert!(
        before.iter().all(|name| !living.contains(name)),
        "{living:?}"
    );
    assert!(living.contains(&"web-4".to_owned()), "it had it already");
}

#[tokio::test]
async fn an_instance_is_as_healthy_as_a_policy_says() {
    let sick = policy(
        "health",
        "value: 'instance.id == \"web-2\" && status.desired == 3 ? \"unhealthy\" : signals.combined'",
    );
    let mut world = World::new(&[]);
    push(&world, &policy("health", "value: signals.combined"), 3, "a");
    world.pass().await;
    world.converge().await;
    world.passes(60).await;
    push(&world, &sick, 3, "a");
    world.passes(2).await;
    let web_2 = |world: &World| {
        let state = String::from_utf8(world.branch.file("groups/web.yaml").unwrap()).unwrap();
        drover_spec::record::decode(&state)
            .unwrap()
            .instances
            .remove(&drover_model::InstanceId::parse("web-2").unwrap())
    };
    assert_eq!(web_2(&world).unwrap().class, "Suspect");
    reproduced(&world, "web");
    world
        .until("it is replaced", |world| {
            let living = world.living("web");
            living.len() == 3 && !living.contains(&"web-2".to_owned())
        })
        .await;
    world.converge().await;
    reproduced(&world, "web");
    // One that cannot be asked leaves everybody as they are.
    let broken = policy("health", "value: 'git.trailers[\"Health\"]'");
    push(&world, &broken, 2, "a");
    world.passes(10).await;
    assert_eq!(world.living("web").len(), 3);
    assert_eq!(codes(&world), ["PolicyFailed"]);
}

#[tokio::test]
async fn a_label_that_goes_does_not_take_its_policies_along() {
    let floor = policy(
        "validate",
        "rules: [{expression: 'change.toSize >= 2', message: too few}]",
    )
    .replace("selector: {}", "selector: {matchLabels: {tier: prod}}");
    let push = |world: &World, labels: &str, size| {
        let web = group("web", size, "a").replace("labels: {env: test}", labels);
        let files = [
            ("p.yaml", PROVIDER),
            ("policy.yaml", &floor),
            ("web.yaml", &web),
        ];
        world.repository.commit(&files);
    };
    let mut world = World::new(&[]);
    push(&world, "labels: {tier: prod}", 3);
    world.pass().await;
    world.converge().await;
    // Neither without the label, nor with another value of it, nor with the label removed in the commit before and both
    // seen at once.
    for labels in ["labels: {}", "labels: {tier: test}"] {
        push(&world, labels, 0);
        world.passes(3).await;
        assert_eq!(codes(&world), ["PolicyDenied"], "{labels}");
        assert_eq!(world.living("web").len(), 3);
    }
    push(&world, "labels: {}", 3);
    push(&world, "labels: {}", 1);
    world.passes(3).await;
    assert_eq!(codes(&world), ["PolicyDenied"]);
    world.restart();
    world.passes(3).await;
    assert_eq!(codes(&world), ["PolicyDenied"]);
    assert_eq!(world.living("web").len(), 3);
    // What the policy lets through may take the label away, and then it judges no more.
    push(&world, "labels: {}", 3);
    world.passes(3).await;
    assert_eq!(codes(&world), [""; 0]);
    push(&world, "labels: {}", 1);
    world
        .until("one", |world| world.living("web").len() == 1)
        .await;
}
