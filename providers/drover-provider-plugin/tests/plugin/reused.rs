//! Plugins that name their machines: a handle that is free again is used again.

use std::time::Duration;

use drover_model::{Completeness, ErrorClass, ProviderPhase, ProviderRef};
use drover_provider::{AdoptRequest, ProvisionRequest};
use serde_json::json;

use crate::support::{Scope, destroying, fleet, make, request};
use crate::taking_over::{adopt, seat, tags};

const HANDLE: &str = "vm-m1";

/// What is made next is called as what was made before.
fn asked(number: u64, scope: &Scope) -> ProvisionRequest {
    scope.fake.name_next(HANDLE);
    let mut request = request(number);
    request.slots[0].tags = tags();
    request
}

/// Makes an instance, rolls it, so that the next one has its handle, and hands that one back.
async fn rolled_and_released(scope: &mut Scope, [first, next]: [ProvisionRequest; 2]) {
    let provider = scope.open();
    let instance = make(&provider, &first).await;
    provider
        .destroy(&destroying(&first, &instance))
        .await
        .unwrap();
    assert_eq!(make(&provider, &next).await, instance);
    // Which of the two calls was the later one is known after a restart, too.
    scope.restart();
    let provider = scope.open();
    provider.release(&fleet(), &instance).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_taken_over_again_under_the_handle_of_one_that_was_ended() {
    // Whichever of the tokens is the first in the ledger.
    for numbers in [[1, 2], [2, 1]] {
        let mut scope = Scope::new();
        let both = numbers.map(|number| asked(number, &scope));
        rolled_and_released(&mut scope, both).await;
        let provider = scope.open();
        let survey = provider.survey(&tags()).await.unwrap();
        assert_eq!(survey.completeness, Completeness::Complete);
        let found: Vec<_> = survey.strangers.iter().map(|one| &one.phase).collect();
        assert_eq!(found, [&ProviderPhase::Running], "{numbers:?}");
        provider.adopt(&adopt(HANDLE, 3)).await.unwrap();
        let listed = provider.list(&fleet()).await.unwrap().instances;
        let owners = listed.iter().map(|one| one.ownership.clone().unwrap());
        let names: Vec<String> = owners.map(|owner| owner.instance.to_string()).collect();
        assert_eq!(names, ["web-3"]);
        assert_eq!(listed[0].phase, ProviderPhase::Running);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_taken_over_again_and_no_second_one_is_made_beside_it() {
    for numbers in [[1, 2], [2, 1]] {
        let mut scope = Scope::new();
        let both = numbers.map(|number| {
            let mut request = asked(number, &scope);
            request.slots[0].seat = Some(Box::new(seat("m1", &[])));
            request
        });
        rolled_and_released(&mut scope, both).await;
        let provider = scope.open();
        let survey = provider.survey(&tags()).await.unwrap();
        assert_eq!(survey.completeness, Completeness::Complete);
        let found = survey.strangers.iter();
        let found: Vec<_> = found
            .map(|one| (one.member.as_deref(), &one.phase))
            .collect();
        assert_eq!(
            found,
            [(Some("m1"), &ProviderPhase::Running)],
            "{numbers:?}"
        );
        let taken = AdoptRequest {
            seat: Some(seat("m1", &[]).id),
            ..adopt(HANDLE, 3)
        };
        provider.adopt(&taken).await.unwrap();
        let mut second = request(4);
        second.slots[0].seat = Some(Box::new(seat("m1", &[])));
        let refused = provider.provision(&second).await.unwrap_err();
        assert_eq!(refused.class, ErrorClass::Capacity, "{refused}");
        assert_eq!(scope.fake.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_make_under_an_ended_handle_is_in_doubt_while_a_listing_may_be_behind() {
    let scope = Scope::new();
    let provider = scope.open();
    let first = asked(1, &scope);
    let instance = make(&provider, &first).await;
    provider
        .destroy(&destroying(&first, &instance))
        .await
        .unwrap();
    scope
        .fake
        .add_stranger(HANDLE, json!({"infrakit.group": "workers"}));
    let survey = provider.survey(&tags()).await.unwrap();
    let why = "plugin fake: Instance.DescribeInstances describes vm-m1, whose end it has agreed to";
    let why = why.to_owned();
    assert_eq!(survey.completeness, Completeness::Partial { why });
    scope.clock.advance(Duration::from_secs(31));
    let survey = provider.survey(&tags()).await.unwrap();
    assert_eq!(survey.completeness, Completeness::Complete);
    assert_eq!(survey.strangers[0].phase, ProviderPhase::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_described_yet_is_ended_under_the_handle_of_an_earlier_one() {
    for numbers in [[1, 2], [2, 1]] {
        let scope = Scope::new();
        let provider = scope.open();
        let [first, next] = numbers.map(|number| asked(number, &scope));
        let instance: ProviderRef = make(&provider, &first).await;
        provider
            .destroy(&destroying(&first, &instance))
            .await
            .unwrap();
        scope.fake.set_lag(Duration::from_mins(1));
        make(&provider, &next).await;
        provider
            .destroy(&destroying(&next, &instance))
            .await
            .unwrap();
        assert_eq!(scope.fake.count(), 0, "{numbers:?}");
    }
}

/// Returns the ledger of the scope.
fn ledger(scope: &Scope) -> std::path::PathBuf {
    let data = scope.folder.path().join("data");
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("ledger.jsonl") {
                return path;
            }
        }
    }
    panic!("there is no ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_asked_for_is_kept_and_what_an_earlier_release_has_made_is_not_compared() {
    let mut scope = Scope::new();
    let first = request(1);
    let instance = make(&scope.open(), &first).await;
    let mut other = first.clone();
    let tags = &mut other.slots[0].tags;
    tags.insert("team".to_owned(), "another".to_owned());
    scope.restart();
    let refused = scope.open().provision(&other).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec, "{refused}");
    assert_eq!(make(&scope.open(), &first).await, instance);
    // As an earlier release has written it.
    let path = ledger(&scope);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = vec![json!({"version": 1})];
    for line in text.lines().skip(1) {
        let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(entry["asked"].is_string(), "{line}");
        entry.as_object_mut().unwrap().remove("asked");
        lines.push(entry);
    }
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    scope.restart();
    assert_eq!(make(&scope.open(), &other).await, instance);
    // Nor is it where the ledger was lost: but by its owner.
    std::fs::remove_file(&path).unwrap();
    scope.restart();
    other.epoch.0 += 1;
    let refused = scope.open().provision(&other).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec, "{refused}");
    other.epoch = first.epoch;
    assert_eq!(make(&scope.open(), &other).await, instance);
    assert_eq!(scope.fake.count(), 1);
}
