//! How containers end: asked, killed, by themselves, or by somebody else.

use std::time::{Duration, Instant};

use drover_model::ProviderPhase;
use drover_provider_docker::Grants;

use crate::harness::{IDLE, Scope, destroying, shell};

/// A script that takes some time to end when it is told to, and says so.
fn slow(seconds: u32) -> String {
    format!(
        "trap 'echo stopping; sleep {seconds}; echo done; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_waits_for_the_container_as_long_as_the_grace_period_lasts() {
    let scope = Scope::new("ending-grace");
    let request = scope.request(1, shell(&slow(1), &[]));
    let patient = scope.make(&request).await;
    scope.until_printed(&patient, "ready").await;
    let started = Instant::now();
    let end = destroying(&request, &patient, Duration::from_secs(20));
    scope.provider.destroy(&end).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "it is only accepted"
    );
    assert_eq!(
        scope.listed(&patient).await.unwrap().phase,
        ProviderPhase::Stopping
    );
    // What it prints at its end can still be read.
    scope.until_printed(&patient, "stopping").await;
    scope.until_gone(&patient).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(started.elapsed() < Duration::from_secs(15));

    // An end that is asked for once more, and sooner, happens sooner.
    let request = scope.request(2, shell(&slow(100), &[]));
    let stubborn = scope.make(&request).await;
    scope.until_printed(&stubborn, "ready").await;
    let started = Instant::now();
    for grace in [60, 30, 1] {
        let end = destroying(&request, &stubborn, Duration::from_secs(grace));
        scope.provider.destroy(&end).await.unwrap();
    }
    scope.until_gone(&stubborn).await;
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_own_limit_shortens_the_grace_period() {
    let scope = Scope::new("ending-own-limit");
    let own = [("stopTimeout", "1s".into())];
    let request = scope.request(1, shell(&slow(100), &own));
    let handle = scope.make(&request).await;
    scope.until_printed(&handle, "ready").await;
    let started = Instant::now();
    let end = destroying(&request, &handle, Duration::from_mins(1));
    scope.provider.destroy(&end).await.unwrap();
    scope.until_gone(&handle).await;
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_accepted_is_carried_on_by_the_next_agent() {
    let scope = Scope::new("ending-carried-on");
    let handle = scope.make(&scope.request(1, shell(IDLE, &[]))).await;
    // As an agent leaves it that is killed when it has accepted the end.
    let seconds = drover_model::Timestamp::now().as_second();
    let renamed = format!("{handle}.ending.{}", seconds + 30);
    let (status, said) = scope
        .engine
        .post(&format!("/containers/{handle}/rename?name={renamed}"));
    assert_eq!(status, 204, "{said}");
    let next = scope.reopened();
    let listing = next.list(&scope.fleet).await.unwrap();
    let phases: Vec<_> = listing
        .instances
        .into_iter()
        .map(|listed| listed.phase)
        .collect();
    assert_eq!(phases, [ProviderPhase::Stopping]);
    let started = Instant::now();
    while !scope.containers().is_empty() {
        assert!(
            started.elapsed() < Duration::from_secs(25),
            "it ends when it is told"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_somebody_kills_is_listed_with_its_status_until_it_is_destroyed() {
    let scope = Scope::new("ending-killed");
    let request = scope.request(1, shell("echo last words; trap '' TERM; sleep 1000", &[]));
    let handle = scope.make(&request).await;
    scope.until_printed(&handle, "last words").await;
    scope
        .engine
        .post(&format!("/containers/{handle}/kill?signal=KILL"));
    let report = scope.until_ended(&handle).await;
    assert_eq!(report.code, Some(137));
    assert_eq!(report.message, "last words");
    // And the repeated call starts nothing.
    assert_eq!(scope.make(&request).await, handle);
    assert_eq!(scope.until_ended(&handle).await, report);
    let end = destroying(&request, &handle, Duration::from_secs(10));
    scope.provider.destroy(&end).await.unwrap();
    scope.until_gone(&handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_somebody_removes_is_gone_and_is_not_made_again() {
    let scope = Scope::new("ending-removed");
    let request = scope.request(1, shell(IDLE, &[]));
    let handle = scope.make(&request).await;
    scope
        .engine
        .delete(&format!("/containers/{handle}?force=true"));
    assert_eq!(scope.listed(&handle).await, None);
    let next = scope.reopened();
    let again = next.provision(&request).await.unwrap().made;
    assert!(again.values().eq([&handle]));
    assert_eq!(scope.containers(), Vec::<String>::new());
    let end = destroying(&request, &handle, Duration::ZERO);
    scope.provider.destroy(&end).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_somebody_renames_is_theirs() {
    let scope = Scope::new("ending-renamed");
    let request = scope.request(1, shell(IDLE, &[]));
    let handle = scope.make(&request).await;
    scope.engine.post(&format!(
        "/containers/{handle}/rename?name=drover-test-taken"
    ));
    assert_eq!(scope.listed(&handle).await, None);
    let end = destroying(&request, &handle, Duration::ZERO);
    scope.provider.destroy(&end).await.unwrap();
    assert_eq!(scope.containers(), ["drover-test-taken"], "it still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_machine_every_container_has_ended_and_is_not_started_again() {
    let mut engine = crate::engine::Engine::start();
    let data = tempfile::tempdir().unwrap();
    let scope = Scope::new("ending-reboot");
    let provider = crate::harness::open(&engine, &Grants::default(), data.path(), "local");
    let request = scope.request(1, shell(IDLE, &[]));
    provider.provision(&request).await.unwrap();
    engine.reboot();
    let phase = |listing: drover_model::Listing| listing.instances[0].phase.clone();
    let listing = provider.list(&scope.fleet).await.unwrap();
    let ended = phase(listing);
    assert!(matches!(ended, ProviderPhase::Exited(_)), "{ended:?}");
    // Not even by the repeated call of an agent that has lost its notes.
    let notes = tempfile::tempdir().unwrap();
    let next = crate::harness::open(&engine, &Grants::default(), notes.path(), "local");
    next.provision(&request).await.unwrap();
    let ended = phase(next.list(&scope.fleet).await.unwrap());
    assert!(matches!(ended, ProviderPhase::Exited(_)), "{ended:?}");
}
