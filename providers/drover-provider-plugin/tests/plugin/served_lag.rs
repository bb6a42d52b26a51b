//! What InfraKit is told of instances that were just made: what it is not told of, it makes again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use drover_model::Value;
use serde_json::json;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::served_tags::Scope;
use crate::serving::post;

/// A provider whose listings are an hour behind.
fn behind() -> Scope {
    let settings = [("listLag".to_owned(), Value::from("1h"))];
    Scope::over(&settings.into_iter().collect(), None)
}

#[tokio::test]
async fn what_was_just_made_is_described_although_listings_are_behind() {
    let mut scope = behind();
    let group = json!({"infrakit.group": "g1"});
    let mut made = BTreeSet::new();
    for _ in 0..3 {
        made.insert(scope.make(group.clone()).await);
    }
    assert_eq!(made.len(), 3);
    let found = async |scope: &Scope| -> BTreeSet<String> {
        let found = scope.found(group.clone()).await.unwrap();
        found.into_iter().collect()
    };
    assert_eq!(found(&scope).await, made);
    // It is labelled and ended as any other.
    let first = made.pop_first().unwrap();
    let label = json!({"Instance": first, "Labels": {"a": "b"}});
    scope.ask("Label", label).await.unwrap();
    let labelled = scope.found(json!({"a": "b"})).await.unwrap();
    assert_eq!(labelled, [first.as_str()]);
    scope.restart();
    let labelled = scope.found(json!({"a": "b"})).await.unwrap();
    assert_eq!(labelled, [first.as_str()]);
    let end = json!({"Instance": first});
    scope.ask("Destroy", end.clone()).await.unwrap();
    assert_eq!(found(&scope).await, made);
    let again = scope.ask("Destroy", end).await.unwrap_err();
    assert!(again.contains("not found"), "{again}");
    scope.restart();
    assert_eq!(found(&scope).await, made);
}

#[tokio::test]
async fn instances_are_made_beside_each_other() {
    const TOGETHER: usize = 8;
    let scope = Scope::over(&Value::empty_map(), Some(TOGETHER));
    let calls = (0..TOGETHER).map(|_| scope.make(json!({"infrakit.group": "g1"})));
    // One after the other, they would wait for each other for ever.
    let made = futures::future::join_all(calls);
    let made = tokio::time::timeout(Duration::from_secs(20), made).await;
    let made: BTreeSet<String> = made.unwrap().into_iter().collect();
    assert_eq!(made.len(), TOGETHER);
    let found = scope.found(json!({"infrakit.group": "g1"})).await.unwrap();
    assert_eq!(made, found.into_iter().collect());
}

/// A scope in which an instance of the group `g1` is being made, which ends once somebody else is there.
async fn making() -> (Arc<Scope>, tokio::task::JoinHandle<String>) {
    let scope = Arc::new(Scope::over(&Value::empty_map(), Some(2)));
    let making = Arc::clone(&scope);
    let made = tokio::spawn(async move { making.make(json!({"infrakit.group": "g1"})).await });
    while !scope.has_files() {
        tokio::task::yield_now().await;
    }
    (scope, made)
}

#[tokio::test(start_paused = true)]
async fn what_is_being_made_is_in_no_list_that_is_too_short() {
    let (scope, made) = making().await;
    let started = tokio::time::Instant::now();
    // It is in none of these.
    for tags in [
        json!({"infrakit.group": "g2"}),
        json!({"infrakit.group": "g1", "a": "b"}),
    ] {
        assert_eq!(scope.found(tags).await.unwrap(), Vec::<String>::new());
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    for tags in [json!({"infrakit.group": "g1"}), json!({})] {
        let why = scope.found(tags).await.unwrap_err();
        assert!(
            why.contains("1 instance with these tags is being made"),
            "{why}"
        );
    }
    // InfraKit's clients wait for 15 s.
    assert_eq!(started.elapsed(), Duration::from_secs(20));
    scope.arrive().await;
    let made = made.await.unwrap();
    let found = scope.found(json!({"infrakit.group": "g1"})).await.unwrap();
    assert_eq!(found, [made]);
}

#[tokio::test(start_paused = true)]
async fn a_description_waits_for_what_is_about_to_be_there() {
    let (scope, made) = making().await;
    let asking = Arc::clone(&scope);
    let found = tokio::spawn(async move { asking.found(json!({"infrakit.group": "g1"})).await });
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(!found.is_finished());
    scope.arrive().await;
    assert_eq!(found.await.unwrap().unwrap(), [made.await.unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_caller_hangs_up_is_made_and_described() {
    let scope = Scope::over(&Value::empty_map(), Some(2));
    let folder = tempfile::tempdir().unwrap();
    scope.serve(folder.path());
    let spec = json!({"Properties": {"image": "x"}, "Tags": {"infrakit.group": "g1"}});
    let body = json!({"jsonrpc": "2.0", "method": "Instance.Provision", "params": {"Spec": spec}, "id": 1});
    let request = post("/", "application/json", &body.to_string());
    let mut caller = UnixStream::connect(folder.path().join("sim"))
        .await
        .unwrap();
    caller.write_all(request.as_bytes()).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !scope.has_files() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(caller);
    // Long enough for the server to see it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let arrived = tokio::time::timeout(Duration::from_secs(5), scope.arrive()).await;
    assert!(arrived.is_ok(), "nobody makes it any more");
    let found = scope.found(json!({"infrakit.group": "g1"})).await.unwrap();
    assert_eq!(found.len(), 1);
}
