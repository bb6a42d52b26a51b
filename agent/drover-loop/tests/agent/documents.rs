//! Documents that go bad, and policies that judge.

use drover_loop::SourceError;
use drover_model::ConditionType;

use crate::harness::{PROVIDER, World, group, group_with};

const BROKEN: &str = "apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec: {provider: local, size: many, template: {properties: {image: b}}}
";

const FREEZE_UPDATES: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: no-updates}
spec:
  on: gate
  rules:
    - {expression: 'reason != \"update\"', message: no updates today}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: no-updates}
spec: {policy: no-updates, selector: {matchLabels: {env: test}}, enforcement: deny}
";

const AT_MOST_FOUR: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: small}
spec:
  on: validate
  rules:
    - {expression: 'spec.size <= 4', message: at most four instances}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: small}
spec: {policy: small, selector: {matchLabels: {env: test}}, enforcement: deny}
";

fn accepted(world: &World) -> Option<bool> {
    let status = world.status("web");
    let condition = status
        .recorded
        .conditions
        .get(&ConditionType::SpecAccepted)?;
    condition.status
}

#[tokio::test]
async fn a_bad_document_keeps_the_last_good_one_also_over_a_restart() {
    let mut world = World::web();
    world.converge().await;
    world.push(&[("web", BROKEN)]);
    world.passes(2).await;
    assert_eq!(world.holds("web"), ["SpecInvalid"]);
    assert_eq!(accepted(&world), Some(false));
    let report = world.report("web");
    assert_eq!(
        report.diagnostics[0].span.to_string(),
        "groups/web.yaml:4:31"
    );
    world.restart();
    let now = drover_provider::Clock::now(&*world.clock);
    world.sim(|mut sim| {
        let victim = sim.instances(now).next().unwrap().provider_ref.clone();
        sim.crash(&victim, now, drover_model::ExitReport::default());
    });
    world
        .until("healing", |world| {
            world.living("web").contains(&"web-4".to_owned())
        })
        .await;
    assert_eq!(world.holds("web"), ["SpecInvalid"]);
    world.push(&[("web", &group("web", 3, "a"))]);
    world.pass().await;
    world.converge().await;
    assert!(world.holds("web").is_empty());
    assert_eq!(accepted(&world), Some(true));
}

#[tokio::test]
async fn a_bad_document_of_a_new_group_makes_nothing_and_says_why() {
    let mut world = World::with_groups(&[("web", BROKEN)]);
    world.passes(2).await;
    assert_eq!(world.holds("web"), ["SpecInvalid"]);
    let subjects = world.subjects().join("\n");
    assert!(
        subjects.contains("web: held, the document is not valid"),
        "{subjects}"
    );
}

#[tokio::test]
async fn a_property_that_the_provider_does_not_know_is_a_mistake_with_its_place() {
    let mut world = World::web();
    world.converge().await;
    let text = group("web", 3, "a").replace("image: a", "image: a, imge: b");
    world.push(&[("web", &text)]);
    world.pass().await;
    assert_eq!(world.holds("web"), ["SpecInvalid"]);
    let report = world.report("web");
    let first = &report.diagnostics[0];
    assert_eq!(first.code, "provider-property");
    assert_eq!(first.span.line, 7);
    // Its name is wrong, and not its value.
    let line = text.lines().nth(6).unwrap();
    let column = line.find("imge").unwrap() + 1;
    assert_eq!((first.span.column as usize, first.span.length), (column, 4));
    assert!(first.hint.as_ref().unwrap().contains("image"), "{first:?}");
}

#[tokio::test]
async fn a_provider_that_does_not_exist_holds_a_new_group() {
    let text = group("web", 3, "a").replace("provider: local", "provider: lokal");
    let mut world = World::with_groups(&[("web", &text)]);
    world.passes(2).await;
    assert_eq!(world.holds("web"), ["ProviderMissing"]);
}

#[tokio::test]
async fn a_provider_type_that_is_not_allowed_holds_a_new_group() {
    let mut world = World::new(&[]);
    let provider = PROVIDER.replace("type: simulated, bootTime: 2s", "type: process");
    let web = group("web", 3, "a");
    world
        .repository
        .commit(&[("p.yaml", &provider), ("web.yaml", &web)]);
    world.passes(2).await;
    assert_eq!(world.holds("web"), ["ProviderMissing"]);
}

#[tokio::test]
async fn a_provider_document_gone_bad_keeps_its_last_good_version() {
    let mut world = World::web();
    world.converge().await;
    let web = group("web", 4, "a");
    for provider in [
        PROVIDER.replace("bootTime: 2s", "bootTime: soon"),
        PROVIDER.replace("spec: {type", "spec: {tipe"),
        PROVIDER.replace("type: simulated, bootTime: 2s", "type: process"),
    ] {
        world
            .repository
            .commit(&[("p.yaml", &provider), ("web.yaml", &web)]);
        world.pass().await;
        world.converge().await;
        assert_eq!(world.living("web").len(), 4);
        let status = world.agent.as_ref().unwrap().status();
        assert!(!status.diagnostics.is_empty());
    }
}

#[tokio::test]
async fn another_provider_for_a_live_group_is_refused() {
    let mut world = World::web();
    world.converge().await;
    let other = PROVIDER.replace("name: local", "name: other");
    let web = group("web", 3, "a").replace("provider: local", "provider: other");
    world
        .repository
        .commit(&[("p.yaml", PROVIDER), ("o.yaml", &other), ("web.yaml", &web)]);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["ProviderChanged"]);
    assert_eq!(world.living("web").len(), 3);
}

#[tokio::test]
async fn a_denied_change_leaves_the_accepted_document_in_force() {
    let mut world = World::new(&[]);
    let push = |world: &World, size| {
        let web = group("web", size, "a");
        let files = [
            ("p.yaml", PROVIDER),
            ("small.yaml", AT_MOST_FOUR),
            ("web.yaml", &web),
        ];
        world.repository.commit(&files);
    };
    push(&world, 3);
    world.pass().await;
    world.converge().await;
    push(&world, 5);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyDenied"]);
    assert_eq!(world.living("web").len(), 3);
    push(&world, 4);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 4);
}

#[tokio::test]
async fn removing_a_guard_needs_its_consent() {
    let mut world = World::new(&[]);
    let web = group("web", 3, "a");
    world.repository.commit(&[
        ("p.yaml", PROVIDER),
        ("small.yaml", AT_MOST_FOUR),
        ("web.yaml", &web),
    ]);
    world.pass().await;
    world.converge().await;
    // The guard and what it forbids go in one commit.
    let large = group("web", 5, "a");
    world
        .repository
        .commit(&[("p.yaml", PROVIDER), ("web.yaml", &large)]);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyDenied"]);
    world.restart();
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyDenied"]);
    // It is published with what withholds nothing any more.
    for _ in 0..2 {
        world.restart_without_data().passes(3).await;
        assert_eq!(world.holds("web"), ["PolicyDenied"]);
        world.restart().passes(3).await;
        assert_eq!(world.holds("web"), ["PolicyDenied"]);
    }
    assert_eq!(world.living("web").len(), 3);
    let published = |world: &World| {
        let fleet = world.branch.file("fleet.yaml").unwrap();
        String::from_utf8(fleet).unwrap()
    };
    let fleet = published(&world);
    assert!(
        fleet.contains("earlier:") && fleet.contains("at most four"),
        "{fleet}"
    );
    // Without the change the guard has nothing to withhold, and goes.
    world
        .repository
        .commit(&[("p.yaml", PROVIDER), ("web.yaml", &web)]);
    world.passes(3).await;
    let fleet = published(&world);
    assert!(!fleet.contains("at most four"), "{fleet}");
    world.restart_without_data().passes(3).await;
    world
        .repository
        .commit(&[("p.yaml", PROVIDER), ("web.yaml", &large)]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 5);
}

#[tokio::test]
async fn a_closed_gate_holds_a_rollout_and_nothing_else() {
    let mut world = World::new(&[]);
    let push = |world: &World, policies: &str, size, image| {
        let web = group("web", size, image);
        let files = [
            ("p.yaml", PROVIDER),
            ("gate.yaml", policies),
            ("web.yaml", &web),
        ];
        world.repository.commit(&files);
    };
    push(&world, FREEZE_UPDATES, 3, "a");
    world.pass().await;
    world.converge().await;
    push(&world, FREEZE_UPDATES, 4, "b");
    world.passes(10).await;
    assert_eq!(world.holds("web"), ["GateClosed"]);
    assert_eq!(world.living("web").len(), 4);
    // A loosened gate goes on judging until it holds nothing back.
    push(
        &world,
        &FREEZE_UPDATES.replace("reason != \\\"update\\\"", "true"),
        4,
        "b",
    );
    let loosened = FREEZE_UPDATES.replace("'reason != \"update\"'", "'true'");
    push(&world, &loosened, 4, "b");
    world.passes(5).await;
    assert_eq!(world.holds("web"), ["GateClosed"]);
}

#[tokio::test]
async fn a_policy_that_was_never_good_holds_what_it_is_bound_to() {
    let mut world = World::new(&[]);
    let broken = AT_MOST_FOUR.replace("spec.size <= 4", "spec.syze <= 4");
    let web = group("web", 3, "a");
    world.repository.commit(&[
        ("p.yaml", PROVIDER),
        ("small.yaml", &broken),
        ("web.yaml", &web),
    ]);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyFailed"]);
    world.repository.commit(&[
        ("p.yaml", PROVIDER),
        ("small.yaml", AT_MOST_FOUR),
        ("web.yaml", &web),
    ]);
    world.pass().await;
    world.converge().await;
    // Gone bad, the last good version judges on.
    let five = group("web", 5, "a");
    world.repository.commit(&[
        ("p.yaml", PROVIDER),
        ("small.yaml", &broken),
        ("web.yaml", &five),
    ]);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyDenied"]);
}

#[tokio::test]
async fn an_unusable_source_leaves_everything_in_force() {
    let mut world = World::web();
    world.converge().await;
    let good = world
        .repository
        .commit(&[("p.yaml", PROVIDER), ("w.yaml", &group("web", 3, "a"))]);
    world.pass().await;
    let destroyed = world.calls(drover_provider_sim::Op::Destroy);
    let mut reasons = Vec::new();
    let mut look = async |world: &mut World| {
        world.passes(2).await;
        let status = world.agent.as_ref().unwrap().status();
        reasons.push(status.source.failure.as_ref().map(|(reason, _)| *reason));
        assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
        assert_eq!(world.living("web").len(), 3);
    };
    let unreachable = SourceError::Unreachable {
        message: "connection refused".to_owned(),
    };
    for failure in [
        unreachable,
        SourceError::Emptied,
        SourceError::BranchMissing {
            branch: "main".to_owned(),
            others: Vec::new(),
        },
    ] {
        world.repository.fail(Some(failure));
        look(&mut world).await;
    }
    world.repository.fail(None);
    world.repository.rewrite(&[("p.yaml", PROVIDER)]);
    look(&mut world).await;
    world.repository.move_to(&good);
    world.repository.commit(&[]);
    look(&mut world).await;
    world.repository.move_to(&good);
    world.repository.commit(&[("p.yaml", PROVIDER)]);
    world.repository.truncate();
    look(&mut world).await;
    insta::assert_debug_snapshot!(reasons.iter().flatten().collect::<Vec<_>>(), @r#"
    [
        "SourceUnreachable",
        "SourceEmptied",
        "BranchMissing",
        "SourceRewritten",
        "NoDocuments",
        "SourceTooLarge",
    ]
    "#);
    // A source that is whole again is followed again.
    world.repository.move_to(&good);
    world.push(&[("web", &group_with("web", 4, "a", ""))]);
    world.pass().await;
    world.converge().await;
    assert_eq!(world.living("web").len(), 4);
    assert_eq!(world.calls(drover_provider_sim::Op::Destroy), destroyed);
}

#[tokio::test]
async fn a_policy_can_keep_a_group_from_being_removed() {
    let mut world = World::new(&[]);
    let stays = AT_MOST_FOUR
        .replace("spec.size <= 4", "change.toSize > 0")
        .replace("at most four instances", "this group stays");
    let (web, api) = (group("web", 3, "a"), group("api", 1, "a"));
    let files = [
        ("p.yaml", PROVIDER),
        ("stays.yaml", &*stays),
        ("api.yaml", &*api),
    ];
    world
        .repository
        .commit(&[&files[..], &[("web.yaml", &*web)]].concat());
    world.pass().await;
    world.converge().await;
    world.repository.commit(&files);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyDenied"]);
    assert_eq!(world.living("web").len(), 3);
    // Neither together with the policy: it is judged by the one before, too.
    world.repository.commit(&[files[0], files[2]]);
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyDenied"]);
}

#[tokio::test]
async fn when_too_many_earlier_policies_judge_newer_ones_wait_and_say_so() {
    let mut world = World::new(&[]);
    let push = |world: &World, message: &str, image| {
        let gate = FREEZE_UPDATES.replace("no updates today", message);
        let web = group("web", 3, image);
        let files = [
            ("p.yaml", PROVIDER),
            ("gate.yaml", &*gate),
            ("web.yaml", &*web),
        ];
        world.repository.commit(&files);
    };
    push(&world, "first", "a");
    world.pass().await;
    world.converge().await;
    for message in ["second", "third", "fourth", "fifth", "sixth"] {
        push(&world, message, "b");
        world.passes(2).await;
    }
    assert_eq!(world.holds("web"), ["GateClosed"]);
    let waiting = |world: &World| {
        let status = world.agent.as_ref().unwrap().status();
        let mut diagnostics = status.diagnostics.iter();
        diagnostics.any(|found| found.code == "policies-wait")
    };
    assert!(waiting(&world));
    // With nothing to withhold the earlier ones go, and the newest is taken.
    push(&world, "seventh", "a");
    world.passes(4).await;
    assert!(!waiting(&world));
    push(&world, "seventh", "b");
    world.passes(2).await;
    let report = world.report("web");
    let message = report.holds[0].hold.to_string();
    assert!(message.contains("seventh"), "{message}");
}
