//! Posting events: again for a while where that may help, while others go on, the address kept out of sight.

use std::path::Path;
use std::time::Duration;

use drover_spec::agent_config::{NotifyAddress, NotifyConfig};
use reqwest::{Client, StatusCode, Url};
use ring::hmac;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use self::lines::Lines;
use super::Event;
use crate::agent::metrics::Metrics;
use crate::web::{authorities, cause};

mod lines;
#[cfg(test)]
mod tests;

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

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
    /// Whether it is about the receiver, and not about this event.
    all: bool,
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
        let mut lines = Lines::new(Instant::now());
        let mut open = true;
        while open || !lines.is_empty() {
            let (due, resumed) = (lines.due(), lines.resumed());
            // What is new comes before what has failed, but one after the other.
            tokio::select! {
                biased;
                event = received(&mut waiting, resumed), if open && !lines.has_untried() => {
                    open = event.is_some();
                    let given_up = event.and_then(|event| lines.add(event, Instant::now()));
                    if let Some(event) = given_up {
                        let reason = event.reason.as_str();
                        warn!(reason, "event not told, as too many wait");
                        metrics.observe_notice(Posted::Dropped);
                    }
                }
                () = until(due) => {
                    if let Some(posted) = self.post_first(&mut lines).await {
                        metrics.observe_notice(posted);
                    }
                }
            }
        }
    }

    /// Posts the first event of the line whose turn it is. None: it stays there.
    async fn post_first(&self, lines: &mut Lines) -> Option<Posted> {
        let event = lines.begin(Instant::now())?;
        let Err(refusal) = self.post(event).await else {
            lines.passed(Instant::now());
            return Some(Posted::Sent);
        };
        let now = Instant::now();
        let kept = refusal
            .again
            .is_some_and(|least| lines.failed(least, refusal.all, now));
        if kept {
            return None;
        }
        let event = lines.give_up(now)?;
        let reason = event.reason.as_str();
        warn!(reason, error = refusal.why, "event not told");
        Some(Posted::Failed)
    }

    async fn post(&self, event: &Event) -> Result<(), Refusal> {
        let mended = |why: String| Refusal {
            why,
            again: Some(Duration::ZERO),
            all: true,
        };
        let (url, secret) = (
            self.address().map_err(mended)?,
            self.secret().map_err(mended)?,
        );
        let body = serde_json::to_vec(event).map_err(|error| Refusal {
            why: error.to_string(),
            again: None,
            all: false,
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
        let busy = status == StatusCode::TOO_MANY_REQUESTS;
        let passes = status.is_server_error() || busy;
        Err(Refusal {
            why: format!("the receiver answers with status {}", status.as_u16()),
            again: passes.then(|| Duration::from_secs(after.unwrap_or(0))),
            all: busy || after.is_some(),
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

/// Returns the next event, once the receiver may be asked again. None: there will be no more.
async fn received(waiting: &mut mpsc::Receiver<Event>, from: Instant) -> Option<Event> {
    tokio::time::sleep_until(from).await;
    waiting.recv().await
}

/// Waits for a time. None: for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
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
