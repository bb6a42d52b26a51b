use std::collections::BTreeMap;
use std::sync::Arc;

use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::agent::metrics::tests::status;
use crate::agent::notices::events::{Involved, Severity};
use crate::plugins::PluginStates;

const SECRET: &str = "s3cret";

fn event(reason: &str) -> Event {
    event_of("web", reason)
}

pub(super) fn event_of(group: &str, reason: &str) -> Event {
    Event {
        involved_object: Involved {
            api_version: "drover/v1alpha1",
            kind: "Group",
            namespace: "prod".to_owned(),
            name: group.to_owned(),
        },
        severity: Severity::Error,
        timestamp: "2026-01-05T10:00:00Z".to_owned(),
        message: "it stands".to_owned(),
        reason: reason.to_owned(),
        metadata: BTreeMap::new(),
        reporting_controller: "drover",
        reporting_instance: "edge-1".to_owned(),
    }
}

/// A receiver, and the sender for it.
async fn receiver(folder: &Path) -> (MockServer, Sender) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = MockServer::start().await;
    let (url, secret) = (folder.join("url"), folder.join("secret"));
    std::fs::write(&url, format!("{}/hook/t0ken\n", server.uri())).unwrap();
    std::fs::write(&secret, SECRET).unwrap();
    let sender = Sender::new(&NotifyConfig {
        address: NotifyAddress::File(url),
        secret_file: Some(secret),
        ca_file: None,
        errors_only: false,
    });
    (server, sender.unwrap())
}

fn counts(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render().unwrap();
    let lines = text
        .lines()
        .filter(|line| line.contains("notifications_total{"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn events_are_signed_posted_in_order_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (server, sender) = receiver(folder.path()).await;
    let hook = || Mock::given(method("POST")).and(path("/hook/t0ken"));
    // A receiver that is restarting, and one that wants to be left alone for a second.
    let (broken, busy) = (ResponseTemplate::new(502), ResponseTemplate::new(429));
    hook()
        .respond_with(broken)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let busy = busy.insert_header("retry-after", "1");
    hook()
        .respond_with(busy)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    hook()
        .and(header("gotk-component", "drover"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let (_keep, states) = tokio::sync::watch::channel(status(&[]));
    let metrics = Metrics::new(states, PluginStates::default());
    let (queue, waiting) = mpsc::channel(10);
    for reason in ["First", "Second"] {
        queue.send(event(reason)).await.unwrap();
    }
    drop(queue);
    sender.run(waiting, metrics.clone()).await;
    let requests = server.received_requests().await.unwrap();
    let reasons = requests.iter().map(|request: &Request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signed = request.headers.get("x-signature").unwrap();
        assert_eq!(signed.to_str().unwrap(), signature(&key, &request.body));
        body["reason"].as_str().unwrap().to_owned()
    });
    let reasons: Vec<String> = reasons.collect();
    assert_eq!(reasons, ["First", "First", "First", "Second"]);
    assert_eq!(
        counts(&metrics),
        ["drover_notifications_total{result=\"sent\"} 2"]
    );
}

#[tokio::test]
async fn an_event_that_the_receiver_chokes_on_holds_up_only_those_of_its_object() {
    let folder = tempfile::tempdir().unwrap();
    let (server, sender) = receiver(folder.path()).await;
    Mock::given(body_json(serde_json::to_value(event("First")).unwrap()))
        .respond_with(ResponseTemplate::new(500))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    let (_keep, states) = tokio::sync::watch::channel(status(&[]));
    let metrics = Metrics::new(states, PluginStates::default());
    let (queue, waiting) = mpsc::channel(10);
    let all = ["First", "FirstEnded"].map(event);
    let others = ["QuorumAtRisk", "QuorumAtRiskEnded"].map(|reason| event_of("db", reason));
    for event in all.into_iter().chain(others) {
        queue.send(event).await.unwrap();
    }
    let sending = tokio::spawn(sender.run(waiting, metrics.clone()));
    let heard = || async {
        let requests = server.received_requests().await.unwrap();
        let reason = |request: &Request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            body["reason"].as_str().unwrap().to_owned()
        };
        requests.iter().map(reason).collect::<Vec<_>>()
    };
    let told = async {
        // Tried again at least once, with the others told meanwhile.
        while heard().await.len() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), told)
        .await
        .unwrap();
    sending.abort();
    let heard = heard().await;
    assert_eq!(
        heard[..4],
        ["First", "QuorumAtRisk", "QuorumAtRiskEnded", "First"]
    );
}

#[tokio::test]
async fn a_refusal_is_final_and_says_nothing_of_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let (server, sender) = receiver(folder.path()).await;
    let body = serde_json::to_value(event("First")).unwrap();
    Mock::given(body_json(body))
        .respond_with(ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"))
        .expect(1)
        .mount(&server)
        .await;
    let refusal = sender.post(&event("First")).await.unwrap_err();
    assert_eq!(refusal.why, "the receiver answers with status 302");
    assert_eq!(refusal.again, None);
    std::fs::write(folder.path().join("url"), "http://127.0.0.1:1/t0ken").unwrap();
    let refusal = sender.post(&event("Second")).await.unwrap_err();
    assert!(refusal.again.is_some());
    assert!(!refusal.why.contains("t0ken"), "{}", refusal.why);
    // What the files say is read for each event.
    std::fs::write(folder.path().join("url"), "http://example.com/hook").unwrap();
    let refusal = sender.post(&event("Third")).await.unwrap_err();
    assert_eq!(
        refusal.why,
        "the address to notify must begin with https://"
    );
}

#[test]
fn a_mistake_is_told_at_the_start() {
    let config = |text: &str| NotifyConfig {
        address: NotifyAddress::Known(text.to_owned()),
        secret_file: None,
        ca_file: None,
        errors_only: false,
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert!(Sender::new(&config("hooks.example.com")).is_err());
    let text = format!("{:?}", Arc::new(config("https://hooks.example.com/t0ken")));
    assert!(!text.contains("t0ken"), "{text}");
}
