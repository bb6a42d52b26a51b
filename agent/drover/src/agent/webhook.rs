//! Webhooks of Git hosts. A request that is signed with the webhook's secret is a hint that something
//! may have changed: the same full pass runs as ever, and the interval covers what a hint misses. So
//! nothing of a body is believed, parsed or logged, and a replayed request does no more than the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use drover_loop::AgentHandle;
use drover_spec::agent_config::{WebhookConfig, WebhookKind};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tracing::{debug, warn};

use self::limit::Limit;
use self::signature::is_signed;
use super::metrics::Metrics;

mod limit;
mod signature;
#[cfg(test)]
mod tests;

/// The largest body that is read. Hosts send up to some 100 KiB for an ordinary push, and what is cut
/// off is only a hint.
const BODY_BYTES_MAX: usize = 256 << 10;

/// How long a body may take to arrive: as long as GitHub waits for an answer.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest file that is read for a secret. Hosts generate less than 100 bytes.
const SECRET_BYTES_MAX: u64 = 4 << 10;

/// Least time between two passes that hints start: the least `source.interval`, so that hints ask the
/// repository's host no more often than a person may configure.
const COALESCE: Duration = Duration::from_secs(1);

/// What became of a request: the label of `drover_webhook_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A pass is due.
    Accepted,
    /// The signature is missing or wrong.
    Refused,
    /// There is no such webhook.
    Unknown,
    /// The body is too large.
    TooLarge,
    /// More requests than are looked at.
    Limited,
    /// The body did not arrive.
    Incomplete,
    /// The secret cannot be read.
    NoSecret,
}

impl Verdict {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Refused,
        Self::Unknown,
        Self::TooLarge,
        Self::Limited,
        Self::Incomplete,
        Self::NoSecret,
    ];

    /// Returns its name in metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::TooLarge => "too-large",
            Self::Limited => "limited",
            Self::Incomplete => "incomplete",
            Self::NoSecret => "no-secret",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Accepted => StatusCode::ACCEPTED,
            Self::Refused => StatusCode::UNAUTHORIZED,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Limited => StatusCode::TOO_MANY_REQUESTS,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::NoSecret => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Verdict {
    fn into_response(self) -> Response {
        match self {
            Self::Limited => (self.status(), [(header::RETRY_AFTER, "1")]).into_response(),
            Self::Accepted
            | Self::Refused
            | Self::Unknown
            | Self::TooLarge
            | Self::Incomplete
            | Self::NoSecret => self.status().into_response(),
        }
    }
}

/// One webhook.
#[derive(Debug)]
struct Webhook {
    kind: WebhookKind,
    secret_file: PathBuf,
    limit: Limit,
    /// Whether it was told that the secret cannot be read: once, not for each request.
    told: AtomicBool,
}

/// The webhooks of an agent.
#[derive(Debug)]
pub(crate) struct Webhooks {
    by_id: BTreeMap<String, Webhook>,
    /// Stands in for webhooks that do not exist: a request for one takes the same work and the same time,
    /// and all of them share one limit.
    decoy: Webhook,
    hint: Arc<Notify>,
    metrics: Metrics,
}

impl Webhooks {
    /// Returns the receiver of these webhooks, which notifies `hint`. None: there are none.
    pub(crate) fn new(
        configured: &[WebhookConfig],
        hint: Arc<Notify>,
        metrics: Metrics,
    ) -> Option<Self> {
        let webhook = |config: &WebhookConfig| Webhook {
            kind: config.kind,
            secret_file: config.secret_file.clone(),
            limit: Limit::default(),
            told: AtomicBool::new(false),
        };
        let decoy = webhook(configured.first()?);
        let by_id = configured
            .iter()
            .map(|config| (config.id.clone(), webhook(config)));
        metrics.show_webhooks();
        Some(Self {
            by_id: by_id.collect(),
            decoy,
            hint,
            metrics,
        })
    }

    async fn judge(&self, mut request: Request) -> Verdict {
        let id = request.uri().path().strip_prefix("/hook/").unwrap_or("");
        let known = self.by_id.get_key_value(id);
        let webhook = known.map_or(&self.decoy, |(_, webhook)| webhook);
        // Before the body is read: the limit bounds memory, too.
        if !webhook.limit.take(Instant::now()) {
            return Verdict::Limited;
        }
        if announced(request.headers()).is_some_and(|length| length > BODY_BYTES_MAX as u64) {
            return Verdict::TooLarge;
        }
        DefaultBodyLimit::max(BODY_BYTES_MAX).apply(&mut request);
        let headers = request.headers().clone();
        let body = match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await
        {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Verdict::TooLarge;
            }
            Ok(Err(_)) | Err(_) => return Verdict::Incomplete,
        };
        let secret = secret(&webhook.secret_file).await;
        let is_signed = secret
            .as_ref()
            .map(|secret| is_signed(webhook.kind, secret, &headers, &body));
        let Some((id, _)) = known else {
            return Verdict::Unknown;
        };
        webhook.tell(id, secret.as_ref().err());
        match is_signed {
            Ok(true) => Verdict::Accepted,
            Ok(false) => Verdict::Refused,
            Err(_) => Verdict::NoSecret,
        }
    }
}

impl Webhook {
    /// Tells that the secret cannot be read, when that is news.
    fn tell(&self, id: &str, failure: Option<&std::io::Error>) {
        let was_told = self.told.swap(failure.is_some(), Ordering::Relaxed);
        if let (Some(error), false) = (failure, was_told) {
            let path = self.secret_file.display();
            warn!(webhook = id, %path, %error, "secret of a webhook not read");
        }
    }
}

/// Returns the routes of webhooks.
pub(crate) fn router(webhooks: Webhooks) -> Router {
    Router::new()
        .route("/hook/{id}", post(receive))
        .with_state(Arc::new(webhooks))
}

async fn receive(State(webhooks): State<Arc<Webhooks>>, request: Request) -> Verdict {
    let verdict = webhooks.judge(request).await;
    webhooks.metrics.observe_webhook(verdict);
    debug!(result = verdict.word(), "webhook called");
    if verdict == Verdict::Accepted {
        webhooks.hint.notify_one();
    }
    verdict
}

/// Asks for passes when hints come: for the first one at once, for those that follow shortly together.
pub(crate) async fn follow_hints(hint: Arc<Notify>, agent: AgentHandle) {
    loop {
        hint.notified().await;
        agent.trigger();
        tokio::time::sleep(COALESCE).await;
    }
}

/// Returns the length that a request says its body has.
fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Reads a secret, without the line ends behind it. One that is empty would be everybody's.
async fn secret(path: &Path) -> std::io::Result<Vec<u8>> {
    let invalid = |why| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    let file = tokio::fs::File::open(path).await?;
    let mut secret = Vec::new();
    let mut file = file.take(SECRET_BYTES_MAX + 1);
    file.read_to_end(&mut secret).await?;
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(invalid("the file is larger than 4 KiB"));
    }
    while secret
        .last()
        .is_some_and(|last| matches!(last, b'\n' | b'\r'))
    {
        secret.pop();
    }
    if secret.is_empty() {
        return Err(invalid("the file is empty"));
    }
    Ok(secret)
}
