//! Ending instances: asked, ignored, scattered, repeated.

use std::fs;
use std::time::{Duration, Instant};

use drover_model::{ErrorClass, FleetName, ProviderPhase, Token};
use drover_provider::DestroyRequest;

use crate::harness::{Scope, fleet, is_running, map, processes_of, request, strings, until};

const LONG: Duration = Duration::from_mins(1);

async fn gone(scope: &Scope) {
    until("it is gone", async || {
        scope.list().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_may_end_in_its_own_way_within_the_grace() {
    let scope = Scope::new();
    let file = scope.dir.path().join("said");
    let script = format!(
        "trap 'echo bye > {}; exit 0' TERM; echo up; while true; do sleep 0.01; done",
        file.display()
    );
    let instance = scope.run(1, &script).await;
    scope.printed(&instance, "up").await;
    let started = Instant::now();
    scope.destroy(&instance, LONG).await;
    gone(&scope).await;
    assert!(started.elapsed() < LONG / 2);
    assert_eq!(fs::read_to_string(file).unwrap(), "bye\n");
    scope.finish().await;
}

#[tokio::test]
async fn what_ignores_the_request_is_killed_after_the_grace() {
    let scope = Scope::new();
    let script = "trap '' TERM; echo up; while true; do sleep 0.01; done";
    let instance = scope.run(1, script).await;
    scope.printed(&instance, "up").await;
    let grace = Duration::from_millis(400);
    let started = Instant::now();
    scope.destroy(&instance, grace).await;
    assert_eq!(scope.phase(&instance).await, Some(ProviderPhase::Stopping));
    gone(&scope).await;
    assert!(started.elapsed() >= grace, "{:?}", started.elapsed());
    scope.finish().await;
}

#[tokio::test]
async fn a_second_destroy_with_less_patience_wins() {
    let scope = Scope::new();
    let script = "trap '' TERM; echo up; while true; do sleep 0.01; done";
    let instance = scope.run(1, script).await;
    scope.printed(&instance, "up").await;
    scope.destroy(&instance, LONG).await;
    scope.destroy(&instance, LONG).await;
    assert_eq!(scope.phase(&instance).await, Some(ProviderPhase::Stopping));
    scope.destroy(&instance, Duration::from_millis(10)).await;
    gone(&scope).await;
    scope.finish().await;
}

#[tokio::test]
async fn daemons_cannot_slip_away() {
    let scope = Scope::new();
    // In a session of its own, without its parent, without the environment, deaf to TERM.
    let daemon =
        "setsid env -i /bin/sh -c 'trap \"\" TERM; echo $$; while true; do sleep 0.05; done' &";
    let stays = scope
        .run(1, &format!("{daemon} sleep 0.1; echo up; exec sleep 1000"))
        .await;
    scope.printed(&stays, "up").await;
    let log = scope.provider.logs(&stays, 9).await.unwrap();
    let pid: i32 = log.lines().next().unwrap().parse().unwrap();
    assert!(is_running(pid));
    scope.destroy(&stays, Duration::from_millis(100)).await;
    gone(&scope).await;
    assert!(!is_running(pid));

    // A command that ends has ended: what it left in the background does not live on.
    let leaves = scope.run(2, "sleep 1000 & echo $!; exit 7").await;
    assert!(scope.exit(&leaves).await.starts_with("exit status 7"));
    let log = scope.provider.logs(&leaves, 9).await.unwrap();
    assert!(!is_running(log.trim().parse().unwrap()));
    scope.finish().await;
}

#[tokio::test]
async fn an_instance_can_be_ended_while_its_init_runs() {
    let scope = Scope::new();
    let mut asked = request(1, map(&[("command", strings(&["sleep", "1000"]))]));
    asked.slots[0].init = vec!["echo preparing".to_owned(), "sleep 1000".to_owned()];
    let instance = scope.provision(&asked).await;
    scope.printed(&instance, "preparing").await;
    assert_eq!(scope.phase(&instance).await, Some(ProviderPhase::Pending));
    scope.destroy(&instance, LONG).await;
    gone(&scope).await;
    scope.finish().await;
}

#[tokio::test]
async fn an_exited_instance_is_listed_until_it_is_destroyed() {
    let scope = Scope::new();
    let instance = scope.run(1, "echo out of cheese >&2; kill -9 $$").await;
    let report = scope.exit(&instance).await;
    assert_eq!(report, "ended by signal 9: out of cheese");
    until("no shim is left of what has ended", async || {
        processes_of(scope.dir.path()).is_empty().then_some(())
    })
    .await;
    assert_eq!(scope.exit(&instance).await, report);
    scope.destroy(&instance, LONG).await;
    assert_eq!(scope.list().await, []);
    scope.finish().await;
}

#[tokio::test]
async fn a_destroy_with_another_identity_leaves_the_instance_alone() {
    let scope = Scope::new();
    let instance = scope.run(1, "exec sleep 1000").await;
    let owned = scope.listed(&instance).await.unwrap().ownership.unwrap();
    let right = DestroyRequest {
        fleet: owned.fleet,
        group: owned.group,
        epoch: owned.epoch,
        instance: owned.instance,
        provider_ref: instance.clone(),
        token: owned.token,
        grace: LONG,
        ending: drover_provider::Ending::default(),
    };
    let wrong_token = DestroyRequest {
        token: Token::parse(&"z".repeat(32)).unwrap(),
        ..right.clone()
    };
    let wrong_fleet = DestroyRequest {
        fleet: FleetName::parse("other").unwrap(),
        ..right.clone()
    };
    for wrong in [wrong_token, wrong_fleet] {
        let error = scope.provider.destroy(&wrong).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::NotFound);
    }
    assert!(matches!(
        scope.phase(&instance).await,
        Some(ProviderPhase::Pending | ProviderPhase::Running)
    ));
    scope.provider.destroy(&right).await.unwrap();
    gone(&scope).await;
    scope.provider.destroy(&right).await.unwrap();
    scope.finish().await;
}

#[tokio::test]
async fn a_released_instance_runs_on_and_is_nobodys() {
    let scope = Scope::new();
    let instance = scope.run(1, "echo $$; exec sleep 1000").await;
    until("it has said its pid", async || {
        let log = scope.provider.logs(&instance, 1).await.unwrap();
        (!log.is_empty()).then_some(())
    })
    .await;
    let log = scope.provider.logs(&instance, 1).await.unwrap();
    let other = FleetName::parse("other").unwrap();
    let refused = scope.provider.release(&other, &instance).await;
    assert_eq!(refused.unwrap_err().class, ErrorClass::NotFound);
    let right = scope.listed(&instance).await.unwrap().ownership.unwrap();
    scope.provider.release(&fleet(), &instance).await.unwrap();
    scope.provider.release(&fleet(), &instance).await.unwrap();
    assert_eq!(scope.list().await, []);
    let request = DestroyRequest {
        fleet: right.fleet,
        group: right.group,
        epoch: right.epoch,
        instance: right.instance,
        provider_ref: instance.clone(),
        token: right.token,
        grace: LONG,
        ending: drover_provider::Ending::default(),
    };
    let error = scope.provider.destroy(&request).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    assert!(is_running(log.trim().parse().unwrap()));
    // The scope's end kills what it still finds.
}

#[tokio::test]
async fn fifty_instances_come_and_go_without_leftovers() {
    let scope = Scope::new();
    for number in 0..50 {
        scope.run(number, "echo up; exec sleep 1000").await;
    }
    let listed = scope.list().await;
    assert_eq!(listed.len(), 50);
    let addresses: std::collections::BTreeSet<_> = listed
        .iter()
        .filter_map(|listed| listed.address.clone())
        .collect();
    assert_eq!(addresses.len(), 50);
    for listed in &listed {
        scope.printed(&listed.provider_ref, "up").await;
    }
    scope.finish().await;
}
