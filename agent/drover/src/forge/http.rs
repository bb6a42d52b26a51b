//! Calls to a Git host: bounded, without redirects, the token only ever sent to the one origin.

use std::path::Path;
use std::time::Duration;

use drover_git::Secret;
use drover_model::Timestamp;
use reqwest::blocking::{Client, Response};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value as Json;

use super::dialect::Dialect;
use super::error::{ForgeError, host};
use crate::web::authorities;

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Most bytes of an answer: a hundred comments of the longest sort that hosts take.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Most characters of a host's words that are shown.
const MESSAGE_MAX: usize = 300;

/// A client of one host.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
}

/// What a host answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Who, for errors.
    pub(super) host: String,
    /// To what, for errors.
    pub(super) path: String,
    /// The content.
    pub(super) json: Json,
}

impl Answer {
    /// Returns the error for an answer that is not what it should be.
    pub(super) fn unexpected(&self, wanted: &'static str) -> ForgeError {
        ForgeError::Answer {
            host: self.host.clone(),
            path: self.path.clone(),
            wanted,
        }
    }
}

impl Http {
    pub(super) fn new(
        dialect: &Dialect,
        token: &Secret,
        ca_file: Option<&Path>,
    ) -> Result<Self, ForgeError> {
        let (name, value) = dialect.authorization(token.expose());
        let mut value = HeaderValue::from_str(&value).map_err(|_| ForgeError::Token)?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), value);
        for (name, value) in dialect.headers() {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let mut builder = Client::builder()
            .user_agent(concat!("drover/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // A redirect would carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(CALL_MAX);
        if let Some(path) = ca_file {
            let certificates = authorities(path).map_err(ForgeError::Certificates)?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(|source| ForgeError::Unreachable {
            host: dialect.host(),
            source,
        })?;
        Ok(Self { client })
    }

    /// Makes one call.
    pub(super) fn call(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&Json>,
    ) -> Result<Answer, ForgeError> {
        let unreachable = |error: reqwest::Error| ForgeError::Unreachable {
            host: host(url),
            source: error.without_url(),
        };
        let mut request = self.client.request(method.clone(), url.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().map_err(unreachable)?;
        let status = response.status();
        let limited = is_rate_limit(status, response.headers());
        let wait = wait(response.headers());
        let bytes = read(response).map_err(unreachable)?;
        if limited {
            let host = host(url);
            return Err(ForgeError::RateLimited { host, wait });
        }
        if !status.is_success() {
            return Err(ForgeError::Refused {
                host: host(url),
                method: method.to_string(),
                path: url.path().to_owned(),
                status: status.as_u16(),
                message: words(&bytes),
            });
        }
        let json = match status {
            StatusCode::NO_CONTENT => Json::Null,
            _ => serde_json::from_slice(&bytes).map_err(|_| ForgeError::Answer {
                host: host(url),
                path: url.path().to_owned(),
                wanted: "JSON",
            })?,
        };
        Ok(Answer {
            host: host(url),
            path: url.path().to_owned(),
            json,
        })
    }
}

/// Reads an answer up to a limit; what is longer is cut and so no JSON.
fn read(response: Response) -> Result<Vec<u8>, reqwest::Error> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let mut limited = response.take(ANSWER_BYTES_MAX);
    match limited.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        // The library wraps its own error for the reader.
        Err(error) => match error.downcast::<reqwest::Error>() {
            Ok(error) => Err(error),
            Err(_) => Ok(Vec::new()),
        },
    }
}

/// Whether the host wants fewer calls. GitHub says so with the status of a refusal, too.
fn is_rate_limit(status: StatusCode, headers: &HeaderMap) -> bool {
    let spent = number(headers, "x-ratelimit-remaining") == Some(0);
    status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::FORBIDDEN && (spent || headers.contains_key(RETRY_AFTER))
}

/// Returns how long the host wants to be left alone: by `Retry-After`, or by the time at which GitHub's hourly
/// budget begins anew.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let after = number(headers, RETRY_AFTER.as_str());
    let left = || {
        let at = number(headers, "x-ratelimit-reset")?;
        let now = Timestamp::now().as_second().max(0) as u64;
        Some(at.saturating_sub(now))
    };
    after.or_else(left).map(Duration::from_secs)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    text.trim().parse().ok()
}

/// Returns the host's words about a refusal: `message` (GitHub, Gitea, GitLab) or `error` (GitLab).
fn words(bytes: &[u8]) -> String {
    let json: Option<Json> = serde_json::from_slice(bytes).ok();
    let said = json.as_ref().and_then(|json| {
        let message = json.get("message").or_else(|| json.get("error"))?;
        Some(match message {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        })
    });
    let said = said.unwrap_or_default();
    let line = said.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MESSAGE_MAX).collect()
}
