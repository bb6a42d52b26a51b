use std::sync::Mutex;

use drover_model::{ProviderPhase, Value};
use drover_provider::Provider;
use serde_json::json;

use super::*;
use crate::listing::tests::container;
use crate::testing::{FakeEngine, Scripted, SetClock, fleet, map, request, version};

/// An engine with one container that was never started. It answers a start with a status, after a time.
fn engine(start: &Arc<Mutex<u16>>, after: Duration) -> FakeEngine {
    let start = Arc::clone(start);
    let answer = move |asked: &str| answer(asked, *start.lock().unwrap());
    FakeEngine::slow(answer, move |asked| {
        if asked.ends_with("/start") {
            after
        } else {
            Duration::ZERO
        }
    })
}

fn answer(asked: &str, start: u16) -> Scripted {
    match asked {
        "GET /version" => Some(version("1.44")),
        asked if asked.contains("/containers/json") => {
            Some((200, json!([container(1, "created", "")]).to_string()))
        }
        asked if asked.ends_with("/start") => Some((start, String::new())),
        asked if asked.ends_with("/json") => {
            let state = json!({"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"});
            Some((200, json!({"Id": "id-1", "State": state}).to_string()))
        }
        _ => None,
    }
}

fn properties() -> Value {
    map(&[("image", "a".into())])
}

async fn list(provider: &Arc<dyn Provider>) {
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances[0].phase, ProviderPhase::Pending);
}

/// What the engine was asked to do so far.
fn orders(fake: &FakeEngine) -> Vec<String> {
    let mut asked = fake.asked();
    asked.retain(|asked| !asked.starts_with("GET"));
    asked
}

/// Lists until the engine was asked to do so many things.
async fn list_until(fake: &FakeEngine, provider: &Arc<dyn Provider>, count: usize) {
    let begun = std::time::Instant::now();
    while orders(fake).len() < count {
        assert!(begun.elapsed() < Duration::from_mins(1), "waited in vain");
        list(provider).await;
    }
}

/// The order to start it: by the name that it was made with, which is another one once it is to end.
fn start_order() -> String {
    let token = request(properties()).token;
    format!("POST /v1.44/containers/web-1.{token}/start")
}

#[tokio::test]
async fn what_waits_is_started_after_a_minute_and_a_refusal_removes_nothing() {
    let fake = engine(&Arc::new(Mutex::new(500)), Duration::ZERO);
    let clock = SetClock::start();
    let provider = fake.provider_by(&clock, true);
    list(&provider).await;
    clock.pass(WAITS.saturating_sub(Duration::from_secs(1)));
    list(&provider).await;
    clock.pass(Duration::from_secs(1));
    list_until(&fake, &provider, 1).await;
    // Not at each listing.
    for _ in 0..10 {
        list(&provider).await;
    }
    assert_eq!(orders(&fake), [start_order()]);
    clock.pass(WAITS);
    list_until(&fake, &provider, 2).await;
    assert_eq!(orders(&fake), [start_order(), start_order()]);
}

#[tokio::test]
async fn nothing_is_started_for_who_does_not_act() {
    let fake = engine(&Arc::new(Mutex::new(204)), Duration::ZERO);
    let clock = SetClock::start();
    let provider = fake.provider_by(&clock, false);
    for _ in 0..10 {
        clock.pass(WAITS);
        list(&provider).await;
    }
    assert_eq!(orders(&fake), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_call_is_about_to_start_is_left_to_it() {
    let fake = engine(&Arc::new(Mutex::new(204)), Duration::from_secs(2));
    let clock = SetClock::start();
    let provider = fake.provider_by(&clock, true);
    list(&provider).await;
    let call = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.provision(&request(properties())).await }
    });
    list_until(&fake, &provider, 1).await;
    clock.pass(WAITS);
    for _ in 0..10 {
        list(&provider).await;
    }
    call.await.unwrap().unwrap();
    assert_eq!(orders(&fake).len(), 1, "{:?}", orders(&fake));
}
