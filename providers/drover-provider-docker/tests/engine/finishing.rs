//! Containers that were made and never started, by an agent that has lost its data folder since.

use std::time::Duration;

use drover_model::ProviderPhase;
use drover_provider_docker::Grants;

use crate::harness::{IDLE, Scope, SetClock, destroying, engine, shell, strings};

const MINUTE: Duration = Duration::from_mins(1);

fn is_running(phase: Option<&ProviderPhase>) -> bool {
    phase == Some(&ProviderPhase::Running)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_comes_back_for_is_started_once_and_only_once() {
    let mut scope = Scope::new("finishing-lost");
    let request = scope.request(1, shell(IDLE, &[]));
    let handle = scope.half_made(&request).await;
    let clock = SetClock::start();
    scope.lose_data(&clock);
    for _ in 0..3 {
        let listed = scope.listed(&handle).await.unwrap();
        assert_eq!(listed.phase, ProviderPhase::Pending, "it may be repeated");
    }
    clock.pass(MINUTE);
    scope.until(&handle, is_running).await;
    assert_eq!(scope.containers(), [handle.as_str()]);

    // What has run once is not started again, and its token makes nothing more.
    let ended = format!("/containers/{handle}/stop?t=0");
    scope.engine.post(&ended);
    for _ in 0..3 {
        clock.pass(MINUTE);
        scope.until_ended(&handle).await;
    }
    scope
        .engine
        .delete(&format!("/containers/{handle}?force=true"));
    scope.make(&request).await;
    assert_eq!(scope.containers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_put_into_the_networks_that_it_lacks() {
    let names = ["drover-test-three", "drover-test-four"];
    let engine = engine();
    for name in names {
        let body = format!("{{\"Name\": \"{name}\"}}");
        let made = engine.call(
            "POST",
            "/networks/create",
            "application/json",
            body.as_bytes(),
        );
        assert_eq!(made.0, 201, "{}", made.1);
    }
    let grants = Grants {
        networks: names.map(str::to_owned).to_vec(),
        ..Grants::default()
    };
    let mut scope = Scope::granted("finishing-networks", grants);
    let both = [("networks", strings(&names))];
    let handle = scope.half_made(&scope.request(1, shell(IDLE, &both))).await;
    let clock = SetClock::start();
    scope.lose_data(&clock);
    scope.listed(&handle).await.unwrap();
    clock.pass(MINUTE);
    scope.until(&handle, is_running).await;
    let made = scope.engine.inspect(handle.as_str()).unwrap();
    let networks = &made["NetworkSettings"]["Networks"];
    for name in names {
        assert!(networks[name].is_object(), "{networks}");
    }
    drop(scope);
    for name in names {
        engine.delete(&format!("/networks/{name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_end_or_is_let_go_is_not_started() {
    let mut scope = Scope::new("finishing-ended");
    let requests = [1, 2, 3].map(|number| scope.request(number, shell(IDLE, &[])));
    let ended = scope.half_made(&requests[0]).await;
    let released = scope.half_made(&requests[1]).await;
    let renamed = scope.half_made(&requests[2]).await;
    let clock = SetClock::start();
    scope.lose_data(&clock);
    for handle in [&ended, &released, &renamed] {
        scope.listed(handle).await.unwrap();
    }
    let end = destroying(&requests[0], &ended, Duration::ZERO);
    scope.provider.destroy(&end).await.unwrap();
    let release = scope.provider.release(&scope.fleet, &released);
    release.await.unwrap();
    // By a person.
    let path = format!("/containers/{renamed}/rename?name=kept-by-me");
    scope.engine.post(&path);
    for _ in 0..3 {
        clock.pass(MINUTE);
        scope.provider.list(&scope.fleet).await.unwrap();
    }
    scope.until_gone(&ended).await;
    for name in [format!("{released}.released"), "kept-by-me".to_owned()] {
        let there = scope.engine.inspect(&name).unwrap();
        let started = there["State"]["StartedAt"].as_str().unwrap();
        assert!(started.starts_with("0001-"), "{name}: {started}");
    }
}
