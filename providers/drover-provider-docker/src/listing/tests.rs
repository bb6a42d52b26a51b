use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drover_model::{Digests, ExitReport, InstanceId, Ownership};
use drover_provider::fingerprint;
use serde_json::json;

use super::*;
use crate::names::Name;
use crate::testing::{FakeEngine, fleet, map, request, version};

#[test]
fn the_words_of_both_engines_are_known_and_no_others_are_guessed() {
    let words = [
        ("created", Word::Created),
        ("configured", Word::Created),
        ("initialized", Word::Created),
        ("running", Word::Running),
        ("stopping", Word::Stopping),
        ("removing", Word::Stopping),
        ("exited", Word::Ended),
        ("stopped", Word::Ended),
        ("dead", Word::Ended),
        ("paused", Word::Other),
        ("restarting", Word::Other),
        ("improper", Word::Other),
        ("", Word::Other),
    ];
    for (text, word) in words {
        assert_eq!(Word::read(text), word, "{text}");
    }
}

/// A container of the fleet as an engine lists it.
pub(crate) fn container(number: u64, state: &str, suffix: &str) -> serde_json::Value {
    let request = request(map(&[("image", "a".into())]));
    let instance = InstanceId::new(request.group.clone(), number);
    let owner = Ownership {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        instance: instance.clone(),
        digests: request.digests.clone(),
        token: request.token.clone(),
        epoch: request.epoch,
        seat: None,
    };
    let provider = "local".parse().unwrap();
    let mut labels = labels::of(&owner, &provider, &fingerprint(&request));
    labels.insert(labels::NETWORKS.to_owned(), "b,a".to_owned());
    json!({
        "Id": format!("id-{number}"),
        "Names": [format!("/{}{suffix}", Name::new(&instance, &request.token))],
        "Labels": labels, "State": state, "Created": 1_796_022_042,
        "NetworkSettings": {"Networks": {
            "a": {"IPAddress": "10.0.0.1"}, "b": {"IPAddress": "10.0.0.2"}, "c": null,
        }},
    })
}

/// What the engine has: containers 1 to 8 of the fleet, and some that are not its own.
fn mixed() -> serde_json::Value {
    let changed = |number, field: &str, value: serde_json::Value| {
        let mut container = container(number, "running", "");
        *container.pointer_mut(field).unwrap() = value;
        container
    };
    json!([
        container(1, "running", ""),
        container(2, "created", ""),
        container(3, "paused", ""),
        container(4, "stopping", ""),
        container(5, "running", ".ending.4102444800"),
        container(6, "running", ".released"),
        container(7, "exited", ""),
        container(8, "exited", ""),
        changed(20, "/Labels/drover.provider", json!("other")),
        changed(21, "/Labels", json!(null)),
        changed(22, "/Labels/drover.fleet", json!("other")),
        changed(23, "/Names", json!(["/web-23.somebody", "/x/y"])),
        changed(24, "/Labels/drover.instance", json!("web-25")),
    ])
}

#[tokio::test]
async fn every_container_of_the_scope_is_listed_at_its_stage_and_no_other() {
    let inspections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&inspections);
    let fake = FakeEngine::start(move |asked| match asked {
        "GET /version" => Some(version("1.44")),
        asked if asked.contains("/containers/json") => Some((200, mixed().to_string())),
        asked if asked.ends_with("/containers/id-7/json") => {
            counted.fetch_add(1, Ordering::Relaxed);
            let state = json!({"Status": "exited", "ExitCode": 3, "OOMKilled": true});
            Some((200, json!({"Id": "id-7", "State": state}).to_string()))
        }
        asked if asked.contains("/containers/id-8/json") => Some((404, String::new())),
        asked if asked.contains("/logs") => Some((501, "this driver cannot be read".to_owned())),
        // What is being ended is asked to stop, and takes its time.
        _ => None,
    });
    let provider = fake.provider();
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.completeness, Completeness::Complete);
    let report = ExitReport {
        code: Some(3),
        signal: None,
        message: "out of memory".to_owned(),
    };
    let expected = [
        (1, ProviderPhase::Running),
        (2, ProviderPhase::Pending),
        (3, ProviderPhase::Unknown),
        (4, ProviderPhase::Stopping),
        (5, ProviderPhase::Stopping),
        (7, ProviderPhase::Exited(report)),
    ];
    let (misled, listed): (Vec<_>, Vec<_>) = listing
        .instances
        .into_iter()
        .partition(|listed| listed.ownership.is_none());
    let phases = listed.iter().map(|listed| {
        let owner = listed.ownership.as_ref().unwrap();
        (owner.instance.number(), listed.phase.clone())
    });
    assert_eq!(phases.collect::<Vec<_>>(), expected);
    assert_eq!(
        misled.len(),
        1,
        "whose name and labels disagree is nobody's: {misled:?}"
    );
    let digests: &Digests = &listed[0].ownership.as_ref().unwrap().digests;
    assert_eq!(*digests, request(map(&[("image", "a".into())])).digests);
    assert_eq!(
        listed[0].address.as_deref(),
        Some("10.0.0.2"),
        "that in the first network"
    );
    let created = listed[0].created_at.unwrap();
    assert_eq!(created.as_second(), 1_796_022_042);

    provider.list(&fleet()).await.unwrap();
    assert_eq!(
        inspections.load(Ordering::Relaxed),
        1,
        "how it ended is asked once"
    );
}

#[tokio::test]
async fn an_end_whose_cause_cannot_be_asked_is_unknown_and_not_a_failure() {
    let listed = json!([container(7, "exited", "")]);
    let fake = FakeEngine::start(move |asked| match asked {
        "GET /version" => Some(version("1.44")),
        asked if asked.contains("/containers/json") => Some((200, listed.to_string())),
        _ => Some((500, String::new())),
    });
    let listing = fake.provider().list(&fleet()).await.unwrap();
    assert_eq!(listing.instances[0].phase, ProviderPhase::Unknown);
}

/// Returns the phases of a listing, in the order of the instances.
fn phases(listing: &Listing) -> Vec<ProviderPhase> {
    let phases = listing.instances.iter().map(|listed| listed.phase.clone());
    phases.collect()
}

fn exited(code: i32) -> ProviderPhase {
    ProviderPhase::Exited(ExitReport {
        code: Some(code),
        ..ExitReport::default()
    })
}

#[tokio::test]
async fn one_container_that_the_engine_is_slow_to_look_at_keeps_no_listing_waiting() {
    let listed = json!([
        container(1, "running", ""),
        container(7, "exited", ""),
        container(8, "exited", ""),
        container(9, "exited", ""),
    ]);
    let answer = move |asked: &str| match asked {
        "GET /version" => Some(version("1.44")),
        asked if asked.contains("/containers/json") => Some((200, listed.to_string())),
        asked if asked.contains("/logs") => Some((200, String::new())),
        _ => {
            let state = json!({"Status": "exited", "ExitCode": 3});
            Some((200, json!({"Id": "it", "State": state}).to_string()))
        }
    };
    // Longer than a listing waits, and each of the others for half of that.
    let fake = FakeEngine::slow(answer, |asked| match asked {
        asked if asked.contains("/id-7/json") => Duration::from_secs(8),
        asked if asked.ends_with("/json") && asked.contains("/id-") => Duration::from_secs(3),
        _ => Duration::ZERO,
    });
    let provider = fake.provider();
    let (running, unknown) = (ProviderPhase::Running, ProviderPhase::Unknown);
    let first = provider.list(&fleet()).await.unwrap();
    assert_eq!(
        phases(&first),
        [running.clone(), unknown, exited(3), exited(3)]
    );
    // The question goes on, and is asked once.
    let all = [running, exited(3), exited(3), exited(3)];
    let begun = std::time::Instant::now();
    while phases(&provider.list(&fleet()).await.unwrap()) != all {
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
    let asked = fake.asked();
    let looks = asked.iter().filter(|asked| asked.contains("/id-7/json"));
    assert_eq!(looks.count(), 1);
}

#[tokio::test]
async fn what_ran_before_a_restart_of_the_machine_has_ended_though_it_counts_as_created() {
    let listed = json!([container(1, "created", ""), container(2, "created", "")]);
    let fake = FakeEngine::start(move |asked| match asked {
        "GET /version" => Some(version("1.44")),
        asked if asked.contains("/containers/json") => Some((200, listed.to_string())),
        asked if asked.contains("/logs") => Some((200, String::new())),
        asked => {
            let started = if asked.contains("/id-1/") {
                "2026-01-05T12:00:00.5Z"
            } else {
                "0001-01-01T00:00:00Z"
            };
            // Which was not how it ended.
            let state = json!({"Status": "created", "ExitCode": 0, "StartedAt": started});
            Some((200, json!({"Id": "it", "State": state}).to_string()))
        }
    });
    let listing = fake.provider().list(&fleet()).await.unwrap();
    let forgotten = ExitReport {
        message: "with the machine or its engine".to_owned(),
        ..ExitReport::default()
    };
    let expected = [ProviderPhase::Exited(forgotten), ProviderPhase::Pending];
    assert_eq!(phases(&listing), expected);
}
