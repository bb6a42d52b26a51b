//! What InfraKit is told of instances that were just made: what it is not told of, it makes again.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::Value;
use serde_json::json;

use crate::served_tags::Scope;

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
