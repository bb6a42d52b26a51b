use axum::body::Body;
use axum::http::HeaderValue;
use drover_loop::AgentStatus;
use futures::FutureExt as _;
use tokio::sync::watch;

use super::limit::{BURST, PER_SECOND};
use super::*;
use crate::plugins::PluginStates;

#[path = "../../../examples/webhook-bodies/calls.rs"]
mod calls;

const SECRET: &[u8] = b"It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
/// The example of GitHub's documentation, "Validating webhook deliveries", for the two above.
const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn signed(kind: WebhookKind, pairs: &[(&'static str, &str)]) -> bool {
    is_signed(kind, SECRET, &headers(pairs), BODY)
}

#[test]
fn each_kind_takes_the_published_signature_in_its_own_header() {
    let prefixed = format!("sha256={SIGNATURE}");
    let upper = format!("sha256={}", SIGNATURE.to_uppercase());
    let secret = std::str::from_utf8(SECRET).unwrap();
    for (kind, name, value) in [
        (
            WebhookKind::GitHub,
            "x-hub-signature-256",
            prefixed.as_str(),
        ),
        (WebhookKind::GitHub, "x-hub-signature-256", upper.as_str()),
        (WebhookKind::Gitea, "x-gitea-signature", SIGNATURE),
        (WebhookKind::Generic, "x-signature-256", prefixed.as_str()),
        (WebhookKind::GitLab, "x-gitlab-token", secret),
    ] {
        assert!(signed(kind, &[(name, value)]), "{kind:?}");
        assert!(!signed(kind, &[]), "{kind:?} without its header");
        assert!(!signed(kind, &[(name, "")]), "{kind:?} with an empty one");
        let twice = [(name, value), (name, value)];
        assert!(!signed(kind, &twice), "{kind:?} with its header twice");
        let longer = format!("{value}0");
        assert!(!signed(kind, &[(name, &longer)]), "{kind:?}, longer");
        let shorter = &value[..value.len() - 1];
        assert!(!signed(kind, &[(name, shorter)]), "{kind:?}, shorter");
    }
}

#[test]
fn a_signature_counts_for_its_bytes_and_its_secret_and_in_its_form_only() {
    let value = format!("sha256={SIGNATURE}");
    let given = headers(&[("x-hub-signature-256", &value)]);
    let github = WebhookKind::GitHub;
    assert!(!is_signed(github, SECRET, &given, b"Hello, World! "));
    assert!(!is_signed(github, b"another secret", &given, BODY));
    for wrong in [
        SIGNATURE.to_owned(),
        format!("sha1={SIGNATURE}"),
        format!("sha256= {SIGNATURE}"),
        format!("sha256=g{}", &SIGNATURE[1..]),
        format!("sha256={}", "0".repeat(64)),
    ] {
        assert!(
            !signed(github, &[("x-hub-signature-256", &wrong)]),
            "{wrong}"
        );
    }
    // The older, weaker header of the same host does not count.
    assert!(!signed(github, &[("x-hub-signature", &value)]));
    assert!(!signed(
        WebhookKind::Gitea,
        &[("x-gitea-signature", &value)]
    ));
}

#[test]
fn changed_calls_count_for_nothing() {
    let judged: Vec<bool> = (0..5_000)
        .map(|number| calls::judge(7, number).unwrap())
        .collect();
    let counted = judged.iter().filter(|counts| **counts).count();
    assert!((1_000..3_000).contains(&counted), "{counted} count");
}

#[test]
fn a_limit_lets_a_burst_through_and_then_its_rate() {
    let limit = Limit::default();
    let start = Instant::now();
    let taken = (0..BURST * 3).filter(|_| limit.take(start)).count();
    assert_eq!(taken, BURST as usize);
    let later = start + Duration::from_secs(1);
    let taken = (0..BURST * 3).filter(|_| limit.take(later)).count();
    assert_eq!(taken, PER_SECOND as usize);
    assert!(
        !limit.take(start),
        "a clock that seems to go back gives nothing"
    );
    let much_later = start + Duration::from_hours(1);
    let taken = (0..BURST * 3).filter(|_| limit.take(much_later)).count();
    assert_eq!(taken, BURST as usize, "no more than a burst is saved up");
}

#[tokio::test]
async fn a_secret_is_what_its_file_has_without_line_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    assert!(secret(&path).await.is_err(), "there is no file");
    std::fs::write(&path, " a\nb \r\n\n").unwrap();
    assert_eq!(secret(&path).await.unwrap(), b" a\nb ");
    for bad in [String::new(), "\n".to_owned(), "x".repeat(5000)] {
        std::fs::write(&path, &bad).unwrap();
        let error = secret(&path).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
}

struct Receiver {
    webhooks: Webhooks,
    folder: tempfile::TempDir,
}

impl Receiver {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, SECRET).unwrap();
        let config = WebhookConfig {
            id: "gh-1".to_owned(),
            kind: WebhookKind::GitHub,
            secret_file,
        };
        let status = super::super::metrics::tests::status(&[]);
        let (_, states) = watch::channel::<Arc<AgentStatus>>(status);
        let metrics = Metrics::new(states, PluginStates::default());
        let webhooks = Webhooks::new(&[config], Arc::default(), metrics).unwrap();
        Self { webhooks, folder }
    }

    async fn post(&self, id: &str, signature: &str, body: Body) -> Verdict {
        let request = Request::post(format!("/hook/{id}"))
            .header("x-hub-signature-256", format!("sha256={signature}"));
        let request = request.body(body).unwrap();
        self.webhooks.judge(request).await
    }
}

#[tokio::test]
async fn a_request_is_judged_by_its_signature_alone() {
    let receiver = Receiver::new();
    let body = || Body::from(BODY);
    let forged = "0".repeat(64);
    assert_eq!(
        receiver.post("gh-1", SIGNATURE, body()).await,
        Verdict::Accepted
    );
    assert_eq!(
        receiver.post("gh-1", &forged, body()).await,
        Verdict::Refused
    );
    assert_eq!(
        receiver.post("gh-2", SIGNATURE, body()).await,
        Verdict::Unknown
    );
    assert_eq!(
        receiver.post("gh-2", &forged, body()).await,
        Verdict::Unknown
    );
    // A stream: its length is not announced.
    let chunk = Ok::<_, std::io::Error>(vec![b'x'; BODY_BYTES_MAX / 2 + 1]);
    let chunks = futures::stream::iter([chunk, Ok(vec![b'x'; BODY_BYTES_MAX / 2])]);
    let large = Body::from_stream(chunks);
    assert_eq!(
        receiver.post("gh-1", SIGNATURE, large).await,
        Verdict::TooLarge
    );
    let broken = futures::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("gone"))]);
    let broken = Body::from_stream(broken);
    assert_eq!(
        receiver.post("gh-1", SIGNATURE, broken).await,
        Verdict::Incomplete
    );
}

#[tokio::test]
async fn a_secret_that_changes_counts_from_the_next_request() {
    let receiver = Receiver::new();
    let body = || Body::from(BODY);
    let file = receiver.folder.path().join("secret");
    std::fs::write(&file, "rotated\n").unwrap();
    assert_eq!(
        receiver.post("gh-1", SIGNATURE, body()).await,
        Verdict::Refused
    );
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        receiver.post("gh-1", SIGNATURE, body()).await,
        Verdict::NoSecret
    );
    // Nobody learns from the outside which webhooks there are because a secret is gone.
    assert_eq!(
        receiver.post("gh-2", SIGNATURE, body()).await,
        Verdict::Unknown
    );
    std::fs::write(&file, SECRET).unwrap();
    assert_eq!(
        receiver.post("gh-1", SIGNATURE, body()).await,
        Verdict::Accepted
    );
}

#[tokio::test]
async fn a_flood_for_webhooks_that_do_not_exist_takes_nothing_from_those_that_do() {
    let receiver = Receiver::new();
    let mut limited = 0;
    for number in 0..BURST * 5 {
        let verdict = receiver
            .post(&format!("x{number}"), "", Body::empty())
            .await;
        limited += u32::from(verdict == Verdict::Limited);
    }
    assert!(limited > BURST, "{limited}");
    let verdict = receiver.post("gh-1", SIGNATURE, Body::from(BODY)).await;
    assert_eq!(verdict, Verdict::Accepted);
}

#[tokio::test]
async fn a_hint_follows_an_accepted_request_and_no_other() {
    let receiver = Receiver::new();
    let hint = receiver.webhooks.hint.clone();
    let webhooks = Arc::new(receiver.webhooks);
    let forged = "0".repeat(64);
    for (id, signature, is_hint) in [
        ("gh-1", forged.as_str(), false),
        ("gh-2", SIGNATURE, false),
        ("gh-1", SIGNATURE, true),
    ] {
        let request = Request::post(format!("/hook/{id}"))
            .header("x-hub-signature-256", format!("sha256={signature}"));
        let request = request.body(Body::from(BODY)).unwrap();
        receive(State(webhooks.clone()), request).await;
        let hinted = hint.notified().now_or_never().is_some();
        assert_eq!(hinted, is_hint, "{id} {signature}");
    }
    let text = webhooks.metrics.render().unwrap();
    for line in [
        "drover_webhook_total{result=\"accepted\"} 1",
        "drover_webhook_total{result=\"refused\"} 1",
        "drover_webhook_total{result=\"unknown\"} 1",
        "drover_webhook_total{result=\"no-secret\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing from\n{text}");
    }
}
