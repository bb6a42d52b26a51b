//! Posting events: one after the other, again for a while where that may help, the address kept out of sight.

use std::path::Path;
use std::time::Duration;

use drover_spec::agent_config::{NotifyAddress, NotifyConfig};
use reqwest::{Client, StatusCode, Url};
use ring::hmac;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::Event;
use crate::agent::metrics::Metrics;
use crate::web::{authorities, cause};

#[cfg(test)]
mod tests;

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// How long an event is tried: longer than a receiver's restart, shorter than what it says is of use.
const TRY_FOR: Duration = Duration::from_mins(10);

/// The pause after the first failure; it doubles, up to a minute.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Most bytes of a file with an address or a secret.
const FILE_MAX: usize = 8 << 10;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The receiver took it.
    Sent,
    /// The receiver refused it, or could not be reached for too long.
    Failed,
    /// Too many waited.
    Dropped,
}

impl Posted {
    pub(crate) const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Dropped];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Posts events to one address.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    config: NotifyConfig,
}

/// Why an event was not taken.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    why: String,
    /// Whether another attempt may help, and not before when.
    again: Option<Duration>,
}

impl Sender {
    pub(super) fn new(config: &NotifyConfig) -> Result<Self, String> {
        let mut builder = Client::builder()
            .user_agent("drover")
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(ATTEMPT_MAX);
        if let Some(path) = &config.ca_file {
            builder = builder.tls_certs_only(authorities(path)?);
        }
        let client = builder
            .build()
            .map_err(|error| error.without_url().to_string())?;
        let sender = Self {
            client,
            config: config.clone(),
        };
        // A mistake is told at the start; what the files say later is read again for each event.
        sender.address()?;
        sender.secret()?;
        Ok(sender)
    }

    /// Posts until there is nobody left to send events.
    pub(super) async fn run(self, mut waiting: mpsc::Receiver<Event>, metrics: Metrics) {
        while let Some(event) = waiting.recv().await {
            let posted = self.persist(&event).await;
            metrics.observe_notice(posted);
        }
    }

    async fn persist(&self, event: &Event) -> Posted {
        let end = Instant::now() + TRY_FOR;
        let mut pause = PAUSE;
        loop {
            let Err(refusal) = self.post(event).await else {
                return Posted::Sent;
            };
            let wait = refusal.again.map(|least| least.max(pause));
            let wait = wait.filter(|wait| Instant::now() + *wait < end);
            let Some(wait) = wait else {
                let reason = event.reason.as_str();
                warn!(reason, error = refusal.why, "event not told");
                return Posted::Failed;
            };
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn post(&self, event: &Event) -> Result<(), Refusal> {
        let mended = |why: String| Refusal {
            why,
            again: Some(Duration::ZERO),
        };
        let (url, secret) = (
            self.address().map_err(mended)?,
            self.secret().map_err(mended)?,
        );
        let body = serde_json::to_vec(event).map_err(|error| Refusal {
            why: error.to_string(),
            again: None,
        })?;
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("gotk-component", "drover");
        if let Some(secret) = secret {
            request = request.header("x-signature", signature(&secret, &body));
        }
        let answer = request
            .body(body)
            .send()
            .await
            .map_err(|error| mended(unreachable(error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let after = answer.headers().get(reqwest::header::RETRY_AFTER);
        let after = after.and_then(|after| after.to_str().ok()?.trim().parse().ok());
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(Refusal {
            why: format!("the receiver answers with status {}", status.as_u16()),
            again: passes.then(|| Duration::from_secs(after.unwrap_or(0))),
        })
    }

    fn address(&self) -> Result<Url, String> {
        let text = match &self.config.address {
            NotifyAddress::Known(url) => url.clone(),
            NotifyAddress::File(path) => read(path)?,
        };
        let url =
            Url::parse(&text).map_err(|error| format!("the address to notify is none: {error}"))?;
        let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        match url.scheme() {
            "https" => Ok(url),
            "http" if here => Ok(url),
            _ => Err("the address to notify must begin with https://".to_owned()),
        }
    }

    fn secret(&self) -> Result<Option<hmac::Key>, String> {
        let Some(path) = &self.config.secret_file else {
            return Ok(None);
        };
        let text = read(path)?;
        if text.is_empty() {
            return Err(format!("{} is empty", path.display()));
        }
        Ok(Some(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    if text.len() > FILE_MAX {
        return Err(format!("{shown} is too large"));
    }
    Ok(text.trim().to_owned())
}

fn signature(secret: &hmac::Key, body: &[u8]) -> String {
    let tag = hmac::sign(secret, body);
    format!("sha256={}", data_encoding::HEXLOWER.encode(tag.as_ref()))
}

/// Says what a request failed of, without the address.
fn unreachable(error: reqwest::Error) -> String {
    format!("cannot reach the receiver: {}", cause(error))
}
