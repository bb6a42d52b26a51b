use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drover_model::Value;
use serde_json::json;

use super::*;
use crate::testing::{FakeEngine, Scripted, map, request_of, version};

/// What takes longer than any test.
const NEVER: Duration = Duration::from_hours(1);

fn of_image(number: u64, image: &str) -> drover_provider::ProvisionRequest {
    let command = crate::testing::strings(&["serve"]);
    request_of(
        number,
        map(&[("image", Value::from(image)), ("command", command)]),
    )
}

/// An engine that has no image until it was pulled, and pulls those of `dead.example` for so long and in vain.
fn engine(dead: Duration) -> FakeEngine {
    let answer = |asked: &str| -> Scripted {
        match asked {
            "GET /version" => Some(version("1.44")),
            asked if asked.contains("/images/create") && asked.contains("dead.example") => {
                Some((500, r#"{"message": "no route to host"}"#.to_owned()))
            }
            asked if asked.contains("/images/create") => Some((200, String::new())),
            asked if asked.contains("/images/") => Some((404, String::new())),
            asked if asked.contains("/containers/json") => Some((200, "[]".to_owned())),
            asked if asked.contains("/containers/create") => {
                Some((201, json!({"Id": "made"}).to_string()))
            }
            _ => Some((204, String::new())),
        }
    };
    FakeEngine::slow(answer, move |asked| {
        let of_dead = asked.contains("/images/create") && asked.contains("dead.example");
        if of_dead { dead } else { Duration::ZERO }
    })
}

fn pulls(engine: &FakeEngine, image: &str) -> usize {
    let asked = engine.asked();
    let of_image = |line: &&String| line.contains("/images/create") && line.contains(image);
    asked.iter().filter(of_image).count()
}

#[tokio::test]
async fn an_image_that_does_not_come_keeps_no_other_one_waiting() {
    let engine = engine(NEVER);
    let provider = engine.provider();
    let hanging = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.provision(&of_image(1, "dead.example/web:1")).await }
    });
    while pulls(&engine, "dead.example") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for image in ["good.example/web:1", "other.example/web:1"] {
        let call = of_image(2, image);
        let made = tokio::time::timeout(Duration::from_secs(30), provider.provision(&call));
        // Pulled and asked for again: this engine never has it.
        let error = made.await.expect("nobody waits").unwrap_err();
        assert!(
            error.message.contains("was pulled and is not there"),
            "{error}"
        );
        assert_eq!(pulls(&engine, image.split('/').next().unwrap()), 1);
    }
    assert!(!hanging.is_finished());
}

#[tokio::test]
async fn who_waits_for_a_pull_that_fails_fails_with_it() {
    for pull in ["missing", "always"] {
        let engine = engine(Duration::from_millis(300));
        let provider = engine.provider();
        let calls = (1..=5).map(|number| {
            let mut call = of_image(number, "dead.example/web:1");
            if let Value::Map(fields) = &mut call.properties {
                fields.insert("pull".to_owned(), Value::from(pull));
            }
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { provider.provision(&call).await })
        });
        for call in calls.collect::<Vec<_>>() {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!(error.class, ErrorClass::Partial);
            assert!(error.message.contains("no route to host"), "{error}");
        }
        assert_eq!(pulls(&engine, "dead.example"), 1, "{pull}");
    }
}

/// Pulls that end when they are told to.
#[derive(Debug, Default)]
struct Held {
    pulls: Pulls,
    begun: AtomicUsize,
    go: tokio::sync::Notify,
}

impl Held {
    async fn pull(&self, image: &str, registry: &str) -> Pulled {
        let held = async {
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.go.notified().await;
            Ok(())
        };
        self.pulls.once(image, registry, held).await
    }

    fn begin(this: &Arc<Self>, image: &str, registry: &str) -> tokio::task::JoinHandle<Pulled> {
        let (this, image, registry) = (Arc::clone(this), image.to_owned(), registry.to_owned());
        tokio::spawn(async move { this.pull(&image, &registry).await })
    }

    async fn settled(&self) -> usize {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.begun.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_few_are_pulled_at_once_from_one_registry_and_others_do_not_wait_for_them() {
    let held = Arc::<Held>::default();
    let images: Vec<String> = (0..9).map(|number| format!("a.example/{number}")).collect();
    let first: Vec<_> = images
        .iter()
        .map(|image| Held::begin(&held, image, "a.example"))
        .collect();
    assert_eq!(held.settled().await, PER_REGISTRY_MAX);
    let other = Held::begin(&held, "b.example/1", "b.example");
    assert_eq!(held.settled().await, PER_REGISTRY_MAX + 1);
    held.go.notify_one();
    assert_eq!(held.settled().await, PER_REGISTRY_MAX + 2);
    for _ in 0..9 {
        held.go.notify_one();
        held.settled().await;
    }
    for pull in first.into_iter().chain([other]) {
        assert_eq!(pull.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn one_that_is_cut_short_is_told_to_who_waits_and_begun_by_the_next() {
    let held = Arc::<Held>::default();
    let first = Held::begin(&held, "a.example/1", "a.example");
    assert_eq!(held.settled().await, 1);
    let second = Held::begin(&held, "a.example/1", "a.example");
    assert_eq!(held.settled().await, 1, "it waits for the first");
    first.abort();
    let error = second.await.unwrap().unwrap_err();
    assert_eq!(error.class, ErrorClass::Partial);
    let third = Held::begin(&held, "a.example/1", "a.example");
    assert_eq!(held.settled().await, 2);
    held.go.notify_one();
    assert_eq!(third.await.unwrap(), Ok(()));
    assert_eq!(held.pulls.earlier("a.example/1").await, Ok(()));
}
